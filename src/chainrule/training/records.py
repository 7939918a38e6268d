"""The records of a run: metrics.csv and metrics.jsonl, a row an epoch, readable at any moment."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from chainrule.errors import CheckpointError, KindError, expect, failure
from chainrule.formats.atomic import write_atomic

CSV, JSONL = "metrics.csv", "metrics.jsonl"
_EPOCH, _TIMING = "epoch", "timing"

Record = dict[str, float]
"""Numbers by column; "epoch" is one of them."""


class RecordWriter:
    """Writes one row an epoch into `metrics.csv` and `metrics.jsonl` of a folder.

    A row is a flat dictionary of numbers with an "epoch" that grows.  metrics.csv holds nothing
    else and is a function of the rows alone, so that a run that was interrupted and resumed ends
    with the same bytes as one that was not.  Times, which differ from run to run, go into the
    "timing" of a line of metrics.jsonl.  Columns stand in the order in which they first came; one
    that comes later is added, its cells empty before.

    metrics.csv is replaced whole with each row; a line is appended to metrics.jsonl and forced to
    the disk.  A process killed in between leaves both readable (see `read_records`).  Without
    `resume` the first row replaces what an older run left.

    >>> import tempfile
    >>> writer = RecordWriter(tempfile.mkdtemp())
    >>> writer.write({"epoch": 1, "train_loss": 0.5}, timing={"seconds": 3.25})
    >>> writer.write({"epoch": 2, "train_loss": 0.25, "test_loss": 0.75})
    >>> print((writer.folder / "metrics.csv").read_text().strip())
    epoch,train_loss,test_loss
    1,0.5,
    2,0.25,0.75
    >>> print((writer.folder / "metrics.jsonl").read_text().split()[4:])
    ['"timing":', '{"seconds":', '3.25}}', '{"epoch":', '2,', '"train_loss":', '0.25,', \
'"test_loss":', '0.75}']
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._rows: list[Record] = []
        self._size = 0  # bytes of metrics.jsonl that are whole lines of ours

    @property
    def rows(self) -> list[Record]:
        """The rows written so far: a copy."""
        return [dict(row) for row in self._rows]

    def write(self, row: Mapping[str, Any], timing: Mapping[str, Any] | None = None) -> None:
        """Add an epoch.

        Raises KindError for what is not a number, ShapeError for a row without an epoch, or with
        one that does not follow the last (that run was not resumed), OSError if the disk refuses:
        the row is then not counted, and may be written again.
        """
        new, times = _numbers(row), _numbers(timing or {})
        self._check(new, times)
        line = _line(new, times).encode()
        path = self.folder / JSONL
        if self._size:
            with open(path, "r+b") as file:
                file.truncate(self._size)  # what a failed write left
                file.seek(self._size)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        else:
            write_atomic(path, line)
        write_atomic(self.folder / CSV, to_csv([*self._rows, new]))
        self._size += len(line)
        self._rows.append(new)

    def resume(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Go on after these rows, a checkpoint's: whatever the files hold beyond them goes.

        The times that metrics.jsonl has of the same rows stay.  Raises as `write` does.

        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> first = RecordWriter(folder)
        >>> first.write({"epoch": 1, "loss": 0.5}); first.write({"epoch": 2, "loss": 0.4})
        >>> second = RecordWriter(folder)
        >>> second.resume(first.rows[:1])
        >>> read_records(folder)
        [{'epoch': 1, 'loss': 0.5}]
        """
        kept = [_numbers(row) for row in rows]
        self._rows, self._size = [], 0
        if not kept:
            for name in (CSV, JSONL):
                (self.folder / name).unlink(missing_ok=True)
            return
        known = {_line(row, {}): times for row, times in _lines_there(self.folder / JSONL)}
        lines = ""
        for row in kept:
            self._check(row, {})
            lines += _line(row, known.get(_line(row, {}), {}))
            self._rows.append(row)
        write_atomic(self.folder / JSONL, lines)
        write_atomic(self.folder / CSV, to_csv(kept))
        self._size = len(lines.encode())

    def _check(self, row: Record, times: Record) -> None:
        """Raise unless the row can follow the last one."""
        epoch = row.get(_EPOCH)
        expect(isinstance(epoch, int), "records", "a whole number as 'epoch'", epoch=epoch)
        last = self._rows[-1][_EPOCH] if self._rows else -math.inf
        if epoch is not None and epoch <= last:
            hint = "a run that goes on from a checkpoint calls resume(rows) first"
            raise failure("records", f"an epoch after {last}", hint=hint, epoch=epoch)
        double = {_TIMING} & set(row) | (set(row) & set(times))
        rule = "columns that are neither 'timing' nor among the times"
        expect(not double, "records", rule, columns=sorted(double))


def read_records(folder: str | os.PathLike[str], timing: bool = False) -> list[Record]:
    """Read the rows of a run's folder; with `timing` the times stand among the columns.

    metrics.jsonl is read, and metrics.csv where there is none.  The last line of metrics.jsonl
    may be torn, since the process was killed or the disk full: it is left out.  A value that was
    not defined is NaN.  Raises CheckpointError, naming the file, where there are no records or
    they are damaged elsewhere.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> RecordWriter(folder).write({"epoch": 1, "loss": 0.5}, timing={"seconds": 2.0})
    >>> with open(f"{folder}/metrics.jsonl", "a") as file:
    ...     written = file.write('{"epoch": 2, "lo')
    >>> read_records(folder), read_records(folder, timing=True)
    ([{'epoch': 1, 'loss': 0.5}], [{'epoch': 1, 'loss': 0.5, 'seconds': 2.0}])
    """
    lines, table = Path(folder) / JSONL, Path(folder) / CSV
    if lines.is_file():
        return [{**row, **times} if timing else row for row, times in _lines_of(lines)]
    if table.is_file():
        return _from_csv(table)
    raise CheckpointError(f"{folder}: no records; there is neither {JSONL} nor {CSV}")


def to_csv(rows: Sequence[Mapping[str, float]]) -> str:
    r"""Write rows as CSV: the shortest digits that give the number back, missing cells empty.

    >>> to_csv([{"epoch": 1, "lr": 0.1}, {"epoch": 2, "lr": float("nan")}])
    'epoch,lr\n1,0.1\n2,nan\n'
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = ([repr(row[name]) if name in row else "" for name in columns] for row in rows)
    return csv_text(columns, cells)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a table as CSV (RFC 4180) with lines that end in a line feed.

    The standard library leaves a lone return unquoted, which readers take for a line's end.

    >>> csv_text(["a", "b,c"], [["1\r", 'the "x"!']])
    'a,"b,c"\n"1\r","the ""x""!"\n'
    """
    return "".join(",".join(map(_quoted, row)) + "\n" for row in (header, *rows))


def _quoted(cell: str) -> str:
    if not any(mark in cell for mark in ',"\r\n'):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def _numbers(row: Mapping[str, Any]) -> Record:
    """Turn a row's values into Python's int and float, whose text is exact."""
    found: Record = {}
    for name, value in row.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise failure("records", f"a number as {name!r}", error=KindError, value=value)
        found[str(name)] = int(value) if isinstance(value, Integral) else float(value)
    return found


def _line(row: Record, times: Record) -> str:
    """Write a row as a line of JSON: strict JSON, which knows neither NaN nor infinity."""
    values: dict[str, Any] = {name: _out(value) for name, value in row.items()}
    if times:
        values[_TIMING] = {name: _out(value) for name, value in times.items()}
    return json.dumps(values, allow_nan=False) + "\n"


def _out(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else repr(value)


def _in(value: Any) -> float:
    """Turn a value of a line back into a number: null is NaN, "inf" infinity."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is not a number")
    return float(value) if isinstance(value, str) else value


def _lines_of(path: Path) -> list[tuple[Record, Record]]:
    """Read rows and their times; a last line that is torn is left out."""
    *whole, last = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate([*whole, last], start=1):
        try:
            values: dict[str, Any] = json.loads(line)
            times = values.pop(_TIMING, {})
            found.append(
                ({k: _in(v) for k, v in values.items()}, {k: _in(v) for k, v in times.items()})
            )
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            if number < len(whole) or (number == len(whole) and last):
                raise CheckpointError(f"{path}: line {number} is damaged ({error})") from error
    return found


def _lines_there(path: Path) -> list[tuple[Record, Record]]:
    """Read as `_lines_of` does, and nothing where nothing can be read."""
    try:
        return _lines_of(path)
    except (OSError, CheckpointError):
        return []


def _from_csv(path: Path) -> list[Record]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            return [{k: _cell(v) for k, v in row.items() if v != ""} for row in reader]
    except (ValueError, AttributeError, csv.Error) as error:
        raise CheckpointError(f"{path}: damaged metrics ({error})") from error


def _cell(text: str) -> float:
    return int(text) if text.removeprefix("-").isdecimal() else float(text)
