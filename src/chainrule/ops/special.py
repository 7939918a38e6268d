"""Special functions: the error function and its kin, which NumPy lacks; logit, sinc, 2 ** x.

The error function is W. J. Cody's: "Rational Chebyshev approximations for the error function",
Mathematics of Computation 23 (1969), in three ranges, good to float64's last digits.  Smaller
floats are computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from math import log, pi, sqrt
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import FUNCTIONS, Array, public
from chainrule.engine.sample import Draw, Sample, away_from_zero, uniform
from chainrule.engine.tensor import Tensor, apply
from chainrule.ops.activation import sigmoid
from chainrule.ops.formulas import number, quiet
from chainrule.ops.unary import Unary, floating

# Coefficients, the highest power first: numerators and denominators of the three ranges.

_NEAR = 0.46875, (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
_MIDDLE = 4.0, (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
     1.23033935480374942e3),
)  # fmt: skip
_FAR = 28.0, (  # beyond, erfc is 0
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip

Formula = Callable[[Any, Array], Array]


def _in_float64(formula: Formula) -> Formula:
    """Compute in float64 and give the result in the argument's dtype and layout."""

    @wraps(formula)
    def converted(xp: Any, x: Array) -> Array:
        wide = xp.asarray(x, dtype=np.float64)
        return formula(xp, wide).astype(x.dtype, copy=False)

    return quiet(converted)


def _horner(x: Array, coefficients: Sequence[float]) -> Array:
    y = x * coefficients[0]
    for c in coefficients[1:-1]:
        y += c
        y *= x
    y += coefficients[-1]
    return y


def _quotient(x: Array, parts: tuple[Sequence[float], Sequence[float]]) -> Array:
    y = _horner(x, parts[0])
    y /= _horner(x, parts[1])
    return y


def _erf_near(xp: Any, x: Array) -> Array:
    """Give erf of |x| <= 0.46875."""
    y = _quotient(x * x, _NEAR[1])
    y *= x
    return y


def _erfc_beyond(xp: Any, x: Array) -> Array:
    """Give erfc of x > 0.46875 (or NaN) to its last digits, however small it is."""
    x = xp.minimum(x, _FAR[0])
    y = _quotient(xp.minimum(x, _MIDDLE[0]), _MIDDLE[1])
    far = x > _MIDDLE[0]
    if far.any():
        z = x[far]
        w = 1 / (z * z)
        y[far] = (1 / sqrt(pi) - w * _quotient(w, _FAR[1])) / z
    rough = xp.trunc(x * 16) / 16  # exp(-x^2) by a square that is exact
    y *= xp.exp(-rough * rough)
    y *= xp.exp((rough - x) * (rough + x))
    return y


@_in_float64
def erf_values(xp: Any, x: Array) -> Array:
    """Give 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    >>> import numpy as np
    >>> erf_values(np, np.array([0.0, 0.5, -2.0])).round(12).tolist()
    [0.0, 0.520499877813, -0.995322265019]
    """
    y: Array = xp.empty_like(x)
    near = xp.asarray(xp.abs(x) <= _NEAR[0])
    y[near] = _erf_near(xp, x[near])
    beyond = ~near
    z = x[beyond]
    y[beyond] = xp.copysign(1 - _erfc_beyond(xp, xp.abs(z)), z)
    return y


@_in_float64
def erfc_values(xp: Any, x: Array) -> Array:
    """Give 1 - erf(x), to its last digits where erf is nearly 1.

    >>> import numpy as np
    >>> f"{erfc_values(np, np.array(10.0)):.12e}"
    '2.088487583763e-45'
    """
    y: Array = xp.empty_like(x)
    near = xp.asarray(xp.abs(x) <= _NEAR[0])
    y[near] = 1 - _erf_near(xp, x[near])
    beyond = ~near
    z = x[beyond]
    tail = _erfc_beyond(xp, xp.abs(z))
    y[beyond] = xp.where(z < 0, 2 - tail, tail)
    return y


@_in_float64
def erfinv_values(xp: Any, y: Array) -> Array:
    """Give the x whose erf is y: S. Winitzki's formula (2008), then two steps of Halley's.

    >>> import numpy as np
    >>> erfinv_values(np, np.array([0.0, 0.5, 1.0])).round(15).tolist()
    [0.0, 0.47693627620447, inf]
    """
    a = xp.abs(y)
    steep = 0.147
    w = xp.log((1 - a) * (1 + a))
    b = 2 / (pi * steep) + w / 2
    x = xp.sqrt(xp.sqrt(b * b - w / steep) - b)
    for _ in range(2):
        error = xp.where(a < 0.5, erf_values(xp, x) - a, (1 - a) - erfc_values(xp, x))
        step = error / (2 / sqrt(pi) * xp.exp(-x * x))
        x = x - step / (1 + x * step)
    return xp.copysign(xp.where(a == 1, np.inf, x), y)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Erf(Unary):
    """y = erf x.  gx = gy * 2 / sqrt(pi) * exp(-x^2)."""

    sign: ClassVar[int] = 1

    def _value(self, xp: Any, x: Any) -> Any:
        return erf_values(xp, x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy * (self.sign * 2 / sqrt(pi) * xp.exp(-x * x))


@dataclass(frozen=True)
class Erfc(Erf):
    """y = 1 - erf x.  gx = -gy * 2 / sqrt(pi) * exp(-x^2)."""

    sign: ClassVar[int] = -1

    def _value(self, xp: Any, x: Any) -> Any:
        return erfc_values(xp, x)


@dataclass(frozen=True)
class Erfinv(Unary):
    """erf y = x.  gx = gy * sqrt(pi) / 2 * exp(y^2)."""

    keeps: ClassVar[str] = "output"
    domain: ClassVar[Draw] = uniform(3, 4, low=-0.9, high=0.9)

    def _value(self, xp: Any, x: Any) -> Any:
        return erfinv_values(xp, x)

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return gy * (sqrt(pi) / 2 * xp.exp(y * y))


@dataclass(frozen=True)
class Exp2(Unary):
    """y = 2^x.  gx = gy * y * ln 2."""

    keeps: ClassVar[str] = "output"

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.exp2(x)

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return gy * (y * log(2))


@dataclass(frozen=True)
class Sinc(Unary):
    """y = sin(pi x) / (pi x), 1 at 0.  gx = gy * (cos(pi x) - y) / x, 0 at 0."""

    domain: ClassVar[Draw] = away_from_zero(3, 4)

    def _value(self, xp: Any, x: Any) -> Any:
        turn = pi * x
        return xp.where(x == 0, 1, xp.sin(turn) / turn)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        turn = pi * x
        slope = (turn * xp.cos(turn) - xp.sin(turn)) / (turn * turn)
        small = turn * turn  # near 0, where the difference cancels, its series
        series = turn * _horner(small, (1 / 45360, -1 / 840, 1 / 30, -1 / 3))
        return gy * (pi * xp.where(small < 0.03, series, slope))


@dataclass(frozen=True)
class Logit(Unary):
    """y = log(z / (1 - z)) for z = x, or x kept within [eps, 1 - eps].

    gx = gy / (x (1 - x)), 0 where eps cut; without eps NaN outside [0, 1].
    """

    eps: float | None = None
    domain: ClassVar[Draw] = uniform(3, 4, low=0.05, high=0.95)

    def _value(self, xp: Any, x: Any) -> Any:
        z = x
        if self.eps is not None:
            z = xp.where(x < self.eps, self.eps, xp.where(x > 1 - self.eps, 1 - self.eps, x))
        return xp.log(z / (1 - z))

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        gx = gy / (x * (1 - x) + 0.0)  # + 0: no negative zero
        if self.eps is None:
            return xp.where((x < 0) | (x > 1), np.nan, gx)
        return xp.where((x < self.eps) | (x > 1 - self.eps), 0, gx)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Without eps, and with one that cuts some values."""
        yield Sample(cls(), cls.domain)
        yield Sample(cls(0.3), np.array([[0.1, 0.35, 0.5], [0.69, 0.75, 1.2]]))


@public
def erf(input: Any) -> Tensor:
    """Give the error function: 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to input.

    Shapes: any -> the same; integers give float32.  Source: Cody, 1969; good to the last digits.

    >>> import chainrule as cr
    >>> cr.erf(cr.tensor([0.0, 0.5, -2.0]))
    tensor([0.0000, 0.5205, -0.9953])
    """
    return apply(Erf(), floating(input))


@public
def erfc(input: Any) -> Tensor:
    """Give 1 - erf(input), to its last digits where erf is nearly 1.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.erfc(cr.tensor([0.0, 1.0, 5.0], dtype=cr.float64))
    tensor([1.0000e+00, 1.5730e-01, 1.5375e-12], dtype=float64)
    """
    return apply(Erfc(), floating(input))


@public
def erfinv(input: Any) -> Tensor:
    """Give the value whose erf is the input.

    Shapes: any -> the same; integers give float32.  Infinite at 1 and -1, NaN beyond.

    >>> import chainrule as cr
    >>> cr.erfinv(cr.tensor([0.0, 0.5, -1.0]))
    tensor([0.0000, 0.4769, -inf])
    """
    return apply(Erfinv(), floating(input))


@public
def exp2(input: Any) -> Tensor:
    """Give 2 ** input.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.exp2(cr.tensor([0.0, 3.0, -1.0]))
    tensor([1.0, 8.0, 0.5])
    """
    return apply(Exp2(), floating(input))


@public
def sinc(input: Any) -> Tensor:
    """Give sin(pi x) / (pi x), which is 1 at 0.

    Shapes: any -> the same; integers give float32.  The gradient at 0 is 0.

    >>> import chainrule as cr
    >>> cr.sinc(cr.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    return apply(Sinc(), floating(input))


@public
def logit(input: Any, eps: float | None = None) -> Tensor:
    """Give log(x / (1 - x)), which undoes `sigmoid`; with `eps`, of x kept in [eps, 1 - eps].

    Shapes: any -> the same; integers give float32.  Without eps it is infinite at 0 and 1 and
    NaN outside; with eps what was cut has gradient 0.  A negative eps counts as none.
    Raises TypeError for an eps that is no number.

    >>> import chainrule as cr
    >>> cr.logit(cr.tensor([0.5, 0.9])), cr.logit(cr.tensor([1.0]), 0.1)
    (tensor([0.0000, 2.1972]), tensor([2.1972]))
    """
    limit = None if eps is None else number(eps, "logit eps")
    return apply(Logit(None if limit is not None and limit < 0 else limit), floating(input))


expit = FUNCTIONS["expit"] = sigmoid
