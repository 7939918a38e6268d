"""The border of the flat functions: plain arrays in, the operations' formulas, plain arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure


def plain(name: str, what: str, value: Any) -> Array:
    """Give a value as a NumPy array of numbers; KindError for tensors and for what is none."""
    if isinstance(value, Tensor):
        hint = "write t.detach().numpy(), or use the functions of chainrule itself"
        raise failure(name, f"{what} to be a plain array", error=KindError, hint=hint, value=value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise failure(name, f"{what} with equal lengths at every depth ({error})") from error
    if array.dtype.kind not in "fiub":
        raise failure(name, f"{what} of real numbers", error=KindError, value=array)
    return array


def floats(name: str, **values: Any) -> list[Array]:
    """Give arrays of one floating dtype: the widest that came; integers count as float64.

    Bare Python numbers take the dtype of the arrays beside them.
    """
    arrays = [plain(name, what, value) for what, value in values.items()]
    typed = [a for a, v in zip(arrays, values.values(), strict=True) if hasattr(v, "dtype")]
    kinds = [a.dtype if a.dtype.kind == "f" else np.dtype(np.float64) for a in typed or arrays]
    lists = [v for v in values.values() if not hasattr(v, "dtype") and np.ndim(v)]
    common = np.result_type(*kinds, *([np.float64] if lists else []))
    return [a.astype(common, copy=False) for a in arrays]


def own(result: Array, *inputs: Array) -> Array:
    """Copy a result that shares memory with an input, so that writing to it harms nothing."""
    shares = any(np.may_share_memory(result, a) for a in inputs)
    return result.copy() if shares else result


def specs(*arrays: Array) -> list[Spec]:
    """Describe arrays to an operation."""
    return [Spec(a.shape, a.dtype) for a in arrays]


def run(op: Op, *arrays: Array) -> tuple[Array, ...]:
    """Check the shapes, run the operation's forward, give its outputs."""
    op.infer(*specs(*arrays))
    outputs, _ = op.forward(np, *arrays)
    return tuple(own(np.asarray(y), *arrays) for y in outputs)


def back(
    name: str, op: Op, gradient: Array, *arrays: Array, needs: tuple[bool, ...] | None = None
) -> tuple[Any, ...]:
    """Run the operation's backward on the gradient of its (first) output.

    The forward runs again for what it saves: the functions remember nothing.
    """
    expected = op.infer(*specs(*arrays))
    check_same(name, "dLdy", gradient, expected[0].shape)
    outputs, saved = op.forward(np, *arrays)
    gy = gradient if len(outputs) == 1 else (gradient, *(None for _ in outputs[1:]))
    wanted = (True,) * len(arrays) if needs is None else needs
    gradients = op.backward(np, saved, gy, wanted)
    return tuple(None if g is None else own(np.asarray(g), gradient, *arrays) for g in gradients)


def check_same(name: str, what: str, array: Any, shape: tuple[int, ...]) -> None:
    """Raise ShapeError unless an array, if given, has the shape of the output."""
    if array is not None and np.shape(array) != shape:
        raise failure(name, f"{what} of the output's shape {shape}", **{what: np.shape(array)})
