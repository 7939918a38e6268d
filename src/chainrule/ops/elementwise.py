"""Sums, differences, products and quotients of two tensors that broadcast.

Every function takes tensors, arrays and numbers on either side and promotes them by PyTorch's
rules.  Overflow, 0/0 and their kin give infinity and NaN without a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import FUNCTIONS, Array, DType, Op, Spec, public
from chainrule.engine.promotion import DEFAULT_FLOAT, is_scalar
from chainrule.engine.sample import Sample, away_from_zero, normal, spaced
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, ShapeError, UndefinedKindError, failure
from chainrule.ops.broadcast import Pairwise, sum_to
from chainrule.ops.cast import promote

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]

_EXACT = 2**53  # whole numbers up to here are floats exactly


@dataclass(frozen=True)
class Add(Pairwise):
    """y = a + alpha * b.  ga = gy, gb = alpha * gy, each summed over its broadcast axes."""

    alpha: float = 1
    ufunc: ClassVar[str] = "add"
    sign: ClassVar[int] = 1

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        """Add or subtract; what is kept is two shapes, where they differ."""
        shapes = None if x.shape == other.shape else (x.shape, other.shape)
        with xp.errstate(all="ignore"):
            scaled = other if self.alpha == 1 else xp.multiply(other, self.alpha)
            return (getattr(xp, self.ufunc)(x, scaled),), shapes

    def backward(self, xp: Any, shapes: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Pass the gradient on, scaled for the second operand."""
        first, second = (gy.shape, gy.shape) if shapes is None else shapes
        gx = sum_to(xp, gy, first) if needs[0] else None
        go = sum_to(xp, gy, second) if needs[1] else None
        factor = self.sign * self.alpha
        if go is not None and factor != 1:
            with xp.errstate(over="ignore"):
                go = xp.multiply(go, factor)
        return gx, go

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Equal shapes and every way to broadcast."""
        yield Sample(cls(), normal(3, 4), normal(3, 4))
        yield Sample(cls(), normal(2, 3, 5), normal(3, 1))
        yield Sample(cls(alpha=-0.5), normal(), normal(2, 3))
        yield Sample(cls(alpha=3), normal(4, 1), normal(2, 1, 3))


@dataclass(frozen=True)
class Sub(Add):
    """y = a - alpha * b.  ga = gy, gb = -alpha * gy, each summed over its broadcast axes."""

    ufunc: ClassVar[str] = "subtract"
    sign: ClassVar[int] = -1


@dataclass(frozen=True)
class Mul(Pairwise):
    """y = a * b.  ga = gy * b, gb = gy * a, each summed over its broadcast axes."""

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        """Multiply, keeping both factors."""
        with xp.errstate(all="ignore"):
            return (xp.multiply(x, other),), (x, other)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Multiply by the other factor."""
        x, other = saved
        with xp.errstate(all="ignore"):
            gx = sum_to(xp, xp.multiply(gy, other), x.shape) if needs[0] else None
            go = sum_to(xp, xp.multiply(gy, x), other.shape) if needs[1] else None
        return gx, go

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Equal shapes and every way to broadcast."""
        yield Sample(cls(), normal(3, 4), normal(3, 4))
        yield Sample(cls(), normal(2, 3, 5), normal(3, 1))
        yield Sample(cls(), normal(), normal(2, 3))
        yield Sample(cls(), normal(4, 1), normal(2, 1, 3))


@dataclass(frozen=True)
class Div(Pairwise):
    """y = a / b, then rounded down ("floor") or towards 0 ("trunc") if so set.

    ga = gy / b, gb = -gy * (a / b) / b, each summed over its broadcast axes; 0 if rounded.
    """

    rounding_mode: str | None = None

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        """The broadcast shape; integers only where the quotient is rounded, booleans never."""
        if x.dtype.kind != "f" and (self.rounding_mode is None or x.dtype.kind == "b"):
            rule = "floats" if self.rounding_mode is None else "numbers, not booleans"
            raise failure(self, rule, error=UndefinedKindError, input=x, other=y)
        return super().infer(x, y)

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        """Divide; the rounded quotient keeps no arrays."""
        with xp.errstate(all="ignore"):
            if self.rounding_mode is None:
                return (xp.divide(x, other),), (x, other)
            if x.dtype.kind != "f":
                refuse_zeros(self, other)
            if self.rounding_mode == "floor":
                y = xp.floor_divide(x, other)
            elif x.dtype.kind == "f":
                y = xp.trunc(xp.divide(x, other))
            else:
                y = xp.floor_divide(xp.subtract(x, xp.fmod(x, other)), other)
        return (y,), (x.shape, other.shape)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Divide by b; for b itself multiply by the quotient too."""
        if self.rounding_mode is not None:
            return tuple(
                [
                    sum_to(xp, xp.zeros_like(gy), shape) if need else None
                    for shape, need in zip(saved, needs, strict=True)
                ]
            )
        x, other = saved
        gx = go = None
        with xp.errstate(all="ignore"):
            if needs[0]:
                gx = sum_to(xp, xp.divide(gy, other), x.shape)
            if needs[1]:
                slope = xp.divide(xp.divide(x, other), other)
                go = sum_to(xp, xp.multiply(xp.negative(gy), slope), other.shape)
        return gx, go

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Divisors away from 0; quotients to be rounded away from whole numbers."""
        yield Sample(cls(), normal(3, 4), away_from_zero(3, 4, margin=0.4))
        yield Sample(cls(), normal(2, 3, 5), away_from_zero(3, 1, margin=0.4))
        yield Sample(cls(), normal(), away_from_zero(2, 3, margin=0.4))
        for mode in ("floor", "trunc"):
            yield Sample(cls(mode), spaced(2, 3, grid=1.5), np.array([[1.5], [-1.5]]))


@dataclass(frozen=True)
class Remainder(Pairwise):
    """y = a - floor(a / b) * b, of b's sign.  ga = gy, gb = -gy * floor(a / b)."""

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        """The broadcast shape; booleans have no remainder."""
        if x.dtype.kind == "b":
            rule = "numbers, not booleans"
            raise failure(self, rule, error=UndefinedKindError, input=x, other=y)
        return super().infer(x, y)

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        """Take the remainder of the division that rounds down."""
        if x.dtype.kind != "f":
            refuse_zeros(self, other)
        with xp.errstate(all="ignore"):
            return (xp.remainder(x, other),), (x, other)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Pass on to a; b gets minus the quotient."""
        x, other = saved
        gx = go = None
        with xp.errstate(all="ignore"):
            if needs[0]:
                gx = sum_to(xp, gy, x.shape)
            if needs[1]:
                quotient = xp.floor_divide(x, other)
                go = sum_to(xp, xp.multiply(xp.negative(gy), quotient), other.shape)
        return gx, go

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Quotients away from whole numbers, where the remainder jumps."""
        yield Sample(cls(), spaced(2, 3, grid=1.5), np.array([[1.5], [-1.5]]))
        yield Sample(cls(), spaced(4, grid=0.8), np.full(4, 0.8))


def refuse_zeros(op: Op, divisor: Array) -> None:
    """Raise where a whole number would be divided by 0, since integers have no infinity."""
    if not divisor.all():
        raise failure(op, "an integer divisor without zeros", other=divisor)


@dataclass(frozen=True)
class Neg(Op):
    """y = -x.  gx = -gy."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype; booleans have no negative."""
        if x.dtype.kind == "b":
            hint = "logical_not inverts a mask"
            raise failure(self, "numbers, not booleans", error=KindError, hint=hint, input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Negate."""
        return (xp.negative(x),), None

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Negate."""
        return (xp.negative(gy),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Any shape."""
        yield Sample(cls(), normal(2, 3))


def _scale(name: str, alpha: Any, dtype: DType) -> float:
    """Check the factor of the second operand: whole for integers, a boolean for booleans only."""
    if isinstance(alpha, Tensor | np.ndarray) and alpha.ndim == 0:
        alpha = alpha.item()
    if not is_scalar(alpha):
        raise failure(name, "alpha to be a number", error=KindError, alpha=alpha)
    if isinstance(alpha, bool | np.bool_):
        if dtype.kind != "b":
            rule = "alpha to be a number, since the result is not boolean"
            raise failure(name, rule, error=KindError, alpha=alpha, result=dtype)
        return bool(alpha)
    if dtype.kind == "f":
        return float(alpha)
    if isinstance(alpha, float | np.floating):
        rule = "alpha to be an integer, since the result is"
        raise failure(name, rule, error=KindError, alpha=alpha, result=dtype)
    if dtype.kind == "b":
        return bool(alpha)
    limits = np.iinfo(dtype)
    if not limits.min <= alpha <= limits.max:
        raise failure(name, f"alpha in [{limits.min}, {limits.max}]", alpha=alpha, result=dtype)
    return int(alpha)


@public
def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """Give input + alpha * other, elementwise.

    Shapes: two that broadcast -> the common one.  Gradients are summed back over the axes along
    which an operand was stretched.  On booleans `+` is "or".  Raises TypeError for operands that
    are no numbers and a fractional alpha with integers, ShapeError for shapes that do not
    broadcast.  Source: deck 002, the add gate passes its gradient on.

    >>> import chainrule as cr
    >>> cr.add(cr.tensor([1.0, 2.0]), cr.tensor([[10.0], [20.0]]), alpha=2)
    tensor([[21.0, 22.0],
            [41.0, 42.0]])
    """
    x, y = promote(input, other, name="add")
    if type(alpha) is not int or alpha != 1:
        return apply(Add(_scale("add", alpha, x.dtype)), x, y)
    return apply(_ADD, x, y)


@public
def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """Give input - alpha * other, elementwise.

    Shapes: two that broadcast -> the common one.  Raises TypeError for booleans, whose
    difference is `logical_xor`, and otherwise as `add`.

    >>> import chainrule as cr
    >>> cr.sub(cr.tensor([5.0, 7.0]), 2)
    tensor([3.0, 5.0])
    """
    for value in (input, other):
        if isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_:
            hint = "logical_not inverts a mask, logical_xor compares two"
            raise failure("sub", "numbers, not booleans", error=KindError, hint=hint, operand=value)
    x, y = promote(input, other, name="sub")
    if type(alpha) is not int or alpha != 1:
        return apply(Sub(_scale("sub", alpha, x.dtype)), x, y)
    return apply(_SUB, x, y)


@public
def mul(input: Any, other: Any) -> Tensor:
    """Give input * other, elementwise.

    Shapes: two that broadcast -> the common one.  On booleans `*` is "and".  Raises as `add`.
    Source: deck 002, the multiply gate exchanges its inputs.

    >>> import chainrule as cr
    >>> cr.mul(cr.tensor([2.0, 3.0]), 0.5)
    tensor([1.0, 1.5])
    """
    x, y = promote(input, other, name="mul")
    return apply(_MUL, x, y)


@public
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Give input / other, elementwise; with "floor" or "trunc" the quotient is made whole.

    Shapes: two that broadcast -> the common one.  Integers give float32, but integers where
    rounded.  x / 0 is infinity of x's sign, 0 / 0 NaN.  Gradients of a rounded quotient are 0.
    Raises ShapeError for another mode, and for whole numbers divided by 0; TypeError for rounded
    quotients of booleans.

    >>> import chainrule as cr
    >>> cr.div(cr.tensor([7, -7]), 2), cr.div(cr.tensor(-7), 2, rounding_mode="trunc")
    (tensor([3.5, -3.5]), tensor(-3))
    """
    if rounding_mode is None:
        x, y = promote(_real(input), _real(other), name="div")
        if x.dtype.kind != "f":
            x, y = x.to(DEFAULT_FLOAT), y.to(DEFAULT_FLOAT)
        return apply(_DIV, x, y)
    if rounding_mode not in ("floor", "trunc"):
        error = ShapeError if isinstance(rounding_mode, str) else KindError
        rule = "rounding_mode None, 'floor' or 'trunc'"
        raise failure("div", rule, error=error, rounding_mode=rounding_mode)
    return apply(Div(rounding_mode), *promote(input, other, name="div"))


def _real(value: Any) -> Any:
    # a whole number is divided as a float, so that 256 need not fit the tensor's uint8
    whole = type(value) is int or isinstance(value, np.integer)
    return float(value) if whole and abs(int(value)) <= _EXACT else value


@public
def floor_divide(input: Any, other: Any) -> Tensor:
    """Give floor(input / other), elementwise: `div` with rounding_mode "floor".

    >>> import chainrule as cr
    >>> cr.floor_divide(cr.tensor([7.0, -7.0]), 2)
    tensor([3.0, -4.0])
    """
    return div(input, other, rounding_mode="floor")


@public
def remainder(input: Any, other: Any) -> Tensor:
    """Give input - floor(input / other) * other, elementwise: the remainder of other's sign.

    Shapes: two that broadcast -> the common one.  x % 0 is NaN.  Raises ShapeError for whole
    numbers divided by 0, TypeError for booleans.

    >>> import chainrule as cr
    >>> cr.remainder(cr.tensor([7.0, -7.0]), 3)
    tensor([1.0, 2.0])
    """
    x, y = promote(input, other, name="remainder")
    return apply(Remainder(), x, y)


@public
def neg(input: Any) -> Tensor:
    """Give -input.

    Shapes: any -> the same.  Raises TypeError for booleans (see `logical_not`).

    >>> import chainrule as cr
    >>> cr.neg(cr.tensor([1.0, -2.0]))
    tensor([-1.0, 2.0])
    """
    return apply(Neg(), as_tensor(input))


_ADD, _SUB, _MUL, _DIV = Add(), Sub(), Mul(), Div()

subtract = FUNCTIONS["subtract"] = sub
multiply = FUNCTIONS["multiply"] = mul
divide = true_divide = FUNCTIONS["divide"] = FUNCTIONS["true_divide"] = div
negative = FUNCTIONS["negative"] = neg
