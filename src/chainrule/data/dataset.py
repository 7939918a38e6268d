"""Images with their labels, checked once when they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, LabelError, ShapeError, failure


class ArrayDataset:
    """Images (N, C, H, W) and labels (N,), kept in the type they came in.

    `classes` is how many labels there are, 0..classes-1; by default the largest label + 1.
    Raises DataError for NaN or infinity among the images (with the first place), LabelError for
    a label outside the classes, ShapeError where the two disagree or are empty, TypeError for
    labels that are not integers.

    >>> import numpy as np
    >>> data = ArrayDataset(np.zeros((3, 1, 8, 8), np.uint8), np.array([0, 1, 1]))
    >>> len(data), data.classes, data[np.array([2, 0])][1]
    (3, 2, array([1, 0]))
    """

    def __init__(
        self, images: Any, labels: Any, classes: int | None = None, name: str = "dataset"
    ) -> None:
        self.name = name
        self.images = np.asarray(images)
        self.labels = np.asarray(labels)
        self._check_shapes()
        check_finite(self.images, f"{name} images")
        self.labels = self.labels.astype(np.int64)
        self.classes = int(self.labels.max()) + 1 if classes is None else int(classes)
        check_labels(self.labels, self.classes, f"{name} labels")

    def _check_shapes(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or labels.ndim != 1:
            rule = "images (N, C, H, W) and labels (N,)"
            raise failure(self.name, rule, error=ShapeError, images=images, labels=labels)
        if images.dtype.kind not in "biuf":
            raise failure(self.name, "images of numbers", error=KindError, images=images)
        if labels.dtype.kind not in "iu":
            raise failure(self.name, "integer labels", error=KindError, labels=labels)
        if len(images) != len(labels) or not images.size:
            rule = f"one label an image and at least one of each: {len(images)} = {len(labels)} > 0"
            raise failure(self.name, rule, error=ShapeError, images=images, labels=labels)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> tuple[Array, Array]:
        """Give the images and labels at an index: an integer, a slice or an array of integers."""
        return self.images[index], self.labels[index]

    def __repr__(self) -> str:
        kind, shape = self.images.dtype, self.images.shape
        return f"ArrayDataset({self.name!r}, {kind} {shape}, {self.classes} classes)"


@dataclass(frozen=True)
class ImageData:
    """A data set with its fixed split: training part, test part, and how to read the pixels.

    `white` is the value of a fully white pixel, `classes` the labels' names, `notes` what a user
    should be told about the files.
    """

    name: str
    train: ArrayDataset
    test: ArrayDataset
    classes: Sequence[str]
    white: float
    notes: tuple[str, ...] = ()


def check_finite(values: Any, name: str) -> None:
    """Raise DataError at the first NaN or infinity, naming its index; integers always pass.

    >>> import numpy as np
    >>> check_finite(np.array([[0.0, 1.0], [np.nan, 2.0]]), "pixels")
    Traceback (most recent call last):
    chainrule.errors.DataError: pixels: nan at index (1, 0), the first of 1 value that is not finite
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):
            return  # a sum is finite only if all of its terms are
    wrong = ~np.isfinite(array)
    count = int(np.count_nonzero(wrong))
    if not count:  # finite values whose sum is not
        return
    place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape))
    noun = "value that is" if count == 1 else "values that are"
    raise DataError(
        f"{name}: {array[place]} at index {place}, the first of {count:,} {noun} not finite"
    )


def check_labels(labels: Any, classes: int, name: str) -> None:
    """Raise LabelError at the first label outside 0..classes-1, naming its index.

    >>> import numpy as np
    >>> check_labels(np.array([0, 9, 10]), 10, "labels")
    Traceback (most recent call last):
    chainrule.errors.LabelError: labels: expected labels in 0..9; got label 10 at index 2
    """
    array = np.asarray(labels)
    wrong = (array < 0) | (array >= classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise LabelError(
            f"{name}: expected labels in 0..{classes - 1}; got label {array[first]} "
            f"at index {first}"
        )
