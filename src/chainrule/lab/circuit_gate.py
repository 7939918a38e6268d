"""A gate that was chosen: its inputs, its derivative by each, and what it hands back to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.inspection.circuits.explanations import one_number
from chainrule.inspection.circuits.gates import Gate, Wire, local_jacobian
from chainrule.inspection.circuits.signs import number, shaped
from chainrule.inspection.circuits.steps import argument, local_text, product
from chainrule.lab.circuits import Known, Walk, kind_of

_MOST_BRANCHES = 50  # readers that are listed
_MOST_CELLS = 100  # numbers of a matrix that are written one by one

Cells = list[list[str]]


class Into(NamedTuple):
    """An input of the chosen gate; what is not known yet is empty.

    `local` is the derivative of the gate by it, `rule` the product in names and `product` in
    numbers, `passed` what comes of it; `jacobian` is outputs x inputs where it is small.
    """

    wire: Wire
    name: str
    value: str
    wanted: bool
    derivative: str
    local: str
    rule: str
    product: str
    passed: str
    jacobian: Cells


class Branch(NamedTuple):
    """A gate that reads the chosen one, and the gradient that it handed back."""

    reader: Gate
    formula: str
    passed: str


@dataclass(frozen=True)
class Chosen:
    """What is known of a gate by now; what is not is empty.

    `others` counts the branches that are not listed, `complete` says that all have handed back.
    """

    gate: Gate
    formula: str
    shape: str
    value: str
    upstream: str
    gradient: str
    inputs: list[Into]
    branches: list[Branch]
    others: int
    complete: bool
    cells: Cells
    gradient_cells: Cells


def chosen_of(walk: Walk, known: Known, gate: Gate) -> Chosen:
    """Gather what is known of a gate after so many steps.

    >>> from chainrule.lab.circuits import walk_of
    >>> found = walk_of("(x + y) * z", "x=-2 y=5 z=-4", 4)
    >>> seen = chosen_of(found, found.known(10), found.gate("q1"))
    >>> [f"{into.product} = {into.passed}" for into in seen.inputs]
    ['1 * -4 = -4', '1 * -4 = -4']
    """
    wire, value = Wire(gate, 0), known.value(gate)
    arrived = known.arrived(gate)
    branches = _branches(walk, known, gate)
    start = wire == walk.end
    return Chosen(
        gate,
        kind_of(walk, gate),
        shaped(wire.shape),
        walk.written(wire.value, wire) if value else "",
        f"d{walk.top}/d{gate.name}",
        "" if arrived is None else walk.written(arrived, wire),
        [_into(walk, known, gate, place) for place in range(len(gate.inputs))],
        branches[:_MOST_BRANCHES],
        len(branches[_MOST_BRANCHES:]),
        arrived is not None and (known.started if start else all(b.passed for b in branches)),
        _cells(walk, wire.value) if value else [],
        _cells(walk, arrived),
    )


def _into(walk: Walk, known: Known, gate: Gate, place: int) -> Into:
    wire = gate.inputs[place]
    done = known.passed(gate, place)
    derivative, upstream = f"d{gate.name}/d{wire.name}", f"d{walk.top}/d{gate.name}"
    text = _product(walk, gate, place) if done else ""
    return Into(
        wire,
        argument(gate, wire, walk.digits),
        walk.written(wire.value, wire) if known.value(wire.gate) else "",
        wire.gate.kind != "constant",
        derivative,
        local_text(gate, place, walk.digits) if done else "",
        f"{derivative} * {upstream}",
        text,
        walk.written(gate.passed[place], wire) if done else "",
        _jacobian(walk, gate, place) if done else [],
    )


def _product(walk: Walk, gate: Gate, place: int) -> str:
    """Write local times upstream where these are numbers in pairs, else as the library does."""
    jacobian = local_jacobian(gate, place)
    text = product(gate, place, walk.digits)
    if jacobian is None or " @ " in text:
        return text
    local, gradient = local_text(gate, place, walk.digits), gate.wires[0].gradient
    return text if "Jacobian" in local else f"{local} * {walk.written(gradient, Wire(gate, 0))}"


def _jacobian(walk: Walk, gate: Gate, place: int) -> Cells:
    """Give a gate's derivative by an input, outputs x inputs, where it is small and no number."""
    found = local_jacobian(gate, place)
    if found is None or found.size == 1:
        return []
    return [[number(float(value), walk.digits) for value in row] for row in found]


def _branches(walk: Walk, known: Known, gate: Gate) -> list[Branch]:
    """List who reads a gate, in the order in which they hand their gradients back."""
    order = {id(other): number for number, other in enumerate(walk.circuit.gates)}
    readers = walk.circuit.users().get((id(gate), 0), [])
    found = []
    for reader, place in sorted(readers, key=lambda pair: (-order[id(pair[0])], pair[1])):
        done = known.passed(reader, place)
        passed = walk.written(reader.passed[place], Wire(gate, 0)) if done else ""
        found.append(Branch(reader, kind_of(walk, reader), passed))
    return found


def _cells(walk: Walk, value: Array | None) -> Cells:
    """Give the numbers of a matrix row by row, if it has not too many of them."""
    if value is None or not 0 < value.ndim <= 2 or not 1 < value.size <= _MOST_CELLS:
        return []
    return [[number(float(v), walk.digits) for v in row] for row in np.atleast_2d(value)]


def explained(walk: Walk, gate: Gate, at: str) -> str:
    """Explain one number of a gate, named by its place: "1,0".  DataError for another place."""
    try:
        place = tuple(int(part) for part in at.split(","))
    except ValueError:
        place = ()
    shape = gate.shapes[0]
    inside = len(place) == len(shape) and all(
        0 <= p < size for p, size in zip(place, shape, strict=True)
    )
    if not inside or gate.op is None:
        rule = f"a place in {shaped(shape)}, counted from 0, such as {','.join('0' * len(shape))}"
        raise DataError(f"at: expected {rule}; got {at[:40]!r}")
    return one_number(Wire(gate, 0), place, walk.digits)
