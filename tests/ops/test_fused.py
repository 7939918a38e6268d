"""Fused operations give what their members give one after the other, to the last bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import GraphError, KindError, ShapeError
from chainrule.nn import functional as F
from chainrule.ops.fused import AddReLU, BatchNormReLU, ConvReLU, ReLUMaxPool
from chainrule.ops.norm import BatchNorm
from tests.layouts import LAYOUTS

NAN, INF = float("nan"), float("inf")
EXTREME = [NAN, INF, -INF, 0.0, -0.0, 1e-40, -1e-40, 1e300, -1e300]
KINDS = ["float32", "float64"]
Pair = tuple[Callable[..., Any], Callable[..., Any]]


@pytest.fixture(autouse=True)
def _on_the_reference() -> Iterator[None]:
    """Bit for bit is a promise of the reference; fast kernels round in ways of their own."""
    with cr.use_backend("numpy"):
        yield


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def wild(*shape: int, seed: int = 0, share: float = 0.2) -> np.ndarray:
    """Normal values, some of them extreme or 0."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    with np.errstate(over="ignore"):
        return np.where(rng.random(shape) < share, rng.choice(EXTREME, shape), x)


def outcome(function: Callable[..., Any], arrays: list[Any]) -> list[np.ndarray]:
    """The value, and the gradient of every input by a fixed (and wild) upstream gradient."""
    inputs = [
        cr.Tensor(a, requires_grad=a.dtype.kind == "f") if isinstance(a, np.ndarray) else a
        for a in arrays
    ]
    y = function(*inputs)
    found = [y.detach().numpy()]
    if y.requires_grad:
        with np.errstate(all="ignore"):
            y.backward(cr.Tensor(wild(*y.shape, seed=9, share=0.05).astype(y.dtype)))
        found += [x.grad.numpy() for x in inputs if isinstance(x, cr.Tensor) and x.requires_grad]
    return found


def agree(pair: Pair, *arrays: Any) -> list[np.ndarray]:
    """Require that the fused function is the composition, in every dtype and order of memory."""
    for dtype, layout in itertools.product(KINDS, [None, *LAYOUTS]):
        with np.errstate(over="ignore"):
            given = [
                a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
                for a in arrays
            ]
        if layout:
            given = [LAYOUTS[layout](a) if isinstance(a, np.ndarray) else a for a in given]
        fused, apart = (outcome(function, given) for function in pair)
        assert len(fused) == len(apart)
        for f, a in zip(fused, apart, strict=True):
            assert f.dtype == a.dtype
            np.testing.assert_array_equal(f, a, err_msg=f"{dtype}, {layout}")
    return fused


CONV: Pair = (F.conv2d_relu, lambda *a, **k: F.relu(F.conv2d(*a, **k)))
ADD: Pair = (F.add_relu, lambda a, b: F.relu(a + b))
POOL: Pair = (F.relu_max_pool2d, lambda x, *a, **k: F.max_pool2d(F.relu(x), *a, **k))


def with_settings(pair: Pair, *settings: Any, **more: Any) -> Pair:
    first, second = pair
    return (
        lambda *x: first(*x, *settings, **more),
        lambda *x: second(*x, *settings, **more),
    )


# Convolution and ReLU


def without_bias(convolve: Callable[..., Any], settings: Any) -> Callable[..., Any]:
    return lambda x, w: convolve(x, w, None, *settings)


@pytest.mark.parametrize(
    "settings",
    [(), (2,), ((1, 2), 1), (1, "same"), (1, (0, 2), 2), (2, 1, (1, 2), 2), (1, 0, 1, 4)],
    ids=str,
)
@pytest.mark.parametrize("draw", [normal, wild])
def test_convolution(settings: Any, draw: Any) -> None:
    groups = settings[3] if len(settings) > 3 else 1
    x, w, b = draw(2, 4, 7, 6), normal(4, 4 // groups, 3, 2, seed=1), normal(4, seed=2)
    fused = agree(with_settings(CONV, *settings), x, w, b)
    assert (fused[0] == 0).any()
    assert (fused[0] > 0).any()
    agree((without_bias(CONV[0], settings), without_bias(CONV[1], settings)), x, w)


def test_convolution_of_one_image_and_of_none() -> None:
    agree(CONV, normal(2, 4, 5), normal(3, 2, 3, 3), normal(3))
    agree(CONV, normal(0, 2, 4, 5), normal(3, 2, 3, 3), normal(3))


def test_convolution_of_integers_has_no_gradient() -> None:
    x, w = cr.tensor([[[1, 2, 4]]]), cr.tensor([[[[1, -1]]], [[[-1, 1]]]])
    assert F.conv2d_relu(x, w).tolist() == [[[0, 0]], [[1, 2]]]


def test_wrong_convolutions_are_refused_by_the_fused_name() -> None:
    with pytest.raises(ShapeError, match=r"^conv2d_relu: .*3 input channels.*in ConvReLU\("):
        F.conv2d_relu(cr.zeros(1, 2, 4, 4), cr.zeros(1, 3, 2, 2))
    with pytest.raises(KindError, match="one dtype"):
        F.conv2d_relu(cr.zeros(1, 1, 4, 4), cr.zeros(1, 1, 2, 2, dtype=cr.float64))
    with pytest.raises(ShapeError, match="groups"):
        F.conv2d_relu(cr.zeros(1, 1, 4, 4), cr.zeros(1, 1, 2, 2), groups=0)


# Batch norm and ReLU


def norm(relu: Any, training: bool, names: tuple[str, ...]) -> Callable[..., Any]:
    """Batch norm of (x, *named) with ReLU after it, and the moved running values behind it."""

    def call(x: Any, *values: Any) -> Any:
        mean, var = (cr.tensor(v).to(x.dtype) for v in ([0.3, -1.0, 0.0], [0.5, 1.0, 2.0]))
        y = relu(x, mean, var, training=training, momentum=0.3, eps=1e-3,
                 **dict(zip(names, values, strict=True)))  # fmt: skip
        return cr.cat([y.reshape(-1), mean, var])

    return call


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6), (2, 3, 4, 5), (2, 3, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("draw", [normal, wild])
@pytest.mark.parametrize("names", [(), ("weight",), ("bias",), ("weight", "bias")], ids=str)
def test_batch_norm(training: bool, shape: Any, draw: Any, names: tuple[str, ...]) -> None:
    fused = norm(F.batch_norm_relu, training, names)
    apart = norm(lambda *a, **k: F.relu(F.batch_norm(*a, **k)), training, names)
    found = agree((fused, apart), draw(*shape), *(normal(3, seed=s) for s, _ in enumerate(names)))
    assert len(found) == 2 + len(names)


def test_gradients_of_the_running_values() -> None:
    arrays = [wild(2, 3, 4), normal(3), np.array([0.5, 1.0, 2.0]), normal(3), normal(3)]
    gy, every = wild(2, 3, 4, seed=4), (True,) * 5
    with np.errstate(all="ignore"):
        fused, apart = BatchNormReLU(False, 1e-3), BatchNorm(False, 1e-3)
        (y,), saved = fused.forward(np, *arrays)
        (z,), inner = apart.forward(np, *arrays)
        np.testing.assert_array_equal(y, np.where(z <= 0, 0.0, z))
        theirs = apart.backward(np, inner, np.where(z <= 0, 0.0, gy), every)
        ours = fused.backward(np, saved, gy, every)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_running_values_and_with_an_empty_batch() -> None:
    pair: Pair = (
        lambda x: F.batch_norm_relu(x, None, None, training=True),
        lambda x: F.relu(F.batch_norm(x, None, None, training=True)),
    )
    agree(pair, normal(4, 3, 2))
    agree(pair, normal(0, 3, 2))
    mean, var = cr.zeros(3), cr.ones(3)
    F.batch_norm_relu(cr.zeros(0, 3), mean, var, training=True)
    assert (mean.tolist(), var.tolist()) == ([0.0] * 3, [1.0] * 3)


def test_float16_with_float32_statistics() -> None:
    x = cr.tensor(normal(6, 3, 4)).to(cr.float16)
    given = (cr.zeros(3), cr.ones(3), cr.tensor([1.0, -2.0, 0.5]), cr.zeros(3), True)
    fused, apart = F.batch_norm_relu(x, *given), F.relu(F.batch_norm(x, *given))
    assert fused.dtype == cr.float16
    np.testing.assert_array_equal(fused, apart)


def test_wrong_norms_are_refused_by_the_fused_name() -> None:
    x, v = cr.zeros(4, 3), cr.ones(3)
    wrong: list[tuple[Any, Any, Any]] = [
        ((cr.zeros(1, 3), v, v, None, None, True), ShapeError, "more than 1 value"),
        ((x, cr.ones(4), v), ShapeError, "mean of shape"),
        ((x, None, None), ShapeError, "evaluation mode"),
        ((x, v, None, None, None, True), ShapeError, "both or neither"),
        ((x, v, v, 1.0), KindError, "to be a tensor"),
        ((x, v, v, None, None, True, "a"), KindError, "a number"),
        ((x, v, v, None, None, 1), KindError, "training"),
        ((x, v, v, None, None, True, 0.1, 0.0), ShapeError, "eps > 0"),
        ((x, v.double(), v, None, None, True), KindError, "one dtype"),
        ((x, cr.ones(3, requires_grad=True), v), GraphError, "no gradients"),
    ]
    for given, error, rule in wrong:
        with pytest.raises(error, match=f"^batch_norm_relu.*{rule}"):
            F.batch_norm_relu(*given)


# Addition and ReLU


@pytest.mark.parametrize(
    "shapes", [((3, 4), (3, 4)), ((2, 3, 5), (3, 1)), ((), (2, 3)), ((4, 1), (2, 1, 3)), ((), ())]
)
def test_addition(shapes: Any) -> None:
    for draw in (normal, wild):
        agree(ADD, *(draw(*shape, seed=i) for i, shape in enumerate(shapes)))


def test_addition_of_a_tensor_to_itself_and_of_what_is_shared() -> None:
    """One gradient goes to both operands: the walk must not add into memory of two owners."""
    agree((lambda a: F.add_relu(a, a), lambda a: F.relu(a + a)), wild(3, 4))

    def residual(add: Any) -> Any:
        return lambda x, y: add(add(x * 2, y), add(x, y) * 3) + x

    agree((residual(F.add_relu), residual(lambda a, b: F.relu(a + b))), wild(3, 4), wild(3, 4))


def test_addition_promotes_as_add_does() -> None:
    whole = cr.tensor([1, -2])
    assert F.add_relu(whole, 1).tolist() == [2, 0]
    assert F.add_relu(whole, 1).dtype == cr.int64
    assert F.add_relu(whole, 0.5).dtype == cr.float32
    assert F.add_relu(cr.tensor([1.0, -2.0]).double(), whole).dtype == cr.float64
    assert F.add_relu(np.ones(2, np.float32), cr.ones(2)).tolist() == [2.0, 2.0]


def test_wrong_additions_are_refused_by_the_fused_name() -> None:
    with pytest.raises(ShapeError, match=r"^add_relu: .*axis -1 has 3 and 4"):
        F.add_relu(cr.zeros(3), cr.zeros(4))
    with pytest.raises(KindError, match=r"^add_relu: .*booleans"):
        F.add_relu(cr.tensor([True]), cr.tensor([False]))
    with pytest.raises(KindError, match="add_relu"):
        F.add_relu([1.0], cr.ones(1))


# ReLU and max pooling


@pytest.mark.parametrize(
    "settings",
    [
        (2,),
        (3, 2),
        (3, 1, 1),
        (3, 2, 1, 1, True),
        ((1, 3), (2, 1), (0, 1)),
        (2, 2, 1, 3),
        (2, 1, 1, 8),
        ((2, 3), 1, 1, (5, 4), True),
        (1,),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (3, 7, 9)], ids=str)
def test_pooling(settings: Any, shape: tuple[int, ...]) -> None:
    pair = with_settings(POOL, *settings)
    for share in (0.0, 0.1, 0.6, 1.0):
        agree(pair, wild(*shape, share=share))
    agree(pair, -np.abs(normal(*shape)))
    ties = np.random.default_rng(1).integers(-2, 3, shape)
    agree(pair, ties.astype(np.float64))
    agree(pair, ties)
    agree(pair, np.full(shape, -INF))
    agree(pair, np.full(shape, NAN))


def test_pooling_of_padding_alone_is_reached() -> None:
    """A dilated window that holds padding alone is minus infinity, which no ReLU has seen."""
    y = F.relu_max_pool2d(cr.zeros(1, 3, 3), 2, 1, 1, 4)
    assert y.tolist() == F.max_pool2d(cr.zeros(1, 3, 3), 2, 1, 1, 4).tolist()
    assert y.tolist()[0][0] == [-INF]


def test_pooling_of_no_images() -> None:
    agree(with_settings(POOL, 2), normal(0, 2, 4, 4))


def test_wrong_poolings_are_refused_by_the_fused_name() -> None:
    for given in [(3, 1, 2), (0,), (2, 0)]:
        with pytest.raises(ShapeError, match=r"^relu_max_pool2d"):
            F.relu_max_pool2d(cr.zeros(1, 4, 4), *given)
    with pytest.raises(ShapeError, match=r"^relu_max_pool: .*in ReLUMaxPool\("):
        F.relu_max_pool2d(cr.zeros(1, 2, 2), 3)
    with pytest.raises(KindError):
        F.relu_max_pool2d(cr.ones(1, 2, 2).to(cr.bool), 2)


# All of them


@pytest.mark.parametrize("op", [ConvReLU, BatchNormReLU, AddReLU, ReLUMaxPool])
def test_images_in_channels_last_order_come_out_so(op: Any) -> None:
    """Values and gradients keep the order of memory: nothing is reordered on the way."""
    checked = 0
    for sample in op.samples():
        arrays = sample.draw(0)
        if arrays[0].ndim != 4 or 0 in arrays[0].shape:
            continue
        checked += 1
        moved = [LAYOUTS["channels last"](a) for a in arrays]
        (y, *_), saved = sample.op.forward(np, *moved)
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous
        gx = sample.op.backward(np, saved, np.ones_like(y), (True,) * len(arrays))[0]
        assert gx.transpose(0, 2, 3, 1).flags.c_contiguous
    assert checked


def test_on_device_meta_shapes_alone_are_known() -> None:
    x = cr.zeros(2, 3, 8, 8, device="meta")
    w, v = cr.zeros(4, 3, 3, 3, device="meta"), cr.zeros(3, device="meta")
    assert F.conv2d_relu(x, w, padding=1).shape == (2, 4, 8, 8)
    assert F.batch_norm_relu(x, v, v, training=True).shape == x.shape
    assert F.add_relu(x, v.reshape(3, 1, 1)).is_meta
    assert F.relu_max_pool2d(x, 3, 2, 1).shape == (2, 3, 4, 4)
