"""Tar files of pictures and labels in the layout of WebDataset, read in any order."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from chainrule.data.dataset import ImageData
from chainrule.data.parts import PARTS, image_data
from chainrule.data.picture_dataset import PictureDataset
from chainrule.data.pictures import ENDINGS, Mode, Source, shown
from chainrule.engine.op import Array
from chainrule.errors import DataError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_LABELS = ("cls", "json", "txt")  # in the order in which they are believed
_LABEL_BYTES = 1 << 20
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST = 100_000  # shards
_BLOCK = 512  # bytes, of which a tar file is made
_PACKED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
_WHOLE = re.compile(r"\d{1,9}")
_PART = re.compile("[A-Za-z]+")


class _Member(NamedTuple):
    """Where a picture lies: its shard's number, its name, its first byte and its length."""

    shard: int
    name: str
    start: int
    size: int


class TarDataset(PictureDataset):
    """Pictures and their labels in tar files, as WebDataset writes them: 0001.jpg with 0001.cls.

    `paths` is a .tar file, several, a folder of them, or a pattern: "shard-{000..009}.tar".  The
    members whose paths are the same up to the first dot of the name are one sample: a picture
    (`ENDINGS`) with its label in `.cls` (a number or a name), `.json` (under "label") or `.txt` (a
    name), the first of these that is there.  Where all labels are whole numbers they are the
    numbers of the classes, which `classes` may name; else the names in order are the classes.

    Each shard's headers are read once; pictures then by their place in the file, in any order and
    from any number of threads or processes.  Hidden members and those of other endings are left
    out and counted in `notes`.

    Raises DataError, naming the shard and the member: for a compressed tar file or a damaged one;
    for one without its end mark, that was cut short; for links, devices, sparse files and paths
    that are absolute or lead upwards; for a picture without a label or a label without a picture;
    for two members of one name and two pictures of one sample.

    >>> import io, tarfile, tempfile, pathlib
    >>> from PIL import Image
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "some.tar"
    >>> Image.new("L", (3, 2), 7).save(path.with_suffix(".png"))
    >>> _ = path.with_suffix(".cls").write_text("1")
    >>> with tarfile.open(path, "w") as tar:
    ...     for ending in (".png", ".cls"):
    ...         tar.add(path.with_suffix(ending), f"0001{ending}")
    >>> data = TarDataset(path)
    >>> data.classes, data[0][1], data[0][0].shape
    (('0', '1'), np.int64(1), (1, 2, 3))
    """

    def __init__(
        self,
        paths: Paths,
        mode: Mode | None = None,
        *,
        classes: Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        self.paths = find_shards(paths)
        left: Counter[str] = Counter()
        self.members: list[_Member] = []
        labels: list[str] = []
        for number, path in enumerate(self.paths):
            for member, label in _samples(path, number, left):
                self.members.append(member)
                labels.append(label)
        if not self.members:
            raise DataError(f"{shown(self.paths[0])}: no pictures with labels in the tar files")
        targets, names = self._numbered(labels, classes)
        self.notes = tuple(
            f"{shown(self.paths[0])} and on: left out {count:,} members {what}"
            for what, count in sorted(left.items())
        )
        super().__init__(targets, names, name=name or Path(self.paths[0]).stem, mode=mode)

    def source(self, index: int) -> Source:
        """Read the bytes of a picture."""
        member = self.members[index]
        try:
            with open(self.paths[member.shard], "rb", buffering=0) as file:
                file.seek(member.start)
                return file.read(member.size)
        except OSError as error:
            raise DataError(f"{self.describe(index)}: cannot be read ({error.strerror})") from error

    def describe(self, index: int) -> str:
        """Give the shard and the name of a picture in it, for messages."""
        member = self.members[index]
        return f"{shown(self.paths[member.shard])}, {shown(member.name)}"

    def _numbered(
        self, labels: list[str], classes: Sequence[str] | None
    ) -> tuple[Array, Sequence[str]]:
        if all(_WHOLE.fullmatch(label) for label in labels):
            targets = np.array([int(label) for label in labels])
            names = classes or [str(number) for number in range(int(targets.max()) + 1)]
            first = int(targets.argmax())
            if targets[first] >= len(names):
                raise DataError(
                    f"{self.describe(first)}: expected a label in 0..{len(names) - 1}, found "
                    f"{targets[first]}"
                )
            return targets, names
        order = list(classes) if classes is not None else sorted(set(labels))
        numbers = {label: number for number, label in enumerate(order)}
        for place, label in enumerate(labels):
            if label not in numbers:
                raise DataError(
                    f"{self.describe(place)}: expected one of the classes {', '.join(order)}, "
                    f"found {label!r}"
                )
        return np.array([numbers[label] for label in labels]), order


def load_shards(
    paths: Paths,
    *,
    test: float = 0.2,
    validation: float = 0.0,
    seed: int = 0,
    mode: Mode | None = None,
    classes: Sequence[str] | None = None,
) -> ImageData:
    """Read a data set from tar files (`TarDataset`), with its split or with one made here.

    Where the names of the files begin with "train", "val" (or "valid") and "test" they are the
    parts.  Else the fractions `test` and `validation` are cut off, see `image_data`.  Raises
    DataError as `TarDataset` does, and where the parts' classes or depths disagree.

    >>> load_shards("nowhere-{0..9}.tar")
    Traceback (most recent call last):
    chainrule.errors.DataError: nowhere-0.tar: no such file; expected a .tar file or a folder
    """
    found = find_shards(paths)
    parts: dict[str, list[str]] = {}
    for path in found:
        word = _PART.match(os.path.basename(path))
        parts.setdefault(PARTS.get(word[0].lower(), "") if word else "", []).append(path)
    if "" in parts or "train" not in parts:
        parts = {"train": found}
    train = TarDataset(parts["train"], mode, classes=classes)
    sets = {"train": train}
    for part, files in parts.items():
        if part != "train":
            sets[part] = TarDataset(files, mode or train.mode, classes=train.classes)
            if sets[part].depth != train.depth:
                raise DataError(
                    f"{shown(files[0])}: expected pictures of type {train.depth}, as in "
                    f"{shown(train.paths[0])}, found {sets[part].depth}"
                )
    notes = [note for each in sets.values() for note in each.notes]
    name = Path(found[0]).resolve().parent.name if len(found) > 1 else train.name
    return image_data(name, sets, train.white, notes, test=test, validation=validation, seed=seed)


def find_shards(paths: Paths) -> list[str]:
    """List tar files: of a folder, of a pattern with {000..009}, or as they are given.

    >>> find_shards("some-{8..10}.tar")
    Traceback (most recent call last):
    chainrule.errors.DataError: some-8.tar: no such file; expected a .tar file or a folder
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[str] = []
    for path in given:
        for place in _expanded(os.fspath(path)):
            if os.path.isdir(place):
                inside = sorted(e.path for e in os.scandir(place) if e.name.endswith(".tar"))
                if not inside:
                    raise DataError(f"{shown(place)}: no .tar file in this folder")
                found += inside
            else:
                found.append(place)
    if not found:
        raise DataError("expected at least one tar file, got none")
    for path in found:
        if not os.path.isfile(path):
            reason = "is not a regular file" if os.path.exists(path) else "no such file"
            raise DataError(f"{shown(path)}: {reason}; expected a .tar file or a folder")
    return found


def _expanded(pattern: str) -> Iterable[str]:
    """Write out {000..009}, once or several times."""
    braces = _BRACES.search(pattern)
    if braces is None or os.path.exists(pattern):
        return [pattern]
    first, last = int(braces[1]), int(braces[2])
    if not first <= last < first + _MOST:
        raise DataError(
            f"{pattern}: expected a range upwards of at most {_MOST:,} files, found {braces[0]}"
        )
    width = len(braces[1])
    head, tail = pattern[: braces.start()], pattern[braces.end() :]
    rest = list(_expanded(tail))
    return [f"{head}{n:0{width}}{end}" for n in range(first, last + 1) for end in rest]


def _samples(path: str, shard: int, left: Counter[str]) -> list[tuple[_Member, str]]:
    """Read a shard's headers: its pictures with their labels, in the order of the file."""
    pictures: dict[str, _Member] = {}
    labels: dict[str, dict[str, str]] = {}
    names: set[str] = set()
    with open(path, "rb") as file:
        for member in _members(path, file):
            where = f"{shown(path)}, {shown(member.name)}"
            _check_member(member, where, names)
            folder, _, base = member.name.rpartition("/")
            stem, _, ending = base.partition(".")
            key, ending = f"{folder}/{stem}", ending.lower()
            if not stem or "__MACOSX" in folder:
                left["that are hidden or left by a system"] += 1
            elif f".{ending}" in ENDINGS:
                if key in pictures:
                    text = f"a second picture of the sample beside {shown(pictures[key].name)}"
                    raise DataError(f"{where}: {text}; give it another name")
                pictures[key] = _Member(shard, member.name, member.offset_data, member.size)
            elif ending in _LABELS:
                label = _label(file, member, ending, where)
                if label is not None:
                    labels.setdefault(key, {})[ending] = label
            else:
                left["of other endings"] += 1
    return _paired(path, pictures, labels)


def _members(path: str, file: BinaryIO) -> Iterable[tarfile.TarInfo]:
    """Give the members of a tar file that is whole."""
    head, name = file.read(6), shown(path)
    for mark, tool in _PACKED.items():
        if head.startswith(mark):
            raise DataError(
                f"{name}: a compressed tar file, in which pictures cannot be found by their "
                f"place; unpack it first, with {tool}"
            )
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if not member.isdir():
                    yield member
            end = archive.offset
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise DataError(f"{name}: a damaged tar file, or none ({error})") from error
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise DataError(
            f"{name}: damaged or cut short: no end mark of a tar file at byte {end:,}; copy it anew"
        )


def _check_member(member: tarfile.TarInfo, where: str, names: set[str]) -> None:
    if not member.isreg() or member.sparse is not None:
        raise DataError(f"{where}: a link, a device or a sparse file; only plain files are read")
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise DataError(f"{where}: a path that leaves the archive; expected one inside it")
    if member.name in names:
        raise DataError(f"{where}: a second member of this name; expected each once")
    names.add(member.name)


def _label(file: BinaryIO, member: tarfile.TarInfo, ending: str, where: str) -> str | None:
    """Read the label in a member; None for JSON that says nothing of one."""
    if member.size > _LABEL_BYTES:
        raise DataError(f"{where}: expected a label, found {member.size:,} bytes")
    position = file.tell()
    file.seek(member.offset_data)
    data = file.read(member.size)
    file.seek(position)
    if len(data) < member.size:
        raise DataError(f"{where}: damaged or cut short in this member; copy the shard anew")
    try:
        text = data.decode("utf-8-sig").strip()
        value: Any = json.loads(text) if ending == "json" else text
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: broken {ending} ({error})") from error
    if ending == "json":
        value = value.get("label") if isinstance(value, dict) else None
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise DataError(f"{where}: expected a number or a name as label, found {value!r}")
    if not str(value).strip():
        raise DataError(f"{where}: expected a label, found nothing")
    return str(value).strip()


def _paired(
    path: str, pictures: dict[str, _Member], labels: dict[str, dict[str, str]]
) -> list[tuple[_Member, str]]:
    found = []
    for key, member in pictures.items():
        told = labels.pop(key, {})
        if not told:
            wanted = ", ".join(f".{ending}" for ending in _LABELS)
            raise DataError(
                f"{shown(path)}, {shown(member.name)}: no label beside the picture ({wanted})"
            )
        found.append((member, next(told[ending] for ending in _LABELS if ending in told)))
    if labels:
        key, told = next(iter(labels.items()))
        raise DataError(
            f"{shown(path)}, {shown(key.lstrip('/'))}.{next(iter(told))}: a label without a picture"
        )
    return found
