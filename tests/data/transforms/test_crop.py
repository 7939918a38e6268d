"""Crops, borders, views and flips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.data.transforms import (
    CenterCrop,
    FiveCrop,
    Identity,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    TenCrop,
    parse_transform,
)
from chainrule.errors import KindError, ShapeError
from tests.data.transforms.cases import pictures


def places(n: int, h: int, w: int) -> Any:
    """Images of two channels that hold each pixel's row and column."""
    return np.repeat(np.mgrid[:h, :w][np.newaxis], n, axis=0).astype(np.float64)


def test_crops_in_use() -> None:
    x = pictures((2, 3, 32, 32), np.uint8)
    np.testing.assert_array_equal(RandomCrop(32, padding=4).eval()(x), x)
    np.testing.assert_array_equal(RandomCrop(28).eval()(x), x[:, :, 2:30, 2:30])
    small = x[:, :, :28, :28]
    np.testing.assert_array_equal(
        RandomCrop(32, padding=2).eval()(small), np.pad(small, ((0, 0), (0, 0), (2, 2), (2, 2)))
    )
    np.testing.assert_array_equal(
        RandomCrop(32, pad_if_needed=True, padding_mode="edge").eval()(small),
        np.pad(small, ((0, 0), (0, 0), (2, 2), (2, 2)), "edge"),
    )


def test_every_place_is_equally_likely() -> None:
    x = places(3000, 5, 6)
    out = RandomCrop((3, 4))(x, cr.Generator(0))
    rows, columns = out[:, 0], out[:, 1]
    assert (np.diff(rows, axis=1) == 1).all()
    assert (np.diff(columns, axis=2) == 1).all()
    counts = np.unique(rows[:, 0, 0] * 10 + columns[:, 0, 0], return_counts=True)[1]
    assert len(counts) == 9
    assert counts.min() > 250  # 333 expected


def test_random_crops_reach_into_the_border() -> None:
    x = np.ones((2000, 1, 4, 4), np.uint8)
    out = RandomCrop(4, padding=(1, 2), fill=7)(x, cr.Generator(0))
    assert (out == 7).any()
    corner = out[:, 0] == 7
    assert {int(k) for k in corner.all(axis=2).sum(axis=1)} == {0, 1, 2}  # rows of border
    assert {int(k) for k in corner.all(axis=1).sum(axis=1)} == {0, 1}
    filled = RandomCrop(6, pad_if_needed=True)(x, cr.Generator(0))
    assert filled.shape == (2000, 1, 6, 6)
    assert (filled.sum(axis=(1, 2, 3)) == 16).all()
    assert len({image.tobytes() for image in filled}) == 9


def test_crops_that_are_too_large() -> None:
    x = np.zeros((3, 20, 30), np.uint8)
    rule = "expected a window 24 x 24 inside the image; got image 20 x 30; "
    for made in (CenterCrop(24), RandomCrop(24)):
        with pytest.raises(ShapeError, match=rule + "pad_if_needed=True fills up, Resize enlarges"):
            made(x)
    for made in (FiveCrop(24), TenCrop(24)):
        with pytest.raises(ShapeError, match=rule + "Resize enlarges"):
            made(x)
    with pytest.raises(ShapeError, match="a window 40 x 2 inside the image; got image 24 x 34"):
        RandomCrop((40, 2), padding=2)(x)


def test_halves_are_rounded_to_even() -> None:
    x = places(1, 9, 9)[0]
    for size, first in ((8, 0), (7, 1), (6, 2), (5, 2), (4, 2), (2, 4)):  # 0.5, 1, 1.5, 2, 2.5, 3.5
        assert CenterCrop(size)(x)[0, 0, 0] == first


@given(st.integers(0, 2**32), st.integers(8, 40), st.integers(8, 40))
def test_resized_crops_have_the_area_and_the_ratio(seed: int, h: int, w: int) -> None:
    scale, ratio = (0.2, 0.6), (0.5, 2.0)
    x = places(20, h, w)
    out = RandomResizedCrop(200, scale, ratio, "nearest")(x, cr.Generator(seed))
    high = out[:, 0].max(axis=(1, 2)) - out[:, 0].min(axis=(1, 2)) + 1
    wide = out[:, 1].max(axis=(1, 2)) - out[:, 1].min(axis=(1, 2)) + 1
    exact = (np.rint(high) == high) & (np.rint(wide) == wide)
    assert exact.all()
    slack_h, slack_w = 0.5 / high, 0.5 / wide  # sides were rounded
    share = high * wide / (h * w)
    assert (share >= scale[0] * (1 - 2 * (slack_h + slack_w))).all()
    assert (share <= scale[1] * (1 + 2 * (slack_h + slack_w))).all()
    shape = wide / high
    assert (shape >= ratio[0] * (1 - 2 * (slack_h + slack_w))).all()
    assert (shape <= ratio[1] * (1 + 2 * (slack_h + slack_w))).all()
    assert out.shape == (20, 2, 200, 200)


def test_resized_crops_spread_over_area_ratio_and_place() -> None:
    x = places(1500, 64, 64)
    out = RandomResizedCrop(64, (0.1, 0.5), interpolation="nearest")(x, cr.Generator(1))
    low, high = out.min(axis=(2, 3)), out.max(axis=(2, 3))
    sides = high - low + 1
    area = sides.prod(axis=1) / 64**2
    assert abs(area.mean() - 0.3) < 0.02
    log = np.log(sides[:, 1] / sides[:, 0])
    assert abs(log.mean()) < 0.03
    assert abs(np.abs(log).max() - np.log(4 / 3)) < 0.08
    room = 64 - sides
    assert abs((low / np.maximum(room, 1)).mean() - 0.5) < 0.03
    assert low.min() == 0
    assert high.max() == 63
    movable = room.min(axis=1) > 20
    rows, columns = (low / np.maximum(room, 1))[movable].T
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.1  # each is drawn for itself


def test_where_no_box_fits_the_largest_central_part_serves() -> None:
    out = RandomResizedCrop((4, 3), (1.0, 1.0))(places(2, 4, 40), cr.Generator(0))
    columns = out[0, 1]
    assert columns.min() > 17  # of 40 columns the middle 4 * 4 / 3 = 5
    assert columns.max() < 22
    tall = RandomResizedCrop((4, 3), (1.0, 1.0), interpolation="nearest")(places(1, 40, 3))
    assert (tall[0, 0].min(), tall[0, 0].max()) == (18, 21)  # the middle 3 / (3 / 4) = 4
    whole = RandomResizedCrop(1, (0.0, 0.0))(np.full((1, 1, 1), 3.0))
    assert whole.item() == 3.0


def test_resized_crops_in_use() -> None:
    text = "Compose([Resize(size=37, interpolation='bicubic'), CenterCrop(size=(32, 20))])"
    assert RandomResizedCrop((32, 20), interpolation="bicubic").eval() == parse_transform(text)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_borders_beside_numpy(mode: str) -> None:
    x = pictures((2, 3, 4, 5), np.uint8)
    for padding, (left, top, right, bottom) in (
        (2, (2, 2, 2, 2)),
        ((3, 1), (3, 1, 3, 1)),
        ((1, 0, 2, 9), (1, 0, 2, 9)),
    ):
        expected = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode)  # type: ignore[call-overload]
        np.testing.assert_array_equal(Pad(padding, padding_mode=mode)(x), expected)


def test_fills() -> None:
    x = np.zeros((3, 1, 1), np.uint8)
    assert Pad((1, 0, 0, 0), (1, 2, 3))(x).tolist() == [[[1, 0]], [[2, 0]], [[3, 0]]]
    assert Pad((1, 0, 0, 0), 0.25)(x / 1.0)[0, 0].tolist() == [0.25, 0.0]
    with pytest.raises(ShapeError, match="Pad: expected one fill, or one for each of 2 channels"):
        Pad(1, (1, 2))(x)
    for fill in (0.5, 256, -1):
        with pytest.raises(ShapeError, match=f"a fill that uint8 can hold; got fill {fill}"):
            Pad(1, fill)(x)
        with pytest.raises(ShapeError, match="RandomCrop: expected a fill that uint8 can hold"):
            RandomCrop(1, padding=1, fill=fill)(x)


def test_views_by_hand() -> None:
    x = places(2, 5, 7)
    out = FiveCrop((2, 3))(x)
    assert out[1, :, :, 0, 0].tolist() == [[0, 0], [0, 4], [3, 0], [3, 4], [2, 2]]
    assert out.shape == (2, 5, 2, 2, 3)
    assert (np.diff(out[:, :, 1], axis=3) == 1).all()
    ten = TenCrop((2, 3))(x)
    np.testing.assert_array_equal(ten[:, :5], out)
    np.testing.assert_array_equal(ten[:, 5:], FiveCrop((2, 3))(x[:, :, :, ::-1]))
    upside = TenCrop((2, 3), vertical_flip=True)(x)
    np.testing.assert_array_equal(upside[:, 5:], FiveCrop((2, 3))(x[:, :, ::-1]))
    assert TenCrop(2).eval() == TenCrop(2)


@pytest.mark.parametrize("axis", [2, 3])
def test_flips(axis: int) -> None:
    made = RandomVerticalFlip if axis == 2 else RandomHorizontalFlip
    x = pictures((1000, 2, 3, 4), np.uint8)
    out = made(0.3)(x, cr.Generator(0))
    kept = (out == x).all(axis=(1, 2, 3))
    assert 0.65 < kept.mean() < 0.75
    np.testing.assert_array_equal(out[~kept], np.flip(x[~kept], axis))
    np.testing.assert_array_equal(made(1)(x), np.flip(x, axis))
    np.testing.assert_array_equal(made(0)(x), x)
    assert made().eval() == Identity()


def test_settings_that_are_refused() -> None:
    with pytest.raises(ShapeError, match="RandomHorizontalFlip: expected p from 0 to 1, not 2"):
        RandomHorizontalFlip(2)
    with pytest.raises(ShapeError, match=r"a finite p of at least 0.0, not -0.1"):
        RandomVerticalFlip(-0.1)
    with pytest.raises(KindError, match="a number as p; got value True"):
        RandomVerticalFlip(True)
    with pytest.raises(ShapeError, match="Pad: expected padding of at least 0, not -1"):
        Pad(-1)
    with pytest.raises(ShapeError, match=r"one padding, .* got padding"):
        Pad((1, 2, 3))
    with pytest.raises(ShapeError, match="padding_mode to be one of constant, edge, reflect"):
        RandomCrop(3, padding_mode="circular")
    with pytest.raises(ShapeError, match=r"scale with 0.0 <= lowest <= highest <= 1.0; got value"):
        RandomResizedCrop(3, (0.5, 0.1))
    with pytest.raises(KindError, match="two numbers, lowest and highest, as ratio"):
        RandomResizedCrop(3, ratio=2.0)
