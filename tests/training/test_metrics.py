from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import LabelError, ShapeError
from chainrule.training import Tally, accuracy, confusion_matrix, predictions

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


def test_predictions_take_the_first_of_equals() -> None:
    assert predictions(cr.tensor([[1.0, 1.0], [0.0, 2.0]])).tolist() == [0, 1]
    assert predictions(cr.tensor([[0.0, 2.0]], requires_grad=True)).tolist() == [1]
    for scores in (np.zeros(3), np.zeros((2, 0))):
        with pytest.raises(ShapeError, match="scores"):
            predictions(scores)


def test_misuse() -> None:
    with pytest.raises(ShapeError, match="N > 0"):
        accuracy([], [])
    with pytest.raises(ShapeError, match="as many predictions"):
        accuracy([1], [1, 2])
    with pytest.raises(LabelError, match=r"predictions: .*0\.\.2; got label 3 at index 1"):
        confusion_matrix([0, 3], [0, 1], 3)
    with pytest.raises(LabelError, match="labels"):
        confusion_matrix([0, 0], [0, -1], 3)


def test_the_last_smaller_batch_weighs_less() -> None:
    tally = Tally()
    assert (tally.loss, tally.accuracy) == (0.0, 0.0)
    tally.add(1.0, 3, 3)
    tally.add(5.0, 0, 1)
    assert (tally.loss, tally.accuracy, tally.images) == (2.0, 0.75, 4)
