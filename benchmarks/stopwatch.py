"""Where the time of our training step goes: kernels by operation, optimiser, adding, the rest.

The dispatcher is wrapped in the benchmark's process only: every kernel that it chooses is handed
out inside a stopwatch, and the graph's nodes keep that for the backward.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Self

from chainrule.engine import graph
from chainrule.engine.dispatch import Backend


@dataclass
class Entry:
    """What one operation cost so far, in one direction."""

    calls: int = 0
    seconds: float = 0.0
    multiply_adds: int = 0


@dataclass
class Timed:
    """A kernel under a stopwatch."""

    kernel: Any
    fast: bool
    note: Callable[[str, str, Any, bool, float, int], None]
    work: int = 0
    shapes: str = ""

    def supports(self, op: Any, arrays: Any) -> bool:
        return bool(self.kernel.supports(op, arrays))

    def forward(self, op: Any, arrays: Any) -> Any:
        begin = time.perf_counter()
        outputs, saved = self.kernel.forward(op, arrays)
        taken = time.perf_counter() - begin
        self.work = weighted_work(op, arrays, outputs)
        self.shapes = " ".join("x".join(map(str, a.shape)) or "()" for a in arrays[:2])
        self.note("forward", self.shapes, op, self.fast, taken, self.work)
        return outputs, saved

    def backward(self, op: Any, saved: Any, gy: Any, needs: Any) -> Any:
        begin = time.perf_counter()
        gradients = self.kernel.backward(op, saved, gy, needs)
        taken = time.perf_counter() - begin
        work = self.work * sum(map(bool, needs[:2]))  # by the input, by the weight
        self.note("backward", self.shapes, op, self.fast, taken, work)
        return gradients


def weighted_work(op: Any, arrays: Any, outputs: Any) -> int:
    """Count the multiply-adds of a convolution or a dense layer; 0 for anything else."""
    name = type(op).__name__
    if not name.startswith(("Conv", "Linear")) or "Transpose" in name or len(arrays) < 2:
        return 0
    return int(outputs[0].size * prod(arrays[1].shape[1:]))


@dataclass
class Step:
    """What one step cost: by operation, by operation and shapes, and in other parts."""

    table: dict[tuple[str, bool, str], Entry] = field(default_factory=lambda: defaultdict(Entry))
    cases: dict[str, Entry] = field(default_factory=lambda: defaultdict(Entry))
    parts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    seconds: float = 0.0


@dataclass
class Profile:
    """Stopwatches on everything that a step does, while the `with` block lasts."""

    optimizer: Any
    now: Step = field(default_factory=Step)
    done: list[Step] = field(default_factory=list)

    def note(
        self, way: str, shapes: str, op: Any, fast: bool, taken: float, multiply_adds: int
    ) -> None:
        """Book one call of a kernel."""
        name = type(op).__name__
        for entry in (self.now.table[name, fast, way], self.now.cases[f"{name} {shapes} {way}"]):
            entry.calls += 1
            entry.seconds += taken
            entry.multiply_adds += multiply_adds

    def step(self, run: Callable[[], object]) -> None:
        """Run one step and take its whole time."""
        self.now = Step()
        begin = time.perf_counter()
        run()
        self.now.seconds = time.perf_counter() - begin
        self.done.append(self.now)

    def __enter__(self) -> Self:
        self._undo: list[Callable[[], None]] = []
        select, note = Backend.select, self.note

        def timed_select(backend: Backend, op: Any, arrays: Any) -> Any:
            kernel = select(backend, op, arrays)
            return Timed(kernel, kernel is not backend.reference, note)

        self._put(Backend, "select", timed_select)
        self._watch(self.optimizer, "step", "optimiser")
        self._watch(graph.Slot, "add", "adding gradients at branches")
        return self

    def _put(self, owner: Any, name: str, new: Any) -> None:
        old = owner.__dict__.get(name)
        setattr(owner, name, new)
        self._undo.append(
            (lambda: delattr(owner, name)) if old is None else lambda: setattr(owner, name, old)
        )

    def _watch(self, owner: Any, name: str, part: str) -> None:
        original = getattr(owner, name)

        def timed(*args: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            try:
                return original(*args, **options)
            finally:
                self.now.parts[part] += time.perf_counter() - begin

        self._put(owner, name, timed)

    def __exit__(self, *exc: object) -> None:
        for undo in reversed(self._undo):
            undo()

    def report(self) -> dict[str, Any]:
        """Give milliseconds and calls a step: by operation, the slowest cases, and the parts.

        Means over the faster half of the steps, in which the machine was not busy elsewhere.
        `rest` is what no stopwatch saw: Python's walk over layers and graph, and the layers' own
        arithmetic on arrays (running averages of batch norm).
        """
        chosen = sorted(self.done, key=lambda step: step.seconds)[: (len(self.done) + 1) // 2]
        steps = len(chosen)
        table, cases = (_merged(getattr(s, name) for s in chosen) for name in ("table", "cases"))
        kinds = [_kind(name, fast, table, steps) for name, fast in {key[:2] for key in table}]
        kinds.sort(key=lambda kind: -(kind["forward_ms"] + kind["backward_ms"]))
        total = 1e3 * sum(step.seconds for step in chosen) / steps
        parts = {
            part: 1e3 * sum(step.parts[part] for step in chosen) / steps
            for part in sorted({part for step in chosen for part in step.parts})
        }
        seen = sum(k["forward_ms"] + k["backward_ms"] for k in kinds) + sum(parts.values())
        parts["rest"] = total - seen
        slow = sorted(cases.items(), key=lambda case: -case[1].seconds)[:15]
        return {
            "step_ms": round(total, 3),
            "operations": kinds,
            "parts_ms": {part: round(taken, 3) for part, taken in parts.items()},
            "slowest": [{"case": name, **_figures(entry, steps)} for name, entry in slow],
        }


def _merged(tables: Iterable[Mapping[Any, Entry]]) -> dict[Any, Entry]:
    """Add up the entries of several steps."""
    whole: dict[Any, Entry] = defaultdict(Entry)
    for table in tables:
        for key, entry in table.items():
            whole[key].calls += entry.calls
            whole[key].seconds += entry.seconds
            whole[key].multiply_adds += entry.multiply_adds
    return whole


def _kind(
    name: str, fast: bool, table: Mapping[tuple[str, bool, str], Entry], steps: int
) -> dict[str, Any]:
    found: dict[str, Any] = {"operation": name, "fast": fast}
    for way in ("forward", "backward"):
        figures = _figures(table.get((name, fast, way), Entry()), steps)
        found |= {f"{way}_{figure}": value for figure, value in figures.items()}
    return found


def _figures(entry: Entry, steps: int) -> dict[str, Any]:
    rate = 2 * entry.multiply_adds / entry.seconds / 1e9 if entry.multiply_adds else None
    return {
        "calls": round(entry.calls / steps, 2),
        "ms": round(1e3 * entry.seconds / steps, 4),
        "gflops": rate and round(rate, 1),
    }
