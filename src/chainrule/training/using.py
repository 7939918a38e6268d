"""Runs in use: one or several networks measured together, and asked about pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.data.dataset import Dataset, ImageData, Task
from chainrule.data.dicom import DicomFile, is_dicom
from chainrule.data.images import Ink, frame_digit, read_image
from chainrule.data.loader import DataLoader
from chainrule.data.pictures import WHITE, Mode, read_picture
from chainrule.data.prefetch import suggested_workers
from chainrule.data.sources import FRAMES, load_dataset
from chainrule.data.transforms import Compose, Grayscale, Normalize
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.engine.state import no_grad
from chainrule.engine.tensor import as_tensor
from chainrule.errors import CheckpointError, DataError
from chainrule.nn.module import Module
from chainrule.training.folder import RunConfig, RunFolder
from chainrule.training.metrics import Evaluation
from chainrule.training.metrics_meter import Meter
from chainrule.training.objective import Objective, main_scores
from chainrule.training.pipeline import framed, with_views

_BATCH = 200
_Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Member:
    """A run's network, ready for use, and the way from an image to it."""

    config: RunConfig
    model: Module
    transforms: Compose

    @classmethod
    def load(cls, run: _Path, views: str = "center", best: bool = False) -> Member:
        """Read a run; raises CheckpointError for one that cannot be read."""
        folder = RunFolder(run)
        config = folder.read_config()
        model = folder.load_model(best)
        return cls(config, model, with_views(config.transforms, views))

    def pixels(self, path: _Path, ink: Ink = "auto") -> Array:
        """Read a picture as the run's data are: (1, C, H, W); see `Predictor.pixels`.

        Of a DICOM file with several frames it is the middle one.
        """
        if is_dicom(path):
            file = DicomFile.open(path)
            middle = file.image((file.frames - 1) // 2)
            return self.adapted(middle, ink, str(path))
        if FRAMES.get(self.config.train.data) is None:
            return self.adapted(read_picture(path, self.mode))
        return self._digit(read_image(path), ink, str(path))

    @property
    def mode(self) -> Mode:
        """How the run reads pictures: grey, "L", or in colour, "RGB"."""
        grey = self.config.in_channels == 1 and not any(
            isinstance(part, Grayscale) for part in self.config.transforms.transforms
        )
        return "L" if grey else "RGB"

    def adapted(self, picture: Array, ink: Ink = "auto", name: str = "picture") -> Array:
        """Bring a picture's pixels, as `read_picture` gives them, to the run's form: (1, C, H, W).

        Channels, depth and frame become those of the run's images.  Raises DataError for a picture
        of digits without any ink.
        """
        c = 1 if self.mode == "L" else 3
        if len(picture) != c:
            picture = picture.repeat(3, axis=0) if c == 3 else Grayscale()(picture)
        if FRAMES.get(self.config.train.data) is not None:
            scaled = picture[0] * (255.0 / WHITE[picture.dtype])
            return self._digit(np.rint(scaled).astype(np.uint8), ink, name)
        picture = _in_depth(picture, self.config.transforms)
        if self.config.frame is not None:
            picture = framed(picture, self.config.frame)
        return picture[np.newaxis]

    def _digit(self, grey: Array, ink: Ink, name: str) -> Array:
        frame = FRAMES[self.config.train.data]
        digit = frame_digit(grey, frame.size, frame.box, ink, name)
        scaled = np.multiply(digit, frame.white / 255.0, dtype=np.float32)
        return np.asarray(scaled[np.newaxis, np.newaxis])

    def scale(self) -> tuple[Array, Array]:
        """Give each channel's mean and deviation by which pixels from 0 to 1 are prepared."""
        mean: Any = 0.0
        std: Any = 1.0
        for part in self.transforms.transforms:
            if isinstance(part, Normalize):
                mean = mean if part.mean is None else part.mean
                std = std if part.std is None else part.std
        channels = self.config.in_channels
        return np.resize(np.float32(mean), channels), np.resize(np.float32(std), channels)

    def samples(self, count: int) -> tuple[Array, Array]:
        """Give the first images of the test part as the network sees them (n, C, H, W), and labels.

        Raises DataError where the data set is not there any more.
        """
        train = self.config.train
        data = load_dataset(train.data, train.data_dir, validation=train.validation).test
        images, labels = [], []
        for x, y in DataLoader(data, min(count, _BATCH), transform=self.transforms):
            images.append(np.asarray(x))
            labels.append(np.asarray(y))
            if sum(map(len, labels)) >= count:
                break
        return np.concatenate(images)[:count], np.concatenate(labels)[:count]

    def scores(self, x: Array) -> Array:
        """Give scores (N, V, K) of a batch (N, C, H, W), V = 1, or of views (N, V, C, H, W)."""
        flat = x.reshape(-1, *x.shape[-3:])
        with no_grad():
            scores = main_scores(self.model(as_tensor(flat))).array
        return scores.reshape(len(x), -1, scores.shape[-1])

    def probabilities(self, scores: Array) -> Array:
        """Give (N, K) float64 of scores (N, V, K), the views averaged.

        Probabilities of the classes, or of each label; a regression's numbers.
        """
        flat = scores.reshape(-1, scores.shape[-1]).astype(np.float64)
        p = answers(flat, self.config.task)
        return np.asarray(p.reshape(scores.shape).mean(axis=1))


def answers(scores: Array, task: Task) -> Array:
    """Turn scores (N, K) into probabilities of classes or labels; a regression's stay.

    >>> answers(np.array([[0.0, 0.0]]), "classification").tolist()
    [[0.5, 0.5]]
    """
    if task == "regression":
        return scores
    if task == "multilabel":
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -700, 700))))
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def scores_of(p: Array, task: Task) -> Array:
    """Give scores (N, K) whose answers are `p`: logarithms, or log odds of labels.

    >>> answers(scores_of(np.array([[0.5, 0.5]]), "classification"), "classification").tolist()
    [[0.5, 0.5]]
    """
    if task == "regression":
        return p
    safe: Array = np.clip(p, 1e-300, 1.0)
    if task == "multilabel":
        return np.asarray(np.log(safe) - np.log(np.clip(1.0 - p, 1e-300, 1.0)))
    return np.asarray(np.log(safe))


class Ensemble(NamedTuple):
    """What several runs do on one data set: together, and each alone."""

    together: Evaluation
    alone: list[Evaluation]


def evaluate_runs(
    runs: Sequence[_Path],
    data: str | None = None,
    data_dir: _Path | None = None,
    views: str = "center",
    best: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Ensemble:
    """Measure runs on a data set's test images: their probabilities averaged, and each alone.

    `data` and `data_dir` say which set, and where it is now, if not what the first run was trained
    on.  `views` are "center", "five" or "ten" crops of each image.  Raises CheckpointError for a
    run that cannot be read or has other classes than the first, DataError for the data.
    """
    members = [Member.load(run, views, best) for run in runs]
    check_alike(runs, members)
    first = members[0].config
    source, where = data or first.train.data, data_dir
    if data is None and data_dir is None:
        where = first.train.data_dir
    loaded = load_dataset(source, where, validation=first.train.validation if not data else 0.0)
    _check_classes(loaded, first)
    test, each, alone = loaded.test, [], []
    done, total = 0, len(test) * len(members)
    for member in members:
        found, targets, meter = [], [], Meter(test.task)
        for x, y in _loader(test, member, first.train.skip_bad):
            scores = member.scores(x)
            p = member.probabilities(scores)
            # One view is measured as training does it, so that the same numbers come out.
            _measure(meter, scores[:, 0] if scores.shape[1] == 1 else scores_of(p, test.task), y)
            found.append(p)
            targets.append(y)
            done += len(y)
            if progress is not None:
                progress(done, total)
        each.append(np.concatenate(found))
        alone.append(meter.result())
    together = alone[0] if len(each) == 1 else _mean(each, np.concatenate(targets), test.task)
    return Ensemble(together, alone)


def evaluate_run(run: _Path, data_dir: _Path | None = None) -> Evaluation:
    """Measure a run's weights on the test part of its data set; see `evaluate_runs`."""
    return evaluate_runs([run], None, data_dir).together


def _loader(test: Dataset, member: Member, skip_bad: bool) -> DataLoader:
    workers, use = suggested_workers(test), member.transforms
    return DataLoader(test, _BATCH, transform=use, num_workers=workers, skip_bad=skip_bad)


def _measure(meter: Meter, scores: Array, y: Array) -> None:
    meter.add(scores, y, Objective(meter.task)(as_tensor(scores), y).item())


def _mean(each: Sequence[Array], y: Array, task: Task) -> Evaluation:
    """Measure the mean of several networks' probabilities (N, K)."""
    meter, scores = Meter(task), scores_of(np.mean(each, axis=0), task)
    for begin in range(0, len(y), _BATCH):
        _measure(meter, scores[begin : begin + _BATCH], y[begin : begin + _BATCH])
    return meter.result()


def check_alike(runs: Sequence[_Path], members: Sequence[Member]) -> None:
    """Raise CheckpointError unless all runs answer the same question."""
    first = members[0].config
    for run, member in zip(runs, members, strict=True):
        config = member.config
        if (config.classes, config.task) != (first.classes, first.task):
            raise CheckpointError(
                f"{run}: expected the classes of {runs[0]} ({len(first.classes)}, {first.task}), "
                f"to answer together; got {len(config.classes)}, {config.task}"
            )


def _check_classes(data: ImageData, config: RunConfig) -> None:
    if tuple(data.classes) != config.classes or data.task != config.task:
        raise DataError(
            f"{data.name}: expected the run's classes {_some(config.classes)}; "
            f"got {_some(tuple(data.classes))}"
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown}, ... ({len(names)})" if len(names) > 5 else f"{shown} ({len(names)})"


_AT_ONCE = 1 << 18  # pixels whose depth is changed together: a large picture would take gigabytes


def _in_depth(pixels: Array, transforms: Compose) -> Array:
    """Give a picture in the depth of the run's own images, if they say which: white stays white."""
    found = [part.white for part in transforms.transforms if isinstance(part, Normalize)]
    own = WHITE[pixels.dtype]
    white = found[0] if found and found[0] is not None else own
    kinds: list[np.dtype[Any]] = [kind for kind, value in WHITE.items() if value == white]
    if white == own or not kinds:
        return pixels
    made = np.empty(pixels.shape, kinds[0])
    lines = max(1, _AT_ONCE // max(1, pixels.shape[-1]))
    for begin in range(0, pixels.shape[1], lines):
        scaled = pixels[:, begin : begin + lines] * (white / own)
        made[:, begin : begin + lines] = scaled if kinds[0].kind == "f" else scaled.round()
    return made


class Predictor:
    """One or several runs' networks for pictures from files; several answer by their mean.

    >>> Predictor("runs/absent")
    Traceback (most recent call last):
    chainrule.errors.CheckpointError: runs/absent: no such folder
    """

    def __init__(self, *runs: _Path, views: str = "center", best: bool = False) -> None:
        self.members = [Member.load(run, views, best) for run in runs]
        check_alike(runs, self.members)
        self.config = self.members[0].config

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, labels or outputs."""
        return self.config.classes

    def pixels(self, path: _Path, ink: Ink = "auto", member: Member | None = None) -> Array:
        """Read a picture as the run's data are: (1, C, H, W).

        For a set of digits it is framed as they are; see `frame_digit` for how paper and ink are
        told apart.  For another set whose images have one size, the picture's largest middle part
        of that form is brought to it.
        """
        return (member or self.members[0]).pixels(path, ink)

    def probabilities(self, path: _Path, ink: Ink = "auto") -> Array:
        """Give the probability of each class for a picture: (classes,), summing to 1.

        Of several labels each has a probability of its own; a regression gives its numbers.
        """
        found = []
        for member in self.members:
            x = member.transforms(self.pixels(path, ink, member), Generator(0))
            found.append(member.probabilities(member.scores(x))[0])
        return np.asarray(np.mean(found, axis=0))
