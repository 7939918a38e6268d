"""Sums of weighed places, one axis apart from another: plans of our own kernel.

An axis is a table of terms, the formula's, so that NaN and infinity spread as they do there; the
gradient takes the transposed tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from chainrule.backends.onednn.arrays import LONG, address
from chainrule.backends.onednn.own import FLOAT, INT, POINTER, kernel, scratch, sizes
from chainrule.backends.onednn.runtime import Current, planned_for, work
from chainrule.engine.op import Array
from chainrule.ops.resample_weights import Table


class Axis(NamedTuple):
    """An axis of n places in x and its terms, from x to y or back; whether it stays as it is."""

    n: int
    terms: Table
    stays: bool = False


def copies(n: int, source: Sequence[int], turned: bool) -> Axis:
    """Copy from a place of x for each of y, from none where that is not among the n."""
    places = np.array(source, np.intp)
    target = np.flatnonzero((places >= 0) & (places < n))
    places, ones = places[target], np.ones(target.size)
    if not turned:
        return Axis(n, Table(len(source), target, places, ones))
    order = np.argsort(places, kind="stable")
    return Axis(len(source), Table(n, places[order], target[order], ones))


def unchanged(n: int) -> Axis:
    """Give the axis that stays as it is."""
    each = np.arange(n)
    return Axis(n, Table(n, each, each, np.ones(n)), True)


def _product(a: Axis, b: Axis) -> Axis:
    """Give two neighbours as one axis."""
    (size, *one), (width, *other) = a.terms, b.terms
    target = np.add.outer(one[0] * width, other[0]).reshape(-1)
    source = np.add.outer(one[1] * b.n, other[1]).reshape(-1)
    weight = np.multiply.outer(one[2], other[2]).reshape(-1)
    order = np.argsort(target, kind="stable")
    terms = Table(size * width, target[order], source[order], weight[order])
    return Axis(a.n * b.n, terms)


def _rows(axis: Axis) -> tuple[Array, ...]:
    """Give the kernel's arrays: where terms start, sources, lengths of plain copies, weights."""
    size, target, source, weight = axis.terms
    start = np.searchsorted(target, np.arange(size + 1))
    # A plain copy has one term, of weight 1; those from neighbours run on.
    first = np.minimum(start[:-1], max(0, len(source) - 1))
    plain = np.diff(start) == 1
    if plain.any():
        plain &= weight[first] == 1
        at = source[first]
    else:
        at = np.zeros(size, np.intp)
    on = plain[1:] & plain[:-1] & (np.diff(at) == 1)
    ends = np.append(np.flatnonzero(~on) + 1, size)
    here = np.arange(size)
    run = (ends[np.searchsorted(ends, here, side="right")] - here) * plain
    kinds = np.int32, np.int32, np.int32, np.float32
    arrays = zip((start, source, run, weight), kinds, strict=True)
    return tuple([np.ascontiguousarray(a, kind) for a, kind in arrays])


class Plan:
    """Axes in the order of memory, of which some change."""

    def __init__(self, lines: Axis, columns: Axis, n: int, channels: int) -> None:
        self._kept = [_rows(axis) for axis in (lines, columns)]  # the kernel has their addresses
        ends = [[axis.n, axis.terms.size] for axis in (lines, columns)]
        rows = [[*end, *map(address, kept)] for end, kept in zip(ends, self._kept, strict=True)]
        self._sizes = sizes(n, channels, *rows[0], *rows[1])
        self._threads = Current.thread.threads
        self._line = -(-4 * columns.n * channels // 64) * 64
        self._run = kernel("taps", *[POINTER] * 4, FLOAT, INT)

    def __call__(self, x: Array, y: Array, beyond: float = 0.0) -> None:
        """Write y, with the number beyond where no place of x comes in."""
        room = scratch(self._line * self._threads)
        self._run(self._sizes, address(x), address(y), room, beyond, self._threads)


def plan(axes: Sequence[Axis]) -> Plan | None:
    """Give the plan; None where no axis changes, or sums are too long for float32."""
    changed = [i for i, axis in enumerate(axes) if not axis.stays]
    if not changed:
        return None
    if prod(_longest(axes[i]) for i in changed[:-1]) > LONG or _longest(axes[changed[-1]]) > LONG:
        return None
    first, last = changed[0], changed[-1]
    lines = unchanged(1) if first == last else axes[first]
    for axis in axes[first + 1 : last]:
        lines = _product(lines, axis)
    n, channels = (prod(axis.n for axis in part) for part in (axes[:first], axes[last + 1 :]))
    elements = prod(max(axis.n, axis.terms.size) for axis in axes)
    with planned_for(work(2 * elements)):
        return Plan(lines, axes[last], n, channels)


def _longest(axis: Axis) -> int:
    return int(np.bincount(axis.terms.target).max()) if len(axis.terms.target) else 0
