"""Bits of integers: and, or, xor, not, shifts.  No gradients; booleans are bits, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Sample, booleans, integers
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.broadcast import Pairwise
from chainrule.ops.cast import promote

Forward = tuple[tuple[Array, ...], Any]


def _need_bits(op: Any, *specs: Spec, shift: bool = False) -> None:
    for x in specs:
        if x.dtype.kind == "f" or (shift and x.dtype.kind == "b"):
            kinds = "integers" if shift else "integers or booleans"
            raise failure(op, kinds, error=UndefinedKindError, input=x)


@dataclass(frozen=True)
class Bitwise(Pairwise):
    """y = a "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift" or "right_shift" b."""

    kind: str

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        _need_bits(self, x, y, shift=self.kind.endswith("shift"))
        return (super().infer(x, y)[0]._replace(differentiable=False),)

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        return (getattr(xp, self.kind)(x, other),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return None, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for kind in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"):
            yield Sample(cls(kind), integers(3, 4, high=9), integers(4, high=9))
        yield Sample(cls("bitwise_and"), booleans(3, 1), booleans(4))


@dataclass(frozen=True)
class BitwiseNot(Op):
    """y = every bit of x turned over: -x - 1, or not x for booleans."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        _need_bits(self, x)
        return (Spec(x.shape, x.dtype, False),)

    def forward(self, xp: Any, x: Array) -> Forward:
        return (xp.invert(x),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), integers(3, 4, low=-5, high=9))
        yield Sample(cls(), booleans(3))


def _bits(kind: str, input: Any, other: Any, name: str | None = None) -> Tensor:
    if is_scalar(input) and is_scalar(other):
        raise failure(name or kind, "a tensor among the two", error=KindError, input=input)
    return apply(Bitwise(kind), *promote(input, other, name=name or kind))


@public
def bitwise_and(input: Any, other: Any) -> Tensor:
    """Give the bits that both have, of integers or booleans; what `&` calls.

    Shapes: two that broadcast -> the common one.  Dtypes are promoted.  Raises
    NotImplementedError (and TypeError) for floats.

    >>> import chainrule as cr
    >>> cr.bitwise_and(cr.tensor([6, 5]), 3)
    tensor([2, 1])
    """
    return _bits("bitwise_and", input, other)


@public
def bitwise_or(input: Any, other: Any) -> Tensor:
    """Give the bits that either has; what `|` calls.  Otherwise as `bitwise_and`.

    >>> import chainrule as cr
    >>> cr.bitwise_or(cr.tensor([6, 5]), 3)
    tensor([7, 7])
    """
    return _bits("bitwise_or", input, other)


@public
def bitwise_xor(input: Any, other: Any) -> Tensor:
    """Give the bits that exactly one has; what `^` calls.  Otherwise as `bitwise_and`.

    >>> import chainrule as cr
    >>> cr.bitwise_xor(cr.tensor([6, 5]), 3)
    tensor([5, 6])
    """
    return _bits("bitwise_xor", input, other)


@public
def bitwise_not(input: Any) -> Tensor:
    """Turn every bit over: -x - 1 of an integer, not x of a boolean; what `~` calls.

    >>> import chainrule as cr
    >>> cr.bitwise_not(cr.tensor([0, 5])), cr.bitwise_not(cr.tensor([True]))
    (tensor([-1, -6]), tensor([False]))
    """
    return apply(BitwiseNot(), as_tensor(input))


@public
def bitwise_left_shift(input: Any, other: Any) -> Tensor:
    """Move the bits of integers up by `other` places: times 2 ** other; what `<<` calls.

    >>> import chainrule as cr
    >>> cr.bitwise_left_shift(cr.tensor([1, 3]), 2)
    tensor([4, 12])
    """
    return _bits("left_shift", input, other, "bitwise_left_shift")


@public
def bitwise_right_shift(input: Any, other: Any) -> Tensor:
    """Move the bits of integers down by `other` places, keeping the sign; what `>>` calls.

    >>> import chainrule as cr
    >>> cr.bitwise_right_shift(cr.tensor([5, -8]), 1)
    tensor([2, -4])
    """
    return _bits("right_shift", input, other, "bitwise_right_shift")
