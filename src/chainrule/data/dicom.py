"""DICOM files as pictures: what they say of themselves, their values, and their frames in 0..1."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np

from chainrule.data.dicom_decoders import Compressed
from chainrule.data.dicom_header import PREFIX, Header, read_header, readable
from chainrule.data.dicom_layout import MONOCHROME, Layout, layout
from chainrule.data.dicom_native import Native
from chainrule.data.dicom_quiet import attempt, pydicom
from chainrule.data.dicom_source import Store
from chainrule.data.dicom_tables import greys, palette
from chainrule.data.dicom_values import Greys, Table, Window, colours
from chainrule.data.pictures import Source
from chainrule.engine.op import Array
from chainrule.errors import DataError

DICOM_ENDINGS = frozenset((".dcm", ".dicom", ".ima"))
"""How the names of DICOM files end, in small letters; many have none."""

_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"  # and its kinds of several frames, .1 to .4
_PLAIN = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DAMAGED = "is damaged: its header cannot be read; mend or remove it"
_BROKEN = "its pixels cannot be read; mend or remove it"


def is_dicom(source: Source) -> bool:
    """Tell whether a path or the bytes of a file are DICOM's: "DICM" behind 128 bytes.

    A path that ends as DICOM files do (`DICOM_ENDINGS`) is one also without that, where its bytes
    begin as a data set does and pydicom can read them.  What cannot be opened is none.

    >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"GIF89a")
    (True, False)
    """
    try:
        store = Store(source)
        if store.read(128, len(PREFIX)) == PREFIX:
            return True
        if isinstance(source, bytes):
            return False
        ending = os.path.splitext(os.fsdecode(source))[1].lower()
        return ending in DICOM_ENDINGS and readable(store)
    except DataError:
        return False


class DicomFile:
    """A DICOM file that holds pictures; `DicomFile.open` reads one.

    `modality` (CT, MR, ...), `frames`, `rows`, `columns`; `channels` of a picture, 1 or 3;
    `photometric`, how the pixels mean grey or colour; `patient`, the PatientID, and `study`, the
    StudyInstanceUID, "" if there is none; `burned_in`, whether the file says that there is text in
    its pixels; `secondary_capture`, whether it is a picture of a screen or of film: told by the
    SOP class, or in a file without one by an ImageType that says SECONDARY (with a class it says
    only that the frame was computed from others).

    Of a path only the header is kept; pixels are read when they are asked for.  May be used from
    several threads.
    """

    def __init__(self, header: Header, layout: Layout, name: str) -> None:
        self._header, self._layout, self._name = header, layout, name
        self._lock = threading.Lock()  # pydicom changes its elements on first use
        self._palette: Table | None = None
        self.rows, self.columns, self.frames = layout.rows, layout.columns, layout.frames
        self.photometric = layout.photometric
        self.channels = 1 if layout.photometric in MONOCHROME else 3
        plain = header.syntax in _PLAIN or header.syntax == _DEFLATED
        self._pixels = Native(header.pixels, layout) if plain else Compressed(header, layout)
        self.modality, self.patient = self.tag("Modality"), self.tag("PatientID")
        self.study = self.tag("StudyInstanceUID")
        self.burned_in = self.tag("BurnedInAnnotation").upper() == "YES"
        self.secondary_capture = self._captured()

    @classmethod
    def open(cls, source: Source, name: str | None = None) -> DicomFile:
        """Read the header of a path or of the bytes of a file, which messages call `name`.

        Left out, `name` is the path, or "DICOM file" for bytes.  Raises DataError for what is
        missing, no DICOM file, damaged or cut short, holds no pixels, or pixels that cannot be
        read: the message says which, and never holds a value of the header.

        >>> DicomFile.open(b"GIF89a", "dot.gif")
        Traceback (most recent call last):
        chainrule.errors.DataError: dot.gif: not a DICOM file: it has no DICM behind 128 bytes; \
remove it
        """
        store = Store(source, name)
        header = read_header(store)

        def made() -> DicomFile:
            return cls(header, layout(header, store.name), store.name)

        return attempt(store.name, _DAMAGED, made)

    def tag(self, keyword: str) -> str:
        r"""Read a text or number of the header by its name, such as "SeriesDescription".

        Several values are joined by a backslash; what is absent is "".  Raises DataError for a
        name that DICOM does not have, and for elements that are no text.
        """
        if pydicom(self._name).datadict.tag_for_keyword(keyword) is None:
            raise DataError(f"{self._name}: DICOM has no element of the name {keyword!r}")

        def text() -> str:
            value = self._header.dataset.get(keyword)
            if value is None or value == b"":
                return ""
            if isinstance(value, bytes) or self._header.dataset[keyword].VR == "SQ":
                raise DataError(f"{self._name}: {keyword} is no text")
            several = isinstance(value, list) or type(value).__name__ == "MultiValue"
            shown = "\\".join(map(str, value)) if several else str(value)
            return shown.strip("\0 ")

        with self._lock:
            return attempt(self._name, f"its {keyword} cannot be read; mend or remove it", text)

    def stored(self, frame: int = 0) -> Array:
        """Decode a frame: (rows, columns) or (rows, columns, 3), as the file keeps it.

        The values have their sign, and bits that are not used are cleared; nothing else is done:
        YBR is not RGB, and a palette's numbers are numbers.  Raises DataError for a frame that is
        not there, or damaged.
        """
        return self._read(frame)[0]

    def values(self, frame: int = 0) -> Array:
        """Give what a grey frame's pixels stand for, (rows, columns) float64: Hounsfield for CT.

        That is after the modality's table, or its slope and intercept.  Colours come as stored.
        """
        stored = self.stored(frame)
        if self.photometric not in MONOCHROME:
            return stored
        way = self._greys(frame)
        return attempt(
            self._name, _BROKEN, lambda: way.modality.of(stored).astype(np.float64, copy=False)
        )

    def image(self, frame: int = 0, window: Window | None = None) -> Array:
        """Give a frame as a picture: (C, rows, columns) float32 in 0..1, 0 black.

        Grey goes through the modality's table; then `window`, else the file's first VOI table or
        window, else from the smallest to the largest value that is no padding; and is inverted
        where the file's smallest value is white.  Colours become RGB; windows are not for them.
        """
        stored, kind = self._read(frame)
        if self.photometric in MONOCHROME:
            way = self._greys(frame)
            return attempt(self._name, _BROKEN, lambda: way.picture(stored, window)[np.newaxis])
        if self.photometric == "PALETTE COLOR":
            table = self._colours()
            pixels = attempt(self._name, _BROKEN, lambda: table.of(stored))
        else:
            pixels = attempt(
                self._name, _BROKEN, lambda: colours(stored, kind, self._layout.stored)
            )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def images(self, window: Window | None = None) -> Iterator[Array]:
        """Give each frame as `image` does, one after the other, of which none is kept."""
        for frame in range(self.frames):
            yield self.image(frame, window)

    def _read(self, frame: int) -> tuple[Array, str]:
        if not 0 <= frame < self.frames:
            raise DataError(
                f"{self._name}: expected a frame of 0 to {self.frames - 1}, got {frame}"
            )
        return attempt(self._name, _BROKEN, lambda: self._pixels.read(frame))

    def _greys(self, frame: int) -> Greys:
        with self._lock:
            return attempt(
                self._name,
                "its tables or windows are damaged; mend or remove it",
                lambda: greys(self._header.dataset, self._layout, frame, self._name),
            )

    def _colours(self) -> Table:
        with self._lock:
            if self._palette is None:
                self._palette = attempt(
                    self._name,
                    "its palette is damaged; mend or remove it",
                    lambda: palette(self._header.dataset, self._layout, self._name),
                )
            return self._palette

    def _captured(self) -> bool:
        kind = self.tag("SOPClassUID")
        if kind:
            beginning, _, rest = kind.partition(_SECONDARY)
            return not beginning and rest in ("", ".1", ".2", ".3", ".4")
        return "SECONDARY" in self.tag("ImageType").upper().split("\\")[1:2]
