"""Whether arrays are finite, at the cost of reading them once.

The backend may have a kernel that looks.  Else: a sum is finite if all its terms are, unless it
overflows; so blocks are summed, and only where a sum is not finite are the numbers themselves
looked at.  BLAS sums a block several times faster than NumPy tests its numbers, and blocks this
short it sums on the calling thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from math import isfinite
from typing import Any

import numpy as np

from chainrule.engine.dispatch import current_backend
from chainrule.engine.op import Array
from chainrule.engine.workers import run_all

BLOCK = 1 << 13
"""Numbers summed at once: below the 10,000 from which BLAS wakes other threads."""

SHARE = 1 << 20
"""Numbers of one thread's task: 0.1 ms."""


def first_not_finite(arrays: Iterable[Array]) -> int | None:
    """Give the index of the first array that holds NaN or an infinity; None if none does.

    Large arrays are shared between threads.  Integers and booleans are finite.

    >>> import numpy as np
    >>> from chainrule.engine.finite import first_not_finite
    >>> first_not_finite([np.ones(3), np.array([1.0, np.inf]), np.array(np.nan)])
    1
    >>> first_not_finite([np.full(2, 3e38, np.float32)]) is None  # though their sum overflows
    True
    """
    several = list(arrays)
    if not several or current_backend().finite(several):
        return None
    indices: list[int] = []
    tasks: list[partial[bool]] = []
    found: list[int] = []
    with np.errstate(all="ignore"):
        for index, array in enumerate(several):
            if array.size < SHARE:
                if not _finite(array):
                    found.append(index)
                    break
                continue
            flat = _flat(array)
            for start in range(0, len(flat), SHARE):
                tasks.append(partial(_finite, flat[start : start + SHARE]))
                indices.append(index)
        results = run_all(tasks)
    found += [i for i, finite in zip(indices, results, strict=True) if not finite]
    return min(found, default=None)


def _finite(array: Array) -> bool:
    """Tell whether all numbers of an array are finite, on the calling thread."""
    if array.dtype.char not in "fd":
        return bool(np.isfinite(array).all())
    flat = _flat(array)
    if flat.ndim != 1:
        return bool(np.isfinite(array).all())
    ones, whole = _ones(array.dtype), flat.size - flat.size % BLOCK
    if whole:
        blocks = flat[:whole].reshape(-1, BLOCK)
        doubtful = ~np.isfinite(np.vecdot(blocks, ones))
        if doubtful.any() and not np.isfinite(blocks[doubtful]).all():
            return False
        flat = flat[whole:]
    return isfinite(np.dot(flat, ones[: flat.size])) or bool(np.isfinite(flat).all())


def _flat(array: Array) -> Array:
    """View a dense array as a vector in its order of memory; others come back as they are."""
    if array.flags.c_contiguous:
        return array.ravel()
    if array.flags.f_contiguous:
        return array.T.ravel()
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    moved = array.transpose(order)
    return moved.ravel() if moved.flags.c_contiguous else array


@cache
def _ones(dtype: Any) -> Array:
    return np.ones(BLOCK, dtype)
