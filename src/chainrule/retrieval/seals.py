"""The seal of an index: sums of all its files, itself summed, true of one commit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainrule.errors import DataError
from chainrule.formats.atomic import write_atomic
from chainrule.retrieval.layout import SEAL, read_at

BLOCK = 1 << 20
"""Data files are summed in blocks of so many bytes: what is added needs no second reading."""


@dataclass
class Sums:
    """The size of a file and the sums of its blocks, kept up to date as it changes."""

    size: int = 0
    blocks: list[str] = field(default_factory=list)
    stale: set[int] = field(default_factory=set)

    def touch(self, begin: int, end: int) -> None:
        """Remember that the bytes from `begin` up to `end` changed."""
        if end > begin:
            self.stale.update(range(begin // BLOCK, (end - 1) // BLOCK + 1))

    def refresh(self, descriptor: int, size: int) -> None:
        """Sum what changed, and what was added up to `size`."""
        self.touch(min(self.size, size), max(self.size, size))
        needed = -(-size // BLOCK)
        del self.blocks[needed:]
        for index in range(needed):
            if index < len(self.blocks) and index not in self.stale:
                continue
            found = block_sum(descriptor, index, size)
            self.blocks[index : index + 1] = [found]
        self.size, self.stale = size, set()


def block_sum(descriptor: int, index: int, size: int) -> str:
    """Sum one block of the first `size` bytes of an open file."""
    begin = index * BLOCK
    return _digest([read_at(descriptor, min(BLOCK, size - begin), begin)])


def file_sum(descriptor: int) -> tuple[int, str]:
    """Give the size of an open file and the sum of all its bytes."""
    digest, at = hashlib.blake2b(digest_size=32), 0
    while part := read_at(descriptor, BLOCK, at):
        digest.update(part)
        at += len(part)
    return at, digest.hexdigest()


def bytes_sum(content: bytes) -> str:
    """Sum bytes as `file_sum` sums a file.

    >>> len(bytes_sum(b""))
    64
    """
    return _digest([content])


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class Seal:
    """What a seal says: after how many commits, the data files, and all others.

    `commits` is -1 where a writer found that another was killed in the middle of a commit.
    `files` has the size and the sum of each whole file.
    """

    commits: int
    data: dict[str, Sums]
    files: dict[str, tuple[int, str]]

    def write(self, folder: Path) -> None:
        """Put the seal in its place, whole or not at all."""
        data = {name: [sums.size, sums.blocks] for name, sums in self.data.items()}
        body = {"commits": self.commits, "data": data, "files": self.files}
        text = json.dumps(body, sort_keys=True)
        path = folder / SEAL
        write_atomic(path, f"{bytes_sum(text.encode())}\n{text}")
        os.chmod(path, 0o600)


def read_seal(folder: Path) -> Seal:
    """Read the seal of an index; DataError if it is missing or damaged."""
    path = folder / SEAL
    try:
        total, _, text = path.read_bytes().partition(b"\n")
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing") from error
    if bytes_sum(text).encode() != total:
        raise DataError(f"{path}: damaged, its own sum does not fit")
    found: Any = json.loads(text)  # its sum fits: it is as it was written
    data = {name: Sums(size, blocks) for name, (size, blocks) in found["data"].items()}
    files = {name: (size, total) for name, (size, total) in found["files"].items()}
    return Seal(found["commits"], data, files)
