"""The operators of a graph in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.engine import state
from chainrule.engine.tensor import Tensor
from chainrule.errors import ChainruleError, DataError
from chainrule.formats.onnx.common import UnsupportedOperator
from chainrule.formats.onnx.reading.table import Node

Values = dict[str, Any]
SIZES = ("Shape", "Size")  # what reads no values


@dataclass
class Step:
    """A node and what runs it: the names that it reads and gives, and what nobody reads later."""

    node: Node
    run: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    captures: frozenset[str] = frozenset()  # what graphs inside it read from around it
    scoped: bool = False  # whether it is handed the values around it
    layer: str = ""  # the path of the module whose parameters it reads
    second: Node | None = None  # the neighbour that runs with it
    drop: tuple[str, ...] = ()

    def __call__(self, values: Values) -> None:
        """Run the node on the values by name, and put its results there."""
        given = [values[name] if name else None for name in self.inputs]
        nodes = (self.node,) if self.second is None else (self.node, self.second)
        options = {"scope": values} if self.scoped else {}
        try:
            made = self.run(*nodes, *given, **options)
        except ChainruleError as error:
            if str(self.node) not in str(error):
                error.args = (f"{error}; in {self.node}",)
            raise
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a file may ask for what no operation foresees
            raise DataError(f"onnx: {self.node}: {type(error).__name__}: {error}") from error
        made = made if isinstance(made, tuple) else (made,)
        if any(self.outputs[len(made) :]):
            raise UnsupportedOperator(f"onnx: {self.node}: only its first outputs are supported")
        for name, value in zip(self.outputs, made, strict=False):
            if name:
                values[name] = value
        for name in self.drop:
            values.pop(name, None)


@dataclass
class Program:
    """A graph: its inputs, constants and steps; graphs inside nodes are programs of their own.

    `bound` gives, by the values' names, the state that they are: the path of a parameter or
    buffer of the module.
    """

    inputs: list[str]
    outputs: list[str]
    constants: dict[str, Tensor]
    bound: dict[str, str]
    steps: list[Step]
    owner: Any = None
    fused: list[Step] = field(default_factory=list)

    def free(self) -> set[str]:
        """Name what is read from around the graph."""
        known = {*self.inputs, *self.constants, *self.bound}
        known |= {name for step in self.steps for name in step.outputs}
        read = {name for step in self.steps for name in (*step.inputs, *step.captures)}
        return (read | set(self.outputs)) - known - {""}

    def run(self, given: Mapping[str, Any], scope: Values | None = None) -> list[Any]:
        """Give the outputs for the inputs by name; `scope` holds the values around the graph."""
        values: Values = {**(scope or {}), **self.constants}
        for name, path in self.bound.items():
            values[name] = self.owner.state_of(path)
        values.update(given)
        if state.TRACER.get() is None and not state.ANOMALY.get():
            for step in self.fused:
                step(values)
        else:
            self._run_apart(values, {*(scope or {}), *given, *self.bound})
        return [values[name] for name in self.outputs]

    def _run_apart(self, values: Values, live: set[str]) -> None:
        """Run each operator by itself, in the layer of its name, and sizes beside the graph."""
        for step in self.steps:
            reads = any(name in live for name in (*step.inputs, *step.captures))
            if reads and step.node.kind not in SIZES:
                live.update(step.outputs)
                tracer = state.TRACER.get()
            else:
                tracer = None  # what depends on shapes alone is no part of the graph
            around = state.LAYER.get()
            path = ".".join(filter(None, (around, step.layer)))
            before, traced = state.LAYER.set(path), state.TRACER.set(tracer)
            try:
                step(values)
            finally:
                state.LAYER.reset(before)
                state.TRACER.reset(traced)


Fused = Callable[..., Any]
FUSIONS: dict[tuple[str, str], tuple[Fused, Callable[[Node, Node], bool]]] = {}
"""By two operators' names: what runs both at once, and whether it can; the first goes first."""


def finish(program: Program) -> None:
    """Join neighbours that run as one, and note after which step each value is free."""
    program.fused = _joined(program)
    for steps in (program.steps, program.fused):
        _note_last_reads(program, steps)


def _joined(program: Program) -> list[Step]:
    """Join what FUSIONS names, where the value between is read once."""
    readers: dict[str, list[int]] = {}
    for place, step in enumerate(program.steps):
        for name in {*step.inputs, *step.captures}:
            readers.setdefault(name, []).append(place)
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for place, step in enumerate(program.steps):
        other = _partner(program, step, readers)
        if other is not None:
            kinds = step.node.kind, program.steps[other].node.kind
            pairs.setdefault(kinds, []).append((place, other))
    taken: set[int] = set()
    joined: dict[int, Step] = {}
    for kinds in FUSIONS:
        for place, other in pairs.get(kinds, ()):
            if not taken & {place, other}:
                taken |= {place, other}
                joined[other] = _pair(program.steps[place], program.steps[other])
    return [
        joined.get(place, step)
        for place, step in enumerate(program.steps)
        if place in joined or place not in taken
    ]


def _partner(program: Program, step: Step, readers: Mapping[str, list[int]]) -> int | None:
    """Find the one step that reads a step's one result and can run with it."""
    name, *others = step.outputs
    places = readers.get(name, [])
    if len(places) != 1 or name in program.outputs or any(others):
        return None
    other = program.steps[places[0]]
    known = FUSIONS.get((step.node.kind, other.node.kind))
    if known is None or other.inputs != (name,) or any(other.outputs[1:]):
        return None
    return places[0] if known[1](step.node, other.node) else None


def _pair(first: Step, second: Step) -> Step:
    run, _ = FUSIONS[first.node.kind, second.node.kind]
    return Step(first.node, run, first.inputs, second.outputs, second=second.node)


def _note_last_reads(program: Program, steps: Sequence[Step]) -> None:
    last: dict[str, int] = {}
    for place, step in enumerate(steps):
        for name in (*step.outputs, *step.inputs, *step.captures):
            last[name] = place
    made = {name for step in steps for name in step.outputs if name} | set(program.inputs)
    drops: dict[int, list[str]] = {}
    for name in made - set(program.outputs):
        if name in last:
            drops.setdefault(last[name], []).append(name)
    for place, step in enumerate(steps):
        step.drop = tuple(sorted(drops.get(place, ())))
