"""A value's arithmetic in words: the chain rule behind it, or the window behind one number."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, GraphError, KindError, failure
from chainrule.inspection.circuits.asking import checked_digits, checked_names, checked_place
from chainrule.inspection.circuits.drawings import names_of
from chainrule.inspection.circuits.gates import Circuit, Wire, circuit_of
from chainrule.inspection.circuits.signs import number
from chainrule.inspection.circuits.steps import gate_formula, text_of
from chainrule.inspection.circuits.windows import window_text
from chainrule.inspection.circuits.wording import at, counted

MOST = 200
"""Steps that are written."""


def explain(
    what: Any,
    index: Sequence[int] | int | None = None,
    *,
    gradient: Any = None,
    names: Mapping[str, Tensor] | None = None,
    digits: int = 4,
    output: int | str | None = None,
) -> str:
    """Write how a value came about, and the chain rule with its numbers.

    Without `index`: every step forward, then backward from the value (1, or `gradient`) to the
    leaves.  With the `index` of one number of a convolution, plain or transposed, of a pooling,
    largest or average, regular or adaptive, of a linear layer or a matrix product: the window or
    the row behind it, the products and their sum, the winner or the divisor, and what each input
    gets of a gradient of 1 at that number.  Of other operations: what the inputs get.

    `what` is a tensor with its history or a captured graph; `names` calls tensors by name, else
    the caller's variables are looked through.  Of a graph's several outputs `output` chooses one,
    by number or name; else it is the first, and the text says so.

    Raises KindError for other things, AxisError for an index outside and an output that there is
    not, ShapeError for a gradient of another shape, DataError for more than 200 steps, GraphError
    for values that are not kept.

    >>> import chainrule as cr
    >>> x = cr.tensor([[3.0, 2.0], [0.0, 5.0]], requires_grad=True)
    >>> y = cr.max_pool2d(x[None, None], 2)
    >>> print(cr.explain(y, (0, 0, 0, 0)))  # doctest: +ELLIPSIS
    y[0, 0, 0, 0] = 5 is the largest of 4 numbers
    ...
    """
    digits, names = checked_digits(digits, "explain"), checked_names(names, "explain")
    if isinstance(what, Tensor) and names is None:
        names = names_of(sys._getframe(1))
    circuit = circuit_of(what, names, output)
    if index is not None:
        if gradient is not None:
            rule = "either an index, whose gradient is 1, or a gradient of the whole value"
            raise failure("explain", rule, error=KindError, index=index, gradient=gradient)
        text = one_number(circuit.end, index, digits)
        told = output is not None or len(circuit.outputs) == 1
        return text if told else f"{text}\n(of {_others(circuit)})"
    if len(circuit.gates) > MOST:
        raise DataError(
            f"explain: {len(circuit.gates):,} gates are more than {MOST}; draw() folds them, and "
            "index= explains one number by the last operation alone"
        )
    circuit.backward(gradient)
    return text_of(circuit, digits)


def _others(circuit: Circuit) -> str:
    names = ", ".join(wire.name for wire in circuit.outputs)
    return f"{len(circuit.outputs)} outputs the first; output= chooses: {names}"


def one_number(end: Wire, index: Any, digits: int = 4) -> str:
    """Explain one number of a gate's value, as `explain` does."""
    place = checked_place(index, end.shape)
    if end.gate.op is None:
        hint = (
            "operations are remembered where an input wants a gradient (requires_grad_()), and by "
            "cr.capture(function, x)"
        )
        rule = "a value with the operation that made it"
        raise failure("explain", rule, error=KindError, hint=hint, value=end.name)
    text = window_text(end, place, digits)
    return text if text is not None else _by_pulling(end, place, digits)


def _by_pulling(end: Wire, place: tuple[int, ...], digits: int) -> str:
    """Explain one number of any operation by what a gradient of 1 there gives its inputs."""
    gate, value = end.gate, end.value
    where = at(end.name, place)
    said = "" if value is None else f" = {number(value[place].item(), digits)}"
    made = ", ".join(wire.name for wire in gate.wires)
    lines = [f"{where}{said} of {made} = {gate_formula(gate, digits)}"]
    if value is not None and value.dtype.kind != "f":
        return f"{lines[0]}\n{value.dtype}: no gradient passes"
    if gate.pull is None:
        raise GraphError(f"explain: what {end.name} needs for its backward was freed or changed")
    one = np.zeros(end.shape, np.float32 if value is None else value.dtype)
    one[place] = 1
    gradients: list[Array | None] = [None] * len(gate.shapes)
    gradients[end.number] = one
    for wire, found in zip(gate.inputs, gate.pull(gradients), strict=True):
        if found is None or wire.gate.kind == "constant":
            continue
        spots = np.argwhere(np.asarray(found))
        many = counted(len(spots), "number") if len(spots) else "no number"
        lines.append(
            f"a gradient of 1 there reaches {many} of {wire.name}" + ":" * bool(len(spots))
        )
        for spot in spots[:16]:
            share = number(found[tuple(spot)].item(), digits)
            lines.append(f"  {at(wire.name, tuple(spot.tolist()))} gets {share}")
        if len(spots) > 16:
            lines.append("  ...")
    return "\n".join(lines)
