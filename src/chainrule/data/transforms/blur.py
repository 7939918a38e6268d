"""Images out of focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms.arguments import interval, is_sequence, number, settle, whole
from chainrule.data.transforms.base import Identity, Transform, transform
from chainrule.data.transforms.pixels import as_floats, back
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import failure

_LEAST = 1e-3  # pixels: a narrower curve is one pixel wide


@transform
@dataclass(frozen=True, repr=False)
class GaussianBlur(Transform):
    """Blur images by exp(-t^2 / (2 sigma^2)), normalised to sum 1, along rows and columns.

    `kernel_size` is the odd number of pixels that the curve spans, or (along a row, along a
    column).  Sigma, in pixels, is one number, or drawn for each image from the two given.  The
    image goes on mirrored at its borders.  In use one sigma stays, and a random one leaves images
    as they are.  Shapes: (C, H, W) -> the same.  Names and defaults are torchvision's.  Raises
    ShapeError for even sizes and for sigma that is not above 0.

    >>> import numpy as np
    >>> image = np.zeros((1, 1, 5), np.uint8); image[0, 0, 2] = 100
    >>> GaussianBlur((3, 1), sigma=1.0)(image).tolist()
    [[[0, 27, 45, 27, 0]]]
    """

    kernel_size: Any
    sigma: Any = (0.1, 2.0)

    def __post_init__(self) -> None:
        name, sizes = "GaussianBlur", self.kernel_size
        sizes = tuple(sizes) if is_sequence(sizes) else (sizes,)
        sizes = tuple(whole(name, "kernel_size", size) for size in sizes)
        if len(sizes) not in (1, 2) or any(size % 2 == 0 for size in sizes):
            rule = "an odd kernel_size, or two of them"
            raise failure(name, rule, kernel_size=self.kernel_size)
        settle(self, kernel_size=sizes[0] if len(sizes) == 1 else sizes)
        if is_sequence(self.sigma):
            settle(self, sigma=interval(name, "sigma", self.sigma, _LEAST, 1e6))
        else:
            settle(self, sigma=number(name, "sigma", self.sigma, _LEAST))

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        n = len(images)
        sigma = self.sigma
        if isinstance(sigma, tuple):
            sigma = generator.uniform((n,), np.dtype(np.float64), *sigma)
        wide, high = (np.atleast_1d(self.kernel_size).tolist() * 2)[:2]
        x = as_floats(images)
        spread = np.broadcast_to(sigma, (n,))
        x = _along(x, _curves(wide, spread), axis=3)
        x = _along(x, _curves(high, spread), axis=2)
        return back(x, images.dtype)

    def eval(self) -> Transform:
        """Give what leaves images as they are, where sigma is drawn."""
        return Identity() if isinstance(self.sigma, tuple) else self


def _curves(size: int, sigma: Array) -> Array:
    """Give (N, size) weights."""
    t = np.arange(size) - size // 2
    curves = np.exp(-0.5 * (t / sigma[:, np.newaxis]) ** 2)
    return np.asarray(curves / curves.sum(axis=1, keepdims=True))


def _along(x: Array, curves: Array, axis: int) -> Array:
    """Give sum_t curves[n, t] x[i + t - size // 2] along an axis of x (N, C, H, W)."""
    size, length = curves.shape[1], x.shape[axis]
    if size == 1:
        return x
    borders = [(0, 0)] * 4
    borders[axis] = (size // 2, size // 2)
    framed = np.pad(x, borders, "reflect")
    weights = curves.astype(x.dtype)[:, :, np.newaxis, np.newaxis, np.newaxis]  # (N, size, 1, 1, 1)
    place = [slice(None)] * 4
    out = np.zeros_like(x)
    for t in range(size):
        place[axis] = slice(t, t + length)
        out += framed[tuple(place)] * weights[:, t]
    return out
