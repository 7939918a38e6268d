"""MNIST (LeCun, Cortes and Burges, 1998) and Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017).

Both are four IDX files of the same names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.data.addresses import fetch, to_bring
from chainrule.data.dataset import ArrayDataset, ImageData
from chainrule.data.download import Progress
from chainrule.data.idx import IdxFile, read_idx_file
from chainrule.errors import DataError

IMAGES, LABELS = 2051, 2049  # magic numbers: bytes in three dimensions, bytes in one


@dataclass(frozen=True)
class _Set:
    """A set of the format: its four files with the MD5 of their unpacked bytes, its classes."""

    title: str
    name: str
    files: Mapping[str, str]
    classes: Sequence[str]


_MNIST = _Set(
    "MNIST",
    "mnist",
    {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    tuple(str(digit) for digit in range(10)),
)
_FASHION = _Set(
    "Fashion-MNIST",
    "fashion-mnist",
    {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)


def load_mnist(
    folder: str | os.PathLike[str], download: bool = False, *, progress: Progress | None = None
) -> ImageData:
    """Read MNIST from a folder with its four files: 60,000 training and 10,000 test images.

    The files may be gzipped or not, and have '-' or '.' before "idx" in their names.  Images
    stay bytes, (N, 1, 28, 28); the labels are 0..9.  The MD5 of the unpacked bytes is compared
    with the well-known one.  A file of the right format with another checksum is read all the
    same, and noted in `notes`: Fashion-MNIST, KMNIST and other sets share names and format.

    `download` fetches the files that are missing, and tells `progress` of it (see
    `chainrule.data.download`).  Raises DataError, naming the file, for one that is missing,
    damaged, of the wrong kind, whose count differs from its partner's, or which holds a label
    over 9.

    >>> load_mnist("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: nowhere: no such folder; MNIST is read from a folder with ...
    """
    return _load(_MNIST, Path(folder), download, progress)


def load_fashion_mnist(
    folder: str | os.PathLike[str], download: bool = False, *, progress: Progress | None = None
) -> ImageData:
    """Read Fashion-MNIST: 60,000 training and 10,000 test images of clothes in ten classes.

    As `load_mnist` in all else, but for MNIST's own files, which are refused: the classes would
    have wrong names.

    >>> load_fashion_mnist("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: nowhere: no such folder; Fashion-MNIST is read from a folder ...
    """
    return _load(_FASHION, Path(folder), download, progress)


def _load(kind: _Set, folder: Path, download: bool, progress: Progress | None) -> ImageData:
    if download:
        fetch(
            kind.name,
            folder,
            lambda file: _spelled(folder, file.removesuffix(".gz")) is not None,
            progress,
        )
    paths = [_find(kind, folder, name) for name in kind.files]
    files = [
        read_idx_file(path, IMAGES if "images" in name else LABELS)
        for path, name in zip(paths, kind.files, strict=True)
    ]
    notes = _notes(kind, paths, files)
    train = _pair(kind, paths[:2], files[:2], "train")
    test = _pair(kind, paths[2:], files[2:], "test")
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = [f"{h} x {w}" for _, _, h, w in (train.images.shape, test.images.shape)]
        raise DataError(
            f"{paths[2]}: expected images of {sizes[0]} as in {paths[0].name}, found {sizes[1]}"
        )
    return ImageData(kind.name, train, test, kind.classes, 255.0, notes)


def _spelled(folder: Path, name: str) -> Path | None:
    """Find a file under any of its usual spellings, unpacked ones first."""
    stems = (name, name.replace("-idx", ".idx"))
    paths = [folder / (stem + ending) for ending in ("", ".gz") for stem in stems]
    return next((path for path in paths if path.exists()), None)


def _find(kind: _Set, folder: Path, name: str) -> Path:
    path = _spelled(folder, name)
    if path is not None:
        return path
    wanted = (
        f"{kind.title} is read from a folder with {', '.join(kind.files)} (each may end in .gz): "
        f"download=True fetches what is missing, or {to_bring(kind.name, folder)}"
    )
    if not folder.is_dir():
        reason = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {reason}; {wanted}")
    raise DataError(f"{folder / name}: no such file; {wanted}")


def _pair(kind: _Set, paths: list[Path], files: list[IdxFile], name: str) -> ArrayDataset:
    images_at, labels_at = paths
    images, labels = (file.array for file in files)
    if len(images) != len(labels):
        raise DataError(
            f"{labels_at}: expected {len(images):,} labels, one an image of {images_at.name}, "
            f"found {len(labels):,}"
        )
    if not images.size:
        raise DataError(f"{images_at}: expected at least one image, found shape {images.shape}")
    if labels.max() > 9:
        first = int(np.argmax(labels > 9))
        raise DataError(
            f"{labels_at}: expected labels 0..9, found {labels[first]} at index {first}"
        )
    return ArrayDataset(images[:, np.newaxis], labels, kind.classes, name)


def _notes(kind: _Set, paths: list[Path], files: list[IdxFile]) -> tuple[str, ...]:
    """Note the files that are not the well-known ones; MNIST's are refused as another set."""
    notes = []
    for path, file, md5 in zip(paths, files, kind.files.values(), strict=True):
        if file.md5 == md5:
            continue
        other = next((s.title for s in (_MNIST, _FASHION) if file.md5 in s.files.values()), "")
        if other and kind is not _MNIST:
            raise DataError(f"{path}: expected {kind.title}'s file, found {other}'s")
        whose = f"but {other}'s" if other else f"(MD5 {file.md5})"
        notes.append(f"{path.name} is not the well-known {kind.title} file {whose}; read as it is")
    return tuple(notes)
