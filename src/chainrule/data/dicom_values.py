"""From stored values to grey: tables, windows and palettes, on plain arrays (DICOM PS3.3 C.11)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
"""How a window goes from black to white."""


@dataclass(frozen=True)
class Window:
    """The values that are shown: from `centre` - `width`/2, black, to `centre` + `width`/2, white.

    In the unit of the values after the modality's table: Hounsfield units for CT.  As exactly as
    viewers take it, which is `LINEAR` of the standard: c = centre - 0.5 and w = width - 1 stand for
    the two.  A width below 1, for which that is not defined, is taken as it is.

    Raises DataError for a width that is not above 0, and for numbers that are not finite.

    >>> Window(40, 400)
    Window(centre=40, width=400)
    """

    centre: float
    width: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and math.isfinite(self.width)):
            raise DataError(
                f"Window: expected a finite centre and width, got {self.centre}, {self.width}"
            )
        if self.width <= 0:
            raise DataError(f"Window: expected a width above 0, got {self.width}")

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read "CENTRE,WIDTH".

        >>> Window.parse("40,400")
        Window(centre=40.0, width=400.0)
        >>> Window.parse("bone")
        Traceback (most recent call last):
        chainrule.errors.DataError: Window: expected CENTRE,WIDTH such as 40,400, got 'bone'
        """
        try:
            centre, width = (float(part) for part in text.split(","))
        except ValueError:
            raise DataError(f"Window: expected CENTRE,WIDTH such as 40,400, got {text!r}") from None
        return cls(centre, width)


@dataclass(frozen=True)
class Curve:
    """A window with its function: from values to 0..1.

    >>> Curve(Window(128, 256)).of(np.array([0.0, 255.0])).tolist()
    [0.0, 1.0]
    """

    window: Window
    function: Function = "LINEAR"

    def of(self, values: Array) -> Array:
        """Give the grey of each value, float64 in 0..1."""
        centre, width = self.window.centre, self.window.width
        with np.errstate(all="ignore"):
            if self.function == "SIGMOID":
                return np.asarray(1.0 / (1.0 + np.exp(-4.0 * (values - centre) / width)))
            if self.function == "LINEAR" and width >= 1:
                centre, width = centre - 0.5, width - 1
            if width == 0:  # a step
                return np.where(values > centre, 1.0, 0.0)
            return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


@dataclass(frozen=True)
class Table:
    """A lookup table: `entries` (n,) or (n, 3), the first for `first` and all that is below.

    >>> Table(10, np.array([5.0, 6.0])).of(np.array([0, 10, 11, 99])).tolist()
    [5.0, 5.0, 6.0, 6.0]
    """

    first: int
    entries: Array

    def of(self, values: Array) -> Array:
        """Look every value up, the whole part of it."""
        last = len(self.entries) - 1
        whole = np.nan_to_num(np.floor(values.astype(np.float64)))
        places = np.clip(whole - self.first, 0, last)
        return np.asarray(self.entries[places.astype(np.int64)])


@dataclass(frozen=True)
class Line:
    """The modality's straight line: value * slope + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def of(self, values: Array) -> Array:
        """Give what each stored value stands for, float64."""
        with np.errstate(all="ignore"):
            return values.astype(np.float64) * self.slope + self.intercept


@dataclass(frozen=True)
class Greys:
    """The way of a grey frame's values.

    `modality` is what comes first, `voi` the table or window of the file (None for none),
    `padding` the lowest and highest stored value that mark what is no picture, `inverted` whether
    the lowest value is white.
    """

    modality: Line | Table = Line()
    voi: Curve | Table | None = None
    padding: tuple[float, float] | None = None
    inverted: bool = False

    def picture(self, stored: Array, window: Window | None = None) -> Array:
        """Give a frame (rows, columns) as greys, float32 in 0..1, 0 black; NaN is black.

        >>> Greys().picture(np.array([[4, 6, 8]], np.uint8)).tolist()
        [[0.0, 0.5, 1.0]]
        """
        if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
            return self._shade(stored, np.ones(stored.shape, bool), window)
        # every value that there may be is shaded once, and then looked up
        low, high = int(stored.min()), int(stored.max())
        places = stored.astype(np.int32) - low
        there = np.zeros(high - low + 1, bool)
        there[places] = True
        shades = self._shade(np.arange(low, high + 1), there, window)
        return np.asarray(shades[places])

    def _shade(self, stored: Array, there: Array, window: Window | None) -> Array:
        values = self.modality.of(stored).astype(np.float64)
        voi = Curve(window) if window else self.voi
        grey = voi.of(values) if voi else spread(values, there & ~self._padded(stored))
        if self.inverted:
            grey = 1.0 - grey
        grey[np.isnan(grey)] = 0.0
        return np.clip(grey, 0.0, 1.0).astype(np.float32)

    def _padded(self, stored: Array) -> Array:
        if self.padding is None:
            return np.zeros(stored.shape, bool)
        low, high = self.padding
        return np.asarray((stored >= low) & (stored <= high))


def spread(values: Array, counted: Array) -> Array:
    """Stretch values so that the smallest that counts is 0 and the largest 1; one alone is 0.

    >>> spread(np.array([-9.0, 1.0, 2.0, 3.0]), np.array([False, True, True, True])).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    of_these = values[counted & np.isfinite(values)]
    low, high = (float(of_these.min()), float(of_these.max())) if of_these.size else (0.0, 0.0)
    if low == high:
        return np.zeros(values.shape)
    with np.errstate(all="ignore"):
        # halves, since the difference of two numbers may be more than a float can be
        return np.asarray(np.clip((values / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0))


def colours(pixels: Array, kind: str, bits: int) -> Array:
    """Give colours (rows, columns, 3) of `bits` bits as RGB, float32 in 0..1.

    `kind` is the photometric interpretation: YBR_FULL and YBR_FULL_422 by the JFIF's formula,
    YBR_PARTIAL_422 by ITU-R BT.601 with its head and foot room, anything else is RGB.

    >>> colours(np.array([[[255, 128, 128]]], np.uint8), "YBR_FULL", 8).tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    white = float(2**bits - 1)
    values = pixels.astype(np.float32)
    if not kind.startswith("YBR_"):
        return np.asarray(np.clip(values / np.float32(white), 0.0, 1.0))
    middle = float(2 ** (bits - 1))
    light, blue, red = (values[:, :, channel] for channel in range(3))
    blue, red = blue - middle, red - middle
    if kind.startswith("YBR_PARTIAL"):
        unit = middle / 128  # of 8 bits
        light = (light - 16 * unit) * (white / (219 * unit))
        blue, red = blue * (white / (224 * unit)), red * (white / (224 * unit))
    green = light - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587
    mixed = np.stack((light + 1.402 * red, green, light + 1.772 * blue), axis=2)
    return np.clip(mixed / np.float32(white), 0.0, 1.0).astype(np.float32)


def segments(data: Array, size: int, bytes_each: int) -> Array:
    """Expand a segmented table (PS3.3 C.7.9.2) into `size` entries.

    `data` are its numbers in order, each of `bytes_each` bytes.  A discrete segment is 0, n and n
    entries; a linear one 1, n and the entry at which n steps end; an indirect one 2, n and the
    place of n segments, in bytes, in two numbers of 16 or four of 8 bits.

    Raises ValueError for what is no such table, or has not `size` entries.

    >>> segments(np.array([0, 1, 10, 1, 2, 30]), 3, 2).tolist()
    [10, 20, 30]
    """
    numbers = [int(number) for number in data[: 4 * size + 8]]  # none needs more
    made: list[int] = []
    _expand(numbers, 0, len(numbers), made, size, bytes_each, True)
    if len(made) != size:
        raise ValueError("a table of another size")
    return np.array(made, np.int64)


def _expand(
    numbers: list[int], at: int, count: int, made: list[int], size: int, width: int, outer: bool
) -> None:
    """Add the entries of up to `count` segments from place `at` on."""
    while at + 1 < len(numbers) and count and len(made) < size:
        kind, length = numbers[at : at + 2]
        at, count = at + 2, count - 1
        if kind == 0:
            made += numbers[at : at + length]
            at += length
        elif kind == 1 and made:
            made += np.rint(np.linspace(made[-1], numbers[at], min(length, size) + 1)[1:]).tolist()
            at += 1
        elif kind == 2 and made and outer:  # within one there may be no other
            parts = numbers[at : at + 4 // width]
            place = sum(part << (8 * width * order) for order, part in enumerate(parts))
            _expand(numbers, place // width, length, made, size, width, False)
            at += 4 // width
        else:
            raise ValueError("no such segment")
