"""What operations on several shapes share: broadcasting, its reverse, sums that stay accurate.

`Pairwise` is the base of operations on two operands of one dtype; `layout` notes the order of
an array's axes in memory, for the gradient of an array that was not kept.
"""

from __future__ import annotations

from math import isqrt, prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec
from chainrule.errors import KindError, failure

Shape = tuple[int, ...]


_LONG = 1024
"""Sums of at most so many terms are left to NumPy."""


def broadcast(op: Any, **shapes: Shape) -> Shape:
    """Give the common shape: axes are matched from the last, and an axis of 1 is stretched.

    The names of the keywords appear in the ShapeError that names the first axis that fails.

    >>> broadcast("add", input=(3, 1), other=(4,))
    (3, 4)
    """
    ndim = max([len(shape) for shape in shapes.values()])
    result = [1] * ndim
    for shape in shapes.values():
        for i in range(-len(shape), 0):
            if shape[i] == result[i] or shape[i] == 1:
                continue
            if result[i] != 1:
                facts: dict[str, Any] = dict(shapes)
                rule = f"sizes that are equal or 1, where axis {i} has {result[i]} and {shape[i]}"
                raise failure(op, rule, **facts)
            result[i] = shape[i]
    return tuple(result)


class Pairwise(Op, register=False):
    """Base of the operations on two operands that broadcast against each other."""

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        """The broadcast shape, the operands' common dtype."""
        if x.dtype != y.dtype:
            rule = "operands of one dtype; the public functions promote them"
            raise failure(self, rule, error=KindError, input=x, other=y)
        if x.shape == y.shape:
            return (x,)
        return (Spec(broadcast(self, input=x.shape, other=y.shape), x.dtype),)


def sum_to(xp: Any, g: Array, shape: Shape) -> Array:
    """Sum a gradient over the axes along which its value was broadcast; g itself if none was.

    >>> import numpy as np
    >>> sum_to(np, np.ones((2, 3)), (3,))
    array([2., 2., 2.])
    """
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    stretched = [lead + i for i, n in enumerate(shape) if n == 1 and g.shape[lead + i] != 1]
    with xp.errstate(all="ignore"):
        summed = _total(xp, g, (*range(lead), *stretched), True)
        return summed.astype(g.dtype, copy=False).reshape(shape)


def total(xp: Any, x: Array, axes: Shape, keepdims: bool = False) -> Array:
    """Sum over axes; float16 comes out as float32, so that the caller can still scale it.

    NumPy adds in pairs along the fastest axis alone; a long sum over other axes would gather
    an error of one rounding a term.  Such a sum is made of about sqrt(n) sums of sqrt(n) terms.

    >>> import numpy as np
    >>> total(np, np.ones((5000, 2), np.float32), (0,), keepdims=True)
    array([[5000., 5000.]], dtype=float32)
    """
    with xp.errstate(all="ignore"):
        return _total(xp, x, axes, keepdims)


def _total(xp: Any, x: Array, axes: Shape, keepdims: bool) -> Array:
    kind = np.float32 if x.dtype == np.float16 else x.dtype
    slow = [] if x.size <= _LONG or x.dtype.kind != "f" else _slow_axes(x, axes)
    if prod([x.shape[a] for a in slow]) <= _LONG:
        sums: Array = xp.asarray(xp.sum(x, axis=axes, dtype=kind, keepdims=keepdims))
        return sums
    a = max(slow, key=lambda i: x.shape[i])
    n, k = x.shape[a], isqrt(x.shape[a])
    m = n // k
    cut = (slice(None),) * a
    blocks = x[(*cut, slice(0, k * m))].reshape(*x.shape[:a], k, m, *x.shape[a + 1 :])
    inner = tuple([i + (i >= a) for i in axes])  # axis `a` is the blocks now, a + 1 their terms
    partial = _total(xp, blocks, inner, True)
    result: Array = xp.sum(partial, axis=(a, a + 1), keepdims=True).reshape(_kept(x.shape, axes))
    if k * m < n:
        result = result + _total(xp, x[(*cut, slice(k * m, n))], axes, True)
    return result if keepdims else result.reshape(reduced(x.shape, axes, False))


def _slow_axes(x: Array, axes: Shape) -> list[int]:
    """Give the summed axes that have several elements, but for the fastest axis of the array."""
    strides = [(abs(s), -i) for i, s in enumerate(x.strides) if x.shape[i] > 1]
    fastest = -min(strides)[1] if strides else -1
    return [a for a in axes if x.shape[a] > 1 and a != fastest]


def _kept(shape: Shape, axes: Shape) -> Shape:
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def reduced(shape: Shape, axes: Shape, keepdim: bool) -> Shape:
    """Give the shape after a reduction over axes.

    >>> reduced((2, 3, 4), (1,), False), reduced((2, 3, 4), (1,), True)
    ((2, 4), (2, 1, 4))
    """
    if keepdim:
        return _kept(shape, axes)
    return tuple([n for i, n in enumerate(shape) if i not in axes])


def spread(xp: Any, g: Array, shape: Shape, axes: Shape) -> Array:
    """See a reduction's gradient in the shape before it: a view, repeated along the axes."""
    return xp.broadcast_to(xp.reshape(g, _kept(shape, axes)), shape)  # type: ignore[no-any-return]


def layout(x: Array) -> tuple[Shape, Shape]:
    """Note an array's shape and the order of its axes in memory, the slowest first."""
    if x.flags.c_contiguous:
        return x.shape, tuple(range(x.ndim))
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]) * (x.shape[i] > 1))
    return x.shape, tuple(order)


def empty_in(xp: Any, noted: tuple[Shape, Shape], dtype: Any) -> Array:
    """Allocate an array of the shape and the order of axes that `layout` noted.

    >>> import numpy as np
    >>> empty_in(np, layout(np.ones((4, 2, 3)).transpose(0, 2, 1)), np.float32).strides
    (24, 4, 12)
    """
    shape, order = noted
    slowest_first = xp.empty([shape[i] for i in order], dtype=dtype)
    return slowest_first.transpose(np.argsort(order))  # type: ignore[no-any-return]
