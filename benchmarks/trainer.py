"""What the trainer costs over a bare loop, and whether memory stays flat over 50 epochs.

LeNet-5 on random bytes of MNIST's size: steps by the trainer against the same batches, forward,
backward and step by hand, a few of each in turns.  Then 50 epochs of digits, the resident memory
after each.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from report import line

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader
from chainrule.nn.functional import cross_entropy
from chainrule.training import Callback, TrainConfig, Trainer, TrainTask

IMAGES, BATCH, ROUNDS, EPOCHS = 12_800, 64, 40, 50
TURN = 10  # steps
OVERHEAD, GROWTH = 2.0, 2.0  # per cent


def loader(n: int = IMAGES) -> DataLoader:
    """Random images, shuffled, prepared as MNIST's are."""
    from chainrule.data.transforms import Compose, Normalize, Pad, RandomCrop

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n, 1, 28, 28), dtype=np.uint8)
    pipeline = Compose((Pad(2), RandomCrop(32, padding=1), Normalize(0.13, 0.3)))
    data = ArrayDataset(x, rng.integers(0, 10, n), 10)
    return DataLoader(data, BATCH, shuffle=True, generator=cr.Generator(0), transform=pipeline)


class Bare:
    """The loop that anybody would write by hand."""

    def __init__(self) -> None:
        cr.manual_seed(0)
        self.model, self.batches = cr.create_model("lenet5"), self.walk(loader())
        self.optimizer = cr.optim.SGD(
            self.model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    @staticmethod
    def walk(batches: DataLoader) -> Iterator[Any]:
        """Give batches for ever."""
        while True:
            yield from batches

    def steps(self, count: int) -> float:
        """Train some steps; gives their seconds."""
        begun = time.perf_counter()
        for x, y in itertools.islice(self.batches, count):
            loss = cross_entropy(self.model(cr.tensor(x)), cr.tensor(y))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - begun


class Turns(Callback):
    """Stops the trainer every few steps to let the bare loop do as many."""

    def __init__(self, bare: Bare) -> None:
        self.bare, self.begun = bare, 0.0
        self.pairs: list[tuple[float, float]] = []

    def on_step(self, trainer: Trainer) -> None:
        if trainer.step % TURN:
            return
        spent = time.perf_counter() - self.begun
        if trainer.step > TURN:  # the first turn began with the walk
            self.pairs.append((self.bare.steps(TURN), spent))
        self.begun = time.perf_counter()


def overhead() -> None:
    """Compare the trainer's steps, as `TrainTask` runs them, with the bare loop's, in turns."""
    cr.manual_seed(0)
    bare = Bare()
    turns = Turns(bare)
    config = TrainConfig(model="lenet5", epochs=ROUNDS, batch_size=BATCH)
    trainer = Trainer(cr.create_model("lenet5"), loader(), loader(BATCH), config, [turns])
    bare.steps(TURN)
    for _ in range(ROUNDS):
        trainer._walk()
        trainer.epoch, trainer.step = trainer.epoch + 1, 0
    ratios = [100 * (ours / theirs - 1) for theirs, ours in turns.pairs]
    low, middle, high = statistics.quantiles(ratios, n=4)
    line(
        f"trainer over a bare loop, LeNet-5 batch {BATCH}",
        f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})",
        f"bar: {OVERHEAD:g} %; quartiles of {len(ratios)} turns of {TURN} steps",
        middle <= OVERHEAD,
    )
    for place, name in enumerate(("bare loop", "trainer")):
        steps = [1e3 * pair[place] / TURN for pair in turns.pairs]
        low = statistics.quantiles(steps, n=4)[0]
        line(f"  step of the {name}", f"{statistics.median(steps):.2f} ms", f"quartile {low:.2f}")


def memory() -> None:
    """Train 50 epochs of digits into a run folder and watch the resident memory."""
    process, resident, spent = psutil.Process(), [], []

    class Watch(Callback):
        def on_epoch(self, trainer: Trainer) -> None:
            resident.append(process.memory_info().rss)
            spent.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        TrainTask(TrainConfig(epochs=EPOCHS), Path(folder) / "run").run([Watch()])
    base, most = resident[9], max(resident[10:])
    growth = 100 * (most - base) / base
    line(
        f"digits, {EPOCHS} epochs: memory after the 10th",
        f"{growth:+.2f} % at most",
        f"bar: at most {GROWTH:g} %",
        growth <= GROWTH,
    )
    line("  resident at the end", f"{resident[-1] / 2**20:.0f} MiB")


def main() -> None:
    """Measure both."""
    overhead()
    memory()


if __name__ == "__main__":
    main()
