"""IDX files, the format of MNIST: a magic number, the sizes, the numbers, all big-endian.

Format: http://yann.lecun.com/exdb/mnist/ ("The IDX file format").  The third byte of the magic
number is the type of the numbers, the fourth the count of dimensions.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_COUNT_LIMIT = 1 << 28  # how far the bytes behind the end are counted for the message


class IdxFile(NamedTuple):
    """What an IDX file holds, and the MD5 of its unpacked bytes."""

    array: Array
    md5: str


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, gzipped or not, as an array of the shape and type that it declares.

    Whether it is gzipped is seen from its first bytes, not from its name.  The length must be
    exactly what the header says; memory is taken only as the bytes arrive, so that a lying
    header costs nothing.  Raises DataError, naming the file with the expected and the found
    numbers, for what is no IDX file, is cut short, or goes on behind its end.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    return read_idx_file(path).array


def read_idx_file(path: str | os.PathLike[str], magic: int | None = None) -> IdxFile:
    """Read an IDX file with its checksum; `magic` is the magic number it must have.

    As `read_idx` otherwise.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "labels"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    >>> read_idx_file(path, magic=2051)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: ...labels: expected magic number 2051 (3 dimensions of ...
    """
    path = Path(path)
    if not path.is_file():
        reason = "is not a regular file" if path.exists() else "no such file"
        raise DataError(f"{path}: {reason}")
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            if not packed:
                return _read(path, raw, magic)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read(path, unpacked, magic)  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        size = path.stat().st_size
        raise DataError(f"{path}: damaged gzip data in its {size:,} bytes ({error})") from error


def _read(path: Path, file: BinaryIO, magic: int | None) -> IdxFile:
    head, dtype, shape = _read_header(path, file, magic)
    expected = dtype.itemsize * math.prod(shape)
    body = bytearray()
    while len(body) < expected and (chunk := file.read(min(_CHUNK, expected - len(body)))):
        body += chunk
    if len(body) < expected or file.read(1):
        what = f"{' x '.join(map(str, shape))} numbers of {dtype.itemsize} byte(s)"
        raise DataError(
            f"{path}: expected {len(head) + expected:,} bytes ({len(head)} of header and {what}), "
            f"found {_found(len(head) + len(body), expected - len(body), file)}"
        )
    digest = hashlib.md5(head, usedforsecurity=False)
    digest.update(body)
    array = np.frombuffer(body, dtype).reshape(shape)
    return IdxFile(array.astype(dtype.newbyteorder("="), copy=False), digest.hexdigest())


def _read_header(
    path: Path, file: BinaryIO, magic: int | None
) -> tuple[bytes, np.dtype[np.generic], tuple[int, ...]]:
    head = file.read(4)
    number = int.from_bytes(head, "big")
    if len(head) < 4 or number >> 16 or (number >> 8) not in _TYPES:
        raise DataError(
            f"{path}: expected an IDX file, whose first 4 bytes are 0, 0, a type "
            f"({', '.join(map(str, _TYPES))}) and the number of dimensions; found {_bytes(head)}"
        )
    if magic is not None and number != magic:
        raise DataError(
            f"{path}: expected magic number {_describe(magic)}, found {_describe(number)}"
        )
    ndim = number & 0xFF
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(
            f"{path}: expected {4 + 4 * ndim} bytes of header for {ndim} dimensions, "
            f"found {4 + len(sizes)} bytes in all"
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if len(shape) > 32:
        raise DataError(f"{path}: expected at most 32 dimensions, found {len(shape)}")
    return head + sizes, np.dtype(_TYPES[number >> 8]), shape


def _found(read: int, missing: int, file: BinaryIO) -> str:
    """Write how many bytes there are; what follows the end is counted without being kept."""
    if missing > 0:
        return f"{read:,}: {missing:,} are missing"
    more = 1  # the byte that gave the excess away
    while more < _COUNT_LIMIT and (chunk := file.read(_CHUNK)):
        more += len(chunk)
    at_least = "at least " if more >= _COUNT_LIMIT else ""
    return f"{at_least}{read + more:,}: {at_least}{more:,} too many"


def _describe(magic: int) -> str:
    kind = np.dtype(_TYPES.get(magic >> 8, "V")).newbyteorder("=")
    return f"{magic} ({magic & 0xFF} dimension{'s' * (magic & 0xFF != 1)} of {kind})"


def _bytes(head: bytes) -> str:
    return ", ".join(map(str, head)) if head else "an empty file"
