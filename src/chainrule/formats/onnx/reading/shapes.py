"""Shapes, axes, joining and splitting, parts, borders."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import (
    Node,
    axes_of,
    axis_of,
    integers,
    number,
    reads,
)
from chainrule.nn import functional as F
from chainrule.ops.gather import index_select
from chainrule.ops.index import getitem
from chainrule.ops.join import cat, split
from chainrule.ops.pad import pad
from chainrule.ops.permute import flip, permute
from chainrule.ops.repeat import tile
from chainrule.ops.shape import broadcast_to, flatten, reshape, unsqueeze


@reads("Identity", since="1 13 14 16 19 21 23 24 25")
def _identity(n: Node, x: Tensor) -> Tensor:
    """Give the input itself."""
    return x


@reads("Shape", since="1 13 15 19 21 23 24 25")
def _shape(n: Node, x: Tensor) -> Tensor:
    """Give the sizes, from axis `start` to before `end`."""
    sizes = x.shape[slice(n.get("start", 0), n.get("end"))]
    return Tensor(np.array(sizes, np.int64))


@reads("Size", since="1 13 19 21 23 24 25")
def _size(n: Node, x: Tensor) -> Tensor:
    """Give the number of values."""
    return Tensor(np.array(prod(x.shape), np.int64))


@reads("Reshape", since="5 13 14 19 21 23 24 25", settings=(1,))
def _reshape(n: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Give another shape; 0 keeps an axis's size, -1 takes what is left."""
    sizes = integers(shape)
    if not n.flag("allowzero"):
        if any(size == 0 and axis >= x.ndim for axis, size in enumerate(sizes)):
            raise DataError(f"onnx: {n}: a 0 in {sizes} beyond the axes of {x.shape}")
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    if sizes.count(-1) == 1 and 0 in sizes:
        sizes[sizes.index(-1)] = 0
    if len(sizes) == 2 and x.ndim > 2 and sizes[0] == x.shape[0]:
        return flatten(x, 1) if sizes[1] in (-1, prod(x.shape[1:])) else reshape(x, sizes)
    return reshape(x, sizes)


@reads("Flatten", since="1 9 11 13 21 23 24 25")
def _flatten(n: Node, x: Tensor) -> Tensor:
    """Make a matrix: the axes before the given one, and the others."""
    axis = n.get("axis")
    if not -x.ndim <= axis <= x.ndim:
        raise DataError(f"onnx: {n}: axis {axis} of a tensor of {x.ndim} axes")
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 1 and x.ndim >= 2:
        return flatten(x, 1)
    return reshape(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


@reads("Squeeze", since="1 11 13 21 23 24 25", settings=(1,))
def _squeeze(n: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Leave out axes of size 1."""
    gone = axes_of(n, axes, x.ndim)
    if gone is None:
        gone = [axis for axis, size in enumerate(x.shape) if size == 1]
    if any(x.shape[axis] != 1 for axis in gone):
        raise DataError(f"onnx: {n}: axes {gone} of {x.shape} have not all the size 1")
    return reshape(x, [size for axis, size in enumerate(x.shape) if axis not in gone])


@reads("Unsqueeze", since="1 11 13 21 23 24 25", settings=(1,))
def _unsqueeze(n: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Put in axes of size 1, counted in the result."""
    given = n.get("axes") if axes is None else integers(axes)
    for axis in axes_of(n, axes, x.ndim + len(given or ())) or []:
        del axis
    for axis in sorted(axis_of(n, axis, x.ndim + len(given)) for axis in given):
        x = unsqueeze(x, axis)
    return x


@reads("Transpose", since="1 13 21 23 24 25")
def _transpose(n: Node, x: Tensor) -> Tensor:
    """Put the axes in another order, the reverse unless it is given."""
    order = n.get("perm")
    return permute(x, tuple(order) if order is not None else tuple(range(x.ndim))[::-1])


@reads("Expand", since="8 13", settings=(1,))
def _expand(n: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Repeat along axes of size 1, as two shapes broadcast."""
    return broadcast_to(x, np.broadcast_shapes(x.shape, tuple(integers(shape))))


@reads("Tile", since="6 13", settings=(1,))
def _tile(n: Node, x: Tensor, repeats: Tensor) -> Tensor:
    """Repeat whole along each axis."""
    return tile(x, integers(repeats))


@reads("Concat", since="4 11 13")
def _concat(n: Node, *inputs: Tensor) -> Tensor:
    """Join along an axis."""
    axis = axis_of(n, n.get("axis"), inputs[0].ndim)
    if len({x.ndim for x in inputs}) > 1:
        raise DataError(f"onnx: {n}: inputs of {[x.shape for x in inputs]}")
    return cat(inputs, axis)


@reads("Split", since="2 11 13 18", settings=(1,))
def _split(n: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Cut along an axis, into parts of given sizes or of one size; the last may be smaller."""
    axis = axis_of(n, n.get("axis"), x.ndim)
    given = n.get("split") if sizes is None else integers(sizes)
    if given is None:
        parts, whole = n.get("num_outputs") or len(n.wanted), x.shape[axis]
        if n.version < 18 and whole % parts:
            raise DataError(f"onnx: {n}: {parts} equal parts of an axis of {whole}")
        step = -(-whole // parts)
        given = [max(min(step, whole - i * step), 0) for i in range(parts)]
    if sum(given) != x.shape[axis] or min(given, default=0) < 0:
        raise DataError(f"onnx: {n}: parts {given} of an axis of {x.shape[axis]}")
    return split(x, given, axis)


@reads("Slice", since="1 10 11 13", settings=(1, 2, 3, 4))
def _slice(
    n: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Take parts at even distances, backwards too."""
    first = n.get("starts") if starts is None else integers(starts)
    last = n.get("ends") if ends is None else integers(ends)
    along = axes_of(n, axes, x.ndim)
    along = list(range(len(first))) if along is None else along
    by = [1] * len(first) if steps is None else integers(steps)
    if not len(first) == len(last) == len(along) == len(by) or 0 in by:
        raise DataError(f"onnx: {n}: starts {first}, ends {last}, axes {along}, steps {by}")
    key = [slice(None)] * x.ndim
    turned = []
    for a, b, axis, step in zip(first, last, along, by, strict=True):
        places = _places(a, b, step, x.shape[axis])
        if step < 0 and len(places):
            turned.append(axis)
            places = places[::-1]
        key[axis] = slice(places.start, places.stop, places.step) if len(places) else slice(0, 0)
    y = getitem(x, tuple(key)) if key else x
    return flip(y, turned) if turned else y


def _places(start: int, end: int, step: int, size: int) -> range:
    """Give what a slice takes: backwards, a start before the first element is that element."""
    start, end = (value + size if value < 0 else value for value in (start, end))
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(start, 0), high)
    return range(start, min(max(end, low), high), step) if size else range(0)


# Borders

MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@reads("Pad", since="2 11 13 18 19 21 23 24 25", settings=(1, 2, 3))
def _pad(
    n: Node,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    """Put values around; negative widths crop."""
    given = n.get("pads") if pads is None else integers(pads)
    along = axes_of(n, axes, x.ndim)
    along = list(range(x.ndim)) if along is None else along
    if len(given) != 2 * len(along):
        raise DataError(f"onnx: {n}: {len(given)} widths for {len(along)} axes")
    pairs = [(0, 0)] * x.ndim
    for i, axis in enumerate(along):
        pairs[axis] = given[i], given[i + len(along)]
    mode = n.get("mode")
    if mode not in MODES:
        raise DataError(f"onnx: {n}: mode {mode!r}; it is one of {', '.join(MODES)}")
    if mode == "constant":
        return _pad_constant(n, x, pairs, value)
    return _pad_border(n, x, pairs, mode)


def _flat(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Give the widths in the order of our `pad`: the last axis first."""
    return [width for pair in reversed(pairs) for width in pair]


def _pad_constant(n: Node, x: Tensor, pairs: list[tuple[int, int]], value: Tensor | None) -> Tensor:
    filling = n.get("value", 0.0) if value is None else number(value)
    if x.dtype.kind == "b":
        return pad(x.to(np.uint8), _flat(pairs), value=int(filling)).to(np.bool_)
    return pad(x, _flat(pairs), value=filling if x.dtype.kind == "f" else int(filling))


def _pad_border(n: Node, x: Tensor, pairs: list[tuple[int, int]], mode: str) -> Tensor:
    wide = [axis for axis, pair in enumerate(pairs) if pair != (0, 0)]
    most = max((max(pair) - x.shape[axis] for axis, pair in enumerate(pairs)), default=0)
    least = min((min(pair) for pair in pairs), default=0)
    ours = 3 <= x.ndim <= 5 and min(wide, default=2) >= 2 and x.dtype.kind == "f"
    if ours and wide and least >= 0 and most < 0:
        return pad(x, _flat(pairs[2:]), MODES[mode])
    for axis in wide:
        size, (before, after) = x.shape[axis], pairs[axis]
        places = _mirrored(np.arange(-before, size + after), size, mode)
        x = index_select(x, axis, Tensor(places))
    return x


def _mirrored(places: Array, size: int, mode: str) -> Array:
    """Give which element each place along an axis shows."""
    if mode == "edge" or size == 1:
        return np.clip(places, 0, size - 1)
    if mode == "wrap":
        return places % size
    around = 2 * (size - 1)
    folded: Any = places % around
    return np.asarray(np.where(folded < size, folded, around - folded))


# Blocks of pixels and channels


@reads("DepthToSpace", since="1 11 13 28")
def _depth_to_space(n: Node, x: Tensor) -> Tensor:
    """Move channels into blocks of pixels."""
    b = n.get("blocksize")
    if n.get("mode", "DCR") == "CRD" and x.dtype.kind == "f":
        return F.pixel_shuffle(x, b)
    images, channels, rows, columns = x.shape
    inner = channels // (b * b)
    if n.get("mode", "DCR") == "CRD":
        y = permute(reshape(x, (images, inner, b, b, rows, columns)), (0, 1, 4, 2, 5, 3))
    else:
        y = permute(reshape(x, (images, b, b, inner, rows, columns)), (0, 3, 4, 1, 5, 2))
    return reshape(y, (images, inner, rows * b, columns * b))


@reads("SpaceToDepth", since="1 13 28")
def _space_to_depth(n: Node, x: Tensor) -> Tensor:
    """Move blocks of pixels into channels."""
    b = n.get("blocksize")
    images, channels, rows, columns = x.shape
    apart = reshape(x, (images, channels, rows // b, b, columns // b, b))
    order = (0, 1, 3, 5, 2, 4) if n.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return reshape(permute(apart, order), (images, channels * b * b, rows // b, columns // b))
