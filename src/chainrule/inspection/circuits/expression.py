"""Expressions such as "(x + y) * z" as circuits: parsed and never executed as Python."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.engine.op import FUNCTIONS
from chainrule.engine.tensor import Tensor
from chainrule.errors import ChainruleError, DataError
from chainrule.inspection.circuits.asking import checked_text, checked_values
from chainrule.inspection.circuits.gates import Circuit, circuit_of
from chainrule.inspection.circuits.signs import written

LONGEST, DEEPEST, TALLEST = 2000, 50, 200
"""Characters of an expression, brackets inside brackets, and operations inside operations."""

_UNARY = (
    *("sigmoid", "tanh", "relu", "exp", "log", "sqrt", "abs", "square", "sin", "cos"),
    *("max", "min", "sum", "mean"),
)
_BINARY = {"max": "maximum", "min": "minimum", "matmul": "matmul", "pow": "pow"}
FUNCTION_NAMES = tuple(dict.fromkeys((*_UNARY, "softmax", *_BINARY)))
"""The functions that an expression may call."""

_CONSTANTS = {"pi": math.pi, "e": math.e}
_OPERATORS: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", lambda a, b: a + b),
    ast.Sub: ("-", lambda a, b: a - b),
    ast.Mult: ("*", lambda a, b: a * b),
    ast.Div: ("/", lambda a, b: a / b),
    ast.Pow: ("**", lambda a, b: a**b),
    ast.MatMult: ("@", lambda a, b: a @ b),
}
_KNOWN = "+ - * / ** @, brackets, numbers, names, matrices [[1, 2], [3, 4]], W.T, and " + ", ".join(
    FUNCTION_NAMES
)
_VALUE = re.compile(r"(?<!\w)[^\W\d]\w*\s*=(?!=)")
_NAMED = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", re.DOTALL)


def circuit_of_expression(
    text: str, values: Mapping[str, Any], largest: int | None = None
) -> Circuit:
    """Compute an expression in float64 and give its circuit, with every gradient.

    `values` are numbers, lists or arrays by name.  "f = ..." names the output.  Operators + - * /
    ** @ and the functions sigmoid, tanh, relu, exp, log, sqrt, abs, square, sin, cos, max and min
    (of one or several), sum, mean, softmax, matmul, pow; `W.T` turns a matrix; pi and e are
    numbers.  Nothing else means anything: the text is parsed and not executed.  `largest` bounds
    the numbers of all matrices together, for texts by strangers.

    Raises DataError for what cannot be read, for a name without a value and a value without a
    name, for shapes that do not fit and for results that are not finite; KindError for what is no
    text.

    >>> circuit = circuit_of_expression("(x + y) * z", {"x": -2, "y": 5, "z": -4})
    >>> {gate.name: gate.gradients[0].item() for gate in circuit.gates if gate.op is None}
    {'x': -4.0, 'y': -4.0, 'z': 3.0}
    """
    text = checked_text(text, "circuit", 'an expression as text, such as "(x+y)*z"')
    body, name = _split(text)
    tree = _parsed(body)
    tensors = {key: _tensor(key, value) for key, value in checked_values(values, {}).items()}
    reader = _Reader(tensors, largest)
    try:
        result = reader.read(tree)
    except ChainruleError as error:
        raise (
            error if isinstance(error, DataError) else DataError(f"{body.strip()}: {error}")
        ) from (error)
    unused = sorted(set(tensors) - reader.used)
    if unused:
        raise DataError(f"{body.strip()}: has no {', '.join(unused)}, for which a value is given")
    if not isinstance(result, Tensor) or result._node is None:
        raise DataError(f"{body.strip()}: expected an expression that computes with named values")
    if name in tensors:
        raise DataError(f"{text.strip()}: {name!r} is a value and the result at once")
    circuit = circuit_of(result, {**tensors, name: result})
    circuit.backward()
    return circuit


def read_value(text: str) -> Any:
    """Read a number or a matrix literal, "[[1, 2], [3, 4]]", without executing anything.

    Raises DataError for other text, KindError for what is no text.

    >>> read_value("-2"), read_value("[1, 2.5]")
    (-2.0, [1.0, 2.5])
    """
    text = checked_text(text, "read_value", 'a number or a matrix as text, such as "[[1, 2]]"')
    return _literal(_parsed(text), text)


def read_values(items: Sequence[str]) -> dict[str, Any]:
    """Read values by name: "x=-2", "W=[[1, 2], [3, 4]]".  Raises DataError for anything else.

    >>> read_values(["x=-2", "W=[[1, 2]]"])
    {'x': -2.0, 'W': [[1.0, 2.0]]}
    """
    found: dict[str, Any] = {}
    for text in items:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise DataError(f"{text[:40]}: expected NAME=VALUE, such as x=-2")
        if name in found:
            raise DataError(f"{name}: expected one value, got two")
        if not value.strip():
            raise DataError(f"{name}: expected a number or a matrix after =, got nothing")
        found[name] = read_value(value)
    return found


def split_values(text: str) -> list[str]:
    """Cut a line of values into one a name, by blanks, commas or semicolons between them.

    >>> split_values("x=-2 y = 5, W=[[1, 2], [3, 4]]")
    ['x=-2', 'y = 5', 'W=[[1, 2], [3, 4]]']
    """
    cuts = [0, *(found.start() for found in _VALUE.finditer(text)), len(text)]
    parts = [text[one:other].strip(" \t\r\n,;") for one, other in pairwise(cuts)]
    return [part for part in parts if part]


def _split(text: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(text)
    if found:
        return found[2], found[1]
    return text, "f"


def _parsed(text: str) -> ast.expr:
    shown = text.strip()[:40] + ("..." if len(text.strip()) > 40 else "")
    if not text.strip():
        raise DataError("expected an expression such as (x+y)*z, got nothing")
    if len(text) > LONGEST:
        raise DataError(f"{shown}: expected at most {LONGEST:,} characters, got {len(text):,}")
    depth = deepest = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise DataError(
            f"{shown}: expected at most {DEEPEST} brackets in each other, got {deepest}"
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        where = f" at character {error.offset}" if error.offset else ""
        raise DataError(f"{shown}: cannot be read as an expression{where}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{shown}: cannot be read as an expression: {error}") from None
    if _height(tree) > TALLEST:
        raise DataError(f"{shown}: expected at most {TALLEST} operations inside each other")
    return tree


def _height(tree: ast.AST) -> int:
    """Count the levels of a tree, without recursion."""
    level, height = [tree], 0
    while level:
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        height += 1
    return height


def _tensor(name: str, value: Any) -> Tensor:
    if not isinstance(name, str) or not name.isidentifier():
        raise DataError(f"{name!r}: expected a name of letters, digits and _")
    refusal = DataError(f"{name}: expected a number or a matrix of numbers, got {value!r:.60}")
    if isinstance(value, Tensor) and value.is_meta:
        raise refusal
    try:
        given = value.array if isinstance(value, Tensor) else value
        if np.asarray(given).dtype.kind not in "fiu":  # texts and truths are no numbers
            raise refusal
        array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise refusal from None
    if not array.size or not np.isfinite(array).all():
        raise DataError(f"{name}: expected numbers that are finite, got {value!r:.60}")
    return Tensor(array, requires_grad=True)


def _literal(tree: ast.expr, text: str) -> Any:
    match tree:
        case ast.Constant(value=bool() | complex()):
            pass
        case ast.Constant(value=int() | float() as value):
            return _number(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _literal(operand, text)
            if not isinstance(inner, list):
                return -inner
        case ast.List(elts=entries) | ast.Tuple(elts=entries) if entries:
            return [_literal(entry, text) for entry in entries]
    raise DataError(f"{text.strip()}: expected a number or a matrix such as [[1, 2], [3, 4]]")


def _number(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataError("expected numbers of at most 1.8e308, got a larger one")
    return number


class _Reader:
    """Computes a parsed expression, gate by gate, with operations of tensors."""

    def __init__(self, tensors: Mapping[str, Tensor], largest: int | None) -> None:
        self.tensors = tensors
        self.largest, self.made = largest, 0
        self.used: set[str] = set()

    def read(self, tree: ast.expr) -> Any:
        """Give the value of a part: a number or a tensor."""
        with np.errstate(all="ignore"):
            value = self._read(tree)
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        if not np.isfinite(array).all():
            said = written(array, array.shape)
            raise DataError(f"{ast.unparse(tree)}: is {said} here, and not finite")
        return value

    def _read(self, tree: ast.expr) -> Any:
        match tree:
            case ast.Constant() | ast.List() | ast.Tuple():
                value = _literal(tree, ast.unparse(tree))
                return Tensor(self._matrix(value, tree)) if isinstance(value, list) else value
            case ast.Name(id=name):
                return self._named(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                value = self.read(operand)
                self._counted("-", value)
                return -value
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.read(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return self._computed(type(op), self.read(left), self.read(right))
            case ast.BinOp(op=ast.BitXor()):
                raise DataError(f"{ast.unparse(tree)}: a power is written x ** 2")
            case ast.Attribute(value=inner, attr="T"):
                value = self.read(inner)
                self._counted(".T", value)
                return FUNCTIONS["transpose"](value, -2, -1)
            case ast.Call(func=ast.Name(id=name)) if name not in FUNCTION_NAMES:
                raise DataError(f"{name}: no function of that name; known are {_KNOWN}")
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._called(name, [self.read(argument) for argument in arguments])
        raise DataError(f"{ast.unparse(tree)}: means nothing here; known are {_KNOWN}")

    def _matrix(self, value: list[Any], tree: ast.expr) -> Any:
        try:
            return np.array(value, np.float64)
        except ValueError:
            raise DataError(f"{ast.unparse(tree)}: expected rows of one length") from None

    def _named(self, name: str) -> Any:
        if name in self.tensors:
            self.used.add(name)
            return self.tensors[name]
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        raise DataError(f"{name}: has no value; give one, as {name}=2 or {name}=[[1,2],[3,4]]")

    def _computed(self, kind: type, left: Any, right: Any) -> Any:
        if isinstance(left, Tensor) or isinstance(right, Tensor):
            self._counted(_OPERATORS[kind][0], left, right)
            return _OPERATORS[kind][1](left, right)
        if kind is ast.MatMult:
            raise DataError("@: expected matrices, got two numbers")
        left, right = np.float64(left), np.float64(right)
        value = _OPERATORS[kind][1](left, right)  # as floats: no number grows without bound
        return float(value)

    def _counted(self, kind: str, *values: Any) -> None:
        """Count the numbers of a result before it is made, and refuse too many."""
        if self.largest is None:
            return
        self.made += _numbers(kind, [v.shape if isinstance(v, Tensor) else () for v in values])
        if self.made > self.largest:
            raise DataError(
                f"expected at most {self.largest:,} numbers in all matrices together; {kind} makes "
                "more here"
            )

    def _called(self, name: str, arguments: list[Any]) -> Any:
        tensors = [
            a if isinstance(a, Tensor) else Tensor(np.array(a, np.float64)) for a in arguments
        ]
        self._counted(name, *tensors)
        if name == "softmax" and len(tensors) == 1:
            return FUNCTIONS["softmax"](tensors[0], -1)
        if len(tensors) == 1 and name in _UNARY:
            return FUNCTIONS[name](tensors[0])
        if len(tensors) >= 2 and name in _BINARY and (len(tensors) == 2 or name in ("max", "min")):
            result = tensors[0]
            for other in tensors[1:]:
                result = FUNCTIONS[_BINARY[name]](result, other)
            return result
        raise DataError(f"{name}: takes another number of arguments than {len(arguments)}")


def _numbers(kind: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """Give how many numbers an operation makes at most; 0 where the shapes do not fit."""
    product = kind in ("@", "matmul") and all(shapes)
    ends = [shape[-2:] if product else () for shape in shapes]
    try:
        rest = np.broadcast_shapes(*(shape[:-2] if product else shape for shape in shapes))
    except ValueError:  # the operation itself says why
        return 0
    rows = [ends[0][0], ends[-1][-1]] if product else []
    return math.prod((*rest, *rows))
