"""What a compressed frame says of itself, looked at before a decoder is given it.

Decoders are libraries in C, which hold memory for the sizes that a stream claims, and of which some
end the whole program on damaged tables.  So sizes are held against the header, and streams of
lossless JPEG are taken apart and written anew.
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from chainrule.data.dicom_layout import Layout

_MOST_SCANS = 64  # of a JPEG stream; each may cost as much as a whole picture
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_LOSSLESS, _TABLE, _INTERVAL, _SCAN, _END = 0xC3, 0xC4, 0xDD, 0xDA, 0xD9
# Pixels that a byte can hold at most: a bit for each, or two for each block of 8 x 8.
_DENSEST = {_LOSSLESS: 8, 0xC0: 256, 0xC1: 256}
_ADOBE = b"Adobe"
_LAST = bytes((0xFF, _END))
_TAIL = 10  # bytes in which the end is looked for, as there may be some behind it


class Stream(NamedTuple):
    """A stream's own words: its kind (the frame's marker), sizes, bits, and Adobe's transform."""

    kind: int
    rows: int
    columns: int
    samples: int
    bits: int
    adobe: int | None


class Damaged(ValueError):
    """A stream that is not what it claims to be; the message is ours."""


def jpeg(data: bytes, kinds: frozenset[int]) -> Stream:
    """Read the header of a JPEG or JPEG-LS stream, of one of these kinds of frames.

    Raises Damaged.

    >>> jpeg(b"GIF89a", frozenset((0xC0,)))
    Traceback (most recent call last):
    chainrule.data.dicom_streams.Damaged: its pixels are no JPEG stream
    """
    found: Stream | None = None
    adobe: int | None = None
    for marker, body in _segments(data):
        if marker == 0xEE and body.startswith(_ADOBE) and len(body) >= 12:
            adobe = body[11]
        if marker in _FRAMES:
            if found or marker not in kinds or len(body) < 6:
                raise Damaged("its pixels are a JPEG stream of another kind")
            bits, rows, columns, samples = struct.unpack_from(">BHHB", body)
            found = Stream(marker, rows, columns, samples, bits, None)
    if found is None:
        raise Damaged("its pixels are no JPEG stream")
    if data.count(b"\xff\xda") > _MOST_SCANS:
        raise Damaged("its JPEG stream has too many scans")
    return found._replace(adobe=adobe)


def ended(data: bytes) -> bytes:
    """Take away what is behind the mark that ends a JPEG or JPEG-LS stream.

    Raises Damaged where there is none near the end: CharLS would look for it nearly without end.

    >>> len(ended(b"..." + _LAST + bytes(3)))
    5
    """
    place = data.rfind(_LAST, max(0, len(data) - _TAIL))
    if place < 0:
        raise Damaged("its JPEG stream does not end")
    return data[: place + len(_LAST)]


def jpeg2000(data: bytes) -> Stream:
    """Read the header of a JPEG 2000 stream.

    Raises Damaged.
    """
    start = data.find(b"\xff\x4f\xff\x51", 0, 4096)  # behind the boxes of a .jp2 file, if any
    if start < 0 or len(data) < start + 45:
        raise Damaged("its pixels are no JPEG 2000 stream")
    words = struct.unpack_from(">8IH", data, start + 8)
    right, bottom, left, top, wide, high, tile_left, tile_top, samples = words
    if not (left < right and top < bottom and wide and high):
        raise Damaged("its JPEG 2000 stream has no size")
    tiles = -(-(right - tile_left) // wide) * -(-(bottom - tile_top) // high)
    if not 0 < tiles <= 65535 or len(data) < start + 42 + 3 * samples:
        raise Damaged("its JPEG 2000 stream has impossible tiles")
    parts = [data[start + 42 + 3 * part : start + 45 + 3 * part] for part in range(samples)]
    if any(part[1:] != b"\1\1" for part in parts):
        raise Damaged("its JPEG 2000 stream has fewer colours than pixels")
    bits = max((part[0] & 0x7F) + 1 for part in parts) if parts else 0
    return Stream(0, bottom - top, right - left, samples, bits, None)


def rle(data: bytes, layout: Layout) -> None:
    """Check the header of an RLE frame against the layout.

    Raises Damaged.
    """
    planes = layout.samples * layout.allocated // 8
    offsets = struct.unpack_from("<16I", data) if len(data) >= 64 else (0,) * 16
    starts = offsets[1 : 1 + planes]
    if offsets[0] != planes or starts != tuple(sorted(starts)) or starts[0] < 64:
        raise Damaged("the head of its RLE stream is damaged")
    if layout.rows * layout.columns > 64 * len(data):  # two bytes give 128 at most
        raise Damaged("its RLE stream is too short for its size")


def check(stream: Stream, length: int, layout: Layout) -> None:
    """Hold a stream of `length` bytes against the header.

    Raises Damaged for other sizes, channels, or more bits than the header has room for, and for
    more pixels than so many bytes can hold.
    """
    sizes = (stream.rows, stream.columns, stream.samples)
    if sizes != (layout.rows, layout.columns, layout.samples):
        raise Damaged("its pixels have another size than its header says")
    if not 1 <= stream.bits <= layout.allocated:
        raise Damaged("its pixels have more bits than its header says")
    if stream.rows * stream.columns > length * _DENSEST.get(stream.kind, math.inf):
        raise Damaged("its JPEG stream is too short for its size")


def lossless(data: bytes) -> bytes:
    """Write a stream of lossless JPEG anew, from what of it is needed and was found to be right.

    Raises Damaged.
    """
    kept, tables, parts = [b"\xff\xd8"], set[int](), set[int]()
    for marker, body in _segments(data):
        if marker == _TABLE:
            tables |= _tables(body)
        elif marker == _LOSSLESS:
            _check_frame(body)
            parts = set(body[6::3])
        elif marker == _SCAN:
            _check_scan(body, parts, tables)
        elif marker == _INTERVAL and len(body) != 2:
            raise Damaged("its JPEG stream is damaged")
        if marker in (_TABLE, _LOSSLESS, _INTERVAL, _SCAN):
            kept.append(bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body)
    return b"".join(kept) + _entropy(data, _start_of_scan(data)) + b"\xff\xd9"


def _segments(data: bytes) -> list[tuple[int, bytes]]:
    """Take the segments up to the first scan, which is the last of them."""
    if data[:2] != b"\xff\xd8":
        raise Damaged("its pixels are no JPEG stream")
    return [(marker, data[start:end]) for marker, start, end in _walk(data)]


def _start_of_scan(data: bytes) -> int:
    return _walk(data)[-1][2]


def _walk(data: bytes) -> list[tuple[int, int, int]]:
    place, found = 2, list[tuple[int, int, int]]()
    while True:
        if data[place : place + 1] != b"\xff":
            raise Damaged("its JPEG stream is damaged")
        while data[place : place + 1] == b"\xff":  # any number of them may come first
            place += 1
        marker, length = data[place : place + 1], data[place + 1 : place + 3]
        if len(length) < 2 or marker[0] in _STANDALONE or marker[0] in (0, _END):
            raise Damaged("its JPEG stream is damaged")
        start, end = place + 3, place + 1 + int.from_bytes(length, "big")
        if end < start or end > len(data):
            raise Damaged("its JPEG stream is cut short")
        found.append((marker[0], start, end))
        if marker[0] == _SCAN:
            return found
        place = end


def _tables(body: bytes) -> set[int]:
    """Check Huffman's tables of a segment, and give their numbers."""
    place, numbers = 0, set[int]()
    while place < len(body):
        counts = body[place + 1 : place + 17]
        size = sum(counts)
        symbols = body[place + 17 : place + 17 + size]
        code = 0
        for length, count in enumerate(counts, 1):
            code = 2 * code + count
            if code > 2**length - (1 if count else 0):  # the code of ones alone is not used
                raise Damaged("its JPEG tables are damaged")
        if len(counts) < 16 or len(symbols) < size or not size or max(symbols) > 16:
            raise Damaged("its JPEG tables are damaged")
        if body[place] > 3:  # lossless: the DC tables 0..3
            raise Damaged("its JPEG tables are damaged")
        numbers.add(body[place])
        place += 17 + size
    return numbers


def _check_frame(body: bytes) -> None:
    samples = body[5] if len(body) > 5 else 0
    numbers = body[6::3]
    whole = len(body) == 6 + 3 * samples and samples in (1, 3)
    if not whole or len(set(numbers)) != samples or set(body[7::3]) != {0x11}:
        raise Damaged("the head of its lossless JPEG stream is damaged")
    if not 2 <= body[0] <= 16:
        raise Damaged("its lossless JPEG stream has an impossible depth")


def _check_scan(body: bytes, parts: set[int], tables: set[int]) -> None:
    """Check the scan's head: all channels, by tables that there are, a predictor that there is."""
    count = body[0] if body else 0
    if len(body) != 4 + 2 * count or count != len(parts):
        raise Damaged("its lossless JPEG stream has another number of channels in its scan")
    used = {number >> 4 for number in body[2 : 2 + 2 * count : 2]}
    predictor, end, shift = body[-3:]
    if set(body[1 : 1 + 2 * count : 2]) != parts or not used <= tables:
        raise Damaged("its lossless JPEG stream has no table for its scan")
    if not 1 <= predictor <= 7 or end or shift > 15:
        raise Damaged("its lossless JPEG stream has an impossible predictor")


def _entropy(data: bytes, start: int) -> bytes:
    """Give the coded values, up to the end of the image; no marker but restarts may be in them."""
    place = start
    while True:
        place = data.find(b"\xff", place)
        follows = data[place + 1 : place + 2] if place >= 0 else b""
        if not follows:
            raise Damaged("its lossless JPEG stream does not end")
        if follows[0] == _END:
            return data[start:place]
        if follows[0] and not 0xD0 <= follows[0] <= 0xD7:
            raise Damaged("its lossless JPEG stream has parts that are not known")
        place += 2
