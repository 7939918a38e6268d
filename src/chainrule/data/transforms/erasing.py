"""Parts of images erased at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms.arguments import fill_of, interval, probability, settle
from chainrule.data.transforms.base import Identity, Transform, transform
from chainrule.data.transforms.crop import random_sides
from chainrule.data.transforms.pixels import fill_row
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import failure


@transform
@dataclass(frozen=True, repr=False)
class RandomErasing(Transform):
    """Overwrite a random rectangle of an image with probability `p`: the same shape.

    Of an image of area A = H W the rectangle's area is drawn from A * `scale`, the logarithm of
    its ratio height / width from that of `ratio`, evenly, and again (ten times in all) where it is
    not smaller than the image in both directions; then the image stays.  `value` is written, in the
    images' own units, a number or one a channel; "random" draws each pixel, normal for floats,
    from black to white for whole numbers.  In use images stay.  Names and defaults are
    torchvision's.

    Source: Z. Zhong et al., Random erasing data augmentation (2020).  Raises ShapeError for
    settings out of range and for a value that the images' type cannot hold.

    >>> import numpy as np, chainrule as cr
    >>> erase = RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))
    >>> int(erase(np.ones((1, 4, 4), np.uint8), cr.Generator(0)).sum())
    12
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: Any = 0

    def __post_init__(self) -> None:
        name = "RandomErasing"
        settle(self, p=probability(name, self.p))
        settle(self, scale=interval(name, "scale", self.scale, 0.0, 1.0))
        settle(self, ratio=interval(name, "ratio", self.ratio, 1e-6, math.inf))
        if isinstance(self.value, str) and self.value != "random":
            raise failure(name, "a number, one a channel or 'random' as value", value=self.value)
        if not isinstance(self.value, str):
            settle(self, value=fill_of(name, self.value))

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        n, _, height, width = images.shape
        chosen = generator.bernoulli(self.p, (n,))
        limits = (height - 1, width - 1)
        h, w, found = random_sides(generator, n, height * width, self.scale, self.ratio, limits)
        places = generator.uniform((2, n), np.dtype(np.float64), 0.0, 1.0)
        out = images.copy()
        for i in np.flatnonzero(chosen & found):
            top = int(places[0, i] * (height - h[i] + 1))
            left = int(places[1, i] * (width - w[i] + 1))
            part = out[i : i + 1, :, top : top + h[i], left : left + w[i]]
            part[...] = self._written(part, generator)
        return out

    def _written(self, part: Array, generator: Generator) -> Array:
        if self.value != "random":
            return fill_row(self.value, part, "RandomErasing")
        if part.dtype.kind == "f":
            return generator.normal(part.shape, part.dtype, 0.0, 1.0)
        white = 1 if part.dtype == np.bool_ else int(np.iinfo(part.dtype).max)
        return generator.integers(0, min(white, 2**63 - 2) + 1, part.shape).astype(part.dtype)

    def eval(self) -> Transform:
        """Give what leaves images as they are."""
        return Identity()
