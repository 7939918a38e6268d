"""Frames that are not compressed, each read from the file alone."""

from __future__ import annotations

import numpy as np

from chainrule.data.dicom_header import Pixels
from chainrule.data.dicom_layout import HALVED, Layout
from chainrule.engine.op import Array
from chainrule.errors import DataError


class Native:
    """The frames of a file whose pixels are plain.

    Raises DataError where the file holds fewer bytes than its frames need.
    """

    def __init__(self, pixels: Pixels, layout: Layout) -> None:
        self._pixels, self._layout, self._name = pixels, layout, pixels.store.name
        # bytes as the halves of words, of which the first is the high one
        self._swapped = (
            not layout.little and layout.allocated == 8 and pixels.representation == "OW"
        )
        needed = -(-layout.bits * layout.frames // 8)
        if pixels.undefined:
            raise DataError(
                f"{self._name}: its pixels are packed as compressed ones are, but its transfer "
                "syntax says that they are plain; mend or remove it"
            )
        if pixels.count < needed:
            raise DataError(
                f"{self._name}: is cut short: it holds {pixels.count:,} bytes of pixels, fewer "
                "than its header asks for; copy it anew"
            )

    def read(self, frame: int) -> tuple[Array, str]:
        """Give one frame, (rows, columns[, 3]), and its photometric interpretation."""
        layout = self._layout
        flat = self._bits(frame) if layout.allocated == 1 else self._values(frame)
        if layout.photometric in HALVED:
            flat = _doubled(flat)
        return settled(arranged(flat, layout, layout.planar), layout), layout.photometric

    def _bits(self, frame: int) -> Array:
        """Unpack single bits, of which a frame may begin within a byte."""
        count = self._layout.bits
        first, last = frame * count, (frame + 1) * count
        data = self._bytes(first // 8, -(-last // 8))
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[first % 8 : first % 8 + count]

    def _values(self, frame: int) -> Array:
        count = self._layout.bits // 8
        first, last = frame * count, (frame + 1) * count
        if self._swapped:
            begin = first - first % 2
            data = self._bytes(begin, last + last % 2)
            words = np.frombuffer(data + b"\0" * (len(data) % 2), np.uint16)
            found = words.byteswap().view(np.uint8)[first - begin : last - begin]
            return found.view(self._layout.dtype)
        dtype = self._layout.dtype
        order = dtype.newbyteorder("<" if self._layout.little else ">")
        values = np.frombuffer(self._bytes(first, last), order)
        return values.astype(dtype)

    def _bytes(self, first: int, last: int) -> bytes:
        pixels = self._pixels
        last = min(last, pixels.count)
        data = pixels.store.read(pixels.start + first, last - first)
        if len(data) < last - first:
            raise DataError(f"{self._name}: has become shorter since it was opened; open it anew")
        return data


def arranged(flat: Array, layout: Layout, planar: bool) -> Array:
    """Give values in the order of the file the shape (rows, columns[, 3])."""
    rows, columns = layout.rows, layout.columns
    if layout.samples == 1:
        return flat.reshape(rows, columns)
    if planar and layout.photometric not in HALVED:
        return np.ascontiguousarray(flat.reshape(3, rows, columns).transpose(1, 2, 0))
    return flat.reshape(rows, columns, 3)


def settled(pixels: Array, layout: Layout) -> Array:
    """Clear the bits that are not used, or fill them with the sign."""
    unused = layout.allocated - layout.stored
    if not unused or layout.floats:
        return pixels
    dtype = pixels.dtype.type
    return np.asarray(np.right_shift(np.left_shift(pixels, dtype(unused)), dtype(unused)))


def _doubled(flat: Array) -> Array:
    """Give two pixels that share their blue and red, Y Y B R, three values each."""
    pairs = flat.reshape(-1, 4)
    return pairs[:, [0, 2, 3, 1, 2, 3]].reshape(-1)
