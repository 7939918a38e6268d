"""An index as a reader sees it: one commit, whole, whatever a writer does meanwhile."""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, LabelError, expect
from chainrule.retrieval.database import State
from chainrule.retrieval.layout import DATABASE, JOURNAL, RECORD, Entry, Layout, read_at
from chainrule.retrieval.recovery import open_to_read
from chainrule.retrieval.seals import bytes_sum
from chainrule.retrieval.settings import IndexSettings, read_settings

__all__ = ["Entry", "Snapshot"]

_MANY = 500  # values in one statement
_COLUMNS = (
    "serial, id, source, frame, (SELECT name FROM labels WHERE code = label), kind, "
    "height, width, path, tags"
)


class Snapshot:
    """What an index holds at one commit; it stays so while writers add, remove and compact.

    `count` is the number N of rows, `matrix` the vectors (N, D) in the settings' dtype and
    `probabilities` (N, K) float32, both mapped from their files, read-only.  `groups` (N,)
    uint64, `phashes` (N,) uint64, `predicted` (N,) int32, `labels` (N,) int32 (numbers in
    `label_names`; -1: unknown) and `alive` (N,) bool were read once.  `settings` has the
    dimension that the vectors have now, `commits` counts the index's changes.

    A row that is removed later stays alive here, but its vector turns to zeros and `entries` has
    None for it; `stale` tells when it is time for a new snapshot.  No permission to write is
    needed.  Raises DataError for an index that is damaged or not there, OSError where the system
    refuses.  `wait` is how many seconds to wait for a writer that holds the database.

    >>> import tempfile, numpy as np
    >>> from chainrule.retrieval.creating import create_index
    >>> from chainrule.retrieval.settings import IndexSettings
    >>> from chainrule.retrieval.writing import Writer
    >>> place = tempfile.mkdtemp() + "/index"
    >>> create_index(place, IndexSettings(dimension=2), {})
    >>> with Writer(place) as writer:
    ...     writer.append([Entry("a"), Entry("b", label="cat")], np.eye(2), np.zeros((2, 0)))
    >>> with Snapshot(place) as found:
    ...     found.matrix.tolist(), found.rows_of(["b", "c"]).tolist(), found.entries([1])[0].label
    ([[1.0, 0.0], [0.0, 1.0]], [1, -1], 'cat')
    """

    def __init__(self, folder: str | os.PathLike[str], wait: float = 30.0) -> None:
        self.folder = Path(folder)
        written = read_settings(self.folder)
        self._guard = threading.Lock()
        self._inode = _inode(self.folder)
        self._database, self._copied = open_to_read(self.folder, wait)
        self._finalizer = weakref.finalize(self, self._database.close)
        try:
            self._open_files(written)
        except BaseException:
            self.close()
            raise

    def _open_files(self, written: IndexSettings) -> None:
        for last in (False,) * 20 + (True,):
            self._version = self._seen()
            with self._database.reading():
                state, removed = self._read()
            self.settings = _with_dimension(written, state.dimension)
            layout = state.layout(len(written.classes), written.dtype)
            try:
                self._map(layout, state, removed)
                return
            except FileNotFoundError as error:  # a writer switched to the next generation
                if last or self._copied:
                    raise DataError(
                        f"{error.filename}: missing; the index is not whole, build it anew"
                    ) from error

    def _read(self) -> tuple[State, list[int]]:
        database = self._database
        state = database.state()
        self._codes: list[tuple[int, str]] = database.rows("SELECT code, name FROM labels")
        self._notes: dict[str, str] = dict(database.rows("SELECT name, value FROM notes"))
        return state, [row for (row,) in database.rows("SELECT row FROM removed")]

    def _map(self, layout: Layout, state: State, removed: list[int]) -> None:
        sizes = layout.sizes(state.count, state.thumbnails)
        paths = {kind: self.folder / name for kind, name in layout.names.items()}
        shape = (state.count, layout.dimension)
        matrix = _mapped(paths["vectors"], sizes["vectors"], layout.stored, shape)
        wide = (state.count, layout.classes)
        classes = _mapped(paths["classes"], sizes["classes"], np.dtype("<f4"), wide)
        table = _mapped(paths["rows"], sizes["rows"], RECORD, (state.count,))
        thumbnails = _descriptor(paths["thumbnails"], sizes["thumbnails"])
        weakref.finalize(self, os.close, thumbnails)
        self.matrix, self.probabilities, self._table = matrix, classes, table
        self._thumbnails, self._thumbnail_bytes = thumbnails, state.thumbnails
        self.count, self.generation, self.commits = state.count, state.generation, state.commits
        self._columns(removed)

    def _columns(self, removed: list[int]) -> None:
        table = np.array(self._table)  # a copy: a writer erases removed rows in place
        alive = table["alive"] == 1
        gone = np.array(removed, np.int64)
        expect(
            bool(np.all((gone >= 0) & (gone < self.count))),
            str(self.folder),
            "removed rows of the index",
            error=DataError,
            hint="the database is damaged; run chainrule index verify",
        )
        alive[gone] = False
        self.alive = _fixed(alive)
        self.groups = _fixed(np.where(alive, table["group"], np.uint64(0)))
        self.phashes = _fixed(np.where(alive, table["phash"], np.uint64(0)))
        self.predicted = _fixed(np.where(alive, table["predicted"], np.int32(-1)))
        self._serials = np.where(alive, table["serial"], np.uint64(0))
        names = sorted(self._codes)
        places = {code: place for place, (code, _) in enumerate(names)}
        self.label_names: tuple[str, ...] = tuple(name for _, name in names)
        codes, back = np.unique(np.where(alive, table["label"], -1), return_inverse=True)
        found = np.array([places.get(int(code), -1) for code in codes], np.int32)
        self.labels = _fixed(found[back] if len(codes) else np.zeros(0, np.int32))

    @cached_property
    def _order(self) -> tuple[Array, Array]:
        """The serial numbers in order, and the rows that have them."""
        rows = np.flatnonzero(self.alive)
        serials = self._serials[rows]
        order = np.argsort(serials, kind="stable")
        return serials[order], rows[order]

    def entries(self, rows: Iterable[int]) -> list[Entry | None]:
        """Give what is kept of images, by row; None for one that is removed by now.

        Raises LabelError for a row outside 0..N-1.
        """
        wanted = [int(row) for row in rows]
        for row in wanted:
            rule = f"rows from 0 to {self.count - 1}"
            expect(0 <= row < self.count, "entries", rule, row=row, error=LabelError)
        serials = [int(self._serials[row]) for row in wanted]
        found = {line[0]: line for line in self._lines("serial", serials)}
        pairs = zip(wanted, serials, strict=True)
        return [self._entry(row, found.get(serial)) for row, serial in pairs]

    def _lines(self, column: str, values: Sequence[Any]) -> list[Any]:
        return self._select(f"SELECT {_COLUMNS} FROM images WHERE {column}", values)

    def _select(self, start: str, values: Sequence[Any]) -> list[Any]:
        lines: list[Any] = []
        with self._guard:
            for at in range(0, len(values), _MANY):
                part = values[at : at + _MANY]
                marks = ",".join("?" * len(part))
                lines += self._database.rows(f"{start} IN ({marks})", part)
        return lines

    def _entry(self, row: int, line: Any) -> Entry | None:
        if line is None:
            return None
        record = np.array(self._table[row])
        offset, length = int(record["offset"]), int(record["length"])
        if offset + length > self._thumbnail_bytes:
            raise self._damaged(f"the thumbnail of row {row} lies outside its file")
        thumbnail = read_at(self._thumbnails, length, offset)
        if int(self._table[row]["alive"]) != 1:
            return None  # removed while it was read
        try:
            return _entry(line, record, thumbnail)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._damaged(f"row {row}: {error}") from error

    def rows_of(self, ids: Iterable[str]) -> Array:
        """Give the rows of images by their ids, int64; -1 for an id that is not in the snapshot."""
        wanted = list(ids)
        found = dict(self._select("SELECT id, serial FROM images WHERE id", wanted))
        return self._rows([found.get(one, 0) for one in wanted])

    def rows_of_source(self, source: str) -> Array:
        """Give the rows of all images of one source, in the order of their frames."""
        lines = self._select("SELECT frame, serial FROM images WHERE source", [source])
        rows = self._rows([serial for _, serial in sorted(lines)])
        return rows[rows >= 0]

    def _rows(self, serials: list[int]) -> Array:
        ordered, rows = self._order
        wanted = np.array(serials, np.uint64)
        if not len(rows):
            return np.full(len(wanted), -1, np.int64)
        places = np.minimum(np.searchsorted(ordered, wanted), len(rows) - 1)
        return np.where(ordered[places] == wanted, rows[places], -1).astype(np.int64)

    def note(self, name: str, default: Any = None) -> Any:
        """Give the value that was noted under a name, or the default."""
        if name not in self._notes:
            return default
        try:
            return json.loads(self._notes[name])
        except (TypeError, ValueError, RecursionError) as error:
            raise self._damaged(f"note {name!r}: {error}") from error

    def skipped(self) -> list[tuple[str, str]]:
        """Give the sources (hashed) that were not taken up, each with the reason."""
        with self._guard:
            return self._database.rows("SELECT source, reason FROM skipped ORDER BY source")

    def files(self) -> dict[str, int]:
        """Give the names and sizes of the other files of the index, as the last commit has them."""
        with self._guard:
            return dict(self._database.rows("SELECT name, size FROM files WHERE size >= 0"))

    def whole(self, name: str, content: bytes) -> bool:
        """Say whether bytes are those that were written into another file of the index."""
        with self._guard:
            found = self._database.rows("SELECT size, sum FROM files WHERE name = ?", (name,))
        return found == [(len(content), bytes_sum(content))]

    def stale(self) -> bool:
        """Say whether the index changed since; cheap enough to be asked before each search."""
        if self._inode != _inode(self.folder):
            return True
        if self._copied:
            return not (self.folder / JOURNAL).exists()
        with self._guard:
            return self._seen() != self._version

    def _seen(self) -> int:
        return int(self._database.rows("PRAGMA data_version")[0][0])

    def _damaged(self, reason: str) -> DataError:
        return DataError(f"{self.folder}: damaged ({reason}); run chainrule index verify")

    def close(self) -> None:
        """Let the database go; arrays stay readable, `entries` and its like do not."""
        self._finalizer()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _entry(line: Any, record: Any, thumbnail: bytes) -> Entry:
    _, name, source, frame, label, kind, height, width, path, tags = line
    return Entry(
        id=str(name),
        source=str(source),
        frame=int(frame),
        group=int(record["group"]),
        label=label,
        predicted=int(record["predicted"]),
        phash=int(record["phash"]),
        kind=str(kind),
        size=(int(height), int(width)),
        path=path,
        tags=dict(json.loads(tags)),
        thumbnail=thumbnail,
    )


def _with_dimension(settings: IndexSettings, dimension: int) -> IndexSettings:
    return dataclasses.replace(settings, dimension=dimension)


def _inode(folder: Path) -> int:
    try:
        return os.stat(folder / DATABASE).st_ino
    except OSError:
        return -1


def _fixed(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _mapped(path: Path, size: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """Map the committed part of a file; it is checked to be there, or reading would crash."""
    descriptor = _descriptor(path, size)
    try:
        if not size:
            return _fixed(np.zeros(shape, dtype))
        whole = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)
    return np.frombuffer(whole, dtype).reshape(shape)


def _descriptor(path: Path, size: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    found = os.fstat(descriptor).st_size
    if found < size:
        os.close(descriptor)
        raise DataError(
            f"{path}: cut short, {found:,} bytes where {size:,} were written; "
            "run chainrule index verify, and build the index anew"
        )
    return descriptor
