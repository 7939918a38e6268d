"""A file in the making: kept beside its place, locked, summed as it grows, put there when right."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chainrule.formats.atomic import neighbour, sync_folder

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

_LOCKS = fcntl is not None

SUFFIX = ".part"
"""What is added to a file's name while it is being made."""

_CHUNK = 1 << 20


def md5_of(path: str | os.PathLike[str]) -> str:
    """Give the MD5 of a file.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "empty"
    >>> path.touch()
    >>> md5_of(path)
    'd41d8cd98f00b204e9800998ecf8427e'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class Partial:
    """The beginning of a file: its bytes are on the disk, its length and MD5 are known.

    `joined` says that they are not all of one piece: some were there before.
    """

    def __init__(self, target: Path, path: Path, file: BinaryIO, kept: bool) -> None:
        self.target, self.path, self._file, self._kept = target, path, file, kept
        self._digest = hashlib.md5(usedforsecurity=False)
        self.length = 0
        file.seek(0)
        while chunk := file.read(_CHUNK):
            self._digest.update(chunk)
            self.length += len(chunk)
        self.joined = self.length > 0

    @property
    def md5(self) -> str:
        """The MD5 of what is there."""
        return self._digest.hexdigest()

    def reset(self) -> None:
        """Begin anew with nothing."""
        self._file.truncate(0)
        self._file.seek(0)
        self._digest = hashlib.md5(usedforsecurity=False)
        self.length, self.joined = 0, False

    def write(self, chunk: bytes) -> None:
        """Add bytes at the end; where the disk refuses them nothing is kept, OSError goes on."""
        view = memoryview(chunk)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.reset()  # a full disk gets its room back
            reason = error.strerror or str(error)
            raise OSError(error.errno, reason, str(self.target)) from error
        self._digest.update(chunk)
        self.length += len(chunk)

    def start(self) -> str:
        """Give the first bytes as text, for a message."""
        self._file.seek(0)
        text = self._file.read(64).decode("latin-1")
        self._file.seek(0, os.SEEK_END)
        return text

    def finish(self) -> None:
        """Force the bytes to the disk and give them their name in one step."""
        os.fsync(self._file.fileno())
        if not self._kept:
            self._file.close()  # Windows renames no open file; there is no lock to be held
        os.replace(self.path, self.target)
        sync_folder(self.target.parent)


@contextlib.contextmanager
def partial(target: Path) -> Iterator[Partial]:
    """Give the part of a file to one process at a time; another waits until it is done.

    What is there when the block ends stays for the next time, but for an empty file, which is
    removed.  The lock goes with the process, however that ends.  Where the system or the folder
    has no locks, each process makes a part of its own, which is not kept.

    >>> import tempfile, pathlib
    >>> place = pathlib.Path(tempfile.mkdtemp()) / "file"
    >>> with partial(place) as part:
    ...     part.write(b"half")
    >>> with partial(place) as part:
    ...     part.length, part.joined
    (4, True)
    """
    path = target.with_name(target.name + SUFFIX)
    file = _locked(path)
    if file is None:
        with neighbour(target) as temporary, open(temporary, "x+b", buffering=0) as own:
            yield Partial(target, temporary, own, kept=False)
        return
    with file:
        try:
            yield Partial(target, path, file, kept=True)
        finally:
            if _same(path, file) and not os.fstat(file.fileno()).st_size:
                path.unlink()


def _locked(path: Path) -> BinaryIO | None:
    """Open a file with the lock on it, as soon as it is free; None where there are no locks."""
    while _LOCKS:
        file = open(path, "a+b", buffering=0)  # noqa: SIM115 - the caller closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network drives have none
            if _same(path, file) and not os.fstat(file.fileno()).st_size:
                path.unlink()
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        if _same(path, file):
            return file
        file.close()  # whoever had it gave it its name, or removed it
    return None


def _same(path: Path, file: BinaryIO) -> bool:
    """Say whether an open file still has its name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False
