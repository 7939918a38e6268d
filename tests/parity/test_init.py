"""Initialisation against torch.nn.init: gains, bounds and moments, exact values where no chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import misuse

KERNELS = [f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)]


@pytest.mark.parametrize("word", ["linear", "sigmoid", "tanh", "relu", "selu", *KERNELS])
def test_gains(word: str) -> None:
    ours, theirs = cr.nn.init.calculate_gain(word), torch.nn.init.calculate_gain(word)
    assert ours == pytest.approx(theirs, rel=1e-15)


@pytest.mark.parametrize("slope", [None, 0, 0.2, 1, -0.5, math.sqrt(5)])
def test_gain_of_leaky_relu(slope: Any) -> None:
    theirs = torch.nn.init.calculate_gain("leaky_relu", slope)
    assert cr.nn.init.calculate_gain("leaky_relu", slope) == pytest.approx(theirs, rel=1e-15)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (6, 2, 3, 4), (2, 3, 1, 2, 3)])
def test_fans(shape: tuple[int, ...]) -> None:
    theirs = torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(shape))
    assert cr.nn.init._calculate_fan_in_and_fan_out(cr.zeros(*shape)) == theirs
    assert cr.nn.init.fans(cr.zeros(*shape)) == theirs


EXACT: list[tuple[Callable[[Any, Any], Any], tuple[int, ...]]] = [
    (lambda init, w: init.zeros_(w), (3, 4)),
    (lambda init, w: init.ones_(w), (3,)),
    (lambda init, w: init.ones_(w), ()),
    (lambda init, w: init.constant_(w, 0.3), (2, 0)),
    (lambda init, w: init.constant_(w, -2), (2, 3)),
    (lambda init, w: init.eye_(w), (3, 5)),
    (lambda init, w: init.eye_(w), (5, 3)),
    *[
        (lambda init, w, g=g: init.dirac_(w, g), shape)
        for shape in ((4, 2, 3), (4, 6, 3, 4), (6, 2, 2, 1, 5), (4, 4, 1, 1))
        for g in (1, 2)
    ],
]


@pytest.mark.parametrize("case", range(len(EXACT)))
def test_values_without_chance(case: int) -> None:
    rule, shape = EXACT[case]
    rng = np.random.default_rng(0)
    start = np.asarray(rng.standard_normal(shape), dtype=np.float32)
    theirs, ours = torch.tensor(start), cr.tensor(start)
    assert rule(cr.nn.init, ours) is ours
    rule(torch.nn.init, theirs)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


RANDOM: list[Callable[[Any, Any], Any]] = [
    lambda init, w: init.uniform_(w),
    lambda init, w: init.uniform_(w, -2.0, 0.5),
    lambda init, w: init.normal_(w),
    lambda init, w: init.normal_(w, 3.0, 0.1),
    lambda init, w: init.trunc_normal_(w),
    lambda init, w: init.trunc_normal_(w, 0.5, 2.0, -1.0, 1.0),
    lambda init, w: init.xavier_uniform_(w),
    lambda init, w: init.xavier_uniform_(w, 2.0),
    lambda init, w: init.xavier_normal_(w, gain=0.5),
    lambda init, w: init.orthogonal_(w),
    lambda init, w: init.orthogonal_(w, 3.0),
    *[
        lambda init, w, rule=rule, a=a, mode=mode, word=word: getattr(init, rule)(w, a, mode, word)
        for rule in ("kaiming_uniform_", "kaiming_normal_")
        for a in (0, math.sqrt(5))
        for mode in ("fan_in", "fan_out")
        for word in ("leaky_relu", "relu", "tanh", "conv2d")
    ],
]


def moments(w: np.ndarray) -> list[float]:
    w = w.astype(np.float64).ravel()
    spread = w.std()
    return [w.mean() / spread, spread, np.abs(w - w.mean()).mean() / spread]


@pytest.mark.parametrize("case", range(len(RANDOM)))
@pytest.mark.parametrize("shape", [(200, 150), (100, 30, 3, 4)])
def test_distributions(case: int, shape: tuple[int, ...]) -> None:
    """30,000 values or more: moments agree to about a hundredth, bounds nearly."""
    torch.manual_seed(case)
    theirs, ours = torch.empty(shape), cr.empty(*shape)
    RANDOM[case](torch.nn.init, theirs)
    RANDOM[case](cr.nn.init, ours)
    t, o = theirs.numpy(), ours.numpy()
    (m1, s1, a1), (m2, s2, a2) = moments(t), moments(o)
    assert m2 == pytest.approx(m1, rel=0.02, abs=0.04)
    assert s2 == pytest.approx(s1, rel=0.02)
    assert a2 == pytest.approx(a1, rel=0.02)  # tells uniform (0.866) from normal (0.798)
    if a1 > 0.85:  # uniform: the bounds too
        assert o.max() == pytest.approx(t.max(), rel=0.01)
        assert o.min() == pytest.approx(t.min(), rel=0.01, abs=0.01)


@pytest.mark.parametrize(
    "build",
    [
        lambda nn: nn.Linear(120, 90),
        lambda nn: nn.Conv1d(30, 60, 7),
        lambda nn: nn.Conv2d(24, 60, 3, groups=4),
        lambda nn: nn.Conv2d(16, 64, (5, 3)),
        lambda nn: nn.Conv3d(8, 40, 3),
        lambda nn: nn.BatchNorm2d(50),
        lambda nn: nn.PReLU(50),
    ],
)
def test_layers_begin_with_torchs_distributions(build: Callable[[Any], Any]) -> None:
    theirs, ours = [build(torch.nn) for _ in range(30)], [build(cr.nn) for _ in range(30)]
    for key in theirs[0].state_dict():
        t = np.concatenate([m.state_dict()[key].numpy().ravel() for m in theirs])
        o = np.concatenate([m.state_dict()[key].numpy().ravel() for m in ours])
        if t.std() == 0:
            np.testing.assert_array_equal(o, t, err_msg=key)
            continue
        assert o.std() == pytest.approx(t.std(), rel=0.04), key
        assert np.abs(o).max() == pytest.approx(np.abs(t).max(), rel=0.02), key
        assert o.mean() == pytest.approx(0, abs=0.1 * float(t.std())), key


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.nn.init.xavier_uniform_(lib.zeros(3)),
        lambda lib: lib.nn.init.xavier_normal_(lib.zeros(())),
        lambda lib: lib.nn.init.kaiming_uniform_(lib.zeros(3)),
        lambda lib: lib.nn.init.kaiming_normal_(lib.zeros(3, 3), mode="in"),
        lambda lib: lib.nn.init.kaiming_normal_(lib.zeros(3, 3), nonlinearity="none"),
        lambda lib: lib.nn.init.orthogonal_(lib.zeros(3)),
        lambda lib: lib.nn.init.eye_(lib.zeros(3)),
        lambda lib: lib.nn.init.dirac_(lib.zeros(3, 3)),
        lambda lib: lib.nn.init.dirac_(lib.zeros(3, 3, 3), 2),
        lambda lib: lib.nn.init.sparse_(lib.zeros(3), 0.1),
        lambda lib: lib.nn.init.calculate_gain("none"),
        lambda lib: lib.nn.init.calculate_gain("leaky_relu", "x"),
        lambda lib: lib.nn.init.uniform_(lib.zeros(3), 1.0, 0.0),
        lambda lib: lib.nn.init.normal_(lib.zeros(3), 0.0, -1.0),
    ],
)
def test_misuse(call: Callable[[Any], Any]) -> None:
    misuse(call)
