"""The library at work: its functions, and what each thread keeps of it.

Everything that is written while a primitive runs (its memory objects' addresses, scratchpads)
belongs to one thread, since ctypes lets go of the interpreter's lock during the call.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from ctypes import byref, c_int, c_size_t, c_uint, c_void_p
from math import inf
from typing import Any, TypeVar

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.library import Library
from chainrule.engine.memory import keep_little_freed_memory
from chainrule.engine.threads import BUDGET, get_num_threads
from chainrule.errors import BackendError, expect
from chainrule.native.library import Kernels, find

T = TypeVar("T")

_STATUS = {
    1: "out_of_memory",
    2: "invalid_arguments",
    3: "unimplemented",
    4: "last_impl_reached",
    5: "runtime_error",
    6: "not_required",
}

SHAPES_CHANGE = 16
"""Plans that leave the cache before less freed memory is kept, since shapes keep changing."""

LIGHT = 20.0
"""Microseconds of one thread's work that are not worth waking another; measured."""


def work(elements: float, products: float = 0.0) -> float:
    """Estimate one thread's microseconds for so many elements passed over and multiply-adds."""
    return elements / 2000 + products / 30000


def threads_for(microseconds: float) -> int:
    """Give the budget of threads, or 1 for what takes one of them less than waking another."""
    return 1 if microseconds < LIGHT else Current.thread.budget


PLANS = "CHAINRULE_ONEDNN_PLANS"


class _Cache:
    """How many plans each thread keeps."""

    size = 256


CACHE = _Cache()


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
        found = find(self.raw, int(self.raw.dnnl_get_effective_cpu_isa()))
        # Kernels of our own; where they do not serve, none, and the reason.
        self.kernels: Kernels | None = found.kernels
        self.kernels_reason: str = found.reason

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


class Owner:
    """A C object that is destroyed with its Python one."""

    __slots__ = ("_destroy", "handle")

    def __init__(self, handle: c_void_p, destroy: Any) -> None:
        self.handle, self._destroy = handle, destroy

    def __del__(self) -> None:
        self._destroy(self.handle)


class Current:
    """What serves this process, set when the backend is loaded."""

    runtime: Runtime
    thread: Thread


def start(library: Library) -> None:
    """Make the library the one that serves this process."""
    asked = os.environ.get(PLANS, "").strip()
    if asked:
        expect(asked.isdecimal() and int(asked) >= 1, PLANS, "a whole number from 1", value=asked)
        CACHE.size = int(asked)
    Current.runtime = Runtime(library)
    Current.thread = Thread()


def runtime() -> Runtime:
    """Give the library that serves this process."""
    return Current.runtime


def about_kernels() -> dict[str, Any]:
    """Tell `chainrule doctor` which kernels of our own serve, or why none do."""
    run = getattr(Current, "runtime", None)
    if run is None:
        reason = "oneDNN, on whose threads they run, does not serve here"
        return {"path": None, "instruction_set": None, "reason": reason}
    kernels, reason = run.kernels, run.kernels_reason
    if kernels is None:
        return {"path": None, "instruction_set": None, "reason": reason}
    name = {"avx512": "AVX-512"}.get(kernels.isa, kernels.isa.upper())
    return {"path": kernels.path, "instruction_set": name, "reason": ""}


def set_cache_size(size: int) -> None:
    """Set how many compiled plans each thread keeps, the least recently used leaving first."""
    if size < 1:
        raise BackendError(f"set_cache_size: expected at least 1, got {size}")
    CACHE.size = size
    if hasattr(Current, "runtime"):
        Current.runtime.call("set_primitive_cache_capacity", size)


class Thread(threading.local):
    """One thread's stream, plans and buffers."""

    def __init__(self) -> None:
        run = runtime()
        stream = c_void_p()
        run.call("stream_create", byref(stream), run.engine, c_uint(c.STREAM_IN_ORDER))
        self._owner = Owner(stream, run.raw.dnnl_stream_destroy)
        self.stream = stream.value
        self.plans: OrderedDict[Hashable, Any] = OrderedDict()
        self.buffers: dict[int, tuple[int, int, Any]] = {}
        self.version, self.budget, self.threads, self.evicted = -1, 0, 0, 0
        self.ran = 0  # when several threads last worked, on perf_counter_ns's clock

    def refresh(self) -> None:
        """Obey the budget of threads, where it changed."""
        if self.version != BUDGET.version:
            self.obey()

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
    return Current.thread.buffer(slot, nbytes)


@contextmanager
def planned_for(microseconds: float) -> Iterator[None]:
    """Plan and build inside for one thread, if that is all the work of one thread."""
    thread = Current.thread
    with thread.using(1 if microseconds < LIGHT else thread.budget):
        yield


def cached(key: Hashable, build: Callable[[], T], effort: float = inf) -> T:
    """Give this thread's plan under a key, building it where it is new.

    `effort` estimates how long one thread takes, in microseconds.  Below `LIGHT` the plan is made
    for one: waking the others takes as long, and on a busy machine thousands of times as long.
    """
    thread = Current.thread
    thread.refresh()
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
