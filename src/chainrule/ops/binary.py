"""Functions of two values beyond arithmetic: angles, remainders, signs, steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import FUNCTIONS, Array, Spec, public
from chainrule.engine.promotion import DEFAULT_FLOAT, is_scalar
from chainrule.engine.sample import Sample, away_from_zero, normal, positive, spaced
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.broadcast import Pairwise, sum_to
from chainrule.ops.cast import promote
from chainrule.ops.elementwise import refuse_zeros
from chainrule.ops.formulas import need_tensors
from chainrule.ops.rounding import signs

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


class Binary(Pairwise, register=False):
    """Base: y = _value(a, b), ga = _first(a, b, y, gy), gb = _second(a, b, y, gy).

    Each gradient is summed over its broadcast axes.
    """

    kinds: ClassVar[str] = "f"  # the kinds of dtype that are taken

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        """The broadcast shape, the operands' common dtype."""
        if x.dtype.kind not in self.kinds:
            rule = "floating-point operands" if self.kinds == "f" else "numbers, not booleans"
            raise failure(self, rule, error=UndefinedKindError, input=x, other=y)
        return super().infer(x, y)

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        """Compute the value; keep both operands and it."""
        with xp.errstate(all="ignore"):
            y = xp.asarray(self._value(xp, x, other))
        return (y,), (x, other, y)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Multiply by either slope."""
        x, other, y = saved
        gx = go = None
        with xp.errstate(all="ignore"):
            if needs[0]:
                gx = sum_to(xp, self._first(xp, x, other, y, gy), x.shape)
            if needs[1]:
                go = sum_to(xp, self._second(xp, x, other, y, gy), other.shape)
        return gx, go

    def _value(self, xp: Any, a: Any, b: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._value")

    def _first(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._first")

    def _second(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._second")

    @classmethod
    def _broadcasting(cls, first: Any = away_from_zero, second: Any = away_from_zero) -> Any:
        """Draws of every way to broadcast."""
        shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
            ((3, 4), (3, 4)), ((2, 3, 5), (3, 1)), ((), (2, 3)), ((4, 1), (2, 1, 3)),
        )  # fmt: skip
        return [(first(*a), second(*b)) for a, b in shapes]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Away from 0, in every way to broadcast."""
        for draws in cls._broadcasting():
            yield Sample(cls(), *draws)


@dataclass(frozen=True)
class Atan2(Binary):
    """y = the angle of the point (b, a).  ga = gy b / (a^2 + b^2), gb = -gy a / (a^2 + b^2)."""

    def _value(self, xp: Any, a: Any, b: Any) -> Any:
        return xp.arctan2(a, b)

    def _first(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return gy * self._part(xp, b, a, b)

    def _second(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return gy * self._part(xp, -a, a, b)

    def _part(self, xp: Any, above: Any, a: Any, b: Any) -> Any:
        below = a * a + b * b
        return xp.where(below == 0, 0, above / below)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """To the right of 0, since the angle jumps to the left of it."""
        for draws in cls._broadcasting(second=positive):
            yield Sample(cls(), *draws)


@dataclass(frozen=True)
class Hypot(Binary):
    """y = sqrt(a^2 + b^2).  ga = gy a / y, gb = gy b / y."""

    def _value(self, xp: Any, a: Any, b: Any) -> Any:
        return xp.hypot(a, b)

    def _first(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return gy * (a / y)

    def _second(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return gy * (b / y)


@dataclass(frozen=True)
class XLogY(Binary):
    """y = a log b, 0 where a = 0 (NaN where b is NaN).  ga = gy log b, gb = gy a / b."""

    name: ClassVar[str] = "xlogy"

    def _value(self, xp: Any, a: Any, b: Any) -> Any:
        return xp.where((a == 0) & (b == b), 0, a * xp.log(b))

    def _first(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        flat = ((gy == 0) & (b == b)) | ((a == 0) & (b <= 0))
        return xp.where(flat, 0, gy * xp.log(b))

    def _second(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return gy * a / b

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Logarithms of positive values."""
        for draws in cls._broadcasting(normal, positive):
            yield Sample(cls(), *draws)


@dataclass(frozen=True)
class Copysign(Binary):
    """y = |a| with the sign of b.  ga = gy y / a, 0 where a = 0; gb = 0."""

    def _value(self, xp: Any, a: Any, b: Any) -> Any:
        return xp.copysign(a, b)

    def _first(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return gy * xp.where(a == 0, 0, y / a)

    def _second(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return xp.zeros_like(gy)


@dataclass(frozen=True)
class Fmod(Binary):
    """y = a - trunc(a / b) b, of a's sign.  ga = gy, gb = -gy trunc(a / b)."""

    kinds: ClassVar[str] = "fiu"

    def _value(self, xp: Any, a: Any, b: Any) -> Any:
        if a.dtype.kind != "f":
            refuse_zeros(self, b)
        return xp.fmod(a, b)

    def _first(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return gy

    def _second(self, xp: Any, a: Any, b: Any, y: Any, gy: Any) -> Any:
        return -gy * xp.trunc(a / b)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Quotients away from whole numbers, where the remainder jumps."""
        yield Sample(cls(), spaced(2, 3, grid=1.5), np.array([[1.5], [-1.5]]))
        yield Sample(cls(), spaced(4, grid=0.8), np.full(4, 0.8))


@dataclass(frozen=True)
class Heaviside(Pairwise):
    """y = 1 where a > 0, b where a = 0, else 0; without a gradient."""

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        """The broadcast shape, not differentiable."""
        return tuple([spec._replace(differentiable=False) for spec in super().infer(x, y)])

    def forward(self, xp: Any, x: Array, values: Array) -> Forward:
        """Ask for the sign; NaN gives 0."""
        return (xp.where(x == 0, values, (signs(xp, x) > 0).astype(x.dtype)),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        """Nothing flows back."""
        return None, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Values on either side of 0 and at it."""
        yield Sample(cls(), np.array([[-1.5, 0.0, 2.0], [0.0, -0.0, 0.1]]), normal(3))


def _floats(name: str, input: Any, other: Any) -> tuple[Tensor, Tensor]:
    """Promote two operands to a common floating-point dtype: integers become float32."""
    x, y = promote(input, other, name=name)
    if x.dtype.kind != "f":
        return x.to(DEFAULT_FLOAT), y.to(DEFAULT_FLOAT)
    return x, y


@public
def atan2(input: Any, other: Any) -> Tensor:
    """Give the angle, from -pi to pi, between the x axis and the point (x, y) = (other, input).

    Shapes: two that broadcast -> the common one; integers give float32.  The gradient at the
    origin is 0.  Raises TypeError for what is no tensor.

    >>> import chainrule as cr
    >>> cr.atan2(cr.tensor([1.0, 1.0]), cr.tensor([1.0, -1.0]))
    tensor([0.7854, 2.3562])
    """
    need_tensors("atan2", input=input, other=other)
    return apply(Atan2(), *_floats("atan2", input, other))


@public
def hypot(input: Any, other: Any) -> Tensor:
    """Give sqrt(input^2 + other^2) without overflow on the way.

    Shapes: two that broadcast -> the common one.  The gradient where both are 0 is NaN.
    Raises TypeError for integers and for what is no tensor.

    >>> import chainrule as cr
    >>> cr.hypot(cr.tensor([3.0]), cr.tensor([4.0]))
    tensor([5.0])
    """
    need_tensors("hypot", input=input, other=other)
    return apply(Hypot(), *promote(input, other, name="hypot"))


@public
def xlogy(input: Any, other: Any) -> Tensor:
    """Give input * log(other), and 0 where the input is 0, whatever the logarithm.

    Shapes: two that broadcast -> the common one; integers give float32; one of the two may be a
    number.  NaN in `other` stays NaN.

    >>> import chainrule as cr
    >>> cr.xlogy(cr.tensor([0.0, 2.0]), cr.tensor([0.0, 1.0]))
    tensor([0.0, 0.0])
    """
    if is_scalar(input) and is_scalar(other):
        need_tensors("xlogy", input=input, other=other)
    return apply(XLogY(), *_floats("xlogy", input, other))


@public
def copysign(input: Any, other: Any) -> Tensor:
    """Give the size of the input with the sign of the other, a tensor or a number.

    Shapes: two that broadcast -> the common one; integers give float32.  The sign of -0.0 is
    negative; the gradient where the input is 0 is 0, and nothing flows to the other.

    >>> import chainrule as cr
    >>> cr.copysign(cr.tensor([1.0, -2.0]), cr.tensor([-0.0, 3.0]))
    tensor([-1.0, 2.0])
    """
    need_tensors("copysign", input=input)
    return apply(Copysign(), *_floats("copysign", input, other))


@public
def fmod(input: Any, other: Any) -> Tensor:
    """Give input - trunc(input / other) * other: the remainder of the input's sign.

    Shapes: two that broadcast -> the common one; `other` may be a number.  With 0 it is NaN.
    Raises ShapeError for whole numbers divided by 0, TypeError for booleans.  See `remainder`
    for the one of the other's sign.

    >>> import chainrule as cr
    >>> cr.fmod(cr.tensor([7.0, -7.0]), 3)
    tensor([1.0, -1.0])
    """
    need_tensors("fmod", input=input)
    return apply(Fmod(), *promote(input, other, name="fmod"))


@public
def heaviside(input: Any, values: Any) -> Tensor:
    """Give 1 where the input is positive, 0 where it is negative (or NaN), `values` where it is 0.

    Shapes: two that broadcast -> the common one.  There is no gradient.  Raises TypeError for
    tensors of two dtypes and for what is no tensor.

    >>> import chainrule as cr
    >>> cr.heaviside(cr.tensor([-2.0, 0.0, 3.0]), cr.tensor(0.5))
    tensor([0.0, 0.5, 1.0])
    """
    need_tensors("heaviside", input=input, values=values)
    return apply(Heaviside(), as_tensor(input), as_tensor(values))


arctan2 = FUNCTIONS["arctan2"] = atan2
