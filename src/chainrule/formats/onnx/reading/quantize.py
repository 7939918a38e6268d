"""Whole numbers for real ones, and products of these."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.convolution import spatial
from chainrule.formats.onnx.reading.table import Node, axis_of, reads, refuse
from chainrule.formats.onnx.tensors import DTYPES, kind_name
from chainrule.ops.cast import cast
from chainrule.ops.conv import Conv
from chainrule.ops.elementwise import add, div, mul, sub
from chainrule.ops.extrema import amax, amin
from chainrule.ops.matmul import matmul
from chainrule.ops.repeat import repeat_interleave
from chainrule.ops.rounding import round as rounded
from chainrule.ops.select import clamp, maximum, minimum
from chainrule.ops.shape import reshape
from chainrule.ops.slicing import narrow

BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


def _known(n: Node) -> str | None:
    for name in ("output_dtype", "precision"):
        kind = n.get(name)
        if kind and kind not in DTYPES:
            return f"{name} {kind_name(kind)}"
    return None


def along(n: Node, values: Tensor, x: Tensor) -> Tensor:
    """Shape scales or zero points so that they broadcast to x: one, of an axis, or of blocks."""
    block = n.get("block_size", 0)
    if values.array.size == 1 and not block:
        return reshape(values, ())
    axis = axis_of(n, n.get("axis", 1), x.ndim)
    if block:
        wide = repeat_interleave(values, block, axis)
        return narrow(wide, axis, 0, x.shape[axis])
    if values.ndim != 1 or values.shape[0] != x.shape[axis]:
        raise DataError(f"onnx: {n}: scales of {values.shape} for axis {axis} of {x.shape}")
    return reshape(values, [-1 if i == axis else 1 for i in range(x.ndim)])


def quantize(n: Node, x: Tensor, scale: Tensor, zero: Tensor | None, dtype: Any) -> Tensor:
    """Give x / scale rounded to even, plus the zero point, within what the dtype holds."""
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        raise refuse(n, f"quantizing to {dtype}")
    bounds = np.iinfo(dtype)
    y = rounded(div(cast(x, scale.dtype), scale))
    y = y if zero is None else add(y, cast(zero, y.dtype))
    return cast(clamp(y, float(bounds.min), float(bounds.max)), dtype)


@reads("QuantizeLinear", since="10 13 19 21 23 24 25 28", settings=(1, 2), check=_known)
def _quantize(n: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Give whole numbers for real ones."""
    kind = n.get("output_dtype")
    dtype = zero.dtype if zero is not None else DTYPES[kind] if kind else np.dtype(np.uint8)
    point = None if zero is None else along(n, zero, x)
    precision = n.get("precision")
    if precision:
        scale = cast(scale, DTYPES[precision])
    return quantize(n, x, along(n, scale, x), point, dtype)


@reads("DequantizeLinear", since="10 13 19 21 23 24 25 28", settings=(1, 2), check=_known)
def _dequantize(n: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Give (x - zero point) * scale."""
    kind = n.get("output_dtype")
    dtype = DTYPES[kind] if kind else scale.dtype
    wide = cast(x, np.int32) if x.dtype.itemsize < 4 else x
    if zero is not None:
        wide = sub(wide, cast(along(n, zero, x), wide.dtype))
    y = mul(cast(wide, np.float32), cast(along(n, scale, x), np.float32))
    return cast(y, dtype)


@reads("DynamicQuantizeLinear", since="11")
def _dynamic(n: Node, x: Tensor) -> tuple[Tensor, ...]:
    """Quantize to bytes by the range of the values themselves."""
    zero = Tensor(np.zeros((), x.dtype))
    high, low = maximum(amax(x), zero), minimum(amin(x), zero)
    scale = div(sub(high, low), 255)
    point = cast(clamp(rounded(div(-low, scale)), 0.0, 255.0), np.uint8)
    return quantize(n, x, scale, point, np.dtype(np.uint8)), scale, point


# Products of whole numbers


def _centred(n: Node, x: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    """Give x minus its zero point, in numbers that hold exact sums of products."""
    if x.dtype not in BYTES:
        raise refuse(n, f"products of {x.dtype}")
    wide = cast(x, np.float64)
    if zero is None:
        return wide
    if zero.array.size > 1 and zero.ndim == 1:
        zero = reshape(zero, [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    elif zero.array.size == 1:
        zero = reshape(zero, ())
    return sub(wide, cast(zero, np.float64))


@reads("MatMulInteger", since="10", settings=(2, 3))
def _matmul_integer(
    n: Node, a: Tensor, b: Tensor, zero_a: Tensor | None = None, zero_b: Tensor | None = None
) -> Tensor:
    """Multiply matrices of bytes into int32."""
    return cast(matmul(_centred(n, a, zero_a, -2), _centred(n, b, zero_b, -1)), np.int32)


@reads("QLinearMatMul", since="10 21", settings=(1, 2, 4, 5, 6, 7))
def _qlinear_matmul(n: Node, *given: Tensor) -> Tensor:
    """Multiply matrices of bytes with scales and zero points."""
    a, scale_a, zero_a, b, scale_b, zero_b, scale, zero = given
    product = matmul(_centred(n, a, zero_a, -2), _centred(n, b, zero_b, -1))
    factor = mul(_rows(cast(scale_a, np.float64), a, -2), _rows(cast(scale_b, np.float64), b, -1))
    y = mul(product, factor)
    return quantize(n, y, cast(scale, np.float64), zero, zero.dtype)


def _rows(values: Tensor, x: Tensor, axis: int) -> Tensor:
    if values.array.size == 1:
        return reshape(values, ())
    if values.ndim > 1:
        return values
    return reshape(values, [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def _integer_conv(n: Node, x: Tensor, w: Tensor) -> Tensor:
    f = spatial(n, x, w.shape[2:])
    return apply(Conv(f.stride, f.pads, f.dilation, n.get("group")), x, w)


@reads("ConvInteger", since="10", settings=(2, 3))
def _conv_integer(
    n: Node, x: Tensor, w: Tensor, zero_x: Tensor | None = None, zero_w: Tensor | None = None
) -> Tensor:
    """Correlate bytes with filters of bytes into int32."""
    return cast(_integer_conv(n, _centred(n, x, zero_x, 1), _centred(n, w, zero_w, 0)), np.int32)


@reads("QLinearConv", since="10", settings=(1, 2, 4, 5, 6, 7, 8))
def _qlinear_conv(n: Node, *given: Tensor) -> Tensor:
    """Correlate bytes with filters, with scales and zero points."""
    x, scale_x, zero_x, w, scale_w, zero_w, scale, zero, *bias = given
    y = _integer_conv(n, _centred(n, x, zero_x, 1), _centred(n, w, zero_w, 0))
    shape = (-1, *(1,) * (x.ndim - 2))
    if bias:
        y = add(y, cast(reshape(bias[0], shape), np.float64))
    factor = mul(cast(scale_x, np.float64), reshape(cast(scale_w, np.float64), shape))
    return quantize(n, mul(y, factor), cast(scale, np.float64), zero, zero.dtype)
