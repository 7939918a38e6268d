"""Arithmetic and functions of single values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import Node, like, number, reads
from chainrule.nn import functional as F
from chainrule.ops.binary import fmod
from chainrule.ops.bitwise import (
    bitwise_and,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
)
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import add, div, mul, neg, remainder, sub
from chainrule.ops.power import pow as power
from chainrule.ops.rounding import abs as absolute
from chainrule.ops.rounding import ceil, floor, sign
from chainrule.ops.rounding import round as rounded
from chainrule.ops.select import clamp, maximum, minimum
from chainrule.ops.special import erf
from chainrule.ops.trigonometric import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atanh,
    cosh,
    sinh,
    tan,
)
from chainrule.ops.unary import cos, exp, log, reciprocal, sin, sqrt

Function = Callable[..., Tensor]
_name: str
_function: Function
_since: str


def unary(function: Function, n: Node, x: Tensor) -> Tensor:
    """Run a function of one value."""
    return function(x)


for _name, _function, _since in (
    ("Abs", absolute, "6 13"),
    ("Neg", neg, "6 13"),
    ("Sign", sign, "9 13"),
    ("Sqrt", sqrt, "6 13"),
    ("Exp", exp, "6 13"),
    ("Log", log, "6 13"),
    ("Reciprocal", reciprocal, "6 13"),
    ("Erf", erf, "9 13"),
    ("Ceil", ceil, "6 13"),
    ("Floor", floor, "6 13"),
    ("Round", rounded, "11 22"),
    ("Sin", sin, "7 22"),
    ("Cos", cos, "7 22"),
    ("Tan", tan, "7 22"),
    ("Asin", asin, "7 22"),
    ("Acos", acos, "7 22"),
    ("Atan", atan, "7 22"),
    ("Sinh", sinh, "9 22"),
    ("Cosh", cosh, "9 22"),
    ("Asinh", asinh, "9 22"),
    ("Acosh", acosh, "9 22"),
    ("Atanh", atanh, "9 22"),
    ("BitwiseNot", bitwise_not, "18"),
):
    reads(_name, since=_since)(partial(unary, _function))


def binary(function: Function, n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Run a function of two values of one dtype."""
    return function(a, b)


for _name, _function, _since in (
    ("Add", add, "7 13 14"),
    ("Sub", sub, "7 13 14"),
    ("Mul", mul, "7 13 14"),
    ("BitwiseAnd", bitwise_and, "18"),
    ("BitwiseOr", bitwise_or, "18"),
    ("BitwiseXor", bitwise_xor, "18"),
):
    reads(_name, since=_since)(partial(binary, _function))


@reads("Div", since="7 13 14")
def _div(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Divide; whole numbers towards 0."""
    if a.dtype.kind == "f":
        return div(a, b)
    return cast(div(a, b, rounding_mode="trunc"), a.dtype)


@reads("Mod", since="10 13 28")
def _mod(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Give the remainder, of the sign of b, or with `fmod` of a."""
    return fmod(a, b) if n.flag("fmod") else remainder(a, b)


@reads("Pow", since="7 12 13 15")
def _pow(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Raise to a power, in the base's dtype."""
    if b.ndim == 0 and n.constant[1] and a.dtype.kind == "f" and not b.requires_grad:
        return power(a, number(b))
    y = power(a, b)
    return y if y.dtype == a.dtype else cast(y, a.dtype)


def _folded(function: Function, n: Node, *inputs: Tensor) -> Tensor:
    total = inputs[0]
    for x in inputs[1:]:
        total = function(total, x)
    return total


reads("Sum", since="6 8 13")(partial(_folded, add))
reads("Max", since="6 8 12 13")(partial(_folded, maximum))
reads("Min", since="6 8 12 13")(partial(_folded, minimum))


@reads("Mean", since="6 8 13")
def _mean(n: Node, *inputs: Tensor) -> Tensor:
    """Give the mean of the inputs."""
    return div(_folded(add, n, *inputs), len(inputs))


@reads("Clip", since="6 11 12 13", settings=(1, 2))
def _clip(n: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Keep values between two bounds, attributes before opset 11; where they cross, `high` wins."""
    a, b = (
        number(given) if given is not None else n.get(name)
        for given, name in ((low, "min"), (high, "max"))
    )
    if n.version < 11:  # what means no bound
        a = None if a is not None and a <= np.finfo(np.float32).min else a
        b = None if b is not None and b >= np.finfo(np.float32).max else b
    if x.dtype.kind == "f":
        if (a, b) == (0, 6):
            return F.relu6(x)
        return clamp(x, a, b) if a is not None or b is not None else x
    if a is not None:
        x = maximum(x, like(a, x))
    return minimum(x, like(b, x)) if b is not None else x


@reads("BitShift", since="11 28")
def _bit_shift(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Shift bits to the LEFT or to the RIGHT; by all of them or more leaves 0."""
    shift: Any = {"LEFT": bitwise_left_shift, "RIGHT": bitwise_right_shift}.get(n.get("direction"))
    if shift is None:
        raise DataError(f"onnx: {n}: direction {n.get('direction')!r}; it is LEFT or RIGHT")
    return cast(shift(a, b), a.dtype)
