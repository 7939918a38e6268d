"""Runs as the page Training shows them: their state, numbers and health, from their files."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainrule.errors import ChainruleError, DataError
from chainrule.formats.safetensors import read_metadata
from chainrule.lab.pipes import FAILED, FINISHED, STOPPED
from chainrule.lab.settings import Settings
from chainrule.training.changes import Change, read_changes
from chainrule.training.checkpoint import FOLDER, Checkpoints
from chainrule.training.config import TrainConfig
from chainrule.training.folder import (
    CHANGES,
    CONFIG,
    FAILURE,
    FINDINGS,
    HEALTH,
    METRICS_LINES,
    WEIGHTS,
    RunFolder,
)
from chainrule.training.measurements import Measured
from chainrule.training.rows import Row

DAMAGED = "damaged"
"""The state of a run that cannot be read."""

_KEPT = 300  # runs whose state is remembered
_TAIL = 1 << 18  # bytes of the measurements' end: the last sample of a thousand layers

_OF_PARAMETERS = ("gradient_rms", "update_ratio")
_OF_LAYERS = ("activation_rms", "dead", "saturated")


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it; the one that is trained now is told of by its process.

    `state` is "finished", "stopped", "failed" or "damaged", `said` is the reason of the last two.
    """

    name: str
    path: Path
    config: TrainConfig | None
    rows: list[Row] = field(default_factory=list)
    state: str = STOPPED
    said: str = ""
    output: str = ""

    @property
    def weights(self) -> bool:
        """Whether an epoch was finished, so that there is a network to look at."""
        return bool(self.rows)


class Runs:
    """The runs of a folder, and the one that was named on the command line."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: OrderedDict[Path, tuple[Any, Run]] = OrderedDict()
        self._lock = threading.Lock()

    def all(self) -> list[Run]:
        """List them, the one that changed last first."""
        found = [(_changed(path), name, path) for name, path in self._paths().items()]
        return [self._run(name, path) for _, name, path in sorted(found, reverse=True)]

    def get(self, name: str) -> Run:
        """Give a run; DataError if there is none of this name."""
        path = self._paths().get(name)
        if path is None:
            raise DataError(f"{name[:60]!r}: there is no such run")
        return self._run(name, path)

    def path(self, name: str) -> Path:
        """Give the folder of a run to be; raises DataError for what is no plain name.

        >>> Runs(Settings(Path("runs"))).path("../elsewhere")
        Traceback (most recent call last):
        chainrule.errors.DataError: name: expected letters, digits, spaces and ._- (at most 80), \
the first no dot or space; got '../elsewhere'
        """
        plain = all(letter.isalnum() or letter in " ._-+=" for letter in name)
        if not plain or not 0 < len(name.encode()) <= 80 or name[0] in ". " or name[-1] == " ":
            rule = "letters, digits, spaces and ._- (at most 80), the first no dot or space"
            raise DataError(f"name: expected {rule}; got {name[:40]!r}")
        return self._settings.folder / name

    def _paths(self) -> dict[str, Path]:
        return {path.name: path for path in self._folders()}

    def _folders(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for path in self._settings.folder.iterdir():
                if path.name[0] != "." and any((path / n).is_file() for n in (CONFIG, WEIGHTS)):
                    yield path
        if self._settings.run is not None:  # named on the command line: it wins over a namesake
            yield self._settings.run.resolve()

    def _run(self, name: str, path: Path) -> Run:
        stamp = _stamp(path)
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        run = _read(name, path)
        with self._lock:
            self._known[path] = stamp, run
            self._known.move_to_end(path)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return run


def _stamp(path: Path) -> tuple[tuple[int, int], ...]:
    """Give what changes when a run's state does."""
    return tuple(stamp(path / name) for name in (CONFIG, WEIGHTS, METRICS_LINES, FAILURE, FOLDER))


def stamp(path: Path) -> tuple[int, int]:
    """Give when a file changed and how long it is; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _changed(path: Path) -> int:
    return max(time for time, _ in _stamp(path))


def _read(name: str, path: Path) -> Run:
    folder = RunFolder(path)
    try:
        config = folder.read_config().train
        rows = folder.read_metrics() if (path / METRICS_LINES).is_file() else []
        done = bool(rows) and (rows[-1].epoch >= config.epochs or _ended_early(path, config))
    except (ChainruleError, OSError) as error:
        return Run(name, path, None, [], DAMAGED, str(error))
    if done:
        return Run(name, path, config, rows, FINISHED)
    said, _, output = _text(path / FAILURE).partition("\n")
    return Run(name, path, config, rows, FAILED if said else STOPPED, said, output.strip())


def _ended_early(path: Path, config: TrainConfig) -> bool:
    """Say whether early stopping has ended it, as its last checkpoint tells."""
    if not config.stop_after:
        return False
    newest = Checkpoints(path).paths()[:1]
    with contextlib.suppress(ChainruleError, OSError, KeyError, ValueError):
        return any(json.loads(read_metadata(file)["state"])["ending"] for file in newest)
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""


def findings(run: Path) -> list[str]:
    """Read the sentences on a run's health, each with its place."""
    return _text(run / FINDINGS).splitlines()


def changes(run: Path) -> list[Change]:
    """Read the changes of the rate; a damaged record is as none here."""
    try:
        return read_changes(run) if (run / CHANGES).is_file() else []
    except (ChainruleError, OSError):
        return []


@dataclass(frozen=True)
class Health:
    """The last measurements: the step, and by layer the measures that it has."""

    step: int
    layers: dict[str, dict[str, float]]


def health(run: Path) -> Health | None:
    """Read the newest sample of a run's health; None before the first.

    Of a layer's parameters the first is shown, its weight.  The file may be long: its end is read.
    """
    rows = list(_last_rows(run / HEALTH))
    if not rows:
        return None
    step = rows[-1][0]
    layers: dict[str, dict[str, float]] = {}
    for _, name, measure, value in (row for row in rows if row[0] == step):
        if measure in (*_OF_LAYERS, *_OF_PARAMETERS):
            layer = name.rpartition(".")[0] if measure in _OF_PARAMETERS else name
            layers.setdefault(layer or "the network", {}).setdefault(measure, value)
    return Health(step, layers)


def _last_rows(path: Path) -> Iterator[Measured]:
    """Give the last sample's rows; a torn line is left out."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            *whole, _ = file.read().split(b"\n")
    except (OSError, ValueError):
        return
    for line in whole[1:]:  # the head, or what is left of a line
        parts = line.decode(errors="replace").split(",")
        with contextlib.suppress(ValueError):
            step, layer, measure, value = parts
            yield int(step), layer, measure, float(value)
