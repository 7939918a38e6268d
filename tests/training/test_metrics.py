from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import DataError, KindError, LabelError, ShapeError
from chainrule.training.metrics import (
    ClassTable,
    Evaluation,
    Tally,
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    confusion_percent,
    per_class,
    predictions,
    topk_accuracy,
)

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the demo extra")

CLASSES = 5
pairs = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40
)


@given(pairs)
def test_counts_by_loops(found: list[tuple[int, int]]) -> None:
    p, y = (np.array(column) for column in zip(*found, strict=True))
    expected = np.zeros((CLASSES, CLASSES), int)
    for predicted, label in found:
        expected[label, predicted] += 1
    table = confusion_matrix(p, y, CLASSES)
    np.testing.assert_array_equal(table, expected)
    assert accuracy(p, y) == pytest.approx(np.trace(expected) / len(found))
    np.testing.assert_array_equal(table.sum(axis=1), np.bincount(y, minlength=CLASSES))


def test_small_whole_types_do_not_overflow() -> None:
    y = np.arange(100, dtype=np.uint8)
    table = confusion_matrix(y, y, 100)
    np.testing.assert_array_equal(table, np.eye(100, dtype=int))


def test_predictions_take_the_first_of_equals() -> None:
    assert predictions(cr.tensor([[1.0, 1.0], [0.0, 2.0]])).tolist() == [0, 1]
    assert predictions(cr.tensor([[0.0, 2.0]], requires_grad=True)).tolist() == [1]
    for scores in (np.zeros(3), np.zeros((2, 0))):
        with pytest.raises(ShapeError, match="scores"):
            predictions(scores)


@given(pairs)
def test_precision_recall_and_f1_are_scikit_learns(found: list[tuple[int, int]]) -> None:
    """Classes that nothing was predicted for, or that have no images, are drawn often."""
    p, y = (np.array(column) for column in zip(*found, strict=True))
    confusion = confusion_matrix(p, y, CLASSES)
    table = per_class(confusion)
    labels = np.arange(CLASSES)
    same: dict[str, Any] = {"labels": labels, "zero_division": np.nan}
    expected = metrics.precision_recall_fscore_support(y, p, average=None, **same)
    for mine, theirs in zip(
        (table.precision, table.recall, table.f1, table.support), expected, strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    for average in ("macro", "micro"):
        theirs = metrics.precision_recall_fscore_support(y, p, average=average, **same)[:3]
        mine = list(getattr(table, average)().values())
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    present = np.isin(labels, y)
    recalls = metrics.recall_score(y, p, labels=labels[present], average="macro", zero_division=0)
    assert balanced_accuracy(confusion) == pytest.approx(recalls)


def test_balanced_accuracy_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    found = balanced_accuracy(confusion_matrix(p, y, 4))
    assert found == pytest.approx(metrics.balanced_accuracy_score(y, p))
    assert balanced_accuracy([[7]]) == 1.0  # one class
    assert np.isnan(balanced_accuracy(np.zeros((3, 3), int)))


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k_is_scikit_learns(k: int) -> None:
    rng = np.random.default_rng(k)
    scores, labels = rng.standard_normal((60, 8)), rng.integers(0, 8, 60)
    expected = metrics.top_k_accuracy_score(labels, scores, k=k, labels=np.arange(8))
    assert topk_accuracy(scores, labels, k) == pytest.approx(expected)
    assert topk_accuracy(cr.tensor(scores, requires_grad=True), labels, k) == pytest.approx(
        expected
    )


@given(st.integers(0, 1000), st.integers(1, 6))
def test_top_k_with_ties_by_sorting(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 3, (20, 6)), rng.integers(0, 6, 20)
    best = [sorted(range(6), key=lambda c, row=row: (-row[c], c))[:k] for row in scores]
    expected = np.mean([label in row for label, row in zip(labels, best, strict=True)])
    assert topk_accuracy(scores, labels, k) == pytest.approx(expected)
    assert topk_accuracy(scores, labels, 1) == accuracy(predictions(scores), labels)


def test_top_k_of_infinite_scores_and_misuse() -> None:
    assert topk_accuracy([[np.inf, 0.0, -np.inf]], [2], k=3) == 1.0
    assert topk_accuracy([[np.inf, 0.0, -np.inf]], [2], k=2) == 0.0
    for k in (0, 3):
        with pytest.raises(ShapeError, match="k from 1 to the 2 classes"):
            topk_accuracy([[1.0, 2.0]], [0], k=k)
    with pytest.raises(DataError, match=r"topk_accuracy scores: nan at index \(0, 1\)"):
        topk_accuracy([[1.0, np.nan]], [0], k=1)
    with pytest.raises(LabelError, match=r"labels in 0\.\.1"):
        topk_accuracy([[1.0, 2.0]], [2], k=1)
    with pytest.raises(ShapeError, match="N > 0"):
        topk_accuracy(np.zeros((0, 2)), np.zeros(0, int), k=1)


def test_per_cent_of_a_row() -> None:
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 4, 90), rng.integers(0, 4, 90)
    expected = 100 * metrics.confusion_matrix(y, p, normalize="true")
    np.testing.assert_allclose(confusion_percent(confusion_matrix(p, y, 4)), expected)
    percent = confusion_percent([[0, 0], [1, 3]])
    np.testing.assert_array_equal(percent, [[np.nan, np.nan], [25.0, 75.0]])


def test_misuse() -> None:
    with pytest.raises(ShapeError, match="N > 0"):
        accuracy([], [])
    with pytest.raises(ShapeError, match="as many predictions"):
        accuracy([1], [1, 2])
    with pytest.raises(LabelError, match=r"predictions: .*0\.\.2; got label 3 at index 1"):
        confusion_matrix([0, 3], [0, 1], 3)
    with pytest.raises(LabelError, match="labels"):
        confusion_matrix([0, 0], [0, -1], 3)
    with pytest.raises(KindError, match="labels: expected whole numbers"):
        confusion_matrix([0, 0], [0.0, 1.0], 3)
    for wrong in (np.zeros((2, 3), int), np.zeros((0, 0), int), np.zeros(4, int)):
        with pytest.raises(ShapeError, match="a confusion matrix"):
            per_class(wrong)
    with pytest.raises(DataError, match="counts of at least 0"):
        confusion_percent([[1, -1], [0, 1]])


def test_the_last_smaller_batch_weighs_less() -> None:
    tally = Tally()
    assert (tally.loss, tally.accuracy) == (0.0, 0.0)
    tally.add(1.0, 3, 3)
    tally.add(5.0, 0, 1)
    assert (tally.loss, tally.accuracy, tally.images) == (2.0, 0.75, 4)


def test_an_evaluation_names_its_columns() -> None:
    plain = Evaluation(0.5, 0.75, np.array([[3, 1], [0, 0]]))
    assert plain.row("test") == {"test_loss": 0.5, "test_accuracy": 0.75}
    assert plain.top5 is None
    assert plain.per_class is not None
    assert Evaluation(0.5).row("val") == {"val_loss": 0.5}
    assert Evaluation(0.5).per_class is None
    full = Evaluation(0.5, 0.7, metrics={"accuracy": 0.7, "top5": 0.9})
    assert list(full.row("test").items())[1:] == [("test_accuracy", 0.7), ("test_top5", 0.9)]
    assert full.top5 == 0.9
    table = ClassTable(np.array([1]), np.array([1]), np.array([1]))
    assert Evaluation(0.5, labels=table).per_class is table
