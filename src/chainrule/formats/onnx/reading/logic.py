"""Comparisons, choices, and what they answer."""

from __future__ import annotations

from functools import partial

from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.reading.arithmetic import Function, binary, unary
from chainrule.formats.onnx.reading.table import Node, reads
from chainrule.ops.compare import (
    eq,
    ge,
    gt,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
)
from chainrule.ops.select import where

_name: str
_function: Function
_since: str

for _name, _function, _since in (
    ("Equal", eq, "7 11 13 19"),
    ("Less", lt, "7 9 13"),
    ("Greater", gt, "7 9 13"),
    ("LessOrEqual", le, "12 16"),
    ("GreaterOrEqual", ge, "12 16"),
    ("And", logical_and, "7"),
    ("Or", logical_or, "7"),
    ("Xor", logical_xor, "7"),
):
    reads(_name, since=_since)(partial(binary, _function))

for _name, _function, _since in (("Not", logical_not, "1"), ("IsNaN", isnan, "9 13 20")):
    reads(_name, since=_since)(partial(unary, _function))


@reads("IsInf", since="10 20")
def _is_inf(n: Node, x: Tensor) -> Tensor:
    """Tell what is infinite, of the signs that are asked for."""
    found = isinf(x)
    if not n.flag("detect_positive", 1):
        found = logical_and(found, lt(x, 0))
    if not n.flag("detect_negative", 1):
        found = logical_and(found, gt(x, 0))
    return found


@reads("Where", since="9 16")
def _where(n: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Choose between two values."""
    return where(condition, a, b)
