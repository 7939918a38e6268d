"""CIFAR-10 and CIFAR-100 in all of their forms, and files that only look like them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import random
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.data import ImageData, cifar, load_cifar10, load_cifar100
from chainrule.data.addresses import DOWNLOADS
from chainrule.data.cifar_files import read_batch
from chainrule.errors import DataError
from tests.data import cifar_sets as sets
from tests.data.places import shared_data

LOAD = {"cifar10": load_cifar10, "cifar100": load_cifar100}
KINDS = [(name, form) for name in LOAD for form in ("binary", "python")]
CLASSES = {"cifar10": sets.TEN, "cifar100": sets.FINE}


def agrees(data: ImageData, truth: sets.Truth) -> None:
    for part, found in (("train", data.train), ("test", data.test)):
        images, labels = found[:]
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, truth[part])
        np.testing.assert_array_equal(labels, truth[f"{part} labels"])


def refused(load: Any, folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        load(folder)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("name", "form"), KINDS)
@pytest.mark.parametrize("place", ["folder", "subfolder", "archive", "path of the archive"])
def test_every_form_in_every_place(tmp_path: Path, name: str, form: str, place: str) -> None:
    files, truth = sets.make(name, form)
    inner = sets.FOLDERS[name, form]
    path = tmp_path
    if place == "folder":
        sets.write(tmp_path, files)
    elif place == "subfolder":
        sets.write(tmp_path / inner, files)
    else:
        archive = f"{name.replace('cifar', 'cifar-')}-{form}.tar.gz"
        path = sets.pack(tmp_path / archive, files, inner)
        path = path if place.startswith("path") else tmp_path
    before = sorted(tmp_path.rglob("*"))
    data = LOAD[name](path)
    agrees(data, truth)
    assert data.name == name
    assert tuple(data.classes) == data.train.classes == CLASSES[name]
    assert data.white == 255.0
    assert len(data.notes) == (6 if name == "cifar10" else 2)  # the checksums are others
    assert "is not the well-known CIFAR-" in data.notes[0]
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


@pytest.mark.parametrize("form", ["binary", "python"])
def test_the_twenty_superclasses(tmp_path: Path, form: str) -> None:
    files, truth = sets.make("cifar100", form)
    data = load_cifar100(sets.write(tmp_path, files), fine=False)
    assert data.train.classes == sets.COARSE
    np.testing.assert_array_equal(data.train.targets, truth["train labels"] // 5)


@pytest.mark.parametrize("name", list(LOAD))
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_pickles_that_python_3_wrote_again(tmp_path: Path, name: str, protocol: int) -> None:
    def again(value: dict[str, Any]) -> bytes:
        """As from `pickle.load(file, encoding="bytes")`: keys and names are bytes then."""

        def raw(item: Any) -> Any:
            return item.encode() if isinstance(item, str) else item

        kept = {raw(k): [raw(i) for i in v] if isinstance(v, list) else v for k, v in value.items()}
        return pickle.dumps(kept, protocol)

    files, truth = sets.make(name, "python", again)
    agrees(LOAD[name](sets.write(tmp_path, files)), truth)


def test_columns_that_come_first(tmp_path: Path) -> None:
    def turned(value: dict[str, Any]) -> bytes:
        if "data" in value:
            value = {**value, "data": np.asfortranarray(value["data"])}
        return sets.python2(value)

    files, truth = sets.make("cifar100", "python", turned)
    agrees(load_cifar100(sets.write(tmp_path, files)), truth)


def test_a_set_of_ones_own_in_the_format(tmp_path: Path) -> None:
    files, truth = sets.make("cifar10", "binary")
    test = files["test_batch.bin"]
    sets.write(tmp_path, {"train.bin": test * 2, "test.bin": test})
    data = load_cifar10(tmp_path)
    np.testing.assert_array_equal(data.train[:20][0], truth["test"])
    assert len(data.train) == 40
    assert data.classes == sets.TEN
    assert data.notes == ("40 and 20 images in CIFAR-10's format, not the well-known files",)
    (tmp_path / "batches.meta.txt").write_text("\r\n".join("ABCDEFGHIJ"), "utf-8-sig")
    assert load_cifar10(tmp_path).classes == tuple("ABCDEFGHIJ")


def test_classes_without_names_have_numbers(tmp_path: Path) -> None:
    files, _ = sets.make("cifar100", "binary")
    del files["fine_label_names.txt"]
    data = load_cifar100(sets.write(tmp_path, files))
    assert data.classes[:2] == ("0", "1")
    assert "fine_label_names.txt is not there" in data.notes[-1]


def test_well_known_files_are_not_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, _ = sets.make("cifar10", "binary")
    for name in cifar._TEN_BINARY:
        monkeypatch.setitem(cifar._TEN_BINARY, name, hashlib.md5(files[name]).hexdigest())
    assert load_cifar10(sets.write(tmp_path, files)).notes == ()


def test_the_whole_form_goes_before_a_broken_one(tmp_path: Path) -> None:
    files, truth = sets.make("cifar10", "binary")
    sets.pack(tmp_path / "cifar-10-binary.tar.gz", files, "cifar-10-batches-bin")
    del files["data_batch_3.bin"], files["test_batch.bin"]
    sets.write(tmp_path / "cifar-10-batches-bin", files)
    agrees(load_cifar10(tmp_path), truth)
    (tmp_path / "cifar-10-binary.tar.gz").unlink()
    words = "cifar-10-batches-bin: data_batch_3.bin, test_batch.bin missing"
    refused(load_cifar10, tmp_path, words, "download=True")


@pytest.mark.parametrize("name", list(LOAD))
def test_nothing_there(tmp_path: Path, name: str) -> None:
    archive = f"{name.replace('cifar', 'cifar-')}-binary.tar.gz"
    by_hand = f"put {archive} from https://www.cs.toronto.edu/~kriz/ into"
    refused(LOAD[name], tmp_path / "no", "no: no such folder", "is read from", by_hand)
    refused(LOAD[name], tmp_path, "nothing of it is there", by_hand)
    (tmp_path / "train").mkdir()  # a folder of pictures is no pickle
    (tmp_path / "test").mkdir()
    refused(LOAD[name], tmp_path, "nothing of it is there")


@pytest.mark.parametrize(("more", "rest"), [(b"\0", 1), (b"", 3072)])
def test_lengths_that_are_no_records(tmp_path: Path, more: bytes, rest: int) -> None:
    files, _ = sets.make("cifar10", "binary")
    files["data_batch_2.bin"] = (files["data_batch_2.bin"] + more)[: None if more else -1]
    found = f"which are {19 + len(more)} records and {rest:,} bytes"
    sets.write(tmp_path, files)
    refused(load_cifar10, tmp_path, "data_batch_2.bin: expected records of 3,073 bytes", found)
    sets.write(tmp_path, {"data_batch_2.bin": b""})
    refused(load_cifar10, tmp_path, "data_batch_2.bin", "found 0 bytes")


def test_one_set_taken_for_the_other(tmp_path: Path) -> None:
    ten, _ = sets.make("cifar10", "binary")
    hundred, _ = sets.make("cifar100", "binary")
    batch = ten["test_batch.bin"]
    sets.write(tmp_path / "a", {"train.bin": batch, "test.bin": batch})
    refused(load_cifar100, tmp_path / "a", "it would fit CIFAR-10's records of 3,073")
    sets.write(tmp_path / "b", hundred)
    refused(load_cifar10, tmp_path / "b", "it would fit CIFAR-100's records of 3,074")


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("cifar10", 0, 10, "expected labels 0..9, found 10 at index 3"),
        ("cifar100", 0, 20, "expected labels 0..19, found 20 at index 3"),
        ("cifar100", 1, 255, "expected labels 0..99, found 255 at index 3"),
    ],
)
def test_labels_out_of_range(tmp_path: Path, name: str, place: int, value: int, words: str) -> None:
    files, _ = sets.make(name, "binary")
    test = "test_batch.bin" if name == "cifar10" else "test.bin"
    content = bytearray(files[test])
    content[3 * (3073 + (name == "cifar100")) + place] = value
    refused(LOAD[name], sets.write(tmp_path, {**files, test: bytes(content)}), test, words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\nb\n", "expected 10 names of classes, found 2"),
        (b"\xff\xfe\x00", "names as text"),
        (b"", "found 0"),
    ],
)
def test_names_that_are_wrong(tmp_path: Path, content: bytes, words: str) -> None:
    files, _ = sets.make("cifar10", "binary")
    files["batches.meta.txt"] = content
    refused(load_cifar10, sets.write(tmp_path, files), "batches.meta.txt", words)


class Evil:
    """Runs a command where a pickle is trusted."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("member", ["data_batch_2", "batches.meta"])
def test_pickles_are_not_run(tmp_path: Path, member: str) -> None:
    files, _ = sets.make("cifar10", "python")
    evil = Evil(f"touch {tmp_path / 'ran'}")
    for content in (
        pickle.dumps(evil),
        pickle.dumps({"data": evil}),
        files[member][:-1] + pickle.dumps(evil, 2)[2:],  # behind what is right
        pickle.dumps({"data": np.array([evil], dtype=object)}, 2),
    ):
        refused(load_cifar10, sets.write(tmp_path, {**files, member: content}), member)
    refused(load_cifar10, sets.write(tmp_path, {**files, member: pickle.dumps(evil)}), "refused")
    assert not (tmp_path / "ran").exists()


PIXELS = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ([1, 2], "expected a pickled dict, found list"),
        ({}, 'expected "data", an array of bytes'),
        ({"data": [1, 2]}, 'expected "data", an array of bytes'),
        ({"data": b"\0" * 6144}, 'expected "data", an array of bytes'),
        ({"data": PIXELS[:, :-1]}, "found (2, 3071)"),
        ({"data": PIXELS[:0]}, "found (0, 3072)"),
        ({"data": PIXELS[0]}, "found (3072,)"),
        ({"data": PIXELS.astype("<u2")}, "an array of other numbers than bytes"),
        ({"data": PIXELS}, 'expected "labels", a list of whole numbers'),
        ({"data": PIXELS, "labels": ["1", "2"]}, 'expected "labels", a list of whole numbers'),
        ({"data": PIXELS, "labels": [[1], [2]]}, 'expected "labels", a list of whole numbers'),
        ({"data": PIXELS, "labels": [1]}, 'expected 2 "labels", one an image, found 1'),
        ({"data": PIXELS, "labels": [1, -1]}, "expected labels 0..9, found -1 at index 1"),
        ({"data": PIXELS, "labels": [10, 1]}, "expected labels 0..9, found 10 at index 0"),
    ],
)
def test_pickles_of_something_else(tmp_path: Path, batch: Any, words: str) -> None:
    files, _ = sets.make("cifar10", "python")
    files["test_batch"] = sets.python2(batch)
    refused(load_cifar10, sets.write(tmp_path, files), "test_batch", words)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (sets.python2(PIXELS.shape)[2:-1], sets.python2((2000000000, 3072))[2:-1]),
        (sets.python2(PIXELS.shape)[2:-1], sets.python2((-2, -3072))[2:-1]),
        (sets.python2(PIXELS.shape)[2:-1], sets.python2(("a", 1))[2:-1]),
        (b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n"),
        (b"cnumpy.core.multiarray\n_reconstruct\n", b"cos\nsystem\n"),
        (b"cnumpy\ndtype\n", b"cnumpy\nload\n"),
    ],
)
def test_pickles_that_lie(tmp_path: Path, old: bytes, new: bytes) -> None:
    files, _ = sets.make("cifar10", "python")
    content = sets.python2({"data": PIXELS, "labels": [0, 1]})
    files["test_batch"] = content
    load_cifar10(sets.write(tmp_path, files))
    assert old in content
    files["test_batch"] = content.replace(old, new)
    refused(load_cifar10, sets.write(tmp_path, files), "test_batch")


def test_bytes_behind_a_pickle(tmp_path: Path) -> None:
    files, _ = sets.make("cifar10", "python")
    files["test_batch"] += b"more"
    refused(load_cifar10, sets.write(tmp_path, files), "4 bytes follow the end of the pickle")


def test_huge_labels(tmp_path: Path) -> None:
    files, _ = sets.make("cifar10", "python")
    files["test_batch"] = pickle.dumps({"data": PIXELS, "labels": [0, 10**30]}, 4)
    refused(load_cifar10, sets.write(tmp_path, files), f"found {10**30} at index 1")


def test_an_array_in_arrays_without_end(tmp_path: Path) -> None:
    files, _ = sets.make("cifar10", "python")
    content = sets.python2({"data": PIXELS, "labels": [0, 1]})
    shape = sets.python2(PIXELS.shape)[2:-1]
    files["test_batch"] = content.replace(shape, b"]" * 50_000 + b"a" * 49_999)
    refused(load_cifar10, sets.write(tmp_path, files), "an array whose shape does not fit")


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_are_read_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    values = {"data": PIXELS[:1, :100], "labels": [1, 2], "names": ["a", "b"], "raw": b"x"}
    whole = [sets.python2(values), pickle.dumps(values, 2), pickle.dumps(values, 4)]
    for _ in range(600):
        content = bytearray(rng.choice(whole))
        for _ in range(rng.choice([1, 2, 5, 30])):
            at = rng.randrange(len(content))
            content[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        with contextlib.suppress(DataError), warnings.catch_warnings(action="ignore"):
            read_batch(bytes(content), cifar._TEN.columns, "batch")


@pytest.mark.parametrize("length", [0, 1, 100, 30_000, -1])
def test_pickles_cut_short(tmp_path: Path, length: int) -> None:
    files, _ = sets.make("cifar10", "python")
    files["data_batch_4"] = files["data_batch_4"][:length]
    refused(load_cifar10, sets.write(tmp_path, files), "data_batch_4", "not a whole pickle")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_archives_cut_short(tmp_path: Path, share: float) -> None:
    files, _ = sets.make("cifar10", "binary")
    path = sets.pack(tmp_path / "cifar-10-binary.tar.gz", files, "cifar-10-batches-bin")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(load_cifar10, tmp_path, str(path), "not a whole archive", "delete it")


def test_archives_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(b"<html>" * 1000)
    refused(load_cifar10, tmp_path, "not a whole archive")


def test_archives_with_a_wrong_bit(tmp_path: Path) -> None:
    """Anywhere: pixels that are wrong are told by the sum at the end alone."""
    files, _ = sets.make("cifar10", "binary")
    path = sets.pack(tmp_path / "cifar-10-binary.tar.gz", files, "x")
    right = path.read_bytes()
    for place in [*np.random.default_rng(0).integers(40, len(right), 20), len(right) - 6]:
        content = bytearray(right)
        content[place] ^= 0x10
        path.write_bytes(content)
        refused(load_cifar10, tmp_path, str(path))


def test_archives_that_want_to_reach_elsewhere(tmp_path: Path) -> None:
    """Names that climb are read like others, since nothing is written; links are left out."""
    files, truth = sets.make("cifar10", "binary")
    folder = tmp_path / "data"
    folder.mkdir()
    path = sets.pack(folder / "cifar-10-binary.tar.gz", files, "../../elsewhere")
    agrees(load_cifar10(folder), truth)
    assert list(tmp_path.iterdir()) == [folder]
    (tmp_path / "secret").write_bytes(files["test_batch.bin"])
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if name == "test_batch.bin":
                member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    refused(load_cifar10, folder, "test_batch.bin missing")


def test_archives_of_files_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, _ = sets.make("cifar10", "binary")
    sets.pack(tmp_path / "cifar-10-binary.tar.gz", files, "x")
    monkeypatch.setattr(cifar, "_LARGEST", 50_000)
    refused(load_cifar10, tmp_path, "data_batch_1.bin", "at most 50,000 bytes, found 61,460")


def test_the_real_subset() -> None:
    folder = shared_data("cifar10-subset")
    data = load_cifar10(folder)
    assert np.bincount(data.train.targets).tolist() == [1000] * 10
    assert np.bincount(data.test.targets).tolist() == [200] * 10
    assert data.classes == sets.TEN
    images = data.train[:][0] / 255.0
    np.testing.assert_allclose(images.mean((0, 2, 3)), [0.4902, 0.4815, 0.4466], atol=5e-5)
    np.testing.assert_allclose(images.std((0, 2, 3)), [0.2475, 0.2437, 0.2620], atol=5e-5)


def test_the_addresses_name_the_archives_that_are_read() -> None:
    for kind in (cifar._TEN, cifar._HUNDRED):
        (file,) = DOWNLOADS[kind.name].files
        assert file.name == kind.layouts[0].archive
