"""What a method of looking is given, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.inspection.scores import as_images, goals, plain_scores
from chainrule.nn.module import Module
from chainrule.nn.tracing import evaluating


class Use(Enum):
    """Whether a method wants something."""

    NO = "no"
    MAY = "may"
    MUST = "must"


@dataclass(frozen=True)
class Look:
    """What there is to look at.

    `image` is (1, C, H, W) as the network sees it, `samples(n)` gives n images (n, C, H, W) of the
    data it was tested on and their labels, prepared likewise.  `photo` is the picture (C, H, W) in
    a size of its own and `style` a second one, both from 0 to 1; (x - mean) / std of a channel is
    what the network sees of such pixels.  `size` (C, H, W) is that of images which are made, where
    no image is given; else that of the samples.  `target` is a class, or with a layer one of its
    units where the method's entry says so.
    """

    model: Module
    classes: tuple[str, ...] = ()
    image: Array | None = None
    layer: str | None = None
    target: int | None = None
    samples: Callable[[int], tuple[Array, Array]] | None = None
    mean: Array | float = 0.0
    std: Array | float = 1.0
    photo: Array | None = None
    style: Array | None = None
    size: tuple[int, int, int] | None = None

    @property
    def picture(self) -> Array:
        """The image; DataError if there is none."""
        if self.image is None:
            raise DataError("there is no image to look at; give one")
        return self.image

    @property
    def own_size(self) -> Array:
        """The picture from 0 to 1, (C, H, W): in its own size, else as large as the network's."""
        return self.plain(self.picture)[0] if self.photo is None else self.photo

    def plain(self, images: Array) -> Array:
        """Turn prepared images (N, C, H, W) back to pixels from 0 to 1."""
        mean, std = (np.reshape(v, (-1, 1, 1)) for v in (self.mean, self.std))
        pixels: Array = np.clip(images * std + mean, 0, 1).astype(np.float32)
        return pixels

    def some(self, count: int) -> tuple[Array, Array]:
        """Give images (n, C, H, W) from 0 to 1 and labels; DataError where there are none."""
        if self.samples is None:
            raise DataError("there are no images of a data set to look at")
        images, labels = self.samples(count)
        return self.plain(images), labels

    @property
    def preparation(self) -> dict[str, Any]:
        """Mean and deviation as the functions of this room take them; None where nothing is done.

        >>> import chainrule as cr
        >>> Look(cr.nn.ReLU()).preparation, Look(cr.nn.ReLU(), mean=np.ones(1)).preparation["mean"]
        ({'mean': None, 'std': None}, array([1.]))
        """
        mean = None if np.ndim(self.mean) == 0 and self.mean == 0 else self.mean
        std = None if np.ndim(self.std) == 0 and self.std == 1 else self.std
        return {"mean": mean, "std": std}

    @property
    def start(self) -> Array | None:
        """The image (C, H, W) from 0 to 1 with which one that is made begins; None for noise."""
        return None if self.image is None else self.plain(self.image)[0]

    @property
    def made_size(self) -> tuple[int, ...]:
        """The size (C, H, W) of an image to be made; DataError where nothing tells it."""
        if self.image is not None:
            return tuple(self.image.shape[1:])
        return self.size or tuple(self.some(1)[0].shape[1:])

    def asked(self, layer: bool = True) -> str:
        """Say what is asked about: the target and its value, or the unit of the layer."""
        name = self.layer if layer else None
        if name is not None:
            unit = "the strongest unit" if self.target is None else f"unit {self.target}"
            return f"{unit} of layer {name!r}"
        with evaluating(self.model):
            x = as_images("look", self.model, self.picture)
            scores = plain_scores("look", self.model, x)
        place = int(goals("look", scores, self.target)[0])
        kind = place // scores[0, 0].size
        word = self.classes[kind] if kind < len(self.classes) else str(kind)
        return f"{word!r} (score {scores.reshape(-1)[place]:.4g})"


@dataclass(frozen=True)
class Method:
    """A method of looking: `draw` gives a matplotlib figure; the rest says what it wants.

    `units` says that with a layer the target is one of the layer's units and no class, `painted`
    that the picture itself is painted on, in a size of its own.
    """

    draw: Callable[[Look], Any]
    what: str
    image: Use = Use.MUST
    layer: Use = Use.NO
    target: Use = Use.MAY
    units: bool = False
    style: Use = Use.NO
    painted: bool = False
