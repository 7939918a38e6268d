"""Evaluations of toy indexes beside loops; what is relevant is the same in every mode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from chainrule.errors import DataError, LabelError, ShapeError
from chainrule.retrieval import evaluation
from chainrule.retrieval.evaluation import MODES, RANDOM, evaluate, holdout
from tests.retrieval.toys import Toy


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", MODES)
def test_average_precision_is_that_of_a_loop(seed: int, mode: str) -> None:
    toy = Toy(seed)
    found = toy.evaluation().rankings[mode].ap
    np.testing.assert_allclose(found, toy.by_loop(mode), atol=1e-12)


def test_off_is_scikit_learns() -> None:
    toy = Toy(1)
    found = toy.evaluation(modes=[]).rankings["off"].ap
    off = np.concatenate([block for _, block in toy.scores("off")])
    for query, label in enumerate(toy.labels):
        allowed = off[query] > -np.inf
        truth = toy.row_labels[allowed] == label
        expected = average_precision_score(truth, off[query, allowed])
        assert found[query] == pytest.approx(expected, abs=1e-9)


def test_hard_misses_what_it_excludes() -> None:
    """Three relevant rows, one of which the network takes for another class."""

    def scores(mode: str) -> Iterator[tuple[slice, Any]]:
        block = np.array([[0.9, 0.8, 0.7, 0.1]])
        yield slice(0, 1), block if mode != "hard" else np.array([[0.9, 0.8, -np.inf, -np.inf]])

    found = evaluate(scores, [0], [0, 0, 0, 1], predicted=[0])
    assert found.rankings["off"].ap[0] == 1.0
    assert found.rankings["hard"].ap[0] == pytest.approx(2 / 3)
    assert found.rankings["hard"].recall[0, -1] == pytest.approx(2 / 3)
    assert found.rankings["hard"].precision[0, 1] == pytest.approx(2 / 3)
    assert found.nearest["hard"].tolist() == [[0, 1, -1, -1]]
    assert (found.rankings["hard"].relevant == 3).all()


def test_hard_finds_nothing_where_the_prediction_is_wrong() -> None:
    def scores(mode: str) -> Iterator[tuple[slice, Any]]:
        yield slice(0, 1), np.array([[0.9, 0.1 if mode != "hard" else -np.inf]])

    found = evaluate(scores, [1], [0, 1], predicted=[0])
    assert found.rankings["hard"].ap[0] == 0.0
    assert found.scores["hard"].queries == 1  # it is not left out
    assert found.accuracy == 0.0


def test_chance_is_about_the_share_of_the_class_whatever_the_slices() -> None:
    toy = Toy(2, queries=200, rows=400)
    found = toy.evaluation()
    share = np.mean([np.mean(toy.row_labels == label) for label in toy.labels])
    assert found.scores[RANDOM].means["ap"] == pytest.approx(share, abs=0.03)
    assert found.scores[RANDOM].means["p@10"] == pytest.approx(share, abs=0.03)
    assert found.scores["off"].means["ap"] > share + 0.2
    toy.slices = [slice(150, 200), slice(0, 150)]
    again = toy.evaluation()
    for mode in found.rankings:
        np.testing.assert_array_equal(found.rankings[mode].ap, again.rankings[mode].ap)
        np.testing.assert_array_equal(found.nearest[mode], again.nearest[mode])
    other = toy.evaluation(seed=1)
    assert (other.rankings[RANDOM].ap != found.rankings[RANDOM].ap).any()
    assert (other.rankings["off"].ap == found.rankings["off"].ap).all()


def test_large_slices_are_ranked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(7)
    found = toy.evaluation()
    monkeypatch.setattr(evaluation, "_CELLS", 500)
    parted = toy.evaluation()
    for mode in found.rankings:
        np.testing.assert_array_equal(found.rankings[mode].ap, parted.rankings[mode].ap)
        np.testing.assert_array_equal(found.nearest[mode], parted.nearest[mode])


def test_chance_puts_every_row_first_equally_often() -> None:
    def scores(mode: str) -> Iterator[tuple[slice, Any]]:
        yield slice(0, 4000), np.tile([0.4, -np.inf, 0.3, 0.2, 0.1], (4000, 1))

    found = evaluate(scores, np.zeros(4000, int), np.zeros(5, int), modes=[])
    first = np.bincount(found.nearest[RANDOM][:, 0], minlength=5)
    assert first[1] == 0
    assert abs(first[[0, 2, 3, 4]] - 1000).max() < 5 * math.sqrt(4000 * 0.25 * 0.75)


def test_rows_and_queries_without_a_class_count_nowhere() -> None:
    toy = Toy(3)
    toy.labels[::5] = -1
    toy.row_labels[::4] = -1
    found = toy.evaluation()
    assert found.scores["off"].queries <= (toy.labels >= 0).sum()
    assert np.isnan(found.rankings["off"].ap[toy.labels < 0]).all()
    rows = found.nearest["off"]
    assert not np.isin(rows, np.flatnonzero(toy.row_labels < 0)).any()
    kept = toy.row_labels >= 0
    numbers = np.flatnonzero(kept)
    toy.row_labels, toy.matrix = toy.row_labels[kept], toy.matrix[kept]
    toy.row_predicted, toy.row_groups = toy.row_predicted[kept], toy.row_groups[kept]
    without = toy.evaluation()
    for mode in MODES:
        np.testing.assert_array_equal(without.rankings[mode].ap, found.rankings[mode].ap)
        same = np.where(without.nearest[mode] < 0, -1, numbers[without.nearest[mode]])
        np.testing.assert_array_equal(same, found.nearest[mode])


def test_the_scores_that_came_are_left_as_they_were() -> None:
    block = np.array([[0.5, 0.4]], np.float32)
    evaluate(lambda mode: [(slice(0, 1), block)], [0], [0, -1])
    assert block.tolist() == np.array([[0.5, 0.4]], np.float32).tolist()


def test_confusion_and_accuracy() -> None:
    toy = Toy(4)
    toy.labels[0], toy.predicted[1] = -1, -1
    found = toy.evaluation()
    expected = np.zeros((4, 4), int)
    for label, guess in zip(toy.labels[2:], toy.predicted[2:], strict=True):
        expected[label, guess] += 1
    assert (found.confusion == expected).all()
    assert found.accuracy == pytest.approx(np.trace(expected) / expected.sum())
    nothing = toy.evaluation(predicted=None)
    assert nothing.confusion is None
    assert math.isnan(nothing.accuracy)


def test_gain_is_the_mean_of_differences() -> None:
    found = Toy(5).evaluation()
    mean, low, high = found.gain("soft")
    difference = found.rankings["soft"].ap - found.rankings["off"].ap
    assert mean == pytest.approx(np.nanmean(difference))
    assert low < mean < high
    assert found.gain("off") == (0.0, 0.0, 0.0)
    assert found.gain(RANDOM)[2] < 0
    with pytest.raises(DataError, match="off, soft, hard, random"):
        found.gain("best")


def test_progress_counts_queries_over_all_modes() -> None:
    told: list[tuple[int, int]] = []
    Toy().evaluation(progress=lambda done, of: told.append((done, of)))
    assert told[0] == (13, 120)
    assert told[-1] == (120, 120)
    assert len(told) == 6


def test_what_does_not_fit_is_refused() -> None:
    toy = Toy()
    block = np.zeros((40, 120))
    with pytest.raises(DataError, match="no scores for query 13"):
        evaluate(lambda mode: [(slice(0, 13), block[:13])], toy.labels, toy.row_labels)
    with pytest.raises(DataError, match="twice"):
        evaluate(lambda mode: [(slice(0, 40), block)] * 2, toy.labels, toy.row_labels)
    with pytest.raises(ShapeError, match="of a slice"):
        evaluate(lambda mode: [(slice(0, 40), block[:39])], toy.labels, toy.row_labels)
    with pytest.raises(DataError, match="NaN"):
        evaluate(lambda mode: [(slice(0, 40), block * np.nan)], toy.labels, toy.row_labels)
    with pytest.raises(DataError, match="at least one query"):
        evaluate(lambda mode: [], [], [0, 1])
    with pytest.raises(ShapeError, match="predicted for each of 40"):
        toy.evaluation(predicted=[0])
    with pytest.raises(LabelError, match="below 2"):
        toy.evaluation(classes=2)
    with pytest.raises(LabelError, match="or -1"):
        evaluate(toy.scores, toy.labels - 3, toy.row_labels)
    with pytest.raises(ShapeError, match="whole numbers"):
        evaluate(toy.scores, toy.labels * 1.0, toy.row_labels)

    def more(mode: str) -> Iterator[tuple[slice, Any]]:
        yield slice(0, 40), block if mode == "soft" else np.full_like(block, -np.inf)

    with pytest.raises(DataError, match="'soft' ranks rows that 'off' excludes"):
        evaluate(more, toy.labels, toy.row_labels)


def test_an_index_without_rows_gives_no_means() -> None:
    found = evaluate(lambda mode: [(slice(0, 2), np.empty((2, 0)))], [0, 1], [])
    assert found.scores["off"].queries == 0
    assert found.scores["off"].without == 2
    assert found.nearest["off"].shape == (2, 0)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 1000),
    count=st.integers(8, 120),
    patients=st.integers(0, 30),
    share=st.sampled_from([0.1, 0.2, 0.5]),
)
def test_groups_are_queries_whole_or_not_at_all(
    seed: int, count: int, patients: int, share: float
) -> None:
    random = np.random.RandomState(seed)
    labels = random.randint(-1, 3, count)
    labels[:4] = 0, 1, 2, 0
    groups = random.randint(0, patients + 1, count).astype(np.uint64)
    groups[:4] = 0, 0, 100, 101
    queries, rows = holdout(groups, labels, share, seed)
    together = np.concatenate([queries, rows])
    assert sorted(together.tolist()) == np.flatnonzero(labels >= 0).tolist()
    shared = np.intersect1d(groups[queries], groups[rows])
    assert set(shared.tolist()) <= {0}
    assert len(queries) > 0 < len(rows)
    again = holdout(groups, labels, share, seed)
    assert (again[0] == queries).all()


def test_a_holdout_without_groups_has_the_share_of_each_class() -> None:
    labels = np.arange(100) % 4
    queries, rows = holdout(np.zeros(100, np.uint64), labels, 0.2)
    assert np.bincount(labels[queries]).tolist() == [5, 5, 5, 5]
    assert len(rows) == 80
    with pytest.raises(ShapeError, match="between 0 and 1"):
        holdout(np.zeros(4), [0, 1, 0, 1], 1.0)
    with pytest.raises(ShapeError, match="a group for each label"):
        holdout(np.zeros(3), [0, 1, 0, 1])
    with pytest.raises(DataError, match="at least 2"):
        holdout(np.ones(4), [0, 1, 0, 1])
