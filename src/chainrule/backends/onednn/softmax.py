"""Softmax and its logarithm along one axis of a dense array."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import (
    address,
    empty_as,
    finite,
    is_dense,
    is_float32,
    laid_as,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
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
    plain,
)
from chainrule.backends.onednn.runtime import cached, runtime, work
from chainrule.engine.op import Array
from chainrule.ops.softmax import LogSoftmax, Softmax


class SoftmaxPlan:
    """Softmax of one shape along one axis."""

    def __init__(self, found: tuple[Description, Description], what: str) -> None:
        self._found, self.what = found, what

    @built
    def run_forward(self) -> Primitive:
        """(x, y)."""
        return Primitive(self._found[0], (c.SRC, c.DST), self.what)

    @built
    def run_backward(self) -> Primitive:
        """(y, gy, gx)."""
        what = f"gradient of {self.what}"
        return Primitive(self._found[1], (c.DST, c.DIFF_DST, c.DIFF_SRC), what)


def plan_softmax(alg: int, x: Shape, last: bool, axis: int) -> SoftmaxPlan | None:
    """Give the plan, None where the library has no fast one."""
    key = ("softmax", alg, x, last, axis)
    return cached(key, lambda: _build(alg, x, last, axis), work(10 * prod(x)))


def _build(alg: int, x: Shape, last: bool, axis: int) -> SoftmaxPlan | None:
    engine, layout = runtime().engine, channels_last(x) if last else plain(x)
    forward = describe("softmax_forward", engine, c.FORWARD_TRAINING, alg, layout, layout, axis)
    if forward is None:
        return None
    backward = describe("softmax_backward", engine, alg, layout, layout, layout, axis, forward)
    if backward is None:
        return None
    return SoftmaxPlan((forward, backward), f"softmax {alg:#x} of {x} along axis {axis}")


@ONEDNN.kernel(Softmax)
class SoftmaxPair:
    """Softmax without our kernels, of finite values; slices with infinities are the reference's."""

    alg: ClassVar[int] = c.SOFTMAX_ACCURATE

    def _plan(self, op: Any, x: Array) -> SoftmaxPlan | None:
        return plan_softmax(self.alg, x.shape, not x.flags.c_contiguous, op.axis)

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, and large enough."""
        x = arrays[0]
        if x.size < Limits.small or not is_float32(x) or not x.ndim or not is_dense(x):
            return False
        return self._plan(op, x) is not None

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout, and save it."""
        x = arrays[0]
        if not finite(x):
            return run_reference(op, arrays)
        plan = self._plan(op, x)
        assert plan is not None
        y = empty_as(x)
        plan.run_forward(address(x), address(y))
        return (y,), y

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        plan = self._plan(op, saved)
        assert plan is not None
        g, gx = laid_as(saved, gy), empty_as(saved)
        plan.run_backward(address(saved), address(g), address(gx))
        return (gx,)


@ONEDNN.kernel(LogSoftmax)
class LogSoftmaxPair(SoftmaxPair):
    """LogSoftmax without our kernels, of finite values."""

    alg = c.SOFTMAX_LOG
