"""Measures of rankings beside loops and scikit-learn; orders beside Python's sort."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from chainrule.errors import DataError, ShapeError
from chainrule.retrieval import metrics
from chainrule.retrieval.metrics import interval, joined, measure, ranked, summarise, units, vote


def by_loops(hits: list[bool], total: int, own: int, near: list[int], k: int) -> dict[str, float]:
    """Measure one query the slow way, out of the definitions."""
    found = [place for place, hit in enumerate(hits, start=1) if hit]
    if total == 0:
        return {}
    precise = {place: sum(p <= place for p in found) / place for place in found}
    inside = [place for place in found if place <= k]
    counts = Counter(c for c in near[:k] if c >= 0)
    most = max(counts.values(), default=0)
    voted = next((c for c in near[:k] if c >= 0 and counts[c] == most), -1)
    return {
        "ap": sum(precise.values()) / total,
        f"ap@{k}": sum(precise[place] for place in inside) / min(k, total),
        f"p@{k}": len(inside) / k,
        f"recall@{k}": len(inside) / total,
        f"acc@{k}": float(bool(inside)),
        f"mv@{k}": float(voted == own),
        "first": found[0] if found else math.nan,
        "found": float(bool(found)),
    }


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(0, 6),
    rows=st.integers(0, 40),
    classes=st.integers(1, 5),
    missed=st.integers(0, 3),
    cut=st.booleans(),
)
def test_every_measure_is_that_of_a_loop(
    seed: int, queries: int, rows: int, classes: int, missed: int, cut: bool
) -> None:
    random = np.random.RandomState(seed)
    own = random.randint(0, classes, queries)
    near = random.randint(0, classes, (queries, rows))
    if cut:  # rankings of different lengths
        near[np.arange(rows) >= random.randint(0, rows + 1, queries)[:, None]] = -1
    hits = near == own[:, None]
    total = hits.sum(axis=1) + random.randint(0, missed + 1, queries)
    places = (1, 2, 5, 10, 50)
    found = measure(hits, own, near, total, places).columns()
    for query in range(queries):
        for k in places:
            given_ = hits[query].tolist(), int(total[query]), int(own[query])
            expected = by_loops(*given_, near[query].tolist(), k)
            for name in (f"ap@{k}", f"p@{k}", f"recall@{k}", f"acc@{k}", f"mv@{k}", "ap", "first"):
                value = expected.get(name, math.nan)
                assert found[name][query] == pytest.approx(value, abs=1e-12, nan_ok=True), name
            assert found["found"][query] == pytest.approx(
                expected.get("found", math.nan), nan_ok=True
            )


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 300), ties=st.booleans())
def test_average_precision_is_scikit_learns(seed: int, rows: int, ties: bool) -> None:
    """Ties are broken by the row here, in one step there: so scores without any are compared."""
    random = np.random.RandomState(seed)
    scores = random.permutation(rows).astype(np.float32) / rows - 0.5
    if ties:  # of equal relevance, which makes no difference in the one block that they are
        scores = np.sort(scores)
        scores[: rows // 2] = -1.0
    truth = random.randint(0, 2, rows)
    if ties:
        truth[: rows // 2] = 0
    truth[-1] = 1
    order, counts = ranked(scores[None])
    assert counts[0] == rows
    hits = truth[order].astype(bool)
    found = measure(hits, [1], truth[order]).ap[0]
    assert found == pytest.approx(average_precision_score(truth, scores), abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.25, -math.inf, math.inf, 1e-45, -1e-45, 3e38]),
        max_size=40,
    )
)
def test_the_order_is_that_of_a_stable_sort(rows: list[float]) -> None:
    scores = np.array([rows, rows[::-1]], np.float32)
    order, counts = ranked(scores)
    for query, given_ in enumerate(scores.tolist()):
        kept = [row for row in range(len(given_)) if given_[row] > -math.inf]
        assert counts[query] == len(kept)
        expected = sorted(kept, key=lambda row: (-given_[row], row))
        assert order[query, : counts[query]].tolist() == expected
        assert sorted(order[query].tolist()) == list(range(len(given_)))


def test_the_order_of_random_scores() -> None:
    scores = np.random.RandomState(0).normal(size=(7, 3000)).astype(np.float32)
    scores = np.round(scores, 2)  # many ties
    order, _ = ranked(scores)
    assert (order == np.argsort(-scores, axis=1, kind="stable")).all()


def test_a_wrong_number_among_the_scores_is_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        ranked([[0.0, math.nan]])
    with pytest.raises(ShapeError, match=r"scores \(Q, N\)"):
        ranked([0.0])


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(3)
    near = random.randint(0, 4, (50, 30))
    own = random.randint(0, 4, 50)
    whole = measure(near == own[:, None], own, near).columns()
    monkeypatch.setattr(metrics, "_CELLS", 100)
    parted = measure(near == own[:, None], own, near).columns()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parted[name])


def test_what_was_never_found_counts_as_missed() -> None:
    all_found = measure([[True, True, False]], [0], [[0, 0, 1]], places=(2,))
    half = measure([[True, True, False]], [0], [[0, 0, 1]], relevant=[4], places=(2,))
    assert all_found.ap[0] == 1.0
    assert half.ap[0] == 0.5
    assert half.recall[0, 0] == 0.5
    assert half.ap_at[0, 0] == 1.0  # of two places both are right
    nothing = measure([[False]], [0], [[1]], relevant=[3], places=(1,))
    assert nothing.ap[0] == 0.0
    assert math.isnan(nothing.first[0])
    assert nothing.columns()["found"][0] == 0.0


def test_a_tied_vote_goes_to_the_nearest() -> None:
    assert vote([[3, 1, 1, 3]]).tolist() == [3]
    assert vote([[1, 3, 3, 1]]).tolist() == [1]
    assert vote([[0, 3, 3, 1]]).tolist() == [3]
    assert vote([[0, -1, -1, -1]]).tolist() == [0]  # no rows have no vote
    assert vote(np.empty((2, 0), int)).tolist() == [-1, -1]


def test_what_does_not_fit_is_refused() -> None:
    hits = np.ones((2, 3), bool)
    for arguments in (
        (hits.astype(int), [0, 0], hits),
        (hits, [0], hits),
        (hits, [0, 0], np.zeros((2, 2), int)),
        (hits[0], [0], hits),
    ):
        with pytest.raises(ShapeError, match="measure"):
            measure(*arguments)
    for places in ((), (0,), (3, 1), (1, 1)):
        with pytest.raises(ShapeError, match="ascending places"):
            measure(hits, [0, 0], hits.astype(int), places=places)
    with pytest.raises(DataError, match="at least what"):
        measure(hits, [0, 0], hits.astype(int), relevant=[3, 2])
    with pytest.raises(ShapeError, match="at least one"):
        joined([])


def test_means_leave_out_queries_without_anything_relevant() -> None:
    hits = [[True, False], [False, True], [False, False], [True, True], [False, True]]
    labels = np.array([0, 0, 2, 1, -1])
    ranking = measure(hits, labels, np.zeros((5, 2), int), places=(1,))
    scores = summarise(ranking, labels, classes=4)
    assert (scores.queries, scores.without) == (3, 2)
    assert scores.means["ap"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert scores.macro["ap"] == pytest.approx((0.75 + 1) / 2)
    np.testing.assert_allclose(scores.classes["ap"], [0.75, 1, np.nan, np.nan])
    assert scores.support.tolist() == [2, 1, 0, 0]
    low, high = scores.interval
    assert 0.5 <= low <= scores.means["ap"] <= high <= 1.0
    with pytest.raises(ShapeError, match="class below 1"):
        summarise(ranking, labels, classes=1)
    nothing = summarise(ranking, np.full(5, -1), classes=2)
    assert nothing.queries == 0
    assert math.isnan(nothing.means["ap"])
    assert math.isnan(nothing.interval[0])


def test_the_mean_of_first_places_is_over_what_was_found() -> None:
    ranking = measure([[False, True], [False, False]], [0, 0], np.ones((2, 2), int), [1, 1], (1,))
    scores = summarise(ranking, [0, 0], 1)
    assert (scores.means["first"], scores.means["found"]) == (2.0, 0.5)


@pytest.mark.slow
def test_the_interval_holds_the_mean_in_95_of_100_cases() -> None:
    random = np.random.RandomState(0)
    held = 0
    for trial in range(300):
        low, high = interval(random.beta(4, 2, 60), seed=trial)
        held += low <= 2 / 3 <= high
    assert 0.90 < held / 300 < 0.985  # the percentile interval is a little narrow


@pytest.mark.slow
def test_groups_widen_the_interval() -> None:
    """Twenty patients with ten equal images each say no more than twenty images."""
    random = np.random.RandomState(0)
    held, alone = 0, 0
    for trial in range(200):
        patients = random.normal(size=20)
        values, groups = patients.repeat(10), np.arange(1, 21).repeat(10)
        low, high = interval(values, groups, seed=trial)
        held += low <= 0 <= high
        low, high = interval(values, seed=trial)
        alone += low <= 0 <= high
    assert held / 200 > 0.86
    assert alone / 200 < 0.6
    assert interval(patients, np.zeros(20)) == interval(patients)


def test_the_interval_is_the_same_for_good() -> None:
    values = np.linspace(0, 1, 30)
    assert interval(values) == interval(values)
    assert interval(values, seed=1) != interval(values)
    spread = np.append(values, np.nan)
    assert interval(spread) == interval(values)
    assert interval(values) == pytest.approx(PINNED, abs=1e-12)
    assert all(math.isnan(bound) for bound in interval([0.5]))
    assert all(math.isnan(bound) for bound in interval([0.5, 0.6], [3, 3]))


PINNED = (0.38620689655172413, 0.6022988505747126)


def test_units_keep_groups_together_and_the_others_apart() -> None:
    random = np.random.RandomState(1)
    groups: Any = random.randint(0, 5, 50).astype(np.uint64)
    found = units(groups)
    for a in range(50):
        for b in range(50):
            together = a == b or (groups[a] == groups[b] and groups[a] != 0)
            assert (found[a] == found[b]) == together
    assert sorted(set(found.tolist())) == list(range(found.max() + 1))
