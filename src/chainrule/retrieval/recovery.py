"""Reading the database of a writer that was killed in a commit, without writing to the index."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from chainrule.retrieval.database import Database, open_database, raw
from chainrule.retrieval.layout import DATABASE, JOURNAL, read_at
from chainrule.retrieval.locks import BusyError, locked

_BLOCK = 1 << 24


def open_to_read(folder: Path, wait: float = 30.0) -> tuple[Database, bool]:
    """Open an index's database to read; say whether it is a copy, recovered from a killed writer.

    A commit that was cut short leaves a journal, with which SQLite restores the database.  A
    reader may not do that in the index's folder (it might be a read-only mount), so it is done on
    a copy in memory.  While another process writes, this waits for up to `wait` seconds.
    """
    end, refused = time.monotonic() + wait, 0
    while True:
        try:
            return open_database(folder / DATABASE, timeout=wait), False
        except OSError:
            # refused where only a writer could help: a journal waits to be rolled back, or did
            refused += not (folder / JOURNAL).exists()
            if refused > 2:
                raise
        try:
            with locked(folder, alone=False):
                if (folder / JOURNAL).exists():
                    return recovered(folder), True
        except BusyError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.02)


def recovered(folder: Path) -> Database:
    """Copy database and journal, restore the copy, and give it in memory.

    The caller holds the index's lock, so that both files are at rest.
    """
    with tempfile.TemporaryDirectory(prefix="chainrule-") as made:
        copy = Path(made) / DATABASE
        with raw(folder / DATABASE) as descriptor, open(copy, "wb") as file:
            size = os.fstat(descriptor).st_size
            for at in range(0, size, _BLOCK):
                file.write(read_at(descriptor, min(_BLOCK, size - at), at))
        if (folder / JOURNAL).exists():
            shutil.copyfile(folder / JOURNAL, Path(made) / JOURNAL)
        database = open_database(copy, write=True)
        try:
            memory = database.copied()
        finally:
            database.close()
    memory.path = folder / DATABASE
    return memory
