"""Cutting the unit square by the kinks of a network, operation by operation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.capture import Graph
from chainrule.engine.gate import GraphNode
from chainrule.engine.op import Array, Op
from chainrule.errors import DataError, KindError, expect, failure
from chainrule.inspection.winners import Contest, Polygon, window_table
from chainrule.ops.activation import LeakyReLU, ReLU
from chainrule.ops.activation_channel import PReLU
from chainrule.ops.activation_hard import Hardtanh
from chainrule.ops.conv import Conv
from chainrule.ops.elementwise import Add, Div, Mul, Neg, Sub
from chainrule.ops.linear import Linear
from chainrule.ops.matmul import Matmul
from chainrule.ops.norm import BatchNorm
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.rounding import Abs
from chainrule.ops.shape import Clone, Contiguous, Flatten, Reshape, Squeeze, Unsqueeze

_ANY = (Add, Sub)  # affine in all inputs together
_ONE = (Mul,)  # in one of them
_POOLS = (MaxPool, AdaptiveMaxPool)
_FIRST = (
    Linear, Conv, Matmul, Div, Neg, AvgPool, AdaptiveAvgPool,
    Flatten, Reshape, Clone, Contiguous, Squeeze, Unsqueeze,
)  # fmt: skip

_THIN = 1e-9  # of the square's side: what is thinner is no region
_SURE = 1e-11  # of the square's side: what is thinner is rounding, what is between is refused
_NOISE = 1e-13  # of the terms' sizes: a slope below is rounding
_ROUNDING = 1e-12  # of the terms' sizes: what is smaller is 0
_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])


class Pieces(NamedTuple):
    """A bent line: where it bends, and slope and height at 0 of each of its pieces."""

    kinks: tuple[float, ...]
    slopes: tuple[Any, ...]  # numbers, or one for each unit
    heights: tuple[float, ...]


def pieces(op: Op) -> Pieces | None:
    """Give an activation's pieces, those below PReLU's kink of slope 0; None for what is none.

    >>> pieces(ReLU())
    Pieces(kinks=(0.0,), slopes=(0.0, 1.0), heights=(0.0, 0.0))
    """
    if isinstance(op, Hardtanh):
        return Pieces((op.low, op.high), (0.0, 1.0, 0.0), (op.low, 0.0, op.high))
    below = {ReLU: 0.0, PReLU: 0.0, LeakyReLU: getattr(op, "slope", 0.0), Abs: -1.0}.get(type(op))
    return None if below is None else Pieces((0.0,), (below, 1.0), (0.0, 0.0))


class Cut(NamedTuple):
    """A piece of a unit's kink that parted a cell: layer and unit by number, both ends (2, 2)."""

    layer: int
    unit: int
    ends: Array


class Part(NamedTuple):
    """A convex part of the square.

    `corners` (k, 2) go counter-clockwise; side i, from corner i to the next, lies on the cut
    `edges[i]`, or on the square's border: -1.  `values` has for each node what it is at the three
    points, and the sum of its terms' sizes, against which rounding is judged.
    """

    corners: Array
    edges: tuple[int, ...]
    values: dict[int, tuple[Array, Array]]
    pattern: tuple[Array, ...]


def check(op: Op, node: GraphNode, live: list[bool], rows: int) -> None:
    """Refuse what is not affine by pieces, and what mixes the points; `live` inputs follow them."""
    affine = (
        type(op) in _ANY  # and not of a class under it, which may be fused with a ReLU
        or (type(op) in _ONE and sum(live) == 1)
        or (type(op) in _FIRST and live[0] and not any(live[1:]))
        or (type(op) is BatchNorm and not op.training and not any(live[1:]))
    )
    pool = type(op) in _POOLS and len(node.specs) == 1
    bent = pieces(op) is not None and not any(live[1:])
    where = f" in layer {node.layer!r}" if node.layer else ""
    if not (affine or pool or bent):
        raise failure(
            "linear_regions",
            "linear layers, convolutions, batch norm, averages, sums and reshaping between ReLU, "
            "LeakyReLU, PReLU, ReLU6, Hardtanh, absolute values and max pooling; "
            f"{op.name}{where} is none of them",
            error=KindError,
            operation=op,
        )
    shape = node.specs[0].shape
    others = [n.specs[0].shape for n, follows in zip(node.inputs, live, strict=True) if not follows]
    mixed = not shape or shape[0] != rows
    if isinstance(op, (Add, Sub, Mul, Div, Matmul)):
        mixed |= any(len(s) >= len(shape) and s[0] != 1 for s in others)
    if mixed:
        rule = f"each input computed by itself, along the first axis; {op.name}{where} mixes them"
        raise failure("linear_regions", rule, error=KindError, output=shape)


class Cutter:
    """Cuts the square by a recorded graph, which ran on three points at once.

    `layers` has for each activation its path, its units, and how many lines they are.
    """

    def __init__(self, graph: Graph, points: Array, limit: int) -> None:
        self.graph, self.limit = graph, limit
        self.live: set[int] = {id(node) for node in graph.inputs}
        self.layers: list[tuple[str, int, int]] = []
        self.cuts: list[Cut] = []
        self.is_relu_chain = True
        self._start = {id(graph.inputs[0]): (points, np.abs(points))}
        self._constants: dict[int, Array] = {}
        self._tables: dict[int, Array] = {}  # of max pooling: the windows' entries
        rows = len(points)
        for node in graph:
            if node.op is None:
                if node.tensor is not None:
                    array = node.tensor.array.astype(np.float64)
                    if not np.isfinite(array).all():
                        where = node.layer or node.name
                        raise DataError(f"linear_regions: weights of {where} are not finite")
                    self._constants[id(node)] = array
            elif any(id(n) in self.live for n in node.inputs):
                check(node.op, node, [id(n) in self.live for n in node.inputs], rows)
                self._add_layer(node.op, node)
                self.live.add(id(node))
            else:
                self._constants[id(node)] = self._run(node, self._constants)
        rule = "one output that depends on the inputs"
        fine = graph.single and id(graph.outputs[0]) in self.live
        expect(fine, "linear_regions", rule, error=KindError, outputs=len(graph.outputs))
        self._later: dict[int, set[int]] = {}  # for each node, what is read after it
        read: set[int] = set()
        for node in reversed(list(graph)):
            self._later[id(node)] = set(read)
            read |= {id(n) for n in node.inputs}
        readers = [id(n) for node in graph for n in node.inputs if id(n) in self.live]
        self.is_relu_chain &= len(readers) == len(set(readers))

    def _add_layer(self, op: Op, node: GraphNode) -> None:
        """Note an activation, or max pooling, and how many lines its units can draw."""
        bent = pieces(op)
        units = int(np.prod(node.specs[0].shape[1:], dtype=int))
        if isinstance(op, _POOLS):
            table = self._tables[id(node)] = window_table(op, node.inputs[0].specs[0].shape[1:])
            entries = (table >= 0).sum(axis=1)
            rule = "windows that hold more than padding"
            expect(bool(entries.all()), "linear_regions", rule, operation=op)
            lines = int((entries * (entries - 1) // 2).sum())  # of each pair of a window
        elif bent is not None:
            lines = units * len(bent.kinks)
        else:
            return
        self.layers.append((node.layer or node.name, units, lines))
        self.is_relu_chain &= isinstance(op, ReLU)

    def run(self) -> list[Part]:
        """Cut by one operation after the other; give the parts that are left at the end."""
        parts = [Part(_SQUARE, (-1,) * 4, dict(self._start), ())]
        layer = 0
        for node in self.graph:
            if node.op is None or id(node) not in self.live:
                continue
            if id(node) not in self._tables and pieces(node.op) is None:
                for part in parts:
                    part.values[id(node)] = self._affine(node, part)
                continue
            cut = self._compete if id(node) in self._tables else self._bend
            found: list[Part] = []
            for part in parts:
                found += cut(part, node, layer)
                self._limited(len(found))
            parts = found
            layer += 1
        return parts

    def _limited(self, cells: int) -> None:
        hint = "take a smaller plane or network, or a higher limit"
        rule = f"at most {self.limit} cells"
        expect(cells <= self.limit, "linear_regions", rule, hint=hint)

    def _run(self, node: GraphNode, values: dict[int, Array], op: Op | None = None) -> Array:
        arrays = [values[id(n)] for n in node.inputs]
        runs: Any = op or node.op
        return np.asarray(runs.forward(np, *arrays)[0][0])

    def _affine(self, node: GraphNode, part: Part) -> tuple[Array, Array]:
        """Run an affine operation on the three points, and on the sizes of its terms."""
        found = {key: value for key, (value, _) in part.values.items()}
        sizes = {key: size for key, (_, size) in part.values.items()}
        for n in node.inputs:
            if id(n) in self._constants:
                found[id(n)] = self._constants[id(n)]
                sizes[id(n)] = np.abs(found[id(n)])
        if isinstance(node.op, BatchNorm):  # whose mean is taken away: sizes add up
            sizes[id(node.inputs[1])] = -sizes[id(node.inputs[1])]
        adds = Add(abs(node.op.alpha)) if isinstance(node.op, Add) else None
        return self._run(node, found), np.abs(self._run(node, sizes, adds))

    def _pieces(self, node: GraphNode) -> Pieces:
        """Give an activation's pieces, with PReLU's own slopes."""
        bent = pieces(node.op) if node.op is not None else None
        assert bent is not None
        if isinstance(node.op, PReLU):
            weight, shape = self._constants[id(node.inputs[1])], node.specs[0].shape[1:]
            weight = weight.reshape(-1, *[1] * (len(shape) - 1))
            return bent._replace(slopes=(np.broadcast_to(weight, shape).ravel(), 1.0))
        return bent

    def _bend(self, part: Part, node: GraphNode, layer: int) -> list[Part]:
        """Cut a part by the kinks of all units, and bend the values of what it falls into."""
        bent = self._pieces(node)
        value, size = part.values[id(node.inputs[0])]
        z, sizes = value.reshape(3, -1), size.reshape(3, -1).max(axis=0)  # (3, n), (n,)
        slopes = z[1:] - z[0]  # (2, n)
        lengths = np.hypot(*slopes)
        lengths[lengths == 0] = 1.0  # a value that is the same all over crosses nothing
        parts = [(part.corners, part.edges)]
        for kink in bent.kinks:
            distances = (z[0] - kink + part.corners @ slopes) / lengths  # (k, n)
            thin = np.maximum(_THIN, _ROUNDING * sizes / lengths)
            crossed = (distances.max(axis=0) > thin) & (distances.min(axis=0) < -thin)
            doubtful = (distances.max(axis=0) > _SURE) & (distances.min(axis=0) < -_SURE) & ~crossed
            self._decided(node, doubtful & (lengths > _NOISE * sizes))
            for unit in np.flatnonzero(crossed):
                line = slopes[:, unit] / lengths[unit], (z[0, unit] - kink) / lengths[unit]
                cut = (layer, int(unit))
                parts = [half for each in parts for half in self._halves(*each, line, cut)]
                self._limited(len(parts))
        found = []
        for corners, edges in parts:
            middle = z[0] + corners.mean(axis=0) @ slopes
            above = [middle - kink > _ROUNDING * sizes for kink in bent.kinks]
            pattern = np.asarray(np.sum(above, axis=0), dtype=np.int8)
            slope, height = np.choose(pattern, bent.slopes), np.take(bent.heights, pattern)
            y = (z * slope + height).reshape(value.shape)
            terms = (size.reshape(3, -1) * np.abs(slope) + np.abs(height)).reshape(value.shape)
            found.append(self._next(part, (corners, edges), node, (y, terms), pattern))
        return found

    def _decided(self, node: GraphNode, doubtful: Array) -> None:
        """Refuse where float64 does not tell whether a kink goes through a cell."""
        units = np.flatnonzero(doubtful)
        if len(units):
            where = f"layer {node.layer!r}" if node.layer else node.name
            rule = (
                f"cells that float64 can tell apart; the kink of unit {units[0]} of {where} cuts "
                "off less than 1e-9 of the rectangle's side"
            )
            hint = "take a smaller rectangle, nearer to the origin, or one that is moved a little"
            raise failure("linear_regions", rule, hint=hint)

    def _next(
        self,
        part: Part,
        polygon: Polygon,
        node: GraphNode,
        values: tuple[Array, Array],
        pattern: Array,
    ) -> Part:
        """Give what a part becomes behind a node: the values that are read later, and the new."""
        later = self._later[id(node)]
        kept = {key: value for key, value in part.values.items() if key in later}
        return Part(*polygon, {**kept, id(node): values}, (*part.pattern, pattern))

    def _compete(self, part: Part, node: GraphNode, layer: int) -> list[Part]:
        """Cut a part by which entry of each window is the largest."""
        table, shape = self._tables[id(node)], (3, *node.specs[0].shape[1:])
        value, size = part.values[id(node.inputs[0])]
        z, terms = value.reshape(3, -1), size.reshape(3, -1)
        slopes, sizes = z[1:] - z[0], terms.max(axis=0)
        parts: list[Polygon] = [(part.corners, part.edges)]
        for unit in self._undecided(table, z[0] + part.corners @ slopes, sizes):
            entries = table[unit][table[unit] >= 0]
            maps = slopes[:, entries], z[0, entries], sizes[entries]
            contest = Contest(maps, _half, (_THIN, _ROUNDING))
            parts = [each for one in parts for each in self._shared(contest, one, layer, unit)]
            self._limited(len(parts))
        found = []
        for polygon in parts:
            winners = _winners(table, z[0] + polygon[0].mean(axis=0) @ slopes, sizes)
            chosen = table[np.arange(len(table)), winners]
            values = z[:, chosen].reshape(shape), terms[:, chosen].reshape(shape)
            found.append(self._next(part, polygon, node, values, winners))
        return found

    def _undecided(self, table: Array, values: Array, sizes: Array) -> list[int]:
        """Give the windows in which no entry is the largest at all corners, where `values` are."""
        winners = _winners(table, values.mean(axis=0), sizes)
        winner = table[np.arange(len(table)), winners]
        ahead = values[:, winner, None] - values[:, table]  # (corners, windows, entries)
        slack = _ROUNDING * (sizes[winner, None] + sizes[table])
        behind = (ahead < -slack).any(axis=0) & (table >= 0)
        return [int(unit) for unit in np.flatnonzero(behind.any(axis=1))]

    def _shared(self, contest: Contest, polygon: Polygon, layer: int, unit: int) -> list[Polygon]:
        """Part a polygon by who wins a window there, and keep the cuts."""
        parts, ends = contest.shares(polygon)
        if len(parts) < 2:
            return [polygon]
        numbers = {edge: len(self.cuts) + k for k, edge in enumerate(ends)}
        self.cuts += [Cut(layer, unit, segment) for segment in ends.values()]
        return [
            (corners, tuple(numbers.get(edge, edge) for edge in edges)) for corners, edges in parts
        ]

    def _halves(
        self,
        corners: Array,
        edges: tuple[int, ...],
        line: tuple[Array, Any],
        cut: tuple[int, int],
    ) -> list[tuple[Array, tuple[int, ...]]]:
        """Part a convex polygon by a line: two of them, or itself where the line misses it."""
        distances = corners @ line[0] + line[1]
        distances[np.abs(distances) <= _THIN] = 0.0
        if distances.max() <= 0 or distances.min() >= 0:
            return [(corners, edges)]
        number = len(self.cuts)
        below, on_line = _half(corners, edges, -distances, number)
        above, _ = _half(corners, edges, distances, number)
        along = on_line @ [-line[0][1], line[0][0]]
        self.cuts.append(Cut(*cut, on_line[[along.argmin(), along.argmax()]]))
        return [below, above]


def _winners(table: Array, values: Array, sizes: Array) -> Array:
    """Give the entry of each window that is the largest; of those that are alike the first."""
    there = np.where(table >= 0, values[table], -np.inf)
    slack = np.where(table >= 0, _ROUNDING * sizes[table], 0.0)
    place = there.argmax(axis=1)[:, None]
    least = np.take_along_axis(there - slack, place, axis=1)
    winners: Array = (there + slack >= least).argmax(axis=1)
    return winners.astype(np.int8 if table.shape[1] < 128 else np.int32)


def _half(
    corners: Array, edges: tuple[int, ...], distances: Array, number: int
) -> tuple[tuple[Array, tuple[int, ...]], Array]:
    """Keep the half where distances are positive; give it, and the corners that lie on the line."""
    kept: list[Array] = []
    sides: list[int] = []
    ends: list[Array] = []
    count = len(corners)
    for i in range(count):
        p, q = corners[i], corners[(i + 1) % count]
        d, e = distances[i], distances[(i + 1) % count]
        if d > 0:
            kept.append(p)
            sides.append(edges[i])
        elif d == 0:  # the new side begins here if what follows is cut off
            kept.append(p)
            sides.append(edges[i] if e > 0 else number)
            ends.append(p)
        if d * e < 0:
            point = _between(p, q, d, e)
            kept.append(point)
            sides.append(number if d > 0 else edges[i])
            ends.append(point)
    return (np.array(kept), tuple(sides)), np.array(ends)


def _between(p: Array, q: Array, d: float, e: float) -> Array:
    """Give the point of the side where the distance is 0, the same from both directions."""
    if tuple(p) > tuple(q):
        p, q, d, e = q, p, e, d
    return np.asarray(p + (d / (d - e)) * (q - p))
