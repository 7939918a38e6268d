"""What callers give, brought to one form: of another kind it is refused in words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import integer


def setting(asked: str, least: float, most: float = math.inf, **given: Any) -> None:
    """Check numbers that a caller chose, by their names; infinite ones where `most` says so alone.

    >>> setting("example", 0.0, 1.0, decay=2.0)
    Traceback (most recent call last):
    chainrule.errors.ShapeError: example: expected decay from 0 to 1; got decay 2.0
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise failure(asked, f"a number as {name}", error=KindError, **given)
        if isinstance(value, np.complexfloating):
            raise failure(asked, f"a real number as {name}", error=KindError, **given)
        if not least <= value <= most or math.isinf(value):
            room = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of {least:g} or more"
            raise failure(asked, f"{name} {room}", **given)


def counts(asked: str, *, least: int = 1, **given: Any) -> list[int]:
    """Check what must be whole numbers, `least` or more, by their names."""
    found = [integer(value, asked, f"{name} as a whole number") for name, value in given.items()]
    for name, value in zip(given, found, strict=True):
        if value < least:
            facts: dict[str, Any] = {name: value}
            raise failure(asked, f"{name} of {least} or more", **facts)
    return found


def real(asked: str, name: str, value: Any) -> Array:
    """Give an array of real numbers, of a tensor, an array, or lists of numbers; else KindError.

    >>> real("example", "start", [1, 2.5]).tolist()
    [1.0, 2.5]
    """
    try:
        array = np.asarray(value.array if isinstance(value, Tensor) else value)
    except (TypeError, ValueError):  # lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise failure(asked, f"real numbers as {name}", error=KindError, **{name: value})
    return array


def row(asked: str, name: str, value: Any) -> tuple[float, ...]:
    """Give real numbers in a row, such as a point; KindError for anything else.

    >>> row("example", "start", (1, 2))
    (1.0, 2.0)
    """
    array = real(asked, name, several(asked, name, value))
    if array.ndim != 1:
        raise failure(asked, f"real numbers in a row as {name}", error=KindError, **{name: value})
    return tuple(float(each) for each in array)


def several(asked: str, name: str, value: Any) -> list[Any]:
    """Give the members of a sequence or a walk, no text's letters; KindError for what has none."""
    try:
        if isinstance(value, Iterable) and not isinstance(value, str | bytes):
            return list(value)
    except TypeError:  # an array without axes says that it is one and is not
        pass
    raise failure(asked, f"a sequence as {name}", error=KindError, **{name: value})


def text(asked: str, name: str, value: Any) -> str:
    """Give a text; KindError for anything else."""
    if not isinstance(value, str):
        raise failure(asked, f"a text as {name}", error=KindError, **{name: value})
    return value
