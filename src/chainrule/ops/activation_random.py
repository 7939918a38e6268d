"""Activations that draw: the randomised leaky ReLU, and softmax of noisy scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.random import Generator, default_generator
from chainrule.engine.sample import Sample, away_from_zero, distinct, positive
from chainrule.engine.tensor import Tensor, apply, as_tensor, meta_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.activation import leaky_relu
from chainrule.ops.arguments import axis
from chainrule.ops.elementwise import div
from chainrule.ops.formulas import choose, need_float, number, quiet
from chainrule.ops.softmax import softmax


@dataclass(frozen=True)
class RReLU(Op):
    """y = x where x > 0, else slope * x, with a slope for each element.

    gx = gy where x > 0, else slope * gy; gs = gy * x where x <= 0, else 0.
    """

    name = "rrelu"

    def infer(self, x: Spec, slopes: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        if slopes.shape != x.shape or slopes.dtype != x.dtype:
            rule = "one slope for each element, of the input's dtype"
            raise failure(self, rule, error=KindError, input=x, slopes=slopes)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array, slopes: Array) -> tuple[tuple[Array, ...], Any]:
        factors = choose(xp, xp.logical_not(x <= 0), slopes, x.dtype)
        return (x * factors,), (x, factors)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, factors = saved
        return (
            gy * factors if needs[0] else None,
            gy * xp.minimum(x, 0) if needs[1] else None,
        )

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4), positive(3, 4))
        yield Sample(cls(), away_from_zero(2, 3, 5), away_from_zero(2, 3, 5))
        yield Sample(cls(), away_from_zero(), positive())


@public
def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Leaky ReLU whose slope is drawn for each element in [lower, upper) (Xu et al., 2015).

    That is while training; otherwise the slope is the mean, (lower + upper) / 2, for all.

    Shapes: any -> the same.  At exactly 0 the gradient is that of the negative side.  The slopes
    come from `generator`, or from the global one.  `inplace` is accepted and changes nothing.
    Raises ValueError if lower > upper or one is not finite, TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.rrelu(cr.tensor([-4.0, 3.0]), 0.25, 0.75)
    tensor([-2.0, 3.0])
    >>> y = cr.nn.functional.rrelu(-cr.ones(1000), 0.25, 0.75, True)
    >>> bool(((y <= -0.25) & (y >= -0.75)).all())
    True
    """
    x = as_tensor(input)
    low, high = number(lower, "rrelu lower"), number(upper, "rrelu upper")
    if not (isfinite(low) and isfinite(high) and low <= high):
        raise failure("rrelu", "finite lower <= upper", lower=lower, upper=upper)
    need_float("rrelu", x)
    if not training or low == high:
        return leaky_relu(x, (low + high) / 2)
    slopes: Any
    if x.is_meta:
        slopes = meta_tensor(x.shape, x.dtype)
    else:
        slopes = (generator or default_generator()).uniform(x.shape, x.dtype, low, high)
    return apply(RReLU(), x, slopes)


@dataclass(frozen=True)
class OneHotMax(Op):
    """y = 1 at the largest value along `axis` (the first of equals), else 0; without a gradient."""

    axis: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (x._replace(differentiable=False),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = xp.zeros_like(x)
        if x.ndim == 0:
            return (y + 1,), None
        if x.size:
            winner = xp.expand_dims(x.argmax(self.axis), self.axis)
            xp.put_along_axis(y, winner, 1, self.axis)
        return (y,), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), distinct(3, 4))
        yield Sample(cls(0), distinct(2, 3, 4))


@public
def gumbel_softmax(
    logits: Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Draw from the classes in a way that has gradients: softmax((logits + g) / tau).

    g is drawn for each score as -log(-log(u)), u uniform (Jang et al., 2017; Maddison et al.,
    2017), so that the largest one is a sample by the probabilities softmax(logits); the smaller
    tau, the nearer the result to its one-hot vector.  With `hard` the value is this vector, the
    gradient still that of the softmax.  `eps` is ignored, with a warning.

    Shapes: any -> the same.  The draws come from `generator`, or from the global one.  Raises
    IndexError for a dimension that is not there, TypeError for integers.

    >>> import chainrule as cr
    >>> p = cr.tensor([0.2, 0.5, 0.3]).log().expand(10000, 3)
    >>> y = cr.nn.functional.gumbel_softmax(p, hard=True, generator=cr.Generator(0))
    >>> y.mean(0).round(decimals=1)
    tensor([0.2, 0.5, 0.3])
    """
    x = as_tensor(logits)
    need_float("gumbel_softmax", x)
    if eps != 1e-10:
        warnings.warn("gumbel_softmax: eps has no effect", stacklevel=2)
    a = axis(dim, x.ndim, "gumbel_softmax")
    soft = softmax(div(x + _gumbel(x, generator), tau), a)
    if not hard:
        return soft
    return apply(OneHotMax(a), soft.detach()) - soft.detach() + soft


def _gumbel(x: Tensor, generator: Generator | None) -> Tensor:
    """Draw standard Gumbel values of the tensor's shape and dtype."""
    if x.is_meta:
        return meta_tensor(x.shape, x.dtype)
    u = (generator or default_generator()).uniform(x.shape, x.dtype, 0.0, 1.0)
    u = np.maximum(u, np.finfo(u.dtype).tiny)
    return Tensor(np.asarray(-np.log(-np.log(u))))
