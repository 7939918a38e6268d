"""A value's arithmetic in words: the chain rule behind it, or the window behind one number."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import AxisError, DataError, GraphError, KindError, failure
from chainrule.inspection.circuits.drawings import names_of
from chainrule.inspection.circuits.gates import Gate, Wire, circuit_of
from chainrule.inspection.circuits.steps import gate_formula, text_of
from chainrule.inspection.circuits.windows import window_text

MOST = 200
"""Steps that are written."""


def explain(
    what: Any,
    index: Sequence[int] | int | None = None,
    *,
    gradient: Any = None,
    names: Mapping[str, Tensor] | None = None,
    digits: int = 4,
) -> str:
    """Write how a value came about, and the chain rule with its numbers.

    Without `index`: every step forward, then backward from the value (1, or `gradient`) to the
    leaves.  With the `index` of one number of a convolution, a max pooling, a linear layer or a
    matrix product: the window or the row behind it, the products and their sum, and what each
    input gets of a gradient of 1 at that number.

    `what` is a tensor with its history or a captured graph; `names` calls tensors by name, else
    the caller's variables are looked through.  Raises KindError for other things, AxisError for an
    index outside, DataError for more than 200 steps, GraphError for values that are not kept.

    >>> import chainrule as cr
    >>> x = cr.tensor([[3.0, 2.0], [0.0, 5.0]], requires_grad=True)
    >>> y = cr.max_pool2d(x[None, None], 2)
    >>> print(cr.explain(y, (0, 0, 0, 0)))  # doctest: +ELLIPSIS
    y[0, 0, 0, 0] = 5 is the largest of 4 numbers
    ...
    """
    if isinstance(what, Tensor) and names is None:
        names = names_of(sys._getframe(1))
    circuit = circuit_of(what, names)
    if index is not None:
        return one_number(circuit.outputs[0], index, digits)
    if len(circuit.gates) > MOST:
        raise DataError(
            f"explain: {len(circuit.gates):,} gates are more than {MOST}; draw() folds them, and "
            "index= explains one number by the last operation alone"
        )
    circuit.backward(gradient)
    return text_of(circuit, digits)


def one_number(end: Wire, index: Sequence[int] | int, digits: int = 4) -> str:
    """Explain one number of a gate's value, as `explain` does."""
    place = _checked(index, end.shape)
    gate = end.gate
    if gate.op is None:
        raise failure("explain", "a value that an operation made", error=KindError, value=end.name)
    text = window_text(gate, place, digits)
    return text if text is not None else _by_pulling(gate, place, digits)


def _checked(index: Sequence[int] | int, shape: tuple[int, ...]) -> tuple[int, ...]:
    place = (index,) if isinstance(index, int | np.integer) else tuple(index)
    if len(place) != len(shape) or not all(
        -size <= i < size for i, size in zip(place, shape, strict=False)
    ):
        rule = f"an index into {shape}, one number an axis"
        raise failure("explain", rule, error=AxisError, index=place)
    return tuple(int(i) % size for i, size in zip(place, shape, strict=True))


def _by_pulling(gate: Gate, place: tuple[int, ...], digits: int) -> str:
    """Explain one number of any operation by what a gradient of 1 there gives its inputs."""
    value = gate.values[0]
    where = f"{gate.name}[{', '.join(map(str, place))}]"
    said = "" if value is None else f" = {value[place].item():.{digits}g}"
    lines = [f"{where}{said} of {gate.name} = {gate_formula(gate, digits)}"]
    if gate.pull is None:
        raise GraphError(f"explain: what {gate.name} needs for its backward was freed or changed")
    one = np.zeros(gate.shapes[0], np.float32 if value is None else value.dtype)
    one[place] = 1
    for wire, found in zip(gate.inputs, gate.pull([one, *[None] * (len(gate.shapes) - 1)]),
                           strict=True):  # fmt: skip
        if found is None or wire.gate.kind == "constant":
            continue
        spots = np.argwhere(np.asarray(found))
        lines.append(f"a gradient of 1 there reaches {len(spots):,} numbers of {wire.name}:")
        for spot in spots[:16]:
            at = ", ".join(map(str, spot.tolist()))
            lines.append(f"  {wire.name}[{at}] gets {found[tuple(spot)].item():.{digits}g}")
        if len(spots) > 16:
            lines.append("  ...")
    return "\n".join(lines)
