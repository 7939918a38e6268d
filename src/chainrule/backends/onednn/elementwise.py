"""Arithmetic and choices between arrays that broadcast, and roots, powers, exponentials of one."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan
from typing import Any, ClassVar

import numpy as np

from chainrule.backends.onednn.arrays import FLOAT32, is_dense
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.loops import ZERO, Kind, compute, compute_both, plan_loops
from chainrule.backends.onednn.reduction import summed, summed_product
from chainrule.engine.op import Array
from chainrule.ops.elementwise import Add, Div, Mul, Neg, Sub
from chainrule.ops.power import PowScalar
from chainrule.ops.rounding import Abs
from chainrule.ops.select import Clamp, Extremum, Where
from chainrule.ops.unary import Exp, Log, Reciprocal, Rsqrt, Sqrt, Square

Forward = tuple[tuple[Array, ...], Any]
Gradients = tuple[Array | None, ...]
Needs = tuple[bool, ...]

HIGHEST = 16  # power that is made of products


def served(arrays: Sequence[Array], light: bool) -> bool:
    """Tell whether the kernel takes these, and is sooner done than NumPy; `light`: in one pass."""
    first, *others = arrays
    flat = not others or (len(others) == 1 and first.shape == others[0].shape)
    least = max(1, Limits.function if light and flat else Limits.passes)
    counts = [a.size for a in arrays]
    if not min(counts) or max(counts) < least:
        return False
    if flat:
        return any(map(is_dense, arrays))
    return plan_loops(tuple(arrays)) is not None


class Pairwise:
    """Base of the pairs on two operands."""

    light: ClassVar[bool] = False  # whether NumPy needs one pass, each way

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, large enough, in loops that the kernel has."""
        a, b = arrays
        return a.dtype == FLOAT32 and b.dtype == FLOAT32 and served(arrays, self.light)


def _both(
    kinds: tuple[Kind, Kind], a: Array, b: Array, gy: Array, needs: Needs
) -> tuple[Array | None, Array | None]:
    """Give the two gradients that are functions of a, b and gy, or those that are needed."""
    if all(needs):
        ga, gb = compute_both(kinds, a, b, gy)
        return summed(ga, a.shape), summed(gb, b.shape)
    return (
        summed(compute(kinds[0], a, b, gy), a.shape) if needs[0] else None,
        summed(compute(kinds[1], a, b, gy), b.shape) if needs[1] else None,
    )


@ONEDNN.ours(Add)
class AddLoops(Pairwise):
    """Sum."""

    kind: ClassVar[Kind] = Kind.ADD
    light = True

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As others, and not scaled."""
        return op.alpha == 1 and super().supports(op, arrays)

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Add; where shapes differ they are saved."""
        a, b = arrays
        return (compute(self.kind, a, b),), None if a.shape == b.shape else (a.shape, b.shape)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> Gradients:
        """Pass gy on, summed."""
        first, second = saved or (gy.shape, gy.shape)
        return (
            summed(gy, first) if needs[0] else None,
            self._second(summed(gy, second)) if needs[1] else None,
        )

    def _second(self, g: Array) -> Array:
        return g


@ONEDNN.ours(Sub)
class SubLoops(AddLoops):
    """Difference."""

    kind = Kind.SUB

    def _second(self, g: Array) -> Array:
        return compute(Kind.NEG, g) if plan_loops((g,)) else np.negative(g)


@ONEDNN.ours(Mul)
class MulLoops(Pairwise):
    """Product."""

    light = True

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Multiply; both factors are saved."""
        return (compute(Kind.MUL, *arrays),), tuple(arrays)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> Gradients:
        """Multiply by the other factor."""
        a, b = saved
        products = []
        for need, mine, other in ((needs[0], a, b), (needs[1], b, a)):
            thin = need and mine.shape != gy.shape
            products.append(summed_product(gy, other, mine.shape) if thin else None)
        wanted = tuple([n and p is None for n, p in zip(needs, products, strict=True)])
        ga, gb = _both((Kind.MUL_FIRST, Kind.MUL_SECOND), a, b, gy, wanted)
        return ga if wanted[0] else products[0], gb if wanted[1] else products[1]


@ONEDNN.ours(Div)
class DivLoops(Pairwise):
    """Quotient that is not rounded."""

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As others, and not rounded."""
        return op.rounding_mode is None and super().supports(op, arrays)

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Divide; both are saved."""
        return (compute(Kind.DIV, *arrays),), tuple(arrays)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> Gradients:
        """Divide by b; for b multiply by the quotient too."""
        return _both((Kind.DIV_FIRST, Kind.DIV_SECOND), saved[0], saved[1], gy, needs)


@ONEDNN.ours(Extremum)
class ExtremumLoops(Pairwise):
    """The larger or the smaller."""

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Choose; both are saved."""
        kind = Kind.MAX if op.kind == "maximum" else Kind.MIN
        return (compute(kind, *arrays),), tuple(arrays)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> Gradients:
        """Send gy to the winner."""
        a, b = saved
        kinds = Kind.SHARE_FIRST, Kind.SHARE_SECOND
        return _both(kinds if op.kind == "maximum" else kinds[::-1], a, b, gy, needs)


@ONEDNN.ours(Where)
class WhereLoops:
    """Choice by a mask."""

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As others."""
        _, a, b = arrays
        return a.dtype == FLOAT32 and b.dtype == FLOAT32 and served(arrays, False)

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Choose; the mask is saved."""
        mask, a, b = arrays
        return (compute(Kind.WHERE, mask, a, b),), (mask, a.shape, b.shape)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> Gradients:
        """Send gy to where the value came from."""
        mask, first, second = saved
        return (
            None,
            summed(compute(Kind.WHERE, mask, gy, ZERO), first) if needs[1] else None,
            summed(compute(Kind.WHERE_NOT, mask, gy, ZERO), second) if needs[2] else None,
        )


class Function:
    """Base of the pairs on one array; the gradient is a function of what is kept and of gy."""

    kind: ClassVar[Kind]
    back: ClassVar[Kind]
    keeps: ClassVar[str] = "x"  # or "y", or nothing
    light: ClassVar[bool] = False  # as above

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, and large enough."""
        return arrays[0].dtype == FLOAT32 and served(arrays, self.light)

    def settings(self, op: Any) -> tuple[float, float]:
        """Give the kernel's two numbers."""
        return 0.0, 0.0

    def forward(self, op: Any, arrays: Sequence[Array]) -> Forward:
        """Compute the value; keep x or y."""
        x = arrays[0]
        p, q = self.settings(op)
        y = compute(self.kind, x, p=p, q=q)
        return (y,), {"x": x, "y": y}.get(self.keeps)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> Gradients:
        """Compute the gradient from what was kept."""
        p, q = self.settings(op)
        operands = (gy,) if saved is None else (saved, gy)
        return (compute(self.back, *operands, p=p, q=q),)


@ONEDNN.ours(Exp)
class ExpLoops(Function):
    """Exponential."""

    kind, back, keeps, light = Kind.EXP, Kind.MUL, "y", True


@ONEDNN.ours(Log)
class LogLoops(Function):
    """Natural logarithm."""

    kind, light = Kind.LOG, True

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As others; other bases are the reference's."""
        return op.base is None and super().supports(op, arrays)

    def backward(self, op: Any, saved: Any, gy: Any, needs: Needs) -> Gradients:
        """Divide by x."""
        return (compute(Kind.DIV, gy, saved),)


@ONEDNN.ours(Sqrt)
class SqrtLoops(Function):
    """Square root."""

    kind, back, keeps = Kind.SQRT, Kind.SQRT_BACK, "y"


@ONEDNN.ours(Rsqrt)
class RsqrtLoops(Function):
    """Its reciprocal."""

    kind, back, keeps = Kind.RSQRT, Kind.RSQRT_BACK, "y"


@ONEDNN.ours(Reciprocal)
class ReciprocalLoops(Function):
    """Reciprocal."""

    kind, back, keeps = Kind.RECIPROCAL, Kind.RECIPROCAL_BACK, "y"


@ONEDNN.ours(Abs)
class AbsLoops(Function):
    """Absolute value."""

    kind, back = Kind.ABS, Kind.ABS_BACK


@ONEDNN.ours(Neg)
class NegLoops(Function):
    """Negative."""

    kind, back, keeps, light = Kind.NEG, Kind.NEG, "", True


@ONEDNN.ours(Square)
class SquareLoops(Function):
    """Square."""

    light = True
    kind, back = Kind.POWER, Kind.POWER_BACK

    def settings(self, op: Any) -> tuple[float, float]:
        """Give the exponent."""
        return 2.0, 0.0


@ONEDNN.ours(PowScalar)
class PowerLoops(Function):
    """Whole powers."""

    kind, back = Kind.POWER, Kind.POWER_BACK

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As others; small whole exponents."""
        p = op.exponent
        return 2 <= p <= HIGHEST and p == int(p) and super().supports(op, arrays)

    def settings(self, op: Any) -> tuple[float, float]:
        """Give the exponent."""
        return float(op.exponent), 0.0


@ONEDNN.ours(Clamp)
class ClampLoops(Function):
    """Limits that are numbers."""

    kind, back = Kind.CLAMP, Kind.CLAMP_BACK

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As others, and no limit is NaN."""
        return not any(map(isnan, self.settings(op))) and super().supports(op, arrays)

    def settings(self, op: Any) -> tuple[float, float]:
        """Give the limits."""
        return -inf if op.low is None else op.low, inf if op.high is None else op.high
