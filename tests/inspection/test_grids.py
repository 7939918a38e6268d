from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError, KindError, LabelError, ShapeError
from chainrule.inspection import activation_grid, filter_grid, image_grid
from tests.inspection.common import photo, small


def test_images_stand_row_by_row() -> None:
    images = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 2, 4))
    grid = image_grid(images, columns=3, gap=1, background=-1.0)
    assert grid.shape == (3, 5, 14)
    assert grid[0, 0].tolist() == [0] * 4 + [-1] + [1] * 4 + [-1] + [2] * 4
    assert grid[2, 4].tolist() == [3] * 4 + [-1] + [4] * 4 + [-1] * 5
    assert (grid[:, 2] == -1).all()
    assert image_grid(list(images)).shape == (3, 5, 14)  # two rows of three
    assert image_grid(images, columns=1, gap=0).shape == (3, 10, 4)


def test_images_that_make_no_grid() -> None:
    with pytest.raises(ShapeError, match="of one size, at least one"):
        image_grid([])
    with pytest.raises(ShapeError, match=r"shapes \[\(1, 2, 2\), \(1, 3, 3\)\]"):
        image_grid([np.zeros((1, 2, 2)), np.zeros((1, 3, 3))])
    with pytest.raises(KindError, match="images of floats"):
        image_grid(np.zeros((1, 1, 2, 2), np.uint8))
    with pytest.raises(ShapeError, match="columns of 1 or more"):
        image_grid(np.zeros((1, 1, 2, 2)), columns=0)


def test_filters_in_colour_with_0_as_grey() -> None:
    model = small()
    w = model.conv1.weight.detach().numpy()
    grid = filter_grid(model, "conv1", columns=3)
    assert grid.shape == (3, 7, 11)
    np.testing.assert_allclose(grid[:, 4:7, 0:3], 0.5 + w[3] / abs(w[3]).max() / 2, rtol=1e-6)
    together = filter_grid(model, "conv1", columns=3, each=False)
    np.testing.assert_allclose(together[:, :3, 4:7], 0.5 + w[1] / abs(w).max() / 2, rtol=1e-6)
    with cr.no_grad():
        model.conv1.weight.zero_()
    assert (filter_grid(model, "conv1", columns=6, gap=0) == 0.5).all()


def test_filters_of_many_channels_in_rows() -> None:
    model = small()
    w = model.conv2.weight.detach().numpy()
    grid = filter_grid(model, "conv2")
    assert grid.shape == (1, 8 * 4 - 1, 6 * 4 - 1)
    shown = 0.5 + w[2, 5] / abs(w[2, 5]).max() / 2
    np.testing.assert_allclose(grid[0, 8:11, 20:23], shown, rtol=1e-6)
    one = filter_grid(model, "conv2", channel=5, columns=8)
    np.testing.assert_allclose(one[0, :, 8:11], shown, rtol=1e-6)
    with pytest.raises(LabelError, match="a channel from 0 to 5: the filters of 'conv2' have 6"):
        filter_grid(model, "conv2", channel=6)


def test_transposed_convolutions_filters_are_those_of_outputs() -> None:
    model = cr.nn.Sequential(cr.nn.ConvTranspose2d(2, 4, 3))
    w = model[0].weight.detach().numpy()  # (inputs, outputs, 3, 3)
    grid = filter_grid(model, "0")
    assert grid.shape == (1, 4 * 4 - 1, 2 * 4 - 1)
    shown = 0.5 + w[1, 2] / abs(w[1, 2]).max() / 2
    np.testing.assert_allclose(grid[0, 8:11, 4:7], shown, rtol=1e-6)


@pytest.mark.parametrize("layer", ["fc", "relu1", ""])
def test_layers_without_filters(layer: str) -> None:
    with pytest.raises(
        ShapeError, match=rf"a convolution with filters \(O, C, H, W\), not '{layer}'"
    ):
        filter_grid(small(), layer)
    with pytest.raises(DataError, match="has no layer"):
        filter_grid(small(), "conv9")


def test_maps_are_stretched() -> None:
    model, image = small().eval(), photo(16, 12)
    maps = model.conv1(cr.tensor(image[None])).detach().numpy()[0]
    grid = activation_grid(model, image, "conv1", columns=2)
    assert grid.shape == (1, 3 * 17 - 1, 25)
    low, high = maps[3].min(), maps[3].max()
    np.testing.assert_allclose(grid[0, 17:33, 13:], (maps[3] - low) / (high - low), atol=1e-5)
    chosen = activation_grid(model, image, "conv1", units=[4, -3], columns=2, each=False, gap=0)
    part = maps[[4, 3]]
    scaled = (part - part.min()) / (part.max() - part.min())
    np.testing.assert_allclose(chosen[0], np.hstack(list(scaled)), atol=1e-5)


def test_a_dead_map_is_black() -> None:
    model = small()
    with cr.no_grad():
        model.norm.bias.fill_(-100.0)
    assert (activation_grid(model, photo(), "relu1", columns=6, gap=0) == 0).all()


def test_images_are_prepared() -> None:
    model = cr.nn.Sequential({"same": cr.nn.Identity()})
    image = photo(channels=2)
    plain = activation_grid(model, image, "same", each=False, columns=2, gap=0)[0]
    grid = activation_grid(
        model, image, "same", each=False, columns=2, gap=0, mean=[0.0, 5.0], std=[1.0, 0.5]
    )[0]
    both = np.hstack([image[0], (image[1] - 5) / 0.5])
    np.testing.assert_allclose(grid, (both - both.min()) / (both.max() - both.min()), atol=1e-6)
    assert abs(grid - plain).max() > 0.1
