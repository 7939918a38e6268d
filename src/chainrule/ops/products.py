"""Products of two matrices in pieces: small ones for one BLAS thread, large ones for our workers.

BLAS splits a product between threads from 2^18 multiply-adds on.  For a few hundred microseconds
of work that gains little on an idle machine, and on a busy one the product waits whole scheduler
slices for the other thread: ten milliseconds instead of one tenth.  One batched call over
pieces below that bound runs at the full speed of one thread, and several such calls at once on
threads of our own (see engine/workers.py) need not wait for each other.

While a backend holds BLAS to one thread (see engine/threads.py), large products are shared between
our workers by rows or columns, or by the matrices of a batch.  Otherwise they are BLAS's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.threads import blas_held
from chainrule.engine.workers import run_all

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


FEW, SHARES, WIDTH = 4, 8, 32
"""Parts of a large product: four to eight, more from 2^32 multiply-adds on; their least width."""

MOVE = 8
"""Multiply-adds that take as long as fetching one entry from memory."""


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


def multiply(xp: Any, a: Array, b: Array) -> Array:
    """Give np.matmul(a, b) as fast as BLAS's threads or ours allow.

    While BLAS is held to one thread, large products are shared between our workers.  Otherwise
    they are left to BLAS, and smaller ones made in pieces, since BLAS's threads, once woken, spin
    for tens of milliseconds against everyone else's.  All parts depend on shapes alone, so that
    the number of our threads changes nothing.

    >>> import numpy as np
    >>> from chainrule.ops.products import multiply
    >>> multiply(np, np.array([[1.0, 2.0]]), np.array([3.0, 4.0]))
    array([11.])
    """
    work = a.size * (b.shape[-1] if b.ndim > 1 else 1)
    large = work > SMALL or MOVE * max(a.size, b.size) > SMALL
    if (large or work > SINGLE) and a.ndim and b.ndim and isinstance(a, np.ndarray):
        if blas_held():
            return _shared(a, b) if large else xp.matmul(a, b)
        if a.ndim > 1 and b.ndim > 1:
            return matrix_product(xp, a, b)
    return xp.matmul(a, b)  # type: ignore[no-any-return]


def _shared(a: Array, b: Array) -> Array:
    """Multiply by tasks for our workers, as np.matmul does."""
    left = a if a.ndim > 1 else a[None]
    right = b if b.ndim > 1 else b[:, None]
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, (*lead, *left.shape[-2:]))
    right = np.broadcast_to(right, (*lead, *right.shape[-2:]))
    out = np.empty((*lead, left.shape[-2], right.shape[-1]), np.result_type(a, b))
    tasks = [partial(np.matmul, x, y, out=z) for x, y, z in shares(left, right, out)]
    run_all(tasks, most=len(tasks))
    return out.reshape((*lead, *a.shape[-2:][: a.ndim - 1][:1], *b.shape[1:][-1:]))


def shares(a: Array, b: Array, out: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Cut a (..., m, k), b (..., k, n) and their product, broadcast, into parts by shape alone.

    >>> import numpy as np
    >>> from chainrule.ops.products import shares
    >>> a, b, y = np.zeros((9, 5)), np.zeros((5, 4096)), np.zeros((9, 4096))
    >>> [part.shape for _, part, _ in shares(a, b, y)][:2]
    [(5, 1024), (5, 1024)]
    """
    lead, (m, n) = out.shape[:-2], out.shape[-2:]
    work = out.size * a.shape[-1]
    count = max(FEW, min(SHARES, work >> 27), work >> 29)
    longest = max(lead, default=1)
    if longest >= FEW:
        axis = lead.index(longest)
        for part in _runs(longest, count, 1):
            place = (*(slice(None),) * axis, part)
            yield a[place], b[place], out[place]
        return
    count = -(-count // prod(lead))
    for i in np.ndindex(lead):
        if m >= n:
            for rows in _runs(m, count, WIDTH):
                yield a[i][rows], b[i], out[i][rows]
        else:
            for columns in _runs(n, count, WIDTH):
                yield a[i], b[i][:, columns], out[i][:, columns]


def _runs(size: int, count: int, width: int) -> list[slice]:
    """Cut an axis into at most `count` runs, of a multiple of `width` but for the last."""
    step = -(-size // (count * width)) * width
    return [slice(start, start + step) for start in range(0, size, step)]
