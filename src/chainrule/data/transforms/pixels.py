"""Pixels by their type: what is white, floats to compute in, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array, DType
from chainrule.errors import ShapeError, failure

_LUMA = (0.299, 0.587, 0.114)  # red, green, blue in ITU-R BT.601


def white_of(images: Array) -> float:
    """Give the value of a white pixel by the type: 255 for bytes, 65535 for 16 bits, 1 for floats.

    >>> import numpy as np
    >>> white_of(np.zeros(1, np.uint8)), white_of(np.zeros(1, np.float32))
    (255.0, 1.0)
    """
    if images.dtype.kind == "f" or images.dtype == np.bool_:
        return 1.0
    return float(np.iinfo(images.dtype).max)


def white_in(images: Array, white: float | None) -> float:
    """Give white as `fit` needs it: that of a data set is meant for whole numbers."""
    return 1.0 if images.dtype.kind == "f" else (white or white_of(images))


def as_floats(images: Array) -> Array:
    """Copy to floats that hold every value of the type: float32, or float64 beyond 16 bits."""
    wide = images.dtype.itemsize > (4 if images.dtype.kind == "f" else 2)
    return images.astype(np.float64 if wide else np.float32)


def back(values: Array, dtype: DType) -> Array:
    """Give computed floats the images' type again: whole numbers are rounded and kept in range.

    Floats are not cut off, since normalised images have no bounds.  May write to `values`.

    >>> import numpy as np
    >>> back(np.array([-3.0, 1.5, 2.5, 300.0]), np.dtype(np.uint8)).tolist()
    [0, 2, 2, 255]
    """
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    if dtype == np.bool_:
        return np.asarray(values > 0.5)
    low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    if high > np.iinfo(dtype).max:  # 2**63 - 1 is no float64
        high = float(np.nextafter(high, 0.0))
    np.rint(values, out=values)
    np.clip(values, low, high, out=values)
    return values.astype(dtype)


def luminance(images: Array) -> Array:
    """Give (N, 1, H, W) of floats (N, 3, H, W): 0.299 red + 0.587 green + 0.114 blue."""
    weights = np.asarray(_LUMA, images.dtype)
    grey = images[:, 0] * weights[0]
    grey += images[:, 1] * weights[1]
    grey += images[:, 2] * weights[2]
    return np.asarray(grey[:, np.newaxis])


def fill_row(fill: Any, images: Array, name: str) -> Array:
    """Give (1 or C, 1, 1) values in the images' type; raises ShapeError for what they can't hold.

    >>> import numpy as np
    >>> fill_row(0.5, np.zeros((1, 3, 2, 2), np.uint8), "Pad")
    Traceback (most recent call last):
    chainrule.errors.ShapeError: Pad: expected a fill that uint8 can hold; got fill 0.5
    """
    row = np.asarray(fill, np.float64).reshape(-1, 1, 1)
    channels, dtype = images.shape[1], images.dtype
    if row.size not in (1, channels):
        rule = f"one fill, or one for each of {row.size} channels"
        raise failure(name, rule, error=ShapeError, images=images)
    if dtype.kind in "biu":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if (row != np.rint(row)).any() or row.min() < low or row.max() > high:
            rule = f"a fill that {dtype} can hold"
            raise failure(name, rule, error=ShapeError, fill=fill)
    return row.astype(dtype)
