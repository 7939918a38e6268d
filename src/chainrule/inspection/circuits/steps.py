"""The walk through a circuit, forward and backward in order, and its arithmetic as text."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from chainrule.engine.node import SMALL
from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Circuit, Gate, Wire, local_jacobian
from chainrule.inspection.circuits.signs import formula, shaped, sign, written

UNKNOWN = (
    "a shape stands for small values that are not known: that were written since they were used, "
    "or that never were, on device meta"
)


class Step(NamedTuple):
    """What becomes known at one step of the walk.

    - `value`: what `gate` holds or computes.
    - `start`: the gradient of the output by itself, from which all others come.
    - `handed`: what `gate` adds to the gradient of `wire`, its input number `place`; `before` had
      arrived there from other branches, None if nothing, and `total` is the sum so far.
    """

    kind: Literal["value", "start", "handed"]
    gate: Gate
    wire: Wire
    place: int = 0
    before: Array | None = None
    total: Array | None = None


def forward_walk(circuit: Circuit) -> list[Step]:
    """List the steps forward: each source and each gate, in order."""
    return [Step("value", gate, Wire(gate, 0)) for gate in circuit.gates if gate.kind != "constant"]


def backward_walk(circuit: Circuit) -> list[Step]:
    """List the steps backward, from the output to the sources; none if no gradient is known."""
    begun = [wire for wire in circuit.outputs if wire.gradient is not None]
    if not circuit.gathered:
        begun = [wire for wire in begun if wire == circuit.end][:1]
    if not begun:
        return []
    steps = [Step("start", wire.gate, wire, total=wire.gradient) for wire in begun]
    sums: dict[tuple[int, int], Array] = {}
    for gate in reversed(circuit.gates):
        for place, (wire, passed) in enumerate(zip(gate.inputs, gate.passed, strict=False)):
            if passed is None or wire.gate.kind == "constant":
                continue
            key = (id(wire.gate), wire.number)
            before = sums.get(key)
            sums[key] = passed if before is None else before + passed
            steps.append(Step("handed", gate, wire, place, before, sums[key]))
    return steps


def step_name(step: Step, top: str) -> str:
    """Write what a step makes known: "q1", or "df/dq1" where `top` is the output's name."""
    if step.kind == "value":
        return " , ".join(wire.name for wire in step.gate.wires)
    return f"d{top}/d{step.wire.name}"


def step_text(step: Step, top: str, digits: int = 4) -> str:
    """Write a step with its numbers.

    Backward a line says the upstream gradient, the gate's local derivative, their product, and
    where branches meet the sum so far.
    """
    name = step_name(step, top)
    if step.kind == "value":
        return f"{name} = {_made(step.gate, digits)}"
    if step.kind == "start":
        return f"{name} = {written(step.total, step.wire.shape, digits)}"
    return f"{name} = {_handed(step, top, digits)}"


def text_of(circuit: Circuit, digits: int = 4) -> str:
    """Write all steps of a circuit whose gradients are known, or that has none."""
    parts = [["forward", *forward_steps(circuit, digits)]]
    backward, last = backward_steps(circuit, digits), results(circuit, digits)
    if circuit.whose and (backward or last):
        parts.append([circuit.whose])
    if backward:
        parts.append(["backward", *backward])
    if last:
        parts.append(["gradients", *last])
    if circuit.freed:
        parts.append([freed_note(circuit)])
    elif not backward:
        parts.append([_no_gradient(circuit)])
    if any(_unknown(wire) for gate in circuit.gates for wire in gate.wires):
        parts.append([UNKNOWN])
    return "\n\n".join("\n".join(part) for part in parts)


def _unknown(wire: Wire) -> bool:
    return wire.value is None and int(np.prod(wire.shape)) <= SMALL


def _no_gradient(circuit: Circuit) -> str:
    end = circuit.end
    if end.gate.op is None:
        return f"{end.name} = {written(end.value, end.shape)}: nothing was computed for it"
    if not any(gate.kind in ("input", "parameter") for gate in circuit.gates):
        return f"{end.name}: no gradient is wanted of what it was computed from"
    if end.value is not None and end.value.dtype.kind != "f":
        return f"{end.name} is of {end.value.dtype}: no gradient passes"
    hint = "give gradient= to see the way back, or sum them up"
    if len(circuit.outputs) > 1:
        hint += f"; it is one of {len(circuit.outputs)} outputs, output= chooses: "
        hint += ", ".join(wire.name for wire in circuit.outputs)
    return f"{end.name} has {shaped(end.shape)} numbers: {hint}"


def forward_steps(circuit: Circuit, digits: int = 4) -> list[str]:
    """Write what each source holds and each gate computes, in order."""
    return [step_text(step, circuit.top, digits) for step in forward_walk(circuit)]


def backward_steps(circuit: Circuit, digits: int = 4) -> list[str]:
    """Write what each gate hands to its inputs, from the output to the sources.

    Empty if no gradient is known.
    """
    return [step_text(step, circuit.top, digits) for step in backward_walk(circuit)]


def results(circuit: Circuit, digits: int = 4) -> list[str]:
    """Write the gradient of the output by each source."""
    top = circuit.top
    return [
        f"d{top}/d{gate.name} = {written(gate.gradients[0], gate.shapes[0], digits)}"
        for gate in circuit.gates
        if gate.op is None and gate.kind != "constant" and gate.wires[0].gradient is not None
    ]


def local_text(gate: Gate, place: int, digits: int = 4) -> str:
    """Write a gate's derivative by one input: the number, the diagonal, or the Jacobian's size."""
    jacobian, (out, inner) = local_jacobian(gate, place), _sizes(gate, place)
    if jacobian is None:
        return f"a Jacobian of {out:,} x {inner:,}"
    if jacobian.size == 1:
        return written(jacobian.reshape(()), (), digits)
    shape = gate.inputs[place].shape
    if gate.shapes[0] == shape and not np.any(jacobian - np.diag(np.diag(jacobian))):
        return written(np.diag(jacobian).reshape(shape), shape, digits)
    if jacobian.size > 8:
        return f"a Jacobian of {out} x {inner}"
    return f"the Jacobian {written(jacobian, jacobian.shape, digits)}"


def argument(gate: Gate, wire: Wire, digits: int = 4) -> str:
    """Name an input in a formula; a constant by its value."""
    if wire.gate.kind == "constant" and wire.value is not None and wire.value.size <= 4:
        return written(wire.value, wire.shape, digits)
    return wire.name


def gate_formula(gate: Gate, digits: int = 4) -> str:
    """Write what a gate computes, in the names of its inputs."""
    assert gate.op is not None
    return formula(gate.op, [argument(gate, wire, digits) for wire in gate.inputs])


def _made(gate: Gate, digits: int) -> str:
    value = " , ".join(written(w.value, w.shape, digits) for w in gate.wires)
    return value if gate.op is None else f"{gate_formula(gate, digits)} = {value}"


def _handed(step: Step, top: str, digits: int) -> str:
    gate, wire, before = step.gate, step.wire, step.before
    more = "" if before is None else f"{written(before, wire.shape, digits)} + "
    total = written(step.total, wire.shape, digits)
    if len(gate.shapes) > 1:
        text = f"{more}{_back_through(gate, step.place, top, digits)} = {total}"
    else:
        rule = f"{more}d{top}/d{gate.name} * d{gate.name}/d{wire.name} = "
        text = "" if gate.name == top else rule
        text += f"{more}{product(gate, step.place, digits)} = {total}"
    return text if before is None else f"{text}   (branches add)"


def _back_through(gate: Gate, place: int, top: str, digits: int) -> str:
    """Write what a gate of several values hands on: one gradient, made of those that arrived."""
    arrived = [w for w in gate.wires if w.gradient is not None]
    parts = [f"d{top}/d{w.name} = {written(w.gradient, w.shape, digits)}" for w in arrived]
    passed = gate.passed[place]
    handed = written(passed, gate.inputs[place].shape, digits)
    return f"back through {sign(gate.op)} of {', '.join(parts)}: {handed}" if gate.op else handed


def product(gate: Gate, place: int, digits: int = 4) -> str:
    """Write upstream times local; for matrices the transposed product: nobody forms Jacobians."""
    upstream = gate.wires[0].gradient
    said = "?" if upstream is None else written(upstream, gate.shapes[0], digits)
    if type(gate.op).__name__ == "Matmul" and all(len(w.shape) == 2 for w in gate.inputs):
        other = gate.inputs[1 - place]
        factor = f"({argument(gate, other, digits)})^T = {said} @ {_turned(other, digits)}"
        if place == 1:
            factor = f"{_turned(other, digits)} @ {said}"
            return f"({argument(gate, other, digits)})^T @ upstream = {factor}"
        return f"upstream @ {factor}"
    return f"{said} * {local_text(gate, place, digits)}"


def _turned(wire: Wire, digits: int) -> str:
    value = wire.value
    shape = wire.shape[::-1]
    return written(None if value is None else value.T, shape, digits)


def _sizes(gate: Gate, place: int) -> tuple[int, int]:
    return int(np.prod(gate.shapes[0])), int(np.prod(gate.inputs[place].shape))


def freed_note(circuit: Circuit) -> str:
    """Say why inner gradients are not known, if an earlier backward is the reason."""
    if not circuit.freed:
        return ""
    return (
        "the gradients inside were freed by backward(), or what they need was written since: look "
        "before that, or call backward(retain_graph=True)"
    )
