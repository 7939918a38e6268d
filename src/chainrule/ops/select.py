"""Choosing between values: the larger, the smaller, by a mask, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import FUNCTIONS, Array, Op, Spec, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Draw, Sample, booleans, normal, spaced
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.broadcast import Pairwise, broadcast, sum_to
from chainrule.ops.cast import promote, result_type
from chainrule.ops.formulas import need_tensors

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


def _whole(*shape: int, low: int, high: int) -> Draw:
    """Whole numbers in [low, high) as floats: no ties with `spaced` values of grid 1."""
    return Draw("whole", shape, lambda rng, s: rng.integers(low, high, s).astype(float))


@dataclass(frozen=True)
class Extremum(Pairwise):
    """y = max(a, b) ("maximum") or min(a, b) ("minimum"), NaN where either is NaN.

    gy goes to the winner; half to each at a tie; to both where NaN won.
    """

    kind: str = "maximum"

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        """Choose, keeping two masks: where a does not lose, where b does not."""
        if x.dtype.kind != "f":
            return (getattr(xp, self.kind)(x, other),), None
        with xp.errstate(invalid="ignore"):
            keeps = xp.greater_equal(x, other), xp.less_equal(x, other)
            y = getattr(xp, self.kind)(x, other)
        return (y,), (*(keeps if self.kind == "maximum" else keeps[::-1]), x.shape, other.shape)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Send the gradient to the winner, half to each at a tie."""
        mine, yours, *shapes = saved  # both false where NaN won
        shared = xp.where(mine & yours, gy / 2, gy)
        gx = xp.where(yours & ~mine, 0, shared) if needs[0] else None
        go = xp.where(mine & ~yours, 0, shared) if needs[1] else None
        return tuple(
            [None if g is None else sum_to(xp, g, s) for g, s in zip((gx, go), shapes, strict=True)]
        )

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """No ties; every way to broadcast."""
        for kind in ("maximum", "minimum"):
            yield Sample(cls(kind), spaced(3, 4, grid=1), _whole(3, 4, low=-2, high=3))
            yield Sample(cls(kind), spaced(2, 3, 5, grid=1), _whole(3, 1, low=-2, high=3))
            yield Sample(cls(kind), spaced(grid=1), _whole(2, 3, low=-2, high=3))


@dataclass(frozen=True)
class Where(Op):
    """y = a where the condition holds, else b.  ga = gy where it holds, gb = gy elsewhere."""

    def infer(self, condition: Spec, x: Spec, y: Spec) -> tuple[Spec, ...]:
        """The broadcast shape of all three."""
        if condition.dtype != np.bool_:
            raise failure(self, "a boolean condition", error=KindError, condition=condition)
        if x.dtype != y.dtype:
            rule = "operands of one dtype; the public function promotes them"
            raise failure(self, rule, error=KindError, input=x, other=y)
        shape = broadcast(self, condition=condition.shape, input=x.shape, other=y.shape)
        return (Spec(shape, x.dtype),)

    def forward(self, xp: Any, condition: Array, x: Array, other: Array) -> Forward:
        """Choose, keeping the condition."""
        return (xp.where(condition, x, other),), (condition, x.shape, other.shape)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Send the gradient to where the value came from."""
        condition, *shapes = saved
        gx = sum_to(xp, xp.where(condition, gy, 0), shapes[0]) if needs[1] else None
        go = sum_to(xp, xp.where(condition, 0, gy), shapes[1]) if needs[2] else None
        return None, gx, go

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Equal shapes and every way to broadcast."""
        yield Sample(cls(), booleans(3, 4), normal(3, 4), normal(3, 4))
        yield Sample(cls(), booleans(3, 1), normal(2, 1, 4), normal(4))
        yield Sample(cls(), booleans(2, 3), normal(), normal(3))


@dataclass(frozen=True)
class Clamp(Op):
    """y = min(max(x, low), high) for numbers.  gx = gy where low <= x <= high, else 0."""

    low: float | None = None
    high: float | None = None

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype; booleans have no limits."""
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=UndefinedKindError, input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Clip, keeping the mask of what was within the limits."""
        with xp.errstate(all="ignore"):
            y, inside = x, None
            if self.low is not None:
                y, inside = xp.maximum(y, self.low), x >= self.low
            if self.high is not None:
                y, below = xp.minimum(y, self.high), x <= self.high
                inside = below if inside is None else inside & below
        return (y,), inside

    def backward(self, xp: Any, inside: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Pass where the value was within the limits, the limits included."""
        return (xp.where(inside, gy, 0),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Either limit and both, away from the limits."""
        yield Sample(cls(-1.0, 1.0), spaced(3, 4, grid=1))
        yield Sample(cls(low=0.0), spaced(2, 3, grid=1))
        yield Sample(cls(high=1.0), spaced(5, grid=1))
        yield Sample(cls(1.0, -1.0), spaced(4, grid=1))


@dataclass(frozen=True)
class ClampTensor(Op):
    """y = min(max(x, low), high) with tensors for limits; `low`, `high` tell which there are.

    gx = gy where low <= x <= high; gl = gy where x < low < high; gh = gy where x > high or
    low > high; each summed over its broadcast axes.
    """

    low: bool = True
    high: bool = True

    @property
    def name(self) -> str:
        """The function's name."""
        return "clamp"

    def infer(self, x: Spec, *limits: Spec) -> tuple[Spec, ...]:
        """The broadcast shape; booleans may have one limit, as in PyTorch."""
        for limit in limits:
            if x.dtype != limit.dtype:
                rule = "limits of the input's dtype; the public function promotes them"
                raise failure(self, rule, error=KindError, input=x, limit=limit)
        if x.dtype.kind == "b" and self.low and self.high:
            raise failure(self, "numbers, not booleans", error=UndefinedKindError, input=x)
        names = ["min"] * self.low + ["max"] * self.high
        shapes = dict(zip(names, [s.shape for s in limits], strict=True))
        return (Spec(broadcast(self, input=x.shape, **shapes), x.dtype),)

    def forward(self, xp: Any, x: Array, *limits: Array) -> Forward:
        """Clip, keeping one mask for each input of where its value is the result."""
        low = limits[0] if self.low else None
        high = limits[-1] if self.high else None
        with xp.errstate(invalid="ignore"):
            y = x if low is None else xp.maximum(x, low)
            y = y if high is None else xp.minimum(y, high)
            if x.dtype.kind != "f":
                return (y,), None
            masks = []
            if low is not None:
                masks.append(x < low if high is None else (x < low) & (low < high))
            if high is not None:
                masks.append(x > high if low is None else (x > high) | (high < low))
            inside = True if low is None else x >= low
            inside = inside if high is None else inside & (x <= high)
        return (y,), ((inside, *masks), (x.shape, *[limit.shape for limit in limits]))

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Send the gradient to the input whose value was taken."""
        return tuple(
            [
                sum_to(xp, xp.where(mask, gy, 0), shape) if need else None
                for mask, shape, need in zip(*saved, needs, strict=True)
            ]
        )

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Either limit and both, in every way to broadcast, away from ties."""
        x, low, high = spaced(3, 4, grid=1), _whole(4, low=-2, high=0), _whole(3, 1, low=0, high=3)
        yield Sample(cls(), x, low, high)
        yield Sample(cls(high=False), x, low)
        yield Sample(cls(low=False), x, high)
        yield Sample(cls(), spaced(grid=1), _whole(2, low=0, high=1), _whole(1, low=-1, high=0))


@public
def maximum(input: Any, other: Any) -> Tensor:
    """Give the larger of two values, elementwise; NaN if either is NaN.

    Shapes: two that broadcast -> the common one.  At a tie each gets half the gradient.

    >>> import chainrule as cr
    >>> cr.maximum(cr.tensor([1.0, 5.0]), cr.tensor([3.0, 2.0]))
    tensor([3.0, 5.0])
    """
    return apply(Extremum("maximum"), *promote(input, other, name="maximum"))


@public
def minimum(input: Any, other: Any) -> Tensor:
    """Give the smaller of two values, elementwise; NaN if either is NaN.

    Shapes: two that broadcast -> the common one.  At a tie each gets half the gradient.

    >>> import chainrule as cr
    >>> cr.minimum(cr.tensor([1.0, 5.0]), 2)
    tensor([1.0, 2.0])
    """
    return apply(Extremum("minimum"), *promote(input, other, name="minimum"))


@public
def where(condition: Any, input: Any, other: Any) -> Tensor:
    """Give `input` where the condition holds and `other` elsewhere; numbers are promoted weakly.

    Shapes: three that broadcast -> the common one.  What is not chosen gets gradient 0, even
    where it is NaN.  Raises TypeError for a condition that is not boolean (uint8 is converted, as
    in PyTorch).

    >>> import chainrule as cr
    >>> cr.where(cr.tensor([True, False]), cr.tensor([1.0, 2.0]), 0)
    tensor([1.0, 0.0])
    """
    mask = as_tensor(condition)
    if mask.dtype == np.uint8:
        mask = mask.to(np.bool_)
    return apply(Where(), mask, *promote(input, other, name="where"))


@public
def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """Give `input` with `value`, a number or a 0-d tensor, where the mask holds.

    Shapes: input and mask broadcast -> the common one, in the dtype of `input`, to which the
    value is converted.  What is filled over gets gradient 0, a tensor `value` the sum of the
    rest.  Raises TypeError for a mask that is not boolean, ShapeError for a value with axes,
    KindError for a number that the dtype cannot hold.

    >>> import chainrule as cr
    >>> cr.masked_fill(cr.tensor([1, 2, 3]), cr.tensor([True, False, True]), 0)
    tensor([0, 2, 0])
    """
    x, holds = as_tensor(input), as_tensor(mask)
    if is_scalar(value):
        fill = _filling(value, x)
    else:
        fill = as_tensor(value).to(x.dtype)
        if fill.ndim:
            raise failure("masked_fill", "a number or a 0-d tensor", value=fill)
    return apply(Where(), holds, fill, x)


def _filling(value: Any, x: Tensor) -> Tensor:
    if x.dtype.kind in "iu":
        largest = int(np.iinfo(x.dtype).max)
        if not -largest - 1 <= value <= largest:
            rule = f"a number that {x.dtype} can hold"
            raise failure("masked_fill", rule, error=KindError, value=value)
    return Tensor(np.array(value).astype(x.dtype))


@public
def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """Limit values to [min, max]; either may be None, a number, or a tensor that broadcasts.

    Shapes: any, with tensors for limits the common one.  The gradient passes where
    min <= input <= max; NaN stays NaN; where min > max the result is max.  Raises ValueError if
    both limits are None, TypeError for booleans.

    >>> import chainrule as cr
    >>> cr.clamp(cr.tensor([-2.0, 0.5, 7.0]), 0, 6)
    tensor([0.0, 0.5, 6.0])
    """
    given = [limit for limit in (min, max) if limit is not None]
    if not given:
        raise failure("clamp", "at least one of min and max", min=min, max=max)
    x = as_tensor(input)
    if all(is_scalar(limit) for limit in given):
        x = x if x.dtype.kind == "f" else x.to(result_type(x, *given))
        return apply(Clamp(_limit(min, x), _limit(max, x)), x)
    operands = promote(x, *given, name="clamp")
    return apply(ClampTensor(min is not None, max is not None), *operands)


def _limit(value: Any, x: Tensor) -> float | None:
    """Give a limit as a Python number that the input's dtype can hold."""
    if value is None or x.dtype.kind == "b":
        return value  # type: ignore[no-any-return]
    if x.dtype.kind == "f":
        return float(value)
    range_ = np.iinfo(x.dtype)
    if not range_.min <= value <= range_.max:
        rule = f"limits in [{range_.min}, {range_.max}]"
        raise failure("clamp", rule, input=x, limit=value)
    return int(value)


@public
def clamp_min(input: Any, min: Any) -> Tensor:
    """Raise values to at least `min`, a number or a tensor: `clamp` with this limit alone.

    >>> import chainrule as cr
    >>> cr.clamp_min(cr.tensor([-2.0, 0.5]), 0)
    tensor([0.0, 0.5])
    """
    need_tensors("clamp_min", input=input)
    if min is None:
        raise failure("clamp_min", "a limit", error=KindError, min=min)
    return clamp(input, min=min)


@public
def clamp_max(input: Any, max: Any) -> Tensor:
    """Lower values to at most `max`, a number or a tensor: `clamp` with this limit alone.

    >>> import chainrule as cr
    >>> cr.clamp_max(cr.tensor([-2.0, 0.5]), 0)
    tensor([-2.0, 0.0])
    """
    need_tensors("clamp_max", input=input)
    if max is None:
        raise failure("clamp_max", "a limit", error=KindError, max=max)
    return clamp(input, max=max)


clip = FUNCTIONS["clip"] = clamp
