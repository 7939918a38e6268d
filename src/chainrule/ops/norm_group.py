"""Normalisation of each image by itself: by groups of channels, or each channel alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor
from chainrule.errors import AxisError, UndefinedKindError, failure
from chainrule.ops.arguments import flag, integer
from chainrule.ops.norm import BatchNorm
from chainrule.ops.norm_common import (
    FLOAT32,
    centred,
    check_parameters,
    check_running,
    combine,
    count,
    floats,
    mean_of,
    move,
    number,
    running_statistics,
    spec,
    sums,
    weight_and_bias,
)


@dataclass(frozen=True)
class GroupNorm(Op):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, for each group of an image's channels.

    The inputs are (x [, weight, bias]), the outputs (y, mean, biased variance), the statistics of
    shape (N, groups).  With r = 1 / sqrt(variance + eps), xhat = (x - mean) * r, g = gy * weight
    and means over a group: gx = r * (g - mean(g) - xhat * mean(g * xhat)); gweight and gbias are
    the sums of gy * xhat and of gy for each channel.
    """

    groups: int
    eps: float = 1e-5

    def infer(self, x: Spec, *parameters: Spec) -> tuple[Spec, ...]:
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        if x.ndim < 2:
            raise failure(self, "at least 2 axes: (N, C, ...)", x=x)
        channels = x.shape[1]
        if self.groups < 1 or channels % self.groups:
            rule = "channels that divide into num_groups >= 1"
            raise failure(self, f"{rule}: {channels} / {self.groups}", x=x)
        given = zip(("weight", "bias"), parameters, strict=False)
        check_parameters(self, x, (channels,), "one value for each channel of x", given)
        kind = FLOAT32 if x.dtype.itemsize == 2 else x.dtype
        stat = Spec((x.shape[0], self.groups), kind, False)
        return (x, stat, stat)

    def _grouped(self, x: Array) -> Array:
        """View (N, C, ...) as (N, groups, C/groups, ...)."""
        return x.reshape(x.shape[0], self.groups, x.shape[1] // self.groups, *x.shape[2:])

    def _along(self, values: Array, ndim: int) -> Array:
        """View (C,) values so that they broadcast against a grouped array."""
        return values.reshape(1, self.groups, -1, *(1,) * (ndim - 3))

    def forward(self, xp: Any, x: Array, *affine: Array) -> tuple[tuple[Array, ...], Any]:
        data = self._grouped(floats(x))
        with np.errstate(all="ignore"):
            centre, y, offset, variance = centred(xp, data, tuple(range(2, data.ndim)))
            gain = r = 1.0 / xp.sqrt(variance + self.eps)
            if affine:
                gain = r * self._along(affine[0], data.ndim)
            shift = -offset * gain
            if affine:
                shift += self._along(affine[1], data.ndim)
            y *= gain.astype(y.dtype)
            y += shift.astype(y.dtype)
            y = y.reshape(x.shape).astype(x.dtype, copy=False)
            mean = mean_of(xp, centre, offset).reshape(-1, self.groups)
            variance = variance.astype(mean.dtype).reshape(mean.shape)
        return (y, mean, variance), (x, centre, offset, r, *affine[:1])

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, centre, offset, r, *weight = saved
        g = self._grouped(floats(gy[0]))
        inner, n = tuple(range(3, g.ndim)), count(g.shape, range(2, g.ndim))
        with np.errstate(all="ignore"):
            d = self._grouped(floats(x)) - centre
            total = sums(xp, g, inner)  # (N, groups, C/groups, 1, ...), as along
            along = sums(xp, g, inner, d) - offset * total
            gx: Any = None
            if needs[0]:
                w = self._along(weight[0], g.ndim) if weight else 1.0
                slope = r * r * r * (w * along).sum(axis=2, keepdims=True) / n
                shift = r * (w * total).sum(axis=2, keepdims=True) / n - offset * slope
                gx = xp.empty_like(x, dtype=g.dtype)
                combine(xp, self._grouped(gx), g, d, r * w, slope, shift)
                gx = gx.astype(x.dtype, copy=False)
            both = (along * r, total) if weight else ()
            rest = [v.sum(axis=0).reshape(-1).astype(weight[0].dtype) for v in both]
            return (gx, *[v if need else None for v, need in zip(rest, needs[1:], strict=True)])

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2), normal(3, 4))
        yield Sample(cls(1, 1e-3), normal(2, 3, 4), normal(3), normal(3))
        yield Sample(cls(3, 0.1), normal(2, 6, 3, 2), normal(6), normal(6))
        yield Sample(cls(4, 1e-2), normal(2, 4, 5), normal(4), normal(4))
        yield Sample(cls(2, 1e-4), normal(1, 4, 2, 3, 2), normal(4), normal(4))


@public
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Give each group of an image's channels mean 0 and variance 1, then scale and shift channels.

    y = (x - mean) / sqrt(variance + eps) * weight + bias; mean and (biased) variance are those of
    one image's C/num_groups neighbouring channels (Wu and He, 2018).  With one group that is layer
    normalisation of images, with C groups instance normalisation.

    Shapes: (N, C, ...) -> the same; weight and bias: (C,).  N may be 0.
    Raises ShapeError for fewer than 2 axes, for channels that do not divide into groups, for other
    parameters' shapes, and where there is one image with a single value in each group; KindError
    for integers and mixed dtypes (with a float16 input the others may be float32).

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 3.0, 10.0, 30.0]])
    >>> cr.nn.functional.group_norm(x, 2)
    tensor([[-1.0,  1.0, -1.0,  1.0]])
    """
    x, groups = as_tensor(input), integer(num_groups, "group_norm num_groups")
    op = GroupNorm(groups, number(eps, "group_norm eps"))
    if x.ndim > 1 and groups > 0 and x.shape[0] * x.shape[1] // groups * prod(x.shape[2:]) == 1:
        rule = "more than 1 value in a group, or several images"
        raise failure(op, rule, hint="use a larger batch or fewer groups", x=x)
    return apply_all(op, x, *weight_and_bias("group_norm", weight, bias))[0]


@public
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Give each channel of each image mean 0 and variance 1, then scale and shift.

    y = (x - mean) / sqrt(variance + eps) * weight + bias, mean and (biased) variance being those of
    one image's channel (Ulyanov, Vedaldi and Lempitsky, 2016).  Running statistics, if given, are
    moved in place towards the average over the images, with the unbiased variance, as in
    `batch_norm`; without `use_input_stats` they serve instead.  No images move nothing.

    Shapes: (N, C, ...) -> the same; running_mean, running_var, weight, bias: (C,).
    Raises ShapeError for other shapes, for a single position, and for missing running values where
    they are to serve; KindError for integers and mixed dtypes; GraphError for running values that
    want gradients.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 3.0], [10.0, 30.0]]])
    >>> mean, var = cr.zeros(2), cr.ones(2)
    >>> cr.nn.functional.instance_norm(x, mean, var)
    tensor([[[-1.0,  1.0],
             [-1.0,  1.0]]])
    >>> mean
    tensor([0.2, 2.0])
    """
    name, x = "instance_norm", as_tensor(input)
    batch = flag(use_input_stats, f"{name} use_input_stats")
    eps, momentum = number(eps, f"{name} eps"), number(momentum, f"{name} momentum")
    if batch and prod(x.shape[2:]) == 1:
        hint = "its variance would be 0"
        raise failure(name, "more than 1 position in each channel", hint=hint, input=x)
    if x.ndim < 2:
        raise failure(name, "at least 2 axes: (N, C, ...)", error=AxisError, input=x)
    running = running_statistics(name, running_mean, running_var, batch, "use_input_stats")
    parameters = weight_and_bias(name, weight, bias)
    shape, why = x.shape[1:2], "one value for each channel"
    given = zip(("weight", "bias"), map(spec, parameters), strict=False)
    check_parameters(name, spec(x), shape, why, given)
    kind = FLOAT32 if x.dtype.itemsize == 2 else x.dtype
    check_running(name, running, x, Spec(shape, kind))
    if not batch:
        return apply(BatchNorm(False, eps), x, *running, *parameters)
    y, mean, variance = apply_all(GroupNorm(x.shape[1] or 1, eps), x, *parameters)
    if running and not y.is_meta and x.array.size:
        n = prod(x.shape[2:])
        move(running[0], mean.array.mean(axis=0, dtype=np.float64), momentum)
        unbiased = variance.array.mean(axis=0, dtype=np.float64) * (n / (n - 1))
        move(running[1], unbiased, momentum)
    return y
