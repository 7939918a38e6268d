"""Tables that name pictures and their labels: CSV, or one JSON object a line."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.dataset import ImageData, Task
from chainrule.data.parts import PARTS, image_data
from chainrule.data.picture_dataset import PictureDataset
from chainrule.data.pictures import Mode, Source, shown
from chainrule.data.subsets import Subset
from chainrule.data.tables import Row, Table, read_table
from chainrule.engine.op import Array
from chainrule.errors import DataError

_SEVERAL = re.compile(r"[|;]")  # between the labels of one picture
_LARGEST = float(np.finfo(np.float32).max)
_WHOLE = re.compile(r"0|-?[1-9][0-9]*")


class ManifestDataset(PictureDataset):
    """The pictures of a table, with their targets; see `load_manifest` for what it may hold.

    `paths` are the files, `lines` where the table names them, `groups` and `splits` what it says
    of each, or None.

    >>> ManifestDataset("absent.csv")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: absent.csv: no such file; expected a table as CSV with the names ...
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        path_column: str = "path",
        label_columns: str | Sequence[str] | None = None,
        split_column: str = "split",
        group_column: str = "group",
        task: Task | None = None,
        mode: Mode | None = None,
    ) -> None:
        self.path = Path(path)
        table = read_table(path)
        reading = _Reading(shown(path), table)
        self.paths = _paths(reading, path_column, self.path.parent)
        self.lines = [row.line for row in table.rows]
        given = [label_columns] if isinstance(label_columns, str) else label_columns
        columns = given or _label_columns(reading, (path_column, split_column, group_column))
        found = _targets(reading, columns, task)
        self.groups = reading.words(group_column) if group_column in table.columns else None
        self.splits = _splits(reading, split_column) if split_column in table.columns else None
        super().__init__(found.values, found.classes, found.task, self.path.stem, mode)

    def source(self, index: int) -> Source:
        """Give the path of a picture."""
        return self.paths[index]

    def describe(self, index: int) -> str:
        """Give the path of a picture and the line that names it, for messages."""
        return f"{shown(self.paths[index])} ({shown(self.path.name)}, line {self.lines[index]})"


def load_manifest(
    path: str | os.PathLike[str],
    *,
    path_column: str = "path",
    label_columns: str | Sequence[str] | None = None,
    split_column: str = "split",
    group_column: str = "group",
    task: Task | None = None,
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
    mode: Mode | None = None,
) -> ImageData:
    r"""Read a data set from a table of pictures: CSV, or one JSON object a line (`read_table`).

    The column `path` names the files, from the table's own folder on.  What is learnt stands in

    - `label`: one class each, in the order of numbers if all are whole numbers, else of names;
    - `labels`: any number of labels each, "cat|night" or "cat;night", a list in JSON;
    - else in all other columns, or those of `label_columns`: labels where all values are 0 and 1,
      else the numbers of a regression; a single column without any number has classes.  `task`
      decides otherwise.

    A column `split` says "train", "val" (or "valid", "validation") or "test" of each row; without
    one the fractions `test` and `validation` are cut off, see `image_data` and `split`.  The rows
    of one `group`, such as a patient, are never in two parts; an empty group is one of its own.

    Raises DataError with line and column for a missing column, value or file, a number that is
    none, a file named twice, a group in two parts; and as `PictureDataset` does.

    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for k in range(4):
    ...     Image.new("L", (2, 2)).save(folder / f"{k}.png")
    >>> rows = [f"{k}.png,{'ab'[k % 2]},{'test' if k > 1 else 'train'}" for k in range(4)]
    >>> _ = (folder / "m.csv").write_text("\n".join(["path,label,split", *rows]), "utf-8")
    >>> data = load_manifest(folder / "m.csv")
    >>> data.classes, len(data.train), data.test.targets
    (('a', 'b'), 2, array([0, 1]))
    """
    whole = ManifestDataset(
        path,
        path_column=path_column,
        label_columns=label_columns,
        split_column=split_column,
        group_column=group_column,
        task=task,
        mode=mode,
    )
    groups = None if whole.groups is None else _own_groups(whole.groups)
    parts = {"train": np.arange(len(whole))}
    if whole.splits is not None:
        said = np.array(whole.splits)
        parts = {part: np.flatnonzero(said == part) for part in dict.fromkeys(PARTS.values())}
        _uncrossed(whole)
    return image_data(
        whole.name,
        {part: Subset(whole, chosen) for part, chosen in parts.items() if len(chosen)},
        whole.white,
        test=test,
        validation=validation,
        seed=seed,
        groups=None if groups is None else groups[parts["train"]],
    )


@dataclass(frozen=True)
class _Reading:
    """A table with the name that messages give it."""

    name: str
    table: Table

    def failure(self, row: Row, column: str, text: str) -> DataError:
        return DataError(f"{self.name}, line {row.line}, column {column!r}: {text}")

    def check(self, column: str) -> None:
        """Raise DataError unless there is such a column."""
        if column not in self.table.columns:
            there = ", ".join(map(repr, self.table.columns))
            raise DataError(f"{self.name}: expected a column {column!r}, found {there}")

    def words(self, column: str) -> list[str]:
        """Give a column as texts; what is missing is ""."""
        self.check(column)
        return [self._word(row, column) for row in self.table.rows]

    def _word(self, row: Row, column: str) -> str:
        value = row.values.get(column)
        if value is None:
            return ""
        if not isinstance(value, str | int | float):
            raise self.failure(row, column, f"expected a text or a number, found {value!r}")
        return str(value)

    def numbers(self, column: str) -> list[float]:
        """Give a column as finite numbers."""
        found = []
        for row, word in zip(self.table.rows, self.words(column), strict=True):
            try:
                number = float(row.values[column]) if word else math.nan
            except (ValueError, OverflowError):
                number = math.nan
            if not abs(number) <= _LARGEST:  # NaN is not
                hint = "; a column of classes is read with task='classification'"
                raise self.failure(row, column, f"expected a number, found {word!r}{hint}")
            found.append(number)
        return found


@dataclass(frozen=True)
class _Targets:
    values: Array
    classes: Sequence[str]
    task: Task


def _paths(reading: _Reading, column: str, folder: Path) -> list[str]:
    """Give the files, each there and named once."""
    found: list[str] = []
    lines: dict[str, int] = {}
    for row, word in zip(reading.table.rows, reading.words(column), strict=True):
        if not word or "\0" in word:
            raise reading.failure(row, column, f"expected the path of a picture, found {word!r}")
        path = os.path.normpath(folder / word)
        if path in lines:
            text = f"{word!r} is named on line {lines[path]} already; several labels of one "
            raise reading.failure(row, column, f"{text}picture stand in one row, as 'cat|night'")
        if not os.path.isfile(path):
            reason = "no regular file" if os.path.exists(path) else "no such file"
            raise reading.failure(row, column, f"{reason}: {shown(path)}")
        lines[path] = row.line
        found.append(path)
    return found


def _label_columns(reading: _Reading, others: Sequence[str]) -> list[str]:
    """Find what is learnt: `label`, `labels`, or all columns that are nothing else."""
    columns = reading.table.columns
    for usual in ("label", "labels"):
        if usual in columns:
            return [usual]
    rest = [column for column in columns if column not in others]
    if not rest:
        there = ", ".join(map(repr, columns))
        raise DataError(
            f"{reading.name}: expected a column 'label', 'labels', or columns of numbers, found "
            f"{there}; label_columns says which ones to learn"
        )
    return rest


def _targets(reading: _Reading, columns: Sequence[str], task: Task | None) -> _Targets:
    """Read what is learnt from its columns."""
    one = columns[0] if len(columns) == 1 else None
    if one is not None and task != "regression":
        if task == "multilabel" or (one == "labels" and task is None):
            return _several(reading, one)
        if one == "label" or task == "classification" or not _numeric(reading, one):
            return _single(reading, one)
    if task == "classification":
        raise DataError(f"{reading.name}: expected one column of classes, got {list(columns)}")
    values = np.array([reading.numbers(column) for column in columns], np.float32).T
    binary = bool(np.isin(values, (0, 1)).all())
    if task == "multilabel" and not binary:
        row, place = (int(k) for k in np.argwhere(~np.isin(values, (0, 1)))[0])
        text = f"expected 0 or 1, found {values[row, place]:g}"
        raise reading.failure(reading.table.rows[row], columns[place], text)
    labels = task == "multilabel" or (task is None and binary)
    return _Targets(values, list(columns), "multilabel" if labels else "regression")


def _numeric(reading: _Reading, column: str) -> bool:
    """Tell whether a column has any numbers: then a word among them is a mistake, no class."""
    return any(_is_number(word) for word in reading.words(column))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _single(reading: _Reading, column: str) -> _Targets:
    words = reading.words(column)
    for row, word in zip(reading.table.rows, words, strict=True):
        if not word:
            raise reading.failure(row, column, "expected a label, found none")
    classes = _ordered(set(words))
    numbers = {label: number for number, label in enumerate(classes)}
    return _Targets(np.array([numbers[word] for word in words]), classes, "classification")


def _several(reading: _Reading, column: str) -> _Targets:
    reading.check(column)
    found = [_label_set(reading, row, column) for row in reading.table.rows]
    classes = _ordered({label for labels in found for label in labels})
    if not classes:
        raise DataError(f"{reading.name}, column {column!r}: expected labels, found none at all")
    numbers = {label: number for number, label in enumerate(classes)}
    values = np.zeros((len(found), len(classes)), np.float32)
    for row, labels in enumerate(found):
        values[row, [numbers[label] for label in labels]] = 1.0
    return _Targets(values, classes, "multilabel")


def _label_set(reading: _Reading, row: Row, column: str) -> list[str]:
    """Give the labels of one picture, none where the field is empty."""
    value: Any = row.values.get(column)
    if isinstance(value, list) and all(isinstance(label, str | int) for label in value):
        return [str(label) for label in value]
    if value is None or isinstance(value, str | int):
        parts = _SEVERAL.split("" if value is None else str(value))
        return [part.strip() for part in parts if part.strip()]
    raise reading.failure(row, column, f"expected labels as 'cat|night', found {value!r}")


def _ordered(labels: set[str]) -> list[str]:
    """Sort labels: by value if all are whole numbers, else by name."""
    if all(_WHOLE.fullmatch(label) for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def _splits(reading: _Reading, column: str) -> list[str]:
    """Read which part each row belongs to, by the names in `PARTS`."""
    found = []
    for row, word in zip(reading.table.rows, reading.words(column), strict=True):
        part = PARTS.get(word.lower())
        if part is None:
            raise reading.failure(row, column, f"expected train, val or test, found {word!r}")
        found.append(part)
    return found


def _own_groups(groups: list[str]) -> Array:
    """Give rows without a group one of their own."""
    return np.array([f"g{group}" if group else f"row {k}" for k, group in enumerate(groups)])


def _uncrossed(whole: ManifestDataset) -> None:
    """Check that no group is in two of the parts that the table names."""
    if whole.groups is None or whole.splits is None:
        return
    first: dict[str, int] = {}
    for number, group in enumerate(whole.groups):
        other = first.setdefault(group, number) if group else number
        if whole.splits[other] != whole.splits[number]:
            raise DataError(
                f"{shown(whole.path)}, line {whole.lines[number]}: the group {group!r} is in "
                f"{whole.splits[number]} and on line {whole.lines[other]} in "
                f"{whole.splits[other]}; a group belongs to one part"
            )
