"""Batch and local response normalisation against their formulas in float64, and their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.nn import functional as F
from chainrule.ops.norm import BatchNorm
from chainrule.ops.norm_local import LocalResponseNorm

NAN, INF = float("nan"), float("inf")
SHAPES = [(5, 3), (4, 3, 6), (2, 3, 4, 5), (2, 3, 2, 3, 4)]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def last(x: np.ndarray) -> np.ndarray:
    """The same values with the channels fastest in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def columns(v: np.ndarray, ndim: int) -> np.ndarray:
    return v.reshape(-1, *(1,) * (ndim - 2))


def formula(x: np.ndarray, eps: float, w: Any = 1.0, b: Any = 0.0) -> np.ndarray:
    """Batch norm with NumPy's own mean and variance, in float64."""
    x = x.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    w, b = (columns(np.broadcast_to(v, x.shape[1:2]), x.ndim) for v in (w, b))
    return np.asarray((x - mean) / np.sqrt(var + eps) * w + b)


# Batch normalisation


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_training_normalises_the_batch(shape: tuple[int, ...], eps: float) -> None:
    x, w, b = 3 * normal(*shape) + 2, normal(3), normal(3, seed=1)
    axes = (0, *range(2, x.ndim))
    for given in (x, last(x), x[::-1][::-1], np.asfortranarray(x)):
        (y, mean, var), _ = BatchNorm(True, eps).forward(np, given, w, b)
        np.testing.assert_allclose(y, formula(x, eps, w, b), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(mean, x.mean(axes), rtol=1e-13)
        np.testing.assert_allclose(var, x.var(axes), rtol=1e-12)
    y = F.batch_norm(cr.tensor(x), None, None, training=True, eps=1e-12).numpy()
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axes), 1, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_uses_the_running_values(shape: tuple[int, ...]) -> None:
    x, mean, var = normal(*shape), normal(3), np.array([0.5, 1.0, 2.0])
    w, b = normal(3, seed=1), normal(3, seed=2)
    centred = (x - columns(mean, x.ndim)) / np.sqrt(columns(var, x.ndim) + 1e-5)
    t = [cr.tensor(v) for v in (x, mean, var, w, b)]
    np.testing.assert_allclose(F.batch_norm(*t[:3]).numpy(), centred, rtol=1e-12)
    expected = centred * columns(w, x.ndim) + columns(b, x.ndim)
    np.testing.assert_allclose(F.batch_norm(*t).numpy(), expected, rtol=1e-11, atol=1e-13)
    y = F.batch_norm(*t[:3], weight=t[3]).numpy()
    np.testing.assert_allclose(y, centred * columns(w, x.ndim), rtol=1e-11, atol=1e-13)
    y = F.batch_norm(*t[:3], bias=t[4]).numpy()
    np.testing.assert_allclose(y, centred + columns(b, x.ndim), rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(t[1].numpy(), mean)
    np.testing.assert_array_equal(t[2].numpy(), var)


def test_running_values_move_with_the_unbiased_variance() -> None:
    x = cr.tensor([[1.0, 10.0], [3.0, 30.0]])
    mean, var = cr.zeros(2), cr.ones(2)
    array = mean.array
    F.batch_norm(x, mean, var, training=True, momentum=0.25)
    assert mean.array is array
    assert mean.tolist() == [0.5, 5.0]
    assert var.tolist() == [0.75 + 0.25 * 2, 0.75 + 0.25 * 200]
    F.batch_norm(x, mean, var, training=True, momentum=0.0)
    assert mean.tolist() == [0.5, 5.0]
    F.batch_norm(x, mean, var, training=True, momentum=1.0)
    assert (mean.tolist(), var.tolist()) == ([2.0, 20.0], [2.0, 200.0])


def test_moving_running_values_is_noted() -> None:
    """A graph that kept the old values refuses; evaluation keeps none of them."""
    x, w = cr.tensor(normal(4, 3)), cr.tensor(normal(3), requires_grad=True)
    mean, var = cr.zeros(3, dtype="float64"), cr.ones(3, dtype="float64")
    stale, fresh = w * mean, F.batch_norm(x, mean, var, w)
    F.batch_norm(x, mean, var, training=True)
    fresh.sum().backward()
    with pytest.raises(cr.GraphError):
        stale.sum().backward()


@pytest.mark.parametrize("change", [lambda x: x, last])
@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4, 1e6])
def test_large_mean_in_float32(change: Any, mean: float) -> None:
    """Values that float32 holds exactly keep their variance, whatever their mean."""
    x = np.round(16 * normal(8, 3, 80, 50)).astype(np.float32) / 16 + np.float32(mean)
    w, b = np.ones(3, np.float32), np.zeros(3, np.float32)
    (y, m, v), saved = BatchNorm(True, 1e-5).forward(np, change(x), w, b)
    np.testing.assert_allclose(y, formula(x, 1e-5), rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(m, x.mean((0, 2, 3), dtype=np.float64), rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(v, x.astype(np.float64).var((0, 2, 3)), rtol=2e-6)
    gy = normal(*x.shape, seed=1).astype(np.float32)
    gx, gw, gb = BatchNorm(True, 1e-5).backward(np, saved, (gy, None, None), (True,) * 3)
    exact = BatchNorm(True, 1e-5).forward(np, *(a.astype(np.float64) for a in (x, w, b)))[1]
    wide = gy.astype(np.float64)
    ex, ew, eb = BatchNorm(True, 1e-5).backward(np, exact, (wide, None, None), (True,) * 3)
    np.testing.assert_allclose(gx, ex, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(gw, ew, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(gb, eb, rtol=1e-5, atol=1e-3)


def test_constant_channel_becomes_the_bias() -> None:
    for value in (0.0, 1.1, 3e4):
        x = np.full((5, 2, 7), value, np.float32)
        (y, _, var), _ = BatchNorm(True).forward(
            np, x, np.ones(2, np.float32), np.ones(2, np.float32)
        )
        assert (var >= 0).all()
        np.testing.assert_allclose(y, 1.0, atol=1e-4)


def test_batch_gradient_has_no_mean_and_no_part_along_the_input() -> None:
    """What training takes away: shifting or scaling the input changes nothing (eps = 0)."""
    x, w = normal(4, 3, 5), normal(3)
    _, saved = BatchNorm(True, 1e-14).forward(np, x, w, w)
    gx, _, _ = BatchNorm(True, 1e-14).backward(
        np, saved, (normal(4, 3, 5, seed=1), None, None), (True,) * 3
    )
    np.testing.assert_allclose(gx.sum((0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose((gx * x).sum((0, 2)), 0, atol=1e-10)


def test_empty_batch_moves_nothing() -> None:
    for shape in ((0, 3), (0, 3, 4), (2, 3, 0)):
        x = cr.zeros(*shape, requires_grad=True)
        w, b = cr.ones(3, requires_grad=True), cr.zeros(3, requires_grad=True)
        mean, var = cr.zeros(3), cr.ones(3)
        for training in (True, False):
            y = F.batch_norm(x, mean, var, w, b, training)
            assert y.shape == shape
            y.sum().backward()
        assert (mean.tolist(), var.tolist()) == ([0.0] * 3, [1.0] * 3)
        for t in (x, w, b):
            assert t.grad is not None
            assert np.abs(t.grad.numpy()).sum() == 0
    assert F.batch_norm(cr.zeros(2, 0), None, None, training=True).shape == (2, 0)


def test_nan_stays_in_its_channel() -> None:
    x = normal(4, 3, 2)
    x[1, 0, 1], x[2, 1, 0] = NAN, INF
    mean, var = cr.zeros(3, dtype="float64"), cr.ones(3, dtype="float64")
    y = F.batch_norm(cr.tensor(x), mean, var, training=True).numpy()
    np.testing.assert_allclose(y[:, 2], formula(x[:, 2:], 1e-5)[:, 0], rtol=1e-12)
    assert np.isnan(y[:, :2]).all()
    assert np.isnan(mean.tolist()).tolist() == [True, False, False]
    assert mean.tolist()[1] == INF


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_dtype_is_kept(kind: str) -> None:
    for channels in ("float32", kind) if kind == "float16" else (kind,):
        x = cr.tensor(normal(6, 3, 4).astype(kind), requires_grad=True)
        w = cr.tensor(normal(3).astype(channels), requires_grad=True)
        mean, var = cr.zeros(3, dtype=channels), cr.ones(3, dtype=channels)
        for training in (True, False):
            y = F.batch_norm(x, mean, var, w, training=training)
            assert (y.dtype, mean.dtype) == (np.dtype(kind), np.dtype(channels))
            y.backward(cr.ones(6, 3, 4, dtype=kind))
        assert x.grad is not None
        assert w.grad is not None
        assert (x.grad.dtype, w.grad.dtype) == (np.dtype(kind), np.dtype(channels))


def test_float16_sums_do_not_overflow() -> None:
    x = np.full((64, 1, 32, 32), 100.0, np.float16)
    x[::2] = -100.0
    (y, mean, var), _ = BatchNorm(True).forward(np, x)
    assert mean[0] == 0
    assert var[0] == 10000
    np.testing.assert_allclose(np.abs(y.astype(np.float64)), 1, rtol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_memory_order_is_kept(training: bool) -> None:
    x, v = last(normal(2, 3, 4, 5)), np.ones(3)
    op, inputs = BatchNorm(training), (x, v, v) if training else (x, v, v, v, v)
    outputs, saved = op.forward(np, *inputs)
    assert outputs[0].strides == x.strides
    gy = normal(2, 3, 4, 5)
    gx = op.backward(np, saved, (gy, None, None) if training else gy, (True,) * len(inputs))[0]
    assert gx.strides == x.strides


def test_meta_tensors_have_shapes_alone() -> None:
    x, mean, var = (cr.zeros(*s, device="meta") for s in ((4, 3, 5), (3,), (3,)))
    y = F.batch_norm(x, mean, var, training=True)
    assert y.is_meta
    assert y.shape == (4, 3, 5)
    assert F.local_response_norm(x, 5).is_meta


def test_running_values_may_want_gradients_where_none_are_recorded() -> None:
    mean = cr.zeros(3, requires_grad=True)
    with cr.no_grad():
        assert F.batch_norm(cr.zeros(2, 3), mean, cr.ones(3)).shape == (2, 3)


X, V = cr.tensor(normal(4, 3)), cr.ones(3, dtype="float64")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.batch_norm(X[:1], V, V, training=True), cr.ShapeError, "more than 1 value per"),
        (
            lambda: F.batch_norm(cr.zeros(1, 3, 1), None, None, training=True),
            cr.ShapeError,
            r"not 1 \* 1 = 1",
        ),
        (lambda: F.batch_norm(X, V, None), cr.ShapeError, "evaluation mode.*training=True"),
        (lambda: F.batch_norm(X, V, None, training=True), cr.ShapeError, "both or neither"),
        (lambda: F.batch_norm(X, V, V[:2]), cr.ShapeError, r"variance of shape \(3,\)"),
        (lambda: F.batch_norm(X, V, V, V[:2]), cr.ShapeError, r"weight of shape \(3,\)"),
        (lambda: F.batch_norm(X, V, V, V, V[:2]), cr.ShapeError, r"bias of shape \(3,\)"),
        (lambda: F.batch_norm(V, V, V), cr.ShapeError, "at least 2 axes"),
        (lambda: F.batch_norm(X, V, V, eps=-1.0), cr.ShapeError, "eps >= 0"),
        (lambda: F.batch_norm(X, V, V, training=True, eps=0), cr.ShapeError, "eps > 0 in train"),
        (lambda: F.batch_norm(X, V, V, momentum=None), cr.KindError, "momentum: expected a num"),
        (lambda: F.batch_norm(X, V, V, training=1), cr.KindError, "training: expected True or F"),
        (lambda: F.batch_norm(X, V, V, 1.0), cr.KindError, "weight or bias to be a tensor"),
        (lambda: F.batch_norm(X, cr.ones(3), cr.ones(3)), cr.KindError, "one dtype.*float64"),
        (lambda: F.batch_norm(X.to(cr.int64), V, V), cr.KindError, "floating-point"),
        (
            lambda: F.batch_norm(X, cr.ones(3, dtype="float64", requires_grad=True), V),
            cr.GraphError,
            "running_mean",
        ),
        (lambda: F.local_response_norm(X, 0), cr.ShapeError, "size of at least 1, not 0"),
        (lambda: F.local_response_norm(X, 2.5), cr.KindError, "size"),
        (lambda: F.local_response_norm(X, 2, alpha=None), cr.KindError, "a number"),
        (lambda: F.local_response_norm(X, 2), cr.ShapeError, "at least 3 axes"),
        (lambda: F.local_response_norm(X[None].long(), 2), cr.KindError, "floating-point"),
        (lambda: F.local_response_norm_within(X, 2), cr.ShapeError, "an odd size.*not 2"),
        (lambda: F.local_response_norm_within(X, 3), cr.ShapeError, "at least 3 axes"),
        (lambda: F.local_response_norm_within(X, 3, k="a"), cr.KindError, "a number"),
        (lambda: F.local_response_norm_within(X, 3.0), cr.KindError, "size"),
    ],
)
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    before = V.tolist()
    with pytest.raises(error, match=text):
        call()
    assert V.tolist() == before


# Local response normalisation


def loop(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        around = [
            x[:, j] ** 2
            for j in range(c - size // 2, c + (size - 1) // 2 + 1)
            if 0 <= j < x.shape[1]
        ]
        y[:, c] = x[:, c] / (k + alpha / size * sum(around)) ** beta
    return y


@pytest.mark.parametrize("size", [*range(1, 9), 13, 50])
@pytest.mark.parametrize("shape", [(3, 7, 1), (2, 7, 3), (2, 6, 2, 3), (1, 1, 2)])
def test_local_response_norm_is_the_loop(size: int, shape: tuple[int, ...]) -> None:
    x = 2 * normal(*shape)
    for settings in ((1e-4, 0.75, 1.0), (0.5, 0.75, 2.0), (1.0, 0.5, 0.1), (0.3, 1.7, 1.0)):
        for given in (x, last(x), x[:, ::-1][:, ::-1]):
            y = F.local_response_norm(cr.tensor(given), size, *settings)
            np.testing.assert_allclose(y.numpy(), loop(x, size, *settings), rtol=1e-12)


def test_alexnet_constants() -> None:
    """The paper does not divide by n: its alpha=1e-4, n=5, k=2 are alpha=5e-4 here."""
    x = 50 * normal(1, 9, 1)
    paper = [
        v / (2 + 1e-4 * sum(x[0, max(0, c - 2) : c + 3, 0] ** 2)) ** 0.75
        for c, v in enumerate(x[0, :, 0])
    ]
    y = F.local_response_norm(cr.tensor(x), 5, 5e-4, 0.75, 2.0)
    np.testing.assert_allclose(y.numpy()[0, :, 0], paper, rtol=1e-12)


def test_local_response_norm_keeps_values_in_their_windows() -> None:
    """Neither NaN nor the rounding of a huge value reaches channels that do not see it."""
    x = np.ones((1, 12, 2), np.float32)
    clean = F.local_response_norm(cr.tensor(x), 3, 1.0).numpy()
    x[0, 2, 0], x[0, 2, 1] = NAN, 1e12
    y = F.local_response_norm(cr.tensor(x), 3, 1.0).numpy()
    np.testing.assert_array_equal(y[0, [0, *range(4, 12)]], clean[0, [0, *range(4, 12)]])
    assert np.isnan(y[0, 1:4, 0]).all()


def test_local_response_norm_of_float16_and_of_nothing() -> None:
    x = (100 * normal(2, 5, 3)).astype(np.float16)
    (y,), saved = LocalResponseNorm(3, 1.0).forward(np, x)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, loop(x.astype(np.float64), 3, 1.0, 0.75, 1.0), rtol=1e-3)
    assert LocalResponseNorm(3, 1.0).backward(np, saved, y, (True,))[0].dtype == np.float16
    for shape in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
        t = cr.zeros(*shape, requires_grad=True)
        y = F.local_response_norm(t, 5)
        y.sum().backward()
        assert t.grad is not None
        assert y.shape == t.grad.shape == shape


def loop_within(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    y, reach = np.zeros(x.shape), size // 2
    for place in np.ndindex(x.shape):
        near = [slice(max(0, i - reach), i + reach + 1) for i in place[2:]]
        square = (x[(*place[:2], *near)] ** 2).sum()
        y[place] = x[place] / (k + alpha / size ** len(near) * square) ** beta
    return y


@pytest.mark.parametrize("size", [1, 3, 5, 9])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 2, 5, 4), (1, 2, 3, 2, 4)])
def test_local_response_norm_within_a_channel_is_the_loop(
    size: int, shape: tuple[int, ...]
) -> None:
    x = 2 * normal(*shape)
    for settings in ((1e-4, 0.75, 1.0), (0.5, 0.75, 2.0), (1.0, 0.5, 0.1)):
        for given in (x, last(x), x[:, ::-1][:, ::-1]):
            y = F.local_response_norm_within(cr.tensor(given), size, *settings)
            np.testing.assert_allclose(y.numpy(), loop_within(x, size, *settings), rtol=1e-12)
