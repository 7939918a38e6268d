"""Activations of straight and parabolic pieces, by our own kernel: one pass each way.

It keeps NaN and infinity as the formulas have them, so that nothing is looked at first.  Without
the kernels oneDNN's pair serves where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from chainrule.backends.onednn.arrays import (
    FLOAT32,
    address,
    is_dense,
    laid_as,
    note_finite,
)
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.own import FLOAT, INT, LONG, POINTER, Kernel, kernel
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.activation import LeakyReLU, ReLU
from chainrule.ops.activation_hard import (
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    Softshrink,
    Threshold,
)

Settings = tuple[float, float, float]


class Pieces:
    """A pair by one kind of the kernel; subclasses say which, and what stands without kernels."""

    name: ClassVar[str] = "pieces"
    kind: ClassVar[int]
    bounded: ClassVar[bool] = True  # whether no finite value overflows
    from_result: ClassVar[bool] = False  # whether the gradient reads y, not x
    heavy: ClassVar[int] = 2  # how many passes it is worth

    def settings(self, op: Any) -> Settings:
        """Give the kernel's three numbers."""
        return 0.0, 0.0, 0.0

    def kind_of(self, op: Any) -> int:
        """Give the kernel's number of the function."""
        return self.kind

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, and large enough."""
        x = arrays[0]
        return x.dtype == FLOAT32 and x.size >= max(1, Limits.small) and is_dense(x)

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout; save x."""
        x = arrays[0]
        y, strange = self._run(op, x, None)
        if self.bounded and not strange:
            note_finite(y)
        return (y,), (y if self.from_result else x,)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout."""
        (kept,) = saved
        return (self._run(op, kept, laid_as(kept, gy))[0],)

    def _run(self, op: Any, x: Array, g: Array | None) -> tuple[Array, bool]:
        """Give y, or with g gx; in the forward, whether x is not finite."""
        out = np.empty_like(x)  # which keeps the order of a dense array
        run = cached((self.name,), self._build)
        threads = threads_for(work(self.heavy * x.size))
        ends = address(x), None if g is None else address(g), address(out)
        strange = run(*ends, x.size, *self.settings(op), self.kind_of(op), threads)
        return out, bool(strange)

    def _build(self) -> Kernel:
        numbers = (LONG, FLOAT, FLOAT, FLOAT, INT, INT)
        return kernel(self.name, POINTER, POINTER, POINTER, *numbers)


@ONEDNN.ours(ReLU)
class ReLUPieces(Pieces):
    """ReLU: a threshold of 0; the next operation mostly keeps y anyway."""

    kind, from_result = 4, True


@ONEDNN.ours(LeakyReLU)
class LeakyPieces(Pieces):
    """LeakyReLU."""

    kind, bounded = 0, False

    def settings(self, op: Any) -> Settings:
        """Give the slope."""
        return op.slope, 0.0, 0.0


@ONEDNN.ours(Hardtanh)
class HardtanhPieces(Pieces):
    """Hard tanh, ReLU6 among them."""

    kind = 1

    def settings(self, op: Any) -> Settings:
        """Give the limits."""
        return op.low, op.high, 0.0


@ONEDNN.ours(Hardsigmoid)
class HardsigmoidPieces(Pieces):
    """Hard sigmoid."""

    kind = 2


@ONEDNN.ours(Hardswish)
class HardswishPieces(Pieces):
    """Hard swish."""

    kind = 3


@ONEDNN.ours(Threshold)
class ThresholdPieces(Pieces):
    """Threshold."""

    kind = 4

    def settings(self, op: Any) -> Settings:
        """Give the threshold and the value."""
        return op.threshold, op.value, 0.0


@ONEDNN.ours(Hardshrink)
class HardshrinkPieces(Pieces):
    """Hard shrinkage."""

    kind = 5

    def settings(self, op: Any) -> Settings:
        """Give lambda."""
        return op.lambd, 0.0, 0.0


@ONEDNN.ours(Softshrink)
class SoftshrinkPieces(HardshrinkPieces):
    """Soft shrinkage."""

    kind = 6
