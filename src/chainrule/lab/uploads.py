"""A picture that is searched by, handed in: its pixels, and whom it shows as keyed hashes alone.

What each index hashes with its own key is noted beside the picture: by it an index leaves out the
same image and the same patient.  Names, numbers and the file's own name are kept nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.dicom import DicomFile, is_dicom
from chainrule.data.dicom_values import Window
from chainrule.engine.op import Array
from chainrule.errors import ChainruleError, DataError
from chainrule.lab.pictures import LARGEST_FILE, MOST_PIXELS, Pictures
from chainrule.retrieval.asking import frame_of
from chainrule.retrieval.items import Reading
from chainrule.retrieval.privacy import Hasher, hasher_of
from chainrule.retrieval.settings import IndexSettings, read_settings

_SHOWN = "the file"  # what messages call it: its name may be a patient's
_BURNED = (
    "The file says that text is written into its pixels, or that it is a picture of a screen or of "
    "film: look whether it shows a name."
)


@dataclass(frozen=True)
class Mark:
    """What an index knows of a picture that was handed in.

    `group` is the patient's keyed hash, 0 if not known, `own` the id that the same file has there;
    `notes` are sentences to be told.
    """

    group: int = 0
    own: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def hand_in(
    data: bytes,
    name: str,
    settings: IndexSettings,
    indexes: Iterable[Path],
    pictures: Pictures,
) -> str:
    """Keep a picture or a DICOM file as bare pixels, and give its name among the pictures.

    `settings` are those of the index that it is handed in for, whose window shows DICOM's greys;
    `name` is read by the patterns that find patients in paths, and then forgotten.  Raises
    DataError, which never names the file nor says what is in it, for what is no picture, too large
    or damaged.
    """
    if len(data) > LARGEST_FILE:
        raise DataError(f"{_SHOWN}: expected at most {LARGEST_FILE // 1_000_000} MB")
    whole = hashlib.sha256(data).hexdigest()
    if not is_dicom(data):
        note = _note(indexes, name, "", whole, (), dicom=False)
        return pictures.add(data, _SHOWN, note)
    with pictures.turn:
        pixels, patient, key, notes = _frame(data, settings)
        note = _note(indexes, name, patient, key, notes, dicom=True)
        return pictures.put(pixels, _SHOWN, note)


def _frame(data: bytes, settings: IndexSettings) -> tuple[Array, str, str, tuple[str, ...]]:
    """Read the frame of a DICOM file that is asked about, as it is shown."""
    file = DicomFile.open(data, _SHOWN)
    if file.rows * file.columns > MOST_PIXELS:
        raise DataError(
            f"{_SHOWN}: expected at most {MOST_PIXELS:,} pixels; {file.columns:,} x {file.rows:,} "
            "are more"
        )
    window = Window.parse(settings.window) if settings.window else None
    picture, notes = frame_of(data, Reading(window=window, secondary=True), None)
    pixels = picture.pixels
    if len(pixels) > 1:
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if file.burned_in or file.secondary_capture:
        notes = (*notes, _BURNED)
    return pixels, picture.patient, picture.key, notes


def _note(
    indexes: Iterable[Path],
    name: str,
    patient: str,
    key: str,
    notes: tuple[str, ...],
    dicom: bool,
) -> str:
    """Write what each index may know of a picture; one that cannot be read will know nothing."""
    marks = {}
    for path in indexes:
        with contextlib.suppress(ChainruleError, OSError):
            hasher = hasher_of(path)
            found = Reading(group=read_settings(path).groups).patient(name) or patient
            group = hasher.group(found) if found else 0
            marks[_fingerprint(hasher)] = [group, hasher.hash("image", key)]
    return json.dumps({"dicom": dicom, "notes": notes, "marks": marks}, sort_keys=True)


def mark_of(note: str, hasher: Hasher | None, groups: str) -> Mark:
    """Read what an index knows of a picture by the note beside it.

    `groups` is the index's pattern for patients; where one is asked for and nobody was found, or
    the picture was handed in before there was this index, a sentence says so.

    >>> mark_of("", None, "")
    Mark(group=0, own=(), notes=())
    """
    try:
        told = dict(json.loads(note or "{}"))
        notes = tuple(map(str, told.get("notes", ())))
        marks: Mapping[str, Any] = told.get("marks", {})
        group, own = marks.get(_fingerprint(hasher), (0, "")) if hasher is not None else (0, "")
        found = Mark(int(group) % 2**64, (str(own),) if own else (), notes)
    except (ValueError, TypeError, AttributeError):  # not as it was written
        return Mark()
    unknown = hasher is not None and not found.group and (told.get("dicom") or groups)
    if note and unknown:
        words = (
            "Whose picture it is this index cannot tell: images of the same patient are not left "
            "out."
        )
        return Mark(0, found.own, (*notes, words))
    return found


def _fingerprint(hasher: Hasher) -> str:
    """Name an index by its key, without telling the key."""
    return hasher.hash("lab", b"")
