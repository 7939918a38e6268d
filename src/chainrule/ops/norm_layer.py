"""Normalisation over the last axes: layer normalisation, and by the root mean square."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, away_from_zero, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.arguments import int_tuple
from chainrule.ops.norm_common import (
    Axes,
    centred,
    check_parameters,
    combine,
    count,
    floats,
    number,
    sums,
    vector,
    weight_and_bias,
)


class OverLastAxes(Op, register=False):
    """Base of the operations that normalise each row, the values of the last axes together."""

    shape: tuple[int, ...]

    def infer(self, x: Spec, *parameters: Spec) -> tuple[Spec, ...]:
        """The input's shape, which must end in the normalised one, and dtype."""
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        if not self.shape:
            raise failure(self, "a normalized_shape of at least 1 axis", x=x)
        if x.shape[-len(self.shape) :] != self.shape:
            rule = f"an input (..., {', '.join(map(str, self.shape))}), the normalized_shape"
            raise failure(self, rule, x=x)
        given = zip(("weight", "bias"), parameters, strict=False)
        check_parameters(self, x, self.shape, "the normalized_shape", given)
        return (x,)

    def _axes(self, ndim: int) -> Axes:
        return tuple(range(ndim - len(self.shape), ndim))

    def _gradients(
        self, xp: Any, x: Array, xhat: Array, r: Array, g: Array, needs: tuple[bool, ...], w: Any
    ) -> list[Any]:
        """Give the gradients of x, weight and bias; xhat = x * r (or centred) is lost.

        gx = r * (gw - xhat * mean(gw * xhat)), less r * mean(gw) if rows were centred (`_mean`).
        """
        axes = self._axes(x.ndim)
        lead, n = tuple(range(axes[0])), count(x.shape, axes)
        rest: list[Any] = []
        for need, other in zip(needs[1:], (xhat, None), strict=False):
            total = sums(xp, g, lead, other).reshape(self.shape).astype(w.dtype) if need else None
            rest.append(total)
        gx: Any = None
        if needs[0]:
            gw = g if w is None else g * w
            slope = r * sums(xp, gw, axes, xhat) / n
            shift = r * sums(xp, gw, axes) / n if isinstance(self, LayerNorm) else None
            gx = xp.empty_like(x, dtype=g.dtype)
            combine(xp, gx, gw, xhat, r, slope, shift)
            gx = gx.astype(x.dtype, copy=False)
        return [gx, *rest]


@dataclass(frozen=True)
class LayerNorm(OverLastAxes):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each row.

    A row is all of the last axes, those of `shape`; the inputs are (x [, weight, bias]).  With
    r = 1 / sqrt(variance + eps), xhat = (x - mean) * r and g = gy * weight:
    gx = r * (g - mean(g) - xhat * mean(g * xhat)), gweight and gbias are the sums of gy * xhat
    and of gy over the rows.
    """

    shape: tuple[int, ...]
    eps: float = 1e-5

    def forward(self, xp: Any, x: Array, *affine: Array) -> tuple[tuple[Array, ...], Any]:
        data = floats(x)
        with np.errstate(all="ignore"):
            centre, y, offset, variance = centred(xp, data, self._axes(x.ndim))
            r = 1.0 / xp.sqrt(variance + self.eps)
            y -= offset.astype(y.dtype)
            y *= r.astype(y.dtype)
            if affine:
                y *= affine[0]
                y += affine[1]
            return (y.astype(x.dtype, copy=False),), (x, centre, offset, r, *affine[:1])

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, centre, offset, r, *weight = saved
        with np.errstate(all="ignore"):
            xhat = floats(x) - centre
            xhat -= offset.astype(xhat.dtype)
            xhat *= r.astype(xhat.dtype)
            w = weight[0] if weight else None
            return tuple(self._gradients(xp, x, xhat, r, floats(gy), needs, w))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((4,)), normal(3, 4))
        yield Sample(cls((5,), 1e-2), normal(2, 3, 5), normal(5), normal(5))
        yield Sample(cls((3, 4), 0.1), normal(2, 2, 3, 4), normal(3, 4), normal(3, 4))
        yield Sample(cls((2, 3, 2), 1e-3), normal(2, 2, 3, 2), normal(2, 3, 2), normal(2, 3, 2))
        yield Sample(cls((7,), 1e-4), normal(7), normal(7), normal(7))


@public
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Give each row mean 0 and variance 1, then scale and shift (Ba, Kiros and Hinton, 2016).

    y = (x - mean) / sqrt(variance + eps) * weight + bias, the (biased) variance and the mean taken
    over the last axes, whose sizes `normalized_shape` names.

    Shapes: (..., *normalized_shape) -> the same; weight and bias: normalized_shape.  No rows give
    none.
    Raises ShapeError for other shapes; KindError for a normalized_shape that is no tuple of
    integers, for integer inputs and for mixed dtypes (with a float16 input the others may be
    float32).

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 3.0], [10.0, 30.0]])
    >>> cr.nn.functional.layer_norm(x, (2,), bias=cr.tensor([0.0, 1.0]))
    tensor([[-1.0,  2.0],
            [-1.0,  2.0]])
    """
    shape = int_tuple(normalized_shape, "layer_norm normalized_shape", bare=False)
    op = LayerNorm(shape, number(eps, "layer_norm eps"))
    return apply(op, as_tensor(input), *weight_and_bias("layer_norm", weight, bias))


@dataclass(frozen=True)
class RMSNorm(OverLastAxes):
    """y = x / sqrt(mean(x**2) + eps) * weight, for each row; the inputs are (x [, weight]).

    With r = 1 / sqrt(mean(x**2) + eps), xhat = x * r and g = gy * weight:
    gx = r * (g - xhat * mean(g * xhat)), gweight = the sum of gy * xhat over the rows.
    """

    shape: tuple[int, ...]
    eps: float = 1e-5

    name = "rms_norm"

    def forward(self, xp: Any, x: Array, *weight: Array) -> tuple[tuple[Array, ...], Any]:
        data, axes = floats(x), self._axes(x.ndim)
        with np.errstate(all="ignore"):
            square = sums(xp, data, axes, data) / count(x.shape, axes)
            r = 1.0 / xp.sqrt(square + self.eps)
            y = data * r.astype(data.dtype)
            if weight:
                y *= weight[0]
            return (y.astype(x.dtype, copy=False),), (x, r, *weight)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, r, *weight = saved
        with np.errstate(all="ignore"):
            data = floats(x)
            xhat = data * r.astype(data.dtype)
            w = weight[0] if weight else None
            return tuple(self._gradients(xp, x, xhat, r, floats(gy), needs, w))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((4,)), away_from_zero(3, 4))
        yield Sample(cls((5,), 1e-2), normal(2, 3, 5), normal(5))
        yield Sample(cls((3, 4), 0.1), normal(2, 2, 3, 4), normal(3, 4))
        yield Sample(cls((7,), 1e-4), normal(7), normal(7))


@public
def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Give each row the root mean square 1, then scale (Zhang and Sennrich, 2019).

    y = x / sqrt(mean(x**2) + eps) * weight, the mean taken over the last axes, whose sizes
    `normalized_shape` names.  An `eps` of None is the smallest number that added to 1 makes a
    difference, in the input's dtype (in float32 for float16).

    Shapes: (..., *normalized_shape) -> the same; weight: normalized_shape.
    Raises as `layer_norm` does.

    >>> import chainrule as cr
    >>> cr.nn.functional.rms_norm(cr.tensor([[1.0, 7.0]]), (2,))
    tensor([[0.2, 1.4]])
    """
    x = as_tensor(input)
    shape = int_tuple(normalized_shape, "rms_norm normalized_shape", bare=False)
    if eps is None:
        wide = x.dtype if x.dtype.kind == "f" and x.dtype.itemsize > 2 else np.float32
        eps = float(np.finfo(wide).eps)
    parameters = () if weight is None else (vector("rms_norm", "weight", weight),)
    return apply(RMSNorm(shape, number(eps, "rms_norm eps")), x, *parameters)
