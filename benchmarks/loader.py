"""The loader: images a second from files, and what it adds to a training step.

    python benchmarks/loader.py [FOLDER] [--rounds N] [--workers N] [--priorities P ...]

FOLDER holds one folder of 64x64 pictures a class; without one, seeded JPEGs are written.  Each
round measures, one after the other, the loader alone in one thread (its processor seconds), steps
on batches that are ready, and steps fed by the loader.  What the loader may add to a step is its
seconds divided by the processors, plus 3 % of the step.  `--priorities` measures alternatives.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report import line
from worker import processors

import chainrule as cr
from chainrule.data import ConcatDataset, DataLoader, ImageFolder, prefetch, suggested_workers
from chainrule.data.transforms import Compose, Normalize

FEED, ALLOWED = 2000, 0.03  # images a second; part of a step
SIDE, PICTURES = 64, 600
BATCH, WARM, STEPS, TURN = 32, 6, 40, 0.6
PIPELINE = Compose((Normalize(mean=0.3, std=0.3),))


def write_pictures(root: Path, count: int = PICTURES) -> None:
    """Write JPEGs of smooth noise: about as large as photographs of that size."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        folder = root / f"class{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number:04}.jpg", quality=90)


def small(channels: int, classes: int) -> Any:
    """A network of three convolutions, whose step is short."""
    layers = []
    for narrow, wide in ((channels, 16), (16, 32), (32, 64)):
        layers += [cr.nn.Conv2d(narrow, wide, 3, padding=1), cr.nn.ReLU(), cr.nn.MaxPool2d(2)]
    return cr.nn.Sequential(*layers, cr.nn.Flatten(), cr.nn.Linear(64 * (SIDE // 8) ** 2, classes))


NETWORKS: dict[str, Callable[[int, int], Any]] = {
    "small": small,
    "retrieval_dcnn": lambda channels, classes: cr.create_model(
        "retrieval_dcnn", classes, channels
    ),
    "resnet20": lambda channels, classes: cr.create_model("resnet20", classes, channels),
}


def trainer(model: Any) -> Callable[[Any, Any], None]:
    """Give a call that trains one step."""
    optimizer = cr.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)

    def step(images: Any, labels: Any) -> None:
        loss = cr.nn.functional.cross_entropy(model(cr.as_tensor(images)), cr.as_tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def walk_for_ever(data: Any, workers: int) -> Iterator[Any]:
    while True:
        yield from DataLoader(
            *(data, BATCH, True), num_workers=workers, drop_last=True, transform=PIPELINE
        )


def seconds_of(batches: Iterator[Any], step: Callable[[Any, Any], None], count: int) -> float:
    """Time steps, the waiting for their batches included, after some that fill the queue."""
    for images, labels in itertools.islice(batches, WARM):
        step(images, labels)
    begin = time.perf_counter()
    for images, labels in itertools.islice(batches, count):
        step(images, labels)
    return (time.perf_counter() - begin) / count


def loading(data: Any) -> float:
    """Give the processor seconds that a batch costs in one thread."""
    batches = walk_for_ever(data, 0)
    next(batches)
    begin = time.thread_time()
    for _ in itertools.islice(batches, STEPS):
        pass
    return (time.thread_time() - begin) / STEPS


def rate(data: Any, workers: int) -> float:
    """Give the images a second of whole walks, their start included."""
    begin, count = time.perf_counter(), 0
    for _, labels in DataLoader(data, BATCH, True, num_workers=workers, transform=PIPELINE):
        count += len(labels)
    return count / (time.perf_counter() - begin)


def nice(value: int) -> Callable[[], None]:
    return lambda: os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), value)


def leftovers_only() -> None:
    os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))


PRIORITIES: dict[str, Callable[[], None]] = {
    "as it is": prefetch.lower_priority,
    "no threads": lambda: None,
    "equal": lambda: None,
    "nice 5": nice(5),
    "nice 10": nice(10),
    "nice 19": nice(19),
    "idle": leftovers_only,
}


def measure(name: str, data: Any, workers: int, rounds: int, priorities: list[str]) -> None:
    """Measure one network under some priorities: ready and fed steps in turns."""
    step = trainer(NETWORKS[name](data[0][0].shape[0], data.num_classes))
    ready = itertools.cycle(list(itertools.islice(walk_for_ever(data, 0), WARM)))
    count = max(6, round(TURN / seconds_of(ready, step, 6)))
    alone: list[float] = []
    loads: list[float] = []
    fed: dict[str, list[float]] = {priority: [] for priority in priorities}
    extra: dict[str, list[float]] = {priority: [] for priority in priorities}
    for _ in range(rounds):
        loads.append(loading(data))
        for priority in priorities:
            alone.append(seconds_of(ready, step, count))
            prefetch.lower_priority = PRIORITIES[priority]
            batches = walk_for_ever(data, 0 if priority == "no threads" else workers)
            fed[priority].append(seconds_of(batches, step, count))
            batches.close()  # type: ignore[attr-defined]
            longer = fed[priority][-1] - alone[-1]
            extra[priority].append((longer - loads[-1] / processors()) / alone[-1])
    prefetch.lower_priority = PRIORITIES["as it is"]
    base, load = statistics.median(alone), statistics.median(loads)
    share = load / processors() / base
    loading_ms = f"loading {1e3 * load:.2f} ms of a thread"
    line(f"{name}, batch {BATCH}", f"{1e3 * base:.2f} ms", loading_ms)
    for priority in priorities:
        middle = statistics.median(extra[priority])
        low, high = np.quantile(extra[priority], (0.25, 0.75))
        took = statistics.median(fed[priority])
        line(
            f"  {priority}, {workers} threads: {1e3 * took:.2f} ms",
            f"{100 * (share + middle):+.1f} %",
            f"bar: {100 * share:.1f} + 3 (quartiles "
            f"{100 * (share + low):+.1f} to {100 * (share + high):+.1f})",
            middle <= ALLOWED,
        )


def main() -> None:
    """Print the rates, and what the loader adds to steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--priorities", nargs="+", default=["as it is"], choices=list(PRIORITIES))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.folder or Path(folder)
        if not options.folder:
            write_pictures(root)
        data = ImageFolder(root)
        many = ConcatDataset([data] * 10)  # walks that are longer than a turn
        workers = suggested_workers(data) if options.workers is None else options.workers
        for count in sorted({0, 1, workers}):
            middle = statistics.median(rate(data, count) for _ in range(options.rounds))
            feeds = middle >= FEED if count == workers else None
            what = f"{len(data)} pictures, {count} threads"
            line(what, f"{middle:,.0f} images/s", f"bar: {FEED:,}", feeds)
        for name in options.networks:
            measure(name, many, workers, options.rounds, options.priorities)


if __name__ == "__main__":
    main()
