"""Which entry of a window is the largest, on a convex polygon: max pooling's cells."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.pool_windows import Windows

Polygon = tuple[Array, tuple[int, ...]]
"""Corners (k, 2), counter-clockwise, and what each side lies on."""
Keep = Callable[[Array, tuple[int, ...], Array, int], tuple[Polygon, Array]]


def window_table(op: MaxPool | AdaptiveMaxPool, shape: tuple[int, ...]) -> Array:
    """Give each window's entries (windows, entries): places in the flattened input, -1 for none.

    `shape` is that of one input, without the axis of the batch.

    >>> window_table(MaxPool((2,), (2,), (0,), (1,)), (2, 5)).tolist()
    [[0, 1], [2, 3], [5, 6], [7, 8]]
    """
    axes = len(op.output_size if isinstance(op, AdaptiveMaxPool) else op.kernel)
    before, sizes = shape[: len(shape) - axes], shape[len(shape) - axes :]
    tables = [_of_axis(windows) for windows in op._windows(sizes)]
    starts = np.arange(int(np.prod(before, dtype=int))) * int(np.prod(sizes, dtype=int))
    rows = []
    for place in product(*[range(len(table)) for table in tables]):
        lists = [table[i] for table, i in zip(tables, place, strict=True)]
        grid = np.meshgrid(*lists, indexing="ij")
        there = np.all([axis >= 0 for axis in grid], axis=0)
        flat = np.ravel_multi_index([np.maximum(axis, 0) for axis in grid], sizes)
        rows.append(np.where(there, flat, -1).ravel())
    one = np.array(rows)
    found = one[None] + starts[:, None, None]
    return np.where(one[None] >= 0, found, -1).reshape(-1, one.shape[1])


def _of_axis(windows: Windows) -> Array:
    table = np.full((windows.out, windows.length), -1)
    places = np.arange(windows.size)
    for tap in windows.taps():
        table[tap.into, tap.number] = places[tap.source]
    return table


class Line(NamedTuple):
    """Where one map is above another: where distance(p) = slope @ p + height is positive.

    What lies nearer than `thin` lies on it.  A slope of 0: it is above, or below, all over.
    """

    slope: Array
    height: float
    thin: float


class Contest:
    """Affine maps on a convex polygon, of which one is the largest at each point.

    `slopes` (2, e), `heights` at 0 (e,) and the `sizes` (e,) of their terms are the maps'; `keep`
    cuts a polygon where distances are negative; of `limits` the first is what is thin, the second
    what is rounding.
    """

    def __init__(
        self,
        maps: tuple[Array, Array, Array],
        keep: Keep,
        limits: tuple[float, float],
    ) -> None:
        self.slopes, self.heights, self.sizes = maps
        self.keep, self.thin, self.rounding = keep, *limits
        self.count = len(self.heights)
        self._lines: dict[tuple[int, int], Line | None] = {}

    def shares(self, polygon: Polygon) -> tuple[list[Polygon], dict[int, Array]]:
        """Part a polygon by which of the maps is the largest.

        A side between two parts has a number below -1, of which the second value has both ends.
        Of maps that are the same the first counts.  A part that is too thin is none, and the
        others share what it leaves.
        """
        everyone = range(self.count)
        first = [i for i in everyone if all(self.line(i, j) is not None for j in range(i))]
        real = [i for i in first if self._part(polygon, i, first) is not None]
        found: list[Polygon] = []
        ends: dict[int, Array] = {}
        for i in real:
            part = self._part(polygon, i, real)
            if part is None:
                continue
            found.append(part)
            corners, edges = part
            for side, edge in enumerate(edges):
                if edge < -1:
                    ends[edge] = corners[[side, (side + 1) % len(corners)]]
        return found, ends

    def line(self, i: int, j: int) -> Line | None:
        """Give where map i is above map j; None where the two are one."""
        if (i, j) not in self._lines:
            slope = self.slopes[:, i] - self.slopes[:, j]
            height = float(self.heights[i] - self.heights[j])
            rounding = self.rounding * float(self.sizes[i] + self.sizes[j])
            length = float(np.hypot(*slope))
            found: Line | None
            if length > rounding:
                found = Line(slope / length, height / length, max(self.thin, rounding / length))
            elif abs(height) > rounding:
                found = Line(np.zeros(2), float(np.sign(height)), self.thin)
            else:
                found = None
            self._lines[i, j] = found
        return self._lines[i, j]

    def _part(self, polygon: Polygon, i: int, rivals: list[int]) -> Polygon | None:
        """Cut away where a rival is larger; None where nothing is left."""
        corners, edges = polygon
        for j in rivals:
            line = None if i == j else self.line(i, j)
            if line is None:
                continue
            distances = corners @ line.slope + line.height
            distances[np.abs(distances) <= line.thin] = 0.0
            if distances.max() <= 0:
                return None
            if distances.min() < 0:
                number = -2 - (min(i, j) * self.count + max(i, j))  # the same for both sides
                (corners, edges), _ = self.keep(corners, edges, distances, number)
        return corners, edges
