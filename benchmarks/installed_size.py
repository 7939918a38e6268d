"""What `pip install chainrule` puts on the disk, without pip itself; needs the registry."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import machine
from report import line

BAR = 320.0  # MB of 10^6 bytes
ROOT = Path(__file__).parent.parent


def folder_size(folder: Path) -> int:
    """Add up the bytes of the files below a folder; links are not followed, copies count once."""
    seen: dict[tuple[int, int], int] = {}
    for path, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(Path(path) / name)
            seen[(status.st_dev, status.st_ino)] = status.st_size
    return sum(seen.values())


def measure() -> dict[str, Any]:
    """Install this checkout, not editable, into a fresh environment; give MB by package folder."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        subprocess.run([*pip, "install", "--quiet", str(ROOT)], check=True)
        asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site = Path(
            subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        )
        parts = {
            part.name: folder_size(part) if part.is_dir() else part.stat().st_size
            for part in site.iterdir()
        }
        whole = folder_size(Path(folder))
    largest = sorted(parts.items(), key=lambda part: -part[1])[:8]
    return {
        "date": machine.today(),
        "bar": BAR,
        "mb": round(whole / 1e6, 1),
        "largest_mb": {name: round(size / 1e6, 1) for name, size in largest},
        "torch_mb": torch_size(),
    }


def torch_size() -> float | None:
    """Give the MB of the installed PyTorch alone, without what it depends on."""
    try:
        files = importlib.metadata.files("torch") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(f.locate())) for f in files]
    return round(sum(p.stat().st_size for p in paths if p.is_file()) / 1e6, 1)


def show(found: Mapping[str, Any]) -> None:
    """Print the figures."""
    line(
        "installed size of chainrule, without pip",
        f"{found['mb']:.0f} MB",
        f"bar: at most {BAR:g} MB",
        found["mb"] <= BAR,
    )
    for name, size in found["largest_mb"].items():
        line(f"  {name}", f"{size:.1f} MB")
    if found["torch_mb"]:
        line("  PyTorch alone, for comparison", f"{found['torch_mb']:.0f} MB")
