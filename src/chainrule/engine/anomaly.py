"""Naming the first operation that made NaN or infinity, and the line that called it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.errors import AnomalyError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def calling_line() -> str:
    """Write 'file:line in function: source' of the innermost frame outside this package."""
    frames = [f for f in traceback.extract_stack() if not f.filename.startswith(_PACKAGE)]
    if not frames:
        return "an unknown line"
    frame = frames[-1]
    source = f": {frame.line}" if frame.line else ""
    return f"{frame.filename}:{frame.lineno} in {frame.name}{source}"


def _bad(arrays: Iterable[Any]) -> int:
    floats = (a for a in arrays if a is not None and a.dtype.kind == "f")
    return sum(int(a.size - np.count_nonzero(np.isfinite(a))) for a in floats)


def _count(bad: int) -> str:
    return f"{bad} value{'s that are' if bad != 1 else ' that is'} not finite"


def check_forward(op: Any, inputs: Iterable[Any], outputs: Iterable[Any], node: Any) -> None:
    """Raise AnomalyError if an output is not finite; let the node remember its line."""
    line = calling_line()
    if node is not None:
        node.origin = line
    bad = _bad(outputs)
    if bad:
        given = _bad(inputs)
        source = f"; its inputs held {_count(given)} already" if given else ""
        raise AnomalyError(f"forward of {op!r} gave {_count(bad)}, called from {line}{source}")


def check_backward(node: Any, gradients: Iterable[Any]) -> None:
    """Raise AnomalyError if a gradient is not finite, naming the forward's line."""
    bad = _bad(gradients)
    if bad:
        line = node.origin or "a forward outside detect_anomaly"
        raise AnomalyError(
            f"backward of {node.op!r} gave {_count(bad)}; its forward was called from {line}"
        )
