"""Values as maps: their places, and many small pictures of them on one page."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.circuits.places import Index
from chainrule.inspection.paint import grey, signed, uri

A_PAGE = 64
"""Maps, filters or numbers that are shown at once."""

SMALL = 64
"""Pixels of a tile's longer side: larger maps are averaged to it."""

LARGE = 320
"""Pixels of the longer side of the one map that is looked at; it fits a phone."""

_CLOSEST = 32  # pixels of one number at most


class Form(NamedTuple):
    """How a value is laid out: so many maps of a height and width, or numbers in a row.

    >>> Form.of((1, 6, 28, 28)), Form.of((1, 10))
    (Form(many=6, height=28, width=28), Form(many=10, height=0, width=0))
    """

    many: int
    height: int
    width: int

    @classmethod
    def of(cls, shape: Index) -> Form:
        """Take the last two axes for a map's, unless there are no more than two."""
        if len(shape) < 3:
            return cls(prod(shape), 0, 0)
        return cls(prod(shape[:-2]), *shape[-2:])

    @property
    def is_maps(self) -> bool:
        """Whether there are maps, and not numbers alone."""
        return self.height > 0

    @property
    def pages(self) -> int:
        """How many pages the maps or numbers fill."""
        return max(1, ceil(self.many / A_PAGE))

    @property
    def scale(self) -> float:
        """Pixels of the screen for one number of the large map: whole, if it is not too large."""
        longest = max(self.height, self.width)
        return min(_CLOSEST, LARGE // longest) if longest <= LARGE else LARGE / longest


class Spot(NamedTuple):
    """One number of a value: its map (or its place in the row), row and column."""

    channel: int
    row: int
    col: int


def place_of(shape: Index, spot: Spot) -> Index:
    """Give the index of a number.

    >>> place_of((1, 6, 28, 28), Spot(3, 4, 5)), place_of((1, 10), Spot(7, 0, 0))
    ((0, 3, 4, 5), (0, 7))
    """
    if len(shape) < 3:
        return _unravelled(spot.channel, shape)
    return (*_unravelled(spot.channel, shape[:-2]), spot.row, spot.col)


def _unravelled(number: int, shape: Index) -> Index:
    return tuple(int(i) for i in np.unravel_index(number, shape)) if shape else ()


def spot_of(shape: Index, place: Index) -> Spot:
    """Give the map, row and column of an index; the other way round than `place_of`."""
    lead, rest = (place, (0, 0)) if len(shape) < 3 else (place[:-2], place[-2:])
    number = int(np.ravel_multi_index(lead, shape[: len(lead)])) if lead else 0
    return Spot(number, int(rest[0]), int(rest[1]))


def maps(values: Array) -> Array:
    """Give a value as maps (count, H, W), or as numbers (count,)."""
    form = Form.of(values.shape)
    return values.reshape((form.many, form.height, form.width) if form.is_maps else -1)


@dataclass(frozen=True)
class Tile:
    """A small picture of map `number`: its address, size on the screen, and what stands below."""

    number: int
    uri: str
    width: int
    height: int
    mean: float
    low: float
    high: float


def tile(number: int, values: Array, coloured: bool) -> Tile:
    """Paint one map (H, W), or a filter of three colours (3, H, W)."""
    shown = _smaller(values)
    paint = colours if values.ndim == 3 else signed if coloured else grey
    pixels = paint(shown)
    height, width = shown.shape[-2:]
    scale = SMALL / max(height, width)
    with np.errstate(all="ignore"):
        low, high, mean = (float(f(values)) for f in (np.min, np.max, np.mean))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Tile(number, uri(pixels), *size, mean, low, high)


def colours(values: Array) -> Array:
    """Turn three maps (3, H, W) into colours (H, W, 3): the smallest number black, the largest 255.

    >>> colours(np.array([[[0.0]], [[1.0]], [[2.0]]])).tolist()
    [[[0, 128, 255]]]
    """
    flat = values.transpose(1, 2, 0).reshape(values.shape[1], -1)  # one scale for all three
    return grey(flat).reshape(*values.shape[1:], 3)


def _smaller(values: Array) -> Array:
    """Average blocks of a map that is larger than a tile."""
    height, width = values.shape[-2:]
    step = ceil(max(height, width) / SMALL)
    if step == 1:
        return values
    rows = np.arange(0, height, step)
    cols = np.arange(0, width, step)
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=-2), cols, axis=-1)
    counts = np.outer(np.diff(rows, append=height), np.diff(cols, append=width))
    return np.asarray(sums / counts)


def page_of(form: Form, page: int) -> range:
    """Give the numbers of the maps that a page shows; pages count from 1."""
    return range((page - 1) * A_PAGE, min(form.many, page * A_PAGE))


def large(values: Array, coloured: bool) -> str:
    """Paint one map (H, W) as it is; the page enlarges it."""
    return uri(signed(values) if coloured else grey(values))
