"""Our own compiled kernels, as plans hold and call them."""

from __future__ import annotations

import os
from ctypes import c_double, c_float, c_int, c_long, c_void_p
from typing import Any, Protocol, TypeVar

from chainrule.backends.onednn.runtime import buffer, runtime
from chainrule.errors import BackendError, expect

POINTER, LONG, INT, FLOAT, DOUBLE = c_void_p, c_long, c_int, c_float, c_double

_SCRATCH = 0  # the slot of the shared buffers that the primitives' scratchpads have


class Memory(Protocol):
    """Memory of one's own, which lasts as long as this object."""

    address: int


M = TypeVar("M", bound=Memory)


class Kernel:
    """A C function; an address is passed as an int, a null pointer as None."""

    __slots__ = ("function",)

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        """Run it; returns when all is written."""
        return self.function(*arguments)


def have_kernels() -> bool:
    """Tell whether this process has them."""
    return runtime().kernels is not None


def lanes(half: bool = False) -> int:
    """Give the floats of a vector."""
    return min(8, _kernels().lanes) if half else int(_kernels().lanes)


def kernel(name: str, *types: Any, half: bool = False) -> Kernel:
    """Give a kernel by its name and its arguments' types; it gives an int.

    With `half` it computes with vectors of 8 floats, which serve few channels better than 16.
    """
    return Kernel(_kernels().function(name, *types, result=INT, half=half))


def size_of(name: str, *types: Any, half: bool = False) -> Any:
    """Give the function that says how many bytes of scratch memory a kernel needs."""
    return _kernels().function(f"{name}_scratch", *types, result=LONG, half=half)


def _kernels() -> Any:
    kernels = runtime().kernels
    assert kernels is not None
    return kernels


def sizes(*values: int) -> Any:
    """Give sizes as the C functions take them."""
    return (c_long * len(values))(*values)


def scratch(nbytes: int) -> int:
    """Give the address of this thread's scratch memory, which the next call may overwrite."""
    return buffer(_SCRATCH, nbytes)


def switched_on(variable: str, what: str) -> bool:
    """Read a switch from the environment: on unless it says 0 or off; BackendError for nonsense."""
    text = os.environ.get(variable, "").strip().lower()
    rule = f"0 or off ({what}), 1 or on, or nothing"
    expect(text in ("", "0", "off", "1", "on"), variable, rule, error=BackendError, value=text)
    return text not in ("0", "off")
