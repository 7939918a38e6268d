"""What an operation costs: multiply-adds, new memory, and how far it looks."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

from chainrule.engine.op import Op, Spec
from chainrule.ops.conv import Conv
from chainrule.ops.conv_transpose import ConvTranspose
from chainrule.ops.linear import Linear
from chainrule.ops.matmul import Matmul
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool

# The families whose results need no memory of their own: computed in place, or seen otherwise.
_IN_PLACE = ("activation", "dropout", "passthrough", "capture", "tracking")
_VIEWS = ("shape", "permute", "slicing", "index")


def multiply_adds(op: Op, inputs: list[Spec], output: Spec) -> int:
    """Count those of convolutions, dense layers and matrix products; 0 for all else."""
    if isinstance(op, Conv):
        return _size(inputs[1].shape[1:]) * _size(output.shape)
    if isinstance(op, ConvTranspose):
        return _size(inputs[1].shape[1:]) * _size(inputs[0].shape)
    if isinstance(op, Linear | Matmul):
        return int(inputs[0].shape[-1] or 0) * _size(output.shape)
    return 0


def new_values(op: Op, input: Spec, output: Spec) -> int:
    """Count the values that it has to keep: none where it can work in place or gives a view."""
    family = type(op).__module__.rsplit(".", 1)[-1]
    free = family.startswith(_IN_PLACE) or family in _VIEWS
    if isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool):
        free = input.shape == output.shape
    return 0 if free else _size(output.shape)


def _size(shape: Any) -> int:
    return prod(int(n or 0) for n in shape)


class Window(NamedTuple):
    """How a window moves over one axis: extent, step, what is left at the end, what lies before."""

    extent: int
    stride: int
    dropped: int = 0
    before: int = 0


def windows(op: Op, inputs: list[Spec], output: Spec) -> tuple[Window, ...] | None:
    """Give the windows along the spatial axes; () where it looks at single positions alone.

    None where it sees the whole image.
    """
    if isinstance(op, Linear | Matmul):
        return None
    if isinstance(op, ConvTranspose):
        return ()
    if isinstance(op, Conv):
        kernel = tuple(int(n or 0) for n in inputs[1].shape[2:])
        return _moving(kernel, op.stride, op.padding, op.dilation, False, inputs[0])
    if isinstance(op, MaxPool):
        pads = tuple((p, p) for p in op.padding)
        return _moving(op.kernel, op.stride, pads, op.dilation, op.ceil_mode, inputs[0])
    if isinstance(op, AvgPool):
        pads = tuple((p, p) for p in op.padding)
        ones = (1,) * len(op.kernel)
        return _moving(op.kernel, op.stride, pads, ones, op.ceil_mode, inputs[0])
    if isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool):
        return _ranges(inputs[0], output)
    return ()


def _moving(
    kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, x: Spec
) -> tuple[Window, ...]:
    found = []
    spatial = x.shape[len(x.shape) - len(kernel) :]
    for k, s, (before, after), d, n in zip(kernel, stride, padding, dilation, spatial, strict=True):
        extent = d * (k - 1) + 1
        left = (int(n or 0) + before + after - extent) % s
        found.append(Window(extent, s, 0 if ceil else max(0, left - after), before))
    return tuple(found)


def _ranges(x: Spec, output: Spec) -> tuple[Window, ...] | None:
    """Give the ranges of an adaptive pooling: their largest extent and mean step."""
    found = []
    for n, m in zip(x.shape[2:], output.shape[2:], strict=True):
        size, count = int(n or 0), int(m or 1)
        if count == 1 and size > 1:
            return None
        ends = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        extent = max(end - begin for begin, end in ends)
        found.append(Window(extent, max(1, size // count)))
    return tuple(found)
