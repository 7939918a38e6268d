"""Parameters as one long vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.engine.tensor import Tensor
from chainrule.errors import ShapeError, failure
from chainrule.ops.join import cat


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Lay all parameters behind each other, each in row order: (total,); gradients pass.

    >>> import chainrule as cr
    >>> cr.nn.utils.parameters_to_vector(cr.nn.Linear(3, 2).parameters()).shape
    (8,)
    """
    return cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write a vector's values into the parameters, in turn; as many as they hold.

    Raises ShapeError for a vector of another length.

    >>> import chainrule as cr
    >>> linear = cr.nn.Linear(2, 1)
    >>> cr.nn.utils.vector_to_parameters(cr.tensor([1.0, 2.0, 3.0]), linear.parameters())
    >>> linear.weight.tolist(), linear.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    several = list(parameters)
    total = sum(parameter.numel() for parameter in several)
    if vec.shape != (total,):
        raise failure("vector_to_parameters", f"a vector ({total},)", error=ShapeError, vec=vec)
    start = 0
    for parameter in several:
        part = vec[start : start + parameter.numel()]
        parameter.detach().copy_(part.detach().reshape(parameter.shape))
        start += parameter.numel()
