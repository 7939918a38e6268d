"""Pooling over any windows by our own kernel: largest values, averages, and their gradients.

Each target gathers from its sources: forward a window from its positions, backward a position from
the windows that hold it.  NaN and infinity keep their meaning, so that nothing is looked at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.onednn.arrays import address, empty_last, note_finite, to_last
from chainrule.backends.onednn.own import INT, POINTER, have_kernels, kernel, lanes, sizes
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import Current, planned_for, work
from chainrule.engine.op import Array
from chainrule.ops.pool_windows import Ragged, Windows

SUM, WEIGHTED, LARGEST, WINNERS = range(4)  # the kernel's kinds

MOST_LINKS = 1 << 20
"""Entries of all windows along an axis, whose list a plan keeps."""

BYTES = 255
"""Entries of a window whose numbers fit into a byte."""


class Places(NamedTuple):
    """What the backward needs: the plan, and which entry of each window was the largest."""

    plan: WindowPlan
    entries: Array


class Way(NamedTuple):
    """What the kernel is told of one direction; the tables that it holds addresses of."""

    settings: Any
    tables: list[Array]


class Axis:
    """Which positions along one axis each window holds, and at which place."""

    def __init__(self, windows: Windows) -> None:
        place = np.arange(windows.length)
        position = windows.starts()[:, None] + place * windows.dilation
        held = (position >= 0) & (position < windows.size)
        if isinstance(windows, Ragged):
            held &= place < windows.lengths()[:, None]
        self.windows = windows
        self.window, self.place = np.nonzero(held)
        self.position = position[held]

    def forward(self, step: int, number: Array, counts: Array) -> list[Array]:
        """Give the links by window, a position being worth `step`."""
        first = np.searchsorted(self.window, np.arange(self.windows.out + 1))
        return _tables(first, self.position * step, number, counts)

    def backward(self, step: int, number: Array, counts: Array) -> list[Array]:
        """Give the links by position, a window being worth `step`."""
        order = np.argsort(self.position, kind="stable")
        first = np.searchsorted(self.position[order], np.arange(self.windows.size + 1))
        window = self.window[order]
        return _tables(first, window * step, number[order], 1 / counts[window])


def _tables(first: Array, source: Array, number: Array, weight: Array) -> list[Array]:
    types = np.int64, np.int64, np.int32, np.float32
    parts = zip((first, source, number, weight), types, strict=True)
    return [np.ascontiguousarray(a, t) for a, t in parts]


class WindowPlan:
    """One pooling of one shape; `counts` are by axis what averages divide by.

    With `indices` a winner's number is where it is in the plane, else where it is in its window.
    """

    def __init__(
        self, windows: Sequence[Windows], x: Shape, counts: Sequence[Array] | None, indices: bool
    ) -> None:
        self._threads, self.x = Current.thread.threads, x
        self.y = (*x[:2], *[w.out for w in windows])
        self._half = x[1] <= 8
        self._wide = indices or prod(w.length for w in windows) > BYTES
        axes = [Axis(w) for w in windows]
        if counts is None:
            counts = [np.ones(w.out) for w in windows]
        numbers, number = [], 1
        for axis in reversed(axes):
            numbers.append((axis.position if indices else axis.place) * number)
            number *= axis.windows.size if indices else axis.windows.length
        each = list(zip(axes, reversed(numbers), counts, strict=True))
        self._ways = _way(each, self.y, x, Axis.forward), _way(each, x, self.y, Axis.backward)
        self._run = kernel("windows", *[POINTER] * 4, *[INT] * 4, half=self._half)

    def largest(self, x: Array, relu: bool = False) -> tuple[Array, Places]:
        """Give the channels-last y and the winners."""
        y, entries = empty_last(self.y), self._entries()
        if not self._call(0, x, y, entries, LARGEST, relu):
            note_finite(y)
        return y, Places(self, entries)

    def _entries(self) -> Array:
        n, channels, *out = self.y
        if self._wide:
            return empty_last(self.y).view(np.int32)
        width = lanes(self._half)
        return np.empty(n * prod(out) * -(-channels // width) * width, np.uint8)

    def winners_gradient(self, entries: Array, gy: Array) -> Array:
        """Give gx, channels-last."""
        gx = empty_last(self.x)
        self._call(1, to_last(gy), gx, entries, WINNERS)
        return gx

    def average(self, x: Array) -> Array:
        """Give the channels-last y."""
        y = empty_last(self.y)
        if not self._call(0, x, y, None, SUM):
            note_finite(y)
        return y

    def average_gradient(self, gy: Array) -> Array:
        """Give gx, channels-last."""
        gx = empty_last(self.x)
        self._call(1, to_last(gy), gx, None, WEIGHTED)
        return gx

    def _call(
        self, way: int, a: Array, b: Array, entries: Array | None, kind: int, relu: bool = False
    ) -> int:
        ends = address(a), address(b), None if entries is None else address(entries)
        told = self._ways[way].settings
        strange: int = self._run(told, *ends, kind, self._wide, relu, self._threads)
        return strange


def _way(each: Sequence[Any], target: Shape, source: Shape, links: Any) -> Way:
    """Tell the kernel of one direction: up to three axes, those that are missing have size 1."""
    channels, missing = target[1], 3 - len(each)
    alone = [_tables(np.arange(2), np.zeros(1), np.zeros(1), np.ones(1))] * missing
    steps = [prod(source[3 + i :]) for i in range(len(each))]
    real = [links(a, s, number, n) for s, (a, number, n) in zip(steps, each, strict=True)]
    tables = [table for axis in (*alone, *real) for table in axis]
    spatial = (*[1] * missing, *target[2:])
    settings = target[0], *spatial, channels, prod(source[2:]), *map(address, tables)
    return Way(sizes(*settings), tables)


def plan_windows(
    windows: Sequence[Windows],
    x: Shape,
    counts: Sequence[Array] | None = None,
    indices: bool = False,
) -> WindowPlan | None:
    """Give the plan for (N, C, *sizes), None where there are no kernels or too many entries."""
    if not have_kernels() or 0 in x or not all(0 < w.length * w.out < MOST_LINKS for w in windows):
        return None
    if max(prod(x[2:]), prod(w.length for w in windows)) >= 1 << 31:
        return None
    entries = prod(x[:2]) * prod(w.length * w.out for w in windows)
    with planned_for(work(prod(x) + entries)):
        return WindowPlan(windows, x, counts, indices)
