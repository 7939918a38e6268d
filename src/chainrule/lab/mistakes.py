"""The test images that a run's newest weights get wrong, the worst first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule.data.dataset import ImageData
from chainrule.data.sources import load_dataset
from chainrule.data.transforms import stacked
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import ChainruleError, DataError
from chainrule.inspection.paint import uri
from chainrule.lab.pipes import in_words
from chainrule.lab.runs import Run, stamp
from chainrule.training.config import TrainConfig
from chainrule.training.folder import WEIGHTS
from chainrule.training.using import Member

SHOWN = 24
"""Images that are shown."""

PATIENCE = 5.0
"""Seconds for looking at test images; of a large set only so many are looked at."""

_BATCH, _SIDE, _KEPT = 100, 96, 8
_FIRST = 0.4  # seconds that the first answer waits for


class Mistake(NamedTuple):
    """An image: its name in addresses, the picture, and what it was taken for."""

    picture: str
    image: str
    true: str
    given: str
    true_probability: float
    probability: float


@dataclass(frozen=True)
class Found:
    """What was found of `judged` test images, out of `total`; `problem` says why nothing was."""

    mistakes: tuple[Mistake, ...] = ()
    wrong: int = 0
    judged: int = 0
    total: int = 0
    rows: int = 0
    problem: str = ""


class Mistakes:
    """Looks at the test images in the background, whenever somebody asks and weights are new."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[Path, tuple[tuple[int, int], Found]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._data: tuple[tuple[Any, ...], ImageData] | None = None

    def newest(self, run: Run) -> Found | None:
        """Give what is known of a run, and begin to look at newer weights; None before the first.

        Nothing is written while it looks, and an older answer stands meanwhile.
        """
        now = stamp(run.path / WEIGHTS)
        with self._lock:
            known = self._found.get(run.path)
            thread = self._thread
            idle = thread is None or not thread.is_alive()
            if now != (0, 0) and (known is None or known[0] != now) and idle:
                thread = threading.Thread(target=self._look, args=(run, now), daemon=True)
                thread.start()
                self._thread = thread
        if thread is not None and (known is None or known[0] != now):
            thread.join(_FIRST)
        with self._lock:
            found = self._found.get(run.path)
        return None if found is None else found[1]

    def _look(self, run: Run, now: tuple[int, int]) -> None:
        try:
            found = self._judged(run)
        except (ChainruleError, OSError, MemoryError) as error:
            found = Found(problem=in_words(error))
        with self._lock:
            self._found[run.path] = now, found
            self._found.move_to_end(run.path)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)

    def _judged(self, run: Run) -> Found:
        member = Member.load(run.path)
        if member.config.task != "classification":
            raise DataError("images taken for another class are shown where there are classes")
        data = self._data_of(member.config.train)
        test, classes = data.test, member.config.classes
        p, y = _probabilities(member, data)
        judged = len(p)
        of_true = p[np.arange(judged), y]
        wrong = np.flatnonzero(p.argmax(axis=1) != y)
        worst = wrong[np.argsort(of_true[wrong], kind="stable")][:SHOWN]
        mistakes = tuple(
            Mistake(
                f"test-{number}",
                uri(thumbnail(test.image(int(number)), data.white)),
                classes[y[number]],
                classes[int(p[number].argmax())],
                float(of_true[number]),
                float(p[number].max()),
            )
            for number in worst
        )
        return Found(mistakes, len(wrong), judged, len(test), len(run.rows))

    def _data_of(self, train: TrainConfig) -> ImageData:
        key = (train.data, train.data_dir, train.validation)
        if self._data is None or self._data[0] != key:
            self._data = key, load_dataset(train.data, train.data_dir, validation=train.validation)
        return self._data[1]


def _probabilities(member: Member, data: ImageData) -> tuple[Array, Array]:
    """Give probabilities (N, K) and labels (N,) of the first test images, as time allows."""
    found, deadline = [], time.monotonic() + PATIENCE
    for numbers in _batches(len(data.test)):
        images, _ = data.test.__getitems__(np.asarray(numbers))
        x = stacked(member.transforms(images, Generator(0)))  # (N, C, H, W)
        found.append(member.probabilities(member.scores(x)))
        if time.monotonic() > deadline:
            break
    p = np.concatenate(found)
    return p, data.test.targets[: len(p)]


def _batches(count: int) -> Iterator[range]:
    return (range(begin, min(begin + _BATCH, count)) for begin in range(0, count, _BATCH))


def thumbnail(image: Array, white: float) -> Array:
    """Make bytes (H, W) or (H, W, 3) of an image (C, H, W), small enough to stand among others.

    >>> thumbnail(np.full((1, 2, 2), 16.0), 16.0).tolist()
    [[255, 255], [255, 255]]
    """
    scaled = np.clip(np.asarray(image, np.float64) * (255.0 / white), 0, 255)
    pixels = np.rint(scaled).astype(np.uint8).transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    pixels = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
    if max(pixels.shape[:2]) <= _SIDE:
        return np.ascontiguousarray(pixels)
    small = import_module("PIL.Image").fromarray(np.ascontiguousarray(pixels))
    small.thumbnail((_SIDE, _SIDE))
    return np.asarray(small)


def said(found: Found) -> str:
    """Say how many images are wrong.

    >>> said(Found(wrong=3, judged=360, total=360))
    '3 of 360 test images are taken for another class.'
    """
    of = f"{found.judged:,}" if found.judged == found.total else f"the first {found.judged:,}"
    more = "" if found.judged == found.total else f" (the set has {found.total:,})"
    verb = "is" if found.wrong == 1 else "are"
    return f"{found.wrong:,} of {of} test images{more} {verb} taken for another class."
