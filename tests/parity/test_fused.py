"""Fused operations against PyTorch's functions one after the other: it has no fused ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

INF, NAN = float("inf"), float("nan")
FUSED = ["conv2d_relu", "batch_norm_relu", "add_relu", "relu_max_pool2d"]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def test_torch_has_none_of_them() -> None:
    """If it gets one, compare with that."""
    for name in FUSED:
        assert hasattr(cr, name)
        assert not any(hasattr(p, name) for p in (torch, torch.nn.functional, torch.Tensor)), name


def either(fused: str, apart: Callable[..., Any]) -> Callable[..., Any]:
    """Call our fused function, and with torch the two that it stands for."""

    def call(lib: Any, *args: Any) -> Any:
        f = lib.nn.functional
        return apart(f, *args) if lib is torch else getattr(f, fused)(*args)

    return call


conv = either("conv2d_relu", lambda f, *a: f.relu(f.conv2d(*a)))
add = either("add_relu", lambda f, a, b: f.relu(a + b))
pool = either(
    "relu_max_pool2d",
    lambda f, x, k, s=None, p=0, d=1, c=False: f.max_pool2d(f.relu(x), k, s, p, d, c),
)


@pytest.mark.parametrize(
    "settings", [(), (2,), ((1, 2), 1), (1, "same"), (1, (0, 2), 2), (2, 1, (1, 2), 2)], ids=str
)
def test_conv2d_relu(settings: Any) -> None:
    groups = settings[3] if len(settings) > 3 else 1
    x, w, b = normal(2, 4, 7, 6), normal(4, 4 // groups, 3, 2, seed=1), normal(4, seed=2)
    check(conv, x, w, b, *settings)
    check(conv, x, w, None, *settings)
    x[0, 0, 3, 3], x[1, 2, 0, 0] = NAN, INF
    check(conv, x, w, b, *settings, gradients=False)


def norm(lib: Any, x: Any, mean: Any, var: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    f = lib.nn.functional
    running = [v if v is None else v.detach().clone() for v in (mean, var)]
    if lib is torch:
        y = f.relu(f.batch_norm(x, *running, weight, bias, *rest))
    else:
        y = f.batch_norm_relu(x, *running, weight, bias, *rest)
    return (y, *[v for v in running if v is not None])


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6), (2, 3, 4, 5), (2, 3, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_relu(shape: tuple[int, ...], training: bool) -> None:
    x, mean, weight, bias = normal(*shape), *normal(3, 3, seed=1)
    var = np.array([0.5, 1.0, 2.0])
    check(norm, x, mean, var, weight, bias, training)
    check(norm, 3 * x - 1, mean, var, None, None, training, 0.7, 1e-2)
    if training:
        check(norm, x, None, None, weight, bias, True)
    x.reshape(-1)[0] = NAN
    check(norm, x, mean, var, weight, bias, training)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((2, 3, 5), (3, 1)), ((), (2, 3)), ((), ())])
def test_add_relu(shapes: Any) -> None:
    a, b = (normal(*shape, seed=i) for i, shape in enumerate(shapes))
    check(add, a, b)
    for value in (NAN, INF, -INF, 0.0):
        check(add, np.full(shapes[0], value), b)
    check(add, a, -a if a.shape else 1.5)


@pytest.mark.parametrize(
    "settings",
    [(2,), (3, 2), (3, 1, 1), (3, 2, 1, 1, True), ((1, 3), (2, 1), (0, 1)), (2, 2, 1, 3)],
    ids=str,
)
def test_relu_max_pool2d(settings: Any) -> None:
    x = normal(2, 3, 9, 8)
    check(pool, x, *settings)
    check(pool, x[0], *settings)
    check(pool, -np.abs(x), *settings)
    check(pool, np.random.default_rng(1).integers(-2, 3, x.shape).astype(np.float64), *settings)
    x.reshape(-1)[::7], x.reshape(-1)[::11], x.reshape(-1)[::13] = NAN, INF, -INF
    check(pool, x, *settings)


def test_what_both_refuse() -> None:
    misuse(conv, normal(1, 2, 4, 4), normal(1, 3, 2, 2))
    misuse(conv, normal(1, 2, 4, 4), normal(1, 2, 5, 5))
    misuse(norm, normal(1, 3), np.zeros(3), np.ones(3), None, None, True)
    misuse(add, normal(3), normal(4))
    misuse(pool, normal(1, 4, 4), 3, 1, 2)
