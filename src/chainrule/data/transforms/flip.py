"""Mirror images."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.data.transforms.arguments import probability, settle
from chainrule.data.transforms.base import Identity, Transform, transform
from chainrule.engine.op import Array
from chainrule.engine.random import Generator


@dataclass(frozen=True, repr=False)
class _Flip(Transform):
    """What both flips share."""

    p: float = 0.5

    def __post_init__(self) -> None:
        settle(self, p=probability(type(self).__name__, self.p))

    def _mirrored(self, images: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__}._mirrored")

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        chosen = generator.bernoulli(self.p, (len(images),))
        out = images.copy()
        out[chosen] = self._mirrored(images)[chosen]
        return out

    def eval(self) -> Transform:
        """Give what leaves images as they are."""
        return Identity()


@transform
@dataclass(frozen=True, repr=False)
class RandomHorizontalFlip(_Flip):
    """Exchange left and right of an image with probability `p`; in use, never.

    Shapes: (C, H, W) -> the same.  Source: A. Krizhevsky et al., ImageNet classification with deep
    convolutional neural networks (2012), 4.1.  Raises ShapeError for p outside 0..1.

    >>> import numpy as np
    >>> RandomHorizontalFlip(p=1.0)(np.array([[[1, 2], [3, 4]]])).tolist()
    [[[2, 1], [4, 3]]]
    """

    def _mirrored(self, images: Array) -> Array:
        return images[:, :, :, ::-1]


@transform
@dataclass(frozen=True, repr=False)
class RandomVerticalFlip(_Flip):
    """Exchange top and bottom of an image with probability `p`; in use, never.

    Shapes: (C, H, W) -> the same.  Raises ShapeError for p outside 0..1.

    >>> import numpy as np
    >>> RandomVerticalFlip(p=1.0)(np.array([[[1, 2], [3, 4]]])).tolist()
    [[[3, 4], [1, 2]]]
    """

    def _mirrored(self, images: Array) -> Array:
        return images[:, :, ::-1]
