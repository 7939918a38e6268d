"""Sizes, beside Pillow and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

import chainrule as cr
from chainrule.data.transforms import RandomResize, Resize
from chainrule.data.transforms.resize import shorter_side
from chainrule.errors import KindError, ShapeError
from tests.data.transforms.cases import pictures

METHODS = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
sides = st.integers(1, 100)  # to both sides of the size from which Pillow computes


def by_pillow(image: Any, size: tuple[int, int], interpolation: str) -> Any:
    planes = [Image.fromarray(p).resize(size[::-1], METHODS[interpolation]) for p in image]
    return np.stack([np.asarray(plane) for plane in planes])


@given(sides, sides, sides, sides, st.sampled_from(sorted(METHODS)))
def test_resize_beside_pillow(h: int, w: int, new_h: int, new_w: int, interpolation: str) -> None:
    size = (new_h, new_w)
    image = pictures((2, h, w), np.uint8)
    out = Resize(size, interpolation)(image)
    expected = by_pillow(image, size, interpolation)
    if interpolation == "nearest-exact":
        # Between two rows Pillow takes either, as its sum of floats has it.
        sure = [(2 * np.arange(b) + 1) * a % (2 * b) > 0 for a, b in ((h, new_h), (w, new_w))]
        places = np.ix_([0, 1], *sure)
        np.testing.assert_array_equal(out[places], expected[places])
        return
    # Pillow rounds after rows and after columns.
    assert np.abs(out.astype(int) - expected.astype(int)).max() <= 1 + (interpolation == "bicubic")
    floats = pictures((2, h, w), np.float32)
    expected = by_pillow(floats, size, interpolation)
    np.testing.assert_allclose(Resize(size, interpolation)(floats), expected, atol=3e-6)
    doubles = Resize(size, interpolation)(floats.astype(np.float64))
    np.testing.assert_allclose(doubles, expected, atol=3e-6)
    words = pictures((2, h, w), np.uint16)
    expected = by_pillow(words.astype(np.float32), size, interpolation).clip(0, 65535)
    assert np.abs(Resize(size, interpolation)(words) - expected).max() < 0.6


@given(sides, sides, sides, sides)
def test_bilinear_without_antialias_beside_scipy(h: int, w: int, new_h: int, new_w: int) -> None:
    image = pictures((h, w), np.float64)
    rows = (np.arange(new_h) + 0.5) * h / new_h - 0.5
    columns = (np.arange(new_w) + 0.5) * w / new_w - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    expected = ndimage.map_coordinates(image, grid, order=1, mode="nearest")
    out = Resize((new_h, new_w), antialias=False)(image[np.newaxis])
    np.testing.assert_allclose(out[0], expected, atol=1e-9)


def test_cubic_without_antialias_by_loops() -> None:
    image = pictures((7,), np.float64)

    def curve(t: float, a: float = -0.75) -> float:
        t = abs(t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

    for size in (3, 7, 12):
        expected = []
        for i in range(size):
            place = (i + 0.5) * 7 / size - 0.5
            near = range(int(np.floor(place)) - 1, int(np.floor(place)) + 3)
            expected.append(sum(curve(j - place) * image[min(max(j, 0), 6)] for j in near))
        out = Resize((1, size), "bicubic", antialias=False)(image.reshape(1, 1, 7))
        np.testing.assert_allclose(out.ravel(), expected, atol=1e-12)


def test_smaller_images_are_averages_and_nearest_takes_rows() -> None:
    image = np.arange(16.0).reshape(1, 4, 4)
    flat = np.full((3, 9, 5), 77, np.uint8)
    for interpolation in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        for size in ((2, 2), (20, 3), (90, 70)):
            assert (Resize(size, interpolation)(flat) == 77).all()
    assert Resize((2, 2), "nearest")(image).tolist() == [[[0, 2], [8, 10]]]
    assert Resize((2, 2), "nearest-exact")(image).tolist() == [[[5, 7], [13, 15]]]
    weights = np.array([3, 3, 1]) / 7  # 1 - |t| / 2 at distances 1/2, 1/2, 3/2 from the place
    lines = np.array([[0, 1, 2], [3, 2, 1]]) @ weights
    expected = [[4 * a + b for b in lines] for a in lines]
    np.testing.assert_allclose(Resize((2, 2))(image)[0], expected, atol=1e-12)


def test_the_shorter_side() -> None:
    assert Resize(8)(np.zeros((1, 16, 33))).shape == (1, 8, 16)
    assert Resize(8)(np.zeros((1, 33, 16))).shape == (1, 16, 8)
    assert Resize([8])(np.zeros((1, 4, 4))).shape == (1, 8, 8)
    assert Resize(8, max_size=10)(np.zeros((1, 16, 33))).shape == (1, 5, 10)
    assert shorter_side(1, 1000, 2) == (2, 2000)
    assert shorter_side(1, 1000, 2, longest=50) == (1, 50)


def test_bytes_of_full_range_stay_in_range() -> None:
    edge = np.repeat(np.array([0, 255], np.uint8), 8).reshape(1, 1, 16)
    for size in ((1, 40), (1, 90)):
        out = Resize(size, "bicubic")(edge).astype(int).ravel()
        assert out[:10].max() < 60
        assert out[-10:].min() > 195
    x = edge.astype(np.float32) / 255
    assert Resize((1, 40), "bicubic")(x).max() > 1.01  # floats may overshoot


def test_short_sides_are_drawn_from_the_whole_range() -> None:
    images = np.zeros((400, 1, 10, 20), np.uint8)
    out = RandomResize(5, 8)(images, cr.Generator(0))
    assert {image.shape for image in out} == {(1, s, 2 * s) for s in (5, 6, 7, 8)}
    counts = np.unique([image.shape[1] for image in out], return_counts=True)[1]
    assert counts.min() > 70
    assert RandomResize(256, 512).eval() == Resize(384)
    assert RandomResize(256, 512, "bicubic", False, 300).eval() == Resize(
        300, "bicubic", None, False
    )


def test_sizes_that_are_refused() -> None:
    with pytest.raises(ShapeError, match="Resize: expected size of at least 1, not 0"):
        Resize(0)
    with pytest.raises(ShapeError, match=r"a size, or \(height, width\); got size \(1, 2, 3\)"):
        Resize((1, 2, 3))
    with pytest.raises(KindError, match=r"an integer as size; got value 2.5"):
        Resize(2.5)
    with pytest.raises(ShapeError, match="one of nearest, nearest-exact, bilinear, bicubic; got"):
        Resize(2, "lanczos")
    with pytest.raises(ShapeError, match="max_size with a size of one number, and not below it"):
        Resize((2, 3), max_size=9)
    with pytest.raises(ShapeError, match="RandomResize: expected min_size <= max_size; got"):
        RandomResize(9, 8)
