"""What is measured of classes: accuracy, confusion, precision and recall; running means."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, ShapeError, expect, failure
from chainrule.training.metrics_calibration import Calibration
from chainrule.training.metrics_checks import (
    as_array,
    check_numbers,
    check_pair,
    check_scores,
    class_labels,
    mean_of_defined,
    shares,
)


def predictions(scores: Any) -> Array:
    """Give the class with the highest score of each row, the first of equals: (N, C) -> (N,).

    It runs in every training step and looks for no NaN: a row with NaN gives the place of the
    first one.

    >>> predictions([[0.1, 0.9], [2.0, -1.0]])
    array([1, 0])
    """
    array = as_array(scores)
    if array.ndim != 2 or not array.shape[1]:
        raise failure("predictions", "scores (N, C) with C > 0", error=ShapeError, scores=array)
    return np.asarray(array.argmax(axis=1))


def accuracy(predicted: Any, labels: Any) -> float:
    """Give the share of predictions that equal their labels, 0 to 1; both (N,).

    Raises ShapeError for lengths that differ and for N = 0.

    >>> accuracy([3, 1, 2, 2], [3, 1, 2, 0])
    0.75
    """
    p, y = np.asarray(predicted), np.asarray(labels)
    check_pair("accuracy", p, y)
    return float(np.count_nonzero(p == y) / len(y))


def topk_accuracy(scores: Any, labels: Any, k: int = 5) -> float:
    """Give the share of images whose label is among the k highest scores: (N, C), (N,) -> 0 to 1.

    Of equal scores the lower class comes first, as in `predictions`, so that k = 1 is `accuracy`
    of them.  Raises ShapeError unless 1 <= k <= C, LabelError for a label outside the classes,
    DataError for NaN.

    >>> topk_accuracy([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], [1, 0], k=2)
    0.5
    """
    s, y = as_array(scores), as_array(labels)
    check_scores("topk_accuracy", s, y)
    n, classes = s.shape
    expect(1 <= k <= classes, "topk_accuracy", f"k from 1 to the {classes} classes", k=k)
    check_numbers("topk_accuracy scores", s)
    y = class_labels("topk_accuracy labels", y, classes)
    return float(np.count_nonzero(_rank(s, y) < k) / n)


def _rank(scores: Array, labels: Array) -> Array:
    """Count the classes that come before the label: (N, C), (N,) -> (N,)."""
    own = np.take_along_axis(scores, labels[:, np.newaxis], axis=1)  # (N, 1)
    before = np.arange(scores.shape[1]) < labels[:, np.newaxis]  # (N, C)
    return np.asarray(((scores > own) | ((scores == own) & before)).sum(axis=1))


def confusion_matrix(predicted: Any, labels: Any, classes: int) -> Array:
    """Count (true class, predicted class) pairs: (N,), (N,) -> (classes, classes).

    Rows are the true classes, columns the predicted ones, so that the diagonal holds what is
    right.  Raises LabelError for a value outside 0..classes-1, KindError for what is not whole,
    ShapeError for lengths that differ and for N = 0.

    >>> confusion_matrix([0, 1, 1], [0, 1, 0], classes=2)
    array([[1, 1],
           [0, 1]])
    """
    p, y = as_array(predicted), as_array(labels)
    check_pair("confusion_matrix", p, y)
    y = class_labels("confusion_matrix labels", y, classes)
    p = class_labels("confusion_matrix predictions", p, classes)
    return np.bincount(y * classes + p, minlength=classes**2).reshape(classes, classes)


def confusion_percent(confusion: Any) -> Array:
    """Give each count in per cent of its row: (C, C) counts -> (C, C), 0 to 100.

    A row without images has no shares: it is NaN.  The mean of the diagonal, as far as it is
    there, is 100 times `balanced_accuracy`.  Raises ShapeError unless the matrix is square,
    DataError for a count below 0.

    >>> confusion_percent([[3, 1], [0, 0]])
    array([[75., 25.],
           [nan, nan]])
    """
    counts = _square("confusion_percent", confusion)
    return 100.0 * shares(counts, counts.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Precision, recall and F1 of each class (or label), out of three counts of it.

    `right` counts what was predicted and true, `predicted` what was predicted, `support` what was
    true; all (C,).  What is not defined is NaN: the precision of a class that was never predicted,
    the recall of one without images, the F1 of one with neither.

    >>> table = ClassTable(np.array([3, 0]), np.array([4, 0]), np.array([3, 1]))
    >>> table.precision, table.recall
    (array([0.75,  nan]), array([1., 0.]))
    """

    right: Array
    predicted: Array
    support: Array

    @property
    def precision(self) -> Array:
        """Share of what was predicted that is right: (C,)."""
        return shares(self.right, self.predicted)

    @property
    def recall(self) -> Array:
        """Share of what is true that was found: (C,)."""
        return shares(self.right, self.support)

    @property
    def f1(self) -> Array:
        """Harmonic mean of precision and recall, 2 right / (predicted + support): (C,)."""
        return shares(2 * self.right, self.predicted + self.support)

    def macro(self) -> dict[str, float]:
        """Mean over the classes of each of the three, those left out where it is not defined."""
        return {
            "precision": mean_of_defined(self.precision),
            "recall": mean_of_defined(self.recall),
            "f1": mean_of_defined(self.f1),
        }

    def micro(self) -> dict[str, float]:
        """Give the three of all counts together; for one label an image each is the accuracy."""
        total = ClassTable(
            *(np.array([c.sum()]) for c in (self.right, self.predicted, self.support))
        )
        return {
            "precision": float(total.precision[0]),
            "recall": float(total.recall[0]),
            "f1": float(total.f1[0]),
        }


def per_class(confusion: Any) -> ClassTable:
    """Give precision, recall, F1 and support of each class of a confusion matrix (C, C).

    Raises ShapeError unless the matrix is square, DataError for a count below 0.

    >>> table = per_class([[3, 1], [0, 4]])
    >>> table.precision, table.recall, table.support
    (array([1. , 0.8]), array([0.75, 1.  ]), array([4, 4]))
    """
    counts = _square("per_class", confusion)
    return ClassTable(np.diagonal(counts).copy(), counts.sum(axis=0), counts.sum(axis=1))


def balanced_accuracy(confusion: Any) -> float:
    """Give the mean recall of the classes that have images, 0 to 1; NaN if there are none.

    Raises ShapeError unless the matrix (C, C) is square, DataError for a count below 0.

    >>> balanced_accuracy([[3, 1], [0, 1]])
    0.875
    """
    return mean_of_defined(per_class(confusion).recall)


def _square(name: str, confusion: Any) -> Array:
    counts = as_array(confusion)
    square = counts.ndim == 2 and counts.shape[0] == counts.shape[1] > 0
    expect(square, name, "a confusion matrix (C, C) with C > 0", confusion=counts)
    check_numbers(name, counts)
    expect(bool((counts >= 0).all()), name, "counts of at least 0", error=DataError)
    return counts


@dataclass
class Tally:
    """Running mean of the loss and share of right answers over the images seen.

    >>> tally = Tally()
    >>> tally.add(loss=2.0, right=1, images=2)
    >>> tally.add(loss=1.0, right=2, images=2)
    >>> tally.loss, tally.accuracy
    (1.5, 0.75)
    """

    images: int = 0
    right: int = 0
    total: float = 0.0

    def add(self, loss: float, right: int, images: int) -> None:
        """Take in a batch: its mean loss, how many were right, how many there were."""
        self.images += images
        self.right += right
        self.total += loss * images

    @property
    def loss(self) -> float:
        """Mean loss an image; 0 before the first."""
        return self.total / max(self.images, 1)

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.right / max(self.images, 1)


def _no_classes() -> Array:
    return np.zeros((0, 0), np.int64)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network does on a data set.

    `loss` is the mean an image.  `metrics` are all other numbers by name, in the order in which
    they are recorded.  `accuracy` is the share of right answers (NaN for a regression, the exact
    matches for several labels an image).  With one class an image `confusion` (C, C) counts true
    (rows) and predicted classes, else it is (0, 0), and `calibration` holds the bins of
    confidence.  With several labels an image `labels` counts each label.  `each` holds what is
    measured of every label or output by name, (L,) or (K,).

    >>> result = Evaluation(0.5, 0.75, np.array([[3, 1], [0, 0]]))
    >>> result.per_class.recall, result.row("test")
    (array([0.75,  nan]), {'test_loss': 0.5, 'test_accuracy': 0.75})
    """

    loss: float
    accuracy: float = math.nan
    confusion: Array = field(default_factory=_no_classes, repr=False)
    metrics: dict[str, float] = field(default_factory=dict)
    calibration: Calibration | None = field(default=None, repr=False)
    labels: ClassTable | None = field(default=None, repr=False)
    each: dict[str, Array] = field(default_factory=dict, repr=False)

    @property
    def top5(self) -> float | None:
        """Share of images whose label is among the five highest scores; None up to 5 classes."""
        return self.metrics.get("top5")

    @property
    def per_class(self) -> ClassTable | None:
        """The counts of each class or label; None for a regression."""
        if self.labels is not None:
            return self.labels
        return per_class(self.confusion) if self.confusion.size else None

    def row(self, part: str) -> dict[str, float]:
        """Give all numbers as the columns of a record: 'test_loss', 'test_accuracy', ..."""
        numbers = self.metrics
        if not numbers and not math.isnan(self.accuracy):
            numbers = {"accuracy": self.accuracy}
        return {f"{part}_{name}": value for name, value in {"loss": self.loss, **numbers}.items()}
