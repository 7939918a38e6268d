"""Products in pieces: the same numbers, pieces below BLAS's bound, on one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.engine import workers
from chainrule.engine.threads import BLAS, hold_blas, release_blas
from chainrule.ops import products
from chainrule.ops.products import (
    LONG,
    SINGLE,
    SMALL,
    TILE,
    cut,
    matrix_product,
    multiply,
    shares,
)

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


# Large products while BLAS is held to one thread


@pytest.fixture
def free() -> Iterator[None]:
    """BLAS with its own threads, whatever backend the process has."""
    before = BLAS.held
    release_blas()
    yield
    release_blas()
    if before:
        hold_blas(before)


@pytest.fixture
def held(free: None) -> None:
    """BLAS on one thread."""
    hold_blas()


FACTORS = [
    ((5, 70), (70, 900)),
    ((900, 70), (70, 5)),
    ((100, 31), (31, 100)),
    ((70,), (70, 900)),
    ((900, 70), (70,)),
    ((4000,), (4000,)),
    ((6, 5, 40), (6, 40, 9)),
    ((2, 3, 100, 40), (3, 40, 90)),
    ((100, 40), (7, 40, 90)),
    ((2, 1, 5, 4), (1, 9, 4, 3)),
    ((3, 40, 90), (90,)),
    ((40,), (2, 40, 90)),
    ((0, 40), (40, 90)),
    ((9, 0), (0, 90)),
    ((0, 9, 3), (0, 3, 9)),
]


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(("left", "right"), FACTORS)
def test_shared_products(
    left: Any, right: Any, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "SINGLE", -1)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-4, 5, shape).astype(dtype) for shape in (left, right))
    expected = np.matmul(a, b)
    for x in (a, np.asfortranarray(a)):
        for y in (b, np.asfortranarray(b)):
            found = multiply(np, x, y)
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("a", "b"),
    [((9, 5), (5, 4096)), ((4096, 5), (5, 9)), ((40, 9, 5), (40, 5, 7)), ((2, 900, 5), (2, 5, 7))],
)
def test_shares_cover_the_product_once(a: Any, b: Any) -> None:
    out = np.zeros((*a[:-1], b[-1]))
    parts = list(shares(np.ones(a), np.ones(b), out))
    assert len(parts) >= 4
    for x, y, part in parts:
        part += 1
        assert (*x.shape[:-1], y.shape[-1]) == part.shape
    assert (out == 1).all()


def test_larger_products_have_more_parts() -> None:
    def count(n: int) -> int:
        a = np.broadcast_to(np.float32(0), (n, n))
        return len(list(shares(a, a, a)))

    assert [count(n) for n in (320, 512, 1024, 4096)] == [4, 4, 8, 128]


@pytest.mark.usefixtures("held")
def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((300, 500)), rng.standard_normal((500, 301))
    results = []
    for count in (1, 2, 5):
        monkeypatch.setattr(workers, "thread_count", lambda count=count: count)
        results.append(multiply(np, x, w))
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    np.testing.assert_allclose(results[0], x @ w, rtol=1e-12, atol=1e-10)


@pytest.mark.usefixtures("held")
def test_linear_and_matmul_are_shared_while_blas_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[int] = []

    def spy(work: Any, most: int = 8) -> Any:
        tasks.append(len(work))
        return workers.run_all(work, most)

    monkeypatch.setattr(products, "run_all", spy)
    x, w = (cr.zeros(s, requires_grad=True) for s in ((64, 1024), (1024, 1024)))
    with cr.use_backend("numpy"):
        cr.nn.functional.linear(x, w).sum().backward()
        assert tasks == [4, 4, 4]
        (x @ w).sum().backward()
        assert tasks == [4] * 6
        release_blas()
        (x @ w).sum().backward()
        assert tasks == [4] * 6


@pytest.mark.usefixtures("free")
def test_middling_products_do_not_wake_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """LeNet-5's layers: its threads would spin against the convolutions' workers."""
    sizes: list[int] = []

    class Spy:
        def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
            sizes.append(a.shape[-2] * a.shape[-1] * b.shape[-1])
            return np.matmul(a, b, out=out)

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((128, 400)), rng.standard_normal((400, 120))
    np.testing.assert_allclose(multiply(Spy(), x, w), x @ w, rtol=1e-12, atol=1e-12)
    assert sizes
    assert max(sizes) <= SINGLE


@pytest.mark.usefixtures("held")
def test_shared_products_are_as_quiet_as_numpy_is_told() -> None:
    a = np.full((400, 400), 1e300)
    seen = []
    with np.errstate(over="call", call=lambda *_: seen.append(threading.get_ident())):
        assert np.isinf(multiply(np, a, a)).all()
    with np.errstate(all="ignore"):
        multiply(np, a, a)
