"""Where the channels of stored images are, and what white is: one rule for every kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from chainrule.data.dataset import Dataset, Task
from chainrule.data.pictures import WHITE
from chainrule.engine.op import Array
from chainrule.errors import DataError

Layout = Literal["NCHW", "NHWC"]
"""Which axis of images has the channels."""

_CHANNELS = (1, 3)


class Form(NamedTuple):
    """How images are stored: their axes, the value of white, whether floats must be in 0..1."""

    axes: str
    white: float
    unit: bool


class Meaning(NamedTuple):
    """What the targets of a set are about."""

    classes: Sequence[str]
    task: Task


class ArraySource:
    """Named arrays in files; subclasses say how they are read."""

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        self.name, self.keys = name, tuple(keys)

    def read(self, key: str) -> Array:
        """Give one array whole."""
        raise NotImplementedError(f"{type(self).__name__}.read")

    def form(self, key: str, layout: Layout | None, white: float | None) -> Form:
        """Say how the images under a name are stored; see `form_of`."""
        raise NotImplementedError(f"{type(self).__name__}.form")

    def dataset(self, key: str, form: Form, targets: Array, meaning: Meaning) -> Dataset:
        """Give the images under a name with their targets."""
        raise NotImplementedError(f"{type(self).__name__}.dataset")


def form_of(
    shape: Sequence[int], dtype: Any, name: str, layout: Layout | None, white: float | None
) -> Form:
    """Tell the form of images by their shape and type.

    (N, H, W) has one channel.  Of four axes, without `layout`, the second or the last has the
    channels: the one of length 1 or 3.  Raises DataError for other shapes, where both or neither
    are so, for what is no number, and for numbers whose white is not known.

    >>> form_of((10, 28, 28, 1), "uint8", "set.npz, images", None, None)
    Form(axes='NHWC', white=255.0, unit=False)
    >>> form_of((10, 3, 32, 3), "uint8", "set.npz, images", None, None)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: set.npz, images: cannot tell which axis of (10, 3, 32, 3) has ...
    """
    shape, dtype = tuple(shape), np.dtype(dtype).newbyteorder("=")
    if len(shape) not in (3, 4) or 0 in shape:
        raise DataError(
            f"{name}: expected images (N, H, W), (N, C, H, W) or (N, H, W, C), found shape {shape}"
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{name}: expected images of numbers, found {dtype}")
    white, unit = _white(dtype, name, white)
    if len(shape) == 3:
        return Form("NHW", white, unit)
    first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if layout is None and first == last:
        raise DataError(
            f"{name}: cannot tell which axis of {shape} has the channels; say layout='NCHW' or "
            "layout='NHWC'"
        )
    return Form(layout or ("NCHW" if first else "NHWC"), white, unit)


def arranged(images: Array, form: Form) -> Array:
    """Give images of a form as (N, C, H, W), a view."""
    if form.axes == "NHW":
        return images[:, np.newaxis]
    return images.transpose(0, 3, 1, 2) if form.axes == "NHWC" else images


def check_unit(images: Array, name: str) -> None:
    """Raise DataError for floats outside 0..1; NaN is outside."""
    low, high = float(images.min()), float(images.max())
    if not (low >= 0.0 and high <= 1.0):
        raise DataError(
            f"{name}: expected floats in 0..1, from black to white, found {low:g} to {high:g}; "
            "mend them, or say the value of white (1.0 leaves values that have been normalised)"
        )


def _white(dtype: np.dtype[Any], name: str, white: float | None) -> tuple[float, bool]:
    if white is not None:
        if not (np.isfinite(white) and white > 0):
            raise DataError(f"{name}: expected a finite white above 0, got {white}")
        return float(white), False
    if dtype.kind == "f":
        return 1.0, True
    if dtype == np.bool_:
        return 1.0, False
    if dtype not in WHITE:
        raise DataError(
            f"{name}: expected uint8, uint16, bool or floats, found {dtype}; say the value of a "
            "white pixel as `white`"
        )
    return WHITE[dtype], False
