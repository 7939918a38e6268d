"""Pooling: largest values and averages, by our own kernels; without them what the library has."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.activation import relu_gradient, relu_in_place
from chainrule.backends.onednn.arrays import (
    FLOAT32,
    LONG,
    address,
    empty_last,
    finite,
    is_float32,
    note_finite,
    to_last,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
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
from chainrule.backends.onednn.runtime import cached, planned_for, runtime, work
from chainrule.backends.onednn.windows import Places, WindowPlan, plan_windows
from chainrule.backends.onednn.winners import Winners, plan_winners
from chainrule.engine.op import Array, Spec
from chainrule.ops.fused import ReLUMaxPool
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import MaxPool


class PoolPlan:
    """One pooling of one shape, forward and backward."""

    def __init__(self, found: tuple[Description, Description], x: Shape, y: Shape, what: str):
        self._found, self.x, self.y, self.what = found, x, y, what
        self.workspace = found[0].nbytes(c.WORKSPACE)

    @built
    def run_forward(self) -> Primitive:
        """(x, y [, workspace])."""
        more = (c.WORKSPACE,) if self.workspace else ()
        return Primitive(self._found[0], (c.SRC, c.DST, *more), self.what)

    @built
    def run_backward(self) -> Primitive:
        """(gy, gx [, workspace])."""
        more = (c.WORKSPACE,) if self.workspace else ()
        what = f"gradient of {self.what}"
        return Primitive(self._found[1], (c.DIFF_DST, c.DIFF_SRC, *more), what)

    def forward(self, x: Array) -> tuple[Array, Array | None]:
        """Give the channels-last y, and the workspace where there is one."""
        y = empty_last(self.y)
        workspace = np.empty(self.workspace, np.uint8) if self.workspace else None
        more = () if workspace is None else (address(workspace),)
        self.run_forward(address(x), address(y), *more)
        return y, workspace

    def backward(self, gy: Array, workspace: Array | None) -> Array:
        """Give gx, channels-last."""
        g, gx = to_last(gy), empty_last(self.x)
        more = () if workspace is None else (address(workspace),)
        self.run_backward(address(g), address(gx), *more)
        return gx


class Windows(NamedTuple):
    """What the library is asked for: algorithm, sizes of windows, steps and padding."""

    alg: int
    kernel: Shape
    stride: Shape
    padding: Shape


def _build(x: Shape, y: Shape, w: Windows) -> PoolPlan | None:
    if w.alg != c.POOLING_MAX and prod(w.kernel) > LONG:
        return None
    engine = runtime().engine
    layouts = channels_last(x), channels_last(y)
    after = tuple(map(max, w.padding, reach(x, y, w)))
    settings = (w.stride, w.kernel, (0,) * len(w.kernel), w.padding, after)
    with planned_for(work(prod(x) + prod(y) * prod(w.kernel))):
        ends = (w.alg, *layouts, *settings)
        forward = describe("pooling_forward", engine, c.FORWARD_TRAINING, *ends)
        if forward is None:
            return None
        backward = describe("pooling_backward", engine, *ends, forward)
    if backward is None:
        return None
    return PoolPlan((forward, backward), x, y, f"{w} of {x}")


def reach(x: Shape, y: Shape, w: Windows) -> Shape:
    """Tell how far the last windows reach beyond the image: ceil mode's exceed the padding."""
    axes = zip(x[2:], y[2:], w.kernel, w.stride, w.padding, strict=True)
    return tuple([(out - 1) * s + k - size - p for size, out, k, s, p in axes])


def _batched(x: Array, d: int) -> Array:
    return x[None] if x.ndim == d + 1 else x


class Pool:
    """What all pooling pairs share: our own plan of an op on a shape, or the library's."""

    def own(self, op: Any, x: Shape) -> WindowPlan | None:
        """Give our own plan for (N, C, *sizes), None where it cannot serve."""
        raise NotImplementedError

    def windows(self, op: Any, x: Shape, y: Shape) -> Windows | None:
        """Say what to ask for (N, C, *sizes); None where the library cannot give it."""
        return None

    def plan(self, op: Any, x: Shape) -> WindowPlan | PoolPlan | None:
        """Give the plan for (N, C, *sizes)."""
        return cached((op, x), lambda: self._find(op, x))

    def _find(self, op: Any, x: Shape) -> WindowPlan | PoolPlan | None:
        y = op.infer(Spec(x, FLOAT32))[0].shape
        if 0 in y:
            return None
        plan = self.own(op, x)
        if plan is not None:
            return plan
        windows = self.windows(op, x, y)
        return None if windows is None else _build(x, y, windows)

    def axes(self, op: Any) -> int:
        """Give the number of spatial axes."""
        return len(op.kernel)

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, and windows that we or the library have."""
        x = arrays[0]
        return is_float32(x) and self.plan(op, _batched(x, self.axes(op)).shape) is not None


@ONEDNN.kernel(MaxPool)
class MaxPoolPair(Pool):
    """MaxPool; the library has no indices and no fast dilation.

    The library's drops NaN and gives -3.4e38 for windows of -inf: without our kernels such inputs
    go to the reference.
    """

    relu = False

    def own(self, op: Any, x: Shape) -> WindowPlan | None:
        """Pool over any windows."""
        return plan_windows(op._windows(x[2:]), x, indices=op.indices)

    def windows(self, op: MaxPool, x: Shape, y: Shape) -> Windows | None:
        """Ask for the largest, where neither indices nor gaps are wanted."""
        if op.indices or max(op.dilation) > 1:
            return None
        return Windows(c.POOLING_MAX, op.kernel, op.stride, op.padding)

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last, and with indices the winners' places."""
        x = to_last(_batched(arrays[0], self.axes(op)))
        found = self._largest(op, x)
        if found is None:
            return run_reference(op, arrays)
        y, saved = found
        outputs = (y, saved.entries.astype(np.int64)) if op.indices else (y,)
        return tuple([a if arrays[0].ndim == a.ndim else a[0] for a in outputs]), saved

    def _largest(self, op: Any, x: Array) -> tuple[Array, Any] | None:
        """Give y and what the backward needs; None where it is for the reference."""
        side_by_side = plan_winners(op, x.shape)
        found = side_by_side and side_by_side.forward(x, self.relu)
        if found:
            return found
        plan = self.plan(op, x.shape)
        if isinstance(plan, WindowPlan):
            return plan.largest(x, self.relu)
        assert plan is not None
        if not finite(x):
            return None
        y, workspace = plan.forward(x)
        note_finite(y)
        if self.relu:
            relu_in_place(y)
        return y, (plan, workspace, y if self.relu else None)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        gy = gy[0] if op.indices else gy
        g = _batched(gy, self.axes(op))
        if isinstance(saved, Places | Winners):
            gx = saved.plan.winners_gradient(saved.entries, g)
        else:
            plan, workspace, y = saved
            gx = plan.backward(g if y is None else relu_gradient(y, g), workspace)
        return (gx if gy.ndim == gx.ndim else gx[0],)


@ONEDNN.kernel(ReLUMaxPool)
class ReLUMaxPoolPair(MaxPoolPair):
    """ReLUMaxPool: the pooling, and ReLU in the same pass or in the memory of its result."""

    relu = True


@ONEDNN.kernel(AvgPool)
class AvgPoolPair(Pool):
    """AvgPool; the library's divisor is the window's size, with or without its padding."""

    def own(self, op: Any, x: Shape) -> WindowPlan | None:
        """Pool over any windows."""
        windows = op._windows(x[2:])
        if op.divisor_override is None:
            counts = [w.lengths(op.count_include_pad) for w in windows]
        else:
            counts = [np.ones(w.out) for w in windows]
            counts[0] *= op.divisor_override
        return plan_windows(windows, x, counts)

    def windows(self, op: AvgPool, x: Shape, y: Shape) -> Windows | None:
        """Ask for the average with the padding or without."""
        sizes = op.kernel, op.stride, op.padding
        if op.divisor_override is not None:
            return None
        if not op.count_include_pad:
            return Windows(c.POOLING_AVG_EXCLUDE_PADDING, *sizes)
        asked = Windows(c.POOLING_AVG_INCLUDE_PADDING, *sizes)
        # The library would count what ceil mode lets stand beyond the padding.
        beyond = any(far > pad for far, pad in zip(reach(x, y, asked), op.padding, strict=True))
        return None if beyond else asked

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save the plan."""
        x = to_last(_batched(arrays[0], self.axes(op)))
        plan = self.plan(op, x.shape)
        assert plan is not None
        y = plan.forward(x)[0] if isinstance(plan, PoolPlan) else plan.average(x)
        return (y if arrays[0].ndim == y.ndim else y[0],), plan

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last."""
        g = _batched(gy, self.axes(op))
        own = isinstance(saved, WindowPlan)
        gx = saved.average_gradient(g) if own else saved.backward(g, None)
        return (gx if gy.ndim == gx.ndim else gx[0],)


@ONEDNN.kernel(AdaptiveAvgPool)
class AdaptiveAvgPoolPair(AvgPoolPair):
    """AdaptiveAvgPool; the library needs sizes that the output's divide."""

    def own(self, op: Any, x: Shape) -> WindowPlan | None:
        """Pool over any windows."""
        windows = op._windows(x)
        return plan_windows(windows, x, [w.lengths() for w in windows])

    def axes(self, op: AdaptiveAvgPool) -> int:
        """Give the number of spatial axes."""
        return len(op.output_size)

    def windows(self, op: Any, x: Shape, y: Shape) -> Windows | None:
        """Ask for averages over equal windows."""
        if any(size % out for size, out in zip(x[2:], y[2:], strict=True)):
            return None
        kernel = tuple([size // out for size, out in zip(x[2:], y[2:], strict=True)])
        return Windows(c.POOLING_AVG_EXCLUDE_PADDING, kernel, kernel, (0,) * len(kernel))


def asked_of_library(op: Any, x: Shape, y: Shape) -> Windows | None:
    """Say what to ask the library for, whatever pair serves; None where it cannot give it."""
    if isinstance(op, MaxPool):
        return MaxPoolPair().windows(op, x, y)
    return (AdaptiveAvgPoolPair() if isinstance(op, AdaptiveAvgPool) else AvgPoolPair()).windows(
        op, x, y
    )
