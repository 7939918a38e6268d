"""What a picture of a circuit shows: boxes and links, one box a gate; `folding` makes groups."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Circuit, Gate, Wire
from chainrule.inspection.circuits.signs import DRAWN, shaped, sign, written
from chainrule.inspection.circuits.steps import local_text

BoxKind = Literal["source", "constant", "gate", "group", "output"]

_LONGEST = 56  # characters of a label: a matrix of three rows


@dataclass
class Box:
    """A source, a gate, a group of gates, or the output; `lines` stand below the title.

    `gates` are those that it stands for, none for an output.  `gives` says all that leaves it,
    where links are too many for a label each.
    """

    title: str
    kind: BoxKind
    lines: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    gives: str = ""


@dataclass
class Link:
    """From a box to a box: what goes forward above, what comes back below, the local derivative.

    Of a link that stands for one wire `into` is the gate that reads it, and as which input.
    `fresh` names the label that a walk through the picture has just brought.
    """

    start: int
    end: int
    above: str = ""
    below: str = ""
    local: str = ""
    into: tuple[Gate, int] | None = None
    fresh: Literal["", "above", "below"] = ""


@dataclass
class Picture:
    """Boxes, each after those that lead to it, and links; if folded, from top to bottom.

    `note` says of what the gradients are, where that is a question.
    """

    boxes: list[Box]
    links: list[Link]
    folded: bool = False
    note: str = ""


def whole(circuit: Circuit, digits: int = 4) -> Picture:
    """Show every gate."""
    picture = Picture([], [])
    place: dict[int, int] = {}
    branches = Counter(id(wire.gate) for gate in circuit.gates for wire in gate.inputs)
    for gate in circuit.gates:
        place[id(gate)] = len(picture.boxes)
        picture.boxes.append(_box(gate, digits, branches[id(gate)] > 1))
        picture.boxes[-1].gates = (gate,)
        for k, wire in enumerate(gate.inputs):
            alone = branches[id(wire.gate)] == 1
            picture.links.append(_link(gate, k, wire, place, digits, alone))
            picture.links[-1].into = gate, k
    for wire in circuit.outputs:
        start, end = place[id(wire.gate)], len(picture.boxes)
        picture.boxes.append(Box(wire.name, "output", ()))
        below = "" if wire.gradient is None else short(wire.gradient, wire.shape, digits)
        picture.links.append(Link(start, end, short(wire.value, wire.shape, digits), below))
    if any(link.below for link in picture.links):
        picture.note = circuit.whose
    return picture


def _box(gate: Gate, digits: int, branches: bool) -> Box:
    total = gate.wires[0].gradient
    lines: tuple[str, ...] = ()
    if branches and total is not None and gate.kind != "constant":
        lines = (sum_line(total, gate.shapes[0], digits),)  # gradients add where wires part
    if gate.op is not None:
        text = sign(gate.op)
        return Box(DRAWN.get(text, text), "gate", lines)
    value = short(gate.values[0], gate.shapes[0], digits)
    if gate.kind == "constant":
        return Box(value, "constant")
    return Box(gate.name, "source", lines)


def sum_line(total: Array, shape: tuple[int, ...], digits: int = 4) -> str:
    """Write the sum of the gradients that arrive at a value which is read several times."""
    return f"sum {short(total, shape, digits)}"


def _link(gate: Gate, k: int, wire: Wire, place: dict[int, int], digits: int, alone: bool) -> Link:
    passed = gate.passed[k] if gate.passed else None
    start, end = place[id(wire.gate)], place[id(gate)]
    if wire.gate.kind == "constant":
        return Link(start, end)
    above = short(wire.value, wire.shape, digits)
    if passed is None:  # walked by somebody else: what has arrived at a wire, where it is alone
        arrived = wire.gradient if alone and not gate.passed else None
        below = "" if arrived is None else short(arrived, wire.shape, digits)
        return Link(start, end, above, below)
    local = local_text(gate, k, digits)
    return Link(
        start,
        end,
        above,
        short(passed, wire.shape, digits),
        "" if len(local) > _LONGEST else local,
    )


def short(value: Array | None, shape: tuple[int, ...], digits: int) -> str:
    """Write a value where there is little room: its numbers if they fit, else its shape."""
    text = written(value, shape, digits)
    return text if len(text) <= _LONGEST else shaped(shape)
