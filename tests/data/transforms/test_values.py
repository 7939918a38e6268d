"""Values of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.data.transforms import Normalize, PerPixelMean, ToFloat
from chainrule.data.transforms.pixels import as_floats, back
from chainrule.errors import KindError, ShapeError
from tests.data.transforms.cases import pictures


def test_white_is_that_of_the_type_or_of_the_set() -> None:
    for kind, white in ((np.uint8, 255), (np.uint16, 65535), (np.float64, 1)):
        image = np.full((1, 1, 1), white, kind)
        assert ToFloat()(image).item() == 1.0
        assert Normalize(0.5, 0.25)(image).item() == 2.0
    sixteen = np.full((3, 1, 2, 2), 16, np.uint8)
    assert ToFloat().fit(lambda: iter([sixteen]), 16.0) == ToFloat(16.0)
    assert ToFloat().fit(lambda: iter([sixteen / 16.0]), 16.0) == ToFloat(1.0)
    assert Normalize(std=1.0).fit(lambda: iter([sixteen]), 16.0) == Normalize(1.0, 1.0, 16.0)
    assert ToFloat(4)(sixteen).max() == 4.0


def test_normalize_learns_each_channel_over_all_batches() -> None:
    images = pictures((30, 3, 4, 5), np.uint16)
    images[:, 1] //= 4
    parts = [images[:7], list(images[7:9]), images[9:].reshape(3, 7, 3, 4, 5)]  # a list, and views
    made = Normalize().fit(lambda: iter(parts))
    np.testing.assert_allclose(made.mean, (images / 65535).mean(axis=(0, 2, 3)), atol=6e-5)
    np.testing.assert_allclose(made.std, (images / 65535).std(axis=(0, 2, 3)), atol=6e-5)
    out = made(images)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(axis=(0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(out.std(axis=(0, 2, 3)), 1, atol=1e-3)
    half = Normalize(mean=0.5).fit(lambda: iter(parts))
    assert half.mean == 0.5
    assert half.std == made.std


def test_normalize_of_constant_and_of_sizes() -> None:
    dark = [np.zeros((1, 4, 4), np.uint8), np.zeros((1, 2, 9), np.uint8)]
    assert Normalize().fit(lambda: iter([dark])) == Normalize(0.0, 1.0, 255.0)


def test_per_pixel_mean_by_hand() -> None:
    images = pictures((10, 2, 3, 4), np.uint8)
    made = PerPixelMean().fit(lambda: iter([images[:4], images[4:]]))
    expected = images / 255 - images.astype(float).mean(axis=0) / 255
    np.testing.assert_allclose(made(images), expected, atol=1e-6)
    assert made.white == 255.0
    np.testing.assert_array_equal(
        PerPixelMean(white=1.0, mean=np.ones((1, 1, 1)))(np.full((1, 1, 1), 3.0)),
        np.full((1, 1, 1), 2.0),
    )


@pytest.mark.parametrize("kind", [np.bool_, np.int32, np.int64, np.uint64, np.float16])
def test_values_come_back_from_floats(kind: type) -> None:
    if kind is np.float16:
        x = np.array([0.0, 0.5, 1.0], kind)
    else:
        low, high = (0, 1) if kind is np.bool_ else (np.iinfo(kind).min, np.iinfo(kind).max)
        x = np.array([low, high // 2 if high > 1 else 0, high], kind)
    y = back(as_floats(x), x.dtype)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y.astype(float), x.astype(float), rtol=1e-15)
    assert back(np.array([1e30, -1e30]), np.dtype(np.int64)).tolist() == [2**63 - 1024, -(2**63)]


def test_values_that_are_refused() -> None:
    for name, message in (
        ("std", "Normalize: expected std above 0"),
        ("mean", "a finite mean"),
    ):
        with pytest.raises(ShapeError, match=message):
            Normalize(**{name: float("nan") if name == "mean" else (0.5, 0.0)})
    with pytest.raises(KindError, match="Normalize: expected a number as mean; got value 'x'"):
        Normalize("x")
    with pytest.raises(ShapeError, match=r"images of 3 channels; got images uint8 \(1, 1, 2, 2\)"):
        Normalize((0.1, 0.2, 0.3))(np.zeros((1, 2, 2), np.uint8))
    for made in (ToFloat, Normalize, PerPixelMean):
        with pytest.raises(ShapeError, match=f"{made.__name__}: expected white above 0"):
            made(white=0)
        with pytest.raises(ShapeError, match="at least one image to learn from"):
            made().fit(lambda: iter([]))
    mixed = [pictures((1, 4, 4), np.uint8), pictures((3, 4, 4), np.uint8)]
    with pytest.raises(ShapeError, match="training images of one number of channels, 1"):
        Normalize().fit(lambda: iter([mixed]))
    with pytest.raises(ShapeError, match=r"training images of one shape, \(1, 4, 4\)"):
        PerPixelMean().fit(lambda: iter([mixed]))
    with pytest.raises(ShapeError, match="call fit with the training images, or with_arrays"):
        PerPixelMean()(mixed[0])
    with pytest.raises(ShapeError, match=r"shape \(1, 4, 4\); got images uint8 \(1, 3, 4, 4\)"):
        PerPixelMean().fit(lambda: iter([mixed[:1]]))(mixed[1])
    with pytest.raises(ShapeError, match="a mean image"):
        PerPixelMean().with_arrays({"mean": np.full((1, 1, 1), np.nan)})
