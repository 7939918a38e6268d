"""Products in pieces: the same numbers, pieces below BLAS's bound, on one thread."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from chainrule.ops.products import LONG, SINGLE, SMALL, TILE, cut, matrix_product

SHAPES = [
    (1, 1, 1),
    (64, 400, 120),
    (16, 6400, 150),  # cut along the inner axis
    (6400, 150, 16),
    (784, 576, 64),
    (224, 2304, 256),  # one row is above the bound: cut both ways
    (37, 1009, 41),  # primes: no cut
    (0, 5, 7),
    (5, 0, 7),
    (97, 2048, 4),
]


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_pieces_are_below_the_bound_or_the_product_is_whole(m: int, k: int, n: int) -> None:
    rows, inner, columns = cut(m, k, n)
    assert m % rows == k % inner == n % columns == 0
    if (rows, inner, columns) == (1, 1, 1):
        assert m * k * n <= SINGLE or (m, k, n) == (37, 1009, 41)
        return
    assert (m // rows) * (k // inner) * (n // columns) <= SINGLE
    assert inner == 1 or k // inner >= LONG
    assert min(m // rows, n // columns) >= TILE


def test_the_cases_that_ought_to_be_cut_are() -> None:
    assert cut(16, 6400, 150)[1] > 1
    assert cut(784, 576, 64)[0] > 1
    assert min(cut(224, 2304, 256)[::2]) > 1


def layouts(a: np.ndarray) -> list[np.ndarray]:
    return [a, np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2], a[::-1].copy()[::-1]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_values_whatever_the_strides(m: int, k: int, n: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, s).astype(dtype) for s in ((m, k), (k, n)))
    expected = (a.astype(float) @ b.astype(float)).astype(dtype)
    pairs = list(product(layouts(a), layouts(b))) if m * k * n < 1 << 23 else [(a, b)]
    for x, y in pairs:
        found = matrix_product(np, x, y)
        assert found.dtype == a.dtype
        np.testing.assert_array_equal(found, expected)
        for make in (np.zeros((m, n), dtype), np.zeros((n, m), dtype).T):
            assert matrix_product(np, x, y, make) is make
            np.testing.assert_array_equal(make, expected)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 2, 16, 150), (3, 2, 150, 800)),
        ((2, 16, 150), (3, 2, 150, 800)),
        ((3, 2, 16, 3000), (3, 2, 3000, 20)),
        ((3, 2, 3, 4), (3, 2, 4, 5)),
    ],
)
def test_stacks(a: Any, b: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(-4, 5, a).astype(float), rng.integers(-4, 5, b).astype(float)
    np.testing.assert_array_equal(matrix_product(np, x, y), x @ y)
    out = np.empty((3, 2, a[-2], b[-1]))
    assert matrix_product(np, x, y, out) is out
    np.testing.assert_array_equal(out, x @ y)


def test_a_large_product_is_left_to_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Spy:
        def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
            calls.append((a.shape, b.shape))
            return np.matmul(a, b) if out is None else np.matmul(a, b, out=out)

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    n = 512
    assert n**3 > SMALL
    a = np.ones((n, n), np.float32)
    matrix_product(Spy(), a, a)
    assert calls == [((n, n), (n, n))]
    matrix_product(Spy(), a, a, most=float("inf"))
    x, y = calls[1]
    assert x[-2] * x[-1] * y[-1] <= SINGLE
