"""Elements by index, put by index, found by what they are."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, LabelError
from chainrule.formats.onnx.reading.table import Node, axis_of, reads
from chainrule.ops.gather import gather, index_select, nonzero
from chainrule.ops.index_write import index_put
from chainrule.ops.permute import transpose
from chainrule.ops.scatter import scatter, scatter_add, scatter_reduce
from chainrule.ops.shape import reshape

REDUCTIONS = {"mul": "prod", "max": "amax", "min": "amin"}


def _counted(n: Node, indices: Tensor, size: int) -> Array:
    """Give indices counted from the front; LabelError for one outside its axis."""
    found = indices.array.astype(np.int64, copy=False)
    if found.size and (found.min() < -size or found.max() >= size):
        raise LabelError(f"onnx: {n}: an index outside of an axis of {size}")
    return np.where(found < 0, found + size, found)


@reads("Gather", since="1 11 13")
def _gather(n: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Take slices along an axis."""
    axis = axis_of(n, n.get("axis"), x.ndim)
    places = _counted(n, indices, x.shape[axis])
    found = index_select(x, axis, Tensor(places.reshape(-1)))
    return reshape(found, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@reads("GatherElements", since="11 13")
def _gather_elements(n: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Take elements whose place along one axis is given."""
    axis = axis_of(n, n.get("axis"), x.ndim)
    return gather(x, axis, Tensor(_counted(n, indices, x.shape[axis])))


def _flat_places(n: Node, indices: Tensor, shape: tuple[int, ...]) -> Array:
    """Give the flat places that rows of indices name, of slices along the leading axes."""
    if indices.shape[-1] > len(shape):
        raise DataError(f"onnx: {n}: {indices.shape[-1]} indices each, of {len(shape)} axes")
    places = np.zeros(indices.shape[:-1], np.int64)
    for k, size in enumerate(shape[: indices.shape[-1]]):
        places = places * size + _counted(n, indices[..., k], size)
    return places


@reads("GatherND", since="11 12 13")
def _gather_nd(n: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Take slices that rows of indices name, in each item of the batch axes."""
    batch, depth = n.get("batch_dims", 0), indices.shape[-1]
    count, inner = prod(x.shape[:batch]), x.shape[batch + depth :]
    places = _flat_places(n, indices, x.shape[batch:])
    whole = prod(x.shape[batch : batch + depth])
    start = np.arange(count).reshape(*x.shape[:batch], *(1,) * (places.ndim - batch)) * whole
    rows = reshape(x, (count * whole, prod(inner)))
    found = index_select(rows, 0, Tensor((places + start).reshape(-1)))
    return reshape(found, (*indices.shape[:-1], *inner))


@reads("Scatter", since="9 11")
@reads("ScatterElements", since="11 13 16 18")
def _scatter_elements(n: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Put elements at places along one axis, or add, multiply, compare them there."""
    axis = axis_of(n, n.get("axis"), x.ndim)
    places = Tensor(_counted(n, indices, x.shape[axis]))
    how = n.get("reduction", "none")
    if how == "none":
        return scatter(x, axis, places, updates)
    if how == "add":
        return scatter_add(x, axis, places, updates)
    return scatter_reduce(x, axis, places, updates, _reduction(n, how))


def _reduction(n: Node, how: str) -> str:
    if how not in REDUCTIONS:
        raise DataError(f"onnx: {n}: reduction {how!r}")
    return REDUCTIONS[how]


@reads("ScatterND", since="11 13 16 18")
def _scatter_nd(n: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Put slices where rows of indices say."""
    depth = indices.shape[-1]
    inner = prod(x.shape[depth:])
    places = _flat_places(n, indices, x.shape).reshape(-1, 1) * inner + np.arange(inner)
    flat, values = reshape(x, (-1,)), reshape(updates, (-1,))
    where, how = Tensor(places.reshape(-1)), n.get("reduction", "none")
    if how == "none":
        y = index_put(flat, (where,), values)
    elif how == "add":
        y = scatter_add(flat, 0, where, values)
    else:
        y = scatter_reduce(flat, 0, where, values, _reduction(n, how))
    return reshape(y, x.shape)


@reads("TensorScatter", since="24")
def _tensor_scatter(n: Node, cache: Tensor, update: Tensor, start: Tensor | None = None) -> Tensor:
    """Write a part of a cache along an axis, in each image from a place of its own."""
    axis, length = axis_of(n, n.get("axis", -2), cache.ndim), update.shape[n.get("axis", -2)]
    first = np.zeros(cache.shape[0], np.int64) if start is None else start.array
    places = first[:, None] + np.arange(length)
    size = cache.shape[axis]
    if n.get("mode", "linear") == "circular":
        places = places % size
    if places.size and (places.min() < 0 or places.max() >= size):
        raise LabelError(f"onnx: {n}: writing beyond a cache of {size}")
    shape = [1] * cache.ndim
    shape[0], shape[axis] = places.shape
    index = np.broadcast_to(places.reshape(shape), update.shape)
    return scatter(cache, axis, Tensor(np.ascontiguousarray(index)), update)


@reads("NonZero", since="9 13")
def _nonzero(n: Node, x: Tensor) -> Tensor:
    """Tell where values are not 0: one column each."""
    return transpose(nonzero(x), 0, 1)


@reads("Compress", since="9 11 28", settings=(1,))
def _compress(n: Node, x: Tensor, condition: Tensor) -> Tensor:
    """Keep the slices for which a condition holds."""
    chosen = Tensor(np.flatnonzero(condition.array).astype(np.int64))
    if n.get("axis") is None:
        return index_select(reshape(x, (-1,)), 0, chosen)
    return index_select(x, axis_of(n, n.get("axis"), x.ndim), chosen)


@reads("Unique", since="11 28")
def _unique(n: Node, x: Tensor) -> tuple[Tensor, ...]:
    """Give what differs, where each first stood, which each one is, and how often."""
    axis = n.get("axis")
    given = x if axis is not None else reshape(x, (-1,))
    along = axis_of(n, axis, x.ndim) if axis is not None else 0
    _, first, inverse, counts = np.unique(
        given.array, return_index=True, return_inverse=True, return_counts=True, axis=along
    )
    inverse = inverse.reshape(-1)
    if not n.flag("sorted", 1):
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        first, inverse, counts = first[order], rank[inverse], counts[order]
    numbers = [Tensor(np.asarray(v, np.int64)) for v in (first, inverse, counts)]
    return (index_select(given, along, numbers[0]), *numbers)


@reads("ReverseSequence", since="10 28")
def _reverse_sequence(n: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """Turn around the beginning of each sequence, as long as is told."""
    return reverse(x, lengths.array, n.get("time_axis"), n.get("batch_axis"))


def reverse(x: Tensor, lengths: Array, time: int, batch: int) -> Tensor:
    """Turn around the first `lengths` steps of each item of the batch."""
    steps = np.arange(x.shape[time])[:, None]
    places: Any = np.where(steps < lengths, lengths - 1 - steps, steps)
    places = places if time < batch else places.T
    shape = [1] * x.ndim
    shape[time], shape[batch] = x.shape[time], x.shape[batch]
    index = np.broadcast_to(places.reshape(shape), x.shape).astype(np.int64)
    return gather(x, time, Tensor(np.ascontiguousarray(index)))
