"""Activations of straight pieces: limits, thresholds, shrinkage, hard sigmoid and hard swish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, spaced
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.formulas import drop, need_float, number, quiet


def _settings_fit(op: Op, x: Spec, *values: float) -> None:
    """Refuse booleans, and settings that an integer input's dtype cannot hold."""
    if x.dtype.kind == "b":
        raise failure(op, "numbers, not booleans", error=UndefinedKindError, input=x)
    if x.dtype.kind != "f":
        range_ = np.iinfo(x.dtype)
        least = min(range_.min, -range_.max)  # below 0 an unsigned number is counted from the end
        if not all(least - 1 < value < range_.max + 1 for value in values):
            raise failure(op, f"settings in [{least}, {range_.max}]", input=x)


def _of_kind(x: Array, *values: float) -> tuple[Any, ...]:
    """Give settings as numbers of the array's kind: integers drop their decimals."""
    if x.dtype.kind == "f":
        return values
    return tuple([np.array(int(value)).astype(x.dtype)[()] for value in values])


@dataclass(frozen=True)
class Hardtanh(Op):
    """y = min(max(x, low), high).  gx = gy where low < x < high, else 0."""

    low: float = -1.0
    high: float = 1.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        _settings_fit(self, x, self.low, self.high)
        if x.dtype.kind == "u" and int(self.low) < 0:
            raise failure(self, "limits of at least 0 for unsigned integers", input=x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        low, high = _of_kind(x, self.low, self.high)
        y = xp.maximum(x, low)
        return (xp.minimum(y, high),), xp.logical_not((x > low) & (x < high))

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (drop(xp, saved, gy),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), spaced(3, 4, grid=1))
        yield Sample(cls(0.0, 6.0), spaced(2, 3, 5, grid=3))
        yield Sample(cls(-2.0, 0.5), spaced(2, 3, 5, grid=0.5))
        yield Sample(cls(1.0, 1.0), spaced(grid=1))


@public
def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Limit values to [min_val, max_val]: min(max(x, min_val), max_val) (Collobert, 2004).

    Shapes: any -> the same; integers stay integers.  The gradient passes strictly between the
    limits; at the limits it is 0, where that of `clamp` passes.  NaN stays NaN, with gradient 0.
    `inplace` is accepted and changes nothing.  Raises ValueError if min_val > max_val, TypeError
    for booleans.

    >>> import chainrule as cr
    >>> cr.nn.functional.hardtanh(cr.tensor([-3.0, 0.5, 2.0]))
    tensor([-1.0, 0.5, 1.0])
    """
    low, high = number(min_val, "hardtanh min_val"), number(max_val, "hardtanh max_val")
    if low > high:
        raise failure("hardtanh", "min_val <= max_val", min_val=min_val, max_val=max_val)
    return apply(Hardtanh(low, high), input)


@public
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """ReLU that ends at 6: min(max(x, 0), 6) (Krizhevsky, 2010); `hardtanh` with these limits.

    Shapes: any -> the same; integers stay integers.  The gradient at exactly 0 and 6 is 0.
    `inplace` is accepted and changes nothing.  Raises TypeError for booleans.

    >>> import chainrule as cr
    >>> cr.nn.functional.relu6(cr.tensor([-1.0, 3.0, 8.0]))
    tensor([0.0, 3.0, 6.0])
    """
    return apply(Hardtanh(0.0, 6.0), input)


@dataclass(frozen=True)
class Threshold(Op):
    """y = x where x > threshold, else value.  gx = gy where x > threshold, else 0."""

    threshold: float
    value: float

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        _settings_fit(self, x, self.threshold, self.value)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        threshold, value = _of_kind(x, self.threshold, self.value)
        below = x <= threshold  # false for NaN, which stays
        return (xp.where(below, value, x).astype(x.dtype, copy=False),), below

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (drop(xp, saved, gy),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0.0, 0.0), spaced(3, 4, grid=1))
        yield Sample(cls(1.0, 20.0), spaced(2, 3, 5, grid=1))
        yield Sample(cls(-0.5, -3.0), spaced(grid=0.5))


@public
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Keep what lies above a threshold, and put `value` for the rest (Torch's Threshold).

    Shapes: any -> the same; integers stay integers, and the settings lose their decimals.  At
    the threshold itself the value stands, with gradient 0; NaN stays.  `inplace` is accepted and
    changes nothing.  Raises TypeError for booleans and for settings that are no numbers.

    >>> import chainrule as cr
    >>> cr.nn.functional.threshold(cr.tensor([0.5, 1.0, 2.0]), 1.0, -7.0)
    tensor([-7.0, -7.0, 2.0])
    """
    limit = number(threshold, "threshold threshold")
    return apply(Threshold(limit, number(value, "threshold value")), input)


@dataclass(frozen=True)
class Hardshrink(Op):
    """y = 0 where |x| <= lambd, else x.  gx = 0 where |x| <= lambd, else gy."""

    lambd: float = 0.5

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        size = xp.abs(x)
        return (drop(xp, size <= self.lambd, x),), xp.logical_not(size > self.lambd)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (drop(xp, saved, gy),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), spaced(3, 4, grid=0.5))
        for lambd in (1.0, 0.0, -1.0):
            yield Sample(cls(lambd), spaced(2, 3, 5, grid=1))


@public
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Set what is at most lambd in size to 0 and keep the rest (Donoho and Johnstone, 1994).

    Shapes: any -> the same.  NaN stays NaN, with gradient 0.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.hardshrink(cr.tensor([-2.0, 0.3, 0.5, 1.0]))
    tensor([-2.0, 0.0, 0.0, 1.0])
    """
    return apply(Hardshrink(number(lambd, "hardshrink lambd")), input)


@dataclass(frozen=True)
class Softshrink(Op):
    """y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0.

    gx = 0 where |x| <= lambd, else gy.
    """

    lambd: float = 0.5

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        largest = float(np.finfo(x.dtype).max)
        if not 0 <= self.lambd <= largest:
            raise failure(self, f"lambd in [0, {largest}]", input=x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = x - xp.clip(x, -self.lambd, self.lambd)
        return (y,), xp.logical_not(xp.abs(x) > self.lambd)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (drop(xp, saved, gy),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), spaced(3, 4, grid=0.5))
        for lambd in (1.0, 0.0):
            yield Sample(cls(lambd), spaced(2, 3, 5, grid=1))


@public
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Move values by lambd towards 0, and those within lambd of it to 0 (Donoho, 1995).

    Shapes: any -> the same.  NaN stays NaN, with gradient 0.  Raises ValueError for a lambd
    below 0 or beyond the dtype's largest number, TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.softshrink(cr.tensor([-2.0, 0.3, 1.0]))
    tensor([-1.5, 0.0, 0.5])
    """
    return apply(Softshrink(number(lambd, "softshrink lambd")), input)


@dataclass(frozen=True)
class Hardsigmoid(Op):
    """y = min(max(x + 3, 0), 6) / 6.  gx = gy / 6 where -3 < x < 3, else 0."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = xp.clip(x + 3, 0, 6)
        y /= 6
        return (y,), xp.logical_not(xp.abs(x) < 3)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (drop(xp, saved, gy / 6),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), spaced(3, 4, grid=3))
        yield Sample(cls(), spaced(grid=1))


@public
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Sigmoid of three straight pieces: min(max(x + 3, 0), 6) / 6 (Courbariaux et al., 2015).

    Shapes: any -> the same.  The gradient is 1/6 strictly between -3 and 3, else 0, for NaN
    too.  `inplace` is accepted and changes nothing.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.hardsigmoid(cr.tensor([-4.0, 0.0, 1.5]))
    tensor([0.00, 0.50, 0.75])
    """
    return apply(Hardsigmoid(), input)


@dataclass(frozen=True)
class Hardswish(Op):
    """y = x min(max(x + 3, 0), 6) / 6.

    gx = 0 where x <= -3, gy where x >= 3, else gy (x / 3 + 1/2).
    """

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = xp.clip(x + 3, 0, 6)
        y *= x
        y /= 6
        return (y,), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        slope = saved / 3
        slope += 0.5
        gx = xp.where(saved >= 3, 1, slope)
        gx *= gy
        return (drop(xp, saved <= -3, gx),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), spaced(3, 4, grid=3))
        yield Sample(cls(), spaced(grid=1))


@public
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Swish of straight and parabolic pieces: x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).

    Shapes: any -> the same.  At exactly -3 the gradient is 0, at 3 it is 1.  `inplace` is
    accepted and changes nothing.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.hardswish(cr.tensor([-1.0, 1.5, 4.0]))
    tensor([-0.3333, 1.1250, 4.0000])
    """
    return apply(Hardswish(), input)
