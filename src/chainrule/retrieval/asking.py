"""A question to an index: a picture, a part of it, images that are in the index already."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, failure
from chainrule.ops.arguments import integer
from chainrule.retrieval.items import Picture, Reading, frames_in, pictures

_ROOM = 0.1  # by which proportions may differ before anything is said


@dataclass(frozen=True)
class Region:
    """A part of a picture: the column `x` and row `y` of its corner, width and height, in pixels.

    >>> Region.parse("10,20,64,48")
    Region(x=10, y=20, width=64, height=48)
    """

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read x,y,w,h; DataError for anything else."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 4 or not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in parts):
            raise DataError(f"region: expected x,y,w,h, whole numbers of pixels; got {text[:60]!r}")
        return cls(*map(int, parts))

    def cut(self, pixels: Array) -> Array:
        """Give the part of a picture (C, H, W); DataError where it is not wholly within.

        >>> Region(1, 0, 2, 2).cut(np.zeros((1, 2, 3))).shape
        (1, 2, 2)
        """
        high, wide = pixels.shape[1:]
        fits = self.x >= 0 and self.y >= 0 and self.width > 0 and self.height > 0
        if not fits or self.x + self.width > wide or self.y + self.height > high:
            raise DataError(
                f"region: expected a part of the picture, {wide} wide and {high} high; got "
                f"x {self.x}, y {self.y}, width {self.width}, height {self.height}"
            )
        return pixels[:, self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Question:
    """What a search begins with.

    `vector` (D,) of length 1 and `probabilities` (K,) are compared; `group` is the patient's keyed
    hash, 0 if not known; `own` are the ids of images that are the query itself, or that it was
    made of.  `picture` (C, H, W) is what was asked about, `x` (C, H, W) what the network got of it,
    None for questions made of images in the index alone.
    """

    vector: Array
    probabilities: Array
    group: int = 0
    own: tuple[str, ...] = ()
    picture: Picture | None = None
    x: Array | None = None
    notes: tuple[str, ...] = ()


def frame_of(source: Any, reading: Reading, frame: int | None) -> tuple[Picture, tuple[str, ...]]:
    """Read the picture that is asked about, and what is to be said of the choice.

    `source` is a path, the bytes of a file, or pixels (C, H, W) or (H, W): bytes, 16 bits, or
    floats from 0 to 1.  Of several frames `frame` (from 0) is taken, else the middle one.
    """
    if isinstance(source, np.ndarray) or hasattr(source, "__array_interface__"):
        return _pixels(np.asarray(source)), ()
    if not isinstance(source, str | bytes | os.PathLike):
        rule = "a path, a file's bytes, or pixels (C, H, W)"
        raise failure("query", rule, error=KindError, source=type(source))
    count, notes = frames_in(source), tuple[str, ...]()
    if not isinstance(source, bytes) and not os.path.exists(source):
        raise DataError("the file: no such file")
    if frame is not None:
        wanted = integer(frame, "query", "a frame's number")
        if not 0 <= wanted < count:
            raise DataError(f"query: expected a frame from 0 to {count - 1}; got {frame}")
    else:
        wanted, notes = (count - 1) // 2, _chosen(count)
    return next(pictures(source, reading, wanted)), notes


def _chosen(count: int) -> tuple[str, ...]:
    """Say which of several frames was taken."""
    if count < 2:
        return ()
    return (f"Of {count} frames the middle one is asked about, number {(count - 1) // 2}.",)


def _pixels(given: Array) -> Picture:
    pixels = given[np.newaxis] if given.ndim == 2 else given
    fits = pixels.ndim == 3 and len(pixels) in (1, 3) and pixels.size
    if not fits or pixels.dtype.kind not in "uf":
        rule = "pixels (C, H, W) with 1 or 3 channels, or (H, W): bytes, uint16, floats from 0 to 1"
        raise failure("query", rule, picture=given)
    if pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise failure("query", "floats from 0 to 1", error=DataError, picture=given)
        return Picture(pixels.astype(np.float32), "", kind="array", white=1.0)
    if pixels.dtype.itemsize > 2:
        raise failure("query", "bytes or uint16", error=KindError, picture=given)
    return Picture(pixels, "", kind="array", white=float(np.iinfo(pixels.dtype).max))


def proportions(part: tuple[int, ...], seen: tuple[int, ...]) -> tuple[str, ...]:
    """Say where the network sees the middle of a region alone: sizes (high, wide) -> sentences.

    >>> proportions((40, 41), (64, 64)), len(proportions((40, 80), (64, 64)))
    ((), 1)
    """
    (high, wide), (h, w) = part, seen
    if abs(high * w - wide * h) <= _ROOM * max(high * w, wide * h):
        return ()
    return (
        f"The network looks at pictures of {w} by {h}: of the region of {wide} by {high} only the "
        "middle with these proportions may count.",
    )


def mixed(vectors: Array, probabilities: Array, weights: Sequence[float]) -> tuple[Array, Array]:
    """Give the middle of several images: features (D,) of length 1, and classes (K,).

    `vectors` (n, D), `probabilities` (n, K).  With the picture itself first and those that were
    liked behind it this is Rocchio's feedback (1971) without anything that is disliked.

    >>> mixed(np.eye(2), np.eye(2), [1, 1])[1].tolist()
    [0.5, 0.5]
    """
    share = np.asarray(weights, np.float64) / np.sum(weights)
    v = share @ vectors.astype(np.float64)
    length = float(np.linalg.norm(v))
    return (v / (length or 1.0)).astype(np.float32), (share @ probabilities).astype(np.float32)
