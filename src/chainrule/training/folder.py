"""The folder of a run: weights, configuration, metrics and plots, each whole or absent."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from chainrule.data.dataset import Task, check_finite
from chainrule.data.transforms import Compose, parse_transforms
from chainrule.errors import CheckpointError, DataError, ShapeError
from chainrule.formats.atomic import leftovers, neighbour, write_atomic
from chainrule.formats.safetensors import load_safetensors, read_metadata, save_safetensors
from chainrule.models.pattern import is_pattern
from chainrule.models.registry import create_model
from chainrule.nn.module import Module
from chainrule.training.checkpoint import Checkpoints
from chainrule.training.config import TrainConfig
from chainrule.training.records import CSV, JSONL, RecordWriter, read_records
from chainrule.training.rows import Row
from chainrule.training.tables import TABLES

METRICS, METRICS_LINES = CSV, JSONL
WEIGHTS, BEST, CONFIG = "weights.safetensors", "best.safetensors", "config.json"
ENVIRONMENT, PIXELS, SKIPPED = "environment.json", "transforms.safetensors", "skipped.csv"
CURVES, CONFUSION, CONFUSION_PERCENT = "curves.png", "confusion.png", "confusion_percent.png"
RELIABILITY, PER_CLASS, EVENTS = "calibration.png", "per_class.png", "events"
HEALTH, FINDINGS = "health.csv", "health.txt"
CHANGES, LIVE, FAILURE = "changes.jsonl", "live.jsonl", "failure.txt"
FILES = (
    *(WEIGHTS, BEST, CONFIG, ENVIRONMENT, PIXELS, SKIPPED, METRICS, METRICS_LINES),
    *(HEALTH, FINDINGS, CHANGES, LIVE, FAILURE),
    *(CURVES, CONFUSION, CONFUSION_PERCENT, RELIABILITY, PER_CLASS, *TABLES),
)
"""The files of a run; beside them are the folders `checkpoints` and, if asked for, `events`."""

_RUN = "run"


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to use the weights again: config.json.

    `transforms` are those of training, with what was learnt from the images; `eval()` of
    them is for use.  `shape` (C, H, W) is that of the images that reach the network, `options`
    are its own, `fingerprint` tells the data from others, `frame` is the height and width of the
    set's images where all have the same: pictures from outside are brought to it.
    """

    train: TrainConfig
    transforms: Compose
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    version: str
    task: Task = "classification"
    options: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    frame: tuple[int, int] | None = None

    @property
    def in_channels(self) -> int:
        """The channels of the images that reach the network."""
        return self.shape[0]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values; arrays of the transforms are not among them."""
        return {
            "train": self.train.to_dict(),
            "transforms": [repr(member) for member in self.transforms.transforms],
            "classes": list(self.classes),
            "shape": list(self.shape),
            "version": self.version,
            "task": self.task,
            "options": dict(self.options),
            "fingerprint": self.fingerprint,
            "frame": None if self.frame is None else list(self.frame),
        }

    def to_json(self) -> str:
        """Write the configuration as JSON, indented, with a newline at the end."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> RunConfig:
        """Read what `to_json` wrote; raises CheckpointError naming `where` and what is wrong."""
        try:
            values: dict[str, Any] = json.loads(text)
            return cls(
                TrainConfig.from_dict(values["train"]),
                parse_transforms(values["transforms"]),
                tuple(str(name) for name in values["classes"]),
                _shape(values["shape"]),
                str(values["version"]),
                _task(values.get("task", "classification")),
                dict(values.get("options", {})),
                str(values.get("fingerprint", "")),
                _frame(values.get("frame")),
            )
        except KeyError as error:
            raise CheckpointError(f"{where}: the field {error} is missing") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{where}: not a run's configuration ({error})") from error

    def build(self) -> Module:
        """Build the run's network, with initial values from the global generator."""
        count, channels = len(self.classes), self.in_channels
        return create_model(self.train.model, count, channels, **self.options)


class RunFolder:
    """A folder with the files of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._claimed = False
        self._records = RecordWriter(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str], overwrite: bool = False) -> RunFolder:
        """Make the folder, or take an empty one; a run that is there needs `overwrite`.

        Even then nothing is removed before the new run has saved something, and nothing but
        a run's own files.  Raises DataError for a folder that holds a run or other files, OSError
        where it cannot be made or written to.
        """
        folder = cls(path)
        if folder.path.exists() and not folder.path.is_dir():
            raise DataError(f"{path}: this is a file; a run needs a folder")
        if folder.path.is_dir():
            left = {path.name for path in leftovers(folder.path, FILES)}  # a killed run's
            present = {entry.name for entry in folder.path.iterdir()} - left
            if present and not present & {*FILES, "checkpoints"}:
                some = ", ".join(sorted(present)[:3])
                raise DataError(f"{path}: the folder holds other things than a run ({some})")
            if present and not overwrite:
                raise DataError(
                    f"{path}: already holds a run; take another name (--out), "
                    "go on with it (--resume), or replace it (--overwrite)"
                )
        folder.path.mkdir(parents=True, exist_ok=True)
        with neighbour(folder.path / CONFIG) as trial:  # better found out now than after an epoch
            trial.write_bytes(b"")
        return folder

    @classmethod
    def reopen(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Take a run's folder to go on with it; raises CheckpointError for one that is none."""
        folder = cls(path)
        folder.read_config()
        folder._claimed = True
        for left in leftovers(folder.path, FILES):
            left.unlink(missing_ok=True)
        Checkpoints(folder.path).tidy()
        return folder

    def go_on_after(self, rows: Sequence[Row]) -> None:
        """Cut the metrics to these rows, a checkpoint's, to go on from there."""
        self._records.resume([row.to_dict() for row in rows])

    @property
    def claimed(self) -> bool:
        """Say whether this run has written into the folder."""
        return self._claimed

    @property
    def holds_another_run(self) -> bool:
        """Say whether the folder still holds what a new run is going to replace."""
        return not self._claimed and (self.path / WEIGHTS).exists()

    def discard_if_empty(self) -> None:
        """Remove the folder again if nothing was saved in it that can be used."""
        if (
            self._claimed
            and not (self.path / WEIGHTS).exists()
            and not Checkpoints(self.path).paths()
        ):
            self._clear()
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def claim(
        self, config: RunConfig, environment: Mapping[str, Any], state: Mapping[str, Any]
    ) -> None:
        """Make the folder this run's, once: an older run in it goes, this one's description comes.

        Where there was a run, the new weights take the older ones' place in between, carrying
        their configuration: at every moment one of the two can be read.  Raises OSError if the
        disk refuses.
        """
        if self._claimed:
            return
        if self.holds_another_run:
            with neighbour(self.path / WEIGHTS) as staged:
                _stage(staged, self.path / WEIGHTS, state, _metadata(config, 0))
                self._clear()
                os.replace(staged, self.path / WEIGHTS)
        else:
            self._clear()
        write_atomic(self.path / CONFIG, config.to_json())
        arrays = config.transforms.arrays()
        if arrays:
            save_safetensors(arrays, self.path / PIXELS)
        write_atomic(self.path / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
        for left in leftovers(self.path, FILES):
            left.unlink(missing_ok=True)
        self._claimed = True

    def _clear(self) -> None:
        """Remove an older run's files but its weights."""
        for name in FILES:
            if name != WEIGHTS:
                (self.path / name).unlink(missing_ok=True)
        Checkpoints(self.path).clear()
        shutil.rmtree(self.path / EVENTS, ignore_errors=True)

    def save(
        self,
        state: Mapping[str, Any],
        config: RunConfig,
        row: Row,
        best: bool = False,
        timing: Mapping[str, float] | None = None,
    ) -> None:
        """Write an epoch's weights, as the best too if they are, then its row of metrics.

        Each file is replaced in one step, weights first: an interruption in between leaves weights
        that are one epoch ahead of the metrics.  The weights carry the configuration too.
        Raises OSError if the disk refuses.
        """
        metadata = _metadata(config, row.epoch)
        save_safetensors(state, self.path / WEIGHTS, metadata)
        if best:
            save_safetensors(state, self.path / BEST, metadata)
        self._records.write(row.to_dict(), timing)

    def read_config(self) -> RunConfig:
        """Read the configuration; raises CheckpointError, naming the file, if it cannot be."""
        path = self.path / CONFIG
        if not path.is_file():
            carried = self._carried()
            if carried is not None:
                return self._with_arrays(carried)
            there = self.path.is_dir()
            what = f"not a run: there is no {CONFIG}" if there else "no such folder"
            raise CheckpointError(f"{self.path}: {what}")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: not a run's configuration ({error})") from error
        return self._with_arrays(RunConfig.from_json(text, str(path)))

    def _carried(self) -> RunConfig | None:
        """Give the configuration that the weights carry; a killed save left config.json out."""
        path = self.path / WEIGHTS
        if not path.is_file():
            return None
        try:
            text = json.dumps(json.loads(read_metadata(path)[_RUN])["config"])
        except (KeyError, TypeError, ValueError):  # weights from elsewhere, or damaged ones
            return None
        return RunConfig.from_json(text, str(path))

    def _with_arrays(self, config: RunConfig) -> RunConfig:
        """Give the transforms what is kept in a file of its own."""
        path = self.path / PIXELS
        if not path.is_file():
            return config
        arrays = {name: value.array for name, value in load_safetensors(path).items()}
        return replace(config, transforms=config.transforms.with_arrays(arrays))

    def read_metrics(self) -> list[Row]:
        """Read the rows of the epochs; raises CheckpointError for damaged ones."""
        try:
            return [Row.from_dict(row) for row in read_records(self.path)]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{self.path}: damaged metrics ({error})") from error

    def load_model(self, best: bool = False) -> Module:
        """Build the run's network and load its weights, or its best, in evaluation mode.

        Raises CheckpointError, naming the file, for weights that are missing, damaged, not
        finite, or of another network (with the keys that are missing, unexpected or of another
        shape).
        """
        config = self.read_config()
        path = self.path / (BEST if best else WEIGHTS)
        if not path.is_file():
            raise CheckpointError(f"{path}: no weights yet; the first epoch was not finished")
        try:
            model = config.build()
            state = load_safetensors(path)
            for name, value in state.items():
                check_finite(value.array, f"{path}: {name}")
            model.load_state_dict(state)
        except (CheckpointError, DataError, ShapeError) as error:
            text = str(error)
            raise CheckpointError(text if str(path) in text else f"{path}: {text}") from error
        return model.eval()


def run_name(config: TrainConfig) -> str:
    """Name a run after its network and data.

    >>> run_name(TrainConfig(model="lenet5", data="data/my digits"))
    'lenet5-my digits'
    """
    network = "pattern" if is_pattern(config.model) else config.model
    return f"{network}-{Path(config.data).stem or 'data'}"


def free_folder(runs: str | os.PathLike[str], config: TrainConfig) -> Path:
    """Name a folder for a run, with a number behind its name where that is taken.

    >>> free_folder("absent", TrainConfig(model="lenet5", data="digits")).as_posix()
    'absent/lenet5-digits'
    """
    base = run_name(config)
    names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(2)))
    return next(path for name in names if not os.path.lexists(path := Path(runs) / name))


def _task(value: Any) -> Task:
    if value not in get_args(Task):
        raise ValueError(f"expected a task of {', '.join(get_args(Task))}; got {value!r}")
    task: Task = value
    return task


def _shape(value: Any) -> tuple[int, int, int]:
    c, h, w = (int(side) for side in value)
    if min(c, h, w) < 1:
        raise ValueError(f"expected a shape of sides above 0; got {value}")
    return c, h, w


def _frame(value: Any) -> tuple[int, int] | None:
    return None if value is None else _shape([1, *value])[1:]


def _metadata(config: RunConfig, epoch: int) -> dict[str, str]:
    """Give the weights' description, in one entry: the order of several is not fixed."""
    return {_RUN: json.dumps({"epoch": epoch, "config": config.to_dict()})}


def _stage(
    staged: Path, wanted: Path, state: Mapping[str, Any], metadata: dict[str, str] | None
) -> None:
    """Write the weights under a temporary name; an error names the file that was wanted."""
    try:
        save_safetensors(state, staged, metadata)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(wanted)) from error
