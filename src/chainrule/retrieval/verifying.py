"""Whether every byte of an index is as it was written; nothing is changed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.retrieval.creating import is_plain
from chainrule.retrieval.database import Database, State, open_database, raw
from chainrule.retrieval.layout import (
    DATA,
    DATABASE,
    JOURNAL,
    KEY,
    LOCK,
    SEAL,
    Layout,
    fields_of_line,
    lines_of,
    row_sum,
)
from chainrule.retrieval.locks import locked
from chainrule.retrieval.recovery import recovered
from chainrule.retrieval.rowfiles import Block
from chainrule.retrieval.seals import BLOCK, Seal, block_sum, file_sum, read_seal
from chainrule.retrieval.settings import read_settings

Progress = Callable[[str, float], None]
"""Called with what is looked at, and how much of it is done, from 0 to 1."""

Level = Literal["note", "unsealed", "damaged"]

_SHOWN = 10
_REBUILD = "restore the file from a copy, or build the index anew"
_NEXT = "any writer sets it right: chainrule index add, or remove"


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be: the file, what it is, how bad, what to do.

    `level` is "note" (harmless), "unsealed" (a writer was killed: what was committed is whole
    as far as its own sums tell) or "damaged".
    """

    file: str
    what: str
    level: Level
    todo: str

    @property
    def usable(self) -> bool:
        """Whether the index can be searched and written all the same."""
        return self.level != "damaged"


def verify(
    folder: str | os.PathLike[str], progress: Progress | None = None, wait: float = 0.0
) -> list[Problem]:
    """Look at every byte of an index; an empty list says that all are as they were written.

    An index that was sealed is compared with its seal, file by file, and each row with its sum.
    One whose writer was killed is "unsealed": its rows, its state and its tables are checked.
    Waits up to `wait` seconds for a writer; DataError if it is still at work then, or if there is
    no index.  Takes memory for one block, not for the index.

    >>> import tempfile
    >>> from chainrule.retrieval.creating import create_index
    >>> from chainrule.retrieval.settings import IndexSettings
    >>> place = tempfile.mkdtemp() + "/index"
    >>> create_index(place, IndexSettings(dimension=2), {})
    >>> verify(place)
    []
    """
    place = Path(folder)
    if not any((place / name).exists() for name in (DATABASE, SEAL)):
        read_settings(place)  # says that there is no index
    with contextlib.ExitStack() as stack:
        if (place / LOCK).exists():
            stack.enter_context(locked(place, alone=False, wait=wait))
        return list(_Check(place, progress or (lambda name, done: None)).problems())


class _Check:
    """One look at an index."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._seal: Seal | None = None
        self._database: Database | None = None
        self._state: State | None = None
        self._layout: Layout | None = None
        self._files: dict[str, tuple[int, str]] = {}
        self._journal = (folder / JOURNAL).exists()

    def problems(self) -> Iterator[Problem]:
        """Give what is wrong, the important first."""
        try:
            yield from self._look_at_seal()
            yield from self._look_at_database()
            yield from self._look_at_files()
            yield from self._look_at_data()
            if self._database is not None and self._layout is not None:
                yield from self._look_at_rows(self._database, self._layout)
            yield from self._look_around()
        finally:
            if self._database is not None:
                self._database.close()

    @property
    def _sealed(self) -> bool:
        """Whether the seal is of the last commit."""
        if self._seal is None or self._state is None or self._journal:
            return False
        return self._seal.commits == self._state.commits

    def _look_at_seal(self) -> Iterator[Problem]:
        try:
            self._seal = read_seal(self._folder)
        except (ChainruleError, OSError) as error:
            todo = "if nothing else is found, any writer makes a new one"
            yield Problem(SEAL, str(error), "damaged", todo)

    def _look_at_database(self) -> Iterator[Problem]:
        path = self._folder / DATABASE
        try:
            opened = recovered(self._folder) if self._journal else open_database(path)
            self._database = opened
            with opened.reading():
                self._state = opened.state()
                found = opened.rows("SELECT name, size, sum FROM files WHERE size >= 0")
                self._files = {str(name): (size, total) for name, size, total in found}
                faults = opened.rows("PRAGMA integrity_check(3)")
        except (ChainruleError, OSError) as error:
            self._state = None
            yield Problem(DATABASE, str(error), "damaged", _REBUILD)
            return
        if faults != [("ok",)]:
            yield Problem(DATABASE, f"SQLite finds: {faults[0][0]}", "damaged", _REBUILD)
        if self._sealed and self._seal is not None:
            with raw(path) as descriptor:
                same = file_sum(descriptor) == self._seal.files.get(DATABASE)
            if not same:
                yield Problem(DATABASE, "its bytes are not those sealed", "damaged", _REBUILD)
        elif self._seal is not None:
            what = "a writer was killed after the last seal; what was committed is checked by rows"
            yield Problem(SEAL, what, "unsealed", _NEXT)

    def _look_at_files(self) -> Iterator[Problem]:
        """Compare the files that are none of the rows with their sums."""
        expected = dict(self._files)
        if self._state is None and self._seal is not None:
            expected = {k: v for k, v in self._seal.files.items() if k != DATABASE}
        for name, (size, total) in sorted(expected.items()):
            self._progress(name, 0.0)
            if not is_plain(name):
                yield Problem(DATABASE, f"a file of the name {name!r}", "damaged", _REBUILD)
                continue
            try:
                with open(self._folder / name, "rb") as file:
                    found = file_sum(file.fileno())
            except OSError as error:
                if name == KEY and isinstance(error, FileNotFoundError):
                    what = "not here: own patients are not left out, and nothing can be added"
                    yield Problem(name, what, "note", "put it back, or leave it so")
                    continue
                yield Problem(name, f"cannot be read: {error.strerror}", "damaged", _REBUILD)
                continue
            if found != (size, total):
                what = f"its {found[0]:,} bytes are not the {size:,} that were written"
                if found[0] == size:
                    what = f"changed bytes among its {size:,}"
                yield Problem(name, what, "damaged", _REBUILD)
        try:
            settings = read_settings(self._folder)
            if self._state is not None:
                self._layout = self._state.layout(len(settings.classes), settings.dtype)
        except (ChainruleError, OSError) as error:
            yield Problem("index.json", str(error), "damaged", _REBUILD)

    def _look_at_data(self) -> Iterator[Problem]:
        """Compare the files of the rows with the seal, block by block, and their sizes."""
        if self._seal is not None and (self._sealed or self._state is None):
            for name, sums in sorted(self._seal.data.items()):
                yield from self._blocks(name, sums.size, sums.blocks)
        if self._layout is None or self._state is None:
            return
        sizes = self._layout.sizes(self._state.count, self._state.thumbnails)
        for kind, name in self._layout.names.items():
            try:
                found = (self._folder / name).stat().st_size
            except OSError as error:
                yield Problem(name, f"cannot be read: {error.strerror}", "damaged", _REBUILD)
                self._layout = None
                return
            if found < sizes[kind]:
                what = f"cut short: {found:,} bytes of {sizes[kind]:,}"
                yield Problem(name, what, "damaged", _REBUILD)
            if found > sizes[kind]:
                what = f"{found - sizes[kind]:,} bytes of a batch that was not committed"
                yield Problem(name, what, "unsealed", _NEXT)

    def _blocks(self, name: str, size: int, blocks: list[str]) -> Iterator[Problem]:
        wrong = []
        try:
            with open(self._folder / name, "rb") as file:
                for index, total in enumerate(blocks):
                    self._progress(name, index / len(blocks))
                    if block_sum(file.fileno(), index, size) != total:
                        wrong.append(index * BLOCK)
        except OSError as error:
            yield Problem(name, f"cannot be read: {error.strerror}", "damaged", _REBUILD)
            return
        if wrong:
            places = ", ".join(f"{begin:,}" for begin in wrong[:_SHOWN])
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            what = f"changed bytes in the MiB from {places}{more}"
            yield Problem(name, what, "damaged", _REBUILD)

    def _look_at_rows(self, database: Database, layout: Layout) -> Iterator[Problem]:
        """Sum each row anew, and see that each has one place."""
        state = database.state()
        try:
            with database.reading(), _opened(self._folder, layout) as files:
                places, wrong = np.zeros(state.count, np.int64), []
                for (row,) in database.rows("SELECT row FROM removed"):
                    places[row] += 1
                for begin, end, lines in lines_of(database, state.count):
                    self._progress("rows", begin / state.count)
                    block = Block(files, layout, begin, end)
                    for line in lines:
                        places[line[0]] += 1
                        if row_sum(fields_of_line(line), *block.parts(line[0])) != line[-1]:
                            wrong.append(line)
                stored = database.rows("SELECT COUNT(*) FROM images")[0][0]
        except (ChainruleError, OSError, ValueError, TypeError, IndexError) as error:
            yield Problem(DATABASE, f"rows that cannot be read: {error}", "damaged", _REBUILD)
            return
        lost = np.flatnonzero(places != 1)
        if len(lost) or stored > state.count:
            what = f"{len(lost)} rows are there not once, and {stored} images of {state.count} rows"
            yield Problem(DATABASE, what, "damaged", _REBUILD)
        for line in wrong[:_SHOWN]:
            more = f"; {len(wrong)} such rows" if len(wrong) > 1 else ""
            what = f"row {line[0]} (id {line[2]}) is not what was written{more}"
            yield Problem(layout.names["rows"], what, "damaged", "remove the image and add it anew")

    def _look_around(self) -> Iterator[Problem]:
        """Name what does not belong to the index, and who else can read the key."""
        known = {*self._files, DATABASE, SEAL, LOCK, JOURNAL, KEY}
        known |= set(self._seal.files) if self._seal is not None else set()
        used = set(self._layout.names.values()) if self._layout is not None else set()
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if path.is_dir() or name in known | used:
                continue
            if name.endswith(".tmp") or DATA.fullmatch(name):
                if self._layout is not None:
                    yield Problem(name, "left by a writer that was killed", "unsealed", _NEXT)
            else:
                yield Problem(name, "not a file of the index", "note", "remove it")
        yield from self._look_at_modes()

    def _look_at_modes(self) -> Iterator[Problem]:
        lock, key = self._folder / LOCK, self._folder / KEY
        if not lock.exists():
            yield Problem(LOCK, "missing", "damaged", "make an empty file of that name")
        elif lock.stat().st_size:
            yield Problem(LOCK, "holds bytes, and should be empty", "damaged", "empty it")
        if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
            yield Problem(KEY, "others than its owner may read it", "note", f"chmod 600 {KEY}")


@contextlib.contextmanager
def _opened(folder: Path, layout: Layout) -> Iterator[dict[str, int]]:
    """Open the files of the rows to be read, by kind."""
    files: dict[str, int] = {}
    try:
        for kind, name in layout.names.items():
            files[kind] = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        yield files
    finally:
        for descriptor in files.values():
            os.close(descriptor)
