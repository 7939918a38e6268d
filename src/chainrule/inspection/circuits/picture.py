"""What a picture of a circuit shows: boxes and links, one a gate, or folded by layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from typing import Literal

from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Circuit, Gate, Wire
from chainrule.inspection.circuits.signs import DRAWN, shaped, sign, written
from chainrule.inspection.circuits.steps import local_text

BoxKind = Literal["source", "constant", "gate", "group", "output"]

_LONGEST = 48  # characters of a label: a matrix of three rows


@dataclass
class Box:
    """A source, a gate, a group of gates, or the output; `lines` stand below the title.

    `gates` are those that a box of a folded picture stands for, none for an output.
    """

    title: str
    kind: BoxKind
    lines: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()


@dataclass
class Link:
    """From a box to a box: what goes forward above, what comes back below, the local derivative."""

    start: int
    end: int
    above: str = ""
    below: str = ""
    local: str = ""


@dataclass
class Picture:
    """Boxes, each after those that lead to it, and links; if folded, from top to bottom."""

    boxes: list[Box]
    links: list[Link]
    folded: bool = False


def whole(circuit: Circuit, digits: int = 4) -> Picture:
    """Show every gate."""
    picture = Picture([], [])
    place: dict[int, int] = {}
    branches = Counter(id(wire.gate) for gate in circuit.gates for wire in gate.inputs)
    for gate in circuit.gates:
        place[id(gate)] = len(picture.boxes)
        picture.boxes.append(_box(gate, digits, branches[id(gate)] > 1))
        for k, wire in enumerate(gate.inputs):
            picture.links.append(_link(gate, k, wire, place, digits))
    for wire in circuit.outputs:
        start, end = place[id(wire.gate)], len(picture.boxes)
        picture.boxes.append(Box(wire.name, "output", ()))
        below = "" if wire.gradient is None else _short(wire.gradient, wire.shape, digits)
        picture.links.append(Link(start, end, _short(wire.value, wire.shape, digits), below))
    return picture


def folded(circuit: Circuit, most: int, depth: int | None = None) -> Picture:
    """Show groups of gates that ran one after the other: those of one layer, at most `most`.

    Layers are cut at `depth` names, or as deep as `most` allows.  Gates without layers, and more
    groups than that, are joined to groups of equal length.  Since groups are stretches of the
    order in which the gates ran, no circle can come about.
    """
    groups = _groups(circuit, most, depth)
    picture, place = Picture([], [], folded=True), {}
    for gate in circuit.gates:
        if gate.kind == "input":
            place[id(gate)] = len(picture.boxes)
            picture.boxes.append(Box(gate.name, "source", (shaped(gate.shapes[0]),), (gate,)))
    for title, gates in groups:
        for gate in gates:
            place[id(gate)] = len(picture.boxes)
        picture.boxes.append(replace(_group_box(title, gates), gates=tuple(gates)))
    seen: dict[tuple[int, int], Link] = {}
    for _, gates in groups:
        for gate in gates:
            for wire in gate.inputs:
                _cross(picture, seen, place, wire, place[id(gate)])
    for wire in circuit.outputs:
        end = len(picture.boxes)
        picture.boxes.append(Box(wire.name, "output", (_short(wire.value, wire.shape, 4),)))
        picture.links.append(Link(place[id(wire.gate)], end, shaped(wire.shape)))
    return picture


def _cross(
    picture: Picture,
    seen: dict[tuple[int, int], Link],
    place: dict[int, int],
    wire: Wire,
    end: int,
) -> None:
    """Link two groups once, however many wires cross between them; weights cross nothing."""
    start = place.get(id(wire.gate))
    if start is None or start == end:
        return
    if (start, end) not in seen:
        seen[start, end] = Link(start, end, shaped(wire.shape))
        picture.links.append(seen[start, end])
    elif shaped(wire.shape) != seen[start, end].above:
        seen[start, end].above = "several values"


def _groups(circuit: Circuit, most: int, depth: int | None) -> list[tuple[str, list[Gate]]]:
    gates = list(circuit.operations)
    if not any(gate.layer for gate in gates):
        return [("", gates)] if len(gates) <= 1 else _joined_gates(gates, most)
    deepest = max((gate.layer.count(".") + 1 for gate in gates if gate.layer), default=0)
    depths = range(deepest, 0, -1) if depth is None else [depth]
    found: list[tuple[str, list[Gate]]] = []
    for cut in depths:
        found = [(path, list(run)) for path, run in groupby(gates, partial(_path, depth=cut))]
        if len(found) <= most:
            break
    return found if len(found) <= most else _joined(found, most)


def _path(gate: Gate, depth: int) -> str:
    return ".".join(gate.layer.split(".")[:depth])


def _joined(groups: Sequence[tuple[str, list[Gate]]], most: int) -> list[tuple[str, list[Gate]]]:
    """Join neighbours, so that at most so many groups of about equal length remain."""
    found = []
    bounds = [len(groups) * k // most for k in range(most + 1)]
    for first, last in pairwise(bounds):
        gates = [gate for _, group in groups[first:last] for gate in group]
        names = [name for name, _ in groups[first:last] if name]
        title = f"{names[0]} ... {names[-1]}" if names else ""
        found.append((title, gates))
    return found


def _joined_gates(gates: list[Gate], most: int) -> list[tuple[str, list[Gate]]]:
    """Cut gates without layers to stretches of equal length."""
    bounds = (
        [len(gates) * k // most for k in range(most + 1)]
        if len(gates) > most
        else (list(range(len(gates) + 1)))
    )
    return [
        (f"operations {first + 1:,} to {last:,}" if last - first > 1 else "", gates[first:last])
        for first, last in pairwise(bounds)
    ]


def _group_box(title: str, gates: Sequence[Gate]) -> Box:
    kinds = Counter((type(gate.op), getattr(gate.op, "kind", "")) for gate in gates)
    some = {(type(gate.op), getattr(gate.op, "kind", "")): gate.op for gate in gates}
    counts: Counter[str] = Counter()
    for kind, count in kinds.items():  # names are written once a kind
        op = some[kind]
        assert op is not None
        counts[sign(op)] += count
    most = counts.most_common(4)
    parts = [name if count == 1 else f"{count:,} {name}" for name, count in most]
    text = ", ".join(parts) + (", ..." if len(counts) > len(most) else "")
    if len(gates) == 1 and not title:
        return Box(text, "gate")
    return Box(title or text, "group", (text,) if title else ())


def _box(gate: Gate, digits: int, branches: bool) -> Box:
    total = gate.wires[0].gradient
    lines: tuple[str, ...] = ()
    if branches and total is not None and gate.kind != "constant":
        lines = (f"sum {_short(total, gate.shapes[0], digits)}",)  # gradients add where wires part
    if gate.op is not None:
        text = sign(gate.op)
        return Box(DRAWN.get(text, text), "gate", lines)
    value = _short(gate.values[0], gate.shapes[0], digits)
    if gate.kind == "constant":
        return Box(value, "constant")
    return Box(gate.name, "source", lines)


def _link(gate: Gate, k: int, wire: Wire, place: dict[int, int], digits: int) -> Link:
    passed = gate.passed[k] if gate.passed else None
    start, end = place[id(wire.gate)], place[id(gate)]
    if wire.gate.kind == "constant":
        return Link(start, end)
    above = _short(wire.value, wire.shape, digits)
    if passed is None:  # walked by somebody else: what has arrived at the wire
        arrived = wire.gradient
        below = "" if arrived is None else _short(arrived, wire.shape, digits)
        return Link(start, end, above, below)
    local = local_text(gate, k, digits)
    return Link(
        start,
        end,
        above,
        _short(passed, wire.shape, digits),
        "" if len(local) > _LONGEST else local,
    )


def _short(value: Array | None, shape: tuple[int, ...], digits: int) -> str:
    text = written(value, shape, digits)
    return text if len(text) <= _LONGEST else shaped(shape)
