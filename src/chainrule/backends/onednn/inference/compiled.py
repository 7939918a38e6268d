"""A program's calls at work: memory shared out, addresses filled in, run."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from time import perf_counter_ns
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import FLOAT32, address, empty_last, finite, is_last
from chainrule.backends.onednn.backend import ONEDNN
from chainrule.backends.onednn.inference.builder import (
    LAST,
    PLAIN,
    Builder,
    Call,
    Place,
    Python,
    Unsuited,
    alike,
)
from chainrule.backends.onednn.primitives import settle
from chainrule.backends.onednn.runtime import Current, buffer, failed, runtime
from chainrule.engine.op import Array
from chainrule.engine.program import Program

MEMORY = 2  # the slot of the shared buffers in which programs' values lie
ARGUMENTS = 12  # of a call: ARGUMENTS in native/source/program.c


class _Step(ctypes.Structure):
    _fields_ = (
        ("function", ctypes.c_void_p),
        ("strict", ctypes.c_long),
        ("argument", ctypes.c_long * ARGUMENTS),
    )


class Segment:
    """Calls that run one after the other without Python in between."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.steps = (_Step * len(calls))()
        for step, call in zip(self.steps, calls, strict=True):
            step.function, step.strict = call.function, call.strict
            for k, value in enumerate(call.arguments):
                if not isinstance(value, Place):
                    step.argument[k] = 0 if value is None else int(value)

    def run(self) -> bool:
        """Run them; tell whether a kernel met values that are not finite."""
        strange = ctypes.c_long(0)
        kernels = runtime().kernels
        assert kernels is not None
        failure = kernels.program(self.steps, len(self.steps), ctypes.byref(strange))
        if failure:
            raise failed(5, self.calls[failure - 1].what)
        return bool(strange.value)


class Compiled:
    """The calls of one program for inputs of certain layouts, in the thread that built them."""

    def __init__(self, program: Program, layouts: Sequence[str]) -> None:
        builder = Builder(program, layouts)
        builder.build()
        self._parallel = builder.parallel
        self.kept = builder.kept
        self.outputs = [(p.shape, p.layout) for p in map(builder.place, program.outputs)]
        self.nbytes = share_out(builder.memory)
        self.parts: list[Segment | Python] = []
        calls: list[Call] = []
        for call in builder.calls:
            if isinstance(call, Call):
                calls.append(call)
                continue
            if calls:
                self.parts.append(Segment(calls))
            calls = []
            self.parts.append(call)
        if calls:
            self.parts.append(Segment(calls))
        self._bind()
        self._inside = 0
        self._outside: dict[tuple[str, int], int] = {}

    def _bind(self) -> None:
        """List by place's owner where an address is to be filled in."""
        self._fill: dict[Any, list[tuple[Any, int, int]]] = {}
        for part in self.parts:
            if not isinstance(part, Segment):
                continue
            for step, call in zip(part.steps, part.calls, strict=True):
                for k, value in enumerate(call.arguments):
                    if isinstance(value, Place):
                        self._add(value, (step.argument, k))
                for memory, place in call.memories:
                    self._add(place, (None, memory))

    def _add(self, place: Place, where: tuple[Any, Any]) -> None:
        base = place.base
        if base.fixed is not None:
            _write(where, base.fixed)
            return
        key = "memory" if base.outside is None else base.outside
        self._fill.setdefault(key, []).append((*where, base.offset))

    def _address(self, key: Any, at: int) -> None:
        """Fill in where the memory, an input or an output is."""
        for target, k, offset in self._fill.get(key, ()):
            _write((target, k), at + max(offset, 0))

    def run(self, arrays: Sequence[Array]) -> list[Array] | None:
        """Give the outputs; None where values are not finite, which is not for these calls."""
        outputs = [_empty(shape, layout) for shape, layout in self.outputs]
        memory = buffer(MEMORY, self.nbytes)
        if memory != self._inside:
            self._address("memory", memory)
            self._inside = memory
        for kind, given in (("input", arrays), ("output", outputs)):
            for k, array in enumerate(given):
                key, at = (kind, k), address(array)
                if self._outside.get(key) != at:
                    self._address(key, at)
                    self._outside[key] = at
        if self._parallel:
            settle()
        strange = False
        for part in self.parts:
            if isinstance(part, Segment):
                strange |= part.run()
            else:
                strange |= not self._by_kernel(part, memory, arrays, outputs)
        if self._parallel:
            Current.thread.ran = perf_counter_ns()
        return None if strange else outputs

    def _by_kernel(
        self, part: Python, memory: int, arrays: Sequence[Array], outputs: Sequence[Array]
    ) -> bool:
        """Run a step by its kernel; tell whether what it gives is finite."""

        def seen(place: Place) -> Array:
            base = place.base
            if base.outside is None:
                at = base.fixed if base.fixed is not None else memory + base.offset
            else:
                kind, k = base.outside
                at = address(arrays[k] if kind == "input" else outputs[k])
            return _seen(at, place.shape, place.layout)

        given = [seen(place) for place in part.inputs]
        found, _ = ONEDNN.select(part.op, given).forward(part.op, given)
        for place, array in zip(part.outputs, found, strict=True):
            seen(place)[...] = array
        return all(finite(seen(place)) for place in part.outputs)


def _write(where: tuple[Any, Any], at: int) -> None:
    """Fill an address into a call's argument or a primitive's memory object."""
    target, k = where
    if target is None:
        runtime().set_address(k, at)
    else:
        target[k] = at


def _empty(shape: tuple[int, ...], layout: str) -> Array:
    return empty_last(shape) if layout == LAST else np.empty(shape, FLOAT32)


def _seen(at: int, shape: tuple[int, ...], layout: str) -> Array:
    """See memory as an array."""
    memory: Any = (ctypes.c_float * prod(shape)).from_address(at)
    flat: Array = np.frombuffer(memory, FLOAT32)
    if layout == PLAIN:
        return flat.reshape(shape)
    n, channels, *sizes = shape
    moved: Array = np.moveaxis(flat.reshape(n, *sizes, channels), -1, 1)
    return moved


def share_out(places: Sequence[Place]) -> int:
    """Give each place an offset: the lowest where it fits beside those that live with it.

    Large ones first, which leaves small ones the gaps.  Gives the bytes that all take.
    """
    settled: list[Place] = []
    total = 0
    for place in sorted(places, key=lambda p: (-p.nbytes, p.born)):
        size = -(-place.nbytes // c.ALIGNMENT) * c.ALIGNMENT
        meets = [p for p in settled if p.born < place.dies and place.born < p.dies]
        at = 0
        for other in sorted(meets, key=lambda p: p.offset):
            if other.offset - at >= size:
                break
            at = max(at, other.offset + -(-other.nbytes // c.ALIGNMENT) * c.ALIGNMENT)
        place.offset = at
        settled.append(place)
        total = max(total, at + size)
    return max(total, c.ALIGNMENT)


def layout_of(x: Array) -> str | None:
    """Say how an input lies; None where it has gaps."""
    if x.flags.c_contiguous:
        return LAST if x.ndim > 2 and alike(x.shape) else PLAIN
    return LAST if 2 < x.ndim < 6 and is_last(x) else None


def run(program: Program, arrays: Sequence[Array]) -> list[Array] | None:
    """Run a program compiled for this thread; None where it or its inputs are not for that."""
    thread, held = Current.thread, program.held
    thread.refresh()
    layouts = tuple([layout_of(a) for a in arrays])
    if None in layouts:
        arrays = [np.ascontiguousarray(a) for a in arrays]
        layouts = tuple([layout_of(a) for a in arrays])
    if getattr(held, "budget", None) != thread.budget:
        held.budget, held.compiled = thread.budget, {}
    if layouts not in held.compiled:
        held.compiled[layouts] = _compiled(program, arrays, layouts)
    compiled: Compiled | None = held.compiled[layouts]
    return None if compiled is None else compiled.run(arrays)


def _compiled(
    program: Program, arrays: Sequence[Array], layouts: Sequence[str | None]
) -> Compiled | None:
    """Compile for inputs of these dtypes and layouts, which a program's inputs always have."""
    if any(a.dtype != FLOAT32 or not a.size for a in arrays):
        return None
    try:
        return Compiled(program, [layout or PLAIN for layout in layouts])
    except Unsuited:
        return None
