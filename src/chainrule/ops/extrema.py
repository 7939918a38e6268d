"""The largest and the smallest elements over axes, and where they are.

NaN counts as larger, and as smaller, than every number.
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
from chainrule.errors import AxisError, KindError, failure
from chainrule.ops.arguments import axis
from chainrule.ops.broadcast import Shape, empty_in, layout, reduced
from chainrule.ops.reduce import numpy_names, some_or_all
from chainrule.ops.select import maximum, minimum

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


class Extremes(NamedTuple):
    """Extreme values along a dimension, and their indices there."""

    values: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Extreme(Op):
    """y = the largest ("amax", "max") or smallest ("amin", "min") element over the axes.

    gx = gy / k for each of the k elements equal to y, else 0.  Where y is NaN "max" and "min"
    share among the NaNs, "amax" and "amin" give NaN everywhere.
    """

    kind: str
    axes: Shape
    keepdim: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape, the input's dtype; raises where there is nothing to choose from."""
        for a in self.axes:
            if x.shape[a] == 0:
                rule = f"at least one element along dim {a}"
                raise failure(self, rule, error=AxisError, input=x)
        return (Spec(reduced(x.shape, self.axes, self.keepdim), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Choose, keeping the mask of the elements that are chosen."""
        with xp.errstate(invalid="ignore"):
            choose = xp.amax if self.kind.endswith("max") else xp.amin
            y = xp.asarray(choose(x, axis=self.axes, keepdims=True))
            chosen = None
            if x.dtype.kind == "f":
                chosen = x == y
                if self.kind in ("max", "min"):
                    chosen = chosen | ((x != x) & (y != y))
        return (y.reshape(reduced(x.shape, self.axes, self.keepdim)),), chosen

    def backward(self, xp: Any, chosen: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Share the gradient evenly among the chosen."""
        ties = xp.sum(chosen, axis=self.axes, keepdims=True)
        with xp.errstate(all="ignore"):
            shared = xp.reshape(gy, ties.shape) / ties.astype(gy.dtype)
            return (xp.multiply(chosen, shared, dtype=gy.dtype),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """One axis, several, all; no ties."""
        for kind in ("amax", "amin"):
            yield Sample(cls(kind, (0, 1)), distinct(3, 4))
            yield Sample(cls(kind, (1,), True), distinct(2, 3, 4))
            yield Sample(cls(kind, (2, 0)), distinct(2, 3, 4))
        yield Sample(cls("max", (0, 1)), distinct(3, 4))
        yield Sample(cls("min", ()), distinct())


@dataclass(frozen=True)
class ExtremeAlong(Op):
    """y, i = the "max" or "min" along one axis and its index.  gx = gy at the index, else 0."""

    kind: str
    axis: int
    keepdim: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape twice: the input's dtype, and int64."""
        if x.ndim and x.shape[self.axis] == 0:
            rule = f"at least one element along dim {self.axis}"
            raise failure(self, rule, error=AxisError, input=x)
        shape = reduced(x.shape, (self.axis,), self.keepdim)
        return Spec(shape, x.dtype), Spec(shape, INT64, False)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Find the first index, and the value there; the index is kept."""
        x1 = x if x.ndim else x.reshape(1)
        find = xp.argmax if self.kind == "max" else xp.argmin
        index = _first(xp, find, x1, self.axis)
        shape = reduced(x.shape, (self.axis,), self.keepdim)
        value = xp.take_along_axis(x1, index, axis=self.axis)
        return (value.reshape(shape), index.reshape(shape)), (index, layout(x))

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        """Put the gradient where the value came from."""
        index, kept = saved
        gx = empty_in(xp, kept, gy[0].dtype)
        gx[...] = 0
        target = gx if gx.ndim else gx.reshape(1)
        xp.put_along_axis(target, index, xp.reshape(gy[0], index.shape), axis=self.axis)
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Every axis; no ties."""
        for kind in ("max", "min"):
            yield Sample(cls(kind, 0), distinct(4))
            yield Sample(cls(kind, 1, True), distinct(2, 5, 2))
            yield Sample(cls(kind, 2), distinct(2, 3, 4))


@dataclass(frozen=True)
class ArgExtreme(Op):
    """y = the index of the first "argmax" or "argmin", along an axis or in the flattened input."""

    kind: str
    axis: int | None = None
    keepdim: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape, int64."""
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=KindError, input=x)
        axes = tuple(range(x.ndim)) if self.axis is None else (self.axis,)
        if any(x.shape[a] == 0 for a in axes if x.ndim):
            rule = "at least one element" + ("" if self.axis is None else f" along dim {self.axis}")
            raise failure(self, rule, error=AxisError, input=x)
        return (Spec(reduced(x.shape, axes, self.keepdim), INT64, False),)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Find the first index in the logical order, whatever the memory's."""
        find = getattr(xp, self.kind)
        if self.axis is None or x.ndim == 0:
            index = xp.asarray(find(x))
            return (index.reshape((1,) * x.ndim) if self.keepdim else index,), None
        index = _first(xp, find, x, self.axis)
        return (index if self.keepdim else xp.squeeze(index, axis=self.axis),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        """Give no gradient."""
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Every axis and all."""
        for kind in ("argmax", "argmin"):
            yield Sample(cls(kind), distinct(3, 4))
            yield Sample(cls(kind, 0), distinct(3, 4))
            yield Sample(cls(kind, 1, True), distinct(3, 4))


def _first(xp: Any, find: Any, x: Array, axis: int) -> Array:
    """Find the first index along an axis, which is kept; of nothing there are no indices."""
    if x.size == 0:
        return xp.zeros(reduced(x.shape, (axis,), True), dtype=INT64)  # type: ignore[no-any-return]
    return find(x, axis=axis, keepdims=True).astype(INT64, copy=False)  # type: ignore[no-any-return]


def _extreme(kind: str, input: Any, dim: Any, keepdim: bool | None, other: Any) -> Any:
    """Tell PyTorch's three forms apart."""
    if isinstance(dim, Tensor | np.ndarray):
        dim, other = None, dim
    if other is not None:
        if dim is not None or keepdim is not None:
            raise failure(kind, "either other or dim", error=KindError, dim=dim, other=other)
        return (maximum if kind == "max" else minimum)(input, other)
    x = as_tensor(input)
    if dim is not None:
        op = ExtremeAlong(kind, axis(dim, x.ndim, kind), bool(keepdim))
        return Extremes(*apply_all(op, x))
    if keepdim is not None:
        raise failure(kind, "dim together with keepdim", error=KindError, keepdim=keepdim)
    return _over_all(kind, x, False)


def _over_all(kind: str, x: Tensor, keepdim: bool) -> Tensor:
    if 0 in x.shape:
        raise failure(kind, "at least one element", hint="name a dim that has some", input=x)
    return apply(Extreme(kind, tuple(range(x.ndim)), keepdim), x)


@public
@numpy_names
def max(input: Any, dim: Any = None, keepdim: bool | None = None, *, other: Any = None) -> Any:
    """Give the largest element: of all, along a dimension with its index, or of two tensors.

    `max(x)` is a 0-d tensor, whose gradient is shared evenly among ties.  `max(x, dim)` is a
    named tuple (values, indices) of shapes (..., n, ...) -> (..., ...), or (..., 1, ...) with
    `keepdim`; at ties it is the first that counts and gets the gradient.  `max(x, other)` is
    `maximum`.  Raises ValueError for no elements at all, IndexError for none along `dim`.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 5.0], [7.0, 2.0]])
    >>> cr.max(x), cr.max(x, 1).indices, cr.max(x, cr.tensor(4.0))
    (tensor(7.0), tensor([1, 0]), tensor([[4.0, 5.0],
            [7.0, 4.0]]))
    """
    return _extreme("max", input, dim, keepdim, other)


@public
@numpy_names
def min(input: Any, dim: Any = None, keepdim: bool | None = None, *, other: Any = None) -> Any:
    """Give the smallest element: of all, along a dimension with its index, or of two tensors.

    The three forms of `max`.

    >>> import chainrule as cr
    >>> cr.min(cr.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=0).values
    tensor([1.0, 2.0])
    """
    return _extreme("min", input, dim, keepdim, other)


@public
@numpy_names
def amax(input: Any, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Give the largest elements along `dim` (an int, several, or () for all), without indices.

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  The gradient is shared
    evenly among ties.  Raises as `max`.

    >>> import chainrule as cr
    >>> cr.amax(cr.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1)
    tensor([5.0, 7.0])
    """
    return _amax("amax", input, dim, keepdim)


@public
@numpy_names
def amin(input: Any, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Give the smallest elements along `dim`; otherwise as `amax`.

    >>> import chainrule as cr
    >>> cr.amin(cr.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1)
    tensor([1.0, 2.0])
    """
    return _amax("amin", input, dim, keepdim)


def _amax(kind: str, input: Any, dim: Any, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    if dim is None or dim == () or dim == []:
        return _over_all(kind, x, bool(keepdim))
    return apply(Extreme(kind, some_or_all(dim, x, kind), bool(keepdim)), x)


@public
@numpy_names
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Give the index of the largest element, the first of several, along `dim` or in all.

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`; int64.  Without `dim`
    the index is that into the flattened input.  The first NaN is the largest.  Raises IndexError
    where there is nothing to choose from, TypeError for booleans.

    >>> import chainrule as cr
    >>> cr.argmax(cr.tensor([[1.0, 5.0], [7.0, 2.0]]), dim=1)
    tensor([1, 0])
    """
    return _arg("argmax", input, dim, keepdim)


@public
@numpy_names
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Give the index of the smallest element; otherwise as `argmax`.

    >>> import chainrule as cr
    >>> cr.argmin(cr.tensor([[1.0, 5.0], [7.0, 2.0]]))
    tensor(0)
    """
    return _arg("argmin", input, dim, keepdim)


def _arg(kind: str, input: Any, dim: Any, keepdim: bool) -> Tensor:
    x = as_tensor(input)
    where = None if dim is None else axis(dim, x.ndim, kind)
    return apply(ArgExtreme(kind, where, bool(keepdim)), x)
