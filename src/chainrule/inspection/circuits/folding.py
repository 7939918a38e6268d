"""Large circuits as pictures: groups of gates that ran one after the other, few side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise

import numpy as np

from chainrule.inspection.circuits.gates import Circuit, Gate, Wire
from chainrule.inspection.circuits.layout import ranks_of
from chainrule.inspection.circuits.picture import Box, Link, Picture, short
from chainrule.inspection.circuits.signs import shaped, sign

ACROSS, FEW = 6, 3
"""Groups, and boxes of sources, that stand side by side; more are joined."""


@dataclass(frozen=True)
class _Group:
    """Gates in one box: sources, those of a layer, or a stretch of the order in which they ran."""

    title: str
    gates: list[Gate]
    source: bool = False


def folded(circuit: Circuit, most: int, depth: int | None = None) -> Picture:
    """Show groups of gates that ran one after the other: those of one layer, at most `most`.

    Layers are cut at `depth` names, or as deep as `most` allows.  Gates without layers, and more
    groups than that, are joined to groups of equal length.  Since groups are stretches of the
    order in which the gates ran, no circle can come about; nor does one where groups are joined
    that stand side by side, which keeps a row to `ACROSS` of them and `FEW` boxes of sources.
    """
    groups = [_Group(*found) for found in _groups(circuit, most, depth) if found[1]]
    groups = [*_sources(circuit, groups), *groups]
    picture = _picture(circuit, groups)
    joined = _narrowed(groups, ranks_of(picture))
    return picture if len(joined) == len(groups) else _picture(circuit, joined)


def _sources(circuit: Circuit, groups: Sequence[_Group]) -> list[_Group]:
    """Give the inputs, those together that are first read by one group, if they are many."""
    first: dict[int, int] = {}
    for number, group in enumerate(groups):
        for gate in group.gates:
            for wire in gate.inputs:
                first.setdefault(id(wire.gate), number)
    batches: dict[int, list[Gate]] = {}
    ends = {id(wire.gate) for wire in circuit.outputs if wire.gate.op is None}
    for gate in circuit.gates:
        if gate.kind == "input" or id(gate) in ends:
            batches.setdefault(first.get(id(gate), -1), []).append(gate)
    found = []
    for gates in batches.values():
        parts = [[gate] for gate in gates] if len(gates) <= FEW else [gates]
        found += [_Group("", part, source=True) for part in parts]
    return found


def _narrowed(groups: Sequence[_Group], ranks: Sequence[int]) -> list[_Group]:
    """Join the groups of each rank that are too many to stand side by side.

    All that leads to a group has a lower rank, so that the new groups come in the order of ranks.
    """
    rows: dict[tuple[int, bool], list[_Group]] = {}
    for group, rank in zip(groups, ranks, strict=False):  # the outputs' ranks come after
        rows.setdefault((rank, not group.source), []).append(group)
    found = []
    for (_, operations), row in sorted(rows.items(), key=lambda item: item[0]):
        most = ACROSS if operations else FEW
        bounds = [len(row) * k // most for k in range(most + 1)]
        if len(row) <= most:
            bounds = list(range(len(row) + 1))
        found += [_together(row[first:last]) for first, last in pairwise(bounds)]
    return found


def _together(groups: Sequence[_Group]) -> _Group:
    if len(groups) == 1:
        return groups[0]
    names = [name for group in groups for name in group.title.split(" ... ") if name]
    title = f"{names[0]} ... {names[-1]}" if names else ""
    gates = [gate for group in groups for gate in group.gates]
    return _Group(title, gates, groups[0].source)


def _picture(circuit: Circuit, groups: Sequence[_Group]) -> Picture:
    picture, place = Picture([], [], folded=True), dict[int, int]()
    numbers = {id(gate): k for k, gate in enumerate(circuit.operations, 1)}
    for group in groups:
        place.update({id(gate): len(picture.boxes) for gate in group.gates})
        box = _source_box(group.gates) if group.source else _group_box(group, numbers)
        box.gates = tuple(group.gates)
        picture.boxes.append(box)
    crossing: dict[tuple[int, int], set[Wire]] = {}
    for end, group in enumerate(groups):
        for gate in group.gates:
            for wire in gate.inputs:
                start = place.get(id(wire.gate), end)  # weights and constants are not drawn
                if start != end:
                    crossing.setdefault((start, end), set()).add(wire)
    leaving: dict[int, set[Wire]] = {}
    for (start, end), wires in crossing.items():
        picture.links.append(Link(start, end, _crossed(wires)))
        leaving.setdefault(start, set()).update(wires)
    for wire in circuit.outputs:
        leaving.setdefault(place[id(wire.gate)], set()).add(wire)
    for start, wires in leaving.items():
        picture.boxes[start].gives = _crossed(wires)
    _outputs(circuit, picture, place)
    return picture


def _crossed(wires: set[Wire]) -> str:
    """Write what goes from a group to a group."""
    shapes = {wire.shape for wire in wires}
    if len(shapes) > 1:
        return "several values"
    (shape,) = shapes
    if len(wires) == 1:
        return shaped(shape)
    return f"{len(wires):,} times {shaped(shape)}" if shape else f"{len(wires):,} numbers"


def _outputs(circuit: Circuit, picture: Picture, place: dict[int, int]) -> None:
    """Draw each output, or all in one box if they are many."""
    wires = circuit.outputs
    if len(wires) <= ACROSS:
        for wire in wires:
            picture.links.append(Link(place[id(wire.gate)], len(picture.boxes), shaped(wire.shape)))
            picture.boxes.append(Box(wire.name, "output", (short(wire.value, wire.shape, 4),)))
        return
    ends: dict[int, set[Wire]] = {}
    for wire in wires:
        ends.setdefault(place[id(wire.gate)], set()).add(wire)
    end = len(picture.boxes)
    picture.links += [Link(start, end, _crossed(some)) for start, some in ends.items()]
    title = f"{wires[0].name} ... {wires[-1].name}"
    picture.boxes.append(Box(title, "output", (f"{len(wires):,} outputs",)))


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
    """Cut gates without layers to stretches of about equal length, where few values cross."""
    most = min(most, len(gates))
    live, slack, bounds = _live(gates), len(gates) // most // 4, [0]
    for k in range(1, most):
        middle = len(gates) * k // most
        near = range(max(bounds[-1] + 1, middle - slack), middle + slack + 1)
        bounds.append(min((live[cut], abs(cut - middle), cut) for cut in near)[-1])
    return [("", gates[first:last]) for first, last in pairwise([*bounds, len(gates)])]


def _live(gates: Sequence[Gate]) -> list[int]:
    """Count for each cut, before the gate of that number, the values that are read beyond it."""
    numbers = {id(gate): k for k, gate in enumerate(gates)}
    last: dict[Wire, int] = {}
    for k, gate in enumerate(gates):
        last.update(dict.fromkeys((w for w in gate.inputs if w.gate.op is not None), k))
    steps = np.zeros(len(gates) + 2, np.int64)
    for wire, end in last.items():
        steps[numbers[id(wire.gate)] + 1] += 1
        steps[end + 1] -= 1
    counts: list[int] = np.cumsum(steps).tolist()
    return counts


def _source_box(gates: Sequence[Gate]) -> Box:
    shapes = {gate.shapes[0] for gate in gates}
    shape = shaped(gates[0].shapes[0])
    if len(gates) == 1:
        return Box(gates[0].name, "source", (shape,))
    each = f"{shape} each" if len(shapes) == 1 else "of several shapes"
    title = f"{gates[0].name} ... {gates[-1].name}"
    return Box(title, "source", (f"{len(gates):,} inputs, {each}",))


def _group_box(group: _Group, numbers: dict[int, int]) -> Box:
    gates = group.gates
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
    if len(gates) == 1 and not group.title:
        return Box(text, "gate")
    return Box(group.title or _stretch(gates, numbers), "group", (text,))


def _stretch(gates: Sequence[Gate], numbers: dict[int, int]) -> str:
    """Say which operations they are, by their numbers in the order in which they ran."""
    known = [numbers[id(gate)] for gate in gates]
    first, last = min(known), max(known)
    some = "" if last - first == len(known) - 1 else f"{len(known):,} of the "
    return f"{some}operations {first:,} to {last:,}"
