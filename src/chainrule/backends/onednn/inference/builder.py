"""Writing a program as calls: where its values lie, and what is called with their addresses.

Each value is a place in one piece of memory, which is shared out after all calls are known: places
that are not needed at the same time may lie one over the other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from ctypes import c_void_p, cast
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import FLOAT32, Packing, address, finite, reorder
from chainrule.backends.onednn.own import INT, LONG, POINTER, kernel
from chainrule.backends.onednn.primitives import (
    Description,
    Primitive,
    Shape,
    channels_last,
    describe,
    plain,
)
from chainrule.backends.onednn.runtime import Current, planned_for, runtime, threads_for, work
from chainrule.engine.op import Array, Op
from chainrule.engine.program import Program, Step

LAST, PLAIN = "channels-last", "C order"


class Aligned:
    """New memory that begins at a cache line."""

    def __init__(self, nbytes: int) -> None:
        self._array = np.empty(nbytes + c.ALIGNMENT, np.uint8)
        self.address: int = -(-address(self._array) // c.ALIGNMENT) * c.ALIGNMENT


class Unsuited(Exception):
    """The program is not for compiling; it is run step by step."""


@dataclass(eq=False)
class Place:
    """Where a value lies: at an offset of the memory, in an input or output, or in a constant.

    A value of more than two axes may lie `LAST`.  Where such a one was flattened, `flat` is the
    shape (C, *sizes) whose order its rows have in memory: (*sizes, C).
    """

    shape: Shape
    layout: str = PLAIN
    flat: Shape | None = None
    fixed: int | None = None  # a constant's address
    outside: tuple[str, int] | None = None  # ("input", 0): an array that comes with each run
    born: int = 0
    dies: int = 0
    offset: int = -1
    same: Place | None = None  # the place whose memory this is

    @property
    def base(self) -> Place:
        """The place that has the memory."""
        return self if self.same is None else self.same.base

    @property
    def nbytes(self) -> int:
        """Bytes of the value."""
        return 4 * prod(self.shape)


@dataclass
class Call:
    """A C function with arguments: whole numbers, addresses, or places whose address they are."""

    function: int
    arguments: list[Any]
    strict: int
    memories: list[tuple[int | None, Place]] = field(default_factory=list)  # a primitive's
    what: str = ""


@dataclass
class Python:
    """A step that its kernel runs on views of the memory."""

    op: Op
    inputs: list[Place]
    outputs: list[Place]


Compile = Callable[["Builder", Step], bool]
COMPILERS: dict[type[Op], Compile] = {}
"""By operation: what writes its calls; False where it leaves the step to its kernel."""


def compiles(*kinds: type[Op]) -> Callable[[Compile], Compile]:
    """Register a function for steps of these operations."""

    def add(write: Compile) -> Compile:
        for kind in kinds:
            COMPILERS[kind] = write
        return write

    return add


class Builder:
    """Collects the calls of one program, for the thread and the layouts that it was given."""

    def __init__(self, program: Program, layouts: Sequence[str]) -> None:
        self.program = program
        self.users = program.users()
        self.calls: list[Call | Python] = []
        self.places: dict[int, Place] = {}
        self.memory: list[Place] = []
        self.kept: list[Any] = []  # what calls hold addresses of
        self.parallel = False  # whether any call is for several threads
        self._count = Current.thread.budget  # of threads that oneDNN uses at the next call
        self.done: set[int] = set()  # steps that another one did with its own
        self._number = {step.outputs[0]: i for i, step in enumerate(program.steps)}
        for k, (v, layout) in enumerate(zip(program.inputs, layouts, strict=True)):
            spec = program.specs[v]
            self.places[v] = Place(spec.shape, layout, outside=("input", k))
            self._look_at(self.places[v])
        for v, array in program.constants.items():
            if not _suits(array.dtype, array.shape) or not self._finite(array):
                raise Unsuited(f"the constant {v}")

    def build(self) -> None:
        """Write all steps."""
        program = self.program
        for i, step in enumerate(program.steps):
            if i in self.done:
                continue
            if not all(
                _suits(program.specs[v].dtype, program.specs[v].shape) for v in step.outputs
            ):
                raise Unsuited(f"{step.op!r} gives no float32 of a known size")
            write = COMPILERS.get(type(step.op))
            if write is None or not write(self, step):
                self._by_kernel(step)
        self.finish()
        for k, v in enumerate(program.outputs):
            if self.places[v].base.outside != ("output", k):
                self._copy_out(self.places[v], k)

    # What compilers ask

    def array(self, value: int) -> Array | None:
        """Give a constant, None where the value is computed."""
        found = self.program.constants.get(value)
        return None if found is None else np.ascontiguousarray(found)

    def shape(self, value: int) -> Shape:
        """Give a value's shape."""
        return self.program.specs[value].shape

    def place(self, value: int) -> Place:
        """Say where a value lies; a constant is kept as it is, in C order."""
        if value not in self.places:
            array = self.array(value)
            assert array is not None
            self.places[value] = Place(array.shape, fixed=self.keep(array))
        return self.places[value]

    def read(self, value: int, layout: str) -> Place:
        """Give a place where the value lies so: its own, or that of a copy."""
        place = self.place(value)
        if place.layout != layout and alike(place.shape) and place.flat is None:
            return view(place, place.shape, layout)
        if place.layout == layout and place.flat is None:
            return place
        copy = self.new(place.shape, layout)
        source, shape = (place, place.shape) if place.flat is None else unflattened(place)
        before, after = _described(shape, source.layout), _described(shape, layout)
        with planned_for(work(2 * prod(shape))):
            built = reorder(before, after, f"{shape} in another layout")
        self.primitive(built, [source, copy])
        return copy

    def following(self, value: int, kind: type[Op]) -> Step | None:
        """Give the one step that reads a value, where it is of this kind."""
        places = self.users[value]
        if len(places) != 1 or value in self.program.outputs:
            return None
        step = self.program.steps[places[0]]
        return step if type(step.op) is kind else None

    def take(self, step: Step) -> None:
        """Say that a step was done together with the present one."""
        self.done.add(self._number[step.outputs[0]])

    def may_write(self, value: int, step: Step, after: Step) -> bool:
        """Tell whether a step may write over a value which `after`, taken into it, reads last.

        So that nobody else reads that memory from this step on, the step itself among them.
        """
        place = self.place(value).base
        if place.fixed is not None or place.outside is not None:
            return False
        now, allowed = self._number[step.outputs[0]], self._number[after.outputs[0]]
        sharing = [v for v, other in self.places.items() if other.base is place]
        return all(
            v not in self.program.outputs and all(i < now or i == allowed for i in self.users[v])
            for v in sharing
        )

    # Memory

    def new(self, shape: Shape, layout: str = PLAIN) -> Place:
        """Give a new place."""
        place = Place(shape, layout, born=len(self.calls), dies=len(self.calls))
        self.memory.append(place)
        return place

    def result(self, value: int, layout: str = PLAIN) -> Place:
        """Give the place of a value that a step makes; an output's is an array of its own."""
        if value in self.program.outputs:
            k = self.program.outputs.index(value)
            place = Place(self.shape(value), layout, outside=("output", k))
        else:
            place = self.new(self.shape(value), layout)
        self.places[value] = place
        return place

    def scratch(self, nbytes: int) -> Place:
        """Give memory for the next call alone."""
        return self.new((-(-nbytes // 4),))

    def keep(self, array: Array) -> int:
        """Keep an array as long as the calls; give its address."""
        self.kept.append(array)
        return address(array)

    def shared(self, array: Array, how: Hashable, make: Callable[[], Any]) -> Any:
        """Give what is made of a constant, once for all programs that share it; it is kept."""
        key = (how, id(array))
        if key not in self.program.shared:
            # With the array, whose id is then nobody else's.
            self.program.shared[key] = make(), array
        found = self.program.shared[key]
        self.kept.append(found)
        return found[0]

    def _look_at(self, x: Place) -> None:
        """Let the run tell of values of an input that are not finite."""
        threads = threads_for(work(prod(x.shape)))
        run = kernel("not_finite", POINTER, LONG, INT)
        self.call(run, [x, prod(x.shape), threads], threads, strange=True)

    def _finite(self, array: Array) -> bool:
        return bool(self.shared(array, "finite", lambda: finite(np.ascontiguousarray(array))))

    def laid_out(self, w: Array, shape: Shape, found: Description) -> int:
        """Lay a weight out as a primitive reads it; give its address."""
        packing = Packing(plain(shape), found, c.WEIGHTS, "weights")
        if packing.same:
            return self.keep(w)
        known: list[tuple[Description, Aligned]] = self.shared(w, "laid out", list)
        layout = found.layout(c.WEIGHTS)
        for other, memory in known:
            if runtime().equal(other.layout(c.WEIGHTS), layout):
                return memory.address
        memory = Aligned(packing.nbytes)
        packing(address(w), memory.address)
        known.append((found, memory))
        return memory.address

    # Calls

    def call(self, run: Any, arguments: list[Any], threads: int, strange: bool = False) -> None:
        """Add a call of a kernel of ours; with `strange` its result tells of values not finite."""
        self.parallel |= threads > 1
        self._note(arguments)
        self.calls.append(Call(_entry(run.function), arguments, 2 if strange else 0))

    def library(
        self, kind: str, *ends: Any, effort: float, places: Sequence[Place | int], **options: Any
    ) -> bool:
        """Add one of the library's primitives, of the arguments SRC and DST; False without one."""
        with planned_for(effort):
            found = describe(kind, runtime().engine, *ends, **options)
            if found is None:
                return False
            built = Primitive(found, (c.SRC, c.DST), kind)
        self.primitive(built, places)
        return True

    def primitive(self, built: Primitive, places: Sequence[Place | int]) -> None:
        """Add a call of a primitive on these places, in the order of its arguments."""
        given = list(places)
        if built.scratch:
            given.append(self.scratch(built.scratch))
        self._threads(1 if built.alone else Current.thread.budget)
        self.parallel |= not built.alone
        self._note(given)
        self.kept.append(built)
        memories = []
        for memory, place in zip(built.memories, given, strict=True):
            if isinstance(place, Place):
                memories.append((memory, place))
            else:
                runtime().set_address(memory, place)
        execute = _entry(runtime().raw.dnnl_primitive_execute)
        self.calls.append(Call(execute, built.call(), 1, memories, built.what))

    def _threads(self, count: int) -> None:
        """Have oneDNN use so many threads from the next call on."""
        if count != self._count:
            self.calls.append(Call(_entry(runtime().raw.omp_set_num_threads), [count], 0))
            self._count = count

    def finish(self) -> None:
        """Leave oneDNN as it was."""
        self._threads(Current.thread.budget)

    def _note(self, places: list[Any]) -> None:
        """Note that the next call needs these places."""
        for place in places:
            if isinstance(place, Place):
                place.base.dies = max(place.base.dies, len(self.calls) + 1)

    def _by_kernel(self, step: Step) -> None:
        inputs = [self.read(v, self.place(v).layout) for v in step.inputs]
        layout = LAST if any(p.layout == LAST for p in inputs) else PLAIN
        outputs = [self.result(v, _fitting(self.shape(v), layout)) for v in step.outputs]
        self._threads(Current.thread.budget)
        self._note([*inputs, *outputs])
        self.calls.append(Python(step.op, inputs, outputs))

    def _copy_out(self, place: Place, k: int) -> None:
        raise Unsuited(f"output {k} is no step's alone")


def _suits(dtype: Any, shape: Shape) -> bool:
    return dtype == FLOAT32 and None not in shape and prod(shape) > 0 and len(shape) < 6


def _fitting(shape: Shape, layout: str) -> str:
    return layout if len(shape) > 2 else PLAIN


def alike(shape: Shape) -> bool:
    """Tell whether (N, C, *sizes) lies the same in both layouts."""
    return len(shape) < 3 or shape[1] == 1 or prod(shape[2:]) == 1


def view(place: Place, shape: Shape, layout: str = PLAIN, flat: Shape | None = None) -> Place:
    """Give a place of the same memory."""
    return Place(shape, layout, flat, place.fixed, place.outside, same=place.base)


def unflattened(place: Place) -> tuple[Place, Shape]:
    """Give a flattened place as it lies, channels-last, and its shape."""
    assert place.flat is not None
    shape = (place.shape[0], *place.flat)
    return view(place, shape, LAST), shape


def _described(shape: Shape, layout: str) -> Any:
    return channels_last(shape) if layout == LAST else plain(shape)


def _entry(function: Any) -> int:
    """Give the address of a C function."""
    return int(cast(function, c_void_p).value or 0)
