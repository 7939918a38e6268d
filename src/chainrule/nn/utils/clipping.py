"""Gradients cut to a length, all together, or to a range, each value by itself."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.engine.state import no_grad
from chainrule.engine.tensor import Tensor
from chainrule.errors import AnomalyError
from chainrule.ops.join import stack
from chainrule.ops.vector_norm import vector_norm

Tensors = Tensor | Iterable[Tensor]


def _several(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: Tensors) -> list[Tensor]:
    return [p.grad for p in _several(parameters) if p.grad is not None]


def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Give the norm of all values of all tensors: (); 0 for no tensors.

    `foreach` is accepted and changes nothing.  Raises RuntimeError for NaN and infinity if
    `error_if_nonfinite`.

    >>> import chainrule as cr
    >>> cr.nn.utils.get_total_norm([cr.tensor([3.0]), cr.tensor([[0.0, 4.0]])])
    tensor(5.0)
    """
    several, order = _several(tensors), float(norm_type)
    if not several:
        return Tensor(np.zeros((), np.float32))
    with no_grad():
        total = vector_norm(stack([vector_norm(tensor, order) for tensor in several]), order)
    if error_if_nonfinite and not np.isfinite(total.array):
        raise AnomalyError(
            f"get_total_norm: the norm of order {order} is {float(total.array)}, so that it cannot "
            "be clipped; error_if_nonfinite=False would scale by it"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Multiply all gradients in place by min(1, max_norm / (total_norm + 1e-6)).

    >>> import chainrule as cr
    >>> x = cr.zeros(1, requires_grad=True)
    >>> x.grad = cr.tensor([4.0])
    >>> cr.nn.utils.clip_grads_with_norm_(x, 1.0, cr.tensor(8.0))
    >>> x.grad
    tensor([0.5])
    """
    with no_grad():
        scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for gradient in _gradients(parameters):
            gradient.mul_(scale.to(gradient.dtype))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Shorten all gradients together, in place, to a norm of at most max_norm; give their norm.

    Taken as one vector, they keep its direction.  `parameters` is one tensor or several; those
    without a gradient do not count.  `foreach` is accepted and changes nothing.  Source: Pascanu,
    Mikolov and Bengio, On the difficulty of training recurrent neural networks (2013).
    Raises RuntimeError for NaN and infinity if `error_if_nonfinite`.

    >>> import chainrule as cr
    >>> x = cr.zeros(2, requires_grad=True)
    >>> x.grad = cr.tensor([3.0, 4.0])
    >>> cr.nn.utils.clip_grad_norm_([x], 1.0), x.grad
    (tensor(5.0), tensor([0.6, 0.8]))
    """
    several = _several(parameters)
    total = get_total_norm(_gradients(several), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(several, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Cut every value of the gradients, in place, to -clip_value .. clip_value.

    >>> import chainrule as cr
    >>> x = cr.zeros(2, requires_grad=True)
    >>> x.grad = cr.tensor([-3.0, 0.5])
    >>> cr.nn.utils.clip_grad_value_(x, 1.0)
    >>> x.grad
    tensor([-1.0, 0.5])
    """
    limit = float(clip_value)
    with no_grad():
        for gradient in _gradients(parameters):
            gradient.clamp_(-limit, limit)
