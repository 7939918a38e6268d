"""The linear regions of a network of bent lines, counted exactly on a plane.

Such a network is an affine map on each of finitely many convex cells.  The plane is cut cell by
cell, operation by operation: a cell carries what every value is at three points, which says an
affine map of the plane whole, so that an affine operation is run on them as it stands.
Sources: Zaslavsky, 1975; Montufar et al., 2014; Serra et al., 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, ShapeError, expect, failure
from chainrule.inspection.cells import Cut, Cutter, Part
from chainrule.inspection.given import counts, real, row, several
from chainrule.inspection.plane_plots import regions_figure
from chainrule.nn.module import Module
from chainrule.nn.tracing import recorded

_FARTHEST, _FAR = 1e8, 1e6  # an input, and one over the side of the plane
_SAME = 1e-9  # maps that differ by less, relative to the terms of their sums, are one


def zaslavsky(units: int, dimensions: int = 2) -> int:
    """Give the most regions into which hyperplanes cut a space: the sum of C(units, s), s = 0..d.

    It is reached in general position: no two parallel, no three lines of a plane through one point.
    Source: Zaslavsky, 1975.  Raises ShapeError for negative numbers, KindError for what is no whole
    number.

    >>> zaslavsky(3), zaslavsky(3, 1), zaslavsky(3, 3)
    (7, 4, 8)
    """
    n, d = counts("zaslavsky", least=0, units=units, dimensions=dimensions)
    return sum(comb(n, s) for s in range(d + 1))


def deep_bound(widths: Sequence[int], dimensions: int = 2) -> int:
    """Give the bound of Serra et al., 2018 (theorem 1) for ReLU layers of these widths in a row.

    It is Zaslavsky's for one layer.  For several it is at most the product of theirs: where few
    units of a layer are active, what it passes on has fewer dimensions to be cut.  Errors are those
    of `zaslavsky`.

    >>> deep_bound([3]), deep_bound([3, 3]), deep_bound([8, 8]) == zaslavsky(8) ** 2
    (7, 40, True)
    """
    (free,) = counts("deep_bound", least=0, dimensions=dimensions)
    ways = {free: 1}  # how many cells have an image of so many dimensions
    for width in several("deep_bound", "widths", widths):
        (n,) = counts("deep_bound", least=0, width=width)
        found: dict[int, int] = {}
        for d, cells in ways.items():
            for idle in range(min(d, n) + 1):
                left = min(d, n - idle)
                found[left] = found.get(left, 0) + cells * comb(n, idle)
        ways = found
    return sum(ways.values())


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell of the plane in which no unit changes its piece, and the network's map there.

    `polygon` (k, 2) are its corners in the plane's coordinates, counter-clockwise.  In it the
    network is `weight @ p + bias`, weight (out, 2), bias (out,), for p in the same coordinates.
    `pattern` has an array for each activation: 0 for units below their kink, 1 above (and so on
    where there are several kinks), and for max pooling which entry of each window is the largest.
    Cells of the same `region` belong to one linear region.
    """

    polygon: Array
    pattern: tuple[Array, ...]
    weight: Array
    bias: Array
    region: int

    @property
    def area(self) -> float:
        """The polygon's area."""
        x, y = self.polygon.T
        return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2

    @property
    def centre(self) -> Array:
        """A point inside: the mean of the corners."""
        return np.asarray(self.polygon.mean(axis=0))


@dataclass(frozen=True)
class CutLayer:
    """An activation or max pooling: the path of its layer, how many units, Zaslavsky's bound.

    A window's lines are those between each two of its entries.
    """

    name: str
    units: int
    bound: int


@dataclass(frozen=True, eq=False)
class Regions:
    """What `linear_regions` found.

    `count` is the number of cells by activation pattern, `affine_count` the number of maximal
    connected regions in which the network is one affine map: fewer where a unit's change does not
    reach the outputs.  `bound` is what `count` cannot exceed, and `bound_name` whose bound that is;
    `layers` has Zaslavsky's for each activation alone.  `neighbours` are pairs of cells that share
    a piece of border, `cuts` the pieces of kinks along which cells were cut.
    """

    cells: tuple[Cell, ...]
    affine_count: int
    bound: int
    bound_name: str
    layers: tuple[CutLayer, ...]
    cuts: tuple[Cut, ...]
    neighbours: tuple[tuple[int, int], ...]
    bounds: tuple[float, float, float, float]
    marks: tuple[str, ...]  # names of the points (0, 0), (1, 0), (0, 1), where they are inputs

    @property
    def count(self) -> int:
        """The number of cells, one for each activation pattern."""
        return len(self.cells)

    def __str__(self) -> str:
        units = " + ".join(str(layer.units) for layer in self.layers) or "0"
        return (
            f"{self.count:,} linear regions by activation pattern, {self.affine_count:,} with "
            f"neighbours of one affine map joined; {units} units make at most {self.bound:,} "
            f"({self.bound_name})"
        )

    __repr__ = __str__

    def plot(self, output: int | None = None, title: str = "") -> Any:
        """Draw the regions as a matplotlib figure, neighbours in different colours.

        With `output` the colours are that output's value instead.  Lines are the kinks, by layer.
        Save it by `plot().savefig("regions.png")`.  Raises DataError where matplotlib is missing,
        ShapeError for an output that the network does not have.

        >>> import chainrule as cr
        >>> net = cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.ReLU())
        >>> cr.linear_regions(net, (-1, 1, -1, 1)).plot().axes[0].get_xlabel()
        'x0'
        """
        return regions_figure(self, output, title)


def linear_regions(
    model: Module,
    plane: Any,
    bounds: Sequence[float] | None = None,
    limit: int = 20_000,
) -> Regions:
    """Count and keep the linear regions of a network on a piece of a plane, exactly.

    For a network of two inputs `plane` is the rectangle (x0, x1, y0, y1) of them.  For any other
    it is three inputs (origin, a, b), and the plane is origin + s (a - origin) + t (b - origin)
    for s and t in the rectangle `bounds`, (-0.25, 1.25, -0.25, 1.25) if left out.  Regions are
    open: what has no area does not count.  A kink that cuts off less than 1e-9 of the rectangle's
    side is refused, since rounding may have made it, and below 1e-11 it is none; so is a plane so
    large or so far away that float64 does not tell its points apart.

    The network is followed in evaluation mode and computed in float64.  It may be made of linear
    layers, convolutions, batch norm, average pooling, sums and reshaping, between ReLU, LeakyReLU,
    PReLU, ReLU6, Hardtanh, absolute values and max pooling, whose kinks are where two entries of a
    window are equal.  Raises KindError for other operations, naming them, and for arguments of
    another kind, ShapeError for a plane that is none or that is refused and for more cells than
    `limit`, and DataError for weights that are not finite.

    Three lines in general position make 7 regions, Zaslavsky's bound:

    >>> import chainrule as cr
    >>> net = cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.ReLU())
    >>> net[0].weight.data = cr.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> net[0].bias.data = cr.tensor([0.0, 0.0, -1.0])
    >>> found = linear_regions(net, (-3, 3, -3, 3))
    >>> found.count, found.bound
    (7, 7)
    """
    if not isinstance(model, Module):
        raise failure("linear_regions", "a Module", error=KindError, model=type(model))
    (most,) = counts("linear_regions", limit=limit)
    rectangle, points, marks = _plane(plane, bounds)
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    graph = recorded("linear_regions", model, [Tensor(points.astype(dtype))])
    cutter = Cutter(graph, points, most)
    parts = cutter.run()
    ends = [part.values[id(graph.outputs[0])] for part in parts]
    neighbours = _neighbours(parts, cutter.cuts)
    regions = _regions(ends, neighbours)
    cells = [_cell(*each, rectangle) for each in zip(parts, ends, regions, strict=True)]
    layers = [CutLayer(name, units, zaslavsky(lines)) for name, units, lines in cutter.layers]
    bound, whose = _bound(cutter, layers)
    size = np.array([rectangle[1] - rectangle[0], rectangle[3] - rectangle[2]])
    cuts = [cut._replace(ends=cut.ends * size + rectangle[::2]) for cut in cutter.cuts]
    count = len(set(regions))
    return Regions(
        tuple(cells), count, bound, whose, tuple(layers), tuple(cuts), neighbours, rectangle, marks
    )


def _plane(
    plane: Any, bounds: Sequence[float] | None
) -> tuple[tuple[float, float, float, float], Array, tuple[str, ...]]:
    """Give the rectangle, the inputs at three of its corners (3, ...), and the inputs' names."""
    given = _points_of(plane)
    rule = "bounds (x0, x1, y0, y1), or three inputs of one shape (origin, a, b)"
    flat = len(given) == 4 and all(p.ndim == 0 for p in given)
    whole = len(given) == 3 and given[0].ndim > 0 and len({p.shape for p in given}) == 1
    expect(flat or whole, "linear_regions", rule, plane=plane)
    box: Any = given if flat else (-0.25, 1.25, -0.25, 1.25)
    box = box if flat or bounds is None else row("linear_regions", "bounds", bounds)
    rule = "a rectangle x0 < x1, y0 < y1"
    expect(len(box) == 4, "linear_regions", rule, bounds=bounds)
    x0, x1, y0, y1 = map(float, box)
    sound = all(np.isfinite([x0, x1, y0, y1])) and x0 < x1 and y0 < y1
    expect(sound, "linear_regions", rule, bounds=(x0, x1, y0, y1))
    _near((x0, x1, y0, y1))
    corners = np.array([[x0, y0], [x1, y0], [x0, y1]])
    if flat:
        expect(bounds is None, "linear_regions", "bounds only beside three inputs", bounds=bounds)
        return (x0, x1, y0, y1), corners, ()
    origin, u, v = given[0], given[1] - given[0], given[2] - given[0]
    directions = np.stack([u.ravel(), v.ravel()])
    rule = "three inputs that are not on one line"
    finite = bool(np.isfinite(given).all())
    expect(finite and _rank(directions) == 2, "linear_regions", rule, error=ShapeError)
    _near((x0, x1, y0, y1), float(np.abs(origin).max(initial=0.0)), np.abs(directions).max(axis=1))
    points = origin.ravel() + corners @ directions
    return (x0, x1, y0, y1), points.reshape(3, *origin.shape), ("origin", "a", "b")


def _near(
    box: tuple[float, float, float, float], offset: float = 0.0, scale: Any = (1.0, 1.0)
) -> None:
    """Refuse a plane on which float64 does not tell points apart finely enough."""
    sides = np.array([box[1] - box[0], box[3] - box[2]]) * scale
    reach = offset + float(np.sum(np.abs([max(-box[0], box[1]), max(-box[2], box[3])]) * scale))
    fine = reach <= _FARTHEST and reach <= _FAR * float(sides.min())
    rule = (
        f"inputs of at most {_FARTHEST:.0e} on a plane at most {_FAR:.0e} times as far from 0 as "
        "it is wide: float64 tells no finer cells apart"
    )
    hint = "take another piece of it, or scale the inputs and the first layer's weights"
    expect(fine, "linear_regions", rule, hint=hint, bounds=box)


def _points_of(plane: Any) -> list[Array]:
    """Give what a plane is made of in float64: Python's numbers, arrays or tensors."""
    many = isinstance(plane, Sequence) and not isinstance(plane, str | bytes)
    parts = plane if many else np.atleast_1d(real("linear_regions", "a plane", plane))
    return [real("linear_regions", "a plane", part).astype(np.float64) for part in parts]


def _rank(directions: Array) -> int:
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    return int(np.linalg.matrix_rank(directions / lengths, tol=1e-9)) if lengths.all() else 0


def _neighbours(parts: list[Part], cuts: list[Cut]) -> tuple[tuple[int, int], ...]:
    """Pair the cells that share a piece of border.

    Two cells were one until some cut parted them, and each has a side on it: only sides on one
    cut are compared, by where along it they begin and end.
    """
    sides: dict[int, list[tuple[float, float, int]]] = {}
    for number, part in enumerate(parts):
        following = np.roll(part.corners, -1, axis=0)
        for edge, p, q in zip(part.edges, part.corners, following, strict=True):
            if edge >= 0:
                start, end = cuts[edge].ends
                along = sorted(float((point - start) @ (end - start)) for point in (p, q))
                length = float(np.linalg.norm(end - start))
                sides.setdefault(edge, []).append((along[0] / length, along[1] / length, number))
    found = set()
    for on_cut in sides.values():
        on_cut.sort()
        for i, (_, end, one) in enumerate(on_cut):
            for begin, _, other in on_cut[i + 1 :]:
                if begin >= end - 1e-9:
                    break
                found.add((min(one, other), max(one, other)))
    return tuple(sorted(found))


def _regions(ends: list[tuple[Array, Array]], neighbours: Sequence[tuple[int, int]]) -> list[int]:
    """Number the linear regions: neighbouring cells of the same affine map are one."""
    parent = list(range(len(ends)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in neighbours:
        (one, terms), (other, others) = ends[i], ends[j]
        if (np.abs(one - other) <= _SAME * np.maximum(terms, others)).all():
            parent[root(j)] = root(i)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(ends))]


def _cell(
    part: Part,
    end: tuple[Array, Array],
    region: int,
    rectangle: tuple[float, float, float, float],
) -> Cell:
    """Give a part of the unit square, and its map, in the plane's coordinates."""
    x0, x1, y0, y1 = rectangle
    values = end[0].reshape(3, -1)
    size = np.array([x1 - x0, y1 - y0])
    weight = np.stack([values[1] - values[0], values[2] - values[0]], axis=1) / size
    bias = values[0] - weight @ [x0, y0]
    polygon = part.corners * size + [x0, y0]
    return Cell(polygon, part.pattern, weight, bias, region)


def _bound(cutter: Cutter, layers: list[CutLayer]) -> tuple[int, str]:
    """Give what the count cannot exceed: each cell is cut again by every layer's lines at most."""
    if not layers:
        return 1, "no kinks"
    if len(layers) == 1:
        return layers[0].bound, "Zaslavsky"
    if cutter.is_relu_chain:
        return deep_bound([layer.units for layer in layers]), "Serra et al."
    return prod(layer.bound for layer in layers), "the layers' product"
