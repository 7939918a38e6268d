"""Running products and extremes along an axis, and the running logarithm of summed exponentials.

Running sums are in accumulate.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import INT64
from chainrule.engine.sample import Sample, away_from_zero, distinct, normal
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.arguments import axis, numpy_names
from chainrule.ops.formulas import need_float, quiet
from chainrule.ops.gather import lined, places
from chainrule.ops.reduce import summable
from chainrule.ops.sort import Selected

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


def from_the_end(xp: Any, running: Any, x: Array, dim: int) -> Array:
    """Accumulate from the last element to the first: `running` does it the usual way round."""
    return xp.flip(running(xp.flip(x, dim)), dim)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class CumProd(Op):
    """y_i = x_0 * ... * x_i along an axis.  gx_i = (gy_i * y_i + ... + gy_last * y_last) / x_i.

    At the first 0 the products are taken without it; behind it gx = 0.
    """

    dim: int

    @property
    def name(self) -> str:
        """The function's name."""
        return "cumprod"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=UndefinedKindError, input=x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> Forward:
        y = self._products(xp, x)
        return (y,), (x, y)

    def _products(self, xp: Any, x: Array) -> Array:
        """Multiply, in float64 inside."""
        y = xp.empty_like(x)
        wide = np.float64 if x.dtype.kind == "f" else x.dtype
        xp.cumprod(lined(x), axis=self.dim, dtype=wide, out=lined(y))
        return y  # type: ignore[no-any-return]

    def _sums(self, xp: Any, x: Array) -> Array:
        return xp.cumsum(x, axis=self.dim, dtype=np.float64)  # type: ignore[no-any-return]

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        x, y = map(lined, saved)
        g = lined(gy)

        def later(of: Array) -> Array:
            return from_the_end(xp, lambda v: self._sums(xp, v), g * of, self.dim)

        if x.all():
            gx = later(y) / x
        else:
            zero = x == 0
            zeros = xp.cumsum(zero, axis=self.dim)
            first = zero & (zeros == 1)
            without = self._products(xp, xp.where(first, 1, x).astype(x.dtype, copy=False))
            gx = xp.where(zeros == 0, later(y) / x, xp.where(first, later(without), 0))
        return (gx.astype(gy.dtype, copy=False).reshape(gy.shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), away_from_zero(4))
        yield Sample(cls(1), away_from_zero(2, 3, 2))
        yield Sample(cls(0), away_from_zero())
        yield Sample(cls(1), np.array([[0.5, 0.0, 2.0, -1.5], [0.0, 3.0, 0.0, 2.0], [1, 2, 3, 4]]))


@public
@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Give the running product along one `dim`.

    Shapes: any -> the same.  Integers and booleans give int64; `dtype` converts first.  The
    gradient is right where factors are 0.  Raises AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.cumprod(cr.tensor([1.0, 2.0, 3.0]), dim=0)
    tensor([1.0, 2.0, 6.0])
    """
    x = summable(input, dtype)
    return apply(CumProd(axis(dim, x.ndim, "cumprod")), x)


@dataclass(frozen=True)
class CumExtreme(Op):
    """y_i, k_i = the largest ("cummax") or smallest ("cummin") of x_0..x_i, and where it is last.

    gx = gy added at k.
    """

    kind: str
    dim: int

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return Spec(x.shape, x.dtype), Spec(x.shape, INT64, False)

    @quiet
    def forward(self, xp: Any, x: Array) -> Forward:
        x1, d = lined(x), self.dim
        better = xp.maximum if self.kind == "cummax" else xp.minimum
        y = better.accumulate(x1, axis=d)
        here = x1 == y
        if x.dtype.kind == "f":
            here = here | xp.isnan(x1)
        count = xp.arange(x1.shape[d]).reshape(-1, *(1,) * (x1.ndim - d - 1))
        index = xp.maximum.accumulate(xp.where(here, count, 0), axis=d).astype(INT64, copy=False)
        return (y.reshape(x.shape), index.reshape(x.shape)), index

    def backward(self, xp: Any, index: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        gx = xp.zeros(index.shape, gy[0].dtype)
        at = places(xp, index.shape, self.dim, index)
        xp.add.at(gx.reshape(-1), at.reshape(-1), gy[0].reshape(-1))
        return (gx.reshape(gy[0].shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for kind in ("cummax", "cummin"):
            yield Sample(cls(kind, 0), distinct(5))
            yield Sample(cls(kind, 1), distinct(2, 4, 3))
            yield Sample(cls(kind, 0), distinct())


@public
@numpy_names
def cummax(input: Tensor, dim: int) -> Selected:
    """Give the largest element so far along an axis, and its index, the last of several.

    Shapes: any -> the same twice, a named tuple (values, indices).  From the first NaN on it is
    NaN.  The gradient goes back to the element that the index names.
    Raises AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.cummax(cr.tensor([1, 3, 2, 3]), 0)
    Selected(values=tensor([1, 3, 3, 3]), indices=tensor([0, 1, 1, 3]))
    """
    return _extreme("cummax", input, dim)


@public
@numpy_names
def cummin(input: Tensor, dim: int) -> Selected:
    """Give the smallest element so far along an axis, and its index; otherwise as `cummax`.

    >>> import chainrule as cr
    >>> cr.cummin(cr.tensor([4, 3, 5, 2]), 0).values
    tensor([4, 3, 3, 2])
    """
    return _extreme("cummin", input, dim)


def _extreme(kind: str, input: Any, dim: Any) -> Selected:
    x = as_tensor(input)
    return Selected(*apply_all(CumExtreme(kind, axis(dim, x.ndim, kind)), x))


@dataclass(frozen=True)
class LogCumSumExp(Op):
    """y_i = log(exp x_0 + ... + exp x_i) along an axis.

    gx_i = exp(x_i) * (gy_i / exp(y_i) + ... + gy_last / exp(y_last)), on logarithms.
    """

    dim: int

    @property
    def name(self) -> str:
        """The function's name."""
        return "logcumsumexp"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> Forward:
        y = self._running(xp, lined(x)).reshape(x.shape)
        return (y,), (x, y)

    def _running(self, xp: Any, x: Array) -> Array:
        y = xp.logaddexp.accumulate(x, axis=self.dim, dtype=np.float64)
        return y.astype(x.dtype, copy=False)  # type: ignore[no-any-return]

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        x, y = map(lined, saved)
        g = lined(gy)

        def share(of: Array) -> Array:
            later = xp.log(xp.maximum(of, 0)) - y
            return xp.exp(from_the_end(xp, lambda v: self._running(xp, v), later, self.dim) + x)  # type: ignore[no-any-return]

        return ((share(g) - share(-g)).reshape(gy.shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(5))
        yield Sample(cls(1), normal(2, 4, 3))
        yield Sample(cls(0), normal())


@public
@numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Give log(exp(x_0) + ... + exp(x_i)) for every i along an axis, without overflow.

    Shapes: any -> the same.  Raises NotImplementedError for integers, AxisError for a wrong
    `dim`.

    >>> import chainrule as cr
    >>> cr.logcumsumexp(cr.tensor([0.0, 0.0, 500.0]), 0)
    tensor([0.0000, 0.6931, 500.0000])
    """
    x = as_tensor(input)
    return apply(LogCumSumExp(axis(dim, x.ndim, "logcumsumexp")), x)
