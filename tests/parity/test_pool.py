"""Pooling against PyTorch: values, winners and gradients over a grid of arguments."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.parity.harness import check, misuse

INF, NAN = float("inf"), float("nan")
SIZES = {1: ((2, 3, 9), (3, 8)), 2: ((2, 3, 7, 8), (3, 9, 5)), 3: ((2, 2, 5, 6, 7), (2, 6, 5, 5))}
KINDS = ("max", "avg")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def coarse(*shape: int, seed: int = 0) -> np.ndarray:
    """Few different values, so that windows are full of ties."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float64)


def pool(name: str, *args: Any, **kwargs: Any) -> Any:
    return lambda lib, x: getattr(lib.nn.functional, name)(x, *args, **kwargs)


# Max pooling

MAX_GRID = [
    (k, s, p, d, ceil)
    for k, s, p, d, ceil in itertools.product(
        (1, 2, 3), (None, 1, 2, 3), (0, 1), (1, 2), (False, True)
    )
    if 2 * p <= k
]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("k", "s", "p", "dilation", "ceil"), MAX_GRID)
def test_max_pool(d: int, k: int, s: int | None, p: int, dilation: int, ceil: bool) -> None:
    for draw, shape in zip((normal, coarse), SIZES[d], strict=True):
        x = draw(*shape)
        check(pool(f"max_pool{d}d", k, s, p, dilation, ceil, True), x, dtypes=("float32",))


RECTANGLES: list[dict[str, Any]] = [
    {"kernel_size": (3, 2)},
    {"kernel_size": (2, 5), "stride": (1, 2), "padding": (1, 2)},
    {"kernel_size": [1, 3], "stride": [3, 1], "padding": [0, 1], "ceil_mode": True},
    {"kernel_size": (2, 3), "padding": (1, 0), "stride": (2,), "dilation": (3, 2)},
    {"kernel_size": (3,), "stride": [], "padding": (1,), "dilation": (2, 1), "ceil_mode": True},
    {"kernel_size": (7, 8)},
    {"kernel_size": 5, "stride": 1, "padding": 2},
    {"kernel_size": 5, "stride": 7, "padding": 2, "ceil_mode": True},
]


@pytest.mark.parametrize("settings", RECTANGLES, ids=str)
def test_max_pool2d_rectangles(settings: dict[str, Any]) -> None:
    for x in (normal(2, 3, 7, 8), coarse(2, 3, 7, 8), -np.abs(normal(3, 8, 9))):
        check(pool("max_pool2d", **settings, return_indices=True), x)
        check(pool("max_pool2d", **settings), x)
        check(pool("max_pool2d_with_indices", **settings), x)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("k", "s", "p"), [(2, 2, 0), (3, 1, 1), (3, 2, 1), (2, 3, 1), (4, 4, 0)])
def test_max_pool2d_of_nan_and_infinity(seed: int, k: int, s: int, p: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice(
        [NAN, INF, -INF, -INF, 1.0, 2.0], (2, 3, 8, 8), p=[0.05, 0.05, 0.3, 0.3, 0.2, 0.1]
    )
    check(pool("max_pool2d", k, s, p, ceil_mode=True, return_indices=True), x)
    check(pool("max_pool2d", k, s, p, return_indices=True), np.full((1, 2, 8, 8), -INF))
    check(pool("max_pool2d", k, s, p, return_indices=True), np.full((1, 2, 8, 8), NAN))
    check(pool("max_pool1d", k, s, p, return_indices=True), x[0, 0])
    check(pool("max_pool3d", k, s, p, return_indices=True), np.stack([x, x[..., ::-1]] * 2, axis=2))


def test_dilated_window_that_is_all_padding() -> None:
    """The value alone: PyTorch's index is beyond the plane, and its backward writes there."""
    for x in (normal(1, 1, 2, 4), normal(2, 3, 2, 3)):
        check(pool("max_pool2d", 2, 1, 1, 3), x, gradients=False)
        check(pool("max_pool2d", (2, 1), 1, (1, 0), 3), x, gradients=False)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
def test_max_pool2d_of_integers(dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 6, 7)).astype(dtype)
    check(pool("max_pool2d", 3, 2, 1, return_indices=True), x)
    low = np.full((1, 4, 4), np.iinfo(dtype).min, dtype)
    check(pool("max_pool2d", 3, 1, 1, return_indices=True), low)
    check(pool("max_pool2d", 2), x)


def test_float16() -> None:
    def half(name: str, *args: Any) -> Any:
        def call(lib: Any, x: Any) -> Any:
            y = getattr(lib.nn.functional, name)(x.to(lib.float16), *args)
            assert all(
                v.dtype in (lib.float16, lib.int64) for v in (y if type(y) is tuple else [y])
            )
            return tuple(v.to(lib.float32) for v in y) if type(y) is tuple else y.to(lib.float32)

        return call

    x = np.round(normal(2, 3, 6, 7) * 4)
    for args in (("max_pool2d", 3, 2, 1, 1, False, True), ("adaptive_max_pool2d", (4, 1))):
        check(half(*args), x, dtypes=("float32",), rtol=1e-3, atol=1e-3)
    for args in (("avg_pool2d", 3, 2, 1), ("avg_pool2d", 2), ("adaptive_avg_pool2d", (4, 1))):
        check(half(*args), x, dtypes=("float32",), rtol=1e-3, atol=1e-3)
        check(half(*args), x * 0 + 60000.0, dtypes=("float32",), rtol=1e-3, gradients=False)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_batch(kind: str) -> None:
    check(pool(f"{kind}_pool1d", 2), np.zeros((0, 3, 6)))
    check(pool(f"{kind}_pool2d", 2), np.zeros((0, 3, 6, 4)))
    check(pool(f"{kind}_pool3d", 2), np.zeros((0, 3, 6, 4, 2)))
    check(pool(f"adaptive_{kind}_pool2d", (2, 3)), np.zeros((0, 3, 6, 4)))
    check(pool("max_pool2d", 2, return_indices=True), np.zeros((0, 3, 6, 4)))


# Average pooling

AVG_GRID = [
    (k, s, p, ceil, include)
    for k, s, p, ceil, include in itertools.product(
        (1, 2, 3, 4), (None, 1, 2, 3, 5), (0, 1, 2), (False, True), (False, True)
    )
    if 2 * p <= k
]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("k", "s", "p", "ceil", "include"), AVG_GRID)
def test_avg_pool(d: int, k: int, s: int | None, p: int, ceil: bool, include: bool) -> None:
    for shape in SIZES[d]:
        if k <= min(shape[-d:]) + 2 * p:
            check(
                pool(f"avg_pool{d}d", k, s, p, ceil, include), normal(*shape), dtypes=("float32",)
            )


@pytest.mark.parametrize("settings", [r for r in RECTANGLES if "dilation" not in r], ids=str)
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("divisor", [None, 1, 3, -2])
def test_avg_pool2d_rectangles(settings: dict[str, Any], include: bool, divisor: Any) -> None:
    given = {**settings, "count_include_pad": include, "divisor_override": divisor}
    check(pool("avg_pool2d", **given), normal(2, 3, 7, 8))
    check(pool("avg_pool2d", **given), normal(3, 8, 9))


@pytest.mark.parametrize("divisor", [None, 3, -2])
def test_avg_pool_of_int64_rounds_towards_zero(divisor: int | None) -> None:
    x = np.random.default_rng(0).integers(-9, 9, (2, 3, 6, 7))
    check(pool("avg_pool2d", 3, 2, 1, divisor_override=divisor), x)
    check(pool("avg_pool2d", 2, ceil_mode=True, divisor_override=divisor), x)
    check(pool("avg_pool3d", 2, divisor_override=divisor), x)
    check(pool("avg_pool1d", 2), x[0])


def test_avg_pool_keeps_nan_and_infinity_where_they_are() -> None:
    x = normal(1, 2, 8, 8)
    x[0, 0, 2, 3], x[0, 1, 5, 5], x[0, 1, 5, 6], x[0, 1, 0, 0] = NAN, INF, -INF, INF
    for k, s, p in ((2, 2, 0), (3, 1, 1), (3, 2, 1), (8, 8, 0)):
        check(pool("avg_pool2d", k, s, p), x)
    for size in (1, 2, 3, 5, 11):
        check(pool("adaptive_avg_pool2d", size), x)


# Adaptive pooling

TARGETS: dict[int, list[Any]] = {
    1: [1, 2, 3, 5, 9, 13, (4,)],
    2: [1, 2, 3, 5, (2, 3), (None, 2), (4, None), (None, None), (9, 11), [1, 4]],
    3: [1, 2, 3, (2, None, 4), (1, 5, 7), (None, 1, 1)],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("d", "target"), [(d, t) for d in TARGETS for t in TARGETS[d]])
def test_adaptive_pool(kind: str, d: int, target: Any) -> None:
    extra = (True,) if kind == "max" else ()
    for draw, shape in zip((normal, coarse), SIZES[d], strict=True):
        check(pool(f"adaptive_{kind}_pool{d}d", target, *extra), draw(*shape))
    if kind == "max":
        check(pool(f"adaptive_max_pool{d}d", target), normal(*SIZES[d][0]))


@pytest.mark.parametrize("seed", range(5))
def test_adaptive_max_pool_of_nan_and_infinity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([NAN, INF, -INF, 1.0, 2.0], (2, 3, 7, 8), p=[0.05, 0.1, 0.45, 0.2, 0.2])
    for size in (1, 2, 3, 5, 7, 11, (None, 3)):
        check(pool("adaptive_max_pool2d", size, True), x)
        check(pool("adaptive_max_pool2d", size, True), np.full((1, 7, 8), -INF))


def test_adaptive_pool_of_and_to_nothing() -> None:
    """The values alone: PyTorch has no backward for these."""
    for shape in ((2, 0, 5, 7), (0, 5, 7), (0, 3, 5, 7)):
        check(pool("adaptive_avg_pool2d", (3, 1)), np.zeros(shape), gradients=False)
    for size in (0, (0, 2), (3, 0)):
        check(pool("adaptive_avg_pool2d", size), normal(2, 3, 5, 7), gradients=False)
        check(pool("adaptive_max_pool2d", size, True), normal(2, 3, 5, 7), gradients=False)


# Layouts: a gradient comes back through transposed and sliced inputs


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(1, 3),
        lambda x: x[:, :, ::2, 1:],
        lambda x: x[1:, 1].unsqueeze(0).expand(2, 1, 8, 9),
        lambda x: x.permute(0, 3, 1, 2),
    ],
)
def test_views(view: Any) -> None:
    x = normal(2, 3, 8, 9)
    f = {
        "max": lambda lib, x: lib.nn.functional.max_pool2d(view(x), 2, 1, return_indices=True),
        "tiles": lambda lib, x: lib.nn.functional.max_pool2d(view(x), 2, padding=1),
        "avg": lambda lib, x: lib.nn.functional.avg_pool2d(view(x), 3, 2, 1),
        "global": lambda lib, x: lib.nn.functional.adaptive_avg_pool2d(view(x), 1),
        "adaptive": lambda lib, x: lib.nn.functional.adaptive_max_pool2d(view(x), (2, 1)),
    }
    for case in f.values():
        check(case, x)


# Misuse

X = np.zeros((2, 3, 4, 4))


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        (name, args, kwargs)
        for name in ("max_pool2d", "avg_pool2d")
        for args, kwargs in [
            ((5,), {}),
            ((0,), {}),
            ((-2,), {}),
            ((2.0,), {}),
            ((True,), {}),
            ((None,), {}),
            (("2",), {}),
            (((2, 2, 2),), {}),
            ((2, 0), {}),
            ((2, -1), {}),
            ((2, 1.5), {}),
            ((2, (1, 2, 3)), {}),
            ((2,), {"padding": -1}),
            ((2,), {"padding": 2}),
            ((3,), {"padding": (1, 2)}),
            ((2,), {"padding": 0.5}),
            ((2,), {"ceil_mode": 1}),
            ((2,), {"ceil_mode": None}),
        ]
    ]
    + [
        ("max_pool2d", (2,), {"dilation": 0}),
        ("max_pool2d", (2,), {"dilation": -1}),
        ("max_pool2d", (3,), {"dilation": 2}),
        ("max_pool2d", (3,), {"dilation": 3, "padding": 2}),
        ("avg_pool2d", (2,), {"divisor_override": 0}),
        ("avg_pool2d", (2,), {"divisor_override": 1.5}),
        ("avg_pool2d", (2,), {"divisor_override": True}),
        ("avg_pool2d", (2,), {"count_include_pad": 1}),
        ("adaptive_avg_pool2d", (-1,), {}),
        ("adaptive_max_pool2d", (-1,), {}),
        ("adaptive_avg_pool2d", (None,), {}),
        ("adaptive_avg_pool2d", (2.0,), {}),
        ("adaptive_avg_pool2d", ((2,),), {}),
        ("adaptive_avg_pool2d", ((2, 2, 2),), {}),
        ("adaptive_avg_pool2d", ((2.0, 2),), {}),
    ],
    ids=str,
)
def test_bad_settings(name: str, args: Any, kwargs: Any) -> None:
    misuse(pool(name, *args, **kwargs), X)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(
    "shape",
    [(4, 4), (1, 1, 1, 4, 4), (4,), (), (2, 0, 4, 4), (0, 4, 4), (2, 3, 0, 4), (2, 3, 1, 4)],
)
def test_bad_shapes(name: str, shape: tuple[int, ...]) -> None:
    misuse(pool(name, 2), np.zeros(shape))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 7), (1, 1, 1, 5, 7), (2, 3, 0, 7)])
def test_bad_adaptive_shapes(kind: str, shape: tuple[int, ...]) -> None:
    misuse(pool(f"adaptive_{kind}_pool2d", 2), np.zeros(shape))


def test_bad_kinds() -> None:
    flags, whole = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), np.int64)
    for name in ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"):
        misuse(pool(name, 2), flags)
        misuse(pool(name, 2), [[1.0]])
        misuse(pool(name, 2), "x")
        misuse(pool(name, 2), None)
    misuse(pool("adaptive_avg_pool2d", 2), whole)
    misuse(pool("adaptive_max_pool2d", 2), whole)
    misuse(pool("avg_pool2d", 2), whole.astype(np.int32))
    misuse(pool("avg_pool2d", 2), whole.astype(np.uint8))
    misuse(pool("adaptive_max_pool2d", 2), np.zeros((2, 0, 5, 7)))


@pytest.mark.parametrize(
    ("name", "size"), [("adaptive_avg_pool1d", 3), ("adaptive_avg_pool3d", (2, None, 3))]
)
def test_adaptive_means_of_other_dimensions(name: str, size: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4, 7))
    check(pool(name, size), x if name.endswith("3d") else x[0, :, :, 0])
