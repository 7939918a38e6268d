"""Smooth activations: CELU, SELU, GELU, SiLU, Mish, softsign, tanhshrink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, away_from_zero, normal, uniform
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, ShapeError, failure
from chainrule.ops.activation import Exponential, tanh
from chainrule.ops.elementwise import div, sub
from chainrule.ops.formulas import log_one_plus_exp, logistic, need_float, number, quiet
from chainrule.ops.rounding import abs
from chainrule.ops.special import erf_values

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
"""The two numbers for which mean 0 and variance 1 reproduce themselves (Klambauer et al., 2017)."""


@dataclass(frozen=True)
class CELU(Exponential):
    """y = x where x > 0, else alpha (exp(x / alpha) - 1).  gx = gy, or gy exp(x / alpha)."""

    alpha: float = 1.0

    def _factors(self) -> tuple[float, float, float]:
        return self.alpha, 1 / self.alpha, 1.0

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4))
        for alpha in (0.3, 2.0, -2.0):
            yield Sample(cls(alpha), away_from_zero(2, 3, 5))


@public
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Continuously differentiable ELU (Barron, 2017): max(x, 0) + min(0, a (exp(x / a) - 1)).

    Shapes: any -> the same.  `inplace` is accepted and changes nothing.  Raises ValueError for
    an alpha of 0, TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.celu(cr.tensor([-1.0, 0.0, 2.0]), 2.0)
    tensor([-0.7869, 0.0000, 2.0000])
    """
    a = number(alpha, "celu alpha")
    if a == 0:
        raise failure("celu", "an alpha other than 0", alpha=alpha)
    return apply(CELU(a), input)


@dataclass(frozen=True)
class SELU(Exponential):
    """y = s x where x > 0, else s a (exp(x) - 1).  gx = s gy, or s a gy exp(x)."""

    def _factors(self) -> tuple[float, float, float]:
        return SELU_SCALE * SELU_ALPHA, 1.0, SELU_SCALE

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4))
        yield Sample(cls(), away_from_zero())


@public
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Self-normalising ELU (Klambauer et al., 2017): s max(x, 0) + s min(0, a (exp(x) - 1)).

    s = 1.0507..., a = 1.6732...: layers of it keep mean 0 and variance 1.

    Shapes: any -> the same.  At exactly 0 the gradient is that of the negative side.  `inplace`
    is accepted and changes nothing.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.selu(cr.tensor([-1.0, 0.0, 2.0]))
    tensor([-1.1113, 0.0000, 2.1014])
    """
    return apply(SELU(), input)


@dataclass(frozen=True)
class GELU(Op):
    """y = x P(x), P(x) = (1 + erf(x / sqrt 2)) / 2.  gx = gy (P(x) + x exp(-x^2 / 2) / sqrt(2 pi)).

    For `approximate` "tanh" P(x) = (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3).
    """

    approximate: str = "none"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def _share(self, xp: Any, x: Array) -> Array:
        """Give 2 P(x)."""
        if self.approximate == "none":
            share = erf_values(xp, x * sqrt(0.5))
        else:
            u = x * x
            u *= 0.044715
            u += 1
            u *= x
            u *= sqrt(2 / pi)
            share = xp.tanh(u)
        share += 1
        return share

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = self._share(xp, x)
        y *= 0.5 * x
        return (y,), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, share = saved, self._share(xp, saved)
        square = x * x
        if self.approximate == "none":
            slope = xp.exp(-0.5 * square)
            slope *= sqrt(2 / pi)
        else:
            slope = share * (2 - share)  # 1 - tanh^2 u
            slope *= sqrt(2 / pi) + 3 * 0.044715 * sqrt(2 / pi) * square
        slope *= x
        slope += share
        slope *= 0.5
        slope *= gy
        return (slope,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for approximate in ("none", "tanh"):
            yield Sample(cls(approximate), normal(3, 4))
            yield Sample(cls(approximate), uniform(2, 3, 5, low=-4, high=4))
            yield Sample(cls(approximate), normal())


@public
def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit (Hendrycks and Gimpel, 2016): x P(X < x) for a normal X.

    With approximate="tanh": x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.

    Shapes: any -> the same.  NaN at -infinity, as 0 times infinity.  Raises ValueError for
    another approximation, TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.gelu(cr.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.1587, 0.0000, 1.9545])
    """
    if approximate not in ("none", "tanh"):
        error = ShapeError if isinstance(approximate, str) else KindError
        rule = "approximate 'none' or 'tanh'"
        raise failure("gelu", rule, error=error, approximate=approximate)
    return apply(GELU(approximate), input)


@dataclass(frozen=True)
class SiLU(Op):
    """y = x s(x), s the sigmoid.  gx = gy s(x) (1 + x (1 - s(x)))."""

    name = "silu"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = logistic(xp, x)
        y *= x
        return (y,), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        s = logistic(xp, saved)
        gx = 1 - s
        gx *= saved
        gx += 1
        gx *= s
        gx *= gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(), uniform(2, 3, 5, low=-8, high=8))
        yield Sample(cls(), normal())


@public
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Sigmoid-weighted linear unit, or swish (Elfwing et al., 2017): x / (1 + exp(-x)).

    Shapes: any -> the same.  NaN at -infinity, as 0 times infinity.  `inplace` is accepted and
    changes nothing.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.silu(cr.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.2689, 0.0000, 1.7616])
    """
    return apply(SiLU(), input)


@dataclass(frozen=True)
class Mish(Op):
    """y = x t, t = tanh(log(1 + exp(x))).  gx = gy (t + x s(x) (1 - t^2)), s the sigmoid."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = xp.tanh(log_one_plus_exp(xp, x))
        y *= x
        return (y,), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        t = xp.tanh(log_one_plus_exp(xp, saved))
        gx = logistic(xp, saved)
        gx *= saved
        gx *= 1 - t * t
        gx += t
        gx *= gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(), uniform(2, 3, 5, low=-8, high=8))
        yield Sample(cls(), normal())


@public
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Mish (Misra, 2019): x tanh(log(1 + exp(x))).

    Shapes: any -> the same.  NaN at -infinity, as 0 times infinity.  `inplace` is accepted and
    changes nothing.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nn.functional.mish(cr.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.3034, 0.0000, 1.9440])
    """
    return apply(Mish(), input)


@dataclass(frozen=True)
class Softsign(Op):
    """y = x / (1 + |x|).  gx = gy / (1 + |x|)^2."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = xp.abs(x)
        y += 1
        return (x / y,), y

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = gy / saved
        gx *= saved / saved  # NaN at infinity, as the value
        gx /= saved
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4))
        yield Sample(cls(), away_from_zero())


@public
def softsign(input: Tensor) -> Tensor:
    """Squash to (-1, 1) by x / (1 + |x|) (Bergstra et al., 2009).

    Shapes: any -> the same; integers give float32.  NaN at infinity.  Raises TypeError for
    booleans.

    >>> import chainrule as cr
    >>> cr.nn.functional.softsign(cr.tensor([-1.0, 0.0, 3.0]))
    tensor([-0.50, 0.00, 0.75])
    """
    x = as_tensor(input)
    if x.dtype.kind == "f":
        return apply(Softsign(), x)
    return div(x, abs(x) + 1)


@dataclass(frozen=True)
class Tanhshrink(Op):
    """y = x - tanh x.  gx = gy tanh^2 x."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        t = xp.tanh(x)
        return (x - t,), t

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = saved * saved
        gx *= gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(), uniform(2, 3, 5, low=-4, high=4))


@public
def tanhshrink(input: Tensor) -> Tensor:
    """Give x - tanh(x).

    Shapes: any -> the same; integers give float32.  Raises TypeError for booleans.

    >>> import chainrule as cr
    >>> cr.nn.functional.tanhshrink(cr.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.2384, 0.0000, 1.0360])
    """
    x = as_tensor(input)
    return apply(Tanhshrink(), x) if x.dtype.kind == "f" else sub(x, tanh(x))
