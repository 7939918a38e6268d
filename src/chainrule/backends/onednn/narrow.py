"""Convolutions of few channels, such as a network's first, by our own kernels.

oneDNN's fill their vectors with channels; `native/source/narrow.h` says what ours do instead.
Steps of 1, one group, a window whose row holds at most 32 (column, channel) pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import addressof
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn.activation import relu_in_place
from chainrule.backends.onednn.arrays import FLOAT32, address, empty_last
from chainrule.backends.onednn.conv_plan import ConvPlan
from chainrule.backends.onednn.own import INT, POINTER, Kernel, M, kernel, scratch, size_of, sizes
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import Current
from chainrule.engine.op import Array
from chainrule.ops.conv import Conv

WIDEST = 32  # pairs in a window's row
IMAGE = 1 << 13  # floats of an image and of its result that fit a core's nearest cache
CHANNELS, FILTERS = 8, 32  # most of them with which oneDNN's kernels are the slower


class Narrow:
    """Our kernel for one convolution's shapes, forward."""

    def __init__(self, op: Conv, x: Shape, w: Shape, y: Shape) -> None:
        n, channels, h, wide = x
        (top, _), (left, _) = op.padding
        self.sizes = sizes(n, h, wide, channels, *y[1:], *w[2:], top, left)
        self.threads = Current.thread.threads
        self.few = w[0] <= 8  # lanes are filters
        types = *[POINTER] * 6, INT, INT, POINTER
        self.kernel = kernel("narrow_conv", *types, half=self.few)
        self.scratch_bytes = scratch_bytes("conv", self.sizes, self.threads, self.few)

    def arguments(
        self, x: Any, w: Any, bias: Any, y: Any, scratch: Any, relu: bool, filters: Any = None
    ) -> list[Any]:
        """Give the kernel's arguments; arrays by their addresses, or what stands for these."""
        return [addressof(self.sizes), x, w, bias, y, scratch, self.threads, relu, filters]

    def lay_out(self, w: Array, memory: Callable[[int], M]) -> M:
        """Lay the filters out for good, in memory of so many bytes; give that memory."""
        nbytes = size_of("narrow_filters", POINTER, half=self.few)(self.sizes)
        run = kernel("narrow_filters", *[POINTER] * 3, half=self.few)
        target = memory(nbytes)
        run(self.sizes, address(w), target.address)
        return target


def scratch_bytes(name: str, sizes: Any, threads: int, half: bool) -> int:
    """Give the bytes of scratch memory that a kernel needs."""
    return int(size_of(f"narrow_{name}", POINTER, INT, half=half)(sizes, threads))


class NarrowPlan(ConvPlan):
    """The direct convolution's plan, with our own kernels for what they do sooner."""

    def __init__(self, op: Conv, direct: ConvPlan) -> None:
        self.__dict__.update(direct.__dict__)
        self._own = Narrow(op, self.x, self.w, self.y)
        self._sizes, self._threads = self._own.sizes, self._own.threads
        # Lanes are filters but in the gradient by the input, where they are pairs in a row.
        few, short = self.w[0] <= 8, self.x[1] * self.w[3] <= 8
        self._input, self._for_input = self._kernel("input", 5, short)
        self._gradient, self._for_gradient = self._kernel("weights", 6, few)

    def _kernel(self, name: str, pointers: int, half: bool) -> tuple[Kernel, int]:
        """Give a kernel, and the bytes of scratch memory that it needs."""
        run = kernel(f"narrow_{name}", *[POINTER] * pointers, INT, half=half)
        return run, scratch_bytes(name, self._sizes, self._threads, half)

    def forward(self, x: Array, w: Array, bias: Array | None, relu: bool) -> tuple[Array, bool]:
        """Give y, its negative values 0 with `relu`, and then whether it was finite."""
        own, y = self._own, empty_last(self.y)
        vector = None if bias is None else address(bias)
        ends = address(x), address(w), vector, address(y), scratch(own.scratch_bytes)
        own.kernel(*own.arguments(*ends, False))
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
    return NarrowPlan(op, plan) if few_channels(op, plan.x, plan.w, plan.y) else None


def few_channels(op: Conv, x: Shape, w: Shape, y: Shape) -> bool:
    """Tell whether the shapes are such that our kernels can compute them, and do so sooner."""
    if len(w) != 4 or op.groups != 1 or (op.stride, op.dilation) != ((1, 1), (1, 1)):
        return False
    if w[1] * w[3] > WIDEST or w[1] > CHANNELS or w[0] > FILTERS:
        return False
    (top, bottom), (left, right) = op.padding
    if max(top, bottom) >= w[2] or max(left, right) >= w[3]:
        return False
    return prod(x[1:]) <= IMAGE and prod(y[1:]) <= IMAGE
