"""Convolutions of few channels, such as a network's first, by our own kernels.

oneDNN's fill their vectors with channels; `native/source/narrow.h` says what ours do instead.
Steps of 1, one group, a window whose row holds at most 32 (column, channel) pairs.
"""

from __future__ import annotations

from math import prod

import numpy as np

from chainrule.backends.onednn.activation import relu_in_place
from chainrule.backends.onednn.arrays import FLOAT32, address, empty_last
from chainrule.backends.onednn.conv_plan import ConvPlan
from chainrule.backends.onednn.own import INT, POINTER, Kernel, kernel, scratch, size_of, sizes
from chainrule.backends.onednn.runtime import Current
from chainrule.engine.op import Array
from chainrule.ops.conv import Conv

WIDEST = 32  # pairs in a window's row
IMAGE = 1 << 13  # floats of an image and of its result that fit a core's nearest cache
CHANNELS, FILTERS = 8, 32  # most of them with which oneDNN's kernels are the slower


class NarrowPlan(ConvPlan):
    """The direct convolution's plan, with our own kernels for what they do sooner."""

    def __init__(self, op: Conv, direct: ConvPlan) -> None:
        self.__dict__.update(direct.__dict__)
        n, channels, h, w = self.x
        (top, _), (left, _) = op.padding
        self._sizes = sizes(n, h, w, channels, *self.y[1:], *self.w[2:], top, left)
        self._threads = Current.thread.threads
        # Lanes are filters but in the gradient by the input, where they are pairs in a row.
        few, short = self.w[0] <= 8, channels * self.w[3] <= 8
        self._conv, self._for_conv = self._kernel("conv", 6, few)
        self._input, self._for_input = self._kernel("input", 5, short)
        self._gradient, self._for_gradient = self._kernel("weights", 6, few)

    def _kernel(self, name: str, pointers: int, half: bool) -> tuple[Kernel, int]:
        """Give a kernel, and the bytes of scratch memory that it needs."""
        run = kernel(f"narrow_{name}", *[POINTER] * pointers, INT, half=half)
        need = size_of(f"narrow_{name}", POINTER, INT, half=half)
        return run, need(self._sizes, self._threads)

    def forward(self, x: Array, w: Array, bias: Array | None, relu: bool) -> tuple[Array, bool]:
        """Give y, its negative values 0 with `relu`, and then whether it was finite."""
        y = empty_last(self.y)
        vector = None if bias is None else address(bias)
        ends = address(x), address(w), vector, address(y), scratch(self._for_conv)
        self._conv(self._sizes, *ends, self._threads)
        return y, relu_in_place(y) if relu else False

    def input_gradient(self, g: Array, w: Array) -> Array:
        """Give gx."""
        gx = empty_last(self.x)
        ends = address(g), address(w), address(gx), scratch(self._for_input)
        self._input(self._sizes, *ends, self._threads)
        return gx

    def weight_gradient(self, x: Array, g: Array, need_bias: bool) -> tuple[Array, Array | None]:
        """Give gw, and gb where there is a bias that needs it."""
        gw = np.empty(self.w, FLOAT32)
        gb = np.empty(self.w[0], FLOAT32) if need_bias else None
        bias = None if gb is None else address(gb)
        ends = address(x), address(g), address(gw), bias, scratch(self._for_gradient)
        self._gradient(self._sizes, *ends, self._threads)
        return gw, gb


def narrow_plan(op: Conv, plan: ConvPlan) -> ConvPlan | None:
    """Give the plan that computes by these kernels where that is faster than the one given."""
    return NarrowPlan(op, plan) if _pays(op, plan) else None


def _pays(op: Conv, plan: ConvPlan) -> bool:
    """Tell whether the shapes are such that our kernels can compute them, and do so sooner."""
    x, w, y = plan.x, plan.w, plan.y
    if len(w) != 4 or op.groups != 1 or (op.stride, op.dilation) != ((1, 1), (1, 1)):
        return False
    if w[1] * w[3] > WIDEST or w[1] > CHANNELS or w[0] > FILTERS:
        return False
    (top, bottom), (left, right) = op.padding
    if max(top, bottom) >= w[2] or max(left, right) >= w[3]:
        return False
    return prod(x[1:]) <= IMAGE and prod(y[1:]) <= IMAGE
