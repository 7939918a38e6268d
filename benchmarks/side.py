"""What either side of a comparison does inside its worker process."""

from __future__ import annotations

import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SGEMM = 2048  # side of the square matrices whose product is the yardstick


class Side:
    """A network under training.  Subclasses build it and say what one step is.

    Every public method is an order that the parent process may send (see worker.py).
    """

    def build(self, key: str, batch: int | None = None) -> dict[str, Any]:
        """Make the network and its batch; give what identifies it."""
        raise NotImplementedError

    def variants(self) -> list[dict[str, Any]]:
        """List the ways in which this side can run the same step, as arguments of `use`."""
        raise NotImplementedError

    def use(self, **variant: Any) -> None:
        """Go on in one of those ways, with a fresh optimiser."""
        raise NotImplementedError

    def step(self) -> float:
        """Train one step on the whole batch and give the loss."""
        raise NotImplementedError

    def steps(self, count: int) -> dict[str, Any]:
        """Train; give the seconds of every step and the last loss."""
        seconds, loss = [], float("nan")
        for _ in range(count):
            begin = time.perf_counter()
            loss = self.step()
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds, "loss": loss}

    def memory(self) -> dict[str, int]:
        """Give this process's resident memory and its peak, in bytes."""
        return resident()


class Yardstick(Side):
    """The machine's own rate: a large float32 matrix product, all threads, no network."""

    def __init__(self, threads: int, backend: str | None = None) -> None:
        self.threads = threads

    def sgemm(self, repeats: int = 3) -> dict[str, float]:
        """Give GFLOP/s of the best of a few products, for each library that is here."""
        rates = {"numpy": self._rate(np.matmul, self._numpy(), repeats)}
        try:
            import torch
        except ModuleNotFoundError:
            return rates
        torch.set_num_threads(self.threads)
        time.sleep(0.1)  # until NumPy's threads have gone to sleep
        square = torch.from_numpy(self._numpy()[0])
        rates["torch"] = self._rate(torch.mm, (square, square), repeats)
        return rates

    def _numpy(self) -> tuple[Any, Any]:
        square = np.random.default_rng(0).standard_normal((SGEMM, SGEMM), dtype=np.float32)
        return square, square

    def _rate(self, product: Any, factors: tuple[Any, Any], repeats: int) -> float:
        product(*factors)
        best = float("inf")
        for _ in range(repeats):
            begin = time.perf_counter()
            product(*factors)
            best = min(best, time.perf_counter() - begin)
        return 2 * SGEMM**3 / best / 1e9


def resident() -> dict[str, int]:
    """Read resident memory now and at its highest; without /proc both are the highest."""
    status = Path("/proc/self/status")
    if status.exists():
        found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status.read_text(), re.M))
        return {"now": 1024 * int(found["VmRSS"]), "peak": 1024 * int(found["VmHWM"])}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    return {"now": peak, "peak": peak}
