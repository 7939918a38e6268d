"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), in the binary and the Python version."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chainrule.data.addresses import fetch, to_bring
from chainrule.data.cifar_files import SHAPE, Labels, Part, read_batch, read_names, read_records
from chainrule.data.dataset import ArrayDataset, ImageData
from chainrule.data.download import Progress
from chainrule.errors import DataError

_CHUNK = 1 << 20
_LARGEST = 1 << 30  # bytes that a file within an archive may unpack to


@dataclass(frozen=True)
class _Layout:
    """One form of a set: its usual folder and archive, its files, their MD5 where well known."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: tuple[str, ...]  # the file with the names of each column of labels
    pickled: bool = False
    known: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """What must be there."""
        return (*self.train, *self.test)


@dataclass(frozen=True)
class _Set:
    title: str
    name: str
    columns: tuple[Labels, ...]
    layouts: tuple[_Layout, ...]
    classes: tuple[str, ...] = ()  # where no file names them


_TEN_BINARY = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
_TEN_PICKLED = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_HUNDRED_BINARY = {
    "train.bin": "6172c7755cfe09b2fe270c85cebc1b15",
    "test.bin": "4499cfba6c016c1be1438163640a0898",
}
_HUNDRED_PICKLED = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
_TEN = _Set(
    "CIFAR-10",
    "cifar10",
    (Labels("labels", "label_names", 10),),
    (
        _Layout(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            tuple(_TEN_BINARY)[:5],
            tuple(_TEN_BINARY)[5:],
            ("batches.meta.txt",),
            known=_TEN_BINARY,
        ),
        _Layout(
            "cifar-10-batches-py",
            "cifar-10-python.tar.gz",
            tuple(_TEN_PICKLED)[:5],
            tuple(_TEN_PICKLED)[5:],
            ("batches.meta",),
            pickled=True,
            known=_TEN_PICKLED,
        ),
        _Layout("", "", ("train.bin",), ("test.bin",), ("batches.meta.txt",)),
    ),
    (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
)
_HUNDRED = _Set(
    "CIFAR-100",
    "cifar100",
    (
        Labels("coarse_labels", "coarse_label_names", 20),
        Labels("fine_labels", "fine_label_names", 100),
    ),
    (
        _Layout(
            "cifar-100-binary",
            "cifar-100-binary.tar.gz",
            ("train.bin",),
            ("test.bin",),
            ("coarse_label_names.txt", "fine_label_names.txt"),
            known=_HUNDRED_BINARY,
        ),
        _Layout(
            "cifar-100-python",
            "cifar-100-python.tar.gz",
            ("train",),
            ("test",),
            ("meta", "meta"),
            pickled=True,
            known=_HUNDRED_PICKLED,
        ),
    ),
)


def load_cifar10(
    folder: str | os.PathLike[str], download: bool = False, *, progress: Progress | None = None
) -> ImageData:
    """Read CIFAR-10: 50,000 training and 10,000 test images of 32x32 in ten classes.

    The binary version (data_batch_1.bin to 5, test_batch.bin) or the Python version, whose pickles
    are read without being run; in `folder` itself, in its usual subfolder, or still packed as
    .tar.gz, which is read from within: nothing is unpacked to the disk.  Sets of one's own in the
    same format may be called train.bin and test.bin.  Images stay bytes, (N, 3, 32, 32).  A file
    whose MD5 is not the well-known one is read all the same, and noted in `notes`.

    `download` fetches the binary version (170 MB) if none is there, and tells `progress` of it
    (see `chainrule.data.download`).  Raises DataError, naming the file, for one that is missing,
    whose length is no multiple of a record, which holds a label over 9, or whose pickle would call
    something.

    >>> load_cifar10("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: nowhere: no such folder; CIFAR-10 is read from a folder with ...
    """
    return _load(_TEN, 0, Path(folder), download, progress)


def load_cifar100(
    folder: str | os.PathLike[str],
    fine: bool = True,
    download: bool = False,
    *,
    progress: Progress | None = None,
) -> ImageData:
    """Read CIFAR-100: 50,000 training and 10,000 test images of 32x32 in a hundred classes.

    With `fine=False` the labels are the twenty superclasses.  As `load_cifar10` in all else; the
    files are train.bin and test.bin, or train and test.

    >>> load_cifar100("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: nowhere: no such folder; CIFAR-100 is read from a folder with ...
    """
    return _load(_HUNDRED, int(fine), Path(folder), download, progress)


class _Files(NamedTuple):
    """Files in a folder or in an archive."""

    place: Path
    names: Collection[str]
    read: Callable[[str], bytes]


def _load(
    kind: _Set, column: int, folder: Path, download: bool, progress: Progress | None
) -> ImageData:
    if download:
        fetch(kind.name, folder, lambda _: _present(kind, folder), progress)
    layout, files = _find(kind, folder)
    notes: list[str] = []
    parts = {}
    for name, members in (("train", layout.train), ("test", layout.test)):
        read = [_read(kind, layout, files, member, notes) for member in members]
        images = np.concatenate([part.pixels for part in read]).reshape(-1, *SHAPE)
        labels = np.concatenate([part.labels for part in read])[:, column]
        parts[name] = images, labels
    if not layout.known:
        counts = " and ".join(f"{len(images):,}" for images, _ in parts.values())
        notes.append(f"{counts} images in {kind.title}'s format, not the well-known files")
    classes = _classes(kind, layout, files, column, notes)
    train, test = (
        ArrayDataset(images, labels, classes, name) for name, (images, labels) in parts.items()
    )
    return ImageData(kind.name, train, test, classes, 255.0, tuple(notes))


def _read(kind: _Set, layout: _Layout, files: _Files, name: str, notes: list[str]) -> Part:
    content = files.read(name)
    read = read_batch if layout.pickled else read_records
    part = read(content, kind.columns, str(files.place / name))
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if layout.known.get(name, md5) != md5:
        notes.append(f"{name} is not the well-known {kind.title} file (MD5 {md5}); read as it is")
    return part


def _classes(
    kind: _Set, layout: _Layout, files: _Files, column: int, notes: list[str]
) -> tuple[str, ...]:
    name, labels = layout.names[column], kind.columns[column]
    if name in files.names:
        return read_names(files.read(name), labels, str(files.place / name), layout.pickled)
    if kind.classes:
        return kind.classes
    notes.append(f"{name} is not there: the classes are called by their numbers")
    return tuple(str(number) for number in range(labels.classes))


def _present(kind: _Set, folder: Path) -> bool:
    """Say whether a set is in a folder, whole or packed."""
    return any(
        (layout.archive and (folder / layout.archive).exists())
        or set(layout.files) <= set(files.names)
        for layout in kind.layouts
        for files in _folders(layout, folder)
    )


def _find(kind: _Set, folder: Path) -> tuple[_Layout, _Files]:
    """Find the first form of a set that is whole; else say what is missing from the best."""
    best: tuple[list[str], _Files] | None = None
    for layout, files in _candidates(kind, folder):
        missing = [name for name in layout.files if name not in files.names]
        if not missing:
            return layout, files
        if len(missing) < len(layout.files) and (best is None or len(missing) < len(best[0])):
            best = missing, files
    if best is not None:
        missing, files = best
        raise DataError(f"{files.place}: {', '.join(missing)} missing; {_wanted(kind, folder)}")
    reason = "nothing of it is there" if folder.exists() else "no such folder"
    raise DataError(f"{folder}: {reason}; {_wanted(kind, folder)}")


def _wanted(kind: _Set, folder: Path) -> str:
    forms = [f"{', '.join(form.files)}" for form in kind.layouts]
    packed = " or ".join(form.archive for form in kind.layouts if form.archive)
    return (
        f"{kind.title} is read from a folder with {'; or '.join(forms)}; or packed, {packed}: "
        f"download=True fetches it, or {to_bring(kind.name, folder)}"
    )


def _candidates(kind: _Set, folder: Path) -> Iterator[tuple[_Layout, _Files]]:
    """Look into the folder, its usual subfolders, and then the archives."""
    for layout in kind.layouts:
        for files in _folders(layout, folder):
            yield layout, files
    for layout in kind.layouts:
        path = folder if folder.is_file() else folder / layout.archive
        if layout.archive and path.is_file():
            yield layout, _unpacked(path, {*layout.files, *layout.names})


def _folders(layout: _Layout, folder: Path) -> Iterator[_Files]:
    for place in dict.fromkeys((folder / layout.folder, folder)):
        wanted = {*layout.files, *layout.names}
        there = {name for name in wanted if (place / name).is_file()}
        yield _Files(place, there, partial(_bytes, place))


def _bytes(place: Path, name: str) -> bytes:
    return (place / name).read_bytes()


def _unpacked(path: Path, wanted: Collection[str]) -> _Files:
    """Read the wanted files out of an archive, by the last part of their names.

    Nothing is written, so that names which lead elsewhere are harmless; links are no files.
    """
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path) as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name not in wanted or name in found or not member.isreg():
                    continue
                if member.size > _LARGEST:
                    raise DataError(
                        f"{path / name}: expected at most {_LARGEST:,} bytes, found {member.size:,}"
                    )
                file = archive.extractfile(member)
                found[name] = file.read() if file is not None else b""
            while raw.read(_CHUNK):  # the sum at its very end is compared by reading up to it
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the archive's
        raise DataError(
            f"{path}: not a whole archive ({error}); delete it and bring it again"
        ) from error
    return _Files(path, found, found.__getitem__)
