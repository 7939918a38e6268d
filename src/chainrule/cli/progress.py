"""The display of a training: a bar on a terminal, a line an epoch everywhere."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

from chainrule.training.config import TrainConfig
from chainrule.training.loop import Callback, Trainer
from chainrule.training.rows import Row


class ProgressDisplay(Callback):
    """Shows loss, accuracy, images a second and the time left.

    On a terminal a bar over all steps runs below the lines of the finished epochs; elsewhere there
    are only these lines.
    """

    def __init__(self, config: TrainConfig, images: int, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._epochs = config.epochs
        self._steps = -(-images // config.batch_size)
        self._bar = bars.Progress(
            bars.TextColumn("epoch {task.fields[epoch]}"),
            bars.BarColumn(bar_width=24),
            bars.MofNCompleteColumn(),
            bars.TextColumn("loss {task.fields[loss]:.4f}"),
            bars.TextColumn("accuracy {task.fields[accuracy]:.2f} %"),
            bars.TextColumn("{task.fields[rate]:,.0f} images/s"),
            bars.TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(
            "",
            total=config.epochs * self._steps,
            epoch=f"1/{config.epochs}",
            loss=0.0,
            accuracy=0.0,
            rate=0.0,
        )
        self._begun = 0.0
        self._rate = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:  # where it never started, older versions print a blank line
            self._bar.stop()

    def note(self, text: str) -> None:
        """Print a line of its own, above the bar."""
        self._console.print(text, soft_wrap=True, markup=False)

    def on_begin(self, trainer: Trainer) -> None:
        """Start the clock."""
        self._begun = time.perf_counter()

    def on_step(self, trainer: Trainer) -> None:
        """Move the bar."""
        tally = trainer.tally
        self._rate = tally.images / max(time.perf_counter() - self._begun, 1e-9)
        self._bar.update(
            self._task,
            completed=(trainer.epoch - 1) * self._steps + trainer.step,
            epoch=f"{trainer.epoch}/{self._epochs}",
            loss=tally.loss,
            accuracy=100 * next(iter(tally.metrics.values())),
            rate=self._rate,
        )

    def on_epoch(self, trainer: Trainer) -> None:
        """Print the epoch's line."""
        self._console.print(self._line(trainer.rows[-1]), soft_wrap=True)
        self._begun = time.perf_counter()

    def _line(self, row: Row) -> str:
        width = len(str(self._epochs))
        parts = [f"epoch {row.epoch:{width}}/{self._epochs}  loss {row.train_loss:.4f}"]
        values = row.to_dict()
        for key in ("train_accuracy", *(k for k in values if k.startswith(("validation", "test")))):
            if key in values and key.removeprefix("train_") in _SHOWN:
                name = key.removeprefix("train_").replace("_", " ")
                share = key.endswith(("accuracy", "top5"))
                value = f"{100 * values[key]:.2f} %" if share else f"{values[key]:.4f}"
                parts.append(f"{name} {value}")
        return "  ".join([*parts, f"{self._rate:,.0f} images/s"])


_SHOWN = {
    "accuracy",
    *(
        f"{part}_{name}"
        for part in ("validation", "test")
        for name in ("loss", "accuracy", "exact_match", "mae")
    ),
}


@contextmanager
def counting(noun: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show how many of something are done, on a terminal; gives the function to be told.

    >>> with counting("images", quiet=True) as step:
    ...     step(1, 2)
    """
    console = Console(stderr=True, highlight=False)
    with (
        without_warnings(),
        bars.Progress(
            bars.BarColumn(bar_width=24),
            bars.MofNCompleteColumn(),
            bars.TextColumn(noun),
            bars.TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        ) as bar,
    ):
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Python's warnings of libraries that read pictures, which name files, off the terminal.

    >>> with without_warnings():
    ...     warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
