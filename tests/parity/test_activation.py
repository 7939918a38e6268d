"""Activations and softmax against PyTorch: values, gradients, kinks, infinities, misuse."""

import warnings

import numpy as np
import pytest
import torch

import chainrule as cr
from tests.parity.harness import check, misuse

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
SHAPES = [(), (1,), (7,), (3, 4), (2, 3, 5), (2, 3, 4, 5), (0,), (0, 3), (3, 0, 2)]
SPECIAL = np.array([NAN, INF, -INF, 0.0, -0.0, 1e3, -1e3, 90.0, -90.0, 21.0, -17.5, 1e-30])
WHOLE = np.array([-3.0, -2, -1, 0, 1, 2, 3, 0, 20, 20.5])


def normal(*shape):
    return np.asarray(3 * RNG.standard_normal(shape))


def wrong_kind(fn, x):
    """PyTorch's NotImplementedError for a dtype is a RuntimeError; our TypeError is one too."""
    with pytest.raises(RuntimeError):
        fn(torch, torch.tensor(x))
    with pytest.raises(RuntimeError) as ours:
        fn(cr, cr.tensor(x))
    assert isinstance(ours.value, cr.KindError)
    assert isinstance(ours.value, TypeError)


SIMPLE = {
    "sigmoid": lambda lib, x: lib.nn.functional.sigmoid(x),
    "tanh": lambda lib, x: lib.nn.functional.tanh(x),
    "relu": lambda lib, x: lib.nn.functional.relu(x),
    "leaky_relu": lambda lib, x: lib.nn.functional.leaky_relu(x),
    "elu": lambda lib, x: lib.nn.functional.elu(x),
    "softplus": lambda lib, x: lib.nn.functional.softplus(x),
    "logsigmoid": lambda lib, x: lib.nn.functional.logsigmoid(x),
    "softmax": lambda lib, x: lib.nn.functional.softmax(x, -1),
    "log_softmax": lambda lib, x: lib.nn.functional.log_softmax(x, dim=-1),
    "softmin": lambda lib, x: lib.nn.functional.softmin(x, 0),
    "celu": lambda lib, x: lib.nn.functional.celu(x),
    "selu": lambda lib, x: lib.nn.functional.selu(x),
    "gelu": lambda lib, x: lib.nn.functional.gelu(x),
    "gelu tanh": lambda lib, x: lib.nn.functional.gelu(x, approximate="tanh"),
    "silu": lambda lib, x: lib.nn.functional.silu(x),
    "mish": lambda lib, x: lib.nn.functional.mish(x),
    "softsign": lambda lib, x: lib.nn.functional.softsign(x),
    "tanhshrink": lambda lib, x: lib.nn.functional.tanhshrink(x),
    "hardtanh": lambda lib, x: lib.nn.functional.hardtanh(x),
    "relu6": lambda lib, x: lib.nn.functional.relu6(x),
    "hardshrink": lambda lib, x: lib.nn.functional.hardshrink(x),
    "softshrink": lambda lib, x: lib.nn.functional.softshrink(x),
    "hardsigmoid": lambda lib, x: lib.nn.functional.hardsigmoid(x),
    "hardswish": lambda lib, x: lib.nn.functional.hardswish(x),
    "threshold": lambda lib, x: lib.nn.functional.threshold(x, 0.5, -20.0),
    "rrelu": lambda lib, x: lib.nn.functional.rrelu(x),
}
COARSE = {"hardsigmoid"}
"""PyTorch's gradient multiplies by 1/6 in float32, even in float64."""

NAN_IS_ARBITRARY = {"hardtanh", "relu6", "hardshrink", "softshrink", "hardswish"}
"""PyTorch's gradient at NaN is one in its vectors and another in their remainder; ours is that of
the vectors: 0, and NaN for hardswish."""

COMPOSED = {"softsign", "tanhshrink"}
"""PyTorch's gradient is a difference there: infinity minus infinity, where ours is infinite."""

each = pytest.mark.parametrize("name", SIMPLE)


@each
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(name, shape):
    check(SIMPLE[name], normal(*shape), rtol=1e-7 if name in COARSE else None)


@each
def test_special_values(name):
    rtol = 1e-7 if name in COARSE else None
    # PyTorch's GELU of float32 is oneDNN's, which gives NaN at infinity
    dtypes = ("float64",) if name == "gelu" else ("float32", "float64")
    if name not in ("softmax", "log_softmax", "softmin"):
        x = SPECIAL[~np.isnan(SPECIAL)] if name in NAN_IS_ARBITRARY else SPECIAL
        check(SIMPLE[name], x, dtypes=dtypes, rtol=rtol)
        check(SIMPLE[name], SPECIAL, dtypes=dtypes, gradients=False)
    check(SIMPLE[name], WHOLE, rtol=rtol)
    for row in ([-INF, -INF], [-INF, 1.0], [INF, 1.0], [NAN, 1.0], [1e4, -1e4], [0.0, 0.0]):
        if not (np.isnan(row[0]) and name in NAN_IS_ARBITRARY):
            check(SIMPLE[name], np.array(row), dtypes=dtypes, rtol=rtol)


@each
def test_infinite_upstream_gradients(name):
    """PyTorch drops what arrives at a dead ReLU, be it infinite or NaN."""
    upstream = np.array([INF, -INF, NAN, INF, NAN, 2.0])

    def scaled(lib, x):
        factor = lib.tensor(upstream.astype(str(x.dtype).replace("torch.", "")))
        return (SIMPLE[name](lib, x) * factor).sum()

    x = np.array([-1.0, -2.0, -3.0, 1.0, 2.0, 0.0])
    if name not in COMPOSED:
        check(scaled, x, rtol=1e-7 if name in COARSE else None)


@each
def test_memory_order_is_no_matter(name):
    x = RNG.standard_normal((3, 4, 5))
    rtol = 1e-7 if name in COARSE else None
    check(lambda lib, t: SIMPLE[name](lib, lib.permute(t, (2, 0, 1))), x, rtol=rtol)
    check(lambda lib, t: SIMPLE[name](lib, t[::2, 1:]), x, rtol=rtol)
    check(lambda lib, t: SIMPLE[name](lib, lib.flip(t, (0, 2))), x, rtol=rtol)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool"])
def test_integers(dtype):
    x = np.array([[0, 1, 3]], dtype)
    check(SIMPLE["sigmoid"], x)
    check(SIMPLE["tanh"], x)
    if dtype == "bool":
        wrong_kind(SIMPLE["relu"], x)
    else:
        check(SIMPLE["relu"], x - x.dtype.type(1) if dtype != "uint8" else x)
    for name in ("softsign", "tanhshrink"):
        if dtype == "bool":
            wrong_kind(SIMPLE[name], x)
        else:
            check(SIMPLE[name], x)
    whole = {"sigmoid", "tanh", "relu", "softsign", "tanhshrink"}
    whole |= {"hardtanh", "relu6", "threshold"}
    for name in sorted(set(SIMPLE) - whole):
        wrong_kind(SIMPLE[name], x)
    wrong_kind(lambda lib, x: lib.nn.functional.prelu(x, lib.tensor([0.5])), x)
    wrong_kind(lambda lib, x: lib.nn.functional.prelu(x, lib.tensor([2])), x)


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0, 3, -0.5, True])
def test_leaky_relu_slopes(slope):
    for x in (WHOLE, SPECIAL, RNG.standard_normal((3, 5))):
        check(lambda lib, x: lib.nn.functional.leaky_relu(x, slope), x)
        check(
            lambda lib, x: lib.nn.functional.leaky_relu(x, negative_slope=slope, inplace=False), x
        )


@pytest.mark.parametrize("alpha", [1.0, 0.0, 0.1, 2, -0.7])
def test_elu_alphas(alpha):
    for x in (WHOLE, SPECIAL, RNG.standard_normal((3, 5))):
        check(lambda lib, x: lib.nn.functional.elu(x, alpha), x)


@pytest.mark.parametrize("beta", [1, 0.3, 2.0, -1.5])
@pytest.mark.parametrize("threshold", [20, 1.0, 0, -5.0])
def test_softplus_settings(beta, threshold):
    for x in (WHOLE, SPECIAL, RNG.standard_normal((3, 5))):
        check(lambda lib, x: lib.nn.functional.softplus(x, beta, threshold), x)


def test_softplus_of_beta_zero():
    check(lambda lib, x: lib.nn.functional.softplus(x, 0.0), np.array([-1.0, 0.0, 2.0, -INF]))


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (2, 4, 5), (2, 4, 3, 5), (0, 4), (2, 4, 0)])
@pytest.mark.parametrize("weights", [(), (1,), (4,)])
def test_prelu(shape, weights):
    if weights == (4,) and len(shape) < 2:
        pytest.skip("one channel takes one weight")
    x, w = normal(*shape), normal(*weights)
    check(lambda lib, x, w: lib.nn.functional.prelu(x, w), x, w)
    check(lambda lib, x, w: lib.prelu(x, w), np.asarray(np.round(x)), w)


def test_prelu_at_special_values():
    check(lambda lib, x, w: lib.nn.functional.prelu(x, w), SPECIAL, np.array([0.5]))


@pytest.mark.parametrize("dim", range(-4, 4))
def test_softmax_along_every_dimension(dim):
    x = 5 * RNG.standard_normal((2, 3, 4, 5))
    for name in ("softmax", "log_softmax", "softmin"):
        check(lambda lib, x, name=name: getattr(lib.nn.functional, name)(x, dim), x)
        check(lambda lib, x, name=name: getattr(lib.nn.functional, name)(x, dim=dim), x[:, :0])
    check(lambda lib, x: x.softmax(dim), x)
    check(lambda lib, x: lib.log_softmax(x, dim), x)


@pytest.mark.parametrize("ndim", range(5))
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax_without_dimension(ndim, name):
    x = normal(*(2, 3, 4, 5)[:ndim])
    with pytest.warns(UserWarning, match=name):
        check(lambda lib, x: getattr(lib.nn.functional, name)(x), x)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax_with_dtype(name):
    x = RNG.standard_normal((3, 4))
    for dtype in ("float32", "float64"):
        call = lambda lib, x: getattr(lib.nn.functional, name)(x, 1, dtype=getattr(lib, dtype))  # noqa: B023,E731
        check(call, x, rtol=1e-5, atol=1e-6)
        check(call, np.array([[1, 2], [3, 0]]))
    wrong_kind(lambda lib, x: getattr(lib.nn.functional, name)(x, 1, dtype=lib.int64), x)


def test_softmax_rows_of_infinity_have_gradients_as_pytorch():
    rows = np.array([[-INF, -INF], [-INF, 1.0], [INF, 1.0], [NAN, 1.0]])
    for name in ("softmax", "log_softmax"):
        check(lambda lib, x, name=name: getattr(lib.nn.functional, name)(x, 1), rows)


def test_misuse():
    x = RNG.standard_normal((3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dim in (2, -3):
            misuse(lambda lib, x, d=dim: lib.nn.functional.softmax(x, d), x)
            misuse(lambda lib, x, d=dim: lib.nn.functional.log_softmax(x, d), x)
        for dim in (1.0, True, "1"):
            misuse(lambda lib, x, d=dim: lib.nn.functional.softmax(x, d), x)
    misuse(lambda lib, x: lib.nn.functional.softmax(x, 1), np.array(3.0))
    misuse(lambda lib, x: lib.nn.functional.leaky_relu(x, "a"), x)
    misuse(lambda lib, x: lib.nn.functional.elu(x, "a"), x)
    misuse(lambda lib, x: lib.nn.functional.softplus(x, "a"), x)
    misuse(lambda lib, x: lib.nn.functional.relu([1.0]), x)
    for weight in ((3,), (1, 4), (1, 1), (0,)):
        misuse(lambda lib, x, w: lib.nn.functional.prelu(x, w), x, np.ones(weight))
    misuse(lambda lib, x, w: lib.nn.functional.prelu(x, w), np.array(1.0), np.ones(2))
    misuse(lambda lib, x, w: lib.nn.functional.prelu(x, w), np.ones(3), np.ones(3))
    misuse(lambda lib, x: lib.nn.functional.prelu(x, lib.tensor([0.5], dtype=lib.float64)), x)


@pytest.mark.parametrize("kind", ["int64", "bool"])
@pytest.mark.parametrize(
    "name", ["leaky_relu", "elu", "softplus", "logsigmoid", "softmax", "log_softmax", "softmin"]
)
def test_whole_numbers_are_not_implemented(name: str, kind: str) -> None:
    options = {"dim": 0} if "soft" in name and name != "softplus" else {}
    misuse(lambda lib, x: getattr(lib.nn.functional, name)(x, **options), np.ones(3, kind))
