"""Files that appear whole or not at all: a temporary neighbour, fsync, then a rename."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".tmp"
"""How the temporary neighbours end; they begin with a dot and the final name."""


def write_atomic(path: str | os.PathLike[str], data: bytes | bytearray | str) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part.

    The data goes to a temporary file in the same folder, is forced to the disk, and takes the
    final name in one step.  Text is written as UTF-8.  A symbolic link keeps pointing where it
    did; its target is what changes.  If anything fails (a full disk, an interruption), the
    temporary file is removed, an older file of that name is as it was, and the error goes on;
    an OSError then carries the name of the file that was wanted.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> write_atomic(folder / "note.txt", "done")
    >>> (folder / "note.txt").read_text(), len(list(folder.iterdir()))
    ('done', 1)
    """
    content = data.encode() if isinstance(data, str) else data
    with replaced(path) as file:
        file.write(content)


@contextlib.contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write, which takes the place of `path` at the end; see `write_atomic`.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replaced(path) as file:
    ...     written = file.write(b"half")
    ...     path.exists()
    False
    >>> path.read_text()
    'half'
    """
    target = Path(os.path.realpath(path))
    try:
        with neighbour(target) as temporary:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            sync_folder(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, reason, str(path)) from error


@contextlib.contextmanager
def neighbour(target: Path) -> Iterator[Path]:
    """Name an unused temporary file beside the target; whatever is left of it is removed."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force the rename itself to the disk, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def leftovers(folder: Path, names: Iterable[str]) -> list[Path]:
    """Find the temporary neighbours of files of these names that a killed process left."""
    patterns = [f"{dots}{name}.*{SUFFIX}" for name in names for dots in (".", "..")]
    return [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
