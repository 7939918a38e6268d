"""Where Graphviz puts the boxes and wires of a picture, and the picture with links in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from chainrule.inspection.circuits.layout import (
    LINE,
    Layout,
    Place,
    Point,
    arranged,
    box_sizes,
    routed,
)
from chainrule.inspection.circuits.picture import Link, Picture
from chainrule.inspection.circuits.svg import Anchor, local_label, svg_of

MOST_BOXES, MOST_SPAN = 1000, 2500
"""Boxes, and ranks that all links cross together: what Graphviz places in half a second.

It lets nothing else run meanwhile, so larger pictures get the layout of `circuits/layout.py`.
"""

_INCH = 72.0  # Graphviz measures boxes in inches and places in points
_MARGIN = 16.0
_WIDE, _SMALL = 7.9, 6.7  # pixels of the widest letter of a label, and of a small label
_LABEL = 18.0  # pixels that a label reaches above its wire, and below
_ROOM = 16.0  # pixels of a wire on both sides of its label
_LOCK = threading.Lock()  # the library keeps its state in globals


def graph_svg(picture: Picture, title: str, anchors: Sequence[Anchor | None]) -> str:
    """Draw a picture as SVG whose boxes are links, placed by Graphviz."""
    return svg_of(picture, placed(picture), title, anchors)


def placed(picture: Picture) -> Layout:
    """Give every box its place and every wire its way, by Graphviz's `dot`.

    From left to right, folded pictures from top to bottom.  What Graphviz places are boxes with
    the labels at them, so that no label lies on a box.  Only sizes are handed over: nothing that a
    user wrote reaches the library.

    >>> from chainrule.inspection.circuits.picture import Box, Link
    >>> two = Picture([Box("x", "source"), Box("f", "output")], [Link(0, 1, "2", "1")])
    >>> layout = placed(two)
    >>> layout.places[0].x < layout.places[1].x, len(layout.routes[0]) >= 2
    (True, True)
    """
    if len(picture.boxes) > MOST_BOXES or _span(picture) > MOST_SPAN:
        return arranged(picture)
    frames = _frames(picture)
    width, height, middles, bends = _asked(picture, frames)
    places = [frame.box(middle) for frame, middle in zip(frames, middles, strict=True)]
    routes = routed(picture, places, bends)
    if picture.folded:
        routes = _stacked(picture, routes)
    else:
        routes = _straight(picture, routes, frames, middles)
    return Layout(width + 2 * _MARGIN, height + 2 * _MARGIN, places, routes)


def _span(picture: Picture) -> int:
    """Count the ranks that the links cross: Graphviz works on a point for each."""
    leads: dict[int, list[int]] = {}
    for link in picture.links:
        leads.setdefault(link.start, []).append(link.end)
    ranks = [0] * len(picture.boxes)
    for number in range(len(ranks)):  # boxes come after those that lead to them
        for end in leads.get(number, ()):
            ranks[end] = max(ranks[end], ranks[number] + 1)
    return sum(ranks[link.end] - ranks[link.start] for link in picture.links)


class _Frame(NamedTuple):
    """A box, and the room that the labels at it take on each side of it."""

    width: float
    height: float
    left: float = 0.0
    right: float = 0.0
    above: float = 0.0
    below: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Give the width and height of box and labels together."""
        return self.left + self.width + self.right, self.above + self.height + self.below

    def box(self, middle: Point) -> Place:
        """Give the place of the box itself where that of the whole is known."""
        x, y = middle
        x, y = x + (self.left - self.right) / 2, y + (self.above - self.below) / 2
        return Place(x, y, self.width, self.height)


def _frames(picture: Picture) -> list[_Frame]:
    sizes = box_sizes(picture)
    leaving: list[list[Link]] = [[] for _ in sizes]
    arriving: list[list[Link]] = [[] for _ in sizes]
    for link in picture.links:
        leaving[link.start].append(link)
        arriving[link.end].append(link)
    frame = _frame_down if picture.folded else _frame_right
    return [frame(*each) for each in zip(sizes, leaving, arriving, strict=True)]


def _frame_right(size: Point, leaving: list[Link], arriving: list[Link]) -> _Frame:
    """Give a box with its outgoing labels on the right and the local derivatives on the left."""
    after = max(map(_stretch, leaving), default=0.0)
    before = max(map(_local_room, arriving), default=0.0)
    over = max(0.0, _LABEL - LINE / 2)
    return _Frame(*size, before, after, over, over)


def _stretch(link: Link) -> float:
    """Give the length of a wire's straight beginning, which carries its labels."""
    return _WIDE * max(len(link.above), len(link.below)) + _ROOM


def _local_room(link: Link) -> float:
    return _SMALL * len(local_label(link)) + _ROOM if link.local else 0.0


def _frame_down(size: Point, leaving: list[Link], _: list[Link]) -> _Frame:
    """Give a box with its outgoing labels below it, one a line, right of the middle."""
    lines = list(dict.fromkeys(link.above for link in leaving if link.above))
    side = max(0.0, _SMALL * max(map(len, lines), default=0) + _ROOM - size[0] / 2)
    return _Frame(*size, side, side, below=LINE * (len(lines) + 1) if lines else 0.0)


def _asked(
    picture: Picture, frames: list[_Frame]
) -> tuple[float, float, list[Point], list[list[Point]]]:
    """Ask Graphviz: the size of the whole, the middles of the frames, the bends of the wires."""
    with _LOCK:
        graph = _graph(picture, frames)
        graph.layout(prog="dot")
        _, _, width, height = map(float, graph.graph_attr["bb"].split(","))
        middles = [
            _turned(graph.get_node(number).attr["pos"], height) for number in range(len(frames))
        ]
        bends = [
            _bends(graph.get_edge(link.start, link.end, key=k), height)
            for k, link in enumerate(picture.links)
        ]
    return width, height, middles, bends


def _graph(picture: Picture, frames: list[_Frame]) -> Any:
    graph = import_module("pygraphviz").AGraph(
        directed=True,
        strict=False,
        rankdir="TB" if picture.folded else "LR",
        ranksep="0.4",
        nodesep="0.2",
        nslimit="1",  # rounds of its network simplex, a box
        mclimit="0.3",  # of its search for fewer crossings
    )
    graph.node_attr.update(shape="box", fixedsize="true", label="")
    if not picture.folded:
        graph.edge_attr.update(tailport="e", headport="w")
    for number, frame in enumerate(frames):
        width, height = (f"{side / _INCH:.4f}" for side in frame.size)
        graph.add_node(number, width=width, height=height)
    for k, link in enumerate(picture.links):
        graph.add_edge(link.start, link.end, key=k)
    return graph


def _turned(spot: str, height: float) -> Point:
    """Read a point, whose height Graphviz counts from below."""
    x, y = map(float, spot.split(","))
    return x + _MARGIN, height - y + _MARGIN


def _bends(edge: Any, height: float) -> list[Point]:
    """Read where a wire's curve has its knots, without its ends: every third of its points."""
    words = [word for word in edge.attr["pos"].split() if word[0] not in "es"]
    return [_turned(word, height) for word in words[3:-1:3]]


def _straight(
    picture: Picture, routes: list[list[Point]], frames: list[_Frame], middles: list[Point]
) -> list[list[Point]]:
    """Lead wires straight along their labels, and past their neighbours, before they bend."""
    deep: dict[int, float] = {}  # half the depth of each rank, whose frames have one middle
    for frame, (x, _) in zip(frames, middles, strict=True):
        deep[round(x)] = max(deep.get(round(x), 0.0), frame.size[0] / 2)
    found = []
    for link, route in zip(picture.links, routes, strict=True):
        begin, end = route[0], route[-1]
        x, u = middles[link.start][0], middles[link.end][0]
        out, back = x + deep[round(x)], u - deep[round(u)]
        between = [point for point in route[2:-1] if out < point[0] < back]
        first = (begin[0] + _stretch(link), begin[1])
        found.append([begin, first, (out, begin[1]), *between, (back, end[1]), end])
    return found


def _stacked(picture: Picture, routes: list[list[Point]]) -> list[list[Point]]:
    """Give each other label below a box a line of its own; those that say the same share one."""
    lines: dict[int, list[str]] = {}
    found = []
    for link, route in zip(picture.links, routes, strict=True):
        said = lines.setdefault(link.start, [])
        if link.above not in said:
            said.append(link.above)
        x, y = route[0]
        found.append([(x, y), (x, y + LINE * (1 + 2 * said.index(link.above))), *route[2:]])
    return found
