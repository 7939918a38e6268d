"""Files that are handed in as pictures by somebody who means no good, or made a mistake."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def written(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Write an image as a file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Write a part of a PNG file."""
    head = struct.pack(">I", len(data)) + kind
    return head + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, extra: bytes = b"", rows: bytes | None = None) -> bytes:
    """Write a grey PNG file that says to be so large, of zeros."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"\0" * (height * (width + 1)) if rows is None else rows
    body = chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + body


def tiff(tags: dict[int, int]) -> bytes:
    """Write a TIFF file with these tags, each one number, and 400 bytes behind them."""
    found = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + found + struct.pack("<I", 0) + b"\x80" * 400


_SQUARE = {256: 8, 257: 8, 258: 8, 262: 1, 277: 1}
_NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
_ZEROS = zlib.compress(b"\0" * 50_000_000, 9)
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", "the file is empty"),
    "script.svg": (SVG, "not a picture in a format that is known"),
    "page.png": (b"<!doctype html><script>alert(1)</script>", "not a picture in a format"),
    "text.jpg": (b"hello", "not a picture in a format"),
    "large.png": (png(10_000, 10_000), "10,000 x 10,000 are more; scale it down first"),
    "large.jpg": (written(Image.new("L", (10_000, 10_000)), "JPEG"), "10,000 x 10,000 are more"),
    "large.tif": (
        written(Image.new("1", (10_000, 10_000)), "TIFF", compression="group4"),
        "10,000 x 10,000 are more",
    ),
    "bomb.png": (png(60_000, 60_000, rows=b"\0"), "60,000 x 60,000 are more"),
    "bomb.gif": (
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\x01\0\x01\0\0\x02",
        "65,535 x 65,535 are more",
    ),
    "text.png": (png(8, 8, chunk(b"zTXt", b"a\0\0" + _ZEROS)), "cannot be read as a picture"),
    "profile.png": (png(8, 8, chunk(b"iCCP", b"a\0\0" + _ZEROS)), "cannot be read as a picture"),
    "tile.tif": (
        tiff({**_SQUARE, 259: 5, 322: 40_000, 323: 40_000, 324: 200, 325: 64}),
        "its tiles have 1,600,000,000 pixels each",
    ),
    "strip.tif": (
        tiff({**_SQUARE, 259: 5, 273: 200, 278: 2**31, 279: 2**31}),
        "cannot be read as a picture",
    ),
    "lie.tif": (
        tiff({**_SQUARE, 256: 5000, 257: 5000, 259: 1, 273: 200, 278: 5000, 279: 25_000_000}),
        "cannot be read as a picture",
    ),
    "short.png": (written(_NOISE, "PNG")[:50_000], "cannot be read as a picture"),
    "short.jpg": (written(_NOISE, "JPEG")[:5_000], "cannot be read as a picture"),
    "short.ppm": (b"P5\n6000 6000\n255\n" + b"x" * 100, "cannot be read as a picture"),
    "pages.tif": (
        written(
            Image.new("L", (8, 8)), "TIFF", save_all=True, append_images=[Image.new("L", (8, 8))]
        ),
        "a file of 2 pages",
    ),
}
"""By name: what is in the file, and what is said of it."""


def rotated() -> bytes:
    """Write a JPEG file 40 pixels wide and 20 high whose left half is white, lying on its side."""
    pixels = np.zeros((20, 40), np.uint8)
    pixels[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, so that its left comes to the top
    return written(Image.fromarray(pixels), "JPEG", exif=exif, quality=95)
