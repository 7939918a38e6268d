"""Compiled primitives: described, built, cached for each thread, and run.

Everything that is written while a primitive runs (its memory objects' addresses, scratchpads)
belongs to one thread, since ctypes lets go of the interpreter's lock during the call.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from math import inf
from typing import Any, Generic, TypeVar

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.library import Library
from chainrule.engine.memory import keep_little_freed_memory
from chainrule.engine.threads import BUDGET, get_num_threads
from chainrule.errors import BackendError, expect

T = TypeVar("T")
Shape = tuple[int, ...]

_STATUS = {
    1: "out_of_memory",
    2: "invalid_arguments",
    3: "unimplemented",
    4: "last_impl_reached",
    5: "runtime_error",
    6: "not_required",
}
_DECLINED = (2, 3)  # of a description: the library has no such primitive


SHAPES_CHANGE = 16
"""Plans that leave the cache before less freed memory is kept, since shapes keep changing."""

LIGHT = 20.0
"""Microseconds of one thread's work that are not worth waking another; measured."""


def work(elements: float, products: float = 0.0) -> float:
    """Estimate one thread's microseconds for so many elements passed over and multiply-adds."""
    return elements / 2000 + products / 30000


PLANS = "CHAINRULE_ONEDNN_PLANS"


class _Cache:
    """How many plans each thread keeps."""

    size = 256


CACHE = _Cache()


class _Argument(ctypes.Structure):
    _fields_ = (("arg", c_int), ("memory", c_void_p))


class Runtime:
    """The library's functions by short names, and the CPU engine."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.raw = library.functions
        self.execute = self._typed("primitive_execute", c_void_p, c_void_p, c_int, c_void_p)
        self.set_threads = self.raw.omp_set_num_threads
        self.set_threads.argtypes, self.set_threads.restype = (c_int,), None
        self.set_address = self._typed("memory_set_data_handle", c_void_p, c_void_p)
        self.query_md = self._typed("primitive_desc_query_md", c_void_p, c_int, c_int)
        self.query_md.restype = c_void_p
        self.size_of = self._typed("memory_desc_get_size", c_void_p)
        self.size_of.restype = c_size_t
        self.equal = self._typed("memory_desc_equal", c_void_p, c_void_p)
        engine = c_void_p()
        self.call("engine_create", byref(engine), c.CPU, c_size_t(0))
        self.engine = engine
        self.call("set_primitive_cache_capacity", CACHE.size)

    def _typed(self, name: str, *types: Any) -> Any:
        function = getattr(self.raw, "dnnl_" + name)
        function.argtypes = types
        return function

    def call(self, name: str, *arguments: Any) -> None:
        """Call dnnl_NAME; BackendError with the status where it fails."""
        status = getattr(self.raw, "dnnl_" + name)(*arguments)
        if status:
            raise failed(status, f"dnnl_{name}")


def failed(status: int, what: str) -> BackendError:
    """Word an error of the library: its status, and what was asked of it."""
    name = _STATUS.get(status, "unknown status")
    return BackendError(f"oneDNN: {name} (status {status}) from {what}")


class _Owner:
    """A C object that is destroyed with its Python one."""

    __slots__ = ("_destroy", "handle")

    def __init__(self, handle: c_void_p, destroy: Any) -> None:
        self.handle, self._destroy = handle, destroy

    def __del__(self) -> None:
        self._destroy(self.handle)


class _Current:
    """What serves this process, set when the backend is loaded."""

    runtime: Runtime
    thread: _Thread


def start(library: Library) -> None:
    """Make the library the one that serves this process."""
    asked = os.environ.get(PLANS, "").strip()
    if asked:
        expect(asked.isdecimal() and int(asked) >= 1, PLANS, "a whole number from 1", value=asked)
        CACHE.size = int(asked)
    _Current.runtime = Runtime(library)
    _Current.thread = _Thread()


def runtime() -> Runtime:
    """Give the library that serves this process."""
    return _Current.runtime


# Descriptions


def dims(values: Sequence[int]) -> Any:
    """Give integers as a dnnl_dims_t."""
    return (c_int64 * c.MAX_NDIMS)(*values)


def any_layout(shape: Shape) -> _Owner:
    """Describe a float32 array whose layout the primitive may choose."""
    md, run = c_void_p(), runtime()
    run.call("memory_desc_create_with_tag", byref(md), len(shape), dims(shape), c.F32, c.FORMAT_ANY)
    return _Owner(md, run.raw.dnnl_memory_desc_destroy)


def strided(shape: Shape, strides: Sequence[int], dtype: int = c.F32) -> _Owner:
    """Describe an array by its shape and strides, in elements."""
    md, run = c_void_p(), runtime()
    sizes = dims(shape)
    run.call("memory_desc_create_with_strides", byref(md), len(shape), sizes, dtype, dims(strides))
    return _Owner(md, run.raw.dnnl_memory_desc_destroy)


def plain(shape: Shape) -> _Owner:
    """Describe a float32 array in C order."""
    return strided(shape, c_strides(shape))


def channels_last(shape: Shape) -> _Owner:
    """Describe (N, C, *sizes) that lies in memory as (N, *sizes, C)."""
    n, channels, *sizes = shape
    _, *inner, _ = c_strides((n, *sizes, channels))
    return strided(shape, (max(1, channels) * int(np.prod(sizes)), 1, *inner))


def c_strides(shape: Shape) -> Shape:
    """Give the strides in elements of an array in C order."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(1, size)
    return tuple(reversed(strides))


def _attributes(relu: bool) -> _Owner:
    """Make a primitive's attributes: the caller's scratchpad, and ReLU on its result if wanted."""
    run, attr = runtime(), c_void_p()
    run.call("primitive_attr_create", byref(attr))
    owner = _Owner(attr, run.raw.dnnl_primitive_attr_destroy)
    run.call("primitive_attr_set_scratchpad_mode", attr, c.SCRATCHPAD_USER)
    if relu:
        ops = c_void_p()
        run.call("post_ops_create", byref(ops))
        holder = _Owner(ops, run.raw.dnnl_post_ops_destroy)
        run.call("post_ops_append_eltwise", ops, c.ELTWISE_RELU, c_float(0), c_float(0))
        run.call("primitive_attr_set_post_ops", attr, holder.handle)
    return owner


class Description:
    """A primitive that the library can build: which implementation, with which layouts."""

    def __init__(self, handle: c_void_p) -> None:
        self._owner = _Owner(handle, runtime().raw.dnnl_primitive_desc_destroy)
        self.handle = handle
        self.threads = _Current.thread.threads  # for which it plans

    @property
    def implementation(self) -> str:
        """The implementation's name; those of the form ref* are slow."""
        text = ctypes.c_char_p()
        runtime().call("primitive_desc_query", self.handle, c.QUERY_IMPLEMENTATION, 0, byref(text))
        return (text.value or b"").decode()

    def layout(self, arg: int) -> c_void_p:
        """Give the descriptor of one of its arguments; belongs to this description."""
        return c_void_p(runtime().query_md(self.handle, c.QUERY_ARGUMENT, arg))

    def pass_on(self) -> bool:
        """Move on to the library's next implementation; tell whether there is one that is fast."""
        status = runtime().raw.dnnl_primitive_desc_next_impl(self.handle)
        return status == 0 and not self.implementation.startswith("ref")

    def nbytes(self, arg: int) -> int:
        """Give the size of one of its arguments."""
        return int(runtime().size_of(self.layout(arg)))


def _c(value: Any) -> Any:
    """Give an argument of `describe` as C wants it."""
    if isinstance(value, _Owner | Description):
        return value.handle
    if isinstance(value, tuple):
        return dims(value)
    if isinstance(value, float):
        return c_float(value)
    return value


def describe(
    kind: str,
    *arguments: Any,
    relu: bool = False,
    slow: bool = False,
) -> Description | None:
    """Ask for a primitive: dnnl_KIND_primitive_desc_create with these arguments.

    Tuples become dims, floats C floats, descriptors their handles; attributes come last: with
    `relu` the result is replaced by its max with 0.  None where the library has no such
    primitive, or (unless `slow`) only a reference implementation.
    """
    run, handle = runtime(), c_void_p()
    attributes = _attributes(relu)
    create = getattr(run.raw, f"dnnl_{kind}_primitive_desc_create")
    converted = [_c(argument) for argument in arguments]
    status = create(byref(handle), *converted, attributes.handle)
    if status in _DECLINED:
        return None
    if status:
        raise failed(status, f"dnnl_{kind}_primitive_desc_create{arguments}")
    description = Description(handle)
    return description if slow or not description.implementation.startswith("ref") else None


# Primitives


class built(Generic[T]):
    """A member that is made when it is first read; `cached_property` without its lock.

    A plan belongs to one thread, and a fork while another thread builds would inherit the lock.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

    def __get__(self, owner: Any, kind: Any = None) -> T:
        value = owner.__dict__[self._name] = self._make(owner)
        return value


class Primitive:
    """A built primitive and its memory objects, for the thread that built it.

    Called with the addresses of its arguments, in the order of `args`.
    """

    __slots__ = ("_addresses", "_alone", "_arguments", "_owners", "_primitive", "_scratch", "what")

    def __init__(self, description: Description, args: Sequence[int], what: str) -> None:
        run, thread = runtime(), _Current.thread
        handle = c_void_p()
        self.what, self._alone = what, description.threads < thread.budget
        with thread.using(description.threads):
            status = run.raw.dnnl_primitive_create(byref(handle), description.handle)
        if status:
            raise failed(status, f"building {what}")
        self._owners = [_Owner(handle, run.raw.dnnl_primitive_destroy)]
        self._primitive = handle.value
        self._scratch = description.nbytes(c.SCRATCHPAD)
        every = [*args, c.SCRATCHPAD] if self._scratch else list(args)
        self._addresses = [self._memory(run, description.layout(arg)) for arg in every]
        self._arguments = (_Argument * len(every))(
            *[_Argument(arg, memory) for arg, memory in zip(every, self._addresses, strict=True)]
        )

    def _memory(self, run: Runtime, layout: c_void_p) -> int | None:
        memory = c_void_p()
        run.call("memory_create", byref(memory), layout, run.engine, c_void_p(None))
        self._owners.append(_Owner(memory, run.raw.dnnl_memory_destroy))
        return memory.value

    def __call__(self, *addresses: int) -> None:
        """Run on arrays at these addresses; returns when all is written."""
        run, thread = _Current.runtime, _Current.thread
        set_address, memories = run.set_address, self._addresses
        for memory, address in zip(memories, addresses, strict=False):
            set_address(memory, address)
        if self._scratch:
            set_address(memories[-1], thread.buffer(0, self._scratch))
        arguments = self._arguments
        if self._alone:
            run.set_threads(1)
        status = run.execute(self._primitive, thread.stream, len(arguments), arguments)
        if self._alone:
            run.set_threads(thread.budget)
        if status:
            raise failed(status, self.what)


def set_cache_size(size: int) -> None:
    """Set how many compiled plans each thread keeps, the least recently used leaving first."""
    if size < 1:
        raise BackendError(f"set_cache_size: expected at least 1, got {size}")
    CACHE.size = size
    if hasattr(_Current, "runtime"):
        _Current.runtime.call("set_primitive_cache_capacity", size)


class _Thread(threading.local):
    """One thread's stream, plans and buffers."""

    def __init__(self) -> None:
        run = runtime()
        stream = c_void_p()
        run.call("stream_create", byref(stream), run.engine, c_uint(c.STREAM_IN_ORDER))
        self._owner = _Owner(stream, run.raw.dnnl_stream_destroy)
        self.stream = stream.value
        self.plans: OrderedDict[Hashable, Any] = OrderedDict()
        self.buffers: dict[int, tuple[int, int, Any]] = {}
        self.version, self.budget, self.threads, self.evicted = -1, 0, 0, 0

    def obey(self) -> None:
        """Have OpenMP use the budget's number of threads from here on, in this thread.

        What was built for another number is dropped: the library divides work when it plans.
        """
        self.version = BUDGET.version
        count = 1 if _forked else get_num_threads()
        if count != self.budget:
            self.plans.clear()
        self.budget = self.threads = count
        runtime().set_threads(count)

    @contextmanager
    def using(self, threads: int) -> Iterator[None]:
        """Plan and build for so many threads inside."""
        if threads == self.threads:
            yield
            return
        before, self.threads = self.threads, threads
        runtime().set_threads(threads)
        try:
            yield
        finally:
            self.threads = before
            runtime().set_threads(before)

    def buffer(self, slot: int, nbytes: int) -> int:
        """Give the address of a buffer that lasts until the slot is asked for again."""
        held = self.buffers.get(slot)
        if held is None or held[0] < nbytes:
            self.buffers.pop(slot, None)
            array = np.empty(nbytes + c.ALIGNMENT, np.uint8)
            address = -(-array.ctypes.data // c.ALIGNMENT) * c.ALIGNMENT
            held = self.buffers[slot] = (nbytes, address, array)
        return held[1]


_forked = False


def _after_fork() -> None:
    """GNU's OpenMP pool does not survive a fork: the child computes on the calling thread."""
    global _forked
    _forked = True
    BUDGET.version += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def buffer(slot: int, nbytes: int) -> int:
    """Give the address of this thread's shared buffer, at least so large."""
    return _Current.thread.buffer(slot, nbytes)


@contextmanager
def planned_for(microseconds: float) -> Iterator[None]:
    """Plan and build inside for one thread, if that is all the work of one thread."""
    thread = _Current.thread
    with thread.using(1 if microseconds < LIGHT else thread.budget):
        yield


def cached(key: Hashable, build: Callable[[], T], effort: float = inf) -> T:
    """Give this thread's plan under a key, building it where it is new.

    `effort` estimates how long one thread takes, in microseconds.  Below `LIGHT` the plan is made
    for one: waking the others takes as long, and on a busy machine thousands of times as long.
    """
    thread = _Current.thread
    if thread.version != BUDGET.version:
        thread.obey()
    plans = thread.plans
    try:
        plans.move_to_end(key)
        found: T = plans[key]
        return found
    except KeyError:
        pass
    with planned_for(effort):
        plan = build()
    plans[key] = plan
    while len(plans) > CACHE.size:
        plans.popitem(last=False)
        thread.evicted += 1
        if thread.evicted % SHAPES_CHANGE == 0:
            keep_little_freed_memory()
    return plan
