"""A run's tables and pictures, written into its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from chainrule.data.dataset import Task
from chainrule.errors import DataError
from chainrule.formats.atomic import write_atomic
from chainrule.training.interrupt import interrupts_deferred
from chainrule.training.metrics import Evaluation
from chainrule.training.plots import confusion_png, curves_png, per_class_png, reliability_png
from chainrule.training.records import csv_text
from chainrule.training.rows import Row
from chainrule.training.tables import write_tables


class Report:
    """Writes what a training or an evaluation found: tables always, pictures by matplotlib."""

    def __init__(
        self, folder: str | os.PathLike[str], classes: Sequence[str], task: Task, title: str = ""
    ) -> None:
        self.folder, self.classes, self.task, self.title = Path(folder), classes, task, title

    def write(self, rows: Sequence[Row], result: Evaluation) -> str:
        """Write tables and pictures; returns why there are no pictures, or nothing.

        Raises OSError if the disk refuses.
        """
        with interrupts_deferred():
            write_tables(self.folder, result, self.classes)
        title = self.title
        if result.confusion.size:
            title = f"{title}, test {100 * result.accuracy:.2f} %"
        pictures: dict[str, Callable[[], bytes]] = {}
        if rows:
            pictures["curves.png"] = lambda: curves_png(rows, title, _panels(rows))
        if result.confusion.size:
            confusion = result.confusion
            pictures["confusion.png"] = lambda: confusion_png(confusion, self.classes, title)
            pictures["confusion_percent.png"] = lambda: confusion_png(
                confusion, self.classes, title, percent=True
            )
        table, bins = result.per_class, result.calibration
        if table is not None:
            pictures["per_class.png"] = lambda: per_class_png(table, self.classes, title)
        if bins is not None:
            pictures["calibration.png"] = lambda: reliability_png(bins, title)
        try:
            drawn = {name: draw() for name, draw in pictures.items()}
        except DataError as error:  # matplotlib is an extra
            return str(error)
        with interrupts_deferred():
            for name, png in drawn.items():
                write_atomic(self.folder / name, png)
        return ""

    def draw_curves(self, rows: Sequence[Row]) -> None:
        """Refresh the curves of a training that runs, if they can be drawn."""
        try:
            png = curves_png(rows, self.title, _panels(rows))
        except DataError:
            return
        write_atomic(self.folder / "curves.png", png)

    def write_skipped(self, entries: Sequence[tuple[str, str]]) -> None:
        """Write which files could not be read, and why."""
        write_atomic(self.folder / "skipped.csv", csv_text(["file", "reason"], entries))


def _panels(rows: Sequence[Row]) -> list[str]:
    """Choose what a run's curves show: the loss, what people ask for first, and the rate."""
    found = rows[-1].to_dict()
    known = ("accuracy", "top5", "exact_match", "map", "mae", "r2")
    return ["loss", *(name for name in known if f"test_{name}" in found), "lr"]
