"""Sampling where a grid says, by our own kernels: images channels-last, each place on its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn.arrays import (
    FLOAT32,
    address,
    as_plain,
    empty_last,
    is_float32,
    to_last,
)
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.own import INT, POINTER, kernel, sizes
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import Current, cached, work
from chainrule.engine.op import Array
from chainrule.ops.grid_sample import MODES, PADDING, GridSample


class SamplePlan:
    """One sampling of one shape."""

    def __init__(self, op: GridSample, x: Shape, grid: Shape) -> None:
        n, channels, *size = x
        around = [1] * (3 - len(size)) + size
        how = MODES.index(op.mode), PADDING.index(op.padding_mode), op.align_corners
        self._threads = Current.thread.threads
        self._sizes = sizes(n, channels, prod(grid[1:-1]), len(size), *around, *how)
        self.y = (n, channels, *grid[1:-1])
        self._forward = kernel("grid_sample", *[POINTER] * 4, INT)
        self._input = kernel("grid_sample_input", *[POINTER] * 4, INT)
        self._grid = kernel("grid_sample_grid", *[POINTER] * 5, INT)

    def forward(self, x: Array, grid: Array) -> Array:
        """Give y."""
        y = empty_last(self.y)
        self._forward(self._sizes, address(x), address(grid), address(y), self._threads)
        return y

    def input_gradient(self, x: Shape, grid: Array, gy: Array) -> Array:
        """Give gx."""
        gx = empty_last(x)
        self._input(self._sizes, address(grid), address(gy), address(gx), self._threads)
        return gx

    def grid_gradient(self, x: Array, grid: Array, gy: Array) -> Array:
        """Give the grid's gradient."""
        ends = address(x), address(grid), address(gy)
        found = np.empty(grid.shape, FLOAT32)
        self._grid(self._sizes, *ends, address(found), self._threads)
        return found


def _plan(op: GridSample, x: Shape, grid: Shape) -> SamplePlan:
    effort = work(8 * x[1] * prod(grid))
    return cached((op, x, grid), lambda: SamplePlan(op, x, grid), effort)


@ONEDNN.ours(GridSample)
class GridSamplePair:
    """GridSample on channels-last images."""

    def supports(self, op: GridSample, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, large enough."""
        x, grid = arrays
        return is_float32(x, grid) and x.shape[1] * grid.size >= Limits.small

    def forward(self, op: GridSample, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save the channels-last x, and the grid."""
        x, grid = to_last(arrays[0]), as_plain(arrays[1])
        return (_plan(op, x.shape, grid.shape).forward(x, grid),), (x, grid)

    def backward(
        self, op: GridSample, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last, and the grid's gradient."""
        x, grid = saved
        g, plan = to_last(gy), _plan(op, x.shape, grid.shape)
        gx = plan.input_gradient(x.shape, grid, g) if needs[0] else None
        return gx, plan.grid_gradient(x, grid, g) if needs[1] else None
