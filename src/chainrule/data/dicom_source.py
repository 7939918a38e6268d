"""Where the bytes of a DICOM file are: in memory, or in a file that is read part by part."""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from chainrule.data.pictures import Source, shown
from chainrule.errors import DataError

MOST_INFLATED = 1 << 28
"""Bytes that a deflated file may grow to."""

_MOST_READ = 1 << 28  # bytes of a header, whose values are held in memory
_MOST_READS = 1_500_000  # each element takes one to three; so many, half a gigabyte


class Store:
    """The bytes of one file; `name` is what messages call it.

    Of a path nothing is kept open: each reading opens the file anew, so that a store may be asked
    from several threads, and left without being closed.

    Raises DataError where there is no such file, or none that is regular.

    >>> Store(b"abcdef", "letters").read(4, 100)
    b'ef'
    """

    def __init__(self, source: Source, name: str | None = None) -> None:
        self.name = name or ("DICOM file" if isinstance(source, bytes) else shown(source))
        self._source = source if isinstance(source, bytes) else os.path.abspath(source)
        if isinstance(source, bytes):
            self.size = len(source)
            return
        with self.opened() as file:
            self.size = os.fstat(file.fileno()).st_size

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Give a file of these bytes, at its beginning, until the `with` ends."""
        with self._open() as file:
            yield file

    def read(self, start: int, count: int) -> bytes:
        """Read up to `count` bytes from `start` on: fewer where the file ends."""
        count = max(0, min(count, self.size - start))
        if isinstance(self._source, bytes):
            return self._source[start : start + count]
        with self.opened() as file:
            try:
                file.seek(start)
                return file.read(count)
            except OSError as error:
                raise DataError(f"{self.name}: cannot be read ({error.strerror})") from None

    def _open(self) -> BinaryIO:
        if isinstance(self._source, bytes):
            return io.BytesIO(self._source)
        try:
            if stat.S_ISREG(os.stat(self._source).st_mode):  # a pipe would be waited for
                return open(self._source, "rb")
        except FileNotFoundError:
            raise DataError(f"{self.name}: no such file") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            raise DataError(f"{self.name}: cannot be opened ({reason})") from None
        raise DataError(f"{self.name}: is not a regular file; a DICOM file is expected here")


class Reader:
    """A file for pydicom that never gives more than there is, nor goes on without end.

    `short` tells whether a value was asked for that the file does not hold whole.
    """

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self._file, self._size, self.name = file, size, name
        self._bytes = self._reads = 0
        self.short = False

    def read(self, count: int = -1) -> bytes:
        """Read `count` bytes, or fewer where the file ends."""
        place = self._file.tell()
        there = max(0, self._size - place)
        wanted = there if count < 0 else min(count, there)
        self.short = self.short or (wanted < count and (there > 0 or count > 8))
        self._bytes += wanted
        self._reads += 1
        if self._bytes > _MOST_READ or self._reads > _MOST_READS:
            raise DataError(
                f"{self.name}: its header is larger than that of any picture; remove the file"
            )
        return self._file.read(wanted)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place, as files do."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Tell the place, in bytes from the beginning."""
        return self._file.tell()


def inflated(data: bytes, name: str, most: int = MOST_INFLATED) -> bytes:
    """Inflate what a deflated transfer syntax holds, up to `most` bytes.

    Raises DataError for damaged data, and for more.

    >>> inflated(zlib.compress(bytes(9), wbits=-15), "scan.dcm") == bytes(9)
    True
    """
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = machine.decompress(data, most)
        more = machine.decompress(machine.unconsumed_tail, 1) if len(found) == most else b""
    except zlib.error:
        raise DataError(f"{name}: is deflated and damaged; copy it anew") from None
    if more:
        raise DataError(
            f"{name}: is deflated and grows to more than {most:,} bytes; save it uncompressed first"
        )
    if not machine.eof:
        raise DataError(f"{name}: is deflated and cut short; copy it anew")
    return found
