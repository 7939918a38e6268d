"""Whitening against scikit-learn's, streamed, on data of fewer directions, and its refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from chainrule.errors import DataError, KindError
from chainrule.retrieval.whitening import ROWS, Whitening

RNG = np.random.default_rng(0)
MIX = np.linalg.qr(RNG.normal(size=(12, 12)))[0] * np.geomspace(5, 0.05, 12)[:, None]
POINTS = RNG.normal(size=(700, 12)) @ MIX + 3.0


def unit(y: Any) -> Any:
    return y / np.linalg.norm(y, axis=1, keepdims=True)


@pytest.mark.parametrize("components", [1, 5, 12])
def test_it_is_scikit_learns_up_to_sign(components: int) -> None:
    peer = PCA(components, whiten=True, svd_solver="full").fit(POINTS)
    ours = Whitening.fit([POINTS], components)
    signs = np.sign((peer.components_ * ours.components).sum(axis=1))
    expected = unit(peer.transform(POINTS) * signs)
    np.testing.assert_allclose(ours(POINTS), expected, atol=2e-5)
    np.testing.assert_allclose(ours.scale**2, peer.explained_variance_, 1e-5, 3e-8)
    np.testing.assert_allclose(ours.mean, peer.mean_, rtol=1e-6)


def test_blocks_of_any_size_are_the_same() -> None:
    whole = Whitening.fit([POINTS], 6)
    blocks = (POINTS[start : start + 64] for start in range(0, 700, 64))
    np.testing.assert_allclose(Whitening.fit(blocks, 6)(POINTS), whole(POINTS), atol=1e-5)
    empty = Whitening.fit([POINTS[:0], POINTS[:1], POINTS[1:]], 6)
    np.testing.assert_allclose(empty(POINTS), whole(POINTS), atol=1e-5)


def test_a_long_block_is_taken_in_parts() -> None:
    many = RNG.normal(size=(2 * ROWS + 5, 3)) * [3, 2, 1]
    peer = PCA(2, whiten=True).fit(many)
    ours = Whitening.fit([many], 2)
    signs = np.sign((peer.components_ * ours.components).sum(axis=1))
    np.testing.assert_allclose(ours(many), unit(peer.transform(many) * signs), atol=1e-5)


def test_a_far_mean_does_not_cancel() -> None:
    ours, near = Whitening.fit([POINTS + 1e6], 12), Whitening.fit([POINTS], 12)
    np.testing.assert_allclose(ours.scale, near.scale, rtol=1e-5)


def test_whitened_vectors_are_of_length_one_and_uncorrelated() -> None:
    ours = Whitening.fit([POINTS], 8)
    y = ours(POINTS.astype(np.float16))
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, rtol=1e-5)
    raw = (POINTS - ours.mean) @ ours.components.T / ours.scale
    np.testing.assert_allclose(np.cov(raw.T), np.eye(8), atol=1e-4)
    np.testing.assert_array_equal(ours(POINTS[3]), ours(POINTS[3:4])[0])
    assert not Whitening([1, 2], [[0, 1]], [1])([1, 2]).any()  # the mean itself, without NaN
    assert ours(POINTS[:0]).shape == (0, 8)


def test_arrays_make_it_again() -> None:
    ours = Whitening.fit([POINTS], 4)
    again = Whitening.from_arrays(ours.arrays())
    np.testing.assert_array_equal(again(POINTS), ours(POINTS))
    with pytest.raises(DataError, match=r"missing \['mean', 'scale'\]"):
        Whitening.from_arrays({"components": ours.components})
    with pytest.raises(DataError, match=r"mean \(D,\), components \(d, D\) and scale"):
        Whitening(ours.mean[:3], ours.components, ours.scale)
    with pytest.raises(DataError, match="a scale above 0"):
        Whitening(ours.mean, ours.components, np.zeros(4))


def test_more_components_than_directions_are_refused() -> None:
    flat = RNG.normal(size=(50, 3)) @ RNG.normal(size=(3, 12))
    assert Whitening.fit([flat], 3).components.shape == (3, 12)
    with pytest.raises(DataError, match="at most 3 components: the 50 rows differ in no more"):
        Whitening.fit([flat], 4)
    with pytest.raises(DataError, match="at most 4 components: the 5 rows"):
        Whitening.fit([POINTS[:5]], 5)
    with pytest.raises(DataError, match="at most 12 components"):
        Whitening.fit([POINTS], 13)
    with pytest.raises(DataError, match="at most 0 components"):
        Whitening.fit([np.ones((9, 3))], 1)


@pytest.mark.parametrize(
    ("blocks", "components", "error", "message"),
    [
        ([], 1, DataError, "at least 2 rows"),
        ([POINTS[:1]], 1, DataError, "at least 2 rows.*rows 1"),
        ([POINTS, POINTS[:, :5]], 1, DataError, r"blocks of rows \(n, 12\)"),
        ([POINTS[0]], 1, DataError, r"blocks of rows \(n, D\)"),
        ([np.full((3, 2), np.nan)], 1, DataError, "finite numbers"),
        ([POINTS], 0, DataError, "at least 1 component"),
        ([POINTS], 1.5, KindError, "a whole number of components"),
    ],
)
def test_refusals(blocks: Any, components: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Whitening.fit(blocks, components)


def test_vectors_of_another_width_are_refused() -> None:
    with pytest.raises(DataError, match=r"vectors \(N, 12\)"):
        Whitening.fit([POINTS], 2)(POINTS[:, :4])
