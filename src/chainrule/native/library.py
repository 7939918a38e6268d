"""Finding the compiled kernels, checking that they serve, and their functions.

They are refused, with the reason, where the file is missing, cannot be loaded, was built for
another interface or from other sources than those that lie beside it, and where oneDNN's OpenMP
or the processor is not what they need.  That is no error: oneDNN then computes everything.

CHAINRULE_KERNELS=0 (or off) keeps them out of use.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from chainrule.errors import BackendError, expect
from chainrule.native.sources import digest

ABI = 5
"""Which functions with which arguments: the number that chainrule_abi gives."""

VARIABLE = "CHAINRULE_KERNELS"
FOLDER = Path(__file__).parent
NAME = "libchainrule.so"

_AVX2, _AVX512 = 0x7, 0x27  # oneDNN's bits; the second is its avx512_core
_LEVELS = {"avx512": 4, "avx2": 3}  # of x86-64, as its levels are numbered
_LANES = {"avx512": 16, "avx2": 8}
_HALF = {"avx512": "avx512half", "avx2": "avx2"}  # with 8 lanes and all registers
_ENTRIES = ("GOMP_parallel", "omp_get_thread_num")
_REBUILD = "`pip install -e .` builds it anew"


class Kernels:
    """A loaded library of kernels, and the instruction set whose half of them is used."""

    def __init__(self, path: str, isa: str, functions: Any) -> None:
        self.path, self.isa = path, isa
        self.lanes = _LANES[isa]  # floats in a vector
        # Gives each of so many threads a processor of its own, before work that is not ours.
        self.settle: Callable[[int], None] = functions.chainrule_settle
        # Runs many calls one after the other: (steps, count, whether values were not finite).
        self.program: Callable[..., int] = functions.chainrule_program
        self._functions = functions
        self._known: dict[tuple[Any, ...], Any] = {}

    def __repr__(self) -> str:
        return f"Kernels({self.path!r}, {self.isa!r})"

    def function(
        self, name: str, *argument_types: Any, result: Any = None, half: bool = False
    ) -> Any:
        """Give the C function chainrule_NAME_ISA, which takes these types and gives `result`.

        `half` asks for the one with vectors of 8 floats at most.  Calls let go of the
        interpreter's lock.  The same name and types give the same object.
        """
        key = (name, result, half, *argument_types)
        found = self._known.get(key)
        if found is None:
            symbol = f"chainrule_{name}_{_HALF[self.isa] if half else self.isa}"
            try:
                found = self._functions[symbol]  # by index: an object of its own, with its types
            except AttributeError as error:
                raise BackendError(f"{self.path} has no function {symbol}; {_REBUILD}") from error
            found.argtypes, found.restype = argument_types, result
            self._known[key] = found
        return found


class Found(NamedTuple):
    """What a search for the kernels gave: them, or the reason why there are none."""

    kernels: Kernels | None
    reason: str


def wanted() -> bool:
    """Read CHAINRULE_KERNELS: whether the kernels are to be used; BackendError for nonsense."""
    text = os.environ.get(VARIABLE, "").strip().lower()
    expect(
        text in ("", "0", "off", "1", "on"),
        VARIABLE,
        "0 or off (the compiled kernels are not used), 1 or on, or nothing",
        error=BackendError,
        value=text,
    )
    return text not in ("0", "off")


def find(functions: Any, isa_bits: int) -> Found:
    """Load the kernels if they serve beside this libdnnl.

    Args:
        functions: the ctypes handle of libdnnl, through which its OpenMP is reached.
        isa_bits: what its dnnl_get_effective_cpu_isa gives, so that a cap on it holds for ours.
    """
    if not wanted():
        return Found(None, f"{VARIABLE}={os.environ[VARIABLE].strip()} keeps them out of use")
    path = FOLDER / NAME
    try:
        library = _load(path)
        isa = _choose(isa_bits, int(library.chainrule_level()))
        _start(library, functions)
    except BackendError as error:
        return Found(None, str(error))
    return Found(Kernels(str(path), isa, library), "")


def _load(path: Path) -> Any:
    """Load the file; BackendError unless it is of our interface and, in a checkout, its sources."""
    if not path.is_file():
        raise BackendError(
            f"this installation has no compiled kernels ({path} is missing): they are built with "
            "the package, on Linux with glibc and an x86-64 processor"
        )
    try:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
    except OSError as error:
        text = str(error).removeprefix(f"{path}: ")
        raise BackendError(f"{path} cannot be loaded: {text}") from error
    try:
        abi = int(library.chainrule_abi())
        library.chainrule_sources.restype = ctypes.c_char_p
        built = library.chainrule_sources().decode()
    except AttributeError as error:
        raise BackendError(f"{path} is not the kernels' library: {error}; {_REBUILD}") from error
    if abi != ABI:
        raise BackendError(f"{path} has interface {abi}; {ABI} is needed; {_REBUILD}")
    sources = path.parent / "source"
    if sources.is_dir() and digest(sources) != built:
        raise BackendError(f"{path} was built from other sources than {sources}; {_REBUILD}")
    return library


def _choose(bits: int, level: int) -> str:
    """Name the instruction set: the largest that oneDNN uses here and the processor has whole."""
    if bits & _AVX512 == _AVX512 and level >= _LEVELS["avx512"]:
        return "avx512"
    if bits & _AVX2 != _AVX2:
        raise BackendError(f"AVX2 is needed, and oneDNN uses less here ({bits:#x})")
    if level < _LEVELS["avx2"]:
        raise BackendError(
            "the processor lacks FMA or another instruction that comes with AVX2 elsewhere "
            "(x86-64-v3 is needed)"
        )
    return "avx2"


def _start(library: Any, functions: Any) -> None:
    """Give the kernels the threads of oneDNN's OpenMP."""
    entries: list[Any] = [getattr(functions, name, None) for name in _ENTRIES]
    missing = [name for name, entry in zip(_ENTRIES, entries, strict=True) if entry is None]
    if missing:
        raise BackendError(
            f"oneDNN's OpenMP gives no {' and no '.join(missing)}, on whose threads they would run"
        )
    library.chainrule_start.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    library.chainrule_start.restype = None
    library.chainrule_settle.argtypes = (ctypes.c_int,)
    library.chainrule_settle.restype = None
    library.chainrule_program.argtypes = (ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p)
    library.chainrule_program.restype = ctypes.c_int
    library.chainrule_start(*[ctypes.cast(entry, ctypes.c_void_p) for entry in entries])
