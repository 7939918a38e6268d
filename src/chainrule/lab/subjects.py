"""The networks that a lab shows: runs and those of the registry, loaded once, with images."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule import __version__
from chainrule.data.dataset import ImageData
from chainrule.data.sources import load_dataset
from chainrule.data.transforms import CenterCrop, Compose, Normalize, Resize
from chainrule.engine.op import Array
from chainrule.engine.random import Generator, default_generator, manual_seed
from chainrule.errors import DataError
from chainrule.lab.pictures import Pictures
from chainrule.lab.settings import Settings
from chainrule.models.registry import MODELS, create_model, find
from chainrule.training.config import TrainConfig
from chainrule.training.folder import WEIGHTS, RunConfig
from chainrule.training.pipeline import training_transforms
from chainrule.training.using import Member

RUN, MODEL = "run:", "model:"
"""How the keys of runs and of the registry's networks begin."""

KEPT = 3
"""Networks that stay loaded; the one that was not asked for the longest goes."""

SAMPLES = 24
"""Images of a data set that are offered."""

_TOLD = 10  # runs that a message names

_PHOTOS = ("china.jpg", "flower.jpg")  # CC-BY photographs that come with scikit-learn


class Sample(NamedTuple):
    """An image that is offered: its name in addresses, and what it shows, "" if not known."""

    name: str
    label: str


@dataclass
class Subject:
    """A network with the way from a picture to it.

    `key` names it in addresses, `stamp` changes when its weights do.  `lock` is held by whoever
    runs the network or watches its layers.
    """

    key: str
    title: str
    member: Member
    stamp: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What pages computed of it and may need again; it goes with the network."""

    @property
    def trained(self) -> bool:
        """Whether the weights were learnt; those of the registry's networks are drawn."""
        return self.key.startswith(RUN)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, labels or outputs."""
        return self.member.config.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of the images that reach the network."""
        return self.member.config.shape

    @cached_property
    def data(self) -> ImageData | None:
        """The data set that it was trained on, or digits; None if it has photographs alone.

        Raises DataError where the set is not there any more.
        """
        train = self.member.config.train
        if not train.data:
            return None
        return load_dataset(train.data, train.data_dir, validation=train.validation)

    def samples(self) -> list[Sample]:
        """List images that can be picked: of the test part, or photographs."""
        data = self.data
        if data is None:
            return [Sample(f"photo-{name[:-4]}", "") for name in _PHOTOS]
        count = min(SAMPLES, len(data.test))
        return [Sample(f"test-{number}", self._label(data, number)) for number in range(count)]

    def _label(self, data: ImageData, number: int) -> str:
        target = data.test.targets[number]
        if data.task != "classification":
            return ""
        return str(data.classes[int(target)])

    def label(self, picture: str) -> str:
        """Say what a picture shows, "" where nobody knows."""
        kind, _, rest = picture.partition("-")
        if kind != "test" or self.data is None or not rest.isdecimal():
            return ""
        number = int(rest)
        return self._label(self.data, number) if number < len(self.data.test) else ""

    def seen(self, picture: str, pictures: Pictures) -> Array:
        """Give a picture as the network sees it, (1, C, H, W).

        `picture` is a sample's name, or that of one in `pictures`.  DataError if there is none.
        """
        raw = self._raw(picture, pictures)
        return np.asarray(self.member.transforms(raw, Generator(0)))

    def _raw(self, picture: str, pictures: Pictures) -> Array:
        kind, _, rest = picture.partition("-")
        if kind == "test" and self.data is not None and rest.isdecimal():
            if int(rest) >= len(self.data.test):
                raise DataError(f"{picture}: the test part has {len(self.data.test):,} images")
            return np.asarray(self.data.test.image(int(rest)))[np.newaxis]
        if kind == "photo" and f"{rest}.jpg" in _PHOTOS:
            return self.member.pixels(_photo(f"{rest}.jpg"))
        return self.member.pixels(pictures.path(picture))

    def plain(self, x: Array) -> Array:
        """Turn images (N, C, H, W) as the network sees them back to pixels from 0 to 1."""
        mean, std = (np.reshape(v, (-1, 1, 1)) for v in self.member.scale())
        return np.asarray(np.clip(x * std + mean, 0, 1), np.float32)


class Subjects:
    """Finds networks by their keys, and keeps those that were asked for last."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._loaded: OrderedDict[str, Subject] = OrderedDict()
        self._lock = threading.Lock()

    def runs(self) -> dict[str, Path]:
        """Give the folders of runs with weights, by name, the newest first."""
        found: list[tuple[int, str, Path]] = []
        for path in self._folders():
            try:
                found.append(((path / WEIGHTS).stat().st_mtime_ns, path.name, path))
            except OSError:
                continue
        return {name: path for _, name, path in sorted(found, reverse=True)}

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            yield from (p for p in sorted(self.settings.folder.iterdir()) if p.name[0] != ".")
        if self.settings.run is not None:  # named on the command line: it wins over a namesake
            yield self.settings.run.resolve()

    def keys(self) -> list[str]:
        """List the keys of all networks: runs, then the registry's."""
        return [*(RUN + name for name in self.runs()), *(MODEL + name for name in sorted(MODELS))]

    @property
    def first(self) -> str:
        """The key of what is shown if nothing is asked for."""
        if self.settings.run is not None:
            return RUN + self.settings.run.resolve().name
        return next((RUN + name for name in self.runs()), MODEL + "lenet5")

    def get(self, key: str) -> Subject:
        """Give a network, loaded; DataError or CheckpointError where that cannot be."""
        key = key or self.first
        path = self._path(key)
        stamp = 0 if path is None else (path / WEIGHTS).stat().st_mtime_ns
        with self._lock:
            known = self._loaded.get(key)
            if known is None or known.stamp != stamp:
                known = _run(key, path, stamp) if path is not None else _untrained(key)
                self._loaded[key] = known
            self._loaded.move_to_end(key)
            while len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
        return known

    def _path(self, key: str) -> Path | None:
        if key.startswith(MODEL):
            find(key.removeprefix(MODEL), "lab")
            return None
        name = key.removeprefix(RUN)
        runs = self.runs()
        if not key.startswith(RUN) or name not in runs:
            there = ", ".join(list(runs)[:_TOLD]) or "none yet, the page Training makes one"
            there += ", ..." if len(runs) > _TOLD else ""
            raise DataError(f"{name[:60]!r}: there is no such run; runs that are here: {there}")
        return runs[name]


def _run(key: str, path: Path, stamp: int) -> Subject:
    member = Member.load(path)
    member.model.eval()
    return Subject(key, f"{path.name} ({member.config.train.model})", member, stamp)


def _untrained(key: str) -> Subject:
    """Build a network of the registry, with first values that are always the same."""
    name = key.removeprefix(MODEL)
    entry = find(name, "lab")
    kept = default_generator().get_state()
    try:
        manual_seed(0)
        model = create_model(name).eval()
    finally:
        default_generator().set_state(kept)
    channels, size = entry.channels, entry.size
    classes = tuple(str(number) for number in range(entry.classes))
    if channels == 1:
        train = TrainConfig(model=name, data="digits")
        transforms = training_transforms((), load_dataset("digits"), size, 0).eval()
    else:
        train = TrainConfig(model=name, data="")
        middle = Normalize((0.5,) * channels, (0.5,) * channels)
        transforms = Compose((Resize(round(size * 8 / 7)), CenterCrop(size), middle))
    shape = (channels, size, size)
    config = RunConfig(train, transforms, classes, shape, __version__)
    return Subject(key, f"{name}, not trained", Member(config, model, transforms))


def _photo(name: str) -> Path:
    try:
        datasets = import_module("sklearn.datasets")
    except ModuleNotFoundError as error:
        raise DataError("photographs come with scikit-learn; pip install chainrule[lab]") from error
    return Path(str(datasets.__file__)).parent / "images" / name
