"""A captured graph as a straight line of operations over numbered values.

Where a graph remembers what its gates computed, a program only says what is to be computed, so
that it can be rewritten and run again and again, in several threads at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from chainrule.engine.capture import Graph
from chainrule.engine.detach import Detach
from chainrule.engine.op import Array, Op, Spec


class Step(NamedTuple):
    """One operation: the numbers of the values that it reads, and of those that it makes."""

    op: Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Runs(Protocol):
    """What runs operations: a backend."""

    def select(self, op: Op, arrays: Sequence[Any]) -> Any:
        """Choose the kernel."""


class Program:
    """Steps in the order in which they run, and what is known of the values.

    `constants` are arrays by number, `specs` shape and dtype of every value.  `held` is for what a
    backend makes of the program, for each thread; `shared` for what it makes of constants, which
    programs of the same constants have together.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        inputs: Sequence[int],
        outputs: Sequence[int],
        constants: dict[int, Array],
        specs: dict[int, Spec],
        shared: dict[Any, Any] | None = None,
    ) -> None:
        self.steps = tuple(steps)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.constants, self.specs = constants, specs
        self.held = threading.local()
        self.shared: dict[Any, Any] = {} if shared is None else shared
        last = {v: i for i, step in enumerate(self.steps) for v in step.inputs}
        kept = {*self.outputs, *constants}
        self._drop: list[list[int]] = [[] for _ in self.steps]  # values read for the last time
        for value, i in last.items():
            if value not in kept:
                self._drop[i].append(value)

    def changed(
        self,
        steps: Iterable[Step],
        outputs: Sequence[int] | None = None,
        constants: dict[int, Array] | None = None,
        specs: dict[int, Spec] | None = None,
    ) -> Program:
        """Give the program with other steps, outputs, constants or specs."""
        return Program(
            steps,
            self.inputs,
            self.outputs if outputs is None else outputs,
            self.constants if constants is None else constants,
            self.specs if specs is None else specs,
            self.shared,
        )

    def users(self) -> dict[int, list[int]]:
        """Give for each value the places of the steps that read it, once for each reading."""
        found: dict[int, list[int]] = {v: [] for v in self.specs}
        for i, step in enumerate(self.steps):
            for value in step.inputs:
                found[value].append(i)
        return found

    def run(self, arrays: Sequence[Array], backend: Runs) -> list[Array]:
        """Run all steps one by one; a value is dropped after it is read for the last time."""
        values = {**self.constants, **dict(zip(self.inputs, arrays, strict=True))}
        for step, drop in zip(self.steps, self._drop, strict=True):
            given = [values[v] for v in step.inputs]
            outputs, _ = backend.select(step.op, given).forward(step.op, given)
            values.update(zip(step.outputs, outputs, strict=True))
            for value in drop:
                del values[value]
        return [values[v] for v in self.outputs]

    def __repr__(self) -> str:
        lines = [f"  {step.outputs} = {step.op!r} of {step.inputs}\n" for step in self.steps]
        return f"Program({self.inputs} -> {self.outputs}\n{''.join(lines)})"


def program_of(graph: Graph, shared: dict[Any, Any] | None = None) -> Program:
    """Give a captured graph's program; its parameters and constants are the constants."""
    numbers: dict[tuple[int, int], int] = {}
    specs: dict[int, Spec] = {}
    constants: dict[int, Array] = {}
    steps = []
    for node in graph:
        if isinstance(node.op, Detach):
            source, index = node.edges[0]
            numbers[id(node), 0] = numbers[id(source), index]
            continue
        made = []
        for index, spec in enumerate(node.specs):
            numbers[id(node), index] = number = len(specs)
            specs[number] = spec
            made.append(number)
        if node.op is not None:
            read = tuple([numbers[id(source), index] for source, index in node.edges])
            steps.append(Step(node.op, read, tuple(made)))
        elif node.tensor is not None:
            constants[made[0]] = node.tensor.array
    inputs = [numbers[id(node), 0] for node in graph.inputs]
    outputs = [numbers[id(node), index] for node, index in graph.ends]
    return Program(steps, inputs, outputs, constants, specs, shared)
