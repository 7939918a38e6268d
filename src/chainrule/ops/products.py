"""Products of two matrices in pieces too small for BLAS to wake a second thread.

BLAS splits a product between threads from 2^18 multiply-adds on.  For a few hundred microseconds
of work that gains little on an idle machine, and on a busy one the product waits whole scheduler
slices for the other thread: ten milliseconds instead of one tenth.  One batched call over
pieces below that bound runs at the full speed of one thread, and several such calls at once on
threads of our own (see workers.py) need not wait for each other.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array

SINGLE = 1 << 18
"""Multiply-adds up to which BLAS stays on one thread."""

SMALL = 1 << 25
"""Multiply-adds from which all of BLAS's threads are worth waiting for: a millisecond on one."""

TILE, LONG = 4, 64
"""Rows or columns of a piece, and length of its inner axis, below which BLAS is slow."""

ADD = 64
"""Multiply-adds that take as long as adding one entry of a piece of the inner axis."""


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


@lru_cache(maxsize=1024)
def cut(m: int, k: int, n: int) -> tuple[int, int, int]:
    """Say into how many pieces to cut the rows, the inner axis and the columns of a product.

    All 1 where it is small enough, or where no cut gives pieces that BLAS is fast on.

    >>> from chainrule.ops.products import cut
    >>> cut(64, 400, 120), cut(16, 6400, 150), cut(10, 20, 30)
    ((4, 1, 3), (1, 10, 6), (1, 1, 1))
    """
    whole = (1, 1, 1)
    if m * k * n <= SINGLE:
        return whole
    best = 0.0
    for inner in _divisors(k):
        depth = k // inner
        if inner > 1 and depth < LONG:
            break
        for i in _divisors(m):
            for j in _divisors(n):
                rows, columns = m // i, n // j
                if rows * columns * depth <= SINGLE and rows >= TILE and columns >= TILE:
                    score = _speed(rows, columns) / (1 + (ADD / depth if inner > 1 else 0))
                    if score > best:
                        best, whole = score, (i, inner, j)
    return whole


def _speed(rows: int, columns: int) -> float:
    """Guess how fast BLAS is on a piece: fitted to measurements, within a tenth in most cases."""
    area = rows * columns
    fill = 1.0 if rows % 8 == 0 else 0.9 if rows % 4 == 0 else 0.75
    fill *= 1.0 if columns % 8 == 0 else 0.9 if columns % 4 == 0 else 0.8
    aspect = min(rows, columns) / max(rows, columns)
    return float(fill * area / (area + 64) * aspect**0.1 * min(rows, 8) * min(columns, 8))


def matrix_product(
    xp: Any, a: Array, b: Array, out: Array | None = None, most: float = SMALL
) -> Array:
    """Multiply a (..., m, k) by b (..., k, n), into `out` (..., m, n) if given; any strides.

    Up to `most` multiply-adds in all, the product is made on the calling thread alone.

    >>> import numpy as np
    >>> from chainrule.ops.products import matrix_product
    >>> matrix_product(np, np.ones((2, 3)), np.eye(3))
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    (m, k), n = a.shape[-2:], b.shape[-1]
    lead = a.shape[:-2] if a.ndim >= b.ndim else b.shape[:-2]
    i, inner, j = cut(m, k, n) if m * k * n * prod(lead) <= most else (1, 1, 1)
    if i == inner == j == 1:
        result: Array = xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)
        return result
    if out is None:
        out = xp.empty((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), m, n), dtype=a.dtype)
    tiles = out.reshape(*out.shape[:-2], i, m // i, j, n // j).swapaxes(-3, -2)
    rows = a.reshape(*a.shape[:-2], i, m // i, inner, k // inner)
    rows = rows.swapaxes(-3, -2).swapaxes(-4, -3)  # (..., inner, i, m/i, k/inner)
    columns = b.reshape(*b.shape[:-2], inner, k // inner, j, n // j)
    columns = columns.swapaxes(-3, -2)  # (..., inner, j, k/inner, n/j)
    if m < n:  # the pieces of the smaller factor stay in the cache: they are walked inside
        tiles = tiles.swapaxes(-4, -3)
        rows, columns = rows[..., None, :, :, :], columns[..., None, :, :]
    else:
        rows, columns = rows[..., None, :, :], columns[..., None, :, :, :]
    if inner > 1:
        xp.matmul(rows, columns).sum(axis=-5, out=tiles)
    else:
        xp.matmul(rows[..., 0, :, :, :, :], columns[..., 0, :, :, :, :], out=tiles)
    return out
