"""Arrays as small pictures within a page."""

from __future__ import annotations

import base64
import io
from importlib import import_module

import numpy as np

from chainrule.engine.op import Array

_BLUE, _RED = np.array([33, 102, 172]), np.array([178, 24, 43])


def grey(values: Array) -> Array:
    """Turn a map (H, W) into bytes, its smallest value black and its largest white.

    >>> grey(np.array([[0.0, 1.0], [2.0, 4.0]])).tolist()
    [[0, 64], [128, 255]]
    """
    low, high = _range(values)
    with np.errstate(invalid="ignore"):
        scaled = (values.astype(np.float64) - low) / ((high - low) or 1.0)
    return np.asarray(np.rint(np.clip(np.nan_to_num(scaled), 0, 1) * 255), np.uint8)


def signed(values: Array, most: float | None = None) -> Array:
    """Turn a map (H, W) into colours (H, W, 3): blue below 0, white at 0, red above.

    >>> signed(np.array([[-1.0, 0.0, 1.0]])).tolist()
    [[[33, 102, 172], [255, 255, 255], [178, 24, 43]]]
    """
    low, high = _range(values)
    scale = most or max(abs(low), abs(high)) or 1.0
    part = np.clip(np.nan_to_num(values.astype(np.float64) / scale), -1, 1)[..., np.newaxis]
    colour = np.where(part > 0, _RED, _BLUE)
    mixed = 255 + (colour - 255) * np.abs(part)
    return np.asarray(np.rint(mixed), np.uint8)


def _range(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def uri(pixels: Array, most: int | None = None) -> str:
    """Write bytes (H, W) or (H, W, 3) as a PNG that stands in the page itself.

    Where it is larger, it is made smaller until no side has more than `most` pixels.
    """
    pillow = import_module("PIL.Image")
    stream = io.BytesIO()
    image = pillow.fromarray(np.ascontiguousarray(pixels))
    if most is not None:
        image.thumbnail((most, most))
    image.save(stream, "PNG", compress_level=1)
    return data_uri(stream.getvalue())


def image_uri(plain: Array, most: int | None = None) -> str:
    """Paint an image (C, H, W) of pixels from 0 to 1, in colours or by its first channel.

    >>> image_uri(np.zeros((3, 2, 2), np.float32))[:22]
    'data:image/png;base64,'
    """
    pixels = np.rint(plain * 255).astype(np.uint8)
    return uri(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0], most)


def data_uri(png: bytes) -> str:
    """Write a PNG file as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
