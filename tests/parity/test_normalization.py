"""Layer, instance, group and root mean square normalisation, and `normalize`, against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from tests.parity.harness import check, misuse

INF, NAN = float("inf"), float("nan")
AFFINE = list(itertools.product((False, True), repeat=2))
SHAPES = [(5, 4), (3, 4, 6), (2, 4, 4, 5), (2, 4, 2, 3, 4), (1, 4, 2), (2, 4, 1, 3)]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def some(weighted: bool, shifted: bool, *shape: int) -> tuple[Any, Any]:
    """Weight and bias, those that are wanted."""
    both = normal(*shape, seed=3) + 0.5, normal(*shape, seed=4)
    return tuple(v if wanted else None for v, wanted in zip(both, (weighted, shifted), strict=True))


# Rows


def layer(shape: Any, **options: Any) -> Any:
    return lambda lib, x, w=None, b=None: lib.nn.functional.layer_norm(x, shape, w, b, **options)


def rms(shape: Any, **options: Any) -> Any:
    return lambda lib, x, w=None: lib.nn.functional.rms_norm(x, shape, w, **options)


@pytest.mark.parametrize("x", SHAPES, ids=str)
@pytest.mark.parametrize(("weighted", "shifted"), AFFINE)
def test_layer_norm(x: tuple[int, ...], weighted: bool, shifted: bool) -> None:
    for axes in range(1, len(x) + 1):
        shape = x[-axes:]
        check(layer(shape), 2 * normal(*x) + 1, *some(weighted, shifted, *shape))
        for eps in (0.5, 0.0):
            check(layer(list(shape), eps=eps), normal(*x), *some(weighted, shifted, *shape))


@pytest.mark.parametrize("x", SHAPES, ids=str)
def test_rms_norm(x: tuple[int, ...]) -> None:
    for axes, eps in itertools.product(range(1, len(x) + 1), (None, 1e-5, 0.3, 0.0)):
        shape = x[-axes:]
        check(rms(shape, eps=eps), normal(*x))
        check(rms(shape, eps=eps), 3 * normal(*x), normal(*shape, seed=2))


def test_rows_that_are_all_zero_or_equal() -> None:
    for value in (0.0, 2.0):
        check(layer((4,)), np.full((3, 4), value), *some(True, True, 4))
        check(rms((4,)), np.full((3, 4), value), normal(4))


def test_a_negative_eps_gives_nan_where_the_root_has_no_answer() -> None:
    check(layer((4,), eps=-0.5), normal(6, 4))
    check(rms((4,), eps=-0.5), normal(6, 4))


@pytest.mark.parametrize("x", [(0, 4), (2, 0, 4), (2, 0), (0, 2, 3)], ids=str)
def test_no_rows_and_rows_of_nothing(x: tuple[int, ...]) -> None:
    check(layer(x[-1:]), np.zeros(x), *some(True, True, *x[-1:]))
    check(rms(x[-1:]), np.zeros(x), normal(*x[-1:]))


def test_what_is_not_finite_stays_in_its_row() -> None:
    x = normal(5, 6)
    x[1, 2], x[3, 0] = NAN, INF
    check(layer((6,)), x, *some(True, True, 6))
    check(rms((6,)), x)


@pytest.mark.parametrize("shift", [10.0, 1000.0])
def test_rows_with_a_large_mean(shift: float) -> None:
    x = normal(4, 50) + shift
    check(layer((50,)), x, *some(True, True, 50), dtypes=("float64",), rtol=1e-8, atol=1e-8)
    loose = 1e-5 * shift / 10  # PyTorch's float32 loses digits to a large mean
    check(layer((50,)), x, *some(True, True, 50), dtypes=("float32",), rtol=loose, atol=loose)


def transposed(call: Any) -> Any:
    """Run a function on an input whose memory is in another order."""

    def run(lib: Any, x: Any, *rest: Any) -> Any:
        axes = list(range(x.ndim))[::-1]
        return call(lib, x.permute(*axes), *rest)

    return run


@pytest.mark.parametrize("x", [(4, 3), (4, 5, 3), (4, 5, 2, 3)], ids=str)
def test_inputs_that_are_not_contiguous(x: tuple[int, ...]) -> None:
    shape = x[::-1][-2:]
    check(transposed(layer(shape)), normal(*x), *some(True, True, *shape))
    check(transposed(rms(shape)), normal(*x), normal(*shape))
    c = x[-2]
    check(transposed(group(1)), normal(*x), *some(True, True, c))
    check(transposed(group(c)), normal(*x), *some(True, True, c))
    if len(x) > 2:
        check(transposed(instance()), normal(*x), None, None, *some(True, True, c))
    check(transposed(lambda lib, x: lib.nn.functional.normalize(x)), normal(*x))


def test_float16() -> None:
    def call(lib: Any, x: Any, weight: Any, bias: Any) -> Any:
        f, half = lib.nn.functional, x.to(lib.float16)
        small = weight.to(lib.float16), bias.to(lib.float16)
        results = [
            f.layer_norm(half, (6,), *small),
            f.layer_norm(half, (6,), weight, bias),
            f.group_norm(half, 2, *small),
            f.rms_norm(half, (6,), small[0]),
            f.instance_norm(half),
        ]
        assert {y.dtype for y in results} == {lib.float16}
        return [y.to(lib.float32) for y in results]

    check(call, normal(4, 6, 6), *some(True, True, 6), dtypes=("float32",), rtol=1e-2, atol=1e-2)


BAD_LAYER_NORM: list[tuple[Any, Any, dict[str, Any]]] = [
    ((normal(2, 3),), (), {}),
    ((normal(2, 3),), (2,), {}),
    ((normal(2, 3),), (1, 2, 3), {}),
    ((normal(2, 3),), (2, 3, 1), {}),
    ((np.array(1.0),), (1,), {}),
    ((normal(2, 3),), 3, {}),
    ((normal(2, 3),), (3.0,), {}),
    ((normal(2, 3),), "3", {}),
    ((normal(2, 3),), None, {}),
    ((normal(2, 3), normal(2)), (3,), {}),
    ((normal(2, 3), normal(1, 3)), (3,), {}),
    ((np.ones((2, 3), np.int64),), (3,), {}),
    ((np.ones((2, 3), bool),), (3,), {}),
    ((normal(2, 3), 1.0), (3,), {}),
    ((normal(2, 3),), (3,), {"eps": "a"}),
]


@pytest.mark.parametrize(("inputs", "shape", "options"), BAD_LAYER_NORM)
def test_bad_rows(inputs: Any, shape: Any, options: dict[str, Any]) -> None:
    misuse(layer(shape, **options), *inputs)
    misuse(rms(shape, **options), *inputs)


def test_bad_rows_of_layer_norm_alone() -> None:
    misuse(layer((3,)), normal(2, 3), None, normal(2))
    misuse(layer((3,), eps=None), normal(2, 3))
    for which in (0, 1, 2):

        def mixed(lib: Any, *values: Any, which: int = which) -> Any:
            given = [v.to(lib.float64) if i == which else v for i, v in enumerate(values)]
            return lib.nn.functional.layer_norm(given[0], (3,), *given[1:])

        misuse(mixed, normal(2, 3), normal(3), normal(3))


# Groups


def group(groups: Any, **options: Any) -> Any:
    return lambda lib, x, w=None, b=None: lib.nn.functional.group_norm(x, groups, w, b, **options)


@pytest.mark.parametrize("x", SHAPES, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("weighted", "shifted"), AFFINE)
def test_group_norm(x: tuple[int, ...], groups: int, weighted: bool, shifted: bool) -> None:
    affine = some(weighted, shifted, 4)
    both = weighted or not shifted  # with a bias alone PyTorch's backward fails
    # Of one value in a group PyTorch's float32 gives a rest of the rounding, over sqrt(eps).
    loose = 2e-4 if np.prod(x[1:]) == groups else None
    check(group(groups), 2 * normal(*x) + 1, *affine, gradients=both, atol=loose)
    check(group(groups, eps=0.3), normal(*x), *affine, gradients=both)
    check(group(groups, eps=-0.3), normal(*x), *affine, gradients=both)


@pytest.mark.parametrize("x", [(0, 4), (0, 4, 3), (0, 4, 2, 2), (2, 4, 0), (1, 4, 2, 0)], ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_groups_of_nothing(x: tuple[int, ...], groups: int) -> None:
    """With images of no positions PyTorch's gradient of the weight is NaN, ours 0."""
    check(group(groups), np.zeros(x), *some(True, True, 4), gradients=x[0] == 0)
    check(group(groups), np.zeros(x))


def test_what_is_not_finite_stays_in_its_group() -> None:
    x = normal(3, 4, 5)
    x[0, 1, 2], x[2, 3, 0] = NAN, INF
    check(group(2), x, *some(True, True, 4))


X, V = normal(2, 4, 3), np.ones(4)
BAD_GROUP_NORM: list[tuple[Any, Any, dict[str, Any]]] = [
    ((X,), 3, {}),
    ((X,), 0, {}),
    ((X,), 8, {}),
    ((X,), -1, {}),
    ((X,), 2.0, {}),
    ((X,), None, {}),
    ((X,), "2", {}),
    ((X, V[:2]), 2, {}),
    ((X, V[None]), 2, {}),
    ((X, V, V[:2]), 2, {}),
    ((X, None, V[:2]), 2, {}),
    ((normal(4),), 1, {}),
    ((np.array(1.0),), 1, {}),
    ((normal(1, 4),), 4, {}),
    ((normal(1, 4, 1, 1),), 4, {}),
    ((np.ones((2, 4, 3), np.int64),), 2, {}),
    ((X,), 2, {"eps": None}),
    ((X, 1.0), 2, {}),
]


@pytest.mark.parametrize(("inputs", "groups", "options"), BAD_GROUP_NORM)
def test_bad_group_norm(inputs: Any, groups: Any, options: dict[str, Any]) -> None:
    misuse(group(groups, **options), *inputs)


# Instances


def instance(*args: Any, **kwargs: Any) -> Any:
    """Instance norm whose running values are detached copies; they are outputs too."""

    def call(lib: Any, x: Any, mean: Any = None, var: Any = None, *affine: Any) -> Any:
        running = [v if v is None else v.detach().clone() for v in (mean, var)]
        y = lib.nn.functional.instance_norm(x, *running, *affine, *args, **kwargs)
        return (y, *[v for v in running if v is not None])

    return call


MEAN, VAR = normal(4, seed=8), np.array([0.5, 1.0, 2.0, 0.7])


@pytest.mark.parametrize("x", [s for s in SHAPES if len(s) > 2], ids=str)
@pytest.mark.parametrize(("weighted", "shifted"), AFFINE)
def test_instance_norm(x: tuple[int, ...], weighted: bool, shifted: bool) -> None:
    affine = some(weighted, shifted, 4)
    check(instance(), 2 * normal(*x) + 1, None, None, *affine)
    for momentum, eps in ((0.1, 1e-5), (0.7, 0.1), (0.0, 1e-2), (-1.2, 0.5), (1, 1e-3)):
        check(instance(True, momentum, eps), normal(*x), MEAN, VAR, *affine)
        check(instance(False, momentum, eps), normal(*x), MEAN, VAR, *affine)


def test_instance_norm_of_single_positions_by_running_values() -> None:
    for x in ((3, 4), (3, 4, 1), (1, 4, 1, 1)):
        check(instance(use_input_stats=False), normal(*x), MEAN, VAR, *some(True, True, 4))


@pytest.mark.parametrize("x", [(0, 4, 3), (0, 4, 2, 2), (2, 4, 0)], ids=str)
def test_instances_of_nothing(x: tuple[int, ...]) -> None:
    """Without images PyTorch fails where there is a weight, and running values become NaN."""
    check(instance(), np.zeros(x))
    if x[0]:
        check(instance(), np.zeros(x), MEAN, VAR, *some(True, True, 4))


BAD_INSTANCE_NORM: list[tuple[Any, dict[str, Any]]] = [
    ((normal(2, 4),), {}),
    ((normal(4),), {}),
    ((np.array(1.0),), {}),
    ((normal(4), MEAN, VAR), {"use_input_stats": False}),
    ((normal(2, 4, 1),), {}),
    ((normal(2, 4, 1, 1), MEAN, VAR), {}),
    ((X,), {"use_input_stats": False}),
    ((X, MEAN), {"use_input_stats": False}),
    ((X, MEAN), {}),
    ((X, None, VAR), {}),
    ((X, MEAN[:2], VAR), {}),
    ((X, MEAN, VAR[:2]), {}),
    ((X, MEAN[:2], VAR), {"use_input_stats": False}),
    ((X, None, None, V[:3]), {}),
    ((X, None, None, V, V[:3]), {}),
    ((X, MEAN, VAR, V[:3]), {"use_input_stats": False}),
    ((np.ones((2, 4, 3), np.int64),), {}),
    ((X,), {"momentum": None}),
    ((X,), {"eps": None}),
    ((X,), {"use_input_stats": None}),
]


@pytest.mark.parametrize(("inputs", "options"), BAD_INSTANCE_NORM)
def test_bad_instance_norm(inputs: Any, options: dict[str, Any]) -> None:
    misuse(lambda lib, *v: lib.nn.functional.instance_norm(*v, **options), *inputs)


@pytest.mark.parametrize("which", [0, 2, 3, 4])  # a running mean of another dtype PyTorch takes
@pytest.mark.parametrize("own", [True, False])
def test_instance_norm_of_mixed_dtypes(which: int, own: bool) -> None:
    def mixed(lib: Any, *values: Any) -> Any:
        given = [v.to(lib.float64) if i == which else v for i, v in enumerate(values)]
        return lib.nn.functional.instance_norm(*given, use_input_stats=own)

    misuse(mixed, X, MEAN, VAR, V, V)


# Vectors


@pytest.mark.parametrize("p", [2, 2.0, 1, 1.5, 3, 4.0, 0.5, 0, -1, -2.5, INF, -INF])
@pytest.mark.parametrize(
    ("x", "dim"),
    [((3, 4), 1), ((3, 4), 0), ((4,), 0), ((2, 3, 4), -1), ((2, 3, 4), (0, 2)), ((2, 3), None)],
)
def test_normalize(p: float, x: tuple[int, ...], dim: Any) -> None:
    for eps in (1e-12, 1.5):
        check(lambda lib, v, e=eps: lib.nn.functional.normalize(v, p, dim, e), normal(*x))


@pytest.mark.parametrize("p", [2, 1, 3, 1.5, 0.5, 0, INF])
def test_normalize_vectors_with_zeros_and_ties(p: float) -> None:
    x = np.array([[0.0, 0, 0, 0], [1, -1, 0, 1], [2, 2, -2, 2], [0, 3, 0, 0]])
    check(lambda lib, v: lib.nn.functional.normalize(v, p), x)


def test_normalize_of_nothing_and_of_a_number() -> None:
    check(lambda lib, v: lib.nn.functional.normalize(v), np.zeros((0, 3)))
    check(lambda lib, v: lib.nn.functional.normalize(v), np.zeros((3, 0)))
    check(lambda lib, v: lib.nn.functional.normalize(v, 1.2, 0), np.array(-2.0))


def test_normalize_of_what_is_not_finite() -> None:
    x = normal(4, 3)
    x[0, 0], x[1, 1], x[2, 2] = NAN, INF, -INF
    for p in (1, 2, 3, INF):
        check(lambda lib, v, p=p: lib.nn.functional.normalize(v, p), x, gradients=False)


def test_normalize_into_an_array() -> None:
    def call(lib: Any, x: Any) -> Any:
        out = lib.zeros(3, 4, dtype=x.dtype)
        y = lib.nn.functional.normalize(x, out=out)
        assert y is out
        return out

    check(call, normal(3, 4), gradients=False)
    misuse(lambda lib, x: call(lib, x.requires_grad_()), normal(3, 4))


def test_bad_normalize() -> None:
    f = lambda *args: lambda lib, x: lib.nn.functional.normalize(x, *args)  # noqa: E731
    misuse(f(), normal(3))
    misuse(f(2, 5), normal(2, 3))
    misuse(f(2, (0, 0)), normal(2, 3))
    misuse(f(2, 1.0), normal(2, 3))
    misuse(f([2]), normal(2, 3))
    misuse(f(2, 1, "a"), normal(2, 3))
    misuse(f(), np.ones((2, 3), np.int64))
    misuse(f(INF), np.zeros((2, 0)))


# Layers


def cross_map(lib: Any, x: Any, *args: Any) -> Any:
    return lib.nn.CrossMapLRN2d(*args)(x)


def test_cross_map_lrn() -> None:
    """PyTorch's own form goes wrong from channel (size + 1)//2 on, and in its gradient."""
    for size in (1, 2, 3, 4, 5, 6, 7):
        x = 2 * normal(2, (size + 1) // 2, 3, 4)
        for settings in ((), (0.5,), (0.5, 0.6, 2.0)):
            call = lambda lib, v, s=(size, *settings): cross_map(lib, v, *s)  # noqa: E731
            check(call, x, gradients=False)
    check(lambda lib, v: cross_map(lib, v, 5, 5e-3, 1e-3, 2), normal(2, 3, 6, 6), rtol=1e-4)
    misuse(lambda lib, v: cross_map(lib, v, 3), normal(2, 3, 4))


@pytest.mark.filterwarnings("ignore")
def test_instance_norm_layers_of_other_channels() -> None:
    for track in (False, True):
        build = lambda lib, track=track: lib.nn.InstanceNorm1d(3, track_running_stats=track)  # noqa: E731
        if track:
            misuse(lambda lib, v, build=build: build(lib)(v), normal(2, 4, 5))
        else:
            check(lambda lib, v, build=build: build(lib)(v), normal(2, 4, 5))
    with pytest.warns(UserWarning, match="3 channels on axis 1, not 4") as seen:
        cr.nn.InstanceNorm1d(3)(cr.zeros(2, 4, 5))
    assert seen[0].filename == __file__


BAD_LAYERS: list[Any] = [
    lambda lib: lib.nn.LayerNorm("a"),
    lambda lib: lib.nn.LayerNorm(3.0),
    lambda lib: lib.nn.LayerNorm(-1),
    lambda lib: lib.nn.LayerNorm(None),
    lambda lib: lib.nn.LayerNorm(3)(lib.zeros(2, 4)),
    lambda lib: lib.nn.LayerNorm((2, 3))(lib.zeros(3)),
    lambda lib: lib.nn.RMSNorm(3)(lib.zeros(2, 4)),
    lambda lib: lib.nn.RMSNorm([2.0]),
    lambda lib: lib.nn.GroupNorm(3, 10),
    lambda lib: lib.nn.GroupNorm(0, 10),
    lambda lib: lib.nn.GroupNorm(2, 4)(lib.zeros(2, 6, 3)),
    lambda lib: lib.nn.GroupNorm(2, 4, affine=False)(lib.zeros(2, 5, 3)),
    lambda lib: lib.nn.InstanceNorm1d(3)(lib.zeros(3)),
    lambda lib: lib.nn.InstanceNorm1d(3)(lib.zeros(2, 3, 4, 4)),
    lambda lib: lib.nn.InstanceNorm2d(3)(lib.zeros(2, 3)),
    lambda lib: lib.nn.InstanceNorm3d(3)(lib.zeros(2, 3, 4)),
    lambda lib: lib.nn.InstanceNorm2d(3, affine=True)(lib.zeros(2, 4, 5, 5)),
    lambda lib: lib.nn.InstanceNorm2d(3, affine=True)(lib.zeros(4, 5, 5)),
    lambda lib: lib.nn.InstanceNorm2d(3)(lib.zeros(2, 3, 1, 1)),
    lambda lib: lib.nn.InstanceNorm1d(3)(lib.zeros(3, 1)),
    lambda lib: lib.nn.BatchNorm1d(3, eps=0.0)(lib.zeros(2, 3)),
    lambda lib: lib.nn.BatchNorm1d(3, eps=-1.0)(lib.zeros(2, 3)),
    lambda lib: lib.nn.LocalResponseNorm(3)(lib.zeros(2, 3)),
]


@pytest.mark.parametrize("call", BAD_LAYERS)
def test_misused_layers(call: Any) -> None:
    misuse(call)


def test_batch_norm_of_nothing_without_axes() -> None:
    for training in (True, False):
        check(
            lambda lib, x, m, v, t=training: lib.nn.functional.batch_norm(
                x, m.detach(), v.detach(), training=t
            ),
            np.zeros(0),
            np.zeros(0),
            np.zeros(0),
        )
