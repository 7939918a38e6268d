"""Arithmetic, powers, choices, functions of one tensor, comparisons: against plain loops."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.engine.op import FUNCTIONS
from chainrule.errors import KindError, ShapeError
from chainrule.ops.broadcast import broadcast, empty_in, layout, sum_to
from chainrule.ops.elementwise import Add, Div, Mul, Sub
from chainrule.ops.power import PowScalar
from chainrule.ops.select import Clamp, Extremum, Where
from chainrule.ops.unary import Exp

NAN, INF = math.nan, math.inf
SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4)


def drawn(*shape: int, seed: int = 0) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def looped(fn: Callable[..., float], *arrays: Any) -> Any:
    """Apply a function of numbers to every element, matching axes from the last by hand."""
    ndim = max(a.ndim for a in arrays)
    padded = [a.reshape((1,) * (ndim - a.ndim) + a.shape) for a in arrays]
    sizes = [{a.shape[i] for a in padded} - {1} for i in range(ndim)]
    result = np.zeros([s.pop() if s else 1 for s in sizes])
    for place in np.ndindex(*result.shape):
        picked = [
            a[tuple(i if n > 1 else 0 for i, n in zip(place, a.shape, strict=True))] for a in padded
        ]
        result[place] = fn(*[p.item() for p in picked])
    return result


BINARY: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "maximum": max,
    "minimum": min,
    "remainder": lambda a, b: a % b,
    "floor_divide": lambda a, b: a // b,
}
SLOPES: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "add": lambda a, b: (1, 1),
    "sub": lambda a, b: (1, -1),
    "mul": lambda a, b: (b, a),
    "div": lambda a, b: (1 / b, -a / b**2),
    "maximum": lambda a, b: (a > b, b > a),
    "minimum": lambda a, b: (a < b, b < a),
    "remainder": lambda a, b: (1, -math.floor(a / b)),
    "floor_divide": lambda a, b: (0, 0),
}


@pytest.mark.parametrize("name", BINARY)
@given(shapes=SHAPES)
def test_every_broadcast_forward_and_backward(name: str, shapes: hnp.BroadcastableShapes) -> None:
    a, b = (drawn(*s, seed=i) for i, s in enumerate(shapes.input_shapes))
    x, y = cr.tensor(a, requires_grad=True), cr.tensor(b, requires_grad=True)
    z = getattr(cr, name)(x, y)
    np.testing.assert_allclose(z.detach().numpy(), looped(BINARY[name], a, b), rtol=1e-12)
    gz = drawn(*z.shape, seed=2)
    z.backward(cr.tensor(gz))
    for side, given_ in enumerate((x, y)):
        full = gz * looped(lambda p, q, side=side: SLOPES[name](p, q)[side], a, b)
        expected = np.zeros(given_.shape)
        lead = full.ndim - expected.ndim
        for place in np.ndindex(*full.shape):
            back = tuple(
                i if n > 1 else 0 for i, n in zip(place[lead:], expected.shape, strict=True)
            )
            expected[back] += full[place]
        np.testing.assert_allclose(given_.grad.numpy(), expected, rtol=1e-9, atol=1e-12)


@given(shapes=SHAPES)
def test_broadcast_shape_is_numpys(shapes: hnp.BroadcastableShapes) -> None:
    a, b = shapes.input_shapes
    assert broadcast("add", a=a, b=b) == np.broadcast_shapes(a, b)


def test_broadcast_error_names_the_axis_and_the_numbers() -> None:
    rule = r"add: expected sizes that are equal or 1, where axis -2 has 3 and 5; got input \(3, 1\)"
    with pytest.raises(ShapeError, match=rule):
        cr.ones(3, 1) + cr.ones(5, 4)
    with pytest.raises(ShapeError, match=r"condition \(2,\), input \(3,\), other \(3,\)"):
        cr.where(cr.tensor([True, False]), cr.ones(3), cr.ones(3))


def test_equal_shapes_keep_nothing_and_copy_nothing() -> None:
    a, gy = np.ones((2, 3), np.float32), np.full((2, 3), 5, np.float32)
    for op in (Add(), Sub()):
        assert op.forward(np, a, a)[1] is None
        assert op.backward(np, None, gy, (True, True))[0] is gy
    assert sum_to(np, gy, gy.shape) is gy


def test_what_is_kept_is_small() -> None:
    x, y = drawn(8, 9), drawn(8, 9, seed=1)
    assert Clamp(0.0, 1.0).forward(np, x)[1].dtype == np.bool_
    assert [a.dtype for a in Extremum().forward(np, x, y)[1][:2]] == [np.bool_, np.bool_]
    assert Where().forward(np, x > 0, x, y)[1][1:] == ((8, 9), (8, 9))
    outputs, kept = Exp().forward(np, x)
    assert kept is outputs[0]
    assert all(a is b for a, b in zip(Mul().forward(np, x, y)[1], (x, y), strict=True))


@pytest.mark.parametrize("alpha", [1, 2, -0.5])
def test_alpha(alpha: float) -> None:
    x, y = drawn(3, 4), drawn(4, seed=1)
    for name, sign in (("add", 1), ("sub", -1)):
        other = cr.tensor(y, requires_grad=True)
        z = getattr(cr, name)(cr.tensor(x), other, alpha=alpha)
        z.backward(cr.tensor(x))
        np.testing.assert_allclose(z.detach().numpy(), x + sign * alpha * y)
        assert other.grad is not None
        np.testing.assert_allclose(other.grad.numpy(), sign * alpha * x.sum(0))
    assert cr.add(cr.tensor([True]), cr.tensor([False]), alpha=2).dtype == np.bool_


@pytest.mark.parametrize("a", [7, -7, 8, -8, 0, 1])
@pytest.mark.parametrize("b", [2, -2, 3, -3])
def test_integer_quotients_are_pythons(a: int, b: int) -> None:
    x, y = cr.tensor(a), cr.tensor(b)
    assert (x // y).item() == a // b
    assert (x % y).item() == a % b
    assert cr.div(x, y, rounding_mode="trunc").item() == math.trunc(a / b)
    assert cr.div(x, y).dtype == np.float32


def test_known_circuits() -> None:
    """f = (x + y) z at (-2, 5, -4), and f = x*x + 3x at 2, where gradients add at the branch."""
    x, y, z = (cr.tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    q = x + y
    q.retain_grad()
    f = q * z
    f.backward()
    gradients = [t.grad.item() for t in (x, y, z, q) if t.grad is not None]
    assert (f.item(), gradients) == (-12.0, [-4.0, -4.0, 3.0, -4.0])
    v = cr.tensor(2.0, requires_grad=True)
    (v * v + 3 * v).backward()
    assert v.grad is not None
    assert v.grad.item() == 7.0


UNARY: dict[str, tuple[Callable[[float], float], Callable[[float], float], float, float]] = {
    "exp": (math.exp, math.exp, -3, 3),
    "expm1": (math.expm1, math.exp, -3, 3),
    "log": (math.log, lambda v: 1 / v, 0.1, 5),
    "log2": (math.log2, lambda v: 1 / (v * math.log(2)), 0.1, 5),
    "log10": (math.log10, lambda v: 1 / (v * math.log(10)), 0.1, 5),
    "log1p": (math.log1p, lambda v: 1 / (1 + v), -0.9, 5),
    "sqrt": (math.sqrt, lambda v: 0.5 / math.sqrt(v), 0.1, 5),
    "rsqrt": (lambda v: 1 / math.sqrt(v), lambda v: -0.5 * v**-1.5, 0.1, 5),
    "square": (lambda v: v * v, lambda v: 2 * v, -3, 3),
    "reciprocal": (lambda v: 1 / v, lambda v: -1 / v**2, 0.2, 5),
    "sin": (math.sin, math.cos, -7, 7),
    "cos": (math.cos, lambda v: -math.sin(v), -7, 7),
    "abs": (abs, lambda v: math.copysign(1, v), -3, 3),
    "sign": (lambda v: math.copysign(1, v), lambda v: 0, -3, 3),
    "floor": (math.floor, lambda v: 0, -3, 3),
    "ceil": (math.ceil, lambda v: 0, -3, 3),
    "trunc": (math.trunc, lambda v: 0, -3, 3),
    "round": (round, lambda v: 0, -3, 3),
    "neg": (lambda v: -v, lambda v: -1, -3, 3),
}


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_unary_against_python(name: str, dtype: Any) -> None:
    value, slope, low, high = UNARY[name]
    a = np.random.default_rng(0).uniform(low, high, (3, 5)).astype(dtype)
    x = cr.tensor(a, requires_grad=True)
    y = getattr(cr, name)(x)
    y.backward(cr.full((3, 5), 2.0).to(dtype))
    assert y.dtype == dtype
    assert x.grad is not None
    assert x.grad.dtype == dtype
    tight = {np.float16: 4e-3, np.float32: 2e-6, np.float64: 1e-13}[dtype]
    np.testing.assert_allclose(y.detach().numpy(), looped(value, a), rtol=tight, atol=tight)
    np.testing.assert_allclose(x.grad.numpy(), 2 * looped(slope, a), rtol=2 * tight, atol=2 * tight)


SMALL = [1e-3, 1e-8, 1e-12]


@pytest.mark.parametrize("value", SMALL)
def test_digits_of_small_numbers_survive(value: float) -> None:
    x = cr.tensor(np.array(value))
    np.testing.assert_allclose(cr.log1p(x).item(), math.log1p(value), rtol=1e-15)
    np.testing.assert_allclose(cr.expm1(x).item(), math.expm1(value), rtol=1e-15)


EDGES: list[tuple[str, float, float, float]] = [  # function, input, output, gradient
    ("exp", -INF, 0.0, 0.0),
    ("exp", 1000.0, INF, INF),
    ("log", 0.0, -INF, INF),
    ("log", -1.0, NAN, -1.0),
    ("log1p", -1.0, -INF, INF),
    ("sqrt", 0.0, 0.0, INF),
    ("sqrt", -1.0, NAN, NAN),
    ("sqrt", INF, INF, 0.0),
    ("rsqrt", 0.0, INF, -INF),
    ("reciprocal", 0.0, INF, -INF),
    ("abs", 0.0, 0.0, 0.0),
    ("abs", -INF, INF, -1.0),
    ("abs", NAN, NAN, 0.0),
    ("sign", 0.0, 0.0, 0.0),
    ("sign", NAN, 0.0, 0.0),
    ("sin", INF, NAN, NAN),
    ("round", 2.5, 2.0, 0.0),
    ("round", 3.5, 4.0, 0.0),
]


@pytest.mark.parametrize(("name", "value", "output", "gradient"), EDGES)
def test_edges(name: str, value: float, output: float, gradient: float) -> None:
    x = cr.tensor(value, requires_grad=True)
    y = getattr(cr, name)(x)
    y.backward()
    assert x.grad is not None
    np.testing.assert_equal([y.item(), x.grad.item()], [output, gradient])


POWER_EDGES = [  # base, exponent, value, gradient of the base, of the exponent
    (0.0, 0.0, 1.0, 0.0, 0.0),
    (0.0, 2.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 1.0, 0.0),
    (0.0, -1.0, INF, -INF, -INF),
    (-2.0, 2.0, 4.0, -4.0, NAN),
    (2.0, 3.0, 8.0, 12.0, 8 * math.log(2)),
    (NAN, 0.0, 1.0, 0.0, NAN),
    (-8.0, 1 / 3, NAN, NAN, NAN),
]


@pytest.mark.parametrize(("base", "exponent", "value", "by_base", "by_exponent"), POWER_EDGES)
def test_power_edges(
    base: float, exponent: float, value: float, by_base: float, by_exponent: float
) -> None:
    x = cr.tensor(base, dtype=np.float64, requires_grad=True)
    p = cr.tensor(exponent, dtype=np.float64, requires_grad=True)
    y = x**p
    y.backward()
    assert x.grad is not None
    assert p.grad is not None
    np.testing.assert_allclose(
        [y.item(), x.grad.item(), p.grad.item()], [value, by_base, by_exponent]
    )
    x.grad = None
    y = x**exponent
    y.backward()
    assert x.grad is not None
    np.testing.assert_allclose([y.item(), x.grad.item()], [value, by_base])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 7, -1, -2, 0.5, -0.5, 2.5, 100, 2**40])
def test_short_cuts_of_powers(exponent: float) -> None:
    a = np.random.default_rng(0).uniform(0.5, 1.5, (4, 3))
    y = cr.tensor(a) ** exponent
    with np.errstate(over="ignore", under="ignore"):
        np.testing.assert_allclose(y.numpy(), a ** float(exponent), rtol=1e-12)
    assert y.numpy() is not a
    assert (cr.tensor(a.astype(np.float32)) ** exponent).dtype == np.float32


def test_power_of_one_returns_a_new_array() -> None:
    x = cr.tensor([1.0, 2.0])
    y = x**1
    assert not np.shares_memory(x.numpy(), y.numpy())


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
def test_whole_powers(dtype: Any) -> None:
    base, exponent = np.array([2, -1, -1, 1, 0, 3], dtype), np.array([-1, -3, -2, -5, 3, 4], dtype)
    y = cr.tensor(base) ** cr.tensor(exponent)
    assert y.dtype == dtype
    assert y.tolist() == [0, -1, 1, 1, 0, 81]


def test_ties_share_the_gradient() -> None:
    for name in ("maximum", "minimum"):
        x = cr.tensor([1.0, 2.0, NAN], requires_grad=True)
        y = cr.tensor([1.0, 3.0, 0.0], requires_grad=True)
        z = getattr(cr, name)(x, y)
        z.backward(cr.tensor([4.0, 4.0, 4.0]))
        first, second = (0.0, 4.0) if name == "maximum" else (4.0, 0.0)
        assert x.grad is not None
        assert y.grad is not None
        assert x.grad.tolist() == [2.0, first, 4.0]
        assert y.grad.tolist() == [2.0, second, 4.0]
        assert math.isnan(z[2].item())


@pytest.mark.parametrize(
    ("low", "high", "values", "passes"),
    [
        (0.0, 1.0, [0.0, 0.0, 0.5, 1.0, 1.0], [0, 1, 1, 1, 0]),
        (None, 0.5, [-1.0, 0.0, 0.5, 0.5, 0.5], [1, 1, 1, 0, 0]),
        (0.5, None, [0.5, 0.5, 0.5, 1.0, 2.0], [0, 0, 1, 1, 1]),
        (1.0, 0.0, [0.0, 0.0, 0.0, 0.0, 0.0], [0, 0, 0, 0, 0]),
    ],
)
@pytest.mark.parametrize("tensors", [False, True])
def test_clamp(low: Any, high: Any, values: Any, passes: Any, tensors: bool) -> None:
    x = cr.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    limits = [cr.full((5,), v) if tensors and v is not None else v for v in (low, high)]
    y = cr.clamp(x, *limits)
    y.backward(cr.ones(5))
    assert x.grad is not None
    assert y.tolist() == values
    assert x.grad.tolist() == passes


def test_gradients_of_limits() -> None:
    """A limit gets the gradient where it is the result; where low > high the result is high."""
    x, low, high = (
        cr.tensor(v, requires_grad=True)
        for v in ([0.0, 1.5, 3.0, 1.0, 0.0], [1.0, 1.0, 1.0, 3.0, 3.0], [2.0, 2.0, 2.0, 2.0, 2.0])
    )
    y = cr.clamp(x, low, high)
    y.backward(cr.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    gradients = [t.grad.tolist() for t in (x, low, high) if t.grad is not None]
    assert y.tolist() == [1.0, 1.5, 2.0, 2.0, 2.0]
    assert gradients == [[0, 2, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 3, 4, 5]]


def test_where_sends_the_gradient_back_to_its_side() -> None:
    x, y = cr.zeros(2, 3, requires_grad=True), cr.zeros(3, requires_grad=True)
    z = cr.where(cr.tensor([[True], [False]]), x, y)
    z.backward(cr.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert x.grad is not None
    assert y.grad is not None
    assert x.grad.tolist() == [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    assert y.grad.tolist() == [4.0, 5.0, 6.0]


def test_where_is_deaf_to_the_other_side() -> None:
    x = cr.tensor([4.0, -1.0], requires_grad=True)
    y = cr.where(x > 0, cr.sqrt(x), 0.0)
    y.backward(cr.ones(2))
    assert y.tolist() == [2.0, 0.0]
    assert x.grad is not None
    assert x.grad[0].item() == 0.25
    z = cr.where(x > 0, x.detach(), cr.tensor([NAN, 7.0]))
    assert z.tolist() == [4.0, 7.0]


def channels_last(*shape: int) -> Any:
    n, c, h, w = shape
    return drawn(n, h, w, c).astype(np.float32).transpose(0, 3, 1, 2)


ALL_UNARY = [*UNARY, "isnan", "isfinite", "logical_not", "clamp"]


@pytest.mark.parametrize("name", ALL_UNARY)
def test_unary_keeps_channels_last(name: str) -> None:
    a = channels_last(2, 3, 4, 5)
    x = cr.from_numpy(a).requires_grad_()
    y = getattr(cr, name)(x, 0.1) if name == "clamp" else getattr(cr, name)(x)
    assert order(y.array) == order(a)
    if y.requires_grad:
        y.backward(cr.from_numpy(channels_last(2, 3, 4, 5)))
        assert x.grad is not None
        assert order(x.grad.array) == order(a)


@pytest.mark.parametrize("name", [*BINARY, "pow", "eq", "where"])
def test_binary_keeps_channels_last(name: str) -> None:
    a = channels_last(2, 3, 4, 5)
    for other in (channels_last(2, 3, 4, 5), drawn(3, 1, 1).astype(np.float32), np.float32(2)):
        x = cr.from_numpy(np.abs(a)).requires_grad_()
        args = (a > 0, x, other) if name == "where" else (x, other)
        y = getattr(cr, name)(*args)
        assert order(y.array) == order(a)
        if y.requires_grad:
            y.backward(cr.from_numpy(channels_last(2, 3, 4, 5)))
            assert x.grad is not None
            assert order(x.grad.array) == order(a)


def order(a: Any) -> list[int]:
    return sorted(range(a.ndim), key=lambda i: -abs(a.strides[i]))


def test_layout_is_noted_and_given_back() -> None:
    for a in (
        channels_last(2, 3, 4, 5),
        channels_last(2, 3, 4, 5)[:, ::-1],
        drawn(3, 4),
        drawn(3, 4).T,
        drawn(),
        drawn(2, 0, 3),
    ):
        b = empty_in(np, layout(a), np.float32)
        assert b.shape == a.shape
        assert b.size == 0 or order(b) == order(a)


def test_silence_in_all_special_values() -> None:
    """Infinity and NaN are answers: no warning, forward or backward."""
    odd = np.array([0.0, -0.0, 1.0, -1.0, NAN, INF, -INF, 3e38, 1e-38], np.float32)
    pairs = np.array(list(product(odd, odd)), np.float32).T
    limits = [(0.0, 1.0), (NAN, None), (None, INF)]
    cases: list[Callable[..., Any]] = [FUNCTIONS[name] for name in UNARY]
    cases += [lambda x, p=p: x**p for p in (0, 1, 2, 3, 0.5, -0.5, -1, -2, 1.7, NAN, INF)]
    cases += [lambda x, p=p: p**x for p in (0.0, 2.0, -1.0)]
    cases += [lambda x, b=b: cr.clamp(x, *b) for b in limits]
    both: list[Callable[..., Any]] = [FUNCTIONS[name] for name in (*BINARY, "pow", "lt", "isclose")]
    both += [lambda x, y, m=m: cr.div(x, y, rounding_mode=m) for m in ("floor", "trunc")]
    both += [lambda x, y: cr.add(x, y, alpha=3e38), lambda x, y: cr.clamp(x, y, x)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fn in cases:
            run_backward(fn, odd)
        for fn in both:
            run_backward(fn, *pairs)
            run_backward(fn, pairs[0], odd[:, None])


def run_backward(fn: Callable[..., Any], *arrays: Any) -> None:
    y = fn(*[cr.tensor(a, requires_grad=True) for a in arrays])
    if y.requires_grad:
        y.backward(cr.full(y.shape, 3e38))


def test_python_and_numpy_operands_on_either_side() -> None:
    x = cr.tensor([1.0, 2.0])
    left: list[Any] = [2, 2.0, np.float64(2), np.int32(2), np.full(2, 2, np.float32)]
    for two in left:
        for result, expected in (
            (x + two, [3, 4]), (two + x, [3, 4]), (x - two, [-1, 0]), (two - x, [1, 0]),
            (x * two, [2, 4]), (two * x, [2, 4]), (x / two, [0.5, 1]), (two / x, [2, 1]),
            (x**two, [1, 4]), (two**x, [2, 4]), (x % two, [1, 0]), (two % x, [0, 0]),
            (x // two, [0, 1]), (two // x, [2, 1]),
        ):  # fmt: skip
            assert isinstance(result, cr.Tensor)
            assert result.dtype == np.float32
            assert result.tolist() == expected


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "logical_and": lambda a, b: bool(a) and bool(b),
    "logical_or": lambda a, b: bool(a) or bool(b),
    "logical_xor": lambda a, b: bool(a) != bool(b),
    "isclose": lambda a, b: math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-8),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_against_python(name: str) -> None:
    odd = np.array([0.0, -0.0, 1.0, 2.0, NAN, INF, -INF, 1 + 1e-9])
    y = getattr(cr, name)(cr.tensor(odd[:, None], requires_grad=True), cr.tensor(odd))
    assert y.dtype == np.bool_
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), looped(COMPARISONS[name], odd[:, None], odd) != 0)


@given(st.integers(-(2**40), 2**40), st.sampled_from([np.uint8, np.int8, np.int32]))
def test_comparing_small_integers_with_any_number(number: int, dtype: Any) -> None:
    limits = np.iinfo(dtype)
    values = [int(limits.min), 0, 1, int(limits.max)]
    x = cr.tensor(np.array(values, dtype))
    assert (x < number).tolist() == [v < number for v in values]
    assert (x == number).tolist() == [v == number for v in values]


def test_both_tolerances_count() -> None:
    x, y = cr.tensor([1.0, 10.0, 10.0]), cr.tensor([1.25, 12.0, 11.25])
    assert cr.isclose(x, y, rtol=0, atol=0.5).tolist() == [True, False, False]
    assert cr.isclose(x, y, rtol=0.1, atol=0).tolist() == [False, False, False]
    assert cr.isclose(x, y, rtol=0.1, atol=0.5).tolist() == [True, False, True]


def test_equality_of_tensors() -> None:
    x = cr.tensor([1.0, NAN])
    assert cr.equal(x[:1], cr.tensor([1]))
    assert not cr.equal(x, x)
    assert not cr.equal(cr.ones(2), cr.ones(1))
    assert cr.equal(cr.zeros(0), cr.zeros(0))
    assert type(cr.equal(x, x)) is bool
    assert cr.allclose(x, x, equal_nan=True)
    assert not cr.allclose(x, x)
    assert type(cr.allclose(x, x)) is bool


REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: -cr.tensor([True]), TypeError, "neg: expected numbers, not booleans"),
    (lambda: cr.tensor([True]) - 1, TypeError, "logical_xor compares two"),
    (lambda: cr.ones(1) - True, TypeError, "sub: expected numbers, not booleans"),
    (lambda: abs(cr.tensor([True])), NotImplementedError, "abs: expected numbers"),
    (lambda: cr.floor(cr.tensor([True])), NotImplementedError, "floor: expected numbers"),
    (lambda: cr.tensor([1]) ** -1, ValueError, "pow: expected an exponent of at least 0"),
    (lambda: cr.tensor([1]) ** -1, RuntimeError, r"convert the input: x.float\(\)"),
    (lambda: cr.tensor([True]) ** cr.tensor([True]), NotImplementedError, "pow: expected numbers"),
    (lambda: cr.tensor([1]) // 0, RuntimeError, "div: expected an integer divisor without zeros"),
    (lambda: cr.tensor([1]) % 0, RuntimeError, "remainder: expected an integer divisor"),
    (lambda: cr.add(cr.tensor([1]), 1, alpha=0.5), TypeError, "add: expected alpha to be an int"),
    (lambda: cr.sub(cr.ones(1), 1, alpha=True), TypeError, "sub: expected alpha to be a number"),
    (lambda: cr.add(cr.ones(1), 1, alpha="1"), TypeError, "add: expected alpha to be a number"),
    (lambda: cr.add(cr.tensor(np.uint8([1])), 1, alpha=300), ValueError, r"alpha in \[0, 255\]"),
    (lambda: cr.div(1, 2, rounding_mode="up"), ValueError, "'floor' or 'trunc'"),
    (lambda: cr.where(cr.ones(2), 1, 2), TypeError, "where: expected a boolean condition"),
    (lambda: cr.clamp(cr.ones(2)), RuntimeError, "clamp: expected at least one of min and max"),
    (lambda: cr.clamp(cr.tensor(np.uint8([1])), 0, 300), ValueError, r"limits in \[0, 255\]"),
    (lambda: cr.allclose(cr.ones(1), cr.ones(1).double()), TypeError, "isclose: expected operands"),
    (lambda: cr.isclose(cr.ones(1), 1, rtol=-1), ValueError, "tolerances of at least 0"),
    (lambda: cr.round(cr.ones(1), decimals=0.5), TypeError, "round: expected an integer"),
    (lambda: cr.round(cr.tensor([15]), decimals=-1), NotImplementedError, "round: expected a flo"),
    (lambda: cr.exp([1.0]), TypeError, "expected a tensor, an array or a number"),
    (lambda: cr.ones(1) + "1", TypeError, "expected a tensor, an array or a number"),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSALS)
def test_refusals(call: Callable[[], Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        call()
    assert isinstance(caught.value, cr.ChainruleError)


def test_operations_refuse_what_the_functions_would_have_promoted() -> None:
    f, i = cr.ones(2), cr.tensor([1, 2])
    for op, operands in (
        (Add(), (f, i)), (Mul(), (f, f.double())), (Where(), (f > 0, f, i)), (Div(), (i, i)),
        (Exp(), (i,)), (PowScalar(0.5), (i,)),
    ):  # fmt: skip
        with pytest.raises(KindError):
            cr.engine.tensor.apply(op, *operands)


def test_other_names() -> None:
    for name, other in (
        ("sub", "subtract"), ("mul", "multiply"), ("div", "divide"), ("div", "true_divide"),
        ("neg", "negative"), ("abs", "absolute"), ("clamp", "clip"),
    ):  # fmt: skip
        assert getattr(cr, other) is getattr(cr, name)


def test_meta_tensors_have_shapes_only() -> None:
    x, y = cr.zeros(3, 1, device="meta", requires_grad=True), cr.zeros(4, device="meta")
    for z in (x + y, x * 2, 2 / x, x**2, cr.maximum(x, y), cr.where(x > 0, x, y), cr.exp(x) + y):
        assert z.is_meta
        assert z.requires_grad
        assert z.shape in ((3, 4), (3, 1))
    assert (x < y).dtype == np.bool_
