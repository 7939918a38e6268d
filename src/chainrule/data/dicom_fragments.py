"""Where each frame of compressed pixels is: fragments, and the tables that say whose they are."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from chainrule.data.dicom_header import Pixels
from chainrule.errors import DataError

_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD  # tags
_HEAD = 8  # bytes before each fragment: its tag and its length
_MOST = 1 << 20  # fragments; a second's work to find
_MARK = b"\xff\xd9"  # the end of an image, in every kind of JPEG
_TAIL = 10  # bytes in which it stands, as there may be some behind it


class Fragment(NamedTuple):
    """A part of a frame: where its bytes begin in the file, and how many there are."""

    start: int
    length: int


Frames = list[list[Fragment]]


def frames_of(pixels: Pixels, frames: int, dataset: Any) -> Frames:
    """Tell the fragments of each of the frames.

    By the extended offset table, else by the basic one, else one fragment a frame, all for a single
    frame, or up to each end of an image.

    Raises DataError for pixels that are not packed in fragments, damaged or cut short, and where
    it cannot be told which fragment belongs to which frame.
    """
    name = pixels.store.name
    found = _fragments(pixels)
    if not found:
        raise DataError(f"{name}: is damaged: its compressed pixels are absent; remove it")
    table, rest = found[0], found[1:]
    extended = _extended(dataset, rest, frames)
    if extended is not None:
        return extended
    if len(rest) < frames:
        raise DataError(f"{name}: has fewer frames than its header says; copy it anew")
    shared = _by_offsets(_offsets(pixels, table), rest, frames)
    if shared is None:
        shared = _by_count(rest, frames)
    if shared is None:
        shared = _by_ends(pixels, rest)
    if len(shared) != frames:
        raise DataError(f"{name}: it cannot be told where its frames begin; mend or remove it")
    return shared


def joined(pixels: Pixels, parts: list[Fragment]) -> bytes:
    """Read the bytes of a frame."""
    return b"".join(pixels.store.read(part.start, part.length) for part in parts)


def _fragments(pixels: Pixels) -> list[Fragment]:
    """Find all items: the basic offset table, and the fragments behind it."""
    name, found = pixels.store.name, list[Fragment]()
    end = pixels.start + pixels.count
    with pixels.store.opened() as file:
        place = pixels.start
        while place + _HEAD <= end and len(found) <= _MOST:
            file.seek(place)
            group, element, count = struct.unpack("<HHI", file.read(_HEAD))
            tag = group << 16 | element
            if tag == _END:
                return found
            if tag != _ITEM:
                raise DataError(f"{name}: is damaged within its compressed pixels; remove it")
            if count > end - place - _HEAD:
                break
            found.append(Fragment(place + _HEAD, count))
            place += _HEAD + count
    if len(found) > _MOST:
        raise DataError(f"{name}: its pixels are in more than {_MOST:,} parts; remove it")
    if pixels.undefined:
        raise DataError(f"{name}: is cut short: its compressed pixels do not end; copy it anew")
    return found


def _offsets(pixels: Pixels, table: Fragment) -> list[int]:
    data = pixels.store.read(table.start, table.length - table.length % 4)
    return [int(offset) for offset in np.frombuffer(data, "<u4")]


def _by_offsets(offsets: list[int], parts: list[Fragment], frames: int) -> Frames | None:
    """Share fragments by where frames begin, counted from the first fragment's head."""
    if len(offsets) != frames or offsets[0] != 0:
        return None
    base = parts[0].start
    places = {part.start - base: number for number, part in enumerate(parts)}
    firsts = [places.get(offset, -1) for offset in offsets] + [len(parts)]
    if any(one >= other for one, other in pairwise(firsts)) or -1 in firsts:
        return None  # they point at no fragments, or not in order
    return [parts[one:other] for one, other in pairwise(firsts)]


def _by_count(parts: list[Fragment], frames: int) -> Frames | None:
    if len(parts) == frames:
        return [[part] for part in parts]
    return [parts] if frames == 1 else None


def _by_ends(pixels: Pixels, parts: list[Fragment]) -> Frames:
    shared: Frames = [[]]
    for part in parts:
        shared[-1].append(part)
        tail = min(_TAIL, part.length)
        if _MARK in pixels.store.read(part.start + part.length - tail, tail):
            shared.append([])
    return shared if shared[-1] else shared[:-1]


def _extended(dataset: Any, parts: list[Fragment], frames: int) -> Frames | None:
    """Share by the extended offset table, one fragment a frame; None where it is none or untrue."""
    starts, counts = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    if not (isinstance(starts, bytes) and isinstance(counts, bytes)) or not parts:
        return None
    if len(starts) != 8 * frames or len(counts) != 8 * frames:
        return None
    places = {part.start - parts[0].start: part for part in parts}
    shared: Frames = []
    pairs = zip(np.frombuffer(starts, "<u8"), np.frombuffer(counts, "<u8"), strict=True)
    for start, count in pairs:
        part = places.get(int(start))
        if part is None or int(count) > part.length:
            return None
        shared.append([Fragment(part.start, int(count))])
    return shared
