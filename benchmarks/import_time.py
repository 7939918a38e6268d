"""What `import chainrule` costs beside `import numpy`, in fresh processes that take turns."""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys

from report import line, ratio

BAR = 1.5
ROUNDS = 15
PROGRAM = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(package: str) -> float:
    """Import the package in a new interpreter and give the time of the import alone."""
    program = [sys.executable, "-c", PROGRAM.format(package)]
    return float(subprocess.run(program, capture_output=True, check=True, text=True).stdout)


def main() -> None:
    """Print the ratio."""
    packages = ["chainrule", "numpy"] + ["torch"] * bool(importlib.util.find_spec("torch"))
    for package in packages:
        seconds(package)  # writes byte code and fills the file cache
    times: dict[str, list[float]] = {package: [] for package in packages}
    for _ in range(ROUNDS):
        for package in packages:
            times[package].append(seconds(package))
    middle, low, high = ratio(times["chainrule"], times["numpy"])
    line(
        "import chainrule / import numpy",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        f"bar: at most {BAR}",
        middle <= BAR,
    )
    for package, taken in times.items():
        line(f"  import {package}", f"{1000 * statistics.median(taken):.0f} ms")


if __name__ == "__main__":
    main()
