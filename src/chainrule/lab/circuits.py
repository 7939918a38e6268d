"""A typed circuit as a walk: what is known after so many steps, and its picture by then."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from chainrule.engine.op import Array
from chainrule.inspection.circuits import circuit_of_expression, read_values, split_values
from chainrule.inspection.circuits.drawings import MOST
from chainrule.inspection.circuits.folding import folded
from chainrule.inspection.circuits.gates import Circuit, Gate, Wire
from chainrule.inspection.circuits.layout import Layout
from chainrule.inspection.circuits.picture import Box, Link, Picture, sum_line, whole
from chainrule.inspection.circuits.signs import written
from chainrule.inspection.circuits.steps import (
    Step,
    backward_walk,
    forward_walk,
    gate_formula,
    step_name,
    step_text,
)
from chainrule.inspection.circuits.svg import Anchor, svg_of
from chainrule.lab.graphs import placed

LARGEST = 1_000_000
"""Numbers of all matrices of a circuit together: 8 MB."""

_KEPT = 8  # circuits that were asked for last
_SHELL = frozenset('"$`\\!\n\r')  # mean something to a shell between double quotes too


@dataclass(frozen=True)
class Known:
    """What the first `count` steps of a walk made known."""

    count: int
    gates: frozenset[int]
    handed: frozenset[tuple[int, int]]
    sums: dict[int, Array]
    started: bool

    def value(self, gate: Gate) -> bool:
        """Say whether a gate's value is known; constants are from the beginning."""
        return gate.kind == "constant" or id(gate) in self.gates

    def passed(self, gate: Gate, place: int) -> bool:
        """Say whether it is known what a gate hands to one of its inputs."""
        return (id(gate), place) in self.handed

    def arrived(self, gate: Gate) -> Array | None:
        """Give the gradient that has arrived at a gate's value by now."""
        return self.sums.get(id(gate))


@dataclass(frozen=True)
class Walk:
    """A circuit that was typed, its steps in order, and how it is drawn."""

    expression: str
    values: tuple[str, ...]
    digits: int
    circuit: Circuit
    forward: list[Step]
    backward: list[Step]
    picture: Picture

    @property
    def end(self) -> Wire:
        """The value that is looked at."""
        return self.circuit.end

    @property
    def top(self) -> str:
        """The name of the output."""
        return self.end.name

    @property
    def steps(self) -> list[Step]:
        """All steps, forward and then backward."""
        return [*self.forward, *self.backward]

    @cached_property
    def layout(self) -> Layout:
        """Where everything stands, with room for all that will be known."""
        return placed(self.picture)

    def name(self, step: Step) -> str:
        """Write what a step makes known."""
        return step_name(step, self.top)

    def text(self, step: Step) -> str:
        """Write a step with its numbers."""
        return step_text(step, self.top, self.digits)

    def gate(self, name: str) -> Gate | None:
        """Find a gate by its name."""
        return next((gate for gate in self.circuit.gates if gate.name == name), None)

    def written(self, value: Array | None, wire: Wire) -> str:
        """Write a value or a gradient of a wire."""
        return written(value, wire.shape, self.digits)

    def known(self, count: int) -> Known:
        """Say what is known after so many steps."""
        done = self.steps[:count]
        gates = frozenset(id(step.gate) for step in done if step.kind == "value")
        handed = frozenset((id(s.gate), s.place) for s in done if s.kind == "handed")
        sums = {id(s.wire.gate): s.total for s in done if s.total is not None}
        return Known(count, gates, handed, sums, any(step.kind == "start" for step in done))

    @property
    def command(self) -> str:
        """The command that prints the same on a terminal."""
        more = [] if self.digits == 4 else ["--digits", str(self.digits)]
        typed = [self.expression, *self.values]
        dashes = ["--"] if typed[0].startswith("-") else []
        return " ".join(["chainrule circuit", *more, *dashes, *map(_quoted, typed)])


@lru_cache(_KEPT)
def walk_of(expression: str, values: str, digits: int) -> Walk:
    """Compute a circuit from what was typed; DataError says what cannot be read or computed.

    >>> found = walk_of("(x + y) * z", "x=-2 y=5 z=-4", 4)
    >>> len(found.forward), len(found.backward), found.text(found.backward[1])
    (5, 5, 'df/dq1 = 1 * -4 = -4')
    """
    items = split_values(values)
    circuit = circuit_of_expression(expression, read_values(items), LARGEST)
    small = len(circuit.gates) <= MOST
    picture = whole(circuit, digits) if small else folded(circuit, MOST)
    forward, backward = forward_walk(circuit), backward_walk(circuit)
    return Walk(expression, tuple(items), digits, circuit, forward, backward, picture)


def svg_at(walk: Walk, known: Known, anchors: list[Anchor | None] | None = None) -> str:
    """Draw the circuit with those numbers alone that are known by now."""
    return svg_of(picture_at(walk, known), walk.layout, walk.expression, anchors or [])


def picture_at(walk: Walk, known: Known) -> Picture:
    """Leave out of a picture what is not known yet; folded ones show no numbers to leave out."""
    picture = walk.picture
    if picture.folded:
        return picture
    boxes = [_box_at(walk, box, known) for box in picture.boxes]
    now = walk.steps[known.count - 1]
    return Picture(boxes, [_link_at(link, boxes, known, now) for link in picture.links])


def _box_at(walk: Walk, box: Box, known: Known) -> Box:
    if not box.lines or not box.gates:
        return box
    total = known.arrived(box.gates[0])
    shape = box.gates[0].shapes[0]
    lines = () if total is None else (sum_line(total, shape, walk.digits),)
    return replace(box, lines=lines)


def _link_at(link: Link, boxes: list[Box], known: Known, now: Step) -> Link:
    source = boxes[link.start].gates[0]
    above = link.above if known.value(source) else ""
    back = known.started if link.into is None else known.passed(*link.into)
    below, local = (link.below, link.local) if back else ("", "")
    fresh: Literal["", "above", "below"] = ""
    if now.kind == "value":
        fresh = "above" if now.gate is source else ""
    elif link.into == ((now.gate, now.place) if now.kind == "handed" else None):
        fresh = "below"
    return replace(link, above=above, below=below, local=local, fresh=fresh)


def anchors_at(
    walk: Walk, known: Known, chosen: Gate | None, address: Callable[[str], str]
) -> list[Anchor | None]:
    """Make a link of each box: to its gate, or to the first one of a group."""
    now = walk.steps[known.count - 1].gate
    found: list[Anchor | None] = []
    for number, box in enumerate(walk.picture.boxes):
        if not box.gates:
            found.append(None)
            continue
        first, own = box.gates[0], set(map(id, box.gates))
        label = spoken(walk, known, first)
        if len(box.gates) > 1:
            label = f"{box.title}: {', '.join(box.lines)}" if box.lines else box.title
        found.append(
            Anchor(
                f"box-{number}",
                address(first.name),
                label,
                chosen is not None and id(chosen) in own,
                id(now) in own,
            )
        )
    return found


def spoken(walk: Walk, known: Known, gate: Gate) -> str:
    """Say in a line what a gate is and what is known of it."""
    wire = Wire(gate, 0)
    said = [f"{gate.name}: {kind_of(walk, gate)}"]
    if known.value(gate):
        said.append(f"value {walk.written(wire.value, wire)}")
    arrived = known.arrived(gate)
    if arrived is not None:
        said.append(f"gradient {walk.written(arrived, wire)}")
    return ", ".join(said)


def kind_of(walk: Walk, gate: Gate) -> str:
    """Write what a gate computes; of a source, that it is one."""
    if gate.op is None:
        return "constant" if gate.kind == "constant" else "input"
    return gate_formula(gate, walk.digits)


def _quoted(text: str) -> str:
    """Write an argument so that a shell hands it on as it is: in double quotes where it can."""
    if shlex.quote(text) == text:
        return text
    return shlex.quote(text) if _SHELL & set(text) else f'"{text}"'
