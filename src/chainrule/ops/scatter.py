"""Values put, or added, at places that an index names along one axis; put where a mask holds.

The other way round of gather.py.  Where several values name one place, the last one stays if
values are put (PyTorch promises none), and all count if they are added or reduced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.creation import number
from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Sample, away_from_zero, distinct, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axis, flag, numpy_names
from chainrule.ops.formulas import quiet
from chainrule.ops.gather import bounded, check_reach, lined, need_index, places, reached, taken

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]

_UFUNC = {"sum": "add", "mean": "add", "prod": "multiply", "amax": "maximum", "amin": "minimum"}


def need_dtype(op: Any, x: Spec, **others: Spec) -> None:
    """Raise KindError unless all have the dtype of the input."""
    for name, spec in others.items():
        if spec.dtype != x.dtype:
            hint = f"convert it first: {name}.to(input.dtype)"
            rule = f"{name} of the input's dtype, {x.dtype}"
            raise failure(op, rule, error=KindError, hint=hint, **{"input": x, name: spec})


class Scattering(Op, register=False):
    """Base: inputs x, an index of as many axes, and values of the index's shape or larger."""

    dim: int

    def infer(self, x: Spec, index: Spec, src: Spec) -> tuple[Spec, ...]:
        need_dtype(self, x, src=src)
        if 0 not in index.shape:
            need_index(self, index)
        check_reach(self, x, index, self.dim, src=src)
        return (x,)

    def _begin(self, xp: Any, x: Array, index: Array, src: Array) -> tuple[Array, Array, Array]:
        """Give a copy of x in the logical order, the index, and the values that it names."""
        y = xp.array(lined(x), order="C", copy=True)
        at = lined(index)
        if at.size:
            at = bounded(self, at, y.shape[self.dim], self.dim)
            return y, at, lined(src)[reached(at.shape, self.dim, whole=False)]
        return y, xp.zeros((0,) * y.ndim, np.intp), src.reshape(-1)[:0]

    def _read(self, xp: Any, g: Array, at: Array) -> Array:
        """Gather from an array of the shape of x."""
        return taken(xp, lined(g), self.dim, at) if at.size else g.reshape(-1)[:0].reshape(at.shape)

    def _whole(self, xp: Any, g: Array, shape: tuple[int, ...]) -> Array:
        """Give the gradient of the values, 0 where the index did not reach."""
        if g.shape == (shape or (1,)):
            return g.reshape(shape)
        whole = xp.zeros(shape or (1,), g.dtype)
        if g.size:
            whole[reached(g.shape, self.dim, whole=False)] = g
        return whole.reshape(shape)  # type: ignore[no-any-return]

    def _cleared(self, xp: Any, g: Array, at: Array) -> Array:
        """Copy a gradient, with 0 at the places."""
        g = xp.array(g, order="C", copy=True)
        if at.size:
            xp.put_along_axis(
                lined(g)[reached(at.shape, self.dim)], at, g.dtype.type(0), axis=self.dim
            )
        return g


@dataclass(frozen=True)
class Scatter(Scattering):
    """y = x with y[i, index[i, j, k], k] = src[i, j, k], for dim = 1.

    gx = gy, 0 at these places; gs = gy there.
    """

    dim: int = 0

    def forward(self, xp: Any, x: Array, index: Array, src: Array) -> Forward:
        y, at, values = self._begin(xp, x, index, src)
        if at.size:
            xp.put_along_axis(y[reached(at.shape, self.dim)], at, values, axis=self.dim)
        return (y.reshape(x.shape),), (at, src.shape)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        at, shape = saved
        gx = self._cleared(xp, gy, at) if needs[0] else None
        gs = self._whole(xp, self._read(xp, gy, at), shape) if needs[2] else None
        return gx, None, gs

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        once = np.array([[0, 2, 1], [3, 1, 0]])
        yield Sample(cls(0), normal(4, 3), once, normal(2, 3))
        yield Sample(cls(1), normal(3, 4), once, normal(3, 5))
        yield Sample(cls(1), normal(2, 4, 2), np.array([[[3], [0]]]), normal(1, 2, 1))
        yield Sample(cls(0), normal(), integers(1, high=1), normal(1))
        yield Sample(cls(0), normal(3), integers(0, high=1), normal(2))


@dataclass(frozen=True)
class ScatterAdd(Scattering):
    """y = x with y[i, index[i, j, k], k] += src[i, j, k], for dim = 1.  gx = gy, gs = gy there."""

    dim: int = 0

    @quiet
    def forward(self, xp: Any, x: Array, index: Array, src: Array) -> Forward:
        y, at, values = self._begin(xp, x, index, src)
        where = places(xp, y.shape, self.dim, at)
        xp.add.at(y.reshape(-1), where.reshape(-1), values.reshape(-1))
        return (y.reshape(x.shape),), (at, src.shape)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        at, shape = saved
        gs = self._whole(xp, self._read(xp, gy, at), shape) if needs[2] else None
        return gy if needs[0] else None, None, gs

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(4, 3), integers(5, 3, high=4), normal(5, 3))
        yield Sample(cls(1), normal(3, 4, 2), integers(2, 6, 1, high=4), normal(3, 6, 2))
        yield Sample(cls(0), normal(), integers(high=1), normal())
        yield Sample(cls(0), normal(3), integers(0, high=1), normal(2))


@dataclass(frozen=True)
class ScatterReduce(Scattering):
    """y[i, m, k] = the sum, product, mean, largest or smallest of all src[i, j, k] of index m.

    x[i, m, k] is one of them if `include_self`; where no value came it stays.  Gradients: of the
    sum gy; of the mean gy / count; of the product gy times the others; of an extreme gy, shared
    evenly among equal ones.
    """

    dim: int = 0
    reduce: str = "sum"
    include_self: bool = True

    @quiet
    def forward(self, xp: Any, x: Array, index: Array, src: Array) -> Forward:
        y, at, values = self._begin(xp, x, index, src)
        where = places(xp, y.shape, self.dim, at).reshape(-1)
        y = self._reduced(xp, y, where, values)
        counts = None
        if self.reduce == "mean":
            counts = xp.full(y.shape, int(self.include_self), dtype=np.int64)
            xp.add.at(counts.reshape(-1), where, 1)
            counts = xp.maximum(counts, 1)
            whole = x.dtype.kind != "f"
            y = (y // counts if whole else y / counts).astype(x.dtype, copy=False)
        return (y.reshape(x.shape),), (lined(x), at, values, where, y, counts, x.shape, src.shape)

    def _reduced(self, xp: Any, y: Array, where: Array, values: Array) -> Array:
        """Take the values into y, which is written."""
        flat = y.reshape(-1)
        if not self.include_self:
            flat[where] = self._neutral(y.dtype)
        getattr(xp, _UFUNC[self.reduce]).at(flat, where, values.reshape(-1))
        return y

    def _neutral(self, dtype: Any) -> Any:
        """Give what changes nothing."""
        if self.reduce in ("sum", "mean"):
            return dtype.type(0)
        if self.reduce == "prod":
            return dtype.type(1)
        lowest = self.reduce == "amax"
        if dtype.kind == "f":
            return dtype.type(-np.inf if lowest else np.inf)
        if dtype.kind == "b":
            return dtype.type(not lowest)
        return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        x, at, values, where, y, counts, shape, larger = saved
        gy = gy.reshape(y.shape)
        if self.reduce == "prod":
            gx, gs = self._of_product(xp, (x, at, values, where, y), gy)
        elif self.reduce in ("amax", "amin"):
            mine, theirs = x == y, values == self._read(xp, y, at)
            ties = mine.astype(gy.dtype)
            xp.add.at(ties.reshape(-1), where, theirs.reshape(-1).astype(gy.dtype))
            shared = gy / ties
            gx, gs = mine * shared, theirs * self._read(xp, shared, at)
        else:
            gx = gy if counts is None else (gy / counts).astype(gy.dtype, copy=False)
            gs = self._read(xp, gx, at)
        gx = gx if self.include_self else self._cleared(xp, gx, at)
        return (
            gx.reshape(shape) if needs[0] else None,
            None,
            self._whole(xp, gs, larger) if needs[2] else None,
        )

    def _of_product(self, xp: Any, saved: tuple[Array, ...], gy: Array) -> tuple[Array, Array]:
        """Divide the product by each factor; a factor that is the only 0 gets the others' one."""
        x, at, values, where, y = saved
        filled = xp.where(x == 0, 1, x).astype(x.dtype, copy=False)
        others = self._reduced(xp, xp.array(filled, order="C", copy=True), where, values)
        gx = gy * others / filled
        zero = values == 0
        zeros = xp.zeros(y.size, np.int64)
        xp.add.at(zeros, where, zero.reshape(-1).astype(np.int64))
        alone = zero & (zeros[where].reshape(at.shape) == 1)
        safe = xp.where(alone, 1, values).astype(values.dtype, copy=False)
        without = self._reduced(xp, xp.array(x, order="C", copy=True), where, safe)
        gs = self._read(xp, gy * y, at) / xp.where(zero, 1, values)
        gs = xp.where(alone, self._read(xp, gy * without, at), gs)
        return gx, gs.astype(gy.dtype, copy=False)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for reduce in _UFUNC:
            for include in (True, False):
                op = cls(1, reduce, include)
                yield Sample(op, away_from_zero(2, 4), integers(2, 3, high=4), _apart(2, 3))
        yield Sample(cls(0, "prod"), normal(), integers(1, high=1), normal(1))
        zeros = np.array([0.0, 2.0, 0.0, 3.0, 1.5])
        yield Sample(cls(0, "prod"), normal(3), np.array([0, 0, 1, 1, 1]), zeros)
        yield Sample(cls(0, "amax"), normal(3, 2), integers(0, 2, high=3), distinct(2, 2))


def _apart(*shape: int) -> Any:
    return distinct(*shape, gap=0.37)


@public
@numpy_names
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """Put values at the places that an index names: y[index[i, j], j] = src[i, j].

    That is for dim 0 of two axes, in a copy of the input.  `src` is a tensor of the input's dtype,
    at least as large as the index; or a number, as `value` is.  `reduce` "add" or "multiply"
    takes in the values instead of putting them.
    Shapes: (..., A, ...), (..., B, ...) -> (..., A, ...); along the other axes the index may be
    smaller.  What is overwritten gets gradient 0; where several values name one place the last
    stays, and the gradients by all of them are what arrives there.
    Raises LabelError for an index outside [0, A - 1], KindError for one that is not int64 or
    int32 and for two dtypes, ShapeError where sizes do not fit or `reduce` is unknown, AxisError
    for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.scatter(cr.zeros(2, 3), 1, cr.tensor([[2], [0]]), 1.0)
    tensor([[0.0, 0.0, 1.0],
            [1.0, 0.0, 0.0]])
    """
    x, at = as_tensor(input), as_tensor(index, "scatter index")
    along = axis(dim, x.ndim, "scatter")
    if (src is None) == (value is None):
        raise failure("scatter", "either src or value", error=KindError, src=src, value=value)
    given = src if value is None else value
    if is_scalar(given) or (value is not None and getattr(value, "ndim", 1) == 0):
        plain = given.item() if isinstance(given, Tensor) else given
        fill = np.asarray(number("scatter value", plain, x.dtype), x.dtype)
        values = Tensor(np.broadcast_to(fill, at.shape))
    else:
        values = as_tensor(given, "scatter src")
    if reduce is None:
        return apply(Scatter(along), x, at, values)
    if reduce not in ("add", "multiply"):
        raise failure("scatter", 'reduce "add" or "multiply"', reduce=reduce)
    return apply(ScatterReduce(along, "sum" if reduce == "add" else "prod"), x, at, values)


@public
@numpy_names
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Add values at the places that an index names: y[index[i, j], j] += src[i, j].

    That is for dim 0 of two axes, in a copy of the input.  Shapes, errors: as `scatter`.  Each
    value gets the gradient that arrives at its place.

    >>> import chainrule as cr
    >>> cr.scatter_add(cr.zeros(3), 0, cr.tensor([0, 2, 0]), cr.tensor([1.0, 2.0, 3.0]))
    tensor([4.0, 0.0, 2.0])
    """
    x = as_tensor(input)
    op = ScatterAdd(axis(dim, x.ndim, "scatter_add"))
    return apply(op, x, as_tensor(index), as_tensor(src))


@public
@numpy_names
def scatter_reduce(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Reduce the values that name one place: "sum", "prod", "mean", "amax" or "amin" of them.

    "max" and "min" are other names of the last two.  The input's own value is one of them unless
    `include_self` is false; where no value came it stays.  Shapes, errors: as `scatter`.
    The gradient of an extreme is shared evenly among equal ones.

    >>> import chainrule as cr
    >>> x, index = cr.tensor([1.0, 2.0, 3.0]), cr.tensor([0, 0, 2])
    >>> cr.scatter_reduce(x, 0, index, cr.tensor([5.0, 4.0, 1.0]), "amax")
    tensor([5.0, 2.0, 3.0])
    """
    x = as_tensor(input)
    reduce = {"max": "amax", "min": "amin"}.get(reduce, reduce)
    if reduce not in _UFUNC:
        raise failure("scatter_reduce", f"reduce among {', '.join(_UFUNC)}", reduce=reduce)
    along = axis(dim, x.ndim, "scatter_reduce")
    op = ScatterReduce(along, reduce, flag(include_self, "scatter_reduce include_self"))
    return apply(op, x, as_tensor(index), as_tensor(src))
