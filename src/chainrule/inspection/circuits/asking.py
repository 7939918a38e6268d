"""What drawings and explanations are asked: every argument checked, each refusal in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import AxisError, DataError, KindError, ShapeError, expect, failure
from chainrule.ops.arguments import int_tuple, integer

MOST_DIGITS = 17
"""Digits that tell any two float64 apart."""


def checked_digits(digits: Any, asker: str) -> int:
    """Give how many digits of a number are written; KindError, ShapeError for what means none."""
    count = integer(digits, asker, "digits that are a whole number")
    expect(1 <= count <= MOST_DIGITS, asker, f"digits from 1 to {MOST_DIGITS}", digits=digits)
    return count


def checked_text(text: Any, asker: str, rule: str) -> str:
    """Give a text; KindError for what is none."""
    if not isinstance(text, str):
        raise failure(asker, rule, error=KindError, value=type(text))
    return text


def checked_values(values: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    """Join values by name, from a mapping and from keywords.

    Raises KindError for what is no mapping, DataError for a name with two values.
    """
    if values is not None and not isinstance(values, Mapping):
        rule = 'values by name: x=2, or a mapping {"x": 2}'
        raise failure("circuit", rule, error=KindError, values=type(values))
    given = dict(values or {})
    twice = sorted(name for name in more if name in given)
    if twice:
        raise DataError(f"{', '.join(twice)}: expected one value, got two")
    return {**given, **more}


def checked_names(names: Any, asker: str) -> Mapping[str, Tensor] | None:
    """Give names of tensors, or None; KindError for what is no mapping of these."""
    if names is None:
        return None
    rule = 'names as a mapping from text to tensors, {"x": x}'
    if not isinstance(names, Mapping):
        raise failure(asker, rule, error=KindError, names=type(names))
    for name, tensor in names.items():
        if not isinstance(name, str):
            raise failure(asker, rule, error=KindError, name=name)
        if not isinstance(tensor, Tensor):
            raise failure(asker, rule, error=KindError, name=name, value=type(tensor))
    return names


def checked_place(index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the place of one number, counted from the front.

    Raises KindError for what is no whole number or tuple of these, AxisError for one outside.

    >>> checked_place((0, -1), (2, 3))
    (0, 2)
    """
    rule = f"an index into {shape}, one whole number for each axis"
    hint = f"one number is explained at a time, such as index={(0,) * len(shape)}"
    try:
        place = int_tuple(index, "explain")
    except KindError:
        raise failure("explain", rule, error=KindError, hint=hint, index=index) from None
    if len(place) != len(shape) or not all(
        -size <= i < size for i, size in zip(place, shape, strict=False)
    ):
        raise failure("explain", rule, error=AxisError, index=index)
    return tuple([i % size for i, size in zip(place, shape, strict=True)])


def checked_gradient(gradient: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Give the gradient that arrives at an output of this shape and dtype, as an array.

    Raises KindError for what is not made of numbers, ShapeError for one of another shape.
    """
    rule = f"a gradient of numbers in the output's shape {shape}"
    if dtype.kind != "f":
        hint = "compute with floating-point numbers: 2.0 for 2"
        rule = f"a floating-point output, which a gradient can arrive at, not {dtype}"
        raise failure("circuit", rule, error=KindError, hint=hint)
    if isinstance(gradient, Tensor) and gradient.is_meta:
        raise failure("circuit", rule, error=KindError, gradient=gradient)
    try:
        given = gradient.array if isinstance(gradient, Tensor) else np.asarray(gradient)
    except (TypeError, ValueError):  # rows of several lengths
        raise failure("circuit", rule, error=KindError, gradient=gradient) from None
    if given.dtype.kind not in "fiu":
        raise failure("circuit", rule, error=KindError, gradient=gradient)
    array = given.astype(dtype)
    if array.shape != shape:
        rule = f"a gradient of the output's shape {shape}"
        raise failure("circuit", rule, error=ShapeError, gradient=array)
    return array


def checked_output(output: Any, names: Sequence[str]) -> int:
    """Give the number of the output that is meant by a number or by its name.

    Raises KindError for other things, AxisError for one that there is not.

    >>> checked_output("loss", ["scores", "loss"]), checked_output(-2, ["scores", "loss"])
    (1, 0)
    """
    count = len(names)
    known = f"an output by its name ({', '.join(names)}) or number (0 to {count - 1})"
    if isinstance(output, str):
        if output not in names:
            raise failure("circuit", known, error=AxisError, output=output)
        return list(names).index(output)
    number = integer(output, "circuit", known)
    if not -count <= number < count:
        raise failure("circuit", known, error=AxisError, output=output)
    return number % count
