"""A training under watch for its health: measurements in the run folder, findings in words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from chainrule.formats.atomic import write_atomic
from chainrule.inspection.findings import Finding, told
from chainrule.inspection.health import Monitor, monitor
from chainrule.inspection.history import Measurement
from chainrule.training.events import EventWriter
from chainrule.training.folder import EVENTS, FINDINGS, HEALTH
from chainrule.training.loop import Callback, Trainer
from chainrule.training.measurements import MeasurementWriter
from chainrule.training.task import TrainTask

_LINE = re.compile(r"epoch \d+, step (\d+), ([\w-]+) \[(.*?)\]: ")


class HealthWatch(Callback):
    """Measures a training's health into health.csv and health.txt of its folder, and tells.

    Steps are the optimiser's: of batches whose gradients are gathered, all but the first are left
    alone.  What goes wrong here, an error of ours or a disk that is full, ends the watch with a
    note, and never the training.  Nothing is written before the folder is this run's.
    """

    def __init__(self, task: TrainTask, tell: Callable[[str], None]) -> None:
        self.task, self.tell = task, tell
        self.problem = ""
        self.found: dict[tuple[str, str], str] = {}  # a finding's kind and layer, and its line
        folder = task.folder.path
        self._writer = MeasurementWriter(folder / HEALTH)
        self._text = folder / FINDINGS
        self._waiting: list[Measurement] = []
        self._untold: list[Finding] = []
        self._monitor: Monitor | None = None
        self._events: EventWriter | None = None
        self._updates = 0
        self._total, self._images = 0.0, 0  # of the tally, before this batch

    # Events of the training

    def on_begin(self, trainer: Trainer) -> None:
        """Begin to watch, after what was measured before if the run goes on."""
        self._guarded(self._begin, trainer)

    def on_step(self, trainer: Trainer) -> None:
        """Follow the steps of the optimiser."""
        self._guarded(self._follow, trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        """Follow the epoch's last step, if that had batches too few, and tell what is new."""
        self._guarded(self._follow, trainer)
        self._total, self._images = 0.0, 0  # the next epoch has a tally of its own
        self._guarded(self._save)
        self._say()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell what was found in an epoch that did not end; take the hooks away."""
        self._guarded(self._finish)
        self._say()

    # What they do

    def _guarded(self, what: Callable[..., None], *given: Any) -> None:
        if self.problem:
            return
        try:
            what(*given)
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            if self._monitor is not None:
                with contextlib.suppress(Exception):
                    self._monitor.close()
            self.tell(f"note: health is no longer watched ({self.problem}); the training goes on")

    def _begin(self, trainer: Trainer) -> None:
        self._monitor = monitor(trainer.model)
        self._updates = trainer.updates
        self._total, self._images = _sums(trainer)
        if not self.task.folder.claimed:  # a new run
            return
        kept = self._writer.resume(trainer.updates)
        self._monitor.resume([Measurement(*row) for row in kept], trainer.updates)
        if self._text.is_file():
            for line in self._text.read_text(encoding="utf-8").splitlines():
                parts = _LINE.match(line)
                if parts and int(parts[1]) <= trainer.updates:
                    self.found[parts[2], parts[3]] = line
            self._write_found()

    def _follow(self, trainer: Trainer) -> None:
        if self._monitor is None or trainer.updates == self._updates:
            return
        self._updates = trainer.updates
        total, images = _sums(trainer)
        loss = (total - self._total) / (images - self._images) if images > self._images else None
        self._total, self._images = total, images
        rows = self._monitor.step(loss)
        if not rows:
            return
        self._waiting += rows
        for finding in self._monitor.findings():
            if (finding.kind, finding.layer) not in self.found:
                self.found[finding.kind, finding.layer] = _line(finding, trainer.epoch)
                self._untold.append(finding)
        self._save()

    def _save(self) -> None:
        """Write what waits, once the folder is this run's."""
        if not self.task.folder.claimed:
            return
        rows, self._waiting = self._waiting, []
        self._writer.write(rows)
        if self._untold:
            self._write_found()
        if self.task.config.tensorboard:
            self._write_events(rows)

    def _write_found(self) -> None:
        write_atomic(self._text, "".join(f"{line}\n" for line in self.found.values()))

    def _write_events(self, rows: list[Measurement]) -> None:
        """Add curves, in a folder of their own: their steps are not epochs."""
        if self._events is None:
            first = rows[0].step if rows else self._updates + 1
            self._events = EventWriter(self.task.folder.path / EVENTS / "health", first)
        for row in rows:
            self._events.scalar(f"{row.measure}/{row.layer or 'network'}", row.value, row.step)
        self._events.flush()

    def _finish(self) -> None:
        self._save()
        if self._events is not None:
            self._events.close()
        if self._monitor is not None:
            self._monitor.close()

    @property
    def result(self) -> str:
        """Say in one line how much was found."""
        if not self.found:
            return "" if self.problem else "health: nothing found"
        noun = "finding" if len(self.found) == 1 else "findings"
        return f"health: {len(self.found)} {noun} in {self._text}"

    def _say(self) -> None:
        """Tell what was found since the last time."""
        untold, self._untold = self._untold, []
        for line in told(untold):
            self.tell(f"health: {line}")


def _line(finding: Finding, epoch: int) -> str:
    head = f"epoch {epoch}, step {finding.step}, {finding.kind} [{finding.layer}]"
    return f"{head}: {' '.join(finding.text.split())}"


def _sums(trainer: Trainer) -> tuple[float, int]:
    """Give the sum of the epoch's losses so far, and of how many images."""
    tally = trainer.tally
    return tally.loss * tally.images, tally.images
