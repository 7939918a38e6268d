"""MixUp and CutMix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import chainrule as cr
from chainrule.data.transforms import MIXES, CutMix, Mix, MixUp, parse_mix
from chainrule.errors import DataError, KindError, LabelError, ShapeError
from tests.data.transforms.cases import KINDS, pictures

every = pytest.mark.parametrize("name", sorted(MIXES))


def test_both_are_registered() -> None:
    assert sorted(MIXES) == ["CutMix", "MixUp"]


@every
@given(
    n=st.integers(1, 5),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    kind=st.sampled_from(KINDS),
    alpha=st.floats(0.05, 5),
    seed=st.integers(0, 2**32),
)
def test_types_ranges_and_repetition(
    name: str, n: int, h: int, w: int, kind: Any, alpha: float, seed: int
) -> None:
    made = MIXES[name](alpha)
    images, labels = pictures((n, 2, h, w), kind), np.arange(n) % 4
    before = images.copy(), labels.copy()
    x, t = made(images, labels, 4, cr.Generator(seed))
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(labels, before[1])
    assert (x.shape, x.dtype, t.shape, t.dtype) == (images.shape, kind, (n, 4), np.float32)
    assert x.min() >= images.min() - 1e-6
    assert x.max() <= images.max() + 1e-6
    assert t.min() >= 0
    np.testing.assert_allclose(t.sum(axis=1), 1, atol=1e-6)
    again = made(images, labels, 4, cr.Generator(seed))
    np.testing.assert_array_equal(again[0], x)
    np.testing.assert_array_equal(again[1], t)
    soft = np.eye(4, dtype=np.float64)[labels]
    same = made(images, soft, 4, cr.Generator(seed))  # targets that are numbers already
    np.testing.assert_array_equal(same[0], x)
    np.testing.assert_array_equal(same[1], t)


@every
def test_text(name: str) -> None:
    made = parse_mix(f"{name}(alpha=0.25)")
    assert made == MIXES[name](0.25)
    assert repr(made) == f"{name}(alpha=0.25)"
    assert parse_mix(repr(MIXES[name]())) == MIXES[name]()


@every
def test_targets_say_how_much_of_which_image_is_there(name: str) -> None:
    """Image i is i everywhere, in three channels: the mean pixel is the mean label."""
    images = np.arange(64.0).reshape(64, 1, 1, 1) * np.ones((1, 3, 16, 24))
    x, t = MIXES[name](1.0)(images, np.arange(64), 64, cr.Generator(0))
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), t @ np.arange(64), atol=1e-4)
    parts = (t > 0).sum(axis=1)
    assert parts.max() == 2
    assert (parts == 2).sum() > 50
    largest = t.max(axis=1)
    assert len(np.unique(largest.round(4))) > 40, "each image draws for itself"
    own = t[np.arange(64), np.arange(64)]
    assert own.min() < 0.5


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    n = 4000
    images = np.zeros((n, 1, 1, 1))
    t = MixUp(alpha)(images, np.arange(n), n, cr.Generator(0))[1]
    own = t[np.arange(n), np.arange(n)].astype(float)
    own = own[own < 1]  # one that met itself tells nothing
    assert stats.kstest(own, "beta", args=(alpha, alpha)).pvalue > 0.01


def test_mixup_by_hand() -> None:
    images = np.array([0, 100], np.uint8).reshape(2, 1, 1, 1)
    for seed in range(20):
        x, t = MixUp(1.0)(images, np.array([[1, 0, 1], [0, 0, 1]]), 3, cr.Generator(seed))
        np.testing.assert_array_equal(x.ravel(), np.rint(100 * (1 - t[:, 0])))
        np.testing.assert_array_equal(t[:, 1:], [[0, 1], [0, 1]])  # several labels


def test_cutmix_puts_one_box_of_the_partner() -> None:
    n = 500
    images = np.arange(float(n)).reshape(n, 1, 1, 1) * np.ones((1, 1, 10, 14))
    x, t = CutMix(1.0)(images, np.arange(n), n, cr.Generator(0))
    other = x[:, 0] != np.arange(n).reshape(n, 1, 1)
    assert (
        other.sum(axis=(1, 2)) == other.any(axis=2).sum(axis=1) * other.any(axis=1).sum(axis=1)
    ).all()
    own = t[np.arange(n), np.arange(n)]
    np.testing.assert_allclose(own, 1 - other.mean(axis=(1, 2)), atol=1e-6)
    places = other.mean(axis=0)
    assert places.min() > 0.1  # a box can be anywhere,
    assert np.abs(places - places[::-1, ::-1]).max() < 0.12  # and no side is preferred


def test_soft_targets_are_what_cross_entropy_takes() -> None:
    x, t = MixUp(0.2)(pictures((4, 1, 2, 2), np.float32), np.arange(4), 4, cr.Generator(0))
    scores = cr.zeros(4, 4)
    loss = cr.cross_entropy(scores, cr.tensor(t))
    assert float(loss.item()) == pytest.approx(np.log(4), rel=1e-6)
    assert x.dtype == np.float32


@every
def test_what_is_refused(name: str) -> None:
    made: Mix = MIXES[name]()
    images = np.zeros((3, 1, 4, 4), np.float32)
    with pytest.raises(LabelError, match=f"{name} labels: expected labels in 0..1; got label 2"):
        made(images, np.arange(3), 2)
    with pytest.raises(KindError, match=rf"{name}: expected integer labels \(N,\)"):
        made(images, np.zeros(3), 2)
    with pytest.raises(ShapeError, match=r"labels \(N,\) or targets \(N, 2\); got targets"):
        made(images, np.zeros((3, 4)), 2)
    with pytest.raises(ShapeError, match=r"images \(N, C, H, W\) with N targets; got images"):
        made(images, np.zeros(2, int), 2)
    with pytest.raises(ShapeError, match=r"images \(N, C, H, W\) with N targets; got images"):
        made(images[0], np.zeros(1, int), 2)
    with pytest.raises(KindError, match="targets of numbers"):
        made(images, np.full((3, 2), "a"), 2)
    with pytest.raises(ShapeError, match=f"{name}: expected alpha above 0"):
        MIXES[name](0)
    with pytest.raises(DataError, match="alpha"):
        parse_mix(f"{name}('x')")
