"""Choices and loops: operators with graphs inside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import Node, axis_of, number, reads, refuse
from chainrule.ops.join import stack
from chainrule.ops.permute import flip

Values = dict[str, Any]


@reads("If", since="1 11 13 16 19 21 23 24 25", scoped=True)
def _if(n: Node, condition: Tensor, *, scope: Values) -> tuple[Any, ...]:
    """Run one of two graphs."""
    branch = n.get("then_branch" if number(condition) else "else_branch")
    return tuple(branch.run({}, scope))


@reads("Loop", since="1 11 13 16 19 21 23 24 25", scoped=True)
def _loop(
    n: Node, count: Tensor | None, condition: Tensor | None, *state: Any, scope: Values
) -> tuple[Any, ...]:
    """Run a graph until its condition fails or the count is reached; collect what it gives out."""
    body = n.get("body")
    most = None if count is None else int(number(count))
    going = True if condition is None else bool(number(condition))
    if len(body.inputs) != 2 + len(state) or len(body.outputs) < 1 + len(state):
        raise DataError(f"onnx: {n}: a body of {len(body.inputs)} inputs for {len(state)} states")
    gathered: list[list[Tensor]] = [[] for _ in body.outputs[1 + len(state) :]]
    turn = 0
    while going and (most is None or turn < most):
        values = (Tensor(np.array(turn, np.int64)), Tensor(np.array(True)), *state)
        found = body.run(dict(zip(body.inputs, values, strict=True)), scope)
        going, state = bool(number(found[0])), tuple(found[1 : 1 + len(state)])
        for collected, value in zip(gathered, found[1 + len(state) :], strict=True):
            collected.append(value)
        turn += 1
    if not turn and gathered:
        raise refuse(n, "a loop without a turn that collects values")
    return (*state, *(stack(collected, 0) for collected in gathered))


def _only_first_axes(n: Node) -> str | None:
    if n.version < 9:
        return "Scan of opset 8"
    return None


@reads("Scan", since="8 9 11 16 19 21 23 24 25", scoped=True, check=_only_first_axes)
def _scan(n: Node, *given: Tensor, scope: Values) -> tuple[Tensor, ...]:
    """Run a graph for each slice of the inputs, handing states on; collect what it gives out."""
    body, count = n.get("body"), n.get("num_scan_inputs")
    states, scanned = given[: len(given) - count], list(given[len(given) - count :])
    axes = n.get("scan_input_axes") or [0] * count
    for i, back in enumerate(n.get("scan_input_directions") or [0] * count):
        axis = axis_of(n, axes[i], scanned[i].ndim)
        scanned[i] = flip(scanned[i], (axis,)) if back else scanned[i]
        axes[i] = axis
    lengths = {x.shape[axis] for x, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1:
        raise DataError(f"onnx: {n}: inputs of {sorted(lengths)} slices")
    gathered: list[list[Tensor]] = [[] for _ in body.outputs[len(states) :]]
    for i in range(lengths.pop()):
        parts = [x.select(axis, i) for x, axis in zip(scanned, axes, strict=True)]
        found = body.run(dict(zip(body.inputs, (*states, *parts), strict=True)), scope)
        states = tuple(found[: len(states)])
        for collected, value in zip(gathered, found[len(states) :], strict=True):
            collected.append(value)
    if gathered and not gathered[0]:
        raise refuse(n, "a scan of nothing")
    outputs = []
    backs = n.get("scan_output_directions") or [0] * len(gathered)
    for i, axis in enumerate(n.get("scan_output_axes") or [0] * len(gathered)):
        y = stack(gathered[i][::-1] if backs[i] else gathered[i], axis)
        outputs.append(y)
    return (*states, *outputs)
