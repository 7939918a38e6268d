from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

import chainrule as cr
from chainrule.errors import DataError, KindError, LabelError, ShapeError
from chainrule.training.metrics_calibration import (
    brier_score,
    calibration,
    expected_calibration_error,
    negative_log_likelihood,
    probabilities,
)

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the demo extra")
curves = pytest.importorskip("sklearn.calibration")


def drawn(seed: int, n: int = 300, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = 2 * rng.standard_normal((n, classes))
    return scores, rng.integers(0, classes, n)


def test_probabilities_are_scipys() -> None:
    scores, _ = drawn(0)
    np.testing.assert_allclose(probabilities(scores), softmax(scores, axis=1), rtol=1e-12)
    shifted = probabilities(cr.tensor(scores + 1000.0, requires_grad=True))
    np.testing.assert_allclose(shifted, softmax(scores, axis=1), rtol=1e-9)
    with pytest.raises(DataError, match="nan at index"):
        probabilities([[0.0, np.nan]])
    with pytest.raises(ShapeError, match=r"scores \(N, C\)"):
        probabilities([0.0, 1.0])


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_bins_are_scikit_learns(bins: int) -> None:
    scores, labels = drawn(bins)
    p = softmax(scores, axis=1)
    found = calibration(p, labels, bins)
    right = p.argmax(axis=1) == labels
    confidence = p.max(axis=1)
    true, predicted = curves.calibration_curve(right, confidence, n_bins=bins)
    some = found.counts > 0
    np.testing.assert_allclose(found.accuracy[some], true)
    np.testing.assert_allclose(found.confidence[some], predicted)
    assert np.isnan(found.accuracy[~some]).all()
    assert found.counts.sum() == len(labels)
    gaps = np.abs(true - predicted)
    expected = (gaps * found.counts[some]).sum() / len(labels)
    assert expected_calibration_error(p, labels, bins) == pytest.approx(expected)
    assert found.largest_error == pytest.approx(gaps.max())
    np.testing.assert_allclose(found.edges, np.arange(bins + 1) / bins)


def test_an_edge_belongs_to_the_bin_below() -> None:
    p = [[0.5, 0.5], [0.75, 0.25], [1.0, 0.0], [0.51, 0.49]]
    assert calibration(p, [0, 0, 0, 0], bins=4).counts.tolist() == [0, 1, 2, 1]


def test_parts_add_up() -> None:
    scores, labels = drawn(3)
    p = softmax(scores, axis=1)
    whole, parts = calibration(p, labels), calibration(p[:90], labels[:90])
    parts = parts + calibration(p[90:], labels[90:])
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert parts.error == pytest.approx(whole.error, abs=1e-14)


def test_likelihood_and_brier_are_scikit_learns() -> None:
    scores, labels = drawn(4)
    p = softmax(scores, axis=1)
    known = np.arange(p.shape[1])
    expected = metrics.log_loss(labels, p, labels=known)
    assert negative_log_likelihood(p, labels) == pytest.approx(expected)
    expected = metrics.brier_score_loss(labels, p, labels=known, scale_by_half=False)
    assert brier_score(p, labels) == pytest.approx(expected)


def test_extremes() -> None:
    assert negative_log_likelihood([[1.0, 0.0]], [1]) == np.inf
    assert str(negative_log_likelihood([[1.0, 0.0]], [0])) == "0.0"
    assert brier_score([[1.0, 0.0]], [1]) == 2.0
    assert expected_calibration_error([[1.0]], [0]) == 0.0  # one class
    half = np.array([[0.5, 0.5]], np.float16)
    assert calibration(half, [0], bins=1).confidence.tolist() == [0.5]


def test_misuse() -> None:
    for wrong in ([[0.7, 0.7]], [[1.5, -0.5]], [[np.inf, 0.0]]):
        with pytest.raises(DataError, match=r"sum to 1 in each row; row 0 is \["):
            calibration(wrong, [0])
    with pytest.raises(DataError, match="nan at index"):
        brier_score([[np.nan, 1.0]], [0])
    with pytest.raises(LabelError, match=r"negative_log_likelihood labels: .*0\.\.1"):
        negative_log_likelihood([[0.5, 0.5]], [2])
    with pytest.raises(ShapeError, match="N > 0"):
        brier_score(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(ShapeError, match="at least one bin"):
        calibration([[0.5, 0.5]], [0], bins=0)
    with pytest.raises(KindError, match="real numbers"):
        calibration([["a", "b"]], [0])
