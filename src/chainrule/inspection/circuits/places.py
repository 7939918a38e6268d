"""Which numbers stand behind one number of a window or a row: their places, without values.

Texts (`products.py`, `pools.py`) and data (`terms_windows.py`) are made of the same places.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from chainrule.engine.op import Array, Op
from chainrule.ops.conv import Conv
from chainrule.ops.conv_transpose import ConvTranspose
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.pool_windows import (
    Ragged,
    Settings,
    Windows,
    adaptive_windows,
    strided_windows,
)

Index = tuple[int, ...]
Shape = tuple[int, ...]


class Pairs(NamedTuple):
    """The factors of K products, by their places (K, axes) in the input and in the weight.

    `outside` counts the products that there are not: of a window, those in the padding; of a
    transposed filter, those that meet no number.
    """

    left: Array
    right: Array
    outside: int = 0


class Window(NamedTuple):
    """The places (K, axes) of a window in the input; how many lie in the padding, and beyond it."""

    places: Array
    padding: int
    beyond: int


def rows(head: Index, *columns: Array) -> Array:
    """Put columns (K,) or (K, n) side by side behind the same first numbers: (K, axes)."""
    parts = [column[:, np.newaxis] if column.ndim == 1 else column for column in columns]
    first = np.broadcast_to(np.array(head, np.int64), (len(parts[0]), len(head)))
    return np.concatenate([first, *parts], axis=1)


def grid(*ranges: Array) -> Array:
    """List all combinations of numbers, one range an axis, the last fastest: (K, axes).

    >>> grid(np.array([0, 1]), np.array([5, 7])).tolist()
    [[0, 5], [0, 7], [1, 5], [1, 7]]
    """
    meshes = np.meshgrid(*ranges, indexing="ij")
    return np.stack([mesh.reshape(-1) for mesh in meshes], axis=1).astype(np.int64)


def fitted(places: Array, shape: Shape) -> Array:
    """Give the places (K, axes) of an input that was broadcast: 0 along axes of size 1."""
    own = places[:, places.shape[1] - len(shape) :]
    return np.where(np.array(shape, np.int64) == 1, 0, own)


def conv_pairs(op: Conv, x: Shape, w: Shape, place: Index) -> Pairs:
    """y[n, o, k] = b[o] + sum over c, a of w[o, c, a] x[n, c', k*stride + a*dilation - padding]."""
    d = len(op.stride)
    head, o = place[: -d - 1], place[-d - 1]
    begin = o // (w[0] // op.groups) * w[1]
    offsets = grid(*map(np.arange, w[1:]))
    spots = np.array(place[-d:]) * op.stride + offsets[:, 1:] * op.dilation - _before(op)
    inside = ((spots >= 0) & (spots < x[-d:])).all(axis=1)
    offsets, spots = offsets[inside], spots[inside]
    left, right = rows(head, begin + offsets[:, 0], spots), rows((o,), offsets)
    return Pairs(left, right, int((~inside).sum()))


def conv_readers(op: Conv, y: Shape, w: Shape, place: Index) -> Pairs:
    """x[n, c, i] is read by y[n, o, k] at w[o, c', a] where k*stride + a*dilation - padding = i.

    The left places are those of y.
    """
    d = len(op.stride)
    group, own = divmod(place[-d - 1], w[1])
    size = w[0] // op.groups
    offsets = grid(*map(np.arange, w[2:]))
    shifted = np.array(place[-d:]) + _before(op) - offsets * op.dilation
    spots, rest = np.divmod(shifted, op.stride)
    fits = ((rest == 0) & (spots >= 0) & (spots < y[-d:])).all(axis=1)
    offsets, spots = offsets[fits], spots[fits]
    outs = group * size + np.repeat(np.arange(size), len(spots))
    left = rows(place[: -d - 1], outs, np.tile(spots, (size, 1)))
    right = rows((), outs, np.full(len(outs), own), np.tile(offsets, (size, 1)))
    return Pairs(left, right)


def _before(op: Conv) -> Array:
    """Give the padding before each axis."""
    return np.array([first for first, _ in op.padding])


def transposed_pairs(op: ConvTranspose, x: Shape, w: Shape, place: Index) -> Pairs:
    """y[n, o, p] = b[o] + sum of x[n, c, k] w[c, o, a], k*stride + a*dilation - padding = p."""
    d = len(op.stride)
    head, o = place[: -d - 1], place[-d - 1]
    group, own = divmod(o, w[1])
    size = w[0] // op.groups
    offsets = grid(np.arange(size), *map(np.arange, w[2:]))
    shifted = np.array(place[-d:]) + op.padding - offsets[:, 1:] * op.dilation
    spots, rest = np.divmod(shifted, op.stride)
    fits = ((rest == 0) & (spots >= 0) & (spots < x[-d:])).all(axis=1)
    channels, offsets, spots = group * size + offsets[fits, 0], offsets[fits, 1:], spots[fits]
    left = rows(head, channels, spots)
    right = rows((), channels, np.full(len(channels), own), offsets)
    return Pairs(left, right, int((~fits).sum()))


def linear_pairs(w: Shape, place: Index) -> Pairs:
    """y[..., o] = b[o] + sum over k of x[..., k] w[o, k]; a weight of one axis gives no axis."""
    outs = len(w) - 1
    head, row = place[: len(place) - outs], place[len(place) - outs :]
    columns = np.arange(w[-1])
    return Pairs(rows(head, columns), rows(row, columns))


def matmul_pairs(x: Shape, w: Shape, place: Index) -> Pairs:
    """y[..., i, j] = sum over k of x[..., i, k] w[..., k, j]; vectors have no i, or no j."""
    up, down = len(x) > 1, len(w) > 1
    lead = place[: len(place) - up - down]
    row, column = place[len(lead) : len(lead) + up], place[len(lead) + up :]
    inner = np.arange(x[-1])
    batches = [fitted(np.array([lead], np.int64), shape[:-2])[0] for shape in (x, w)]
    left, right = (tuple(batch.tolist()) for batch in batches)
    behind = np.broadcast_to(np.array(column, np.int64), (len(inner), len(column)))
    return Pairs(rows((*left, *row), inner), rows(right, inner, behind))


def pool_window(op: Op | None, x: Shape, place: Index) -> Window:
    """Lay the window of one number of a pooling out over the input."""
    axes = pool_axes(op, x)
    d = len(axes)
    entries = [_entries(windows, k) for windows, k in zip(axes, place[-d:], strict=True)]
    inside = [e[(e >= 0) & (e < windows.size)] for e, windows in zip(entries, axes, strict=True)]
    places = rows(place[:-d], grid(*inside))
    whole = padded = prod(map(len, entries))
    if isinstance(op, AvgPool):  # ceil_mode lets windows stand out beyond the padding
        lengths = [w.lengths(True)[k] for w, k in zip(axes, place[-d:], strict=True)]
        padded = int(prod(lengths))
    return Window(places, padded - len(places), whole - padded)


def pool_readers(op: Op | None, x: Shape, place: Index) -> Array:
    """List the windows of a pooling that hold a place of the input: (K, axes)."""
    axes = pool_axes(op, x)
    d = len(axes)
    return rows(place[:-d], grid(*[_holders(w, i) for w, i in zip(axes, place[-d:], strict=True)]))


def divisors(op: Op | None, x: Shape, places: Array) -> Array:
    """Give what the sum of each of K windows is divided by, (K,)."""
    if isinstance(op, AvgPool) and op.divisor_override is not None:
        return np.full(len(places), float(op.divisor_override))
    axes = pool_axes(op, x)
    padded = isinstance(op, AvgPool) and op.count_include_pad
    found = np.ones(len(places))
    for windows, column in zip(axes, places.T[-len(axes) :], strict=True):
        found = found * windows.lengths(padded)[column]
    return found


def winner(numbers: Array) -> int:
    """Say which number of a window wins: the largest, of equal ones the first, of NaN the last."""
    nans = np.flatnonzero(np.isnan(numbers))
    return int(nans[-1] if len(nans) else np.argmax(numbers))


def pool_axes(op: Op | None, x: Shape) -> list[Windows]:
    """Give the windows of a pooling along each of its axes."""
    if isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool):
        return adaptive_windows(x[-len(op.output_size) :], op.output_size)
    assert isinstance(op, AvgPool | MaxPool)
    dilation = op.dilation if isinstance(op, MaxPool) else (1,) * len(op.kernel)
    settings = Settings(op.kernel, op.stride, op.padding, dilation, op.ceil_mode)
    return strided_windows(op, x[-len(op.kernel) :], settings)


def _entries(windows: Windows, k: int) -> Array:
    """Give the positions of window k along an axis, those outside too."""
    start = int(windows.starts()[k])
    if isinstance(windows, Ragged):
        return np.arange(start, int(windows.end[k]))
    return start + np.arange(windows.length) * windows.dilation


def _holders(windows: Windows, position: int) -> Array:
    starts = windows.starts()
    if isinstance(windows, Ragged):
        return np.flatnonzero((starts <= position) & (position < windows.end))
    entry, rest = np.divmod(position - starts, windows.dilation)
    return np.flatnonzero((rest == 0) & (entry >= 0) & (entry < windows.length))
