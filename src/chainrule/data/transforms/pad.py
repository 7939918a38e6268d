"""Borders around images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms.arguments import choice, fill_of, four, padding_of, settle
from chainrule.data.transforms.base import Transform, transform
from chainrule.data.transforms.pixels import fill_row
from chainrule.engine.op import Array
from chainrule.engine.random import Generator

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


@transform
@dataclass(frozen=True, repr=False)
class Pad(Transform):
    """Lay a border around images: (C, H, W) -> (C, top + H + bottom, left + W + right).

    `padding` is one width, (left and right, top and bottom) or (left, top, right, bottom).  The
    border holds `fill`, in the images' own units, a number or one a channel ("constant"), the
    outermost pixels ("edge"), or the image mirrored, without ("reflect") or with ("symmetric") its
    outermost pixels; where the border is wider than the image, mirrored again and again.  Names
    and defaults are torchvision's.  Raises ShapeError for negative widths and for a fill that the
    images' type cannot hold.

    >>> import numpy as np
    >>> Pad((1, 0), fill=9)(np.array([[[1, 2]]], np.uint8)).tolist()
    [[[9, 1, 2, 9]]]
    >>> Pad((2, 0), padding_mode="reflect")(np.array([[[1, 2, 3]]], np.uint8)).tolist()
    [[[3, 2, 1, 2, 3, 2, 1]]]
    """

    padding: Any
    fill: Any = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        settle(self, padding=padding_of("Pad", self.padding), fill=fill_of("Pad", self.fill))
        choice("Pad", "padding_mode", self.padding_mode, PADDING_MODES)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        return padded(images, four(self.padding), self.fill, self.padding_mode, "Pad")


def padded(
    images: Array, borders: tuple[int, int, int, int], fill: Any, mode: str, name: str
) -> Array:
    """Pad images (N, C, H, W) by (left, top, right, bottom); see `Pad`."""
    left, top, right, bottom = borders
    if not any(borders):
        return images
    if mode != "constant":
        edges = ((0, 0), (0, 0), (top, bottom), (left, right))
        return np.pad(images, edges, mode)  # type: ignore[no-any-return,call-overload]
    n, c, h, w = images.shape
    out = np.empty((n, c, top + h + bottom, left + w + right), images.dtype)
    out[...] = fill_row(fill, images, name)
    out[:, :, top : top + h, left : left + w] = images
    return out
