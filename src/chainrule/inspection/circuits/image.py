"""A circuit as PNG, drawn by matplotlib at the places of the SVG."""

from __future__ import annotations

import importlib
from itertools import pairwise
from typing import Any

from chainrule.inspection.circuits.layout import LINE, Layout, Point
from chainrule.inspection.circuits.picture import Link, Picture
from chainrule.inspection.circuits.svg import (
    FILLS,
    GRADIENT,
    LOCAL,
    VALUE,
    below,
    label_spot,
    legend,
    local_label,
    size_of,
)
from chainrule.inspection.figures import extra, figure_png

_DOTS = 100  # an inch
_SMALL_LETTER = 6.4  # pixels of a letter's width in the legend
_SCALE = 2.0  # pixels of the PNG for one of the layout
_MOST_PIXELS = 2**15  # a side, beyond which other programs give up


def png_of(picture: Picture, layout: Layout) -> bytes:
    """Draw the picture; raises DataError without matplotlib."""
    figures = extra("matplotlib.figure", "PNG pictures are drawn")
    width, height = size_of(picture, layout)
    scale = min(_SCALE, _MOST_PIXELS / max(width, height))
    figure = figures.Figure(figsize=(width / _DOTS, height / _DOTS), dpi=_DOTS * scale)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    for route in layout.parts():
        _wire(axes, route, picture.folded)
    for link, route in zip(picture.links, layout.routes, strict=True):
        if not picture.folded:
            _labels(axes, link, route)
    _boxes(axes, picture, layout)
    _legend(axes, picture, layout)
    return figure_png(figure)


def _wire(axes: Any, route: list[Point], down: bool) -> None:
    paths = importlib.import_module("matplotlib.path")
    patches = importlib.import_module("matplotlib.patches")
    points, codes = [route[0], route[1]], [paths.Path.MOVETO, paths.Path.LINETO]
    for (x, y), (u, v) in pairwise(route[1:]):
        middle = (y + v) / 2 if down else (x + u) / 2
        points += [(x, middle), (u, middle)] if down else [(middle, y), (middle, v)]
        points.append((u, v))
        codes += [paths.Path.CURVE4] * 3
    axes.add_patch(
        patches.FancyArrowPatch(
            path=paths.Path(points, codes), arrowstyle="-|>", mutation_scale=8, color="#80868b"
        )
    )


def _labels(axes: Any, link: Link, route: list[Point]) -> None:
    (x, y), last = label_spot(route), route[-1]
    _text(axes, x, y - 10, link.above, VALUE)
    _text(axes, x, y + 10, link.below, GRADIENT)
    if link.local:
        _text(axes, last[0] - 10, last[1] - 8, local_label(link), LOCAL, 7, "right")


def _boxes(axes: Any, picture: Picture, layout: Layout) -> None:
    patches = importlib.import_module("matplotlib.patches")
    for box, place in zip(picture.boxes, layout.places, strict=True):
        corner = min(place.width, place.height) / 2 if box.kind == "gate" else 6
        axes.add_patch(
            patches.FancyBboxPatch(
                (place.x - place.width / 2, place.y - place.height / 2),
                *(place.width, place.height),
                boxstyle=f"round,pad=0,rounding_size={corner}",
                facecolor=FILLS[box.kind],
                edgecolor="#3c4043",
                zorder=3,
            )
        )
        _text(axes, *below(place), box.gives, VALUE, 8, "left")
        y = place.y - LINE * len(box.lines) / 2
        _text(axes, place.x, y, box.title, "#202124")
        for line in box.lines:
            y += LINE
            _text(axes, place.x, y, line, GRADIENT if line.startswith("sum ") else LOCAL, 8)


def _legend(axes: Any, picture: Picture, layout: Layout) -> None:
    y = layout.height + 2
    for row in legend(picture):
        x = 8.0
        for text, colour in row:
            _text(axes, x, y, text, colour, 8, "left")
            x += _SMALL_LETTER * (len(text) + 3)
        y += LINE


def _text(
    axes: Any, x: float, y: float, text: str, colour: str, size: int = 9, side: str = "center"
) -> None:
    if text:
        axes.text(
            *(x, y, text),
            color=colour,
            fontsize=size * 0.72 * 1.39,
            family="monospace",
            ha=side,
            va="center",
            zorder=4,
            parse_math=False,
        )
