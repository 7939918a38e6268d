"""Adaptive max pooling, which the library lacks, by our own kernel."""

from __future__ import annotations

from typing import Any

from chainrule.backends.onednn.backend import ONEDNN
from chainrule.backends.onednn.pool import MaxPoolPair
from chainrule.backends.onednn.primitives import Shape
from chainrule.ops.pool_max import AdaptiveMaxPool


@ONEDNN.ours(AdaptiveMaxPool)
class AdaptiveMaxPoolPair(MaxPoolPair):
    """AdaptiveMaxPool, by our kernel alone."""

    def axes(self, op: AdaptiveMaxPool) -> int:
        """Give the number of spatial axes."""
        return len(op.output_size)

    def windows(self, op: Any, x: Shape, y: Shape) -> None:
        """Ask the library for nothing."""
