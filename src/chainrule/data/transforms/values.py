"""Transforms of pixels' values: to floats, with mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.data.transforms.arguments import is_sequence, number, settle
from chainrule.data.transforms.base import Batches, Transform, blocks, changed, transform
from chainrule.data.transforms.pixels import white_in, white_of
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import ShapeError, failure

Numbers = float | tuple[float, ...] | None


@transform
@dataclass(frozen=True, repr=False)
class ToFloat(Transform):
    """Divide pixels by `white`: black 0.0, white 1.0, in float32.

    `white` is by default that of the training set, from `fit`, else the largest value of the
    images' type, 1 for floats.  Shapes: (C, H, W) -> the same.  Raises ShapeError for a white that
    is not above 0.

    >>> import numpy as np
    >>> ToFloat()(np.array([[[0, 51, 255]]], np.uint8)).tolist()
    [[[0.0, 0.20000000298023224, 1.0]]]
    """

    white: float | None = None

    def __post_init__(self) -> None:
        _check_white(self)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        white = white_of(images) if self.white is None else self.white
        return np.divide(images, np.float32(white), dtype=np.float32)

    def fit(self, batches: Batches, white: float | None = None) -> Transform:
        """Take the training images' white."""
        if self.white is not None:
            return self
        block = next(blocks(batches), None)
        if block is None:
            raise failure("ToFloat", "at least one image to learn from")
        return changed(self, white=white_in(block, white))  # type: ignore[no-any-return]


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
            if value is not None:
                settle(self, **{name: _numbers(name, value)})
        if self.std is not None and min(np.atleast_1d(self.std)) <= 0:
            raise failure("Normalize", "std above 0", std=self.std)
        _check_white(self)

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
        total, squares, count, scale = np.zeros(()), np.zeros(()), 0, self.white
        for block in blocks(batches):
            scale = white_in(block, white) if scale is None else scale
            pixels = block.astype(np.float64) / scale  # (N, C, H, W)
            if count and len(total) != pixels.shape[1]:
                rule = f"training images of one number of channels, {len(total)}"
                raise failure("Normalize", rule, images=block)
            total = total + pixels.sum(axis=(0, 2, 3))
            squares = squares + (pixels * pixels).sum(axis=(0, 2, 3))
            count += pixels.size // pixels.shape[1]
        if not count:
            raise failure("Normalize", "at least one image to learn from")
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


def _numbers(name: str, value: Any) -> Numbers:
    if is_sequence(value):
        return tuple(float(number("Normalize", name, part)) for part in value)
    return float(number("Normalize", name, value))


def _check_white(described: Any) -> None:
    if described.white is None:
        return
    name = type(described).__name__
    white = float(number(name, "white", described.white, 0.0))
    if not white:
        raise failure(name, "white above 0", white=white)
    settle(described, white=white)


@transform
@dataclass(frozen=True, repr=False)
class PerPixelMean(Transform):
    """pixel / white - mean in float32, with the mean of each pixel over the training images.

    `fit` learns the mean image (C, H, W); it is no part of the text but of `arrays`, and two
    PerPixelMean of one white compare equal.  `white` is by default the largest value of the images'
    type, 1 for floats.  Shapes: (C, H, W) -> the same.  Raises ShapeError before it is fitted and
    for images of another shape than the training images'.

    Source: A. Krizhevsky et al., ImageNet classification with deep convolutional neural networks
    (2012), 2; K. He et al., Deep residual learning (2016), 4.2.

    >>> import numpy as np
    >>> images = np.array([[[[0, 51]]], [[[255, 51]]]], np.uint8)
    >>> mean = PerPixelMean().fit(lambda: iter([images]))
    >>> mean(images).round(4).tolist()
    [[[[-0.5, 0.0]]], [[[0.5, 0.0]]]]
    >>> mean, mean.arrays()["mean"].shape
    (PerPixelMean(white=255.0), (1, 1, 2))
    """

    white: float | None = None
    mean: Array | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_white(self)
        if self.mean is None:
            return
        mean = np.array(self.mean, np.float32)
        if mean.ndim != 3 or not np.isfinite(mean).all():
            rule = "a mean image (C, H, W) of finite numbers"
            raise failure("PerPixelMean", rule, mean=mean)
        settle(self, mean=mean)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        if self.mean is None:
            hint = "call fit with the training images, or with_arrays"
            raise failure("PerPixelMean", "the training images' mean", hint=hint)
        if images.shape[1:] != self.mean.shape:
            rule = f"images of the training images' shape {self.mean.shape}"
            raise failure("PerPixelMean", rule, images=images)
        white = white_of(images) if self.white is None else self.white
        out = np.divide(images, np.float32(white), dtype=np.float32)
        out -= self.mean
        return out

    def fit(self, batches: Batches, white: float | None = None) -> Transform:
        """Learn the mean image."""
        if self.mean is not None:
            return self
        total, count, scale = np.zeros(()), 0, self.white
        for block in blocks(batches):
            scale = white_in(block, white) if scale is None else scale
            if count and block.shape[1:] != total.shape:
                rule = f"training images of one shape, {total.shape}"
                hint = "add a Resize or a crop of fixed size before it"
                raise failure("PerPixelMean", rule, images=block, hint=hint)
            total = total + block.sum(axis=0, dtype=np.float64) / scale
            count += len(block)
        if not count:
            raise failure("PerPixelMean", "at least one image to learn from")
        return changed(self, mean=total / count, white=scale)  # type: ignore[no-any-return]

    def arrays(self) -> dict[str, Array]:
        """Give the mean image, where it was learnt."""
        return {} if self.mean is None else {"mean": self.mean}

    def with_arrays(self, arrays: Mapping[str, Array]) -> Transform:
        """Give the transform with its mean image."""
        return changed(self, mean=arrays.get("mean", self.mean))  # type: ignore[no-any-return]
