"""Changes of the rate while a training runs: changes.jsonl, a line a change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from chainrule.errors import CheckpointError
from chainrule.formats.atomic import write_atomic
from chainrule.training.folder import CHANGES, RunFolder
from chainrule.training.loop import Callback, Trainer


class Change(NamedTuple):
    """A rate's new peak, after so many steps of the optimiser and at this place of the epochs."""

    updates: int
    epoch: float
    peak: float


class RateChanges(Callback):
    """Changes the rate's peak while a training runs, keeps a record, and repeats it on resuming.

    A training that goes on from a checkpoint takes the changes that were made after it again, each
    after the same step: it ends as if it had never stopped.  What has happened is in the record
    before it is done, so that no record is missing one.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._made: list[Change] = []
        self._waiting: list[Change] = []  # those of the record that lie ahead

    def on_begin(self, trainer: Trainer) -> None:
        """Take up the record of a training that goes on."""
        if self._folder.claimed:
            self._waiting = read_changes(self._folder.path)
            self._follow(trainer)

    def on_step(self, trainer: Trainer) -> None:
        """Repeat the changes whose turn it is."""
        if self._waiting:
            self._follow(trainer)

    def make(self, trainer: Trainer, peak: float) -> None:
        """Change the peak now; changes of the record that lie ahead are not repeated any more."""
        before = trainer.rate.peak
        trainer.rate.peak = peak  # raises for what is no rate
        if trainer.rate.peak == before and not self._waiting:
            return
        place = trainer.epoch - 1 + (1.0 if trainer.walked else trainer.step / trainer.steps)
        kept = [change for change in self._made if change.updates != trainer.updates]
        kept.append(Change(trainer.updates, place, trainer.rate.peak))
        try:
            _write(self._folder.path / CHANGES, kept)
        except OSError:
            trainer.rate.peak = before
            raise
        self._made, self._waiting = kept, []

    def _follow(self, trainer: Trainer) -> None:
        while self._waiting and self._waiting[0].updates <= trainer.updates:
            self._made.append(self._waiting.pop(0))
            trainer.rate.peak = self._made[-1].peak


def read_changes(run: Path) -> list[Change]:
    """Read the changes of a run's folder, in their order; none where there is no record.

    Raises CheckpointError, naming the line, where it is damaged.
    """
    path, found = run / CHANGES, list[Change]()
    if not path.is_file():
        return found
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
        try:
            change = Change(**json.loads(line))
            found.append(Change(int(change.updates), float(change.epoch), float(change.peak)))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: line {number} is damaged ({error})") from error
    return found


def _write(path: Path, changes: list[Change]) -> None:
    write_atomic(path, "".join(json.dumps(change._asdict()) + "\n" for change in changes))
