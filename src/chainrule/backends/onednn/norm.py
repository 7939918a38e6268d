"""Normalisation: batch normalisation, alone and with ReLU, and local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.activation import relu_gradient, relu_in_place
from chainrule.backends.onednn.arrays import (
    FLOAT32,
    LONG,
    address,
    as_plain,
    by_rows,
    empty_last,
    finite,
    folded,
    is_float32,
    note_finite,
    to_last,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    needed,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.primitives import (
    Description,
    Primitive,
    Shape,
    built,
    channels_last,
    describe,
)
from chainrule.backends.onednn.runtime import cached, runtime, work
from chainrule.engine.op import Array
from chainrule.ops.fused import BatchNormReLU
from chainrule.ops.norm import BatchNorm
from chainrule.ops.norm_local import LocalResponseNorm


class NormPlan:
    """Batch normalisation of one shape; `flags` as in the library."""

    def __init__(self, found: tuple[Description, Description], flags: int, what: str) -> None:
        self._found, self.flags, self.what = found, flags, what
        self.exact: Exact | None = None  # where channels are long
        self.affine = (c.SCALE, c.SHIFT) if flags & c.USE_SCALE else ()
        self.workspace = found[0].nbytes(c.WORKSPACE)
        self._more = (c.WORKSPACE,) if self.workspace else ()

    @built
    def run_forward(self) -> Primitive:
        """(x, mean, variance, y [, weight, bias] [, workspace])."""
        args = (c.SRC, c.MEAN, c.VARIANCE, c.DST, *self.affine, *self._more)
        return Primitive(self._found[0], args, self.what)

    @built
    def run_backward(self) -> Primitive:
        """(x, mean, variance, gy, gx [, weight, gweight, gbias] [, workspace])."""
        affine = (c.SCALE, c.DIFF_SCALE, c.DIFF_SHIFT) if self.affine else ()
        args = (c.SRC, c.MEAN, c.VARIANCE, c.DIFF_DST, c.DIFF_SRC, *affine, *self._more)
        return Primitive(self._found[1], args, f"gradient of {self.what}")


def plan_norm(x: Shape, eps: float, flags: int) -> NormPlan | None:
    """Give the plan, None where the library has no fast one."""
    return cached(("norm", x, eps, flags), lambda: _build(x, float(eps), flags), work(4 * prod(x)))


def _build(x: Shape, eps: float, flags: int) -> NormPlan | None:
    engine, layout, kind = runtime().engine, channels_last(x), "batch_normalization"
    forward = describe(f"{kind}_forward", engine, c.FORWARD_TRAINING, layout, layout, eps, flags)
    if forward is None:
        return None
    backward = describe(
        f"{kind}_backward", engine, c.BACKWARD, layout, layout, layout, eps, flags, forward
    )
    if backward is None:
        return None
    plan = NormPlan((forward, backward), flags, f"batch normalisation of {x}, flags {flags}")
    rows = prod(x) // x[1]
    if rows > LONG and not flags & c.USE_GLOBAL_STATS:
        given = describe(
            f"{kind}_forward", engine, c.FORWARD_TRAINING, layout, layout, eps,
            flags | c.USE_GLOBAL_STATS,
        )  # fmt: skip
        folds = folded(rows)
        wide = plan_norm((rows // folds, folds * x[1], 1, 1), eps, 0) if folds else None
        if given is None or wide is None:
            return None
        plan.exact = Exact(NormPlan((given, backward), flags, plan.what), wide, folds, rows)
    return plan


class Exact:
    """Mean and variance of long channels, rounded as if they were short.

    The library adds the values of a channel one after the other in float32.  That loses next to
    nothing while they vary, and a part in a thousand of a hundred thousand that are nearly equal.
    Where they are, it is shown (rows, C) as (rows / f, f * C), and what it gives for the f parts
    of a channel is joined in float64: mean = mean_f(m_f), variance = mean_f(v_f + (m_f - mean)^2).
    """

    def __init__(self, given: NormPlan, wide: NormPlan, folds: int, rows: int) -> None:
        self.given, self._wide, self._folds, self._rows = given, wide, folds, rows

    def needed(self, mean: Array, variance: Array) -> bool:
        """Tell whether these statistics are to be had more exactly."""
        return hidden(mean, variance, self._rows)

    def statistics(self, x: int, y: int, channels: int) -> tuple[Array, Array]:
        """Give both for the array at address x; that at y is written over."""
        means, variances = (np.empty((self._folds, channels), FLOAT32) for _ in range(2))
        self._wide.run_forward(x, address(means), address(variances), y)
        m = means.astype(np.float64)
        with np.errstate(all="ignore"):
            mean = m.mean(axis=0)
            variance = (np.square(m - mean) + variances).mean(axis=0)
            return mean.astype(FLOAT32), variance.astype(FLOAT32)


def hidden(mean: Array, variance: Array, count: int) -> bool:
    """Tell whether somewhere the spread of so many values is hidden by the rounding of their sum.

    The last sum's unit in the last place is count * |mean| * 2^-23; four of them are feared.
    """
    unit = 4 * count * 2.0**-23
    with np.errstate(all="ignore"):
        return bool((np.square(mean * unit) > variance).any())


def _four(x: Shape) -> Shape:
    """Give (N, C, ...) as the library has it: with one or more spatial axes."""
    return (*x, 1, 1) if len(x) == 2 else (*x[:2], 1, x[2]) if len(x) == 3 else x


@ONEDNN.kernel(BatchNorm)
class BatchNormPair:
    """BatchNorm, in training and with given statistics.

    A NaN or an infinity in x makes its channel's mean NaN or infinite, so that a look at the (C,)
    values tells; what is not finite, or has no deviation, is the reference's.
    """

    def _flags(self, op: BatchNorm, count: int) -> int:
        affine = count == (3 if op.training else 5)
        flags = c.USE_SCALE | c.USE_SHIFT if affine else 0
        return flags if op.training else flags | c.USE_GLOBAL_STATS

    def supports(self, op: BatchNorm, arrays: Sequence[Array]) -> bool:
        """Float32, 2 to 5 axes, nothing empty."""
        x = arrays[0]
        if not is_float32(*arrays) or x.ndim > 5:
            return False
        return plan_norm(_four(x.shape), op.eps, self._flags(op, len(arrays))) is not None

    def forward(self, op: BatchNorm, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last, in training mean and variance too; save x and the statistics."""
        x, rest = to_last(arrays[0]), [as_plain(a) for a in arrays[1:]]
        plan = plan_norm(_four(x.shape), op.eps, self._flags(op, len(arrays)))
        assert plan is not None
        y = empty_last(x.shape)
        affine = tuple(rest if op.training else rest[2:])
        mean, variance = (
            rest[:2] if not op.training else [np.empty(x.shape[1], FLOAT32) for _ in range(2)]
        )
        if not op.training and not (all_finite(*rest) and (variance + op.eps > 0).all()):
            return run_reference(op, arrays)
        workspace = np.empty(plan.workspace, np.uint8)
        more = [address(a) for a in affine] + ([address(workspace)] if plan.workspace else [])
        where = address(x), address(y)
        plan.run_forward(where[0], address(mean), address(variance), where[1], *more)
        if plan.exact is not None and plan.exact.needed(mean, variance):
            mean, variance = plan.exact.statistics(*where, x.shape[1])
            given = plan.exact.given
            given.run_forward(where[0], address(mean), address(variance), where[1], *more)
        if op.training and not all_finite(mean, variance, *affine):
            return run_reference(op, arrays)
        if op.training:
            note_finite(y)
        saved = (x, mean, variance, workspace, plan.flags, *affine)
        return ((y, mean, variance) if op.training else (y,)), saved

    def backward(
        self, op: BatchNorm, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last, and the gradients of all other inputs."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        x, mean, variance, workspace, flags, *weight = saved
        g, gx = to_last(gy[0] if op.training else gy), empty_last(x.shape)
        if nearly_equal(by_rows(g)):
            given = [] if op.training else [mean, variance]
            return reference_backward(op, run_reference(op, (x, *given, *weight))[1], gy, needs)
        plan = plan_norm(_four(x.shape), op.eps, flags)
        assert plan is not None
        gweight, gbias = (np.empty(x.shape[1] if weight else 0, FLOAT32) for _ in range(2))
        more = [address(a) for a in (weight[0], gweight, gbias)] if weight else []
        more += [address(workspace)] if plan.workspace else []
        plan.run_backward(
            address(x), address(mean), address(variance), address(g), address(gx), *more
        )
        rest: list[Array | None] = [gweight, gbias] if weight else []
        if not op.training:
            affine = (gweight, gbias) if weight else ()
            rest = [*self._statistics(op, saved, g, affine, any(needs[1:3])), *rest]
        return needed((gx, *rest), needs)

    def _statistics(
        self, op: BatchNorm, saved: Any, g: Array, affine: Sequence[Array], wanted: bool
    ) -> tuple[Array | None, Array | None]:
        """Give the gradients of a given mean and variance, which the library does not."""
        if not wanted:
            return None, None
        x, mean, variance, _, _, *weight = saved
        axes = (0, *range(2, x.ndim))
        r = 1 / np.sqrt(variance.astype(np.float64) + op.eps)
        if affine:
            along, total = (value.astype(np.float64) for value in affine)
        else:
            centred = x - mean.reshape(-1, *(1,) * (x.ndim - 2))
            along = (g * centred).sum(axes, dtype=np.float64) * r
            total = g.sum(axes, dtype=np.float64)
        gain = r * weight[0] if weight else r
        return (-gain * total).astype(FLOAT32), (-0.5 * gain * r * along).astype(FLOAT32)


def nearly_equal(rows: Array) -> bool:
    """Tell whether a long column's gradients are so alike that adding them loses a part.

    As `hidden` tells of the forward's sums, here by some hundred rows: the library is fast where
    they vary, as a loss's do, and the reference is right where they do not.
    """
    if len(rows) <= LONG:
        return False
    seen = rows[:: len(rows) // 256].astype(np.float64)
    with np.errstate(all="ignore"):
        feared = np.abs(seen.mean(axis=0)) * (4 * len(rows) * 2.0**-23) > seen.std(axis=0)
    return bool(feared.any())


def all_finite(*arrays: Array) -> bool:
    """Tell whether small arrays are finite, by their sums."""
    with np.errstate(all="ignore"):
        return all(isfinite(np.add.reduce(a, axis=None)) for a in arrays)


@ONEDNN.kernel(BatchNormReLU)
class BatchNormReLUPair(BatchNormPair):
    """BatchNormReLU: fused in training, with a bit for each element; in place otherwise.

    The fused form turns NaN into 0, but for that look at the statistics.
    """

    def _flags(self, op: BatchNorm, count: int) -> int:
        return super()._flags(op, count) | (c.FUSE_NORM_RELU if op.training else 0)

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """As BatchNorm; save y where no workspace knows its zeros."""
        outputs, saved = super().forward(op, arrays)
        if isinstance(saved, ByReference):
            return outputs, saved
        if op.training:
            return outputs, (saved, None, True)
        kept = relu_in_place(outputs[0])
        return outputs, (saved, outputs[0], kept)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Stop the gradient where y is 0, then go through the normalisation."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        inner, y, kept = saved
        g = gy if op.training else relu_gradient(y, gy, kept)
        return super().backward(op, inner, g, needs)


class LRNPlan:
    """Local response normalisation of one shape."""

    def __init__(self, found: tuple[Description, Description], what: str) -> None:
        self._found, self.what = found, what
        self.workspace = found[0].nbytes(c.WORKSPACE)
        self._more = (c.WORKSPACE,) if self.workspace else ()

    @built
    def run_forward(self) -> Primitive:
        """(x, y [, workspace])."""
        return Primitive(self._found[0], (c.SRC, c.DST, *self._more), self.what)

    @built
    def run_backward(self) -> Primitive:
        """(x, gy, gx [, workspace])."""
        args = (c.SRC, c.DIFF_DST, c.DIFF_SRC, *self._more)
        return Primitive(self._found[1], args, f"gradient of {self.what}")


def plan_lrn(op: LocalResponseNorm, x: Shape) -> LRNPlan | None:
    """Give the plan, None where the library has no fast one."""
    return cached((op, x), lambda: _build_lrn(op, x), work(10 * prod(x)))


def _build_lrn(op: LocalResponseNorm, x: Shape) -> LRNPlan | None:
    engine, layout, alg = runtime().engine, channels_last(x), c.LRN_ACROSS_CHANNELS
    settings = (op.size, float(op.alpha), float(op.beta), float(op.k))
    forward = describe("lrn_forward", engine, c.FORWARD_TRAINING, alg, layout, layout, *settings)
    if forward is None:
        return None
    backward = describe("lrn_backward", engine, alg, layout, layout, layout, *settings, forward)
    return None if backward is None else LRNPlan((forward, backward), f"{op!r} of {x}")


@ONEDNN.kernel(LocalResponseNorm)
class LocalResponseNormPair:
    """LocalResponseNorm over 3 or 5 channels: the library's windows are centred."""

    def supports(self, op: LocalResponseNorm, arrays: Sequence[Array]) -> bool:
        """Float32 (N, C, H, W) and a size of 3 or 5.

        For 7 and more the library's gradient is wrong where 16 does not divide the channels
        (more than 16), and its gradient for 1 ends the process: seen in 3.2, AVX-512.
        """
        x = arrays[0]
        if not is_float32(x) or x.ndim != 4 or op.size not in (3, 5) or op.within:
            return False
        return plan_lrn(op, x.shape) is not None

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save x and the workspace."""
        x = to_last(arrays[0])
        if not finite(x):
            return run_reference(op, arrays)
        plan = plan_lrn(op, x.shape)
        assert plan is not None
        y, workspace = empty_last(x.shape), np.empty(plan.workspace, np.uint8)
        more = [address(workspace)] if plan.workspace else []
        plan.run_forward(address(x), address(y), *more)
        return (y,), (x, workspace)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        x, workspace = saved
        plan = plan_lrn(op, x.shape)
        assert plan is not None
        g, gx = to_last(gy), empty_last(x.shape)
        more = [address(workspace)] if plan.workspace else []
        plan.run_backward(address(x), address(g), address(gx), *more)
        return (gx,)
