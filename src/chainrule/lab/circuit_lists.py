"""The steps and the gates of a circuit as lists, of which long ones are shown in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from chainrule.inspection.circuits.gates import Gate, Wire
from chainrule.lab.circuits import Known, Walk, kind_of

PART = 100
"""Lines of a list that are shown at once."""


class StepLine(NamedTuple):
    """A step: its number from 1, what it says (or what it asks, if it was not taken yet)."""

    number: int
    text: str
    taken: bool
    now: bool


class GateRow(NamedTuple):
    """A gate with what is known of it; what is not is empty."""

    gate: Gate
    kind: str
    value: str
    gradient: str
    now: bool


@dataclass(frozen=True)
class Part:
    """Which lines of a list are shown: those from `first` to `last`, counted from 1, of `count`."""

    first: int
    last: int
    count: int

    @property
    def earlier(self) -> int | None:
        """A line of the part before."""
        return self.first - PART if self.first > 1 else None

    @property
    def later(self) -> int | None:
        """The first line of the part after."""
        return self.last + 1 if self.last < self.count else None


def part_with(line: int, count: int) -> Part:
    """Give the part of a list that holds a line.

    >>> part_with(150, 230), part_with(150, 230).later
    (Part(first=101, last=200, count=230), 201)
    """
    first = (line - 1) // PART * PART + 1
    return Part(first, min(first + PART - 1, count), count)


def step_lines(walk: Walk, known: Known, part: Part) -> list[StepLine]:
    """List the steps of a part; those to come without their numbers."""
    lines = []
    for number, step in enumerate(walk.steps[part.first - 1 : part.last], part.first):
        taken = number <= known.count
        text = walk.text(step) if taken else f"{walk.name(step)} = ?"
        lines.append(StepLine(number, text, taken, number == known.count))
    return lines


def gate_rows(walk: Walk, known: Known, part: Part) -> list[GateRow]:
    """List the gates of a part with what is known of each."""
    now, rows = walk.steps[known.count - 1].gate, []
    for gate in walk.circuit.gates[part.first - 1 : part.last]:
        wire, arrived = Wire(gate, 0), known.arrived(gate)
        value = walk.written(wire.value, wire) if known.value(gate) else ""
        gradient = "" if arrived is None else walk.written(arrived, wire)
        rows.append(GateRow(gate, kind_of(walk, gate), value, gradient, gate is now))
    return rows
