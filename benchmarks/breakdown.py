"""Where the time of our training step goes, in a process of its own; see stopwatch.py."""

from __future__ import annotations

from typing import Any

from networks import Pair
from training import Settings, count_for
from worker import Worker

STEPS = 3


def measure(pair: Pair, settings: Settings, layout: str) -> dict[str, Any]:
    """Profile some steps after the first ones; give milliseconds by operation and part."""
    with Worker("chainrule", settings.threads, settings.backend) as worker:
        worker.ask("build", key=pair.key, batch=settings.batch)
        worker.ask("use", layout=layout)
        count = max(STEPS, count_for(worker))
        found: dict[str, Any] = worker.ask("breakdown", count=count)
    return found
