"""Powers: of two tensors, and with a number for the exponent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Sample, away_from_zero, normal, positive
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.broadcast import Pairwise, sum_to
from chainrule.ops.cast import promote

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


def raised(xp: Any, x: Any, exponent: float) -> Any:
    """Give x ** exponent in a new array; small whole and half exponents without logarithms."""
    if exponent == 0:
        return xp.ones_like(x)
    if exponent == 1:
        return xp.positive(x) if x.dtype.kind != "b" else x.copy()
    if exponent == 2:
        return xp.multiply(x, x)
    if exponent == 3:
        return xp.multiply(xp.multiply(x, x), x)
    if x.dtype.kind == "f":
        if exponent in (0.5, -0.5):
            root = xp.sqrt(x)
            return root if exponent > 0 else xp.reciprocal(root)
        if exponent in (-1, -2):
            return xp.reciprocal(x if exponent == -1 else xp.multiply(x, x))
    return xp.power(x, exponent)


@dataclass(frozen=True)
class PowScalar(Op):
    """y = x^p for a number p.  gx = gy * p * x^(p-1), and 0 everywhere if p is 0."""

    exponent: int | float

    @property
    def name(self) -> str:
        """The function's name."""
        return "pow"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype; whole numbers refuse negative exponents."""
        if x.dtype.kind != "f":
            if isinstance(self.exponent, float):
                raise failure(self, "a floating-point input", error=KindError, input=x)
            if self.exponent < 0:
                rule = "an exponent of at least 0, since integers have no fractions"
                raise failure(self, rule, hint="convert the input: x.float()", input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Raise to the power; exponents 0 and 1 keep nothing."""
        with xp.errstate(all="ignore"):
            return (raised(xp, x, self.exponent),), None if self.exponent in (0, 1) else x

    def backward(self, xp: Any, x: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Multiply by the exponent and the next lower power."""
        if x is None:
            return (gy if self.exponent == 1 else xp.zeros_like(gy),)
        with xp.errstate(all="ignore"):
            slope = xp.multiply(raised(xp, x, self.exponent - 1), self.exponent)
            return (xp.multiply(gy, slope),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Whole exponents on either sign, fractional ones on positive values."""
        for exponent in (0, 1, 2, 3, 5, -1, -2):
            yield Sample(cls(exponent), away_from_zero(2, 3, margin=0.5))
        for p in (0.5, -0.5, 1.7, -1.3):
            yield Sample(cls(p), positive(3, 2))


@dataclass(frozen=True)
class Pow(Pairwise):
    """y = a^b.  ga = gy * b * a^(b-1), 0 where b = 0; gb = gy * y * log a, 0 where a = 0 <= b.

    Each is summed over its broadcast axes.
    """

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        """The broadcast shape; booleans have no powers."""
        if x.dtype.kind == "b":
            rule = "numbers, not booleans"
            raise failure(self, rule, error=UndefinedKindError, input=x, exponent=y)
        return super().infer(x, y)

    def forward(self, xp: Any, x: Array, exponent: Array) -> Forward:
        """Raise to the powers; whole numbers to negative ones give 0, but 1 and -1 do not."""
        with xp.errstate(all="ignore"):
            if x.dtype.kind != "i":
                y = xp.power(x, exponent)
                return (y,), (x, exponent, y)
            y = xp.power(x, xp.maximum(exponent, 0))
            inverse = xp.where(x == -1, 1 - 2 * (exponent & 1), (x == 1).astype(x.dtype))
            return (xp.where(exponent < 0, inverse, y).astype(x.dtype, copy=False),), None

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Differentiate by the base and by the exponent."""
        x, exponent, y = saved
        gx = ge = None
        with xp.errstate(all="ignore"):
            if needs[0]:
                slope = xp.multiply(exponent, xp.power(x, xp.subtract(exponent, 1)))
                gx = sum_to(xp, xp.where(exponent == 0, 0, xp.multiply(gy, slope)), x.shape)
            if needs[1]:
                flat = (x == 0) & (exponent >= 0)
                slope = xp.where(flat, 0, xp.multiply(y, xp.log(x)))
                ge = sum_to(xp, xp.multiply(gy, slope), exponent.shape)
        return gx, ge

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Positive bases, every way to broadcast; whole exponents on either sign."""
        yield Sample(cls(), positive(3, 4), normal(3, 4))
        yield Sample(cls(), positive(2, 3, 5), normal(3, 1))
        yield Sample(cls(), positive(), normal(2, 3))
        yield Sample(cls(), positive(3, 1), normal(2))


@public
def pow(input: Any, exponent: Any) -> Tensor:
    """Give input ** exponent, elementwise; either may be a number.

    Shapes: two that broadcast -> the common one.  x ** 0 is 1 with gradient 0, for NaN too.  Whole
    numbers stay whole.  A negative base with a fractional exponent gives NaN.

    Raises ValueError for whole numbers with a negative whole number for the exponent, TypeError
    for booleans.

    >>> import chainrule as cr
    >>> cr.pow(cr.tensor([1.0, 2.0, 3.0]), 2), cr.pow(2, cr.tensor([1.0, 3.0]))
    (tensor([1.0, 4.0, 9.0]), tensor([2.0, 8.0]))
    """
    if is_scalar(exponent) and isinstance(input, Tensor | np.ndarray):
        base, _ = promote(input, exponent, name="pow")
        return apply(PowScalar(_exponent(exponent, base)), base)
    return apply(Pow(), *promote(input, exponent, name="pow"))


def _exponent(value: Any, base: Tensor) -> float:
    """Give the exponent as a Python number that the base's dtype can hold."""
    number: float = value.item() if isinstance(value, np.generic) else value
    if base.dtype.kind in "iu" and number > np.iinfo(base.dtype).max:
        largest = np.iinfo(base.dtype).max
        raise failure("pow", f"an exponent of at most {largest}", input=base, exponent=number)
    if isinstance(number, bool):
        return int(number)
    return number if abs(number) < 2**31 else float(number)  # NumPy has no larger weak integer
