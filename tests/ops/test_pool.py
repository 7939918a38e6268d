"""Pooling against loops over windows, the slides' example, and its edges."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.nn import functional as F
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import MaxPool, max_pool2d_with_indices
from chainrule.ops.pool_windows import Ragged, Strided, adaptive_windows

INF, NAN = float("inf"), float("nan")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def coarse(*shape: int, seed: int = 0) -> np.ndarray:
    """Few different values: windows full of ties."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float64)


# The oracle: windows as lists of positions, one after the other


def count(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    """Count windows by placing them."""
    reach, i = d * (k - 1) + 1, 0
    while i * s - p + reach <= n + p or (
        ceil and i * s - p < n and (i - 1) * s - p + reach < n + p
    ):
        i += 1
    return i


def windows(
    sizes: tuple[int, ...], k: Any, s: Any, p: Any, d: Any, ceil: bool
) -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]], int]]:
    """Give for each window its place, its positions in row order, and its size with padding."""
    outs = [count(*v, ceil) for v in zip(sizes, k, s, p, d, strict=True)]
    for place in np.ndindex(*outs):
        axes, area = [], 1
        for i, n, kk, ss, pp, dd in zip(place, sizes, k, s, p, d, strict=True):
            start = i * ss - pp
            axes.append([q for q in range(start, start + kk * dd, dd) if 0 <= q < n])
            area *= min(start + kk, n + pp) - start
        yield place, list(itertools.product(*axes)), area


def adaptive(sizes: tuple[int, ...], outs: tuple[int, ...]) -> Iterator[Any]:
    for place in np.ndindex(*outs):
        axes = [
            range(i * n // m, -((-(i + 1) * n) // m))
            for i, n, m in zip(place, sizes, outs, strict=True)
        ]
        positions = list(itertools.product(*axes))
        yield place, positions, len(positions)


def oracle_max(x: np.ndarray, outs: Any, every: list[Any], gy: Any = None) -> Any:
    """Pool each plane: maxima, flat indices (-1 for none), gradient."""
    d = len(outs)
    y = np.full(
        x.shape[:-d] + outs, -INF if x.dtype.kind == "f" else np.iinfo(x.dtype).min, x.dtype
    )
    index, gx = np.full(y.shape, -1, np.int64), np.zeros(x.shape)
    for lead in np.ndindex(x.shape[:-d]):
        for place, positions, _ in every:
            best = None
            for q in positions:
                v = x[lead + q]
                if best is None or v > x[lead + best] or np.isnan(v):
                    best = q
            if best is not None:
                y[lead + place] = x[lead + best]
                index[lead + place] = np.ravel_multi_index(best, x.shape[-d:])
                gx[lead + best] += 0 if gy is None else gy[lead + place]
    return y, index, gx


def oracle_average(
    x: np.ndarray, outs: Any, every: list[Any], divisor: Any, gy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pool each plane; divisor(number of positions, size with padding)."""
    d = len(outs)
    y, gx = np.zeros(x.shape[:-d] + outs), np.zeros(x.shape)
    for lead in np.ndindex(x.shape[:-d]):
        for place, positions, area in every:
            by = divisor(len(positions), area)
            y[lead + place] = sum(x[lead + q] for q in positions) / by
            for q in positions:
                gx[lead + q] += gy[lead + place] / by
    return y, gx


def layouts(x: np.ndarray) -> Iterator[np.ndarray]:
    """The same values in row order, channels-last, and as every other element of more."""
    yield x
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    big = np.full([2 * n for n in x.shape], NAN)
    big[tuple(slice(None, None, -2) for _ in x.shape)] = x
    yield big[tuple(slice(None, None, -2) for _ in x.shape)]


def match_max(x: np.ndarray, k: Any, s: Any, p: Any, dilation: Any, ceil: bool) -> None:
    every = list(windows(x.shape[-len(k) :], k, s, p, dilation, ceil))
    outs = tuple(count(*v, ceil) for v in zip(x.shape[-len(k) :], k, s, p, dilation, strict=True))
    gy = normal(*x.shape[: -len(k)], *outs, seed=1)
    y, index, gx = oracle_max(x, outs, every, gy)
    for given_x in layouts(x):
        op = MaxPool(k, s, p, dilation, ceil, True)
        (ours, indices), saved = op.forward(np, given_x)
        np.testing.assert_array_equal(ours, y)
        np.testing.assert_array_equal(indices, index)
        assert indices.dtype == np.int64
        assert saved[0].dtype.itemsize <= (1 if np.prod(k) <= 256 else 2)
        (ours,) = op.backward(np, saved, (gy, None), (True,))
        np.testing.assert_allclose(ours, gx, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (2, 3)])
@pytest.mark.parametrize("p", [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize("s", [(1, 1), (2, 2), (2, 3), (4, 4)])
@pytest.mark.parametrize("k", [(2, 2), (3, 2)])
def test_max_pool_is_the_loop(k: Any, s: Any, p: Any, dilation: Any, ceil: bool) -> None:
    match_max(coarse(2, 2, 6, 7), k, s, p, dilation, ceil)
    match_max(normal(3, 7, 7), k, s, p, dilation, ceil)


@given(st.data())
def test_max_pool_of_any_settings_is_the_loop(data: st.DataObject) -> None:
    d = data.draw(st.integers(1, 3))

    def each(least: int, most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.lists(st.integers(least, most), min_size=d, max_size=d)))

    k, s, dilation, sizes = each(1, 3), each(1, 4), each(1, 3), each(1, 6)
    p = tuple(data.draw(st.integers(0, n // 2)) for n in k)
    fits = all(
        n + 2 * q >= t * (m - 1) + 1 for n, m, q, t in zip(sizes, k, p, dilation, strict=True)
    )
    if fits:
        x = coarse(2, *sizes, seed=data.draw(st.integers(0, 9)))
        match_max(x, k, s, p, dilation, data.draw(st.booleans()))


def test_large_windows() -> None:
    """More entries than a byte counts, tiling and overlapping, up to the whole plane."""
    for s in (1, 7, 20):
        match_max(normal(2, 23, 25), (20, 21), (s, s), (0, 0), (1, 1), False)
    match_max(normal(1, 2, 17, 19), (17, 19), (17, 19), (0, 0), (1, 1), False)
    match_max(normal(2, 300), (290,), (5,), (3,), (1,), False)


@pytest.mark.parametrize("seed", range(3))
def test_nan_and_infinity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([NAN, INF, -INF, 1.0], (2, 2, 6, 6), p=[0.1, 0.1, 0.5, 0.3])
    for k, s, p in ((2, 2, 0), (3, 1, 1), (3, 2, 1), (2, 1, 0)):
        match_max(x, (k, k), (s, s), (p, p), (1, 1), True)
    match_max(np.full((1, 4, 4), -INF), (3, 3), (2, 2), (1, 1), (1, 1), False)
    match_max(np.full((1, 4, 4), NAN), (3, 3), (2, 2), (1, 1), (1, 1), False)


def test_window_of_padding_alone_has_no_winner() -> None:
    """Columns -1 and 2 of 0..1: dilation steps over the plane."""
    x = cr.tensor([[[1.0, 2.0]]], requires_grad=True)
    y, index = F.max_pool2d(x, (1, 2), 1, (0, 1), dilation=3, return_indices=True)
    assert (y.tolist(), index.tolist()) == ([[[-INF]]], [[[-1]]])
    y.backward(cr.ones(1, 1, 1))
    assert x.grad is not None
    assert x.grad.tolist() == [[[0.0, 0.0]]]
    match_max(normal(2, 3, 2), (2, 2), (1, 1), (1, 1), (1, 3), False)


def test_infinite_gradients_go_to_winners_alone() -> None:
    x = cr.tensor(normal(1, 4, 4), requires_grad=True)
    F.max_pool2d(x, 2).backward(cr.tensor([[[INF, -INF], [NAN, 1.0]]], dtype=cr.float64))
    assert x.grad is not None
    assert np.count_nonzero(x.grad.numpy()) == 4


# The slides

SLIDE = [[3.0, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]]


def test_slides_example() -> None:
    """Deck 003: values, winners, and the gradient at the winners alone."""
    x = cr.tensor([SLIDE], requires_grad=True)
    y, index = F.max_pool2d(x, 2, 2, return_indices=True)
    assert y.tolist() == [[[5, 4], [7, 7]]]
    winners = [divmod(i, 4) for i in np.ravel(index.tolist())]
    assert winners == [(1, 1), (1, 3), (3, 0), (3, 3)]
    y.backward(cr.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]]]


def test_slides_sizes() -> None:
    """LeNet-5's 28 -> 14 and 10 -> 5; AlexNet's 55 -> 27 -> 27, 27 -> 13, 13 -> 6."""
    meta = [cr.zeros(1, 3, n, n, device="meta") for n in (28, 10, 55, 27, 13)]
    pooled = [F.max_pool2d(x, *((2, 2) if i < 2 else (3, 2))) for i, x in enumerate(meta)]
    assert [y.shape[-1] for y in pooled] == [14, 5, 27, 13, 6]
    assert all(y.is_meta for y in pooled)


def test_stride_that_does_not_fit() -> None:
    """(7 - 3)/3 + 1 = 2.33 rounds down and drops a column; ceil mode keeps it."""
    x = cr.tensor(np.arange(7.0).reshape(1, 7))
    assert F.max_pool1d(x, 3, 3).tolist() == [[2, 5]]
    assert F.max_pool1d(x, 3, 3, ceil_mode=True).tolist() == [[2, 5, 6]]


def test_first_of_equal_entries_wins() -> None:
    x = cr.ones(1, 2, 4, 4, requires_grad=True)
    y, index = max_pool2d_with_indices(x, 2)
    assert index.tolist() == [[[[0, 2], [8, 10]]] * 2]
    y.backward(cr.ones(1, 2, 2, 2))
    assert x.grad is not None
    np.testing.assert_array_equal(np.flatnonzero(x.grad.numpy()[0, 0]), [0, 2, 8, 10])


# Kinds and memory


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint8"])
def test_dtype_is_kept(dtype: str) -> None:
    x = (coarse(2, 3, 6, 6) + 1).astype(dtype)
    y, index = F.max_pool2d(cr.tensor(x), 3, 2, 1, return_indices=True)
    assert (y.dtype, index.dtype) == (np.dtype(dtype), np.dtype("int64"))
    every = list(windows((6, 6), (3, 3), (2, 2), (1, 1), (1, 1), False))
    np.testing.assert_array_equal(y.numpy(), oracle_max(x, (3, 3), every)[0])
    if dtype.startswith("float"):
        x = cr.tensor(x, requires_grad=True)
        for pool in (F.avg_pool2d, F.max_pool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
            y = pool(x, 2)
            assert y.dtype == np.dtype(dtype)
            x.grad = None
            y.backward(cr.ones(*y.shape, dtype=dtype))
            assert x.grad.dtype == np.dtype(dtype)


def test_lowest_integers() -> None:
    for dtype in ("int8", "int64", "uint8"):
        low = np.iinfo(dtype).min
        y, index = F.max_pool2d(cr.full((1, 3, 3), low, dtype=dtype), 2, 1, 1, return_indices=True)
        assert set(np.ravel(y.tolist())) == {low}
        assert index.tolist()[0][0] == [0, 0, 1, 2]


def test_averages_of_float16_do_not_overflow() -> None:
    x = cr.full((1, 8, 8), 60000.0, dtype="float16")
    for y in (F.avg_pool2d(x, 4), F.avg_pool2d(x, 8), F.adaptive_avg_pool2d(x, 3)):
        assert set(np.ravel(y.tolist())) == {60000.0}


POOLS: list[Any] = [
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.max_pool2d(x, 3, 2, 1),
    lambda x: F.avg_pool2d(x, 2),
    lambda x: F.avg_pool2d(x, 3, 2, 1),
    lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
    lambda x: F.adaptive_max_pool2d(x, (3, 4)),
]


@pytest.mark.parametrize("pool", POOLS)
def test_memory_order_is_kept(pool: Any) -> None:
    """Channels-last in, channels-last out, forward and backward; and so for row order."""
    plain = normal(2, 3, 8, 8).astype(np.float32)
    last = np.ascontiguousarray(plain.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    results = []
    for array in (plain, last):
        x = cr.tensor(0.0)
        x.data = array
        x.requires_grad_()
        with cr.use_backend("numpy"):  # others may prefer one order
            y = pool(x)
        order = array.transpose(0, 2, 3, 1) if array is last else array
        ours = y.array.transpose(0, 2, 3, 1) if array is last else y.array
        assert order.flags.c_contiguous
        assert ours.flags.c_contiguous
        y.backward(cr.ones(*y.shape))
        assert x.grad is not None
        g = x.grad.array.transpose(0, 2, 3, 1) if array is last else x.grad.array
        assert g.flags.c_contiguous
        results.append((y.detach().numpy(), x.grad.numpy()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6)


def test_little_is_saved() -> None:
    """A byte for each output of a max pooling, nothing for an average."""
    x = normal(4, 3, 8, 8)

    def size(saved: Any) -> int:
        if isinstance(saved, tuple):
            return sum(size(s) for s in saved)
        return int(getattr(saved, "nbytes", 0))

    for p in (0, 1):
        (y,), saved = MaxPool((3, 3), (2, 2), (p, p), (1, 1)).forward(np, x)
        assert size(saved) == y.size
        _, saved = AvgPool((3, 3), (2, 2), (p, p)).forward(np, x)
        assert size(saved) == 0
    assert size(AdaptiveAvgPool((3, 5)).forward(np, x)[1]) == 0


def test_results_are_not_views_of_the_input() -> None:
    x = normal(1, 2, 4, 4)
    for op in (
        MaxPool((1, 1), (1, 1), (0, 0), (1, 1)),
        AvgPool((1, 1), (1, 1), (0, 0)),
        AdaptiveAvgPool((4, 4)),
    ):
        (y,), _ = op.forward(np, x)
        np.testing.assert_array_equal(y, x)
        assert not np.shares_memory(x, y)


def test_plain_arrays_of_one_plane() -> None:
    """The operations' own methods serve plain arrays too, also without any leading axis."""
    op = MaxPool((2, 2), (2, 2), (0, 0), (1, 1))
    (y,), saved = op.forward(np, np.array(SLIDE))
    assert y.tolist() == [[5, 4], [7, 7]]
    (gx,) = op.backward(np, saved, np.array([[1.0, 2.0], [3.0, 4.0]]), (True,))
    assert np.flatnonzero(gx).tolist() == [5, 7, 12, 15]


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_empty_batch(kind: str) -> None:
    x = cr.zeros(0, 3, 8, 8, requires_grad=True)
    pools = [getattr(F, f"{kind}_pool2d")(x, 2), getattr(F, f"adaptive_{kind}_pool2d")(x, 3)]
    for y, n in zip(pools, (4, 3), strict=True):
        assert y.shape == (0, 3, n, n)
        x.grad = None
        y.backward(cr.zeros(*y.shape))
        assert x.grad is not None
        assert x.grad.shape == x.shape


def test_settings_may_be_numpy_integers() -> None:
    x = cr.tensor(normal(1, 2, 6, 6))
    ours = F.max_pool2d(x, np.int64(2), np.int32(2), np.array([0, 0]))
    np.testing.assert_array_equal(ours.numpy(), F.max_pool2d(x, (2, 2)).numpy())


# Averages


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("p", [(0, 0), (1, 0), (1, 1)])
@pytest.mark.parametrize("s", [(1, 1), (2, 2), (2, 3), (4, 4)])
@pytest.mark.parametrize("k", [(2, 2), (3, 2)])
def test_avg_pool_is_the_loop(k: Any, s: Any, p: Any, include: bool, ceil: bool) -> None:
    for x in (normal(2, 2, 6, 7), normal(3, 7, 8)):
        every = list(windows(x.shape[-2:], k, s, p, (1, 1), ceil))
        outs = tuple(count(*v, 1, ceil) for v in zip(x.shape[-2:], k, s, p, strict=True))
        gy = normal(*x.shape[:-2], *outs, seed=1)
        for override in (None, -3):

            def divisor(inside: int, padded: int, override: Any = override) -> Any:
                return override or (padded if include else inside)

            y, gx = oracle_average(x, outs, every, divisor, gy)
            for given_x in layouts(x):
                op = AvgPool(k, s, p, ceil, include, override)
                (ours,), saved = op.forward(np, given_x)
                np.testing.assert_allclose(ours, y, rtol=1e-12, atol=1e-14)
                (ours,) = op.backward(np, saved, gy, (True,))
                np.testing.assert_allclose(ours, gx, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sizes", [(5,), (6, 7), (3, 4, 5)])
@pytest.mark.parametrize("target", [1, 2, 3, 4, 7, 11])
def test_adaptive_pools_are_the_loop(sizes: tuple[int, ...], target: int) -> None:
    d = len(sizes)
    outs = (target,) * d
    every = list(adaptive(sizes, outs))
    for x in (normal(2, 2, *sizes), coarse(2, *sizes)):
        gy = normal(*x.shape[:-d], *outs, seed=1)
        y, index, gx = oracle_max(x, outs, every, gy)
        t = cr.tensor(x, requires_grad=True)
        ours, indices = getattr(F, f"adaptive_max_pool{d}d")(t, target, return_indices=True)
        np.testing.assert_array_equal(ours.detach().numpy(), y)
        np.testing.assert_array_equal(indices.numpy(), index)
        ours.backward(cr.tensor(gy))
        assert t.grad is not None
        np.testing.assert_allclose(t.grad.numpy(), gx, rtol=1e-12, atol=1e-14)
        y, gx = oracle_average(x, outs, every, lambda inside, _: inside, gy)
        t.grad = None
        ours = getattr(F, f"adaptive_avg_pool{d}d")(t, target)
        np.testing.assert_allclose(ours.detach().numpy(), y, rtol=1e-12, atol=1e-14)
        ours.backward(cr.tensor(gy))
        np.testing.assert_allclose(t.grad.numpy(), gx, rtol=1e-12, atol=1e-14)


def test_adaptive_windows() -> None:
    regular, ragged = adaptive_windows((6, 5), (3, 3))
    assert regular == Strided(6, 3, 2, 2, 0, 1)
    assert isinstance(ragged, Ragged)
    assert (ragged.start.tolist(), ragged.end.tolist()) == ([0, 1, 3], [2, 4, 5])
    held_by = ragged.turned()
    assert (held_by.start.tolist(), held_by.end.tolist()) == ([0, 0, 1, 1, 2], [1, 2, 2, 3, 3])


def test_output_size_none_keeps_a_size() -> None:
    x = cr.tensor(normal(2, 5, 7))
    assert F.adaptive_avg_pool2d(x, (None, 3)).shape == (2, 5, 3)
    np.testing.assert_array_equal(F.adaptive_max_pool2d(x, (None, None)).numpy(), x.numpy())
    assert F.adaptive_avg_pool2d(x, (0, None)).shape == (2, 0, 7)


def test_global_average_is_the_mean() -> None:
    x = normal(2, 3, 7, 7)
    y = F.adaptive_avg_pool2d(cr.tensor(x), 1)
    np.testing.assert_allclose(y.numpy()[..., 0, 0], x.mean((2, 3)), rtol=1e-12)


def test_averages_of_integers_round_towards_zero() -> None:
    x = cr.tensor([[[-1, -2], [-2, -2]]])
    assert F.avg_pool2d(x, 2).tolist() == [[[-1]]]
    assert F.avg_pool2d(x, 2, divisor_override=-2).tolist() == [[[3]]]
    assert F.avg_pool2d(cr.tensor([[[-4, -4], [-4, -4]]]), 2).tolist() == [[[-4]]]


def test_nan_stays_in_its_windows() -> None:
    x = np.ones((1, 1, 9, 9))
    x[0, 0, 4, 4] = NAN
    for y in (F.avg_pool2d(cr.tensor(x), 3), F.adaptive_avg_pool2d(cr.tensor(x), 4)):
        found = np.isnan(y.numpy())
        assert 0 < found.sum() < found.size
        assert set(y.numpy()[~found]) == {1.0}


# Errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: F.max_pool2d(x, 9), cr.ShapeError, r"\(6 \+ 2\*0 - 9\)/9 \+ 1 = "),
        (lambda x: F.avg_pool2d(x, (2, 9), 1), cr.ShapeError, r"\(7 \+ 2\*0 - 9\)/1 \+ 1 = -1"),
        (lambda x: F.max_pool2d(x, 3, dilation=4), cr.ShapeError, r"4\*\(3 - 1\) \+ 1"),
        (lambda x: F.max_pool2d(x, 3, padding=2), cr.ShapeError, r"3//2 = 1, not 2"),
        (lambda x: F.max_pool2d(x, 2, padding=-1), cr.ShapeError, "not -1"),
        (lambda x: F.max_pool2d(x, 0), cr.ShapeError, "kernel_size of at least 1, not 0"),
        (lambda x: F.max_pool2d(x, 2, (1, 0)), cr.ShapeError, "stride of at least 1, not 0"),
        (lambda x: F.max_pool2d(x, 2, dilation=0), cr.ShapeError, "dilation of at least 1"),
        (lambda x: F.max_pool2d(x, (2, 2, 2)), cr.ShapeError, "1 or 2 integers, not 3"),
        (lambda x: F.max_pool2d(x, 2.0), cr.KindError, "kernel_size"),
        (lambda x: F.max_pool2d(x, 2, ceil_mode=1), cr.KindError, "ceil_mode: expected True or"),
        (lambda x: F.max_pool1d(x, 2), cr.ShapeError, r"\(C, L\) or \(N, C, L\)"),
        (lambda x: F.max_pool3d(x[0], 2), cr.ShapeError, r"\(C, D, H, W\) or \(N, C, D, H, W\)"),
        (lambda x: F.avg_pool2d(x[0, 0], 2), IndexError, r"\(C, H, W\) or \(N, C, H, W\)"),
        (lambda x: F.max_pool2d(x[:, :0], 2), cr.ShapeError, "axis 1 has size 0"),
        (lambda x: F.avg_pool2d(x[:, :, :, :0], 2), cr.ShapeError, "axis 3 has size 0"),
        (lambda x: F.adaptive_avg_pool2d(x[:, :, :0], 2), cr.ShapeError, "axis 2 has size 0"),
        (lambda x: F.adaptive_max_pool2d(x[:, :0], 2), cr.ShapeError, "axis 1 has size 0"),
        (lambda x: F.adaptive_avg_pool2d(x, -1), cr.ShapeError, "at least 0"),
        (lambda x: F.adaptive_avg_pool2d(x, (2, 2, 2)), cr.ShapeError, "2 output sizes, not 3"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), cr.ShapeError, "other than 0"),
        (lambda x: F.max_pool2d(x > 0, 2), cr.KindError, "bool"),
        (lambda x: F.avg_pool2d(x.to(cr.int32), 2), cr.KindError, "int64"),
        (lambda x: F.max_pool2d([[1.0]], 2), cr.KindError, "a tensor"),
    ],
)
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(cr.tensor(normal(2, 3, 6, 7)))
