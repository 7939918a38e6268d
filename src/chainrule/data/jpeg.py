"""Plain JPEG files decoded without the interpreter's lock, all others left to Pillow.

Pillow reads a JPEG's header in Python: with small pictures that takes longer than their pixels,
and threads that do it wait for each other.  What is read here comes out as Pillow gives it, bit
for bit; whatever needs a second look (EXIF's rotation, CMYK, damage) is not read here at all.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from chainrule.engine.op import Array

BEGINNING = b"\xff\xd8\xff"
"""The first bytes of every JPEG file."""

# Markers, ITU-T T.81, table B.1: each is 0xFF and one of these, most followed by their length.
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; all by Huffman's codes
_SCAN, _EXIF_PLACE = 0xDA, 0xE1
_TABLES = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))  # comments, applications' too
_FORMS = {1: "GRAY", 3: "RGB"}


def decoded(data: bytes, colour: bool | None, most: float) -> Array | None:
    """Give the pixels (H, W, 1 or 3) of a JPEG file in memory, or None where Pillow is to look.

    `colour` False wants one channel and True three, None what the file has.  None comes back for
    more than `most` pixels, for a colour picture that is wanted grey, and for all that is not
    plain: EXIF data, other than 8 bits, 2 or 4 channels, rare codes, anything damaged.

    >>> decoded(b"GIF89a", None, 1e6) is None
    True
    """
    frame = _frame(data)
    if frame is None:
        return None
    height, width, channels = frame
    if not 0 < height * width <= most or (channels == 3 and colour is False):
        return None
    try:  # the decoder takes a warning for an error, and lets other threads run meanwhile
        pixels: Array = _decoder()(data, _FORMS[channels])
    except ValueError:
        return None
    return pixels.repeat(3, axis=2) if colour and channels == 1 else pixels


@cache
def _decoder() -> Any:
    return importlib.import_module("simplejpeg").decode_jpeg


def _frame(data: bytes) -> tuple[int, int, int] | None:
    """Read height, width and channels of a plain picture from the segments before its scan."""
    found, at = None, 2
    while data[at : at + 1] == b"\xff" and at + 4 <= len(data):
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker == _SCAN:
            return found
        if marker in _FRAMES and data[at + 4 : at + 5] == b"\x08":  # bits
            high, wide = (int.from_bytes(data[at + k : at + k + 2]) for k in (5, 7))
            channels = int.from_bytes(data[at + 9 : at + 10])
            if channels not in _FORMS:
                return None
            found = high, wide, channels
        elif marker not in _TABLES or (marker == _EXIF_PLACE and data.startswith(b"Exif", at + 4)):
            return None
        at += 2 + size
    return None
