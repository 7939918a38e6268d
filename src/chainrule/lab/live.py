"""What a training is doing now: a line a moment in live.jsonl, and the newest one told at once."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainrule.formats.atomic import write_atomic
from chainrule.training.folder import LIVE
from chainrule.training.loop import Callback, Trainer

EVERY = 0.1
"""Seconds between two lines of the file, at first."""

MOST = 1200
"""Lines of the file; where there would be more, each two become one, and half as many come."""

TOLD = 0.25
"""Seconds between two moments that are told."""

SCORES = ("accuracy", "exact_match", "mae")
"""Under which of these names a moment has what is measured beside the loss: that of its task."""

Moment = dict[str, Any]
"""Where a training is, and how it was since the moment before.

`step` counts batches from the first epoch on, `epoch` is the place as a fraction (2.5 is the middle
of the third), `loss` and the score are means over the `images` since the moment before, `mean_loss`
and `mean_score` those of the epoch so far; `lr` is the rate of the last step, `speed` in images a
second, `seconds` the time spent training.
"""


class Pulse:
    """Takes a moment every so many seconds of training; in between it costs a look at the clock."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.seconds = 0.0  # of training, up to the last moment
        self._seen, self._elapsed = time.monotonic(), 0.0
        self._before = (0.0, 0.0, 0)  # the tally at the last moment
        self._carried = (0.0, 0.0, 0)  # what came after it in an epoch that has ended

    def begin(self, trainer: Trainer) -> None:
        """Count from here."""
        self._seen, self._elapsed = time.monotonic(), 0.0
        self._before = _sums(trainer)

    def next_epoch(self, trainer: Trainer) -> None:
        """Keep what has come since the last moment: the tally begins anew.  A test is no time."""
        self._carried = self._since(trainer)
        self._seen, self._before = time.monotonic(), (0.0, 0.0, 0)

    def skip(self, seconds: float) -> None:
        """Leave a pause out of the time."""
        self._seen += seconds

    def take(self, trainer: Trainer) -> Moment | None:
        """Give the moment if one is due, with what was learnt since the last."""
        now = time.monotonic()
        self._elapsed += now - self._seen
        self._seen = now
        if self._elapsed < self.every:
            return None
        (loss, score, images), elapsed = self._since(trainer), self._elapsed
        if images <= 0:
            return None
        self._before, self._carried, self._elapsed = _sums(trainer), (0.0, 0.0, 0), 0.0
        self.seconds += elapsed
        tally, steps = trainer.tally, trainer.steps
        name, mean = next(iter(tally.metrics.items()))
        moment = {
            "step": (trainer.epoch - 1) * steps + trainer.step,
            "epoch": trainer.epoch - 1 + trainer.step / steps,
            "loss": loss / images,
            name: score / images,
            "images": images,
            "mean_loss": tally.loss,
            "mean_score": mean,
            "lr": trainer.last_rate,
            "speed": images / elapsed,
            "seconds": self.seconds,
        }
        return {key: _plain(value) for key, value in moment.items()}

    def _since(self, trainer: Trainer) -> tuple[float, float, int]:
        """Give the sums of losses and scores, and of how many images, since the last moment."""
        (a, b, n), (c, d, m), (e, f, k) = self._carried, _sums(trainer), self._before
        return a + c - e, b + d - f, n + m - k


class LiveWriter(Callback):
    """Writes a training's moments to live.jsonl of its folder, and tells the newest.

    The file is bounded.  A disk that is full ends the curves, with a note, and not the training.
    """

    def __init__(
        self, folder: Path, tell: Callable[[Moment], None], note: Callable[[str], None]
    ) -> None:
        self._path, self._tell, self._note = folder / LIVE, tell, note
        self._told, self._written = Pulse(TOLD), Pulse(EVERY)
        self._lines: list[Moment] = []
        self._file = -1

    def on_begin(self, trainer: Trainer) -> None:
        """Go on after what was written before the checkpoint that the training goes on from."""
        done = (trainer.epoch - 1) * trainer.steps + trainer.step
        self._lines = [line for line in read_live(self._path.parent) if line["step"] <= done]
        for pulse in (self._told, self._written):
            pulse.seconds = float(self._lines[-1]["seconds"]) if self._lines else 0.0
            pulse.begin(trainer)
        self._guarded(self._rewrite)

    def on_step(self, trainer: Trainer) -> None:
        """Take what is due."""
        moment = self._told.take(trainer)
        if moment is not None:
            self._tell(moment)
        moment = self._written.take(trainer)
        if moment is not None:
            self._guarded(lambda: self._write(moment))

    def on_epoch(self, trainer: Trainer) -> None:
        """Leave the test out of the time; the next epoch's tally begins anew."""
        for pulse in (self._told, self._written):
            pulse.next_epoch(trainer)

    def skip(self, seconds: float) -> None:
        """Leave a pause out of the time."""
        for pulse in (self._told, self._written):
            pulse.skip(seconds)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _guarded(self, what: Callable[[], None]) -> None:
        try:
            what()
        except OSError as error:
            self.close()
            self._written.every = math.inf
            self._note(f"the curves end here ({error.strerror or error}); the training goes on")

    def _write(self, moment: Moment) -> None:
        self._lines.append(moment)
        if len(self._lines) > MOST:
            self._written.every *= 2
            self._lines = thinned(self._lines)
            self._rewrite()
        else:
            os.write(self._file, _line(moment))

    def _rewrite(self) -> None:
        self.close()
        write_atomic(self._path, b"".join(map(_line, self._lines)))
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)


def thinned(lines: Sequence[Moment]) -> list[Moment]:
    """Make one of each two moments: the later, its means over the images of both.

    >>> two = [{"loss": 1.0, "accuracy": 0.0, "images": 10}, {"loss": 2.0, "accuracy": 1.0, \
"images": 30}]
    >>> thinned(two)
    [{'loss': 1.75, 'accuracy': 0.75, 'images': 40}]
    """
    found = [_joined(a, b) for a, b in zip(lines[::2], lines[1::2], strict=False)]
    return [*found, *lines[2 * len(found) :]]


def _joined(first: Moment, second: Moment) -> Moment:
    images = first["images"] + second["images"]
    joined = {**second, "images": images}
    for name in ("loss", *SCORES):
        if first.get(name) is not None and second.get(name) is not None:
            parts = (line[name] * line["images"] for line in (first, second))
            joined[name] = sum(parts) / images
    return joined


def read_live(run: Path) -> list[Moment]:
    """Read the moments of a run's folder; a line that is torn is left out."""
    try:
        text = (run / LIVE).read_bytes()
    except OSError:
        return []
    found = []
    for line in text.split(b"\n"):
        try:
            moment = json.loads(line)
        except ValueError:
            continue
        if isinstance(moment, dict) and {"step", "epoch", "seconds", "images"} <= moment.keys():
            found.append(moment)
    return found


def score_of(moment: Mapping[str, Any]) -> tuple[str, float | None]:
    """Give the name and the value of what is measured beside the loss.

    >>> score_of({"loss": 0.5, "accuracy": 0.75})
    ('accuracy', 0.75)
    """
    return next(((name, moment[name]) for name in SCORES if name in moment), ("", None))


def _sums(trainer: Trainer) -> tuple[float, float, int]:
    """Give the sums of the epoch's losses and scores so far, and of how many images."""
    tally = trainer.tally
    score = next(iter(tally.metrics.values()))
    return tally.loss * tally.images, score * tally.images, tally.images


def _plain(value: Any) -> Any:
    """Give a number as JSON has it, which knows no infinity; None for what is none."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _line(moment: Moment) -> bytes:
    return json.dumps(moment, separators=(",", ":")).encode() + b"\n"
