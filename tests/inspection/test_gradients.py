"""Saliency, guided backprop and deconvnet: by hand, by central differences, by ReLUs by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.op import OPS, Array
from chainrule.errors import DataError, GraphError, KindError, LabelError, ShapeError
from chainrule.inspection import deconvnet, guided_backprop, saliency
from chainrule.inspection.relu_rules import MEMBERS, relu_rule
from tests.inspection.attribution import BACKENDS, Deconv, Guided, by_hand, drawn, images, on

F = nn.functional
METHODS = {"guided": (guided_backprop, Guided, True), "deconv": (deconvnet, Deconv, False)}


def two_layers() -> nn.Module:
    """x (3, 1) -> z = (2, -5, 4) -> ReLU -> one score, with weights (3, 5, -2)."""
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False)
    )
    weights = [[[1.0, -1.0], [-2.0, 1.0], [1.0, 1.0]], [[3.0, 5.0, -2.0]]]
    net.load_state_dict({"1.weight": cr.tensor(weights[0]), "3.weight": cr.tensor(weights[1])})
    return net


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_layers_by_hand(backend: str) -> None:
    net, x = two_layers(), cr.tensor([[[[3.0, 1.0]]]])
    with on(backend):
        # at the ReLU's output the gradient is (3, 5, -2), and only z[1] = -5 is negative
        assert saliency(net, x).tolist() == [[[1.0, 5.0]]]  # (3, 0, -2) W
        assert guided_backprop(net, x).tolist() == [[[[3.0, -3.0]]]]  # (3, 0, 0) W
        assert deconvnet(net, x).tolist() == [[[[-7.0, 2.0]]]]  # (3, 5, 0) W


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fused", [True, False])
def test_pooling_by_the_switches(backend: str, fused: bool) -> None:
    """A value goes where its maximum came from; in a window where all is 0, to the first."""

    class Net(nn.Module):
        def forward(self, x: cr.Tensor) -> cr.Tensor:
            y = F.relu_max_pool2d(x, 2) if fused else F.max_pool2d(F.relu(x), 2)
            return (y * cr.tensor([[[[2.0, 3.0, -5.0]]]])).sum((1, 2, 3)).reshape(-1, 1)

    x = np.array([[[[1, 4, -3, -1, 9, 1], [2, 3, -2, -4, 1, 1]]]], "f")
    with on(backend):
        signed = saliency(Net(), x, channels=True)
        assert signed[0, 0].tolist() == [[0, 2, 0, 0, 5, 0], [0, 0, 0, 0, 0, 0]]
        assert guided_backprop(Net(), x)[0, 0].tolist() == [[0, 2, 0, 0, 0, 0], [0] * 6]
        assert deconvnet(Net(), x)[0, 0].tolist() == [[0, 2, 3, 0, 0, 0], [0] * 6]


def arrays(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype("f") for shape in shapes]


STATISTICS = cr.tensor(np.array([0.3, -0.2, 0.1], "f")), cr.tensor(np.array([1.5, 0.5, 1.0], "f"))


class GuidedLid(cr.Function):
    """ReLU6 that passes back what is positive where it is neither 0 nor 6."""

    @staticmethod
    def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
        ctx.save_for_backward(x)
        return cr.tensor(np.clip(x.numpy(), 0, 6))

    @staticmethod
    def backward(ctx: Any, gy: cr.Tensor) -> cr.Tensor:
        x = ctx.saved_tensors[0].numpy()
        return cr.tensor(np.where((x > 0) & (x < 6), np.maximum(gy.numpy(), 0), 0).astype("f"))


class DeconvLid(Deconv):
    """ReLU6 that passes back what is positive."""

    @staticmethod
    def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
        return cr.tensor(np.clip(x.numpy(), 0, 6))


def lidded(rectifier: Any, x: cr.Tensor) -> Any:
    return (DeconvLid if rectifier == Deconv.apply else GuidedLid).apply(x)


CASES: dict[str, tuple[Any, Any, list[tuple[int, ...]]]] = {
    "ReLU": (F.relu, lambda r, x: r(x), [(2, 3, 5, 4)]),
    "ConvReLU": (
        lambda x, w, b: F.conv2d_relu(x, w, b, 2, 1),
        lambda r, x, w, b: r(F.conv2d(x, w, b, 2, 1)),
        [(2, 3, 9, 8), (4, 3, 3, 3), (4,)],
    ),
    "BatchNormReLU": (
        lambda x, w, b: F.batch_norm_relu(x, *STATISTICS, w, b),
        lambda r, x, w, b: r(F.batch_norm(x, *STATISTICS, w, b)),
        [(2, 3, 5, 4), (3,), (3,)],
    ),
    "BatchNormReLU of the batch": (
        lambda x, w, b: F.batch_norm_relu(x, None, None, w, b, training=True),
        lambda r, x, w, b: r(F.batch_norm(x, None, None, w, b, training=True)),
        [(2, 3, 5, 4), (3,), (3,)],
    ),
    "AddReLU": (F.add_relu, lambda r, x, y: r(x + y), [(2, 3, 5, 4), (3, 1, 4)]),
    "ReLUMaxPool": (
        lambda x: F.relu_max_pool2d(x, 3, 2, 1),
        lambda r, x: F.max_pool2d(r(x), 3, 2, 1),
        [(2, 3, 7, 6)],
    ),
    "Hardtanh from 0": (lambda x: F.relu6(8 * x), lambda r, x: lidded(r, 8 * x), [(2, 3, 5, 4)]),
    "Hardtanh from -1": (F.hardtanh, lambda r, x: F.hardtanh(x), [(2, 3, 5, 4)]),
    "Clamp from 0": (lambda x: x.clamp(min=0), lambda r, x: r(x), [(2, 3, 5, 4)]),
    "Clamp from 0 to 6": (
        lambda x: cr.clamp(8 * x, 0, 6),
        lambda r, x: lidded(r, 8 * x),
        [(2, 3, 5, 4)],
    ),
    "Clamp to 1": (lambda x: x.clamp(max=1), lambda r, x: x.clamp(max=1), [(2, 3, 5, 4)]),
}


def test_every_operation_with_a_relu_has_the_rule_and_a_case() -> None:
    rectifying = {name for name, op in OPS.items() if op.__module__ == "chainrule.ops.fused"}
    assert {kind.__name__ for kind in MEMBERS} == {"ReLU", "Hardtanh", "Clamp", *rectifying}
    assert {name.split()[0] for name in CASES} == {kind.__name__ for kind in MEMBERS}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_each_operation_against_its_members(name: str, rule: str, backend: str) -> None:
    whole, apart, shapes = CASES[name]
    _, function, masked = METHODS[rule]
    found = []
    for by_function in (False, True):
        inputs = [cr.tensor(a, requires_grad=True) for a in arrays(*shapes)]
        with on(backend), relu_rule(masked):
            y = apart(function.apply, *inputs) if by_function else whole(*inputs)
        y.backward(cr.tensor(np.random.default_rng(4).normal(size=y.shape).astype("f")))
        found.append([y.detach().numpy(), *[x.grad.numpy() for x in inputs]])
    for ours, theirs in zip(*found, strict=True):
        assert np.abs(theirs).max() > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


SMALL = {
    "lenet5": (2, 1, 32, 32),
    "resnet20": (2, 3, 16, 16),
    "plain20": (1, 3, 16, 16),
    "mlp": (3, 1, 28, 28),
    "retrieval_dcnn": (1, 1, 32, 32),
}


@pytest.mark.parametrize("rule", METHODS)
@pytest.mark.parametrize("name", SMALL)
def test_networks_against_relus_by_hand(name: str, rule: str) -> None:
    method, function, _ = METHODS[rule]
    model = drawn(cr.create_model(name))
    other = copy.deepcopy(model)
    assert by_hand(other, function) > 0
    x = images(*SMALL[name])
    ours, theirs = method(model, x, 1), saliency(other, x, 1, channels=True)
    assert theirs.max() > 0
    np.testing.assert_allclose(np.abs(ours), theirs, rtol=1e-3, atol=2e-4 * theirs.max())
    plain = saliency(model, x, 1, channels=True)
    assert np.abs(np.abs(ours) - plain).max() > 0.1 * plain.max()  # the rule makes a difference


def test_saliency_against_central_differences() -> None:
    model = cr.create_model("lenet5").double()
    x = images(1, 1, 32, 32).astype("d")
    found, step = saliency(model, x, 2), 1e-6
    model.eval()
    for row, column in [(3, 5), (16, 16), (20, 9)]:
        d = np.zeros_like(x)
        d[0, 0, row, column] = step
        up, down = (model(cr.tensor(x + s * d)).detach().numpy()[0, 2] for s in (1, -1))
        assert found[0, row, column] == pytest.approx(abs(up - down) / (2 * step), rel=1e-5)


def test_targets() -> None:
    model, x = cr.create_model("lenet5"), images(3, 1, 32, 32)
    best = model.eval()(cr.tensor(x)).detach().numpy().argmax(axis=1)
    one = [saliency(model, x[i : i + 1], int(best[i]))[0] for i in range(3)]
    for target in (None, best, best.tolist(), cr.tensor(best)):
        np.testing.assert_allclose(saliency(model, x, target), one, rtol=1e-4, atol=1e-6)
    all_channels = saliency(drawn(cr.create_model("resnet20")), images(1, 3, 16, 16), channels=True)
    assert all_channels.shape == (1, 3, 16, 16)


def test_units_of_a_layer() -> None:
    """It begins at the strongest place of a channel, and reaches what that place sees."""
    model, x = cr.create_model("lenet5"), images(1, 1, 32, 32)
    maps = model.conv1(cr.tensor(x)).detach().numpy()[0, 4]
    row, column = np.unravel_index(maps.argmax(), maps.shape)
    found = deconvnet(model, x, 4, layer="conv1")[0, 0]
    weight = model.conv1.weight.detach().numpy()[4, 0]
    np.testing.assert_allclose(found[row : row + 5, column : column + 5], weight)
    assert np.count_nonzero(found) == np.count_nonzero(weight)
    strongest = int(model.conv1(cr.tensor(x)).detach().numpy()[0].max(axis=(1, 2)).argmax())
    for method in (deconvnet, guided_backprop):
        chosen = method(model, x, layer="conv1")
        np.testing.assert_array_equal(chosen, method(model, x, strongest, layer="conv1"))


def test_models_are_left_as_they_were() -> None:
    model = drawn(cr.create_model("resnet20"))
    model.layer1.eval()
    held = cr.ones(16, 3, 3, 3)
    model.conv1.weight.grad = held
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    calls: list[str] = []
    with model.conv1.register_forward_hook(lambda *_: calls.append("own")):
        with cr.no_grad():
            for method in (saliency, guided_backprop, deconvnet):
                method(model, images(1, 3, 16, 16))
        assert calls == ["own"] * 3
    with pytest.raises(LabelError):
        guided_backprop(model, images(1, 3, 16, 16), 10)
    assert [m.training for m in model.modules()] == modes
    grads = [p.grad for p in model.parameters()]
    assert grads[0] is held
    assert not any(g is not None for g in grads[1:])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())
    frozen = model.requires_grad_(False)
    assert saliency(frozen, images(1, 3, 16, 16)).max() > 0


def test_refusals() -> None:
    model, x = cr.create_model("lenet5"), images(1, 1, 32, 32)
    with pytest.raises(ShapeError, match=r"images \(N, C, H, W\).*image\[None\]"):
        saliency(model, x[0])
    with pytest.raises(KindError, match="saliency: expected a Module"):
        saliency("lenet5", x)  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="a target from 0 to 9; got target -1"):
        saliency(model, x, -1)
    with pytest.raises(ShapeError, match="one target, or 1"):
        saliency(model, x, [1, 2])
    with pytest.raises(KindError, match="whole number"):
        saliency(model, x, 1.0)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no layer 'conv9'"):
        deconvnet(model, x, layer="conv9")

    class Deaf(nn.Module):
        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return cr.zeros(len(x), 2)

    with pytest.raises(GraphError, match="saliency: no gradient comes back"):
        saliency(Deaf(), x)
    with pytest.raises(ShapeError, match=r"that gives \(N, units"):
        saliency(nn.Flatten(0), x)
