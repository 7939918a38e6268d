"""Batch norm layers: running statistics, modes, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


def statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    axes = (0, *range(2, x.ndim))
    return x.mean(axes), x.var(axes, ddof=1)


LAYERS = [
    (nn.BatchNorm1d, (6, 3)),
    (nn.BatchNorm1d, (4, 3, 5)),
    (nn.BatchNorm2d, (4, 3, 2, 3)),
    (nn.BatchNorm3d, (2, 3, 2, 2, 3)),
]
every = pytest.mark.parametrize(("kind", "shape"), LAYERS)


@every
def test_running_statistics_move_by_momentum(kind: Any, shape: tuple[int, ...]) -> None:
    layer = kind(3, momentum=0.3)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = cr.randn(*shape) * 2 + 1
        layer(x)
        m, v = statistics(x.numpy().astype(np.float64))
        mean, var = 0.7 * mean + 0.3 * m, 0.7 * var + 0.3 * v
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-5)
    assert layer.num_batches_tracked.item() == 3
    assert layer.num_batches_tracked.dtype == np.int64
    layer.eval()
    expected = (x.numpy() - along(mean, x)) / np.sqrt(along(var, x) + 1e-5)
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-4, atol=1e-5)
    assert layer.num_batches_tracked.item() == 3


def along(values: np.ndarray, x: Any) -> np.ndarray:
    return values.reshape(-1, *[1] * (x.ndim - 2))


@every
def test_without_momentum_it_is_the_plain_average(kind: Any, shape: tuple[int, ...]) -> None:
    layer = kind(3, momentum=None)
    batches = [cr.randn(*shape).numpy() for _ in range(4)]
    for x in batches:
        layer(cr.tensor(x))
    found = [statistics(x.astype(np.float64)) for x in batches]
    np.testing.assert_allclose(
        layer.running_mean, np.mean([m for m, _ in found], axis=0), atol=1e-6
    )
    np.testing.assert_allclose(layer.running_var, np.mean([v for _, v in found], axis=0), rtol=1e-5)
    before = np.array(layer.running_mean)
    layer.eval()(cr.tensor(batches[0]))
    np.testing.assert_array_equal(layer.running_mean, before)


@every
def test_without_running_statistics_the_batch_serves_always(
    kind: Any, shape: tuple[int, ...]
) -> None:
    layer = kind(3, track_running_stats=False)
    assert list(layer.state_dict()) == ["weight", "bias"]
    x = cr.randn(*shape)
    np.testing.assert_array_equal(layer(x).detach(), layer.eval()(x).detach())
    layer.reset_running_stats()


@every
def test_reset_begins_anew(kind: Any, shape: tuple[int, ...]) -> None:
    layer = kind(3)
    layer(cr.randn(*shape))
    with cr.no_grad():
        layer.weight.fill_(3.0)
    layer.reset_parameters()
    fresh = kind(3)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, fresh.state_dict()[name])


@every
def test_by_hand_the_statistics_stay(kind: Any, shape: tuple[int, ...]) -> None:
    layer = kind(3)
    x = cr.randn(*shape)
    layer(x)
    before = {k: np.array(v) for k, v in layer.state_dict().items()}
    layer.backward(x, cr.ones(*shape))
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert layer.bias.grad is not None


def test_tracking_can_be_switched_off_afterwards() -> None:
    layer = nn.BatchNorm1d(3)
    layer.track_running_stats = False
    x = cr.randn(5, 3)
    y = layer(x)
    assert layer.num_batches_tracked.item() == 0
    assert not np.array(layer.running_mean).any()
    assert abs(y.detach().numpy().mean(axis=0)).max() < 1e-6
    np.testing.assert_allclose(layer.eval()(x).detach(), x, rtol=1e-4)  # mean 0, variance 1


def test_meta_leaves_the_statistics_alone() -> None:
    layer = nn.BatchNorm2d(3)
    assert layer(cr.zeros(2, 3, 4, 4, device="meta")).shape == (2, 3, 4, 4)
    assert layer.num_batches_tracked.item() == 0
    assert not np.array(layer.running_mean).any()


@pytest.mark.parametrize(
    ("layer", "shape", "text"),
    [
        (nn.BatchNorm2d(3), (2, 3, 4), r"\(N, C, H, W\)"),
        (nn.BatchNorm1d(3), (2, 3, 4, 4), r"\(N, C\) or \(N, C, L\)"),
        (nn.BatchNorm3d(3), (2, 3, 4, 4), r"\(N, C, D, H, W\)"),
        (nn.BatchNorm2d(3), (2, 4, 5, 5), r"4 = 3.*BatchNorm2d\(4\)"),
        (nn.BatchNorm1d(3), (1, 3), "more than 1 value per channel"),
    ],
)
def test_inputs_that_do_not_fit(layer: nn.Module, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        layer(cr.zeros(*shape))


def test_an_image_alone_works_in_evaluation() -> None:
    assert nn.BatchNorm1d(3).eval()(cr.zeros(1, 3)).shape == (1, 3)


def test_an_input_that_is_refused_counts_as_no_batch() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="channels"):
        layer(cr.zeros(4, 5))
    with pytest.raises(TypeError):
        layer(cr.zeros(4, 3, dtype=cr.int64))
    with pytest.raises(ValueError, match="more than 1 value"):
        layer(cr.zeros(1, 3))
    assert layer.num_batches_tracked.item() == 0


def test_affine_and_bias_choose_the_parameters() -> None:
    assert list(nn.BatchNorm2d(3, bias=False).state_dict()) == [
        "weight",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    plain = nn.BatchNorm2d(3, affine=False)
    assert plain.weight is None
    assert plain.bias is None
    assert list(plain.parameters()) == []
