"""Activations whose names end in an underscore: the tensor that is handed in holds the result.

Outside the graph its memory is written.  Where gradients are recorded the tensor takes the place
of the result, and a leaf that requires grad is refused; see `engine.inplace`.
"""

from __future__ import annotations

from typing import Any

from chainrule.engine.inplace import rewritten
from chainrule.engine.op import public
from chainrule.engine.random import Generator
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure


def _held(name: str, input: Any, *args: Any, **options: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise failure(f"{name}_", "a tensor, to hold the result", error=KindError, input=input)
    return rewritten(input, name, args, options)


@public
def relu_(input: Tensor) -> Tensor:
    """Do `relu` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-1.0, 2.0])
    >>> cr.nn.functional.relu_(x) is x, x
    (True, tensor([0.0, 2.0]))
    """
    return _held("relu", input)


@public
def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Do `leaky_relu` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-1.0, 2.0])
    >>> cr.nn.functional.leaky_relu_(x, 0.5) is x, x
    (True, tensor([-0.5, 2.0]))
    """
    return _held("leaky_relu", input, negative_slope)


@public
def rrelu_(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Do `rrelu` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-1.0, 2.0])
    >>> cr.nn.functional.rrelu_(x, 0.25, 0.75) is x, x
    (True, tensor([-0.5, 2.0]))
    """
    return _held("rrelu", input, lower, upper, training, generator=generator)


@public
def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Do `elu` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-1.0, 2.0])
    >>> cr.nn.functional.elu_(x) is x, x
    (True, tensor([-0.6321, 2.0000]))
    """
    return _held("elu", input, alpha)


@public
def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Do `celu` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-1.0, 2.0])
    >>> cr.nn.functional.celu_(x) is x, x
    (True, tensor([-0.6321, 2.0000]))
    """
    return _held("celu", input, alpha)


@public
def selu_(input: Tensor) -> Tensor:
    """Do `selu` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-1.0, 2.0])
    >>> cr.nn.functional.selu_(x) is x, x
    (True, tensor([-1.1113, 2.1014]))
    """
    return _held("selu", input)


@public
def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Do `hardtanh` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-0.5, 2.0])
    >>> cr.nn.functional.hardtanh_(x) is x, x
    (True, tensor([-0.5, 1.0]))
    """
    return _held("hardtanh", input, min_val, max_val)


@public
def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """Do `threshold` in place.

    >>> import chainrule as cr
    >>> x = cr.tensor([-0.5, 2.0])
    >>> cr.nn.functional.threshold_(x, 0.5, 7.0) is x, x
    (True, tensor([7.0, 2.0]))
    """
    return _held("threshold", input, threshold, value)
