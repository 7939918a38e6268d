"""The same values in other strides, as views and transposes make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def strided(a: np.ndarray) -> np.ndarray:
    """Every other element of a larger array, whose other elements are absurd."""
    filler = np.nan if a.dtype.kind == "f" else a.dtype.type(1)
    big = np.full([2 * n for n in a.shape], filler, a.dtype)
    every: tuple[Any, ...] = (..., *(slice(None, None, 2) for _ in a.shape))
    view: np.ndarray = big[every]
    view[...] = a
    return view


def backwards(a: np.ndarray) -> np.ndarray:
    """Negative strides along every axis."""
    return np.asarray(np.flip(np.array(np.flip(a))))


def channels_last(a: np.ndarray) -> np.ndarray:
    """Axis 1 varies fastest."""
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) if a.ndim > 2 else a


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "every other element": strided,
    "negative strides": backwards,
    "Fortran order": lambda a: np.array(a, order="F"),
    "channels last": channels_last,
}
