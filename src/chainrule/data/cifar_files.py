"""CIFAR's files as bytes: records of labels and pixels, pickles of them, lists of class names.

Format: https://www.cs.toronto.edu/~kriz/cifar.html.  The pickles were made by Python 2 with
NumPy's arrays in them; they are read without being run.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import CheckpointError, DataError
from chainrule.formats.pickles import Built, read_pickle

SHAPE = (3, 32, 32)
PIXELS = math.prod(SHAPE)


class Labels(NamedTuple):
    """A column of labels: how the pickles call it and its names, and the number of classes."""

    key: str
    names: str
    classes: int


class Part(NamedTuple):
    """What one file holds."""

    pixels: Array  # (N, 3072) bytes: red, green, blue, each row by row
    labels: Array  # (N, columns)


def read_records(content: bytes, columns: Sequence[Labels], where: str) -> Part:
    """Read the binary version: records of one byte a column of labels, then 3,072 pixels.

    Raises DataError for a length that is no multiple of a record, and for labels out of range.

    >>> part = read_records(bytes([7]) + bytes(3072), [Labels("labels", "label_names", 10)], "x")
    >>> part.labels, part.pixels.shape
    (array([[7]]), (1, 3072))
    """
    record = len(columns) + PIXELS
    count, rest = divmod(len(content), record)
    if rest or not count:
        other = 2 if len(columns) == 1 else 1
        fits = content and not len(content) % (other + PIXELS)
        hint = f"; it would fit CIFAR-{10**other}'s records of {other + PIXELS:,}" if fits else ""
        raise DataError(
            f"{where}: expected records of {record:,} bytes, {len(columns)} of labels and "
            f"{PIXELS:,} of pixels; found {len(content):,} bytes, which are {count:,} records "
            f"and {rest:,} bytes{hint}"
        )
    rows = np.frombuffer(content, np.uint8).reshape(count, record)
    labels = rows[:, : len(columns)].astype(np.int64)
    for k, column in enumerate(columns):
        _check(labels[:, k], column, where)
    return Part(rows[:, len(columns) :], labels)


def read_batch(content: bytes, columns: Sequence[Labels], where: str) -> Part:
    """Read the Python version: a pickled dict of "data" (N, 3072) and lists of labels.

    Raises DataError for what is no such pickle, would call anything, or does not fit together.
    """
    batch = _pickled(content, where)
    data = batch.get("data")
    if not isinstance(data, _Pixels) or data.array is None:
        raise DataError(f'{where}: expected "data", an array of bytes (N, {PIXELS})')
    pixels = data.array
    if pixels.ndim != 2 or pixels.shape[1] != PIXELS or not len(pixels):
        raise DataError(f'{where}: expected "data" (N, {PIXELS}), found {pixels.shape}')
    labels = np.empty((len(pixels), len(columns)), np.int64)
    for k, column in enumerate(columns):
        values = batch.get(column.key)
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            raise DataError(f'{where}: expected "{column.key}", a list of whole numbers')
        if len(values) != len(pixels):
            raise DataError(
                f'{where}: expected {len(pixels):,} "{column.key}", one an image, '
                f"found {len(values):,}"
            )
        _check(np.array(values, dtype=object), column, where)
        labels[:, k] = values
    return Part(pixels, labels)


def _check(labels: Array, column: Labels, where: str) -> None:
    wrong = (labels < 0) | (labels >= column.classes)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{where}: expected labels 0..{column.classes - 1}, found {labels[first]} "
            f"at index {first}"
        )


def read_names(content: bytes, column: Labels, where: str, pickled: bool) -> tuple[str, ...]:
    r"""Read the names of the classes: one a line, or a list in a pickled dict.

    >>> read_names(b"cat\ndog\n\n", Labels("labels", "label_names", 2), "names", pickled=False)
    ('cat', 'dog')
    """
    names: Any
    if pickled:
        names = _pickled(content, where).get(column.names)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f'{where}: expected "{column.names}", a list of names')
    else:
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: expected names as text, found other bytes") from error
        names = [line.strip() for line in lines if line.strip()]
    if len(names) != column.classes:
        raise DataError(
            f"{where}: expected {column.classes} names of classes, found {len(names):,}"
        )
    return tuple(names)


def _pickled(content: bytes, where: str) -> dict[Any, Any]:
    """Read a pickled dict; keys that are bytes (Python 3 read a file of Python 2) become text."""
    file = io.BytesIO(content)
    try:
        found = read_pickle(file, _KNOWN, where=where)
    except CheckpointError as error:
        raise DataError(str(error)) from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a pickled dict, found {type(found).__name__}")
    if rest := len(content) - file.tell():
        raise DataError(f"{where}: {rest:,} bytes follow the end of the pickle")
    return {_text(key): _plain(value) for key, value in found.items()}


def _plain(value: Any) -> Any:
    return [_text(item) for item in value] if isinstance(value, list) else value


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Pixels(Built):
    """An array of bytes, once it is told what it holds."""

    array: Array | None = None

    def build(self, state: Any) -> None:
        """Take NumPy's state: version, shape, type, whether columns come first, the bytes."""
        _, shape, kind, columns_first, content = state
        if not isinstance(kind, _Type) or kind.code not in ("u1", "B", "|u1"):
            raise ValueError("an array of other numbers than bytes")
        raw = content.encode("latin-1") if isinstance(content, str) else content
        sizes = [size for size in shape if type(size) is int and size >= 0]
        if len(sizes) != len(shape) or len(raw) != math.prod(sizes):
            raise ValueError(f"an array whose shape does not fit its {len(raw):,} bytes")
        rows = np.frombuffer(raw, np.uint8)
        self.array = rows.reshape(sizes[::-1]).T if columns_first else rows.reshape(sizes)


class _Type(Built):
    """NumPy's name for a type of numbers."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = _text(code)

    def build(self, state: Any) -> None:
        """Single bytes have no order; there is nothing to take."""


def _encoded(text: Any, coding: Any) -> bytes:
    """Give what `_codecs.encode` stands for: bytes as Python 3 writes them for Python 2."""
    if not isinstance(text, str) or coding != "latin1":
        raise ValueError("bytes in a coding that Python does not write")
    return text.encode("latin-1")


_KNOWN: dict[str, Callable[..., Any]] = {
    **{
        f"{package}.multiarray._reconstruct": lambda *_: _Pixels()
        for package in ("numpy.core", "numpy._core")
    },
    "numpy.dtype": _Type,
    "_codecs.encode": _encoded,
}
