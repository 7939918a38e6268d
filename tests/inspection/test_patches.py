"""What a unit is known to look for by construction is found, where it was planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader
from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, ShapeError
from chainrule.inspection import top_patches
from tests.inspection.common import small

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.float32)


def seeker(**options: Any) -> cr.nn.Module:
    """A convolution whose channel 1 is the template of a cross."""
    conv = cr.nn.Conv2d(1, 2, 3, bias=False, **options)
    with cr.no_grad():
        conv.weight.copy_(cr.tensor(np.stack([np.zeros_like(CROSS), CROSS - 0.5])[:, None]))
    return cr.nn.Sequential({"conv": conv, "relu": cr.nn.ReLU(), "pool": cr.nn.MaxPool2d(2)})


def planted(places: list[tuple[int, int, float]], size: int = 12) -> Array:
    """Images of dim noise, each with a cross of some strength at a place."""
    images = 0.05 * np.random.default_rng(0).random((len(places), 1, size, size), np.float32)
    for image, (row, column, strength) in zip(images, places, strict=True):
        image[0, row : row + 3, column : column + 3] = strength * CROSS
    return images


PLACES = [(1, 2, 0.5), (8, 3, 0.9), (5, 9, 0.7), (0, 0, 0.3), (4, 4, 1.0), (7, 7, 0.2)]


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_the_planted_patch_is_found(batch: int) -> None:
    loader = DataLoader(ArrayDataset(planted(PLACES), np.arange(10, 16)), batch_size=batch)
    found = top_patches(seeker(), "relu", 1, loader, count=3)
    assert list(found) == [1]
    assert [patch.number for patch in found[1]] == [4, 1, 2]
    assert [patch.target for patch in found[1]] == [14, 11, 12]
    for patch in found[1]:
        row, column, strength = PLACES[patch.number]
        assert patch.position == (row, column)
        assert patch.box == (row, column, 3, 3)
        np.testing.assert_array_equal(patch.patch[0], np.float32(strength) * CROSS)
        np.testing.assert_array_equal(patch.image, planted(PLACES)[patch.number])
        assert patch.value == pytest.approx(2.5 * strength, rel=1e-5)


def test_steps_padding_and_pooling_move_the_patch() -> None:
    images = planted([(5, 7, 1.0)])
    (patch,) = top_patches(seeker(), "pool", 1, [images])[1]
    assert patch.position == (2, 3)
    assert patch.box == (4, 6, 4, 4)  # two by two windows of 3x3
    np.testing.assert_array_equal(patch.patch[0, 1:, 1:], CROSS)
    (patch,) = top_patches(seeker(stride=2, padding=1), "conv", 1, [images])[1]
    assert (patch.position, patch.box) == ((3, 4), (5, 7, 3, 3))


def test_beyond_the_border_lies_what_the_network_pads_with() -> None:
    images = np.full((1, 1, 6, 6), 0.5, np.float32)
    images[0, 0, :2, :3] = CROSS[1:]
    kept = {"mean": [0.5], "std": [0.5]}
    (patch,) = top_patches(seeker(padding=1), "relu", 1, [(images, [0])], **kept)[1]
    assert (patch.position, patch.box) == ((0, 1), (-1, 0, 3, 3))
    np.testing.assert_array_equal(patch.patch[0], np.vstack([[[0.5] * 3], CROSS[1:]]))


def test_several_units_are_found_in_one_walk() -> None:
    images = np.random.default_rng(1).random((7, 3, 16, 16), dtype=np.float32)
    model = small().eval()
    maps = (
        model.conv2(model.pool(model.relu1(model.norm(model.conv1(cr.tensor(images))))))
        .detach()
        .numpy()
    )
    told: list[Any] = []
    batches = [(images[:4], None), (cr.tensor(images[4:]), None)]
    found = top_patches(
        model, "conv2", [0, -1], batches, count=20, progress=lambda *step: told.append(step)
    )
    assert told == [(1, 2, {"images": 4.0}), (2, 2, {"images": 7.0})]
    assert list(found) == [0, 7]
    for unit, patches in found.items():
        best = maps[:, unit].max(axis=(1, 2))
        assert [patch.number for patch in patches] == np.argsort(-best).tolist()
        np.testing.assert_allclose([p.value for p in patches], np.sort(best)[::-1], rtol=1e-4)
        assert {patch.patch.shape for patch in patches} == {(3, 8, 8)}  # 3 + 1 + 2 * 2


def test_equal_images_keep_their_order_and_the_first_place() -> None:
    images = np.zeros((5, 1, 6, 6), np.float32)
    found = top_patches(seeker(), "relu", 1, [images[:2], images[2:]], count=3)[1]
    assert [(patch.number, patch.position) for patch in found] == [(k, (0, 0)) for k in range(3)]


def test_a_units_score_has_the_whole_image() -> None:
    images = np.random.default_rng(1).random((3, 3, 16, 16), dtype=np.float32)
    first = top_patches(small(), "fc", 2, [images], count=1)[2][0]
    assert (first.position, first.box) == ((), (0, 0, 16, 16))
    np.testing.assert_array_equal(first.patch, images[first.number])


def test_batches_that_are_none() -> None:
    model = seeker()
    with pytest.raises(DataError, match="batches with at least one image, got none"):
        top_patches(model, "relu", 1, [])
    with pytest.raises(ShapeError, match=r"batches of images \(N, C, H, W\)"):
        top_patches(model, "relu", 1, [np.zeros((1, 6, 6))])
    with pytest.raises(KindError, match="255 for bytes"):
        top_patches(model, "relu", 1, [np.zeros((1, 1, 6, 6), np.uint8)])
    with pytest.raises(ShapeError, match="a target for each of 2 images; got targets 1"):
        top_patches(model, "relu", 1, [(np.zeros((2, 1, 6, 6)), [0])])
    with pytest.raises(ShapeError, match="count of 1 or more"):
        top_patches(model, "relu", 1, [np.zeros((2, 1, 6, 6))], count=0)
