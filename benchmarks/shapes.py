"""Resident memory over training steps whose batch and image sizes change at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import machine
import numpy as np
from report import line
from training import Settings
from worker import Worker

KEY = "resnet20"
BAR = 3.0  # per cent
STEPS, SETTLED = 200, 50
BATCHES, SIDES = (1, 32), (16, 48)


def draw(steps: int) -> list[list[int]]:
    """Draw (batch, side) for every step.  The first is the largest of all.

    So what grows later is what the library keeps for each shape or loses, and not merely a
    larger batch than any before.
    """
    rng = np.random.default_rng(0)
    sizes = rng.integers((BATCHES[0], SIDES[0]), (BATCHES[1] + 1, SIDES[1] + 1), (steps, 2))
    sizes[0] = BATCHES[1], SIDES[1]
    return [[int(n), int(side)] for n, side in sizes]


def growth(after: Sequence[int], settled: int) -> float:
    """Give by how many per cent the highest after step `settled` exceeds the highest until it."""
    return 100.0 * (max(after[settled:]) / max(after[:settled]) - 1.0)


def measure(settings: Settings, steps: int = STEPS, settled: int = SETTLED) -> dict[str, Any]:
    """Train ResNet-20 on ever-changing shapes, on both sides; give memory and its growth."""
    found: dict[str, Any] = {"date": machine.today(), "bar": BAR, "steps": steps}
    found |= {"settled": settled, "network": KEY}
    for side in ("chainrule", "torch"):
        with Worker(side, settings.threads, settings.backend) as worker:
            worker.ask("build", key=KEY, batch=1)
            after = worker.ask("shapes", drawn=draw(steps))
        found[side] = {
            "growth_percent": round(growth(after, settled), 3),
            "last_by_settled_percent": round(100.0 * (after[-1] / after[settled - 1] - 1), 3),
            "resident_mib": [round(b / 2**20, 1) for b in after],
        }
    return found


def show(found: Mapping[str, Any]) -> None:
    """Print the figures."""
    for side in ("chainrule", "torch"):
        grown = found[side]["growth_percent"]
        ours = side == "chainrule"
        line(
            f"{found['steps']} random shapes, {side}: memory after step {found['settled']}",
            f"{grown:+.2f} %",
            f"bar: less than {BAR:g} %" if ours else f"{found[side]['resident_mib'][-1]:.0f} MiB",
            grown < BAR if ours else None,
        )
