"""Errors that say what was expected, what came, and what to do.

Most classes have several built-in parents, so that a program written for another framework,
which raises a RuntimeError where NumPy raises a ValueError, catches ours whichever it expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ChainruleError(Exception):
    """Base of every error that chainrule raises on purpose."""


class ShapeError(ChainruleError, ValueError, RuntimeError):
    """A shape or a setting does not fit the rule of an operation."""


class KindError(ChainruleError, TypeError, RuntimeError):
    """A value is of the wrong kind: an integer where a float is needed, a list for a tensor."""


class UndefinedKindError(KindError, NotImplementedError):
    """A dtype on which the operation means nothing; PyTorch calls it not implemented."""


class AxisError(ChainruleError, IndexError, ValueError, RuntimeError):
    """A dimension that the tensor does not have, or one named twice."""


class LabelError(ChainruleError, IndexError, ValueError, RuntimeError):
    """A class label outside 0..C-1, or an index outside its axis."""


class GraphError(ChainruleError, RuntimeError):
    """The graph cannot be walked: already freed, no gradient wanted, a saved value overwritten."""


class AnomalyError(ChainruleError, ArithmeticError, RuntimeError):
    """An operation produced NaN or infinity while `detect_anomaly` was watching."""


class BackendError(ChainruleError, RuntimeError):
    """A backend cannot be used, or its library failed; the message says with what status."""


class DataError(ChainruleError, ValueError):
    """A file or an array of data is not what it claims to be; the message names it."""


class CheckpointError(ChainruleError, ValueError, RuntimeError):
    """A checkpoint is damaged or belongs to another model."""


def of_operation(error: BackendError, op: Any, shapes: Sequence[Any]) -> BackendError:
    """Complete a backend's error with the operation that it ran, and the shapes."""
    return BackendError(f"{op} on {', '.join(map(str, shapes))}: {error}")


def describe(value: Any) -> str:
    """Write a fact for a message: tensors, arrays and specs as 'float32 (2, 3)', others by repr."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"{dtype} {shape}"
    return repr(value)


def failure(
    op: Any,
    rule: str,
    *,
    hint: str = "",
    error: type[ChainruleError] = ShapeError,
    **facts: Any,
) -> ChainruleError:
    """Build the error for a broken rule; the caller raises it.

    The text is "NAME: expected RULE; got FACT=..., ...; HINT".  `op` is an Op (its name and its
    settings are printed) or the name of a function.
    """
    name = op if isinstance(op, str) else getattr(op, "name", type(op).__name__)
    text = f"{name}: expected {rule}"
    if facts:
        text += "; got " + ", ".join(f"{key} {describe(value)}" for key, value in facts.items())
    settings = "" if isinstance(op, str) else repr(op)
    if settings and not settings.endswith("()"):
        text += f"; in {settings}"
    if hint:
        text += f"; {hint}"
    return error(text)


def expect(
    ok: bool,
    op: Any,
    rule: str,
    *,
    hint: str = "",
    error: type[ChainruleError] = ShapeError,
    **facts: Any,
) -> None:
    """Raise the error of a broken rule unless `ok`; see `failure` for the text.

    >>> expect(False, "matmul", "inner sizes that agree: 3 = 4", x=(2, 3))
    Traceback (most recent call last):
    chainrule.errors.ShapeError: matmul: expected inner sizes that agree: 3 = 4; got x (2, 3)
    """
    if not ok:
        raise failure(op, rule, hint=hint, error=error, **facts)
