"""Run every benchmark, each in a process of its own, and print its figures beside its bars.

Each interleaves what it compares, since the machine may be busy; nothing is asserted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("import_time", "add_overhead", "conv", "lenet", "memory")


def main() -> int:
    """Run the benchmarks named on the command line, or all; give 1 if one could not run."""
    here, failed = Path(__file__).parent, False
    for name in sys.argv[1:] or NAMES:
        print(f"--- {name}", flush=True)
        failed |= subprocess.run([sys.executable, str(here / f"{name}.py")]).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
