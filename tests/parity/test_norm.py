"""Batch and local response normalisation against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.parity.harness import check, misuse

INF, NAN = float("inf"), float("nan")
SHAPES = [(5, 3), (4, 3, 6), (2, 3, 4, 5), (2, 3, 2, 3, 4), (1, 3, 2), (2, 3, 1, 1), (3, 1, 2)]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def vectors(channels: int) -> tuple[np.ndarray, ...]:
    """Running mean and variance, weight and bias."""
    rng = np.random.default_rng(channels)
    mean, weight, bias = rng.standard_normal((3, channels))
    return mean, rng.uniform(0.3, 2.0, channels), weight, bias


def norm(*args: Any, **kwargs: Any) -> Any:
    """Batch norm whose running values are detached copies; they are outputs too."""

    def call(lib: Any, x: Any, mean: Any, var: Any, *affine: Any) -> Any:
        running = [v if v is None else v.detach().clone() for v in (mean, var)]
        y = lib.nn.functional.batch_norm(x, *running, *affine, *args, **kwargs)
        return (y, *[v for v in running if v is not None])

    return call


AFFINE = list(itertools.product((False, True), repeat=2))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("weighted", "shifted"), AFFINE)
def test_batch_norm(shape: tuple[int, ...], training: bool, weighted: bool, shifted: bool) -> None:
    mean, var, weight, bias = vectors(shape[1])
    affine = (weight if weighted else None, bias if shifted else None)
    check(norm(training), normal(*shape), mean, var, *affine)
    check(norm(training, 0.7, 1e-2), 3 * normal(*shape) - 1, mean, var, *affine)
    if training:
        check(norm(True), normal(*shape), None, None, *affine)


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.5, 1.0, 2.0, 1])
def test_running_values(momentum: float) -> None:
    check(norm(training=True, momentum=momentum), normal(4, 3, 5), *vectors(3))
    check(norm(training=False, momentum=momentum), normal(4, 3, 5), *vectors(3))


def test_running_values_after_several_batches() -> None:
    def call(lib: Any, x: Any, y: Any, weight: Any) -> Any:
        mean, var = lib.zeros(3), lib.ones(3)
        f = lib.nn.functional.batch_norm
        a = f(x, mean, var, weight, training=True)
        b = f(y, mean, var, weight, training=True, momentum=0.3)
        return a, b, f(x, mean, var, weight), mean, var

    check(call, normal(4, 3, 2), normal(5, 3, seed=1), normal(3), dtypes=("float32",))


@pytest.mark.parametrize("shift", [0.0, 10.0, 1000.0])
def test_mean_away_from_zero(shift: float) -> None:
    x = normal(8, 3, 5, 5) + shift
    check(norm(True), x, *vectors(3), dtypes=("float64",), rtol=1e-8, atol=1e-8)
    tolerance = 1e-5 * max(1.0, shift / 10)  # PyTorch's float32 loses digits to a large mean
    check(norm(True), x, *vectors(3), dtypes=("float32",), rtol=tolerance, atol=tolerance)


def test_constant_channels() -> None:
    for value in (0.0, 1.0, 3.3, -1e4):
        x = np.full((4, 2, 3), value)
        check(norm(True), x, *vectors(2), dtypes=("float64",), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 4), (2, 3, 0), (0, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_empty_batch(shape: tuple[int, ...], training: bool) -> None:
    check(norm(training), np.zeros(shape), *vectors(3))


def test_no_channels() -> None:
    for training in (False, True):
        check(
            norm(training), np.zeros((2, 0)), np.zeros(0), np.zeros(0), None, None, gradients=False
        )


@pytest.mark.parametrize("training", [False, True])
def test_nan_and_infinity_stay_in_their_channel(training: bool) -> None:
    x = normal(4, 4, 3)
    x[0, 0, 0], x[1, 2, 1] = NAN, INF
    check(norm(training), x, *vectors(4))


def test_degenerate_running_values() -> None:
    x, weight, bias = normal(4, 3), normal(3), normal(3)
    for var in ([0.0, 1.0, 2.0], [-1.0, 1.0, INF], [NAN, 1.0, 1.0]):
        check(norm(eps=0.0), x, np.zeros(3), np.array(var), weight, bias)


def test_frozen_inputs() -> None:
    def weight_only(lib: Any, x: Any, mean: Any, var: Any, weight: Any) -> Any:
        f = lib.nn.functional.batch_norm
        mean, var = mean.detach(), var.detach()
        return f(x.detach(), mean, var, weight), f(x.detach(), None, None, weight, training=True)

    check(weight_only, normal(4, 3, 2), *vectors(3)[:3])


def test_float16() -> None:
    def call(lib: Any, x: Any, mean: Any, var: Any, weight: Any, bias: Any) -> Any:
        f = lib.nn.functional.batch_norm
        half = x.to(lib.float16)
        mixed = f(half, mean.detach().clone(), var.detach(), weight, bias, True)
        small = [v.detach().to(lib.float16) for v in (mean, var, weight, bias)]
        y, z = f(half, *small), f(half, None, None, *small[2:], training=True)
        assert {v.dtype for v in (mixed, y, z)} == {lib.float16}
        return mixed.to(lib.float32), y.to(lib.float32), z.to(lib.float32)

    args = (normal(6, 3, 4), *vectors(3))
    check(call, *args, dtypes=("float32",), rtol=4e-3, atol=4e-3)


X, V = normal(4, 3), np.ones(3)
BAD_BATCH_NORM: list[tuple[Any, dict[str, Any]]] = [
    ((X, None, None), {}),
    ((X, V, None), {}),
    ((X, None, V), {}),
    ((X, V, None), {"training": True}),
    ((X, None, V), {"training": True}),
    ((X[:1], V, V), {"training": True}),
    ((normal(1, 3, 1), V, V), {"training": True}),
    ((normal(1, 3, 1, 1), None, None), {"training": True}),
    ((normal(4), V, V), {}),
    ((np.array(1.0), V, V), {}),
    ((X, np.ones(4), V), {}),
    ((X, V, np.ones(2)), {}),
    ((X, V, V, np.ones(4)), {}),
    ((X, V, V, V, np.ones(2)), {}),
    ((X, V, V, None, np.ones(2)), {"training": True}),
    ((X, V[None], V[None]), {}),
    ((np.ones((4, 3), np.int64), V, V), {}),
    ((np.ones((4, 3), np.int64), V, V), {"training": True}),
    ((np.ones((4, 3), bool), V, V), {}),
    (([[1.0]], V, V), {}),
    ((X, [1.0], V), {}),
    ((X, V, V, 1.0), {}),
    ((X, V, V), {"momentum": None}),
    ((X, V, V), {"momentum": "a"}),
    ((X, V, V), {"eps": -1.0}),
    ((X, V, V), {"eps": 0.0, "training": True}),
    ((X, V, V), {"eps": None}),
    ((X, V, V), {"training": 1}),
    ((X, V, V), {"training": None}),
]


@pytest.mark.parametrize(("inputs", "kwargs"), BAD_BATCH_NORM)
def test_bad_batch_norm(inputs: Any, kwargs: dict[str, Any]) -> None:
    misuse(lambda lib, *v: lib.nn.functional.batch_norm(*v, **kwargs), *inputs)


def test_mixed_dtypes() -> None:
    def call(which: int) -> Any:
        def mixed(lib: Any, *values: Any) -> Any:
            given = [v.to(lib.float64) if i == which else v for i, v in enumerate(values)]
            return lib.nn.functional.batch_norm(*given)

        return mixed

    for which in range(5):
        misuse(call(which), X, V, V, V, V)


def test_running_values_that_want_gradients() -> None:
    for training in (False, True):
        for which in (1, 2):

            def call(lib: Any, *values: Any, which: int = which, training: bool = training) -> Any:
                values[which].requires_grad_()
                return lib.nn.functional.batch_norm(*values, training=training)

            misuse(call, X, V, V)

            def quiet(lib: Any, *values: Any, call: Any = call) -> Any:
                with lib.no_grad():
                    return call(lib, *values)

            check(quiet, X, V, V, gradients=False, dtypes=("float32",))


# Local response normalisation


def lrn(*args: Any, **kwargs: Any) -> Any:
    return lambda lib, x: lib.nn.functional.local_response_norm(x, *args, **kwargs)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 20])
@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 7, 3, 2), (2, 6, 2, 2, 3), (1, 1, 4)], ids=str)
@pytest.mark.parametrize("settings", [(), (0.5,), (1.0, 0.5, 2.0), (0.7, 1.0, 0.3), (2.0, -0.4)])
def test_local_response_norm(size: int, shape: tuple[int, ...], settings: Any) -> None:
    check(lrn(size, *settings), 2 * normal(*shape))


def test_local_response_norm_of_extremes() -> None:
    x = normal(2, 9, 4)
    x[0, 1, 0], x[0, 6, 1], x[1, 4, 2], x[1, 0, 3] = NAN, INF, -INF, 1e15
    for size in (1, 2, 3, 5):
        check(lrn(size, 0.5), x, dtypes=("float64",))
    for settings in ((1e-4, 0.75, 0.0), (0.0, 0.75, 2.0), (0.5, 0.0, 1.0), (0.5, 0.75, -1.0)):
        check(lrn(3, *settings), normal(2, 5, 3))
    check(lrn(3, k=0.0), np.zeros((1, 4, 2)))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (2, 3, 0, 4)], ids=str)
def test_local_response_norm_of_nothing(shape: tuple[int, ...]) -> None:
    check(lrn(3), np.zeros(shape))


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((0,), {}),
        ((-1,), {}),
        ((2.0,), {}),
        ((2.5,), {}),
        ((None,), {}),
        (("3",), {}),
        ((3,), {"alpha": "a"}),
        ((3,), {"beta": None}),
    ],
)
def test_bad_local_response_norm(args: Any, kwargs: dict[str, Any]) -> None:
    misuse(lrn(*args, **kwargs), normal(2, 3, 4))


def test_bad_inputs_of_local_response_norm() -> None:
    misuse(lrn(3), normal(3))
    misuse(lrn(3), np.array(1.0))
    misuse(lrn(3), np.ones((2, 3, 4), bool))


@pytest.mark.parametrize("training", [True, False])
def test_running_values_of_another_shape_or_dtype(training: bool) -> None:
    def call(lib: Any, x: Any, mean: Any, variance: Any) -> Any:
        return lib.nn.functional.batch_norm(x, mean, variance, training=training)

    for shape in ((4,), (1,), (2, 3)):
        misuse(call, normal(4, 3), np.zeros(shape), np.ones(3))
        misuse(call, normal(4, 3), np.zeros(3), np.ones(shape))
    misuse(lambda lib, x: call(lib, x, lib.zeros(3, dtype=lib.float64), lib.ones(3)), normal(4, 3))
