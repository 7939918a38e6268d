"""Normalisation of rows: layer normalisation, and of the groups of each image's channels."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import byref, c_int
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import (
    FLOAT32,
    LONG,
    REORDERS,
    address,
    as_plain,
    empty_last,
    is_float32,
    is_last,
    note_finite,
    reorder,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
    needed,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.norm import NormPlan, all_finite, hidden, nearly_equal
from chainrule.backends.onednn.primitives import (
    Description,
    Primitive,
    built,
    channels_last,
    describe,
    plain,
)
from chainrule.backends.onednn.runtime import cached, runtime, work
from chainrule.engine.op import Array
from chainrule.ops.norm_group import GroupNorm
from chainrule.ops.norm_layer import LayerNorm


def lies_last(x: Array) -> bool:
    """Tell whether x is channels-last and not in C order."""
    return not x.flags.c_contiguous and 2 < x.ndim < 7 and is_last(x)


def to_plain(x: Array) -> Array:
    """Give x itself if it is in C order, else a copy that is, which is counted."""
    if x.flags.c_contiguous:
        return x
    if not lies_last(x):
        REORDERS.activations += 1
        return np.array(x, order="C")
    y = np.empty(x.shape, FLOAT32)
    _exchange(x, y, True)
    return y


def laid(y: Array, last: bool) -> Array:
    """Give y, which is in C order, itself; or a copy that is channels-last, which is counted."""
    if not last:
        return y
    z = empty_last(y.shape)
    _exchange(y, z, False)
    return z


def _exchange(source: Array, target: Array, from_last: bool) -> None:
    """Copy between channels-last and C order, with all threads."""
    REORDERS.activations += 1
    n, channels, *sizes = source.shape
    shape = n, channels, prod(sizes)

    def build() -> Primitive:
        layouts = channels_last(shape), plain(shape)
        return reorder(*(layouts if from_last else layouts[::-1]), f"an array {shape}")

    key = ("exchange", shape, from_last)
    cached(key, build, work(2 * source.size))(address(source), address(target))


def _lost(mean: Array, variance: Array, length: int) -> bool:
    """Tell whether rows are so long, and vary so little, that the library's sums do not serve."""
    return length > LONG and hidden(mean, variance, length)


class LayerPlan:
    """Layer normalisation of (rows, length), with or without weight and bias."""

    def __init__(self, found: tuple[Description, Description], affine: bool, what: str) -> None:
        self._found, self._affine, self.what = found, affine, what

    @built
    def run_forward(self) -> Primitive:
        """(x, mean, variance, y [, weight, bias])."""
        more = (c.SCALE, c.SHIFT) if self._affine else ()
        return Primitive(self._found[0], (c.SRC, c.MEAN, c.VARIANCE, c.DST, *more), self.what)

    @built
    def run_backward(self) -> Primitive:
        """(x, mean, variance, gy, gx [, weight, gweight, gbias [, bias]]): see `wants_bias`."""
        more = (c.SCALE, c.DIFF_SCALE, c.DIFF_SHIFT) if self._affine else ()
        args = (c.SRC, c.MEAN, c.VARIANCE, c.DIFF_DST, c.DIFF_SRC, *more)
        bias = (c.SHIFT,) if self.wants_bias else ()
        return Primitive(self._found[1], (*args, *bias), f"gradient of {self.what}")

    @built
    def wants_bias(self) -> bool:
        """Tell whether the gradient counts the bias, which it never reads, as 3.2 does."""
        inputs = c_int()
        runtime().call(
            "primitive_desc_query", self._found[1].handle, c.QUERY_INPUTS, 0, byref(inputs)
        )
        return self._affine and inputs.value == 6


def plan_layer(rows: int, length: int, eps: float, affine: bool) -> LayerPlan | None:
    """Give the plan, None where the library has no fast one."""
    key = ("layer norm", rows, length, eps, affine)
    return cached(key, lambda: _build_layer(rows, length, eps, affine), work(4 * rows * length))


def _build_layer(rows: int, length: int, eps: float, affine: bool) -> LayerPlan | None:
    engine, kind = runtime().engine, "layer_normalization"
    layout, stat = plain((rows, length)), plain((rows,))
    settings = float(eps), c.USE_SCALE | c.USE_SHIFT if affine else 0
    forward = describe(
        f"{kind}_forward", engine, c.FORWARD_TRAINING, layout, layout, stat, *settings
    )
    if forward is None:
        return None
    back = c.BACKWARD if affine else c.BACKWARD_DATA
    backward = describe(
        f"{kind}_backward", engine, back, layout, layout, layout, stat, *settings, forward
    )
    if backward is None:
        return None
    return LayerPlan((forward, backward), affine, f"layer normalisation of ({rows}, {length})")


@ONEDNN.kernel(LayerNorm)
class LayerNormPair:
    """LayerNorm in C order, without our kernels.

    A NaN or an infinity in x makes its row's mean NaN or infinite, so that a look at the means
    tells; what is not finite, or varies too little beside its mean, is the reference's.
    """

    def _plan(self, op: LayerNorm, x: Array, affine: bool) -> LayerPlan | None:
        length = prod(op.shape)
        return plan_layer(x.size // length, length, op.eps, affine)

    def supports(self, op: LayerNorm, arrays: Sequence[Array]) -> bool:
        """Float32, eps > 0, more than one value in a row, and large enough."""
        x = arrays[0]
        if x.size < Limits.small or not is_float32(*arrays) or not op.eps > 0:
            return False
        return prod(op.shape) > 1 and self._plan(op, x, len(arrays) > 1) is not None

    def forward(self, op: LayerNorm, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout; save x in C order and the rows' statistics."""
        x, affine = to_plain(arrays[0]), [as_plain(a) for a in arrays[1:]]
        plan = self._plan(op, x, bool(affine))
        assert plan is not None
        length = prod(op.shape)
        mean, variance = (np.empty(x.size // length, FLOAT32) for _ in range(2))
        y = np.empty(x.shape, FLOAT32)
        more = [address(a) for a in affine]
        plan.run_forward(address(x), address(mean), address(variance), address(y), *more)
        if not all_finite(mean, variance, *affine) or _lost(mean, variance, length):
            return run_reference(op, arrays)
        last = lies_last(arrays[0])
        y = laid(y, last)
        note_finite(y)
        return (y,), (x, last, mean, variance, *affine)

    def backward(
        self, op: LayerNorm, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout, and the gradients of weight and bias."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        x, last, mean, variance, *affine = saved
        g, gx = to_plain(gy), np.empty(x.shape, FLOAT32)
        rows = g.reshape(len(mean), -1)
        if nearly_equal(rows) or nearly_equal(rows.T):
            return reference_backward(op, run_reference(op, (x, *affine))[1], gy, needs)
        plan = self._plan(op, x, bool(affine))
        assert plan is not None
        rest = [np.empty(op.shape, FLOAT32) for _ in affine]
        bias = affine[1:] if plan.wants_bias else []
        given = (x, mean, variance, g, gx, *affine[:1], *rest, *bias)
        plan.run_backward(*[address(a) for a in given])
        return needed((laid(gx, last), *rest), needs)


def plan_rows(rows: int, length: int, eps: float, flags: int) -> NormPlan | None:
    """Give batch normalisation of (1, rows, length) in C order: of each row by itself."""
    key = ("norm of rows", rows, length, eps, flags)
    return cached(key, lambda: _build_rows(rows, length, eps, flags), work(6 * rows * length))


def _build_rows(rows: int, length: int, eps: float, flags: int) -> NormPlan | None:
    engine, kind, layout = runtime().engine, "batch_normalization", plain((1, rows, 1, length))
    settings = float(eps), flags
    forward = describe(f"{kind}_forward", engine, c.FORWARD_TRAINING, layout, layout, *settings)
    if forward is None:
        return None
    backward = describe(
        f"{kind}_backward", engine, c.BACKWARD, layout, layout, layout, *settings, forward
    )
    if backward is None:
        return None
    what = f"normalisation of {rows} rows of {length}, flags {flags}"
    return NormPlan((forward, backward), flags, what)


AFFINE = c.USE_SCALE | c.USE_SHIFT


class GroupPlan:
    """Group normalisation of one shape, in C order.

    A group's values lie side by side, so that the groups are the rows of `groups`.  Where each
    channel is a group, that is all; else `channels`, whose rows are the channels of all images,
    computes with weight and bias, from the groups' statistics.
    """

    def __init__(self, op: GroupNorm, shape: tuple[int, ...], affine: bool) -> None:
        n, channels = shape[:2]
        each = prod(shape[2:])
        self.images, self.per, self.length = n, channels // op.groups, channels // op.groups * each
        self.alone = self.per == 1 or not affine
        rows = n * op.groups
        first = AFFINE if affine and self.alone else 0
        self.groups = plan_rows(rows, self.length, op.eps, first)
        given = AFFINE | c.USE_GLOBAL_STATS
        self.channels = None if self.alone else plan_rows(n * channels, each, op.eps, given)
        self.scaled = None if self.alone else plan_rows(rows, self.length, op.eps, AFFINE)
        self.serves = None not in (self.groups, self.channels, self.scaled) or (
            self.alone and self.groups is not None
        )

    def tiled(self, values: Array) -> Array:
        """Repeat a channel's value for each image: (C,) -> (N * C,)."""
        return np.tile(values, self.images)

    def spread(self, values: Array) -> Array:
        """Repeat a group's value for each of its channels: (N * groups,) -> (N * C,)."""
        return np.repeat(values, self.per)


@ONEDNN.kernel(GroupNorm)
class GroupNormPair:
    """GroupNorm in C order, by batch normalisation of rows.

    What is not finite, or varies too little beside its mean, is the reference's.
    """

    def _plan(self, op: GroupNorm, shape: tuple[int, ...], affine: bool) -> GroupPlan:
        return cached((op, shape, affine), lambda: GroupPlan(op, shape, affine))

    def supports(self, op: GroupNorm, arrays: Sequence[Array]) -> bool:
        """Float32, eps > 0, more than one value in a group, and large enough."""
        x = arrays[0]
        if x.size < Limits.small or not is_float32(*arrays) or not op.eps > 0:
            return False
        plan = self._plan(op, x.shape, len(arrays) > 1)
        return plan.length > 1 and plan.serves  # of one value nothing is left, but for rounding

    def forward(self, op: GroupNorm, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout and the statistics; save x in C order and them."""
        x, affine = to_plain(arrays[0]), [as_plain(a) for a in arrays[1:]]
        plan = self._plan(op, x.shape, bool(affine))
        mean, variance = (np.empty((x.shape[0], op.groups), FLOAT32) for _ in range(2))
        y, tiled = np.empty(x.shape, FLOAT32), [plan.tiled(a) for a in affine]
        more = [address(a) for a in tiled]
        where = address(x), address(mean), address(variance), address(y)
        assert plan.groups is not None
        plan.groups.run_forward(*where, *(more if plan.alone else ()))
        if not all_finite(mean, variance, *affine) or _lost(mean, variance, plan.length):
            return run_reference(op, arrays)
        if plan.channels is not None:
            means, variances = (plan.spread(a.reshape(-1)) for a in (mean, variance))
            plan.channels.run_forward(where[0], address(means), address(variances), where[3], *more)
        last = lies_last(arrays[0])
        y = laid(y, last)
        note_finite(y)
        return (y, mean, variance), (x, last, mean, variance, *affine)

    def backward(
        self, op: GroupNorm, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout, and the gradients of weight and bias."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        x, last, mean, variance, *affine = saved
        g, gx = to_plain(gy[0]), np.empty(x.shape, FLOAT32)
        plan = self._plan(op, x.shape, bool(affine))
        if nearly_equal(g.reshape(x.shape[0] * x.shape[1], -1).T):
            return reference_backward(op, run_reference(op, (x, *affine))[1], gy, needs)
        sums = [np.empty(x.shape[0] * x.shape[1], FLOAT32) for _ in affine]
        tiled = plan.tiled(affine[0]) if affine else None
        more = [] if tiled is None else [address(a) for a in (tiled, *sums)]
        where = [address(a) for a in (x, mean, variance)]
        assert plan.groups is not None
        if plan.alone:
            plan.groups.run_backward(*where, address(g), address(gx), *more)
        else:
            self._through_both(op, plan, (x, mean, variance), g, gx, more)
        rest = [s.reshape(x.shape[:2]).sum(axis=0, dtype=np.float64).astype(FLOAT32) for s in sums]
        return needed((laid(gx, last), *rest), needs)

    def _through_both(
        self,
        op: GroupNorm,
        plan: GroupPlan,
        saved: tuple[Array, Array, Array],
        g: Array,
        gx: Array,
        more: Sequence[int],
    ) -> None:
        """Go back by channels, with r = 1/sqrt(variance + eps), then by groups, scaled by 1/r.

        The former gives gy * weight * r, the latter r * (1/r) * (that, less its mean and part
        along xhat).
        """
        x, mean, variance = saved
        assert plan.channels is not None
        assert plan.scaled is not None
        means, variances = (plan.spread(a.reshape(-1)) for a in (mean, variance))
        inner = np.empty(x.shape, FLOAT32)
        plan.channels.run_backward(
            address(x), address(means), address(variances), address(g), address(inner), *more
        )
        scale = np.sqrt(variance.reshape(-1).astype(np.float64) + op.eps).astype(FLOAT32)
        lost = [np.empty(scale.size, FLOAT32) for _ in range(2)]
        where = [address(a) for a in (x, mean, variance, inner, gx)]
        plan.scaled.run_backward(*where, *[address(a) for a in (scale, *lost)])
