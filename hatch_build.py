"""Compile the kernels in C while the package is built.

hatchling calls `KernelsHook`: an editable installation gets the library in place, a wheel gets it
inside and the tag of the platform.  The compiler comes from the package ziglang, so that nobody
needs one on the machine; where there is none, or the platform is another, the package is built
without the kernels, and that is told.  A mistake in the C sources fails the build.

`python hatch_build.py` compiles in place, with an interpreter for which ziglang is installed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook
except ModuleNotFoundError:  # run by hand: nothing of it is needed
    Hook = object

ROOT = Path(__file__).resolve().parent
NATIVE = Path("src", "chainrule", "native")
LIBRARY = "libchainrule.so"

COMPILER = [sys.executable, "-m", "ziglang", "cc"]
TARGET = "x86_64-linux-gnu.2.17"
TAG = "py3-none-manylinux_2_17_x86_64"  # what the target promises; any Python 3, by ctypes

COMMON = ("program.c", "start.c", "threads.c")
# compiled once, for any processor; every other file once for each of these:
VARIANTS = {
    "avx2": ("-mcpu=x86_64_v3",),
    "avx512": ("-mcpu=x86_64_v4", "-mprefer-vector-width=512"),
    "avx512half": ("-mcpu=x86_64_v4", "-DLANES=8"),
}
ANY_PROCESSOR = "x86_64"

# Not -ffast-math: NaN and infinity must come through.
FLAGS = [
    *("-std=c11", "-O3", "-fPIC", "-fvisibility=hidden", "-fomit-frame-pointer"),
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
    *("-Wall", "-Wextra", "-Werror=implicit"),
]


class CompilationError(Exception):
    """The compiler refused the sources; the message holds what it said."""


class KernelsHook(Hook):
    """hatchling's door to this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is packed, and have it packed."""
        reason = obstacle()
        if reason:
            self.app.display_warning(f"chainrule is built without compiled kernels: {reason}")
            return
        root = Path(self.root)
        if version == "editable":
            build(root)
            return
        # The checkout is left as it is; it may be read-only.
        self._folder = tempfile.TemporaryDirectory()
        output = Path(self._folder.name) / LIBRARY
        try:
            build(root, output)
        except BaseException:
            self._folder.cleanup()
            raise
        build_data["force_include"][str(output)] = f"chainrule/native/{LIBRARY}"
        build_data["tag"], build_data["pure_python"] = TAG, False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled, once it is packed."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()


def obstacle() -> str:
    """Say why nothing can be compiled here; nothing where it can."""
    bits = 64 if sys.maxsize > 2**32 else 32
    here = [platform.system(), platform.machine(), f"{bits} bits", platform.libc_ver()[0]]
    if here != ["Linux", "x86_64", "64 bits", "glibc"]:
        return "they are for Linux on x86-64 with glibc, and this is " + ", ".join(
            filter(None, here)
        )
    if find_spec("ziglang") is None:
        return "the package ziglang, which brings the compiler, is not installed"
    return ""


def build(root: Path, output: Path | None = None) -> Path:
    """Compile and link the sources of a checkout; give the library's path.

    The library takes its place in one step: who has the former one loaded keeps it whole.
    """
    native = root / NATIVE
    output = output or native / LIBRARY
    with tempfile.TemporaryDirectory() as folder:
        cache = cache_folder(root) or Path(folder, "cache")
        objects = []
        # A list: the hash is taken first, so that a file saved meanwhile does not go unnoticed.
        for source, name, options in list(units(native / "source")):
            objects.append(str(Path(folder, name)))
            _run(["-c", *FLAGS, *options, source, "-o", objects[-1]], native / "source", cache)
        # Beside its place, since a file is only renamed in one step within its file system.
        temporary = output.with_name(f".{LIBRARY}.{os.getpid()}")
        try:
            _run(["-shared", "-s", "-Wl,-z,defs", *objects, "-o", str(temporary)], native, cache)
            os.replace(temporary, output)
        finally:
            temporary.unlink(missing_ok=True)
    return output


def cache_folder(root: Path) -> Path | None:
    """Make the folder in which the compiler keeps its own work; None in a read-only checkout.

    It would be the user's home otherwise.  pip has a wheel built twice: the second time is short.
    """
    folder = root.absolute() / "build" / "zig"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def units(source: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Name each C file, the object that is made of it, and the options, once a processor."""
    for path in sorted(source.glob("*.c")):
        if path.name in COMMON:
            told = f'-DCHAINRULE_SOURCES="{digest(source)}"'
            yield path.name, f"{path.stem}.o", [f"-mcpu={ANY_PROCESSOR}", told]
            continue
        for isa, options in VARIANTS.items():
            yield path.name, f"{path.stem}_{isa}.o", [*options, f"-DISA={isa}"]


def digest(source: Path) -> str:
    """Hash the sources as the loader does, by its own function."""
    return str(run_path(str(source.parent / "sources.py"))["digest"](source))


def _run(arguments: list[str], folder: Path, cache: Path) -> None:
    """Call the compiler; what it says of a mistake is raised, and warnings are shown."""
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache), "ZIG_LOCAL_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [*COMPILER, "-target", TARGET, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompilationError(f"the kernels do not compile:\n{done.stderr or done.stdout}")
    sys.stderr.write(done.stderr)


if __name__ == "__main__":
    trouble = obstacle()
    if trouble:
        sys.exit(f"nothing is compiled: {trouble}")
    try:
        print(build(ROOT))
    except CompilationError as error:
        sys.exit(str(error))
