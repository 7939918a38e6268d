"""Activations of one element at a time: sigmoid, tanh, ReLU and its kin, softplus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import DEFAULT_FLOAT
from chainrule.engine.sample import Sample, away_from_zero, normal, spaced, uniform
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.cast import cast
from chainrule.ops.formulas import (
    choose,
    drop,
    log_one_plus_exp,
    logistic,
    need_float,
    number,
    quiet,
)


@dataclass(frozen=True)
class Sigmoid(Op):
    """y = 1 / (1 + exp(-x)).  gx = gy (1 - y) y."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = logistic(xp, x)
        return (y,), y

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = 1 - saved
        gx *= saved
        gx *= gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(), uniform(2, 3, 5, low=-8, high=8))
        yield Sample(cls(), normal())


@public
def sigmoid(input: Tensor) -> Tensor:
    """Squash to (0, 1): 1 / (1 + exp(-x)); deck 000, "Sigmoid".

    Shapes: any -> the same.  Far out on either side it is exactly 0 or 1 and the gradient is 0.
    Integers and booleans become float32 first.

    >>> import chainrule as cr
    >>> cr.sigmoid(cr.tensor([-1000.0, 0.0, 1.0]))
    tensor([0.0000, 0.5000, 0.7311])
    """
    return apply(Sigmoid(), _as_float(input))


def _as_float(input: Any) -> Tensor:
    x = as_tensor(input)
    return x if x.dtype.kind == "f" else cast(x, DEFAULT_FLOAT)


@dataclass(frozen=True)
class Tanh(Op):
    """y = (exp(x) - exp(-x)) / (exp(x) + exp(-x)).  gx = gy (1 - y^2)."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = xp.tanh(x)
        return (y,), y

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = saved * -saved
        gx += 1
        gx *= gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(), uniform(2, 3, 5, low=-4, high=4))
        yield Sample(cls(), normal())


@public
def tanh(input: Tensor) -> Tensor:
    """Squash to (-1, 1) by the hyperbolic tangent; deck 000, "tanh".

    Shapes: any -> the same.  Integers and booleans become float32 first.

    >>> import chainrule as cr
    >>> cr.tanh(cr.tensor([-1.0, 0.0, 100.0]))
    tensor([-0.7616, 0.0000, 1.0000])
    """
    return apply(Tanh(), _as_float(input))


@dataclass(frozen=True)
class ReLU(Op):
    """y = max(x, 0).  gx = 0 where x <= 0, else gy."""

    name = "relu"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=KindError, input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (xp.maximum(x, 0),), x <= 0  # NaN is not <= 0: it stays, and so does its gradient

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (drop(xp, saved, gy),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4))
        yield Sample(cls(), away_from_zero(2, 3, 5))
        yield Sample(cls(), away_from_zero())


@public
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Replace negative values by 0: max(x, 0); deck 000, "ReLU".

    Shapes: any -> the same.  The gradient at exactly 0 is 0; NaN stays NaN.  Integers stay
    integers; booleans raise TypeError.  `inplace` is accepted and changes nothing.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, -2.0, 3.0, -1.0], requires_grad=True)
    >>> z = cr.relu(x)
    >>> z.backward(cr.tensor([4.0, -1.0, 5.0, 9.0]))
    >>> z.detach(), x.grad
    (tensor([1.0, 0.0, 3.0, 0.0]), tensor([4.0, 0.0, 5.0, 0.0]))
    """
    return apply(ReLU(), input)


@dataclass(frozen=True)
class LeakyReLU(Op):
    """y = x where x > 0, else slope * x.  gx = gy where x > 0, else slope * gy."""

    slope: float = 0.01

    name = "leaky_relu"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        if 0 < self.slope <= 1:
            y = xp.maximum(x, self.slope * x)
        else:
            y = self.slope * xp.minimum(x, 0)
            y += xp.maximum(x, 0)
        return (y,), x > 0

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = choose(xp, saved, self.slope, gy.dtype)
        gx *= gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4))
        for slope in (0.2, 0.0, 1.0, 3.0, -0.5):
            yield Sample(cls(slope), away_from_zero(2, 3, 5))


@public
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Leave positive values, scale the others (Maas et al., 2013); deck 000, "Leaky ReLU".

    Shapes: any -> the same.  At exactly 0 the gradient is that of the negative side.
    Raises TypeError for integer tensors.  `inplace` is accepted and changes nothing.

    >>> import chainrule as cr
    >>> cr.leaky_relu(cr.tensor([-2.0, 3.0]), 0.1)
    tensor([-0.2, 3.0])
    """
    return apply(LeakyReLU(number(negative_slope, "leaky_relu negative_slope")), input)


class Exponential(Op, register=False):
    """Base of ELU and its kin: y = s x where x > 0, else n (exp(k x) - 1).

    `_factors` gives (n, k, s).
    """

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def _factors(self) -> tuple[float, float, float]:
        raise NotImplementedError(f"{type(self).__name__}._factors")

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        below, steep, above = self._factors()
        y = xp.minimum(x, 0)
        y = xp.expm1(y if steep == 1 else steep * y)
        if below != 1:
            y *= below
        y += xp.maximum(x, 0) if above == 1 else above * xp.maximum(x, 0)
        return (y,), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        below, steep, above = self._factors()
        gx = xp.fmin(saved, 0)  # fmin: at NaN the slope is that of the positive side
        gx = xp.exp(gx if steep == 1 else steep * gx)
        if below * steep != 1:
            gx *= choose(xp, xp.logical_not(saved <= 0), below * steep / above, gy.dtype)
        if above != 1:
            gx *= above
        gx *= gy
        return (gx,)


@dataclass(frozen=True)
class ELU(Exponential):
    """y = x where x > 0, else alpha (exp(x) - 1).  gx = gy where x > 0, else gy alpha exp(x)."""

    alpha: float = 1.0

    def _factors(self) -> tuple[float, float, float]:
        return self.alpha, 1.0, 1.0

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), away_from_zero(3, 4))
        for alpha in (0.3, 0.0, 2.0, -0.7):
            yield Sample(cls(alpha), away_from_zero(2, 3, 5))


@public
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Exponential linear unit (Clevert et al., 2016): x where x > 0, else alpha (exp(x) - 1).

    Shapes: any -> the same.  At exactly 0 the gradient is alpha times the upstream one.
    Raises TypeError for integer tensors.  `inplace` is accepted and changes nothing.

    >>> import chainrule as cr
    >>> cr.elu(cr.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.6321, 0.0000, 2.0000])
    """
    return apply(ELU(number(alpha, "elu alpha")), input)


@dataclass(frozen=True)
class Softplus(Op):
    """y = log(1 + exp(beta x)) / beta, and x where beta x > threshold.

    gx = gy / (1 + exp(-beta x)), and gy where beta x > threshold.
    """

    beta: float = 1.0
    threshold: float = 20.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        scaled = x * self.beta
        y = log_one_plus_exp(xp, scaled)
        y /= self.beta
        return (xp.where(scaled > self.threshold, x, y),), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        scaled = saved * self.beta
        gx = logistic(xp, scaled)
        gx *= gy
        return (xp.where(scaled > self.threshold, gy, gx),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(2.0, 3.0), spaced(2, 3, 5, grid=1.5))
        yield Sample(cls(0.5, 0.0), away_from_zero(3, 4))
        yield Sample(cls(-1.5), normal(3, 4))


@public
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Smooth ReLU: log(1 + exp(beta x)) / beta, which becomes x itself where beta x > threshold.

    Shapes: any -> the same.  It never overflows, however large the threshold.
    Raises TypeError for integer tensors.

    >>> import chainrule as cr
    >>> cr.nn.functional.softplus(cr.tensor([-1.0, 0.0, 30.0]))
    tensor([0.3133, 0.6931, 30.0000])
    """
    op = Softplus(number(beta, "softplus beta"), number(threshold, "softplus threshold"))
    return apply(op, input)


@public
def bnll(input: Tensor) -> Tensor:
    """Caffe's binomial normal log likelihood: log(1 + exp(x)), `softplus` without a threshold.

    Shapes: any -> the same.  Raises TypeError for integers.  PyTorch has no such name.

    >>> import chainrule as cr
    >>> cr.nn.functional.bnll(cr.tensor([-1.0, 0.0, 30.0]))
    tensor([0.3133, 0.6931, 30.0000])
    """
    return apply(Softplus(1.0, inf), input)


@dataclass(frozen=True)
class LogSigmoid(Op):
    """y = log(1 / (1 + exp(-x))).  gx = gy / (1 + exp(x))."""

    name = "logsigmoid"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (-log_one_plus_exp(xp, -x),), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = logistic(xp, -saved)
        gx *= gy
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 4))
        yield Sample(cls(), uniform(2, 3, 5, low=-8, high=8))


@public
def logsigmoid(input: Tensor) -> Tensor:
    """Logarithm of the sigmoid, without the overflow of taking one after the other.

    Shapes: any -> the same.  Raises TypeError for integer tensors.

    >>> import chainrule as cr
    >>> cr.nn.functional.logsigmoid(cr.tensor([-1000.0, 0.0, 30.0]))
    tensor([-1.0000e+03, -6.9315e-01, -9.3576e-14])
    """
    return apply(LogSigmoid(), input)
