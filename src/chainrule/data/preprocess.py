"""From pixels as they are stored to what a network reads: enlarge, pad, normalise, shift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from chainrule.data.dataset import ImageData, check_finite
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import KindError, ShapeError, failure

Transform = Callable[[Array], Array]


@dataclass(frozen=True)
class Preprocess:
    """Images (N, C, h, w) of any number type -> (N, C, size, size) in float32.

    Each side is enlarged `enlarge` times by bilinear interpolation, then padded with black (0)
    on all sides, the odd pixel going to the right and the bottom; the result is
    (pixel / white - mean) / std.  Raises ShapeError for images that do not fit and for settings
    out of range, TypeError for settings of a wrong kind, DataError for NaN among the pixels.

    >>> import numpy as np
    >>> Preprocess(size=4, white=255.0)(np.full((1, 1, 2, 2), 255, np.uint8))[0, 0]
    array([[0., 0., 0., 0.],
           [0., 1., 1., 0.],
           [0., 1., 1., 0.],
           [0., 0., 0., 0.]], dtype=float32)
    """

    size: int = 32
    enlarge: int = 1
    white: float = 255.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        for name in ("size", "enlarge"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise failure("preprocess", f"an integer as {name}", error=KindError, value=value)
            if value < 1:
                raise failure("preprocess", f"{name} of at least 1, not {value}", error=ShapeError)
        for name in ("white", "mean", "std"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.floating):
                raise failure("preprocess", f"a number as {name}", error=KindError, value=value)
            if not np.isfinite(value) or (name != "mean" and value <= 0):
                rule = f"a finite {name}" + (" above 0" if name != "mean" else "")
                raise failure("preprocess", f"{rule}, not {value}", error=ShapeError)

    def __call__(self, images: Array) -> Array:
        """Prepare a batch; see the class."""
        images = np.asarray(images)
        n, c, h, w = self._check(images)
        x = self._enlarged(images)  # (N, C, h * enlarge, w * enlarge), float32
        top, left = (self.size - h) // 2, (self.size - w) // 2
        black = np.float32(0.0 - self.mean / self.std)
        out = np.full((n, c, self.size, self.size), black, np.float32)
        inner = out[:, :, top : top + h, left : left + w]
        np.multiply(x, np.float32(1.0 / (self.white * self.std)), out=inner)
        inner += black
        return out

    def _check(self, images: Array) -> tuple[int, int, int, int]:
        if images.ndim != 4:
            raise failure("preprocess", "images (N, C, H, W)", error=ShapeError, images=images)
        n, c, h, w = images.shape
        big_h, big_w = h * self.enlarge, w * self.enlarge
        if not 0 < big_h <= self.size >= big_w > 0:
            rule = (
                f"images that fit {self.size} x {self.size} when enlarged {self.enlarge} "
                f"time(s): {self.enlarge}*{h} = {big_h}, {self.enlarge}*{w} = {big_w}"
            )
            raise failure("preprocess", rule, error=ShapeError, images=images)
        check_finite(images, "images")
        return n, c, big_h, big_w

    def _enlarged(self, images: Array) -> Array:
        x = images.astype(np.float32)
        if self.enlarge == 1:
            return x
        rows = bilinear_matrix(x.shape[2], self.enlarge)  # (H, h)
        columns = bilinear_matrix(x.shape[3], self.enlarge)  # (W, w)
        return np.asarray(rows @ x @ columns.T)

    def shifted(self, pixels: int, generator: Generator) -> Transform:
        """Give the same preparation followed by a random shift of each image.

        Every image moves by up to `pixels` in each direction, all moves equally likely, and
        black enters at the border.  The moves come from `generator`: the same seed gives the
        same images.

        >>> import numpy as np, chainrule as cr
        >>> move = Preprocess(size=3).shifted(1, cr.Generator(0))
        >>> move(np.ones((2, 1, 1, 1))).shape
        (2, 1, 3, 3)
        """
        edges = ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels))
        black = np.float32(0.0 - self.mean / self.std)

        def transform(images: Array) -> Array:
            x = np.pad(self(images), edges, constant_values=black)
            windows = sliding_window_view(x, (self.size, self.size), axis=(2, 3))
            down, right = generator.integers(0, 2 * pixels + 1, (2, len(x)))
            return np.asarray(windows[np.arange(len(x)), :, down, right])

        return transform

    @classmethod
    def fit(cls, data: ImageData, size: int = 32) -> Preprocess:
        """Choose enlargement, mean and standard deviation from a set's training images.

        Images are enlarged as often as they fit (8x8 four times into 32x32; 28x28 once, and two
        pixels of padding remain on each side).  Mean and deviation are those of the training
        pixels with their padding.  Raises ShapeError for images larger than `size`.

        >>> import numpy as np
        >>> from chainrule.data import ArrayDataset, ImageData
        >>> part = ArrayDataset(np.eye(8, dtype=np.uint8)[np.newaxis, np.newaxis], [0])
        >>> Preprocess.fit(ImageData("eye", part, part, ["0"], white=1.0))
        Preprocess(size=32, enlarge=4, white=1.0, mean=0.125, std=0.3307)
        """
        images = np.asarray(data.train[:][0])
        h, w = images.shape[2:]
        enlarge = max(1, size // max(h, w))
        filled = (h * enlarge * w * enlarge) / size**2  # the share that is not padding
        mean, square = (filled * moment / data.white**k for k, moment in _moments(images))
        std = max(square - mean**2, 0.0) ** 0.5
        found = cls(size, enlarge, float(data.white), round(mean, 4), round(std, 4) or 1.0)
        found._check(images[:1])
        return found


def _moments(images: Array) -> list[tuple[int, float]]:
    """Give the mean of the pixels and of their squares; bytes are counted, which is exact."""
    if images.dtype == np.uint8:
        counts = np.bincount(images.reshape(-1), minlength=256).astype(float)
        levels = np.arange(len(counts), dtype=float)
        return [(k, float(counts @ levels**k) / images.size) for k in (1, 2)]
    return [(k, float(np.mean(images.astype(np.float64) ** k))) for k in (1, 2)]


def bilinear_matrix(length: int, factor: int) -> Any:
    """Give the (length * factor, length) matrix that enlarges a line of pixels.

    Pixel centres are at half-integers and edge values go on outside, which is PyTorch's
    `interpolate(mode="bilinear", align_corners=False)`.

    >>> bilinear_matrix(2, 2) @ [0.0, 4.0]
    array([0., 1., 3., 4.])
    """
    place = (np.arange(length * factor) + 0.5) / factor - 0.5
    distance = np.abs(np.clip(place, 0, length - 1)[:, np.newaxis] - np.arange(length))
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)
