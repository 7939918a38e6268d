"""Pictures that were handed in: checked, kept without what else was in the file, found by name."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from chainrule.data.pictures import WHITE, opened, read_picture
from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.formats.atomic import write_atomic

LARGEST_FILE = 32_000_000
"""Bytes of a picture's file."""

MOST_PIXELS = 40_000_000
"""Pixels of a picture: what a camera makes; more would fill the memory."""

KEPT, KEPT_BYTES = 200, 1_000_000_000
"""Pictures that are kept, and what they may take; the oldest make room."""

_NAME = re.compile(r"[0-9a-f]{20}")
_NOTE = ".json"


class Pictures:
    """A folder of pictures, each named by what it shows, so that links to it last.

    A picture is stored as PNG, in its depth: what else a file held (place, camera, names) is gone.
    A note may stand beside it, which goes when it goes.  `turn` is held while one is read, as each
    may take a gigabyte.

    >>> import tempfile
    >>> pictures = Pictures(Path(tempfile.mkdtemp()))
    >>> pictures.add(b"<svg onload='alert(1)'/>", "x.svg")
    Traceback (most recent call last):
    chainrule.errors.DataError: x.svg: not a picture in a format that is known (PNG, JPEG, WebP, \
TIFF, BMP, GIF, PPM); convert it or remove it
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.turn = threading.RLock()

    def add(self, data: bytes, name: str, note: str = "") -> str:
        """Keep a picture; gives its name.  Raises DataError for what is none, or too large."""
        shown = re.sub(r"[^\w .()-]", "_", name)[-60:] or "the file"
        if not data:
            raise DataError(f"{shown}: expected a picture; the file is empty")
        if len(data) > LARGEST_FILE:
            raise DataError(f"{shown}: expected at most {LARGEST_FILE // 1_000_000} MB")
        with self.turn:  # one after the other
            with opened(data, shown, MOST_PIXELS):
                pass
            return self.put(read_picture(data, name=shown), shown, note)

    def put(self, pixels: Array, shown: str, note: str = "") -> str:
        """Keep pixels (C, H, W): bytes, or grey of 16 bits or floats from 0 to 1; gives the name.

        With a note the name is another one, so that each note has its own.  Messages call the
        picture `shown`; DataError where it cannot be written.
        """
        content = _png(pixels)
        told = note.encode()
        found = hashlib.sha256(content + told).hexdigest()[:20]
        try:
            with self.turn:
                self._keep(found, content, told)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(
                f"{shown}: cannot be kept in {self.folder} ({reason}); make room there"
            ) from error
        return found

    def note(self, name: str) -> str:
        """Give the note beside a picture, "" if there is none."""
        try:
            return self.path(name).with_suffix(_NOTE).read_text("utf-8")
        except (OSError, ValueError):
            return ""

    def _keep(self, name: str, content: bytes, note: bytes) -> None:
        """Write a picture, and remove the oldest where there are too many or they take too much."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if note:
            write_atomic(self._path(name).with_suffix(_NOTE), note)
        write_atomic(self._path(name), content)
        size = 0
        for place, old in enumerate(list(self.names())):
            with contextlib.suppress(FileNotFoundError):
                size += self._path(old).stat().st_size
            if old != name and (place >= KEPT or size > KEPT_BYTES):
                self._path(old).unlink(missing_ok=True)
                self._path(old).with_suffix(_NOTE).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Name the pictures that are kept, the newest first."""
        try:
            files = [(path.stat().st_mtime_ns, path.stem) for path in self.folder.glob("*.png")]
        except OSError:  # one was removed in this moment
            files = []
        return (name for _, name in sorted(files, reverse=True) if _NAME.fullmatch(name))

    def path(self, name: str) -> Path:
        """Give the file of a picture; DataError for a name that is none of ours."""
        if not _NAME.fullmatch(name) or not self._path(name).is_file():
            raise DataError(f"{name[:40]!r}: this picture is not here (any more); hand it in again")
        return self._path(name)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"


def _png(pixels: Array) -> bytes:
    """Write pixels (C, H, W) as they are; floats in 16 bits."""
    pillow = import_module("PIL.Image")
    if pixels.dtype.kind == "f":
        grey = pixels.mean(axis=0, keepdims=True)
        pixels = np.rint(grey * WHITE[np.dtype(np.uint16)]).astype(np.uint16)
    shaped = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)  # (C,H,W) -> (H,W,C)
    stream = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(shaped)).save(stream, "PNG", compress_level=1)
    content: bytes = stream.getvalue()
    return content
