from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from chainrule.data import load_dataset, load_mnist
from chainrule.errors import DataError
from tests.data.places import shared_data
from tests.data.test_idx import encode

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def write_set(
    folder: Path,
    train: int = 30,
    test: int = 10,
    side: int = 28,
    dot: bool = False,
    packed: bool = False,
) -> dict[str, Path]:
    """Write a small set in MNIST's format; returns the files by their usual names."""
    rng = np.random.default_rng(0)
    paths = {}
    for name in NAMES:
        n = train if name.startswith("train") else test
        shape = (n, side, side) if "images" in name else (n,)
        array = rng.integers(0, 256 if "images" in name else 10, shape).astype(np.uint8)
        content = encode(array, 8)
        spelled = (name.replace("-idx", ".idx") if dot else name) + (".gz" if packed else "")
        paths[name] = folder / spelled
        paths[name].write_bytes(gzip.compress(content) if packed else content)
    return paths


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_names_with_dash_or_dot_packed_or_not(tmp_path: Path, dot: bool, packed: bool) -> None:
    write_set(tmp_path, dot=dot, packed=packed)
    data = load_mnist(tmp_path)
    assert data.train.images.shape == (30, 1, 28, 28)
    assert data.test.images.shape == (10, 1, 28, 28)
    assert data.train.images.dtype == np.uint8
    assert data.classes == tuple("0123456789")
    assert data.train.num_classes == 10


def test_other_checksums_are_noted_not_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    notes = load_mnist(tmp_path).notes
    assert len(notes) == 4
    assert "train-images-idx3-ubyte is not the well-known MNIST file (MD5 " in notes[0]


def test_the_real_files() -> None:
    data = load_dataset("mnist", shared_data("mnist"))
    assert data.notes == ()
    assert np.bincount(data.train.labels).tolist() == TRAIN_COUNTS
    assert np.bincount(data.test.labels).tolist() == TEST_COUNTS
    assert data.train.images.shape == (60000, 1, 28, 28)
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        load_mnist(folder)
    for part in parts:
        assert part in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere: no such folder", *NAMES)
    refused(tmp_path, "train-images-idx3-ubyte: no such file")
    paths = write_set(tmp_path)
    refused(paths[NAMES[0]], "not a folder")
    paths[NAMES[3]].unlink()
    refused(tmp_path, "t10k-labels-idx1-ubyte: no such file")


def test_counts_that_differ(tmp_path: Path) -> None:
    paths = write_set(tmp_path)
    paths[NAMES[1]].write_bytes(encode(np.zeros(29, np.uint8), 8))
    refused(tmp_path, str(paths[NAMES[1]]), "expected 30 labels", "found 29")


def test_images_and_labels_exchanged(tmp_path: Path) -> None:
    paths = write_set(tmp_path)
    images = paths[NAMES[0]].read_bytes()
    paths[NAMES[1]].write_bytes(images)
    refused(tmp_path, str(paths[NAMES[1]]), "magic number 2049", "found 2051")


def test_a_label_over_nine(tmp_path: Path) -> None:
    paths = write_set(tmp_path)
    paths[NAMES[3]].write_bytes(encode(np.array([1, 2, 10] + [0] * 7, np.uint8), 8))
    refused(tmp_path, str(paths[NAMES[3]]), "found 10 at index 2")


def test_no_images_and_sizes_that_differ(tmp_path: Path) -> None:
    paths = write_set(tmp_path)
    paths[NAMES[2]].write_bytes(encode(np.zeros((10, 20, 28), np.uint8), 8))
    refused(tmp_path, str(paths[NAMES[2]]), "28 x 28", "20 x 28")
    paths[NAMES[2]].write_bytes(encode(np.zeros((0, 28, 28), np.uint8), 8))
    paths[NAMES[3]].write_bytes(encode(np.zeros(0, np.uint8), 8))
    refused(tmp_path, "at least one image")
