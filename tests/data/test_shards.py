from __future__ import annotations

import io
import json
import multiprocessing
import os
import tarfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chainrule.data import TarDataset, load_shards
from chainrule.data.shards import find_shards
from chainrule.errors import DataError


def picture(level: int = 0, kind: str = "PNG", mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (4, 3), level).save(buffer, kind)
    return buffer.getvalue()


def shard(path: Path, members: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(
    start: int, count: int, label: Callable[[int], tuple[str, str]]
) -> list[tuple[str, bytes]]:
    found = []
    for k in range(start, start + count):
        ending, text = label(k)
        found += [(f"{k:06d}.png", picture(k)), (f"{k:06d}.{ending}", text.encode())]
    return found


def test_samples_are_found_and_read_in_any_order(tmp_path: Path) -> None:
    for k in range(3):
        shard(tmp_path / f"s-{k:03d}.tar", samples(k * 5, 5, lambda k: ("cls", f"{k % 3}\n")))
    for paths in (
        tmp_path,
        str(tmp_path / "s-{000..002}.tar"),
        [tmp_path / f"s-{k:03d}.tar" for k in range(3)],
    ):
        data = TarDataset(paths)
        assert data.classes == ("0", "1", "2")
        assert data.targets.tolist() == [k % 3 for k in range(15)]
        order = np.random.RandomState(0).permutation(15)
        assert [int(data[k][0].max()) for k in order] == order.tolist()
        assert data.describe(7) == f"{tmp_path / 's-001.tar'}, 000007.png"
        assert data.notes == ()
    named = TarDataset(tmp_path, classes=["a", "b", "c", "d"])
    assert named.classes == ("a", "b", "c", "d")


def test_threads_and_processes_read_the_same(tmp_path: Path) -> None:
    data = TarDataset(shard(tmp_path / "s.tar", samples(0, 30, lambda k: ("cls", "0"))))
    numbers = [k % 30 for k in range(300)]
    with ThreadPoolExecutor(8) as pool:
        assert [int(x.max()) for x in pool.map(data.image, numbers)] == numbers
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        assert [int(x.max()) for x in processes.map(data.image, range(5))] == list(range(5))


def test_labels_by_name_and_in_json(tmp_path: Path) -> None:
    names = TarDataset(
        shard(tmp_path / "a.tar", samples(0, 4, lambda k: ("txt", " dog\n" if k else "cat")))
    )
    assert (names.classes, names.targets.tolist()) == (("cat", "dog"), [0, 1, 1, 1])
    for value in (3, "3"):
        text = json.dumps({"label": value, "id": 9})
        data = TarDataset(shard(tmp_path / "b.tar", samples(0, 2, lambda _, t=text: ("json", t))))
        assert data.targets.tolist() == [3, 3]
        assert len(data.classes) == 4
    mixed = [
        ("d/1.jpg", picture(kind="JPEG")),
        ("d/1.txt", b"a caption"),
        ("d/1.json", b'{"url": "x"}'),
        ("d/1.cls", b"7"),
        ("e/1.JPG", picture(kind="JPEG")),
        ("e/1.json", b'{"label": 2}'),
        ("e/1.txt", b"a caption"),
        ("e/1.seg.png", b"not asked for"),
        ("e/._1.png", b"x"),
        ("readme.md", b"x"),
    ]
    data = TarDataset(shard(tmp_path / "c.tar", mixed))
    assert data.targets.tolist() == [7, 2]
    assert data.notes == (
        f"{tmp_path / 'c.tar'} and on: left out 2 members of other endings",
        f"{tmp_path / 'c.tar'} and on: left out 1 members that are hidden or left by a system",
    )


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_forms_of_tar_with_long_names(tmp_path: Path, form: int) -> None:
    name = "ö" * 60 + "/" + "n" * 80
    with tarfile.open(tmp_path / "s.tar", "w", format=form) as tar:
        folder = tarfile.TarInfo("ö" * 40)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for ending, data in ((".png", picture(5)), (".cls", b"cat")):
            info = tarfile.TarInfo(("ö" * 40 if form == tarfile.USTAR_FORMAT else name) + ending)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    data = TarDataset(tmp_path / "s.tar")
    assert int(data[0][0].max()) == 5


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([("1.png", b"")], r"1\.png: no label beside the picture \(\.cls, \.json, \.txt\)"),
        ([("1.cls", b"0")], r"1\.cls: a label without a picture"),
        ([("1.png", b""), ("1.json", b'{"id": 1}')], r"1\.png: no label beside"),
        (
            [("1.png", b""), ("1.jpg", b""), ("1.cls", b"0")],
            r"1\.jpg: a second picture of the sample",
        ),
        ([("1.png", b""), ("1.png", b"")], r"1\.png: a second member of this name"),
        ([("/1.png", b"")], "a path that leaves the archive"),
        ([("a/../../1.png", b"")], "a path that leaves the archive"),
        ([("1.png", b""), ("1.cls", b" \n")], r"1\.cls: expected a label, found nothing"),
        ([("1.png", b""), ("1.cls", b"\xff")], r"1\.cls: broken cls"),
        ([("1.png", b""), ("1.json", b"{")], r"1\.json: broken json"),
        ([("1.png", b""), ("1.json", b"[" * 100_000)], r"1\.json: broken json"),
        ([("1.png", b""), ("1.json", b'{"label": [1]}')], "expected a number or a name"),
        ([("1.png", b""), ("1.json", b'{"label": true}')], "expected a number or a name"),
        ([("1.png", b""), ("1.txt", bytes(2 << 20))], "expected a label, found 2,097,152 bytes"),
        ([("notes.md", b"x")], "no pictures with labels"),
        ([("1.png", b"no picture"), ("1.cls", b"0")], r"s\.tar, 1\.png: not a picture"),
    ],
)
def test_what_is_no_sample_is_named(
    tmp_path: Path, members: list[tuple[str, bytes]], text: str
) -> None:
    with pytest.raises(DataError, match=text) as caught:
        TarDataset(shard(tmp_path / "s.tar", members))
    assert str(caught.value).startswith(str(tmp_path / "s.tar"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        info = tarfile.TarInfo("1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match=r"1\.png: a link, a device or a sparse file"):
        TarDataset(tmp_path / "s.tar")


@pytest.mark.parametrize(
    ("mode", "tool"), [("w:gz", "gunzip"), ("w:bz2", "bunzip2"), ("w:xz", "unxz")]
)
def test_compressed_shards_are_refused(tmp_path: Path, mode: str, tool: str) -> None:
    path = shard(tmp_path / "s.tar", samples(0, 2, lambda k: ("cls", "0")), mode)
    with pytest.raises(DataError, match=f"compressed tar file.* unpack it first, with {tool}"):
        TarDataset(path)


def test_cut_shards_are_named(tmp_path: Path) -> None:
    whole = shard(tmp_path / "s.tar", samples(0, 3, lambda k: ("cls", "0"))).read_bytes()
    used = 6 * 1024  # a header and a block for each member
    assert whole[used:] == bytes(len(whole) - used)
    for length in (0, 100, 511, 512, 600, 1024, 2048, used - 1, used - 512, used, used + 511):
        (tmp_path / "s.tar").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"s\.tar.*: (a damaged tar file|damaged or cut short)"):
            TarDataset(tmp_path / "s.tar")
    (tmp_path / "s.tar").write_bytes(whole[: used + 512])
    assert len(TarDataset(tmp_path / "s.tar")) == 3
    (tmp_path / "s.tar").write_bytes(whole[:2048] + b"x" * 512 + whole[2560:])
    with pytest.raises(DataError, match="damaged"):
        TarDataset(tmp_path / "s.tar")


@settings(max_examples=200)
@given(place=st.integers(0, 7 * 1024), value=st.integers(0, 255))
def test_damage_gives_pictures_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("damage") / "s.tar"
    data = bytearray(shard(path, samples(0, 3, lambda k: ("cls", "0"))).read_bytes())
    data[place] = value
    path.write_bytes(data)
    try:
        found = TarDataset(path)
        shapes = {image.shape for image, _ in found}
    except DataError as error:
        assert "s.tar" in str(error)  # noqa: PT017 - either is right
    else:
        assert all(len(shape) == 3 for shape in shapes)


def test_a_shard_that_goes_away_is_named(tmp_path: Path) -> None:
    data = TarDataset(shard(tmp_path / "s.tar", samples(0, 2, lambda k: ("cls", "0"))))
    os.truncate(tmp_path / "s.tar", 700)
    with pytest.raises(DataError, match=r"s\.tar, 000001\.png: not a picture but an empty file"):
        data[1]
    (tmp_path / "s.tar").unlink()
    with pytest.raises(DataError, match=r"s\.tar, 000000\.png: cannot be read"):
        data[0]


def test_classes_must_hold_the_labels(tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar", samples(0, 3, lambda k: ("cls", str(k))))
    with pytest.raises(DataError, match=r"000002\.png: expected a label in 0\.\.1, found 2"):
        TarDataset(path, classes=["a", "b"])
    path = shard(tmp_path / "s.tar", samples(0, 3, lambda k: ("cls", "abc"[k])))
    with pytest.raises(DataError, match="one of the classes a, b, found 'c'"):
        TarDataset(path, classes=["a", "b"])


def test_patterns_and_folders(tmp_path: Path) -> None:
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b-10.tar"):
        (tmp_path / name).write_bytes(b"")
    base = str(tmp_path / "a-")
    assert find_shards(base + "{08..10}.tar") == [f"{base}{k}.tar" for k in ("08", "09", "10")]
    both = find_shards([base + "{08..09}.tar", tmp_path / "b-10.tar"])
    assert [os.path.basename(path) for path in both] == ["a-08.tar", "a-09.tar", "b-10.tar"]
    assert len(find_shards(tmp_path)) == 4
    assert len(find_shards(base + "{1..1}{0..0}.tar")) == 1
    for wrong, text in (
        (base + "{08..11}.tar", r"a-11\.tar: no such file"),
        (base + "{9..8}.tar", "a range upwards"),
        (base + "{0..999999999}.tar", "a range upwards of at most"),
        ([], "at least one tar file"),
    ):
        with pytest.raises(DataError, match=text):
            find_shards(wrong)  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no \.tar file in this folder"):
        find_shards(tmp_path / "empty")


def test_parts_by_the_names_of_shards(tmp_path: Path) -> None:
    for part, count in (("train-0", 6), ("train-1", 6), ("val", 2), ("test_0", 3)):
        shard(tmp_path / f"{part}.tar", samples(0, count, lambda k: ("cls", "ab"[k % 2])))
    data = load_shards(tmp_path)
    assert data.validation is not None
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 2, 3]
    assert (data.classes, data.white) == (("a", "b"), 255.0)
    alone = load_shards(tmp_path / "train-{0..1}.tar", test=0.25, validation=0.25)
    assert alone.validation is not None
    assert [len(part) for part in (alone.train, alone.validation, alone.test)] == [6, 3, 3]
    (tmp_path / "x").mkdir()
    plain = load_shards(shard(tmp_path / "x" / "s.tar", samples(0, 10, lambda k: ("cls", "0"))))
    assert (len(plain.train), len(plain.test), plain.name) == (8, 2, "s")


def test_parts_agree(tmp_path: Path) -> None:
    shard(tmp_path / "train.tar", samples(0, 4, lambda k: ("cls", "ab"[k % 2])))
    shard(tmp_path / "test.tar", samples(0, 4, lambda k: ("cls", "bc"[k % 2])))
    with pytest.raises(DataError, match="one of the classes a, b, found 'c'"):
        load_shards(tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((3, 4), np.uint16)).save(buffer, "PNG")
    shard(tmp_path / "test.tar", [("1.png", buffer.getvalue()), ("1.cls", b"a")])
    with pytest.raises(DataError, match=r"test\.tar: expected pictures of type uint8"):
        load_shards(tmp_path)
