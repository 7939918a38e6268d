"""Driving a layer by hand, as on the slides: `y = lin.forward(x); gx = lin.backward(x, gy)`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.graph import Walk, first_gradient
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, failure

_REPLAY: ContextVar[bool] = ContextVar("chainrule_replay", default=False)


def replaying() -> bool:
    """Tell whether a layer's last random mask is to be used again (a backward by hand)."""
    return _REPLAY.get()


def drive_backward(module: Any, inputs: list[Any], gy: Any) -> Any:
    """Run the forward again, then the walk from `gy`; see `Module.backward`."""
    leaves = [_leaf(x) for x in inputs]
    output = _run_again(module, leaves)
    if not isinstance(output, Tensor):
        raise failure(
            "backward by hand", "a layer of one output tensor", error=KindError, output=type(output)
        )
    Walk(False, None).run([(output, first_gradient(output, gy, "backward by hand"))])
    gradients = tuple([x.grad if isinstance(x, Tensor) else None for x in leaves])
    return gradients[0] if len(gradients) == 1 else gradients


def _run_again(module: Any, leaves: list[Any]) -> Any:
    """Call the module with its last random masks and put all buffers back afterwards."""
    kept = [
        (owner, name, buffer, buffer.array.copy(order="K"))
        for owner in module.modules()
        for name, buffer in owner._buffers.items()
        if buffer is not None
    ]
    replay, grad = _REPLAY.set(True), state.GRAD.set(True)
    try:
        return module(*leaves)
    finally:
        _REPLAY.reset(replay)
        state.GRAD.reset(grad)
        for owner, name, buffer, values in kept:
            np.copyto(buffer.array, values)
            owner._buffers[name] = buffer


def _leaf(value: Any) -> Any:
    if not isinstance(value, Tensor | np.ndarray):
        return value
    tensor = as_tensor(value)
    return Tensor(tensor.array, requires_grad=tensor.dtype.kind == "f")
