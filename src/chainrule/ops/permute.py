"""The same elements in other places: permute, transpose, movedim, flip, roll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import AxisError, failure
from chainrule.ops.arguments import axes, axis, int_tuple


@dataclass(frozen=True)
class Permute(Op):
    """y[i_dims0, i_dims1, ...] = x[i0, i1, ...]: axis k of y is axis dims[k] of x.

    gx = gy under the inverse permutation.
    """

    dims: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(tuple([x.shape[d] for d in self.dims]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x.transpose(self.dims),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        places = [0] * len(self.dims)
        for to, came_from in enumerate(self.dims):
            places[came_from] = to
        return (gy.transpose(places),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 0, 1)), normal(2, 3, 5))
        yield Sample(cls((1, 3, 0, 2)), normal(2, 3, 1, 4))
        yield Sample(cls(()), normal())
        yield Sample(cls((1, 0)), normal(0, 3))


@public
def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Put the axes in the order `dims`, without copying.

    Shapes: (A, B, C) -> (C, A, B) for dims (2, 0, 1).
    Raises ShapeError where `dims` does not name every axis once, AxisError out of range.

    >>> import chainrule as cr
    >>> cr.permute(cr.zeros(2, 3, 4), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_tensor(input)
    order = int_tuple(dims, "permute", bare=False)
    if len(order) != x.ndim:
        raise failure("permute", f"{x.ndim} dims, one for each axis, not {len(order)}", input=x)
    return apply(Permute(axes(order, x.ndim, "permute")), x)


@public
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Exchange two axes, without copying.

    Shapes: (..., A, ..., B, ...) -> (..., B, ..., A, ...).  Raises AxisError out of range.

    >>> import chainrule as cr
    >>> cr.transpose(cr.tensor([[1, 2], [3, 4]]), 0, 1)
    tensor([[1, 3],
            [2, 4]])
    """
    x = as_tensor(input)
    a, b = axis(dim0, x.ndim, "transpose dim0"), axis(dim1, x.ndim, "transpose dim1")
    order = list(range(x.ndim))
    if order:
        order[a], order[b] = b, a
    return apply(Permute(tuple(order)), x)


@public
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Exchange two axes: `transpose` under NumPy's name.

    >>> import chainrule as cr
    >>> cr.swapaxes(cr.zeros(2, 3, 4), 0, 2).shape
    (4, 3, 2)
    """
    return transpose(input, axis0, axis1)


@public
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Exchange two axes: another name of `transpose`.

    >>> import chainrule as cr
    >>> cr.swapdims(cr.zeros(2, 3, 4), 0, 1).shape
    (3, 2, 4)
    """
    return transpose(input, dim0, dim1)


@public
def t(input: Tensor) -> Tensor:
    """Transpose a matrix; a vector or a scalar stays as it is.

    Shapes: (A, B) -> (B, A).  Raises ShapeError for three axes or more.

    >>> import chainrule as cr
    >>> cr.t(cr.tensor([[1, 2, 3]])).shape
    (3, 1)
    """
    x = as_tensor(input)
    if x.ndim > 2:
        hint = "use permute or transpose, or mT for the last two axes"
        raise failure("t", f"2 axes at most, not {x.ndim}", hint=hint, input=x)
    return apply(Permute(tuple(range(x.ndim))[::-1]), x)


@public
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to new places; the others keep their order.

    Shapes: (A, B, C) -> (B, C, A) for source 0, destination -1.
    Raises ShapeError for an axis named twice or numbers that differ, AxisError out of range.

    >>> import chainrule as cr
    >>> cr.movedim(cr.zeros(2, 3, 4), 0, -1).shape
    (3, 4, 2)
    """
    x = as_tensor(input)
    came_from = int_tuple(source, "movedim source")
    goes_to = int_tuple(destination, "movedim destination")
    if len(came_from) != len(goes_to):
        rule = f"as many destinations as sources, not {len(goes_to)} for {len(came_from)}"
        raise failure("movedim", rule, source=source, destination=destination)
    came_from = axes(came_from, x.ndim, "movedim source")
    places = dict(zip(axes(goes_to, x.ndim, "movedim destination"), came_from, strict=True))
    others = iter([d for d in range(x.ndim) if d not in came_from])
    order = [places[d] if d in places else next(others) for d in range(x.ndim)]
    return apply(Permute(tuple(order)), x)


@public
def moveaxis(
    input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor:
    """Move axes to new places: `movedim` under NumPy's name.

    >>> import chainrule as cr
    >>> cr.moveaxis(cr.zeros(2, 3, 4), -1, 0).shape
    (4, 2, 3)
    """
    return movedim(input, source, destination)


@dataclass(frozen=True)
class Flip(Op):
    """y[..., i, ...] = x[..., n - 1 - i, ...] along each of `dims`.  gx = gy flipped back."""

    dims: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        # A copy, since BLAS and fast kernels refuse negative strides.
        return (xp.flip(x, self.dims).copy(order="K"),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (xp.flip(gy, self.dims).copy(order="K"),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((0, 2)), normal(2, 3, 4))
        yield Sample(cls((1,)), normal(2, 3, 4))
        yield Sample(cls(()), normal(2, 3))


@public
def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Reverse the order of the elements along the axes `dims`; copies, in the same layout.

    Shapes: any -> the same.  Raises ShapeError for an axis named twice, AxisError out of range.

    >>> import chainrule as cr
    >>> cr.flip(cr.tensor([[1, 2], [3, 4]]), (1,))
    tensor([[2, 1],
            [4, 3]])
    """
    x = as_tensor(input)
    return apply(Flip(axes(int_tuple(dims, "flip", bare=False), x.ndim, "flip")), x)


@dataclass(frozen=True)
class Roll(Op):
    """y[..., (i + shift) mod n, ...] = x[..., i, ...]; without dims along the logical order.

    gx = gy rolled back.
    """

    shifts: tuple[int, ...]
    dims: tuple[int, ...] = ()

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (self._roll(xp, x, 1),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (self._roll(xp, gy, -1),)

    def _roll(self, xp: Any, x: Array, sign: int) -> Array:
        shifts = tuple([sign * s for s in self.shifts])
        rolled: Array = xp.roll(x, shifts, self.dims) if self.dims else xp.roll(x, shifts[0])
        return rolled

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), normal(2, 3))
        yield Sample(cls((-2, 4), (0, 1)), normal(3, 4, 2))
        yield Sample(cls((1, 2), (0, 0)), normal(5, 2))


@public
def roll(
    input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None
) -> Tensor:
    """Shift elements along axes; what falls off one end comes in at the other.

    Shapes: any -> the same.  Without `dims` the elements are shifted in the logical order.
    Raises ShapeError where the numbers of shifts and dims differ, AxisError out of range.

    >>> import chainrule as cr
    >>> cr.roll(cr.tensor([1, 2, 3, 4]), 1)
    tensor([4, 1, 2, 3])
    """
    x = as_tensor(input)
    steps = int_tuple(shifts, "roll shifts")
    along = () if dims is None else int_tuple(dims, "roll dims")
    if len(steps) != (len(along) or 1):
        rule = f"one shift for each of {len(along) or 'no'} dims, not {len(steps)}"
        raise failure("roll", rule, shifts=shifts, dims=dims)
    if along and x.ndim == 0:
        raise failure("roll", "a tensor with axes", error=AxisError, dims=dims)
    return apply(Roll(steps, tuple([axis(d, x.ndim, "roll") for d in along])), x)
