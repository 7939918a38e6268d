"""Initial values: distributions, places where they are written, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

import chainrule as cr
from chainrule import nn
from chainrule.nn import init

BIG = (150, 40, 3, 2)  # fan_in 240, fan_out 900
FAN_IN, FAN_OUT = 240, 900


def fill(rule: Callable[..., Any], *settings: Any, **options: Any) -> np.ndarray:
    w = cr.zeros(*BIG)
    assert rule(w, *settings, **options, generator=cr.Generator(1)) is w
    return w.numpy().astype(np.float64).ravel()


UNIFORM = [
    (init.uniform_, {"a": -0.3, "b": 0.7}, (-0.3, 0.7)),
    (init.xavier_uniform_, {}, math.sqrt(6 / (FAN_IN + FAN_OUT))),
    (init.xavier_uniform_, {"gain": 2.0}, 2 * math.sqrt(6 / (FAN_IN + FAN_OUT))),
    (init.kaiming_uniform_, {}, math.sqrt(6 / FAN_IN)),
    (init.kaiming_uniform_, {"a": math.sqrt(5)}, math.sqrt(1 / FAN_IN)),
    (init.kaiming_uniform_, {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(6 / FAN_OUT)),
    (init.kaiming_uniform_, {"nonlinearity": "tanh"}, 5 / 3 * math.sqrt(3 / FAN_IN)),
]
NORMAL = [
    (init.normal_, {"mean": 2.0, "std": 0.5}, (2.0, 0.5)),
    (init.xavier_normal_, {"gain": 3.0}, (0.0, 3 * math.sqrt(2 / (FAN_IN + FAN_OUT)))),
    (init.kaiming_normal_, {"nonlinearity": "relu"}, (0.0, math.sqrt(2 / FAN_IN))),
    (init.kaiming_normal_, {"a": 0.5, "mode": "FAN_OUT"}, (0.0, math.sqrt(1.6 / FAN_OUT))),
]


@pytest.mark.parametrize(("rule", "options", "bounds"), UNIFORM)
def test_uniform_rules(rule: Any, options: dict[str, Any], bounds: Any) -> None:
    low, high = bounds if isinstance(bounds, tuple) else (-bounds, bounds)
    w = fill(rule, **options)
    slack = 1e-6 * (high - low)
    assert w.min() >= low - slack
    assert w.max() <= high + slack
    assert stats.kstest(w, stats.uniform(low, high - low).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("rule", "options", "moments"), NORMAL)
def test_normal_rules(rule: Any, options: dict[str, Any], moments: Any) -> None:
    assert stats.kstest(fill(rule, **options), stats.norm(*moments).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 0.02, -2.0, 2.0),
        (1.0, 2.0, -1.0, 1.5),
        (0.0, 1.0, 3.0, 9.0),  # a far tail
        (0.0, 1.0, -7.0, -4.0),
        (0.0, 1.0, 0.0, math.inf),
        (0.0, 1.0, -0.5, 1.5),
        (5.0, 1.0, 0.0, 0.1),  # narrow and far
        (0.0, 1.0, 2.0, 2.2),
        (0.0, 1.0, -math.inf, math.inf),
    ],
)
def test_truncated_normal(mean: float, std: float, a: float, b: float) -> None:
    w = cr.zeros(*BIG, dtype=cr.float64)
    init.trunc_normal_(w, mean, std, a, b, generator=cr.Generator(2))
    values = w.numpy().ravel()
    assert values.min() >= a
    assert values.max() <= b
    law = stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)
    assert stats.kstest(values, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6), (4, 3, 2, 2), (20, 3, 2)])
@pytest.mark.parametrize("gain", [1, 2.5, -1.5])
def test_orthogonal(shape: tuple[int, ...], gain: float) -> None:
    w = init.orthogonal_(cr.zeros(*shape, dtype=cr.float64), gain, cr.Generator(3))
    m = w.numpy().reshape(shape[0], -1)
    gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(gram, gain**2 * np.eye(len(gram)), atol=1e-10)


def test_orthogonal_favours_no_rotation() -> None:
    angles = []
    for seed in range(400):
        w = init.orthogonal_(cr.zeros(2, 2, dtype=cr.float64), 1, cr.Generator(seed)).numpy()
        angles.append(math.atan2(w[0, 1], w[0, 0]))
    assert stats.kstest(angles, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3


def test_constants() -> None:
    for make, expected in (
        (init.zeros_, np.zeros(BIG)),
        (init.ones_, np.ones(BIG)),
        (lambda w: init.constant_(w, -2.5), np.full(BIG, -2.5)),
    ):
        np.testing.assert_array_equal(make(cr.randn(*BIG)), expected)
    np.testing.assert_array_equal(init.eye_(cr.ones(2, 3)), np.eye(2, 3))
    assert init.ones_(cr.zeros(2, dtype=cr.int64)).tolist() == [1, 1]


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_passes_its_input_on(groups: int) -> None:
    for shape, conv in (
        ((4, 4 // groups, 3), nn.functional.conv1d),
        ((4, 4 // groups, 3, 5), None),
    ):
        w = init.dirac_(cr.ones(*shape), groups)
        x = cr.randn(2, 4, *[7] * (len(shape) - 2))
        call = conv or nn.functional.conv2d
        padding = tuple(k // 2 for k in shape[2:])
        np.testing.assert_allclose(call(x, w, padding=padding, groups=groups), x, atol=1e-6)


def test_sparse_columns() -> None:
    w = init.sparse_(cr.ones(10, 6), 0.25, 2.0, cr.Generator(0)).numpy()
    assert ((w == 0).sum(axis=0) == 3).all()
    assert 1 < w[w != 0].std() < 3


def test_written_in_place_in_any_layout_and_dtype() -> None:
    expected = init.normal_(cr.zeros(4, 3, dtype=cr.float64), generator=cr.Generator(0)).numpy()
    base = np.zeros((3, 4))
    view = cr.from_numpy(base.T)
    init.normal_(view, generator=cr.Generator(0))
    np.testing.assert_array_equal(base.T, expected)
    assert init.uniform_(cr.zeros(3, dtype=cr.float16)).dtype == np.float16


def test_a_write_is_noticed_by_graphs() -> None:
    w = nn.Parameter(cr.ones(3))
    y = (w * w).sum()
    init.zeros_(w)
    with pytest.raises(RuntimeError):
        y.backward()


def test_parameters_keep_their_identity_and_gradients() -> None:
    w = nn.Parameter(cr.ones(3, 3))
    assert init.xavier_normal_(w) is w
    assert w.requires_grad
    assert w.is_leaf


def test_nothing_to_write_is_no_error() -> None:
    for rule in (init.kaiming_uniform_, init.xavier_normal_, init.orthogonal_, init.normal_):
        assert rule(cr.zeros(0, 3)).shape == (0, 3)
        meta = cr.zeros(2, 3, device="meta")
        assert rule(meta) is meta


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: init.xavier_uniform_(cr.zeros(3)), ValueError, "2 dimensions"),
        (lambda: init.kaiming_normal_(cr.zeros(3)), ValueError, "2 dimensions"),
        (lambda: init.orthogonal_(cr.zeros(3)), ValueError, "2 dimensions"),
        (lambda: init.eye_(cr.zeros(3)), ValueError, "2 dimensions"),
        (lambda: init.eye_(cr.zeros(3, 3, 3)), ValueError, "2 dimensions"),
        (lambda: init.dirac_(cr.zeros(3, 3)), ValueError, "3, 4 or 5"),
        (lambda: init.dirac_(cr.zeros(3, 3, 3), 2), ValueError, "3 % 2 = 0"),
        (lambda: init.sparse_(cr.zeros(3), 0.1), ValueError, "2 dimensions"),
        (lambda: init.kaiming_uniform_(cr.zeros(3, 3), mode="in"), ValueError, "fan_in"),
        (lambda: init.kaiming_uniform_(cr.zeros(3, 3), nonlinearity="no"), ValueError, "relu"),
        (lambda: init.calculate_gain("no"), ValueError, "relu"),
        (lambda: init.calculate_gain("leaky_relu", "x"), ValueError, "number"),  # type: ignore
        (lambda: init.uniform_(cr.zeros(3), 1.0, 0.0), ValueError, r"1\.0 <= 0\.0"),
        (lambda: init.normal_(cr.zeros(3), 0.0, -1.0), ValueError, "std"),
        (lambda: init.trunc_normal_(cr.zeros(3), a=1.0, b=1.0), ValueError, "a < b"),
        (lambda: init.uniform_(cr.zeros(3, dtype=cr.int64)), TypeError, "floating"),
        (lambda: init.ones_(np.zeros(3)), TypeError, "tensor"),  # type: ignore[arg-type]
    ],
)
def test_misuse(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        call()
    assert isinstance(caught.value, cr.ChainruleError)


# Where values come from


def weights(net: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy() for p in net.parameters()]


def test_the_same_seed_builds_the_same_network() -> None:
    def build() -> nn.Module:
        cr.manual_seed(11)
        return nn.Sequential(nn.Linear(3, 4), nn.Conv2d(2, 2, 3), nn.PReLU())

    for a, b in zip(weights(build()), weights(build()), strict=True):
        np.testing.assert_array_equal(a, b)
    cr.manual_seed(12)
    other = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(2, 2, 3), nn.PReLU())
    assert (weights(other)[0] != weights(build())[0]).any()


def test_a_layer_that_grows_leaves_the_others_as_they_were() -> None:
    def build(width: int) -> nn.Module:
        cr.manual_seed(5)
        return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, width), nn.Linear(4, 4))

    one, two = build(2), build(50)
    for i in (0, 2):
        np.testing.assert_array_equal(one[i].weight.detach(), two[i].weight.detach())
        np.testing.assert_array_equal(one[i].bias.detach(), two[i].bias.detach())


def test_default_values_of_layers() -> None:
    for layer, fan_in in (
        (nn.Linear(200, 300), 200),
        (nn.Conv1d(20, 100, 5), 100),
        (nn.Conv2d(40, 100, 3, groups=4), 90),
        (nn.Conv3d(10, 100, 2), 80),
    ):
        bound = 1 / math.sqrt(fan_in)
        for p in layer.parameters():
            values = p.detach().numpy().ravel().astype(np.float64)
            assert np.abs(values).max() <= bound * (1 + 1e-6)
            assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    assert nn.PReLU(3).weight.tolist() == [0.25] * 3
    assert not nn.Linear(0, 3).bias.detach().numpy().any()


def test_reset_draws_anew() -> None:
    layer = nn.Conv2d(2, 3, 3)
    before = weights(layer)[0].copy()
    layer.reset_parameters()
    assert (weights(layer)[0] != before).any()
