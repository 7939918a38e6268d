"""A circuit as SVG: values above the wires, gradients below them, the local derivative at gates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from chainrule.inspection.circuits.layout import LINE, Layout, Place, Point
from chainrule.inspection.circuits.picture import Box, Link, Picture

BETWEEN = " \N{MIDDLE DOT} "  # what is told in a legend
_SMALL_LETTER = 6.7  # pixels of a letter's width there
VALUE, GRADIENT, LOCAL = "#0b6623", "#b3261e", "#5f6368"  # told apart by their places too
FILLS = {
    "source": "#e8f0fe",
    "constant": "#f1f3f4",
    "gate": "#fff8e1",
    "group": "#fff8e1",
    "output": "#e6f4ea",
}

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # no XML may hold them
# Within a page these rules are the page's: each names an element that no HTML has.
_STYLE = f"""
text {{ font: 13px ui-monospace, Consolas, Menlo, monospace; fill: #202124; text-anchor: middle; }}
text.value, text.gradient, text.local {{ paint-order: stroke; stroke: white; stroke-width: 3px; }}
text.beside {{ text-anchor: start; font-size: 11px; }}
rect.box {{ stroke: #3c4043; stroke-width: 1.2; }}
path.wire {{ fill: none; stroke: #80868b; stroke-width: 1.4; }}
text.value {{ fill: {VALUE}; }}
text.gradient {{ fill: {GRADIENT}; }}
text.fresh {{ font-weight: bold; }}
text.local {{ fill: {LOCAL}; font-size: 11px; font-style: italic; text-anchor: end; }}
text.note {{ font-size: 11px; fill: {LOCAL}; }}
text.legend {{ text-anchor: start; font-size: 11px; }}
"""


class Anchor(NamedTuple):
    """A box that is a link within a page: where it leads, what it says, whether it is chosen.

    `now` marks the box at which a walk through the picture has arrived.
    """

    name: str
    address: str
    label: str
    chosen: bool = False
    now: bool = False


def svg_of(
    picture: Picture,
    layout: Layout,
    title: str = "circuit",
    anchors: Sequence[Anchor | None] = (),
) -> str:
    """Write the picture: an XML document that needs nothing else.

    `anchors` make links of boxes, one a box, None for those that are none.
    """
    width, height = size_of(picture, layout)
    parts = [_head(round(width), round(height), title)]
    parts += [_wire(route, picture.folded) for route in layout.parts()]
    for link, route in zip(picture.links, layout.routes, strict=True):
        parts += [] if picture.folded else _labels(link, route)
    for box, place in zip(picture.boxes, layout.places, strict=True):
        if box.gives:
            x, y = below(place)
            parts.append(_text(x, y + 4, box.gives, "value beside"))
    for box, place, anchor in zip_longest(picture.boxes, layout.places, anchors):
        drawn = _box(box, place)
        parts.append(drawn if anchor is None else _linked(drawn, anchor))
    parts += _legend(picture, layout)
    text = "\n".join([*parts, "</svg>", ""])
    # An image has no parts for a screen reader; one with links is a group of them.
    return text.replace('role="img"', 'role="group"', 1) if anchors else text


def _linked(drawn: str, anchor: Anchor) -> str:
    chosen = ' aria-current="true"' if anchor.chosen else ""
    kind = "gate-link now" if anchor.now else "gate-link"
    return (
        f'<a class="{kind}" id={quoteattr(anchor.name)} href={quoteattr(anchor.address)} '
        f'data-swap="" aria-label={quoteattr(anchor.label)}{chosen}>\n{drawn}\n</a>'
    )


def _head(width: int, height: int, title: str) -> str:
    said = escape(_CONTROLS.sub("", title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">\n<title>{said}</title>\n'
        f"<style>{_STYLE}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#80868b"/></marker></defs>'
        f'\n<rect width="{width}" height="{height}" fill="white"/>'
    )


def _wire(route: list[Point], down: bool) -> str:
    (x, y), (u, v) = route[0], route[1]
    path = f"M{x:.1f},{y:.1f} L{u:.1f},{v:.1f}" + "".join(
        _curve(one, other, down) for one, other in pairwise(route[1:])
    )
    return f'<path class="wire" d="{path}" marker-end="url(#tip)"/>'


def _labels(link: Link, route: list[Point]) -> list[str]:
    (x, y), last = label_spot(route), route[-1]
    lines = []
    if link.above:
        lines.append(_text(x, y - 5, link.above, _fresh("value", link.fresh == "above")))
    if link.below:
        lines.append(_text(x, y + 14, link.below, _fresh("gradient", link.fresh == "below")))
    if link.local:
        lines.append(_text(last[0] - 10, last[1] - 4, local_label(link), "local"))
    return lines


def _fresh(kind: str, fresh: bool) -> str:
    return f"{kind} fresh" if fresh else kind


def local_label(link: Link) -> str:
    """Write the local derivative as it stands at a gate."""
    return f"\N{PARTIAL DIFFERENTIAL}={link.local}"


def below(place: Place) -> Point:
    """Give where it stands what leaves a box downwards."""
    return place.x + 8, place.y + place.height / 2 + LINE / 2 + 6


def label_spot(route: list[Point]) -> Point:
    """Give the middle of a link's first stretch, where its labels stand."""
    (x, y), (u, v) = route[0], route[1]
    return (x + u) / 2, (y + v) / 2


def _curve(one: Point, other: Point, down: bool) -> str:
    (x, y), (u, v) = one, other
    if down:
        middle = (y + v) / 2
        return f" C{x:.1f},{middle:.1f} {u:.1f},{middle:.1f} {u:.1f},{v:.1f}"
    middle = (x + u) / 2
    return f" C{middle:.1f},{y:.1f} {middle:.1f},{v:.1f} {u:.1f},{v:.1f}"


def _box(box: Box, place: Place) -> str:
    left, top = place.x - place.width / 2, place.y - place.height / 2
    round_ = min(place.width, place.height) / 2 if box.kind == "gate" else 6
    lines = [
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" '
        f'height="{place.height:.1f}" rx="{round_:.1f}" fill="{FILLS[box.kind]}"/>'
    ]
    y = place.y + 4.5 - LINE * len(box.lines) / 2
    lines.append(_text(place.x, y, box.title))
    for line in box.lines:
        y += LINE
        summed = line.startswith("sum ")
        lines.append(_text(place.x, y, line, "gradient" if summed else "note"))
    return "\n".join(lines)


def legend(picture: Picture) -> list[list[tuple[str, str]]]:
    """Give the rows below a picture: texts and their colours."""
    if picture.folded:
        return [[("below each box: what leaves it", VALUE)]]
    told = [
        ("value above", VALUE),
        ("gradient below", GRADIENT),
        ("\N{PARTIAL DIFFERENTIAL} local derivative at gates", LOCAL),
    ]
    return [told, [(picture.note, GRADIENT)]] if picture.note else [told]


def size_of(picture: Picture, layout: Layout) -> tuple[float, float]:
    """Give the width and height of a picture with its legend."""
    rows = legend(picture)
    letters = max(sum(len(text) + len(BETWEEN) for text, _ in row) for row in rows)
    return max(layout.width, _SMALL_LETTER * letters + 16), layout.height + LINE * len(rows)


def _legend(picture: Picture, layout: Layout) -> list[str]:
    lines, y = [], layout.height + 6
    for row in legend(picture):
        spans = BETWEEN.join(f'<tspan fill="{c}">{_said(text)}</tspan>' for text, c in row)
        lines.append(f'<text class="legend" x="8" y="{y:.1f}">{spans}</text>')
        y += LINE
    return lines


def _said(text: str) -> str:
    return escape(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text))


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}">{_said(text)}</text>'
