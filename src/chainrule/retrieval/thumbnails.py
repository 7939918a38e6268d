"""Small pictures of what is in an index: pixels and nothing else of the file they came from."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError

SIDE = 128
"""Pixels of a thumbnail's longest side, if nothing else is said."""

LARGEST = 1024
"""What may be asked for: more would be the picture itself."""

_AT_ONCE = 1 << 18  # pixels that are turned into bytes together
_QUALITY = 88  # of JPEG: artefacts are hardly seen, and a thumbnail of 128 takes some 3 kB


def thumbnail(pixels: Array, white: float, side: int = SIDE) -> bytes:
    """Give a picture (C, H, W), C = 1 or 3, in small, as a JPEG file without any description.

    The longest side has at most `side` pixels; small pictures stay as they are.  0 gives nothing.

    >>> data = thumbnail(np.zeros((1, 300, 200), np.uint8), 255.0)
    >>> opened(data).shape
    (1, 128, 85)
    """
    if not side:
        return b""
    pillow = importlib.import_module("PIL.Image")
    image = pillow.fromarray(as_bytes(pixels, white))
    image.thumbnail((side, side), pillow.Resampling.BOX, reducing_gap=None)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def as_bytes(pixels: Array, white: float, channels_last: bool = True) -> Array:
    """Give a picture (C, H, W) as bytes, (H, W) or (H, W, 3), or in its own order of axes.

    >>> as_bytes(np.array([[[0.0, 0.5, 1.0]]]), 1.0).tolist()
    [[0, 128, 255]]
    """
    scaled = pixels
    if pixels.dtype != np.uint8 or white != 255.0:
        scaled = np.empty(pixels.shape, np.uint8)
        lines = max(1, _AT_ONCE // max(1, pixels.shape[2]))  # a large picture would take gigabytes
        for begin in range(0, pixels.shape[1], lines):
            part = pixels[:, begin : begin + lines] * (255.0 / white)
            scaled[:, begin : begin + lines] = np.rint(np.clip(part, 0, 255, out=part), out=part)
    if not channels_last:
        return scaled
    shaped = scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0)
    return np.ascontiguousarray(shaped)


def opened(data: bytes) -> Array:
    """Give a thumbnail's pixels: (C, H, W) bytes.  Raises DataError for a damaged one."""
    pillow = importlib.import_module("PIL.JpegImagePlugin")
    try:
        image: Any = pillow.JpegImageFile(io.BytesIO(data))
        if max(image.size) > LARGEST:
            raise ValueError("too large")
        image.load()
    except Exception as error:
        raise DataError("a thumbnail of the index is damaged; chainrule index verify") from error
    pixels = np.asarray(image)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
