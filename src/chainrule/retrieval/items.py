"""What is indexed and asked about: picture files, frames of DICOM files, images of a data set."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule.data.dataset import Dataset, ImageData
from chainrule.data.dicom import DicomFile, is_dicom
from chainrule.data.dicom_values import Window
from chainrule.data.folder import files_below
from chainrule.data.manifest import ManifestDataset
from chainrule.data.pictures import (
    ENDINGS,
    WHITE,
    Mode,
    quotes,
    read_header,
    read_picture,
    shown,
)
from chainrule.data.subsets import Subset
from chainrule.engine.op import Array
from chainrule.errors import DataError

_CHUNK = 1 << 20  # bytes of a file that are read at once
LARGEST = 1 << 28
"""Bytes of a picture's file, at most: a larger one is no picture that anybody looks at whole."""


class Picture(NamedTuple):
    """An image that was read: pixels (C, H, W), and what is known of it.

    `key` tells its content from others'; `patient` is what names whom it shows, "" if nothing
    does; `white` is the value of a white pixel.  `own` says that it is of the network's own data
    set and in its form already.
    """

    pixels: Array
    key: str
    frame: int = 0
    kind: str = "picture"
    patient: str = ""
    tags: Mapping[str, str] = {}
    white: float = 255.0
    own: bool = False


@dataclass(frozen=True)
class Item:
    """A file, or an image of a set, that holds one picture or several; not read yet.

    `name` is for the eyes of who asked; `where` is the whole path, "" without one; `label` the
    class, None if not known.
    """

    name: str
    read: Callable[[], Iterator[Picture]]
    where: str = ""
    label: str | None = None


@dataclass(frozen=True)
class Reading:
    """How files are read.

    `mode` is grey, colour or None, as the file has it; `window` that of DICOM's grey values;
    `tags` are kept of a DICOM file; `secondary` also takes secondary captures (screenshots,
    scanned paper, which often show a name); `group` is a pattern that finds the patient in a path:
    its first group, or all that it matches.
    """

    mode: Mode | None = None
    window: Window | None = None
    tags: tuple[str, ...] = ()
    secondary: bool = False
    group: str = ""
    _pattern: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "_pattern", re.compile(self.group))
        except re.error as error:
            raise DataError(
                f"--group: expected a regular expression, as 'patient_(\\d+)'; got {self.group!r} "
                f"({error})"
            ) from error

    def patient(self, path: str) -> str:
        r"""Find whom a file shows by its path, "" where the pattern finds nobody.

        >>> Reading(group=r"p(\d+)_").patient("scans/p17_3.png")
        '17'
        """
        found = self._pattern.search(path) if self.group else None
        return "" if found is None else found.group(min(1, found.re.groups)) or ""


def frames_in(source: str | os.PathLike[str] | bytes) -> int:
    """Tell how many pictures a file holds, by its header; DataError as `pictures` raises it."""
    return DicomFile.open(source, "the file").frames if is_dicom(source) else 1


def pictures(
    source: str | os.PathLike[str] | bytes, reading: Reading, only: int | None = None
) -> Iterator[Picture]:
    """Read a file, a path or what is in one: its picture, or each frame of a DICOM file.

    `only` asks for one frame, counted from 0.

    No message names the file: who knows whether its name may be told adds it.  Raises DataError
    for whatever is no picture, with the reason; a DICOM file without pixels and, unless they are
    wanted, secondary captures are refused too.
    """
    group = "" if isinstance(source, bytes) else reading.patient(os.fspath(source))
    if is_dicom(source):
        yield from _frames(source, reading, group, only)
        return
    data = source if isinstance(source, bytes) else _content(source)
    pixels = _read(data, reading.mode)
    key = hashlib.sha256(data).hexdigest()
    yield Picture(pixels, key, patient=group, white=WHITE[pixels.dtype])


def _read(data: bytes, mode: Mode | None) -> Array:
    """Read a picture; what a library says of a damaged one quotes it, and is not told."""
    reason = ""
    try:
        return read_picture(data, mode, "the file")
    except DataError as error:
        if not quotes(error):
            raise
        reason = type(error.__cause__).__name__
    raise DataError(f"the file: damaged, cannot be read as a picture ({reason}); mend or remove it")


def _frames(source: Any, reading: Reading, group: str, only: int | None) -> Iterator[Picture]:
    file = DicomFile.open(source, "the file")
    if file.secondary_capture and not reading.secondary:
        raise DataError(
            "the file: a secondary capture (a screenshot or scanned paper, which may show names); "
            "--secondary takes these too"
        )
    key = _digest(source)
    tags = {name: text for name in reading.tags if (text := file.tag(name))}
    # frames of one file are of one patient, even where the file does not say whose
    patient = group or file.patient or file.study or (key if file.frames > 1 else "")
    found: Iterator[tuple[int, Array]] = enumerate(file.images(reading.window))
    if only is not None:
        found = iter([(only, file.image(only, reading.window))])
    for frame, pixels in found:
        name = f"{key}:{frame}" if file.frames > 1 else key
        yield Picture(_in_mode(pixels, reading.mode), name, frame, "dicom", patient, tags, 1.0)


def _in_mode(pixels: Array, mode: Mode | None) -> Array:
    if mode == "RGB" and len(pixels) == 1:
        return pixels.repeat(3, axis=0)
    if mode == "L" and len(pixels) == 3:  # the weights of ITU-R BT.601, as for pictures
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        return np.asarray(np.tensordot(weights, pixels, 1)[np.newaxis])
    return pixels


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        if not os.path.isfile(path):
            there = os.path.exists(path)
            raise DataError(f"the file: {'no regular file' if there else 'no such file'}")
        size = os.path.getsize(path)
        if size > LARGEST:
            raise DataError(f"the file: {size:,} bytes; expected at most {LARGEST:,}")
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"the file: cannot be read ({error.strerror})") from error


def _digest(source: Any) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    found = hashlib.sha256()
    with open(source, "rb") as file:
        while part := file.read(_CHUNK):
            found.update(part)
    return found.hexdigest()


def folder_items(
    root: str | os.PathLike[str], classes: Sequence[str], reading: Reading
) -> tuple[list[Item], Counter[str]]:
    """List the files of a folder, or a single file, in the order of their paths.

    A file's class is the name of the nearest folder around it that is one of `classes`.  Gives the
    items and how many files were left out, by reason: hidden ones, those that are by their ending
    neither pictures nor DICOM (a file without an ending is looked at), folders that cannot be
    listed.  Raises DataError where nothing is there.
    """
    path = Path(root)
    if not path.exists():
        raise DataError(f"{shown(root)}: no such file or folder")
    left: Counter[str] = Counter()
    found = sorted(files_below(path, left, strict=False)) if path.is_dir() else [os.fspath(path)]
    known, items = set(classes), []
    for file in found:
        if path.is_dir() and not _may_be_picture(file):
            left["that are neither pictures nor DICOM"] += 1
            continue
        items.append(file_item(file, _label(file, path, known), reading))
    if not items:
        raise DataError(f"{shown(root)}: expected pictures or DICOM files, found none")
    return items, left


def file_item(path: str, label: str | None, reading: Reading) -> Item:
    """Give a file as an item."""
    return Item(shown(path), partial(pictures, path, reading), os.path.realpath(path), label)


def _may_be_picture(path: str) -> bool:
    ending = os.path.splitext(path)[1].lower()
    return ending in ENDINGS or is_dicom(path) or (not ending and _begins_as_picture(path))


def _begins_as_picture(path: str) -> bool:
    try:
        read_header(path)
    except DataError:
        return False
    return True


def _label(file: str, root: Path, known: set[str]) -> str | None:
    inside = Path(file).relative_to(root) if root.is_dir() else Path()
    around = [*inside.parts[-2::-1], *reversed(root.resolve().parts[-1:])]
    if not root.is_dir():
        around = [root.resolve().parent.name]
    return next((name for name in around if name in known), None)


def data_items(data: ImageData, part: str, reading: Reading, own: bool) -> list[Item]:
    """List the images of a data set's part: train, validation, test, or all of them.

    `own` says that the network learnt from this set, and gets its images as they are.
    Raises DataError for a part that the set does not have, and one without classes.
    """
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    names = list(parts) if part == "all" else [part]
    if part != "all" and parts.get(part) is None:
        there = ", ".join([name for name, found in parts.items() if found is not None] + ["all"])
        raise DataError(f"{data.name}: expected one of its parts, {there}; got {part!r}")
    if data.task != "classification":
        raise DataError(f"{data.name}: expected images with one class each, got {data.task}")
    return [
        _set_item(found, number, data.white, reading, own)
        for name in names
        if (found := parts[name]) is not None
        for number in range(len(found))
    ]


def _set_item(dataset: Dataset, number: int, white: float, reading: Reading, own: bool) -> Item:
    label = dataset.classes[int(dataset.targets[number])]
    inner, place = _within(dataset, number)
    source = getattr(inner, "source", None)
    if source is None:
        return Item(
            dataset.describe(number), partial(_array, dataset, number, white, own), "", label
        )
    where = source(place)
    group = ""
    if isinstance(inner, ManifestDataset) and inner.groups is not None:
        group = str(inner.groups[place])
    path = "" if isinstance(where, bytes) else os.path.realpath(where)

    def read_file() -> Iterator[Picture]:
        for picture in pictures(where, reading):
            yield picture._replace(patient=group or picture.patient)

    return Item(dataset.describe(number), read_file, path, label)


def _within(dataset: Dataset, number: int) -> tuple[Dataset, int]:
    """Give the set of which a part was made, and the image's number there."""
    while isinstance(dataset, Subset):
        number, dataset = int(dataset.indices[number]), dataset.dataset
    return dataset, number


def _array(dataset: Dataset, number: int, white: float, own: bool) -> Iterator[Picture]:
    pixels = np.ascontiguousarray(dataset.image(number))
    head = f"{pixels.dtype.str} {pixels.shape} ".encode()
    key = hashlib.sha256(head + pixels.tobytes()).hexdigest()
    yield Picture(pixels, key, kind="array", white=white, own=own)
