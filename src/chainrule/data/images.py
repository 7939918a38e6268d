"""Picture files as grey pixels, and pictures of digits in the frame that a data set has."""

from __future__ import annotations

import importlib
import os
from typing import Any, Literal

import numpy as np

from chainrule.data.pictures import named, opened, shown, upright
from chainrule.engine.op import Array
from chainrule.errors import DataError

Ink = Literal["auto", "dark", "light"]

_FAINTEST = 16  # grey levels between paper and ink under which a picture counts as blank
_INK_SHARE = 0.25  # of the strongest ink: what is weaker does not widen the frame


def read_image(path: str | os.PathLike[str]) -> Array:
    """Read a picture file as grey bytes (H, W), 0 black and 255 white.

    Colour becomes luminance (ITU-R 601-2); the EXIF rotation of photographs is applied;
    16-bit and floating-point pictures are scaled to 0..255.  Transparency is filled with the
    paper on which the opaque part can be seen: white under dark ink, black under light ink.
    Of an animation the first frame counts.  Raises DataError, naming the file, for one that is
    missing, damaged, no picture, or unreasonably large.  `read_picture` keeps colour and depth.

    >>> read_image("absent.png")
    Traceback (most recent call last):
    chainrule.errors.DataError: absent.png: no such file
    """
    name = shown(path)
    with opened(path, name) as image, named(name):
        image.load()
        return upright(_grey(image), image)


def _grey(image: Any) -> Array:
    if image.mode.startswith(("I", "F")):
        return _scaled(np.asarray(image))
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        return _on_paper(np.asarray(pixels.convert("RGB").convert("L")), pixels.getchannel("A"))
    if image.mode not in ("L", "1", "P", "RGB", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    return np.array(image.convert("L"))


def _scaled(pixels: Array) -> Array:
    """Scale 16-bit, 32-bit and floating-point grey to bytes."""
    x = pixels.astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError("it has pixels that are not finite")
    white = 65535.0
    if pixels.dtype.kind == "f":
        white = 1.0 if x.max() <= 1.0 else 255.0
    if x.min() < 0.0 or x.max() > white:  # no range is agreed on: take the picture's own
        low, high = float(x.min()), float(x.max())
        x, white = x - low, max(high - low, 1e-300)
    return np.rint(x * (255.0 / white)).astype(np.uint8)


def _on_paper(grey: Array, opacity: Any) -> Array:
    alpha = np.asarray(opacity).astype(np.float64) / 255.0
    ink = float((grey * alpha).sum() / max(alpha.sum(), 1e-9))
    paper = 255.0 if ink < 128.0 else 0.0
    return np.rint(grey * alpha + paper * (1.0 - alpha)).astype(np.uint8)


def frame_digit(
    grey: Array, size: int = 28, box: int = 20, ink: Ink = "auto", name: str = "picture"
) -> Array:
    """Bring a picture of one digit into the form of MNIST: light ink on black, (size, size) bytes.

    Paper and ink: the median of the picture's border is the paper; if it is lighter than the
    middle of the picture's range, the ink is dark and the picture is inverted.  `ink` "dark" or
    "light" decides instead.

    A picture of exactly size x size is then taken as it is, so that a data set's own images come
    through unchanged.  Any other is cut to its ink, scaled to fit box x box with its
    proportions kept, and placed with its centre of mass in the middle (as LeCun et al., 1998,
    made MNIST: 28 and 20).  Raises DataError for a blank picture.

    >>> import numpy as np
    >>> paper = np.full((90, 60), 255, np.uint8)
    >>> paper[20:70, 28:33] = 0  # a black stroke: a one
    >>> digit = frame_digit(paper)
    >>> digit.shape, int(digit.max()), int(np.count_nonzero(digit.any(axis=1)))
    ((28, 28), 255, 20)
    """
    grey = np.asarray(grey)
    if not grey.size or int(grey.max()) - int(grey.min()) < _FAINTEST:
        raise DataError(f"{name}: blank, nothing stands out by {_FAINTEST} grey levels of 256")
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = float(np.median(border))
    middle = (float(grey.min()) + float(grey.max())) / 2.0
    dark = paper > middle if ink == "auto" else ink == "dark"
    if grey.shape == (size, size):
        return np.subtract(255, grey, dtype=np.uint8) if dark else grey
    strength = paper - grey if dark else grey - paper
    if strength.max() < _FAINTEST:
        raise DataError(f"{name}: no {'dark' if dark else 'light'} ink stands out from its border")
    return _place(np.clip(strength / strength.max(), 0.0, 1.0), size, box)


def _place(strength: Array, size: int, box: int) -> Array:
    """Cut to the ink (0..1), fit it into the box, put its centre of mass into the middle."""
    rows, columns = (np.flatnonzero((strength > _INK_SHARE).any(axis=k)) for k in (1, 0))
    cut = strength[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = box / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    pillow = importlib.import_module("PIL.Image")
    picture = pillow.fromarray(np.rint(cut * 255.0).astype(np.uint8))
    glyph = np.asarray(picture.resize((width, height), pillow.Resampling.BICUBIC))
    weight = glyph.astype(np.float64) + 1e-9
    corner = []
    for k, side in enumerate(glyph.shape):
        centre = float((weight.sum(axis=1 - k) * (np.arange(side) + 0.5)).sum() / weight.sum())
        corner.append(min(max(round(size / 2 - centre), 0), size - side))
    framed = np.zeros((size, size), np.uint8)
    framed[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = glyph
    return framed
