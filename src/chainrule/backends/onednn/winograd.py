"""3x3 convolutions by Winograd's F(4x4, 3x3): a quarter of the multiplications.

The kernels are our own, compiled from `native/source`.  They compute what the direct convolution
does, with a rounding error a few times as large, relative to the largest value of a tile; where
a result is not finite (NaN or infinity in, or an overflow), the direct one runs again.
CHAINRULE_WINOGRAD=0 keeps to the direct convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import addressof
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn.arrays import (
    FLOAT32,
    REORDERS,
    address,
    by_rows,
    empty_last,
    note_finite,
)
from chainrule.backends.onednn.conv_plan import ConvPlan
from chainrule.backends.onednn.dense import column_sums
from chainrule.backends.onednn.own import (
    INT,
    LONG,
    POINTER,
    M,
    kernel,
    lanes,
    scratch,
    size_of,
    sizes,
    switched_on,
)
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import Current
from chainrule.engine.op import Array
from chainrule.ops.conv import Conv

VARIABLE = "CHAINRULE_WINOGRAD"

POINTS = 36  # products for a tile of 4x4 results, of which each takes 9 directly
LEAST_WORK = 1 << 22  # multiply-adds of the direct convolution
LEAST_TILES = 24  # else transforming the filters takes longer than it saves
GAIN = 1.9  # products of the direct convolution by those that remain, with the tiles' borders
CACHE = 640 << 10  # bytes of transformed tiles that a block may take: what a core keeps near
BLOCKS = (24, 48)  # fewest and most tiles in a block, multiples of 12
IN_A_ROW = 1024  # blocks whose sums are added one after the other at most
MANY = 1 << 16  # products of channels from which threads share channels, not tiles


class Winograd:
    """Our kernels for one convolution's shapes.

    These are two: one that transforms all filters and then blocks of tiles, and one for few tiles,
    which transforms all tiles and then panels of filters.  So their scratch memory has a bound
    that depends on the channels alone.
    """

    def __init__(self, op: Conv, x: Shape, w: Shape, y: Shape) -> None:
        n, channels, h, wide = x
        filters, out_h, out_w = y[1:]
        (top, _), (left, _) = op.padding
        self.forth = sizes(n, h, wide, channels, filters, out_h, out_w, top, left)
        self.back = sizes(n, out_h, out_w, filters, channels, h, wide, 2 - top, 2 - left)
        least, most = BLOCKS
        fit = CACHE // (4 * POINTS * (channels + filters)) // least * least
        self._block = max(least, min(most, fit))
        self.threads = threads = Current.thread.threads
        tile_parts, channel_parts = (1, threads) if channels * filters >= MANY else (threads, 1)
        tile_parts = max(tile_parts, -(-_tiles(y) // (self._block * IN_A_ROW)))
        self.division: tuple[int, ...] = (self._block, tile_parts, channel_parts, threads)
        self._deep = _few_tiles(y, channels, filters)
        self._choose_kernels()

    def _choose_kernels(self) -> None:
        ends = POINTER, POINTER, POINTER, INT, POINTER, POINTER, POINTER
        if self._deep:
            self.kernel = kernel("winograd_deep", *ends, INT, INT, *[POINTER] * 2)
            self._for_conv = size_of("winograd_deep", POINTER, INT)
            self.gradient = kernel("winograd_deep_weights", *[POINTER] * 5, INT)
            self.for_gradient = size_of("winograd_deep_weights", POINTER, INT)
            self.division = (self.threads,)
            return
        self.kernel = kernel("winograd_conv", *ends, LONG, INT, INT, *[POINTER] * 2)
        self._for_conv = size_of("winograd_conv", POINTER, LONG, INT)
        self.gradient = kernel("winograd_weights", *[POINTER] * 5, LONG, LONG, LONG, INT)
        self.for_gradient = size_of("winograd_weights", POINTER, LONG, LONG, LONG, INT)

    def scratch_bytes(self, sizes: Any) -> int:
        """Give the bytes of scratch memory of one direction."""
        block = () if self._deep else (self._block,)
        return int(self._for_conv(sizes, *block, self.threads))

    def arguments(
        self,
        sizes: Any,
        x: Any,
        w: Any,
        bias: Any,
        y: Any,
        scratch: Any,
        relu: bool,
        filters: Any = None,
        more: Any = None,
    ) -> list[Any]:
        """Give the kernel's arguments; arrays by their addresses, or what stands for these."""
        block = () if self._deep else (self._block,)
        ends = addressof(sizes), x, w, sizes is self.back, bias, y, scratch, *block
        return [*ends, relu, self.threads, filters, more]

    def transform(self, w: Array, memory: Callable[[int], M]) -> M:
        """Transform the filters for good, into memory of so many bytes, four times theirs."""
        run = kernel("winograd_filters", *[POINTER] * 3, INT)
        target = memory(4 * POINTS * w.shape[0] * w.shape[1])
        run(self.forth, address(w), target.address, self.threads)
        return target


class WinogradPlan(ConvPlan):
    """The direct convolution's plan, with our own kernels in front of its primitives."""

    def __init__(self, op: Conv, direct: ConvPlan) -> None:
        self.__dict__.update(direct.__dict__)
        self._own = Winograd(op, self.x, self.w, self.y)

    def _convolve(
        self, sizes: Any, x: Array, w: Array, bias: Array | None, y: Array, relu: bool
    ) -> bool:
        """Convolve x into y, by the sizes and filters of one direction; tell if y is finite."""
        own = self._own
        memory = scratch(own.scratch_bytes(sizes))
        vector = None if bias is None else address(bias)
        ends = address(x), address(w), vector, address(y), memory
        REORDERS.parameters += 1
        return not own.kernel(*own.arguments(sizes, *ends, relu))

    def forward(self, x: Array, w: Array, bias: Array | None, relu: bool) -> tuple[Array, bool]:
        """Give y, its negative values 0 with `relu`, and then whether it was finite."""
        y = empty_last(self.y)
        if not self._convolve(self._own.forth, x, w, bias, y, relu):
            return super().forward(x, w, bias, relu)
        note_finite(y)
        return y, relu

    def input_gradient(self, g: Array, w: Array) -> Array:
        """Give gx."""
        gx = empty_last(self.x)
        if not self._convolve(self._own.back, g, w, None, gx, False):
            return super().input_gradient(g, w)
        return gx

    def weight_gradient(self, x: Array, g: Array, need_bias: bool) -> tuple[Array, Array | None]:
        """Give gw, and gb where there is a bias that needs it."""
        own, gw = self._own, np.empty(self.w, FLOAT32)
        memory = scratch(own.for_gradient(own.forth, *own.division))
        ends = address(x), address(g), address(gw), memory
        if own.gradient(own.forth, *ends, *own.division):
            return super().weight_gradient(x, g, need_bias)
        return gw, column_sums(by_rows(g)) if need_bias else None


def _tiles(y: Shape) -> int:
    return y[0] * -(-y[2] // 4) * -(-y[3] // 4)


def _few_tiles(y: Shape, channels: int, filters: int) -> bool:
    """Tell whether all tiles, transformed, take less memory than all filters would."""
    return _tiles(y) * (channels + filters) <= channels * filters


def winograd_plan(op: Conv, plan: ConvPlan) -> ConvPlan | None:
    """Give the plan that computes by Winograd where that is faster than the given one."""
    return WinogradPlan(op, plan) if pays(op, plan.x, plan.w, plan.y) else None


def pays(op: Conv, x: Shape, w: Shape, y: Shape) -> bool:
    """Tell whether the kernels can compute these shapes, do so sooner, and are wanted."""
    if not switched_on(VARIABLE, "convolutions are direct"):
        return False
    if w[2:] != (3, 3) or op.groups != 1 or (op.stride, op.dilation) != ((1, 1), (1, 1)):
        return False
    if w[0] % lanes() or w[1] % lanes() or max(map(max, op.padding)) > 2:
        return False
    tiles, direct = _tiles(y), prod(y) // y[1] * 9
    enough = tiles >= LEAST_TILES and direct * w[0] * w[1] >= LEAST_WORK
    return enough and direct >= GAIN * POINTS * tiles
