"""MNIST from its four IDX files (LeCun, Cortes and Burges, 1998), and sets of the same format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from chainrule.data.dataset import ArrayDataset, ImageData
from chainrule.data.idx import IdxFile, read_idx_file
from chainrule.engine.op import Array
from chainrule.errors import DataError

IMAGES, LABELS = 2051, 2049  # magic numbers: bytes in three dimensions, bytes in one

_FILES = {  # usual name, with the MD5 of the well-known file once unpacked
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def load_mnist(folder: str | os.PathLike[str]) -> ImageData:
    """Read MNIST from a folder with its four files: 60,000 training and 10,000 test images.

    The files may be gzipped or not, and have '-' or '.' before "idx" in their names.  Images
    stay bytes, (N, 1, 28, 28); the labels are 0..9.  The MD5 of the unpacked bytes is compared
    with the well-known one.  A file of the right format with another checksum is read all the
    same, and noted in `notes`: Fashion-MNIST, KMNIST and other sets share names and format.

    Raises DataError, naming the file, for one that is missing, damaged, of the wrong kind, whose
    count differs from its partner's, or which holds a label over 9.

    >>> load_mnist("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    chainrule.errors.DataError: nowhere: no such folder; MNIST is read from a folder with ...
    """
    folder = Path(folder)
    paths = [_find(folder, name) for name in _FILES]
    files = [
        read_idx_file(path, IMAGES if "images" in name else LABELS)
        for path, name in zip(paths, _FILES, strict=True)
    ]
    train = _pair(paths[0], paths[1], files[0].array, files[1].array, "train")
    test = _pair(paths[2], paths[3], files[2].array, files[3].array, "test")
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = [f"{h} x {w}" for _, _, h, w in (train.images.shape, test.images.shape)]
        raise DataError(
            f"{paths[2]}: expected images of {sizes[0]} as in {paths[0].name}, found {sizes[1]}"
        )
    digits = tuple(str(digit) for digit in range(10))
    return ImageData("mnist", train, test, digits, 255.0, _notes(paths, files))


def _find(folder: Path, name: str) -> Path:
    """Find one of the four files under any of its usual spellings, unpacked ones first."""
    spellings = [
        stem + ending for ending in ("", ".gz") for stem in (name, name.replace("-idx", ".idx"))
    ]
    for spelling in spellings:
        if (folder / spelling).exists():
            return folder / spelling
    files = ", ".join(_FILES)
    wanted = f"MNIST is read from a folder with {files} (each may end in .gz)"
    if not folder.is_dir():
        reason = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {reason}; {wanted}")
    raise DataError(f"{folder / name}: no such file; {wanted}")


def _pair(
    images_at: Path, labels_at: Path, images: Array, labels: Array, name: str
) -> ArrayDataset:
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
    return ArrayDataset(images[:, np.newaxis], labels, 10, name)


def _notes(paths: list[Path], files: list[IdxFile]) -> tuple[str, ...]:
    return tuple(
        f"{path.name} is not the well-known MNIST file (MD5 {file.md5}); read as it is"
        for path, file, md5 in zip(paths, files, _FILES.values(), strict=True)
        if file.md5 != md5
    )
