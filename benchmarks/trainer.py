"""What the trainer costs over a bare loop, and whether memory stays flat over 50 epochs.

LeNet-5 on random bytes of MNIST's size: an epoch by the trainer, with its run folder, against the
same batches, forward, backward and step by hand; interleaved rounds, medians.  Then 50 epochs of
digits, the resident memory after each.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from report import line

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader
from chainrule.nn.functional import cross_entropy
from chainrule.training import Callback, TrainConfig, Trainer, TrainTask

IMAGES, BATCH, ROUNDS, EPOCHS = 12_800, 64, 15, 50
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
        self.model, self.loader = cr.create_model("lenet5"), loader()
        self.optimizer = cr.optim.SGD(
            self.model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    def epoch(self) -> float:
        """Train one epoch; gives its seconds."""
        begun = time.perf_counter()
        for x, y in self.loader:
            loss = cross_entropy(self.model(cr.tensor(x)), cr.tensor(y))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - begun


class Ours:
    """The trainer's walk of an epoch, as `TrainTask` runs it but for the test."""

    def __init__(self) -> None:
        cr.manual_seed(0)
        train = loader()
        config = TrainConfig(model="lenet5", epochs=ROUNDS + 1, batch_size=BATCH)
        self.trainer = Trainer(cr.create_model("lenet5"), train, loader(BATCH), config)

    def epoch(self) -> float:
        """Train one epoch; gives its seconds."""
        begun = time.perf_counter()
        self.trainer._walk()
        spent = time.perf_counter() - begun
        self.trainer.epoch, self.trainer.step = self.trainer.epoch + 1, 0
        return spent


def overhead() -> None:
    """Compare the two, epoch by epoch in turn."""
    bare, ours = Bare(), Ours()
    bare.epoch(), ours.epoch()
    pairs = []
    for turn in range(ROUNDS):
        if turn % 2:
            second, first = ours.epoch(), bare.epoch()
        else:
            first, second = bare.epoch(), ours.epoch()
        pairs.append((first, second))
    ratios = sorted(100 * (second / first - 1) for first, second in pairs)
    step = 1e3 * statistics.median(first for first, _ in pairs) / len(bare.loader)
    middle = statistics.median(ratios)
    line(
        f"trainer over a bare loop, LeNet-5 batch {BATCH}",
        f"{middle:+.1f} % ({ratios[0]:+.1f} to {ratios[-1]:+.1f})",
        f"bar: {OVERHEAD:g} %",
        middle <= OVERHEAD,
    )
    line("  step of the bare loop", f"{step:.2f} ms")


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
