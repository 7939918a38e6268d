"""The four files of one generation, open to be written: added to, erased in, cut, summed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from chainrule.errors import DataError
from chainrule.retrieval.layout import KINDS, RECORD, Layout, read_at, write_at
from chainrule.retrieval.seals import Sums

_BLOCK = 1 << 20


class Block:
    """Rows in a row, read at once from the open files of a generation (by kind).

    Their thumbnails are read when they are asked for.  What is damaged gives fewer bytes.
    """

    def __init__(self, files: Mapping[str, int], layout: Layout, begin: int, end: int) -> None:
        self._begin, self._strides, self._pictures = begin, layout.strides, files["thumbnails"]
        self._total = os.fstat(self._pictures).st_size
        self._bytes = {
            kind: read_at(files[kind], (end - begin) * stride, begin * stride)
            for kind, stride in self._strides.items()
        }

    def _part(self, kind: str, row: int) -> bytes:
        stride = self._strides[kind]
        at = (row - self._begin) * stride
        return self._bytes[kind][at : at + stride]

    def thumbnail(self, row: int) -> tuple[int, int]:
        """Give the place of a row's thumbnail, at most what its file holds: offset and length."""
        record = self._part("rows", row)
        if len(record) < RECORD.itemsize:
            return 0, 0
        found = np.frombuffer(record, RECORD)[0]
        offset = min(int(found["offset"]), self._total)
        return offset, min(int(found["length"]), self._total - offset)

    def parts(self, row: int) -> tuple[bytes, bytes, bytes, bytes]:
        """Give all that the files hold of a row: record, vector, classes, thumbnail."""
        offset, length = self.thumbnail(row)
        picture = read_at(self._pictures, length, offset)
        vector, classes = self._part("vectors", row), self._part("classes", row)
        return self._part("rows", row), vector, classes, picture


class RowFiles:
    """The open files of a generation, with the sums of their blocks.

    With `new` they are made, and must not be there.  Raises DataError for a file that is missing
    or shorter than what was committed, OSError where the disk refuses.
    """

    def __init__(self, folder: Path, layout: Layout, new: bool = False) -> None:
        self.folder, self.layout = folder, layout
        self.sums = {kind: Sums() for kind in KINDS}
        self._open: dict[str, int] = {}
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
        try:
            for kind, name in layout.names.items():
                self._open[kind] = os.open(folder / name, flags, 0o600)
        except FileNotFoundError as error:
            self.close()
            text = f"{error.filename}: missing; the index is not whole, build it anew"
            raise DataError(text) from error
        except BaseException:
            self.close()
            raise

    def write(self, kind: str, data: bytes | memoryview, offset: int) -> None:
        """Write bytes at a place of one file."""
        self.sums[kind].touch(offset, offset + len(data))
        with self._named(kind):
            write_at(self._open[kind], data, offset)

    def block(self, begin: int, end: int) -> Block:
        """Read the rows from `begin` up to `end`."""
        return Block(self._open, self.layout, begin, end)

    def erase(self, row: int, offset: int, length: int) -> None:
        """Write zeros over all that the files hold of a row, its thumbnail too."""
        for kind, stride in self.layout.strides.items():
            self.write(kind, bytes(stride), row * stride)
        for at in range(offset, offset + length, _BLOCK):
            self.write("thumbnails", bytes(min(_BLOCK, offset + length - at)), at)

    def sync(self) -> None:
        """Force what was written to the disk."""
        for kind, descriptor in self._open.items():
            with self._named(kind):
                os.fsync(descriptor)

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Drop what lies behind the committed part: the torn end of a batch that was not.

        Raises DataError for a file that is shorter than that.
        """
        for kind, descriptor in self._open.items():
            found = os.fstat(descriptor).st_size
            if found < sizes[kind]:
                raise DataError(
                    f"{self.folder / self.layout.names[kind]}: cut short, {found:,} bytes where "
                    f"{sizes[kind]:,} were written; build the index anew"
                )
            if found > sizes[kind]:
                with self._named(kind):
                    os.ftruncate(descriptor, sizes[kind])

    def summed(self, sizes: Mapping[str, int]) -> dict[str, Sums]:
        """Give the sums of the committed part of each file, by its name."""
        for kind, descriptor in self._open.items():
            self.sums[kind].refresh(descriptor, sizes[kind])
        return {name: self.sums[kind] for kind, name in self.layout.names.items()}

    def adopt(self, known: Mapping[str, Sums]) -> None:
        """Take over the sums of a seal that is true, so that only what changes is summed anew."""
        for kind, name in self.layout.names.items():
            self.sums[kind] = known.get(name, Sums())

    def close(self) -> None:
        """Close the files."""
        while self._open:
            os.close(self._open.popitem()[1])

    @contextlib.contextmanager
    def _named(self, kind: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            path = str(self.folder / self.layout.names[kind])
            raise OSError(error.errno, error.strerror or str(error), path) from error
