"""What a DICOM header says of its pixels, held against what can be and what the file holds."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chainrule.data.dicom_header import Header
from chainrule.errors import DataError

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
"""Grey, whose smallest value is white, and grey, whose smallest is black."""

HALVED = ("YBR_FULL_422", "YBR_PARTIAL_422")
"""Colours of which two pixels in a row share their blue and red, where they are not compressed."""

_COLOURS = ("RGB", "YBR_FULL", *HALVED, "YBR_ICT", "YBR_RCT")
_ONE = (*MONOCHROME, "PALETTE COLOR")
_DEPTHS = (1, 8, 16, 32, 64)
_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_MOST_FRAMES = 1 << 24


@dataclass(frozen=True)
class Layout:
    """How pixels are kept: sizes, bits, sign, colour, and the order of channels and bytes."""

    rows: int
    columns: int
    frames: int
    samples: Literal[1, 3]
    photometric: str
    allocated: int
    stored: int
    signed: bool
    planar: bool
    floats: bool
    little: bool

    @property
    def values(self) -> int:
        """Count the values of a frame."""
        return self.rows * self.columns * self.samples

    @property
    def bits(self) -> int:
        """Count the bits of a frame that is not compressed."""
        bits = self.values * self.allocated
        return bits * 2 // 3 if self.photometric in HALVED else bits

    @property
    def dtype(self) -> np.dtype[Any]:
        """Tell the type of the decoded values, in the order of this machine."""
        if self.allocated == 1:
            return np.dtype(np.uint8)
        kind = "f" if self.floats else "i" if self.signed else "u"
        return np.dtype(f"{kind}{self.allocated // 8}")


def layout(header: Header, name: str) -> Layout:
    """Read the layout from a header.

    Raises DataError for what is missing or cannot be, for frames of more pixels than twice
    `PIL.Image.MAX_IMAGE_PIXELS`, and for more frames than any film has.
    """
    dataset, keyword = header.dataset, header.pixels.keyword
    floats = keyword in _FLOATS
    samples = whole(dataset, "SamplesPerPixel", name, 1)
    allocated = whole(dataset, "BitsAllocated", name, _FLOATS.get(keyword))
    photometric = str(dataset.get("PhotometricInterpretation") or "").strip("\0 ")
    _check_colour(photometric, samples, name)
    made = Layout(
        rows=whole(dataset, "Rows", name),
        columns=whole(dataset, "Columns", name),
        frames=whole(dataset, "NumberOfFrames", name, 1) or 1,
        samples=3 if samples == 3 else 1,
        photometric=photometric,
        allocated=allocated,
        stored=allocated if floats else whole(dataset, "BitsStored", name, allocated),
        signed=not floats and whole(dataset, "PixelRepresentation", name, 0) == 1,
        planar=samples == 3 and whole(dataset, "PlanarConfiguration", name, 0) == 1,
        floats=floats,
        little=header.little,
    )
    _check_sizes(made, name)
    _check_bits(made, _FLOATS.get(keyword), name)
    return made


def whole(dataset: Any, keyword: str, name: str, default: int | None = None) -> int:
    """Read one whole number from a header, or take the default where there is none."""
    value = dataset.get(keyword)
    if value is None or value == "":
        if default is not None:
            return default
        raise DataError(f"{name}: its header has no {keyword}, without which no pixel is known")
    if not isinstance(value, int | float) or value != int(value):
        raise DataError(f"{name}: expected one whole number as {keyword}; the header is damaged")
    return int(value)


def _check_colour(photometric: str, samples: int, name: str) -> None:
    known = {1: _ONE, 3: _COLOURS}.get(samples)
    if known is None:
        raise DataError(f"{name}: expected 1 or 3 samples per pixel; convert it to RGB")
    if photometric not in known:
        raise DataError(
            f"{name}: with {samples} samples per pixel its PhotometricInterpretation is to be one "
            f"of {', '.join(known)}; convert it"
        )


def _check_sizes(made: Layout, name: str) -> None:
    if made.rows < 1 or made.columns < 1:
        raise DataError(f"{name}: has no rows or no columns; remove it")
    most = _most_pixels()
    if made.rows * made.columns > most:
        raise DataError(
            f"{name}: a frame has more than {most:,} pixels, which guards against small files that "
            "fill the memory; PIL.Image.MAX_IMAGE_PIXELS is half the bound"
        )
    if not 1 <= made.frames <= _MOST_FRAMES:
        raise DataError(f"{name}: expected 1 to {_MOST_FRAMES:,} frames; its header is damaged")
    if made.photometric in HALVED and made.columns % 2:
        raise DataError(f"{name}: {made.photometric} needs an even number of columns; convert it")


def _check_bits(made: Layout, floats: int | None, name: str) -> None:
    if made.allocated not in ((floats,) if floats else _DEPTHS):
        shown = floats or ", ".join(map(str, _DEPTHS))
        raise DataError(f"{name}: expected {shown} as BitsAllocated; its header is damaged")
    if not 1 <= made.stored <= made.allocated:
        raise DataError(f"{name}: expected 1 to BitsAllocated as BitsStored; its header is damaged")
    if floats and made.photometric not in MONOCHROME:
        raise DataError(f"{name}: pixels that are floats are to be grey; convert it")


def _most_pixels() -> float:
    limit = importlib.import_module("PIL.Image").MAX_IMAGE_PIXELS
    return math.inf if limit is None else 2 * limit
