"""Windows cut out of images: in the middle, at random, at random sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms.arguments import (
    Size,
    both,
    choice,
    fill_of,
    four,
    interval,
    padding_of,
    settle,
    size_of,
)
from chainrule.data.transforms.base import Compose, Transform, transform
from chainrule.data.transforms.pad import PADDING_MODES, padded
from chainrule.data.transforms.resize import INTERPOLATIONS, Resize, resized
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import failure

_TRIALS = 10  # of a random box, before it is given up


@dataclass(frozen=True, repr=False)
class _Window(Transform):
    """What the central and the random crop share: settings, and borders before the cut."""

    size: Size
    padding: Any = None
    pad_if_needed: bool = False
    fill: Any = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        name = type(self).__name__
        settle(self, size=size_of(name, self.size), fill=fill_of(name, self.fill))
        if self.padding is not None:
            settle(self, padding=padding_of(name, self.padding))
        choice(name, "padding_mode", self.padding_mode, PADDING_MODES)

    def _padded(self, images: Array) -> Array:
        """Give the images with their borders; raises ShapeError where the window still exceeds."""
        (h, w), name = both(self.size), type(self).__name__
        left, top, right, bottom = four(self.padding or 0)
        if self.pad_if_needed:  # what is missing, on both sides, so that any place can be drawn
            high = max(0, h - (images.shape[2] + top + bottom))
            wide = max(0, w - (images.shape[3] + left + right))
            left, top, right, bottom = left + wide, top + high, right + wide, bottom + high
        borders = (left, top, right, bottom)
        out = padded(images, borders, self.fill, self.padding_mode, name)
        check_fits(out, (h, w), name)
        return out


@transform
@dataclass(frozen=True, repr=False)
class CenterCrop(_Window):
    """Cut the middle out of images: (C, H, W) -> (C, h, w).

    The first row is (H - h) / 2, the first column (W - w) / 2, halves rounded to even numbers as
    torchvision does.  `padding`, `fill` and `padding_mode` lay a border around the images before,
    as in `Pad`; `pad_if_needed` one that makes smaller images large enough.  Raises ShapeError
    for a window larger than the image (torchvision fills up with black: set `pad_if_needed`).

    >>> import numpy as np
    >>> CenterCrop(2)(np.arange(16).reshape(1, 4, 4)).tolist()
    [[[5, 6], [9, 10]]]
    >>> CenterCrop(3)(np.zeros((1, 2, 5)))
    Traceback (most recent call last):
    chainrule.errors.ShapeError: CenterCrop: expected a window 3 x 3 inside the image; \
got image 2 x 5; pad_if_needed=True fills up, Resize enlarges
    """

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        return central(self._padded(images), both(self.size))


@transform
@dataclass(frozen=True, repr=False)
class RandomCrop(_Window):
    """Cut a window out of images at a random place: (C, H, W) -> (C, h, w).

    Each image has a place of its own, every one equally likely.  `padding`, `fill` and
    `padding_mode` lay a border around the images before, as in `Pad`; `pad_if_needed` one that
    makes smaller images large enough, by what is missing on both sides.  In use it is the
    `CenterCrop` with the same borders: RandomCrop(32, padding=4) leaves 32 x 32 images as they
    are, RandomCrop(32, padding=2) gives 28 x 28 images their border, RandomCrop(28) cuts the middle
    out of 32 x 32.  Names and defaults are torchvision's.

    Source: A. Krizhevsky et al., ImageNet classification with deep convolutional neural networks
    (2012), 4.1; with a border of 4 K. He et al., Deep residual learning (2016), 4.2.  Raises
    ShapeError for a window larger than the image with its border.

    >>> import numpy as np, chainrule as cr
    >>> RandomCrop((1, 2))(np.arange(9).reshape(1, 3, 3), cr.Generator(0)).tolist()
    [[[0, 1]]]
    >>> RandomCrop(32, padding=4).eval()
    CenterCrop(size=32, padding=4)
    """

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        out = self._padded(images)
        n, _, height, width = out.shape
        h, w = both(self.size)
        tops = generator.integers(0, height - h + 1, (n,))
        lefts = generator.integers(0, width - w + 1, (n,))
        return cut(out, tops, lefts, (h, w))

    def eval(self) -> Transform:
        """Give the central crop with the same borders."""
        return CenterCrop(self.size, self.padding, self.pad_if_needed, self.fill, self.padding_mode)


@transform
@dataclass(frozen=True, repr=False)
class RandomResizedCrop(Transform):
    """Cut a part of random size and shape out of images and bring it to a size: -> (C, h, w).

    Of an image of area A = H W the part's area is drawn from A * `scale`, the logarithm of its
    ratio width / height from that of `ratio`, evenly, and again (ten times in all) where the part
    is higher or wider than the image; then the largest central part serves whose ratio is in
    range.  In use the shorter side becomes size * 256 / 224, and the middle is cut out.  Names and
    defaults are torchvision's.

    Source: C. Szegedy et al., Going deeper with convolutions (2015), 6.  Raises ShapeError for
    settings out of range.

    >>> import numpy as np, chainrule as cr
    >>> RandomResizedCrop(224)(np.zeros((3, 300, 400), np.uint8), cr.Generator(0)).shape
    (3, 224, 224)
    >>> RandomResizedCrop(224).eval()
    Compose([Resize(size=256), CenterCrop(size=224)])
    """

    size: Size
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        name = "RandomResizedCrop"
        settle(self, size=size_of(name, self.size))
        settle(self, scale=interval(name, "scale", self.scale, 0.0, 1.0))
        settle(self, ratio=interval(name, "ratio", self.ratio, 1e-6, math.inf))
        choice(name, "interpolation", self.interpolation, INTERPOLATIONS)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        n, c, height, width = images.shape
        whole = (height, width)
        w, h, found = random_sides(
            generator, n, height * width, self.scale, self.ratio, whole[::-1]
        )
        fallback = self._largest(whole)
        h, w = np.where(found, h, fallback[0]), np.where(found, w, fallback[1])
        places = generator.uniform((2, n), np.dtype(np.float64), 0.0, 1.0)
        tops = np.where(found, places[0] * (height - h + 1), (height - h) // 2).astype(np.int64)
        lefts = np.where(found, places[1] * (width - w + 1), (width - w) // 2).astype(np.int64)
        size = both(self.size)
        out = np.empty((n, c, *size), images.dtype)
        for i, (top, left, high, wide) in enumerate(zip(tops, lefts, h, w, strict=True)):
            part = images[i : i + 1, :, top : top + high, left : left + wide]
            out[i] = resized(part, size, self.interpolation, self.antialias)[0]
        return out

    def _largest(self, whole: tuple[int, int]) -> tuple[int, int]:
        """Give the sides of the largest part whose ratio is in range."""
        h, w = whole
        low, high = self.ratio
        if w / h < low:
            return max(1, round(w / low)), w
        if w / h > high:
            return h, max(1, round(h * high))
        return h, w

    def eval(self) -> Transform:
        """Give the resizing and the central crop for measuring and use."""
        short = round(max(both(self.size)) * 256 / 224)
        resize = Resize(short, self.interpolation, antialias=self.antialias)
        return Compose((resize, CenterCrop(self.size)))


def check_fits(images: Array, size: tuple[int, int], name: str) -> None:
    """Raise ShapeError, with both sizes, for a window larger than the images."""
    (h, w), (height, width) = size, images.shape[2:]
    if h > height or w > width:
        hint = "Resize enlarges"
        if name.endswith("Crop") and name not in ("FiveCrop", "TenCrop"):
            hint = f"pad_if_needed=True fills up, {hint}"
        rule = f"a window {h} x {w} inside the image; got image {height} x {width}"
        raise failure(name, rule, hint=hint)


def central(images: Array, size: tuple[int, int]) -> Array:
    """Give the middle of images (N, C, H, W), a view."""
    (h, w), (height, width) = size, images.shape[2:]
    top, left = round((height - h) / 2), round((width - w) / 2)
    return images[:, :, top : top + h, left : left + w]


def cut(images: Array, tops: Array, lefts: Array, size: tuple[int, int]) -> Array:
    """Cut a window out of each image (N, C, H, W) at a place of its own."""
    h, w = size
    out = np.empty((*images.shape[:2], h, w), images.dtype)
    for i, (top, left) in enumerate(zip(tops.tolist(), lefts.tolist(), strict=True)):
        out[i] = images[i, :, top : top + h, left : left + w]
    return out


def random_sides(
    generator: Generator,
    n: int,
    area: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    limits: tuple[int, int],
) -> tuple[Array, Array, Array]:
    """Draw n boxes: their sides a and b with a * b of the area and a / b of the ratio.

    Gives a, b and which were `found`: both at least 1 and at most their limit in one of the trials.
    """
    kind = np.dtype(np.float64)
    areas = area * generator.uniform((n, _TRIALS), kind, *scale)
    ratios = np.exp(generator.uniform((n, _TRIALS), kind, *(math.log(limit) for limit in ratio)))
    a, b = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (a >= 1) & (b >= 1) & (a <= limits[0]) & (b <= limits[1])
    first = (np.arange(n), np.argmax(fits, axis=1))
    return a[first].astype(np.int64), b[first].astype(np.int64), fits.any(axis=1)
