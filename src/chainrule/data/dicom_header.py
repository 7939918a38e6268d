"""The header of a DICOM file: its elements up to the pixels, and where those are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainrule.data.dicom_quiet import attempt, pydicom
from chainrule.data.dicom_source import Reader, Store, inflated
from chainrule.errors import DataError

PREFIX = b"DICM"
"""What stands behind the preamble of 128 bytes."""

IMPLICIT = "1.2.840.10008.1.2"
"""The transfer syntax of files that name none."""

_EXPLICIT, _BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_PREAMBLE = 128
_PIXELS = {
    0x7FE00010: "PixelData",
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
}
_UNDEFINED = 0xFFFFFFFF
_DAMAGED = "is damaged: its header cannot be read; mend or remove it"
_KINDS = {
    "1.2.840.10008.5.1.4.1.1.88.59": "a selection of other objects",
    "1.2.840.10008.5.1.4.1.1.88": "a structured report",
    "1.2.840.10008.5.1.4.1.1.481.3": "radiotherapy structures",
    "1.2.840.10008.5.1.4.1.1.481": "a radiotherapy plan or record",
    "1.2.840.10008.5.1.4.1.1.104": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.11": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.9": "a waveform",
    "1.2.840.10008.5.1.4.1.1.66": "raw data or a registration",
    "1.2.840.10008.1.3.10": "a directory of other files",
}


@dataclass(frozen=True)
class Pixels:
    """Where the pixels are: `count` bytes from `start` on in `store`.

    `keyword` is the element's name, `representation` its type (OB, OW, ...), `undefined` whether
    its length is left open, as that of compressed pixels is.
    """

    store: Store
    keyword: str
    representation: str
    start: int
    count: int
    undefined: bool


@dataclass(frozen=True)
class Header:
    """pydicom's data set of all before the pixels, the transfer syntax, and the pixels' place."""

    dataset: Any
    syntax: str
    little: bool
    pixels: Pixels


def read_header(store: Store) -> Header:
    """Read a header.

    Raises DataError for what is no DICOM file, holds no pixels, or is damaged or cut short.
    """
    pydicom(store.name)
    if store.size == 0:
        raise DataError(f"{store.name}: not a DICOM file but an empty file (0 bytes); remove it")
    return attempt(store.name, _DAMAGED, lambda: _read(store))


def readable(store: Store) -> bool:
    """Tell whether bytes without a preamble begin as a data set does, and can be read as one."""
    head = store.read(0, 8)
    if head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08") or len(head) < 8:
        return False
    try:
        dataset = attempt(store.name, _DAMAGED, lambda: _dataset(store)[0])
        return attempt(store.name, _DAMAGED, lambda: "SOPClassUID" in dataset or "Rows" in dataset)
    except DataError:
        return False


def _read(store: Store) -> Header:
    dataset, syntax, little, found, short = _dataset(store)
    if found is None:
        if short:
            raise DataError(f"{store.name}: is cut short: it ends within its header; copy it anew")
        raise DataError(f"{store.name}: {_instead(dataset)}; remove it from the pictures")
    return Header(dataset, syntax, little, found)


def _dataset(store: Store) -> tuple[Any, str, bool, Pixels | None, bool]:
    """Read all before the pixels; also whether a value is not whole."""
    with store.opened() as file:
        reader = Reader(file, store.size, store.name)
        syntax = _meta(reader)
        if syntax != _DEFLATED:
            return _elements(reader, syntax, store)
        data = inflated(reader.read(), store.name)
    whole = Store(data, store.name)
    with whole.opened() as file:
        return _elements(Reader(file, whole.size, whole.name), _EXPLICIT, whole)


def _meta(reader: Reader) -> str:
    """Read the preamble and the elements of group 2; give the transfer syntax, "" if unsaid."""
    head = reader.read(_PREAMBLE + len(PREFIX))
    if head[_PREAMBLE:] != PREFIX:
        reader.seek(0)
        if head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
            raise DataError(
                f"{reader.name}: not a DICOM file: it has no DICM behind 128 bytes; remove it"
            )
    from_file = pydicom(reader.name).filereader.read_dataset
    meta = from_file(reader, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    reader.short = False
    return str(meta.get("TransferSyntaxUID") or "").strip("\0 ")


def _encoding(reader: Reader, syntax: str) -> tuple[str, bool, bool]:
    """Give the syntax, whether types are left out, and whether numbers begin with the low byte."""
    if syntax:
        return syntax, syntax == IMPLICIT, syntax != _BIG
    place = reader.tell()
    head = reader.read(6)
    reader.seek(place)
    if not head[4:6].isalpha():
        return IMPLICIT, True, True
    return (_BIG, False, False) if head[:1] == b"\0" else (_EXPLICIT, False, True)


def _elements(
    reader: Reader, syntax: str, store: Store
) -> tuple[Any, str, bool, Pixels | None, bool]:
    syntax, implicit, little = _encoding(reader, syntax)
    found: list[Pixels] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        keyword = _PIXELS.get(int(tag))
        if keyword is None:
            return False
        start, undefined = reader.tell(), length == _UNDEFINED
        rest = max(0, store.size - start)
        count = rest if undefined else min(length, rest)
        found.append(Pixels(store, keyword, vr or "OW", start, count, undefined))
        return True

    read = pydicom(store.name).filereader.read_dataset
    dataset = read(reader, implicit, little, stop_when=at_pixels)
    return dataset, syntax, little, found[-1] if found else None, reader.short


def _instead(dataset: Any) -> str:
    """Say what a file without pixels holds."""
    kind = str(dataset.get("SOPClassUID") or "").strip("\0 ")
    for beginning, what in _KINDS.items():
        if kind == beginning or kind.startswith(beginning + "."):
            return f"holds {what} and no pixels"
    if "DirectoryRecordSequence" in dataset:
        return "holds a directory of other files and no pixels"
    return "holds no pixels"
