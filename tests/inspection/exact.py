"""Linear regions of networks of whole numbers, by fractions: slow, without any rounding."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from typing import Any

Point = tuple[Fraction, Fraction]
Map = tuple[Fraction, Fraction, Fraction]
"""a x + b y + c."""
ZERO: Map = (Fraction(0), Fraction(0), Fraction(0))


Step = tuple[str, Any, Any]
"""("affine", weight, bias), ("bent", slope below 0 of each unit, None), ("max", windows, None)."""


def count(layers: list[tuple[Any, Any]], box: tuple[int, int, int, int]) -> tuple[int, int]:
    """Count cells by pattern, and regions of one affine map; ReLU after all layers but the last."""
    steps: list[Step] = []
    for weight, bias in layers:
        steps += [("affine", weight, bias), ("bent", [0] * len(bias), None)]
    return count_steps(steps[:-1], box)


def count_steps(steps: list[Step], box: tuple[int, int, int, int]) -> tuple[int, int]:
    """Count cells by pattern, and regions of one affine map, of any steps in a row."""
    x0, x1, y0, y1 = map(Fraction, box)
    x, y = (Fraction(1), ZERO[1], ZERO[2]), (ZERO[0], Fraction(1), ZERO[2])
    cells: list[tuple[list[Point], list[Map]]] = [
        ([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], [x, y])
    ]
    for kind, first, second in steps:
        if kind == "affine":
            cells = [(polygon, affine(first, second, maps)) for polygon, maps in cells]
        elif kind == "bent":
            cells = [
                (part, bent(maps, pattern, first))
                for polygon, maps in cells
                for part, pattern in parted(polygon, maps)
            ]
        else:
            cells = [each for polygon, maps in cells for each in pooled(polygon, maps, first)]
    parent = list(range(len(cells)))

    def root(i: int) -> int:
        return i if parent[i] == i else root(parent[i])

    for i, j in combinations(range(len(cells)), 2):
        if cells[i][1] == cells[j][1] and root(i) != root(j) and touch(cells[i][0], cells[j][0]):
            parent[root(i)] = root(j)
    return len(cells), sum(parent[i] == i for i in range(len(cells)))


def bent(maps: list[Map], pattern: list[bool], slopes: list[Any]) -> list[Map]:
    """Affine maps as they are where they are above 0, else times a slope."""
    found = []
    for m, on, slope in zip(maps, pattern, slopes, strict=True):
        factor = Fraction(1 if on else int(slope))
        found.append((factor * m[0], factor * m[1], factor * m[2]))
    return found


def pooled(
    polygon: list[Point], maps: list[Map], windows: list[list[int]]
) -> list[tuple[list[Point], list[Map]]]:
    """The parts of a polygon by which map of each window is the largest, and these maps.

    A map wins where it is not below any other; of equal ones the first.
    """
    parts: list[tuple[list[Point], list[Map]]] = [(polygon, [])]
    for window in windows:
        found = []
        distinct = list(dict.fromkeys(maps[i] for i in window))
        for part, chosen in parts:
            for own in distinct:
                piece = part
                for other in distinct:
                    difference = (own[0] - other[0], own[1] - other[1], own[2] - other[2])
                    if difference[:2] == (0, 0):
                        piece = piece if difference[2] >= 0 else []
                    elif piece:
                        piece = clipped(piece, difference)
                if piece and area(piece) > 0:
                    found.append((piece, [*chosen, own]))
        parts = found
    return parts


def affine(weight: Any, bias: Any, maps: list[Map]) -> list[Map]:
    """A linear layer of affine maps."""
    found = []
    for row, b in zip(weight, bias, strict=True):
        sums = [sum(int(w) * m[k] for w, m in zip(row, maps, strict=True)) for k in range(3)]
        found.append((Fraction(sums[0]), Fraction(sums[1]), sums[2] + Fraction(int(b))))
    return found


def parted(polygon: list[Point], maps: list[Map]) -> list[tuple[list[Point], list[bool]]]:
    """The parts of a polygon that have an area, with what is above 0 in each."""
    parts: list[tuple[list[Point], list[bool]]] = [(polygon, [])]
    for a, b, c in maps:
        if a == 0 and b == 0:
            parts = [(part, [*pattern, c > 0]) for part, pattern in parts]
            continue
        halves = [
            (clipped(part, (s * a, s * b, s * c)), [*pattern, s > 0])
            for part, pattern in parts
            for s in (1, -1)
        ]
        parts = [(part, pattern) for part, pattern in halves if area(part) > 0]
    return parts


def clipped(polygon: list[Point], line: Map) -> list[Point]:
    """The part of a convex polygon where a map is not negative."""
    a, b, c = line
    kept: list[Point] = []
    for p, q in sides(polygon):
        d, e = a * p[0] + b * p[1] + c, a * q[0] + b * q[1] + c
        if d >= 0:
            kept.append(p)
        if d * e < 0:
            t = d / (d - e)
            kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return kept


def sides(polygon: list[Point]) -> list[tuple[Point, Point]]:
    """Each corner with the next."""
    return list(zip(polygon, polygon[1:] + polygon[:1], strict=True))


def area(polygon: list[Point]) -> Fraction:
    """Twice the area."""
    return sum((p[0] * q[1] - q[0] * p[1] for p, q in sides(polygon)), Fraction(0))


def touch(one: list[Point], other: list[Point]) -> bool:
    """Whether two polygons share a piece of border that has a length."""
    for a, b in sides(one):
        for c, d in sides(other):
            turns = [(b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) for p in (c, d)]
            if a != b and turns == [0, 0]:
                axis = 0 if a[0] != b[0] else 1
                begin = max(min(a[axis], b[axis]), min(c[axis], d[axis]))
                if begin < min(max(a[axis], b[axis]), max(c[axis], d[axis])):
                    return True
    return False
