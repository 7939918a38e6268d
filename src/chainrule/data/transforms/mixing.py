"""Images of a batch mixed with each other, and their targets with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from chainrule.data.dataset import check_labels
from chainrule.data.transforms.arguments import number, settle
from chainrule.data.transforms.pixels import as_floats, back
from chainrule.data.transforms.text import call_text, read_call
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator
from chainrule.errors import KindError, failure

MIXES: dict[str, type[Mix]] = {}
"""Every way of mixing by its class's name; suites walk it."""

Class = TypeVar("Class", bound="type[Mix]")


def mix(cls: Class) -> Class:
    """Register a way of mixing under its name, as a decorator above `@dataclass(frozen=True)`."""
    if cls.__name__ in MIXES:
        raise failure("mix", f"a name that is not taken: {cls.__name__}")
    MIXES[cls.__name__] = cls
    return cls


def parse_mix(text: str) -> Mix:
    """Read a way of mixing from its text; raises DataError that says what was not understood.

    >>> parse_mix("MixUp(0.2)")
    MixUp(alpha=0.2)
    """
    return read_call(text, MIXES, "mix")  # type: ignore[no-any-return]


@dataclass(frozen=True, repr=False)
class Mix:
    """Mixes each image of a batch with a partner, for training; subclasses implement `blend`.

    Partners are a random permutation of the batch; an image may meet itself.  For each image lambda
    is drawn from Beta(alpha, alpha), and its target becomes lambda t + (1 - lambda) t of the
    partner, which `cross_entropy` takes as probabilities.  (The papers' programs, and torchvision,
    draw one lambda a batch.)
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        alpha = float(number(name, "alpha", self.alpha, 0.0))
        if not alpha:
            raise failure(name, "alpha above 0", alpha=alpha)
        settle(self, alpha=alpha)

    def __call__(
        self, images: Array, targets: Array, num_classes: int, generator: Generator | None = None
    ) -> tuple[Array, Array]:
        """Mix images (N, C, H, W) and targets, labels (N,) or numbers (N, classes).

        Gives images of the same type and targets (N, classes) in float32.  Inputs are not written
        to.  Raises ShapeError where images and targets don't fit, LabelError for a label outside
        the classes, KindError for labels that are not integers.

        >>> import numpy as np, chainrule as cr
        >>> images, targets = np.zeros((2, 1, 4, 4), np.float32), np.array([0, 2])
        >>> MixUp()(images, targets, 3, cr.Generator(1))[1].round(2)
        array([[0.96, 0.  , 0.04],
               [0.16, 0.  , 0.84]], dtype=float32)
        """
        name = type(self).__name__
        chance = default_generator() if generator is None else generator
        images = np.asarray(images)
        soft = _soft(np.asarray(targets), num_classes, name)
        if images.ndim != 4 or len(images) != len(soft) or not images.size:
            rule = "images (N, C, H, W) with N targets"
            raise failure(name, rule, images=images, targets=np.asarray(targets))
        partners = chance.permutation(len(images))
        seeds = chance.integers(0, 2**63 - 1, (2,))  # NumPy has the distribution
        beta = np.random.Generator(np.random.Philox(np.random.SeedSequence(seeds.tolist())))
        share = beta.beta(self.alpha, self.alpha, len(images))
        mixed, share = self.blend(images, images[partners], share, chance)
        kept = share.astype(np.float32)[:, np.newaxis]
        return mixed, soft * kept + soft[partners] * (1 - kept)

    def blend(
        self, images: Array, others: Array, share: Array, generator: Generator
    ) -> tuple[Array, Array]:
        """Give the mixed images, and the shares (N,) that the first have in them."""
        raise NotImplementedError(f"{type(self).__name__}.blend")

    def __repr__(self) -> str:
        """Write the call that makes it, without the defaults."""
        return call_text(self)


@mix
@dataclass(frozen=True, repr=False)
class MixUp(Mix):
    """x = lambda x1 + (1 - lambda) x2, and the targets likewise; lambda from Beta(alpha, alpha).

    Shapes as in `Mix`; bytes are rounded.  The name is torchvision's.  Source: H. Zhang et al.,
    mixup: Beyond empirical risk minimization (2018), with alpha from 0.1 to 0.4 for ImageNet.

    >>> import numpy as np, chainrule as cr
    >>> images = np.array([0.0, 1.0]).reshape(2, 1, 1, 1)
    >>> x, t = MixUp(0.2)(images, np.array([0, 1]), 2, cr.Generator(0))
    >>> bool(np.allclose(x.ravel(), t[:, 1]))  # of the second class as much as of its pixel
    True
    """

    def blend(
        self, images: Array, others: Array, share: Array, generator: Generator
    ) -> tuple[Array, Array]:
        """Give the mean of both, weighted."""
        x = as_floats(images)
        kept = share.astype(x.dtype).reshape(-1, 1, 1, 1)
        x *= kept
        x += others * (1 - kept)
        return back(x, images.dtype), share


@mix
@dataclass(frozen=True, repr=False)
class CutMix(Mix):
    """Put a rectangle of the partner into each image; the targets by area.

    With lambda from Beta(alpha, alpha) the rectangle is H sqrt(1 - lambda) by W sqrt(1 - lambda),
    its middle anywhere in the image, what is outside cut off: the targets' lambda is 1 minus the
    part of the image that was really covered.  Shapes as in `Mix`.  The name is torchvision's.
    Source: S. Yun et al., CutMix: Regularization strategy to train strong classifiers (2019).

    >>> import numpy as np, chainrule as cr
    >>> images = np.zeros((2, 1, 8, 8)); images[1] = 1.0
    >>> x, t = CutMix()(images, np.array([0, 1]), 2, cr.Generator(0))
    >>> bool(np.allclose(x.mean(axis=(1, 2, 3)), t[:, 1]))
    True
    """

    def blend(
        self, images: Array, others: Array, share: Array, generator: Generator
    ) -> tuple[Array, Array]:
        """Give the images with rectangles of the others, and the parts that stayed."""
        n, _, h, w = images.shape
        sides = np.array([[h], [w]])  # rows and columns alike: (2, N)
        middle = generator.uniform((2, n), np.dtype(np.float64), 0.0, 1.0) * sides
        reach = 0.5 * np.sqrt(1 - share) * sides
        first = np.rint(np.maximum(middle - reach, 0)).astype(np.int64)
        last = np.rint(np.minimum(middle + reach, sides)).astype(np.int64)
        out = images.copy()
        for i, (top, left, bottom, right) in enumerate(np.concatenate([first, last]).T.tolist()):
            out[i, :, top:bottom, left:right] = others[i, :, top:bottom, left:right]
        return out, 1 - np.prod(last - first, axis=0) / (h * w)


def _soft(targets: Array, num_classes: int, name: str) -> Array:
    """Give targets as (N, classes) in float32."""
    if targets.ndim == 1:
        if targets.dtype.kind not in "iu":
            raise failure(name, "integer labels (N,)", error=KindError, targets=targets)
        check_labels(targets, num_classes, f"{name} labels")
        out = np.zeros((len(targets), num_classes), np.float32)
        out[np.arange(len(targets)), targets] = 1.0
        return out
    if targets.ndim != 2 or targets.shape[1] != num_classes:
        raise failure(name, f"labels (N,) or targets (N, {num_classes})", targets=targets)
    if targets.dtype.kind not in "biuf":
        raise failure(name, "targets of numbers", error=KindError, targets=targets)
    return targets.astype(np.float32)
