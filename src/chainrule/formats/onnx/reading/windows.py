"""The windows of convolution and pooling as ONNX counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import Node

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """Windows along each spatial axis: their length, steps, dilation, padding before and after."""

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    before: Sizes
    after: Sizes
    ceil: bool = False

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """The padding, (before, after) for each axis."""
        return tuple(zip(self.before, self.after, strict=True))

    @property
    def extent(self) -> Sizes:
        """How far a window reaches along each axis."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))

    def counts(self, sizes: Sequence[int]) -> Sizes:
        """Count the windows; in ceil mode a last one may end outside, but must begin inside."""
        found = []
        axes = zip(sizes, self.extent, self.stride, self.pads, strict=True)
        for size, extent, stride, (before, after) in axes:
            span = size + before + after - extent
            count = (-(-span // stride) if self.ceil else span // stride) + 1
            if self.ceil and (count - 1) * stride >= size + before:
                count -= 1
            found.append(count)
        return tuple(found)


def frame(n: Node, sizes: Sequence[int], kernel: Sequence[int]) -> Frame:
    """Give the windows over spatial sizes that a node's attributes describe."""
    d = len(sizes)
    given = tuple(kernel)
    stride = tuple(n.get("strides") or (1,) * d)
    dilation = tuple(n.get("dilations") or (1,) * d)
    pads = list(n.get("pads") or (0,) * 2 * d)
    if not len(given) == len(stride) == len(dilation) == d or len(pads) != 2 * d:
        raise DataError(
            f"onnx: {n}: kernel {given}, strides {stride}, dilations {dilation} and pads {pads} "
            f"for {d} spatial axes"
        )
    if min((*given, *stride, *dilation), default=1) < 1:
        raise DataError(f"onnx: {n}: a kernel, stride or dilation below 1")
    made = Frame(given, stride, dilation, tuple(pads[:d]), tuple(pads[d:]), n.flag("ceil_mode"))
    how = n.get("auto_pad", "NOTSET")
    if how in ("", "NOTSET"):
        return made
    none = (0,) * d
    if how == "VALID":
        return Frame(given, stride, dilation, none, none, made.ceil)
    if how not in ("SAME_UPPER", "SAME_LOWER"):
        raise DataError(f"onnx: {n}: auto_pad {how!r}")
    totals = [
        max(((-(-size // s)) - 1) * s + extent - size, 0)
        for size, s, extent in zip(sizes, stride, made.extent, strict=True)
    ]
    less = tuple(total // 2 for total in totals)
    more = tuple(total - total // 2 for total in totals)
    before, after = (less, more) if how == "SAME_UPPER" else (more, less)
    return Frame(given, stride, dilation, before, after)
