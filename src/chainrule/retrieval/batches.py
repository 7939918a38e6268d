"""One batch of images on its way into an index: checked as a whole before a byte is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, expect
from chainrule.retrieval.database import Database, State
from chainrule.retrieval.generations import stored_vectors
from chainrule.retrieval.layout import (
    Entry,
    Layout,
    fields_of_line,
    line_of,
    records,
    row_sum,
    tags_text,
)
from chainrule.retrieval.rowfiles import RowFiles
from chainrule.retrieval.settings import IndexSettings

_INSERT = "INSERT INTO images VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
_LARGEST = 1 << 31


class Batch:
    """Entries with vectors (n, D) and probabilities (n, K); DataError for what does not fit."""

    def __init__(
        self,
        entries: Sequence[Entry],
        vectors: Any,
        probabilities: Any,
        settings: IndexSettings,
        layout: Layout,
    ) -> None:
        self.entries, self._layout = list(entries), layout
        self._vectors = stored_vectors(vectors, layout, len(self.entries))
        self._classes = _probabilities(probabilities, (len(self.entries), layout.classes))
        ids = [entry.id for entry in self.entries]
        expect(len(set(ids)) == len(ids), "append", "each id once", error=DataError)
        for entry in self.entries:
            _check(entry, settings)

    def place(self, database: Database, state: State) -> None:
        """Give the rows their numbers, behind those that are committed."""
        known = {name: code for code, name in database.rows("SELECT code, name FROM labels")}
        self._new: dict[str, int] = {}
        following = max(known.values(), default=-1) + 1
        for entry in self.entries:
            if entry.label is not None and entry.label not in known:
                self._new[entry.label] = known[entry.label] = following + len(self._new)
        self._state, self._table, at = state, records(len(self.entries)), state.thumbnails
        for row, entry in enumerate(self.entries):
            label = -1 if entry.label is None else known[entry.label]
            size = len(entry.thumbnail)
            places = (state.serial + row, entry.group, entry.phash, at, size)
            self._table[row] = (*places, label, entry.predicted, 1)
            at += size
        self._end = at

    def write(self, files: RowFiles) -> None:
        """Write the rows into the files; nobody sees them yet."""
        state, strides = self._state, self._layout.strides
        files.write("vectors", self._vectors.tobytes(), state.count * strides["vectors"])
        files.write("classes", self._classes.tobytes(), state.count * strides["classes"])
        files.write("rows", self._table.tobytes(), state.count * strides["rows"])
        thumbnails = b"".join(entry.thumbnail for entry in self.entries)
        files.write("thumbnails", thumbnails, state.thumbnails)

    def record(self, database: Database) -> State:
        """Put the rows into the database, as a part of the running commit; give the new state."""
        state = self._state
        database.many(
            "INSERT INTO labels VALUES (?, ?)", [(code, name) for name, code in self._new.items()]
        )
        database.many(_INSERT, (self._line(row) for row in range(len(self.entries))))
        sources = {(entry.source,) for entry in self.entries}
        database.many("DELETE FROM skipped WHERE source = ?", sources)
        after = dataclasses.replace(
            state,
            count=state.count + len(self.entries),
            thumbnails=self._end,
            serial=state.serial + len(self.entries),
            commits=state.commits + 1,
        )
        database.put_state(after)
        return after

    def _line(self, row: int) -> tuple[Any, ...]:
        entry, record = self.entries[row], self._table[row]
        line = line_of(entry, self._state.count + row, int(record["serial"]))
        vector, classes = self._vectors[row].tobytes(), self._classes[row].tobytes()
        parts = (record.tobytes(), vector, classes, entry.thumbnail)
        total = row_sum(fields_of_line(line), *parts)
        at, serial, name, source, frame, _, *rest = line
        label = int(record["label"])
        code = label if label >= 0 else None
        return (serial, at, name, source, frame, code, *rest, total)


def _probabilities(values: Any, shape: tuple[int, int]) -> Array:
    array = np.asarray(values)
    rule = f"probabilities of floats {shape}, all finite"
    fits = array.shape == shape and array.dtype.kind == "f" and bool(np.isfinite(array).all())
    expect(fits, "append", rule, probabilities=array, error=DataError)
    return np.ascontiguousarray(array, dtype="<f4")


def _check(entry: Entry, settings: IndexSettings) -> None:
    """Refuse an entry that the files cannot hold, or that the settings do not allow."""
    height, width = entry.size
    numbers = (entry.group, entry.phash, entry.frame, height, width, entry.predicted)
    texts = (entry.id, entry.source, entry.kind)
    fits = all(isinstance(text, str) for text in texts) and entry.id != ""
    fits = fits and all(type(number) is int for number in numbers)
    expect(fits, "append", "texts and whole numbers in an entry", entry=entry, error=DataError)
    fits = 0 <= entry.group < 1 << 64 and 0 <= entry.phash < 1 << 64
    fits = fits and all(0 <= number < _LARGEST for number in (entry.frame, height, width))
    rule = "numbers of an entry within their bounds"
    expect(fits, "append", rule, entry=entry, error=DataError)
    classes = len(settings.classes)
    rule = f"a predicted class from -1 to {classes - 1}"
    fits = -1 <= entry.predicted < classes
    expect(fits, "append", rule, predicted=entry.predicted, error=DataError)
    fits = len(entry.thumbnail) < _LARGEST
    expect(fits, "append", "a thumbnail below 2 GiB", size=len(entry.thumbnail), error=DataError)
    _check_kept(entry, settings)


def _check_kept(entry: Entry, settings: IndexSettings) -> None:
    """Refuse what tells more of an image than the index was made to keep."""
    more = sorted(set(entry.tags) - set(settings.keep_tags))
    hint = "name them when the index is made"
    rule = "tags that the index keeps"
    expect(not more, "append", rule, tags=more, hint=hint, error=DataError)
    allowed = settings.keep_paths or entry.path is None
    expect(allowed, "append", "no path: this index keeps none", error=DataError)
    allowed = settings.thumbnail > 0 or not entry.thumbnail
    expect(allowed, "append", "no thumbnail: this index keeps none", error=DataError)
    try:
        tags_text(entry.tags)
    except (TypeError, ValueError) as error:
        raise DataError(f"append: expected tags that JSON can hold; {error}") from error
