"""Transforms that are done by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chainrule.data.dataset import Images
from chainrule.data.transforms.arguments import probability, settle
from chainrule.data.transforms.base import (
    Batches,
    Compose,
    Identity,
    Transform,
    changed,
    joined,
    transform,
)
from chainrule.engine.op import Array
from chainrule.engine.random import Generator


@transform
@dataclass(frozen=True, repr=False)
class RandomApply(Transform):
    """Apply transforms, one after the other, to an image with probability `p`; else leave it.

    In use images stay as they are, and with p = 1 the transforms do what they do in use.  A batch
    comes out as a list where its images then differ in size or type.  The name is torchvision's.
    Raises ShapeError for p outside 0..1.

    >>> import numpy as np
    >>> from chainrule.data.transforms import Pad
    >>> RandomApply([Pad(1)], p=1.0)(np.zeros((3, 4, 4))).shape
    (3, 6, 6)
    """

    transforms: tuple[Transform, ...]
    p: float = 0.5

    def __post_init__(self) -> None:
        members = Compose(self.transforms).transforms
        settle(self, transforms=members, p=probability("RandomApply", self.p))

    @property
    def _all(self) -> Compose:
        return Compose(self.transforms)

    def apply(self, images: Array, generator: Generator) -> Images:
        """Change a batch; see the class."""
        chosen = generator.bernoulli(self.p, (len(images),))
        if not chosen.any():
            return images
        out = list(images)
        new = self._all(images[chosen], generator)
        for place, image in zip(np.flatnonzero(chosen), new, strict=True):
            out[place] = image
        return joined(out)  # type: ignore[no-any-return]

    def eval(self) -> Transform:
        """Give what leaves images as they are, or for p = 1 the transforms as they are in use."""
        return self._all.eval() if self.p == 1 else Identity()

    def fit(self, batches: Batches, white: float | None = None) -> Transform:
        """Fit the members, as `Compose` does."""
        return self._with(self._all.fit(batches, white))

    def arrays(self) -> dict[str, Array]:
        """Give the members' arrays."""
        return self._all.arrays()

    def with_arrays(self, arrays: Mapping[str, Array]) -> Transform:
        """Give the transform with its members' arrays."""
        return self._with(self._all.with_arrays(arrays))

    def _with(self, members: Compose) -> Transform:
        return changed(self, transforms=members.transforms)  # type: ignore[no-any-return]
