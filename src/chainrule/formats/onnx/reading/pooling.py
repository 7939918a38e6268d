"""Pooling."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import (
    Node,
    integers,
    need_floating,
    reads,
    refuse,
)
from chainrule.formats.onnx.reading.windows import Frame, frame
from chainrule.nn import functional as F
from chainrule.ops.conv import Conv
from chainrule.ops.elementwise import div
from chainrule.ops.extrema import amax
from chainrule.ops.pad import pad
from chainrule.ops.power import pow as power
from chainrule.ops.reduce import mean
from chainrule.ops.reduce import sum as total
from chainrule.ops.rounding import abs as absolute
from chainrule.ops.scatter import scatter
from chainrule.ops.shape import reshape

MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def spatial(n: Node, x: Tensor) -> Frame:
    """Give a node's windows over x (N, C, ...)."""
    if not 3 <= x.ndim <= 5:
        raise refuse(n, f"an input of {x.ndim} axes")
    f = frame(n, x.shape[2:], n.get("kernel_shape"))
    if min(f.counts(x.shape[2:])) < 1:
        raise DataError(f"onnx: {n}: no window of {f.kernel} fits into {x.shape}")
    return f


def pool_padding(f: Frame, sizes: Any) -> tuple[tuple[int, ...], bool] | None:
    """Give our pooling's padding and ceil mode for the same windows, if it has them."""
    small = all(0 <= 2 * p <= k for p, k in zip(f.before, f.kernel, strict=True))
    if not small:
        return None
    for ceil in (False, True):
        ours = Frame(f.kernel, f.stride, f.dilation, f.before, f.before, ceil)
        if ours.counts(sizes) == f.counts(sizes):
            return f.before, ceil
    return None


def widths(f: Frame, sizes: Any) -> list[int]:
    """Give the padding, as `pad` takes it, with which every window lies inside."""
    found = []
    axes = zip(sizes, f.counts(sizes), f.stride, f.extent, f.before, strict=True)
    for size, count, stride, extent, before in reversed(list(axes)):
        found += [before, (count - 1) * stride + extent - size - before]
    return found


@reads("MaxPool", since="1 8 10 11 12 22")
def max_pool(n: Node, x: Tensor) -> Any:
    """Keep the largest value of each window, and on demand where it stood."""
    f, sizes = spatial(n, x), x.shape[2:]
    pool, indices = MAXIMA[len(sizes)], len(n.wanted) > 1 and n.wanted[1]
    found = pool_padding(f, sizes)
    if found is not None:
        y = pool(x, f.kernel, f.stride, found[0], f.dilation, found[1], indices)
        return (y[0], _whole_indices(n, y[1], sizes)) if indices else y
    around = widths(f, sizes)
    low = -np.inf if x.dtype.kind == "f" else int(np.iinfo(x.dtype).min)
    wide = pad(x, around, value=low)
    y = pool(wide, f.kernel, f.stride, 0, f.dilation, False, indices)
    if not indices:
        return y
    places = np.unravel_index(y[1].array, wide.shape[2:])
    before = around[::2][::-1]
    inner = [place - b for place, b in zip(places, before, strict=True)]
    flat = np.ravel_multi_index(inner, sizes, mode="clip")
    return y[0], _whole_indices(n, Tensor(np.asarray(flat, np.int64)), sizes)


def _whole_indices(n: Node, indices: Tensor, sizes: Any) -> Tensor:
    """Count places in the whole tensor, where ours count in each plane."""
    array, plane = indices.array, prod(sizes)
    if n.flag("storage_order"):
        array = np.ravel_multi_index(np.unravel_index(array, sizes), sizes, order="F")
    planes = np.arange(prod(array.shape[:2])).reshape(*array.shape[:2], *(1,) * len(sizes))
    return Tensor(np.asarray(array + planes * plane, np.int64))


@reads("MaxUnpool", since="9 11 22", settings=(2,))
def _max_unpool(n: Node, x: Tensor, indices: Tensor, size: Tensor | None = None) -> Tensor:
    """Put values back where the largest ones stood."""
    f = frame(n, x.shape[2:], n.get("kernel_shape"))
    axes = zip(x.shape[2:], f.stride, f.kernel, f.pads, strict=True)
    own = (*x.shape[:2], *((m - 1) * s + k - a - b for m, s, k, (a, b) in axes))
    shape = tuple(integers(size)) if size is not None else own
    flat = Tensor(np.zeros(prod(shape), x.dtype))
    places = indices
    if shape != own and shape[2:] != own[2:]:  # the indices count in the smaller one
        array = np.stack(np.unravel_index(indices.array, own))
        places = Tensor(np.asarray(np.ravel_multi_index(tuple(array), shape), np.int64))
    return reshape(scatter(flat, 0, reshape(places, (-1,)), reshape(x, (-1,))), shape)


def window_sums(f: Frame, x: Tensor) -> Tensor:
    """Add up each window of x (N, C, ...), zeros outside."""
    around = widths(f, x.shape[2:])
    pairs = tuple(zip(around[::2][::-1], around[1::2][::-1], strict=True))
    if min(around) < 0:
        x, pairs = pad(x, around), ((0, 0),) * len(pairs)
    planes = reshape(x, (-1, 1, *x.shape[2:]))
    ones = Tensor(np.ones((1, 1, *f.kernel), x.dtype))
    y = apply(Conv(f.stride, pairs, f.dilation, 1), planes, ones)
    return reshape(y, (*x.shape[:2], *y.shape[2:]))


@reads("AveragePool", since="7 10 11 19 22")
def _average_pool(n: Node, x: Tensor) -> Tensor:
    """Give the mean of each window, of the padding too with `count_include_pad`."""
    need_floating(n, x)
    f, sizes = spatial(n, x), x.shape[2:]
    counted = n.flag("count_include_pad")
    found = pool_padding(f, sizes)
    plain = found is not None and (f.before == f.after or not counted)
    if found is not None and plain and set(f.dilation) == {1}:
        return AVERAGES[len(sizes)](x, f.kernel, f.stride, found[0], found[1], counted)
    return div(window_sums(f, x), Tensor(_counts(f, sizes, counted).astype(x.dtype)))


def _counts(f: Frame, sizes: Any, counted: bool) -> Array:
    """Count what is in each window, of the padding too if it is counted; 1 where nothing is."""
    total = np.ones((1, 1), np.int64)
    axes = zip(sizes, f.counts(sizes), f.kernel, f.stride, f.dilation, f.pads, strict=True)
    for size, windows, kernel, stride, dilation, (before, after) in axes:
        places = (np.arange(windows) * stride - before)[:, None] + np.arange(kernel) * dilation
        low, high = (-before, size + after) if counted else (0, size)
        total = total[..., None] * ((places >= low) & (places < high)).sum(1)
    return np.maximum(total, 1)


@reads("LpPool", since="2 11 18 22")
def _lp_pool(n: Node, x: Tensor) -> Tensor:
    """Give (the sum of |x|**p)**(1/p) of each window."""
    need_floating(n, x)
    p = n.get("p")
    return power(window_sums(spatial(n, x), power(absolute(x), p)), 1 / p)


@reads("GlobalAveragePool", since="1 22")
def _global_average(n: Node, x: Tensor) -> Tensor:
    """Give the mean of each channel."""
    need_floating(n, x)
    pools = {3: F.adaptive_avg_pool1d, 4: F.adaptive_avg_pool2d, 5: F.adaptive_avg_pool3d}
    if x.ndim in pools and x.array.size:
        return pools[x.ndim](x, 1)
    return mean(x, tuple(range(2, x.ndim)), keepdim=True)


@reads("GlobalMaxPool", since="1 22")
def _global_max(n: Node, x: Tensor) -> Tensor:
    """Give the largest value of each channel."""
    pools = {3: F.adaptive_max_pool1d, 4: F.adaptive_max_pool2d, 5: F.adaptive_max_pool3d}
    if x.ndim in pools and x.dtype.kind == "f":
        y: Tensor = pools[x.ndim](x, 1)
        return y
    return amax(x, tuple(range(2, x.ndim)), keepdim=True)


@reads("GlobalLpPool", since="2 22")
def _global_lp(n: Node, x: Tensor) -> Tensor:
    """Give (the sum of |x|**p)**(1/p) of each channel."""
    need_floating(n, x)
    p = n.get("p")
    return power(total(power(absolute(x), p), tuple(range(2, x.ndim)), keepdim=True), 1 / p)
