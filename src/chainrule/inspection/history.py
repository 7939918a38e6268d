"""The measurements of a training's health over its sampled steps, as findings read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple


class Measurement(NamedTuple):
    """One number: the step it was taken in, the layer or parameter ("" for all), and of what."""

    step: int
    layer: str
    measure: str
    value: float


Sample = dict[str, dict[str, float]]
"""The numbers of one sampled step: by measure, and within by layer in the order of the forward."""


class History:
    """The last samples whole, and of all before what findings need.

    >>> history = History(window=2)
    >>> history.add([Measurement(1, "", "loss", 2.5), Measurement(1, "fc", "update_ratio", 0.1)])
    >>> history.add([Measurement(21, "", "loss", 1.5)])
    >>> history.count, history.losses(2), history.highest_update
    (2, [2.5, 1.5], {'fc': 0.1})
    """

    def __init__(self, window: int) -> None:
        self.samples: deque[Sample] = deque(maxlen=window)
        self.first_losses: list[float] = []
        self.highest_update: dict[str, float] = {}
        self.never_active: dict[str, float] = {}  # what was measured last
        self.count, self.step = 0, 0

    def add(self, rows: Iterable[Measurement]) -> None:
        """Take in samples, the measurements of each side by side."""
        for row in rows:
            if row.step != self.step or not self.samples:
                self.samples.append({})
                self.step, self.count = row.step, self.count + 1
            self.samples[-1].setdefault(row.measure, {})[row.layer] = row.value
            if row.measure == "loss" and len(self.first_losses) < 3:
                self.first_losses.append(row.value)
            if row.measure == "never_active":
                self.never_active[row.layer] = row.value
            if row.measure == "update_ratio":
                before = self.highest_update.get(row.layer, 0.0)
                self.highest_update[row.layer] = max(before, row.value)

    def recent(self, measure: str, count: int) -> list[dict[str, float]]:
        """Give a measure in each of the last samples; nothing unless there are so many with it."""
        last = list(self.samples)[-count:]
        found = [sample[measure] for sample in last if sample.get(measure)]
        return found if len(found) == count else []

    def losses(self, count: int) -> list[float]:
        """Give the losses of the last samples; nothing unless there are so many."""
        return [loss[""] for loss in self.recent("loss", count)]
