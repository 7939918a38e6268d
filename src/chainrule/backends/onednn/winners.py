"""Max pooling of windows that lie side by side, with or without ReLU, by our own kernels.

One pass forward, which also finds what is not finite, and one backward; a byte for each result
remembers its winner.
"""

from __future__ import annotations

from ctypes import addressof
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


class SideBySide:
    """Our kernel for one pooling of one shape, forward."""

    def __init__(self, op: MaxPool, x: Shape, y: Shape) -> None:
        self.threads = Current.thread.threads
        n, channels, h, w = x
        self.sizes = sizes(n, h, w, channels, *y[2:], *op.kernel)
        self.few = channels <= 8
        # Bytes that remember the winners.
        self.entries = n * y[2] * y[3] * -(-channels // lanes(self.few)) * lanes(self.few)
        self.kernel = kernel("pool_max", *[POINTER] * 4, INT, INT, half=self.few)

    def arguments(self, x: Any, y: Any, entries: Any, relu: bool) -> list[Any]:
        """Give the kernel's arguments; arrays by their addresses, or what stands for these."""
        return [addressof(self.sizes), x, y, entries, relu, self.threads]


class WinnersPlan:
    """One pooling of one shape."""

    def __init__(self, op: MaxPool, x: Shape, y: Shape) -> None:
        self.x, self.y, self._own = x, y, SideBySide(op, x, y)
        self._backward = kernel("pool_max_back", *[POINTER] * 4, INT, half=self._own.few)

    def forward(self, x: Array, relu: bool) -> tuple[Array, Winners] | None:
        """Give y and the winners; None where x is not finite, which is not for this kernel."""
        own, y = self._own, empty_last(self.y)
        entries = np.empty(own.entries, np.uint8)
        if own.kernel(*own.arguments(address(x), address(y), address(entries), relu)):
            return None
        note_finite(y)
        return y, Winners(self, entries)

    def winners_gradient(self, entries: Array, gy: Array) -> Array:
        """Give gx."""
        g, gx = to_last(gy), empty_last(self.x)
        ends = address(g), address(entries), address(gx)
        self._backward(self._own.sizes, *ends, self._own.threads)
        return gx


def side_by_side(op: Any) -> bool:
    """Tell whether our kernel knows the pooling: largest values of plain windows side by side."""
    if type(op) not in (MaxPool, ReLUMaxPool) or len(op.kernel) != 2 or max(op.dilation) > 1:
        return False
    plain = op.stride == op.kernel and not any(op.padding) and not op.indices
    return have_kernels() and plain and not op.ceil_mode and prod(op.kernel) <= 255


def plan_winners(op: Any, x: Shape) -> WinnersPlan | None:
    """Give the plan for (N, C, H, W), None where windows overlap or there are no kernels."""
    return cached(("winners", op, x), lambda: _build(op, x))


def _build(op: Any, x: Shape) -> WinnersPlan | None:
    if not side_by_side(op):
        return None
    y = op.infer(Spec(x, FLOAT32))[0].shape
    with planned_for(work(2 * prod(x))):
        return WinnersPlan(op, x, y)
