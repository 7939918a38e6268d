"""Normalisation by batch, group or channel by our own kernels; without them oneDNN's pairs serve.

One pass of sums, one that writes, each way; NaN and infinity are found in the statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from chainrule.backends.onednn.arrays import (
    FLOAT32,
    address,
    as_plain,
    empty_as,
    empty_last,
    is_dense,
    is_float32,
    laid_as,
    note_finite,
    to_last,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
    needed,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.own import (
    DOUBLE,
    INT,
    POINTER,
    kernel,
    scratch,
    size_of,
    sizes,
)
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import Current, cached, work
from chainrule.engine.op import Array
from chainrule.ops.fused import BatchNormReLU
from chainrule.ops.norm import BatchNorm
from chainrule.ops.norm_group import GroupNorm


class Kept(NamedTuple):
    """The statistics as the backward needs them."""

    mean: Array
    rest: Array  # float64: what rounding left of each mean, and the deviation's inverse


class NormKernel:
    """The kernels for (images, rows, channels) in groups; `plain` for (images, channels, rows)."""

    def __init__(self, images: int, rows: int, channels: int, groups: int, plain: bool) -> None:
        self._threads, self.channels, self.units = Current.thread.threads, channels, images * groups
        self._sizes = sizes(images, rows, channels, groups, plain)
        self._forward = kernel("norm", *[POINTER] * 9, DOUBLE, INT, INT, INT)
        self._backward = kernel("norm_back", *[POINTER] * 11, INT, INT, INT)
        self._scratch = size_of("norm", POINTER)(self._sizes)

    def forward(
        self,
        x: Array,
        affine: Sequence[Array],
        y: Array,
        statistics: Sequence[Array],
        eps: float,
        given: bool,
        relu: bool,
    ) -> Kept | None:
        """Write y, and both statistics if not given; None where something is not finite."""
        mean, variance = statistics
        kept = Kept(mean, np.empty(2 * self.units))
        ends = _parameters(affine)
        rest = [address(a) for a in (y, mean, variance, kept.rest)]
        more = scratch(self._scratch), eps, given, relu, self._threads
        return None if self._forward(self._sizes, address(x), *ends, *rest, *more) else kept

    def backward(
        self,
        x: Array,
        g: Array,
        affine: Sequence[Array],
        kept: Kept,
        gx: Array | None,
        given: bool,
        relu: bool,
        sums: bool,
    ) -> tuple[Array | None, Array | None]:
        """Write gx; give the sums of gy * xhat and gy for each channel, if wanted."""
        out = [np.empty(self.channels, FLOAT32) if sums else None for _ in range(2)]
        ends = _parameters(affine)
        where = [None if a is None else address(a) for a in (gx, *out)]
        known = address(kept.mean), address(kept.rest)
        more = scratch(self._scratch), given, relu, self._threads
        self._backward(self._sizes, address(x), address(g), *ends, *known, *where, *more)
        return out[0], out[1]


def _parameters(affine: Sequence[Array]) -> tuple[int | None, int | None]:
    return (address(affine[0]), address(affine[1])) if affine else (None, None)


def plan_batch(shape: Shape) -> NormKernel:
    """Give the kernels that normalise the channels of a batch, channels-last."""
    size = prod(shape)

    def build() -> NormKernel:
        return NormKernel(1, size // shape[1], shape[1], shape[1], False)

    return cached(("batch norm", shape), build, work(4 * size))


def plan_groups(shape: Shape, groups: int, plain: bool) -> NormKernel:
    """Give the kernels that normalise the groups of each image's channels."""
    size = prod(shape)

    def build() -> NormKernel:
        rows = size // (shape[0] * shape[1])
        return NormKernel(shape[0], rows, shape[1], groups, plain and rows > 1)

    return cached(("group norm", shape, groups, plain), build, work(4 * size))


@ONEDNN.ours(BatchNorm)
class BatchNormImages:
    """BatchNorm, in training and with given statistics; y is channels-last."""

    relu: ClassVar[bool] = False

    def supports(self, op: BatchNorm, arrays: Sequence[Array]) -> bool:
        """Float32, up to 6 axes, nothing empty."""
        return is_float32(*arrays) and arrays[0].ndim < 7

    def forward(self, op: BatchNorm, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y, in training mean and variance too; save x, the statistics and the parameters."""
        x, rest = to_last(arrays[0]), [as_plain(a) for a in arrays[1:]]
        y, channels, given = empty_last(x.shape), x.shape[1], not op.training
        if given:
            statistics, affine = rest[:2], rest[2:]
        else:
            statistics, affine = [np.empty(channels, FLOAT32), np.empty(channels, FLOAT32)], rest
        plan = plan_batch(x.shape)
        kept = plan.forward(x, affine, y, statistics, op.eps, given, self.relu)
        if kept is None:
            return run_reference(op, arrays)
        if given:
            return (y,), (x, kept, *affine)
        note_finite(y)
        return (y, *statistics), (x, kept, *affine)

    def backward(
        self, op: BatchNorm, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last, and the gradients of all other inputs."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        x, kept, *affine = saved
        g, gx = to_last(gy[0] if op.training else gy), empty_last(x.shape) if needs[0] else None
        given, more = not op.training, any(needs[1:])
        plan = plan_batch(x.shape)
        along, total = plan.backward(x, g, affine, kept, gx, given, self.relu, more)
        rest: list[Any] = [along, total] if affine else []
        if given:
            rest = [*_by_statistics(kept, affine, along, total), *rest]
        return needed((gx, *rest), needs)


def _by_statistics(
    kept: Kept, affine: Sequence[Array], along: Array | None, total: Array | None
) -> tuple[Array | None, Array | None]:
    """Give the gradients of a given mean and variance."""
    if along is None or total is None:
        return None, None
    r = kept.rest[1::2]
    gain = r * affine[0] if affine else r
    with np.errstate(all="ignore"):
        return (-gain * total).astype(FLOAT32), (-0.5 * gain * r * along).astype(FLOAT32)


@ONEDNN.ours(BatchNormReLU)
class BatchNormReLUImages(BatchNormImages):
    """BatchNormReLU: the backward finds from x again where y is 0."""

    relu = True


@ONEDNN.ours(GroupNorm)
class GroupNormImages:
    """GroupNorm in x's layout, C order or channels-last."""

    def supports(self, op: GroupNorm, arrays: Sequence[Array]) -> bool:
        """Float32, eps > 0, more than one value in a group, and large enough."""
        x = arrays[0]
        if x.size < Limits.small or not is_float32(*arrays) or not op.eps > 0:
            return False
        return bool(
            x.size > x.shape[0] * op.groups
        )  # of one value nothing is left, but for rounding

    def forward(self, op: GroupNorm, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout and the statistics; save x and them."""
        x, *affine = arrays[0], *[as_plain(a) for a in arrays[1:]]
        x = x if is_dense(x) else to_last(x)
        plan = plan_groups(x.shape, op.groups, x.flags.c_contiguous)
        mean, variance = (np.empty((x.shape[0], op.groups), FLOAT32) for _ in range(2))
        y = empty_as(x)
        kept = plan.forward(x, affine, y, (mean, variance), op.eps, False, False)
        if kept is None:
            return run_reference(op, arrays)
        note_finite(y)
        return (y, mean, variance), (x, kept, *affine)

    def backward(
        self, op: GroupNorm, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout, and the gradients of weight and bias."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        x, kept, *affine = saved
        g, gx = laid_as(x, gy[0]), empty_as(x) if needs[0] else None
        plan = plan_groups(x.shape, op.groups, x.flags.c_contiguous)
        rest = plan.backward(x, g, affine, kept, gx, False, False, any(needs[1:]))
        return needed((gx, *rest[: len(affine)]), needs)
