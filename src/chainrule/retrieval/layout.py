"""How the rows of an index lie in its files: names, records, places, and the sum of one row."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.retrieval.settings import FILE as SETTINGS

_ROWS = 1024  # read at once

RECORD = np.dtype(
    [
        ("serial", "<u8"),
        ("group", "<u8"),
        ("phash", "<u8"),
        ("offset", "<u8"),
        ("length", "<u4"),
        ("label", "<i4"),
        ("predicted", "<i4"),
        ("alive", "<u4"),
    ]
)
"""One row of `rows-G.bin`, 48 bytes; a removed row is all zeros."""

DATABASE, JOURNAL, SEAL, LOCK, KEY = "index.db", "index.db-journal", "seal", "lock", "key"
KINDS = ("vectors", "classes", "rows", "thumbnails")
RESERVED = frozenset({SETTINGS, DATABASE, JOURNAL, SEAL, LOCK, KEY})
"""Names in an index's folder that no other file may have."""

DATA = re.compile(rf"({'|'.join(KINDS)})-\d+\.bin")
"""What the files with the rows are called."""


@dataclass(frozen=True)
class Entry:
    """What is kept of one image, beside its vector and the probabilities of its classes.

    `id` and `source` are hashes, `frame` the number within the source, `group` the patient's
    hash (0: unknown), `label` the true class if one is known, `predicted` the class found (-1:
    none), `phash` a hash of its looks, `size` height and width in pixels, `kind` what sort of
    file it was; `path`, `tags` and `thumbnail` only as far as the settings keep them.
    """

    id: str
    source: str = ""
    frame: int = 0
    group: int = 0
    label: str | None = None
    predicted: int = -1
    phash: int = 0
    kind: str = ""
    size: tuple[int, int] = (0, 0)
    path: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: bytes = b""


class Layout(NamedTuple):
    """Where rows lie: the generation of the files, and how many bytes a row has in each."""

    generation: int
    dimension: int
    classes: int
    dtype: str

    @property
    def names(self) -> dict[str, str]:
        """The names of the four files.

        >>> Layout(3, 8, 2, "float32").names["rows"]
        'rows-3.bin'
        """
        return {kind: f"{kind}-{self.generation}.bin" for kind in KINDS}

    @property
    def stored(self) -> np.dtype[Any]:
        """The type of a vector's numbers in the file."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def strides(self) -> dict[str, int]:
        """Bytes of a row in the files whose rows are all of one length."""
        wide = self.dimension * self.stored.itemsize
        return {"vectors": wide, "classes": 4 * self.classes, "rows": RECORD.itemsize}

    def sizes(self, count: int, thumbnails: int) -> dict[str, int]:
        """Bytes of each file that belong to the first `count` rows."""
        sizes = {kind: count * stride for kind, stride in self.strides.items()}
        return {**sizes, "thumbnails": thumbnails}


LINE = (
    "SELECT row, serial, id, source, frame, (SELECT name FROM labels WHERE code = label), kind, "
    "height, width, path, tags, sum FROM images"
)
"""What is read of an image to sum its row; the last is the sum that was stored."""


def lines_of(database: Any, count: int) -> Iterator[tuple[int, int, list[Any]]]:
    """Read the images of `count` rows as `LINE` does, by blocks: from, to, lines."""
    sql = f"{LINE} WHERE row >= ? AND row < ? ORDER BY row"
    for begin in range(0, count, _ROWS):
        end = min(begin + _ROWS, count)
        yield begin, end, database.rows(sql, (begin, end))


def line_of(entry: Entry, row: int, serial: int) -> tuple[Any, ...]:
    """Give an entry as `LINE` reads it, without the sum."""
    height, width = entry.size
    places = (row, serial, entry.id, entry.source, entry.frame, entry.label, entry.kind)
    return (*places, height, width, entry.path, tags_text(entry.tags))


def fields_of_line(line: Sequence[Any]) -> bytes:
    """Write what `LINE` reads of an image as bytes, for its sum; its row may change."""
    return repr(tuple(line[1:11])).encode("utf-8", "surrogatepass")


def tags_text(tags: Mapping[str, Any]) -> str:
    """Write tags as JSON, the same text for the same tags.

    >>> tags_text({"b": 1, "a": "x"})
    '{"a":"x","b":1}'
    """
    return json.dumps(dict(tags), sort_keys=True, separators=(",", ":"), allow_nan=False)


def row_sum(*parts: bytes) -> bytes:
    """Sum the parts of a row (fields, record, vector, classes, thumbnail): 16 bytes.

    >>> row_sum(b"ab", b"c") == row_sum(b"a", b"bc")
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read so many bytes from a place of an open file; fewer only where the file ends."""
    parts: list[bytes] = []
    while size and (part := os.pread(descriptor, min(size, 1 << 26), offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_at(descriptor: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all bytes to a place of an open file; OSError if the disk refuses."""
    view = memoryview(data)
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def records(rows: int) -> Array:
    """Make so many records of zeros."""
    return np.zeros(rows, RECORD)
