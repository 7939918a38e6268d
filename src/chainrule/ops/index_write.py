"""Slices added, put or filled at the places that a vector of indices names; values by a mask.

The other way round of `index_select` and `masked_select`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.creation import number
from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Sample, booleans, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, LabelError, failure
from chainrule.ops.arguments import axis, flag, numpy_names
from chainrule.ops.broadcast import broadcast
from chainrule.ops.cast import cast
from chainrule.ops.gather import bounded, lined, need_index, need_mask, take
from chainrule.ops.index import getitem, scatter_add
from chainrule.ops.join import part
from chainrule.ops.scatter import need_dtype, scatter, scatter_reduce
from chainrule.ops.scatter import scatter_add as scatter_plus
from chainrule.ops.shape import expand, ravel, reshape

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


def _check_slices(op: Any, x: Spec, index: Spec, source: Spec, dim: int) -> None:
    """Raise LabelError unless the source has one slice of x for each index."""
    need_index(op, index)
    if index.ndim > 1:
        rule = f"an index of one axis at most, not {index.ndim}"
        raise failure(op, rule, error=LabelError, index=index)
    need_dtype(op, x, source=source)
    shape, n = source.shape or (1,) * bool(x.ndim), prod(index.shape)
    wanted = (*x.shape[:dim], n, *x.shape[dim + 1 :]) if x.ndim else (n,)
    if max(source.ndim, 1) != max(x.ndim, 1) or (shape or (1,)) != wanted:
        rule = f"a source of shape {wanted}, a slice for each index"
        raise failure(op, rule, error=LabelError, input=x, index=index, source=source)


@dataclass(frozen=True)
class IndexAdd(Op):
    """y = x with alpha * the slice s added at index i, for each of them.

    gx = gy; gs = alpha * gy at the indices.
    """

    dim: int = 0
    alpha: float = 1

    def infer(self, x: Spec, index: Spec, source: Spec) -> tuple[Spec, ...]:
        _check_slices(self, x, index, source, self.dim)
        return (x,)

    def forward(self, xp: Any, x: Array, index: Array, source: Array) -> Forward:
        x1, s1 = lined(x), lined(source)
        i1 = bounded(self, lined(index), x1.shape[self.dim], self.dim)
        with xp.errstate(all="ignore"):
            if self.alpha != 1:
                s1 = s1 * in_dtype(self.alpha, x.dtype)
            y = x1 + scatter_add(xp, x1.shape, part(self.dim, i1), s1)
        return (y.reshape(x.shape),), (i1, source.shape)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        index, shape = saved
        gs = None
        if needs[2]:
            gs = xp.take(lined(gy), index, axis=self.dim).reshape(shape)
            gs = gs if self.alpha == 1 else gs * in_dtype(self.alpha, gy.dtype)
        return gy if needs[0] else None, None, gs

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(4, 3), integers(5, high=4), normal(5, 3))
        yield Sample(cls(1, -2.5), normal(2, 3, 2), integers(2, high=3), normal(2, 2, 2))
        yield Sample(cls(0), normal(), integers(1, high=1), normal(1))
        yield Sample(cls(0, 2), normal(3), integers(high=3), normal())


@public
@numpy_names
def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """Add slices at the indices that a vector names: y[index[i]] += alpha * source[i].

    That is for dim 0, in a copy of the input; repeated indices add up.
    Shapes: (..., A, ...), (B,), (..., B, ...) -> (..., A, ...).
    Raises LabelError for an index outside [0, A - 1] and where the source has not a slice for
    each index, KindError for an index that is not int64 or int32, for two dtypes and for an
    `alpha` that is no number (integers drop its fraction), AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.index_add(cr.zeros(3), 0, cr.tensor([2, 0, 2]), cr.tensor([1.0, 2.0, 3.0]))
    tensor([2.0, 0.0, 4.0])
    """
    x = as_tensor(input)
    factor = scale(alpha, x, "index_add alpha")
    op = IndexAdd(axis(dim, x.ndim, "index_add"), factor)
    return apply(op, x, as_tensor(index), as_tensor(source))


def scale(value: Any, x: Tensor, name: str) -> float:
    """Give a factor as a Python number, for integers without its fraction."""
    plain = value.item() if isinstance(value, Tensor | np.generic) else value
    if not is_scalar(plain):
        raise failure(name, "a number", error=KindError, value=value)
    return int(plain) if x.dtype.kind != "f" else plain


def in_dtype(value: float, dtype: Any) -> Any:
    """Give a number in a dtype; what an integer dtype cannot hold goes round its range."""
    return np.asarray(value).astype(dtype)[()]


@dataclass(frozen=True)
class IndexCopy(Op):
    """y = x with the slices of the source at the indices.  gx = gy, 0 there; gs = gy there."""

    dim: int = 0

    def infer(self, x: Spec, index: Spec, source: Spec) -> tuple[Spec, ...]:
        _check_slices(self, x, index, source, self.dim)
        return (x,)

    def forward(self, xp: Any, x: Array, index: Array, source: Array) -> Forward:
        y = xp.array(lined(x), order="K", copy=True)
        i1 = bounded(self, lined(index), y.shape[self.dim], self.dim)
        y[part(self.dim, i1)] = lined(source)
        return (y.reshape(x.shape),), (i1, source.shape)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        index, shape = saved
        gx = gs = None
        if needs[0]:
            gx = xp.array(lined(gy), order="K", copy=True)
            gx[part(self.dim, index)] = 0
            gx = gx.reshape(gy.shape)
        if needs[2]:
            gs = xp.take(lined(gy), index, axis=self.dim).reshape(shape)
        return gx, None, gs

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(4, 3), np.array([3, 1]), normal(2, 3))
        yield Sample(cls(1), normal(2, 3, 2), np.array([2, 0]), normal(2, 2, 2))
        yield Sample(cls(0), normal(), integers(1, high=1), normal(1))
        yield Sample(cls(0), normal(3), integers(high=3), normal())


@public
@numpy_names
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Put slices at the indices that a vector names, in a copy of the input.

    Shapes: (..., A, ...), (B,), (..., B, ...) -> (..., A, ...).  What is overwritten gets
    gradient 0; of slices with one index the last stays.  Raises as `index_add`.

    >>> import chainrule as cr
    >>> cr.index_copy(cr.zeros(3), 0, cr.tensor([2, 0]), cr.tensor([1.0, 2.0]))
    tensor([2.0, 0.0, 1.0])
    """
    x = as_tensor(input)
    op = IndexCopy(axis(dim, x.ndim, "index_copy"))
    return apply(op, x, as_tensor(index), as_tensor(source))


@dataclass(frozen=True)
class IndexFill(Op):
    """y = x with one value in the slices at the indices.  gx = gy, 0 there; gv = the sum there."""

    dim: int = 0

    def infer(self, x: Spec, index: Spec, value: Spec) -> tuple[Spec, ...]:
        need_index(self, index, LabelError)
        if index.ndim > 1:
            rule = f"an index of one axis at most, not {index.ndim}"
            raise failure(self, rule, error=LabelError, index=index)
        if value.ndim:
            raise failure(self, "a number or a 0-d tensor", value=value)
        need_dtype(self, x, value=value)
        return (x,)

    def forward(self, xp: Any, x: Array, index: Array, value: Array) -> Forward:
        y = xp.array(lined(x), order="K", copy=True)
        n = y.shape[self.dim]
        i1 = bounded(self, lined(index), n, self.dim, low=-n)
        y[part(self.dim, i1)] = value
        return (y.reshape(x.shape),), i1

    def backward(self, xp: Any, index: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        rest = xp.array(lined(gy), order="K", copy=True)
        rest[part(self.dim, index)] = 0
        gv = None
        if needs[2]:
            once = xp.unique(index % lined(gy).shape[self.dim])
            gv = xp.asarray(xp.sum(xp.take(lined(gy), once, axis=self.dim), dtype=gy.dtype))
        return rest.reshape(gy.shape) if needs[0] else None, None, gv

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(4, 3), np.array([3, -3, 1]), normal())
        yield Sample(cls(1), normal(2, 3, 2), integers(high=3), normal())
        yield Sample(cls(0), normal(), integers(1, high=1), normal())


@public
@numpy_names
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Put one value, a number or a 0-d tensor, into the slices that a vector of indices names.

    Shapes: (..., A, ...), (B,) -> (..., A, ...), a copy; negative indices count from the end.
    What is overwritten gets gradient 0, a tensor `value` the sum of what arrives there.
    Raises LabelError for an index outside [-A, A - 1] and for one that is not int64 or int32,
    ShapeError for a value with axes, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.index_fill(cr.tensor([[1, 2, 3], [4, 5, 6]]), 1, cr.tensor([0, 2]), -1)
    tensor([[-1,  2, -1],
            [-1,  5, -1]])
    """
    x = as_tensor(input)
    if is_scalar(value):
        fill = Tensor(np.asarray(number("index_fill value", value, x.dtype), x.dtype))
    else:
        fill = cast(as_tensor(value, "index_fill value"), x.dtype)
    return apply(IndexFill(axis(dim, x.ndim, "index_fill")), x, as_tensor(index), fill)


@dataclass(frozen=True)
class MaskedScatter(Op):
    """y = x with the elements of the source, one by one, where the mask holds.

    gx = gy, 0 there; gs = gy there, 0 for elements that were not used.
    """

    def infer(self, x: Spec, mask: Spec, source: Spec) -> tuple[Spec, ...]:
        need_dtype(self, x, source=source)
        if mask.shape != x.shape:
            raise failure(self, "a mask of the input's shape", input=x, mask=mask)
        return (x,)

    def forward(self, xp: Any, x: Array, mask: Array, source: Array) -> Forward:
        count = int(xp.sum(mask))
        if count > source.size:
            raise failure(self, f"at least {count} values for the mask, not {source.size}")
        y = xp.array(lined(x), order="K", copy=True)
        y[lined(mask)] = source.reshape(-1)[:count]
        return (y.reshape(x.shape),), (mask, source.shape)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        mask, shape = saved
        gs = None
        if needs[2]:
            gs = xp.zeros(prod(shape), gy.dtype)
            there = lined(gy)[lined(mask)]
            gs[: there.size] = there
            gs = gs.reshape(shape)
        return xp.where(mask, gy.dtype.type(0), gy) if needs[0] else None, None, gs

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4), booleans(3, 4), normal(12))
        yield Sample(cls(), normal(2, 3), booleans(2, 3), normal(4, 2))
        yield Sample(cls(), normal(), np.array(True), normal(2))


@public
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Put the elements of `source`, in their logical order, where the mask holds.

    Shapes: input and mask are broadcast -> the common shape, a copy; the source may have any
    shape, and more elements than are used.  What is overwritten gets gradient 0.
    Raises KindError for a mask that is not boolean and for two dtypes, ShapeError where the source
    has too few elements or the shapes do not broadcast.

    >>> import chainrule as cr
    >>> mask = cr.tensor([True, False, True])
    >>> cr.masked_scatter(cr.tensor([0, 0, 0]), mask, cr.tensor([7, 8, 9]))
    tensor([7, 0, 8])
    """
    x, holds = as_tensor(input), as_tensor(mask)
    need_mask("masked_scatter", holds)
    shape = broadcast("masked_scatter", input=x.shape, mask=holds.shape)
    return apply(MaskedScatter(), expand(x, shape), expand(holds, shape), as_tensor(source))


@public
@numpy_names
def index_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    source: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Reduce the slices that name one index: "prod", "mean", "amax" or "amin" of them.

    The input's own slice is one of them unless `include_self` is false; where none came it stays.
    Shapes, errors: as `index_add`; ShapeError for another `reduce`.  Gradients: as
    `scatter_reduce`.

    >>> import chainrule as cr
    >>> x, index = cr.tensor([1.0, 2.0, 3.0]), cr.tensor([0, 0, 2])
    >>> cr.index_reduce(x, 0, index, cr.tensor([5.0, 4.0, 1.0]), "amax")
    tensor([5.0, 2.0, 3.0])
    """
    name = "index_reduce"
    x, at, s = as_tensor(input), as_tensor(index), as_tensor(source)
    along = axis(dim, x.ndim, name)
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise failure(name, "reduce among prod, mean, amax, amin", reduce=reduce)
    specs = [Spec(t.shape, t.dtype) for t in (x, at, s)]
    _check_slices(name, specs[0], specs[1], specs[2], along)
    line = reshape(at, [-1 if d == along else 1 for d in range(max(s.ndim, 1))])
    whole = expand(line, s.shape) if s.ndim else at
    return scatter_reduce(x, along, whole, s, reduce, include_self=include_self)


def _put(name: str, x: Tensor, at: Tensor, values: Tensor, accumulate: Any) -> Tensor:
    """Put values at flat places of x."""
    if values.dtype != x.dtype:
        rule = f"values of the input's dtype, {x.dtype}"
        raise failure(name, rule, error=KindError, input=x, values=values)
    write = scatter_plus if flag(accumulate, f"{name} accumulate") else scatter
    return reshape(write(ravel(x), 0, ravel(at), ravel(values)), x.shape)


@public
def index_put(
    input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False
) -> Tensor:
    """Give the input with x[indices] = values, or += values with `accumulate`.

    `indices` is a tuple of tensors, integers or a mask, as in x[...].  `values` are expanded to the
    shape of x[indices].  What is overwritten gets gradient 0.
    Raises as x[indices], KindError for two dtypes, ShapeError for values that do not expand.

    >>> import chainrule as cr
    >>> at = (cr.tensor([0, 0, 1]), cr.tensor([1, 1, 0]))
    >>> cr.index_put(cr.zeros(2, 2), at, cr.tensor(1.0), accumulate=True)
    tensor([[0.0, 2.0],
            [1.0, 0.0]])
    """
    x, v = as_tensor(input), as_tensor(values)
    fit = isinstance(indices, tuple | list)
    if not fit or not all(isinstance(i, Tensor | np.ndarray) for i in indices):
        raise failure("index_put", "a tuple of tensors", error=KindError, indices=indices)
    at = getitem(Tensor(np.arange(prod(x.shape)).reshape(x.shape)), tuple(indices))
    return _put("index_put", x, at, expand(v, at.shape), accumulate)


@public
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Put values at places of the flattened input, or add them with `accumulate`.

    Shapes: any of n elements, (B, C), as many values -> the input's; negative indices count from
    the end.  What is overwritten gets gradient 0.
    Raises LabelError for an index outside [-n, n - 1] and for another number of values, KindError
    for an index that is not int64 and for two dtypes.

    >>> import chainrule as cr
    >>> cr.put(cr.zeros(2, 2), cr.tensor([0, -1]), cr.tensor([1.0, 2.0]))
    tensor([[1.0, 0.0],
            [0.0, 2.0]])
    """
    x, s = as_tensor(input), as_tensor(source)
    if prod(s.shape) != prod(as_tensor(index).shape):
        raise failure("put", "a value for each index", error=LabelError, index=index, source=s)
    at = take(Tensor(np.arange(prod(x.shape))), index)
    return _put("put", x, at, s, accumulate)
