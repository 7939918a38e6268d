"""3x3 convolutions by Winograd's F(4x4, 3x3): a quarter of the multiplications.

The kernels are our own, compiled from `native/source`.  They compute what the direct convolution
does, with a rounding error a few times as large, relative to the largest value of a tile; where
a result is not finite (NaN or infinity in, or an overflow), the direct one runs again.
CHAINRULE_WINOGRAD=0 keeps to the direct convolutions.
"""

from __future__ import annotations

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


class WinogradPlan(ConvPlan):
    """The direct convolution's plan, with our own kernels in front of its primitives.

    These are two: one that transforms all filters and then blocks of tiles, and one for few tiles,
    which transforms all tiles and then panels of filters.  So their scratch memory has a bound
    that depends on the channels alone.
    """

    def __init__(self, op: Conv, direct: ConvPlan) -> None:
        self.__dict__.update(direct.__dict__)
        n, channels, h, w = self.x
        filters, out_h, out_w = self.y[1:]
        (top, _), (left, _) = op.padding
        self._sizes = sizes(n, h, w, channels, filters, out_h, out_w, top, left)
        self._back = sizes(n, out_h, out_w, filters, channels, h, w, 2 - top, 2 - left)
        least, most = BLOCKS
        fit = CACHE // (4 * POINTS * (channels + filters)) // least * least
        self._block = max(least, min(most, fit))
        self._threads = threads = Current.thread.threads
        tile_parts, channel_parts = (1, threads) if channels * filters >= MANY else (threads, 1)
        tile_parts = max(tile_parts, -(-_tiles(self.y) // (self._block * IN_A_ROW)))
        self._division: tuple[int, ...] = (self._block, tile_parts, channel_parts, threads)
        self._deep = _few_tiles(self)
        self._choose_kernels()

    def _choose_kernels(self) -> None:
        ends = POINTER, POINTER, POINTER, INT, POINTER, POINTER, POINTER
        if self._deep:
            self._conv = kernel("winograd_deep", *ends, INT, INT)
            self._for_conv = size_of("winograd_deep", POINTER, INT)
            self._gradient = kernel("winograd_deep_weights", *[POINTER] * 5, INT)
            self._for_gradient = size_of("winograd_deep_weights", POINTER, INT)
            self._division = (self._threads,)
            return
        self._conv = kernel("winograd_conv", *ends, LONG, INT, INT)
        self._for_conv = size_of("winograd_conv", POINTER, LONG, INT)
        self._gradient = kernel("winograd_weights", *[POINTER] * 5, LONG, LONG, LONG, INT)
        self._for_gradient = size_of("winograd_weights", POINTER, LONG, LONG, LONG, INT)

    def _convolve(
        self, sizes: Any, x: Array, w: Array, bias: Array | None, y: Array, relu: bool
    ) -> bool:
        """Convolve x into y, by the sizes and filters of one direction; tell if y is finite."""
        threads = self._threads
        block = () if self._deep else (self._block,)
        memory = scratch(self._for_conv(sizes, *block, threads))
        vector = None if bias is None else address(bias)
        ends = address(x), address(w), sizes is self._back, vector, address(y), memory
        REORDERS.parameters += 1
        return not self._conv(sizes, *ends, *block, relu, threads)

    def forward(self, x: Array, w: Array, bias: Array | None, relu: bool) -> tuple[Array, bool]:
        """Give y, its negative values 0 with `relu`, and then whether it was finite."""
        y = empty_last(self.y)
        if not self._convolve(self._sizes, x, w, bias, y, relu):
            return super().forward(x, w, bias, relu)
        note_finite(y)
        return y, relu

    def input_gradient(self, g: Array, w: Array) -> Array:
        """Give gx."""
        gx = empty_last(self.x)
        if not self._convolve(self._back, g, w, None, gx, False):
            return super().input_gradient(g, w)
        return gx

    def weight_gradient(self, x: Array, g: Array, need_bias: bool) -> tuple[Array, Array | None]:
        """Give gw, and gb where there is a bias that needs it."""
        gw = np.empty(self.w, FLOAT32)
        memory = scratch(self._for_gradient(self._sizes, *self._division))
        ends = address(x), address(g), address(gw), memory
        if self._gradient(self._sizes, *ends, *self._division):
            return super().weight_gradient(x, g, need_bias)
        return gw, column_sums(by_rows(g)) if need_bias else None


def _tiles(y: Shape) -> int:
    return y[0] * -(-y[2] // 4) * -(-y[3] // 4)


def _few_tiles(plan: ConvPlan) -> bool:
    """Tell whether all tiles, transformed, take less memory than all filters would."""
    channels, filters = plan.x[1], plan.w[0]
    return _tiles(plan.y) * (channels + filters) <= channels * filters


def winograd_plan(op: Conv, plan: ConvPlan) -> ConvPlan | None:
    """Give the plan that computes by Winograd where that is faster than the given one."""
    if not switched_on(VARIABLE, "convolutions are direct"):
        return None
    return WinogradPlan(op, plan) if _pays(op, plan) else None


def _pays(op: Conv, plan: ConvPlan) -> bool:
    """Tell whether the shapes are such that it can compute them, and does so sooner."""
    w, y, vector = plan.w, plan.y, lanes()
    if w[2:] != (3, 3) or op.groups != 1 or (op.stride, op.dilation) != ((1, 1), (1, 1)):
        return False
    if w[0] % vector or w[1] % vector or max(map(max, op.padding)) > 2:
        return False
    tiles, direct = _tiles(y), prod(y) // y[1] * 9
    enough = tiles >= LEAST_TILES and direct * w[0] * w[1] >= LEAST_WORK
    return enough and direct >= GAIN * POINTS * tiles
