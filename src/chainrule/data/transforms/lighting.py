"""AlexNet's change of the light: noise along the principal axes of the training set's colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.transforms.arguments import is_sequence, number, settle
from chainrule.data.transforms.base import Batches, Identity, Transform, blocks, changed, transform
from chainrule.data.transforms.pixels import as_floats, back, white_in, white_of
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import ShapeError, failure


@transform
@dataclass(frozen=True, repr=False)
class Lighting(Transform):
    """Add to all pixels of an image white * sum_i p_i a_i l_i, a_i normal with deviation `std`.

    p_i are the eigenvectors of the covariance of the training pixels' C channels, l_i its
    eigenvalues, of pixels between 0 and 1.  `fit` learns both; else they are given, `eigenvectors`
    as rows, one for each eigenvalue.  Each image draws its a_i once.  Bytes are rounded and kept
    in range, floats not cut off.  `white` is by default the largest value of the images' type, 1
    for floats.  In use images stay as they are.  Shapes: (C, H, W) -> the same.

    Source: A. Krizhevsky et al., ImageNet classification with deep convolutional neural networks
    (2012), 4.1, with a deviation of 0.1.  Raises ShapeError before it is fitted, and for images
    of another number of channels.

    >>> import numpy as np, chainrule as cr
    >>> images = np.zeros((1, 2, 1, 2)); images[0, :, 0, 1] = 0.6, 0.8
    >>> light = Lighting().fit(lambda: iter([images]))
    >>> light
    Lighting(eigenvalues=(0.25, 0.0), eigenvectors=((0.6, 0.8), (0.8, -0.6)), white=1.0)
    >>> light(np.zeros((2, 1, 1)), cr.Generator(0)).ravel().round(4).tolist()
    [-0.0031, -0.0041]
    """

    std: float = 0.1
    eigenvalues: tuple[float, ...] | None = None
    eigenvectors: tuple[tuple[float, ...], ...] | None = None
    white: float | None = None

    def __post_init__(self) -> None:
        settle(self, std=number("Lighting", "std", self.std, 0.0))
        if self.white is not None:
            settle(self, white=number("Lighting", "white", self.white, 0.0))
        if (self.eigenvalues is None) != (self.eigenvectors is None):
            raise failure("Lighting", "eigenvalues and eigenvectors, or neither to fit them")
        if self.eigenvalues is None or self.eigenvectors is None:
            return
        count = len(self.eigenvalues)
        rows = tuple(_numbers("eigenvectors", row) for row in self.eigenvectors)
        if [len(row) for row in rows] != [count] * count:
            rule = f"{count} eigenvectors of {count} numbers, one for each eigenvalue"
            raise failure("Lighting", rule, eigenvectors=rows)
        settle(self, eigenvalues=_numbers("eigenvalues", self.eigenvalues), eigenvectors=rows)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see the class."""
        n, channels = images.shape[:2]
        if self.eigenvalues is None:
            hint = "call fit with the training images, or give eigenvalues and eigenvectors"
            raise failure("Lighting", "the colours' principal axes", hint=hint)
        if len(self.eigenvalues) != channels:
            rule = f"images of {len(self.eigenvalues)} channels"
            raise failure("Lighting", rule, error=ShapeError, images=images)
        draws = generator.normal((n, channels), np.dtype(np.float64), 0.0, self.std)
        shift = (draws * np.array(self.eigenvalues)) @ np.array(self.eigenvectors)  # (N, C)
        white = white_of(images) if self.white is None else self.white
        x = as_floats(images)
        x += (white * shift).astype(x.dtype)[:, :, np.newaxis, np.newaxis]
        return back(x, images.dtype)

    def eval(self) -> Transform:
        """Give what leaves images as they are."""
        return Identity()

    def fit(self, batches: Batches, white: float | None = None) -> Transform:
        """Learn the principal axes of the training pixels, to six digits."""
        if self.eigenvalues is not None:
            return self
        total, products, count, scale = np.zeros(()), np.zeros(()), 0, self.white
        for block in blocks(batches):
            scale = white_in(block, white) if scale is None else scale
            pixels = np.moveaxis(block, 1, 0).reshape(block.shape[1], -1).astype(np.float64) / scale
            if count and len(pixels) != len(total):
                rule = f"training images of one number of channels, {len(total)}"
                raise failure("Lighting", rule, images=block)
            total = total + pixels.sum(axis=1)
            products = products + pixels @ pixels.T
            count += pixels.shape[1]
        if not count:
            raise failure("Lighting", "at least one image to learn from")
        mean = total / count
        values, columns = np.linalg.eigh(products / count - np.outer(mean, mean))
        found = _principal(values[::-1], columns.T[::-1])
        return changed(  # type: ignore[no-any-return]
            self, eigenvalues=found[0], eigenvectors=found[1], white=scale
        )


def _numbers(setting: str, values: Any) -> tuple[float, ...]:
    if not is_sequence(values):
        raise failure("Lighting", f"numbers as {setting}", value=values)
    return tuple(float(number("Lighting", setting, value)) for value in values)


def _principal(values: Array, rows: Array) -> tuple[tuple[float, ...], tuple[Any, ...]]:
    """Round to six digits, each axis with the sign that makes its largest number positive.

    The noise is the same for either sign; the text should be, too, on every machine.
    """
    signs = np.sign(rows[np.arange(len(rows)), np.argmax(np.abs(rows).round(6), axis=1)])
    axes = (rows * signs[:, np.newaxis]).round(6) + 0.0
    lengths = np.maximum(values, 0.0).round(6)
    return tuple(lengths.tolist()), tuple(tuple(row) for row in axes.tolist())
