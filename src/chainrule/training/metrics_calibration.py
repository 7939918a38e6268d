"""Whether a network's probabilities mean what they say: bins of confidence, likelihood, Brier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import expect
from chainrule.training.metrics_checks import (
    as_array,
    check_numbers,
    check_probabilities,
    check_scores,
    class_labels,
    shares,
)

BINS = 15
"""How many bins of confidence there are by default (Guo et al., 2017)."""


def probabilities(scores: Any) -> Array:
    """Softmax of each row in float64: scores (N, C) -> (N, C), each row summing to 1.

    A score of minus infinity is a probability of 0.  Raises ShapeError unless scores are (N, C)
    with C > 0, DataError for NaN; a row whose highest score is infinite gives NaN.

    >>> probabilities([[0.0, 0.0], [-np.inf, 3.0]])
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    s = as_array(scores)
    expect(s.ndim == 2 and s.shape[1] > 0, "probabilities", "scores (N, C) with C > 0", scores=s)
    check_numbers("probabilities", s)
    s = s.astype(np.float64)
    with np.errstate(invalid="ignore"):
        weights = np.exp(s - s.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Bins of confidence, the probability of the predicted class, from 0 to 1 in equal steps.

    `counts` says how many images fell into each, `confidences` the sum of their confidence,
    `rights` how many were right; all (B,).  Bin b holds b/B < confidence <= (b+1)/B, the first
    one 0 too.  Sums of two parts of a data set are those of the whole: `a + b`.

    >>> bins = Calibration(np.array([0, 4]), np.array([0.0, 3.6]), np.array([0, 3]))
    >>> bins.accuracy, bins.confidence
    (array([ nan, 0.75]), array([nan, 0.9]))
    >>> round(bins.error, 12), (bins + bins).counts
    (0.15, array([0, 8]))
    """

    counts: Array
    confidences: Array
    rights: Array

    @property
    def edges(self) -> Array:
        """Where the bins begin and end: (B + 1,), 0 to 1."""
        return np.linspace(0.0, 1.0, len(self.counts) + 1)

    @property
    def confidence(self) -> Array:
        """Mean confidence in each bin, NaN in an empty one: (B,)."""
        return shares(self.confidences, self.counts)

    @property
    def accuracy(self) -> Array:
        """Share of right answers in each bin, NaN in an empty one: (B,)."""
        return shares(self.rights, self.counts)

    @property
    def error(self) -> float:
        """Expected calibration error: mean |accuracy - confidence|, weighted by the counts."""
        return float(np.abs(self.rights - self.confidences).sum() / self.counts.sum())

    @property
    def largest_error(self) -> float:
        """The largest |accuracy - confidence| of a bin that is not empty."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(gaps[self.counts > 0].max())

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(
            self.counts + other.counts,
            self.confidences + other.confidences,
            self.rights + other.rights,
        )


def calibration(probabilities: Any, labels: Any, bins: int = BINS) -> Calibration:
    """Sort images into bins by the probability of their predicted class: (N, C), (N,) -> bins.

    The predicted class is the first of equals.  Raises ShapeError for shapes that do not agree,
    N = 0 and bins < 1, LabelError for labels outside the classes, DataError for rows that are not
    probabilities.  Source: Guo et al., 2017.

    >>> found = calibration([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], [0, 1, 0], bins=2)
    >>> found.counts, round(found.error, 12)
    (array([0, 3]), 0.133333333333)
    """
    p, y = _checked("calibration", probabilities, labels)
    expect(bins >= 1, "calibration", "at least one bin", bins=bins)
    predicted = p.argmax(axis=1)
    confidence = np.minimum(p[np.arange(len(p)), predicted], 1.0)
    inner = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    place = np.searchsorted(inner, confidence)  # an edge belongs to the bin below it
    return Calibration(
        np.bincount(place, minlength=bins),
        np.bincount(place, weights=confidence, minlength=bins),
        np.bincount(place[predicted == y], minlength=bins),
    )


def expected_calibration_error(probabilities: Any, labels: Any, bins: int = BINS) -> float:
    """Give the mean distance of confidence from accuracy over bins: (N, C), (N,) -> 0 to 1.

    Raises as `calibration` does.

    >>> round(expected_calibration_error([[0.9, 0.1], [0.2, 0.8]], [0, 1]), 12)
    0.15
    """
    return calibration(probabilities, labels, bins).error


def negative_log_likelihood(probabilities: Any, labels: Any) -> float:
    """Give the mean of -ln(probability of the label): (N, C), (N,) -> 0 to infinity.

    A label with probability 0 makes it infinite: nothing is clipped.  Raises as `calibration`
    does.

    >>> round(negative_log_likelihood([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 6)
    0.490415
    """
    p, y = _checked("negative_log_likelihood", probabilities, labels)
    with np.errstate(divide="ignore"):
        return float(-np.log(p[np.arange(len(p)), y]).mean()) + 0.0


def brier_score(probabilities: Any, labels: Any) -> float:
    """Give the mean squared distance from the label's own row: (N, C), (N,) -> 0 to 2.

    sum over classes of (p - [class is the label])^2, averaged over images (Brier, 1950).  Raises
    as `calibration` does.

    >>> round(brier_score([[0.5, 0.5], [0.0, 1.0]], [0, 1]), 12)
    0.25
    """
    p, y = _checked("brier_score", probabilities, labels)
    own = p[np.arange(len(p)), y]
    return float(((p * p).sum(axis=1) - 2.0 * own + 1.0).mean())


def _checked(name: str, values: Any, labels: Any) -> tuple[Array, Array]:
    p, y = as_array(values), as_array(labels)
    check_scores(name, p, y)
    check_probabilities(name, p)
    return p.astype(np.float64), class_labels(f"{name} labels", y, p.shape[1])
