"""Networks in use beside PyTorch and ONNX Runtime on the same weights, in interleaved runs."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import numpy as np
from report import line, ratio
from training import Disagreement, Settings, alternate, fastest, label, milliseconds
from worker import Worker

CASES = (
    *(("lenet5", 128), ("alexnet", 16), ("resnet18", 16), ("resnet50", 8), ("vgg16", 4)),
    *(("lenet5", 1), ("alexnet", 1), ("resnet18", 1), ("resnet50", 1), ("vgg16", 1)),
)
"""Networks and batches that the bars name: each in batches, and one image at a time."""

TORCH, RUNTIME = 1.0, 1 / 1.1
"""How many times as fast as each peer it has to be."""

SIDES = {"ours": "using", "torch": "torch_using", "onnxruntime": "onnxruntime"}
WITHIN = 1e-3  # of the largest score


def measure(settings: Settings, cases: tuple[tuple[str, int], ...] = CASES) -> dict[str, Any]:
    """Time each case; give the figures by case."""
    found = {}
    for key, batch in cases:
        name = f"{key}, {batch} image{'s' * (batch > 1)}"
        found[name] = one(key, batch, settings)
        show(name, found[name])
    return found


def one(key: str, batch: int, settings: Settings) -> dict[str, Any]:
    """Check that all sides give the same scores, choose PyTorch's fastest form, time all."""
    with _sides(settings) as workers, tempfile.TemporaryDirectory() as folder:
        for worker in workers.values():
            worker.ask("build", key=key, batch=batch)
        weights, network = str(Path(folder) / "weights.npz"), str(Path(folder) / "network.onnx")
        workers["ours"].ask("save", path=weights)
        workers["ours"].ask("export", path=network)
        workers["torch"].ask("load", path=weights)
        workers["onnxruntime"].ask("read", path=network)
        _agree(key, workers, Path(folder))
        variant, times = fastest(workers["torch"], settings.passes)
        taken, awake = alternate(list(workers.values()), settings.rounds)
    result: dict[str, Any] = {"date": machine.today(), "idle_share": round(awake, 4)}
    result |= {"variant": label(variant), "variants_ms": milliseconds(times)}
    middles = {}
    for side, rounds in zip(SIDES, taken, strict=True):
        middles[side] = [statistics.median(steps) for steps in rounds]
        result[f"{side}_ms"] = round(1e3 * statistics.median(middles[side]), 4)
    for side in ("torch", "onnxruntime"):
        quotients = ratio(middles[side], middles["ours"])
        result[side] = [round(value, 3) for value in quotients]
    return result


@contextlib.contextmanager
def _sides(settings: Settings) -> Iterator[dict[str, Worker]]:
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(
                Worker(side, settings.threads, settings.backend if name == "ours" else None)
            )
            for name, side in SIDES.items()
        }


def _agree(key: str, workers: dict[str, Worker], folder: Path) -> None:
    """Raise Disagreement unless all give the same scores."""
    scores = {}
    for name, worker in workers.items():
        path = folder / f"{name}.npy"
        worker.ask("outputs", path=str(path))
        scores[name] = np.load(path)
    largest = float(np.abs(scores["torch"]).max())
    for name, found in scores.items():
        off = float(np.abs(found - scores["torch"]).max())
        if not off <= WITHIN * largest:
            raise Disagreement(f"{key}: {name}'s scores differ from PyTorch's by {off:.3g}")


def show(name: str, found: dict[str, Any]) -> None:
    """Print one case with its bars."""
    for side, bar in (("torch", TORCH), ("onnxruntime", RUNTIME)):
        middle, low, high = found[side]
        figure = f"{middle:.2f} ({low:.2f}-{high:.2f})"
        times = f"{found['ours_ms']:.3f} ms here, {found[f'{side}_ms']:.3f} ms"
        line(f"{name}: {side} / ours", figure, f"at least {bar:.2f}; {times}", middle >= bar)
