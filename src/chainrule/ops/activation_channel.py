"""Activations that know channels: prelu, a slope for each; maxout, over groups; glu, of halves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, away_from_zero, distinct, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axis, integer
from chainrule.ops.broadcast import empty_in, layout, total
from chainrule.ops.formulas import choose, logistic, need_float, quiet


@dataclass(frozen=True)
class PReLU(Op):
    """y = x where x > 0, else w * x, with one w for all or one for each channel (axis 1).

    gx = gy where x > 0, else w * gy;  gw = sum of gy * x over its x <= 0.
    """

    name = "prelu"

    def infer(self, x: Spec, w: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        if w.dtype != x.dtype:
            rule = "input and weight of one dtype"
            raise failure(self, rule, error=KindError, input=x, weight=w)
        channels = x.shape[1] if x.ndim > 1 else 1
        if w.ndim > 1 or (w.shape not in ((), (1,), (channels,))):
            rule = f"one weight, or one for each of {channels} channels"
            raise failure(self, rule, input=x, weight=w)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array, w: Array) -> tuple[tuple[Array, ...], Any]:
        y = xp.minimum(x, 0) * _per_channel(w, x.ndim)
        y += xp.maximum(x, 0)
        return (y,), (x, w)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, w = saved
        gx = gw = None
        if needs[0]:
            gx = choose(xp, x > 0, _per_channel(w, x.ndim), gy.dtype)
            gx *= gy
        if needs[1]:
            below = xp.asarray(gy * xp.minimum(x, 0))
            many = w.shape not in ((), (1,))
            axes = tuple([a for a in range(x.ndim) if a != 1 or not many])
            gw = total(xp, below, axes).astype(w.dtype, copy=False).reshape(w.shape)
        return gx, gw

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4), normal(4))
        yield Sample(cls(), away_from_zero(3, 4), normal(1))
        yield Sample(cls(), away_from_zero(2, 3, 5), normal(3))
        yield Sample(cls(), away_from_zero(2, 3, 2, 3), normal())
        yield Sample(cls(), away_from_zero(5), normal(1))
        yield Sample(cls(), away_from_zero(), normal(1))


def _per_channel(w: Array, ndim: int) -> Array:
    """See the weight (C,) as (C, 1, ..., 1), so that it meets axis 1; a single one as 0-d."""
    return w.reshape(()) if w.size == 1 else w.reshape(-1, *(1,) * (ndim - 2))


@public
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Leaky ReLU with a learned slope (He et al., 2015): x where x > 0, else weight * x.

    Shapes: input (N, C, ...) or any, weight (), (1,) or (C,) -> the input's.  At exactly 0
    the gradient is that of the negative side.  Raises ShapeError for another number of
    weights, TypeError for integers and for two dtypes.

    >>> import chainrule as cr
    >>> cr.prelu(cr.tensor([[-2.0, -2.0], [1.0, 3.0]]), cr.tensor([0.5, 0.25]))
    tensor([[-1.0, -0.5],
            [ 1.0,  3.0]])
    """
    return apply(PReLU(), input, weight)


@dataclass(frozen=True)
class Maxout(Op):
    """y = the largest of each group of `pool` consecutive channels; gx = gy at that one, else 0."""

    pool: int
    axis: int = 1

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=KindError, input=x)
        channels = x.shape[self.axis]
        if self.pool < 1 or channels % self.pool:
            rule = f"channels in whole groups of pool_size >= 1: {channels} / {self.pool}"
            raise failure(self, rule, input=x)
        before, after = x.shape[: self.axis], x.shape[self.axis + 1 :]
        return (Spec((*before, channels // self.pool, *after), x.dtype),)

    def _grouped(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Give (..., C, ...) as (..., C / pool, pool, ...)."""
        a = self.axis
        return (*shape[:a], shape[a] // self.pool, self.pool, *shape[a + 1 :])

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        a = self.axis + 1
        groups = x.reshape(self._grouped(x.shape))
        winner = xp.expand_dims(groups.argmax(a), a)  # the first of equals; a NaN wins
        y = xp.take_along_axis(groups, winner, a).squeeze(a)
        return (y,), (winner.astype(np.min_scalar_type(self.pool)), x.shape)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        winner, shape = saved
        a = self.axis + 1
        groups = xp.zeros(self._grouped(shape), gy.dtype)
        xp.put_along_axis(groups, winner.astype(np.intp), xp.expand_dims(gy, a), a)
        return (groups.reshape(shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2), distinct(3, 4))
        yield Sample(cls(3), distinct(2, 6, 2, 3))
        yield Sample(cls(1), distinct(2, 3, 4))
        yield Sample(cls(2, axis=2), distinct(2, 3, 4))
        yield Sample(cls(4, axis=0), distinct(4))


@public
def maxout(input: Tensor, pool_size: int, dim: int = 1) -> Tensor:
    """Keep the largest of each `pool_size` consecutive channels (Goodfellow et al., 2013).

    y[:, k] = max(x[:, k p], ..., x[:, k p + p - 1]) with p = pool_size: where the input is a
    linear layer of p outputs a unit, this is deck 000's "Maxout", max(w1 x + b1, w2 x + b2).
    PyTorch has no such function.

    Shapes: (N, C, ...) -> (N, C / p, ...), or likewise along another `dim`.  The gradient goes
    to the winner alone, of equal ones to the first.  Raises ShapeError where p does not divide
    C, IndexError for a dimension that is not there.

    >>> import chainrule as cr
    >>> cr.maxout(cr.tensor([[1.0, 5.0, -3.0, -2.0]]), 2)
    tensor([[ 5.0, -2.0]])
    """
    x = as_tensor(input)
    if x.ndim == 0:
        raise failure("maxout", "a tensor with channels, not a 0-D one", input=x)
    op = Maxout(integer(pool_size, "maxout pool_size"), axis(dim, x.ndim, "maxout"))
    return apply(op, x)


@dataclass(frozen=True)
class GLU(Op):
    """y = a s(b) for the halves a, b of x along `axis`, s the sigmoid.

    ga = gy s(b), gb = gy a s(b) (1 - s(b)).
    """

    axis: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        size = x.shape[self.axis]
        if size % 2:
            rule = f"two halves along the dimension, but {size} % 2 = 1"
            raise failure(self, rule, input=x)
        shape = (*x.shape[: self.axis], size // 2, *x.shape[self.axis + 1 :])
        return (Spec(shape, x.dtype),)

    def _halves(self, x: Array) -> tuple[Array, Array]:
        before, half = (slice(None),) * self.axis, x.shape[self.axis] // 2
        return x[(*before, slice(half))], x[(*before, slice(half, None))]

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        a, b = self._halves(x)
        y = logistic(xp, b)
        y *= a
        return (y,), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        a, b = self._halves(saved)
        gx = empty_in(xp, layout(saved), gy.dtype)
        ga, gb = self._halves(gx)
        s = logistic(xp, b)
        xp.multiply(gy, s, out=ga)
        xp.multiply(ga, 1 - s, out=gb)
        gb *= a
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), normal(3, 4))
        yield Sample(cls(0), normal(6))
        yield Sample(cls(1), normal(2, 6, 3, 2))
        yield Sample(cls(3), normal(2, 3, 1, 2))


@public
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Gated linear unit (Dauphin et al., 2017): the first half times the sigmoid of the second.

    Shapes: (..., 2 n, ...) -> (..., n, ...), halved along `dim`.  Raises ShapeError for an odd
    size and for a tensor without dimensions, IndexError for a dimension that is not there,
    TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.glu(cr.tensor([[4.0, -4.0, 0.0, 100.0]]))
    tensor([[ 2.0, -4.0]])
    """
    x = as_tensor(input)
    if x.ndim == 0:
        raise failure("glu", "a tensor with a dimension to halve", input=x)
    return apply(GLU(axis(dim, x.ndim, "glu")), x)
