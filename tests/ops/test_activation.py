"""Activations and softmax: values by SciPy or by loops, edges, kinks, layouts, errors."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import special

import chainrule as cr
from chainrule.engine.op import OPS
from chainrule.ops.activation import ELU, LeakyReLU, LogSigmoid, ReLU, Sigmoid, Softplus, Tanh
from chainrule.ops.activation_channel import Maxout, PReLU
from chainrule.ops.formulas import choose, drop, number
from chainrule.ops.softmax import LogSoftmax, Softmax

F = cr.nn.functional
RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf


def _below(x):
    return np.minimum(x, 0)


ORACLES = {
    "sigmoid": (F.sigmoid, special.expit),
    "tanh": (F.tanh, np.tanh),
    "relu": (F.relu, lambda x: np.where(x > 0, x, 0)),
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "elu": (F.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "softplus": (F.softplus, lambda x: np.logaddexp(0, x)),
    "logsigmoid": (F.logsigmoid, special.log_expit),
    "softmax": (lambda x: F.softmax(x, 0), lambda x: special.softmax(x, 0)),
    "log_softmax": (lambda x: F.log_softmax(x, 0), lambda x: special.log_softmax(x, 0)),
    "bnll": (F.bnll, lambda x: np.logaddexp(0, x)),
    "celu": (lambda x: F.celu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(_below(x) / 2))),
    "selu": (
        F.selu,
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(_below(x))),
    ),
    "gelu": (F.gelu, lambda x: x * special.ndtr(x)),
    "silu": (F.silu, lambda x: x * special.expit(x)),
    "mish": (F.mish, lambda x: x * np.tanh(np.logaddexp(0, x))),
    "softsign": (F.softsign, lambda x: x / (1 + np.abs(x))),
    "tanhshrink": (F.tanhshrink, lambda x: x - np.tanh(x)),
    "hardtanh": (F.hardtanh, lambda x: np.clip(x, -1, 1)),
    "relu6": (F.relu6, lambda x: np.clip(x, 0, 6)),
    "hardshrink": (F.hardshrink, lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    "softshrink": (F.softshrink, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
    "hardsigmoid": (F.hardsigmoid, lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "hardswish": (F.hardswish, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "threshold": (lambda x: F.threshold(x, 1.0, 7.0), lambda x: np.where(x > 1, x, 7.0)),
    "rrelu": (lambda x: F.rrelu(x, 0.1, 0.3), lambda x: np.where(x > 0, x, 0.2 * x)),
}
CANCELS = {"gelu", "tanhshrink", "softshrink", "hardsigmoid", "hardswish"}
"""Whose formulas subtract nearly equal values, as PyTorch's: errors are of the inputs' size."""
SETTINGS = {"celu": (2.0,), "threshold": (1.0, 7.0), "rrelu": (0.1, 0.3)}


each = pytest.mark.parametrize("name", ORACLES)


def values(tensor):
    return tensor.detach().numpy()


def slope(function, x):
    """Give the derivative that backward finds at each point."""
    leaf = cr.tensor(np.asarray(x, np.float64), requires_grad=True)
    function(leaf).sum().backward()
    return leaf.grad.numpy()


@each
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_forward_agrees_with_an_independent_formula(name, dtype):
    ours, oracle = ORACLES[name]
    x = (4 * RNG.standard_normal((50, 3))).astype(dtype)
    y = values(ours(cr.tensor(x)))
    assert y.dtype == dtype
    rtol = {"float64": 1e-12, "float32": 2e-6, "float16": 4e-3}[dtype]
    rtol *= 10 if name in CANCELS else 1
    np.testing.assert_allclose(y, oracle(x.astype(np.float64)), rtol=rtol, atol=rtol / 10)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, array_shapes(min_dims=1, max_dims=3), elements=st.floats(-700, 700)))
def test_forward_far_from_zero(x):
    """The stable formulas keep their relative precision where naive ones overflow."""
    for name, (ours, oracle) in ORACLES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            y = values(ours(cr.tensor(x)))
        # Above its threshold softplus is x itself; 2e-10 of it is dropped there.
        rtol = 2e-10 if name == "softplus" else 1e-12
        atol = 1e-12 if name in CANCELS else 1e-300
        np.testing.assert_allclose(y, oracle(x), rtol=rtol, atol=atol, err_msg=name)


@each
def test_nothing_warns_at_infinity(name):
    x = cr.tensor([NAN, INF, -INF, 0.0, 1e30, -1e30], requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ORACLES[name][0](x).backward(cr.tensor([INF, -INF, NAN, 1.0, INF, INF]))


@each
def test_the_result_keeps_the_order_in_memory(name):
    x = RNG.standard_normal((2, 4, 5, 3)).transpose(0, 3, 1, 2)  # channels last
    leaf = cr.tensor(x).requires_grad_()
    leaf.array = x
    y = ORACLES[name][0](leaf)
    assert y.array.strides == x.strides
    y.backward(cr.Tensor(x))
    assert leaf.grad.array.strides == x.strides


@each
def test_methods_and_top_level_names_are_the_same_function(name):
    x = cr.tensor([1.0, -2.0])
    arguments = (0,) if "softmax" in name else SETTINGS.get(name, ())
    expected = values(getattr(F, name)(x, *arguments))
    assert np.array_equal(values(getattr(cr, name)(x, *arguments)), expected)
    if name in ("sigmoid", "tanh", "relu", "softmax", "log_softmax"):  # as in PyTorch
        assert np.array_equal(values(getattr(x, name)(*arguments)), expected)


def test_arrays_and_numbers_are_taken():
    assert F.relu(np.array([-1.0, 2.0])).dtype == np.float64
    assert F.relu(-3.0).item() == 0.0
    assert F.sigmoid(0).item() == 0.5


def test_the_slide_relu():
    x = cr.tensor([1.0, -2.0, 3.0, -1.0], requires_grad=True)
    z = F.relu(x)
    z.backward(cr.tensor([4.0, -1.0, 5.0, 9.0]))
    assert values(z).tolist() == [1, 0, 3, 0]
    assert x.grad.tolist() == [4, 0, 5, 0]


def test_the_slide_sigmoid():
    w = cr.tensor([2.0, -3.0, -3.0], requires_grad=True)
    x = cr.tensor([-1.0, -2.0], requires_grad=True)
    y = F.sigmoid(w[0] * x[0] + w[1] * x[1] + w[2])
    y.backward()
    assert math.isclose(y.item(), 0.7310586, abs_tol=5e-7)
    np.testing.assert_allclose(values(w.grad), [-0.1966119, -0.3932239, 0.1966119], atol=5e-7)
    np.testing.assert_allclose(values(x.grad), [0.3932239, -0.5898358], atol=5e-7)


def test_the_slide_softmax():
    p = values(F.softmax(cr.tensor([3.2, 5.1, -1.7]), 0))
    np.testing.assert_allclose(p, [0.12998, 0.86905, 0.00097], atol=5e-6)


def test_kinks_have_pytorch_slopes():
    zero = [0.0, -0.0]
    assert slope(F.relu, zero).tolist() == [0, 0]
    assert slope(F.leaky_relu, zero).tolist() == [0.01, 0.01]
    assert slope(lambda x: F.elu(x, 0.3), zero).tolist() == [0.3, 0.3]
    assert (
        slope(lambda x: F.prelu(x, cr.tensor([0.25], dtype=cr.float64)), zero).tolist()
        == [0.25] * 2
    )


def test_nan_passes_as_in_pytorch():
    for function, gradient in ((F.relu, 1.0), (F.leaky_relu, 0.01), (F.elu, 1.0), (F.tanh, NAN)):
        assert math.isnan(function(cr.tensor(NAN)).item())
        np.testing.assert_equal(slope(function, [NAN])[0], gradient)


def test_infinity_passes_as_in_pytorch():
    assert F.leaky_relu(cr.tensor([INF, -INF]), 0.5).tolist() == [INF, -INF]
    np.testing.assert_equal(F.leaky_relu(cr.tensor([INF, -INF]), 0.0).tolist(), [INF, NAN])
    assert F.elu(cr.tensor([INF, -INF]), 2.0).tolist() == [INF, -2]
    np.testing.assert_equal(slope(lambda x: F.elu(x, 0.3), [NAN, INF, -INF]), [1, 1, 0])


def test_relu_drops_what_is_not_finite():
    dx = ReLU().backward(np, np.array([True, True, False]), np.array([INF, NAN, INF]), (True,))[0]
    assert dx.tolist() == [0, 0, INF]


def test_relu_of_integers():
    y = F.relu(cr.tensor([-1, 2]))
    assert y.dtype == np.int64
    assert y.tolist() == [0, 2]
    assert F.relu(cr.tensor(np.array([3], np.uint8))).dtype == np.uint8


@pytest.mark.parametrize("slope_", [0.0, 0.3, 1.0, 2.0, -1.0])
def test_leaky_relu_by_a_loop(slope_):
    x = RNG.standard_normal(20)
    y = values(F.leaky_relu(cr.tensor(x), slope_))
    assert y.tolist() == [v if v > 0 else slope_ * v for v in x.tolist()]


def test_prelu_by_a_loop():
    x, w = RNG.standard_normal((2, 3, 4)), RNG.standard_normal(3)
    leaf, weight = (cr.tensor(v, requires_grad=True) for v in (x, w))
    y = F.prelu(leaf, weight)
    y.sum().backward()
    expected, gw = x.copy(), np.zeros(3)
    for n, c, i in np.ndindex(x.shape):
        if x[n, c, i] <= 0:
            expected[n, c, i] *= w[c]
            gw[c] += x[n, c, i]
    np.testing.assert_allclose(values(y), expected, rtol=1e-15)
    np.testing.assert_allclose(values(weight.grad), gw, rtol=1e-13)


@pytest.mark.parametrize(("pool", "dim"), [(1, 1), (2, 1), (3, 1), (6, 1), (2, 0), (2, -1), (5, 2)])
def test_maxout_by_a_loop(pool, dim):
    x = RNG.standard_normal((4, 6, 10))
    leaf = cr.tensor(x, requires_grad=True)
    y = F.maxout(leaf, pool, dim)
    gy = RNG.standard_normal(y.shape)
    y.backward(cr.tensor(gy))
    moved, gm = np.moveaxis(x, dim, 0), np.moveaxis(gy, dim, 0)
    expected, gx = np.zeros(gm.shape), np.zeros(moved.shape)
    for k, *rest in np.ndindex(gm.shape):
        group = [moved[(k * pool + i, *rest)] for i in range(pool)]
        best = group.index(max(group))
        expected[(k, *rest)] = group[best]
        gx[(k * pool + best, *rest)] = gm[(k, *rest)]
    assert np.array_equal(values(y), np.moveaxis(expected, 0, dim))
    assert np.array_equal(values(leaf.grad), np.moveaxis(gx, 0, dim))


def test_maxout_gives_ties_to_the_first_and_nan_to_nan():
    x = cr.tensor([[1.0, 1.0, NAN, 5.0]], requires_grad=True)
    y = F.maxout(x, 2)
    y.sum().backward()
    np.testing.assert_equal(values(y), [[1.0, NAN]])
    assert x.grad.tolist() == [[1, 0, 1, 0]]
    assert F.maxout(cr.tensor([[3, 5, 2, 1]]), 2).tolist() == [[5, 2]]
    assert F.maxout(cr.zeros(0, 4), 2).shape == (0, 2)
    assert F.maxout(cr.zeros(2, 0, 3), 2).shape == (2, 0, 3)


def test_maxout_of_two_linear_units_is_the_slides():
    """deck 000: max(w1 x + b1, w2 x + b2)."""
    x, w1, w2 = RNG.standard_normal((3, 5, 4))
    x, pairs = x[0], np.stack([w1, w2], axis=1).reshape(-1, 4)
    y = values(F.maxout(cr.tensor((pairs @ x)[None]), 2))
    np.testing.assert_allclose(y[0], np.maximum(w1 @ x, w2 @ x))


def test_softplus_of_a_large_threshold_does_not_overflow():
    assert F.softplus(cr.tensor(200.0), 1, 1000).item() == 200
    assert slope(lambda x: F.softplus(x, 1, 1e9), [800.0]).tolist() == [1]


def test_softmax_sums_to_one_and_ignores_shifts():
    x = 50 * RNG.standard_normal((4, 5, 6))
    for dim in (0, 1, 2, -1):
        p = values(F.softmax(cr.tensor(x), dim))
        np.testing.assert_allclose(p.sum(dim), 1, rtol=1e-14)
        np.testing.assert_allclose(values(F.softmax(cr.tensor(x + 1e3), dim)), p, rtol=1e-9)
        np.testing.assert_allclose(values(F.softmin(cr.tensor(-x), dim)), p, rtol=1e-15)
        gx = slope(lambda t, d=dim: F.softmax(t, d)[:2], x)
        np.testing.assert_allclose(gx.sum(dim)[dim % 3 == 0 :], 0, atol=1e-14)


def test_softmax_rows_without_an_answer():
    for function in (F.softmax, F.log_softmax):
        y = values(function(cr.tensor([[-INF, -INF], [INF, 1.0], [-INF, 1.0]]), 1))
        assert np.isnan(y[:2]).all()
    assert y[2].tolist() == [-INF, 0]


def test_softmax_without_a_dimension_warns_at_the_caller():
    with pytest.warns(UserWarning, match=r"softmax: dim=None takes dim=1 for 2 dimensions") as seen:
        F.softmax(cr.zeros(2, 3))
    assert seen[0].filename == __file__


@pytest.mark.parametrize(("ndim", "dim"), [(0, 0), (1, 0), (2, 1), (3, 0), (4, 1), (5, 1)])
def test_the_dimension_that_is_guessed(ndim, dim):
    x = cr.tensor(np.asarray(RNG.standard_normal((2, 3, 4, 2, 3)[:ndim])))
    for function in (F.softmax, F.log_softmax, F.softmin):
        with pytest.warns(UserWarning, match=f"takes dim={dim} for {ndim} dimensions"):
            guessed = function(x)
        assert np.array_equal(values(guessed), values(function(x, dim)))


def test_softmax_converts_first():
    y = F.softmax(cr.tensor([1, 2]), 0, dtype=cr.float64)
    assert y.dtype == np.float64
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    F.softmax(x, 0, dtype=cr.float64)[0].backward()
    assert x.grad.dtype == np.float32


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: F.leaky_relu(cr.tensor([1])), TypeError,
         "leaky_relu: expected a floating-point input; got input int64 (1,); in "
         "LeakyReLU(slope=0.01); convert it first: x.float()"),
        (lambda: F.relu(cr.tensor([True])), TypeError,
         "relu: expected numbers, not booleans; got input bool (1,)"),
        (lambda: F.elu(cr.ones(1), "a"), TypeError, "elu alpha: expected a number; got value 'a'"),
        (lambda: F.prelu(cr.ones(2, 3), cr.ones(2)), ValueError,
         "prelu: expected one weight, or one for each of 3 channels; got input float32 (2, 3), "
         "weight float32 (2,)"),
        (lambda: F.prelu(cr.ones(2), cr.ones(1, dtype=cr.float64)), TypeError,
         "prelu: expected input and weight of one dtype; got input float32 (2,), "
         "weight float64 (1,)"),
        (lambda: F.maxout(cr.ones(2, 5), 2), ValueError,
         "maxout: expected channels in whole groups of pool_size >= 1: 5 / 2; got input "
         "float32 (2, 5); in Maxout(pool=2, axis=1)"),
        (lambda: F.maxout(cr.ones(2, 5), 0), ValueError, "groups of pool_size >= 1: 5 / 0"),
        (lambda: F.maxout(cr.ones(4), 2), IndexError, "maxout: expected dim in [-1, 0]"),
        (lambda: F.maxout(cr.ones(4), 2.0, 0), TypeError, "maxout pool_size: expected an integer"),
        (lambda: F.maxout(cr.tensor(1.0), 1, 0), ValueError, "not a 0-D one"),
        (lambda: F.softmax(cr.ones(2, 3), 2), IndexError, "softmax: expected dim in [-2, 1]"),
        (lambda: F.log_softmax(cr.ones(2, 3), -3), IndexError, "log_softmax: expected dim in"),
        (lambda: F.softmax(cr.tensor([1]), 0), TypeError, "softmax: expected a floating-point"),
        (lambda: F.relu([1.0]), TypeError, "wrap lists with cr.tensor"),
        (lambda: F.celu(cr.ones(2), 0), ValueError,
         "celu: expected an alpha other than 0; got alpha 0"),
        (lambda: F.celu(cr.ones(2), None), TypeError, "celu alpha: expected a number"),
        (lambda: F.selu(cr.tensor([1])), TypeError, "selu: expected a floating-point input"),
        (lambda: F.gelu(cr.tensor([1])), TypeError, "gelu: expected a floating-point input"),
        (lambda: F.gelu(cr.ones(2), approximate="exact"), ValueError,
         "gelu: expected approximate 'none' or 'tanh'; got approximate 'exact'"),
        (lambda: F.gelu(cr.ones(2), approximate=None), TypeError, "got approximate None"),
        (lambda: F.silu(cr.tensor([1])), TypeError, "silu: expected a floating-point input"),
        (lambda: F.mish(cr.tensor([1])), TypeError, "mish: expected a floating-point input"),
        (lambda: F.glu(cr.ones(2, 3)), ValueError,
         "glu: expected two halves along the dimension, but 3 % 2 = 1; got input float32 (2, 3)"),
        (lambda: F.glu(cr.ones(2), 1), IndexError, "glu: expected dim in [-1, 0]"),
        (lambda: F.glu(cr.tensor(1.0)), ValueError, "glu: expected a tensor with a dimension"),
        (lambda: F.glu(cr.tensor([1, 2])), TypeError, "glu: expected a floating-point input"),
        (lambda: F.softsign(cr.tensor([True])), TypeError, "numbers, not booleans"),
        (lambda: F.hardtanh(cr.ones(2), 2, 1), ValueError,
         "hardtanh: expected min_val <= max_val; got min_val 2, max_val 1"),
        (lambda: F.hardtanh(cr.ones(2), "a"), TypeError, "hardtanh min_val: expected a number"),
        (lambda: F.hardtanh(cr.ones(2), 0, "a"), TypeError, "hardtanh max_val: expected a number"),
        (lambda: F.hardtanh(cr.tensor([True])), TypeError,
         "hardtanh: expected numbers, not booleans; got input bool (1,)"),
        (lambda: F.hardtanh(cr.tensor([1]), 0, 1e30), ValueError, "hardtanh: expected settings in"),
        (lambda: F.hardtanh(cr.tensor([1], dtype=cr.uint8), -1, 1), ValueError,
         "hardtanh: expected limits of at least 0 for unsigned integers"),
        (lambda: F.threshold(cr.ones(1), "a", 1), TypeError, "threshold threshold: expected a"),
        (lambda: F.threshold(cr.ones(1), 1, "a"), TypeError, "threshold value: expected a number"),
        (lambda: F.hardshrink(cr.tensor([1])), TypeError, "hardshrink: expected a floating-point"),
        (lambda: F.hardshrink(cr.ones(1), "a"), TypeError, "hardshrink lambd: expected a number"),
        (lambda: F.softshrink(cr.ones(1), -1), ValueError, "softshrink: expected lambd in [0, 3.4"),
        (lambda: F.softshrink(cr.ones(1), "a"), TypeError, "softshrink lambd: expected a number"),
        (lambda: F.hardsigmoid(cr.tensor([1])), TypeError, "hardsigmoid: expected a floating"),
        (lambda: F.hardswish(cr.tensor([1])), TypeError, "hardswish: expected a floating-point"),
        (lambda: F.rrelu(cr.ones(1), 0.5, 0.1), ValueError,
         "rrelu: expected finite lower <= upper; got lower 0.5, upper 0.1"),
        (lambda: F.rrelu(cr.ones(1), "a"), TypeError, "rrelu lower: expected a number"),
        (lambda: F.rrelu(cr.ones(1), 0.1, "a"), TypeError, "rrelu upper: expected a number"),
        (lambda: F.rrelu(cr.tensor([1]), training=True), TypeError, "rrelu: expected a floating"),
        (lambda: F.gumbel_softmax(cr.tensor([1])), TypeError, "gumbel_softmax: expected a float"),
        (lambda: F.gumbel_softmax(cr.ones(2), dim=1), IndexError, "gumbel_softmax: expected dim"),
        (lambda: F.elu_(3.0), TypeError, "elu_: expected a tensor, to hold the result"),
        (lambda: F.elu_(cr.ones(2, requires_grad=True)), RuntimeError, "elu_: a leaf tensor"),
        (lambda: F.celu_(cr.tensor([1])), TypeError, "celu: expected a floating-point input"),
    ],
)  # fmt: skip
def test_errors(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)


def test_formulas_work_on_bare_arrays():
    """As `chainrule.flat` uses them: one forward for what is saved, one backward."""
    x = RNG.standard_normal((3, 4))
    for op in (ReLU(), Sigmoid(), Tanh(), LeakyReLU(), ELU(), Softplus(), LogSigmoid(), Softmax(1),
               LogSoftmax(1), Maxout(2)):  # fmt: skip
        (y,), saved = op.forward(np, x)
        (dx,) = op.backward(np, saved, np.ones_like(y), (True,))
        assert dx.shape == x.shape
        assert dx.dtype == np.float64
    (y,), saved = PReLU().forward(np, x, np.array([0.5]))
    assert PReLU().backward(np, saved, y, (True, True))[1].shape == (1,)


def test_relu_saves_one_byte_an_element():
    saved = ReLU().forward(np, np.ones(100, np.float32))[1]
    assert saved.nbytes == 100
    assert LeakyReLU().forward(np, np.ones(100, np.float32))[1].nbytes == 100


def test_names_in_errors_are_the_functions():
    named = ["ReLU", "LeakyReLU", "PReLU", "ELU", "Sigmoid", "Tanh", "Softplus", "LogSigmoid"]
    assert [OPS[n]().name for n in named] == (
        ["relu", "leaky_relu", "prelu", "elu", "sigmoid", "tanh", "softplus", "logsigmoid"]
    )


def test_choose_is_exact():
    """(1 - a) + a is not always 1 in floating point; this is."""
    mask = RNG.random(1000) < 0.5
    for a in RNG.standard_normal(50).tolist():
        for dtype in (np.float32, np.float64):
            assert set(choose(np, mask, a, dtype).tolist()) == {1.0, float(dtype(a))}


def test_drop_keeps_every_bit():
    odd = np.array([NAN, INF, -INF, -0.0, 5e-324, 1.5])
    for dtype in (np.float64, np.float32, np.float16):
        x = odd.astype(dtype)
        kept = drop(np, np.zeros(6, bool), x)
        assert kept.tobytes() == x.tobytes()
        assert drop(np, np.ones(6, bool), x).tobytes() == np.zeros(6, dtype).tobytes()
    assert drop(np, np.array([True, False]), np.array([3, 4])).tolist() == [0, 4]
    assert drop(np, np.ones((2, 3), bool), np.broadcast_to(np.float32(2), (2, 3))).sum() == 0


def test_numbers():
    assert number(np.float32(0.5), "x") == 0.5
    assert number(cr.tensor(2.0), "x") == 2
    for bad in (None, "1", [1.0], np.ones(1)):
        with pytest.raises(TypeError):
            number(bad, "x")


def test_glu_by_a_loop():
    x = RNG.standard_normal((3, 4, 6))
    for dim in (1, 2, -1):
        moved = np.moveaxis(x, dim, 0)
        half = len(moved) // 2
        expected = np.stack([moved[i] * special.expit(moved[half + i]) for i in range(half)])
        got = values(F.glu(cr.tensor(x), dim))
        np.testing.assert_allclose(got, np.moveaxis(expected, 0, dim), rtol=1e-12)


def test_gelu_by_tanh():
    x = RNG.standard_normal(50)
    u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    got = values(F.gelu(cr.tensor(x), approximate="tanh"))
    np.testing.assert_allclose(got, x * (1 + np.tanh(u)) / 2, rtol=1e-12, atol=1e-15)


def test_the_corners_of_the_hard_ones_have_pytorch_slopes():
    assert slope(F.hardtanh, [-1.0, 1.0, 0.0, NAN]).tolist() == [0, 0, 1, 0]
    assert slope(F.relu6, [0.0, 6.0, 3.0]).tolist() == [0, 0, 1]
    assert slope(F.hardshrink, [-0.5, 0.5, 0.6]).tolist() == [0, 0, 1]
    assert slope(F.softshrink, [-0.5, 0.5, 0.6]).tolist() == [0, 0, 1]
    assert slope(F.hardsigmoid, [-3.0, 3.0, 0.0]).tolist() == [0, 0, 1 / 6]
    assert slope(F.hardswish, [-3.0, 3.0, 4.0, 0.0]).tolist() == [0, 1, 1, 0.5]
    assert slope(lambda x: F.threshold(x, 1, 5), [1.0, 1.5]).tolist() == [0, 1]
    assert slope(F.softsign, [0.0, -0.0]).tolist() == [1, 1]


def test_selu_keeps_mean_and_variance():
    x = np.random.default_rng(0).standard_normal(1_000_000)
    y = values(F.selu(cr.tensor(x)))
    assert abs(y.mean()) < 0.005
    assert abs(y.var() - 1) < 0.01


def test_rrelu_draws_from_its_generator():
    x = cr.tensor(RNG.standard_normal((40, 50)))
    a, b, c = (values(F.rrelu(x, 0.1, 0.3, True, generator=cr.Generator(s))) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    slopes = a / x.numpy()
    assert (slopes[x.numpy() > 0] == 1).all()
    below = slopes[x.numpy() < 0]
    assert below.min() >= 0.1
    assert below.max() < 0.3
    assert len(set(below.tolist())) > 900
    at_zero = slope(lambda t: F.rrelu(t, 0.1, 0.3, True), [0.0, -0.0, 1.0, NAN])
    assert (at_zero[:2] < 0.3).all()
    assert at_zero[2:].tolist() == [1, 1]
    meta = F.rrelu(cr.zeros(3, 4, device="meta"), training=True)
    assert meta.is_meta
    assert meta.shape == (3, 4)


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_gumbel_softmax_draws_the_classes_by_their_shares(tau):
    shares = np.array([0.1, 0.6, 0.3])
    x = cr.tensor(np.log(shares)).expand(40_000, 3)
    y = values(F.gumbel_softmax(x, tau, generator=cr.Generator(0)))
    winners = np.bincount(y.argmax(1), minlength=3) / len(y)
    np.testing.assert_allclose(winners, shares, atol=0.0125)  # five standard deviations


def test_gumbel_softmax_draws_from_its_generator():
    x = cr.zeros(500, 3)
    a, b, c = (values(F.gumbel_softmax(x, generator=cr.Generator(s))) for s in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    hard = values(F.gumbel_softmax(x, hard=True, generator=cr.Generator(1)))
    assert np.array_equal(hard.argmax(1), a.argmax(1))
    np.testing.assert_allclose(np.sort(hard, 1), [[0, 0, 1]] * 500, atol=1e-6)
    cool = values(F.gumbel_softmax(x, 1e-3, generator=cr.Generator(1)))
    np.testing.assert_allclose(cool, hard, atol=0.3)
    assert F.gumbel_softmax(cr.zeros(3, 4, device="meta"), hard=True).is_meta
    assert F.gumbel_softmax(cr.zeros(0, 3), hard=True).shape == (0, 3)
    assert F.gumbel_softmax(cr.tensor(1.0)).item() == 1
    with pytest.warns(UserWarning, match="eps has no effect") as seen:
        F.gumbel_softmax(x, eps=1e-3)
    assert seen[0].filename == __file__


def test_in_place_names_write_outside_the_graph_and_refuse_integers():
    x = cr.tensor([-1.0, 2.0])
    array, view = x.array, x[:1]
    assert F.relu_(x) is x
    assert x.array is array
    assert view.tolist() == [0]
    with pytest.raises(TypeError):
        F.elu_(cr.tensor([1]))
