"""Lists of tensors, between the operators of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, LabelError
from chainrule.formats.onnx.reading.table import Node, axis_of, integers, number, reads
from chainrule.ops.join import cat, split, stack
from chainrule.ops.shape import squeeze

Sequence = list[Any]


def _place(n: Node, items: Sequence, position: Tensor | None, end: int) -> int:
    """Give a place in a list, counted from the front; the last one where none is given."""
    if position is None:
        return len(items) + end
    place, most = int(number(position)), len(items) + end
    if not -len(items) <= place <= most:
        raise LabelError(f"onnx: {n}: place {place} of a list of {len(items)}")
    return place + len(items) if place < 0 else place


@reads("SequenceEmpty", since="11")
def _empty(n: Node) -> Sequence:
    """Give a list of nothing."""
    return []


@reads("SequenceConstruct", since="11")
def _construct(n: Node, *items: Tensor) -> Sequence:
    """Give a list of the inputs."""
    return list(items)


@reads("SequenceInsert", since="11", settings=(2,))
def _insert(n: Node, items: Sequence, item: Tensor, position: Tensor | None = None) -> Sequence:
    """Put an item into a list, at its end unless told."""
    place = _place(n, items, position, 0)
    return [*items[:place], item, *items[place:]]


@reads("SequenceErase", since="11", settings=(1,))
def _erase(n: Node, items: Sequence, position: Tensor | None = None) -> Sequence:
    """Leave an item out, the last unless told."""
    place = _place(n, items, position, -1)
    return [*items[:place], *items[place + 1 :]]


@reads("SequenceAt", since="11", settings=(1,))
def _at(n: Node, items: Sequence, position: Tensor) -> Any:
    """Give an item."""
    return items[_place(n, items, position, -1)]


@reads("SequenceLength", since="11")
def _length(n: Node, items: Sequence) -> Tensor:
    """Count the items."""
    return Tensor(np.array(len(items), np.int64))


@reads("ConcatFromSequence", since="11")
def _concat(n: Node, items: Sequence) -> Tensor:
    """Join the items along an axis, a new one on demand."""
    if not items:
        raise DataError(f"onnx: {n}: an empty list")
    if n.flag("new_axis"):
        return stack(items, axis_of(n, n.get("axis"), items[0].ndim + 1))
    return cat(items, axis_of(n, n.get("axis"), items[0].ndim))


@reads("SplitToSequence", since="11 24", settings=(1,))
def _split(n: Node, x: Tensor, sizes: Tensor | None = None) -> Sequence:
    """Cut along an axis, into single slices unless sizes are given."""
    axis = axis_of(n, n.get("axis"), x.ndim)
    if sizes is None:
        parts = split(x, 1, axis)
        return list(parts) if n.flag("keepdims", 1) else [squeeze(part, axis) for part in parts]
    return list(split(x, int(number(sizes)) if sizes.ndim == 0 else integers(sizes), axis))
