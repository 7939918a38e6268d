"""Operations that give their input back and act on the gradient alone.

Their backward is on purpose not the derivative of their forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.ops.arguments import flag
from chainrule.ops.formulas import need_float, number, quiet


@dataclass(frozen=True)
class GradientReversal(Op):
    """y = x.  gx = -scale gy."""

    scale: float = 1.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x,), None

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy * -self.scale,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(-1.0), normal(3, 4))  # here alone it is the derivative
        yield Sample(cls(0.5), normal(0, 3))


@public
def gradient_reversal(input: Tensor, scale: float = 1.0) -> Tensor:
    """Give the input back; its gradient is -scale times the one that arrives (Ganin, 2015).

    In front of a classifier of domains it makes the features learn what confuses the classifier.
    Shapes: any -> the same.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0], requires_grad=True)
    >>> y = cr.gradient_reversal(x, 0.5)
    >>> y.backward(cr.tensor([1.0, -4.0]))
    >>> y.tolist(), x.grad
    ([1.0, 2.0], tensor([-0.5, 2.0]))
    """
    return apply(GradientReversal(number(scale, "gradient_reversal scale")), input)


@dataclass(frozen=True)
class L1Penalty(Op):
    """y = x.  gx = gy + weight sign(x), the gradient of weight |x| summed.

    The weight is divided by the number of elements if `average`; gy is left out unless `passes`.
    """

    weight: float = 1.0
    average: bool = False
    passes: bool = True

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x,), x

    @quiet
    def backward(self, xp: Any, x: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = xp.sign(x) * (self.weight / max(x.size, 1) if self.average else self.weight)
        return (gx + gy if self.passes else gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0.0), normal(3, 4))  # here alone it is the derivative
        yield Sample(cls(0.5, True, False), normal(0, 3))


@public
def l1_penalty(
    input: Tensor, l1weight: float, size_average: bool = False, provide_output: bool = True
) -> Tensor:
    """Give the input back, and add to its gradient that of the penalty l1weight * sum |input|.

    So values in the middle of a network are drawn to 0 without another loss.  `size_average`
    divides the penalty by the number of elements; without `provide_output` the penalty's gradient
    replaces the one that arrives.  At 0 the penalty's gradient is 0.
    Shapes: any -> the same.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([3.0, -2.0, 0.0], requires_grad=True)
    >>> cr.l1_penalty(x, 0.5).sum().backward()
    >>> x.grad
    tensor([1.5, 0.5, 1.0])
    """
    name = "l1_penalty"
    average = flag(size_average, f"{name} size_average")
    passes = flag(provide_output, f"{name} provide_output")
    return apply(L1Penalty(number(l1weight, f"{name} l1weight"), average, passes), input)
