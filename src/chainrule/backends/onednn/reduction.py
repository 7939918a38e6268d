"""Sums, means, variances, norms and extremes, by our own kernel: in parts, on all threads."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.onednn.arrays import (
    _FIRST,
    _LAST,
    FLOAT32,
    address,
    is_dense,
    is_float32,
)
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.loops import Kind, compute, repeated
from chainrule.backends.onednn.own import (
    FLOAT,
    INT,
    POINTER,
    Kernel,
    kernel,
    scratch,
    size_of,
    sizes,
)
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.broadcast import Shape, reduced, sum_to, total
from chainrule.ops.extrema import Extreme
from chainrule.ops.formulas import quiet
from chainrule.ops.reduce import Mean, Sum, Var
from chainrule.ops.vector_norm import VectorNorm

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]

WIDE = 64  # columns below which rows are laid beside each other


class Fold(IntEnum):
    """What is gathered, numbered as in the kernel's source."""

    SUM = 0
    SQUARES = auto()
    SPREAD = auto()
    EQUAL = auto()
    SAME = auto()
    MOST = auto()
    LEAST = auto()
    PRODUCTS = auto()


class Plan(NamedTuple):
    """A reduction of one shape and layout over some axes."""

    sizes: Any  # outer, n, inner, fold: those of the kernel
    results: int  # of the kernel
    nbytes: int  # of scratch memory
    first: Shape  # the kernel's results as they lie in memory
    rest: Shape  # axes of these that are still to be reduced
    memory: Shape  # the results with axes of 1, as they lie in memory
    back: Shape | None  # from there to the order of the array's axes
    run: Kernel


def plan_reduction(x: Array, axes: Shape) -> Plan | None:
    """Give the plan for the dense x, None where nothing is reduced."""
    plain = x.flags.c_contiguous
    return cached((Plan, x.shape, plain, axes), lambda: _build(x.shape, plain, axes))


def _build(shape: Shape, plain: bool, axes: Shape) -> Plan | None:
    order = tuple(range(len(shape))) if plain else _LAST[len(shape)]
    memory = tuple([1 if i in axes else shape[i] for i in order])
    groups: list[list[int]] = []  # [size, whether it is reduced] of neighbours of one kind
    for i in order:
        if shape[i] > 1 and groups and groups[-1][1] == (i in axes):
            groups[-1][0] *= shape[i]
        elif shape[i] > 1:
            groups.append([shape[i], i in axes])
    if not any(gone for _, gone in groups):
        return None
    inner = 1 if groups[-1][1] else groups.pop()[0]
    n = groups.pop()[0]
    outer = int(np.prod([size for size, _ in groups]))
    fold = _fold(n, inner) if inner > 1 else 1
    first = tuple([size for size, _ in groups]) + ((inner,) if inner > 1 else ())
    rest = tuple([i for i, (_, gone) in enumerate(groups) if gone])
    numbers = sizes(outer, n // fold, inner * fold, fold)
    run = kernel("reduce", *[POINTER] * 5, FLOAT, INT, INT)
    nbytes = size_of("reduce", POINTER)(numbers)
    back = None if plain else _FIRST[len(shape)]
    return Plan(numbers, outer * inner, nbytes, first, rest, memory, back, run)


def _fold(n: int, inner: int) -> int:
    """Give a divisor of n that makes rows of at least WIDE columns, 1 where there is none."""
    least = -(-WIDE // inner)
    if least == 1:
        return 1
    return next((f for f in range(least, min(n, 8 * least) + 1) if n % f == 0), 1)


def reduce(
    fold: Fold, x: Array, axes: Shape, m: Array | None = None, divisor: float = 1.0
) -> Array:
    """Reduce the dense x, for which there is a plan, leaving axes of 1.

    m is as large as the result, or for PRODUCTS as x.  The result is divided by the divisor.
    """
    plan = plan_reduction(x, axes)
    assert plan is not None
    return _run(plan, fold, x, m, divisor)


def _run(plan: Plan, fold: Fold, x: Array, m: Array | None, divisor: float) -> Array:
    if m is not None and fold is not Fold.PRODUCTS:
        m = _spread(m, plan)
    out: Array = np.empty(plan.results, FLOAT32)
    threads = threads_for(work(x.size))
    ends = address(x), address(out if m is None else m), address(out), scratch(plan.nbytes)
    plan.run(plan.sizes, *ends, 1.0 if plan.rest else divisor, fold, threads)
    if plan.rest:
        out = _rest(out.reshape(plan.first), plan.rest, fold, divisor)
    out = out.reshape(plan.memory)
    return out if plan.back is None else out.transpose(plan.back)


@quiet
def _rest(first: Array, axes: Shape, fold: Fold, divisor: float) -> Array:
    """Reduce what the kernel left."""
    if fold is Fold.MOST:
        y: Array = np.amax(first, axis=axes)
    elif fold is Fold.LEAST:
        y = np.amin(first, axis=axes)
    else:
        y = total(np, first, axes) / np.float32(divisor)
    return y


def _spread(m: Array, plan: Plan) -> Array:
    """Give a number for each result of the kernel, and for each row that lies beside others."""
    if plan.back is not None:
        m = m.transpose(_LAST[m.ndim])
    if plan.rest:
        kept = [1 if i in plan.rest else n for i, n in enumerate(plan.first)]
        m = np.broadcast_to(m.reshape(kept), plan.first)
    outer, _, inner, fold = plan.sizes
    rows = m.reshape(outer, 1, inner // fold)
    return np.ascontiguousarray(np.broadcast_to(rows, (outer, fold, inner // fold)))


def summed(g: Array, shape: Shape) -> Array:
    """Sum a gradient over the axes along which its value was broadcast; g itself if none was."""
    if g.shape == shape:
        return g
    if g.size < Limits.passes or not is_dense(g):
        return sum_to(np, g, shape)
    plan = plan_reduction(g, _stretched(g.shape, shape))
    return (
        sum_to(np, g, shape) if plan is None else _run(plan, Fold.SUM, g, None, 1.0).reshape(shape)
    )


def summed_product(g: Array, factor: Array, shape: Shape) -> Array | None:
    """Give the sum of g times a factor of its shape and layout, None where that is not so."""
    if g.shape != factor.shape or not is_dense(g) or not is_dense(factor):
        return None
    if g.flags.c_contiguous != factor.flags.c_contiguous:
        return None
    plan = plan_reduction(g, _stretched(g.shape, shape))
    return None if plan is None else _run(plan, Fold.PRODUCTS, g, factor, 1.0).reshape(shape)


def _stretched(whole: Shape, shape: Shape) -> Shape:
    lead = len(whole) - len(shape)
    thin = [lead + i for i, n in enumerate(shape) if n == 1 and whole[lead + i] != 1]
    return (*range(lead), *thin)


class Reduced:
    """Base of the pairs; without the kernel the reference serves."""

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, large enough, and over an axis of several elements."""
        (x,) = arrays
        if x.size < max(1, Limits.passes) or not is_float32(x):
            return False
        return is_dense(x) and plan_reduction(x, op.axes) is not None


def _shaped(op: Any, x: Array, y: Array) -> Array:
    return y if op.keepdim else y.reshape(reduced(x.shape, op.axes, False))


@ONEDNN.ours(Sum)
class SumPair(Reduced):
    """Sum; its gradient is a view."""

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Add; the shape is saved."""
        (x,) = arrays
        return (_shaped(op, x, reduce(Fold.SUM, x, op.axes)),), x.shape

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Array | None, ...]:
        """Repeat gy."""
        gradients: tuple[Array | None, ...] = op.backward(np, saved, gy, needs)
        return gradients


@ONEDNN.ours(Mean)
class MeanPair(Reduced):
    """Mean."""

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Add and divide; the shape and the layout are saved."""
        (x,) = arrays
        y = reduce(Fold.SUM, x, op.axes, divisor=op._count(x.shape))
        return (_shaped(op, x, y),), (x.shape, not x.flags.c_contiguous)

    @quiet
    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Array | None, ...]:
        """Share gy out."""
        shape, last = saved
        g = np.divide(gy, np.float32(op._count(shape)))
        return (repeated(_kept(op, shape, g), shape, last),)


def _kept(op: Any, shape: Shape, g: Array) -> Array:
    return np.reshape(g, reduced(shape, op.axes, True))


@ONEDNN.ours(Var)
class VarPair(Reduced):
    """Variance and standard deviation, in two passes."""

    @quiet
    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Take the mean, then the mean square of what is left."""
        (x,) = arrays
        n = op._count(x.shape)
        mean = reduce(Fold.SUM, x, op.axes, divisor=n)
        y = reduce(Fold.SPREAD, x, op.axes, mean) / np.float32(max(n - op.correction, 0.0))
        y = np.sqrt(y) if op.root else y
        return (_shaped(op, x, y),), (x, mean, y if op.root else None)

    @quiet
    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Array | None, ...]:
        """Scale what is left after the mean."""
        x, mean, y = saved
        g = _kept(op, x.shape, gy)
        if y is not None:
            g = np.where(y == 0, np.float32(0), g / (2 * y))
        factor = float(np.float64(2) / (op._count(x.shape) - op.correction))
        return (compute(Kind.LESS_TIMES, x, mean, np.float32(factor) * g),)


@ONEDNN.ours(Extreme)
class ExtremePair(Reduced):
    """The largest and the smallest."""

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Choose; x and the choice are saved."""
        (x,) = arrays
        y = reduce(Fold.MOST if op.kind.endswith("max") else Fold.LEAST, x, op.axes)
        return (_shaped(op, x, y),), (x, y)

    @quiet
    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Array | None, ...]:
        """Share gy evenly among the chosen."""
        x, y = saved
        with_nan = op.kind in ("max", "min")
        ties = reduce(Fold.SAME if with_nan else Fold.EQUAL, x, op.axes, y)
        kind = Kind.SAME_TIMES if with_nan else Kind.EQUAL_TIMES
        return (compute(kind, x, y, _kept(op, x.shape, gy) / ties),)


@ONEDNN.ours(VectorNorm)
class NormPair(Reduced):
    """The Euclidean norm."""

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Of order 2."""
        return op.p == 2 and super().supports(op, arrays)

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Take the root of the sum of squares."""
        (x,) = arrays
        y = np.sqrt(reduce(Fold.SQUARES, x, op.axes))
        return (_shaped(op, x, y),), (x, y)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Array | None, ...]:
        """Give x / y times gy, 0 where y is 0."""
        x, y = saved
        return (compute(Kind.RATIO_TIMES, x, y, _kept(op, x.shape, gy)),)
