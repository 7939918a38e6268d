from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.errors import DataError, ShapeError
from chainrule.training.metrics_multilabel import (
    auroc,
    average_precision,
    exact_match,
    label_accuracy,
    label_table,
    mean_average_precision,
)

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the demo extra")


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 5))
def test_decisions_are_scikit_learns(seed: int, n: int, labels: int) -> None:
    """Few images: labels that nobody has and that were never predicted are among them."""
    rng = np.random.default_rng(seed)
    p, t = rng.random((n, labels)) < 0.4, rng.random((n, labels)) < 0.4
    table = label_table(p.astype(int), t.astype(np.float32))
    if labels > 1:  # scikit-learn takes one column for two classes
        same: dict[str, Any] = {"zero_division": np.nan}
        expected = metrics.precision_recall_fscore_support(t, p, average=None, **same)
        mine = (table.precision, table.recall, table.f1, table.support)
        for ours, theirs in zip(mine, expected, strict=True):
            np.testing.assert_allclose(ours, theirs)
        for average in ("macro", "micro"):
            theirs = metrics.precision_recall_fscore_support(t, p, average=average, **same)[:3]
            np.testing.assert_allclose(list(getattr(table, average)().values()), theirs)
    assert exact_match(p, t) == pytest.approx(
        metrics.accuracy_score(list(map(str, t)), list(map(str, p)))
    )
    assert label_accuracy(p, t) == pytest.approx(1 - metrics.hamming_loss(t.ravel(), p.ravel()))


@given(st.integers(0, 10_000), st.booleans())
def test_areas_are_scikit_learns(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (25, 3)) if ties else rng.standard_normal((25, 3))
    targets = rng.random((25, 3)) < 0.4
    targets[0], targets[1] = True, False
    expected = metrics.average_precision_score(targets, scores, average=None)
    np.testing.assert_allclose(average_precision(scores, targets), expected)
    assert mean_average_precision(scores, targets) == pytest.approx(expected.mean())
    expected = metrics.roc_auc_score(targets, scores, average=None)
    np.testing.assert_allclose(auroc(scores, targets), expected)


def test_labels_that_all_images_have_or_none() -> None:
    scores = np.array([[0.1, 0.2, 3.0], [0.3, 0.1, 2.0]])
    targets = np.array([[1, 0, 0], [1, 0, 1]])
    np.testing.assert_allclose(average_precision(scores, targets), [1.0, np.nan, 0.5])
    np.testing.assert_allclose(auroc(scores, targets), [np.nan, np.nan, 0.0])
    assert mean_average_precision(scores, targets) == 0.75
    assert np.isnan(mean_average_precision(scores, np.zeros((2, 3), int)))
    np.testing.assert_allclose(auroc([[1.0], [1.0]], [[0], [1]]), [0.5])


def test_unsigned_and_infinite_scores() -> None:
    scores = np.array([[0], [200], [100]], np.uint8)
    np.testing.assert_allclose(average_precision(scores, [[0], [1], [0]]), [1.0])
    infinite = np.array([[-np.inf], [np.inf], [0.0]])
    np.testing.assert_allclose(auroc(infinite, [[0], [1], [0]]), [1.0])


def test_misuse() -> None:
    with pytest.raises(ShapeError, match=r"two tables \(N, L\)"):
        label_table([1, 0], [1, 0])
    with pytest.raises(ShapeError, match="N > 0"):
        exact_match(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(DataError, match=r"targets: expected 0 or 1; got value 2.*index \(0, 1\)"):
        label_accuracy([[0, 1]], [[0, 2]])
    with pytest.raises(DataError, match=r"predictions: expected 0 or 1; got value 0\.5"):
        label_table([[0.5, 1]], [[0, 1]])
    with pytest.raises(DataError, match="targets: expected 0 or 1; got value nan"):
        auroc([[0.5]], [[np.nan]])
    with pytest.raises(DataError, match=r"auroc: nan at index \(0, 0\)"):
        auroc([[np.nan]], [[1]])
