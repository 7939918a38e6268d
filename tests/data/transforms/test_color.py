"""Colours, light, focus and erased parts."""

from __future__ import annotations

import colorsys
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import ndimage

import chainrule as cr
from chainrule.data.transforms import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    Identity,
    Lighting,
    RandomErasing,
    RandomGrayscale,
)
from chainrule.errors import KindError, ShapeError
from tests.data.transforms.cases import pictures

LUMA = np.array([0.299, 0.587, 0.114])


def fixed(**factors: float) -> ColorJitter:
    return ColorJitter(**{name: (value, value) for name, value in factors.items()})


@pytest.mark.parametrize(
    ("setting", "enhancer"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.8])
@pytest.mark.parametrize("channels", [1, 3])
def test_factors_beside_pillow(setting: str, enhancer: Any, factor: float, channels: int) -> None:
    image = pictures((channels, 9, 11), np.uint8)
    picture = Image.fromarray(np.squeeze(image.transpose(1, 2, 0)))
    expected = np.asarray(enhancer(picture).enhance(factor)).reshape(9, 11, channels)
    out = fixed(**{setting: factor})(image).astype(int)
    # Pillow rounds the grey, and its mean, before it blends.
    assert np.abs(out - expected.transpose(2, 0, 1)).max() <= 1 + round(abs(factor - 1))


@given(st.floats(-0.5, 0.5), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_hue_beside_the_standard_library(turns: float, colour: list[float]) -> None:
    pixel = np.array(colour).reshape(3, 1, 1)
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    expected = colorsys.hsv_to_rgb((hue + turns) % 1.0, saturation, value)
    np.testing.assert_allclose(fixed(hue=turns)(pixel).ravel(), expected, atol=1e-9)


def test_colours_by_hand() -> None:
    x = np.array([[[10, 200]], [[20, 0]], [[30, 100]]], np.uint8)
    assert fixed(brightness=1.5)(x)[:, 0].tolist() == [[15, 255], [30, 0], [45, 150]]
    grey = LUMA @ x[:, 0]
    np.testing.assert_allclose(
        fixed(saturation=0.5)(x)[:, 0], np.rint(0.5 * x[:, 0] + 0.5 * grey), atol=0
    )
    np.testing.assert_allclose(
        fixed(contrast=0.5)(x)[:, 0], np.rint(0.5 * x[:, 0] + 0.5 * grey.mean()), atol=0
    )
    assert fixed(hue=1 / 3)(np.array([[[255]], [[0]], [[0]]], np.uint8)).ravel().tolist() == [
        0,
        255,
        0,
    ]
    five = pictures((5, 2, 2), np.float64)
    np.testing.assert_allclose(fixed(contrast=0.0)(five), five.mean(), atol=1e-12)


def test_the_order_is_drawn_for_each_image() -> None:
    x = np.array([0.9, 0.3, 0.2]).reshape(1, 3, 1, 1)
    single = [fixed(brightness=1.6), fixed(contrast=2.5), fixed(saturation=0.4), fixed(hue=0.2)]
    expected = set()
    for order in permutations(single):
        y = x
        for member in order:
            y = member(y)
        expected.add(tuple(y.ravel().round(6).tolist()))
    assert len(expected) > 6
    both = fixed(brightness=1.6, contrast=2.5, saturation=0.4, hue=0.2)
    out = both(np.repeat(x, 500, axis=0), cr.Generator(0)).reshape(500, 3).round(6)
    assert {tuple(row) for row in out.tolist()} == expected


def test_factors_are_drawn_from_their_ranges() -> None:
    x = np.full((3000, 3, 1, 1), 0.25)
    for value, low, high in ((0.4, 0.6, 1.4), ((0.5, 3.0), 0.5, 3.0), (2.0, 0.0, 3.0)):
        factors = ColorJitter(brightness=value)(x, cr.Generator(0))[:, 0, 0, 0] / 0.25
        assert low <= factors.min() < low + 0.01
        assert high - 0.01 < factors.max() <= high
        assert factors.mean() == pytest.approx((low + high) / 2, rel=0.05)


def test_grey_beside_pillow() -> None:
    image = pictures((3, 20, 20), np.uint8)
    expected = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"), int)
    out = Grayscale()(image)
    assert np.abs(out[0] - expected).max() <= 1
    assert (out[0] == expected).mean() > 0.99
    assert (Grayscale(3)(image) == out).all()
    np.testing.assert_array_equal(Grayscale(3)(image[:1]), np.repeat(image[:1], 3, axis=0))
    several = pictures((500, 3, 2, 2), np.uint8)
    some = RandomGrayscale(0.3)(several, cr.Generator(0))
    kept = (some == several).all(axis=(1, 2, 3))
    assert 0.63 < kept.mean() < 0.77
    np.testing.assert_array_equal(some[~kept], Grayscale(3)(several[~kept]))


def coloured(kind: Any = np.uint8) -> Any:
    rng = np.random.default_rng(0)
    pixels = rng.normal(0, 1, (40, 36, 3)) * (60, 12, 4) @ np.linalg.qr(rng.normal(0, 1, (3, 3)))[0]
    return np.clip(pixels + 128, 0, 255).transpose(0, 2, 1).reshape(40, 3, 6, 6).astype(kind)


def test_light_is_learnt() -> None:
    images = coloured()
    made = Lighting().fit(lambda: iter([images[:9], list(images[9:])]))
    colours = images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    axes = np.array(made.eigenvectors)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-5)
    assert list(made.eigenvalues) == sorted(made.eigenvalues, reverse=True)
    rebuilt = axes.T * made.eigenvalues @ axes
    np.testing.assert_allclose(rebuilt, np.cov(colours, bias=True), atol=1e-5)
    assert made.fit(lambda: iter([])) is made


def test_light_is_added_with_the_covariance_squared() -> None:
    """The shift is sum p_i a_i l_i: its covariance is 0.01 sum p_i p_i^T l_i^2."""
    made = Lighting().fit(lambda: iter([coloured(np.float64) / 255]))
    zeros = np.zeros((20_000, 3, 2, 2))
    shifts = made(zeros, cr.Generator(0))
    assert (shifts == shifts[:, :, :1, :1]).all()
    axes = np.array(made.eigenvectors)
    expected = 0.01 * axes.T * np.square(made.eigenvalues) @ axes
    found = np.cov(shifts[:, :, 0, 0].T)
    np.testing.assert_allclose(found, expected, atol=0.03 * expected.max())
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=1e-4)
    in_bytes = made.__class__(0.1, made.eigenvalues, made.eigenvectors)
    out = in_bytes(np.full((2, 3, 1, 1), 100, np.uint8), cr.Generator(3))
    same = in_bytes(np.zeros((2, 3, 1, 1)), cr.Generator(3))
    np.testing.assert_array_equal(out, np.rint(100 + 255 * same))


@given(
    st.sampled_from([1, 3, 5, 9]), st.sampled_from([1, 3, 7]), st.floats(0.1, 5), st.integers(5, 12)
)
def test_blur_beside_scipy(wide: int, high: int, sigma: float, side: int) -> None:
    image = pictures((2, side, side + 3), np.float64)
    expected = image
    for axis, size in ((2, wide), (1, high)):
        t = np.arange(size) - size // 2
        curve = np.exp(-0.5 * (t / sigma) ** 2)
        expected = ndimage.correlate1d(expected, curve / curve.sum(), axis, mode="mirror")
    np.testing.assert_allclose(GaussianBlur((wide, high), sigma)(image), expected, atol=1e-12)


def test_blur_draws_sigma() -> None:
    point = np.zeros((500, 1, 1, 41))
    point[..., 20] = 1.0
    out = GaussianBlur((41, 1), (1.0, 3.0))(point, cr.Generator(0))
    found = np.sqrt(out.reshape(500, 41) @ (np.arange(41) - 20) ** 2)
    assert found.min() == pytest.approx(1.0, abs=0.03)
    assert found.max() == pytest.approx(3.0, abs=0.03)
    assert found.mean() == pytest.approx(2.0, abs=0.1)
    assert GaussianBlur(3).eval() == Identity()
    assert GaussianBlur(3, 1.0).eval() == GaussianBlur(3, 1.0)


def test_erased_parts_are_boxes_of_the_area_and_ratio() -> None:
    x = np.zeros((1000, 2, 40, 60), np.uint8)
    out = RandomErasing(0.7, (0.1, 0.3), (0.5, 2.0), value=(7, 9))(x, cr.Generator(0))
    erased = out[:, 0] == 7
    np.testing.assert_array_equal(erased, out[:, 1] == 9)
    hit = erased.any(axis=(1, 2))
    assert 0.65 < hit.mean() < 0.75
    high, wide = erased.any(axis=2).sum(axis=1)[hit], erased.any(axis=1).sum(axis=1)[hit]
    np.testing.assert_array_equal(erased.sum(axis=(1, 2))[hit], high * wide)
    area, ratio = high * wide / 2400, high / wide
    assert 0.09 < area.min() < 0.11
    assert 0.28 < area.max() < 0.32
    assert 0.47 < ratio.min() < 0.55
    assert 1.8 < ratio.max() < 2.15
    tops = erased[hit].any(axis=2).argmax(axis=1)
    assert tops.min() == 0
    assert (tops + high).max() == 40
    wide_image = np.zeros((200, 1, 8, 60), np.uint8)
    strips = RandomErasing(1.0, (0.2, 0.4), (0.1, 0.2), 1)(wide_image, cr.Generator(0))[:, 0]
    assert strips.any(axis=(1, 2)).all()
    assert strips.any(axis=1).sum(axis=1).min() > 15
    whole = RandomErasing(1.0, (1.0, 1.0), (1.0, 1.0), 1)(np.zeros((9, 1, 8, 8)), cr.Generator(0))
    assert not whole.any()  # no box is as large as the image
    for kind, spread in ((np.float32, 1.0), (np.uint8, 255 / np.sqrt(12))):
        noise = RandomErasing(1.0, (0.5, 0.5), (1, 1), "random")(x.astype(kind), cr.Generator(1))
        values = noise[noise != 0].astype(float)
        assert values.std() == pytest.approx(spread, rel=0.05)
        assert len(values) > 1000


def test_what_is_refused() -> None:
    two = np.zeros((2, 4, 4), np.uint8)
    with pytest.raises(ShapeError, match="images of 1 or 3 channels for saturation and hue; got"):
        ColorJitter(saturation=0.1)(two)
    for made in (Grayscale(), RandomGrayscale()):
        with pytest.raises(ShapeError, match="images of 1 or 3 channels; got images uint8"):
            made(two)
    with pytest.raises(ShapeError, match=r"hue of at most 0.5, not 0.6"):
        ColorJitter(hue=0.6)
    with pytest.raises(ShapeError, match=r"contrast with 0.0 <= lowest"):
        ColorJitter(contrast=(-0.1, 1))
    with pytest.raises(ShapeError, match="1 or 3 as num_output_channels, not 2"):
        Grayscale(2)
    with pytest.raises(ShapeError, match="the colours' principal axes; call fit with"):
        Lighting()(two)
    with pytest.raises(ShapeError, match=r"Lighting: expected images of 1 channels; got images"):
        Lighting(0.1, (1.0,), ((1.0,),))(two)
    with pytest.raises(ShapeError, match="2 eigenvectors of 2 numbers, one for each eigenvalue"):
        Lighting(0.1, (1.0, 2.0), ((1.0, 0.0),))
    with pytest.raises(ShapeError, match="eigenvalues and eigenvectors, or neither"):
        Lighting(0.1, (1.0, 2.0))
    with pytest.raises(ShapeError, match="at least one image to learn from"):
        Lighting().fit(lambda: iter([]))
    with pytest.raises(ShapeError, match="one number of channels, 2; got images"):
        Lighting().fit(lambda: iter([[two, two[:1]]]))
    for size in (2, (3, 4), (3, 3, 3)):
        with pytest.raises(ShapeError, match="an odd kernel_size, or two of them; got"):
            GaussianBlur(size)
    with pytest.raises(ShapeError, match=r"a finite sigma of at least 0.001, not 0"):
        GaussianBlur(3, 0)
    with pytest.raises(ShapeError, match="a number, one a channel or 'random' as value"):
        RandomErasing(value="noise")
    with pytest.raises(ShapeError, match="RandomErasing: expected a fill that uint8 can hold"):
        RandomErasing(1.0, (0.5, 0.5), (1, 1), 0.5)(two)
    with pytest.raises(KindError, match="a number as brightness; got value 'x'"):
        ColorJitter("x")
