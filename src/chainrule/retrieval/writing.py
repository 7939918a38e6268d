"""The one writer of an index: every change is a commit that is whole or not there."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from chainrule.errors import DataError, expect
from chainrule.formats.atomic import SUFFIX, neighbour, sync_folder
from chainrule.retrieval.batches import Batch
from chainrule.retrieval.creating import check_name, seal_files
from chainrule.retrieval.database import Database, database_path, open_database, raw
from chainrule.retrieval.generations import Transform, drop_other_generations, next_generation
from chainrule.retrieval.layout import (
    DATABASE,
    JOURNAL,
    LINE,
    SEAL,
    Entry,
    Layout,
    fields_of_line,
    row_sum,
)
from chainrule.retrieval.locks import acquire
from chainrule.retrieval.rowfiles import RowFiles
from chainrule.retrieval.seals import Seal, file_sum, read_seal
from chainrule.retrieval.settings import read_settings

_MANY = 500  # values in one statement
_SEAL_EVERY = 5.0  # seconds, at least
_SEAL_SHARE = 20  # times what a seal takes, at least: so sealing is a twentieth of the work


class Writer:
    """Changes an index, alone: a second writer is refused, readers go on.

    As a context manager it takes the lock (waiting up to `wait` seconds), finishes or drops what
    a killed writer left, and at the end seals the index.  Each method is one commit, on the disk
    when the method returns; if it fails, the index is as it was.  One thread at a time.  Raises
    DataError where another process writes, or the index is damaged, and OSError, with the file's
    name, where the disk is full or cannot be written.  See `Snapshot` for an example.
    """

    def __init__(self, folder: str | os.PathLike[str], wait: float = 0.0) -> None:
        self.folder, self._wait = Path(folder), wait
        self._lock = -1
        self._database: Database | None = None
        self._files: RowFiles | None = None
        self._skipped: dict[str, str] = {}
        self._sealed, self._seal_at, self._seal_took = -1, time.monotonic(), 0.0

    def __enter__(self) -> Writer:
        self.settings = read_settings(self.folder)
        if not os.access(self.folder, os.W_OK):
            text = "cannot be written; an index on a read-only disk can only be searched"
            raise OSError(errno.EROFS, text, str(self.folder))
        self._lock = acquire(self.folder, alone=True, wait=self._wait)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            # after a failure of the work the commits before it are sealed, if that is possible
            with contextlib.suppress(*((OSError, DataError) if error else ())):
                self.seal()
        finally:
            self._stop()

    def _start(self) -> None:
        self._before_rollback()
        self._database = open_database(database_path(self.folder), write=True)
        self._state = self._database.state()
        self._files = RowFiles(self.folder, self._layout())
        self._adopt_seal()
        drop_other_generations(self.folder, self._files.layout)
        for left in self.folder.rglob(f".*{SUFFIX}"):
            left.unlink(missing_ok=True)
        self._files.cut(self._sizes())
        self._finish_removal()

    def _before_rollback(self) -> None:
        """Break the seal where SQLite is about to roll a commit back.

        That restores what counts, but not each byte that does not (of pages out of use).
        """
        if (self.folder / JOURNAL).exists():
            with contextlib.suppress(DataError):
                seal = read_seal(self.folder)
                Seal(-1, seal.data, seal.files).write(self.folder)

    def _adopt_seal(self) -> None:
        """Take over the sums of a seal that is of this commit; refuse a database that it is not."""
        try:
            seal = read_seal(self.folder)
        except DataError:
            return  # `verify` tells; each row has a sum of its own
        if seal.commits != self._state.commits:
            return
        with raw(self._db.path) as descriptor:
            found = file_sum(descriptor)
        if found != seal.files.get(DATABASE):
            raise DataError(
                f"{self._db.path}: changed since it was sealed, by no writer of ours; "
                "run chainrule index verify, and build the index anew"
            )
        self._rows.adopt(seal.data)
        self._sealed = seal.commits

    @property
    def _db(self) -> Database:
        if self._database is None:
            raise DataError(f"{self.folder}: the writer is not open; use it as: with Writer(...)")
        return self._database

    @property
    def _rows(self) -> RowFiles:
        if self._files is None:
            raise DataError(f"{self.folder}: the writer is not open; use it as: with Writer(...)")
        return self._files

    def _layout(self) -> Layout:
        return self._state.layout(len(self.settings.classes), self.settings.dtype)

    def _sizes(self) -> dict[str, int]:
        return self._rows.layout.sizes(self._state.count, self._state.thumbnails)

    def _stop(self) -> None:
        for part in (self._database, self._files):
            if part is not None:
                part.close()
        self._database = self._files = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def count(self) -> int:
        """The number of rows, removed ones too."""
        return self._state.count

    @property
    def dimension(self) -> int:
        """The length of a vector now."""
        return self._state.dimension

    def known(self, ids: Iterable[str]) -> set[str]:
        """Say which of these ids are in the index."""
        return {line[2] for line in self._found(ids)}

    def _found(self, ids: Iterable[str]) -> list[Any]:
        wanted: list[str] = list(dict.fromkeys(ids))
        found: list[Any] = []
        for at in range(0, len(wanted), _MANY):
            part = wanted[at : at + _MANY]
            marks = ",".join("?" * len(part))
            found += self._db.rows(f"{LINE} WHERE id IN ({marks})", part)
        return found

    def append(self, entries: Sequence[Entry], vectors: Any, probabilities: Any) -> None:
        """Add images: entries, vectors (n, D), probabilities (n, K); all of them or none.

        Raises DataError for other shapes, values that are not finite, an id that is there twice,
        and for paths, tags or thumbnails that the settings do not keep.
        """
        batch = Batch(entries, vectors, probabilities, self.settings, self._rows.layout)
        there = self.known(entry.id for entry in batch.entries)
        rule = "ids that are not in the index yet"
        expect(not there, "append", rule, ids=sorted(there)[:3], error=DataError)
        if not batch.entries:
            return
        try:
            batch.place(self._db, self._state)
            batch.write(self._rows)
            self._rows.sync()
            with self._db.writing():
                after = batch.record(self._db)
                self._flush_skipped()
            self._state = after
        except BaseException:
            self._after_failure()
            raise
        self._skipped.clear()
        self._seal_if_due()

    def _after_failure(self) -> None:
        """See what was committed, and drop the rest."""
        with contextlib.suppress(OSError, DataError):
            self._state = self._db.state()
            self._rows.cut(self._sizes())

    @contextlib.contextmanager
    def _commit(self, **changes: int) -> Iterator[None]:
        """Make the statements of a block one commit."""
        try:
            with self._db.writing():
                yield
                commits = self._state.commits + 1
                after = dataclasses.replace(self._state, commits=commits, **changes)
                self._db.put_state(after)
            self._state = after
        except BaseException:
            with contextlib.suppress(OSError, DataError):
                self._state = self._db.state()
            raise

    def _change(self, *statements: tuple[str, Sequence[Any]]) -> None:
        with self._commit():
            for sql, values in statements:
                self._db.rows(sql, values)

    def remove(self, ids: Iterable[str]) -> int:
        """Remove images by their ids for good; give how many were there.

        They are gone from all answers with the first commit.  Then their vectors, probabilities
        and thumbnails are overwritten, the database is written anew without them, and files that
        were made of the rows (`put_file`) are dropped.  When over a quarter of the rows is dead,
        the living ones move into new files.  What a file system or a disk keeps of old blocks is
        beyond this.
        """
        found = self._found(ids)
        if not found:
            return 0
        with self._commit(due=1):
            self._db.many("INSERT INTO removed VALUES (?, ?, ?)", map(self._place, found))
            self._db.many("DELETE FROM images WHERE serial = ?", [(line[1],) for line in found])
            used = "SELECT label FROM images WHERE label IS NOT NULL"
            self._db.rows(f"DELETE FROM labels WHERE code NOT IN ({used})")
            self._db.rows("UPDATE files SET size = -1 WHERE derived")
        self._finish_removal()
        self._compact_if_due()
        self.seal()
        return len(found)

    def _place(self, line: Any) -> tuple[int, int, int]:
        """Say where the thumbnail of a row lies; at -1 where a damaged record cannot tell."""
        block = self._rows.block(line[0], line[0] + 1)
        sound = row_sum(fields_of_line(line), *block.parts(line[0])) == line[-1]
        return (line[0], *(block.thumbnail(line[0]) if sound else (-1, 0)))

    def _finish_removal(self) -> None:
        """Erase what removed rows and dropped files left; a killed writer may have begun it."""
        pending = self._db.rows("SELECT * FROM removed WHERE offset IS NOT NULL")
        for row, offset, length in pending:
            self._rows.erase(row, offset, length)
        dropped = [name for (name,) in self._db.rows("SELECT name FROM files WHERE size < 0")]
        for name in dropped:
            check_name(name)  # a damaged database must not remove files elsewhere
            (self.folder / name).unlink(missing_ok=True)
        if any(offset < 0 for _, offset, _ in pending):
            self._next(None, self._state.dimension)  # the thumbnail goes with the old files
        if pending or dropped:
            self._rows.sync()
            sync_folder(self.folder)
            self._change(
                ("UPDATE removed SET offset = NULL, length = NULL", ()),
                ("DELETE FROM files WHERE size < 0", ()),
            )
        if self._state.due:
            self._db.rows("VACUUM")
            with self._commit(due=0):
                pass

    def _compact_if_due(self) -> None:
        dead = self._db.rows("SELECT COUNT(*) FROM removed")[0][0]
        if dead * 4 > self._state.count:
            self._next(None, self._state.dimension)

    def rewrite(
        self, transform: Transform, dimension: int, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Replace all vectors by what `transform` makes of them, with `notes`, in one commit.

        It gets blocks (n, D) float32 and gives (n, `dimension`).  Dead rows are left out, the
        settings that a reader sees have the new dimension, and files that were made of the rows
        (`put_file`) are dropped.  Raises DataError for other shapes or values that are not finite.
        """
        rule = "a dimension of 1 or more"
        expect(1 <= dimension <= 1 << 20, "rewrite", rule, dimension=dimension, error=DataError)
        self._change(("UPDATE files SET size = -1 WHERE derived", ()))
        self._finish_removal()
        texts = [(name, _as_json(name, value)) for name, value in (notes or {}).items()]
        self._next(transform, dimension, texts)
        self.seal()

    def _next(
        self,
        transform: Transform | None,
        dimension: int,
        notes: Sequence[tuple[str, str]] = (),
    ) -> None:
        files = self._rows
        try:
            self._state, self._files = next_generation(
                self._db, files, self._state, dimension, transform, notes
            )
        except BaseException:
            with contextlib.suppress(OSError, DataError):
                self._state = self._db.state()
                if self._state.generation != files.layout.generation:  # it was switched after all
                    files.close()
                    self._files = RowFiles(self.folder, self._layout())
            raise

    def note(self, name: str, value: Any) -> None:
        """Keep a value that JSON can hold under a name; it takes the place of an older one."""
        text = _as_json(name, value)
        self._change(("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text)))

    def skip(self, source: str, reason: str) -> None:
        """Remember that a source (hashed) was not taken up; kept with the next commit or seal."""
        self._skipped[source] = reason

    def _flush_skipped(self) -> None:
        self._db.many("INSERT OR REPLACE INTO skipped VALUES (?, ?)", self._skipped.items())

    def put_file(self, name: str, content: bytes | os.PathLike[str]) -> None:
        """Add or replace a file that was made of the rows, from bytes or from another file.

        It appears whole, and is sealed.  It goes when images are removed and when vectors are
        rewritten, since it may hold what they were.  Raises DataError for a name of the index's
        own, or of a file that was given when it was made.
        """
        check_name(name)
        rows = self._db.rows("SELECT derived FROM files WHERE name = ?", (name,))
        rule = "a name that no file of the index's making has"
        expect(not rows or bool(rows[0][0]), "put_file", rule, name=name, error=DataError)
        target = self.folder / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        put = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, 1)"
        with neighbour(target) as temporary:
            size, total = _copied(content, temporary)
            # between these two commits the file is neither: a killed writer's is dropped
            self._change((put, (name, -1, "")))
            os.replace(temporary, target)
            sync_folder(target.parent)
            self._change((put, (name, size, total)))
        self.seal()

    def drop_file(self, name: str) -> None:
        """Remove a file that was put; nothing happens if there is none."""
        self._change(("UPDATE files SET size = -1 WHERE derived AND name = ?", (name,)))
        self._finish_removal()
        self.seal()

    def seal(self) -> None:
        """Sum all files, so that `verify` finds any byte that changes from now on."""
        begin = time.monotonic()
        if self._skipped:
            with self._commit():
                self._flush_skipped()
            self._skipped.clear()
        if self._sealed != self._state.commits or not (self.folder / SEAL).exists():
            seal_files(self.folder, self._db, self._rows.summed(self._sizes()))
            self._sealed = self._state.commits
        self._seal_at = time.monotonic()
        self._seal_took = self._seal_at - begin

    def _seal_if_due(self) -> None:
        pause = max(_SEAL_EVERY, _SEAL_SHARE * self._seal_took)
        if time.monotonic() - self._seal_at >= pause:
            self.seal()


def _as_json(name: str, value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"note {name!r}: expected a value that JSON can hold; {error}") from error


def _copied(content: bytes | os.PathLike[str], path: Path) -> tuple[int, str]:
    """Write a file that is on the disk when this returns; give its size and sum."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w+b") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with open(content, "rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
        return file_sum(file.fileno())
