"""Settings of transforms, checked and brought to plain Python values, which print and compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import KindError, ShapeError, failure

Size = int | tuple[int, int]
"""A side of a square, or (height, width)."""

Range = float | tuple[float, float]
"""How far to go on either side, or (lowest, highest)."""


def settle(described: Any, **values: Any) -> None:
    """Write settings in the one form that is kept; for `__post_init__` of frozen dataclasses."""
    for name, value in values.items():
        object.__setattr__(described, name, value)


def whole(name: str, setting: str, value: Any, least: int = 1) -> int:
    """Give an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise failure(name, f"an integer as {setting}", error=KindError, value=value)
    if value < least:
        raise failure(name, f"{setting} of at least {least}, not {value}", error=ShapeError)
    return int(value)


def number(name: str, setting: str, value: Any, low: float = -math.inf) -> float:
    """Give a finite number of at least `low`; whole numbers stay whole."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise failure(name, f"a number as {setting}", error=KindError, value=value)
    if not math.isfinite(value) or value < low:
        rule = f"a finite {setting}" + (f" of at least {low}" if low > -math.inf else "")
        raise failure(name, f"{rule}, not {value}", error=ShapeError)
    return int(value) if isinstance(value, int | np.integer) else float(value)


def probability(name: str, value: Any) -> float:
    """Give a number from 0 to 1."""
    p = number(name, "p", value, 0.0)
    if p > 1:
        raise failure(name, f"p from 0 to 1, not {value}", error=ShapeError)
    return p


def size_of(name: str, value: Any) -> Size:
    """Give an integer, or two of them as (height, width)."""
    if not is_sequence(value):
        return whole(name, "size", value)
    if len(value) not in (1, 2):
        raise failure(name, "a size, or (height, width)", error=ShapeError, size=value)
    sides = [whole(name, "size", side) for side in value]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def both(size: Size) -> tuple[int, int]:
    """Give (height, width); one number is a square."""
    return (size, size) if isinstance(size, int) else size


def interval(name: str, setting: str, value: Any, low: float, high: float) -> tuple[float, float]:
    """Give (lowest, highest) with low <= lowest <= highest <= high."""
    if not is_sequence(value) or len(value) != 2:
        rule = f"two numbers, lowest and highest, as {setting}"
        raise failure(name, rule, error=KindError, value=value)
    first, last = (number(name, setting, limit) for limit in value)
    if not low <= first <= last <= high:
        limits = f"{low} <= lowest <= highest" + (f" <= {high}" if high < math.inf else "")
        raise failure(name, f"{setting} with {limits}", error=ShapeError, value=tuple(value))
    return first, last


def around(name: str, setting: str, value: Any, middle: float, limits: tuple[float, float]) -> Any:
    """Give what `spread` reads: a distance from the middle of at least 0, or (lowest, highest)."""
    if is_sequence(value):
        return interval(name, setting, value, *limits)
    distance = number(name, setting, value, 0.0)
    if middle + distance > limits[1]:
        rule = f"{setting} of at most {limits[1] - middle}, not {value}"
        raise failure(name, rule, error=ShapeError)
    return distance


def spread(value: Range, middle: float, low: float = -math.inf) -> tuple[float, float]:
    """Give (lowest, highest) of a distance from the middle, not below `low`, or of itself.

    >>> spread(0.4, 1.0, 0.0), spread((0.5, 2.0), 1.0)
    ((0.6, 1.4), (0.5, 2.0))
    """
    if isinstance(value, tuple):
        return value
    return max(low, middle - value), middle + value


def padding_of(name: str, value: Any) -> Any:
    """Give one border, (sides, top and bottom) or (left, top, right, bottom)."""
    if not is_sequence(value):
        return whole(name, "padding", value, 0)
    if len(value) not in (1, 2, 4):
        rule = "one padding, (sides, top and bottom) or (left, top, right, bottom)"
        raise failure(name, rule, error=ShapeError, padding=value)
    borders = tuple(whole(name, "padding", border, 0) for border in value)
    return borders[0] if len(borders) == 1 else borders


def four(padding: Any) -> tuple[int, int, int, int]:
    """Give (left, top, right, bottom)."""
    borders = padding if isinstance(padding, tuple) else (padding,)
    left, top, right, bottom = (borders * 4)[:4]
    return left, top, right, bottom


def fill_of(name: str, value: Any) -> Any:
    """Give a number, or one for each channel."""
    if is_sequence(value):
        return tuple(number(name, "fill", part) for part in value)
    return number(name, "fill", value)


def choice(name: str, setting: str, value: Any, choices: Sequence[str]) -> str:
    """Give one of some words."""
    if value not in choices:
        words = ", ".join(choices)
        raise failure(name, f"{setting} to be one of {words}", error=ShapeError, value=value)
    return str(value)


def is_sequence(value: Any) -> bool:
    """Tell lists, tuples and arrays of one axis from single values."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1
    return isinstance(value, Sequence) and not isinstance(value, str)
