"""Data sets: images and their targets by number, checked once when they come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, LabelError, ShapeError, failure

Task = Literal["classification", "multilabel", "regression"]
"""What is learnt: one class an image, any number of labels an image, numbers an image."""

Images = Array | list[Array]
"""A batch (N, C, H, W), or images (C, H, W) of sizes of their own."""


class Dataset:
    """Images (C, H, W) with their targets, found by number; subclasses implement `image`.

    `targets` are (N,) int64 labels for "classification", (N, K) float32 of 0 and 1 for
    "multilabel", (N, K) float32 for "regression".  `classes` names the classes, the labels or the
    outputs.  Images may differ in size; transforms bring them to one.  `image` and `describe`
    may be called from several threads at once.

    >>> import numpy as np
    >>> class Stripes(Dataset):
    ...     def image(self, index):
    ...         return np.full((1, 2, 2), index, np.uint8)
    >>> data = Stripes(np.array([0, 1]), ("thin", "thick"))
    >>> len(data), data[1][0].max(), data.num_classes
    (2, np.uint8(1), 2)
    """

    def __init__(
        self,
        targets: Array,
        classes: Sequence[str],
        task: Task = "classification",
        name: str = "dataset",
    ) -> None:
        self.name = name
        self.task: Task = task
        self.classes = tuple(str(label) for label in classes)
        self.targets = _checked(targets, len(self.classes), task, name)

    @property
    def num_classes(self) -> int:
        """The number of classes, labels or outputs: how many scores a network must give."""
        return len(self.classes)

    def image(self, index: int) -> Array:
        """Give image number `index` as (C, H, W) of any number type."""
        raise NotImplementedError(f"{type(self).__name__}.image")

    def describe(self, index: int) -> str:
        """Say where an image comes from, for messages: a path, a member of an archive."""
        return f"{self.name}, image {index}"

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """Give the image and the target of a number; of a slice or an array, as `__getitems__`."""
        if isinstance(index, int | np.integer):
            number = int(index)
            if not -len(self) <= number < len(self):
                rule = f"a number in 0..{len(self) - 1}"
                raise failure(self.name, rule, error=LabelError, index=number)
            number %= len(self)
            return self.image(number), self.targets[number]
        return self.__getitems__(np.arange(len(self))[index])

    def __getitems__(self, indices: Any) -> tuple[Images, Array]:
        """Give several images, as an array where it is one already, and their targets."""
        numbers = np.asarray(indices)
        return [self.image(int(number)) for number in numbers], self.targets[numbers]

    def __iter__(self) -> Iterator[tuple[Array, Any]]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        noun = {"classification": "classes", "multilabel": "labels", "regression": "outputs"}
        count = f"{len(self):,} images, {self.num_classes} {noun[self.task]}"
        return f"{type(self).__name__}({self.name!r}, {count})"


class ArrayDataset(Dataset):
    """Images (N, C, H, W) and targets in memory, kept in the type they came in.

    `classes` names the classes, or says how many there are, called "0", "1", ...; by default the
    largest label + 1, or the columns of the targets.  Labels are (N,) integers, or for another
    `task` see `Dataset`.  Raises DataError for NaN or infinity among the images (with the first
    place), LabelError for a label outside the classes, ShapeError where the two disagree or are
    empty, TypeError for labels that are not integers.

    >>> import numpy as np
    >>> data = ArrayDataset(np.zeros((3, 1, 8, 8), np.uint8), np.array([0, 1, 1]))
    >>> len(data), data.classes, data[np.array([2, 0])][1]
    (3, ('0', '1'), array([1, 0]))
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        classes: int | Sequence[str] | None = None,
        name: str = "dataset",
        task: Task = "classification",
    ) -> None:
        self.images, targets = np.asarray(images), np.asarray(labels)
        if self.images.ndim != 4 or targets.ndim < 1:
            rule = "images (N, C, H, W) and labels (N,)"
            raise failure(name, rule, error=ShapeError, images=self.images, labels=targets)
        if self.images.dtype.kind not in "biuf":
            raise failure(name, "images of numbers", error=KindError, images=self.images)
        if len(self.images) != len(targets) or not self.images.size:
            counts = f"{len(self.images)} = {len(targets)} > 0"
            rule = f"one label an image and at least one of each: {counts}"
            raise failure(name, rule, error=ShapeError, images=self.images, labels=targets)
        check_finite(self.images, f"{name} images")
        super().__init__(targets, _names(classes, targets, task), task, name)

    @property
    def labels(self) -> Array:
        """The targets under their usual name."""
        return self.targets

    def image(self, index: int) -> Array:
        """Give image number `index`: (C, H, W), a view."""
        return np.asarray(self.images[index])

    def __getitems__(self, indices: Any) -> tuple[Images, Array]:
        """Give the images (N, C, H, W) and targets at an array of numbers or a slice."""
        return self.images[indices], self.targets[indices]

    def __repr__(self) -> str:
        kind, shape = self.images.dtype, self.images.shape
        return f"ArrayDataset({self.name!r}, {kind} {shape}, {self.num_classes} classes)"


@dataclass(frozen=True)
class ImageData:
    """A data set with its fixed split, and how to read the pixels.

    `train` is learnt from and `test` measured on; `validation`, where there is one, serves
    every choice that is made while training.  `white` is the value of a fully white pixel,
    `classes` the classes' names, `notes` what a user should be told about the files.
    """

    name: str
    train: Dataset
    test: Dataset
    classes: Sequence[str]
    white: float
    notes: tuple[str, ...] = ()
    validation: Dataset | None = None

    @property
    def task(self) -> Task:
        """What is learnt."""
        return self.train.task


def _names(classes: int | Sequence[str] | None, targets: Array, task: Task) -> Sequence[str]:
    if classes is None:
        if targets.ndim > 1 or task != "classification":
            classes = targets.shape[1] if targets.ndim > 1 else 1
        else:
            classes = int(targets.max()) + 1 if targets.dtype.kind in "iu" else 1
    if isinstance(classes, int | np.integer):
        return [str(number) for number in range(int(classes))]
    return classes


def _checked(targets: Any, count: int, task: Task, name: str) -> Array:
    """Check targets against their task, and give them in its type."""
    array = np.asarray(targets)
    if task == "classification":
        if array.ndim != 1:
            raise failure(name, "labels (N,)", error=ShapeError, labels=array)
        if array.dtype.kind not in "iu":
            raise failure(name, "integer labels", error=KindError, labels=array)
        check_labels(array, count, f"{name} labels")
        return array.astype(np.int64)
    if task not in ("multilabel", "regression"):
        rule = "classification, multilabel or regression as task"
        raise failure(name, rule, error=ShapeError, task=task)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[1] != count:
        raise failure(name, f"targets (N, {count})", error=ShapeError, targets=array)
    if array.dtype.kind not in "biuf":
        raise failure(name, "targets of numbers", error=KindError, targets=array)
    check_finite(array, f"{name} targets")
    if task == "multilabel" and not np.isin(array, (0, 1)).all():
        row, column = (int(i) for i in np.argwhere(~np.isin(array, (0, 1)))[0])
        raise LabelError(
            f"{name} targets: expected 0 or 1 for each label; got {array[row, column]} "
            f"at index ({row}, {column})"
        )
    return array.astype(np.float32)


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
