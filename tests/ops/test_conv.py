"""Convolution: against loops, SciPy and the slides; both forms, memory order, threads, misuse."""

from __future__ import annotations

import threading
import tracemalloc
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import chainrule as cr
from chainrule.engine import workers
from chainrule.ops import lowering, slabs
from chainrule.ops.conv import Conv
from chainrule.ops.slabs import Geometry, channels_last
from chainrule.ops.window import AXES, col2im, im2col

F = cr.nn.functional

# known-answers.md, "Convolution and pooling"
IMAGE = np.array(
    [
        [1, 2, 1, 2, 1, 0, 0],
        [0, 1, 2, 1, 1, 0, 1],
        [0, 0, 1, 0, 1, 1, 0],
        [1, 0, 0, 0, 1, 0, 1],
        [2, 0, 1, 0, 1, 2, 2],
        [0, 2, 1, 0, 1, 0, 1],
        [2, 2, 2, 0, 0, 1, 1],
    ],
    float,
)
STRIDE_1 = "8 10 10 7 5 / 5 5 7 5 6 / 5 2 5 6 9 / 7 4 5 5 9 / 12 8 6 5 9"
STRIDE_2 = "8 10 5 / 5 5 9 / 12 6 9"
PADDED = (
    "4 7 9 8 5 3 1 / 4 8 10 10 7 5 2 / 2 5 5 7 5 6 3 / 3 5 2 5 6 9 6 / 5 7 4 5 5 9 6 / "
    "8 12 8 6 5 9 7 / 6 9 7 4 2 4 3"
)


def matrix(text: str) -> np.ndarray:
    """Read a matrix from the slides."""
    return np.array([[float(v) for v in row.split()] for row in text.split("/")])


def naive(x: Any, w: Any, b: Any, g: Geometry) -> np.ndarray:
    """Convolve entry by entry, in float64."""
    (n, _, *sizes), (o, per) = x.shape, w.shape[:2]
    padded = np.pad(np.asarray(x, float), ((0, 0), (0, 0), *g.padding))
    out = g.out(tuple(sizes))
    y = np.zeros((n, o, *out))
    for f in range(o):
        first = f // (o // g.groups) * per
        for place in np.ndindex(*out):
            spots = [
                slice(q * s, q * s + t * (k - 1) + 1, t)
                for q, s, t, k in zip(place, g.stride, g.dilation, g.kernel, strict=True)
            ]
            seen = padded[(slice(None), slice(first, first + per), *spots)]
            y[(slice(None), f, *place)] = (seen * w[f]).sum(tuple(range(1, x.ndim)))
    return y if b is None else y + np.reshape(b, (-1, *(1,) * len(out)))


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def last(x: np.ndarray) -> np.ndarray:
    """Give the same values with the channels innermost in memory."""
    return np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)


def run(op: Conv, *arrays: Any, gy: Any = None, needs: Any = None) -> tuple[Any, Any]:
    """Give an operation's output and its gradients for gy (ones if missing)."""
    (y,), saved = op.forward(np, *arrays)
    gy = np.ones_like(y) if gy is None else gy
    return y, op.backward(np, saved, gy, needs or (True,) * len(arrays))


# The slides


@pytest.mark.parametrize(
    ("stride", "padding", "expected"), [(1, 0, STRIDE_1), (2, 0, STRIDE_2), (1, 1, PADDED)]
)
def test_the_slides_image(stride: int, padding: int, expected: str) -> None:
    y = F.conv2d(
        cr.tensor(IMAGE[None]), cr.ones(1, 1, 3, 3, dtype=cr.float64), None, stride, padding
    )
    np.testing.assert_array_equal(y.numpy()[0], matrix(expected))


def test_the_slides_stride_3_drops_the_last_column() -> None:
    y = F.conv2d(cr.tensor(IMAGE[None]), cr.ones(1, 1, 3, 3, dtype=cr.float64), stride=3)
    np.testing.assert_array_equal(y.numpy()[0], matrix(STRIDE_1)[::3, ::3])
    assert y.shape == (1, 2, 2)  # (7 - 3)/3 + 1 = 2.33


@pytest.mark.parametrize(
    ("filters", "padding", "expected", "parameters"),
    [(10, 2, (10, 32, 32), 760), (6, 0, (6, 28, 28), 456)],
)
def test_the_slides_filters(filters: int, padding: int, expected: Any, parameters: int) -> None:
    w, b = cr.randn(filters, 3, 5, 5), cr.randn(filters)
    assert F.conv2d(cr.randn(3, 32, 32), w, b, padding=padding).shape == expected
    assert w.numel() + b.numel() == parameters == 76 * filters


def test_the_gradients_as_deck_004_has_them() -> None:
    x, w, gy = normal(2, 3, 6, 7), normal(4, 3, 3, 2, seed=1), normal(2, 4, 4, 6, seed=2)
    _, (gx, gw) = run(Conv(), x, w, gy=gy)
    flat = gy.reshape(2, 4, 24)
    # dL/dx = col2im(W^T L)
    by_columns = col2im(w.reshape(4, 18).T @ flat, x.shape, (3, 2))
    # dL/dx = the reversed filter times im2col of the padded L
    reversed_w = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3).reshape(3, 24)
    by_reversal = (reversed_w @ im2col(gy, (3, 2), padding=(2, 1))).reshape(x.shape)
    np.testing.assert_allclose(by_columns, by_reversal)
    np.testing.assert_allclose(gx, by_columns)
    # dL/dw[i, j, c, d] = sum over k, l of L[k, l, d] x[k + i, l + j, c]
    for d, c, i, j in np.ndindex(w.shape):
        expected = (gy[:, d] * x[:, c, i : i + 4, j : j + 6]).sum()
        np.testing.assert_allclose(gw[d, c, i, j], expected)


def test_the_gradient_by_x_entry_by_entry() -> None:
    w, gy = normal(3, 2), normal(4, 5, seed=1)
    _, (gx, _) = run(Conv(), np.zeros((1, 1, 6, 6)), w[None, None], gy=gy[None, None])
    expected = np.zeros((6, 6))
    for i, j, m, n in np.ndindex(6, 6, 4, 5):  # sum of L[m, n] w[i - m, j - n]
        if 0 <= i - m < 3 and 0 <= j - n < 2:
            expected[i, j] += gy[m, n] * w[i - m, j - n]
    np.testing.assert_allclose(gx[0, 0], expected)
    np.testing.assert_allclose(gx[0, 0], signal.convolve2d(gy, w, "full"))


# Oracles


@pytest.mark.parametrize("mode", ["valid", "same"])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 3), (5, 4), (1, 5)])
def test_against_scipy(kernel: tuple[int, int], mode: str) -> None:
    x, w = normal(6, 8), normal(*kernel, seed=1)
    y = F.conv2d(cr.tensor(x[None]), cr.tensor(w[None, None]), padding=mode).numpy()[0]
    if mode == "valid":
        np.testing.assert_allclose(y, signal.correlate2d(x, w, "valid"))
        return
    full = signal.correlate2d(x, w, "full")  # of an odd total the last side is padded more
    r, c = kernel[0] // 2, kernel[1] // 2
    np.testing.assert_allclose(y, full[r : r + 6, c : c + 8])


GEOMETRIES = [
    Geometry((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    Geometry((2, 3), (2, 1), ((0, 1), (2, 0)), (1, 2)),
    Geometry((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    Geometry((1, 1), (2, 3), ((1, 1), (0, 0)), (1, 1)),
    Geometry((6, 5), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    Geometry((2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1)),
    Geometry((3, 2), (1, 1), ((4, 3), (2, 5)), (1, 1)),  # more padding than kernel
    Geometry((3, 3), (3, 2), ((2, 2), (2, 2)), (2, 1)),
]


def adjoint(x: Any, w: Any, gy: Any, gx: Any, gw: Any, g: Geometry) -> None:
    """The gradients are the transposes of the two linear maps: <gx, dx> = <gy, conv(dx, w)>."""
    dx, dw = normal(*x.shape, seed=8), normal(*w.shape, seed=9)
    scale = max(1.0, float(np.abs(gy).sum()))
    np.testing.assert_allclose(
        (gx * dx).sum(), (gy * naive(dx, w, None, g)).sum(), atol=1e-11 * scale
    )
    np.testing.assert_allclose(
        (gw * dw).sum(), (gy * naive(x, dw, None, g)).sum(), atol=1e-11 * scale
    )


@pytest.mark.parametrize("order", [np.asarray, last])
@pytest.mark.parametrize(("slab", "scatter"), [(1 << 21, 2.5), (1 << 21, 0.0), (8, 0.0), (8, 99.0)])
@pytest.mark.parametrize(("groups", "c", "o"), [(1, 3, 4), (2, 4, 6), (3, 3, 6), (4, 4, 4)])
@pytest.mark.parametrize("g", GEOMETRIES)
def test_against_loops(
    g: Geometry,
    groups: int,
    c: int,
    o: int,
    slab: int,
    scatter: float,
    order: Callable[[np.ndarray], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it is, and cut into single rows, with W^T gy added back or gy correlated."""
    monkeypatch.setattr(slabs, "SLAB", slab)
    monkeypatch.setattr(lowering, "SCATTER", scatter)
    g = g._replace(groups=groups)
    x, w, b = (
        order(normal(2, c, 6, 5)),
        normal(o, c // groups, *g.kernel, seed=1),
        normal(o, seed=2),
    )
    op = Conv(g.stride, g.padding, g.dilation, groups)
    gy = normal(2, o, *g.out((6, 5)), seed=3)
    y, (gx, gw, gb) = run(op, x, w, b, gy=gy)
    np.testing.assert_allclose(y, naive(x, w, b, g), atol=1e-12)
    adjoint(x, w, gy, gx, gw, g)
    np.testing.assert_allclose(gb, gy.sum((0, 2, 3)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_cut_any_form_any_dimension(data: st.DataObject) -> None:
    """Parts of a few bytes, both forms of columns, every way back, in one to three dimensions."""

    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    d, groups = draw(1, 3), draw(1, 3)
    pairs = [(draw(0, 3), draw(0, 3)) for _ in range(d)]
    sizes = tuple(draw(1, 6) for _ in range(d))
    kernel, dilation = tuple(draw(1, 3) for _ in range(d)), tuple(draw(1, 2) for _ in range(d))
    stride = tuple(data.draw(st.sampled_from([1, 1, 2, 3])) for _ in range(d))
    g = Geometry(kernel, stride, tuple(pairs), dilation, groups)
    if min(g.out(sizes)) < 1:
        return
    x = normal(draw(0, 9), groups * draw(1, 3), *sizes)
    w = normal(groups * draw(1, 3), x.shape[1] // groups, *kernel, seed=1)
    x = last(x) if draw(0, 1) else x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", data.draw(st.sampled_from([64, 700, 1 << 21])))
        patch.setattr(slabs, "WORK", data.draw(st.sampled_from([100, 1 << 26])))
        patch.setattr(slabs, "LARGE", data.draw(st.sampled_from([0, 4])))
        patch.setattr(workers, "thread_count", lambda: 3)
        patch.setattr(lowering, "WIDE", data.draw(st.sampled_from([1, 256])))
        patch.setattr(lowering, "MANY", data.draw(st.sampled_from([1, 8])))
        patch.setattr(lowering, "SCATTER", data.draw(st.sampled_from([0.0, 2.5, 100.0])))
        op = Conv(stride, g.padding, dilation, groups)
        gy = normal(x.shape[0], w.shape[0], *g.out(sizes), seed=3)
        y, (gx, gw) = run(op, x, w, gy=gy)
        np.testing.assert_allclose(y, naive(x, w, None, g), atol=1e-12)
        assert (gx.shape, gw.shape) == (x.shape, w.shape)
        adjoint(x, w, gy, gx, gw, g)


# Sizes that reach every path as it is: parts, threads, products in pieces

LARGE = [
    # x, w, padding, stride
    ((8, 16, 40, 40), (24, 16, 3, 3), 1, 1),
    ((3, 8, 64, 64), (8, 8, 5, 5), 0, 1),
    ((2, 32, 48, 48), (64, 32, 3, 3), 1, 2),
    ((64, 6, 14, 14), (16, 6, 5, 5), 0, 1),
    ((64, 1, 32, 32), (6, 1, 5, 5), 0, 1),
    ((64, 16, 5, 5), (120, 16, 5, 5), 0, 1),
    ((8, 64, 14, 14), (256, 64, 1, 1), 0, 1),
]


def correlate(x: np.ndarray, w: np.ndarray, padding: int, stride: int) -> np.ndarray:
    """Convolve by a sum over the kernel's entries, in float64: quick enough for large arrays."""
    x = np.pad(np.asarray(x, float), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    oh, ow = ((n - k) // stride + 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True))
    y = 0.0
    for i, j in np.ndindex(w.shape[2:]):
        seen = x[
            :, :, i : i + (oh - 1) * stride + 1 : stride, j : j + (ow - 1) * stride + 1 : stride
        ]
        y = y + np.einsum("nchw,oc->nohw", seen, w[:, :, i, j].astype(float), optimize=True)
    return np.asarray(y)


@pytest.mark.parametrize("order", [np.asarray, last])
@pytest.mark.parametrize(("xs", "ws", "padding", "stride"), LARGE)
def test_large_in_float32(
    xs: Any, ws: Any, padding: int, stride: int, order: Callable[[np.ndarray], np.ndarray]
) -> None:
    x, w = order(normal(*xs).astype(np.float32)), normal(*ws, seed=1).astype(np.float32)
    op = Conv((stride, stride), ((padding, padding),) * 2)
    (y,), saved = op.forward(np, x, w)
    exact = correlate(x, w, padding, stride)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, exact, rtol=1e-4, atol=1e-4 * np.abs(exact).max())
    gy = order(normal(*y.shape, seed=2).astype(np.float32))
    gx, gw = op.backward(np, saved, gy, (True, True))
    dx, dw = normal(*xs, seed=3), normal(*ws, seed=4)
    for gradient, step, moved in (
        (gx, dx, correlate(dx, w, padding, stride)),
        (gw, dw, correlate(x, dw, padding, stride)),
    ):
        assert gradient.dtype == np.float32
        size = np.linalg.norm(gy) * np.linalg.norm(moved)
        np.testing.assert_allclose((gradient * step).sum(), (gy * moved).sum(), atol=1e-5 * size)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = (
        normal(16, 16, 40, 40).astype(np.float32),
        normal(32, 16, 3, 3, seed=1).astype(np.float32),
    )
    results = []
    for count in (1, 2, 5):
        monkeypatch.setattr(workers, "thread_count", lambda count=count: count)
        y, gradients = run(Conv(padding=((1, 1), (1, 1))), x, w)
        results.append([y, *gradients])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_large_work_is_shared_between_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    product_ = lowering._multiply

    def spy(*arrays: Any) -> Any:
        seen.add(threading.get_ident())
        return product_(*arrays)

    monkeypatch.setattr(lowering, "_multiply", spy)
    monkeypatch.setattr(workers, "thread_count", lambda: 2)
    for _ in range(20):  # a busy machine may run all of it on one
        run(Conv(padding=((1, 1), (1, 1))), normal(16, 16, 40, 40), normal(32, 16, 3, 3))
        if len(seen) > 1:
            return
    raise AssertionError("every part ran on the caller's thread")


def test_threads_that_add_rows_do_not_share_an_image() -> None:
    x, w = np.zeros((6, 4, 50, 50), np.float32), np.zeros((2, 4, 3, 3), np.float32)
    g = Geometry((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slabs, "SLAB", 1 << 16)
        assert len(slabs.parts(x, w, (48, 48), g)) > 2 * len(x)
        runs = slabs.share(
            x, w, (48, 48), g, lambda run: {p.images.start for p in run}, by_image=True
        )
    assert len(runs) > 1
    assert sorted(i for run in runs for i in run) == list(range(6))


def test_every_row_is_in_one_part() -> None:
    g = Geometry((3, 2), (2, 1), ((1, 4), (0, 0)), (2, 1))
    x, w = np.zeros((3, 2, 9, 5)), np.zeros((2, 2, 3, 2))
    out = g.out((9, 5))
    for slab in (1, 200, 1000, 3000, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(slabs, "SLAB", slab)
            count = np.zeros((3, *out), int)
            for part in slabs.parts(x, w, out, g):
                count[part.images, part.target] += 1
                rows = len(range(9)[part.source]), *part.geometry.padding[0]
                height = len(range(out[0])[part.target])
                assert part.geometry.out((rows[0], 5))[0] == height
        assert (count == 1).all()


def test_memory_stays_modest() -> None:
    """The columns of all images would take nine times x; those of a few parts are there at once."""
    x, w = np.zeros((16, 16, 128, 128), np.float32), np.zeros((16, 16, 3, 3), np.float32)
    op = Conv(padding=((1, 1), (1, 1)))
    tracemalloc.start()
    try:
        (y,), saved = op.forward(np, x, w)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * x.nbytes
        op.backward(np, saved, y, (True, True))
        assert tracemalloc.get_traced_memory()[1] < 3.5 * x.nbytes
    finally:
        tracemalloc.stop()
    assert {id(a) for a in saved} == {id(x), id(w)}


# Memory order, kinds


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_output_and_gradient_have_the_inputs_memory_order(groups: int, stride: int) -> None:
    w = normal(6, 4 // groups, 3, 3)
    op = Conv((stride, stride), ((1, 1), (1, 1)), groups=groups)
    for x in (normal(2, 4, 6, 6), last(normal(2, 4, 6, 6))):
        y, (gx, gw) = run(op, x, w)
        assert channels_last(y) == channels_last(gx) == channels_last(x)
        assert gw.flags.c_contiguous


def test_channels_last_is_decided_by_axes_longer_than_1() -> None:
    assert not channels_last(np.zeros((2, 1, 4, 4)))
    assert not channels_last(np.zeros((2, 3, 1, 1)))
    assert not channels_last(np.zeros((2, 3, 4, 4)))
    assert channels_last(last(np.zeros((2, 3, 4, 1))))
    assert channels_last(last(np.zeros((2, 3, 1, 4))))
    assert channels_last(last(np.zeros((2, 3, 4))))
    assert not channels_last(last(np.zeros((2, 3, 4, 4)))[:, :1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes_stay(dtype: str) -> None:
    x, w, b = (normal(*s).astype(dtype) for s in ((2, 3, 5, 5), (4, 3, 3, 3), (4,)))
    y, gradients = run(Conv(), x, w, b)
    assert {a.dtype for a in (y, *gradients)} == {np.dtype(dtype)}
    exact = naive(x, w, b, Geometry((3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)))
    np.testing.assert_allclose(y, exact, atol={"float16": 0.02}.get(dtype, 1e-5))


def test_half_precision_adds_up_in_single() -> None:
    x, w = np.ones((2, 2, 20, 20), np.float16), np.ones((2, 1, 1, 1), np.float16)
    gy = np.full((2, 2, 20, 20), 250, np.float16)
    gy[1] *= -1  # each image's sum, 100,000, is beyond half precision
    _, (gx, gw) = run(Conv(groups=2), x, w, gy=gy)
    np.testing.assert_array_equal(gw, np.zeros_like(w))
    np.testing.assert_array_equal(gx, gy)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_wrap_as_in_numpy(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 50, (2, 3, 5, 5)).astype(dtype), rng.integers(0, 9, (4, 3, 2, 2))
    y = F.conv2d(cr.tensor(x), cr.tensor(w.astype(dtype)))
    exact = naive(x, w, None, Geometry((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)))
    np.testing.assert_array_equal(y.numpy(), exact.astype(np.int64).astype(dtype))
    assert not y.requires_grad


@pytest.mark.parametrize(
    "make", [lambda a: a[:, :, ::-1, ::-1], lambda a: a[::-1], np.asfortranarray]
)
def test_strange_strides(make: Callable[[np.ndarray], np.ndarray]) -> None:
    x, w, gy = normal(4, 4, 6, 6), normal(4, 4, 3, 3, seed=1), normal(4, 4, 4, 4, seed=2)
    plain = run(Conv(), make(x).copy(order="C"), make(w).copy(order="C"), gy=gy)
    for gy_ in (gy, make(make(gy).copy(order="C")), last(gy)):
        strange = run(Conv(), make(x), make(w), gy=gy_)
        for a, b in zip((plain[0], *plain[1]), (strange[0], *strange[1]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_gradient_of_stride_0() -> None:
    x, w = normal(2, 3, 5, 5), normal(4, 3, 3, 3)
    ones = np.broadcast_to(np.float64(1.0), (2, 4, 3, 3))
    for a, b in zip(run(Conv(), x, w)[1], run(Conv(), x, w, gy=ones)[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_nan_and_infinity_reach_only_the_windows_that_see_them() -> None:
    x, w = np.zeros((1, 1, 5, 5)), np.ones((1, 1, 2, 2))
    x[0, 0, 1, 1], x[0, 0, 4, 4] = np.inf, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = run(Conv(padding=((1, 1), (1, 1))), x, w)
        run(Conv(), x, np.array([[[[0.0, np.inf]]]]))
        run(
            Conv(), x.astype(np.float32) + np.float32(1e30), np.full((1, 1, 2, 2), 1e30, np.float32)
        )
    assert np.isinf(y).sum() == 4
    assert np.isnan(y).sum() == 4


# What is not needed, what is empty, what has no batch


def test_nothing_is_computed_that_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, b = normal(2, 3, 5, 5), normal(4, 3, 3, 3), normal(4)
    _, saved = Conv().forward(np, x, w, b)
    calls = []
    product_ = lowering._multiply
    monkeypatch.setattr(lowering, "_multiply", lambda *a: calls.append(a) or product_(*a))
    gy = np.ones((2, 4, 3, 3))
    for needs in product((True, False), repeat=3):
        calls.clear()
        gradients = Conv().backward(np, saved, gy, needs)
        assert tuple(g is not None for g in gradients) == needs
        assert len(calls) == needs[0] + needs[1]


def test_an_empty_batch_gives_an_empty_output_and_zero_gradients() -> None:
    x = cr.zeros(0, 3, 8, 8).requires_grad_()
    w, b = cr.randn(4, 3, 3, 3).requires_grad_(), cr.randn(4).requires_grad_()
    y = F.conv2d(x, w, b, padding=1, stride=2)
    assert y.shape == (0, 4, 4, 4)
    y.sum().backward()
    assert x.grad.shape == (0, 3, 8, 8)
    for t in (w, b):
        np.testing.assert_array_equal(t.grad.numpy(), np.zeros(t.shape))


def test_no_channels_give_the_bias() -> None:
    x, w = cr.zeros(2, 0, 4, 4).requires_grad_(), cr.zeros(3, 0, 2, 2).requires_grad_()
    y = F.conv2d(x, w, cr.tensor([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(y.detach().numpy()[1, :, 2, 0], [1, 2, 3])
    y.sum().backward()
    assert (x.grad.shape, w.grad.shape) == (x.shape, w.shape)


@pytest.mark.parametrize(
    ("function", "sizes"), [(F.conv1d, (7,)), (F.conv2d, (5, 6)), (F.conv3d, (3, 4, 3))]
)
def test_without_a_batch(function: Any, sizes: tuple[int, ...]) -> None:
    x = cr.tensor(normal(4, *sizes), requires_grad=True)
    w = cr.tensor(normal(6, 2, *(2,) * len(sizes)), requires_grad=True)
    settings_ = {"padding": 1, "groups": 2, "bias": cr.ones(6, dtype=cr.float64)}
    y = function(x, w, **settings_)
    y.sum().backward()
    found = (y.detach().numpy(), x.grad.numpy(), w.grad.numpy())
    batch = cr.tensor(x.array[None], requires_grad=True)
    v = cr.tensor(w.array, requires_grad=True)
    z = function(batch, v, **settings_)
    z.sum().backward()
    expected = (z.detach().numpy()[0], batch.grad.numpy()[0], v.grad.numpy())
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b)


def test_on_meta_tensors_only_shapes_are_computed() -> None:
    y = F.conv2d(cr.zeros(2, 3, 32, 32, device="meta"), cr.zeros(6, 3, 5, 5, device="meta"))
    assert y.shape == (2, 6, 28, 28)
    assert y.is_meta


# Misuse


def x_of(*shape: int) -> Any:
    return cr.zeros(*shape)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: F.conv2d(x_of(1, 1, 7, 7), x_of(1, 1, 9, 3)), r"\(7 \+ 2\*0 - 9\)/1 \+ 1 = -1"),
        (
            lambda: F.conv2d(x_of(1, 1, 28, 28), x_of(8, 3, 5, 5)),
            r"conv2d: expected 3 input channels \(weight \(8, 3, 5, 5\), groups 1\), got 1;",
        ),
        (lambda: F.conv2d(x_of(2, 8, 8, 3), x_of(4, 3, 3, 3)), r"input\.permute\(0, 3, 1, 2\)"),
        (lambda: F.conv2d(x_of(8, 8, 3), x_of(4, 3, 3, 3)), r"input\.permute\(2, 0, 1\)"),
        (lambda: F.conv2d(x_of(1, 4, 5, 5), x_of(3, 2, 3, 3), groups=2), r"3 % 2 = 0, not 1"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), groups=2), "6 input channels"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), groups=0), "groups: expected at l"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(0, 3, 3, 3)), "at least 1 out_channel"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), x_of(5)), r"shape \(4,\)"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), x_of(4, 1)), r"shape \(4,\)"),
        (lambda: F.conv2d(x_of(3, 5), x_of(4, 3, 3, 3)), r"\(N, C, H, W\) or \(C, H, W\)"),
        (lambda: F.conv1d(x_of(3, 5, 5, 5), x_of(4, 3, 3)), r"\(N, C, L\) or \(C, L\)"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3)), "a weight of 4 axes"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3), padding="same"), "a weight of 4 axes"),
        (lambda: F.conv2d(x_of(1, 3, 0, 5), x_of(4, 3, 1, 1), padding=1), "at least 1 each way"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 0, 1)), "at least 1 each way"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), stride=0), "stride: expected at l"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), padding=-1), "padding: expected"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), dilation=0), "dilation: expected"),
        (
            lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), stride=2, padding="same"),
            "stride 1 with padding 'same'",
        ),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), padding="full"), "'same', 'valid'"),
        (lambda: F.conv2d(x_of(1, 3, 5, 5), x_of(4, 3, 3, 3), stride=(1, 1, 1)), "not 3"),
    ],
)
def test_misuse(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(cr.ShapeError, match=text):
        call()


def test_settings_are_shown_in_errors() -> None:
    with pytest.raises(
        cr.ShapeError, match=r"Conv\(stride=\(1, 1\), .*dilation=\(4, 4\)"
    ) as caught:
        F.conv2d(x_of(1, 1, 8, 8), x_of(1, 1, 3, 3), dilation=4)
    assert "(8 + 2*0 - (4*(3 - 1) + 1))/1 + 1 = 0" in str(caught.value)
    assert "got input float32 (1, 1, 8, 8), weight float32 (1, 1, 3, 3)" in str(caught.value)


def test_kinds() -> None:
    x, w = cr.zeros(1, 3, 5, 5), cr.zeros(4, 3, 3, 3)
    for call in (
        lambda: F.conv2d(x, w.double()),
        lambda: F.conv2d(x, w, cr.zeros(4, dtype=cr.float64)),
        lambda: F.conv2d(x, w, stride=1.0),
        lambda: F.conv2d(x, w, stride=True),
        lambda: F.conv2d(x, w, padding=("same", "same")),
        lambda: F.conv2d(x, w, groups=None),
        lambda: F.conv2d([[1.0]], w),
    ):
        with pytest.raises(cr.KindError):
            call()
    with pytest.raises(NotImplementedError, match="conv2d: expected numbers"):
        F.conv2d(x.bool(), w.bool())


def test_the_operation_is_named_after_its_dimensions() -> None:
    names = [Conv((1,) * d, ((0, 0),) * d, (1,) * d).name for d in (1, 2, 3)]
    assert names == ["conv1d", "conv2d", "conv3d"]
    assert AXES[3] == "D, H, W"
