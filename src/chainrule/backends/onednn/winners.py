"""Max pooling of windows that lie side by side, with or without ReLU, by our own kernels.

One pass forward, which also finds what is not finite, and one backward; a byte for each result
remembers its winner.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.onednn.arrays import FLOAT32, address, empty_last, note_finite, to_last
from chainrule.backends.onednn.own import INT, POINTER, have_kernels, kernel, lanes, sizes
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import Current, cached, planned_for, work
from chainrule.engine.op import Array, Spec
from chainrule.ops.fused import ReLUMaxPool
from chainrule.ops.pool_max import MaxPool


class Winners(NamedTuple):
    """What the backward needs: the plan, and which entry of each window was the largest."""

    plan: WinnersPlan
    entries: Array


class WinnersPlan:
    """One pooling of one shape."""

    def __init__(self, op: MaxPool, x: Shape, y: Shape) -> None:
        self._threads, self.x, self.y = Current.thread.threads, x, y
        n, channels, h, w = x
        self._sizes = sizes(n, h, w, channels, *y[2:], *op.kernel)
        few = channels <= 8
        self._entries = n * y[2] * y[3] * -(-channels // lanes(few)) * lanes(few)
        self._forward = kernel("pool_max", *[POINTER] * 4, INT, INT, half=few)
        self._backward = kernel("pool_max_back", *[POINTER] * 4, INT, half=few)

    def forward(self, x: Array, relu: bool) -> tuple[Array, Winners] | None:
        """Give y and the winners; None where x is not finite, which is not for this kernel."""
        y, entries = empty_last(self.y), np.empty(self._entries, np.uint8)
        ends = address(x), address(y), address(entries)
        if self._forward(self._sizes, *ends, relu, self._threads):
            return None
        note_finite(y)
        return y, Winners(self, entries)

    def winners_gradient(self, entries: Array, gy: Array) -> Array:
        """Give gx."""
        g, gx = to_last(gy), empty_last(self.x)
        ends = address(g), address(entries), address(gx)
        self._backward(self._sizes, *ends, self._threads)
        return gx


def plan_winners(op: Any, x: Shape) -> WinnersPlan | None:
    """Give the plan for (N, C, H, W), None where windows overlap or there are no kernels."""
    return cached(("winners", op, x), lambda: _build(op, x))


def _build(op: Any, x: Shape) -> WinnersPlan | None:
    if type(op) not in (MaxPool, ReLUMaxPool) or len(op.kernel) != 2 or max(op.dilation) > 1:
        return None
    plain = op.stride == op.kernel and not any(op.padding) and not op.indices
    if not have_kernels() or not plain or op.ceil_mode or prod(op.kernel) > 255:
        return None
    y = op.infer(Spec(x, FLOAT32))[0].shape
    with planned_for(work(2 * prod(x))):
        return WinnersPlan(op, x, y)
