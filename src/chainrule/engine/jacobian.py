"""Explicit Jacobians, built row by row from vector-Jacobian products; and these products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.graph import Walk, first_gradient
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, failure

LIMIT = 2**30  # bytes: a Jacobian above 1 GiB is refused unless the caller raises the limit


def _leaves(name: str, inputs: tuple[Any, ...]) -> list[Tensor]:
    leaves = [as_tensor(x) for x in inputs]
    for x in leaves:
        if x.dtype.kind != "f":
            raise failure(name, "floating-point inputs", error=KindError, input=x)
    return [Tensor(x.array, requires_grad=True) for x in leaves]


def _run(name: str, fn: Callable[..., Any], leaves: list[Tensor]) -> Tensor:
    token = state.GRAD.set(True)
    try:
        y = fn(*leaves)
    finally:
        state.GRAD.reset(token)
    if not isinstance(y, Tensor):
        raise failure(name, "a function that returns one tensor", error=KindError, output=type(y))
    return y


def jacobian(fn: Callable[[Tensor], Tensor], x: Any, *, max_bytes: int = LIMIT) -> Tensor:
    """Build dy/dx of a small function y = fn(x), outputs x inputs, both flattened.

    Shapes: x any, y any -> (y.size, x.size).  One backward a row, so it is for understanding and
    for checks; training multiplies by it without forming it.  Source: deck 000 (layout), 002.

    Raises MemoryError, with the figure in GiB, before building one larger than `max_bytes`;
    TypeError for integer inputs.

    >>> import chainrule as cr
    >>> cr.jacobian(lambda x: x * x, cr.tensor([1.0, 3.0]))
    tensor([[2.0, 0.0],
            [0.0, 6.0]])
    """
    (leaf,) = _leaves("jacobian", (x,))
    y = _run("jacobian", fn, [leaf])
    size = y.array.size * leaf.array.size * leaf.dtype.itemsize
    if size > max_bytes:
        raise MemoryError(
            f"jacobian: {y.array.size:,} outputs x {leaf.array.size:,} inputs x "
            f"{leaf.dtype.itemsize} bytes = {_gib(size)}, above the limit of "
            f"{_gib(max_bytes)}; use cr.vjp, which never forms it, or raise max_bytes"
        )
    rows = np.zeros((y.array.size, leaf.array.size), leaf.dtype)
    if y.requires_grad:
        for i in range(y.array.size):
            upstream = np.zeros(y.array.size, y.dtype)
            upstream[i] = 1
            walk = Walk(True, [leaf])
            walk.run([(y, upstream.reshape(y.shape))])
            found = walk.found.get(id(leaf))
            if found is not None:
                rows[i] = found.reshape(-1)
    return Tensor(rows)


def _gib(size: int) -> str:
    gib = size / 2**30
    return f"{gib:,.0f} GiB" if gib >= 100 else f"{gib:.3g} GiB"


def vjp(
    fn: Callable[..., Tensor], *primals: Any
) -> tuple[Tensor, Callable[[Any], tuple[Tensor, ...]]]:
    """Run `fn` and give its output with the function from upstream to input gradients.

    That function multiplies a gradient of the output's shape by the Jacobian without forming it,
    and can be called again; it gives one tensor an input.

    Raises TypeError for integer inputs, ShapeError for a gradient that does not fit.

    >>> import chainrule as cr
    >>> y, pull = cr.vjp(lambda x, w: x * w, cr.tensor([2.0]), cr.tensor([5.0]))
    >>> pull(cr.tensor([1.0]))
    (tensor([5.0]), tensor([2.0]))
    """
    leaves = _leaves("vjp", primals)
    y = _run("vjp", fn, leaves)

    def pull(gy: Any) -> tuple[Tensor, ...]:
        walk = Walk(True, leaves)
        if y.requires_grad:
            walk.run([(y, first_gradient(y, gy, "vjp"))])
        found = [walk.found.get(id(x)) for x in leaves]
        return tuple(
            [Tensor(np.zeros_like(x.array) if g is None else g)
             for x, g in zip(leaves, found, strict=True)]
        )  # fmt: skip

    return y.detach(), pull
