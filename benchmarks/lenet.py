"""One training step of LeNet-5, batch 128, beside PyTorch's when that is installed."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable

import numpy as np
from report import interleave, line, ratio

import chainrule as cr

BATCH, ROUNDS = 128, 30


def step(batch: int = BATCH) -> Callable[[], float]:
    """Give a call that trains LeNet-5 for one step on random images and returns the loss."""
    cr.manual_seed(0)
    model = cr.models.create_model("lenet5")
    optimizer = cr.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = cr.randn(batch, 1, 32, 32)
    labels = cr.tensor(np.arange(batch) % 10)

    def run() -> float:
        loss = cr.nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return run


def torch_step(batch: int = BATCH) -> Callable[[], float]:
    """The same step in PyTorch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x = torch.randn(batch, 1, 32, 32)
    labels = torch.arange(batch) % 10

    def run() -> float:
        loss = nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return run


def main() -> None:
    """Print the step's time, and the ratio to PyTorch's."""
    has_torch = importlib.util.find_spec("torch") is not None
    calls = [step()] + ([torch_step()] if has_torch else [])
    taken = interleave(calls, ROUNDS, warm=5)
    ours = statistics.median(taken[0])
    line(
        f"LeNet-5 training step, batch {BATCH}",
        f"{1000 * ours:.1f} ms",
        f"{BATCH / ours:.0f} images a second",
    )
    if has_torch:
        middle, low, high = ratio(*taken)
        line("  chainrule / PyTorch", f"{middle:.2f} ({low:.2f} to {high:.2f})")
    else:
        line("  chainrule / PyTorch", "-", "PyTorch is not installed here")


if __name__ == "__main__":
    main()
