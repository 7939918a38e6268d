"""Products of two matrices that do not wake a second BLAS thread for work too small to share.

BLAS splits a product between threads from about 2^18 multiply-adds on.  For a few hundred
microseconds of work that gains little on an idle machine, and on a busy one the product waits
whole scheduler slices for the other thread: ten milliseconds instead of one tenth.  A small
product is therefore cut into pieces below that bound and handed to one batched call.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from chainrule.engine.op import Array

SINGLE = 1 << 18
"""Multiply-adds up to which BLAS stays on one thread."""

SMALL = 1 << 25
"""Multiply-adds from which all threads are worth waiting for: about a millisecond on one."""

SHORTEST = 4
"""A piece of an axis is at least this long."""


@lru_cache(maxsize=1024)
def cut(m: int, k: int, n: int) -> tuple[int, int]:
    """Say along which axis of (m, k, n) to cut the product, and into how many pieces; 1 is whole.

    The axis is the longest that has a suitable divisor.

    >>> from chainrule.ops.products import cut
    >>> cut(64, 400, 120), cut(4, 5, 6), cut(4096, 4096, 4096)
    ((2, 12), (0, 1), (0, 1))
    """
    work = m * k * n
    if not SINGLE < work <= SMALL:
        return 0, 1
    least = -(-work // SINGLE)
    for axis, size in sorted(enumerate((m, k, n)), key=lambda item: -item[1]):
        if axis == 1 and least * m * n > k * (m + n):
            continue  # the sums of the pieces would be larger than the matrices
        for pieces in range(least, size // SHORTEST + 1):
            if size % pieces == 0:
                return axis, pieces
    return 0, 1


def matrix_product(xp: Any, a: Array, b: Array, out: Array | None = None) -> Array:
    """Multiply a (m, k) by b (k, n), into `out` (m, n) if given; any strides.

    >>> import numpy as np
    >>> from chainrule.ops.products import matrix_product
    >>> matrix_product(np, np.ones((2, 3)), np.eye(3))
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    (m, k), n = a.shape, b.shape[1]
    axis, pieces = cut(m, k, n)
    result: Array
    if pieces == 1:
        result = xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)
        return result
    if axis == 1:
        rows = a.reshape(m, pieces, k // pieces).transpose(1, 0, 2)
        result = xp.matmul(rows, b.reshape(pieces, k // pieces, n)).sum(axis=0, out=out)
        return result
    result = xp.empty((m, n), dtype=xp.result_type(a, b)) if out is None else out
    if axis == 0:
        shape = (pieces, m // pieces)
        xp.matmul(a.reshape(*shape, k), b, out=result.reshape(*shape, n))
    else:
        columns = b.reshape(k, pieces, n // pieces).transpose(1, 0, 2)
        place = result.reshape(m, pieces, n // pieces).transpose(1, 0, 2)
        xp.matmul(a, columns, out=place)
    return result
