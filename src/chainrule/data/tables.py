"""Tables in text files, CSV or one JSON object a line, whose rows remember their lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from chainrule.data.pictures import shown
from chainrule.errors import DataError

_JSON_LINES = (".jsonl", ".ndjson")
_KINDS = "a table as CSV with the names of its columns in the first line, or one JSON object a line"


class Row(NamedTuple):
    """One row: the line on which it begins, counted from 1, and its values by column."""

    line: int
    values: dict[str, Any]


class Table(NamedTuple):
    """The names of the columns, and the rows."""

    columns: tuple[str, ...]
    rows: list[Row]


def read_table(path: str | os.PathLike[str]) -> Table:
    r"""Read a table from CSV, or from one JSON object a line (.jsonl, .ndjson).

    UTF-8, with or without a byte order mark, lines ended in any way, fields quoted by `"`.  The
    separator of a CSV is the comma; where the first line has none, a tab or a semicolon that it
    has.  Values of CSV are texts without spaces around them, those of JSON what they are.  Empty
    lines are left out.  Raises DataError, naming the line, for what is not well formed: text that
    is no UTF-8, a row with too many fields or too few, a column named twice, broken JSON.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "some.csv"
    >>> _ = path.write_text("path,label\na.png,cat\n", "utf-8")
    >>> read_table(path).rows
    [Row(line=2, values={'path': 'a.png', 'label': 'cat'})]
    """
    name, text = shown(path), _text(path)
    if not text.strip():
        raise DataError(f"{name}: an empty file; expected {_KINDS}")
    lines = Path(path).suffix.lower() in _JSON_LINES or text.lstrip().startswith("{")
    table = _json(name, text) if lines else _csv(name, text)
    if not table.rows:
        raise DataError(f"{name}: no rows under the names of the columns; expected {_KINDS}")
    return table


def _text(path: str | os.PathLike[str]) -> str:
    name = shown(path)
    try:
        if not os.path.isfile(path):
            reason = "is not a regular file" if os.path.exists(path) else "no such file"
            raise DataError(f"{name}: {reason}; expected {_KINDS}")
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror})") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}, line {line}: expected UTF-8, found the byte 0x{data[error.start]:02x}; save "
            "the table as UTF-8"
        ) from error


def _csv(name: str, text: str) -> Table:
    rows = _fields(name, text)
    _, names = next(rows)
    columns = tuple(column.strip() for column in names)
    for number, column in enumerate(columns):
        if column in columns[:number]:
            raise DataError(f"{name}, line 1: the column {column!r} is named twice; rename one")
    found = []
    for line, fields in rows:
        if len(fields) != len(columns):
            raise DataError(
                f"{name}, line {line}: expected {len(columns)} fields, one for each column, found "
                f'{len(fields)}; put fields that hold the separator between "'
            )
        values = (field.strip() for field in fields)
        found.append(Row(line, dict(zip(columns, values, strict=True))))
    return Table(columns, found)


def _fields(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Give the fields of each row that is not empty, with the line on which it begins."""
    first = text.lstrip("\r\n").splitlines()[0]
    separator = next((mark for mark in ",\t;" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{name}, line {line}: broken CSV ({error})") from error
        if fields is None:
            return
        if fields:
            yield line, fields


def _json(name: str, text: str) -> Table:
    columns: dict[str, None] = {}
    rows = []
    for line, part in enumerate(text.split("\n"), 1):
        if not part.strip():
            continue
        try:
            values = json.loads(part)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name}, line {line}: broken JSON ({error})") from error
        if not isinstance(values, dict):
            raise DataError(
                f"{name}, line {line}: expected a JSON object as {{'path': ..., 'label': ...}}, "
                f"found {type(values).__name__}"
            )
        columns.update(dict.fromkeys(values))
        rows.append(Row(line, values))
    return Table(tuple(columns), rows)
