"""Resampling: against loops over the elements, in every mode; edges, layouts, misuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import workers
from chainrule.engine.threads import hold_blas, release_blas
from chainrule.errors import KindError, ShapeError, UndefinedKindError
from chainrule.ops import resample_weights
from chainrule.ops.resample import Interpolate
from chainrule.ops.resample_weights import Rule, blocks, nearest, table, weigh
from tests.layouts import LAYOUTS

F = cr.nn.functional
RNG = np.random.default_rng(0)
NAN, INF = math.nan, math.inf


def place(i: int, n: int, m: int, align: bool, scale: float | None) -> float:
    """Where element i of m lies among n."""
    if align:
        return i * (n - 1) / (m - 1) if m > 1 else 0.0
    return (i + 0.5) * (1 / scale if scale else n / m) - 0.5


def keys(x: float, a: float) -> float:
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


KERNELS: dict[str, tuple[int, Callable[[float], float]]] = {
    "linear": (1, lambda x: max(0.0, 1 - abs(x))),
    "cubic": (2, lambda x: keys(x, -0.5)),
    "lanczos": (3, lambda x: sinc(x) * sinc(x / 3) if abs(x) < 3 else 0.0),
}


def matrix(mode: str, n: int, m: int, align: bool, smooth: bool, scale: float | None) -> Any:
    """The weights (m, n) of one axis, one by one."""
    a = np.zeros((m, n))
    for i in range(m):
        step = place(1, n, m, align, scale) - place(0, n, m, align, scale)
        if mode == "nearest":
            a[i, min(n - 1, int(i * (1 / scale if scale else n / m) + 1e-9))] = 1
        elif mode == "nearest-exact":
            a[i, min(n - 1, int((i + 0.5) * (1 / scale if scale else n / m) + 1e-9))] = 1
        elif smooth:
            radius, kernel = KERNELS[mode]
            wide = max(step, 1.0)
            centre = (i + 0.5) * step
            low = max(0, int(centre - radius * wide + 0.5))
            high = min(n, int(centre + radius * wide + 0.5))
            for j in range(low, high):
                a[i, j] = kernel((j + 0.5 - centre) / wide)
            a[i] /= a[i].sum()
        elif mode == "linear":
            at = min(max(place(i, n, m, align, scale), 0), n - 1)
            low = int(at)
            a[i, low] += 1 - (at - low)
            a[i, min(low + 1, n - 1)] += at - low
        else:
            at = place(i, n, m, align, scale)
            low = math.floor(at)
            for j in range(low - 1, low + 3):
                a[i, min(max(j, 0), n - 1)] += keys(at - j, -0.75)
    return a


MODES = [
    *(("nearest", False, False), ("nearest-exact", False, False)),
    *(("linear", a, s) for a in (False, True) for s in (False, True)),
    *(("cubic", a, s) for a in (False, True) for s in (False, True)),
    ("lanczos", False, True),
]


@pytest.mark.parametrize(("mode", "align", "smooth"), MODES)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 40])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 10, 97])
def test_weights_by_a_loop(mode: str, align: bool, smooth: bool, n: int, m: int) -> None:
    """The matrix of an axis, forward and turned, whether by terms or by blocks."""
    expected = matrix(mode, n, m, align, smooth, None)
    rule = Rule(mode, n, m, align, smooth)
    if smooth and align and m == 1:
        return  # a step of 0: the kernel's place is a matter of convention
    np.testing.assert_allclose(weigh(np, np.eye(n), 1, rule).T, expected, atol=1e-12)
    np.testing.assert_allclose(weigh(np, np.eye(m), 0, rule, turned=True), expected.T, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "cubic"])
@pytest.mark.parametrize(("n", "scale"), [(4, 1.7), (4, 0.6), (5, 2.3), (9, 0.35)])
def test_a_scale_says_how_far_apart_places_lie(mode: str, n: int, scale: float) -> None:
    m = int(n * scale)
    x = RNG.standard_normal((1, 2, n))
    expected = x @ matrix(mode, n, m, False, False, scale).T
    if mode == "cubic":
        y = F.interpolate(cr.tensor(x[..., None]), scale_factor=(scale, 1.0), mode="bicubic")
        np.testing.assert_allclose(y.numpy()[..., 0], expected, atol=1e-12)
        return
    y = F.interpolate(cr.tensor(x), scale_factor=scale, mode=mode)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    again = F.interpolate(cr.tensor(x), scale_factor=scale, mode=mode, recompute_scale_factor=True)
    by_size = F.interpolate(cr.tensor(x), m, mode=mode)
    assert np.array_equal(again.numpy(), by_size.numpy())
    assert mode != "linear" or not np.allclose(y.numpy(), by_size.numpy())


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_axes_one_after_the_other(d: int, layout: str) -> None:
    size, out = (5, 3, 4)[:d], (3, 7, 4)[:d]
    x = RNG.standard_normal((2, 3, *size))
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[d]
    expected, copied = x, x
    for axis, (n, m) in enumerate(zip(size, out, strict=True), 2):
        a = matrix("linear", n, m, False, False, None)
        expected = np.moveaxis(np.moveaxis(expected, axis, -1) @ a.T, -1, axis)
        copied = np.take(copied, [i * n // m for i in range(m)], axis)
    given = cr.Tensor(LAYOUTS[layout](x))
    np.testing.assert_allclose(F.interpolate(given, out, mode=mode).numpy(), expected, atol=1e-12)
    assert np.array_equal(F.interpolate(given, out).numpy(), copied)


def test_the_layout_stays() -> None:
    x = LAYOUTS["channels last"](RNG.standard_normal((2, 3, 5, 4)))
    with cr.use_backend("numpy"):
        for options in ({}, {"mode": "bilinear"}, {"mode": "bicubic"}):
            leaf = cr.Tensor(x).requires_grad_()
            y = F.interpolate(leaf, (4, 9), **options)
            y.sum().backward()
            assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous
            assert leaf.grad.array.transpose(0, 2, 3, 1).flags.c_contiguous


def test_area_is_adaptive_pooling() -> None:
    for d in (1, 2, 3):
        x = cr.tensor(RNG.standard_normal((2, 3, *(6, 5, 4)[:d])))
        expected = getattr(F, f"adaptive_avg_pool{d}d")(x, 3)
        assert np.array_equal(F.interpolate(x, 3, mode="area").numpy(), expected.numpy())
        half = F.interpolate(x, scale_factor=0.5, mode="area")
        assert half.shape[2:] == (3, 2, 2)[:d]


def test_older_names() -> None:
    x = cr.tensor(RNG.standard_normal((1, 2, 3, 4)))
    pairs = [
        (F.upsample(x, 5), F.interpolate(x, 5)),
        (
            F.upsample(x, None, 1.5, "bicubic", True),
            F.interpolate(x, None, 1.5, "bicubic", True),
        ),
        (F.upsample_nearest(x, scale_factor=2), F.interpolate(x, scale_factor=2)),
        (F.upsample_bilinear(x, (5, 2)), F.interpolate(x, (5, 2), None, "bilinear", True)),
    ]
    for old, new in pairs:
        assert np.array_equal(old.numpy(), new.numpy())


def test_a_factor_is_cut_off_not_rounded() -> None:
    x = cr.zeros(1, 1, 7, 5)
    assert F.interpolate(x, scale_factor=1.9).shape == (1, 1, 13, 9)
    assert F.interpolate(x, scale_factor=(0.5, 1)).shape == (1, 1, 3, 5)
    assert F.interpolate(x, scale_factor=1.9, recompute_scale_factor=True).shape == (1, 1, 13, 9)
    assert F.interpolate(x.float(), size=[2, 3]).shape == (1, 1, 2, 3)


def test_float32_places_are_those_of_float32() -> None:
    """49 copies of 1/49 are a little less than 1 in float64, and just 1 in float32."""
    assert nearest(Rule("nearest", 1, 49, scale=49.0, real="f"))[-1] == 0
    single, double = (nearest(Rule("nearest", 98, 98 * 49, scale=49.0, real=r)) for r in "fd")
    assert single[49] == double[49] == 1


def test_same_size_is_a_copy() -> None:
    x = cr.tensor(RNG.standard_normal((1, 2, 3, 4)), requires_grad=True)
    for options in ({}, {"mode": "bilinear"}, {"mode": "bicubic"}):
        y = F.interpolate(x, (3, 4), **options)
        assert np.array_equal(y.detach().numpy(), x.detach().numpy())
        assert not np.shares_memory(y.array, x.array)
        (gx,) = cr.grad(y.sum(), [x])
        assert np.array_equal(gx.numpy(), np.ones(x.shape))


def test_half_precision_is_computed_in_single() -> None:
    x = RNG.standard_normal((1, 2, 5)).astype(np.float16)
    with cr.use_backend("numpy"):
        y = F.interpolate(cr.tensor(x), 9, mode="linear")
        single = F.interpolate(cr.tensor(x.astype(np.float32)), 9, mode="linear")
    assert y.dtype == np.float16
    assert np.array_equal(y.numpy(), single.numpy().astype(np.float16))


def test_bytes_are_copied() -> None:
    x = cr.tensor(np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3))
    y = F.interpolate(x, (4, 3), mode="nearest-exact")
    assert y.dtype == np.uint8
    assert y.tolist() == [[[[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]]]]


def test_bytes_keep_their_range() -> None:
    step = np.zeros((1, 1, 1, 8), np.uint8)
    step[..., 4:] = 255
    y = F.interpolate(cr.tensor(step), (1, 32), mode="bicubic")
    exact = F.interpolate(cr.tensor(step.astype(np.float64)), (1, 32), mode="bicubic").numpy()
    assert exact.min() < 0 < 255 < exact.max()
    assert np.abs(y.numpy() - np.clip(exact, 0, 255)).max() <= 1


def test_infinity_and_nan_reach_their_neighbours_alone() -> None:
    """Blocks of the matrix hold zeros, and 0 times infinity is NaN: not so elsewhere."""
    for value in (INF, -INF, NAN):
        x = np.zeros((1, 1, 40))
        x[..., 20] = value
        y = F.interpolate(cr.tensor(x), 57, mode="linear").numpy()[0, 0]
        weights = matrix("linear", 40, 57, False, False, None)[:, 20]
        np.testing.assert_equal(y[weights > 0], value)
        assert np.isfinite(y[weights == 0]).all()
        leaf = cr.tensor(np.zeros((1, 1, 40)), requires_grad=True)
        gy = np.zeros((1, 1, 57))
        gy[..., 30] = value
        F.interpolate(leaf, 57, mode="linear").backward(cr.tensor(gy))
        row = matrix("linear", 40, 57, False, False, None)[30]
        np.testing.assert_equal(leaf.grad.numpy()[0, 0] != 0, row > 0)


def test_elements_that_nobody_sees_have_no_gradient() -> None:
    x = np.zeros((1, 1, 9))
    x[..., 4] = INF
    leaf = cr.tensor(x, requires_grad=True)
    y = F.interpolate(leaf, 2)  # elements 0 and 4
    y.backward(cr.tensor([[[2.0, INF]]], dtype=cr.float64))
    assert leaf.grad.tolist() == [[[2, 0, 0, 0, INF, 0, 0, 0, 0]]]


def test_blocks_hold_every_term() -> None:
    for rule in (Rule("cubic", 300, 41), Rule("linear", 41, 300), Rule("nearest", 9, 4)):
        for turned in (False, True):
            t = table(rule, turned)
            whole = np.zeros((t.size, rule.m if turned else rule.n))
            np.add.at(whole, (t.target, t.source), t.weight)
            parts = np.zeros_like(whole)
            for block in blocks(rule, turned):
                parts[block.into, block.seen] = block.matrix
            assert np.array_equal(parts, whole)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = RNG.standard_normal((3, 5, 70)).astype(np.float32)
    rule = Rule("linear", 70, 150, real="f")
    alone = weigh(np, x, 2, rule)
    ran: list[int] = []

    def counting(tasks: Any) -> Any:
        ran.append(len(tasks))
        return workers.run_all(tasks)

    monkeypatch.setattr(resample_weights, "run_all", counting)
    monkeypatch.setattr(resample_weights, "LARGE", 1)
    hold_blas()
    try:
        together = weigh(np, x, 2, rule)
    finally:
        release_blas()
    assert ran == [5]
    assert np.array_equal(together, alone)


X3, X4, X5 = cr.zeros(2, 3, 4), cr.zeros(2, 3, 4, 5), cr.zeros(2, 3, 4, 5, 2)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.interpolate(X4), ShapeError, "either size or scale_factor; got size None"),
        (lambda: F.interpolate(X4, 3, 2.0), ShapeError, "got size 3, scale_factor 2.0"),
        (lambda: F.interpolate(X4, (3,)), ShapeError, "one size or 2, for the axes after (N, C)"),
        (lambda: F.interpolate(X3, scale_factor=(2.0, 1)), ShapeError, "scale_factor or 1"),
        (lambda: F.interpolate(X4, (3, 2.5)), KindError, "interpolate size"),
        (lambda: F.interpolate(X4, scale_factor="2"), KindError, "interpolate scale_factor"),
        (lambda: F.interpolate(X4, scale_factor=NAN), ShapeError, "finite scale factors"),
        (lambda: F.interpolate(X4, 3, align_corners=True), ShapeError, "in mode 'nearest'"),
        (
            lambda: F.interpolate(X4, 3, mode="bilinear", align_corners=1),
            KindError,
            "True or False",
        ),
        (
            lambda: F.interpolate(X4, 3, recompute_scale_factor=True),
            ShapeError,
            "recompute_scale_factor with a scale_factor alone",
        ),
        (lambda: F.interpolate(X4, 3, antialias=True), ShapeError, "got mode 'nearest'"),
        (lambda: F.interpolate(X4, 3, mode="lanczos"), ShapeError, "got antialias False"),
        (lambda: F.interpolate(X3, 3, mode="bicubic"), NotImplementedError, "got input float32"),
        (lambda: F.interpolate(X4, 3, mode="linear"), NotImplementedError, "2 axes after (N, C)"),
        (lambda: F.interpolate(X4, 3, mode="wide"), NotImplementedError, "mode 'wide'"),
        (lambda: F.interpolate(cr.zeros(2, 3), 3), NotImplementedError, "(N, C, ...)"),
        (lambda: F.interpolate(X4, 0), ShapeError, "a size of at least 1, not 0"),
        (lambda: F.interpolate(X4, scale_factor=0.1), ShapeError, "at least 1, not 0"),
        (lambda: F.interpolate(cr.zeros(2, 0, 4), 3), ShapeError, "axis 1 has size 0"),
        (lambda: F.interpolate(X4.long(), 3), UndefinedKindError, "a floating-point input"),
        (
            lambda: F.interpolate(cr.tensor(np.zeros((1, 1, 2), np.uint8)), 3, mode="linear"),
            UndefinedKindError,
            "a floating-point input",
        ),
        (
            lambda: cr.engine.tensor.apply(Interpolate((3,)), X4),  # type: ignore[attr-defined]
            ShapeError,
            "3 axes: (N, C, L)",
        ),
    ],
)
def test_misuse(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)
    assert "interpolate" in str(caught.value)
