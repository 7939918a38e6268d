"""Layers run as one operation: the same to the last bit, and one by one where somebody looks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import AnomalyError, BackendError, ShapeError
from chainrule.nn import fusing
from chainrule.nn.fusing import Chain


@pytest.fixture(autouse=True)
def _on_the_reference() -> Iterator[None]:
    """Bit for bit is a promise of the reference; fast kernels round in ways of their own."""
    with cr.use_backend("numpy"):
        yield


def operations(function: Callable[..., Any], *inputs: Any) -> list[str]:
    """The names of the operations that ran."""
    return [gate.op.name for gate in cr.capture(function, *inputs) if gate.op]


class Block(nn.Module):
    """Every pair that there is, called through the functions or one by one."""

    def __init__(self, fused: bool = True) -> None:
        super().__init__()
        self.fused = fused
        self.conv1, self.relu1 = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.conv2, self.bn, self.relu2 = (
            nn.Conv2d(4, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
        )
        self.relu3, self.pool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        self.side, self.relu4 = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU()

    def forward(self, x: Any) -> Any:
        if not self.fused:
            y = self.relu2(self.bn(self.conv2(self.relu1(self.conv1(x)))))
            return self.relu4(self.pool(self.relu3(y - 0.5)) + self.side(x))
        y = fusing.conv_relu(self.conv1, self.relu1, x)
        y = fusing.norm_relu(self.bn, self.relu2, self.conv2(y))
        y = fusing.relu_pool(self.relu3, self.pool, y - 0.5)
        return fusing.add_relu(self.relu4, y, self.side(x))


def chained(kind: type[nn.Sequential]) -> nn.Sequential:
    return kind(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 1), nn.ReLU(),
        nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(54, 5), nn.ReLU(),
        nn.BatchNorm1d(5), nn.ReLU(),
    )  # fmt: skip


FUSED = ["conv2d_relu", "conv2d", "batch_norm_relu", "sub", "relu_max_pool", "conv2d", "add_relu"]
IN_CHAIN = [
    "conv2d", "batch_norm_relu", "max_pool", "conv2d_relu", "conv2d", "relu_max_pool", "relu",
    "flatten", "linear", "relu", "batch_norm_relu",
]  # fmt: skip


def images(n: int = 4, side: int = 11) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 3, side, side)).astype(np.float32)


def everything(model: nn.Module, x: np.ndarray, steps: int = 2) -> Iterator[tuple[str, Any]]:
    """Values, gradients of inputs and parameters, and the state, after some training steps."""
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        given = cr.tensor(x * (step + 1), requires_grad=True)
        optimizer.zero_grad()
        y = model(given)
        (y * y).sum().backward()
        yield f"value {step}", y.detach().numpy()
        yield f"input gradient {step}", given.grad.numpy()
        for name, p in model.named_parameters():
            assert p.grad is not None
            yield f"gradient of {name} {step}", p.grad.numpy().copy()
        optimizer.step()
    with cr.no_grad():
        yield "evaluation", model.eval()(cr.tensor(x)).numpy()
    for name, value in model.train().state_dict().items():
        yield name, value.numpy().copy()


def pair(which: str) -> tuple[nn.Module, nn.Module]:
    """A network that fuses and one with the same values that does not."""
    cr.manual_seed(1)
    fused: Any = Block() if which == "block" else chained(Chain)
    apart: Any = Block(fused=False) if which == "block" else chained(nn.Sequential)
    apart.load_state_dict(fused.state_dict())
    return fused, apart


def assert_same(fused: nn.Module, apart: nn.Module, x: np.ndarray) -> None:
    ours, theirs = (dict(everything(m, x)) for m in (fused, apart))
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.mark.parametrize("which", ["block", "chain"])
@pytest.mark.parametrize("order", ["C", "channels last"])
def test_the_same_to_the_last_bit(which: str, order: str) -> None:
    fused, apart = pair(which)
    x = images()
    if order != "C":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    assert_same(fused, apart, x)
    assert int(fused.state_dict()["bn.num_batches_tracked" if which == "block" else
                                  "1.num_batches_tracked"].item()) == 2  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["block", "chain"])
def test_the_same_with_values_that_are_not_finite(which: str, value: float) -> None:
    fused, apart = pair(which)
    x = images()
    x[1, 2, 3, 3] = value
    with np.errstate(all="ignore"):
        assert_same(fused, apart, x)


def on_onednn() -> Any:
    try:
        return cr.use_backend("onednn")
    except (BackendError, ValueError) as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("which", ["block", "chain"])
def test_the_same_but_for_rounding_on_the_fast_backend(which: str) -> None:
    fused, apart = pair(which)
    with on_onednn() as backend:
        before = backend.calls["BatchNormReLU"]
        ours, theirs = (dict(everything(m, images())) for m in (fused, apart))
        assert backend.calls["BatchNormReLU"] > before
    for name, value in ours.items():
        scale = max(float(np.abs(theirs[name]).max()), 1.0)  # a bias before a norm has no gradient
        np.testing.assert_allclose(value, theirs[name], rtol=1e-3, atol=1e-3 * scale, err_msg=name)


def test_one_operation_each() -> None:
    cr.manual_seed(0)
    x = cr.tensor(images())
    assert operations(Block(), x) == FUSED
    assert operations(chained(Chain), x) == IN_CHAIN
    assert operations(Block().eval(), x) == FUSED
    assert not {"conv2d_relu", "batch_norm_relu"} & set(operations(chained(nn.Sequential), x))


# Whoever looks sees every layer


def watched(model: nn.Module, path: str, how: str) -> list[Any]:
    """Hang a hook of a kind on a layer; give the list of what it saw."""
    seen: list[Any] = []
    layer = model.get_submodule(path)
    if how == "forward":
        layer.register_forward_hook(lambda m, xs, y: seen.append((m, y)))
    elif how == "pre":
        layer.register_forward_pre_hook(lambda m, xs: seen.append((m, *xs)))
    else:
        layer.register_full_backward_hook(lambda m, gx, gy: seen.append((m, *gx)))
    return seen


@pytest.mark.parametrize("how", ["forward", "pre", "backward"])
@pytest.mark.parametrize("which", ["block", "chain"])
def test_every_hook_is_called_with_what_its_layer_sees(which: str, how: str) -> None:
    fused, apart = pair(which)
    paths = [path for path, layer in fused.named_modules() if not list(layer.children())]
    assert len(paths) >= 9
    for path in paths:
        models = copy.deepcopy(fused), copy.deepcopy(apart)
        seen = [watched(model, path, how) for model in models]
        for model in models:
            model(cr.tensor(images(), requires_grad=True)).sum().backward()
        for calls, model in zip(seen, models, strict=True):
            assert len(calls) == 1, path
            assert calls[0][0] is model.get_submodule(path)
        np.testing.assert_array_equal(seen[0][0][1].detach(), seen[1][0][1].detach(), err_msg=path)


def test_a_removed_hook_lets_them_fuse_again() -> None:
    model, x = Block(), cr.tensor(images())
    handle = model.relu1.register_forward_hook(lambda *_: None)
    assert operations(model, x)[:2] == ["conv2d", "relu"]
    handle.remove()
    assert operations(model, x) == FUSED


def test_what_a_hook_returns_goes_on() -> None:
    model = Chain(nn.Conv2d(3, 4, 3), nn.ReLU())
    model[0].register_forward_hook(lambda m, xs, y: y * 0 + 7)
    assert set(model(cr.tensor(images())).detach().numpy().reshape(-1)) == {7.0}


def test_hooks_on_the_networks_around_do_not_undo_it() -> None:
    model, seen = chained(Chain), []
    model.register_forward_hook(lambda m, xs, y: seen.append(y.shape))
    model(cr.tensor(images()))
    assert seen == [(4, 5)]
    x = cr.tensor(images(), requires_grad=True)
    model.register_full_backward_hook(lambda m, gx, gy: seen.append(gx[0].shape))
    model(x).sum().backward()
    assert seen[1:] == [(4, 5), x.shape]


class Louder(nn.ReLU):  # type: ignore[misc,name-defined]
    """A ReLU of another kind, that is also doubled."""

    def forward(self, input: Any) -> Any:
        return super().forward(input) * 2


class Wider(nn.Conv2d):
    """A convolution of another kind."""

    def forward(self, input: Any) -> Any:
        return super().forward(input) + 1


REPLACED: list[tuple[str, Callable[[], nn.Module]]] = [
    ("relu1", nn.LeakyReLU),
    ("relu1", Louder),
    ("relu2", nn.ELU),
    ("relu2", nn.Identity),
    ("relu3", nn.Tanh),
    ("relu3", Louder),
    ("relu4", nn.Sigmoid),
    ("relu4", Louder),
    ("conv1", lambda: Wider(3, 4, 3, padding=1)),
    ("conv1", lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")),
    ("conv1", lambda: nn.Conv2d(3, 4, (1, 3), padding="same", dilation=2)),
    ("conv1", lambda: nn.Conv2d(3, 4, 3, padding=1, bias=False)),
    ("bn", nn.Identity),
    ("bn", lambda: nn.BatchNorm2d(4, momentum=None)),
    ("bn", lambda: nn.BatchNorm2d(4, affine=False)),
    ("bn", lambda: nn.BatchNorm2d(4, bias=False, eps=0.1)),
    ("bn", lambda: nn.BatchNorm2d(4, track_running_stats=False)),
    ("bn", lambda: nn.LocalResponseNorm(2)),
    ("pool", lambda: nn.AvgPool2d(3, 2, 1)),
    ("pool", lambda: nn.AdaptiveMaxPool2d(5)),
    ("pool", lambda: nn.MaxPool2d(2, ceil_mode=True)),
    ("pool", lambda: nn.MaxPool2d((3, 2), 2, 1, (1, 2))),
]


@pytest.mark.parametrize(("name", "build"), REPLACED)
def test_another_layer_in_its_place_is_the_one_that_runs(name: str, build: Any) -> None:
    fused, apart = pair("block")
    layer = build()
    for model in (fused, apart):
        setattr(model, name, copy.deepcopy(layer))
    assert_same(fused, apart, images())


@pytest.mark.parametrize("place", range(15))
def test_another_layer_in_a_chain(place: int) -> None:
    fused, apart = pair("chain")
    for model in (fused, apart):
        layer = model[place]  # type: ignore[index]
        swap = nn.Tanh() if isinstance(layer, nn.ReLU) else nn.Sequential(layer)
        model[place] = swap  # type: ignore[index]
    assert_same(fused, apart, images())


def test_indices_are_not_fused_away() -> None:
    pool = nn.MaxPool2d(2, return_indices=True)
    y, indices = fusing.relu_pool(nn.ReLU(), pool, cr.tensor(images()))
    assert y.shape == indices.shape
    assert len(Chain(nn.ReLU(), pool)(cr.tensor(images()))) == 2


def test_a_forward_put_on_one_layer_is_called() -> None:
    model = Chain(nn.Conv2d(3, 4, 3), nn.ReLU())
    model[1].forward = lambda x: x * 0 - 1
    assert set(model(cr.tensor(images())).detach().numpy().reshape(-1)) == {-1.0}


def test_convolutions_of_sequences_are_not_those_of_images() -> None:
    conv, relu = nn.Conv1d(3, 2, 3), nn.ReLU()
    x = cr.randn(2, 3, 9)
    np.testing.assert_array_equal(fusing.conv_relu(conv, relu, x).detach(), relu(conv(x)).detach())
    assert Chain(conv, relu, nn.MaxPool1d(2))(x).shape == (2, 2, 3)


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
def test_every_batch_norm_counts_its_batches(kind: Any) -> None:
    fused, apart = kind(3, momentum=None), kind(3, momentum=None)
    shape = {1: (4, 3), 2: (4, 3, 2, 3), 3: (2, 3, 2, 2, 3)}[int(kind.__name__[-2])]
    for step in range(3):
        x = cr.randn(*shape) + step
        y = fusing.norm_relu(fused, nn.ReLU(), x)
        np.testing.assert_array_equal(y.detach(), cr.relu(apart(x)).detach())
    for a, b in zip(fused.buffers(), apart.buffers(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert fused.num_batches_tracked.item() == 3


def test_a_chain_is_a_sequential() -> None:
    model = chained(Chain)
    assert list(model.state_dict()) == list(chained(nn.Sequential).state_dict())
    assert type(model[:3]) is Chain
    assert Chain()(3) == 3
    again = copy.deepcopy(model)
    x = cr.tensor(images())
    np.testing.assert_array_equal(again(x).detach(), model(x).detach())
    assert isinstance(model, nn.Sequential)


# Errors, anomalies, backward by hand


def test_errors_name_the_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block()])
            self.tail = Chain(
                nn.Conv2d(4, 4, 3), nn.ReLU(), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(9)
            )

        def forward(self, x: Any) -> Any:
            return self.tail(self.blocks[0](x))

    model = Net()
    with pytest.raises(ShapeError, match=r"3 input channels.*in layer blocks\.0\.conv1 \(Conv2d\)"):
        model(cr.zeros(2, 1, 11, 11))
    with pytest.raises(ShapeError, match=r"in layer tail\.0 \(Conv2d\)$"):
        model(cr.zeros(2, 3, 5, 5))
    with pytest.raises(ShapeError, match=r"5 channels.*in layer tail\.2 \(BatchNorm2d\)$"):
        model(cr.zeros(2, 3, 11, 11))
    model.tail[2] = nn.BatchNorm2d(4)
    del model.tail[2:4]
    with pytest.raises(ShapeError, match=r"in layer tail\.2 \(MaxPool2d\)$"):
        model(cr.zeros(2, 3, 11, 11))
    model.blocks[0].bn = nn.BatchNorm2d(7)
    with pytest.raises(ShapeError, match=r"in layer blocks\.0\.bn \(BatchNorm2d\)$"):
        model(cr.zeros(2, 3, 11, 11))
    model.blocks[0] = Block()
    model.blocks[0].side = nn.Conv2d(3, 3, 3, stride=2)
    with pytest.raises(ShapeError, match=r"^add_relu: .*in layer blocks\.0 \(Block\)$"):
        model(cr.zeros(2, 3, 11, 11))
    model.blocks[0] = Block()
    model.blocks[0].pool = nn.MaxPool2d(20)
    with pytest.raises(ShapeError, match=r"in layer blocks\.0\.pool \(MaxPool2d\)$"):
        model(cr.zeros(2, 3, 11, 11))


def test_an_anomaly_is_told_where_it_began() -> None:
    """ReLU would turn minus infinity into 0, so that the fused operation would hide it."""
    for model in (Chain(nn.Conv2d(1, 1, 1), nn.ReLU()), Block()):
        layer = model[0] if isinstance(model, Chain) else model.conv1
        with cr.no_grad():
            layer.bias.copy_(cr.tensor(-np.inf))
        x = cr.ones(2, layer.in_channels, 11, 11)
        assert not cr.relu(layer(x)).detach().numpy().any()
        with (
            cr.detect_anomaly(),
            pytest.raises(AnomalyError, match=r"forward of Conv\(.*in layer \S+ \(Conv2d\)$"),
            np.errstate(all="ignore"),
        ):
            model(x)


def test_backward_by_hand_leaves_statistics_alone() -> None:
    fused, apart = pair("block")
    x, results = cr.tensor(images()), []
    for model in (fused, apart):
        y = model.forward(x)
        before = {name: b.numpy().copy() for name, b in model.named_buffers()}
        results.append(model.backward(x, cr.ones_like(y)))
        for name, b in model.named_buffers():
            np.testing.assert_array_equal(b, before[name], err_msg=name)
        assert int(before["bn.num_batches_tracked"]) == 1
    np.testing.assert_array_equal(*results)


def test_on_device_meta() -> None:
    model = chained(Chain)
    assert model(cr.zeros(2, 3, 11, 11, device="meta")).shape == (2, 5)
    assert model[1].num_batches_tracked.item() == 0
