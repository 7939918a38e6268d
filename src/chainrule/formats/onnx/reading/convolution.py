"""Convolution, its transpose, and windows as columns."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.sampling import bilinear
from chainrule.formats.onnx.reading.table import Node, integers, need_floating, reads, refuse
from chainrule.formats.onnx.reading.windows import Frame, frame
from chainrule.nn import functional as F
from chainrule.ops.conv import Conv
from chainrule.ops.conv_transpose import ConvTranspose
from chainrule.ops.elementwise import add, mul
from chainrule.ops.join import cat
from chainrule.ops.matmul import matmul
from chainrule.ops.pad import pad
from chainrule.ops.shape import reshape, unsqueeze


def spatial(n: Node, x: Tensor, kernel: Any) -> Frame:
    """Give a node's windows over x (N, C, ...), whose kernel is the weight's unless it says."""
    if not 3 <= x.ndim <= 5:
        raise refuse(n, f"an input of {x.ndim} axes")
    return frame(n, x.shape[2:], n.get("kernel_shape") or kernel)


def convolve(kind: type[Conv], n: Node, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """Run `kind`, the convolution or an operation made of it."""
    need_floating(n, x, w)
    f = spatial(n, x, w.shape[2:])
    if f.kernel != w.shape[2:]:
        raise DataError(f"onnx: {n}: kernel_shape {f.kernel} for weights of {w.shape}")
    pads = f.pads
    if min(min(pair) for pair in pads) < 0:
        x = pad(x, [width for pair in reversed(pads) for width in pair])
        pads = ((0, 0),) * len(pads)
    op = kind(f.stride, pads, f.dilation, n.get("group"))
    return apply(op, x, w) if b is None else apply(op, x, w, b)


@reads("Conv", since="1 11 22")
def _conv(n: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Correlate with filters."""
    return convolve(Conv, n, x, w, b)


@reads("ConvTranspose", since="1 11 22")
def _conv_transpose(n: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Spread every value over a window; cut to the size that is asked for."""
    need_floating(n, x, w)
    f = spatial(n, x, w.shape[2:])
    d = len(f.kernel)
    more = tuple(n.get("output_padding") or (0,) * d)
    before, after = _cut(n, f, x.shape[2:], more)
    groups = n.get("group")
    fits = all(m < max(s, t) for m, s, t in zip(more, f.stride, f.dilation, strict=True))
    if before == after and fits and min(before) >= 0:
        op = ConvTranspose(f.stride, before, more, f.dilation, groups)
        return apply(op, x, w) if b is None else apply(op, x, w, b)
    none = (0,) * d
    y = apply(ConvTranspose(f.stride, none, none, f.dilation, groups), x, w)
    widths = zip(before, after, more, strict=True)
    y = pad(y, [width for a, b_, m in reversed(list(widths)) for width in (-a, m - b_)])
    return y if b is None else add(y, reshape(b, (-1, *(1,) * d)))


def _cut(n: Node, f: Frame, sizes: Any, more: Any) -> tuple[Any, Any]:
    """Give what is cut off before and after, by the padding or by the size wanted."""
    how, wanted = n.get("auto_pad", "NOTSET"), n.get("output_shape")
    if how in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        wanted = [size * s for size, s in zip(sizes, f.stride, strict=True)]
    if not wanted:
        return f.before, f.after
    axes = zip(sizes, f.stride, f.extent, more, wanted[-len(f.kernel) :], strict=True)
    totals = [s * (size - 1) + m + extent - want for size, s, extent, m, want in axes]
    less = tuple(total // 2 for total in totals)
    rest = tuple(total - total // 2 for total in totals)
    return (less, rest) if how == "SAME_UPPER" else (rest, less)


@reads("Col2Im", since="18", settings=(1, 2))
def _col2im(n: Node, x: Tensor, size: Tensor, block: Tensor) -> Tensor:
    """Add columns (N, C*k, L) to where their windows stood."""
    need_floating(n, x)
    sizes, kernel = integers(size), integers(block)
    f = frame(n, sizes, kernel)
    if len(kernel) > 3:
        raise refuse(n, f"{len(kernel)} spatial axes")
    whole = [a + s + b for a, s, b in zip(f.before, sizes, f.after, strict=True)]
    fold = {1: F.fold1d, 2: F.fold, 3: F.fold3d}[len(kernel)]
    settings = (f.dilation, (0,) * len(kernel), f.stride)
    y = fold(x, tuple(whole), f.kernel, *settings)
    return pad(y, [-width for pair in reversed(f.pads) for width in pair])


@reads("DeformConv", since="19 22")
def _deform(
    n: Node,
    x: Tensor,
    w: Tensor,
    offset: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Convolve what is sampled at places that the offsets move (Zhu et al., 2019)."""
    need_floating(n, x, w, offset)
    if x.ndim != 4:
        raise refuse(n, f"an input of {x.ndim} axes")
    f = spatial(n, x, w.shape[2:])
    rows, columns = f.counts(x.shape[2:])
    images, taps, parts = x.shape[0], prod(f.kernel), n.get("offset_group")
    rows, columns = f.counts(x.shape[2:])
    moved = reshape(offset, (images, parts, taps, 2, rows, columns))
    seen = []
    for part, one in enumerate(x.split(x.shape[1] // parts, 1)):
        places = [_places(f, moved[:, part, :, axis], axis) for axis in (0, 1)]
        values = bilinear(one, *[reshape(place, (images, -1)) for place in places])
        values = reshape(values, (images, one.shape[1], taps, rows, columns))
        if mask is not None:
            masks = reshape(mask, (images, parts, taps, rows, columns))[:, part]
            values = mul(values, unsqueeze(masks, 1))
        seen.append(values)
    groups = n.get("group")
    found = reshape(cat(seen, 1), (images, groups, -1, rows * columns))
    y = matmul(reshape(w, (groups, w.shape[0] // groups, -1)), found)
    y = reshape(y, (images, w.shape[0], rows, columns))
    return y if b is None else add(y, reshape(b, (-1, 1, 1)))


def _places(f: Frame, offset: Tensor, axis: int) -> Tensor:
    """Give where the taps lie along an axis: (N, taps, H, W) for offsets of that shape."""
    across = np.indices(f.kernel).reshape(2, -1, 1, 1)[axis] * f.dilation[axis]
    along = np.indices(offset.shape[2:])[axis] * f.stride[axis] - f.before[axis]
    return add(offset, Tensor((across + along).astype(offset.dtype)))
