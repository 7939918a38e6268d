"""The authority of an index, `index.db`: its tables, its one row of state, and how it is opened."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.errors import DataError
from chainrule.retrieval.layout import DATABASE, Layout

APPLICATION = 0x63725249
"""What SQLite's header says of whose database it is."""

SCHEMA = (
    "CREATE TABLE state (one INTEGER PRIMARY KEY, generation INTEGER, count INTEGER, "
    "dimension INTEGER, thumbnails INTEGER, serial INTEGER, commits INTEGER, due INTEGER, "
    "sum BLOB)",
    "CREATE TABLE images (serial INTEGER PRIMARY KEY, row INTEGER UNIQUE, id TEXT UNIQUE, "
    "source TEXT, frame INTEGER, label INTEGER, kind TEXT, height INTEGER, width INTEGER, "
    "path TEXT, tags TEXT, sum BLOB)",
    "CREATE INDEX by_source ON images (source)",
    "CREATE TABLE labels (code INTEGER PRIMARY KEY, name TEXT UNIQUE)",
    "CREATE TABLE removed (row INTEGER PRIMARY KEY, offset INTEGER, length INTEGER)",
    "CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE skipped (source TEXT PRIMARY KEY, reason TEXT)",
    "CREATE TABLE files (name TEXT PRIMARY KEY, size INTEGER, sum TEXT, derived INTEGER)",
)

_ERRNO = {8: errno.EROFS, 10: errno.EIO, 13: errno.ENOSPC, 14: errno.EACCES}
_WORDS = {8: "cannot be written", 10: "the disk failed", 13: "the disk is full", 14: "unreadable"}


@dataclass(frozen=True)
class State:
    """The one row that says what counts: how many rows, in which files, and after how many commits.

    `serial` is the next number to be given, `due` whether the database is to be written anew,
    so that its unused bytes hold nothing of what was removed.
    """

    generation: int
    count: int
    dimension: int
    thumbnails: int
    serial: int
    commits: int
    due: int

    def sum(self) -> bytes:
        """Sum the row, so that no damage of it is taken for another state."""
        return hashlib.blake2b(repr(dataclasses.astuple(self)).encode(), digest_size=16).digest()

    def layout(self, classes: int, dtype: str) -> Layout:
        """Say where the rows lie."""
        return Layout(self.generation, self.dimension, classes, dtype)


_FIELDS = tuple(item.name for item in dataclasses.fields(State))


class Database:
    """A connection to `index.db`, which raises errors in words.

    Errors: DataError for a database that is damaged, not ours or in use for too long; OSError,
    with the file's name, where the disk is full, fails or refuses.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection = path, connection
        self._open = True
        _count(1)

    def rows(self, sql: str, values: Any = ()) -> list[Any]:
        """Run one statement and give its rows."""
        if not self._open:
            raise DataError(f"{self.path}: closed already; open the index anew")
        with translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def many(self, sql: str, values: Any) -> None:
        """Run one statement for each row of values."""
        with translated(self.path):
            self._connection.executemany(sql, values)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Let all statements of a block see one commit."""
        self.rows("BEGIN")
        try:
            yield
        finally:
            self._end("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Make all statements of a block one commit, which is on the disk at the end, or none."""
        self.rows("BEGIN IMMEDIATE")
        try:
            yield
            with translated(self.path):
                commit(self._connection)
        except BaseException:
            self._end("ROLLBACK")
            raise

    def _end(self, sql: str) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute(sql)

    def state(self) -> State:
        """Read the state; DataError if it is damaged."""
        found = self.rows(f"SELECT {', '.join(_FIELDS)}, sum FROM state")
        if len(found) == 1:
            *numbers, total = found[0]
            if all(type(n) is int and n >= 0 for n in numbers):
                state = State(*numbers)
                if state.sum() == total:
                    return state
        raise _damaged(self.path, "its row of state is not whole")

    def put_state(self, state: State) -> None:
        """Write the state, as a part of the running commit."""
        names = ", ".join(_FIELDS)
        sql = f"INSERT OR REPLACE INTO state (one, {names}, sum) VALUES (1,?,?,?,?,?,?,?,?)"
        self.rows(sql, (*dataclasses.astuple(state), state.sum()))

    def close(self) -> None:
        """Let the file go."""
        if self._open:
            self._open = False
            self._connection.close()
            _count(-1)

    def copied(self) -> Database:
        """Copy the database into memory."""
        memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        with translated(self.path):
            self._connection.backup(memory)
        return Database(self.path, memory)


def commit(connection: sqlite3.Connection) -> None:
    """End a transaction: SQLite returns when it is on the disk."""
    connection.execute("COMMIT")


def create(path: Path) -> Database:
    """Make an empty database with our tables."""
    database = _connect(path, "rwc", 0.0)
    _settle(database)
    database.rows(f"PRAGMA application_id = {APPLICATION}")
    with database.writing():
        for statement in SCHEMA:
            database.rows(statement)
    return database


def open_database(path: Path, write: bool = False, timeout: float = 30.0) -> Database:
    """Open a database of ours, to read or to write; its tables are compared with those expected.

    Nothing in it can run: a trigger, a view or another table is refused.
    """
    if not path.is_file():
        raise DataError(f"{path}: missing; the index is not whole, build it anew")
    database = _connect(path, "rw" if write else "ro", timeout)
    try:
        if write:
            _settle(database)
        check_schema(database)
    except BaseException:
        database.close()
        raise
    return database


def _connect(path: Path, mode: str, timeout: float) -> Database:
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode={mode}"
    with translated(path):
        connection = sqlite3.connect(
            address, timeout, uri=True, isolation_level=None, check_same_thread=False
        )
    database = Database(path, connection)
    database.rows("PRAGMA trusted_schema = OFF")
    database.rows("PRAGMA cell_size_check = ON")
    return database


def _settle(database: Database) -> None:
    """Set what a writer needs: commits that outlive a power cut, no trace of what was removed."""
    # EXTRA: the journal's removal is forced to the disk too, or a commit might come undone
    for setting in (
        "journal_mode = DELETE",
        "synchronous = EXTRA",
        "secure_delete = ON",
        "temp_store = MEMORY",  # nothing of an index outside its folder
        "cache_spill = OFF",  # a long commit must not shut readers out before its end
    ):
        database.rows(f"PRAGMA {setting}")


def check_schema(database: Database) -> None:
    """Compare whose database it is, and every table and index, with what is expected."""
    found = database.rows("SELECT type, name, tbl_name, sql FROM sqlite_master")
    application = database.rows("PRAGMA application_id")[0][0]
    if application != APPLICATION or sorted(map(repr, found)) != _expected():
        raise _damaged(database.path, "it has not the tables of an index")


def _expected() -> list[str]:
    memory = sqlite3.connect(":memory:")
    try:
        for statement in SCHEMA:
            memory.execute(statement)
        found = memory.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    finally:
        memory.close()
    return sorted(map(repr, found))


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: not a whole database of an index ({reason}); build the index anew")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours; see `Database`."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError) as error:
        code = getattr(error, "sqlite_errorcode", 11) & 0xFF
        if code in _ERRNO:
            raise OSError(_ERRNO[code], f"{_WORDS[code]} ({error})", str(path)) from error
        if code in (5, 6):
            text = f"{path}: another process holds the database for too long; try again later"
            raise DataError(text) from error
        reason = str(error).partition(" with text ")[0]  # SQLite would quote what was kept
        raise _damaged(path, reason) from error


# A process that closes any descriptor of a database loses the locks that SQLite holds on it in
# other threads (POSIX says so).  So a descriptor of our own stays open while a connection is.
_GUARD = threading.Lock()
_connections = 0
_kept: dict[tuple[int, int], list[int]] = {}


def _count(change: int) -> None:
    global _connections
    with _GUARD:
        _connections += change
        if not _connections:
            for descriptor in (one for many in _kept.values() for one in many):
                os.close(descriptor)
            _kept.clear()


@contextlib.contextmanager
def raw(path: Path) -> Iterator[int]:
    """Open the database's file to read its bytes, without harm to SQLite's locks."""
    with _GUARD:
        found = os.stat(path)
        key = (found.st_dev, found.st_ino)
        waiting = _kept.get(key)
        flags = os.O_RDONLY | os.O_CLOEXEC
        descriptor = waiting.pop() if waiting else os.open(path, flags)
    try:
        yield descriptor
    finally:
        with _GUARD:
            if _connections:
                _kept.setdefault(key, []).append(descriptor)
            else:
                os.close(descriptor)


def database_path(folder: Path) -> Path:
    """Give the place of the database in an index's folder."""
    return folder / DATABASE
