from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import chainrule as cr
from chainrule.data import ArrayDataset, ImageData, Preprocess, load_digits
from chainrule.data.preprocess import bilinear_matrix
from chainrule.errors import DataError, ShapeError


def data_of(images: np.ndarray, white: float) -> ImageData:
    part = ArrayDataset(images, np.zeros(len(images), int))
    return ImageData("x", part, part, ["0"], white)


@given(
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    size=st.integers(9, 12),
    kind=st.sampled_from([np.uint8, np.int32, np.float32, np.float64, bool]),
)
def test_padding_and_scale_by_loops(h: int, w: int, size: int, kind: type) -> None:
    rng = np.random.default_rng(h * 100 + w)
    x = rng.integers(0, 2, (2, 3, h, w)).astype(kind)
    y = Preprocess(size, 1, white=2.0, mean=0.25, std=0.5)(x)
    assert y.shape == (2, 3, size, size)
    assert y.dtype == np.float32
    top, left = (size - h) // 2, (size - w) // 2
    for n, c, i, j in np.ndindex(*y.shape):
        inside = top <= i < top + h and left <= j < left + w
        pixel = float(x[n, c, i - top, j - left]) if inside else 0.0
        assert y[n, c, i, j] == pytest.approx((pixel / 2.0 - 0.25) / 0.5)


def test_inputs_are_left_alone() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    before = x.copy()
    Preprocess(4, 1, 1.0, 0.5, 2.0)(x)
    Preprocess(8, 2, 1.0, 0.5, 2.0)(x[:, :, ::-1])
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(("length", "factor"), [(8, 4), (8, 3), (1, 5), (3, 1), (2, 2)])
def test_bilinear_enlargement_against_scipy(length: int, factor: int) -> None:
    x = np.random.default_rng(0).standard_normal(length)
    place = (np.arange(length * factor) + 0.5) / factor - 0.5
    expected = ndimage.map_coordinates(x, [place], order=1, mode="nearest")
    np.testing.assert_allclose(bilinear_matrix(length, factor) @ x, expected, atol=1e-6)


def test_enlarged_images_keep_rows_and_columns_apart() -> None:
    x = np.random.default_rng(0).integers(0, 17, (3, 2, 4, 5))
    y = Preprocess(20, 4, white=1.0)(x)
    rows, columns = bilinear_matrix(4, 4), bilinear_matrix(5, 4)
    np.testing.assert_allclose(
        y[:, :, 2:18, :], np.einsum("ih,nchw,jw->ncij", rows, x, columns), rtol=1e-5, atol=1e-5
    )
    assert not y[:, :, :2].any()


def test_fit_measures_what_comes_out() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (50, 1, 28, 28)).astype(np.uint8)
    for images in (x, x.astype(np.float64)):
        p = Preprocess.fit(data_of(images, 255.0))
        assert (p.size, p.enlarge, p.white) == (32, 1, 255.0)
        y = p(images)
        assert abs(float(y.mean())) < 1e-3
        assert float(y.std()) == pytest.approx(1.0, abs=1e-3)


def test_fit_on_digits_and_on_constant_images() -> None:
    p = Preprocess.fit(load_digits())
    assert (p.size, p.enlarge, p.white) == (32, 4, 16.0)
    assert Preprocess.fit(data_of(np.zeros((2, 1, 4, 4), np.uint8), 1.0)).std == 1.0


def test_misfits() -> None:
    with pytest.raises(ShapeError, match=r"2\*20 = 40"):
        Preprocess(32, 2)(np.zeros((1, 1, 4, 20)))
    with pytest.raises(ShapeError, match=r"images \(N, C, H, W\)"):
        Preprocess()(np.zeros((28, 28)))
    with pytest.raises(ShapeError, match=r"1\*64 = 64"):
        Preprocess.fit(data_of(np.zeros((1, 1, 64, 64)), 1.0))
    bad = np.zeros((2, 1, 4, 4))
    bad[1, 0, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"nan at index \(1, 0, 2, 3\)"):
        Preprocess()(bad)


def test_shifts_are_seeded_uniform_and_whole() -> None:
    x = np.zeros((4000, 1, 4, 4), np.uint8)
    x[:, 0, 1, 2] = 255
    p = Preprocess(8, 1, 255.0, mean=0.5, std=0.5)
    y = p.shifted(2, cr.Generator(3))(x)
    np.testing.assert_array_equal(y, p.shifted(2, cr.Generator(3))(x))
    assert not np.array_equal(y, p.shifted(2, cr.Generator(4))(x))
    assert y.shape == (4000, 1, 8, 8)
    assert y.min() == -1.0  # black enters at the border
    assert (y == 1.0).sum(axis=(1, 2, 3)).tolist() == [1] * 4000
    places, counts = np.unique(np.argwhere(y == 1.0)[:, 2:], axis=0, return_counts=True)
    rows, columns = np.mgrid[1:6, 2:7]  # 2 + 1 and 2 + 2, moved by -2..2
    np.testing.assert_array_equal(places, np.stack([rows.ravel(), columns.ravel()], 1))
    assert counts.min() > 100  # 160 expected for each of the 25 moves


def test_no_shift_is_the_plain_preparation() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 1, 5, 5))
    p = Preprocess(7)
    np.testing.assert_array_equal(p.shifted(0, cr.Generator(0))(x), p(x))
