"""Pooling: largest values with a workspace that knows the winners, and averages."""

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
    """What all pooling pairs share; a subclass gives the plan of an op on a shape."""

    def windows(self, op: Any, x: Shape, y: Shape) -> Windows | None:
        """Say what to ask for (N, C, *sizes); None where the library cannot give it."""
        raise NotImplementedError

    def plan(self, op: Any, x: Shape) -> PoolPlan | None:
        """Give the plan for (N, C, *sizes)."""
        return cached((op, x), lambda: self._find(op, x))

    def _find(self, op: Any, x: Shape) -> PoolPlan | None:
        y = op.infer(Spec(x, FLOAT32))[0].shape
        windows = self.windows(op, x, y)
        return None if windows is None else _build(x, y, windows)

    def axes(self, op: Any) -> int:
        """Give the number of spatial axes."""
        return len(op.kernel)

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, and windows that the library has."""
        x = arrays[0]
        return is_float32(x) and self.plan(op, _batched(x, self.axes(op)).shape) is not None

    def _run(self, op: Any, x: Array) -> tuple[Array, Any]:
        """Give y with the batch's axis, and the workspace."""
        plan = self.plan(op, x.shape)
        assert plan is not None
        y = empty_last(plan.y)
        if not plan.workspace:
            plan.run_forward(address(x), address(y))
            return y, None
        workspace = np.empty(plan.workspace, np.uint8)
        plan.run_forward(address(x), address(y), address(workspace))
        return y, workspace

    def _back(self, op: Any, shape: Shape, workspace: Any, g: Array) -> Array:
        plan = self.plan(op, shape)
        assert plan is not None
        g, gx = to_last(g), empty_last(shape)
        more = () if workspace is None else (address(workspace),)
        plan.run_backward(address(g), address(gx), *more)
        return gx

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save the workspace and x's shape."""
        x = to_last(_batched(arrays[0], self.axes(op)))
        y, workspace = self._run(op, x)
        return (y if arrays[0].ndim == y.ndim else y[0],), (x.shape, workspace)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last."""
        shape, workspace = saved
        gx = self._back(op, shape, workspace, _batched(gy, self.axes(op)))
        return (gx if gy.ndim == gx.ndim else gx[0],)


@ONEDNN.kernel(MaxPool)
class MaxPoolPair(Pool):
    """MaxPool without indices or dilation (which the library has as a slow reference).

    oneDNN's drops NaN and gives -3.4e38 for windows of -inf: such inputs go to the reference.
    """

    def windows(self, op: MaxPool, x: Shape, y: Shape) -> Windows | None:
        """Ask for the largest, where neither indices nor gaps are wanted."""
        if op.indices or max(op.dilation) > 1:
            return None
        return Windows(c.POOLING_MAX, op.kernel, op.stride, op.padding)

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; by the reference what is not finite."""
        x = to_last(_batched(arrays[0], self.axes(op)))
        found = self._largest(op, x)
        if found is None:
            return run_reference(op, arrays)
        y, saved = found
        y = y if arrays[0].ndim == y.ndim else y[0]
        note_finite(y)
        return (y,), saved

    relu = False

    def _largest(self, op: Any, x: Array) -> tuple[Array, Any] | None:
        """Give y and what the backward needs; None where x is not finite."""
        plan = plan_winners(op, x.shape)
        if plan is not None:
            return plan.forward(x, self.relu)
        if not finite(x):
            return None
        y, workspace = self._run(op, x)
        return y, (x.shape, workspace)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        if isinstance(saved, Winners):
            gx = saved.plan.backward(saved.entries, _batched(gy, self.axes(op)))
            return (gx if gy.ndim == gx.ndim else gx[0],)
        return super().backward(op, saved, gy, needs)


@ONEDNN.kernel(ReLUMaxPool)
class ReLUMaxPoolPair(MaxPoolPair):
    """ReLUMaxPool: the pooling, and ReLU in the memory of its result."""

    relu = True

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save it too, since its zeros are where no gradient passes."""
        (y,), saved = super().forward(op, arrays)
        if isinstance(saved, ByReference | Winners):
            return (y,), saved
        relu_in_place(y)
        return (y,), (*saved, y)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Stop the gradient where y is 0, then go to the winners."""
        if isinstance(saved, ByReference | Winners):
            return super().backward(op, saved, gy, needs)
        shape, workspace, y = saved
        return super().backward(op, (shape, workspace), relu_gradient(y, gy), needs)


@ONEDNN.kernel(AvgPool)
class AvgPoolPair(Pool):
    """AvgPool whose divisor is the window's size, with or without its padding."""

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


@ONEDNN.kernel(AdaptiveAvgPool)
class AdaptiveAvgPoolPair(Pool):
    """AdaptiveAvgPool whose windows are all alike: sizes that the output's divide."""

    def axes(self, op: AdaptiveAvgPool) -> int:
        """Give the number of spatial axes."""
        return len(op.output_size)

    def windows(self, op: AdaptiveAvgPool, x: Shape, y: Shape) -> Windows | None:
        """Ask for averages over equal windows."""
        if 0 in y or any(size % out for size, out in zip(x[2:], y[2:], strict=True)):
            return None
        kernel = tuple([size // out for size, out in zip(x[2:], y[2:], strict=True)])
        return Windows(c.POOLING_AVG_EXCLUDE_PADDING, kernel, kernel, (0,) * len(kernel))
