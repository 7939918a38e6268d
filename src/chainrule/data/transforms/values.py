"""Transforms of pixels' values: to floats, with mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms.base import Batches, Transform, changed, transform
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import ShapeError, failure

Numbers = float | tuple[float, ...] | None


def white_of(images: Array) -> float:
    """Give the value of a white pixel by the type: 255 for bytes, 65535 for 16 bits, 1 for floats.

    >>> import numpy as np
    >>> white_of(np.zeros(1, np.uint8)), white_of(np.zeros(1, np.float32))
    (255.0, 1.0)
    """
    if images.dtype.kind == "f" or images.dtype == np.bool_:
        return 1.0
    return float(np.iinfo(images.dtype).max)


@transform
@dataclass(frozen=True, repr=False)
class ToFloat(Transform):
    """Divide pixels by `white`: black 0.0, white 1.0, in float32.

    `white` is by default the largest value of the images' type, 1 for floats.

    >>> import numpy as np
    >>> ToFloat()(np.array([[[0, 51, 255]]], np.uint8)).tolist()
    [[[0.0, 0.20000000298023224, 1.0]]]
    """

    white: float | None = None

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        white = white_of(images) if self.white is None else self.white
        return np.divide(images, np.float32(white), dtype=np.float32)


@transform
@dataclass(frozen=True, repr=False)
class Normalize(Transform):
    """(pixel / white - mean) / std in float32; a number for all channels, or one a channel.

    `mean` and `std` are of pixels between 0 and 1.  What is None is learnt from the training
    images by `fit`, for each channel; without it a mean of 0 and a deviation of 1 stand.
    `white` is by default the largest value of the images' type, 1 for floats.  Raises ShapeError
    for a deviation that is not above 0 and for images of another number of channels.

    >>> import numpy as np
    >>> Normalize(mean=(0.0, 0.5), std=0.5)(np.ones((2, 1, 1), np.float32)).ravel().tolist()
    [2.0, 1.0]
    """

    mean: Numbers = None
    std: Numbers = None
    white: float | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(float(number) for number in value))
        for value in np.atleast_1d(1.0 if self.std is None else self.std):
            if not (np.isfinite(value) and value > 0):
                raise failure("Normalize", "std above 0", error=ShapeError, std=self.std)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        white = white_of(images) if self.white is None else self.white
        mean = self._row(0.0 if self.mean is None else self.mean, images)
        scale = self._row(1.0 if self.std is None else self.std, images)
        out = np.multiply(images, (1.0 / (white * scale)).astype(np.float32), dtype=np.float32)
        out -= (mean / scale).astype(np.float32)
        return out

    def _row(self, value: Any, images: Array) -> Array:
        row = np.asarray(value, np.float64).reshape(-1, 1, 1)
        if row.size not in (1, images.shape[1]):
            rule = f"images of {row.size} channels"
            raise failure("Normalize", rule, error=ShapeError, images=images)
        return row

    def fit(self, batches: Batches, white: float | None = None) -> Transform:
        """Learn the mean and the deviation of each channel, to four digits behind the point."""
        if self.mean is not None and self.std is not None:
            return self
        total, squares, count = np.zeros(0), np.zeros(0), 0
        scale = self.white if self.white is not None else None
        for images in batches():
            for image in images:
                if scale is None:
                    floats = image.dtype.kind == "f"
                    scale = 1.0 if floats else (white or white_of(image))
                pixels = image.reshape(len(image), -1).astype(np.float64) / scale  # (C, HW)
                total = total + pixels.sum(axis=1) if count else pixels.sum(axis=1)
                square = (pixels * pixels).sum(axis=1)
                squares = squares + square if count else square
                count += pixels.shape[1]
        if not count:
            raise failure("Normalize", "at least one image to learn from", error=ShapeError)
        mean = total / count
        std = np.sqrt(np.maximum(squares / count - mean * mean, 0.0))
        return changed(  # type: ignore[no-any-return]
            self,
            mean=self.mean if self.mean is not None else _short(mean),
            std=self.std if self.std is not None else _short(std, 1.0),
            white=scale,
        )


def _short(values: Array, zero: float = 0.0) -> Numbers:
    """Round to four digits; one number for one channel."""
    rounded = tuple(round(float(value), 4) or zero for value in values)
    return rounded[0] if len(rounded) == 1 else rounded
