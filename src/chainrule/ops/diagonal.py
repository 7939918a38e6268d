"""Diagonals and triangles of matrices: diagonal, diag, diag_embed, trace, tril, triu."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.creation import made
from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import INT64, as_dtype
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import AxisError, failure
from chainrule.ops.arguments import axis, integer
from chainrule.ops.broadcast import layout
from chainrule.ops.reduce import sum
from chainrule.ops.shape import ravel
from chainrule.ops.slicing import zeros_in

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


def _view(xp: Any, x: Array, offset: int, dim1: int, dim2: int) -> Array:
    """Give the diagonal of two axes as a view, which may be written if x may."""
    y = xp.diagonal(x, offset, dim1, dim2)
    if x.flags.writeable:
        y.flags.writeable = True
    return y  # type: ignore[no-any-return]


def _length(rows: int, columns: int, offset: int) -> int:
    return max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)


def _two_axes(dim1: Any, dim2: Any, ndim: int, name: str) -> tuple[int, int]:
    if ndim < 2:
        rule = f"a dim1 and a dim2 of a tensor of {ndim} axes: it needs two"
        raise failure(name, rule, error=AxisError, dim1=dim1, dim2=dim2)
    a, b = axis(dim1, ndim, f"{name} dim1"), axis(dim2, ndim, f"{name} dim2")
    if a == b:
        raise failure(name, "two different axes", dim1=dim1, dim2=dim2)
    return a, b


@dataclass(frozen=True)
class Diagonal(Op):
    """y[..., i] = x[..., i, ..., i + offset, ...] of two axes; gx = gy there, 0 elsewhere."""

    offset: int = 0
    dim1: int = 0
    dim2: int = 1

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        n = _length(x.shape[self.dim1], x.shape[self.dim2], self.offset)
        kept = [s for d, s in enumerate(x.shape) if d not in (self.dim1, self.dim2)]
        return (Spec((*kept, n), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        return (_view(xp, x, self.offset, self.dim1, self.dim2),), layout(x)

    def backward(self, xp: Any, noted: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        gx = zeros_in(xp, noted, gy.dtype)
        _view(xp, gx, self.offset, self.dim1, self.dim2)[...] = gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(-1, 2, 0), normal(3, 2, 4))
        yield Sample(cls(2, 0, 2), normal(3, 2, 4))
        yield Sample(cls(5, 0, 1), normal(3, 2))


@public
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Give the diagonals of two axes, along a new last axis, without copying.

    `offset` above 0 is a diagonal above the main one, below 0 one below it.
    Shapes: (..., m, ..., n, ...) -> (..., length).  Raises AxisError for axes that are not there,
    ShapeError for one axis named twice.

    >>> import chainrule as cr
    >>> cr.diagonal(cr.tensor([[1, 2], [3, 4]])), cr.diagonal(cr.tensor([[1, 2], [3, 4]]), 1)
    (tensor([1, 4]), tensor([2]))
    """
    x = as_tensor(input)
    a, b = _two_axes(dim1, dim2, x.ndim, "diagonal")
    return apply(Diagonal(integer(offset, "diagonal offset"), a, b), x)


@dataclass(frozen=True)
class DiagEmbed(Op):
    """y[..., i, ..., i + offset, ...] = x[..., i] in two new axes, 0 elsewhere.

    gx = that diagonal of gy.
    """

    offset: int = 0
    dim1: int = 0
    dim2: int = 1

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        n = x.shape[-1] + abs(self.offset)
        lead = iter(x.shape[:-1])
        both = (self.dim1, self.dim2)
        return (Spec(tuple([n if d in both else next(lead) for d in range(x.ndim + 1)]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        y = xp.zeros(self.infer(Spec(x.shape, x.dtype))[0].shape, x.dtype)
        _view(xp, y, self.offset, self.dim1, self.dim2)[...] = x
        return (y,), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        return (_view(xp, gy, self.offset, self.dim1, self.dim2),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3))
        yield Sample(cls(1, 1, 2), normal(2, 3))
        yield Sample(cls(-2, 2, 0), normal(2, 3))


@public
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Make matrices with the last axis as a diagonal and 0 elsewhere; `diagonal` reads it back.

    Shapes: (..., n) -> (..., m, m), m = n + |offset|, the new axes at `dim1` and `dim2`.
    Raises AxisError for axes that are not there, ShapeError for one named twice.

    >>> import chainrule as cr
    >>> cr.diag_embed(cr.tensor([1, 2]), 1)
    tensor([[0, 1, 0],
            [0, 0, 2],
            [0, 0, 0]])
    """
    x = as_tensor(input)
    if not x.ndim:
        raise failure("diag_embed", "a tensor with axes", error=AxisError, input=x)
    a, b = _two_axes(dim1, dim2, x.ndim + 1, "diag_embed")
    return apply(DiagEmbed(integer(offset, "diag_embed offset"), a, b), x)


@public
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Give a diagonal of a matrix, or make the matrix that has a vector as one.

    Shapes: (m, n) -> (length,); (n,) -> (m, m), m = n + |diagonal|.  Raises ShapeError for other
    numbers of axes.

    >>> import chainrule as cr
    >>> cr.diag(cr.tensor([1, 2])), cr.diag(cr.tensor([[1, 2], [3, 4]]), -1)
    (tensor([[1, 0],
            [0, 2]]), tensor([3]))
    """
    x = as_tensor(input)
    offset = integer(diagonal, "diag diagonal")
    if x.ndim not in (1, 2):
        raise failure("diag", f"a vector or a matrix, not {x.ndim} axes", input=x)
    return apply(DiagEmbed(offset) if x.ndim == 1 else Diagonal(offset), x)


@public
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """Make the matrix that has all elements, in the logical order, as a diagonal.

    Shapes: any of n elements -> (m, m), m = n + |offset|.

    >>> import chainrule as cr
    >>> cr.diagflat(cr.tensor([[1], [2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag(ravel(as_tensor(input)), offset)


@public
def trace(input: Tensor) -> Tensor:
    """Sum the main diagonal of a matrix: (m, n) -> ().

    Raises ShapeError for what is not a matrix.

    >>> import chainrule as cr
    >>> cr.trace(cr.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.0)
    """
    x = as_tensor(input)
    if x.ndim != 2:
        raise failure("trace", f"a matrix, not {x.ndim} axes", input=x)
    return sum(diagonal(x))


@dataclass(frozen=True)
class Triangle(Op):
    """y = x with 0 above (lower) or below (upper) a diagonal of its last two axes; so is gx."""

    lower: bool = True
    diagonal: int = 0

    @property
    def name(self) -> str:
        """The function's name."""
        return "tril" if self.lower else "triu"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.ndim < 2:
            raise failure(self, f"at least two axes, not {x.ndim}", input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        return ((xp.tril if self.lower else xp.triu)(x, self.diagonal),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        return ((xp.tril if self.lower else xp.triu)(gy, self.diagonal),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for lower in (True, False):
            for k in (0, -1, 2):
                yield Sample(cls(lower, k), normal(2, 3, 4))


@public
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Keep the lower triangles of matrices: what is on and below a diagonal, 0 above it.

    Shapes: (..., m, n) -> the same.  Raises ShapeError for fewer than two axes.

    >>> import chainrule as cr
    >>> cr.tril(cr.tensor([[1, 2], [3, 4]]))
    tensor([[1, 0],
            [3, 4]])
    """
    return apply(Triangle(True, integer(diagonal, "tril diagonal")), as_tensor(input))


@public
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Keep the upper triangles of matrices: what is on and above a diagonal; otherwise as `tril`.

    >>> import chainrule as cr
    >>> cr.triu(cr.tensor([[1, 2], [3, 4]]), 1)
    tensor([[0, 2],
            [0, 0]])
    """
    return apply(Triangle(False, integer(diagonal, "triu diagonal")), as_tensor(input))


@public
def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = INT64, device: str | None = None
) -> Tensor:
    """Give the indices of the lower triangle of a row x col matrix: two rows, (2, count).

    Raises ShapeError for negative sizes.

    >>> import chainrule as cr
    >>> cr.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _indices("tril_indices", row, col, offset, dtype, device)


@public
def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: Any = INT64, device: str | None = None
) -> Tensor:
    """Give the indices of the upper triangle of a row x col matrix: otherwise as `tril_indices`.

    >>> import chainrule as cr
    >>> cr.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _indices("triu_indices", row, col, offset, dtype, device)


def _indices(name: str, row: Any, col: Any, offset: Any, dtype: Any, device: str | None) -> Tensor:
    m, n = integer(row, f"{name} row"), integer(col, f"{name} col")
    if m < 0 or n < 0:
        raise failure(name, "sizes of 0 or more", row=m, col=n)
    find = np.tril_indices if name == "tril_indices" else np.triu_indices
    pairs = find(m, integer(offset, f"{name} offset"), n)
    array = np.stack(pairs).astype(INT64 if dtype is None else as_dtype(dtype))
    return made(array.shape, array.dtype, device, False, lambda: array)
