"""Functions of three values: a step from one to the other, products and quotients added."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Sample, away_from_zero, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.broadcast import broadcast, sum_to
from chainrule.ops.cast import promote
from chainrule.ops.formulas import need_float, need_tensors, number

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


class Ternary(Op, register=False):
    """Base of operations on three operands of one dtype that broadcast against each other."""

    names = ("input", "tensor1", "tensor2")

    def infer(self, *specs: Spec) -> tuple[Spec, ...]:
        """The broadcast shape, the operands' common dtype."""
        facts: dict[str, Any] = dict(zip(self.names, specs, strict=True))
        if len({spec.dtype for spec in specs}) > 1:
            raise failure(self, "operands of one dtype", error=KindError, **facts)
        shapes = {name: spec.shape for name, spec in facts.items()}
        return (Spec(broadcast(self, **shapes), specs[0].dtype),)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Compute the gradients that are needed, each summed over its broadcast axes."""
        with xp.errstate(all="ignore"):
            return tuple(
                [
                    sum_to(xp, self._gradient(i, saved, gy), saved[i].shape) if need else None
                    for i, need in enumerate(needs)
                ]
            )

    def _gradient(self, which: int, saved: Any, gy: Array) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._gradient")


@dataclass(frozen=True)
class Lerp(Ternary):
    """y = a + w (b - a).  ga = gy (1 - w), gb = gy w, gw = gy (b - a)."""

    names = ("input", "end", "weight")

    def infer(self, *specs: Spec) -> tuple[Spec, ...]:
        """The broadcast shape."""
        need_float(self, specs[0])
        return super().infer(*specs)

    def forward(self, xp: Any, start: Array, end: Array, weight: Array) -> Forward:
        """Step from the nearer end, so that weights 0 and 1 give the ends exactly."""
        with xp.errstate(all="ignore"):
            way, near = end - start, xp.abs(weight) < 0.5
            if weight.ndim == 0:
                y = start + weight * way if near else end - way * (1 - weight)
            else:
                y = xp.where(near, start + weight * way, end - way * (1 - weight))
        return (y,), (start, end, weight)

    def _gradient(self, which: int, saved: Any, gy: Array) -> Any:
        start, end, weight = saved
        if which == 2:
            return gy * (end - start)
        return gy * (weight if which else 1 - weight)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A weight for all, and for each; every way to broadcast."""
        yield Sample(cls(), normal(3, 4), normal(3, 4), np.array(0.3))
        yield Sample(cls(), normal(3, 4), normal(4), np.array(0.8))
        yield Sample(cls(), normal(2, 3, 5), normal(3, 1), normal(5))
        yield Sample(cls(), normal(), normal(2, 3), normal(2, 1))


@dataclass(frozen=True)
class Addcmul(Ternary):
    """y = a + value b c.  ga = gy, gb = gy value c, gc = gy value b."""

    value: float = 1

    def forward(self, xp: Any, x: Array, first: Array, second: Array) -> Forward:
        """Multiply and add."""
        with xp.errstate(all="ignore"):
            product = first * second if self.value == 1 else first * self.value * second
            return (x + product,), (x, first, second)

    def _gradient(self, which: int, saved: Any, gy: Array) -> Any:
        return gy if which == 0 else gy * (saved[3 - which] * self.value)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Every way to broadcast."""
        yield Sample(cls(), normal(3, 4), normal(3, 4), normal(3, 4))
        yield Sample(cls(-0.5), normal(3, 1), normal(2, 1, 4), normal(4))
        yield Sample(cls(2.0), normal(), normal(2, 3), normal())


@dataclass(frozen=True)
class Addcdiv(Ternary):
    """y = a + value b / c.  ga = gy, gb = gy value / c, gc = -gy value b / c^2."""

    value: float = 1.0

    def infer(self, *specs: Spec) -> tuple[Spec, ...]:
        """The broadcast shape; integers have no quotients."""
        need_float(self, specs[0])
        return super().infer(*specs)

    def forward(self, xp: Any, x: Array, first: Array, second: Array) -> Forward:
        """Divide and add."""
        with xp.errstate(all="ignore"):
            above = first if self.value == 1 else first * self.value
            return (x + above / second,), (x, first, second)

    def _gradient(self, which: int, saved: Any, gy: Array) -> Any:
        _, first, second = saved
        if which == 2:
            return -gy * (self.value * first / (second * second))
        return gy if which == 0 else gy * (self.value / second)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Divisors away from 0, every way to broadcast."""
        yield Sample(cls(), normal(3, 4), normal(3, 4), away_from_zero(3, 4, margin=0.4))
        yield Sample(cls(-0.5), normal(3, 1), normal(2, 1, 4), away_from_zero(4, margin=0.4))
        yield Sample(cls(2.0), normal(), normal(2, 3), away_from_zero(margin=0.4))


@public
def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """Give input + weight * (end - input): the input at weight 0, the end at weight 1.

    Shapes: three that broadcast -> the common one; the weight may be a number.  Raises TypeError
    for integers, for tensors of several dtypes and for an end that is a number.

    >>> import chainrule as cr
    >>> cr.lerp(cr.tensor([1.0, 2.0]), cr.tensor([3.0, 6.0]), 0.25)
    tensor([1.5, 3.0])
    """
    need_tensors("lerp", input=input, end=end)
    x = as_tensor(input)
    need_float("lerp", x)
    step = Tensor(np.array(weight, dtype=x.dtype)) if is_scalar(weight) else as_tensor(weight)
    return apply(Lerp(), x, as_tensor(end), step)


def _value(name: str, value: Any, x: Tensor) -> float:
    """Give the factor as a number that fits the operands."""
    factor = number(value, f"{name} value")
    if x.dtype.kind == "f":
        return factor
    if x.dtype.kind == "b":
        raise failure(name, "numbers, not booleans", error=UndefinedKindError, input=x)
    return int(factor)


@public
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """Give input + value * tensor1 * tensor2.

    Shapes: three that broadcast -> the common one; dtypes are promoted.  With integers the value
    loses its decimals.  Raises TypeError for booleans and for a value that is no number.

    >>> import chainrule as cr
    >>> cr.addcmul(cr.tensor([1.0, 2.0]), cr.tensor([3.0, 4.0]), cr.tensor(2.0), value=0.5)
    tensor([4.0, 6.0])
    """
    need_tensors("addcmul", input=input, tensor1=tensor1, tensor2=tensor2)
    x, first, second = promote(input, tensor1, tensor2, name="addcmul")
    return apply(Addcmul(_value("addcmul", value, x)), x, first, second)


@public
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """Give input + value * tensor1 / tensor2.

    Shapes: three that broadcast -> the common one; dtypes are promoted.  Raises TypeError for
    integers and for a value that is no number.

    >>> import chainrule as cr
    >>> cr.addcdiv(cr.tensor([1.0, 2.0]), cr.tensor([3.0, 4.0]), cr.tensor(2.0), value=2)
    tensor([4.0, 6.0])
    """
    need_tensors("addcdiv", input=input, tensor1=tensor1, tensor2=tensor2)
    x, first, second = promote(input, tensor1, tensor2, name="addcdiv")
    return apply(Addcdiv(number(value, "addcdiv value")), x, first, second)
