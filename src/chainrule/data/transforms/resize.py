"""Images in other sizes: fixed ones, and sizes drawn at random."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from chainrule.data.dataset import Images
from chainrule.data.transforms.arguments import Size, choice, settle, size_of, whole
from chainrule.data.transforms.base import Transform, joined, transform
from chainrule.data.transforms.pixels import as_floats, back
from chainrule.engine.op import Array, DType
from chainrule.engine.random import Generator
from chainrule.errors import failure

INTERPOLATIONS = ("nearest", "nearest-exact", "bilinear", "bicubic")

_SMALL = 64  # pixels: to this side, products of matrices are faster than calls of Pillow


@transform
@dataclass(frozen=True, repr=False)
class Resize(Transform):
    """Bring images to a size: (C, H, W) -> (C, h, w).

    A `size` of one number is that of the shorter side; the longer becomes
    int(size * longer / shorter), and no more than `max_size`, where the shorter then shrinks with
    it.  A pair is (h, w).  With p = (i + 1/2) * H / h, the place of row i, its value is
    sum_j f((j + 1/2 - p) / s) x[j] / sum_j f((j + 1/2 - p) / s), the same along columns.  f is
    1 - |t| for "bilinear" and Keys's cubic for "bicubic"; s = max(1, H / h) with `antialias`, so
    that a smaller image is an average, else 1.  "nearest-exact" takes row floor(p), "nearest" row
    floor(i * H / h), as PyTorch's `interpolate` does.

    Bytes are rounded to bytes.  Cubic floats may leave 0..1.  Names and defaults are torchvision's.
    Source: R. Keys, Cubic convolution interpolation (1981), with a = -1/2; -3/4 without antialias,
    as in PyTorch.  Raises ShapeError for settings out of range.

    >>> import numpy as np
    >>> Resize((1, 4))(np.array([[[0, 100]]], np.uint8)).tolist()
    [[[0, 25, 75, 100]]]
    >>> Resize(8)(np.zeros((3, 16, 21))).shape
    (3, 8, 10)
    """

    size: Size
    interpolation: str = "bilinear"
    max_size: int | None = None
    antialias: bool = True

    def __post_init__(self) -> None:
        settle(self, size=size_of("Resize", self.size))
        choice("Resize", "interpolation", self.interpolation, INTERPOLATIONS)
        if self.max_size is None:
            return
        settle(self, max_size=whole("Resize", "max_size", self.max_size))
        if not isinstance(self.size, int) or self.max_size < self.size:
            rule = "max_size with a size of one number, and not below it"
            raise failure("Resize", rule, size=self.size, max_size=self.max_size)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        h, w = images.shape[2:]
        size = self.size
        if isinstance(size, int):
            size = shorter_side(h, w, size, self.max_size)
        return resized(images, size, self.interpolation, self.antialias)


@transform
@dataclass(frozen=True, repr=False)
class RandomResize(Transform):
    """Resize the shorter side to a size drawn for each image: VGG's scale jittering.

    The size S is any whole number from `min_size` to `max_size`, both among them; the longer side
    keeps the ratio.  A batch comes out as a list where its images have several sizes: a crop
    follows.  In use S is `eval_size`, by default half of `min_size` + `max_size`, as in the paper.

    Source: K. Simonyan and A. Zisserman, Very deep convolutional networks (2015), 3.1, with S in
    [256, 512] and 384 in use.  The name is torchvision's (whose sizes end below `max_size`; its
    ScaleJitter is another thing: a factor on a target's size).  Raises ShapeError where
    `max_size` is under `min_size`.

    >>> import numpy as np, chainrule as cr
    >>> scale = RandomResize(4, 8)
    >>> [image.shape for image in scale(np.zeros((2, 1, 8, 16)), cr.Generator(2))]
    [(1, 8, 16), (1, 7, 14)]
    >>> scale.eval()
    Resize(size=6)
    """

    min_size: int
    max_size: int
    interpolation: str = "bilinear"
    antialias: bool = True
    eval_size: int | None = None

    def __post_init__(self) -> None:
        low = whole("RandomResize", "min_size", self.min_size)
        high = whole("RandomResize", "max_size", self.max_size)
        if high < low:
            raise failure("RandomResize", "min_size <= max_size", min_size=low, max_size=high)
        choice("RandomResize", "interpolation", self.interpolation, INTERPOLATIONS)
        settle(self, min_size=low, max_size=high)
        if self.eval_size is not None:
            settle(self, eval_size=whole("RandomResize", "eval_size", self.eval_size))

    def apply(self, images: Array, generator: Generator) -> Images:
        """Change a batch; see the class."""
        n, _, h, w = images.shape
        sizes = generator.integers(self.min_size, self.max_size + 1, (n,))
        out = []
        for image, side in zip(images, sizes, strict=True):
            size = shorter_side(h, w, int(side))
            out.append(resized(image[np.newaxis], size, self.interpolation, self.antialias)[0])
        return joined(out)  # type: ignore[no-any-return]

    def eval(self) -> Transform:
        """Give the resizing to `eval_size`."""
        side = self.eval_size or (self.min_size + self.max_size) // 2
        return Resize(side, self.interpolation, antialias=self.antialias)


def shorter_side(h: int, w: int, side: int, longest: int | None = None) -> tuple[int, int]:
    """Give the (height, width) with a shorter side of `side`, and none above `longest`.

    >>> shorter_side(300, 451, 100), shorter_side(300, 450, 100, longest=120)
    ((100, 150), (80, 120))
    """
    short, long = min(h, w), max(h, w)
    other = side * long // short
    if longest is not None and other > longest:
        side, other = max(1, longest * side // other), longest
    return (side, other) if h <= w else (other, side)


def resized(
    images: Array, size: tuple[int, int], interpolation: str = "bilinear", antialias: bool = True
) -> Array:
    """Give images (N, C, H, W) as (N, C, *size) in their type; the formula is `Resize`'s."""
    here = images.shape[2:]
    if here == size:
        return images
    if interpolation.startswith("nearest"):
        exact = interpolation == "nearest-exact"
        rows, columns = (_nearest(*pair, exact) for pair in zip(here, size, strict=True))
        return np.asarray(images[:, :, rows[:, np.newaxis], columns])
    large = antialias and max(*here, *size) > _SMALL
    if large and images.dtype == np.uint8:
        return _by_pillow(images, size, interpolation)
    x = as_floats(images)
    if large and x.dtype == np.float32:
        return back(_by_pillow(x, size, interpolation), images.dtype)
    settings = (interpolation, antialias, x.dtype)
    rows, columns = (_matrix(a, b, *settings) for a, b in zip(here, size, strict=True))
    (h, w), (new_h, new_w) = here, size
    if h * new_w * (w + new_h) <= new_h * w * (h + new_w):  # the order with fewer products
        x = rows @ (x @ columns.T)
    else:
        x = (rows @ x) @ columns.T
    return back(x, images.dtype)


def _by_pillow(images: Array, size: tuple[int, int], interpolation: str) -> Array:
    """Resize bytes or float32 plane by plane; Pillow computes without the interpreter's lock."""
    pillow = importlib.import_module("PIL.Image")  # slow to import, and only needed here
    method = {"bilinear": pillow.Resampling.BILINEAR, "bicubic": pillow.Resampling.BICUBIC}
    planes = images.reshape(-1, *images.shape[2:])
    out = np.empty((len(planes), *size), images.dtype)
    for plane, place in zip(planes, out, strict=True):
        image = pillow.fromarray(plane)
        place[...] = np.asarray(image.resize(size[::-1], method[interpolation]))
    return out.reshape(*images.shape[:2], *size)


def _nearest(length: int, size: int, exact: bool) -> Array:
    """Give the row from which each new row is taken."""
    steps = np.arange(size, dtype=np.int64)
    return (2 * steps + 1) * length // (2 * size) if exact else steps * length // size


def _matrix(length: int, size: int, interpolation: str, antialias: bool, dtype: DType) -> Any:
    """Give the (size, length) weights in a type; those of small images are kept."""
    make = _kept if max(length, size) <= _SMALL else _typed
    return make(length, size, interpolation, antialias, dtype)


def _typed(length: int, size: int, interpolation: str, antialias: bool, dtype: DType) -> Array:
    return weights(length, size, interpolation, antialias).astype(dtype)


_kept = lru_cache(maxsize=256)(_typed)


def weights(length: int, size: int, interpolation: str, antialias: bool) -> Array:
    """Give the (size, length) matrix that brings a line of pixels to another size, in float64.

    >>> weights(2, 4, "bilinear", True) @ [0.0, 4.0]
    array([0., 1., 3., 4.])
    """
    step = length / size
    middle = (np.arange(size) + 0.5)[:, np.newaxis] * step - 0.5  # the place among the old pixels
    if antialias:
        curve = _triangle if interpolation == "bilinear" else _cubic
        found = curve((np.arange(length) - middle) / max(step, 1.0))
        return np.asarray(found / found.sum(axis=1, keepdims=True))
    near = np.floor(middle).astype(np.int64) + np.arange(-1, 3)  # (size, 4)
    found = (
        _triangle(near - middle) if interpolation == "bilinear" else _cubic(near - middle, -0.75)
    )
    matrix = np.zeros((size, length))
    rows = np.arange(size)[:, np.newaxis]
    np.add.at(matrix, (rows, np.clip(near, 0, length - 1)), found)  # the border's pixels go on
    return matrix


def _triangle(t: Any) -> Any:
    return np.maximum(0.0, 1.0 - np.abs(t))


def _cubic(t: Any, a: float = -0.5) -> Any:
    """Keys's cubic: 1 at 0, 0 at all other whole numbers, 0 from 2 on."""
    t = np.abs(t)
    inner = ((a + 2) * t - (a + 3)) * t * t + 1
    outer = a * (((t - 5) * t + 8) * t - 4)
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0.0))
