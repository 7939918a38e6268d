"""What watching the health of a training costs: steps with `cr.monitor` against steps without.

Copies of a network on the same random images, as many steps of each in turns as there are from one
measured step to the next, so that every turn under watch has one; a second copy without watch shows
what chance does.  Then what the measured step costs alone, and the others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from report import line

import chainrule as cr
from chainrule.nn import Module
from chainrule.nn.functional import cross_entropy

EVERY, BAR = 30, 3.0  # steps from one measured to the next; per cent
CASES: list[tuple[str, Callable[[], Module], tuple[int, ...], int]] = [
    ("LeNet-5, batch 64", lambda: cr.create_model("lenet5"), (64, 1, 32, 32), 40),
    ("MLP 300-100, batch 64", lambda: cr.create_model("mlp"), (64, 1, 28, 28), 60),
    ("ResNet-20, batch 32", lambda: cr.create_model("resnet20"), (32, 3, 32, 32), 8),
]


class Loop:
    """A training by hand, under watch or not."""

    def __init__(self, build: Callable[[], Module], shape: tuple[int, ...], watched: bool) -> None:
        cr.manual_seed(0)
        rng = np.random.default_rng(0)
        self.model = build()
        self.x = cr.tensor(rng.normal(size=shape).astype(np.float32))
        self.y = cr.tensor(rng.integers(0, 10, shape[0]))
        self.optimizer = cr.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.watch: Any = cr.monitor(self.model, every=EVERY) if watched else None

    def step(self) -> float:
        """Train one step; gives its seconds."""
        begun = time.perf_counter()
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        if self.watch is not None:
            self.watch.step(loss)
        return time.perf_counter() - begun

    def turn(self) -> list[float]:
        """Train from one measured step to the next."""
        return [self.step() for _ in range(EVERY)]


def compared(turns: list[list[list[float]]], place: int) -> tuple[float, float, float]:
    """Quartiles of what a loop's turns took more than those of the first, in per cent."""
    ratios = [100 * (sum(turn[place]) / sum(turn[0]) - 1) for turn in turns]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return low, middle, high


def main() -> None:
    """Measure each network; a second loop without watch shows what chance does."""
    for name, build, shape, rounds in CASES:
        loops = [Loop(build, shape, watched) for watched in (False, False, True)]
        for loop in loops:
            loop.turn()
        turns = []
        for number in range(rounds):  # who begins changes from round to round
            order = [loops[(number + k) % 3] for k in range(3)]
            taken = {id(loop): loop.turn() for loop in order}
            turns.append([taken[id(loop)] for loop in loops])
        low, middle, high = compared(turns, 2)
        line(
            f"under watch, {name}",
            f"{middle:+.2f} % ({low:+.2f} to {high:+.2f})",
            f"bar: {BAR:g} %; quartiles of {len(turns)} turns of {EVERY} steps",
            middle <= BAR,
        )
        low, middle, high = compared(turns, 1)
        line("  without, against itself", f"{middle:+.2f} % ({low:+.2f} to {high:+.2f})")
        plain = statistics.median(step for turn in turns for step in turn[0])
        measured = statistics.median(turn[2][0] for turn in turns)
        armed = statistics.median(turn[2][-1] for turn in turns)
        others = statistics.median(step for turn in turns for step in turn[2][1:-1])
        share = 100 * (measured + armed - 2 * others) / (EVERY * others)
        line("  by the medians of the steps", f"{share:+.2f} %")
        line("  step without", f"{1e3 * plain:.2f} ms")
        line("  step measured; the one before it", f"{1e3 * measured:.2f}, {1e3 * armed:.2f} ms")
        line("  all other steps under watch", f"{1e3 * others:.2f} ms")


if __name__ == "__main__":
    main()
