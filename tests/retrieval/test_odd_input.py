"""Odd pictures, paths and folders: what a lab's disk holds beside what was meant."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.cli.progress import without_warnings
from chainrule.errors import DataError
from chainrule.retrieval.index import Index
from chainrule.retrieval.items import Reading, file_item, folder_items, pictures
from chainrule.retrieval.making import Choices, Source, add_to_index, build_index
from chainrule.retrieval.network import RunNetwork, middle
from chainrule.retrieval.thumbnails import as_bytes
from chainrule.training.config import TrainConfig
from chainrule.training.task import TrainTask
from tests.cli.running import Run, fails
from tests.cli.running import run as command  # noqa: F401 - a fixture, under another name
from tests.retrieval.shapes import shape, write_dicom, write_shapes

NAME = "Zebediah"


@pytest.fixture(scope="module")
def keeping(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose transforms keep the proportions of a picture, as the recipe's do."""
    folder = tmp_path_factory.mktemp("keeping") / "run"
    way = ("Resize(32)", "Normalize()")
    config = TrainConfig(
        model="lenet5", data=str(shapes), epochs=1, batch_size=8, lr=0.01, transforms=way
    )
    TrainTask(config, folder).run()
    return folder


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_pictures_of_any_proportions_go_in_together(keeping: Path, tmp_path: Path) -> None:
    sizes = [(40, 40), (30, 90), (90, 30), (1, 1), (1, 4000), (4000, 2), (33, 32)]
    random = np.random.RandomState(0)
    for number, size in enumerate(sizes):
        _save(tmp_path / "in" / f"{number}.png", random.randint(0, 255, size).astype(np.uint8))
        colour = random.randint(0, 255, (*size, 3)).astype(np.uint8)
        _save(tmp_path / "in" / f"{number}c.png", colour)
    report = build_index(keeping, Source(str(tmp_path / "in")), tmp_path / "index")
    assert (report.added, report.skipped) == (2 * len(sizes), [])
    index = Index(tmp_path / "index")
    assert len(index.query(tmp_path / "in" / "4.png", k=3).hits) == 3


def test_of_a_long_picture_the_middle_counts(keeping: Path) -> None:
    network, square = RunNetwork(keeping), shape("ring", 5)[np.newaxis]
    long = np.concatenate([0 * square, square, 255 + 0 * square], axis=2)
    np.testing.assert_array_equal(network.prepare(long), network.prepare(square))
    np.testing.assert_array_equal(middle(long, (32, 32)), square)


def test_a_run_that_sets_the_size_itself_sees_all_of_a_picture(run: Path) -> None:
    network, square = RunNetwork(run), shape("ring", 5)[np.newaxis]
    long = np.concatenate([0 * square, square], axis=2)
    expected = network.member.transforms(long[np.newaxis], None)[0]
    np.testing.assert_array_equal(network.prepare(long), expected)


DAMAGED = {
    "a.pgm": b"P5\nZebediah 12 255\n" + bytes(99),
    "b.ppm": b"P6\nZebediahAndMore 9 255\n" + bytes(99),
    "c.pgm": b"P2\n4 4 255\nZebediah 1 2 3",
    "d.png": b"\x89PNG\r\n\x1a\n\0\0\0\4Zebediah" + bytes(9),
    "e.bmp": b"BM" + b"Zebediah" * 20,
    "f.gif": b"GIF89a" + b"Zebediah" * 20,
    "g.tif": b"II*\0" + b"Zebediah" * 20,
}


def test_a_damaged_picture_is_not_quoted(
    command: Run,  # noqa: F811
    run: Path,
    tmp_path: Path,
) -> None:
    write_shapes(tmp_path / "in", 1)
    for name, content in DAMAGED.items():
        (tmp_path / "in" / name).write_bytes(content)
    made = command("index", "build", run, tmp_path / "in", "--out", tmp_path / "index")
    assert f"left out: {len(DAMAGED)}" in made.out
    said = made.out + made.err
    said += "".join(
        answer.out + answer.err
        for name in DAMAGED
        for answer in [command("--debug", "search", tmp_path / "index", tmp_path / "in" / name)]
    )
    kept = b"".join(p.read_bytes() for p in (tmp_path / "index").rglob("*") if p.is_file())
    for part in ("Zebe", "diah"):
        assert part not in said
        assert part.encode() not in kept


def test_reasons_of_ours_are_told_whole() -> None:
    with pytest.raises(DataError, match="empty file"):
        next(pictures(b"", Reading()))


def test_a_path_that_is_no_text_can_be_kept(run: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "in")
    _save(tmp_path / "in" / "a.png", shape("ring", 5))
    try:
        os.rename(folder + b"/a.png", folder + b"/\xe4.png")
    except OSError:
        pytest.skip("this file system wants names that are text")
    out = tmp_path / "index"
    build_index(run, Source(str(tmp_path / "in")), out, Choices(keep_paths=True))
    (hit,) = Index(out).query(shape("ring", 5), k=1).hits
    assert hit.path is not None
    assert hit.path.endswith(r"in/\xe4.png")


def test_a_picture_without_an_ending_is_looked_at(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", shape("ring", 5))
    shutil.copy(tmp_path / "a.png", tmp_path / "IM0001")
    (tmp_path / "README").write_text("no picture")
    items, left = folder_items(tmp_path, (), Reading())
    assert [os.path.basename(item.where) for item in items] == ["IM0001", "a.png"]
    assert dict(left) == {"that are neither pictures nor DICOM": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser lists every folder")
def test_a_folder_that_cannot_be_listed_is_counted(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", shape("ring", 5))
    (tmp_path / "closed").mkdir(mode=0)
    items, left = folder_items(tmp_path, (), Reading())
    assert (len(items), dict(left)) == (1, {"folders that cannot be listed": 1})


def test_a_folder_that_fails_to_be_listed_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path / "a.png", shape("ring", 5))
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refusing(path: str) -> object:
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr("chainrule.data.folder.os.scandir", refusing)
    items, left = folder_items(tmp_path, (), Reading())
    assert (len(items), dict(left)) == (1, {"folders that cannot be listed": 1})


def test_frames_of_one_file_are_of_one_patient_even_if_nobody_is_named(
    run: Path, tmp_path: Path
) -> None:
    frames = np.stack([shape("ring", n).astype(np.uint16) * 16 for n in range(4)])
    write_dicom(tmp_path / "in" / "a.dcm", frames, StudyInstanceUID="", PatientID="")
    _save(tmp_path / "in" / "b.png", shape("ring", 9))
    build_index(run, Source(str(tmp_path / "in")), tmp_path / "index")
    index = Index(tmp_path / "index")
    asked = tmp_path / "in" / "a.dcm"
    assert [hit.kind for hit in index.query(asked, k=9).hits] == ["picture"]
    assert len(index.query(asked, k=9, include_own=True).hits) == 5


def test_more_than_there_are_may_be_asked_for(built: Path, shapes: Path) -> None:
    found = Index(built).query(shapes / "ring" / "001.png", k=10**20)
    assert len(found.hits) == 35


def test_what_only_queries_have_is_refused_without_them(
    command: Run,  # noqa: F811
    built: Path,
) -> None:
    fails(command("index", "evaluate", built, "--part", "test"), 1, "--queries")
    fails(command("search", built, "absent.png", "--frame", 3), 1, "absent.png: no such file")


def test_a_file_that_vanishes_is_left_out(run: Path, shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "in")
    build_index(run, Source(str(shapes)), tmp_path / "index")
    gone = file_item(str(tmp_path / "in" / "gone.png"), None, Reading())
    with pytest.raises(DataError, match="the file: no such file"):
        next(gone.read())
    assert add_to_index(tmp_path / "index", Source(str(tmp_path / "in"))).known == 36


def test_libraries_do_not_warn_on_the_terminal(recwarn: pytest.WarningsRecorder) -> None:
    import warnings

    with without_warnings():
        warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
    assert not recwarn.list


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535.0), (np.float32, 1.0)])
def test_a_large_picture_becomes_bytes_in_little_memory(dtype: type, white: float) -> None:
    random = np.random.RandomState(0)
    pixels = random.uniform(-0.1, 1.1, (1, 3000, 1000)).clip(0 if white > 1 else -1) * white
    pixels = np.minimum(pixels, 65535).astype(dtype)
    tracemalloc.start()
    try:
        found = as_bytes(pixels, white)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expected = np.rint(np.clip(pixels[0] * (255.0 / white), 0, 255)).astype(np.uint8)
    np.testing.assert_array_equal(found, expected)
    assert most < 4 * found.nbytes


def test_a_large_picture_is_prepared_in_little_memory(keeping: Path) -> None:
    network = RunNetwork(keeping)
    pixels = np.random.RandomState(0).randint(0, 65536, (1, 3000, 1000)).astype(np.uint16)
    expected = (pixels * (255.0 / 65535.0)).round().astype(np.uint8)
    tracemalloc.start()
    try:
        found = network.member.adapted(pixels)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found[0], expected)
    assert most < 4 * found.nbytes


def test_an_empty_answer_says_what_was_left_out(
    command: Run,  # noqa: F811
    run: Path,
    tmp_path: Path,
) -> None:
    write_dicom(tmp_path / "in" / "a.dcm", shape("ring", 5), PatientID="anonymous")
    out = tmp_path / "index"
    command("index", "build", run, tmp_path / "in", "--out", out)
    assert "--include-own" in command("search", out, tmp_path / "in" / "a.dcm").out
