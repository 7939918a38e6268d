"""Several views of each image, whose scores are averaged: corners, middle, mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.data.transforms.arguments import Size, both, settle, size_of
from chainrule.data.transforms.base import Transform, transform
from chainrule.data.transforms.crop import central, check_fits
from chainrule.engine.op import Array
from chainrule.engine.random import Generator


@transform
@dataclass(frozen=True, repr=False)
class FiveCrop(Transform):
    """Cut the corners and the middle out of images: (C, H, W) -> (5, C, h, w).

    Of a batch (N, C, H, W) -> (N, 5, C, h, w).  The order is torchvision's: top left, top right,
    bottom left, bottom right, middle.  Transforms after it change each view; a network's scores
    are averaged over the views.  Raises ShapeError for a window larger than the image.

    >>> import numpy as np
    >>> FiveCrop(1)(np.arange(9).reshape(1, 3, 3)).ravel().tolist()
    [0, 2, 6, 8, 4]
    """

    size: Size

    def __post_init__(self) -> None:
        settle(self, size=size_of("FiveCrop", self.size))

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        return np.stack(_five(images, both(self.size), "FiveCrop"), axis=1)


@transform
@dataclass(frozen=True, repr=False)
class TenCrop(Transform):
    """Cut the views of `FiveCrop` out of images and of their mirror images: -> (10, C, h, w).

    Of a batch (N, C, H, W) -> (N, 10, C, h, w).  First the five of the image, then the five of
    the mirrored one, left and right exchanged, or with `vertical_flip` top and bottom.

    Source: A. Krizhevsky et al., ImageNet classification with deep convolutional neural networks
    (2012), 4.1: "extracting five 224 x 224 patches ... as well as their horizontal reflections".
    Raises ShapeError for a window larger than the image.

    >>> import numpy as np
    >>> TenCrop(1)(np.arange(9).reshape(1, 3, 3)).ravel().tolist()
    [0, 2, 6, 8, 4, 2, 0, 8, 6, 4]
    """

    size: Size
    vertical_flip: bool = False

    def __post_init__(self) -> None:
        settle(self, size=size_of("TenCrop", self.size))

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        mirrored = images[:, :, ::-1] if self.vertical_flip else images[:, :, :, ::-1]
        size = both(self.size)
        views = [view for part in (images, mirrored) for view in _five(part, size, "TenCrop")]
        return np.stack(views, axis=1)


def _five(images: Array, size: tuple[int, int], name: str) -> list[Array]:
    check_fits(images, size, name)
    (h, w), (height, width) = size, images.shape[2:]
    corners = [(t, x) for t in (0, height - h) for x in (0, width - w)]
    found = [images[:, :, top : top + h, left : left + w] for top, left in corners]
    return [*found, central(images, size)]
