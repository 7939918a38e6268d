"""How numbers, arrays and operations are written in circuits."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np

from chainrule.engine.op import Array, Op

SIGNS = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "Pow": "**",
    "Matmul": "@",
    "Neg": "neg",
    "Sigmoid": "sigmoid",
    "Maximum": "max",
    "Minimum": "min",
}
"""What stands in a gate; other operations by their names."""

DRAWN = {"-": "\N{MINUS SIGN}", "*": "\N{MULTIPLICATION SIGN}", "/": "\N{DIVISION SIGN}",
         "**": "^", "neg": "\N{MULTIPLICATION SIGN}(\N{MINUS SIGN}1)",
         "sigmoid": "\N{GREEK SMALL LETTER SIGMA}"}  # fmt: skip
"""The same where there is a picture."""

_BETWEEN = ("+", "-", "*", "/", "**", "@")
_LONGEST_SETTINGS = 40  # characters
_TOLD = ("kind", "alpha", "axes", "dim", "keepdim", "sizes")  # by the sign, or by the shapes
_MOST = 16  # numbers that are written out


def sign(op: Op) -> str:
    """Write an operation as in a gate: a sign, or its name.

    >>> from chainrule.ops.activation import ReLU
    >>> sign(ReLU())
    'relu'
    """
    kind = type(op).__name__
    if kind == "Extreme":  # max and min over axes
        return str(getattr(op, "kind", op.name))
    return SIGNS.get(kind, op.name)


def formula(op: Op, names: list[str]) -> str:
    """Write an operation on named values: "x + y", "max(x, y)"."""
    text = sign(op)
    alpha = getattr(op, "alpha", 1)
    if text in ("+", "-") and len(names) == 2 and alpha != 1:
        return f"{names[0]} {text} {number(alpha)} * {names[1]}"
    power = getattr(op, "exponent", None)
    if text == "pow" and isinstance(power, int | float):
        return f"{names[0]} ** {number(power)}"
    if text in _BETWEEN and len(names) == 2:
        return f"{names[0]} {text} {names[1]}"
    if text == "neg":
        return f"-{names[0]}"
    return f"{text}({', '.join([*names, *_settings(op)])})"


def _settings(op: Op) -> list[str]:
    """Write what an operation was asked beside its inputs, where it is a number or short."""
    given = {field.name: getattr(op, field.name) for field in fields(op)}  # type: ignore[arg-type]
    said = [
        f"{name}={value}"
        for name, value in given.items()
        if name not in _TOLD and value is not None and value is not False
    ]
    return said if len(", ".join(said)) <= _LONGEST_SETTINGS else []


def number(value: float, digits: int = 4) -> str:
    """Write a number with so many digits that count.

    >>> number(0.7310586), number(-12.0), number(3e-9), number(float("nan"))
    ('0.7311', '-12', '3e-09', 'nan')
    """
    if not math.isfinite(value):
        return str(value)
    return f"{value + 0.0:.{digits}g}"  # + 0.0: no minus before zero


def shaped(shape: tuple[int, ...]) -> str:
    """Write a shape: "3 x 4"."""
    return " x ".join(map(str, shape)) if shape else "one number"


def written(value: Array | None, shape: tuple[int, ...], digits: int = 4) -> str:
    """Write an array: its numbers if they are few, else its shape and what they range over.

    >>> written(np.array([[1.0, 2.5]]), (1, 2)), written(None, (3, 4))
    ('[[1, 2.5]]', '3 x 4')
    """
    if value is None:
        return shaped(shape)
    if value.size > _MOST:
        if value.dtype.kind != "f":
            return shaped(shape)
        with np.errstate(all="ignore"):
            low, high = float(value.min()), float(value.max())
        return f"{shaped(shape)} in {number(low, 3)}..{number(high, 3)}"
    return _nested(value.tolist(), digits)


def _nested(value: object, digits: int) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_nested(each, digits) for each in value)}]"
    return number(value, digits) if isinstance(value, float) else str(value)
