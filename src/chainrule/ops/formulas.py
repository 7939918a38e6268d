"""What activations and losses share: formulas on arrays, without a graph.

They avoid `where`: on a mask without a pattern it costs ten times what arithmetic costs, as
the processor mispredicts every second branch.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Spec
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, UndefinedKindError, failure

quiet = np.errstate(all="ignore")
"""Decorates formulas in which infinities and 0/0 are answers: they warn of nothing."""

_BITS = {2: np.int16, 4: np.int32, 8: np.int64}


def number(value: Any, name: str) -> float:
    """Give a setting as a float; `name` says which in the KindError for what is no number.

    >>> number(2, "elu alpha")
    2.0
    """
    if isinstance(value, Real | np.bool_):
        return float(value)
    if getattr(value, "shape", None) == ():
        return float(value)
    raise failure(name, "a number", error=KindError, value=value)


def need_float(op: Any, x: Spec | Tensor) -> None:
    """Raise UndefinedKindError unless the input is of a floating-point dtype."""
    if x.dtype.kind != "f":
        rule = "a floating-point input"
        hint = "convert it first: x.float()"
        raise failure(op, rule, error=UndefinedKindError, hint=hint, input=x)


def need_tensors(name: str, **operands: Any) -> None:
    """Raise KindError for numbers, lists and the like where PyTorch wants tensors."""
    for value in operands.values():
        if not isinstance(value, Tensor | np.ndarray):
            hint = "write cr.tensor(...) around it"
            raise failure(name, "tensors", error=KindError, hint=hint, **operands)


def drop(xp: Any, dead: Array, g: Array) -> Array:
    """Give 0 where `dead`, else g, whatever infinity or NaN the dropped places hold.

    >>> import numpy as np
    >>> drop(np, np.array([True, False]), np.array([np.inf, 2.0]))
    array([0., 2.])
    """
    code = _BITS.get(g.dtype.itemsize)
    if g.dtype.kind != "f" or code is None:
        return xp.where(dead, xp.zeros((), g.dtype), g)  # type: ignore[no-any-return]
    bits = (dead.view(np.int8) - 1).astype(code)  # all ones where g stays
    bits &= g.view(code)
    return bits.view(g.dtype)


def choose(xp: Any, mask: Array, other: Any, dtype: Any) -> Array:
    """Give 1 where `mask`, else `other` (a finite number or array), exactly.

    >>> import numpy as np
    >>> choose(np, np.array([True, False]), 0.1, np.float32)
    array([1. , 0.1], dtype=float32)
    """
    ones = mask.astype(dtype)
    result: Array = ones * -other
    result += other  # 0 where the mask holds, for -a + a is 0
    result += ones
    return result


def logistic(xp: Any, x: Array) -> Array:
    """1 / (1 + exp(-x)); where exp overflows the answer is the right one, 0. Needs `quiet`."""
    e = xp.exp(-x)
    e += 1
    return 1 / e  # type: ignore[no-any-return]


def log_one_plus_exp(xp: Any, x: Array) -> Array:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    y = xp.log1p(xp.exp(-xp.abs(x)))
    y += xp.maximum(x, 0)
    return y  # type: ignore[no-any-return]
