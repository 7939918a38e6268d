"""Trainings in the lab, for tests: small ones, waited for, and what is left of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil

from chainrule.lab.jobs import Job
from chainrule.training.config import TrainConfig
from chainrule.training.recipes import recipe

PATIENCE = 90.0
"""Seconds: the machine may be busy."""


def small(epochs: int = 2, **changes: object) -> TrainConfig:
    """LeNet-5 on digits for a moment."""
    return recipe("lenet5-digits", epochs=epochs, **changes)


def until(what: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def ended(job: Job) -> Job:
    """Wait for a training's end."""
    assert job.wait(PATIENCE), job.state
    return job


def bits(run: Path) -> bytes:
    """Give the weights of a run, with what is said of them."""
    return (run / "weights.safetensors").read_bytes()


def metrics(run: Path) -> str:
    """Give the numbers of the epochs."""
    return (run / "metrics.csv").read_text()


def workers() -> list[psutil.Process]:
    """Find the processes that train for this one, or for a server of it."""
    me = psutil.Process()
    return [child for child in me.children(recursive=True) if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    """Say whether a process is one that trains."""
    try:
        return "chainrule.lab.worker" in process.cmdline()
    except psutil.Error:
        return False
