"""One writer at a time: a lock on the index's file `lock`, which goes with the process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from chainrule.errors import DataError
from chainrule.retrieval.layout import LOCK

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

_HAS_LOCKS = fcntl is not None


class BusyError(DataError):
    """Another process holds the lock of the index."""


@contextlib.contextmanager
def locked(folder: Path, alone: bool, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of an index, alone to write, or with others to look at files at rest.

    `wait` is how many seconds to wait for others.  Raises BusyError when they are not done by
    then, DataError where the file is missing and on systems without such locks.
    """
    descriptor = acquire(folder, alone, wait)
    try:
        yield
    finally:
        os.close(descriptor)


def acquire(folder: Path, alone: bool, wait: float = 0.0) -> int:
    """Take the lock; closing the descriptor that is given lets it go.  See `locked`."""
    if not _HAS_LOCKS:
        raise DataError(f"{folder}: an index needs file locks, which this system does not have")
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        text = f"{folder}: the index's file {LOCK!r} is missing; make an empty one of that name"
        raise DataError(text) from error
    try:
        _take(descriptor, folder, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, wait)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _take(descriptor: int, folder: Path, how: int, wait: float) -> None:
    end = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise BusyError(
                    f"{folder}: another process writes to this index or verifies it; "
                    "try again when it is done"
                ) from error
        time.sleep(min(0.05, max(0.0, end - time.monotonic())))
