"""Rows, groups, instances, vectors and contrast against their formulas in float64, and edges."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.nn import functional as F
from chainrule.ops.norm_common import LONG, centred, sums
from chainrule.ops.norm_group import GroupNorm
from chainrule.ops.norm_layer import LayerNorm, RMSNorm
from tests.layouts import LAYOUTS

NAN, INF = float("nan"), float("inf")
SHAPES = [(5, 4), (3, 4, 6), (2, 4, 3, 5), (2, 4, 2, 3, 4)]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def rows(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    """Bring the values of the axes to mean 0 and variance 1, in float64."""
    x = x.astype(np.float64)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(var + eps))


def columns(v: np.ndarray, ndim: int) -> np.ndarray:
    return v.reshape(-1, *(1,) * (ndim - 2))


# Sums


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_along_any_axes_in_any_layout(dtype: str) -> None:
    for shape in ((3, 4), (2, 3, 40, 50), (1, 5000), (2, 2 * LONG, 2), (1031, 2), (0, 3), (2, 0)):
        x = normal(*shape).astype(dtype)
        for count, change in itertools.product(range(len(shape) + 1), LAYOUTS.values()):
            axes, a = tuple(range(len(shape) - count, len(shape))), change(x)
            wide = x.astype(np.float64)
            got = sums(np, a, axes)
            assert got.dtype == np.float64
            tolerance = {"rtol": 1e-5, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11}
            np.testing.assert_allclose(got, wide.sum(axes, keepdims=True), **tolerance)
            both = sums(np, a, axes, change(np.cos(x)))
            np.testing.assert_allclose(
                both, (wide * np.cos(x)).sum(axes, keepdims=True), **tolerance
            )


def test_long_sums_in_float32_stay_exact() -> None:
    for n in (1 << 20, 1000003):  # the latter a prime
        x = np.full((1, n), 0.1, np.float32)
        assert abs(sums(np, x, (1,))[0, 0] / (n * float(np.float32(0.1))) - 1) < 1e-5
        assert abs(sums(np, x.T, (0,), x.T)[0, 0] / (n * float(np.float32(0.1)) ** 2) - 1) < 1e-5


@pytest.mark.parametrize("mean", [0.0, 1e2, 1e4, 1e6])
def test_a_large_mean_leaves_the_variance(mean: float) -> None:
    x = (np.round(16 * normal(3, 4000)) / 16 + mean).astype(np.float32)
    centre, rest, offset, variance = centred(np, x, (1,))
    wanted = x.mean(1, dtype=np.float64)[:, None]
    np.testing.assert_allclose(centre + offset, wanted, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(variance[:, 0], x.astype(np.float64).var(1), rtol=1e-5)
    assert rest.dtype == np.float32
    (y,), _ = LayerNorm((4000,)).forward(np, x)
    np.testing.assert_allclose(y, rows(x, (1,), 1e-5), rtol=1e-5, atol=1e-5)


# Layer normalisation, and by the root mean square


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_layer_norm_is_the_formula(shape: tuple[int, ...], eps: float) -> None:
    x = 3 * normal(*shape) + 2
    for axes in range(1, len(shape) + 1):
        last = shape[-axes:]
        w, b = normal(*last, seed=1), normal(*last, seed=2)
        wanted = rows(x, tuple(range(-axes, 0)), eps)
        for change in LAYOUTS.values():
            (y,), _ = LayerNorm(last, eps).forward(np, change(x), w, b)
            np.testing.assert_allclose(y, wanted * w + b, rtol=1e-11, atol=1e-12)
        t, tw, tb = (cr.tensor(v) for v in (x, w, b))
        for given, right in (
            ((), wanted),
            ((tw,), wanted * w),
            ((None, tb), wanted + b),
            ((tw, tb), wanted * w + b),
        ):
            y = F.layer_norm(t, last, *given, eps=eps).numpy()
            np.testing.assert_allclose(y, right, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm_is_the_formula(shape: tuple[int, ...]) -> None:
    x = 3 * normal(*shape) + 2
    for axes, eps in itertools.product(range(1, len(shape) + 1), (None, 1e-5, 0.3)):
        last = shape[-axes:]
        square = (x * x).mean(tuple(range(-axes, 0)), keepdims=True)
        wanted = x / np.sqrt(square + (np.finfo(np.float64).eps if eps is None else eps))
        w = normal(*last, seed=1)
        np.testing.assert_allclose(F.rms_norm(cr.tensor(x), last, eps=eps), wanted, rtol=1e-12)
        y = F.rms_norm(cr.tensor(x), list(last), cr.tensor(w), eps)
        np.testing.assert_allclose(y, wanted * w, rtol=1e-12)


def test_the_smallest_eps_is_that_of_the_dtype_of_the_sums() -> None:
    for kind, eps in (("float64", 2.0**-52), ("float32", 2.0**-23), ("float16", 2.0**-23)):
        x = cr.full((1, 4), 1e-4, dtype=kind)
        value = np.asarray(x.numpy(), np.float64)[0, 0]
        wanted = value / np.sqrt(value**2 + eps)
        assert F.rms_norm(x, (4,)).numpy()[0, 0] == pytest.approx(wanted, rel=1e-3)


def test_gradients_of_rows_have_no_mean_and_no_part_along_them() -> None:
    x, w = normal(4, 30), normal(30, seed=1)
    _, saved = LayerNorm((30,), 1e-14).forward(np, x, w, w)
    gx, _, _ = LayerNorm((30,), 1e-14).backward(np, saved, normal(4, 30, seed=2), (True,) * 3)
    np.testing.assert_allclose(gx.sum(1), 0, atol=1e-12)
    np.testing.assert_allclose((gx * x).sum(1), 0, atol=1e-11)
    _, saved = RMSNorm((30,), 1e-14).forward(np, x, w)
    gx, _ = RMSNorm((30,), 1e-14).backward(np, saved, normal(4, 30, seed=2), (True,) * 2)
    np.testing.assert_allclose((gx * x).sum(1), 0, atol=1e-11)
    assert np.abs(gx.sum(1)).min() > 1e-3


# Groups and instances


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_group_norm_is_the_formula(shape: tuple[int, ...], groups: int, eps: float) -> None:
    x, w, b = 3 * normal(*shape) + 2, normal(4, seed=1), normal(4, seed=2)
    grouped = x.reshape(shape[0], groups, -1)
    wanted = rows(grouped, (2,), eps).reshape(shape)
    for change in LAYOUTS.values():
        (y, mean, variance), _ = GroupNorm(groups, eps).forward(np, change(x), w, b)
        right = wanted * columns(w, x.ndim) + columns(b, x.ndim)
        np.testing.assert_allclose(y, right, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(mean, grouped.mean(2), rtol=1e-12)
        np.testing.assert_allclose(variance, grouped.var(2), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(
        F.group_norm(cr.tensor(x), groups, eps=eps), wanted, rtol=1e-10, atol=1e-11
    )


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_instance_norm_is_the_formula(shape: tuple[int, ...]) -> None:
    x, w, b = 3 * normal(*shape) + 2, normal(4, seed=1), normal(4, seed=2)
    wanted = rows(x, tuple(range(2, x.ndim)), 1e-5)
    t = [cr.tensor(v) for v in (x, w, b)]
    np.testing.assert_allclose(F.instance_norm(t[0]), wanted, rtol=1e-10, atol=1e-11)
    y = F.instance_norm(t[0], weight=t[1], bias=t[2])
    right = wanted * columns(w, x.ndim) + columns(b, x.ndim)
    np.testing.assert_allclose(y, right, rtol=1e-10, atol=1e-11)


def test_running_values_move_towards_the_average_over_images() -> None:
    x = normal(3, 4, 6)
    mean, var = cr.zeros(4, dtype="float64"), cr.ones(4, dtype="float64")
    array = mean.array
    F.instance_norm(cr.tensor(x), mean, var, momentum=0.25)
    assert mean.array is array
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean(2).mean(0), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var(2, ddof=1).mean(0), rtol=1e-12)
    before = mean.tolist(), var.tolist()
    y = F.instance_norm(cr.tensor(x), mean, var, use_input_stats=False)
    centre, spread = (columns(v.numpy(), 3) for v in (mean, var))
    np.testing.assert_allclose(y, (x - centre) / np.sqrt(spread + 1e-5), rtol=1e-11)
    for nothing in ((0, 4, 3), (2, 4, 0)):
        F.instance_norm(cr.zeros(*nothing, dtype="float64"), mean, var)
    assert (mean.tolist(), var.tolist()) == before


def test_moving_running_values_is_noted() -> None:
    x, w = cr.tensor(normal(2, 4, 3)), cr.tensor(normal(4), requires_grad=True)
    mean, var = cr.zeros(4, dtype="float64"), cr.ones(4, dtype="float64")
    stale = w * mean
    F.instance_norm(x, mean, var)
    with pytest.raises(cr.GraphError):
        stale.sum().backward()


@pytest.mark.parametrize("change", [np.array, LAYOUTS["channels last"]])
def test_memory_order_is_kept(change: Any) -> None:
    x = change(normal(2, 4, 3, 5))
    for op, outputs in ((GroupNorm(2), 3), (GroupNorm(4), 3), (LayerNorm((3, 5)), 1)):
        (y, *_), saved = op.forward(np, x)
        assert y.strides == x.strides
        gy = normal(2, 4, 3, 5)
        (gx,) = op.backward(np, saved, (gy, None, None) if outputs == 3 else gy, (True,))
        assert gx.strides == x.strides


@pytest.mark.parametrize("mean", [1e4, 1e6])
def test_a_large_mean_leaves_the_gradients(mean: float) -> None:
    x = (np.round(16 * normal(2, 4, 900)) / 16 + mean).astype(np.float32)
    gy, w = (normal(*s, seed=1).astype(np.float32) for s in (x.shape, (4,)))
    for op, parameters in ((GroupNorm(2), (w, w)), (LayerNorm((900,)), ())):
        results = []
        for kind in (np.float32, np.float64):
            arrays = [a.astype(kind) for a in (x, *parameters)]
            (_, *more), saved = op.forward(np, *arrays)
            g = gy.astype(kind) + kind(0.5)
            needs = (True,) * len(arrays)
            results.append(op.backward(np, saved, (g, None, None) if more else g, needs))
        for got, wanted in zip(*results, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_nan_stays_in_its_row_and_group() -> None:
    x = normal(3, 4, 5)
    clean = F.layer_norm(cr.tensor(x), (5,)).numpy(), F.group_norm(cr.tensor(x), 2).numpy()
    x[1, 2, 3] = NAN
    y, z = F.layer_norm(cr.tensor(x), (5,)).numpy(), F.group_norm(cr.tensor(x), 2).numpy()
    assert np.isnan(y[1, 2]).all()
    assert np.isnan(z[1, 2:]).all()
    y[1, 2], z[1, 2:] = clean[0][1, 2], clean[1][1, 2:]
    np.testing.assert_array_equal(y, clean[0])
    np.testing.assert_array_equal(z, clean[1])


def test_float16_sums_do_not_overflow() -> None:
    x = np.full((2, 2, 64, 64), 100.0, np.float16)
    x[..., ::2] = -100.0
    t = cr.tensor(x)
    for y in (F.layer_norm(t, (64, 64)), F.group_norm(t, 1), F.instance_norm(t)):
        assert y.dtype == np.float16
        np.testing.assert_allclose(np.abs(y.numpy().astype(np.float64)), 1, rtol=1e-3)


def test_meta_tensors_have_shapes_alone() -> None:
    x, v = cr.zeros(2, 4, 3, device="meta"), cr.zeros(4, device="meta")
    for y in (
        F.layer_norm(x, (3,)),
        F.rms_norm(x, (3,)),
        F.group_norm(x, 2, v, v),
        F.instance_norm(x, v, v),
        F.normalize(x),
        F.mean_variance_norm(x),
        F.contrastive_norm(x),
    ):
        assert y.is_meta
        assert y.shape == (2, 4, 3)


# Vectors


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, INF, -INF, 0])
@pytest.mark.parametrize("dim", [0, 1, -1, (0, 2), None])
def test_normalize_is_the_formula(p: float, dim: Any) -> None:
    x = normal(3, 4, 2)
    axes = (0, 1, 2) if dim is None else dim
    if p in (INF, -INF):
        norm = (np.abs(x).max if p > 0 else np.abs(x).min)(axis=axes, keepdims=True)
    elif p == 0:
        norm = (x != 0).sum(axis=axes, keepdims=True)
    else:
        norm = (np.abs(x) ** p).sum(axis=axes, keepdims=True) ** (1 / p)
    for eps in (1e-12, 2.0):
        y = F.normalize(cr.tensor(x), p, dim, eps)
        np.testing.assert_allclose(y, x / np.maximum(norm, eps), rtol=1e-12)


def test_vectors_of_zeros_stay_and_pass_the_gradient_on() -> None:
    x = cr.zeros(2, 3, requires_grad=True)
    y = F.normalize(x, eps=0.5)
    y.sum().backward()
    assert not y.detach().numpy().any()
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0] * 3] * 2


# Contrast


def local_sums(x: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum kernel * x over positions and average the channels; the same of ones; by loops."""
    n, _, *sizes = x.shape
    got, inside = np.zeros((n, 1, *sizes)), np.zeros((1, 1, *sizes))
    for place in np.ndindex(*sizes):
        for k in np.ndindex(kernel.shape):
            at = tuple(i + j - m // 2 for i, j, m in zip(place, k, kernel.shape, strict=True))
            if all(0 <= i < m for i, m in zip(at, sizes, strict=True)):
                got[(slice(None), 0, *place)] += kernel[k] * x[(..., *at)].mean(1)
                inside[(0, 0, *place)] += kernel[k]
    return got, inside


KERNELS = [
    ((2, 3, 7), np.array([1.0, 2.0, 1.0])),
    ((2, 3, 5, 6), np.arange(1.0, 16.0).reshape(3, 5)),
    ((1, 2, 5, 6), np.array([1.0, 2.0, 0.5])),
    ((1, 2, 3, 4, 3), np.array([1.0, 3.0, 2.0])),
    ((1, 2, 3, 4, 3), np.arange(1.0, 10.0).reshape(3, 1, 3)),
    ((2, 2, 4, 5), None),
]


def whole_kernel(kernel: np.ndarray | None, d: int) -> np.ndarray:
    """Give a kernel of d axes whose sum is 1."""
    one = np.ones(9) if kernel is None else kernel
    if one.ndim < d:
        for _ in range(d - 1):
            one = np.multiply.outer(one, np.ones(9) if kernel is None else kernel)
    return np.asarray(one / one.sum())


@pytest.mark.parametrize(("shape", "kernel"), KERNELS)
def test_subtractive_norm_is_the_loop(shape: tuple[int, ...], kernel: Any) -> None:
    x = normal(*shape) + 1
    local, inside = local_sums(x, whole_kernel(kernel, len(shape) - 2))
    given = None if kernel is None else cr.tensor(kernel)
    y = F.subtractive_norm(cr.tensor(x), given)
    np.testing.assert_allclose(y, x - local / inside, rtol=1e-11, atol=1e-12)
    even = F.subtractive_norm(cr.full(shape, 3.0, dtype="float64"), given)
    np.testing.assert_allclose(even, 0, atol=1e-12)


@pytest.mark.parametrize(("shape", "kernel"), KERNELS)
def test_divisive_norm_is_the_loop(shape: tuple[int, ...], kernel: Any) -> None:
    x = normal(*shape)
    local, inside = local_sums(x * x, whole_kernel(kernel, len(shape) - 2))
    spread = np.sqrt(local) / inside
    for threshold, value in ((1e-4, None), (float(np.median(spread)), None), (0.9, 3.0)):
        below = threshold if value is None else value
        wanted = x / np.where(spread > threshold, spread, below)
        y = F.divisive_norm(cr.tensor(x), kernel, threshold, value)
        np.testing.assert_allclose(y, wanted, rtol=1e-10)


def test_contrastive_norm_is_one_after_the_other() -> None:
    x, kernel = cr.tensor(normal(2, 3, 6, 5)), cr.ones(3, 3)
    y = F.contrastive_norm(x, kernel, 0.1, 0.7)
    wanted = F.divisive_norm(F.subtractive_norm(x, kernel), kernel, 0.1, 0.7)
    np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("name", ["subtractive_norm", "divisive_norm", "contrastive_norm"])
def test_an_image_without_a_batch(name: str) -> None:
    function, x, kernel = getattr(F, name), cr.tensor(normal(3, 6, 5)), cr.ones(3, 5)
    y = function(x, kernel)
    assert y.shape == x.shape
    np.testing.assert_array_equal(y, function(x.unsqueeze(0), kernel)[0])
    assert function(cr.zeros(0, 3, 6, 5)).shape == (0, 3, 6, 5)


CONTRASTS = {
    "subtractive": lambda x: F.subtractive_norm(x, np.array([1.0, 2.0, 1.0])),
    "divisive": lambda x: F.divisive_norm(x, np.ones((3, 3)), 0.6),
    "contrastive": lambda x: F.contrastive_norm(x, np.array([1.0, 2.0, 1.0]), 0.5, 0.8),
    "mean and variance": F.mean_variance_norm,
    "mean": lambda x: F.mean_variance_norm(x, False),
    "all channels": lambda x: F.mean_variance_norm(x, True, True, 0.1),
}


@pytest.mark.parametrize("name", CONTRASTS)
def test_gradients_of_what_is_composed(name: str) -> None:
    call, x = CONTRASTS[name], normal(2, 2, 4, 3)
    weights = normal(*x.shape, seed=1)
    leaf = cr.tensor(x, requires_grad=True)
    (call(leaf) * cr.tensor(weights)).sum().backward()
    assert leaf.grad is not None
    for place in np.ndindex(x.shape):
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * 1e-6
            sides.append(float((call(cr.tensor(moved)).numpy() * weights).sum()))
        numeric = (sides[0] - sides[1]) / 2e-6
        assert leaf.grad.numpy()[place] == pytest.approx(numeric, rel=1e-5, abs=1e-6), place


def test_flat_images_have_a_gradient() -> None:
    """The root of a spread of 0 has an infinite slope, which must not make NaN of 0."""
    x = cr.zeros(1, 2, 5, 5, requires_grad=True)
    (F.contrastive_norm(x) + F.mean_variance_norm(x)).sum().backward()
    assert x.grad is not None
    assert np.isfinite(x.grad.numpy()).all()
    y = F.divisive_norm(x.detach().requires_grad_(), threshold=0.5)
    np.testing.assert_array_equal(y.detach(), 0)


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
@pytest.mark.parametrize("across", [False, True])
def test_mean_variance_norm_is_the_formula(shape: tuple[int, ...], across: bool) -> None:
    x = 3 * normal(*shape) + 2
    axes = tuple(range(1 if across else 2, x.ndim))
    y = x - x.mean(axes, keepdims=True)
    got = F.mean_variance_norm(cr.tensor(x), False, across)
    np.testing.assert_allclose(got, y, rtol=1e-11, atol=1e-12)
    for eps in (1e-9, 0.5):
        got = F.mean_variance_norm(cr.tensor(x), True, across, eps)
        np.testing.assert_allclose(got, y / (x.std(axes, keepdims=True) + eps), rtol=1e-10)


# Misuse

X, V = cr.tensor(normal(2, 4, 3)), cr.ones(4, dtype="float64")
WHOLE = cr.zeros(2, 4, 3, dtype=cr.int64)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.layer_norm(X, (4,)), cr.ShapeError, r"layer_norm: expected an input \(..., 4\)"),
        (lambda: F.layer_norm(X, ()), cr.ShapeError, "at least 1 axis"),
        (lambda: F.layer_norm(X, 3), cr.KindError, r"normalized_shape.*write \(3,\)"),
        (lambda: F.layer_norm(X, (3,), V), cr.ShapeError, r"weight of shape \(3,\)"),
        (lambda: F.layer_norm(X, (3,), bias=V), cr.ShapeError, r"of shape \(3,\)"),
        (lambda: F.layer_norm(X, (3,), cr.ones(3)), cr.KindError, "one dtype.*float64"),
        (lambda: F.layer_norm(X, (3,), 1.0), cr.KindError, "weight or bias to be a tensor"),
        (lambda: F.layer_norm(X, (3,), eps="a"), cr.KindError, "layer_norm eps: expected a number"),
        (lambda: F.layer_norm(WHOLE, (3,)), cr.KindError, "floating-point"),
        (lambda: F.rms_norm(X, (2, 3)), cr.ShapeError, r"rms_norm: expected an input \(..., 2, 3"),
        (lambda: F.rms_norm(X, (3,), V), cr.ShapeError, r"weight of shape \(3,\)"),
        (lambda: F.rms_norm(X, (3,), [1.0]), cr.KindError, "weight to be a tensor"),
        (lambda: F.rms_norm(WHOLE, (3,)), cr.KindError, "floating-point"),
        (lambda: F.group_norm(X, 3), cr.ShapeError, "divide into num_groups >= 1: 4 / 3"),
        (lambda: F.group_norm(X, 0), cr.ShapeError, "num_groups >= 1: 4 / 0"),
        (lambda: F.group_norm(X, 2.0), cr.KindError, "num_groups: expected an integer"),
        (lambda: F.group_norm(X[0, 0], 1), cr.ShapeError, "at least 2 axes"),
        (lambda: F.group_norm(X[:1, :, :1], 4), cr.ShapeError, "more than 1 value in a group"),
        (lambda: F.group_norm(X, 2, V[:2]), cr.ShapeError, r"weight of shape \(4,\)"),
        (lambda: F.group_norm(WHOLE, 2), cr.KindError, "floating-point"),
        (lambda: F.instance_norm(X[..., :1]), cr.ShapeError, "more than 1 position"),
        (lambda: F.instance_norm(X[0, 0], V, V, use_input_stats=False), cr.AxisError, "2 axes"),
        (
            lambda: F.instance_norm(X, use_input_stats=False),
            cr.ShapeError,
            "evaluation mode.*use_input_stats=True",
        ),
        (lambda: F.instance_norm(X, V), cr.ShapeError, "both or neither"),
        (lambda: F.instance_norm(X, V, V[:2]), cr.ShapeError, r"instance_norm.*shape \(4,\)"),
        (lambda: F.instance_norm(X, None, None, V[:2]), cr.ShapeError, r"instance_norm.*\(4,\)"),
        (lambda: F.instance_norm(X, cr.ones(4), cr.ones(4)), cr.KindError, "one dtype"),
        (lambda: F.instance_norm(X, momentum=None), cr.KindError, "momentum"),
        (lambda: F.instance_norm(X, use_input_stats=1), cr.KindError, "True or False"),
        (
            lambda: F.instance_norm(X, cr.ones(4, dtype="float64", requires_grad=True), V),
            cr.GraphError,
            "have no gradients",
        ),
        (lambda: F.normalize(X, dim=3), cr.AxisError, "normalize: expected dim in"),
        (lambda: F.normalize(X, [2]), cr.KindError, "normalize p: expected a number"),
        (lambda: F.normalize(WHOLE), cr.KindError, "floating-point"),
        (lambda: F.normalize(X[:, :0], INF), cr.ShapeError, "at least one element"),
        (lambda: F.normalize(X, out=cr.zeros(2)), cr.ShapeError, r"out of shape \(2, 4, 3\)"),
        (
            lambda: F.normalize(cr.ones(2, 2, requires_grad=True), out=cr.zeros(2, 2)),
            cr.GraphError,
            "no gradients where out is given",
        ),
        (lambda: F.subtractive_norm(X, np.ones(2)), cr.ShapeError, "odd sizes"),
        (lambda: F.subtractive_norm(X, np.array(1.0)), cr.ShapeError, "odd sizes"),
        (lambda: F.divisive_norm(X, np.array([1.0, 0, -1])), cr.ShapeError, "sum is not 0"),
        (lambda: F.subtractive_norm(X, np.ones((1, 1, 1))), cr.ShapeError, "as many as sizes"),
        (lambda: F.contrastive_norm(X[0]), cr.ShapeError, "as many as sizes"),
        (lambda: F.contrastive_norm(X, "box"), cr.KindError, "kernel"),
        (lambda: F.subtractive_norm(WHOLE), cr.KindError, "floating-point"),
        (lambda: F.divisive_norm(X, threshold="a"), cr.KindError, "threshold: expected a number"),
        (lambda: F.divisive_norm(X, thresval="a"), cr.KindError, "thresval: expected a number"),
        (lambda: F.mean_variance_norm(X[0]), cr.ShapeError, "at least 3 axes"),
        (lambda: F.mean_variance_norm(X[0, 0], True, True), cr.ShapeError, "at least 2 axes"),
        (lambda: F.mean_variance_norm(X, 1), cr.KindError, "normalize_variance: expected True"),
        (lambda: F.mean_variance_norm(X, True, 0), cr.KindError, "across_channels: expected True"),
        (lambda: F.mean_variance_norm(X, eps="a"), cr.KindError, "eps: expected a number"),
        (lambda: F.mean_variance_norm(WHOLE), cr.KindError, "floating-point"),
    ],
)
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    before = V.tolist()
    with pytest.raises(error, match=text):
        call()
    assert V.tolist() == before
