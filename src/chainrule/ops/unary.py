"""Smooth functions of one tensor, element by element: exponentials, logarithms, roots, waves.

Each operation is its two formulas: the value, and the slope times the arriving gradient, taken
from the input or from the output, whichever the class `keeps`.  Outside a function's domain the
result is NaN or infinity, without a warning; there the gradients are what the formulas give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log as ln
from typing import Any, ClassVar

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import DEFAULT_FLOAT
from chainrule.engine.sample import Draw, Sample, away_from_zero, normal, positive, uniform
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


class Unary(Op, register=False):
    """Base: y = _value(x), gx = _slope(kept, gy), where kept is x ("input") or y ("output")."""

    keeps: ClassVar[str] = "input"
    domain: ClassVar[Draw] = normal(3, 4)
    kinds: ClassVar[str] = "f"  # the kinds of dtype that are taken: float, int, unsigned, bool

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape and dtype."""
        if x.dtype.kind not in self.kinds:
            rule = "a floating-point input" if self.kinds == "f" else "numbers, not booleans"
            raise failure(self, rule, error=KindError, input=x)
        return (x,)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Compute the value and keep one of the two."""
        with xp.errstate(all="ignore"):
            y = self._value(xp, x)
        return (y,), x if self.keeps == "input" else y

    def backward(self, xp: Any, kept: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Compute the gradient from what was kept."""
        with xp.errstate(all="ignore"):
            return (self._slope(xp, kept, gy),)

    def _value(self, xp: Any, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._value")

    def _slope(self, xp: Any, kept: Any, gy: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}._slope")

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Values in the domain, where the function is smooth."""
        yield Sample(cls(), cls.domain)


@dataclass(frozen=True)
class Exp(Unary):
    """y = e^x.  gx = gy * y."""

    keeps: ClassVar[str] = "output"

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.exp(x)

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return gy * y


@dataclass(frozen=True)
class Expm1(Unary):
    """y = e^x - 1, exact near 0.  gx = gy * (y + 1)."""

    keeps: ClassVar[str] = "output"

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.expm1(x)

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return gy * (y + 1)


@dataclass(frozen=True)
class Log(Unary):
    """y = log x, natural, or of base 2 or 10.  gx = gy / (x * ln base)."""

    base: int | None = None

    def _value(self, xp: Any, x: Any) -> Any:
        return {None: xp.log, 2: xp.log2, 10: xp.log10}[self.base](x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy / x if self.base is None else gy / (x * ln(self.base))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Every base on positive values."""
        for base in (None, 2, 10):
            yield Sample(cls(base), positive(3, 4))


@dataclass(frozen=True)
class Log1p(Unary):
    """y = log(1 + x), exact near 0.  gx = gy / (1 + x)."""

    domain: ClassVar[Draw] = uniform(3, 4, low=-0.7, high=2.0)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.log1p(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy / (1 + x)


@dataclass(frozen=True)
class Sqrt(Unary):
    """y = x^(1/2).  gx = gy / (2 * y), infinite at 0."""

    keeps: ClassVar[str] = "output"
    domain: ClassVar[Draw] = positive(3, 4)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.sqrt(x)

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return gy / (2 * y)


@dataclass(frozen=True)
class Rsqrt(Unary):
    """y = x^(-1/2).  gx = -gy * y^3 / 2."""

    keeps: ClassVar[str] = "output"
    domain: ClassVar[Draw] = positive(3, 4)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.reciprocal(xp.sqrt(x))

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return -0.5 * gy * (y * y * y)


@dataclass(frozen=True)
class Square(Unary):
    """y = x^2.  gx = gy * 2 * x."""

    kinds: ClassVar[str] = "fiu"

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.multiply(x, x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy * (2 * x)


@dataclass(frozen=True)
class Reciprocal(Unary):
    """y = 1 / x.  gx = -gy * y^2."""

    keeps: ClassVar[str] = "output"
    domain: ClassVar[Draw] = away_from_zero(3, 4, margin=0.4)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.reciprocal(x)

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return -gy * (y * y)


@dataclass(frozen=True)
class Sin(Unary):
    """y = sin x, x in radians.  gx = gy * cos x."""

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.sin(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy * xp.cos(x)


@dataclass(frozen=True)
class Cos(Unary):
    """y = cos x, x in radians.  gx = -gy * sin x."""

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.cos(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return -gy * xp.sin(x)


def floating(input: Any) -> Tensor:
    """Give the input as a tensor of floats: integers and booleans become float32."""
    x = as_tensor(input)
    return x if x.dtype.kind == "f" else x.to(DEFAULT_FLOAT)


@public
def exp(input: Any) -> Tensor:
    """Give e ** input.

    Shapes: any -> the same; integers give float32.  Too large an input gives infinity.

    >>> import chainrule as cr
    >>> cr.exp(cr.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return apply(Exp(), floating(input))


@public
def expm1(input: Any) -> Tensor:
    """Give e ** input - 1 without losing the digits of small inputs.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.expm1(cr.tensor([0.0, 1.0]))
    tensor([0.0000, 1.7183])
    """
    return apply(Expm1(), floating(input))


@public
def log(input: Any) -> Tensor:
    """Give the natural logarithm.

    Shapes: any -> the same; integers give float32.  -infinity at 0 and NaN below, where the
    gradient is still gy / x.

    >>> import chainrule as cr
    >>> cr.log(cr.tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """
    return apply(Log(), floating(input))


@public
def log2(input: Any) -> Tensor:
    """Give the logarithm of base 2; otherwise as `log`.

    >>> import chainrule as cr
    >>> cr.log2(cr.tensor([1.0, 8.0]))
    tensor([0.0, 3.0])
    """
    return apply(Log(2), floating(input))


@public
def log10(input: Any) -> Tensor:
    """Give the logarithm of base 10; otherwise as `log`.

    >>> import chainrule as cr
    >>> cr.log10(cr.tensor([1.0, 1000.0]))
    tensor([0.0, 3.0])
    """
    return apply(Log(10), floating(input))


@public
def log1p(input: Any) -> Tensor:
    """Give log(1 + input) without losing the digits of small inputs.

    Shapes: any -> the same; integers give float32.  -infinity at -1 and NaN below.

    >>> import chainrule as cr
    >>> cr.log1p(cr.tensor([0.0, 1.0]))
    tensor([0.0000, 0.6931])
    """
    return apply(Log1p(), floating(input))


@public
def sqrt(input: Any) -> Tensor:
    """Give the square root.

    Shapes: any -> the same; integers give float32.  NaN below 0; the gradient at 0 is infinite.

    >>> import chainrule as cr
    >>> cr.sqrt(cr.tensor([4.0, 9.0]))
    tensor([2.0, 3.0])
    """
    return apply(Sqrt(), floating(input))


@public
def rsqrt(input: Any) -> Tensor:
    """Give 1 / sqrt(input).

    Shapes: any -> the same; integers give float32.  Infinity at 0, NaN below.

    >>> import chainrule as cr
    >>> cr.rsqrt(cr.tensor([4.0, 0.25]))
    tensor([0.5, 2.0])
    """
    return apply(Rsqrt(), floating(input))


@public
def square(input: Any) -> Tensor:
    """Give input ** 2.

    Shapes: any -> the same; integers stay integers, booleans become int64.

    >>> import chainrule as cr
    >>> cr.square(cr.tensor([-3.0, 2.0]))
    tensor([9.0, 4.0])
    """
    x = as_tensor(input)
    return apply(Square(), x.long() if x.dtype.kind == "b" else x)


@public
def reciprocal(input: Any) -> Tensor:
    """Give 1 / input.

    Shapes: any -> the same; integers give float32.  Infinity at 0.

    >>> import chainrule as cr
    >>> cr.reciprocal(cr.tensor([4.0, -0.5]))
    tensor([0.25, -2.00])
    """
    return apply(Reciprocal(), floating(input))


@public
def sin(input: Any) -> Tensor:
    """Give the sine of angles in radians.

    Shapes: any -> the same; integers give float32.  NaN at infinity.

    >>> import chainrule as cr
    >>> cr.sin(cr.tensor([0.0, 1.5708]))
    tensor([0.0, 1.0])
    """
    return apply(Sin(), floating(input))


@public
def cos(input: Any) -> Tensor:
    """Give the cosine of angles in radians.

    Shapes: any -> the same; integers give float32.  NaN at infinity.

    >>> import chainrule as cr
    >>> cr.cos(cr.tensor([0.0, 3.1416]))
    tensor([1.0, -1.0])
    """
    return apply(Cos(), floating(input))
