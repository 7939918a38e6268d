"""Frames that are compressed, by the decoders that pydicom knows, and by GDCM."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from chainrule.data import dicom_streams as streams
from chainrule.data.dicom_fragments import frames_of, joined
from chainrule.data.dicom_header import Header
from chainrule.data.dicom_layout import Layout
from chainrule.data.dicom_native import arranged, settled
from chainrule.data.dicom_quiet import EXTRA, attempt, pydicom
from chainrule.engine.op import Array
from chainrule.errors import DataError


class _Way(NamedTuple):
    """How a transfer syntax is read: decoders in the order they are tried, kinds of JPEG frames."""

    decoders: tuple[str, ...]
    kinds: frozenset[int] = frozenset()


# GDCM reads more than lossless JPEG, but ends the program on damaged streams, so others come first
# and it is given what `streams.lossless` has written anew.
_PLAIN_JPEG = _Way(("pillow", "pylibjpeg"), frozenset((0xC0, 0xC1)))
_LOSSLESS = _Way(("gdcm", "pylibjpeg"), frozenset((0xC3,)))
_JPEG_LS = _Way(("pyjpegls", "pylibjpeg"), frozenset((0xF7,)))
_JPEG_2000 = _Way(("pylibjpeg", "pillow"))
_JPEG = "1.2.840.10008.1.2.4."
_RLE = "1.2.840.10008.1.2.5"
_WAYS = {
    _JPEG + "50": _PLAIN_JPEG,
    _JPEG + "51": _PLAIN_JPEG,
    _JPEG + "57": _LOSSLESS,
    _JPEG + "70": _LOSSLESS,
    _JPEG + "80": _JPEG_LS,
    _JPEG + "81": _JPEG_LS,
    _JPEG + "90": _JPEG_2000,
    _JPEG + "91": _JPEG_2000,
    _JPEG + "201": _Way(("pylibjpeg",)),
    _JPEG + "202": _Way(("pylibjpeg",)),
    _JPEG + "203": _Way(("pylibjpeg",)),
    _RLE: _Way(("pylibjpeg", "pydicom")),
}


class Compressed:
    """The frames of a file whose pixels are compressed.

    Raises DataError for a transfer syntax that no decoder reads or whose decoder is not installed,
    which is then named, and for pixels that are damaged or cut short.
    """

    def __init__(self, header: Header, layout: Layout) -> None:
        self._pixels, self._layout, self._name = header.pixels, layout, header.pixels.store.name
        self._syntax = header.syntax
        way = _WAYS.get(self._syntax)
        shown = syntax_name(self._syntax, self._name)
        if way is None:
            raise DataError(f"{self._name}: {shown} is read by no decoder here; convert it")
        if layout.floats or (layout.allocated == 1 and self._syntax == _RLE):
            raise DataError(f"{self._name}: {shown} is not for pixels of this type; convert it")
        self._way = way
        self._decoders = [one for one in way.decoders if self._installed(one)]
        if not self._decoders:
            raise DataError(f"{self._name}: {shown} needs a decoder that is not installed; {EXTRA}")
        self._frames = frames_of(header.pixels, layout.frames, header.dataset)

    def read(self, frame: int) -> tuple[Array, str]:
        """Give one frame, (rows, columns[, 3]), and its photometric interpretation."""
        data = joined(self._pixels, self._frames[frame])
        try:
            data = streams.ended(data) if self._way.kinds else data
            stream = self._check(data)
            data = streams.lossless(data) if self._way is _LOSSLESS else data
            pixels, photometric = self._decoded(data, stream)
        except streams.Damaged as error:
            reason = str(error)
        else:
            return pixels.astype(self._layout.dtype, copy=False), photometric
        raise DataError(f"{self._name}: {reason}; mend or remove it")

    def _installed(self, decoder: str) -> bool:
        if decoder == "gdcm":
            try:
                importlib.import_module("gdcm")
            except ImportError:
                return False
            return True
        known = pydicom(self._name).pixels.decoders.base.get_decoder(self._syntax)
        return decoder in known.available_plugins

    def _check(self, data: bytes) -> streams.Stream | None:
        if self._syntax == _RLE:
            streams.rle(data, self._layout)
            return None
        kinds = self._way.kinds
        stream = streams.jpeg(data, kinds) if kinds else streams.jpeg2000(data)
        streams.check(stream, len(data), self._layout)
        return stream

    def _decoded(self, data: bytes, stream: streams.Stream | None) -> tuple[Array, str]:
        """Decode by the first of the decoders that can."""
        bits = stream.bits if stream else self._layout.stored
        for decoder in self._decoders:
            try:
                if decoder == "gdcm":
                    return attempt(self._name, "", lambda: self._by_gdcm(data, bits))
                return attempt(self._name, "", partial(self._by, decoder, data, stream))
            except DataError:
                continue
        more = ""
        if self._syntax.endswith(".51") and stream and stream.bits > 8:
            more = "; 12 bits of it are read by pylibjpeg-libjpeg alone"
        shown = syntax_name(self._syntax, self._name)
        raise streams.Damaged(f"its pixels cannot be decoded as {shown}{more}")

    def _by(self, plugin: str, data: bytes, stream: streams.Stream | None) -> tuple[Array, str]:
        layout, known = self._layout, pydicom(self._name)
        allocated, stored = layout.allocated, layout.stored
        if self._way is _PLAIN_JPEG and stream and stream.bits <= 8:
            allocated, stored = 8, min(stored, 8)  # which is what the decoders then give
        pixels, facts = known.pixels.decoders.base.get_decoder(self._syntax).as_array(
            known.encaps.encapsulate([data], has_bot=False),
            index=0,
            raw=True,
            decoding_plugin=plugin,
            rows=layout.rows,
            columns=layout.columns,
            number_of_frames=1,
            samples_per_pixel=layout.samples,
            bits_allocated=allocated,
            bits_stored=stored,
            pixel_representation=int(layout.signed),
            photometric_interpretation=layout.photometric,
            planar_configuration=int(layout.planar),
        )
        photometric = str(facts["photometric_interpretation"])
        if plugin == "pillow" and stream and stream.adobe:  # a transform that Pillow undoes
            photometric = "RGB" if layout.samples == 3 else photometric
        return np.ascontiguousarray(pixels), photometric

    def _by_gdcm(self, data: bytes, bits: int) -> tuple[Array, str]:
        layout = self._layout
        whole, size = _gdcm(data, layout, bits), 1 if bits <= 8 else 2
        if len(whole) != layout.values * size:
            raise streams.Damaged("its pixels have another size than its header says")
        flat = np.frombuffer(whole, f"<u{size}").astype(layout.dtype)  # the same bits
        return settled(arranged(flat, layout, False), layout), layout.photometric


def syntax_name(syntax: str, name: str) -> str:
    """Name a transfer syntax; one that is in no list is not quoted.

    >>> syntax_name("1.2.840.10008.1.2.5", "scan.dcm")
    'RLE Lossless'
    """
    known = pydicom(name).uid
    if syntax not in known.UID_dictionary:
        return "an unknown transfer syntax"
    return str(known.UID_dictionary[syntax][0])


def _gdcm(data: bytes, layout: Layout, bits: int) -> bytes:
    """Decode lossless JPEG of so many bits by GDCM: the bytes of the values, or Damaged."""
    gdcm: Any = importlib.import_module("gdcm")
    for silent in (gdcm.Trace.WarningOff, gdcm.Trace.DebugOff, gdcm.Trace.ErrorOff):
        silent()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    parts = gdcm.SequenceOfFragments.New()
    parts.AddFragment(fragment)
    element, out = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010)), gdcm.DataElement()
    element.SetValue(parts.__ref__())
    codec = gdcm.JPEGCodec()
    codec.SetNumberOfDimensions(2)
    codec.SetDimensions((layout.columns, layout.rows, 1))
    kinds = gdcm.PhotometricInterpretation  # as these two nothing is converted
    kind = kinds(kinds.RGB if layout.samples == 3 else kinds.MONOCHROME2)
    codec.SetPhotometricInterpretation(kind)  # before the format: else GDCM ends the program
    room = 8 if bits <= 8 else 16
    codec.SetPixelFormat(gdcm.PixelFormat(layout.samples, room, bits, bits - 1, 0))
    # the image's own `GetBuffer` gives memory that was never written where decoding fails
    values = out.GetByteValue() if codec.Decode(element, out) else None
    if values is None:
        raise streams.Damaged("its pixels cannot be decoded")
    return bytes(values.GetBuffer().encode("utf-8", "surrogateescape"))
