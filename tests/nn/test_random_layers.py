"""Dropout layers: their masks, their generators, and their replay by hand."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.dropout import RandomLayer

KINDS = [(nn.Dropout, (50, 20)), (nn.Dropout1d, (10, 20, 3)), (nn.Dropout2d, (10, 20, 2, 3))]


def values(tensor: cr.Tensor) -> np.ndarray:
    return np.array(tensor.detach())


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_drops_in_training_alone(kind: type[RandomLayer], shape: tuple[int, ...]) -> None:
    layer, x = kind(0.25), cr.ones(*shape)
    y = values(layer(x))
    assert set(np.unique(y)) <= {0.0, np.float32(1 / 0.75)}
    assert 0.1 < (y == 0).mean() < 0.4
    assert layer.eval()(x) is x


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_masks_differ_from_call_to_call_and_repeat_by_seed(
    kind: type[RandomLayer], shape: tuple[int, ...]
) -> None:
    layer, x = kind(0.5), cr.ones(*shape)
    cr.manual_seed(3)
    one, two = values(layer(x)), values(layer(x))
    assert (one != two).any()
    cr.manual_seed(3)
    np.testing.assert_array_equal(values(layer(x)), one)


def test_an_own_generator_leaves_the_global_one_alone() -> None:
    cr.manual_seed(0)
    expected = cr.rand(3).tolist()
    cr.manual_seed(0)
    x = cr.ones(30)
    one, two = (nn.Dropout(generator=cr.Generator(7)) for _ in range(2))
    np.testing.assert_array_equal(values(one(x)), values(two(x)))
    assert cr.rand(3).tolist() == expected


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_by_hand_the_last_mask_comes_back(kind: type[RandomLayer], shape: tuple[int, ...]) -> None:
    layer, x = kind(0.5), cr.ones(*shape)
    for _ in range(3):
        y = values(layer(x))
        gx = layer.backward(x, cr.ones(*shape))
        np.testing.assert_array_equal(values(gx), y)
        np.testing.assert_array_equal(values(layer.backward(x, cr.ones(*shape))), y)


def test_by_hand_nothing_is_drawn() -> None:
    layer, x = nn.Dropout(), cr.ones(10)
    layer(x)
    cr.manual_seed(1)
    expected = cr.rand(2).tolist()
    cr.manual_seed(1)
    layer.backward(x, x)
    assert cr.rand(2).tolist() == expected


def test_by_hand_through_a_network() -> None:
    net = nn.Sequential(
        nn.Linear(8, 16), nn.Dropout(), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2)
    )
    x = cr.randn(4, 8, requires_grad=True)
    gy = cr.randn(4, 2)
    net(x).backward(gy)
    expected: Any = x.grad
    np.testing.assert_allclose(values(net.backward(x.detach(), gy)), values(expected), atol=1e-6)


def test_meta_draws_nothing_and_forgets_nothing() -> None:
    layer, x = nn.Dropout(), cr.ones(100)
    y = values(layer(x))
    cr.manual_seed(1)
    expected = cr.rand(2).tolist()
    cr.manual_seed(1)
    assert layer(cr.zeros(3, device="meta")).is_meta
    assert cr.rand(2).tolist() == expected
    np.testing.assert_array_equal(values(layer.backward(x, x)), y)


def test_copies_share_a_generator_only_within_one_copy() -> None:
    source = cr.Generator(1)
    net = nn.Sequential(nn.Dropout(generator=source), nn.Dropout(generator=source))
    twin = copy.deepcopy(net)
    assert twin[0].generator is twin[1].generator
    assert twin[0].generator is not source
    x = cr.ones(50)
    np.testing.assert_array_equal(values(twin(x)), values(net(x)))


def test_extreme_probabilities() -> None:
    x = cr.randn(5, requires_grad=True)
    np.testing.assert_array_equal(values(nn.Dropout(0.0)(x)), values(x))
    y = nn.Dropout(1.0)(x)
    y.sum().backward()
    assert not values(y).any()
    assert x.grad is not None
    assert not values(x.grad).any()
