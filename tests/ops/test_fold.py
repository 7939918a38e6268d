"""unfold and fold in one and three dimensions: against loops, and each the other's transpose."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import chainrule as cr

F = cr.nn.functional

CASES = [
    ((7,), (3,), (1,), (0,), (1,)),
    ((8,), (2,), (3,), (2,), (2,)),
    ((9,), (4,), (2,), (1,), (3,)),
    ((3, 4, 5), (2, 2, 2), (1, 1, 1), (0, 0, 0), (1, 1, 1)),
    ((4, 3, 6), (2, 1, 3), (1, 2, 2), (1, 0, 2), (2, 1, 1)),
    ((5, 2, 4), (1, 2, 2), (2, 1, 3), (0, 1, 1), (1, 1, 2)),
]
"""Sizes, kernel, dilation, padding, stride."""


def naive(x: np.ndarray, kernel: Any, dilation: Any, padding: Any, stride: Any) -> np.ndarray:
    """Write every window as a column, entry by entry."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    axes = zip(x.shape[2:], kernel, dilation, stride, strict=True)
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, d, s in axes]
    columns = []
    for place in np.ndindex(*out):
        rows = []
        for c, tap in product(range(x.shape[1]), np.ndindex(*kernel)):
            axes = zip(place, stride, tap, dilation, strict=True)
            rows.append(x[(slice(None), c, *(q * s + a * d for q, s, a, d in axes))])
        columns.append(np.stack(rows, axis=1))
    return np.stack(columns, axis=2)


@pytest.mark.parametrize(("sizes", "kernel", "dilation", "padding", "stride"), CASES)
def test_against_loops(sizes: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> None:
    d, rng = len(sizes), np.random.default_rng(0)
    x, settings = rng.standard_normal((2, 3, *sizes)), (kernel, dilation, padding, stride)
    unfold, fold = getattr(F, f"unfold{d}d"), getattr(F, f"fold{d}d")
    expected = naive(x, *settings)
    np.testing.assert_array_equal(unfold(cr.tensor(x), *settings), expected)
    np.testing.assert_array_equal(unfold(cr.tensor(x[0]), *settings), expected[0])
    columns = rng.standard_normal(expected.shape)
    image = fold(cr.tensor(columns), sizes, *settings).numpy()
    np.testing.assert_allclose((image * x).sum(), (columns * expected).sum())
    single = fold(cr.tensor(columns[0]), sizes, *settings)
    np.testing.assert_array_equal(single, image[0])
    for layer, given, wanted in (
        (getattr(cr.nn, f"Unfold{d}d")(*settings), x, expected),
        (getattr(cr.nn, f"Fold{d}d")(sizes, *settings), columns, image),
    ):
        np.testing.assert_array_equal(layer(cr.tensor(given)), wanted)


def test_a_convolution_is_a_product_with_the_columns() -> None:
    x, w = cr.randn(2, 3, 4, 5, 3, dtype=cr.float64), cr.randn(6, 3, 2, 3, 1, dtype=cr.float64)
    columns = F.unfold3d(x, (2, 3, 1), padding=1, stride=2)
    y = (w.reshape(6, -1) @ columns).reshape(2, 6, 3, 3, 3)
    np.testing.assert_allclose(y, F.conv3d(x, w, padding=1, stride=2), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: F.unfold1d(cr.zeros(2, 3, 4, 5), 2), r"unfold1d: .*\(N, C, L\) or \(C, L\)"),
        (lambda: F.unfold3d(cr.zeros(3, 4, 5), 2), r"unfold3d: .*\(N, C, D, H, W\)"),
        (lambda: F.unfold3d(cr.zeros(2, 0, 4, 5, 5), 2), "N alone may be 0"),
        (lambda: F.unfold1d(cr.zeros(2, 3, 4), 5), r"\(4 \+ 2\*0 - 5\)/1 \+ 1 = 0"),
        (lambda: F.unfold1d(cr.zeros(2, 3, 4), 0), "unfold1d kernel_size: expected at least 1"),
        (lambda: F.unfold1d(cr.zeros(2, 3, 4), 2, 0), "unfold1d dilation: expected at least 1"),
        (lambda: F.unfold1d(cr.zeros(2, 3, 4), 2, 1, -1), "unfold1d padding: expected at least 0"),
        (lambda: F.unfold3d(cr.zeros(3, 4, 5, 5), 2, stride=0), "unfold3d stride: expected at le"),
        (lambda: F.unfold3d(cr.zeros(3, 4, 5, 5), (2, 2)), "1 or 3 integers, not 2"),
        (lambda: F.fold1d(cr.zeros(1, 2, 3, 4), 5, 2), r"fold1d: .*\(N, C\*k, L\)"),
        (lambda: F.fold1d(cr.zeros(5, 4), 5, 2), "rows in multiples of 2, not 5"),
        (lambda: F.fold1d(cr.zeros(4, 3), 5, 2), r"4 columns, not 3: \(5 \+ 2\*0 - 2\)/1 \+ 1 = 4"),
        (lambda: F.fold3d(cr.zeros(9, 4), 3, 2), r"rows in multiples of 2\*2\*2 = 8, not 9"),
        (lambda: F.fold3d(cr.zeros(8, 4), 3, 2), r"2\*2\*2 = 8 columns, not 4"),
        (lambda: F.fold3d(cr.zeros(8, 4), (3, 0, 3), 2), "fold3d output_size: expected at least"),
    ],
)
def test_misuse(call: Callable[[], Any], text: str) -> None:
    with pytest.raises(cr.ShapeError, match=text):
        call()
