"""Turns, moves, shears, beside SciPy and Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

import chainrule as cr
from chainrule.data.transforms import Identity, RandomAffine, RandomRotation
from chainrule.errors import KindError, ShapeError
from tests.data.transforms.cases import pictures


def by_scipy(image: Any, forward: Any, move: Any, interpolation: str, fill: float) -> Any:
    """The image (H, W) with p going to c + move + forward (p - c), p = (x, y)."""
    h, w = image.shape
    backward = np.linalg.inv(np.asarray(forward, float))[::-1, ::-1]  # rows first
    middle = (np.array([h, w]) - 1) / 2
    offset = middle - backward @ (middle + np.asarray(move, float)[::-1])
    order = 0 if interpolation == "nearest" else 1
    return ndimage.affine_transform(
        image, backward, offset, order=order, mode="grid-constant", cval=fill
    )


def turn(degrees: float) -> Any:
    """Clockwise to the eye: y points down."""
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


@given(st.floats(-400, 400), st.integers(1, 20), st.integers(1, 20), st.floats(0, 1))
def test_rotation_beside_scipy(degrees: float, h: int, w: int, fill: float) -> None:
    image = pictures((2, h, w), np.float64)
    out = RandomRotation((degrees, degrees), "bilinear", fill=fill)(image)
    expected = [by_scipy(plane, turn(-degrees), (0, 0), "bilinear", fill) for plane in image]
    np.testing.assert_allclose(out, expected, atol=1e-7)


def test_rotation_beside_pillow() -> None:
    image = pictures((1, 40, 50), np.uint8)
    for degrees in (10, -35.5, 200):
        turned = Image.fromarray(image[0]).rotate(degrees)
        out = RandomRotation((degrees, degrees))(image)
        assert (out[0] == np.asarray(turned)).mean() > 0.995  # ties between pixels
        turned = Image.fromarray(image[0]).rotate(degrees, Image.Resampling.BILINEAR)
        out = RandomRotation((degrees, degrees), "bilinear")(image)
        inner = np.hypot(*(np.mgrid[:40, :50] - np.array([[[19.5]], [[24.5]]]))) < 18
        assert np.abs(out[0].astype(int) - np.asarray(turned))[inner].max() <= 1


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_quarter_turns_lose_nothing(interpolation: str) -> None:
    image = pictures((3, 6, 6), np.uint8)
    for quarters in (-1, 0, 1, 2, 3):
        out = RandomRotation((90 * quarters, 90 * quarters), interpolation)(image)
        np.testing.assert_array_equal(out, np.rot90(image, quarters, axes=(1, 2)))


def test_the_center_stays() -> None:
    image = np.zeros((1, 9, 12), np.uint8)
    image[0, 3, 2] = 9
    for interpolation in ("nearest", "bilinear"):
        out = RandomRotation((77, 77), interpolation, center=(2.5, 3.5))(image)
        assert out[0, 3, 2] == 9
        out = RandomAffine((33, 33), None, (2, 2), 5, interpolation, 0, (2.5, 3.5))(image)
        assert out[0, 3, 2] == 9


def test_angles_are_drawn_evenly_from_the_range() -> None:
    # A point far to the right of the middle turns to (cos a, -sin a): angles can be read off.
    image = np.zeros((600, 1, 101, 101), np.float32)
    image[:, 0, 48:53, 88:93] = 1.0
    for made, low, high in (
        (RandomRotation((-20, 60), "bilinear"), -20, 60),
        (RandomAffine((-60, 20), interpolation="bilinear"), -20, 60),  # its angles are clockwise
        (RandomRotation(30, "bilinear"), -30, 30),
    ):
        out = made(image, cr.Generator(0))[:, 0]
        mass = out.sum(axis=(1, 2))
        y = (out.sum(axis=2) @ np.arange(101)) / mass - 50
        x = (out.sum(axis=1) @ np.arange(101)) / mass - 50
        angles = np.degrees(np.arctan2(-y, x))
        assert angles.min() == pytest.approx(low, abs=1.5)
        assert angles.max() == pytest.approx(high, abs=1.5)
        assert angles.mean() == pytest.approx((low + high) / 2, abs=3)
        assert angles.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.08)


@given(st.floats(-80, 80), st.floats(0.3, 3), st.floats(-60, 60), st.floats(-60, 60))
def test_affine_beside_scipy(degrees: float, scale: float, a: float, b: float) -> None:
    image = pictures((11, 14), np.float64)
    made = RandomAffine(
        (degrees, degrees), None, (scale, scale), (a, a, b, b), "bilinear", fill=0.5
    )
    along_x = np.array([[1, -np.tan(np.radians(a))], [0, 1]])
    along_y = np.array([[1, 0], [-np.tan(np.radians(b)), 1]])
    forward = scale * turn(degrees) @ along_y @ along_x
    expected = by_scipy(image, forward, (0, 0), "bilinear", 0.5)
    np.testing.assert_allclose(made(image[np.newaxis])[0], expected, atol=1e-6)


def test_moves_are_whole_pixels_up_to_their_share() -> None:
    image = np.zeros((2000, 1, 11, 21), np.uint8)
    image[:, 0, 5, 10] = 1
    for interpolation in ("nearest", "bilinear"):
        out = RandomAffine(0, (0.2, 0.1), interpolation=interpolation)(image, cr.Generator(0))
        found = np.argwhere(out)
        assert len(found) == 2000
        rows, columns = found[:, 2] - 5, found[:, 3] - 10
        assert set(rows.tolist()) == set(range(-1, 2))
        assert set(columns.tolist()) == set(range(-4, 5))


def test_shears_are_drawn() -> None:
    image = np.zeros((300, 1, 41, 41), np.float32)
    image[:, 0, 10, 20] = 1.0
    x_alone = RandomAffine(0, shear=(-40, 10))(image, cr.Generator(0))
    found = np.argwhere(x_alone)
    assert set(found[:, 2].tolist()) == {10}
    moved = found[:, 3] - 20  # x -= y tan a with y = -10
    assert moved.min() == -8
    assert moved.max() == 2
    both = RandomAffine(0, shear=(0, 0, -40, 10))(image, cr.Generator(0))
    np.testing.assert_array_equal(both, image)  # the point is on the axis x = 0
    around = np.argwhere(RandomAffine(0, shear=40)(image, cr.Generator(0)))[:, 3] - 20
    assert (around.min(), around.max()) == (-8, 8)


def test_each_channel_has_its_fill() -> None:
    out = RandomRotation((45, 45), fill=(1, 2, 3))(np.full((3, 8, 8), 9, np.uint8))
    assert out[:, 0, 0].tolist() == [1, 2, 3]
    assert (out[:, 3:5, 3:5] == 9).all()


def test_use_and_what_is_refused() -> None:
    assert RandomRotation(10).eval() == RandomAffine(10).eval() == Identity()
    with pytest.raises(ShapeError, match="expand=False: pictures keep their size; Pad them before"):
        RandomRotation(10, expand=True)
    with pytest.raises(ShapeError, match="RandomRotation: expected a finite degrees of at least 0"):
        RandomRotation(-10)
    with pytest.raises(ShapeError, match="degrees with"):
        RandomRotation((10, -10))
    with pytest.raises(ShapeError, match="interpolation to be one of nearest, bilinear; got"):
        RandomAffine(1, interpolation="bicubic")
    with pytest.raises(ShapeError, match=r"translate from 0 to 1; got translate \(0.1, 1.5\)"):
        RandomAffine(1, (0.1, 1.5))
    with pytest.raises(KindError, match=r"two numbers as translate; got value 0.1"):
        RandomAffine(1, 0.1)
    with pytest.raises(ShapeError, match="scale with 1e-06 <= lowest <= highest"):
        RandomAffine(1, scale=(0, 1))
    with pytest.raises(ShapeError, match=r"shear with -89.9 <= lowest"):
        RandomAffine(1, shear=90)
    with pytest.raises(KindError, match="one, two or four angles as shear"):
        RandomAffine(1, shear=(1, 2, 3))
    with pytest.raises(KindError, match="two numbers as center"):
        RandomRotation(1, center=3)
