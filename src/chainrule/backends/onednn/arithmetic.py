"""Sums of two equal arrays, alone and with ReLU: where the branches of a network meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.backends.onednn.activation import relu_gradient
from chainrule.backends.onednn.arrays import (
    address,
    empty_as,
    finite,
    is_dense,
    is_float32,
    laid_as,
    note_finite,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
    reference_backward,
    run_reference,
    sum_plan,
)
from chainrule.engine.op import Array
from chainrule.ops.elementwise import Add
from chainrule.ops.fused import AddReLU


@ONEDNN.kernel(Add)
class AddPair:
    """Add of equal shapes; what broadcasts or is scaled is the reference's."""

    relu = False

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, of equal shapes, and large enough."""
        a, b = arrays
        if a.shape != b.shape or a.size < Limits.small or getattr(op, "alpha", 1) != 1:
            return False
        return is_float32(a, b) and is_dense(a) and sum_plan(a.size, self.relu) is not None

    def _sum(self, a: Array, b: Array) -> Array:
        plan, y = sum_plan(a.size, self.relu), empty_as(a)
        assert plan is not None
        b = laid_as(a, b)
        plan(address(a), address(b), address(y))
        return y

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in the first operand's layout; nothing is saved."""
        return (self._sum(*arrays),), None

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Pass gy on to both."""
        return tuple([gy if need else None for need in needs])


@ONEDNN.kernel(AddReLU)
class AddReLUPair(AddPair):
    """AddReLU of finite values: the library's ReLU would make NaN 0."""

    relu = True

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in the first operand's layout, and save it."""
        a, b = arrays[0], laid_as(*arrays)
        if not (finite(a) and finite(b)):
            return run_reference(op, arrays)
        y = self._sum(a, b)
        note_finite(y)
        return (y,), y

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Pass gy on to both where y > 0."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        return super().backward(op, None, relu_gradient(saved, gy), needs)
