"""What a run ran on and how to run it again: programs, machine, git revision, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import __version__
from chainrule.engine.dispatch import FAST, current_backend
from chainrule.engine.threads import get_num_threads

PREFIXES = ("CHAINRULE_", "OMP_", "ONEDNN_")
"""What the environment variables that are kept begin with: they change what is computed or when."""

_PRIVATE = ("TOKEN", "KEY", "SECRET", "PASSWORD")
_PATIENCE = 3.0  # seconds for git


def describe_environment(command: Sequence[str] | None = None) -> dict[str, Any]:
    """Describe what computes here, for a run's folder: plain values that JSON holds.

    "command" can be pasted into a shell; by default it is this process's.  "git" is the revision
    of the folder in which it was started, and whether files that git knows were changed since;
    None where there is no repository or no git.  Of the environment only CHAINRULE_*, OMP_* and
    ONEDNN_* are kept.  Nothing fails: what cannot be found out is None.

    >>> found = describe_environment(["chainrule", "train", "--out", "my runs/1"])
    >>> found["command"], found["chainrule"] == __version__
    ("chainrule train --out 'my runs/1'", True)
    """
    return {
        "chainrule": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "processors": os.cpu_count(),
        "threads": _attempt(get_num_threads),
        "backend": _attempt(lambda: current_backend().name),
        "libraries": _libraries(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_revision(),
        "command": shlex.join(own_command() if command is None else command),
        "variables": _variables(),
    }


def git_revision(folder: str | os.PathLike[str] = ".") -> dict[str, Any] | None:
    """Ask git for the revision of a folder, and whether files that it knows were changed.

    Files that git does not know count for nothing, since runs write such.  None without a
    repository, without a first commit, without git, and when git takes longer than seconds.

    >>> git_revision("/") is None or sorted(git_revision("/")) == ["dirty", "revision"]
    True
    """
    revision = _git(folder, "rev-parse", "--verify", "HEAD")
    if not revision:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "dirty": None if changed is None else bool(changed)}


def _git(folder: str | os.PathLike[str], *arguments: str) -> str | None:
    """Run git: it asks nobody, locks nothing, and runs no program that the repository names."""
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", os.fspath(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            env={**os.environ, **quiet},
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def own_command() -> list[str]:
    """Give the command of this process, so that a shell can run it again.

    The program is written as people start it, `chainrule` or `python -m chainrule`; any other
    as the system knows it.

    >>> len(own_command()) > 0
    True
    """
    program, *arguments = sys.argv or [""]
    path = Path(program)
    if path.name == "__main__.py" and path.parent.name == "chainrule":
        return ["python", "-m", "chainrule", *arguments]
    if path.name in ("chainrule", "chainrule.exe"):
        return ["chainrule", *arguments]
    return list(sys.orig_argv) or [sys.executable]


def processor_name(table: str = "/proc/cpuinfo") -> str | None:
    """Give the processor's name as its maker writes it, None where the system does not tell.

    >>> processor_name() is None or len(processor_name()) > 0
    True
    """
    try:
        lines = Path(table).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() in ("model name", "hardware", "cpu model") and value.strip():
            return " ".join(value.split())
    return platform.processor() or None


def _libraries() -> dict[str, Any]:
    """Ask the fast backend's folder what it found: its library, and the kernels of our own."""
    try:
        folder = import_module(f"chainrule.backends.{FAST}")
        library, kernels = folder.about(), folder.about_kernels()
    except Exception:  # whatever is wrong there must not end a training
        return {"onednn": None, "kernels": None}
    onednn = {k: library.get(k) for k in ("version", "instruction_set")}
    return {
        "onednn": onednn if library.get("version") else None,
        "kernels": kernels.get("instruction_set"),
    }


def _variables() -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(PREFIXES) and not any(word in name.upper() for word in _PRIVATE)
    }


def _attempt(ask: Any) -> Any:
    try:
        return ask()
    except Exception:  # such as a CHAINRULE_BACKEND that does not exist: the training says so
        return None
