"""Primitives: described, built for one thread, and run on addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import byref, c_float, c_int, c_int64, c_void_p
from time import perf_counter_ns
from typing import Any, Generic, TypeVar

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.runtime import Current, Owner, Runtime, failed, runtime

T = TypeVar("T")
Shape = tuple[int, ...]

_DECLINED = (2, 3)  # of a description: the library has no such primitive


class _Argument(ctypes.Structure):
    _fields_ = (("arg", c_int), ("memory", c_void_p))


# Descriptions


def dims(values: Sequence[int]) -> Any:
    """Give integers as a dnnl_dims_t."""
    return (c_int64 * c.MAX_NDIMS)(*values)


def any_layout(shape: Shape) -> Owner:
    """Describe a float32 array whose layout the primitive may choose."""
    md, run = c_void_p(), runtime()
    run.call("memory_desc_create_with_tag", byref(md), len(shape), dims(shape), c.F32, c.FORMAT_ANY)
    return Owner(md, run.raw.dnnl_memory_desc_destroy)


def strided(shape: Shape, strides: Sequence[int], dtype: int = c.F32) -> Owner:
    """Describe an array by its shape and strides, in elements."""
    md, run = c_void_p(), runtime()
    sizes = dims(shape)
    run.call("memory_desc_create_with_strides", byref(md), len(shape), sizes, dtype, dims(strides))
    return Owner(md, run.raw.dnnl_memory_desc_destroy)


def plain(shape: Shape) -> Owner:
    """Describe a float32 array in C order."""
    return strided(shape, c_strides(shape))


def channels_last(shape: Shape) -> Owner:
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


def _attributes(relu: bool, scaled: bool, added: bool) -> Owner:
    """Make a primitive's attributes: the caller's scratchpad, scales, sum and ReLU if wanted."""
    run, attr = runtime(), c_void_p()
    run.call("primitive_attr_create", byref(attr))
    owner = Owner(attr, run.raw.dnnl_primitive_attr_destroy)
    run.call("primitive_attr_set_scratchpad_mode", attr, c.SCRATCHPAD_USER)
    for source in (c.SRC, c.SRC_1) if scaled else ():
        run.call("primitive_attr_set_scales_mask", attr, source, 0)
    if relu or added:
        ops = c_void_p()
        run.call("post_ops_create", byref(ops))
        holder = Owner(ops, run.raw.dnnl_post_ops_destroy)
        if added:
            run.call("post_ops_append_sum", ops, c_float(1), 0, c.UNDEFINED)
        if relu:
            run.call("post_ops_append_eltwise", ops, c.ELTWISE_RELU, c_float(0), c_float(0))
        run.call("primitive_attr_set_post_ops", attr, holder.handle)
    return owner


class Description:
    """A primitive that the library can build: which implementation, with which layouts."""

    def __init__(self, handle: c_void_p) -> None:
        self._owner = Owner(handle, runtime().raw.dnnl_primitive_desc_destroy)
        self.handle = handle
        self.threads = Current.thread.threads  # for which it plans

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
    if isinstance(value, Owner | Description):
        return value.handle
    if isinstance(value, tuple):
        return dims(value)
    if isinstance(value, float):
        return c_float(value)
    # A shorter one would leave half of a long parameter undefined, where it is passed in memory.
    return c_int64(value) if isinstance(value, int) else value


def describe(
    kind: str,
    *arguments: Any,
    relu: bool = False,
    scaled: bool = False,
    added: bool = False,
    slow: bool = False,
) -> Description | None:
    """Ask for a primitive: dnnl_KIND_primitive_desc_create with these arguments.

    Tuples become dims, floats C floats, descriptors their handles; attributes come last: with
    `scaled` the two sources are multiplied by the numbers at SCALE_0 and SCALE_1 first, with
    `added` the result is added to what its memory holds, with `relu` then replaced by its max
    with 0.  None where the library has no such
    primitive, or (unless `slow`) only a reference implementation.
    """
    run, handle = runtime(), c_void_p()
    attributes = _attributes(relu, scaled, added)
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


ASLEEP = 100_000
"""Nanoseconds after which OpenMP's threads stop spinning, and may wake anywhere."""


def settle() -> None:
    """Wake OpenMP's threads, each on a processor of its own, where they sleep by now."""
    run, thread = Current.runtime, Current.thread
    if run.kernels is not None and perf_counter_ns() - thread.ran > ASLEEP:
        run.kernels.settle(thread.budget)


class Primitive:
    """A built primitive and its memory objects, for the thread that built it.

    Called with the addresses of its arguments, in the order of `args`.
    """

    __slots__ = ("_arguments", "_owners", "_primitive", "alone", "memories", "scratch", "what")

    def __init__(self, description: Description, args: Sequence[int], what: str) -> None:
        run, thread = runtime(), Current.thread
        handle = c_void_p()
        self.what, self.alone = what, description.threads < thread.budget
        with thread.using(description.threads):
            status = run.raw.dnnl_primitive_create(byref(handle), description.handle)
        if status:
            raise failed(status, f"building {what}")
        self._owners = [Owner(handle, run.raw.dnnl_primitive_destroy)]
        self._primitive = handle.value
        self.scratch = description.nbytes(c.SCRATCHPAD)
        every = [*args, c.SCRATCHPAD] if self.scratch else list(args)
        number = plain((1,))  # of a scale, for which the description has no layout
        layouts = [
            number.handle if arg in (c.SCALE_0, c.SCALE_1) else description.layout(arg)
            for arg in every
        ]
        self.memories = [self._memory(run, layout) for layout in layouts]
        self._arguments = (_Argument * len(every))(
            *[_Argument(arg, memory) for arg, memory in zip(every, self.memories, strict=True)]
        )

    def _memory(self, run: Runtime, layout: c_void_p) -> int | None:
        memory = c_void_p()
        run.call("memory_create", byref(memory), layout, run.engine, c_void_p(None))
        self._owners.append(Owner(memory, run.raw.dnnl_memory_destroy))
        return memory.value

    def call(self) -> list[int | None]:
        """Give the arguments of the library's `primitive_execute`, for calls from elsewhere.

        What it runs on are its `memories`, whose addresses are then the caller's to set; the last
        one is `scratch` bytes large, where there is any.
        """
        arguments = self._arguments
        return [self._primitive, Current.thread.stream, len(arguments), ctypes.addressof(arguments)]

    def __call__(self, *addresses: int) -> None:
        """Run on arrays at these addresses; returns when all is written."""
        run, thread = Current.runtime, Current.thread
        set_address, memories = run.set_address, self.memories
        for memory, address in zip(memories, addresses, strict=False):
            set_address(memory, address)
        if self.scratch:
            set_address(memories[-1], thread.buffer(0, self.scratch))
        arguments = self._arguments
        if self.alone:
            run.set_threads(1)
        else:
            settle()
        status = run.execute(self._primitive, thread.stream, len(arguments), arguments)
        if self.alone:
            run.set_threads(thread.budget)
        else:
            thread.ran = perf_counter_ns()
        if status:
            raise failed(status, self.what)
