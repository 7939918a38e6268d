"""Modules whose weights are computed: copies, pickles, hand-driven backward, caches, networks."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn.utils import parametrizations, parametrize
from chainrule.optim import SGD

NORMS: list[Callable[..., Any]] = [
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    nn.utils.weight_norm,
    nn.utils.spectral_norm,
]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_apart_and_compute_the_same(norm: Any, again: Any) -> None:
    layer = norm(nn.Conv2d(2, 3, 3))
    x = cr.randn(1, 2, 5, 5)
    layer.eval()
    with cr.no_grad():  # with a history, what the older form keeps could not be copied
        layer(x)
    twin = again(layer)
    np.testing.assert_array_equal(twin(x).detach(), layer(x).detach())
    before = layer(x).detach().numpy().copy()
    for p in twin.parameters():
        p.detach().fill_(1.0)
    np.testing.assert_array_equal(layer(x).detach(), before)


@pytest.mark.parametrize("norm", NORMS)
def test_training_moves_the_originals(norm: Any) -> None:
    net = nn.Sequential(norm(nn.Linear(4, 8)), nn.ReLU(), norm(nn.Linear(8, 1)))
    optimizer = SGD(net.parameters(), lr=0.05)
    x, target = cr.randn(32, 4), cr.randn(32, 1) * 0.1
    losses = []
    for _ in range(30):
        loss = ((net(x) - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("norm", NORMS)
def test_by_hand(norm: Any) -> None:
    layer = norm(nn.Linear(4, 3))
    layer.eval()
    x, gy = cr.randn(2, 4, requires_grad=True), cr.randn(2, 3)
    layer(x).backward(gy)
    assert x.grad is not None
    expected = x.grad.numpy()
    np.testing.assert_allclose(layer.backward(x.detach(), gy), expected, atol=1e-6)


def test_largest_singular_value_becomes_one() -> None:
    for layer in (nn.Linear(5, 7), nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3)):
        parametrizations.spectral_norm(layer, n_power_iterations=50)
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        weight = np.moveaxis(layer.weight.detach().numpy(), axis, 0)
        matrix = weight.reshape(weight.shape[0], -1)
        assert abs(np.linalg.norm(matrix, 2) - 1) < 1e-4


def test_a_weight_is_fused_hooked_and_shown_as_ever() -> None:
    conv = nn.Conv2d(1, 2, 3)
    x = cr.randn(1, 1, 5, 5)
    expected = conv(x).detach().numpy()
    parametrizations.weight_norm(conv)
    assert type(conv) is nn.Conv2d
    y = nn.fusing.conv_relu(conv, nn.ReLU(), x)
    np.testing.assert_allclose(y.detach(), np.maximum(expected, 0), atol=1e-6)
    y.sum().backward()
    assert all(p.grad is not None for p in conv.parameters())
    assert "(0): _WeightNorm()" in repr(conv)


def test_a_buffer_and_a_cache() -> None:
    norm = nn.BatchNorm1d(2)
    times = []

    class Counted(nn.Module):
        def forward(self, x: Any) -> Any:
            times.append(1)
            return x + 0.0

    parametrize.register_parametrization(norm, "running_mean", Counted())
    assert "parametrizations.running_mean.original" in norm.state_dict()
    assert not [name for name, _ in norm.named_parameters() if "running" in name]
    times.clear()
    with parametrize.cached():
        assert norm.running_mean is norm.running_mean
        with parametrize.cached():
            assert norm.running_mean.tolist() == [0, 0]
    assert len(times) == 1
    assert norm.running_mean is not norm.running_mean
    with pytest.raises(NotImplementedError, match="right_inverse"):
        norm.running_mean = cr.ones(2)


def test_an_optimizer_keeps_a_single_original() -> None:
    linear = nn.Linear(2, 2)
    weight = linear.weight
    parametrizations.spectral_norm(linear)
    assert linear.parametrizations["weight"].original is weight
    value = linear.eval().weight.detach().numpy()
    parametrize.remove_parametrizations(linear, "weight")
    assert linear.weight is weight
    np.testing.assert_array_equal(weight.detach(), value)
    assert not parametrize.is_parametrized(linear)
    assert "parametrizations" not in dict(linear.named_children())


def test_what_has_no_shape_yet_waits() -> None:
    for norm in NORMS:
        with pytest.raises(ValueError, match="weight"):
            norm(nn.LazyConv2d(2, 3))


@pytest.mark.parametrize("form", [nn.utils, parametrizations])
def test_a_dim_or_a_number_of_steps_that_is_not_there(form: Any) -> None:
    for dim in (2, -3):
        with pytest.raises(IndexError, match=rf"spectral_norm: .* a dim in -2..1; got dim {dim}"):
            form.spectral_norm(nn.Linear(3, 4), dim=dim)
    with pytest.raises(ValueError, match="n_power_iterations of at least 1"):
        form.spectral_norm(nn.Linear(3, 4), n_power_iterations=0)
    a, b = (form.spectral_norm(nn.Linear(3, 4), dim=dim, n_power_iterations=9) for dim in (1, -1))
    assert a(cr.ones(1, 3)).shape == b(cr.ones(1, 3)).shape == (1, 4)
