"""Losses with an error for each element, by our own kernel: errors, sum or mean in one pass.

One more pass gives the gradients.  Broadcast and weighted losses are the reference's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from chainrule.backends.onednn.arrays import FLOAT32, address, empty_as, is_dense, laid_as
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.own import FLOAT, INT, LONG, POINTER, Kernel, kernel
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.loss import L1Loss, MSELoss
from chainrule.ops.loss_binary import BinaryCrossEntropyWithLogits
from chainrule.ops.loss_hinge import SoftMarginLoss
from chainrule.ops.loss_smooth import HuberLoss, SmoothL1Loss

_PIECE = 4096  # as the kernel has it
Kernels = tuple[Kernel, Kernel]


def _build() -> Kernels:
    settings = LONG, FLOAT, FLOAT
    forward = kernel("loss", *[POINTER] * 4, *settings, INT, INT)
    return forward, kernel("loss_back", *[POINTER] * 5, *settings, INT, INT, INT)


class Losses:
    """A pair by one kind of the kernel; subclasses say which, and how heavy an element is."""

    kind: ClassVar[int]
    heavy: ClassVar[float] = 1.0

    def width(self, op: Any) -> float:
        """Give the kernel's setting."""
        return 0.0

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Input and target of one shape, float32, dense, and large enough."""
        x, t = arrays[:2]
        return (
            len(arrays) == 2
            and x.shape == t.shape
            and x.size >= max(1, Limits.small)
            and x.dtype == t.dtype == FLOAT32
            and is_dense(x)
        )

    def _threads(self, size: int) -> int:
        return threads_for(work(3 * self.heavy * size))

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give the errors in x's layout, or a number; save both inputs."""
        x = arrays[0]
        t, size = laid_as(x, arrays[1]), x.size
        run = cached(("losses",), _build)[0]
        if op.reduction == "none":
            y, sums, scale = empty_as(x), None, 1.0
        else:
            y, sums = np.empty((), FLOAT32), np.empty(-(-size // _PIECE))
            scale = 1 / size if op.reduction == "mean" else 1.0
        ends = address(x), address(t), address(y), None if sums is None else address(sums)
        run(*ends, size, scale, self.width(op), self.kind, self._threads(size))
        return (y,), (x, t)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx and gt in x's layout."""
        x, t = saved
        size, each = x.size, op.reduction == "none"
        g = laid_as(x, gy) if each else gy
        gx, gt = [empty_as(x) if need else None for need in needs]
        scale = 1 / size if op.reduction == "mean" else 1.0
        ends = [None if a is None else address(a) for a in (x, t, g, gx, gt)]
        run = cached(("losses",), _build)[1]
        run(*ends, size, scale, self.width(op), each, self.kind, self._threads(size))
        return gx, gt


@ONEDNN.ours(MSELoss)
class SquaredPair(Losses):
    """Squared error."""

    kind = 0


@ONEDNN.ours(L1Loss)
class AbsolutePair(Losses):
    """Absolute error."""

    kind = 1


@ONEDNN.ours(SmoothL1Loss)
class SmoothPair(Losses):
    """Squared near 0, absolute beyond beta."""

    kind = 2

    def width(self, op: SmoothL1Loss) -> float:
        """Give beta."""
        return op.beta


@ONEDNN.ours(HuberLoss)
class HuberPair(Losses):
    """Squared near 0, absolute beyond delta."""

    kind = 3

    def width(self, op: HuberLoss) -> float:
        """Give delta."""
        return op.delta


@ONEDNN.ours(BinaryCrossEntropyWithLogits)
class LogitsPair(Losses):
    """Binary cross-entropy of logits, without weights."""

    kind, heavy = 4, 5.0


@ONEDNN.ours(SoftMarginLoss)
class SoftMarginPair(Losses):
    """The logistic loss of scores and signs."""

    kind, heavy = 5, 5.0
