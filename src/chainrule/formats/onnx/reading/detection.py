"""What detectors need: boxes that are kept, and values inside boxes."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.reading.table import Node, need_floating, number, reads, refuse
from chainrule.ops.elementwise import mul
from chainrule.ops.extrema import amax
from chainrule.ops.gather import index_select
from chainrule.ops.join import stack
from chainrule.ops.reduce import sum as total
from chainrule.ops.shape import reshape


@reads("NonMaxSuppression", since="10 11", settings=(2, 3, 4))
def _suppress(
    n: Node,
    boxes: Tensor,
    scores: Tensor,
    most: Tensor | None = None,
    overlap: Tensor | None = None,
    least: Tensor | None = None,
) -> Tensor:
    """Keep boxes of each class that overlap no better one: rows (image, class, box)."""
    count = 0 if most is None else int(number(most))
    limit = 0.0 if overlap is None else float(number(overlap))
    corners = _corners(boxes.array, n.flag("center_point_box"))
    kept = []
    for image, classes in enumerate(scores.array):
        for label, values in enumerate(classes):
            order = np.argsort(-values, kind="stable")
            if least is not None:
                order = order[values[order] > number(least)]
            kept += [(image, label, i) for i in _kept(corners[image], order, limit, count)]
    return Tensor(np.array(kept, np.int64).reshape(-1, 3))


def _corners(boxes: Array, centred: bool) -> Array:
    """Give (top, left, bottom, right), whichever two corners, or the middle and sizes, came."""
    if centred:
        x, y, w, h = np.moveaxis(boxes, -1, 0)
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    a, b = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], -1)


def _kept(boxes: Array, order: Array, limit: float, count: int) -> list[int]:
    kept: list[int] = []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], -1)
    left = order
    while len(left) and len(kept) < count:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        top = np.maximum(boxes[left, :2], boxes[best, :2])
        end = np.minimum(boxes[left, 2:], boxes[best, 2:])
        shared = np.prod(np.maximum(end - top, 0), -1)
        union = areas[left] + areas[best] - shared
        share = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
        left = left[share <= limit]
    return kept


@reads("RoiAlign", since="10 16 22", settings=(1,))
def _roi_align(n: Node, x: Tensor, rois: Tensor, images: Tensor) -> Tensor:
    """Sample regions on a regular grid and pool the samples (He et al., 2017)."""
    need_floating(n, x)
    where = n.get("coordinate_transformation_mode", "half_pixel" if n.version >= 16 else "")
    half = where == "half_pixel"
    size = n.get("output_height"), n.get("output_width")
    scale, ratio = n.get("spatial_scale"), n.get("sampling_ratio")
    found = []
    for box, image in zip(rois.array.astype(np.float64), images.tolist(), strict=True):
        start = box[1::-1] * scale - 0.5 * half  # row, column
        length = box[:1:-1] * scale - 0.5 * half - start
        length = length if half else np.maximum(length, 1.0)
        grid = [ratio or max(ceil(one / s), 1) for one, s in zip(length, size, strict=True)]
        taps = [
            _taps(start[i], length[i] / size[i], size[i], grid[i], x.shape[2 + i]) for i in (0, 1)
        ]
        found.append(_region(n, x[image], taps, size, grid))
    if not found:
        return Tensor(np.zeros((0, x.shape[1], *size), x.dtype))
    return stack(found, 0)


def _taps(start: float, step: float, bins: int, samples: int, size: int) -> tuple[Array, Array]:
    """Give each sample's two neighbours along an axis, and their weights: (samples, 2) each."""
    i = np.arange(bins * samples)
    place = start + (i // samples) * step + (i % samples + 0.5) * step / samples
    outside = (place < -1) | (place > size)
    place = np.clip(place, 0, size - 1)
    low = np.minimum(np.floor(place).astype(np.int64), size - 1)
    part = place - low
    weights = np.stack([1 - part, part], -1) * ~outside[:, None]
    return np.stack([low, np.minimum(low + 1, size - 1)], -1), weights


def _region(n: Node, x: Tensor, taps: Any, size: tuple[int, int], grid: list[int]) -> Tensor:
    """Pool one region of an image (C, H, W)."""
    (rows, by_row), (columns, by_column) = taps
    flat = reshape(x, (x.shape[0], -1))
    places = rows[:, None, :, None] * x.shape[2] + columns[None, :, None, :]
    weights = by_row[:, None, :, None] * by_column[None, :, None, :]
    values = reshape(index_select(flat, 1, Tensor(places.reshape(-1))), (x.shape[0], *places.shape))
    values = mul(values, Tensor(weights.astype(x.dtype)))
    shape = (x.shape[0], size[0], grid[0], size[1], grid[1], 4)
    values = reshape(values, shape)
    if n.get("mode") == "avg":
        return total(values, (2, 4, 5)) / (grid[0] * grid[1])
    if n.get("mode") == "max":  # of the weighted neighbours, as the standard's reference has it
        return amax(values, (2, 4, 5))
    raise refuse(n, f"mode {n.get('mode')!r}")


@reads("MaxRoiPool", since="1 22", settings=(1,))
def _max_roi_pool(n: Node, x: Tensor, rois: Tensor) -> Tensor:
    """Keep the largest value of each part of each region (Girshick, 2015)."""
    need_floating(n, x)
    scale, (rows, columns) = n.get("spatial_scale"), n.get("pooled_shape")
    found = []
    corners = np.floor(rois.array[:, 1:] * scale + 0.5).astype(np.int64)
    for image, (left, top, right, bottom) in zip(rois.array[:, 0], corners, strict=True):
        whole = x[int(image)]
        spans = [
            _spans(top, max(bottom - top + 1, 1), rows, x.shape[2]),
            _spans(left, max(right - left + 1, 1), columns, x.shape[3]),
        ]
        parts = [
            amax(whole[:, a:b, c:d], (1, 2)) if a < b and c < d else whole[:, 0, 0] * 0
            for a, b in spans[0]
            for c, d in spans[1]
        ]
        found.append(reshape(stack(parts, -1), (x.shape[1], rows, columns)))
    return stack(found, 0)


def _spans(start: int, length: int, parts: int, size: int) -> list[tuple[int, int]]:
    step = length / parts
    ends = [(start + int(np.floor(i * step)), start + ceil((i + 1) * step)) for i in range(parts)]
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in ends]
