"""Where Graphviz puts the boxes and wires of a picture, and the picture with links in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from chainrule.inspection.circuits.layout import LETTER, Layout, Place, Point, box_sizes, routed
from chainrule.inspection.circuits.picture import Picture
from chainrule.inspection.circuits.svg import Anchor, svg_of

_INCH = 72.0  # Graphviz measures boxes in inches and places in points
_RANK = 0.45  # inches between ranks; a link with long labels spans several
_MARGIN = 24.0
_LOCK = threading.Lock()  # the library keeps its state in globals


def graph_svg(picture: Picture, title: str, anchors: Sequence[Anchor | None]) -> str:
    """Draw a picture as SVG whose boxes are links, placed by Graphviz."""
    return svg_of(picture, placed(picture), title, anchors)


def placed(picture: Picture) -> Layout:
    """Give every box its place and every wire its way, by Graphviz's `dot`.

    From left to right, folded pictures from top to bottom.  Only sizes are handed over: nothing
    that a user wrote reaches the library.

    >>> from chainrule.inspection.circuits.picture import Box, Link
    >>> two = Picture([Box("x", "source"), Box("f", "output")], [Link(0, 1, "2", "1")])
    >>> layout = placed(two)
    >>> layout.places[0].x < layout.places[1].x, len(layout.routes[0]) >= 2
    (True, True)
    """
    down = picture.folded
    with _LOCK:
        graph = _graph(picture, "TB" if down else "LR")
        graph.layout(prog="dot")
        _, _, width, height = map(float, graph.graph_attr["bb"].split(","))
        places = [_place(graph, number, height) for number in range(len(picture.boxes))]
        bends = [
            _bends(graph.get_edge(link.start, link.end, key=k), height)
            for k, link in enumerate(picture.links)
        ]
    routes = routed(picture, places, bends)
    return Layout(width + 2 * _MARGIN, height + 2 * _MARGIN, places, routes)


def _graph(picture: Picture, direction: str) -> Any:
    graph = import_module("pygraphviz").AGraph(
        directed=True, strict=False, rankdir=direction, ranksep=str(_RANK), nodesep="0.35"
    )
    graph.node_attr.update(shape="box", fixedsize="true", label="")
    for number, (width, height) in enumerate(box_sizes(picture)):
        graph.add_node(number, width=f"{width / _INCH:.4f}", height=f"{height / _INCH:.4f}")
    for k, link in enumerate(picture.links):
        letters = max(len(link.above), len(link.below)) + len(link.local)
        room = 1.0 if picture.folded else (LETTER * letters + 80) / _INCH / _RANK
        graph.add_edge(link.start, link.end, key=k, minlen=str(max(1, round(room))))
    return graph


def _place(graph: Any, number: int, height: float) -> Place:
    attributes = graph.get_node(number).attr
    x, y = map(float, attributes["pos"].split(","))
    wide, high = (float(attributes[side]) * _INCH for side in ("width", "height"))
    return Place(x + _MARGIN, height - y + _MARGIN, wide, high)


def _bends(edge: Any, height: float) -> list[Point]:
    """Read where a wire's curve has its knots, without its ends: every third of its points."""
    words = [word for word in edge.attr["pos"].split() if word[0] not in "es"]
    knots = [tuple(map(float, word.split(","))) for word in words[3:-1:3]]
    return [(x + _MARGIN, height - y + _MARGIN) for x, y in knots]
