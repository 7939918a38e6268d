"""A network written and read again: the same values to the bit, state and gradients."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.models import MODELS, create_model, list_models
from chainrule.nn import functional as F
from tests.formats.onnx.test_export import FUNCTIONS, IMAGE, LARGE, LAYERS, Fn, with_statistics

BACKENDS = ("numpy", cr.current_backend().name)
SPARE = ("aux1.", "aux2.")  # heads that evaluation does not run
INSIDE = (".table", ".bell")  # buffers that are folded into what is computed of them


def again(model: Any, size: tuple[int, ...]) -> Any:
    return cr.onnx.load(cr.onnx.export(model, size))


def outputs(model: Any, x: Any) -> list[np.ndarray]:
    with cr.no_grad():
        found = model(x)
    return [y.numpy() for y in (found if isinstance(found, tuple) else (found,))]


def check_exact(name: str, batch: int) -> None:
    cr.manual_seed(0)
    entry = MODELS[name]
    model = with_statistics(create_model(name, 7)).eval()
    size = (entry.channels, entry.smallest, entry.smallest)
    loaded = again(model, size)
    assert not loaded.training
    x = cr.rand(batch, *size)
    for backend in BACKENDS:
        with cr.use_backend(backend):
            for ours, theirs in zip(outputs(model, x), outputs(loaded, x), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    own, found = model.state_dict(), loaded.state_dict()
    assert found.keys() <= own.keys()
    for key in own.keys() - found.keys():
        assert key.startswith(SPARE) or key.endswith(("num_batches_tracked", *INSIDE)), key
    for key, value in found.items():
        np.testing.assert_array_equal(own[key].numpy(), value.numpy())
    learned = {key for key, _ in model.named_parameters() if not key.startswith(SPARE)}
    assert {key for key, _ in loaded.named_parameters()} == learned


@pytest.mark.parametrize("name", sorted(set(list_models()) - LARGE))
def test_every_network(name: str) -> None:
    check_exact(name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LARGE))
def test_every_large_network(name: str) -> None:
    check_exact(name, 1)


def check_close(model: Any, size: tuple[int, ...]) -> None:
    """Values and the gradient by the input are the original's, and so are the parameters'."""
    model = model.eval()
    loaded = again(model, size)
    x = np.random.default_rng(1).standard_normal((3, *size)).astype(np.float32)
    gradients = []
    for network in (model, loaded):
        given = cr.tensor(x, requires_grad=True)
        found = network(given)
        found = found if isinstance(found, tuple) else (found,)
        network.zero_grad()
        sum((y * y).sum() for y in found).backward()
        learned = {key: p.grad for key, p in network.named_parameters()}
        gradients.append(([y.detach().numpy() for y in found], given.grad, learned))
    (ours, gx, gp), (theirs, hx, hp) = gradients
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(hx.numpy(), gx.numpy(), rtol=2e-4, atol=2e-4)
    assert hp.keys() == gp.keys()
    for key, value in gp.items():
        np.testing.assert_allclose(hp[key].numpy(), value.numpy(), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_operation_and_its_gradient(name: str) -> None:
    check_close(Fn(FUNCTIONS[name]), IMAGE)


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_and_its_gradients(name: str) -> None:
    cr.manual_seed(0)
    build, size = LAYERS[name]
    check_close(build(), size)


@pytest.mark.parametrize("name", ["resnet20", "lenet5", "googlenet_2014"])
def test_gradients_of_a_network_are_the_same(name: str) -> None:
    cr.manual_seed(0)
    entry = MODELS[name]
    model = with_statistics(create_model(name, 7)).eval()
    size = (entry.channels, entry.smallest, entry.smallest)
    loaded = again(model, size)
    x, target = cr.rand(3, *size), cr.tensor([0, 3, 6])
    for network in (model, loaded):
        F.cross_entropy(network(x), target).backward()
    found = dict(loaded.named_parameters())
    for key, p in model.named_parameters():
        if not key.startswith(SPARE):
            np.testing.assert_array_equal(found[key].grad.numpy(), p.grad.numpy())


def test_training_is_the_same() -> None:
    """A step of training on batch statistics moves weights and running statistics alike."""
    cr.manual_seed(0)
    model = with_statistics(create_model("resnet20", 3))
    loaded = again(model, (3, 8, 8)).train()
    model.train()
    x, target = cr.rand(4, 3, 8, 8), cr.tensor([0, 1, 2, 0])
    for network in (model, loaded):
        optimiser = cr.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            optimiser.zero_grad()
            F.cross_entropy(network(x), target).backward()
            optimiser.step()
    ours, theirs = model.state_dict(), loaded.state_dict()
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key].numpy(), value.numpy())
    np.testing.assert_array_equal(model.eval()(x).detach().numpy(),
                                  loaded.eval()(x).detach().numpy())  # fmt: skip


def test_the_running_statistics_keep_their_momentum() -> None:
    norm = nn.BatchNorm1d(2, momentum=0.3)
    loaded = again(norm, (2,)).train()
    x = cr.tensor([[1.0, 5.0], [3.0, 9.0]])
    norm.train()(x)
    loaded(x)
    np.testing.assert_allclose(loaded.running_mean.numpy(), norm.running_mean.numpy())


def test_neighbours_run_as_one_operation_but_apart_when_traced() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    loaded = again(net, (3, 8, 8))
    assert [step.node.kind for step in loaded.program.fused] == [
        "Conv", "BatchNormalization", "MaxPool", "Identity",
    ]  # fmt: skip
    assert loaded.program.fused[1].second.kind == "Relu"
    twice = cr.onnx.export(loaded, (3, 8, 8))
    kinds = [node.op_type for node in twice.graph.node if node.op_type != "Constant"]
    assert kinds == ["Conv", "BatchNormalization", "Relu", "MaxPool", "Identity"]
    assert {one.name for one in twice.graph.initializer} == set(loaded.state_dict())


def test_values_are_let_go_after_their_last_reader() -> None:
    layers = [nn.Linear(4, 4), nn.Sigmoid(), nn.Tanh(), nn.Linear(4, 4), nn.Softplus()]
    program = again(nn.Sequential(*layers), (4,)).program
    for steps in (program.steps, program.fused):
        values = {name: program.owner.state_of(path) for name, path in program.bound.items()}
        kept = {*values, *program.constants}
        values |= program.constants
        values["input"] = cr.zeros(2, 4)
        for step in steps:
            step(values)
            assert len(values.keys() - kept) == 1
        assert values.keys() - kept == {"output"}


def test_what_is_computed_of_parameters_stays_learnable() -> None:
    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(cr.ones(3, 4))

        def forward(self, x: Any) -> Any:
            return F.linear(x, self.weight * 0.5)

    loaded = again(Halved(), (4,))
    x = cr.ones(2, 4)
    loaded(x).sum().backward()
    assert loaded.weight.grad.tolist() == [[1.0] * 4] * 3


def test_copies_and_states() -> None:
    cr.manual_seed(0)
    loaded = again(with_statistics(create_model("resnet20", 3)), (3, 8, 8))
    x = cr.rand(2, 3, 8, 8)
    expected = loaded(x).detach().numpy()
    for copied in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        np.testing.assert_array_equal(copied(x).detach().numpy(), expected)
        copied.fc.bias.data = copied.fc.bias.detach() + 1
        np.testing.assert_array_equal(loaded(x).detach().numpy(), expected)
        assert not np.array_equal(copied(x).detach().numpy(), expected)
    other = again(create_model("resnet20", 3), (3, 8, 8))
    other.load_state_dict(loaded.state_dict())
    np.testing.assert_array_equal(other(x).detach().numpy(), expected)
    assert loaded.double()(x.double()).dtype == np.float64
    assert cr.summary(other, (3, 8, 8)).parameters > 200_000
