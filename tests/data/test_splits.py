from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import load_digits, split
from chainrule.errors import DataError, ShapeError

FRACTIONS = st.sampled_from(
    [(0.8, 0.2), (0.5, 0.5), (0.7, 0.15, 0.15), (0.9, 0.05, 0.05), (1.0,), (0.25,) * 4]
)


def whole(parts: list[np.ndarray], n: int) -> None:
    """Check that each number is in one part, and that the parts ascend."""
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert len(part)


@settings(max_examples=200)
@given(
    labels=st.lists(st.integers(0, 6), min_size=4, max_size=200),
    fractions=FRACTIONS,
    seed=st.integers(0, 5),
)
def test_classes_are_shared_evenly(
    labels: list[int], fractions: tuple[float, ...], seed: int
) -> None:
    targets = np.array(labels)
    parts = split(targets, fractions, seed)
    whole(parts, len(targets))
    enough = False
    for label in np.unique(targets):
        counts = np.array([(targets[part] == label).sum() for part in parts])
        exact = np.array(fractions) * counts.sum()
        if counts.sum() >= len(fractions):
            enough = True
            assert counts.min() > 0
            floor = np.maximum(exact, 1)  # one each comes before the fractions
            assert (counts - floor < 1 + 1e-9).all()
            assert (exact - counts < len(fractions)).all()
    if enough:
        again = split(labels, fractions, seed)
        assert all((a == b).all() for a, b in zip(parts, again, strict=True))


@settings(max_examples=150)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=150),
    fractions=FRACTIONS,
    kind=st.sampled_from(["classification", "multilabel", "regression"]),
)
def test_groups_are_never_torn(
    pairs: list[tuple[int, int]], fractions: tuple[float, ...], kind: str
) -> None:
    labels, groups = (np.array(column) for column in zip(*pairs, strict=True))
    targets = {
        "classification": labels,
        "multilabel": np.stack([labels & 1, labels >> 1], axis=1),
        "regression": labels * 1.5,
    }[kind]
    if len(set(groups.tolist())) < len(fractions):
        with pytest.raises(DataError, match=r"at least \d groups"):
            split(targets, fractions, groups=groups)
        return
    parts = split(targets, fractions, 3, groups=[f"patient {g}" for g in groups])
    whole(parts, len(labels))
    inside = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, inside)) == len(set().union(*inside))


def test_groups_of_one_size_are_shared_by_the_fractions() -> None:
    random = np.random.RandomState(1)
    groups = np.repeat(np.arange(200), 5)
    labels = np.repeat(random.randint(0, 4, 200), 5)
    parts = split(labels, (0.7, 0.1, 0.2), groups=groups)
    for label in range(4):
        shares = [(labels[part] == label).mean() * len(part) / (labels == label).sum()
                  for part in parts]  # fmt: skip
        np.testing.assert_allclose(shares, (0.7, 0.1, 0.2), atol=0.03)


def test_a_group_larger_than_a_part_goes_to_the_largest() -> None:
    groups = np.array([0] * 60 + list(range(1, 41)))
    train, test = split(np.zeros(100, int), (0.8, 0.2), groups=groups)
    assert set(range(60)) <= set(train.tolist())
    assert len(test) == 20


@settings(max_examples=100)
@given(
    rows=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=8, max_size=120),
    fractions=st.sampled_from([(0.8, 0.2), (0.5, 0.25, 0.25)]),
)
def test_labels_are_spread(rows: list[list[bool]], fractions: tuple[float, ...]) -> None:
    table = np.array(rows)
    parts = split(table.astype(np.float32), fractions)
    whole(parts, len(rows))
    for column, total in enumerate(table.sum(axis=0)):
        counts = np.array([table[part, column].sum() for part in parts])
        assert np.abs(counts - np.array(fractions) * total).max() <= 0.1 * total + 3


def test_rare_labels_are_in_every_part() -> None:
    table = np.zeros((100, 3), int)
    table[:, 0] = 1
    table[::25, 1] = 1  # four
    table[[3, 77], 2] = 1  # two
    train, test = split(table, (0.8, 0.2))
    for part in (train, test):
        assert table[part].any(axis=0).all()
    assert len(test) == 20


def test_regression_is_shared_over_the_range() -> None:
    values = np.random.RandomState(0).gamma(1.0, 10.0, 400)
    _, test = split(values, (0.75, 0.25))
    assert len(test) == 100
    for q in (0.1, 0.5, 0.9):
        inside = (values[test] <= np.quantile(values, q)).mean()
        assert abs(inside - q) < 0.02
    several = split(np.stack([values, values], axis=1), (0.75, 0.25))
    whole(several, 400)


def test_a_class_of_one_image_is_trained_on() -> None:
    train, _ = split(["a"] * 10 + ["b"], (0.5, 0.5))
    assert 10 in train
    parts = split(np.arange(6), (0.6, 0.2, 0.2))  # each image a class of its own
    whole(parts, 6)


def test_the_parts_are_fixed_for_good() -> None:
    _, test = split([0] * 6 + [1] * 4, (0.7, 0.3))
    assert test.tolist() == [0, 4, 7]
    digits = load_digits().train.labels
    found = split(digits, (0.7, 0.1, 0.2), seed=7)
    text = ";".join(",".join(map(str, part)) for part in found)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "6391a27c9c675874"
    grouped = split(digits, (0.8, 0.2), groups=np.arange(len(digits)) // 7)
    text = ";".join(",".join(map(str, part)) for part in grouped)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "3e9c8e255e9055d6"


def test_equal_remainders_are_given_in_turn() -> None:
    parts = split(np.repeat(np.arange(20), 6), (0.5, 0.25, 0.25))
    assert [len(part) for part in parts] == [60, 30, 30]


def test_another_seed_gives_other_parts() -> None:
    first, second = (split(np.zeros(50, int), (0.5, 0.5), seed)[0] for seed in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("targets", "fractions", "more", "error", "text"),
    [
        ([0, 1], (0.5, 0.4), {}, ShapeError, "sum to 1, not 0.9"),
        ([0, 1], (1.0, 0.0), {}, ShapeError, "above 0"),
        ([0, 1], (float("nan"), 1.0), {}, ShapeError, "above 0"),
        ([0, 1], (), {}, ShapeError, "above 0"),
        ([0], (0.5, 0.5), {}, DataError, "at least 2 images"),
        ([], (1.0,), {}, DataError, "at least 1 images"),
        ([0, 1], (0.5, 0.5), {"groups": [1]}, ShapeError, "one group for each of 2"),
        ([0, 1], (0.5, 0.5), {"groups": [1, 1]}, DataError, "at least 2 groups"),
        ([[[0]]], (1.0,), {}, ShapeError, r"targets \(N,\)"),
        ([0, 1], (0.5, 0.5), {"task": "guess"}, ShapeError, "as task"),
        ([[0, 1]], (1.0,), {"task": "classification"}, ShapeError, r"labels \(N,\)"),
    ],
)
def test_misuse_is_refused(
    targets: object, fractions: tuple[float, ...], more: dict, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        split(targets, fractions, **more)
