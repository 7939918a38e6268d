"""Elements in order or by index along an axis, by our own kernels, on arrays in C order.

An index that is wrong is for the operation's own forward, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn.arrays import FLOAT32, address, as_plain
from chainrule.backends.onednn.backend import ONEDNN, Limits, run_reference
from chainrule.backends.onednn.own import (
    INT,
    LONG,
    POINTER,
    Kernel,
    kernel,
    scratch,
    size_of,
)
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.gather import Gather
from chainrule.ops.sort import Sort, TopK

INT64 = np.dtype(np.int64)
Forward = tuple[tuple[Array, ...], Any]


def in_order(x: Array, size: int) -> bool:
    """Tell whether x has axes, is float32, in C order, and `size` large enough."""
    return (
        size >= max(1, Limits.small)
        and x.ndim > 0
        and x.size > 0
        and x.dtype == FLOAT32
        and x.flags.c_contiguous
    )


def as_places(index: Array) -> Array:
    """Give an index as int64 in C order: itself, or a copy."""
    return as_plain(index.astype(INT64, copy=False))


def _around(shape: Shape, dim: int) -> tuple[int, int, int]:
    """See a shape as (before the axis, the axis, behind it)."""
    return prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :])


def _build_places() -> tuple[Kernel, Kernel]:
    types = *[POINTER] * 3, *[LONG] * 4, INT
    return kernel("places", *types), kernel("places_back", *types)


def _put_back(shape: Shape, dim: int, index: Array, gy: Array) -> Array:
    """Add gy at the index's places along an axis of zeros."""
    gx, g = np.empty(shape, FLOAT32), as_plain(gy)
    run = cached(("places",), _build_places)[1]
    sizes, effort = (*_around(shape, dim), index.shape[dim]), work(gx.size + 4 * g.size)
    run(address(g), address(index), address(gx), *sizes, threads_for(effort))
    return gx


def _build_order() -> tuple[Kernel, Any]:
    run = kernel("order", *[POINTER] * 4, *[LONG] * 4, INT, INT)
    return run, size_of("order", LONG, LONG, INT)


class _Ordered:
    """What sorting and choosing the largest share."""

    def _forward(self, x: Array, dim: int, count: int, descending: bool) -> Forward:
        """Give the first values in order along an axis, and where they stood."""
        shape = (*x.shape[:dim], count, *x.shape[dim + 1 :])
        y, index = np.empty(shape, FLOAT32), np.empty(shape, INT64)
        run, nbytes = cached(("order",), _build_order)
        sizes, threads = (*_around(x.shape, dim), count), threads_for(work(20 * x.size))
        own = scratch(nbytes(x.shape[dim], count, threads))
        run(address(x), address(y), address(index), own, *sizes, descending, threads)
        return (y, index), (index, x.shape)

    def backward(self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Put gy where the values stood; no value stands twice."""
        index, shape = saved
        return (_put_back(shape, op.dim, index, gy[0]),)


@ONEDNN.ours(Sort)
class SortPair(_Ordered):
    """Sorting."""

    def supports(self, op: Sort, arrays: Sequence[Array]) -> bool:
        """Float32 in C order."""
        return in_order(arrays[0], arrays[0].size)

    def forward(self, op: Sort, arrays: Sequence[Array]) -> Forward:
        """Give the values and their places; save these."""
        return self._forward(arrays[0], op.dim, arrays[0].shape[op.dim], op.descending)


@ONEDNN.ours(TopK)
class TopKPair(_Ordered):
    """The k largest or smallest."""

    def supports(self, op: TopK, arrays: Sequence[Array]) -> bool:
        """Float32 in C order, and something to choose."""
        return op.k > 0 and in_order(arrays[0], arrays[0].size)

    def forward(self, op: TopK, arrays: Sequence[Array]) -> Forward:
        """Give the values and their places; save these."""
        return self._forward(arrays[0], op.dim, op.k, op.largest)


@ONEDNN.ours(Gather)
class GatherPair:
    """Elements by an index as large as the input along the other axes."""

    def supports(self, op: Gather, arrays: Sequence[Array]) -> bool:
        """Float32 in C order, and an index that reaches all of it."""
        x, index = arrays
        d = op.dim
        return (
            in_order(x, index.size)
            and x.ndim == index.ndim
            and x.shape[:d] == index.shape[:d]
            and x.shape[d + 1 :] == index.shape[d + 1 :]
        )

    def forward(self, op: Gather, arrays: Sequence[Array]) -> Forward:
        """Give the elements; save the index."""
        x, index = arrays[0], as_places(arrays[1])
        y = np.empty(index.shape, FLOAT32)
        run = cached(("places",), _build_places)[0]
        sizes = *_around(x.shape, op.dim), index.shape[op.dim]
        ends = address(x), address(index), address(y)
        if run(*ends, *sizes, threads_for(work(4 * y.size))):
            return run_reference(op, arrays)
        return (y,), (index, x.shape)

    def backward(self, op: Gather, saved: Any, gy: Any, needs: Any) -> tuple[Any, ...]:
        """Add gy at the places."""
        index, shape = saved
        return (_put_back(shape, op.dim, index, gy) if needs[0] else None), None
