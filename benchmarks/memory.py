"""Resident memory over 100 training steps of LeNet-5: what step 10 has must be enough."""

from __future__ import annotations

import psutil
from lenet import step
from report import line

BAR = 2.0  # per cent
STEPS, SETTLED = 100, 10


def main() -> None:
    """Print the growth after step 10 in per cent."""
    process, run = psutil.Process(), step()
    resident = []
    for _ in range(STEPS):
        run()
        resident.append(process.memory_info().rss)
    base, most, last = resident[SETTLED - 1], max(resident[SETTLED:]), resident[-1]
    growth = 100 * (most - base) / base
    line(
        f"LeNet-5, {STEPS} steps: memory after step {SETTLED}",
        f"{growth:+.2f} % at most",
        f"bar: at most {BAR:g} %",
        growth <= BAR,
    )
    line("  resident at the last step", f"{last / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
