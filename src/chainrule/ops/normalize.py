"""Vectors brought to length 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, away_from_zero, distinct
from chainrule.engine.tensor import Tensor, apply, as_tensor, mark_written
from chainrule.errors import GraphError, failure
from chainrule.ops.formulas import need_float, number
from chainrule.ops.norm_common import floats, sums
from chainrule.ops.reduce import some_or_all
from chainrule.ops.vector_norm import VectorNorm


@dataclass(frozen=True)
class Normalize(Op):
    """y = x / max(|x|_p, eps), the norm taken over the axes.

    gx = gy / d - s * gnorm with d = max(|x|_p, eps), s = the sum of gy * x / d**2 where the norm
    is not below eps, else 0, and gnorm the norm's gradient, that of VectorNorm.
    """

    axes: tuple[int, ...]
    p: float = 2.0
    eps: float = 1e-12

    @property
    def _norm(self) -> VectorNorm:
        return VectorNorm(self.axes, self.p, True)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        self._norm.infer(x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        data = floats(x)
        (norm,), saved = self._norm.forward(xp, data)
        with np.errstate(all="ignore"):
            y = data / xp.maximum(norm, self.eps)
            return (y.astype(x.dtype, copy=False),), (x, norm, saved)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, norm, inner = saved
        with np.errstate(all="ignore"):
            d = xp.maximum(norm, self.eps)
            gx = floats(gy) / d
            s = sums(xp, gx, self.axes, floats(x) / d)
            gnorm = xp.where(norm >= self.eps, -s, 0).astype(gx.dtype)
            (through,) = self._norm.backward(xp, inner, gnorm, (True,))
            if through is not None:  # as for p = 0
                gx += through
            return (gx.astype(x.dtype, copy=False),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((1,)), away_from_zero(3, 4))
        yield Sample(cls((0, 2), 2.0, 1e-3), away_from_zero(3, 2, 4))
        yield Sample(cls((1,), 2.0, 50.0), away_from_zero(3, 4, 2))
        for p in (1.0, 3.0, 1.5, 0.5, -1.0, inf, -inf, 0.0):
            yield Sample(cls((1,), p), distinct(2, 4, 3))
        yield Sample(cls(()), away_from_zero())


@public
def normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """Divide vectors by their p-norm, or by `eps` where that is larger.

    y = x / max(|x|_p, eps) with |x|_p = (sum of |x|**p along `dim`)**(1/p); p = inf is the largest
    |x|, 0 the number of values other than 0.  `dim` is an int, several, or None for all.  Vectors
    of zeros stay, and their gradient is gy / eps.

    Shapes: any -> the same.  With `out` the result is written there, without a graph.
    Raises AxisError for a dimension that is not there, KindError for integer inputs, ShapeError
    for an `out` of another shape, GraphError for one where the input wants a gradient.

    >>> import chainrule as cr
    >>> cr.nn.functional.normalize(cr.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6, 0.8],
            [0.0, 0.0]])
    """
    x = as_tensor(input)
    need_float("normalize", x)
    axes = some_or_all(dim, x, "normalize")
    op = Normalize(axes, number(p, "normalize p"), number(eps, "normalize eps"))
    y = apply(op, x)
    if out is None:
        return y
    if state.GRAD.get() and (x.requires_grad or out.requires_grad):
        raise GraphError("normalize: expected no gradients where out is given; use no_grad()")
    if out.shape != y.shape:
        raise failure("normalize", f"out of shape {y.shape}", out=out)
    out.array[...] = y.array
    mark_written(out)
    return out
