"""Batch normalisation; the channel axis is axis 1, as everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal, positive
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor
from chainrule.errors import AxisError, ShapeError, UndefinedKindError, failure
from chainrule.ops.arguments import flag
from chainrule.ops.norm_common import (
    FLOAT32,
    LONG,
    check_parameters,
    check_running,
    combine,
    floats,
    mean_of,
    move,
    number,
    running_statistics,
    spec,
    weight_and_bias,
)
from chainrule.ops.shape import clone


def _along(values: Array, ndim: int) -> Array:
    """View (C,) values so that they broadcast along axis 1 of an ndim-dimensional array."""
    view: Array = values.reshape(-1, *(1,) * (ndim - 2))
    return view


def _total(xp: Any, a: Array, b: Array | None = None) -> Array:
    """Sum a, or a*b, over all axes but the channels: (N, C, ...) -> (C,) in float64.

    In two stages, of which the first is in the data's dtype: along memory, but not so far that
    rounding adds up.
    """
    every = list(range(a.ndim))
    if a.ndim > 2 and abs(a.strides[1]) < abs(a.strides[-1]):  # channels-last memory
        kept = [0, *every[3:], 1] if a.ndim > 3 else [2, 1]
    else:
        kept = every[:-1] if prod(a.shape[2:]) > LONG else [0, 1]
    operands = (a, every) if b is None else (a, every, b, every)
    axes = tuple([place for place, axis in enumerate(kept) if axis != 1])
    total: Array = xp.einsum(*operands, kept).sum(axis=axes, dtype=xp.float64)
    return total


@dataclass(frozen=True)
class BatchNorm(Op):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each channel.

    In training the inputs are (x [, weight, bias]), mean and variance are the batch's own, and
    the outputs are (y, mean, biased variance); otherwise the inputs are
    (x, mean, variance [, weight, bias]) and y is the only output.

    With r = 1 / sqrt(variance + eps), xhat = (x - mean) * r and n values for each channel:
    gbias = sum(gy), gweight = sum(gy * xhat), gx = gy * weight * r, from which training takes
    away its mean and its part along xhat: weight * r / n * (sum(gy) + xhat * sum(gy * xhat)).
    """

    training: bool = True
    eps: float = 1e-5

    def infer(self, x: Spec, *rest: Spec) -> tuple[Spec, ...]:
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        if len(x.shape) < 2:
            error = ShapeError if x.shape else AxisError  # as PyTorch
            raise failure(self, "at least 2 axes: (N, C, ...)", error=error, x=x)
        names = ("weight", "bias") if self.training else ("mean", "variance", "weight", "bias")
        given = zip(names, rest, strict=False)
        check_parameters(self, x, (x.shape[1],), "one value for each channel of x", given)
        if not self.training:
            return (x,)
        counts = x.shape[:1] + x.shape[2:]
        if prod(counts) == 1:
            product = " * ".join(map(str, counts))
            rule = f"more than 1 value per channel when training, not {product} = 1"
            hint = "use a larger batch, or evaluation mode"
            raise failure(self, rule, hint=hint, x=x)
        stat = Spec((x.shape[1],), FLOAT32 if x.dtype.itemsize == 2 else x.dtype, False)
        return (x, stat, stat)

    def forward(self, xp: Any, x: Array, *rest: Array) -> tuple[tuple[Array, ...], Any]:
        # Values are centred in the data's dtype; `offset` is what rounding left of the mean, which
        # a large mean would otherwise carry into the variance.  (C,) values are in float64.
        data = floats(x)
        offset: Any = 0.0
        affine = rest if self.training else rest[2:]
        n = x.size // x.shape[1] if x.size else 1
        with np.errstate(all="ignore"):
            centre = (_total(xp, data) / n if self.training else rest[0]).astype(data.dtype)
            y = data - _along(centre, x.ndim)
            if self.training:
                offset = _total(xp, y) / n
                variance = xp.maximum(_total(xp, y, y) / n - offset * offset, 0.0)
            else:
                variance = rest[1].astype(xp.float64)
            r = 1.0 / xp.sqrt(variance + self.eps)
            gain = r * affine[0] if affine else r
            shift = affine[1] - offset * gain if affine else -offset * gain
            y *= _along(gain.astype(y.dtype), x.ndim)
            y += _along(shift.astype(y.dtype), x.ndim)
            y = y.astype(x.dtype, copy=False)
            saved = (x, centre, offset, r, *affine[:1])
            if not self.training:
                return (y,), saved
            return (y, mean_of(xp, centre, offset), variance.astype(centre.dtype)), saved

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, centre, offset, r, *weight = saved
        g = floats(gy[0] if self.training else gy)
        kind = weight[0].dtype if weight else centre.dtype
        n = x.size // x.shape[1] if x.size else 1
        with np.errstate(all="ignore"):
            gain = r * weight[0] if weight else r
            total = _total(xp, g)
            d: Any = None  # x - mean, but for the offset
            along: Any = 0.0  # the sum of g * (x - mean)
            if self.training or any(needs[2:]):
                d = floats(x) - _along(centre, x.ndim)
                along = _total(xp, g, d) - offset * total
            gx: Any = None
            if needs[0]:
                slope = r * r * along / n
                gx = self._input_gradient(xp, x, g, d, gain, total / n, slope, offset)
            rest = [] if self.training else [-gain * total, -0.5 * gain * r * r * along]
            rest += [along * r, total] if weight else []
            wanted = zip(rest, needs[1:], strict=True)
            return (gx, *[value.astype(kind) if need else None for value, need in wanted])

    def _input_gradient(
        self, xp: Any, x: Array, g: Array, d: Any, gain: Array, mean: Array, slope: Any, offset: Any
    ) -> Array:
        """Give gain * (g - mean - (d - offset) * slope) in training (d is lost), else gain * g."""
        gx: Array = xp.empty_like(x, dtype=g.dtype)
        if self.training:
            factors = (gain, gain * slope, gain * (mean - slope * offset))
            combine(xp, gx, g, d, *[_along(v, x.ndim) for v in factors])
        else:
            xp.multiply(g, _along(gain.astype(g.dtype), x.ndim), out=gx)
        return gx.astype(x.dtype, copy=False)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(True, 1e-5), normal(5, 3))
        yield Sample(cls(True, 1e-3), normal(4, 3), normal(3), normal(3))
        yield Sample(cls(True, 1e-5), normal(2, 3, 5), positive(3), normal(3))
        yield Sample(cls(True, 0.1), normal(2, 3, 3, 4), normal(3), normal(3))
        yield Sample(cls(True, 1e-2), normal(1, 2, 3, 2, 3), normal(2), normal(2))
        yield Sample(cls(False, 1e-5), normal(3, 4), normal(4), positive(4))
        yield Sample(
            cls(False, 1e-3), normal(2, 3, 3, 4), normal(3), positive(3), normal(3), normal(3)
        )
        yield Sample(cls(False, 0.0), normal(2, 3, 5), normal(3), positive(3), normal(3), normal(3))


@public
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Give each channel mean 0 and variance 1, then scale and shift (Ioffe and Szegedy, 2015).

    y = (x - mean) / sqrt(variance + eps) * weight + bias.  In training, mean and (biased) variance
    are those of the batch, and the running ones, if given, are moved towards them in place:
    running = (1 - momentum) * running + momentum * batch's, with the unbiased variance.
    Otherwise the running ones are used.  An empty batch gives an empty result and moves nothing.

    Shapes: (N, C, ...) -> the same; running_mean, running_var, weight, bias: (C,).
    Raises ShapeError for other shapes, for a single value per channel in training (its variance
    is 0) and for missing running values otherwise; KindError for integers and mixed dtypes (with
    a float16 input the others may be float32); GraphError for running values that want gradients.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> mean, var = cr.zeros(2), cr.ones(2)
    >>> cr.nn.functional.batch_norm(x, mean, var, training=True)
    tensor([[-1.0, -1.0],
            [ 1.0,  1.0]])
    >>> mean
    tensor([0.2, 2.0])
    """
    given = (input, running_mean, running_var, weight, bias)
    return normalise("batch_norm", BatchNorm, *given, training, momentum, eps)


def normalise(
    name: str,
    kind: type[BatchNorm],
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Run `kind`, batch norm or an operation made of it, and move the running statistics.

    Arguments, result and errors are those of `batch_norm`; `name` is the function's in messages.
    """
    x = as_tensor(input)
    training = flag(training, f"{name} training")
    eps, momentum = number(eps, f"{name} eps"), number(momentum, f"{name} momentum")
    if eps < 0 or (training and eps == 0):
        raise failure(name, f"eps {'> 0 in training' if training else '>= 0'}", eps=eps)
    running = running_statistics(name, running_mean, running_var, training, "training")
    if x.shape == (0,):  # nothing, of which there is not even a channel: PyTorch takes it
        return clone(x)
    parameters = weight_and_bias(name, weight, bias)
    if not training:
        return apply(kind(False, eps), x, *running, *parameters)
    y, mean, variance = apply_all(kind(True, eps), x, *parameters)
    check_running(name, running, x, spec(mean))
    if running and not y.is_meta and x.array.size:
        n = x.array.size // x.shape[1]
        move(running[0], mean.array, momentum)
        move(running[1], variance.array * (n / (n - 1)), momentum)
    return y
