"""The display of a download: a bar a file on a terminal, a line a file everywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console


class DownloadDisplay:
    """Called with a file's name, the bytes that are there, and of how many, if that is known.

    A bar shows bytes, speed and the time left; where there is no terminal, each file is told of
    once, with its length.  Nothing is shown before a first byte is asked for.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=24),
            bars.DownloadColumn(),
            bars.TransferSpeedColumn(),
            bars.TimeRemainingColumn(),
            console=self._console,
        )
        self._tasks: dict[str, bars.TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tasks and self._console.is_terminal:
            self._bars.stop()

    def __call__(self, name: str, done: int, total: int | None) -> None:
        """Show how far a file has come."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
            if self._console.is_terminal:
                self._bars.start()
            else:
                length = "" if total is None else f" ({total / 1e6:,.1f} MB)"
                self._console.print(f"downloading {name}{length}", soft_wrap=True)
        self._bars.update(self._tasks[name], completed=done, total=total)
