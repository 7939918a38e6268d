"""LP and fractional pooling, unpooling, names with indices, against PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import _compare_gradients, _outputs, _same, check, misuse

INF, NAN = float("inf"), float("nan")
SIZES = {1: (2, 3, 9), 2: (2, 2, 5, 7), 3: (1, 2, 4, 5, 4)}
VIEWS = {
    "as it is": lambda x: x,
    "turned": lambda x: x.transpose(-1, -2),
    "part": lambda x: x[..., 1:, ::2],
    "channels last": lambda x: x.transpose(1, -1),
}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def coarse(*shape: int, seed: int = 0) -> np.ndarray:
    """Few different values, so that windows are full of ties."""
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float64)


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    return lambda lib, *inputs: getattr(lib.nn.functional, name)(*inputs, *args, **kwargs)


# LP pooling

NORMS: list[float] = [1, 2, 3, 2.0, 1.5, 0.5, -1, -2.0, INF, -INF]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize(("k", "s", "ceil"), [(2, None, True), (3, 1, False), (2, 3, True)])
def test_lp_pool(d: int, p: float, k: int, s: int | None, ceil: bool) -> None:
    positive = np.abs(normal(*SIZES[d])) + 0.3
    check(call(f"lp_pool{d}d", p, k, s, ceil), positive)
    check(call(f"lp_pool{d}d", p, k, s), positive[0])
    if p in (1, 2, INF, -INF):
        check(call(f"lp_pool{d}d", p, k, s, ceil), normal(*SIZES[d]))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("p", NORMS)
def test_lp_pool_at_zeros_ties_and_infinities(d: int, p: float) -> None:
    """Where the powers sum to 0 nothing comes back, whatever went in."""
    zeros = np.zeros(SIZES[d])
    mixed = np.random.default_rng(0).choice([0.0, 1.0, -1.0, INF, NAN], SIZES[d],
                                            p=[0.6, 0.15, 0.15, 0.05, 0.05])  # fmt: skip
    for x in (zeros, coarse(*SIZES[d]), mixed):
        check(call(f"lp_pool{d}d", p, 2), x)

    def infinite(lib: Any, x: Any) -> Any:
        y = getattr(lib.nn.functional, f"lp_pool{d}d")(x, p, 2)
        return (y * lib.full(tuple(y.shape), INF, dtype=y.dtype)).sum()

    check(infinite, zeros)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("p", [2, 1.0, INF])
def test_lp_pool_of_views(view: str, p: float) -> None:
    for d in (2, 3):
        x = normal(*SIZES[d])
        check(lambda lib, x, d=d: call(f"lp_pool{d}d", p, 2, 1)(lib, VIEWS[view](x)), x)


def test_lp_pool_of_rectangles_and_nothing() -> None:
    x = normal(2, 3, 7, 8)
    for args in ((2, (3, 2)), (2, [1, 3], (2, 1)), (1, (2, 5), [1, 2], True), (2.0, 2, ()),
                 (INF, (3, 2), (1, 2), True), (2, 2, (3,))):  # fmt: skip
        check(call("lp_pool2d", *args), x)
    check(call("lp_pool2d", norm_type=2, kernel_size=2, stride=None, ceil_mode=False), x)
    for d in (1, 2, 3):
        for p in (2, INF):
            check(call(f"lp_pool{d}d", p, 2), np.zeros((0, 3, *(4,) * d)))


def test_lp_pool_of_integers() -> None:
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 6, 7))
    for p in (1, 2, 2.0, INF):
        check(call("lp_pool2d", p, 2), x)
        check(call("lp_pool3d", p, 2), x)


X = np.ones((2, 3, 5, 5))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("p", [2, INF])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((0,), {}),
        ((-1,), {}),
        ((9,), {}),
        ((2.0,), {}),
        ((None,), {}),
        ((True,), {}),
        (((2, 2, 2, 2),), {}),
        ((2, 0), {}),
        ((2, -1), {}),
        ((2, 1.5), {}),
        ((2, (1, 1, 1, 1)), {}),
        ((2,), {"ceil_mode": 1}),
        ((2,), {"ceil_mode": None}),
    ],
)
def test_bad_settings_of_lp_pool(d: int, p: float, args: Any, kwargs: Any) -> None:
    misuse(call(f"lp_pool{d}d", p, *args, **kwargs), np.ones((2, 3, *(5,) * d)))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_bad_inputs_of_lp_pool(d: int) -> None:
    for p in (2, INF):
        for shape in ((), (3,), (5,) * d, (1, 2, 3, *(5,) * d), (2, 0, *(5,) * d), (0, *(5,) * d),
                      (2, 3, *(0,) * d), (2, 3, *(1,) * d)):  # fmt: skip
            misuse(call(f"lp_pool{d}d", p, 2), np.ones(shape))
    for p in (0, "2", None, (2,)):
        misuse(call(f"lp_pool{d}d", p, 2), np.ones((2, 3, *(5,) * d)))
    if d > 1:
        misuse(call(f"lp_pool{d}d", 2, (2,)), np.ones((2, 3, *(5,) * d)))
    else:
        misuse(call("lp_pool1d", 2, (2,)), np.ones((2, 3, 5)))
    misuse(call(f"lp_pool{d}d", 2, 2), np.ones((2, 3, *(5,) * d), np.int32))


# Fractional max pooling

FRACTIONAL: list[tuple[int, tuple[int, ...], Any, dict[str, Any]]] = [
    (2, (2, 3, 7, 8), 2, {"output_size": 4}),
    (2, (2, 3, 7, 8), (3, 2), {"output_size": (5, 4)}),
    (2, (3, 9, 6), [2, 1], {"output_size": [1, 6]}),
    (2, (2, 3, 10, 11), 2, {"output_ratio": (0.7, 0.55)}),
    (2, (2, 3, 10, 11), 3, {"output_ratio": [0.3, 0.8]}),
    (2, (1, 2, 6, 6), (6, 1), {"output_size": (1, 6)}),
    (2, (2, 3, 7, 8), 2, {"output_size": 3, "output_ratio": (0.1, 0.1)}),
    (3, (2, 3, 7, 8, 6), 2, {"output_size": 4}),
    (3, (2, 6, 7, 5), (2, 3, 1), {"output_size": (3, 4, 3)}),
    (3, (1, 2, 8, 8, 9), (1, 2, 3), {"output_ratio": 0.5}),
    (3, (1, 2, 8, 8, 9), 2, {"output_ratio": (0.7, 0.3, 0.6)}),
]


def samples(d: int, shape: tuple[int, ...], seed: int, more: int = 0) -> np.ndarray:
    images = shape[0] if len(shape) == d + 2 else 1
    return np.random.default_rng(seed).random((images + more, shape[-d - 1], d))


@pytest.mark.parametrize(("d", "shape", "k", "kwargs"), FRACTIONAL)
@pytest.mark.parametrize("seed", range(2))
def test_fractional_max_pool(d: int, shape: Any, k: Any, kwargs: Any, seed: int) -> None:
    name = f"fractional_max_pool{d}d"

    both = {2: "fractional_max_pool2d_with_indices", 3: "fractional_max_pool3d_with_indices"}[d]

    def draw(indices: bool, spell: str = name) -> Any:
        def pool(lib: Any, x: Any, u: Any) -> Any:
            function = getattr(lib.nn.functional, spell)
            return function(x, k, **kwargs, return_indices=indices, _random_samples=u.detach())

        return pool

    u = samples(d, shape, seed, more=seed)
    for x in (normal(*shape, seed=seed), coarse(*shape, seed=seed)):
        check(draw(True), x, u)
        check(draw(False), x, u)
        check(draw(False, both), x, u)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_fractional_max_pool_of_nan_and_infinity(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.choice([NAN, INF, -INF, 1.0, 2.0], (2, 3, *(7,) * d), p=[0.05, 0.1, 0.45, 0.2, 0.2])

    def pool(lib: Any, x: Any, u: Any) -> Any:
        return call(f"fractional_max_pool{d}d", 2, 4, None, True, u.detach())(lib, x)

    check(pool, x, samples(d, x.shape, seed))
    check(pool, np.full(x.shape, -INF), samples(d, x.shape, seed))


@pytest.mark.parametrize("view", VIEWS)
def test_fractional_max_pool_of_views(view: str) -> None:
    x = normal(4, 4, 9, 9)
    moved = VIEWS[view](torch.tensor(x))
    u = samples(2, tuple(moved.shape), 0)

    def pool(lib: Any, x: Any, u: Any) -> Any:
        return call("fractional_max_pool2d", 2, 3, None, True, u.detach())(lib, VIEWS[view](x))

    check(pool, x, u)


@pytest.mark.parametrize("d", [2, 3])
def test_fractional_max_pool_of_and_to_nothing(d: int) -> None:
    def pool(m: Any) -> Any:
        return lambda lib, x, u: call(f"fractional_max_pool{d}d", 2, m, None, True, u)(lib, x)

    for shape in ((0, 3, *(6,) * d), (0, *(6,) * d)):
        check(pool(3), np.zeros(shape), samples(d, shape, 0), gradients=False)
    shape = (2, 3, *(6,) * d)
    check(pool(0), normal(*shape), samples(d, shape, 0), gradients=False)


@pytest.mark.parametrize("d", [2, 3])
def test_bad_settings_of_fractional_max_pool(d: int) -> None:
    x, u = np.zeros((2, 3, *(7,) * d)), samples(d, (2, 3, *(7,) * d), 0)

    def pool(*args: Any, **kwargs: Any) -> Any:
        return lambda lib, x, u: call(f"fractional_max_pool{d}d", *args, **kwargs,
                                      _random_samples=u)(lib, x)  # fmt: skip

    for args, kwargs in (
        ((2,), {}), ((2, -1), {}), ((2, 7), {}), ((7, 2), {}), ((2.0, 2), {}), ((2, 2.0), {}),
        ((True, 2), {}), ((None, 2), {}), (((2,), 2), {}), ((2, (2,)), {}),
        (((2,) * (d + 1), 2), {}), ((2, (2,) * (d + 1)), {}), ((2,), {"output_ratio": (2.0,) * d}),
        ((2,), {"output_ratio": (-0.5,) * d}), ((2,), {"output_ratio": (0.5,)}),
    ):  # fmt: skip
        misuse(pool(*args, **kwargs), x, u)
    if d == 3:
        misuse(pool(2, 6), x, u)
    for shape in ((1, 3, d), (2, 2, d), (2, 4, d), (2, 3, d + 1), (2, 3, 1), (2, 3), (2, 3, d, 1)):
        misuse(pool(2, 3), x, np.zeros(shape))
    misuse(lambda lib, x, u: pool(2, 3)(lib, x, u.double()), x, u)
    for shape in ((3,), (7,) * d, (1, 2, 3, *(7,) * d), (2, 0, *(7,) * d), (2, 3, *(0,) * d)):
        given = np.zeros(shape)
        misuse(call(f"fractional_max_pool{d}d", 2, 3), given)
        misuse(pool(2, 3), given, u)
    for kind in ("int64", "int32", "bool"):
        misuse(call(f"fractional_max_pool{d}d", 2, 3), np.zeros((1, 4, *(7,) * d), kind))


# Max unpooling

UNPOOL = [
    (k, s, p, ceil)
    for k, s, p, ceil in itertools.product((1, 2, 3), (None, 1, 2, 3), (0, 1), (False, True))
    if 2 * p <= k
]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("k", "s", "p", "ceil"), UNPOOL)
def test_max_unpool(d: int, k: int, s: int | None, p: int, ceil: bool) -> None:
    """Back to the size that was pooled, from ties and from values that differ."""
    name = f"max_unpool{d}d"
    for shape, draw in ((SIZES[d], coarse), (SIZES[d][1:], normal)):
        x = torch.tensor(draw(*shape))
        y, index = getattr(torch.nn.functional, f"max_pool{d}d")(x, k, s, p, 1, ceil, True)
        for size in ((1, 1, *shape[-d:]), shape[-d:], None):

            def unpool(lib: Any, y: Any, index: Any, size: Any = size) -> Any:
                return getattr(lib.nn.functional, name)(y, index, k, s, p, output_size=size)

            try:
                unpool(torch, y, index)
            except (RuntimeError, ValueError):  # the size that is usual has too few places
                misuse(unpool, y.numpy(), index.numpy())
            else:
                check(unpool, y.numpy(), index.numpy())


@pytest.mark.parametrize("s", [0, -1])
def test_max_unpool_strides_below_1(s: int) -> None:
    for d in (1, 2, 3):
        x, index = np.ones((1, 1, *(2,) * d), np.float32), np.zeros((1, 1, *(2,) * d), np.int64)

        def unpool(lib: Any, x: Any, index: Any, size: Any = None, d: int = d) -> Any:
            return getattr(lib.nn.functional, f"max_unpool{d}d")(x, index, 2, s, 0, size)

        if d == 3:
            misuse(unpool, x, index)
        else:
            check(unpool, x, index)
            for size in (1, 2, 3):
                misuse(unpool, x, index, (size,) * d)


@pytest.mark.parametrize("view", VIEWS)
def test_max_unpool_of_views(view: str) -> None:
    rng = np.random.default_rng(0)
    for d in (2, 3):
        x = normal(2, 3, *(4, 5, 3)[:d])
        index = rng.permuted(np.tile(np.arange(x[0, 0].size), (2, 3, 1)), axis=2).reshape(x.shape)

        def unpool(lib: Any, x: Any, index: Any, d: int = d) -> Any:
            return call(f"max_unpool{d}d", 2)(lib, VIEWS[view](x), VIEWS[view](index))

        # PyTorch's own backward wants indices that lie in a row.
        check(unpool, x, index, gradients=view == "as it is")


@pytest.mark.parametrize("d", [1, 2, 3])
def test_max_unpool_sizes_and_layers(d: int) -> None:
    x, index = normal(2, 3, *(3,) * d), np.arange(3**d) * np.ones((2, 3, 1), np.int64)
    index = index.reshape(x.shape)
    name = f"max_unpool{d}d"
    for args in ((2,), (2, 1), (3, 2, 1), (2, None, 0, (7,) * d), (2, None, 0, [5] * d),
                 (2, 2, 0, (9, 9, *(7,) * d)), ([3] * d, (2,) * d, (1,) * d)):  # fmt: skip
        if args[1:] != (1,):  # one step has fewer places than the indices name
            check(call(name, *args), x, index)
        layer = args[:3]
        theirs, ours = (getattr(lib.nn, f"MaxUnpool{d}d")(*layer) for lib in (torch, cr))
        assert repr(ours) == repr(theirs)
        for key in ("kernel_size", "stride", "padding"):
            assert getattr(ours, key) == getattr(theirs, key)
    check(lambda lib, x, i: getattr(lib.nn, f"MaxUnpool{d}d")(2)(x, i), x, index)
    check(lambda lib, x, i: getattr(lib.nn, f"MaxUnpool{d}d")(2)(x, i, (7,) * d), x, index)
    empty = x[:0], index[:0]
    check(call(name, 2), *empty)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_bad_settings_of_max_unpool(d: int) -> None:
    name, shape = f"max_unpool{d}d", (2, 3, *(3,) * d)
    x, index = np.zeros(shape), np.zeros(shape, np.int64)
    for args in ((2, None, 0, (8,) * d), (2, None, 0, (4,) * d), (2, None, 0, (7,) * (d + 1)),
                 (2, None, 0, 7), (2, None, 0, (6.5,) * d), (2, None, 0, ()), (2, 2, 5),
                 (2.0,), (None,), ("2",), (2, 1.5), (2, 2, 0.5)):  # fmt: skip
        misuse(call(name, *args), x, index)
    if d > 1:
        misuse(call(name, (2,)), x, index)
        misuse(call(name, 2, (2,)), x, index)
    for bad in (index[:, :1], index[0], index.astype(np.int32), index.astype(bool), index - 1,
                index + 6**d, np.zeros(shape)):  # fmt: skip
        misuse(call(name, 2), x, bad)
    for kind in (np.int32, np.int64):
        misuse(call(name, 2), x.astype(kind), index)
    for other in ((3,), (3,) * d, (1, *shape), (2, 0, *(3,) * d), (2, 3, *(0,) * d)):
        misuse(call(name, 2), np.zeros(other), np.zeros(other, np.int64))


# Names with indices


@pytest.mark.parametrize(
    ("name", "d", "args"),
    [
        ("max_pool1d_with_indices", 1, (3, 2, 1, 1, True)),
        ("max_pool2d_with_indices", 2, ((3, 2), 2, 1, (1, 2))),
        ("max_pool3d_with_indices", 3, (2, None, 0, 2)),
        ("adaptive_max_pool1d_with_indices", 1, (3,)),
        ("adaptive_max_pool2d_with_indices", 2, ((2, None),)),
        ("adaptive_max_pool3d_with_indices", 3, (2,)),
    ],
)
def test_names_with_indices(name: str, d: int, args: Any) -> None:
    for x in (normal(*SIZES[d]), coarse(*SIZES[d]), coarse(*SIZES[d][1:])):
        for flag in (False, True):
            check(call(name, *args, return_indices=flag), x)


# Layers with random samples, and ours beside what PyTorch composes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("d", "args", "kwargs"),
    [
        (2, (2,), {"output_ratio": 0.5}),
        (2, ((2, 3),), {"output_size": (4, 3), "return_indices": True}),
        (3, (2, 3), {}),
        (3, ((1, 2, 3),), {"output_ratio": (0.5, 0.3, 0.4), "return_indices": True}),
    ],
)
def test_fractional_layers(dtype: str, d: int, args: Any, kwargs: Any) -> None:
    x = normal(2, 3, *(8,) * d).astype(dtype)
    u = samples(d, x.shape, 0).astype(dtype)
    name = f"FractionalMaxPool{d}d"
    theirs = getattr(torch.nn, name)(*args, **kwargs, _random_samples=torch.tensor(u))
    ours = getattr(cr.nn, name)(*args, **kwargs, _random_samples=cr.tensor(u))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["_random_samples"]
    for key in ("kernel_size", "output_size", "output_ratio", "return_indices"):
        assert getattr(ours, key) == getattr(theirs, key)
    t_in, o_in = torch.tensor(x, requires_grad=True), cr.tensor(x, requires_grad=True)
    t_out, o_out = _outputs(theirs(t_in)), _outputs(ours(o_in))
    for i, (t, o) in enumerate(zip(t_out, o_out, strict=True)):
        _same(f"output {i}", t, o, None, None)
    _compare_gradients(t_out, o_out, [t_in], [o_in], None, None)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((2,), {}),
        ((2, 3), {"output_ratio": 0.5}),
        ((2,), {"output_ratio": 1.0}),
        ((2,), {"output_ratio": 0}),
        ((), {"output_size": 2}),
    ],
)
def test_bad_fractional_layers(d: int, args: Any, kwargs: Any) -> None:
    if args:
        misuse(lambda lib: getattr(lib.nn, f"FractionalMaxPool{d}d")(*args, **kwargs))
    else:
        for lib in (torch, cr):
            with pytest.raises(TypeError):
                getattr(lib.nn, f"FractionalMaxPool{d}d")(*args, **kwargs)


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 7, 9), (1, 2, 5, 6, 4), (0, 3, 4, 4)])
def test_global_and_pyramid_pooling_as_pytorch_composes_them(shape: tuple[int, ...]) -> None:
    d, x = len(shape) - 2, coarse(*shape)

    def whole(lib: Any, x: Any) -> Any:
        F = lib.nn.functional
        if lib is cr:
            return F.global_avg_pool(x), *F.global_max_pool(x, return_indices=True)
        mean = getattr(F, f"adaptive_avg_pool{d}d")(x, 1)
        return mean, *getattr(F, f"max_pool{d}d")(x, x.shape[2:], return_indices=True)

    def pyramid(mode: str) -> Any:
        def pool(lib: Any, x: Any) -> Any:
            F = lib.nn.functional
            if lib is cr:
                return getattr(F, f"spatial_pyramid_pool{d}d")(x, (1, 3), mode)
            each = getattr(F, f"adaptive_{mode}_pool{d}d")
            return lib.cat([each(x, b).flatten(1) for b in (1, 3)], 1)

        return pool

    check(whole, x, gradients=len(x) > 0)
    check(pyramid("avg"), x)
    if len(x):
        check(pyramid("max"), x)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("divisor", [None, 1])
def test_subsampling_as_pytorch_composes_it(d: int, divisor: int | None) -> None:
    def subsample(lib: Any, x: Any, w: Any, b: Any) -> Any:
        F = lib.nn.functional
        if lib is cr:
            return getattr(F, f"subsampling{d}d")(x, w, b, 2, 3, divisor)
        each = (3, *(1,) * d)
        mean = getattr(F, f"avg_pool{d}d")(x, 2, 3) * (2**d if divisor else 1)
        return mean * w.reshape(each) + b.reshape(each)

    x = normal(2, 3, *(8, 7, 5)[:d])
    check(subsample, x, normal(3, seed=1), normal(3, seed=2))
    check(subsample, x[0], normal(3, seed=1), normal(3, seed=2))
    check(subsample, x[:0], normal(3, seed=1), normal(3, seed=2))


# Settings that the cases in two dimensions try, in one and three


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((5,), {}),
        ((0,), {}),
        ((2.0,), {}),
        ((True,), {}),
        ((None,), {}),
        (((2, 2, 2, 2),), {}),
        ((2, 0), {}),
        ((2, -1), {}),
        ((2, 1.5), {}),
        ((2,), {"padding": -1}),
        ((2,), {"padding": 2}),
        ((2,), {"padding": 0.5}),
        ((2,), {"ceil_mode": 1}),
        ((2,), {"ceil_mode": None}),
    ],
)
def test_bad_settings_in_one_and_three_dimensions(
    d: int, kind: str, args: Any, kwargs: Any
) -> None:
    misuse(call(f"{kind}_pool{d}d", *args, **kwargs), np.zeros((2, 3, *(4,) * d)))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_bad_shapes_in_every_dimension(d: int) -> None:
    shapes = [(), (3,), (5,) * d, (1, 2, 3, *(5,) * d), (2, 0, *(5,) * d), (2, 3, *(0,) * d)]
    for kind, shape in itertools.product(("max", "avg"), [*shapes, (0, *(5,) * d)]):
        misuse(call(f"{kind}_pool{d}d", 2), np.zeros(shape))
    for kind, shape in itertools.product(("max", "avg"), [*shapes[:4], shapes[5]]):
        misuse(call(f"adaptive_{kind}_pool{d}d", 2), np.zeros(shape))
    misuse(call("adaptive_avg_pool3d", 2), np.zeros((2, 0, 4, 4, 4)))
    for size in (-1, 2.0, True, "2", (2,) * (d + 1), (), (2.0,) * d, (-1,) * d):
        for kind in ("max", "avg"):
            misuse(call(f"adaptive_{kind}_pool{d}d", size), np.zeros((2, 3, *(4,) * d)))
    misuse(call("avg_pool3d", 2, divisor_override=0), np.zeros((2, 3, 4, 4, 4)))
    misuse(call(f"max_pool{d}d", 2, dilation=0), np.zeros((2, 3, *(4,) * d)))


def test_avg_pool3d_divisors() -> None:
    for divisor, include, ceil in itertools.product((None, 1, 3, -2), (False, True), (False, True)):
        check(call("avg_pool3d", (2, 3, 2), (1, 2, 3), (1, 0, 1), ceil, include, divisor),
              normal(2, 2, 5, 6, 7))  # fmt: skip


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "lp_pool2d", "adaptive_max_pool2d"])
def test_float64_is_exact_and_float32_close_over_many_layouts(name: str) -> None:
    args = {"lp_pool2d": (2, 3, 2), "adaptive_max_pool2d": ((3, 2),)}.get(name, (3, 2, 1))
    for view in VIEWS.values():
        check(lambda lib, x, view=view: call(name, *args)(lib, view(x)), normal(4, 6, 9, 8))
