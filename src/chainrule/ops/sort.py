"""Order along an axis: sort, the k largest, the k-th smallest, medians, the most frequent.

NaN counts as larger than every number.  Equal elements keep their order, whatever `stable` says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import INT64
from chainrule.engine.sample import Sample, distinct
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor
from chainrule.errors import AxisError, KindError, UndefinedKindError, failure
from chainrule.ops.arguments import axis, flag, integer, numpy_names
from chainrule.ops.broadcast import layout, reduced
from chainrule.ops.gather import lined
from chainrule.ops.join import part
from chainrule.ops.slicing import zeros_in

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


class Selected(NamedTuple):
    """Values chosen along a dimension, and their indices there."""

    values: Tensor
    indices: Tensor


class Selecting(Op, register=False):
    """Base: y, i = values of x along an axis and their indices.  gx = gy there, 0 elsewhere."""

    dim: int

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        index, noted = saved
        gx = zeros_in(xp, noted, gy[0].dtype)
        g = gy[0].reshape(index.shape)
        xp.put_along_axis(lined(gx), index, g, axis=self.dim)
        return (gx,)

    def _outputs(self, xp: Any, x: Array, index: Array, shape: tuple[int, ...]) -> Forward:
        index = index.astype(INT64, copy=False)
        values = xp.take_along_axis(lined(x), index, axis=self.dim)
        return (values.reshape(shape), index.reshape(shape)), (index, layout(x))


def ordered(xp: Any, x: Array, dim: int, descending: bool) -> Array:
    """Give the indices that sort along an axis; equal elements keep their order.

    >>> import numpy as np
    >>> ordered(np, np.array([2, 3, 2, 1]), 0, True)
    array([1, 0, 2, 3])
    """
    if not descending:
        return xp.argsort(x, axis=dim, kind="stable")  # type: ignore[no-any-return]
    backwards = xp.argsort(xp.flip(x, dim), axis=dim, kind="stable")
    return x.shape[dim] - 1 - xp.flip(backwards, dim)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Sort(Selecting):
    """y, i = x in ascending (or descending) order along an axis, x at i.  gx = gy at i."""

    dim: int = 0
    descending: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return Spec(x.shape, x.dtype), Spec(x.shape, INT64, False)

    def forward(self, xp: Any, x: Array) -> Forward:
        index = ordered(xp, lined(x), self.dim, self.descending)
        return self._outputs(xp, x, index, x.shape)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for descending in (False, True):
            yield Sample(cls(0, descending), distinct(5))
            yield Sample(cls(1, descending), distinct(2, 4, 3))
        yield Sample(cls(0), distinct())


@public
@numpy_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool | None = False
) -> Selected:
    """Sort along an axis: a named tuple (values, indices).

    Shapes: any -> the same twice, the indices int64.  Equal elements keep their order (`stable`
    need not ask for it); NaN is the largest.  The gradient goes back to where each value stood.
    Raises AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.sort(cr.tensor([[3, 1, 2]]), descending=True)
    Selected(values=tensor([[3, 2, 1]]), indices=tensor([[0, 2, 1]]))
    """
    x = as_tensor(input)
    if stable is not None:
        flag(stable, "sort stable")
    op = Sort(axis(dim, x.ndim, "sort"), flag(descending, "sort descending"))
    return Selected(*apply_all(op, x))


@public
@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Give the indices that sort along an axis: those of `sort`.

    >>> import chainrule as cr
    >>> cr.argsort(cr.tensor([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    return sort(input, dim, descending, stable).indices


@public
def msort(input: Tensor) -> Tensor:
    """Sort along the first axis: the values of `sort` with dim 0.

    >>> import chainrule as cr
    >>> cr.msort(cr.tensor([[3, 1], [2, 5]]))
    tensor([[2, 1],
            [3, 5]])
    """
    return sort(input, 0).values


@dataclass(frozen=True)
class TopK(Selecting):
    """y, i = the k largest (or smallest) along an axis, the most extreme first.  gx = gy at i."""

    k: int = 1
    dim: int = 0
    largest: bool = True

    @property
    def name(self) -> str:
        """The function's name."""
        return "topk"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=UndefinedKindError, input=x)
        n = x.shape[self.dim] if x.ndim else 1
        if not 0 <= self.k <= n:
            raise failure(self, f"k in [0, {n}], the size of dim {self.dim}", k=self.k, input=x)
        shape = (*x.shape[: self.dim], self.k, *x.shape[self.dim + 1 :]) if x.ndim else ()
        return Spec(shape, x.dtype), Spec(shape, INT64, False)

    def forward(self, xp: Any, x: Array) -> Forward:
        x1, d = lined(x), self.dim
        n, k = x1.shape[d], self.k
        first = part(d, slice(0, k))
        if 0 < 4 * k < n:  # a choice of k first, and these sorted
            at = n - k if self.largest else k - 1
            chosen = xp.argpartition(x1, at, axis=d)
            chosen = xp.sort(chosen[part(d, slice(at, n) if self.largest else slice(0, k))], axis=d)
            among = xp.take_along_axis(x1, chosen, axis=d)
            order = ordered(xp, among, d, self.largest)
            index = xp.take_along_axis(chosen, order, axis=d)
        else:
            index = ordered(xp, x1, d, self.largest)[first]
        return self._outputs(xp, x, index, index.shape if x.ndim else ())

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for largest in (True, False):
            yield Sample(cls(2, 0, largest), distinct(5))
            yield Sample(cls(2, 1, largest), distinct(2, 9, 3))
            yield Sample(cls(0, 0, largest), distinct(3))


@public
@numpy_names
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> Selected:
    """Give the k largest (or smallest) elements along an axis and their indices.

    Shapes: (..., n, ...) -> (..., k, ...) twice; the most extreme come first, also without
    `sorted`.  NaN is the largest.  The gradient goes back to where each value stood.
    Raises ShapeError for a k outside [0, n], AxisError for a wrong `dim`, NotImplementedError for
    booleans.

    >>> import chainrule as cr
    >>> cr.topk(cr.tensor([1.0, 4.0, 2.0]), 2)
    Selected(values=tensor([4.0, 2.0]), indices=tensor([1, 2]))
    """
    x = as_tensor(input)
    flag(sorted, "topk sorted")
    op = TopK(integer(k, "topk k"), axis(dim, x.ndim, "topk"), flag(largest, "topk largest"))
    return Selected(*apply_all(op, x))


@dataclass(frozen=True)
class Ranked(Selecting):
    """y, i = one element along an axis: the "kthvalue", "median", "nanmedian" or "mode".

    gx = gy at i, 0 elsewhere.
    """

    kind: str
    dim: int = 0
    keepdim: bool = False
    k: int = 1

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b" and self.kind != "mode":
            raise failure(self, "numbers, not booleans", error=UndefinedKindError, input=x)
        n = x.shape[self.dim] if x.ndim else 1
        if not n:
            rule = f"at least one element along dim {self.dim}"
            raise failure(self, rule, error=AxisError, input=x)
        if self.kind == "kthvalue" and not 1 <= self.k <= n:
            raise failure(self, f"k in [1, {n}], the size of dim {self.dim}", k=self.k, input=x)
        shape = reduced(x.shape, (self.dim,) if x.ndim else (), self.keepdim)
        return Spec(shape, x.dtype), Spec(shape, INT64, False)

    def forward(self, xp: Any, x: Array) -> Forward:
        x1, d = lined(x), self.dim
        n = x1.shape[d]
        shape = self.infer(Spec(x.shape, x.dtype))[0].shape
        if self.kind == "mode":
            index = self._most_frequent(xp, x1)
        elif self.kind == "kthvalue":
            index = self._at(xp, x1, self.k - 1)
        else:
            nans = xp.sum(xp.isnan(x1), axis=d, keepdims=True) if x1.dtype.kind == "f" else None
            if nans is None or not nans.any():
                index = self._at(xp, x1, (n - 1) // 2)
            else:
                skip = xp.maximum(n - nans - 1, 0) // 2
                middle = xp.where(nans > 0, n - nans, (n - 1) // 2)
                at = skip if self.kind == "nanmedian" else middle
                index = xp.take_along_axis(ordered(xp, x1, d, False), at, axis=d)
        return self._outputs(xp, x, index, shape)

    def _at(self, xp: Any, x: Array, rank: int) -> Array:
        """Give the index of the element of one rank."""
        order = xp.argpartition(x, rank, axis=self.dim)
        return order[part(self.dim, slice(rank, rank + 1))]  # type: ignore[no-any-return]

    def _most_frequent(self, xp: Any, x: Array) -> Array:
        """Give the last index of the value with the longest run in order, the smallest first."""
        d, n = self.dim, x.shape[self.dim]
        order = ordered(xp, x, d, False)
        values = xp.take_along_axis(x, order, axis=d)
        count = xp.arange(n).reshape(n, *(1,) * (x.ndim - d - 1))
        begins = xp.ones(x.shape, dtype=np.bool_)
        begins[part(d, slice(1, n))] = (
            values[part(d, slice(1, n))] != values[part(d, slice(0, n - 1))]
        )
        run = count - xp.maximum.accumulate(xp.where(begins, count, 0), axis=d)
        if not x.size:
            return order[part(d, slice(0, 1))]  # type: ignore[no-any-return]
        return xp.take_along_axis(order, xp.argmax(run, axis=d, keepdims=True), axis=d)  # type: ignore[no-any-return]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for kind in ("median", "nanmedian", "mode"):
            yield Sample(cls(kind, 0), distinct(5))
            yield Sample(cls(kind, 1, True), distinct(2, 4, 3))
        yield Sample(cls("kthvalue", 1, k=2), distinct(2, 4, 3))
        yield Sample(cls("kthvalue", 0, True, 1), distinct())


@dataclass(frozen=True)
class Middle(Op):
    """y = the lower median of all elements.  gx = gy, shared evenly among those equal to it."""

    skip_nan: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return "nanmedian" if self.skip_nan else "median"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=UndefinedKindError, input=x)
        if x.dtype.kind != "f" and 0 in x.shape:
            raise failure(self, "at least one element", input=x)
        return (Spec((), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        flat = x.reshape(-1)
        n, nans = x.size, 0
        if x.dtype.kind == "f":
            nans = int(xp.sum(xp.isnan(flat)))
        if not n:
            y = xp.full((), np.nan, x.dtype)
        else:
            known = n - nans if self.skip_nan else n
            at = n - 1 if nans and not self.skip_nan else max(known - 1, 0) // 2
            y = xp.partition(flat, at)[at : at + 1].reshape(())
        chosen = None
        if x.dtype.kind == "f":
            chosen = (x == y) | (xp.isnan(x) & xp.isnan(y))
        return (y,), chosen

    def backward(self, xp: Any, chosen: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        with xp.errstate(all="ignore"):
            shared = gy / xp.sum(chosen).astype(gy.dtype)
            return (xp.multiply(chosen, shared, dtype=gy.dtype),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), distinct(3, 4))
        yield Sample(cls(True), distinct(5))
        yield Sample(cls(), distinct())


def _ranked(kind: str, input: Any, dim: Any, keepdim: Any, k: int = 1) -> Selected:
    x = as_tensor(input)
    op = Ranked(kind, axis(dim, x.ndim, kind), flag(keepdim, f"{kind} keepdim"), k)
    return Selected(*apply_all(op, x))


@public
@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Selected:
    """Give the k-th smallest element along an axis, k from 1 on, and its index.

    Shapes: (..., n, ...) -> (..., ...) twice, or (..., 1, ...) with `keepdim`.  The gradient goes
    back to that element.  Raises ShapeError for a k outside [1, n], AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.kthvalue(cr.tensor([5.0, 1.0, 3.0]), 2)
    Selected(values=tensor(3.0), indices=tensor(2))
    """
    return _ranked("kthvalue", input, dim, keepdim, integer(k, "kthvalue k"))


@public
@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Give the median; of an even number of elements it is the lower of the two in the middle.

    `median(x)` is a 0-d tensor, whose gradient is shared evenly among equal elements; of nothing
    it is NaN.  `median(x, dim)` is a named tuple (values, indices) of shapes (..., n, ...) ->
    (..., ...), or (..., 1, ...) with `keepdim`.  NaN if there is a NaN.
    Raises AxisError where there is nothing along `dim`, NotImplementedError for booleans.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 5.0, 3.0], [7.0, 2.0, 4.0]])
    >>> cr.median(x), cr.median(x, 1).indices
    (tensor(3.0), tensor([2, 2]))
    """
    return _median("median", input, dim, keepdim)


@public
@numpy_names
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Give the median of what is not NaN; otherwise as `median`.

    >>> import chainrule as cr
    >>> cr.nanmedian(cr.tensor([1.0, float("nan"), 3.0]))
    tensor(1.0)
    """
    return _median("nanmedian", input, dim, keepdim)


def _median(kind: str, input: Any, dim: Any, keepdim: Any) -> Any:
    if dim is not None:
        return _ranked(kind, input, dim, keepdim)
    if flag(keepdim, f"{kind} keepdim"):
        raise failure(kind, "dim together with keepdim", error=KindError, keepdim=keepdim)
    return apply(Middle(kind == "nanmedian"), as_tensor(input))


@public
@numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Selected:
    """Give the most frequent element along an axis and its last index; the smallest of several.

    Shapes: (..., n, ...) -> (..., ...) twice, or (..., 1, ...) with `keepdim`.  The gradient goes
    back to that index.  Raises AxisError where there is nothing along `dim`.

    >>> import chainrule as cr
    >>> cr.mode(cr.tensor([2, 1, 2, 1, 3]))
    Selected(values=tensor(1), indices=tensor(3))
    """
    return _ranked("mode", input, dim, keepdim)
