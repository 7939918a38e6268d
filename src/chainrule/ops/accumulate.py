"""Products, running sums, counts, and the logarithm of summed exponentials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import INT64
from chainrule.engine.sample import Sample, away_from_zero, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.arguments import axis
from chainrule.ops.broadcast import Shape, reduced, total
from chainrule.ops.reduce import Reduction, numpy_names, some_or_all, summable
from chainrule.ops.unary import floating

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


@dataclass(frozen=True)
class Prod(Reduction):
    """y = the product over the axes.  gx = gy * the product of the others."""

    axes: Shape
    keepdim: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape, the input's dtype."""
        return (Spec(reduced(x.shape, self.axes, self.keepdim), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Multiply."""
        with xp.errstate(all="ignore"):
            y = xp.asarray(xp.prod(x, axis=self.axes, dtype=x.dtype, keepdims=True))
        return (y.reshape(self._shape(x)),), (x, y)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Divide the product by each factor; where a factor is 0, multiply the others."""
        x, y = saved
        with xp.errstate(all="ignore"):
            gy = xp.reshape(gy, y.shape)
            if x.all():
                return (xp.divide(gy * y, x, out=xp.empty_like(x)),)
            return (xp.multiply(gy, self._others(xp, x), out=xp.empty_like(x)),)

    def _others(self, xp: Any, x: Array) -> Array:
        """Multiply, for each element, those before it and those after it along the axes."""
        left = x.ndim - len(self.axes)
        last = tuple(range(left, x.ndim))
        moved = xp.moveaxis(x, self.axes, last)
        flat = moved.reshape(*moved.shape[:left], -1)
        before, after = xp.ones_like(flat), xp.ones_like(flat)
        xp.cumprod(flat[..., :-1], axis=-1, out=before[..., 1:])
        xp.cumprod(flat[..., :0:-1], axis=-1, out=after[..., -2::-1])
        others = (before * after).reshape(moved.shape)
        return xp.moveaxis(others, last, self.axes)  # type: ignore[no-any-return]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Without zeros, with one, with two in a product."""
        yield Sample(cls((0, 1)), away_from_zero(2, 3))
        yield Sample(cls((1,), True), away_from_zero(2, 3, 2))
        yield Sample(cls((1,)), np.array([[0.0, 2.0, -3.0], [0.0, 1.5, 0.0], [1.0, 2.0, 0.5]]))
        yield Sample(cls((2, 0)), np.array([[[1.0, 0.0]], [[2.0, -1.5]]]))


@dataclass(frozen=True)
class LogSumExp(Reduction):
    """y = log(sum(exp x)) over the axes, the largest x taken out first.  gx = gy * exp(x - y)."""

    axes: Shape
    keepdim: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return "logsumexp"

    def forward(self, xp: Any, x: Array) -> Forward:
        """Shift by the maximum, which is left out where it is infinite."""
        with xp.errstate(all="ignore"):
            shape = reduced(x.shape, self.axes, True)
            if x.size:
                top = xp.amax(x, axis=self.axes, keepdims=True)
                top = xp.where(xp.isinf(top), xp.zeros_like(top), top)
            else:
                top = xp.zeros(shape, dtype=x.dtype)
            y = xp.log(total(xp, xp.exp(x - top), self.axes, True)) + top
            y = y.astype(x.dtype, copy=False)
        return (y.reshape(self._shape(x)),), (x, y)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Share the gradient out by the softmax."""
        x, y = saved
        with xp.errstate(all="ignore"):
            return (xp.exp(x - y) * xp.reshape(gy, y.shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """One axis, several, all."""
        yield Sample(cls((0, 1)), normal(3, 4))
        yield Sample(cls((1,), True), normal(2, 3, 4))
        yield Sample(cls((2, 0)), normal(2, 3, 4))


@dataclass(frozen=True)
class CumSum(Op):
    """y_i = x_0 + ... + x_i along an axis.  gx_i = gy_i + ... + gy_last."""

    axis: int

    @property
    def name(self) -> str:
        """The function's name."""
        return "cumsum"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype; booleans have no sums of their kind."""
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=UndefinedKindError, input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Add up, in float64 inside, so that a long float32 sum stays exact."""
        return (self._sums(xp, x),), None

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Add up from the end."""
        if gy.ndim == 0:
            return (gy,)
        return (xp.flip(self._sums(xp, xp.flip(gy, self.axis)), self.axis),)

    def _sums(self, xp: Any, x: Array) -> Array:
        y = xp.empty_like(x)
        if x.ndim == 0:
            y[...] = x
            return y  # type: ignore[no-any-return]
        with xp.errstate(all="ignore"):
            wide = np.float64 if x.dtype.kind == "f" else x.dtype
            xp.cumsum(x, axis=self.axis, dtype=wide, out=y)
        return y  # type: ignore[no-any-return]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """The first, a middle and the last axis."""
        yield Sample(cls(0), normal(4))
        yield Sample(cls(1), normal(2, 3, 2))
        yield Sample(cls(2), normal(2, 1, 4))


@dataclass(frozen=True)
class CountNonzero(Op):
    """y = how many elements along the axes differ from 0; int64, without gradient."""

    axes: Shape

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape, int64."""
        return (Spec(reduced(x.shape, self.axes, False), INT64, False),)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Count."""
        return (xp.asarray(xp.sum(x != 0, axis=self.axes, dtype=INT64)),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        """Give no gradient."""
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """With zeros."""
        yield Sample(cls((0, 1)), np.array([[0.0, 1.0], [np.nan, -0.0]]))
        yield Sample(cls((1,)), np.array([[0, 1, 2], [0, 0, 3]]))


@public
@numpy_names
def prod(input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Multiply the elements along one `dim`, or all.

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  Integers and booleans
    give int64; `dtype` converts first.  The product of nothing is 1.  The gradient is right where
    factors are 0.

    >>> import chainrule as cr
    >>> cr.prod(cr.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
    tensor([2.0, 12.0])
    """
    x = summable(input, dtype)
    if dim is not None:
        axis(dim, x.ndim, "prod")
    return apply(Prod(some_or_all(dim, x, "prod"), bool(keepdim)), x)


@public
@numpy_names
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Tensor:
    """Give log(sum(exp(input))) along `dim` (an int or several) without overflow.

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`; integers give float32.
    The gradient is the softmax.  -infinity of nothing and of -infinities, whose gradient is NaN.

    >>> import chainrule as cr
    >>> cr.logsumexp(cr.tensor([[500.0, 500.0], [0.0, 1.0]]), dim=1)
    tensor([500.6931, 1.3133])
    """
    if dim is None:
        raise failure("logsumexp", "an integer or several for dim", error=KindError, dim=dim)
    x = floating(input)
    return apply(LogSumExp(some_or_all(dim, x, "logsumexp"), bool(keepdim)), x)


@public
@numpy_names
def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Tensor:
    """Give the running sum along one `dim`.

    Shapes: any -> the same.  Integers and booleans give int64; `dtype` converts first.

    >>> import chainrule as cr
    >>> cr.cumsum(cr.tensor([1.0, 2.0, 3.0]), dim=0)
    tensor([1.0, 3.0, 6.0])
    """
    x = summable(input, dtype)
    return apply(CumSum(axis(dim, x.ndim, "cumsum")), x)


@public
@numpy_names
def count_nonzero(input: Any, dim: Any = None) -> Tensor:
    """Count the elements that differ from 0 along `dim` (an int, several, or None for all).

    Shapes: (..., n, ...) -> (..., ...), int64.  NaN differs from 0.

    >>> import chainrule as cr
    >>> cr.count_nonzero(cr.tensor([[0, 1], [2, 3]]), dim=0)
    tensor([1, 2])
    """
    x = as_tensor(input)
    return apply(CountNonzero(some_or_all(dim, x, "count_nonzero")), x)
