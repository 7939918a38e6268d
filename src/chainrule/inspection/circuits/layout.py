"""Where boxes stand: in ranks by the longest way from a source, crossings kept few.

Source: the layered drawing of Sugiyama, Tagawa and Toda (1981), its ordering by barycentres.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chainrule.inspection.circuits.picture import Picture

LETTER, LINE = 7.3, 17.0  # pixels of a letter's width and of a line's height
_GAP, _ROOM = 26.0, 34.0  # between boxes of a rank; around the labels of a link
_SWEEPS = 6
_CROWD = 800.0  # all links that pass a row of a folded picture
_WAY_OUT, _WAY_IN = 40.0, 24.0  # between links that leave a box, and that reach it

Point = tuple[float, float]


@dataclass
class Place:
    """The middle of a box and its size, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass
class Layout:
    """The picture's size, the place of each box, and the points of each link.

    A link's first stretch is straight and carries its labels; then it bends from point to point.
    """

    width: float
    height: float
    places: list[Place]
    routes: list[list[Point]]

    def parts(self) -> Iterator[list[Point]]:
        """Give of each route what those before have not drawn: long links of a box go together."""
        drawn: set[tuple[Point, Point]] = set()
        for route in self.routes:
            first = 0
            while first < len(route) - 2 and (route[first], route[first + 1]) in drawn:
                first += 1
            drawn.update(pairwise(route))
            yield [route[first], *route[first:]] if first else route  # no straight stretch there


def arranged(picture: Picture) -> Layout:
    """Give every box its place: from left to right, folded pictures from top to bottom."""
    ranks = ranks_of(picture)
    rows, chains = _rows(picture, ranks)
    _order(rows, chains)
    sizes = box_sizes(picture)
    down = picture.folded
    along = [(h if down else w) for w, h in sizes]
    across = [(w if down else h) for w, h in sizes]
    room = _rooms(picture, ranks, len(rows), down)
    spots = _spots(rows, along, across, room, _passing(rows, len(sizes), down))
    depth = max(a for a, _ in spots.values()) + max(along) / 2 + _GAP
    breadth = max(c + (across[n] if n < len(across) else 0) / 2 for n, (_, c) in spots.items())
    breadth += _GAP
    places = []
    for number, (w, h) in enumerate(sizes):
        a, c = spots[number]
        places.append(Place(c, a, w, h) if down else Place(a, c, w, h))
    bends = [[_turned(spots[n], down) for n in chain[1:-1]] for chain in chains]
    if down:  # straight past the boxes of a row
        half = max(along) / 2
        bends = [[(x, y + side) for x, y in points for side in (-half, half)] for points in bends]
    routes = routed(picture, places, bends)
    width, height = (breadth, depth) if down else (depth, breadth)
    beside = [p.x + LETTER * len(b.gives) for p, b in zip(places, picture.boxes, strict=True)]
    return Layout(max(width, *beside), height, places, routes)


def routed(picture: Picture, places: list[Place], bends: list[list[Point]]) -> list[list[Point]]:
    """Give each link's points, from box to box over its bends; see `Layout`."""
    return (_down if picture.folded else _right)(picture, places, bends)


def _down(picture: Picture, places: list[Place], bends: list[list[Point]]) -> list[list[Point]]:
    """Lead links from the middle of one box's bottom to the middle of another's top."""
    routes = []
    for link, between in zip(picture.links, bends, strict=True):
        one, other = places[link.start], places[link.end]
        first = (one.x, one.y + one.height / 2)
        last = (other.x, other.y - other.height / 2)
        routes.append([first, (first[0], first[1] + LINE), *between, last])
    return routes


def _right(picture: Picture, places: list[Place], bends: list[list[Point]]) -> list[list[Point]]:
    """Lead links from ways out on the right of boxes to ways in on the left, in their order."""
    leaving: dict[int, list[int]] = {}
    arriving: dict[int, list[int]] = {}
    for k, link in enumerate(picture.links):
        leaving.setdefault(link.start, []).append(k)
        arriving.setdefault(link.end, []).append(k)
    outs, ins = [0.0] * len(picture.links), [0.0] * len(picture.links)
    for box, links in leaving.items():
        heights = [(bends[k] or [(0, places[picture.links[k].end].y)])[0][1] for k in links]
        for turn, i in enumerate(np.argsort(heights, kind="stable").tolist()):
            outs[links[i]] = places[box].y + _WAY_OUT * (turn - (len(links) - 1) / 2)
    for box, links in arriving.items():
        heights = [bends[k][-1][1] if bends[k] else outs[k] for k in links]
        for turn, i in enumerate(np.argsort(heights, kind="stable").tolist()):
            ins[links[i]] = places[box].y + _WAY_IN * (turn - (len(links) - 1) / 2)
    routes = []
    for k, link in enumerate(picture.links):
        one, other = places[link.start], places[link.end]
        begin, end = one.x + one.width / 2, other.x - other.width / 2
        straight = LETTER * max(len(link.above), len(link.below)) + 16
        routes.append([(begin, outs[k]), (begin + straight, outs[k]), *bends[k], (end, ins[k])])
    return routes


def _turned(spot: Point, down: bool) -> Point:
    return (spot[1], spot[0]) if down else spot


def ranks_of(picture: Picture) -> list[int]:
    """Rank boxes by the longest way to them; sources stand just before their first reader."""
    ranks = [0] * len(picture.boxes)
    leads: dict[int, list[int]] = {}
    for link in picture.links:
        leads.setdefault(link.start, []).append(link.end)
    for number in range(len(picture.boxes)):  # boxes come after those that lead to them
        for end in leads.get(number, ()):
            ranks[end] = max(ranks[end], ranks[number] + 1)
    for number, box in enumerate(picture.boxes):
        if box.kind in ("source", "constant") and number in leads:
            ranks[number] = min(ranks[end] for end in leads[number]) - 1
    return ranks


def _rows(picture: Picture, ranks: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """Put boxes into rows by rank, and a point of its own wherever a long link passes a row.

    In a folded picture the long links of one box go together until they part.
    """
    rows: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
    for number, rank in enumerate(ranks):
        rows[rank].append(number)
    chains, fresh = [], len(ranks)
    shared: dict[tuple[int, int], int] = {}
    for link in picture.links:
        chain = [link.start]
        for rank in range(ranks[link.start] + 1, ranks[link.end]):
            point = shared.get((link.start, rank), fresh)
            chain.append(point)
            if point == fresh:
                rows[rank].append(fresh)
                fresh += 1
            if picture.folded:
                shared[link.start, rank] = point
        chains.append([*chain, link.end])
    return rows, chains


def _order(rows: list[list[int]], chains: list[list[int]]) -> None:
    """Sort each row by the middle of its neighbours in the row before, and after, in turns."""
    before: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    for chain in chains:
        for one, other in pairwise(chain):
            before.setdefault(other, []).append(one)
            after.setdefault(one, []).append(other)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        near = before if forward else after
        where = {n: k for row in rows for k, n in enumerate(row)}
        for row in rows if forward else reversed(rows):
            middles = [_middle([where[m] for m in near.get(n, ())], where[n]) for n in row]
            row[:] = [row[k] for k in np.argsort(middles, kind="stable").tolist()]
            where.update({n: k for k, n in enumerate(row)})


def _middle(places: list[int], own: int) -> float:
    return sum(places) / len(places) if places else float(own)


def _rooms(picture: Picture, ranks: list[int], count: int, down: bool) -> list[float]:
    """Give the room before each rank: that of the longest label there."""
    room = [3 * LINE if down else 2 * _ROOM] * count
    for link in picture.links:
        if not down:
            length = max(len(link.above), len(link.below)) + len(link.local)
            rank = ranks[link.end]
            room[rank] = max(room[rank], LETTER * length + 2 * _ROOM)
    return room


def _passing(rows: list[list[int]], boxes: int, down: bool) -> float:
    """Give the room of a link that passes a row; in folded pictures many of them are crowded."""
    if not down:
        return _GAP * 1.8 + LINE
    many = max(sum(n >= boxes for n in row) for row in rows)
    return min(LINE, _CROWD / many) if many else LINE


def _spots(
    rows: list[list[int]],
    along: list[float],
    across: list[float],
    room: list[float],
    passing: float,
) -> dict[int, tuple[float, float]]:
    """Give every box its place along the ranks and across them; links that pass take `passing`."""
    sides = [*[size + _GAP * 1.8 for size in across], *[passing] * sum(map(len, rows))]
    spots: dict[int, tuple[float, float]] = {}
    at = _GAP
    breadths = [sum(sides[n] for n in row) for row in rows]
    most = max(breadths)
    for rank, row in enumerate(rows):
        deep = max([along[n] for n in row if n < len(along)], default=0.0)
        at += (room[rank] if rank else 0.0) + deep / 2
        side = _GAP + (most - breadths[rank]) / 2
        for n in row:
            spots[n] = (at, side + sides[n] / 2)
            side += sides[n]
        at += deep / 2
    return spots


def box_sizes(picture: Picture) -> list[tuple[float, float]]:
    """Give width and height of each box, in pixels, with room for the links that it has."""
    out, into = Counter(k.start for k in picture.links), Counter(k.end for k in picture.links)
    sizes = []
    for number, box in enumerate(picture.boxes):
        height = LINE * (1 + len(box.lines)) + 14
        if not picture.folded:
            ways = max(_WAY_OUT * (out[number] - 1), _WAY_IN * (into[number] - 1))
            height = max(height, ways + LINE)
        letters = max(map(len, (box.title, *box.lines)))
        sizes.append((max(LINE + 14, LETTER * letters + 18), height))
    return sizes
