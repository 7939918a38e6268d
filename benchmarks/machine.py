"""What the figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import psutil
from worker import processors

FLAGS = re.compile(r"^(avx\w*|fma|f16c|amx\w*|asimd\w*|sve\w*|neon|bf16)$")


def describe() -> dict[str, Any]:
    """Name processor, instruction sets, memory and system."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.M)
    numbers = [
        f"{label} {found[1]}"
        for key, label in (("cpu family", "family"), ("model", "model"))
        if (found := re.search(rf"^{key}\s*:\s*(\d+)$", info, re.M))
    ]
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.M)
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "processor_numbers": ", ".join(numbers),
        "processors": processors(),
        "instruction_sets": sorted(f for f in flags[1].split() if FLAGS.match(f)) if flags else [],
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "preloaded": os.environ.get("LD_PRELOAD") or None,
    }


def today() -> str:
    """Give the date and the minute, in universal time."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def compiler() -> str | None:
    """Find the C++ compiler that `torch.compile` needs."""
    named = os.environ.get("CXX")
    return next((c for c in (named, "g++", "clang++") if c and shutil.which(c)), None)


def load() -> float | None:
    """Give the average number of running processes over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
