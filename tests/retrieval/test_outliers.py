"""Outliers: false alarms are as rare as was asked for, where images are drawn alike."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from chainrule.errors import DataError, KindError, ShapeError
from chainrule.retrieval.outliers import MOST, Calibration, own_distances
from chainrule.retrieval.shelf import Shelf


@settings(max_examples=200)
@given(
    distances=st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 2.0]), min_size=1, max_size=30),
    asked=st.floats(0, 2),
    rate=st.floats(0, 1),
)
def test_p_values_count_what_is_as_far(distances: list[float], asked: float, rate: float) -> None:
    calibration = Calibration.of(distances)
    n = len(distances)
    for distance in (asked, distances[0]):
        expected = (1 + sum(d >= distance for d in distances)) / (n + 1)
        assert calibration.p_value(distance) == pytest.approx(expected, abs=1e-15)
        if rate < 1 / (n + 1) - 1e-9:
            with pytest.raises(DataError, match="nothing would ever be flagged"):
                calibration.flag(distance, rate)
        elif abs(rate - 1 / (n + 1)) > 1e-9:
            assert calibration.flag(distance, rate) == (expected <= rate + 1e-12)
            assert calibration.flag(distance, rate) == (distance > calibration.threshold(rate))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [19, 60])
def test_false_alarms_of_images_drawn_alike_are_as_rare_as_asked(seed: int, n: int) -> None:
    """The chance is exact: floor((n + 1) rate) / (n + 1) where no two distances are equal."""
    random = np.random.RandomState(seed)
    trials = 4000
    drawn = np.minimum(random.gamma(2.0, 0.1, (trials, n + 1)), 2.0)
    for rate in (0.05, 0.1, 0.3):
        alarms = sum(bool(Calibration.of(row[:-1]).flag(row[-1], rate)) for row in drawn)
        chance = math.floor((n + 1) * rate + 1e-9) / (n + 1)
        assert binom.ppf(1e-5, trials, chance) <= alarms <= binom.ppf(1 - 1e-5, trials, chance)


@pytest.mark.parametrize("seed", range(3))
def test_equal_distances_raise_no_more_alarms(seed: int) -> None:
    random = np.random.RandomState(seed)
    drawn = random.randint(0, 6, (3000, 40)) / 5
    alarms = sum(bool(Calibration.of(row[:-1]).flag(row[-1], 0.2)) for row in drawn)
    assert alarms <= binom.ppf(1 - 1e-5, 3000, 0.2)


@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_distances_of_real_neighbours_hold_the_rate(seed: int) -> None:
    """Vectors on a sphere: the index's own distances, and those of a new one to all of it."""
    random = np.random.RandomState(seed)
    alarms, trials = 0, 1500
    for _ in range(trials):
        vectors = random.normal(size=(40, 4)) + 1.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        far = 1 - vectors @ vectors.T
        np.fill_diagonal(far, np.inf)
        own, new = far[:39, :39].min(axis=1), far[39, :39].min()
        alarms += bool(Calibration.of(np.maximum(own, 0)).flag(new, 0.1))
    assert binom.ppf(1e-5, trials, 0.05) < alarms <= binom.ppf(1 - 1e-5, trials, 0.1)


def test_what_lies_far_off_is_flagged() -> None:
    random = np.random.RandomState(0)
    calibration = Calibration.of(random.uniform(0.0, 0.2, 500), kind="held-out")
    assert calibration.flag(random.uniform(0.21, 2.0, 100), 0.01).all()
    assert not calibration.flag(np.zeros(100), 0.9).any()
    assert calibration.flag(np.inf, 0.01)
    assert calibration.smallest_rate == 1 / 501
    with pytest.raises(DataError, match=r"0\.002 or more"):
        calibration.flag(0.5, 0.001)
    with pytest.raises(ShapeError, match="rate from 0 to 1"):
        calibration.flag(0.5, 1.5)
    with pytest.raises(DataError, match="NaN"):
        calibration.p_value([0.1, math.nan])


def test_of_many_distances_some_are_kept() -> None:
    random = np.random.RandomState(0)
    given_ = random.uniform(0, 1, 30_000)
    calibration = Calibration.of(given_)
    assert len(calibration.distances) == MOST == 2000
    assert calibration.measured == 30_000
    assert set(calibration.distances) <= set(given_.tolist())
    assert list(calibration.distances) == sorted(calibration.distances)
    assert np.mean(calibration.distances) == pytest.approx(0.5, abs=0.03)
    assert Calibration.of(given_) == calibration != Calibration.of(given_, seed=1)
    with_gaps = Calibration.of([0.5, math.nan, 0.25, math.inf])
    assert (with_gaps.distances, with_gaps.measured) == ((0.25, 0.5), 2)


def test_plain_values_come_back_the_same() -> None:
    random = np.random.RandomState(1)
    calibration = Calibration.of(random.uniform(0, 1, 50).astype(np.float32), kind="held-out")
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again == calibration
    assert again.flag(0.99, 0.02) == calibration.flag(0.99, 0.02)


GOOD: dict[str, Any] = {"distances": [0.1, 0.2], "measured": 2, "kind": "held-out"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"distances": []}, "from 1 to 2000"),
        ({"distances": [0.1] * 2001, "measured": 2001}, "from 1 to 2000"),
        ({"distances": "0.1"}, "from 1 to 2000"),
        ({"distances": [0.2, 0.1]}, "ascend"),
        ({"distances": [0.1, math.nan]}, "from 0 to 2"),
        ({"distances": [-0.5, 0.1]}, "from 0 to 2"),
        ({"distances": [0.1, 3.0]}, "from 0 to 2"),
        ({"distances": [[0.1], [0.2]]}, "from 0 to 2"),
        ({"distances": ["a", "b"]}, "real numbers"),
        ({"distances": [[0.1], 0.2]}, "real numbers"),
        ({"measured": 1}, "measured"),
        ({"measured": 2.0}, "measured"),
        ({"measured": None}, "measured"),
        ({"kind": "guessed"}, "kind among"),
        ({"kind": []}, "kind among"),
    ],
)
def test_what_is_no_calibration_is_refused(change: dict[str, Any], match: str) -> None:
    assert Calibration.from_dict(GOOD)
    with pytest.raises(DataError, match=match):
        Calibration.from_dict({**GOOD, **change})


def test_what_is_no_dictionary_is_refused() -> None:
    for wrong in (None, [], "x", {"distances": [0.1]}):
        with pytest.raises(DataError, match="by name"):
            Calibration.from_dict(wrong)
    with pytest.raises(DataError, match="hold some images out"):
        Calibration.of([math.nan, math.inf])
    with pytest.raises(ShapeError, match=r"distances \(n,\)"):
        Calibration.of([[0.1]])
    with pytest.raises(KindError, match="real numbers"):
        Calibration.of(["a"])


def test_own_distances_are_those_of_one_image_after_the_other() -> None:
    """Not to itself, nor to its own group, to what is gone or to what looks the same."""
    random = np.random.default_rng(4)
    x = random.normal(size=(60, 5))
    x[30:34] = x[:4]  # the same features again: of one group, alike, dead, and a stranger's
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    groups = np.arange(60, dtype=np.uint64) + 1
    groups[30], groups[10:20] = groups[0], 0
    looks = random.integers(1, 2**63, 60, np.uint64)
    looks[31], looks[40:45] = looks[1] ^ np.uint64(0b1011), 0
    looks[12] = looks[13] ^ np.uint64(0b11111)  # five bits: not alike
    alive = np.ones(60, bool)
    alive[32] = False
    shelf = Shelf.of(x, groups=groups, alive=alive)
    for seen in (looks, None):
        wanted = []
        for i in np.flatnonzero(alive):
            others = [
                float(1 - x[i] @ x[j])
                for j in np.flatnonzero(alive)
                if i != j
                and not (groups[i] == groups[j] != 0)
                and not (
                    seen is not None and seen[i] != 0 and int(seen[i] ^ seen[j]).bit_count() <= 4
                )
            ]
            wanted.append(min(others))
        np.testing.assert_allclose(sorted(own_distances(shelf, seen)), sorted(wanted), atol=1e-6)
    assert sorted(wanted)[0] < 1e-6 < sorted(wanted)[6]  # the twins count where looks do not


def test_own_distances_of_few() -> None:
    assert len(own_distances(Shelf.of(np.eye(1)))) == 0
    assert own_distances(Shelf.of(np.eye(2), groups=[3, 3])).tolist() == []
