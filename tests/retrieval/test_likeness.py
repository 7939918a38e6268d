"""The map of a likeness: exact where features are averaged maps, and where the image differs."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError, ShapeError
from chainrule.retrieval.embedding import Embedder
from chainrule.retrieval.likeness import likeness


def test_of_averaged_maps_the_mean_is_the_cosine() -> None:
    embed = Embedder(cr.create_model("resnet20").eval())
    x = cr.rand(3, 3, 32, 32, generator=cr.Generator(0)).numpy()
    vectors = embed(x).vectors
    maps = likeness(embed, x[0], vectors)
    assert maps.shape == (3, 32, 32)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), vectors @ vectors[0], atol=2e-3)


def test_each_map_is_its_direction_alone() -> None:
    embed = Embedder(cr.create_model("lenet5").eval())
    x = cr.rand(4, 1, 32, 32, generator=cr.Generator(1)).numpy()
    vectors = embed(x).vectors
    together = likeness(embed, x[0], vectors)
    for k in range(4):
        np.testing.assert_allclose(together[k], likeness(embed, x[0], vectors[k : k + 1])[0])


def test_it_is_seen_where_the_pattern_is() -> None:
    """Features are the mean response to one pattern: the map is bright where it stands."""
    net = cr.nn.Sequential(
        cr.nn.Conv2d(1, 1, 3, bias=False),
        cr.nn.ReLU(),
        cr.nn.AdaptiveAvgPool2d(1),
        cr.nn.Flatten(),
        cr.nn.Linear(1, 2),
    )
    with cr.no_grad():
        net[0].weight.copy_(cr.tensor(np.ones((1, 1, 3, 3), np.float32)))
    x = np.zeros((1, 20, 20), np.float32)
    x[0, 12:15, 4:7] = 1
    found = likeness(Embedder(net.eval()), x, np.ones((1, 1)))[0]
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert (abs(row - 13), abs(column - 5)) <= (1, 1)
    assert found[:8].max() < 0.01 * found.max()


def test_what_does_not_fit_is_said() -> None:
    embed = Embedder(cr.create_model("lenet5"))
    x = np.zeros((1, 32, 32), np.float32)
    with pytest.raises(ShapeError, match=r"features \(n, 84\)"):
        likeness(embed, x, np.zeros((2, 83)))
    with pytest.raises(ShapeError, match="one image"):
        likeness(embed, x[None], np.zeros((2, 84)))
    with pytest.raises(DataError, match="has no layer"):
        likeness(embed, x, np.zeros((1, 84)), "conv7")
