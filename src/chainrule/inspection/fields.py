"""Which part of an image a position of a layer's map sees: its receptive field, with its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from chainrule.engine.capture import capture
from chainrule.engine.gate import GraphNode
from chainrule.engine.op import Op, Spec
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import meta_tensor
from chainrule.inspection.costs import windows
from chainrule.inspection.reading import Reading
from chainrule.nn.tracing import following
from chainrule.ops.pad import Pad, PadBorder, widths
from chainrule.ops.permute import Permute
from chainrule.ops.pool_average import AdaptiveAvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool

Range = tuple[int, int]
"""From where to where on one axis, both within; they may lie beyond the border, on padding."""


class Box(NamedTuple):
    """A rectangle of an image: its first row and column, which may be negative, and its size."""

    top: int
    left: int
    height: int
    width: int


class Field:
    """Follows positions of a layer's map back to the image, for images of one shape (C, H, W).

    Convolutions, pooling and padding are followed.  Any other operation that keeps height and width
    is taken to look at single positions, as in `summary`; one that changes them sees the whole.

    >>> import chainrule as cr
    >>> field = Field(Reading("example", cr.create_model("lenet5"), ["conv2"]), (1, 32, 32), "f4")
    >>> field.box((0, 0)), field.box((9, 4))
    (Box(top=0, left=0, height=14, width=14), Box(top=18, left=8, height=14, width=14))
    """

    def __init__(self, read: Reading, shape: Sequence[int], dtype: Any) -> None:
        self.height, self.width = shape[1:]
        (name,) = read.names
        with following(read.model), no_grad():
            x = meta_tensor((1, *shape), dtype)
            self.graph = capture(lambda x: read(x)[name], x)
        self.nodes = self.graph.nodes_topologically_sorted()

    def box(self, place: Sequence[int]) -> Box:
        """Give what a position (row, column) sees, of the same size wherever padding begins."""
        whole = Box(0, 0, self.height, self.width)
        if len(place) != 2:
            return whole
        output = self.graph.outputs[0]
        seen: dict[int, list[Range] | None] = {id(output): [(p, p) for p in place]}
        for node in reversed(self.nodes):
            if id(node) not in seen or node.op is None:
                continue
            for i, (source, index) in enumerate(node.edges):
                if source.kind in ("input", "operation"):
                    part = _behind(node.op, node, i, source.specs[index], seen[id(node)])
                    seen[id(source)] = (
                        _joined(seen[id(source)], part) if id(source) in seen else part
                    )
        found = seen.get(id(self.graph.inputs[0]))
        if found is None:
            return whole
        (top, bottom), (left, right) = found
        return Box(top, left, bottom - top + 1, right - left + 1)


def _behind(
    op: Op, node: GraphNode, i: int, source: Spec, ranges: list[Range] | None
) -> list[Range] | None:
    """Give the ranges of an operation's input that ranges of its output see; None for all of it."""
    output = node.specs[0]
    if ranges is None or len(source.shape) != 4 or len(output.shape) != 4:
        return None
    sizes = [
        (int(n or 0), int(m or 1)) for n, m in zip(source.shape[2:], output.shape[2:], strict=True)
    ]
    if isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool):
        return [
            (low * n // m, -(-(high + 1) * n // m) - 1)
            for (low, high), (n, m) in zip(ranges, sizes, strict=True)
        ]
    if isinstance(op, Pad | PadBorder):
        added = widths(op.pad, 4)[2:]
        return [(low - a, high - a) for (low, high), (a, _) in zip(ranges, added, strict=True)]
    if isinstance(op, Permute) and tuple(op.dims[2:]) != (2, 3):
        return None
    moves = windows(op, [n.specs[k] for n, k in node.edges], output)
    if moves and i == 0:
        return [
            (low * w.stride - w.before, high * w.stride - w.before + w.extent - 1)
            for (low, high), w in zip(ranges, moves, strict=True)
        ]
    if moves == () and all(n in (m, 1) for n, m in sizes):
        return [
            pair if n == m else (0, 0) for pair, (n, m) in zip(ranges, sizes, strict=True)
        ]  # one value for all positions is seen by each
    return None


def _joined(a: list[Range] | None, b: list[Range] | None) -> list[Range] | None:
    """Give the smallest ranges that hold both."""
    if a is None or b is None:
        return None
    return [
        (min(low, first), max(high, last)) for (low, high), (first, last) in zip(a, b, strict=True)
    ]
