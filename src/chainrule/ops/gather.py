"""Elements taken by index along an axis, or by a mask: gather, index_select, take, nonzero.

Indices count from 0; negative ones are refused, as in PyTorch, but by `take`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import INT64
from chainrule.engine.sample import Sample, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import ChainruleError, KindError, LabelError, ShapeError, failure
from chainrule.ops.arguments import axis, flag, numpy_names
from chainrule.ops.broadcast import broadcast
from chainrule.ops.compare import lt
from chainrule.ops.elementwise import add
from chainrule.ops.index import Index, scatter_add
from chainrule.ops.join import part
from chainrule.ops.select import where
from chainrule.ops.shape import expand, ravel, reshape

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


def need_index(op: Any, index: Spec, error: type[ChainruleError] = KindError) -> None:
    """Raise KindError (or another) unless the index is of int64 or int32."""
    if index.dtype.kind != "i" or index.dtype.itemsize < 4:
        hint = "convert it first: index.long()"
        raise failure(op, "an index of int64 or int32", error=error, hint=hint, index=index)


def lined(x: Array) -> Array:
    """Give an array without axes as one of one element."""
    return x if x.ndim else x.reshape(1)


def bounded(op: Any, index: Array, n: int, dim: int, low: int = 0) -> Array:
    """Give the index as NumPy wants it; LabelError for one outside [low, n - 1]."""
    if index.size and (int(index.min()) < low or int(index.max()) >= n):
        wrong = index[(index < low) | (index >= n)].reshape(-1)[0]
        rule = f"indices in [{low}, {n - 1}] at dim {dim}" if n else "no index of size 0"
        raise failure(op, f"{rule}, not {int(wrong)}", error=LabelError)
    return index.astype(np.intp, copy=False)


def places(xp: Any, shape: tuple[int, ...], dim: int, index: Array) -> Array:
    """Give the flat places of x[i, index[i, j, k], k], for dim 1 of an x of this shape.

    >>> import numpy as np
    >>> places(np, (2, 3), 1, np.array([[2], [0]]))
    array([[2],
           [3]])
    """
    result = index * prod(shape[dim + 1 :])
    for d, n in enumerate(index.shape):
        if d != dim:
            steps = xp.arange(n) * prod(shape[d + 1 :])
            result = result + steps.reshape(n, *(1,) * (index.ndim - d - 1))
    return result


def reached(shape: tuple[int, ...], dim: int, whole: bool = True) -> tuple[Any, ...]:
    """Give the key of the part that an index of this shape names; `whole` is the axis `dim`."""
    return tuple([slice(None) if whole and d == dim else slice(0, n) for d, n in enumerate(shape)])


def check_reach(op: Any, x: Spec, index: Spec, dim: int, **others: Spec) -> None:
    """Raise ShapeError unless the index has the axes of all, and reaches beyond none of them."""
    if 0 in index.shape:
        return
    for name, spec in {"input": x, **others}.items():
        facts: dict[str, Any] = {name: spec, "index": index}
        if max(spec.ndim, 1) != max(index.ndim, 1):
            error = ShapeError if name == "input" else LabelError
            raise failure(op, f"an index of as many axes as {name}", error=error, **facts)
        for d, (n, have) in enumerate(zip(index.shape, spec.shape, strict=False)):
            if n > have and not (d == dim and name == "input"):
                rule = f"an index no larger than {name}: {n} <= {have} at dim {d}"
                raise failure(op, rule, **facts)


def taken(xp: Any, x: Array, dim: int, index: Array) -> Array:
    """Gather: x[i, index[i, j, k], k] for dim 1, where x may be larger than the index."""
    return xp.take_along_axis(x[reached(index.shape, dim)], index, axis=dim)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Gather(Op):
    """y[i, j, k] = x[i, index[i, j, k], k] for dim = 1.  gx = gy added at these places."""

    dim: int = 0

    def infer(self, x: Spec, index: Spec) -> tuple[Spec, ...]:
        if 0 not in index.shape:
            need_index(self, index)
        check_reach(self, x, index, self.dim)
        return (Spec(index.shape, x.dtype),)

    def forward(self, xp: Any, x: Array, index: Array) -> Forward:
        x1 = lined(x)
        if not index.size:
            return (xp.empty(index.shape, x.dtype),), (x.shape, index.astype(np.intp))
        i1 = bounded(self, lined(index), x1.shape[self.dim], self.dim)
        return (taken(xp, x1, self.dim, i1).reshape(index.shape),), (x.shape, i1)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        shape, index = saved
        gx = xp.zeros(shape or (1,), gy.dtype)
        if not index.size:
            return gx, None
        g = gy.reshape(index.shape)
        if index.shape[self.dim] == 1:  # no place comes twice
            xp.put_along_axis(gx[reached(index.shape, self.dim)], index, g, axis=self.dim)
        else:
            at = places(xp, gx.shape, self.dim, index)
            xp.add.at(gx.reshape(-1), at.reshape(-1), g.reshape(-1))
        return gx.reshape(shape), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(4, 3), integers(5, 3, high=4))
        yield Sample(cls(1), normal(3, 4, 2), integers(2, 6, 1, high=4))
        yield Sample(cls(1), normal(3, 4), integers(3, 1, high=4))
        yield Sample(cls(2), normal(2, 1, 3), integers(2, 1, 2, high=3))
        yield Sample(cls(0), normal(), integers(high=1))
        yield Sample(cls(0), normal(3), integers(0, high=1))


@public
@numpy_names
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Take along one axis by an index of the result's shape: y[i, j] = input[index[i, j], j].

    That is for dim 0 of two axes; along the others the index may be smaller than the input.
    Shapes: (..., A, ...), (..., B, ...) -> (..., B, ...).  The gradient adds up where an element
    was taken repeatedly; it is dense whatever `sparse_grad` says.
    Raises LabelError for an index outside [0, A - 1], KindError for one that is not int64 or
    int32, ShapeError where it has other axes than the input or is larger, AxisError for a wrong
    `dim`.

    >>> import chainrule as cr
    >>> cr.gather(cr.tensor([[1, 2], [3, 4]]), 1, cr.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    x = as_tensor(input)
    flag(sparse_grad, "gather sparse_grad")
    return apply(Gather(axis(dim, x.ndim, "gather")), x, as_tensor(index, "gather index"))


@dataclass(frozen=True)
class IndexSelect(Op):
    """y = the slices of x that a vector names, in its order.  gx = gy added where they stood."""

    dim: int = 0

    def infer(self, x: Spec, index: Spec) -> tuple[Spec, ...]:
        need_index(self, index)
        if index.ndim > 1:
            rule = f"an index of one axis at most, not {index.ndim}"
            raise failure(self, rule, error=LabelError, index=index)
        n = prod(index.shape)
        if not x.ndim:
            if n != 1:
                raise failure(self, f"one index for a tensor without axes, not {n}", input=x)
            return (x,)
        return (Spec((*x.shape[: self.dim], n, *x.shape[self.dim + 1 :]), x.dtype),)

    def forward(self, xp: Any, x: Array, index: Array) -> Forward:
        x1 = lined(x)
        i1 = bounded(self, lined(index), x1.shape[self.dim], self.dim)
        y = xp.take(x1, i1, axis=self.dim)
        return (y if x.ndim else y.reshape(()),), (x.shape, i1)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        shape, index = saved
        if not shape:
            return gy, None
        return scatter_add(xp, shape, part(self.dim, index), gy), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(4, 3), integers(5, high=4))
        yield Sample(cls(1), normal(2, 3, 2), integers(2, high=3))
        yield Sample(cls(2), normal(2, 1, 3), integers(high=3))
        yield Sample(cls(0), normal(), integers(1, high=1))
        yield Sample(cls(0), normal(3, 2), integers(0, high=3))


@public
@numpy_names
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Take the slices along an axis that a vector of indices names, in any order and repeatedly.

    Shapes: (..., A, ...), (B,) -> (..., B, ...).  The gradient adds up at repeated slices.
    Raises LabelError for an index outside [0, A - 1] or of two axes, KindError for one that is
    not int64 or int32, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.index_select(cr.tensor([[1, 2, 3], [4, 5, 6]]), 1, cr.tensor([2, 0, 0]))
    tensor([[3, 1, 1],
            [6, 4, 4]])
    """
    x = as_tensor(input)
    return apply(IndexSelect(axis(dim, x.ndim, "index_select")), x, as_tensor(index))


@dataclass(frozen=True)
class Take(Op):
    """y = x[i] of the flattened x for every i of an index of any shape.  gx = gy added there."""

    def infer(self, x: Spec, index: Spec) -> tuple[Spec, ...]:
        if index.dtype != INT64:
            raise failure(self, "an index of int64", error=KindError, index=index)
        return (Spec(index.shape, x.dtype),)

    def forward(self, xp: Any, x: Array, index: Array) -> Forward:
        n = x.size
        at = bounded(self, index, n, 0, low=-n)
        return (x.reshape(-1)[at.reshape(-1)].reshape(index.shape),), (x.shape, at)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        shape, at = saved
        gx = xp.zeros(prod(shape), gy.dtype)
        xp.add.at(gx, at.reshape(-1), gy.reshape(-1))
        return gx.reshape(shape), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 3), integers(2, 4, low=-6, high=6))
        yield Sample(cls(), normal(3, 2), integers(high=6))


@public
def take(input: Tensor, index: Tensor) -> Tensor:
    """Take elements of the flattened input; negative indices count from its end.

    Shapes: any of n elements, (B, C) -> (B, C).  The gradient adds up at repeated elements.
    Raises LabelError for an index outside [-n, n - 1], KindError for one that is not int64.

    >>> import chainrule as cr
    >>> cr.take(cr.tensor([[1, 2], [3, 4]]), cr.tensor([0, 2, -1]))
    tensor([1, 3, 4])
    """
    return apply(Take(), as_tensor(input), as_tensor(index))


@public
@numpy_names
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Take along one axis as `gather` does; the other axes of both are broadcast.

    Without `dim` both are flattened.  Made for the indices of `argsort`, `argmax` and their kin;
    negative ones count from the end.  Raises as `gather`, and ShapeError where the numbers of axes
    differ.

    >>> import chainrule as cr
    >>> x = cr.tensor([[10, 30, 20], [60, 40, 50]])
    >>> cr.take_along_dim(x, cr.argsort(x, dim=1), dim=1)
    tensor([[10, 20, 30],
            [40, 50, 60]])
    """
    x, index = as_tensor(input), as_tensor(indices)
    if dim is None:
        x, index, dim = ravel(x), ravel(index), 0
    if x.ndim != index.ndim:
        rule = f"indices of {x.ndim} axes, as the input has, not {index.ndim}"
        raise failure("take_along_dim", rule, input=x, indices=index)
    along = axis(dim, x.ndim, "take_along_dim")
    n = x.shape[along] if x.ndim else 1
    index = where(lt(index, 0), add(index, n), index)
    if not x.ndim:
        return gather(x, 0, index)
    mine, theirs = x.shape, index.shape
    rest = broadcast(
        "take_along_dim",
        input=(*mine[:along], 1, *mine[along + 1 :]),
        indices=(*theirs[:along], 1, *theirs[along + 1 :]),
    )
    x = expand(x, (*rest[:along], mine[along], *rest[along + 1 :]))
    return gather(x, along, expand(index, (*rest[:along], theirs[along], *rest[along + 1 :])))


def need_mask(name: str, mask: Tensor) -> None:
    """Raise KindError unless the mask is of booleans."""
    if mask.dtype != np.bool_:
        hint = "compare first: mask != 0"
        raise failure(name, "a mask of booleans", error=KindError, hint=hint, mask=mask)


@public
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Give the elements where the mask holds, in the logical order, along one axis.

    Shapes: input and mask are broadcast -> (number of true elements,).  The gradient is 0 where
    the mask does not hold.  Raises KindError for a mask that is not boolean, ShapeError where the
    shapes do not broadcast.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1, 2], [3, 4]])
    >>> cr.masked_select(x, x > 1)
    tensor([2, 3, 4])
    """
    x, holds = as_tensor(input), as_tensor(mask)
    need_mask("masked_select", holds)
    shape = broadcast("masked_select", input=x.shape, mask=holds.shape)
    if not shape:
        return apply(Index((0,)), reshape(x, (1,)), reshape(holds, (1,)))
    return apply(Index((0,)), expand(x, shape), expand(holds, shape))


@dataclass(frozen=True)
class Nonzero(Op):
    """y = the indices of the elements that differ from 0, one row each, in the logical order."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        shape: tuple[Any, ...] = (None, x.ndim)
        return (Spec(shape, INT64, False),)

    def forward(self, xp: Any, x: Array) -> Forward:
        return (xp.argwhere(x).astype(INT64, copy=False),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), np.array([[0.0, 1.0, np.nan], [2.0, -0.0, 0.0]]))
        yield Sample(cls(), integers(2, 3, high=2))


@public
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Give the indices of the elements that differ from 0 (NaN does), in the logical order.

    Shapes: n axes -> (count, n), int64; with `as_tuple` n vectors (count,), one an axis, ready
    for x[...]; of a tensor without axes then one vector.  No gradient.

    >>> import chainrule as cr
    >>> x = cr.tensor([[0, 5], [7, 0]])
    >>> cr.nonzero(x), x[cr.nonzero(x, as_tuple=True)]
    (tensor([[0, 1],
            [1, 0]]), tensor([5, 7]))
    """
    x = as_tensor(input)
    if not flag(as_tuple, "nonzero as_tuple"):
        return apply(Nonzero(), x)
    found = apply(Nonzero(), x if x.ndim else reshape(x, (1,)))
    return tuple([found[:, d] for d in range(found.shape[1])])


@public
def argwhere(input: Tensor) -> Tensor:
    """Give the indices of the elements that differ from 0, a row each: `nonzero`.

    >>> import chainrule as cr
    >>> cr.argwhere(cr.tensor([0, 5, 7]))
    tensor([[1],
            [2]])
    """
    return apply(Nonzero(), as_tensor(input))
