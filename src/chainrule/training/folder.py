"""The folder of a run: weights, configuration, metrics and plots, each whole or absent."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from chainrule.data.dataset import check_finite
from chainrule.data.preprocess import Preprocess
from chainrule.errors import CheckpointError, DataError, ShapeError
from chainrule.formats.atomic import leftovers, neighbour, write_atomic
from chainrule.formats.safetensors import load_safetensors, read_metadata, save_safetensors
from chainrule.models.registry import create_model
from chainrule.nn.module import Module
from chainrule.training.config import TrainConfig
from chainrule.training.metrics import Row

WEIGHTS, CONFIG, METRICS = "weights.safetensors", "config.json", "metrics.csv"
CURVES, CONFUSION = "curves.png", "confusion.png"
_RUN = "run"
FILES = (WEIGHTS, CONFIG, METRICS, CURVES, CONFUSION)
"""The files of a run."""


@dataclass(frozen=True)
class RunConfig:
    """All that is needed to use the weights again: config.json."""

    train: TrainConfig
    preprocess: Preprocess
    classes: tuple[str, ...]
    in_channels: int
    version: str

    def to_json(self) -> str:
        """Write the configuration as JSON, indented, with a newline at the end."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> RunConfig:
        """Read what `to_json` wrote; raises CheckpointError naming `where` and what is wrong."""
        try:
            values: dict[str, Any] = json.loads(text)
            return cls(
                TrainConfig.from_dict(values["train"]),
                Preprocess(**values["preprocess"]),
                tuple(str(name) for name in values["classes"]),
                int(values["in_channels"]),
                str(values["version"]),
            )
        except KeyError as error:
            raise CheckpointError(f"{where}: the field {error} is missing") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{where}: not a run's configuration ({error})") from error


class RunFolder:
    """A folder with the files of one run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._claimed = False

    @classmethod
    def create(cls, path: str | os.PathLike[str], overwrite: bool = False) -> RunFolder:
        """Make the folder, or take an empty one; a run that is there needs `overwrite`.

        Even then nothing is removed before the new run's first epoch is finished, and nothing but
        a run's own files.  Raises DataError for a folder that holds a run or other files, OSError
        where it cannot be made or written to.
        """
        folder = cls(path)
        if folder.path.exists() and not folder.path.is_dir():
            raise DataError(f"{path}: this is a file; a run needs a folder")
        if folder.path.is_dir():
            left = {path.name for path in leftovers(folder.path, FILES)}  # a killed run's
            present = {entry.name for entry in folder.path.iterdir()} - left
            if present and not present & set(FILES):
                some = ", ".join(sorted(present)[:3])
                raise DataError(f"{path}: the folder holds other things than a run ({some})")
            if present and not overwrite:
                raise DataError(
                    f"{path}: already holds a run; take another name (--out), "
                    "or replace it (--overwrite)"
                )
        folder.path.mkdir(parents=True, exist_ok=True)
        with neighbour(folder.path / CONFIG) as trial:  # better found out now than after an epoch
            trial.write_bytes(b"")
        return folder

    def discard_if_empty(self) -> None:
        """Remove the folder again if nothing was written to it."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def save(self, model: Module, config: RunConfig, rows: Sequence[Row]) -> None:
        """Write the weights, the metrics and, with the first epoch, the configuration.

        Each file is replaced in one step, weights first: an interruption in between leaves weights
        that are one epoch ahead of the metrics.  The first call replaces an older run: once the
        new weights are on the disk its other files go, so that they are never read together.
        The weights carry the configuration too: at every moment one of the runs can be read.
        Raises OSError if the disk refuses.
        """
        # one entry: the order of several is not fixed, and the same run should give the same bytes
        epoch = rows[-1].epoch if rows else 0
        metadata = {_RUN: json.dumps({"epoch": epoch, "config": asdict(config)})}
        weights = self.path / WEIGHTS
        if self._claimed:
            save_safetensors(model.state_dict(), weights, metadata)
        else:
            with neighbour(weights) as staged:
                _stage(staged, weights, model, metadata)
                for name in FILES:
                    if name != WEIGHTS:
                        (self.path / name).unlink(missing_ok=True)
                os.replace(staged, weights)
            write_atomic(self.path / CONFIG, config.to_json())
            for left in leftovers(self.path, FILES):
                left.unlink(missing_ok=True)
            self._claimed = True
        write_atomic(self.path / METRICS, _to_csv(rows))

    def read_config(self) -> RunConfig:
        """Read the configuration; raises CheckpointError, naming the file, if it cannot be."""
        path = self.path / CONFIG
        if not path.is_file():
            carried = self._carried()
            if carried is not None:
                return carried
            there = self.path.is_dir()
            what = f"not a run: there is no {CONFIG}" if there else "no such folder"
            raise CheckpointError(f"{self.path}: {what}")
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path}: not a run's configuration ({error})") from error
        return RunConfig.from_json(text, str(path))

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

    def read_metrics(self) -> list[Row]:
        """Read the rows of metrics.csv; raises CheckpointError for a damaged one."""
        path = self.path / METRICS
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            names = [field.name for field in fields(Row)][1:]
            return [Row(int(row["epoch"]), *(float(row[name]) for name in names)) for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged metrics ({error})") from error

    def load_model(self) -> Module:
        """Build the run's network and load its weights, in evaluation mode.

        Raises CheckpointError, naming the file, for weights that are missing, damaged, not
        finite, or of another network (with the keys that are missing, unexpected or of another
        shape).
        """
        config = self.read_config()
        path = self.path / WEIGHTS
        if not path.is_file():
            raise CheckpointError(f"{path}: no weights yet; the first epoch was not finished")
        try:
            model = create_model(config.train.model, len(config.classes), config.in_channels)
            state = load_safetensors(path)
            for name, value in state.items():
                check_finite(value.array, f"{path}: {name}")
            model.load_state_dict(state)
        except (CheckpointError, DataError, ShapeError) as error:
            text = str(error)
            raise CheckpointError(text if str(path) in text else f"{path}: {text}") from error
        return model.eval()


def _stage(staged: Path, wanted: Path, model: Module, metadata: dict[str, str] | None) -> None:
    """Write the weights under a temporary name; an error names the file that was wanted."""
    try:
        save_safetensors(model.state_dict(), staged, metadata)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(wanted)) from error


def _to_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    for row in rows:
        epoch, *values = astuple(row)
        writer.writerow([epoch, *(f"{value:.9g}" for value in values)])
    return text.getvalue()
