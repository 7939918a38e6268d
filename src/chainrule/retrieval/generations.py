"""The next generation of an index's files: dead rows left out, vectors changed if wanted."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, expect
from chainrule.formats.atomic import sync_folder
from chainrule.retrieval.database import Database, State
from chainrule.retrieval.layout import DATA, RECORD, Layout, fields_of_line, lines_of, row_sum
from chainrule.retrieval.rowfiles import Block, RowFiles

Transform = Callable[[Array], Array]
"""Vectors (n, D) float32 to vectors (n, D') of any float type."""


def next_generation(
    database: Database,
    old: RowFiles,
    state: State,
    dimension: int,
    transform: Transform | None,
    notes: Sequence[tuple[str, str]] = (),
) -> tuple[State, RowFiles]:
    """Write the living rows, in order, into new files, and switch to these in one commit.

    Whatever stops this before the commit leaves the old files in use, and new ones that the next
    writer removes.  `notes`, names with texts of JSON, change in the same commit.  A row whose sum
    does not fit keeps a sum that does not: damage stays known.
    """
    layout = old.layout._replace(generation=state.generation + 1, dimension=dimension)
    _unlink(old.folder, layout)
    new = RowFiles(old.folder, layout, new=True)
    try:
        with database.writing():
            copy = _Copy(database, old, new, transform)
            for begin, end, lines in lines_of(database, state.count):
                if lines:
                    copy.block(lines, old.block(begin, end))
            new.sync()
            sync_folder(old.folder)
            database.rows("DELETE FROM removed")
            after = dataclasses.replace(
                state,
                generation=layout.generation,
                count=copy.rows,
                dimension=dimension,
                thumbnails=copy.bytes,
                commits=state.commits + 1,
            )
            database.many("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes)
            database.put_state(after)
    except BaseException:
        new.close()
        with contextlib.suppress(OSError, DataError):
            if database.state().generation != layout.generation:
                _unlink(old.folder, layout)
        raise
    old.close()
    _unlink(old.folder, old.layout)
    return after, new


class _Copy:
    """Rows on their way from the old files into the new ones."""

    def __init__(
        self, database: Database, old: RowFiles, new: RowFiles, transform: Transform | None
    ) -> None:
        self._database, self._old, self._new, self._transform = database, old, new, transform
        self.rows = self.bytes = 0

    def block(self, lines: list[Any], block: Block) -> None:
        """Copy some rows, given as the database has them, and put their new places there."""
        parts = [block.parts(row) for row, *_ in lines]
        sound = [
            row_sum(fields_of_line(line), *part) == line[-1]
            for line, part in zip(lines, parts, strict=True)
        ]
        vectors = self._vectors([part[1] for part in parts])
        places: list[tuple[int, bytes, int]] = []
        table, at = [], self.bytes
        for row, (line, part) in enumerate(zip(lines, parts, strict=True)):
            record = np.frombuffer(part[0], RECORD).copy()
            record["offset"], at = at, at + len(part[3])
            table.append(record.tobytes())
            moved = (table[row], vectors[row].tobytes(), *part[2:])
            total = row_sum(fields_of_line(line), *moved) if sound[row] else b"damaged"
            places.append((self.rows + row, total, line[1]))
        self._put(vectors, table, [part[2] for part in parts], [part[3] for part in parts])
        self._database.many("UPDATE images SET row = ?, sum = ? WHERE serial = ?", places)
        self.rows += len(lines)
        self.bytes = at

    def _put(
        self, vectors: Array, table: list[bytes], classes: list[bytes], thumbnails: list[bytes]
    ) -> None:
        strides = self._new.layout.strides
        self._new.write("vectors", vectors.tobytes(), self.rows * strides["vectors"])
        self._new.write("rows", b"".join(table), self.rows * strides["rows"])
        self._new.write("classes", b"".join(classes), self.rows * strides["classes"])
        self._new.write("thumbnails", b"".join(thumbnails), self.bytes)

    def _vectors(self, parts: list[bytes]) -> Array:
        old, new = self._old.layout, self._new.layout
        found = np.frombuffer(b"".join(parts), old.stored).reshape(len(parts), old.dimension)
        if self._transform is None:
            return found
        changed = np.asarray(self._transform(found.astype(np.float32)))
        return stored_vectors(changed, new, len(parts))


def stored_vectors(vectors: Any, layout: Layout, rows: int) -> Array:
    """Check vectors (rows, D) and give them in the type of the file; DataError for others."""
    array = np.asarray(vectors)
    shape = (rows, layout.dimension)
    rule = f"vectors of floats {shape}"
    fits = array.shape == shape and array.dtype.kind == "f"
    expect(fits, "index", rule, vectors=array, error=DataError)
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(array, dtype=layout.stored)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise DataError(f"index: vector {row} has NaN or infinity, or is too large for the file")
    return found


def _unlink(folder: Path, layout: Layout) -> None:
    for name in layout.names.values():
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()


def drop_other_generations(folder: Path, layout: Layout) -> None:
    """Remove the files of generations that are not in use: a writer was killed at a switch."""
    used = set(layout.names.values())
    for path in folder.iterdir():
        if DATA.fullmatch(path.name) and path.name not in used:
            path.unlink()
