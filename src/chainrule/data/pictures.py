"""Picture files as arrays (C, H, W), in the depth that they have."""

from __future__ import annotations

import importlib
import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np

from chainrule.data import jpeg
from chainrule.engine.op import Array
from chainrule.errors import DataError

Mode = Literal["L", "RGB"]
"""Grey, one channel, or colour, three."""

Source = str | os.PathLike[str] | bytes
"""The path of a picture file, or what is in one."""

ENDINGS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"),
        *(".bmp", ".gif", ".ppm", ".pgm", ".pbm"),
    )
)
"""How the names of picture files end, in small letters."""

WHITE: dict[np.dtype[Any], float] = {
    np.dtype(np.uint8): 255.0,
    np.dtype(np.uint16): 65535.0,
    np.dtype(np.float32): 1.0,
}
"""The value of a white pixel in each depth that pictures are read in."""

_PLUGINS = ("Bmp", "Gif", "Jpeg", "Mpo", "Png", "Ppm", "Tiff", "WebP")
_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    jpeg.BEGINNING: "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    **{b"P%d" % number: "PPM" for number in range(1, 7)},
}
_GREY = ("1", "L", "LA", "La", "I", "F")
_HEAD = 16  # bytes that tell the format
_FIRST = 1 << 16  # bytes that are read at once: all of a small picture
_ORIENTATION = 0x0112  # EXIF's tag
_MOST_PAGES = 100  # of a TIFF file, that are counted
_TILE = 1 << 24  # pixels of a TIFF file's tile that are no cause for doubt
_TIFF_WIDE, _TIFF_HIGH = 322, 323  # of a tile
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_FORMAT, _TIFF_SUBSAMPLING = 258, 262, 339, 530
_YCBCR = 6  # a photometric interpretation


class _OwnWords(ValueError):
    """A reason that holds nothing of what stands in the file."""


def quotes(error: DataError) -> bool:
    """Tell whether a message of this module holds a library's words, which may quote the file.

    >>> quotes(DataError("a.png: no such file"))
    False
    """
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno is None  # the system's own have a number
    return cause is not None and not isinstance(cause, _OwnWords)


class Header(NamedTuple):
    """What the first bytes of a picture file tell: its channels, and the type of its pixels."""

    channels: int
    dtype: np.dtype[Any]


def read_picture(source: Source, mode: Mode | None = None, name: str | None = None) -> Array:
    """Read a picture: (C, H, W), writeable, in memory with the channels last.

    `source` is a path, or the bytes of a file, which messages then call `name`.  `mode` "L" gives
    one channel, by the luminance of ITU-R 601-2, "RGB" gives three; None what the file has, where
    a palette counts as colour.

    Bytes come through as bytes; grey of 16 bits (PNG, TIFF, PGM) as uint16; floats (TIFF) as
    float32, which must be finite and in 0..1.  Transparency is filled with white.  EXIF's rotation
    is applied.  Of an animation the first frame counts.  CMYK is converted without its profile.
    Formats: PNG, JPEG, WebP, TIFF, BMP, GIF, PPM.

    Raises DataError, which names the file, for one that is missing, no regular file, empty, cut
    short, no picture, or larger than twice `PIL.Image.MAX_IMAGE_PIXELS`, and for what would not
    come through whole: colour of 16 bits a channel, whole numbers of 32 bits, signed numbers,
    TIFF files of several pages.  May be called from several threads.

    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "dot.png"
    >>> Image.new("RGB", (2, 1), (255, 0, 9)).save(path)
    >>> read_picture(path).tolist()
    [[[255, 255]], [[0, 0]], [[9, 9]]]
    >>> read_picture(path, "L").shape
    (1, 1, 2)
    """
    if mode not in (None, "L", "RGB"):
        raise DataError(f"read_picture: expected 'L', 'RGB' or None as mode, got {mode!r}")
    label = name or shown(source)
    data = _jpeg(source, label)
    if data is not None:
        colour = None if mode is None else mode == "RGB"
        quick = jpeg.decoded(data, colour, _most_pixels())
        if quick is not None:
            return quick.transpose(2, 0, 1)  # (H, W, C) -> (C, H, W)
    return _read(source, mode, label).transpose(2, 0, 1)


def _jpeg(source: Source, name: str) -> bytes | None:
    """Give what is in a JPEG file, or None for other formats; few system calls, as many wait."""
    if isinstance(source, bytes):
        return source if source.startswith(jpeg.BEGINNING) else None
    with _file(source, name, 0) as file, named(name):
        head = file.read(_FIRST)
        if not head.startswith(jpeg.BEGINNING):
            return None
        return head if len(head) < _FIRST else head + file.read()


def _read(source: Source, mode: Mode | None, label: str) -> Array:
    """Read any picture through Pillow: (H, W, C)."""
    with opened(source, label) as image:
        _refuse(image, label)
        with named(label):
            image.load()
            pixels = upright(_pixels(image, mode), image)
    if pixels.dtype == np.float32:
        _check_floats(pixels, label)
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    if mode == "RGB" and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return pixels


def read_header(source: Source, name: str | None = None) -> Header:
    """Tell what `read_picture` will give, from the beginning of the file alone.

    Raises DataError as `read_picture` does, but for damage behind the header.

    >>> read_header(b"", "nothing.png")
    Traceback (most recent call last):
    chainrule.errors.DataError: nothing.png: not a picture but an empty file (0 bytes); remove it
    """
    label = name or shown(source)
    with opened(source, label) as image:
        _refuse(image, label)
        kind = image.mode
    depth = np.float32 if kind == "F" else np.uint16 if kind.startswith("I") else np.uint8
    return Header(1 if kind.startswith(_GREY) and kind != "LAB" else 3, np.dtype(depth))


def shown(source: Source) -> str:
    """Write a path for a message; bytes that are no text come as escapes.

    >>> shown("a/b.png"), shown(b"GIF89a")
    ('a/b.png', 'picture')
    """
    if isinstance(source, bytes):
        return "picture"
    return os.fsencode(source).decode("utf-8", "backslashreplace")


@contextmanager
def opened(source: Source, name: str, most: int | None = None) -> Iterator[Any]:
    """Give Pillow's image with its header read and its size checked, until the `with` ends.

    The format is told by the first bytes and not by the name.  `most` is how many pixels there may
    be, twice `PIL.Image.MAX_IMAGE_PIXELS` if left out.  Nothing that threads share is changed, as
    Pillow's own `open` does not warn here: it is not called.
    """
    with _file(source, name) as file:
        head = file.read(_HEAD)
        if not head:
            raise DataError(f"{name}: not a picture but an empty file (0 bytes); remove it")
        kind = _format(head)
        if kind is None or kind not in _pillow().OPEN:
            raise DataError(
                f"{name}: not a picture in a format that is known (PNG, JPEG, WebP, TIFF, BMP, "
                "GIF, PPM); convert it or remove it"
            )
        with named(name):
            file.seek(0)
            image = _pillow().OPEN[kind][0](file, "")
            if most is None:
                _check_size(image)
        width, height = image.size
        if most is not None and width * height > most:
            raise DataError(
                f"{name}: expected at most {most:,} pixels; {width:,} x {height:,} are more; "
                "scale it down first"
            )
        yield image


def upright(pixels: Array, image: Any) -> Array:
    """Turn pixels (H, W, ...) of a loaded image as its EXIF data say; TIFF's are turned already."""
    exif = image.info.get("exif")
    turn = _orientation(exif) if exif and image.format != "TIFF" else 1
    if turn == 1:
        return pixels
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    down = -1 if turn in (3, 4, 7, 8) else 1
    right = -1 if turn in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::down, ::right])


@cache
def _pillow() -> Any:
    """Load Pillow with the readers of our formats: slow, and only needed here."""
    for plugin in _PLUGINS:
        importlib.import_module(f"PIL.{plugin}ImagePlugin")
    return importlib.import_module("PIL.Image")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Raise DataError for whatever Pillow raises: on damaged files that may be anything."""
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{name}: cannot be read as a picture ({reason}); mend or remove it"
        ) from error


def _file(source: Source, name: str, buffering: int = -1) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        if not stat.S_ISREG(os.stat(source).st_mode):  # a pipe would be waited for
            raise DataError(f"{name}: is not a regular file; a picture's file is expected here")
        return open(source, "rb", buffering)
    except FileNotFoundError as error:
        raise DataError(f"{name}: no such file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{name}: cannot be opened ({reason})") from error


def _format(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    found = (kind for beginning, kind in _BEGINNINGS.items() if head.startswith(beginning))
    return next(found, None)


def _most_pixels() -> float:
    limit = _pillow().MAX_IMAGE_PIXELS
    return float("inf") if limit is None else 2 * limit


def _check_size(image: Any) -> None:
    width, height = image.size
    most = _most_pixels()
    if width * height > most:
        raise _OwnWords(
            f"{width:,} x {height:,} pixels are more than {most:,}, which guards against "
            "small files that fill the memory; PIL.Image.MAX_IMAGE_PIXELS is half the bound"
        )


def _refuse(image: Any, name: str) -> None:
    """Raise DataError for what Pillow would open and not give whole."""
    reason = None
    if image.format in ("PNG", "PPM") and image.mode in ("RGB", "RGBA", "LA") and image.tile:
        settings = image.tile[0][3]  # the form in the file, or with it the largest value
        if ";16" in settings if isinstance(settings, str) else settings[1] > 255:
            reason = "16 bits a channel in more than one channel"
    elif image.format == "TIFF":
        with named(name):
            reason = _refused_tiff(image)
    if reason:
        raise DataError(
            f"{name}: {reason} cannot be read without loss; save it with 8 bits a channel, or as "
            "grey of 16 bits"
        )


def _refused_tiff(image: Any) -> str | None:
    """Say what of a TIFF file would not come through; ValueError for sizes that cannot be true."""
    tags = image.tag_v2
    bits = tags.get(_TIFF_BITS, (1,))
    pages = _pages(image)
    if pages > 1:
        more = " or more" if pages == _MOST_PAGES else ""
        return f"a file of {pages}{more} pages, each a picture of its own,"
    tile = tags.get(_TIFF_WIDE, 0) * tags.get(_TIFF_HIGH, 0)
    if tile > max(_TILE, 2 * image.width * image.height):  # all of it is held in memory
        raise _OwnWords(f"its tiles have {tile:,} pixels each, far more than the picture")
    if len(bits) > 1 and max(bits) > 8:
        return f"{max(bits)} bits a channel in more than one channel"
    if 2 in tags.get(_TIFF_FORMAT, (1,)):
        return "pixels with a sign"
    if tags.get(_TIFF_PHOTOMETRIC) == _YCBCR and image.tile[0][0] == "raw":
        whole = tags.get(_TIFF_SUBSAMPLING, (2, 2)) == (1, 1)
        if image.mode != "YCbCr" or not whole:  # an older Pillow, or fewer pixels of colour
            return "uncompressed YCbCr"
    if bits == (12,) or image.mode == "I":
        return f"whole numbers of {bits[0]} bits, whose white is not agreed on,"
    return None


def _pages(image: Any) -> int:
    """Count the pages, up to some: each costs time, and their number is the file's to choose."""
    for page in range(1, _MOST_PAGES):
        try:
            image.seek(page)
        except EOFError:
            return page
    return _MOST_PAGES


def _pixels(image: Any, mode: Mode | None) -> Array:
    """Give the pixels of a loaded image, (H, W) or (H, W, 3), without transparency."""
    kind = image.mode
    if kind.startswith(("I", "F")):
        return _deep(image)
    grey = kind in _GREY
    if image.has_transparency_data:
        image = _pillow().fromarray(_on_white(image, grey))
    elif not grey and kind != "RGB":
        image = image.convert("RGB")
    elif grey and kind != "L":
        image = image.convert("L")
    if mode == "L" and not grey:
        image = image.convert("L")
    return np.array(image)


def _deep(image: Any) -> Array:
    """Give grey of 16 bits, or floats; black and white as they are meant."""
    dtype = np.float32 if image.mode == "F" else np.uint16
    white = WHITE[np.dtype(dtype)]
    pixels = np.array(image).astype(dtype)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        pixels[pixels == clear] = white
    if image.format == "TIFF" and image.tag_v2.get(_TIFF_PHOTOMETRIC) == 0:  # 0 is white
        pixels = np.subtract(dtype(white), pixels, dtype=dtype)
    return pixels


def _on_white(image: Any, grey: bool) -> Array:
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    layers = np.asarray(image.convert("LA" if grey else "RGBA")).astype(np.uint16)
    alpha = layers[:, :, -1:]
    mixed = (layers[:, :, :-1] * alpha + 255 * (255 - alpha) + 127) // 255  # under 2**16
    filled = mixed.astype(np.uint8)
    return filled[:, :, 0] if grey else filled


def _check_floats(pixels: Array, name: str) -> None:
    low, high = float(pixels.min()), float(pixels.max())  # NaN comes through both
    if not (low >= 0.0 and high <= 1.0):
        raise DataError(
            f"{name}: expected floats in 0..1, from black to white, found {low:g} to {high:g}; "
            "scale them before they are saved"
        )


def _orientation(exif: bytes) -> int:
    """Read the orientation, 1..8, from EXIF data; damaged ones turn nothing."""
    body = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(body[:2])
    if order is None or len(body) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", body, 4)
    if start + 2 > len(body):
        return 1
    (count,) = struct.unpack_from(f"{order}H", body, start)
    for place in range(start + 2, min(start + 2 + 12 * count, len(body) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", body, place)
        if tag == _ORIENTATION:
            (value,) = struct.unpack_from(order + ("I" if kind == 4 else "H"), body, place + 8)
            return int(value) if 1 <= value <= 8 else 1
    return 1
