"""PyTorch's promotion rules: kinds bool < integer < float; Python and NumPy scalars are weak."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from chainrule.engine.op import DType
from chainrule.errors import KindError, failure

DEFAULT_FLOAT: DType = np.dtype(np.float32)
INT64: DType = np.dtype(np.int64)
BOOL: DType = np.dtype(np.bool_)

_NAMES = {f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)}
_NAMES |= {"bool"}
_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def as_dtype(value: Any, name: str = "dtype") -> DType:
    """Normalise a dtype given as np.dtype, NumPy or Python type, or string; refuse other kinds."""
    try:
        if isinstance(value, str) and value not in _NAMES:
            raise TypeError(value)
        dtype: DType = np.dtype(value)
    except TypeError as error:
        raise failure(name, "a dtype such as cr.float32", error=KindError, value=value) from error
    if dtype.kind not in _RANK or dtype.itemsize > 8:
        raise failure(
            name, "a bool, integer or float dtype of at most 64 bits", error=KindError, dtype=dtype
        )
    return dtype


def promote_types(a: DType, b: DType) -> DType:
    """Give the smallest dtype that holds both: the higher kind wins, sizes matter within a kind.

    >>> import numpy as np
    >>> promote_types(np.dtype("int64"), np.dtype("float32"))
    dtype('float32')
    """
    if a == b:
        return a
    rank_a, rank_b = _RANK[a.kind], _RANK[b.kind]
    if rank_a != rank_b:
        return a if rank_a > rank_b else b
    common: DType = np.promote_types(a, b)
    if _RANK[common.kind] != rank_a:
        raise failure(
            "promotion", "integers with a common integer dtype", error=KindError,
            hint="convert one of them: x.long()", first=a, second=b,
        )  # fmt: skip
    return common


def scalar_dtype(value: Any) -> DType:
    """Give the dtype that a bare number has when nothing else decides."""
    if isinstance(value, bool | np.bool_):
        return BOOL
    if isinstance(value, numbers.Integral):
        return INT64
    return DEFAULT_FLOAT


def is_scalar(value: Any) -> bool:
    """Tell whether the value is a Python or NumPy number (weak in promotion)."""
    return isinstance(value, int | float | bool | np.number | np.bool_) and not isinstance(
        value, complex | np.complexfloating
    )


def combine(dimensioned: DType | None, zero_d: DType | None, scalar: DType | None) -> DType:
    """Combine the three ranks of operands: the lower rank matters only if its kind is higher."""
    result = dimensioned
    for lower in (zero_d, scalar):
        if result is None:
            result = lower
        elif lower is not None and _RANK[lower.kind] > _RANK[result.kind]:
            result = promote_types(result, lower)
    if result is None:
        raise failure("promotion", "at least one operand", error=KindError)
    return result
