"""Functions of one tensor with corners and jumps: absolute value, sign, rounding, replacing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import FUNCTIONS, Array, Op, Spec, public
from chainrule.engine.sample import Sample, away_from_zero, spaced
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.arguments import integer
from chainrule.ops.formulas import drop, need_float, number

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


def signs(xp: Any, x: Array) -> Array:
    """Give -1, 0 or 1 as int8, 0 for NaN too."""
    with xp.errstate(invalid="ignore"):
        return xp.subtract(x > 0, x < 0, dtype=np.int8)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Abs(Op):
    """y = |x|.  gx = gy * sign x, 0 at 0."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype."""
        return _numbers(self, x)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Drop the sign, keeping it in one byte an element."""
        return (xp.absolute(x),), signs(xp, x) if x.dtype.kind == "f" else None

    def backward(self, xp: Any, sign: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Multiply by the sign."""
        with xp.errstate(invalid="ignore"):
            return (xp.multiply(gy, sign, dtype=gy.dtype),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Away from the corner."""
        yield Sample(cls(), away_from_zero(3, 4))


@dataclass(frozen=True)
class Step(Op):
    """y = f(x) for f that is constant between its jumps.  gx = 0.

    `kind` is "sign", or "floor", "ceil", "trunc", "round", which leave integers as they are.
    "round" takes the even neighbour of a half and, for floats, a number of decimals.
    """

    kind: str
    decimals: int = 0

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype."""
        if self.decimals and x.dtype.kind != "f":
            raise failure(self, "a floating-point input", error=UndefinedKindError, input=x)
        return (x,) if self.kind == "sign" else _numbers(self, x)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Take the step function; nothing is kept."""
        with xp.errstate(all="ignore"):
            if self.kind == "sign":
                y = x.copy() if x.dtype.kind == "b" else signs(xp, x).astype(x.dtype)
            elif x.dtype.kind != "f":
                y = x.copy(order="K")
            elif self.kind == "round":
                y = self._rounded(xp, x)
            else:
                y = getattr(xp, self.kind)(x)
        return (y,), None

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Nothing passes."""
        return (xp.zeros_like(gy),)

    def _rounded(self, xp: Any, x: Any) -> Any:
        if self.decimals > 0:
            scale = 10.0**self.decimals
            return xp.rint(x * scale) / scale
        if self.decimals < 0:
            scale = 10.0**-self.decimals
            return xp.rint(x / scale) * scale
        return xp.rint(x)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Away from the jumps: those of `round` are at halves."""
        yield Sample(cls("sign"), away_from_zero(3, 4))
        for kind in ("floor", "ceil", "trunc"):
            yield Sample(cls(kind), spaced(3, 4, grid=1))
        yield Sample(cls("round"), spaced(3, 4, grid=0.5))
        yield Sample(cls("round", 1), spaced(3, 4, grid=0.05, margin=0.01))
        yield Sample(cls("round", -1), spaced(3, 4, grid=5))


def _numbers(op: Op, x: Spec) -> tuple[Spec, ...]:
    if x.dtype.kind == "b":
        raise failure(op, "numbers, not booleans", error=UndefinedKindError, input=x)
    return (x,)


@public
def abs(input: Any) -> Tensor:
    """Give the absolute value.

    Shapes: any -> the same; integers stay integers.  The gradient at 0 is 0.  Raises TypeError
    for booleans.

    >>> import chainrule as cr
    >>> cr.abs(cr.tensor([-1.5, 2.0]))
    tensor([1.5, 2.0])
    """
    return apply(Abs(), as_tensor(input))


@public
def sign(input: Any) -> Tensor:
    """Give -1, 0 or 1 by the sign; 0 for NaN, as PyTorch.

    Shapes: any -> the same; integers stay integers, booleans booleans.  The gradient is 0.

    >>> import chainrule as cr
    >>> cr.sign(cr.tensor([-1.5, 0.0, 2.0]))
    tensor([-1.0, 0.0, 1.0])
    """
    return apply(Step("sign"), as_tensor(input))


@public
def floor(input: Any) -> Tensor:
    """Give the largest whole number that is not above the input.

    Shapes: any -> the same dtype and shape.  The gradient is 0.  Raises TypeError for booleans.

    >>> import chainrule as cr
    >>> cr.floor(cr.tensor([-1.5, 2.5]))
    tensor([-2.0, 2.0])
    """
    return apply(Step("floor"), as_tensor(input))


@public
def ceil(input: Any) -> Tensor:
    """Give the smallest whole number that is not below the input; otherwise as `floor`.

    >>> import chainrule as cr
    >>> cr.ceil(cr.tensor([-1.5, 2.5]))
    tensor([-1.0, 3.0])
    """
    return apply(Step("ceil"), as_tensor(input))


@public
def trunc(input: Any) -> Tensor:
    """Give the whole part, dropping the decimals; otherwise as `floor`.

    >>> import chainrule as cr
    >>> cr.trunc(cr.tensor([-1.5, 2.5]))
    tensor([-1.0, 2.0])
    """
    return apply(Step("trunc"), as_tensor(input))


@public
def round(input: Any, *, decimals: int = 0) -> Tensor:
    """Give the nearest whole number, the even one of two; or so many decimals.

    Shapes: any -> the same dtype and shape.  Negative decimals round to tens, hundreds, ...  The
    gradient is 0.  Raises TypeError for booleans, and for integers if decimals are given.

    >>> import chainrule as cr
    >>> cr.round(cr.tensor([0.5, 1.5, -1.7])), cr.round(cr.tensor([1.26]), decimals=1)
    (tensor([0.0, 2.0, -2.0]), tensor([1.3]))
    """
    return apply(Step("round", integer(decimals, "round")), as_tensor(input))


@dataclass(frozen=True)
class Frac(Op):
    """y = x - trunc x.  gx = gy."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype; integers have no decimals."""
        need_float(self, x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Drop the whole part."""
        with xp.errstate(invalid="ignore"):
            return (x - xp.trunc(x),), None

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Pass on."""
        return (gy,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Away from the jumps."""
        yield Sample(cls(), spaced(3, 4, grid=1))


@dataclass(frozen=True)
class NanToNum(Op):
    """y = x where it is finite, else `nan`, `posinf` or `neginf`; None is the dtype's last number.

    gx = gy where x is finite, else 0.
    """

    nan: float = 0.0
    posinf: float | None = None
    neginf: float | None = None

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype."""
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Replace what is not finite, keeping the mask of it."""
        with xp.errstate(over="ignore"):
            y = xp.nan_to_num(x, nan=self.nan, posinf=self.posinf, neginf=self.neginf)
        return (y,), xp.logical_not(xp.isfinite(x)) if x.dtype.kind == "f" else None

    def backward(self, xp: Any, replaced: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Pass where the value stayed."""
        return (drop(xp, replaced, gy),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Finite values, which have differences."""
        yield Sample(cls(), away_from_zero(3, 4))
        yield Sample(cls(1.5, 7.0, -8.0), away_from_zero(2, 3))


@public
def frac(input: Any) -> Tensor:
    """Give what `trunc` drops, with the input's sign: input - trunc(input).

    Shapes: any -> the same.  The gradient passes.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.frac(cr.tensor([-1.25, 2.5]))
    tensor([-0.25, 0.50])
    """
    return apply(Frac(), as_tensor(input))


@public
def nan_to_num(
    input: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replace NaN by `nan` (0) and the infinities by `posinf`, `neginf` (the dtype's last numbers).

    Shapes: any -> the same; integers come back as they are.  What was replaced has gradient 0.
    Raises TypeError for settings that are no numbers.

    >>> import chainrule as cr
    >>> cr.nan_to_num(cr.tensor([float("nan"), 1.0, float("inf")]), posinf=9.0)
    tensor([0.0, 1.0, 9.0])
    """
    settings = [
        None if value is None else number(value, f"nan_to_num {name}")
        for name, value in (("nan", nan), ("posinf", posinf), ("neginf", neginf))
    ]
    return apply(NanToNum(settings[0] or 0.0, *settings[1:]), as_tensor(input))


absolute = FUNCTIONS["absolute"] = abs
fix = FUNCTIONS["fix"] = trunc
