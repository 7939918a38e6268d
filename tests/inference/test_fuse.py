"""Networks in use give what their models give, whatever happens to these."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import GraphError
from chainrule.inference.fuse import Fused
from tests.models.walking import BY_SIZE
from tests.models.walking import images as batch_of

nn = cr.nn


def drawn(model: cr.Module) -> cr.Module:
    """Give batch norms statistics and weights of their own, and the model in evaluation mode."""
    rng = np.random.default_rng(3)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            n = layer.num_features
            layer.running_mean = cr.tensor(rng.normal(0, 0.5, n).astype("f"))
            layer.running_var = cr.tensor(rng.uniform(0.5, 2, n).astype("f"))
            with cr.no_grad():
                layer.weight.copy_(cr.tensor(rng.uniform(0.5, 1.5, n).astype("f")))
                layer.bias.copy_(cr.tensor(rng.normal(0, 0.5, n).astype("f")))
    return model.eval()


def images(*shape: int) -> cr.Tensor:
    return cr.tensor(np.random.default_rng(5).standard_normal(shape).astype("f"))


def chosen(backend: str) -> Any:
    try:
        return cr.use_backend(backend)
    except cr.BackendError as error:
        pytest.skip(str(error))


def first(y: Any) -> Any:
    return (y if isinstance(y, cr.Tensor) else y[0]).numpy()


def agree(fused: Any, model: Any, x: cr.Tensor, within: float = 1e-4) -> None:
    with cr.no_grad():
        ours, theirs = first(fused(x)), first(model(x))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= within * np.abs(theirs).max()


@pytest.mark.parametrize("backend", ["onednn", "numpy"])
@pytest.mark.parametrize("name", BY_SIZE)
def test_networks(name: str, backend: str) -> None:
    model = drawn(cr.create_model(name))
    with chosen(backend):
        fused = cr.fuse(model)
        for batch in (1, 3):
            agree(fused, model, batch_of(name, batch))


class Block(nn.Module):
    """A sum whose other part is read again, and one that is the output."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, padding=1)
        self.norm, self.pool = nn.BatchNorm2d(16), nn.AvgPool2d(3, 2, 1)
        self.fc = nn.Linear(16 * 6 * 6, 5)

    def forward(self, x: Any) -> Any:
        a = self.one(x)
        b = (self.norm(self.two(a)) + a).relu()
        c = self.one(b) + a
        d = self.pool((a + c).relu())
        return self.fc(d.flatten(1)), c, d.sigmoid()


@pytest.mark.parametrize("layout", ["rows", "last"])
@pytest.mark.parametrize("backend", ["onednn", "numpy"])
def test_branches_and_several_outputs(layout: str, backend: str) -> None:
    model, x = drawn(Block()), images(2, 16, 12, 12)
    if layout == "last":
        x = cr.tensor(np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    with chosen(backend), cr.no_grad():
        for ours, theirs in zip(cr.fuse(model)(x), model(x), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def test_norms_are_folded_into_what_is_before_them() -> None:
    fused = cr.fuse(drawn(cr.create_model("resnet18")))
    with cr.no_grad():
        fused(images(1, 3, 64, 64))
    (entry,) = fused._known.values()
    assert not [s for s in entry.program.steps if type(s.op).__name__.startswith("BatchNorm")]


@pytest.mark.parametrize(
    "make",
    [
        lambda: cr.create_model("resnet18"),
        lambda: cr.create_model("resnet50"),
        lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.Conv2d(3, 4, 3)),
        lambda: nn.Sequential(nn.AvgPool2d(3, 2, 1, True, False), nn.Conv2d(3, 4, 3)),
        lambda: nn.Sequential(nn.Conv2d(3, 16, 3), nn.LocalResponseNorm(5)),
    ],
)
def test_a_network_is_one_list_of_calls(make: Any) -> None:
    backend: Any = cr.current_backend()
    if backend.name != "onednn" or backend.run_compiled is None:
        pytest.skip("no compiled kernels here")
    fused = cr.fuse(drawn(make()))
    with cr.no_grad():
        fused(images(1, 3, 64, 64))
    (entry,) = fused._known.values()
    (compiled,) = entry.program.held.compiled.values()
    assert len(compiled.parts) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_comes_through(value: float) -> None:
    model, x = drawn(cr.create_model("resnet20")), images(2, 3, 32, 32).numpy().copy()
    x[1, 0, 3, 3] = value
    with cr.no_grad():
        ours, theirs = (f(cr.tensor(x)).numpy() for f in (cr.fuse(model), model))
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    assert np.isnan(ours[1]).all()
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-3, atol=1e-4)


def test_weights_that_are_not_finite_come_through() -> None:
    model = drawn(cr.create_model("lenet5"))
    with cr.no_grad():
        model.fc1.bias[3] = np.nan
    with cr.no_grad():
        ours, theirs = (f(images(2, 1, 32, 32)).numpy() for f in (cr.fuse(model), model))
    assert np.isnan(theirs).all()
    assert np.isnan(ours).all()


def test_written_and_replaced_weights_are_seen() -> None:
    model = drawn(cr.create_model("lenet5"))
    fused, x = cr.fuse(model), images(2, 1, 32, 32)
    agree(fused, model, x)
    with cr.no_grad():
        model.conv1.weight.mul_(2.0)
    agree(fused, model, x)
    model.fc2 = nn.Linear(84, 3)
    agree(fused, model, x)
    model.load_state_dict({k: v * 0.5 for k, v in model.state_dict().items()})
    agree(fused, model, x)
    model.conv2.bias.data = model.conv2.bias.data + 1.0
    agree(fused, model, x)


def test_the_model_stays_as_it_was() -> None:
    model = cr.create_model("lenet5").train()
    with cr.no_grad():
        cr.fuse(model)(images(1, 1, 32, 32))
    assert all(layer.training for layer in model.modules())


def test_a_method_of_the_model() -> None:
    model, x = drawn(cr.create_model("lenet5")), images(2, 1, 32, 32)
    agree(cr.fuse(model, "embed"), model.embed, x)
    agree(copy.deepcopy(cr.fuse(model, "embed")), model.embed, x)


def test_threads_run_it_at_once() -> None:
    model, x = drawn(cr.create_model("lenet5")), images(4, 1, 32, 32)
    fused, found = cr.fuse(model), []

    def run() -> None:
        with cr.no_grad():
            found.extend(fused(x).numpy() for _ in range(5))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    for y in found:
        np.testing.assert_allclose(y, found[0], rtol=1e-6, atol=1e-6)


class Itself(nn.Module):
    """A convolution whose input is added to its result."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.one = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3, 1, 1)

    def forward(self, x: Any) -> Any:
        x = self.before(x)
        return (self.one(x) + x).relu().sum((2, 3))


class Between(nn.Module):
    """A value that is read after the convolution, before the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(16, 16, 1) for _ in range(3))

    def forward(self, x: Any) -> Any:
        kept = self.one(x)
        y, z = self.two(x), self.three(kept)
        return (y + kept).relu().sum((2, 3)) + z.sum((2, 3))


class Broadcast(nn.Module):
    """A sum whose other part is smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.pool = nn.Conv2d(16, 16, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Any) -> Any:
        mean = self.pool(x)
        return (self.one(x) + mean).relu().sum((2, 3))


class Pools(nn.Module):
    """Windows that reach beyond the border."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.average = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.counted = nn.AvgPool2d(2, 2, 1, ceil_mode=True)
        self.flat, self.spread = nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2, 1, dilation=2)

    def forward(self, x: Any) -> Any:
        pools = self.largest, self.average, self.counted, self.flat, self.spread
        return cr.cat([pool(x).flatten(1) for pool in pools], 1)


class Own(nn.Module):
    """Constants that are made anew at each call, as the input is."""

    def forward(self, x: Any) -> Any:
        place = cr.arange(x.shape[-1], dtype=x.dtype, device=x.device)
        return x * cr.full_like(x, 3.0) + cr.ones_like(x) + place


@pytest.mark.parametrize("kind", [Itself, Between, Broadcast, Pools, Own])
def test_what_is_read_elsewhere_and_what_is_made_here(kind: Any) -> None:
    model = kind().eval()
    agree(cr.fuse(model), model, images(2, 16, 10, 10))


def test_weights_are_laid_out_once_for_all_sizes() -> None:
    model = drawn(cr.create_model("resnet18"))
    fused = cr.fuse(model)
    with cr.no_grad():
        fused(images(1, 3, 64, 64))
        folded = [key for key in fused._shared if key[0] == "folded"]
        fused(images(3, 3, 64, 64))
        fused(images(2, 3, 96, 96))
    assert len(folded) == 20
    assert [key for key in fused._shared if key[0] == "folded"] == folded
    layouts = [found[0] for key, found in fused._shared.items() if key[0] == "laid out"]
    assert all(len(known) <= 2 for known in layouts)


class Chance(nn.Module):
    def __init__(self, how: Any) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Any) -> Any:
        return self.how(x)


@pytest.mark.parametrize(
    "how",
    [
        lambda x: nn.functional.dropout(x, 0.5, True),
        lambda x: nn.functional.alpha_dropout(x, 0.5, True),
        lambda x: nn.functional.rrelu(x, 0.1, 0.3, True),
        lambda x: nn.functional.gumbel_softmax(x),
        lambda x: nn.functional.fractional_max_pool2d(x, 2, 3),
        lambda x: x + cr.randn(*x.shape, generator=cr.Generator(1)),
        lambda x: x + cr.rand_like(x),
    ],
)
def test_chance_is_refused(how: Any) -> None:
    with pytest.raises(GraphError, match="random numbers"):
        cr.fuse(Chance(how))(images(1, 2, 6, 6))


def test_networks_without_values_are_refused() -> None:
    with cr.device("meta"):
        model = cr.create_model("lenet5")
    with pytest.raises(GraphError, match=r"no values.* in conv1.*load weights"):
        cr.fuse(model)(images(1, 1, 32, 32))


def test_values_that_a_step_in_between_makes_infinite() -> None:
    net = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Flatten(2), nn.Linear(4, 4), nn.ReLU()).eval()
    model = Chance(lambda x: net(x.log()))
    x = images(2, 16, 2, 2)  # half of them negative, whose logarithms are NaN
    with cr.no_grad(), np.errstate(all="ignore"):
        ours, theirs = cr.fuse(model)(x).numpy(), model(x).numpy()
    assert np.isnan(theirs).any()
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))


def test_a_fused_network_is_followed_into() -> None:
    model, x = drawn(cr.create_model("lenet5")).train(), images(2, 1, 32, 32)
    fused = cr.fuse(model)
    kinds = [node.op.name for node in cr.capture(fused, x) if node.op]
    assert kinds[0].startswith("conv")
    assert model.training
    agree(cr.fuse(fused), fused, x)
    agree(cr.fuse(nn.Sequential(fused, nn.Softmax(1))), lambda x: fused(x).softmax(1), x)
    assert cr.summary(fused, (1, 32, 32)).parameters == 61706
    assert len(cr.onnx.export(fused, (1, 32, 32)).graph.initializer) == 10


class Choice(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + 1 if x.sum().item() > 0 else x


def test_mistakes_are_named() -> None:
    with pytest.raises(TypeError, match="a Module"):
        cr.fuse(3)  # type: ignore[arg-type]
    fused = cr.fuse(cr.create_model("lenet5"))
    assert isinstance(fused, Fused)
    with pytest.raises(GraphError, match="train the model it was made from"):
        fused.train()
    with pytest.raises(GraphError, match="requires grad"):
        fused(cr.zeros(1, 1, 32, 32, requires_grad=True))
    with pytest.raises(cr.ShapeError, match="32"):
        fused(cr.zeros(1, 1, 30, 30))
    with pytest.raises(ValueError, match="method"):
        cr.fuse(cr.create_model("lenet5"), "nothing")
    with pytest.raises(GraphError, match="whatever the values are"):
        cr.fuse(Choice())(cr.ones(2))


def test_inference_mode() -> None:
    x = cr.ones(2, requires_grad=True)
    with cr.inference_mode():
        assert cr.is_inference_mode_enabled()
        with cr.enable_grad(), cr.set_grad_enabled(True):
            assert not (x * 2).requires_grad
    assert not cr.is_inference_mode_enabled()
    assert (x * 2).requires_grad
    with cr.inference_mode(), cr.inference_mode(False):
        assert (x * 2).requires_grad
    with cr.no_grad(), cr.inference_mode(False):
        assert (x * 2).requires_grad

    @cr.inference_mode()
    def double(x: cr.Tensor) -> cr.Tensor:
        return x * 2

    assert not double(x).requires_grad
