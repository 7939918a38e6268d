"""What is measured where an image has any number of labels, each of them yes or no."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.training.metrics import ClassTable
from chainrule.training.metrics_checks import label_tables, mean_of_defined, zero_or_one


def label_table(predicted: Any, targets: Any) -> ClassTable:
    """Count for each label what was predicted, true, and both: (N, L), (N, L) -> (L,) each.

    Its `precision`, `recall` and `f1` are those of the labels, `micro()` and `macro()` of all.
    Both tables hold 0 and 1.  Raises ShapeError for shapes that differ, N = 0 or L = 0, DataError
    for other values.

    >>> table = label_table([[1, 0], [1, 1]], [[1, 0], [0, 1]])
    >>> table.precision, table.recall, round(table.micro()["f1"], 3)
    (array([0.5, 1. ]), array([1., 1.]), 0.8)
    """
    p, t = _decisions("label_table", predicted, targets)
    return ClassTable((p & t).sum(axis=0), p.sum(axis=0), t.sum(axis=0))


def exact_match(predicted: Any, targets: Any) -> float:
    """Give the share of images whose labels are all right: (N, L), (N, L) -> 0 to 1.

    Raises as `label_table` does.

    >>> exact_match([[1, 0], [1, 1]], [[1, 0], [0, 1]])
    0.5
    """
    p, t = _decisions("exact_match", predicted, targets)
    return float((p == t).all(axis=1).mean())


def label_accuracy(predicted: Any, targets: Any) -> float:
    """Give the share of single decisions that are right, 1 - Hamming loss: (N, L) twice -> 0 to 1.

    Raises as `label_table` does.

    >>> label_accuracy([[1, 0], [1, 1]], [[1, 0], [0, 1]])
    0.75
    """
    p, t = _decisions("label_accuracy", predicted, targets)
    return float((p == t).mean())


def average_precision(scores: Any, targets: Any) -> Array:
    """Give each label's area under precision over recall: (N, L), (N, L) -> (L,), 0 to 1.

    sum over thresholds of (recall gained) * (precision there), without interpolation; equal
    scores are one threshold.  A label that no image has is NaN.  Scores may be of any scale,
    infinite too.  Raises ShapeError as `label_table`, DataError for NaN and for targets other
    than 0 and 1.

    >>> average_precision([[0.9], [0.8], [0.7]], [[1], [0], [1]]).round(4)
    array([0.8333])
    """
    s, t = label_tables("average_precision", scores, targets)
    s = s.astype(np.float64)  # so that they can be negated
    return np.array([_area(s[:, j], t[:, j]) for j in range(s.shape[1])])


def mean_average_precision(scores: Any, targets: Any) -> float:
    """Give the mean of `average_precision` over the labels that some image has; NaN if none.

    >>> round(mean_average_precision([[0.9, 0.1], [0.8, 0.2]], [[1, 0], [0, 0]]), 4)
    1.0
    """
    return mean_of_defined(average_precision(scores, targets))


def auroc(scores: Any, targets: Any) -> Array:
    """Give each label's area under the ROC curve: (N, L), (N, L) -> (L,), 0 to 1.

    It is the chance that an image with the label has a higher score than one without, equal
    scores counting one half.  A label that all images have, or none, is NaN.  Raises as
    `average_precision` does.

    >>> auroc([[0.9], [0.8], [0.7]], [[1], [0], [1]])
    array([0.5])
    """
    s, t = label_tables("auroc", scores, targets)
    return np.array([_chance(s[:, j], t[:, j]) for j in range(s.shape[1])])


def _decisions(name: str, predicted: Any, targets: Any) -> tuple[Array, Array]:
    p, t = label_tables(name, predicted, targets)
    return zero_or_one(f"{name} predictions", p), t


def _area(scores: Array, targets: Array) -> float:
    """Average precision of one label: (N,), (N,)."""
    if not targets.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ordered, found = scores[order], np.cumsum(targets[order])
    last = np.append(ordered[1:] != ordered[:-1], True)  # the last of each group of equals
    found, seen = found[last], np.flatnonzero(last) + 1
    gained = np.diff(found, prepend=0)
    return float((gained * (found / seen)).sum() / found[-1])


def _chance(scores: Array, targets: Array) -> float:
    """Area under the ROC curve of one label, by ranks: (N,), (N,)."""
    with_it = int(np.count_nonzero(targets))
    without = len(targets) - with_it
    if not with_it or not without:
        return float("nan")
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2  # equals share their mean rank
    total = ranks[group][targets].sum()
    return float((total - with_it * (with_it + 1) / 2) / (with_it * without))
