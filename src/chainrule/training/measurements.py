"""The health of a run: health.csv, a line a measurement, readable at any moment."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from chainrule.errors import CheckpointError
from chainrule.formats.atomic import write_atomic
from chainrule.training.records import csv_text

Measured = tuple[int, str, str, float]
"""The step, the layer or parameter ("" for the whole network), the measure, the value."""

_HEADER = ["step", "layer", "measure", "value"]


class MeasurementWriter:
    """Adds measurements to a file of comma-separated values, in long form.

    Each call of `write` hands whole lines to the system in one piece, and none before is touched:
    a process killed in between leaves all but the last line readable (see `read_measurements`).
    A file that is there is replaced by the first `write`, unless `resume` came before.

    >>> import tempfile
    >>> writer = MeasurementWriter(Path(tempfile.mkdtemp()) / "health.csv")
    >>> writer.write([(1, "", "loss", 2.5), (1, "fc.weight", "update_ratio", 0.001)])
    >>> print(writer.path.read_text().strip())
    step,layer,measure,value
    1,,loss,2.5
    1,fc.weight,update_ratio,0.001
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._begun = False

    def write(self, rows: Sequence[Measured]) -> None:
        """Add rows; raises OSError if the disk refuses."""
        if not self._begun:
            write_atomic(self.path, csv_text(_HEADER, []))
            self._begun = True
        if rows:
            lines = _text(rows).encode()
            with open(self.path, "ab", buffering=0) as file:
                file.write(lines)

    def resume(self, step: int) -> list[Measured]:
        """Go on after a step: what the file holds of later ones goes, the rest is given.

        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "health.csv"
        >>> MeasurementWriter(path).write([(1, "", "loss", 2.5), (21, "", "loss", 1.5)])
        >>> MeasurementWriter(path).resume(20)
        [(1, '', 'loss', 2.5)]
        """
        if not self.path.is_file():
            return []
        kept = [row for row in read_measurements(self.path) if row[0] <= step]
        write_atomic(self.path, csv_text(_HEADER, []) + _text(kept))
        self._begun = True
        return kept


def read_measurements(path: str | os.PathLike[str]) -> list[Measured]:
    """Read what `MeasurementWriter` wrote; a last line that is torn is left out.

    Raises CheckpointError, naming the line, where it is damaged elsewhere; OSError where there is
    no such file.
    """
    *whole, _ = (
        Path(path).read_bytes().decode(errors="replace").split("\n")
    )  # a torn line has no end
    rows = list(csv.reader(io.StringIO("\n".join(whole))))
    found: list[Measured] = []
    for number, row in enumerate(rows, start=1):
        try:
            if number == 1 and row == _HEADER:
                continue
            step, layer, measure, value = row
            found.append((int(step), layer, measure, float(value)))
        except ValueError as error:
            raise CheckpointError(f"{path}: line {number} is damaged ({error})") from error
    return found


def _text(rows: Iterable[Measured]) -> str:
    cells = (
        [str(step), layer, measure, repr(float(value))] for step, layer, measure, value in rows
    )
    return "".join(csv_text(row, []) for row in cells)
