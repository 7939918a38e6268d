"""Sets by name and by path, their downloads, and validation parts."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import (
    DOWNLOADS,
    ArrayDataset,
    ImageData,
    list_datasets,
    load_cifar10,
    load_dataset,
    load_fashion_mnist,
    load_mnist,
    sources,
)
from chainrule.data import mnist as mnist_module
from chainrule.data.addresses import RemoteFile, Source
from chainrule.data.partial import md5_of
from chainrule.errors import DataError, KindError, ShapeError
from tests.data import cifar_sets as sets
from tests.data.places import shared_data
from tests.data.server import Server, hangs_up, serving, status, whole
from tests.data.test_mnist import NAMES, write_set


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serving() as running:
        yield running


def offer(server: Server, name: str, files: dict[str, bytes], patch: pytest.MonkeyPatch) -> None:
    """Let a set's addresses be this server's, which answers under the second one alone."""
    server.files = files
    remote = [
        RemoteFile(file, hashlib.md5(content).hexdigest(), len(content))
        for file, content in files.items()
    ]
    addresses = (f"http://127.0.0.1:{server.server_port}/gone/", server.base)
    patch.setitem(DOWNLOADS, name, Source(addresses, tuple(remote)))
    answer = whole()

    def either(handler: Any, content: bytes) -> None:
        (status(404) if handler.path.startswith("/gone/") else answer)(handler, content)

    server.plan = [either]


def packed_set(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    return {path.name: path.read_bytes() for path in write_set(folder, packed=True).values()}


@pytest.mark.parametrize(
    ("name", "load"), [("mnist", load_mnist), ("fashion-mnist", load_fashion_mnist)]
)
def test_idx_sets_are_fetched_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, load: Any
) -> None:
    offer(server, name, packed_set(tmp_path / "made"), monkeypatch)
    told: list[str] = []
    for _ in range(2):
        data = load(tmp_path / "new", download=True, progress=lambda file, *_: told.append(file))
        assert len(data.train) == 30
    assert [asked.path for asked in server.asked] == [
        path for file in NAMES for path in (f"/gone/{file}.gz", f"/{file}.gz")
    ]
    assert list(dict.fromkeys(told)) == [f"{file}.gz" for file in NAMES]
    assert load_dataset(name, tmp_path / "new").name == name


@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_only_what_is_missing_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dot: bool, packed: bool
) -> None:
    offer(server, "mnist", packed_set(tmp_path / "made"), monkeypatch)
    here = tmp_path / "here"
    here.mkdir()
    paths = write_set(here, dot=dot, packed=packed)
    load_mnist(here, download=True)
    assert server.asked == []
    paths[NAMES[2]].unlink()
    load_mnist(here, download=True)
    assert server.asked[-1].path == f"/{NAMES[2]}.gz"
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_fetched_once(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files, truth = sets.make(name, "binary")
    archive = f"{name.replace('cifar', 'cifar-')}-binary.tar.gz"
    path = sets.pack(tmp_path / archive, files, "x")
    offer(server, name, {archive: path.read_bytes()}, monkeypatch)
    for _ in range(2):
        data = load_dataset(name, tmp_path / "new", download=True)
        np.testing.assert_array_equal(data.test[:][0], truth["test"])
    assert len(server.asked) == 2
    for form in ("binary", "python"):
        there, _ = sets.make(name, form)
        load_dataset(name, sets.write(tmp_path / form / "sub", there), download=True)
        sets.write(tmp_path / form / sets.FOLDERS[name, form], there)
        load_dataset(name, tmp_path / form, download=True)
        packed = tmp_path / "packed" / form
        packed.mkdir(parents=True)
        sets.pack(packed / archive.replace("binary", form), there, "of ones own")
        load_dataset(name, packed, download=True)
    assert len(server.asked) == 2


def test_offline_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(DataError) as caught:
        load_mnist(tmp_path, download=True)
    words = str(caught.value)
    for address in DOWNLOADS["mnist"].addresses:
        assert f"{address}{NAMES[0]}.gz: its name was not found" in words
    files = ", ".join(f"{name}.gz" for name in NAMES)
    assert f"put {files} from {DOWNLOADS['mnist'].addresses[-1]} into {tmp_path}" in words
    with pytest.raises(DataError, match=r"cifar10: .*save https://www.cs.toronto.edu/.* as .*gz"):
        load_cifar10(tmp_path, download=True)


def test_a_broken_download_is_gone_on_with(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    offer(server, "mnist", packed_set(tmp_path / "made"), monkeypatch)
    kept = server.plan
    server.plan = [hangs_up, whole(cut=100), hangs_up]
    with pytest.raises(DataError, match=r"100 bytes are kept.*put train-images.*t10k-labels"):
        load_mnist(tmp_path / "new", download=True)
    server.plan, server.asked = kept, []
    load_mnist(tmp_path / "new", download=True)
    assert server.begins[:4] == [100, 100, None, None]


def test_the_table_of_downloads() -> None:
    assert set(DOWNLOADS) <= set(list_datasets())
    for source in DOWNLOADS.values():
        assert source.addresses
        assert all(a.startswith("http") and a.endswith("/") for a in source.addresses)
        for file in source.files:
            assert len(file.md5) == 32
            assert file.size > 0


def test_the_table_agrees_with_the_real_files() -> None:
    folder = shared_data("mnist")
    for file in DOWNLOADS["mnist"].files:
        path = folder / file.name
        assert (md5_of(path), path.stat().st_size) == (file.md5, file.size)


def test_fashion_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_set(tmp_path)
    data = load_fashion_mnist(tmp_path)
    assert data.classes[9] == data.train.classes[9] == "Ankle boot"
    assert "is not the well-known Fashion-MNIST file (MD5 " in data.notes[0]
    known = hashlib.md5(paths[NAMES[0]].read_bytes()).hexdigest()
    for kind, other in (("_MNIST", "MNIST"), ("_FASHION", "Fashion-MNIST")):
        kept = getattr(mnist_module, kind)
        with monkeypatch.context() as patch:
            patch.setattr(mnist_module, kind, replace(kept, files={**kept.files, NAMES[0]: known}))
            if kind == "_MNIST":
                with pytest.raises(
                    DataError, match=f"expected Fashion-MNIST's file, found {other}'s"
                ):
                    load_fashion_mnist(tmp_path)
                assert len(load_mnist(tmp_path).notes) == 3
            else:
                assert f"but {other}'s" in load_mnist(tmp_path).notes[0]
                assert len(load_fashion_mnist(tmp_path).notes) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashon-mnist", "did you mean 'fashion-mnist'"),
        ("CIFAR10", "did you mean 'cifar10'"),
        ("imagenet", "there are cifar10, cifar100, digits, fashion-mnist, mnist, or give a path"),
        ("./pictures", "./pictures: no such file or folder; by name there are cifar10"),
        ("some/where", "some/where: no such file or folder"),
        ("absent.csv", "absent.csv: no such file or folder"),
        ("", "no data set is called ''"),
    ],
)
def test_names_and_paths_that_are_none(name: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(name)
    assert words in str(caught.value)


def reader(calls: list[tuple[str, Path, dict[str, Any]]], kind: str) -> Any:
    part = ArrayDataset(np.zeros((1, 1, 2, 2), np.uint8), [0])

    def read(path: Path, *, validation: float = 0.0, mode: str = "L") -> ImageData:
        calls.append((kind, path, {"validation": validation, "mode": mode}))
        return ImageData(kind, part, part, ["0"], 255.0)

    return read


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, dict[str, Any]]]:
    """Readers that write down what they are called with."""
    written: list[tuple[str, Path, dict[str, Any]]] = []
    readers = {kind: reader(written, kind) for kind in (".csv", ".npz", ".tar", sources.FOLDER)}
    monkeypatch.setattr(sources, "READERS", readers)
    return written


def test_paths_go_to_the_reader_of_their_kind(
    tmp_path: Path, calls: list[tuple[str, Path, dict[str, Any]]]
) -> None:
    (tmp_path / "shards").mkdir()
    for name in ("a.csv", "b.NPZ", "shards/00.tar", "c.txt"):
        (tmp_path / name).touch()
    for kind, name in [
        (".csv", "a.csv"),
        (".npz", "b.NPZ"),
        (".tar", "shards/00.tar"),
        (".tar", "shards"),
        (".tar", "shards/{00..09}.tar"),
        (sources.FOLDER, "."),
    ]:
        path = tmp_path / name
        assert load_dataset(path, validation=0.1, download=True).name == kind
        assert load_dataset(str(path), mode="RGB").name == kind
        assert calls[-2:] == [
            (kind, path, {"validation": 0.1, "mode": "L"}),
            (kind, path, {"validation": 0.0, "mode": "RGB"}),
        ]
    with pytest.raises(DataError, match=r"c\.txt: nothing reads this; .*\.csv, \.npz, \.tar"):
        load_dataset(tmp_path / "c.txt")
    with pytest.raises(DataError, match=r"no folder beside the path.*elsewhere"):
        load_dataset(tmp_path / "a.csv", "elsewhere")
    with pytest.raises(KindError, match=r"the options mode, validation; got option 'seeds'"):
        load_dataset(tmp_path / "a.csv", seeds=1)
    with pytest.raises(DataError, match="no such file or folder"):
        load_dataset(tmp_path / "shard.csv")


def test_a_name_goes_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load_dataset("digits").name == "digits"
    assert calls == []
    assert load_dataset("./digits").name == sources.FOLDER


def test_where_a_set_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mnist", "fashion-mnist"):
        (tmp_path / "data" / name).mkdir(parents=True)
        write_set(tmp_path / "data" / name)
        assert load_dataset(name).name == name
    with pytest.raises(DataError, match="data/cifar10: no such folder"):
        load_dataset("cifar10")


def test_options_of_a_set(tmp_path: Path) -> None:
    files, truth = sets.make("cifar100", "binary")
    sets.write(tmp_path, files)
    data = load_dataset("cifar100", tmp_path, fine=False, validation=0.2, seed=3)
    assert data.train.num_classes == 20
    assert data.validation is not None
    assert len(data.train) + len(data.validation) == len(truth["train"])
    with pytest.raises(KindError, match=r"mnist: expected the options seed, validation; got opt"):
        load_dataset("mnist", tmp_path, fine=False)
    with pytest.raises(KindError, match=r"cifar100: expected the options fine, seed, validation"):
        load_dataset("cifar100", tmp_path, test=0.2)


def test_a_validation_part_is_cut_off_the_training_part() -> None:
    whole_set, data = load_dataset("digits"), load_dataset("digits", validation=0.1)
    assert whole_set.validation is None
    assert data.validation is not None
    assert data.test is not whole_set.test
    np.testing.assert_array_equal(data.test[:][0], whole_set.test[:][0])
    train, held = data.train[:], data.validation[:]
    rows = [
        {(image.tobytes(), int(label)) for image, label in zip(*part, strict=True)}
        for part in (whole_set.train[:], train, held)
    ]
    assert not rows[1] & rows[2]
    assert rows[1] | rows[2] == rows[0]
    counts = np.bincount(whole_set.train.targets)
    np.testing.assert_array_equal(np.bincount(held[1]), np.round(counts / 10))
    # another choice would be another split: figures would no longer compare
    assert held[1][:12].tolist() == HELD_LABELS
    assert int(held[0].sum()) == HELD_SUM
    again = load_dataset("digits", validation=0.1, seed=0).validation
    other = load_dataset("digits", validation=0.1, seed=1).validation
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(again[:][0], held[0])
    assert not np.array_equal(other[:][0], held[0])


HELD_LABELS = [6, 5, 1, 8, 0, 7, 2, 4, 8, 0, 4, 1]
HELD_SUM = 44852


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan"), float("inf"), 1e-9])
def test_fractions_out_of_range(fraction: float) -> None:
    with pytest.raises(ShapeError, match="validation"):
        load_dataset("digits", validation=fraction)


@pytest.mark.parametrize("fraction", ["0.1", True, None])
def test_fractions_that_are_no_numbers(fraction: Any) -> None:
    with pytest.raises(KindError, match="a number as validation"):
        load_dataset("digits", validation=fraction)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_class_gives_its_share(labels: list[int], fraction: float, seed: int) -> None:
    array = np.array(labels)
    chosen = sources._stratified(array, fraction, seed)
    np.testing.assert_array_equal(chosen, sources._stratified(array, fraction, seed))
    for label in np.unique(array):
        count = int(chosen[array == label].sum())
        of = int((array == label).sum())
        assert count < of
        assert abs(count - fraction * of) <= 1.0 or count == of - 1
