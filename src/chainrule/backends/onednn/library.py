"""Finding oneDNN's shared library, checking that it serves, and its C functions.

A library serves if it is of version 3.2 or later within 3 (whose C interface is stable), computes
on OpenMP threads, and the processor has AVX2 (on x86; other processors have no such bar).

CHAINRULE_ONEDNN_LIBRARY names the file, or the folder that holds it; then no other is looked for.
Else the newest wins of those in the environment (where the wheel puts its own), in the folders
that environment variables name, and in the system's; among equals the first of these.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import site
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from chainrule.errors import BackendError

WHEEL = "onednn-cpu-gomp"
OLDEST = (3, 2)
AVX2 = 0x7  # the bits of dnnl_cpu_isa_avx2
VARIABLE = "CHAINRULE_ONEDNN_LIBRARY"

_NAMES = {"darwin": "libdnnl.3.dylib", "win32": "dnnl.dll"}
_SEARCHED = {"darwin": "DYLD_LIBRARY_PATH", "win32": "PATH"}
_SPIN, _TURNS = "GOMP_SPINCOUNT", "4000"
_OPENMP = 2  # dnnl_version_t.cpu_runtime
_RUNTIMES = {0: "no threads", 1: "one thread", 4: "TBB", 8: "a thread pool of the caller's"}
_RUNTIMES |= {512: "SYCL"}
_ISAS = {
    0x1: "SSE4.1",
    0x3: "AVX",
    0x7: "AVX2",
    0xF: "AVX2 VNNI",
    0x1F: "AVX2 VNNI 2",
    0x27: "AVX-512",
    0x67: "AVX-512 VNNI",
    0xE7: "AVX-512 BF16",
    0x1EF: "AVX-512 FP16",
    0xFEF: "AMX",
    0x1FEF: "AMX FP16",
}
_ABSENT = "there is no such file"
_CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_PACKAGES = {"libgomp": ("GNU's OpenMP", "libgomp1"), "libstdc++": ("the C++", "libstdc++6")}


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
        ("patch", ctypes.c_int),
        ("hash", ctypes.c_char_p),
        ("cpu_runtime", ctypes.c_uint),
        ("gpu_runtime", ctypes.c_uint),
    )


class Library(NamedTuple):
    """A loaded libdnnl that serves: its functions, and what `doctor` tells about it."""

    functions: Any
    path: str
    version: tuple[int, int, int]
    isa: str


class Refused(NamedTuple):
    """A file that was found and is not used, and why."""

    path: str
    reason: str


class Search(NamedTuple):
    """What a search for the library gave."""

    library: Library | None
    refused: tuple[Refused, ...]

    @property
    def reason(self) -> str:
        """Say in one line why none serves, and what to do; nothing where one does."""
        if self.library is not None:
            return ""
        found = "; ".join(f"{path}: {reason}" for path, reason in self.refused)
        remedy = self.remedy
        return (found or f"no {file_name()} was found") + (f"; {remedy}" if remedy else "")

    @property
    def remedy(self) -> str:
        """Say what to do where none serves; nothing where that is already said, or no use."""
        said = ("AVX2 is needed", "apt install")
        if self.library or any(words in reason for _, reason in self.refused for words in said):
            return ""
        if _named():
            return f"{VARIABLE} names it; without the variable the library is looked for"
        if any(reason == _ABSENT for _, reason in self.refused):
            return f"{WHEEL} is installed without it, as by `pip install --target`"
        system = platform.system()
        if system == "Linux" and _is_x86() and platform.libc_ver()[0] == "glibc":
            return f"pip install {WHEEL}"
        if system in ("Linux", "Darwin"):
            return "install oneDNN 3.2 or a later 3.x, built with OpenMP (conda-forge has it)"
        return ""


def file_name() -> str:
    """Give the library's file name on this platform."""
    return _NAMES.get(sys.platform, "libdnnl.so.3")


def places() -> Iterator[Path]:
    """Name the folders in which the library may lie: environments first, then the system's."""
    inner = ("Library", "bin") if sys.platform == "win32" else ("lib",)
    yield Path(sys.prefix, *inner)
    if site.ENABLE_USER_SITE:
        yield Path(site.getuserbase(), *inner)
    yield Path(sys.base_prefix, *inner)
    for variable in ("CONDA_PREFIX", "DNNLROOT", "HOMEBREW_PREFIX"):
        if os.environ.get(variable):
            yield Path(os.environ[variable], *inner)
    searched = os.environ.get(_SEARCHED.get(sys.platform, "LD_LIBRARY_PATH"), "")
    yield from (Path(entry) for entry in searched.split(os.pathsep) if entry)
    if sys.platform != "win32":
        triplet = f"{platform.machine()}-linux-gnu"
        for folder in ("/usr/local/lib64", "/usr/local/lib", f"/usr/lib/{triplet}"):
            yield Path(folder)
        for folder in ("/usr/lib64", "/usr/lib", "/opt/homebrew/lib"):
            yield Path(folder)


def wheel_file() -> Path | None:
    """Find the wheel's library by the list of its files, wherever the wheel was installed.

    It need not exist: `pip install --target` leaves it out, and lists it.
    """
    metadata = import_module("importlib.metadata")  # slow to load, and seldom needed
    try:
        wheel = metadata.distribution(WHEEL)
    except metadata.PackageNotFoundError:
        return None
    listed = [wheel.locate_file(file) for file in wheel.files or [] if file.name == file_name()]
    paths = [os.path.abspath(path) for path in (*listed, wheel.locate_file(f"lib/{file_name()}"))]
    return Path(next((path for path in paths if os.path.isfile(path)), paths[0]))


def candidates() -> list[Path]:
    """List the files that exist, and the wheel's, each once, in the order of `places`."""
    found = [Path(os.path.abspath(folder)) / file_name() for folder in places()]
    wheel = None
    if not any(os.path.isfile(path) for path in found[:1]):
        wheel = wheel_file()
        found[:0] = [] if wheel is None else [wheel]
    real: dict[str, Path] = {}
    for path in found:
        # Unlike pathlib's, this test is no error in a folder that we must not read.
        if path == wheel or os.path.isfile(path):
            real.setdefault(os.path.realpath(path), path)
    return list(real.values())


def _named() -> Path | None:
    """Give the file that CHAINRULE_ONEDNN_LIBRARY names, whether it exists or not."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    path = Path(os.path.abspath(os.path.expanduser(text)))
    return path / file_name() if os.path.isdir(path) else path


def named_version(path: Path) -> tuple[int, ...] | None:
    """Read (3, 2) out of the name that a link leads to, libdnnl.so.3.2; None if none is said.

    Wheels hold no links but copies, so that a file of such a name and of the same size counts too.
    """
    real = Path(os.path.realpath(path))
    copies = sorted(real.parent.glob("libdnnl.*")) if real.name == file_name() else []
    for file in (real, *copies):
        match = re.fullmatch(r"libdnnl(?:\.so)?\.(\d+(?:\.\d+)+)(?:\.dylib)?", file.name)
        if match and (file == real or os.path.getsize(file) == os.path.getsize(real)):
            return tuple(int(part) for part in match[1].split("."))
    return None


def open_library(path: Path) -> Library:
    """Load one file; BackendError says why it does not serve."""
    if not os.path.isfile(path):
        raise BackendError(_ABSENT)
    try:
        # Local: another libdnnl of this process keeps its own functions, and we keep ours.
        with _short_spin():
            functions = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
    except OSError as error:
        text = str(error).removeprefix(f"{path}: ")
        raise BackendError(f"it cannot be loaded: {text}{_install_hint(text)}") from error
    try:
        functions.dnnl_version.restype = ctypes.POINTER(_Version)
        about = functions.dnnl_version().contents
    except AttributeError as error:
        raise BackendError("it is not oneDNN: it has no dnnl_version") from error
    version = (about.major, about.minor, about.patch)
    return Library(functions, str(path), version, check(version, about.cpu_runtime, functions))


@contextmanager
def _short_spin() -> Iterator[None]:
    """Have GNU's OpenMP, if it is loaded inside, spin for microseconds before its threads sleep.

    Its own default is milliseconds.  Where another process has one of the processors, the spinning
    thread then keeps the one that it waits for off the other: measured, LeNet's step took 145 ms
    so and 20 ms with the short spin.  What the user has set is left alone.
    """
    if any(name in os.environ for name in ("OMP_WAIT_POLICY", _SPIN)):
        yield
        return
    os.environ[_SPIN] = _TURNS
    try:
        yield
    finally:
        del os.environ[_SPIN]


def _install_hint(text: str) -> str:
    """Name the package that brings a library which the loader missed."""
    for library, (what, package) in _PACKAGES.items():
        if text.startswith(library):
            return f"; {what} runtime is missing (Debian, Ubuntu: apt install {package})"
    return ""


def check(version: tuple[int, int, int], runtime: int, functions: Any) -> str:
    """Raise BackendError unless version, threads and processor serve; name the instruction set."""
    text = ".".join(map(str, version))
    if version[0] != 3 or version[:2] < OLDEST:
        raise BackendError(f"it is version {text}; 3.2 or a later 3.x is needed")
    if runtime != _OPENMP:
        threads = _RUNTIMES.get(runtime, f"runtime {runtime}")
        raise BackendError(f"version {text} was built with {threads}; OpenMP is needed")
    if not hasattr(functions, "omp_set_num_threads"):
        raise BackendError(f"version {text} gives no access to OpenMP's omp_set_num_threads")
    bits = int(functions.dnnl_get_effective_cpu_isa())
    if not _is_x86():
        return platform.machine()
    if bits & AVX2 != AVX2:
        capped = [f" ({name}={os.environ[name]} says so)" for name in _CAPS if name in os.environ]
        least = "".join(capped[:1])
        raise BackendError(f"the processor has {isa_name(bits)} at most{least}; AVX2 is needed")
    return isa_name(bits)


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def isa_name(bits: int) -> str:
    """Name an instruction set of x86, for unknown ones the largest that they hold."""
    known = max((isa for isa in _ISAS if isa & bits == isa), default=0)
    name = _ISAS.get(known, "no vectors")
    return name if bits == known else f"{name} and more ({bits:#x})"


def find() -> Search:
    """Look for the newest library that serves, and tell what is wrong with the others."""
    named = _named()
    paths = candidates() if named is None else [named]
    told = [named_version(path) for path in paths] if len(paths) > 1 else [None]
    # Those whose version no name tells come first, since they have to be asked.
    order = sorted(range(len(paths)), key=lambda i: told[i] or (sys.maxsize,), reverse=True)
    best: Library | None = None
    first = 0
    refused: list[Refused] = []
    older: list[tuple[str, tuple[int, ...]]] = []
    for i in order:
        path, name = paths[i], told[i]
        if best and name and (name, -i) < (best.version[: len(name)], -first):
            older.append((str(path), name))
            continue
        try:
            library = open_library(path)
        except BackendError as error:
            refused.append(Refused(str(path), str(error)))
            continue
        if best and (library.version, -i) < (best.version, -first):
            older.append((library.path, library.version))
            continue
        if best:
            older.append((best.path, best.version))
        best, first = library, i
    if best:
        refused += [Refused(path, _not_newer(version, best.version)) for path, version in older]
    return Search(best, tuple(refused))


def _not_newer(version: tuple[int, ...], used: tuple[int, ...]) -> str:
    this, other = (".".join(map(str, numbers)) for numbers in (version, used))
    return f"version {this} is not newer than the {other} that is used"


@cache
def search() -> Search:
    """Find the library once for the process; see `find`."""
    return find()


def about() -> dict[str, Any]:
    """Tell `chainrule doctor` what was found, whether or not it serves, in words and numbers."""
    found = search()
    library = found.library
    return {
        "version": ".".join(map(str, library.version)) if library else None,
        "path": library.path if library else None,
        "instruction_set": library.isa if library else None,
        "reason": found.reason,
        "refused": [refused._asdict() for refused in found.refused],
    }
