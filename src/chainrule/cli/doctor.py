"""`chainrule doctor`: what computes here, and what each missing piece would bring."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from chainrule import __version__
from chainrule.engine import threads
from chainrule.engine.creation import tensor
from chainrule.engine.dispatch import FAST, VARIABLE, current_backend
from chainrule.engine.op import OPS
from chainrule.errors import BackendError
from chainrule.flat.convolution import conv
from chainrule.ops.conv import conv2d

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]

SLOWER = "2.3 to 2.7 times as long"
"""What a training step on NumPy takes: LeNet-5, ResNet-18 and 20, two threads, AVX-512."""

NO_KERNELS = "oneDNN computes all of it: VGG-16 takes twice as long to train, ResNet-18 1.7 times"
"""What is so without the compiled kernels of our own."""

EXTRAS = {
    "matplotlib": ("demo", "`chainrule train` draws no curves, `look` no pictures"),
    "scikit-learn": ("demo", "the data set `digits` cannot be loaded"),
    "flask": ("lab", "`chainrule lab` cannot serve its pages"),
    "h5py": ("hdf5", "data sets in HDF5 files cannot be read"),
    "onnx": ("onnx", "ONNX files can be neither read nor written"),
    "tensorboardX": ("tensorboard", "`chainrule train --tensorboard` writes no events"),
}
"""Packages that few need: the extra that brings each, and what is missing without it."""

TOLERANCE = 1e-4
"""Of the convolution that is tried: between sums in another order and a broken library."""

T = TypeVar("T")


def doctor(as_json: AsJson = False) -> None:
    """Show what computes here, and what each missing piece would bring.

    That is the backend, its library and instruction set, the threads, BLAS, and what was found
    and is not used.
    Leaves with code 0 if operations run, be it on NumPy alone, and with code 1 if they cannot,
    such as under a CHAINRULE_BACKEND that does not exist.
    """
    facts = examine()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _show(facts)
    if facts["errors"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """Collect everything that the command tells; what fails is told under "errors".

    >>> sorted(examine())
    ['backend', 'blas', 'chainrule', 'errors', 'kernels', 'missing', 'numpy', 'onednn', \
'packages', 'platform', 'python', 'threads']
    """
    errors: list[str] = []
    library = _library()
    facts: dict[str, Any] = {
        "chainrule": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": f"{platform.system()} {platform.machine()}",
        "numpy": np.__version__,
        "backend": _attempt(lambda: _backend(library), errors, None),
        "onednn": library,
        "kernels": _kernels(),
        "threads": _attempt(_threads, errors, None),
        "blas": _attempt(_blas, errors, None) or [],
        "packages": {name: _version(name) for name in EXTRAS},
        "errors": errors,
    }
    facts["missing"] = list(_missing(facts))
    if facts["backend"] and not facts["backend"]["difference"] <= TOLERANCE:  # NaN too
        errors.append(
            "the backend computes a convolution wrongly; CHAINRULE_BACKEND=numpy avoids it"
        )
    return facts


def _attempt(function: Callable[[], T], errors: list[str], instead: None) -> T | None:
    """Call a part of the examination; whatever is wrong here must not hide the rest."""
    try:
        return function()
    except Exception as error:
        text = str(error)
        errors += [] if text in errors else [text]
        return instead


def _library() -> dict[str, Any]:
    """Ask the fast backend's folder what it found, whether it is used or not."""
    try:
        found: dict[str, Any] = import_module(f"chainrule.backends.{FAST}").about()
    except Exception as error:  # such as a Python without ctypes
        return {"version": None, "reason": str(error), "refused": []}
    return found


def _kernels() -> dict[str, Any]:
    """Ask it for the compiled kernels of our own, which run beside its library's."""
    try:
        found: dict[str, Any] = import_module(f"chainrule.backends.{FAST}").about_kernels()
    except Exception as error:
        return {"path": None, "instruction_set": None, "reason": str(error)}
    return found


def _backend(library: dict[str, Any]) -> dict[str, Any]:
    """Name the backend that runs operations, who chose it, and its kernel pairs; try one."""
    asked = os.environ.get(VARIABLE, "").strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # that NumPy serves is told below
            backend = current_backend()
    except BackendError as error:
        raise BackendError(f"{VARIABLE}={asked}: {error}") from error
    automatic = "numpy" if library["reason"] else FAST
    chosen = "use_backend"
    if backend.name == (asked or automatic):
        chosen = VARIABLE if asked else "default"
    before = backend.calls.copy()
    return {
        "name": backend.name,
        "chosen_by": chosen,
        "kernel_pairs": sorted(kind.__name__ for kind in backend.table),
        "operations": len(OPS),
        "difference": _difference(),
        "tried": sorted((backend.calls - before).keys()),
    }


def _difference() -> float:
    """Compute a convolution here and on NumPy; give the largest difference, by the largest value.

    For float32 sums in two orders it is below 1e-6.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 16, 16, 16), np.float32)
    weight = rng.standard_normal((16, 16, 3, 3), np.float32)
    here = conv2d(tensor(x), tensor(weight), padding=1).numpy()
    there = conv(x, weight, padding=1)
    return float(np.abs(here - there).max() / np.abs(there).max())


def _threads() -> dict[str, Any]:
    """Give the number of threads, and where it comes from."""
    count = threads.get_num_threads()
    default, binding = threads.default_threads()
    if count != default:
        source = "set_num_threads"
    elif binding == "quota":
        source = "cgroup quota"
    elif binding:
        source = binding
    elif threads.openmp_threads() is not None:
        source = threads.OPENMP
    else:
        source = "affinity" if hasattr(os, "sched_getaffinity") else "processors"
    return {"count": count, "source": source, "processors": os.cpu_count()}


def _blas() -> list[dict[str, Any]]:
    """Describe each BLAS library that can be steered."""
    described = (library.info() for library in threads.BLAS.libraries)
    return [
        {
            "name": info.get("internal_api"),
            "version": info.get("version"),
            "threads": info.get("num_threads"),
            "held": threads.BLAS.held > 0,
            "path": info.get("filepath"),
        }
        for info in described
    ]


def _version(package: str) -> str | None:
    """Give the version of an installed package without loading it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _missing(facts: dict[str, Any]) -> Iterator[str]:
    """Say what is not here, and what each piece would bring."""
    backend, library = facts["backend"], facts["onednn"]
    if library["reason"]:
        yield f"oneDNN: without it a training step takes {SLOWER}; {library['reason']}"
    elif backend is not None and backend["name"] != FAST:
        yield (
            f"oneDNN is here and not used ({backend['chosen_by']}): "
            f"without it a training step takes {SLOWER}"
        )
    if facts["kernels"]["reason"] and not library["reason"]:
        yield f"own kernels: without them {NO_KERNELS}; {facts['kernels']['reason']}"
    for name, (extra, without) in EXTRAS.items():
        if facts["packages"][name] is None:
            yield f"{name}: without it {without}; pip install 'chainrule[{extra}]'"


# Showing it


def _show(facts: dict[str, Any]) -> None:
    """Print the facts, a line each; colours on a terminal only."""
    console = Console(highlight=False)
    for label, value in _lines(facts):
        console.print(Text.assemble((f"{label:15}", "bold"), value), soft_wrap=True)
    for text in facts["missing"]:
        console.print(Text.assemble(("missing        ", "bold yellow"), text), soft_wrap=True)
    for text in facts["errors"]:
        console.print(Text.assemble(("error          ", "bold red"), text), soft_wrap=True)
    if not facts["missing"] and not facts["errors"]:
        console.print("nothing is missing", soft_wrap=True)


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "chainrule", facts["chainrule"]
    yield "Python", f"{facts['python']}, {facts['platform']}"
    yield "NumPy", facts["numpy"]
    yield from _backend_lines(facts["backend"])
    library = facts["onednn"]
    if library["version"]:
        yield "oneDNN", f"{library['version']} for {library['instruction_set']}"
        yield "", library["path"]
    else:
        yield "oneDNN", "none that serves"
    for refused in library["refused"]:
        yield "  not used", f"{refused['path']}: {refused['reason']}"
    yield from _kernel_lines(facts["kernels"])
    if facts["threads"]:
        yield "threads", _thread_line(facts["threads"])
    for blas in facts["blas"]:
        held = ", held beside the backend's own" if blas["held"] else ""
        count = blas["threads"]
        plural = "" if count == 1 else "s"
        yield "BLAS", f"{blas['name']} {blas['version'] or ''}: {count} thread{plural}{held}"
        yield "", blas["path"]
    if not facts["blas"] and not facts["errors"]:
        yield "BLAS", "none whose threads can be steered"
    for name, version in facts["packages"].items():
        yield name, version or "not installed"


def _backend_lines(backend: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if backend is None:
        yield "backend", "none: operations fail"
        return
    chosen = {"default": "by default"}.get(backend["chosen_by"], f"by {backend['chosen_by']}")
    yield "backend", f"{backend['name']}, {chosen}"
    pairs = backend["kernel_pairs"]
    if pairs:
        yield "  kernel pairs", f"{len(pairs)} of {backend['operations']}: {', '.join(pairs)}"
        ran = f"ran its {', '.join(backend['tried'])}" if backend["tried"] else "ran on NumPy"
        agreed = f"differs from NumPy's by {backend['difference']:.0e} of the largest value"
        yield "  tried", f"{ran}, which {agreed}"


def _kernel_lines(kernels: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if kernels["reason"]:
        yield "own kernels", "none that serve"
    else:
        yield "own kernels", f"compiled for {kernels['instruction_set']}"
        yield "", kernels["path"]


def _thread_line(facts: dict[str, Any]) -> str:
    words = {
        "affinity": "the processors that this process may use",
        "processors": "the machine's processors",
        "cgroup quota": "the container's CPU quota",
    }
    source = words.get(facts["source"], facts["source"])
    return f"{facts['count']}: {source}; the machine has {facts['processors']}"
