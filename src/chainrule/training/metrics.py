"""What is measured: accuracy, the confusion matrix, running means, one row an epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.data.dataset import check_labels
from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import ShapeError, failure


def predictions(scores: Any) -> Array:
    """Give the class with the highest score of each row, the first of equals: (N, C) -> (N,).

    >>> predictions([[0.1, 0.9], [2.0, -1.0]])
    array([1, 0])
    """
    array = scores.detach().numpy() if isinstance(scores, Tensor) else np.asarray(scores)
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
    _check_pair("accuracy", p, y)
    return float(np.count_nonzero(p == y) / len(y))


def confusion_matrix(predicted: Any, labels: Any, classes: int) -> Array:
    """Count (true class, predicted class) pairs: (N,), (N,) -> (classes, classes).

    Rows are the true classes, columns the predicted ones, so that the diagonal holds what is
    right.  Raises LabelError for a value outside 0..classes-1, ShapeError for lengths that differ
    and for N = 0.

    >>> confusion_matrix([0, 1, 1], [0, 1, 0], classes=2)
    array([[1, 1],
           [0, 1]])
    """
    p, y = np.asarray(predicted), np.asarray(labels)
    _check_pair("confusion_matrix", p, y)
    check_labels(y, classes, "confusion_matrix labels")
    check_labels(p, classes, "confusion_matrix predictions")
    return np.bincount(y * classes + p, minlength=classes**2).reshape(classes, classes)


def _check_pair(name: str, p: Array, y: Array) -> None:
    if p.ndim != 1 or p.shape != y.shape or not p.size:
        rule = "as many predictions as labels, (N,) each with N > 0"
        raise failure(name, rule, error=ShapeError, predictions=p, labels=y)


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


@dataclass(frozen=True)
class Evaluation:
    """What a network does on a data set: mean loss, accuracy, confusion matrix (rows true)."""

    loss: float
    accuracy: float
    confusion: Array = field(repr=False)


@dataclass(frozen=True)
class Row:
    """One epoch in metrics.csv; the rate is that of its last step."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
