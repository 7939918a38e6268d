"""Tangent, hyperbolic functions and inverses, element by element; degrees and radians."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any, ClassVar

from chainrule.engine.op import FUNCTIONS, public
from chainrule.engine.sample import Draw, uniform
from chainrule.engine.tensor import Tensor, apply
from chainrule.ops.elementwise import mul
from chainrule.ops.unary import Unary, floating


@dataclass(frozen=True)
class Tan(Unary):
    """y = tan x, x in radians.  gx = gy * (1 + y^2)."""

    keeps: ClassVar[str] = "output"
    domain: ClassVar[Draw] = uniform(3, 4, low=-1.2, high=1.2)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.tan(x)

    def _slope(self, xp: Any, y: Any, gy: Any) -> Any:
        return gy * (1 + y * y)


@dataclass(frozen=True)
class Asin(Unary):
    """y = the angle whose sine is x.  gx = gy / sqrt(1 - x^2)."""

    domain: ClassVar[Draw] = uniform(3, 4, low=-0.9, high=0.9)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.arcsin(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy / xp.sqrt((1 - x) * (1 + x))


@dataclass(frozen=True)
class Acos(Unary):
    """y = the angle whose cosine is x.  gx = -gy / sqrt(1 - x^2)."""

    domain: ClassVar[Draw] = uniform(3, 4, low=-0.9, high=0.9)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.arccos(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return -gy / xp.sqrt((1 - x) * (1 + x))


@dataclass(frozen=True)
class Atan(Unary):
    """y = the angle whose tangent is x.  gx = gy / (1 + x^2)."""

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.arctan(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy / (1 + x * x)


@dataclass(frozen=True)
class Sinh(Unary):
    """y = (e^x - e^-x) / 2.  gx = gy * cosh x."""

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.sinh(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy * xp.cosh(x)


@dataclass(frozen=True)
class Cosh(Unary):
    """y = (e^x + e^-x) / 2.  gx = gy * sinh x."""

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.cosh(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy * xp.sinh(x)


@dataclass(frozen=True)
class Asinh(Unary):
    """y = log(x + sqrt(x^2 + 1)).  gx = gy / sqrt(x^2 + 1)."""

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.arcsinh(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy / xp.sqrt(x * x + 1)


@dataclass(frozen=True)
class Acosh(Unary):
    """y = log(x + sqrt(x^2 - 1)).  gx = gy / sqrt(x^2 - 1)."""

    domain: ClassVar[Draw] = uniform(3, 4, low=1.2, high=4)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.arccosh(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy / xp.sqrt((x - 1) * (x + 1) + 0.0)  # + 0: no negative zero


@dataclass(frozen=True)
class Atanh(Unary):
    """y = log((1 + x) / (1 - x)) / 2.  gx = gy / (1 - x^2)."""

    domain: ClassVar[Draw] = uniform(3, 4, low=-0.9, high=0.9)

    def _value(self, xp: Any, x: Any) -> Any:
        return xp.arctanh(x)

    def _slope(self, xp: Any, x: Any, gy: Any) -> Any:
        return gy / ((1 - x) * (1 + x))


@public
def tan(input: Any) -> Tensor:
    """Give the tangent of angles in radians.

    Shapes: any -> the same; integers give float32.  NaN at infinity.

    >>> import chainrule as cr
    >>> cr.tan(cr.tensor([0.0, 0.7854]))
    tensor([0.0, 1.0])
    """
    return apply(Tan(), floating(input))


@public
def asin(input: Any) -> Tensor:
    """Give the angle from -pi/2 to pi/2 whose sine is the input.

    Shapes: any -> the same; integers give float32.  NaN outside [-1, 1]; the gradient at the
    ends is infinite.

    >>> import chainrule as cr
    >>> cr.asin(cr.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """
    return apply(Asin(), floating(input))


@public
def acos(input: Any) -> Tensor:
    """Give the angle from 0 to pi whose cosine is the input; otherwise as `asin`.

    >>> import chainrule as cr
    >>> cr.acos(cr.tensor([1.0, -1.0]))
    tensor([0.0000, 3.1416])
    """
    return apply(Acos(), floating(input))


@public
def atan(input: Any) -> Tensor:
    """Give the angle between -pi/2 and pi/2 whose tangent is the input.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.atan(cr.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """
    return apply(Atan(), floating(input))


@public
def sinh(input: Any) -> Tensor:
    """Give the hyperbolic sine, (e^x - e^-x) / 2.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.sinh(cr.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """
    return apply(Sinh(), floating(input))


@public
def cosh(input: Any) -> Tensor:
    """Give the hyperbolic cosine, (e^x + e^-x) / 2.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.cosh(cr.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """
    return apply(Cosh(), floating(input))


@public
def asinh(input: Any) -> Tensor:
    """Give the value whose hyperbolic sine is the input.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.asinh(cr.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """
    return apply(Asinh(), floating(input))


@public
def acosh(input: Any) -> Tensor:
    """Give the value from 0 upwards whose hyperbolic cosine is the input.

    Shapes: any -> the same; integers give float32.  NaN below 1, where cosh does not reach; the
    gradient at 1 is infinite.

    >>> import chainrule as cr
    >>> cr.acosh(cr.tensor([1.0, 2.0]))
    tensor([0.000, 1.317])
    """
    return apply(Acosh(), floating(input))


@public
def atanh(input: Any) -> Tensor:
    """Give the value whose hyperbolic tangent is the input.

    Shapes: any -> the same; integers give float32.  Infinite at 1 and -1, NaN beyond.

    >>> import chainrule as cr
    >>> cr.atanh(cr.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """
    return apply(Atanh(), floating(input))


@public
def deg2rad(input: Any) -> Tensor:
    """Turn degrees into radians: input * pi / 180.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.deg2rad(cr.tensor([0.0, 180.0]))
    tensor([0.0000, 3.1416])
    """
    return mul(floating(input), pi / 180)


@public
def rad2deg(input: Any) -> Tensor:
    """Turn radians into degrees: input * 180 / pi.

    Shapes: any -> the same; integers give float32.

    >>> import chainrule as cr
    >>> cr.rad2deg(cr.tensor([0.0, 1.0]))
    tensor([0.0000, 57.2958])
    """
    return mul(floating(input), 180 / pi)


arcsin = FUNCTIONS["arcsin"] = asin
arccos = FUNCTIONS["arccos"] = acos
arctan = FUNCTIONS["arctan"] = atan
arcsinh = FUNCTIONS["arcsinh"] = asinh
arccosh = FUNCTIONS["arccosh"] = acosh
arctanh = FUNCTIONS["arctanh"] = atanh
