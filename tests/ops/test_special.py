"""Functions of one, two and three values beyond arithmetic: by SciPy, edges, error texts."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import special

import chainrule as cr

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf

UNARY: dict[str, tuple[Any, tuple[float, float]]] = {
    "erf": (special.erf, (-6, 6)),
    "erfc": (special.erfc, (-6, 6)),
    "erfinv": (special.erfinv, (-1, 1)),
    "exp2": (np.exp2, (-9, 9)),
    "expit": (special.expit, (-9, 9)),
    "logit": (special.logit, (0, 1)),
    "sinc": (np.sinc, (-4, 4)),
    "tan": (np.tan, (-1.5, 1.5)),
    "asin": (np.arcsin, (-1, 1)),
    "acos": (np.arccos, (-1, 1)),
    "atan": (np.arctan, (-9, 9)),
    "sinh": (np.sinh, (-9, 9)),
    "cosh": (np.cosh, (-9, 9)),
    "asinh": (np.arcsinh, (-9, 9)),
    "acosh": (np.arccosh, (1, 9)),
    "atanh": (np.arctanh, (-1, 1)),
    "deg2rad": (np.deg2rad, (-400, 400)),
    "rad2deg": (np.rad2deg, (-9, 9)),
    "frac": (lambda x: np.modf(x)[0], (-9, 9)),
    "fix": (np.fix, (-9, 9)),
}
BINARY: dict[str, Any] = {
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "xlogy": lambda a, b: special.xlogy(a, np.abs(b)),
    "copysign": np.copysign,
    "fmod": np.fmod,
    "heaviside": np.heaviside,
}
each = pytest.mark.parametrize("name", UNARY)


def values(tensor: cr.Tensor) -> np.ndarray:
    return np.asarray(tensor.detach())


@each
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_one_value(name: str, dtype: str) -> None:
    oracle, (low, high) = UNARY[name]
    x = RNG.uniform(low, high, (40, 5)).astype(dtype)
    y = values(getattr(cr, name)(cr.tensor(x)))
    assert y.dtype == dtype
    rtol = {"float64": 1e-12, "float32": 4e-6, "float16": 5e-3}[dtype]
    with np.errstate(all="ignore"):  # float16 rounds to the ends, which are infinite
        atol = rtol / 5  # sinc in float16 rounds pi x
        np.testing.assert_allclose(y, oracle(x.astype(np.float64)), rtol=rtol, atol=atol)


@each
def test_nothing_warns_and_the_order_in_memory_stays(name: str) -> None:
    leaf = cr.tensor([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e30], requires_grad=True)
    x = np.full((2, 4, 5, 3), 0.25).transpose(0, 3, 1, 2)  # channels last
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(cr, name)(leaf).backward(cr.ones(8))
        y = getattr(cr, name)(cr.Tensor(x))
    assert y.array.strides == x.strides


def test_the_error_function_to_its_last_digits() -> None:
    """Python's own, one value at a time, also where erfc is 1e-290 and erf 1e-300."""
    x = np.concatenate([np.linspace(-6, 6, 4001), np.logspace(-300, math.log10(25.8), 1000)])
    x = np.concatenate([x, [0.46875, -0.46875, 4.0, -4.0, 0.0, INF, -INF, 26.5]])
    for name, own in (("erf", math.erf), ("erfc", math.erfc)):
        wanted = np.array([own(v) for v in x])
        got = values(getattr(cr, name)(cr.tensor(x)))
        np.testing.assert_allclose(got, wanted, rtol=3e-15)
    assert values(cr.erfc(cr.tensor(30.0, dtype=cr.float64))) == 0
    assert np.isnan(values(cr.erf(cr.tensor([NAN])))).all()
    assert np.isnan(values(cr.erfc(cr.tensor([NAN])))).all()


def test_the_inverse_of_the_error_function() -> None:
    y = np.concatenate([np.linspace(-1, 1, 4001)[1:-1], 1 - np.logspace(-15.9, -1, 500)])
    x = values(cr.erfinv(cr.tensor(y)))
    np.testing.assert_allclose(x, special.erfinv(y), rtol=3e-15)
    small = np.logspace(-300, -3, 100)
    np.testing.assert_allclose(values(cr.erfinv(cr.tensor(small))), special.erfinv(small), 3e-15)
    edges = values(cr.erfinv(cr.tensor([1.0, -1.0, 1.5, NAN])))
    np.testing.assert_equal(edges, [INF, -INF, NAN, NAN])


def test_sinc_has_its_gradient_near_zero() -> None:
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-5)):
        x = np.array([1e-12, -1e-7, 1e-5, 1e-3, 0.01, 0.05, 0.056, 0.1], dtype)
        leaf = cr.tensor(x, requires_grad=True)
        cr.sinc(leaf).sum().backward()
        t = np.pi * x.astype(np.longdouble)
        terms = [(-1) ** k * 2 * k * t ** (2 * k - 1) / math.factorial(2 * k + 1) for k in range(8)]
        np.testing.assert_allclose(leaf.grad, np.pi * sum(terms).astype(float), rtol=rtol)


@pytest.mark.parametrize("name", BINARY)
def test_two_values(name: str) -> None:
    for a, b in (((3, 4), (3, 4)), ((2, 3, 5), (3, 1)), ((), (4,)), ((0, 3), (3,))):
        x, y = RNG.standard_normal(a).round(1), RNG.standard_normal(b)
        other = cr.tensor(np.abs(y) if name == "xlogy" else y)
        got = values(getattr(cr, name)(cr.tensor(x), other))
        np.testing.assert_allclose(got, BINARY[name](x, y), rtol=1e-13)


def test_edges_of_two_values() -> None:
    assert cr.xlogy(cr.tensor([0.0, 0.0]), cr.tensor([0.0, -1.0])).tolist() == [0, 0]
    assert math.isnan(cr.xlogy(cr.tensor(0.0), cr.tensor(NAN)).item())
    assert cr.heaviside(cr.tensor([NAN, 0.0]), cr.tensor([7.0, 7.0])).tolist() == [0, 7]
    assert not cr.heaviside(cr.ones(1, requires_grad=True), cr.ones(1)).requires_grad
    assert cr.copysign(cr.tensor([2.0]), -0.0).tolist() == [-2]
    assert cr.fmod(cr.tensor([7, -7]), 3).tolist() == [1, -1]
    x = cr.tensor([0.0], requires_grad=True)
    cr.atan2(x, cr.tensor([0.0])).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0]


def test_three_values_by_a_loop() -> None:
    a, b, c = RNG.standard_normal((3, 4)), RNG.standard_normal(4), RNG.standard_normal((3, 1))
    ta, tb, tc = cr.tensor(a), cr.tensor(b), cr.tensor(c)
    for i, j in np.ndindex(3, 4):
        u, v, w = a[i, j], b[j], c[i, 0]
        at = (i, j)
        np.testing.assert_allclose(values(cr.lerp(ta, tb, tc))[at], u + w * (v - u), rtol=1e-12)
        np.testing.assert_allclose(values(cr.lerp(ta, tb, 0.3))[at], u + 0.3 * (v - u), rtol=1e-12)
        product = values(cr.addcmul(ta, tb, tc, value=-2))[at]
        np.testing.assert_allclose(product, u - 2 * v * w, rtol=1e-12)
        quotient = values(cr.addcdiv(ta, tb, tc, value=0.5))[at]
        np.testing.assert_allclose(quotient, u + 0.5 * v / w, rtol=1e-12)
    ends = cr.tensor([0.1, 1e8]), cr.tensor([0.7, -3.0])
    assert cr.lerp(*ends, 0.0).tolist() == ends[0].tolist()
    assert cr.lerp(*ends, 1.0).tolist() == ends[1].tolist()


def test_what_is_not_finite_is_replaced() -> None:
    x = cr.tensor([NAN, 1.5, INF, -INF], requires_grad=True)
    y = cr.nan_to_num(x, 2.0, 7.0, -8.0)
    y.backward(cr.ones(4))
    assert y.tolist() == [2, 1.5, 7, -8]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 0, 0]
    last = np.finfo(np.float32).max
    assert cr.nan_to_num(x).tolist() == [0, 1.5, last, -last]
    assert cr.nan_to_num(cr.tensor([3])).tolist() == [3]


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: cr.logit(cr.ones(1), "a"), TypeError, "logit eps: expected a number; got value"),
        (lambda: cr.nan_to_num(cr.ones(1), "a"), TypeError, "nan_to_num nan: expected a number"),
        (lambda: cr.nan_to_num(cr.ones(1), posinf="a"), TypeError, "nan_to_num posinf: expected"),
        (lambda: cr.nan_to_num(cr.ones(1), neginf="a"), TypeError, "nan_to_num neginf: expected"),
        (lambda: cr.frac(cr.tensor([1])), TypeError, "frac: expected a floating-point input"),
        (lambda: cr.erf([1.0]), TypeError, "wrap lists"),
        (lambda: cr.atan2(cr.ones(1), 1.0), TypeError, "atan2: expected tensors; got input"),
        (lambda: cr.hypot(cr.ones(1), 1.0), TypeError, "hypot: expected tensors"),
        (lambda: cr.hypot(cr.tensor([1]), cr.tensor([2])), TypeError,
         "hypot: expected floating-point operands; got input int64 (1,), other int64 (1,)"),
        (lambda: cr.hypot(cr.ones(2), cr.ones(3)), ValueError, "hypot: expected sizes that are"),
        (lambda: cr.xlogy(1.0, 2.0), TypeError, "xlogy: expected tensors; got input 1.0"),
        (lambda: cr.copysign(1.0, cr.ones(1)), TypeError, "copysign: expected tensors"),
        (lambda: cr.fmod(1.0, cr.ones(1)), TypeError, "fmod: expected tensors"),
        (lambda: cr.fmod(cr.tensor([1]), 0), ValueError, "an integer divisor without zeros"),
        (lambda: cr.fmod(cr.tensor([True]), cr.tensor([True])), TypeError,
         "fmod: expected numbers, not booleans"),
        (lambda: cr.heaviside(cr.ones(1), 0.5), TypeError, "heaviside: expected tensors"),
        (lambda: cr.heaviside(cr.ones(1), cr.ones(1, dtype=cr.float64)), TypeError,
         "heaviside: expected operands of one dtype"),
        (lambda: cr.clamp_min(1.0, cr.ones(1)), TypeError, "clamp_min: expected tensors"),
        (lambda: cr.clamp_max(cr.ones(1), None), TypeError, "clamp_max: expected a limit"),
        (lambda: cr.clamp_min(cr.ones(1), None), TypeError, "clamp_min: expected a limit"),
        (lambda: cr.lerp(cr.ones(1), 2.0, 0.5), TypeError, "lerp: expected tensors"),
        (lambda: cr.lerp(cr.tensor([1]), cr.tensor([2]), 0.5), TypeError, "a floating-point input"),
        (lambda: cr.lerp(cr.ones(1), cr.ones(1, dtype=cr.float64), 0.5), TypeError,
         "lerp: expected operands of one dtype; got input float32 (1,), end float64 (1,), weight"),
        (lambda: cr.lerp(cr.ones(2), cr.ones(3), 0.5), ValueError, "lerp: expected sizes that are"),
        (lambda: cr.addcmul(cr.ones(1), 2.0, cr.ones(1)), TypeError, "addcmul: expected tensors"),
        (lambda: cr.addcmul(cr.ones(1), cr.ones(1), cr.ones(1), value="a"), TypeError,
         "addcmul value: expected a number"),
        (lambda: cr.addcmul(*[cr.tensor([True])] * 3), TypeError, "numbers, not booleans"),
        (lambda: cr.addcdiv(*[cr.tensor([1])] * 3), TypeError, "addcdiv: expected a floating"),
        (lambda: cr.addcdiv(*[cr.ones(1)] * 3, value="a"), TypeError, "addcdiv value: expected"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
    assert isinstance(caught.value, cr.ChainruleError)
