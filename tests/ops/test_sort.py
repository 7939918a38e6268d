"""Order, running extremes, counts and norms: against NumPy, SciPy and loops, and misused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import AxisError, KindError, ShapeError, UndefinedKindError

NAN = float("nan")


def drawn(seed: int, *shape: int, ties: bool = True) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, shape).astype(np.float64) if ties else rng.standard_normal(shape)


@given(st.integers(0, 300), st.integers(0, 2), st.booleans())
def test_sort_keeps_the_order_of_equal_elements(seed: int, dim: int, descending: bool) -> None:
    x = drawn(seed, 3, 5, 2)
    x[drawn(seed + 1, 3, 5, 2) == 0] = NAN
    values, indices = cr.sort(cr.tensor(x), dim, descending)
    for line in np.ndindex(*np.delete(x.shape, dim)):
        key = (*line[:dim], slice(None), *line[dim:])
        row = x[key].tolist()
        rank = [np.inf if v != v else v for v in row]
        order = sorted(range(len(row)), key=lambda i: -rank[i] if descending else rank[i])
        assert indices.numpy()[key].tolist() == order
        np.testing.assert_array_equal(values.numpy()[key], x[key][order])


@given(st.integers(0, 300), st.integers(0, 40), st.booleans())
def test_topk_is_the_head_of_sort(seed: int, k: int, largest: bool) -> None:
    x = drawn(seed, 2, 40, ties=False)
    x[0, seed % 40] = NAN
    values, indices = cr.topk(cr.tensor(x), k, largest=largest)
    expected = cr.sort(cr.tensor(x), descending=largest)
    np.testing.assert_array_equal(values, expected.values.numpy()[:, :k])
    np.testing.assert_array_equal(indices, expected.indices.numpy()[:, :k])


@given(st.integers(0, 300), st.integers(1, 7))
def test_ranks(seed: int, n: int) -> None:
    x = drawn(seed, 3, n)
    t = cr.tensor(x)
    ordered = np.sort(x, axis=1)
    for k in range(1, n + 1):
        value, index = cr.kthvalue(t, k)
        np.testing.assert_array_equal(value, ordered[:, k - 1])
        np.testing.assert_array_equal(np.take_along_axis(x, index.numpy()[:, None], 1)[:, 0], value)
    np.testing.assert_array_equal(cr.median(t, 1).values, ordered[:, (n - 1) // 2])
    assert cr.median(t).item() == np.sort(x.reshape(-1))[(x.size - 1) // 2]
    mode = scipy.stats.mode(x, axis=1).mode
    found = cr.mode(t)
    np.testing.assert_array_equal(found.values, mode)
    for row, value, index in zip(x, mode, found.indices.tolist(), strict=True):
        assert index == max(np.flatnonzero(row == value))


def test_medians_and_nan() -> None:
    x = cr.tensor([[NAN, 1.0, 3.0], [4.0, 2.0, 9.0], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(cr.median(x, 1).values, [NAN, 4.0, NAN])
    assert cr.median(x, 1).indices.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(cr.nanmedian(x, 1).values, [1.0, 4.0, NAN])
    assert cr.nanmedian(x).item() == 3.0
    assert np.isnan(cr.median(x).item())
    assert np.isnan(cr.median(cr.zeros(0)).item())


def test_the_median_of_all_shares_its_gradient_and_one_along_an_axis_does_not() -> None:
    x = cr.tensor([2.0, 1.0, 2.0, 5.0], requires_grad=True)
    cr.median(x).backward()
    assert x.grad.tolist() == [0.5, 0.0, 0.5, 0.0]
    x.grad = None
    cr.median(x, 0).values.backward()
    assert sorted(x.grad.tolist()) == [0.0, 0.0, 0.0, 1.0]


@given(st.integers(0, 300), st.integers(0, 1))
def test_running_extremes(seed: int, dim: int) -> None:
    x = drawn(seed, 4, 5)
    largest, where = cr.cummax(cr.tensor(x), dim)
    np.testing.assert_array_equal(largest, np.maximum.accumulate(x, axis=dim))
    smallest, at = cr.cummin(cr.tensor(x), dim)
    np.testing.assert_array_equal(smallest, np.minimum.accumulate(x, axis=dim))
    for index, values in ((where, largest), (at, smallest)):
        np.testing.assert_array_equal(np.take_along_axis(x, index.numpy(), dim), values)
    np.testing.assert_array_equal(where, _last_best(x, dim))


def _last_best(x: Any, dim: int) -> Any:
    rows = np.moveaxis(x, dim, -1)
    found = np.zeros(rows.shape, int)
    for line in np.ndindex(rows.shape[:-1]):
        best = 0
        for i, v in enumerate(rows[line]):
            best = i if v >= rows[line][best] else best
            found[line][i] = best
    return np.moveaxis(found, -1, dim)


def test_running_extremes_and_nan() -> None:
    values, indices = cr.cummin(cr.tensor([3.0, NAN, 1.0, NAN]), 0)
    np.testing.assert_array_equal(values, [3.0, NAN, NAN, NAN])
    assert indices.tolist() == [0, 1, 1, 3]


@given(st.integers(0, 300))
def test_running_products_and_sums_of_exponentials(seed: int) -> None:
    x = drawn(seed, 3, 4) * 300
    np.testing.assert_array_equal(cr.cumprod(cr.tensor(x), 1), np.cumprod(x, 1))
    expected = [[scipy.special.logsumexp(row[: i + 1]) for i in range(4)] for row in x]
    np.testing.assert_allclose(cr.logcumsumexp(cr.tensor(x), 1), expected, rtol=1e-12)
    assert cr.logcumsumexp(cr.tensor([-np.inf, -np.inf]), 0).tolist() == [-np.inf] * 2


@pytest.mark.parametrize("zeros", [(), (1,), (0,), (1, 3), (2, 3)])
def test_the_running_products_gradient_where_factors_are_zero(zeros: tuple[int, ...]) -> None:
    x = np.array([0.5, -1.5, 2.0, 3.0, -0.7])
    x[list(zeros)] = 0
    gy = np.arange(1.0, 6.0)
    t = cr.tensor(x, requires_grad=True)
    cr.cumprod(t, 0).backward(cr.tensor(gy))
    expected = [
        sum(gy[k] * np.prod(np.delete(x[: k + 1], i)) for k in range(i, 5)) for i in range(5)
    ]
    np.testing.assert_allclose(t.grad, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, -1, -2, np.inf, -np.inf])
@pytest.mark.parametrize("dim", [None, 0, 1, (0, 2)])
def test_norms(p: float, dim: Any) -> None:
    x = drawn(0, 2, 3, 4, ties=False)
    y = cr.norm(cr.tensor(x), p, dim).numpy()
    rows = x.reshape(-1) if dim is None else x
    if isinstance(dim, tuple):
        rows, along = np.moveaxis(x, 1, 0).reshape(3, -1), 1
    else:
        along = dim or 0
    np.testing.assert_allclose(y, np.linalg.norm(rows, p, axis=along), rtol=1e-12)


@pytest.mark.parametrize("p", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_matrices(p: Any) -> None:
    x = drawn(0, 3, 4, 5, ties=False)
    y = cr.linalg.matrix_norm(cr.tensor(x), p, (0, 2), keepdim=True)
    assert y.shape == (1, 4, 1)
    expected = np.linalg.norm(x, p, axis=(0, 2))
    np.testing.assert_allclose(y.numpy().reshape(-1), expected, rtol=1e-12)
    assert cr.linalg.matrix_norm(cr.tensor(x), p).shape == (3,)
    np.testing.assert_allclose(
        cr.linalg.norm(cr.tensor(x[0]), p).numpy(), np.linalg.norm(x[0], p), rtol=1e-12
    )


def test_a_norm_of_zero_has_gradient_zero() -> None:
    for p in (2, 3, 1.5):
        x = cr.zeros(3, requires_grad=True)
        cr.norm(x, p).backward()
        assert x.grad.tolist() == [0.0, 0.0, 0.0]
    x = cr.tensor([1.0, -1.0, 0.5], requires_grad=True)
    cr.norm(x, np.inf).backward()
    assert x.grad.tolist() == [0.5, -0.5, 0.0]


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("dim", [None, 0, 1])
def test_quantiles(interpolation: str, dim: int | None) -> None:
    x, q = drawn(0, 5, 4, ties=False), np.array([0.0, 0.1, 0.5, 0.77, 1.0])
    y = cr.quantile(cr.tensor(x), cr.tensor(q), dim, interpolation=interpolation)
    expected = np.quantile(x, q, axis=dim, method=interpolation)  # type: ignore[call-overload]
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
    x[1, 2] = NAN
    y = cr.nanquantile(cr.tensor(x), cr.tensor(q), dim, interpolation=interpolation)
    expected = np.nanquantile(x, q, axis=dim, method=interpolation)  # type: ignore[call-overload]
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
    assert np.isnan(cr.quantile(cr.tensor(x), 0.5).item())


def test_statistics() -> None:
    x = drawn(0, 3, 4, ties=False)
    t = cr.tensor(x)
    np.testing.assert_allclose(cr.var_mean(t, 1)[0], x.var(1, ddof=1))
    np.testing.assert_allclose(cr.std_mean(t, 1, correction=0)[0], x.std(1))
    np.testing.assert_allclose(cr.std_mean(t, 1)[1], x.mean(1))
    assert cr.aminmax(t).min.item() == x.min()
    np.testing.assert_array_equal(cr.aminmax(t, dim=0).max, x.max(0))
    x[0, 0] = NAN
    np.testing.assert_allclose(cr.nansum(cr.tensor(x), 1), np.nansum(x, 1))
    np.testing.assert_allclose(cr.nanmean(cr.tensor(x), 1), np.nanmean(x, 1))
    assert cr.dist(t, t * 0).item() == pytest.approx(np.linalg.norm(t.numpy()))


@given(st.integers(0, 300))
def test_sets(seed: int) -> None:
    x = drawn(seed, 4, 3).astype(np.int64)
    t = cr.tensor(x)
    y, which, counts = cr.unique(t, return_inverse=True, return_counts=True)
    expected = np.unique(x, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(which, expected[1].reshape(x.shape))
    np.testing.assert_array_equal(counts, expected[2])
    for dim in (0, 1):
        rows = np.unique(x, axis=dim, return_inverse=True, return_counts=True)
        found = cr.unique(t, dim=dim, return_inverse=True, return_counts=True)
        for ours, theirs in zip(found, rows, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    flat = x.reshape(-1)
    kept = [v for i, v in enumerate(flat) if i == 0 or flat[i - 1] != v]
    assert cr.unique_consecutive(t).tolist() == kept
    np.testing.assert_array_equal(cr.isin(t, cr.tensor([1, 3])), np.isin(x, [1, 3]))
    np.testing.assert_array_equal(cr.isin(t, 2, invert=True), x != 2)
    np.testing.assert_array_equal(cr.bincount(cr.tensor(flat), minlength=6),
                                  np.bincount(flat, minlength=6))  # fmt: skip


def test_every_nan_is_an_element_of_its_own() -> None:
    y = cr.unique(cr.tensor([NAN, 1.0, NAN]))
    np.testing.assert_array_equal(y, [1.0, NAN, NAN])


@given(st.integers(0, 300), st.booleans())
def test_searching_rows(seed: int, right: bool) -> None:
    rows, values = np.sort(drawn(seed, 2, 3, 5), axis=-1), drawn(seed + 1, 2, 3, 4)
    y = cr.searchsorted(cr.tensor(rows), cr.tensor(values), right=right)
    for line in np.ndindex(2, 3):
        side = "right" if right else "left"
        expected = np.searchsorted(rows[line], values[line], side=side)
        np.testing.assert_array_equal(y.numpy()[line], expected)
    edges = np.sort(drawn(seed, 6))
    found = cr.bucketize(cr.tensor(values), cr.tensor(edges), right=right, out_int32=True)
    np.testing.assert_array_equal(found, np.searchsorted(edges, values, side=side))
    assert found.dtype == np.int32


def test_a_histogram() -> None:
    x = drawn(0, 200, ties=False)
    expected = np.histogram(x, 7, (-1, 1))[0]
    np.testing.assert_array_equal(cr.histc(cr.tensor(x), 7, -1, 1), expected)
    np.testing.assert_array_equal(cr.histc(cr.tensor(x), 7), np.histogram(x, 7)[0])
    assert cr.histc(cr.tensor([2.0, 2.0]), 2).tolist() == [0.0, 2.0]


X = cr.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: cr.sort(X, 2), AxisError, "sort: expected dim in [-2, 1]"),
        (lambda: cr.sort(X, 0, 1), KindError, "sort descending: expected True or False"),
        (lambda: cr.topk(X, 4), ShapeError, "k in [0, 3], the size of dim 1; got k 4"),
        (lambda: cr.topk(X > 0, 1), UndefinedKindError, "numbers, not booleans"),
        (lambda: cr.kthvalue(X, 0), ShapeError, "k in [1, 3], the size of dim 1; got k 0"),
        (lambda: cr.kthvalue(X, 1.5), KindError, "kthvalue k: expected an integer"),
        (lambda: cr.median(cr.zeros(2, 0), 1), AxisError, "at least one element along dim 1"),
        (lambda: cr.median(X, keepdim=True), KindError, "dim together with keepdim"),
        (lambda: cr.median(cr.zeros(0, dtype=cr.int64)), ShapeError, "at least one element"),
        (lambda: cr.logcumsumexp(cr.tensor([1]), 0), UndefinedKindError, "a floating-point input"),
        (lambda: cr.cummax(X, 3), AxisError, "cummax: expected dim in [-2, 1]"),
        (lambda: cr.norm(cr.tensor([1])), KindError, "vector_norm: expected a floating-point"),
        (lambda: cr.norm(cr.zeros(0), np.inf), ShapeError, "one element for a norm of order inf"),
        (lambda: cr.norm(X.double(), dtype=cr.float32), ShapeError, "dtype of at least 64 bits"),
        (lambda: cr.norm(X, "nuk"), ShapeError, 'ord "fro" or "nuc", or a number'),
        (lambda: cr.linalg.matrix_norm(X, 3), ShapeError, "an order among 1, 2 and inf"),
        (lambda: cr.linalg.matrix_norm(X, 1, (0, 0)), ShapeError, "every dimension once"),
        (lambda: cr.linalg.matrix_norm(X[0]), ShapeError, "a tensor of at least two axes"),
        (lambda: cr.linalg.norm(X, "fro", 1), ShapeError, "a number for ord, for vectors"),
        (lambda: cr.linalg.norm(cr.ones(2, 2, 2), 1), ShapeError, "one axis or two"),
        (lambda: cr.quantile(X, 1.5), ShapeError, "q in [0, 1]; got q [1.5]"),
        (lambda: cr.quantile(X, cr.tensor([[0.5]])), ShapeError, "q of one axis at most"),
        (lambda: cr.quantile(X.double(), cr.tensor(0.5)), KindError, "q of the input's dtype"),
        (lambda: cr.quantile(cr.zeros(0), 0.5), ShapeError, "at least one element"),
        (lambda: cr.quantile(cr.tensor([1]), 0.5), ShapeError, "an input of float32 or float64"),
        (lambda: cr.quantile(X, 0.5, interpolation="no"), ShapeError, "interpolation among"),
        (lambda: cr.nanmean(cr.tensor([1])), KindError, "nanmean: expected a floating-point"),
        (lambda: cr.bincount(cr.tensor([-1])), ShapeError, "numbers of 0 or more, not -1"),
        (lambda: cr.bincount(X), UndefinedKindError, "bincount: expected integers"),
        (lambda: cr.bincount(cr.tensor([[1]])), ShapeError, "a vector, and a minlength of 0"),
        (lambda: cr.bincount(cr.tensor([1]), X[0]), ShapeError, "a weight for each element"),
        (lambda: cr.bincount(cr.tensor([1]), minlength=-1), ShapeError, "minlength of 0 or more"),
        (lambda: cr.histc(X, 0), ShapeError, "1 bin or more and min <= max; got bins 0"),
        (lambda: cr.histc(X / 0), ShapeError, "a finite range"),
        (lambda: cr.histc(cr.tensor([1])), UndefinedKindError, "a floating-point input"),
        (lambda: cr.searchsorted(X, cr.ones(3, 1)), ShapeError, "a row for each row of values"),
        (lambda: cr.searchsorted(X, 1.0), ShapeError, "one vector to search for a number"),
        (lambda: cr.searchsorted(X[0], X, side="up"), ShapeError, 'side "left" or "right"'),
        (
            lambda: cr.searchsorted(X[0], X, side="left", right=True),
            ShapeError,
            "right and side that agree",
        ),
        (
            lambda: cr.searchsorted(X[0], X, sorter=cr.tensor([0])),
            ShapeError,
            "a sorter of int64, of the sequence's shape",
        ),
        (lambda: cr.bucketize(X, X), ShapeError, "boundaries of one axis"),
        (lambda: cr.isin(X > 0, 1), KindError, "numbers, not booleans"),
        (lambda: cr.isin(1, 2), KindError, "a tensor among the two"),
        (lambda: cr.unique(cr.zeros(2, 0), dim=0), ShapeError, "slices that have elements"),
    ],
)
def test_errors_say_what_is_wrong(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        call()
