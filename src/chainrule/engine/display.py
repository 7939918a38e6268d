"""How a tensor prints: its values, then what tells it from a plain float32 tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

_UNSAID = (np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_))


def tensor_repr(tensor: Any) -> str:
    """Write `tensor([1.0, 2.0], op=Exp())`: values, unusual dtype, device, origin."""
    array, facts = tensor.array, []
    if tensor.is_meta or array.size == 0:
        facts.append(f"shape={array.shape}")
    if array.dtype not in _UNSAID:
        facts.append(f"dtype={array.dtype}")
    if tensor.is_meta:
        facts.append("device='meta'")
    if tensor._node is not None:
        facts.append(f"op={tensor._node.op!r}")
    elif tensor._requires_grad:
        facts.append("requires_grad=True")
    name = type(tensor).__name__.lower()
    values = "..." if tensor.is_meta else "[]" if array.size == 0 else _values(array, name)
    return f"{name}({', '.join([values, *facts])})"


def _values(array: Any, name: str) -> str:
    kind = array.dtype.kind
    write = _float_writer(array) if kind == "f" else _aligned(array, _shown(array), str)
    names = {"f": "float_kind", "b": "bool"}
    return np.array2string(
        array,
        separator=", ",
        prefix=f"{name}(",
        threshold=200,
        edgeitems=3,
        max_line_width=100,
        formatter=cast("Any", {names.get(kind, "int_kind"): write}),
    )


def _float_writer(array: Any) -> Callable[[Any], str]:
    """Write with as many decimals as the values need, 1 to 4; aligned from two axes on."""
    shown = _shown(array)
    finite = np.abs(shown[np.isfinite(shown)].astype(np.float64))
    nonzero = finite[finite > 0]
    if nonzero.size and (nonzero.max() >= 1e6 or nonzero.min() < 1e-4):
        return _aligned(array, shown, lambda v: f"{float(v):.4e}")
    decimals = [len(f"{v:.4f}".rstrip("0").partition(".")[2]) for v in finite]
    digits = max(decimals, default=1) or 1
    return _aligned(array, shown, lambda v: f"{float(v):.{digits}f}")


def _shown(array: Any) -> Any:
    """Give the values that decide the width; of a long tensor those near its ends."""
    flat = array.reshape(-1)
    return flat if flat.size <= 1000 else np.concatenate([flat[:500], flat[-500:]])


def _aligned(array: Any, shown: Any, write: Callable[[Any], str]) -> Callable[[Any], str]:
    width = max((len(write(v)) for v in shown), default=0) if array.ndim > 1 else 0
    return lambda v: write(v).rjust(width)
