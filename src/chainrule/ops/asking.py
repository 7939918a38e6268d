"""What a tensor is: functions beside the methods of the same names."""

from __future__ import annotations

from typing import Any

from chainrule.engine.op import public
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure


def _tensor(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise failure(name, "a tensor", error=KindError, value=type(value))
    return value


@public
def numel(input: Tensor) -> int:
    """Give the number of elements.  Raises KindError for what is no tensor.

    >>> import chainrule as cr
    >>> cr.numel(cr.zeros(2, 3))
    6
    """
    return int(_tensor("numel", input).array.size)


@public
def is_floating_point(input: Tensor) -> bool:
    """Tell whether the dtype is a floating-point one.  Raises KindError for what is no tensor.

    >>> import chainrule as cr
    >>> cr.is_floating_point(cr.zeros(2)), cr.is_floating_point(cr.tensor(1))
    (True, False)
    """
    return _tensor("is_floating_point", input).dtype.kind == "f"


@public
def is_tensor(obj: Any) -> bool:
    """Tell whether an object is a tensor.

    >>> import chainrule as cr
    >>> cr.is_tensor(cr.zeros(2)), cr.is_tensor([0.0])
    (True, False)
    """
    return isinstance(obj, Tensor)
