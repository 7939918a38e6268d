"""Indexes made of folders: what goes in, what is left out and why, and nobody's name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.data.sources import load_dataset
from chainrule.errors import DataError
from chainrule.retrieval import building
from chainrule.retrieval import index as index_module
from chainrule.retrieval.index import CALIBRATION, Index
from chainrule.retrieval.items import Reading, folder_items, pictures
from chainrule.retrieval.making import (
    Choices,
    Source,
    add_to_index,
    build_index,
    remove_from_index,
)
from chainrule.retrieval.outliers import Calibration
from chainrule.retrieval.page import search_page
from chainrule.retrieval.store import Snapshot
from chainrule.retrieval.verifying import verify
from chainrule.retrieval.whitening import from_note
from chainrule.retrieval.writing import Writer
from tests.retrieval.shapes import KINDS, shape, write_dicom, write_shapes

NAMES = ("Lovelace", "Hopper", "Noether", "1815-12-10", "18151210", "ACC4711", "1.2.826.0.77")


def everything(folder: Path) -> bytes:
    """Read all bytes of a folder, with the names of its files."""
    parts = []
    for path in sorted(folder.rglob("*")):
        parts.append(os.fsencode(path.relative_to(folder)))
        if path.is_file():
            parts.append(path.read_bytes())
    return b"\0".join(parts)


def test_an_index_knows_the_classes_of_its_folders(built: Path) -> None:
    index = Index(built)
    snapshot = index.snapshot
    assert len(index) == 36
    assert set(snapshot.label_names) == set(KINDS)
    assert np.bincount(snapshot.labels).tolist() == [12, 12, 12]
    lengths = np.linalg.norm(np.asarray(snapshot.matrix), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    np.testing.assert_allclose(snapshot.probabilities.sum(axis=1), 1, atol=1e-5)
    assert verify(built) == []


def test_what_cannot_be_taken_is_listed_and_the_rest_is_there(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_shapes(folder, 2)
    (folder / "bar" / "cut.png").write_bytes((folder / "bar" / "000.png").read_bytes()[:200])
    (folder / "bar" / "empty.jpg").write_bytes(b"")
    (folder / "disc" / "scan.dcm").write_bytes(bytes(128) + b"DICM" + os.urandom(300))
    write_dicom(folder / "disc" / "nothing", np.zeros((2, 2)))
    _without_pixels(folder / "disc" / "nothing")
    (folder / "notes.txt").write_text("read me")
    Image.new("RGB", (5, 5)).save(folder / "ring" / "screen.png")
    report = build_index(run, Source(str(folder)), tmp_path / "out")
    reasons = {Path(s.name).name: s.reason for s in report.skipped}
    assert set(reasons) == {"cut.png", "empty.jpg", "scan.dcm", "nothing"}
    assert "empty" in reasons["empty.jpg"]
    assert "pixel" in reasons["nothing"]
    assert report.added == 7
    assert sum(report.left.values()) == 1
    assert len(Index(tmp_path / "out").snapshot.skipped()) == 4


def _without_pixels(path: Path) -> None:
    import pydicom

    found = pydicom.dcmread(path)
    del found.PixelData
    found.save_as(path)


def test_secondary_captures_are_left_out_unless_asked_for(run: Path, tmp_path: Path) -> None:
    capture = "1.2.840.10008.5.1.4.1.1.7"
    path = tmp_path / "in" / "screen.dcm"
    write_dicom(path, np.full((40, 40), 900), SOPClassUID=capture)
    with pytest.raises(DataError, match="--secondary"):
        next(pictures(path, Reading()))
    assert next(pictures(path, Reading(secondary=True))).pixels.shape == (1, 40, 40)
    report = build_index(run, Source(str(path.parent)), tmp_path / "out")
    assert "secondary" in report.skipped[0].reason
    assert add_to_index(tmp_path / "out", Source(str(path.parent), secondary=True)).added == 1


def test_nothing_of_a_patient_is_in_any_byte(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "Hopper_Grace"
    for k in range(6):
        write_dicom(
            folder / f"Lovelace_Ada_{k}.dcm",
            shape(KINDS[k % 3], k).astype(np.uint16) * 16,
            PatientName=f"Lovelace^Ada{k}",
            PatientID=f"ACC4711-{k % 2}",
            PatientBirthDate="18151210",
            StudyInstanceUID=f"1.2.826.0.77.{k}",
            ReferringPhysicianName="Noether^Emmy",
            StudyDescription="after Dr. Noether, 1815-12-10",
            BodyPartExamined="CHEST",
        )
    (folder / "Noether_damaged.dcm").write_bytes((folder / "Lovelace_Ada_0.dcm").read_bytes()[:900])
    Image.fromarray(shape("bar", 9)).save(folder / "Hopper.png")
    choices = Choices(keep_tags=("Modality", "BodyPartExamined"))
    report = build_index(run, Source(str(folder)), tmp_path / "index", choices)
    assert report.added == 7
    index = Index(tmp_path / "index")
    answer = index.query(folder / "Lovelace_Ada_0.dcm", k=4)
    asked = index.ask(folder / "Lovelace_Ada_0.dcm")
    assert asked.picture is not None
    page = search_page([("With class prediction", answer)], asked.picture.pixels, 1.0)
    told = (
        page
        + json.dumps(answer.to_dict())
        + repr(answer)
        + repr([s.reason for s in report.skipped])
    )
    out, err = capfd.readouterr()
    held = everything(tmp_path / "index")
    for name in NAMES:
        for coded in (name.encode(), name.encode("utf-16-le"), name.encode("utf-16-be")):
            assert coded.lower() not in held.lower(), name
        assert name.lower() not in (told + out + err).lower(), name
    assert b"CHEST" in held  # what was asked for is there, so that the search can find something


def test_a_query_leaves_its_own_patient_out(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for k in range(9):
        pixels = shape(KINDS[k % 3], k).astype(np.uint16) * 16
        write_dicom(folder / f"{k}.dcm", pixels, PatientID=f"P{k // 3}")
    build_index(run, Source(str(folder)), tmp_path / "index")
    index = Index(tmp_path / "index")
    asked = index.ask(folder / "4.dcm")
    own = set(np.flatnonzero(index.snapshot.groups == np.uint64(asked.group)).tolist())
    assert len(own) == 3
    for mode in ("off", "soft"):
        found = {hit.row for hit in index.search(asked, 9, mode=mode).hits}
        assert found == set(range(9)) - own
    everyone = index.search(asked, 9, mode="off", include_own=True).hits
    assert len(everyone) == 9
    assert everyone[0].similarity == pytest.approx(1, abs=1e-5)


def test_a_picture_is_never_its_own_answer(built: Path, shapes: Path) -> None:
    index = Index(built)
    path = shapes / "disc" / "003.png"
    (itself,) = index.query(path, 1, include_own=True).hits
    assert itself.similarity == pytest.approx(1, abs=1e-5)
    assert itself.row not in {hit.row for hit in index.query(path, 36).hits}


def test_patients_are_found_in_paths_by_a_pattern(run: Path, tmp_path: Path) -> None:
    for k in range(4):
        Image.fromarray(shape("bar", k)).save(_made(tmp_path / "in") / f"p{k % 2}_{k}.png")
    choices = Choices(group=r"p(\d+)_")
    build_index(run, Source(str(tmp_path / "in")), tmp_path / "index", choices)
    groups = Index(tmp_path / "index").snapshot.groups
    assert len(np.unique(groups)) == 2
    assert (groups != 0).all()
    with pytest.raises(DataError, match="regular expression"):
        Reading(group="p(")


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_adding_again_adds_nothing_and_more_adds_more(run: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "in", 2)
    build_index(run, Source(str(tmp_path / "in")), tmp_path / "index")
    again = add_to_index(tmp_path / "index", Source(str(tmp_path / "in")))
    assert (again.added, again.known) == (0, 6)
    write_shapes(tmp_path / "more", 1, first=7)
    assert add_to_index(tmp_path / "index", Source(str(tmp_path / "more"))).added == 3
    assert len(Index(tmp_path / "index")) == 9


def test_frames_are_images_of_their_own(run: Path, tmp_path: Path) -> None:
    frames = np.stack([shape(KINDS[k % 3], k).astype(np.uint16) * 16 for k in range(20)])
    write_dicom(tmp_path / "in" / "cine.dcm", frames, PatientID="P1")
    report = build_index(run, Source(str(tmp_path / "in")), tmp_path / "index")
    assert report.added == 20
    index = Index(tmp_path / "index")
    assert sorted(e.frame for e in index.snapshot.entries(range(20)) if e) == list(range(20))
    answer = index.query(tmp_path / "in" / "cine.dcm", 3, include_own=True)
    assert "20 frames" in answer.notes[0]
    assert answer.hits[0].frame == 9
    with pytest.raises(DataError, match="from 0 to 19"):
        index.ask(tmp_path / "in" / "cine.dcm", frame=20)


def test_removing_leaves_nothing(run: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "in", 4)
    build_index(run, Source(str(tmp_path / "in")), tmp_path / "index", Choices(keep_paths=True))
    index = Index(tmp_path / "index")
    gone = index.query(tmp_path / "in" / "bar" / "001.png", 1, include_own=True).hits[0]
    assert gone.path is not None
    assert remove_from_index(tmp_path / "index", paths=[str(tmp_path / "in" / "bar")]) == 4
    held = everything(tmp_path / "index")
    assert gone.id.encode() not in held
    assert gone.path.encode() not in held
    assert gone.thumbnail not in held
    assert len(index) == 8  # the same Index sees it
    with pytest.raises(DataError, match="no image"):
        remove_from_index(tmp_path / "index", [gone.id])
    with pytest.raises(DataError, match="nothing that came from this path"):
        remove_from_index(tmp_path / "index", paths=[str(tmp_path / "in" / "bar")])


def test_a_patient_can_be_removed(run: Path, tmp_path: Path) -> None:
    for k in range(4):
        pixels = shape("disc", k).astype(np.uint16) * 16
        write_dicom(tmp_path / "in" / f"{k}.dcm", pixels, PatientID=f"P{k % 2}")
    build_index(run, Source(str(tmp_path / "in")), tmp_path / "index")
    assert remove_from_index(tmp_path / "index", patients=["P1"]) == 2
    with pytest.raises(DataError, match="no image of this patient"):
        remove_from_index(tmp_path / "index", patients=["P1"])


def test_whitened_features_are_searched_alike(run: Path, shapes: Path, tmp_path: Path) -> None:
    build_index(run, Source(str(shapes)), tmp_path / "index", Choices(whiten=12, dtype="float16"))
    index = Index(tmp_path / "index")
    assert index.snapshot.matrix.shape == (36, 12)
    assert index.snapshot.matrix.dtype == np.float16
    path = shapes / "ring" / "005.png"
    asked = index.ask(path)
    hit = index.search(asked, 1, mode="off", include_own=True).hits[0]
    assert hit.similarity == pytest.approx(1, abs=2e-3)
    assert index.why(asked, [hit]).shape == (1, 32, 32)
    write_shapes(tmp_path / "more", 1, first=50)
    add_to_index(tmp_path / "index", Source(str(tmp_path / "more")))
    assert index.snapshot.matrix.shape == (39, 12)


def test_too_few_images_are_whitened_later(run: Path, shapes: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "few", 1)
    said: list[str] = []
    choices = Choices(whiten=10)
    build_index(run, Source(str(tmp_path / "few")), tmp_path / "index", choices, say=said.append)
    assert "not whitened yet" in said[0]
    add_to_index(tmp_path / "index", Source(str(shapes)))
    assert Index(tmp_path / "index").snapshot.matrix.shape[1] == 10


def test_whitening_forgets_distances_of_other_features(
    run: Path, shapes: Path, tmp_path: Path
) -> None:
    write_shapes(tmp_path / "few", 1)
    build_index(run, Source(str(tmp_path / "few")), tmp_path / "index", Choices(whiten=10))
    with Writer(tmp_path / "index") as writer:
        writer.note(CALIBRATION, Calibration.of([0.1] * 200, "held-out").to_dict())
    add_to_index(tmp_path / "index", Source(str(shapes)))
    found = Calibration.from_dict(Index(tmp_path / "index").snapshot.note(CALIBRATION))
    assert (found.kind, found.measured) == ("leave-one-out", 36)


def test_a_data_set_is_indexed_by_its_parts(tmp_path: Path) -> None:
    from chainrule.training.config import TrainConfig
    from chainrule.training.task import TrainTask

    TrainTask(TrainConfig(epochs=1, batch_size=64, lr=0.05), tmp_path / "run").run()
    report = build_index(tmp_path / "run", Source("digits", "test"), tmp_path / "index")
    index = Index(tmp_path / "index")
    count = len(load_dataset("digits").test)
    assert report.added + report.known == count
    assert len(index) == report.added > 350
    assert len(index.snapshot.label_names) == 10
    with pytest.raises(DataError, match="one of its parts"):
        add_to_index(tmp_path / "index", Source("digits", "rest"))


def test_choices_are_refused_before_anything_is_written(
    run: Path, shapes: Path, tmp_path: Path
) -> None:
    out, source = tmp_path / "index", Source(str(shapes))
    for choices, words in (
        (Choices(layer="conv9"), "no layer 'conv9'"),
        (Choices(whiten=85), "at most 84"),
        (Choices(dtype="int8"), "float32 or float16"),
        (Choices(window="40"), "CENTRE,WIDTH"),
        (Choices(keep_tags=("PatientName",)), "never kept"),
        (Choices(thumbnail=5000), "0 to 1024"),
        (Choices(group="("), "regular expression"),
    ):
        with pytest.raises(DataError, match=words):
            build_index(run, source, out, choices)
    with pytest.raises(DataError, match="no such file or folder"):
        build_index(run, Source(str(tmp_path / "absent")), out)
    with pytest.raises(DataError, match="a folder is taken whole"):
        build_index(run, Source(str(shapes), "test"), out)
    _made(tmp_path / "empty")
    with pytest.raises(DataError, match="found none"):
        build_index(run, Source(str(tmp_path / "empty")), out)
    assert not out.exists()
    build_index(run, source, out)
    with pytest.raises(DataError, match="already there"):
        build_index(run, source, out)


def test_without_the_key_it_answers_and_says_what_it_cannot(
    built: Path, shapes: Path, tmp_path: Path
) -> None:
    shutil.copytree(built, tmp_path / "index")
    (tmp_path / "index" / "key").unlink()
    answer = Index(tmp_path / "index").query(shapes / "bar" / "000.png", 2)
    assert len(answer.hits) == 2
    assert "no key" in answer.notes[0]
    with pytest.raises(DataError, match="key"):
        add_to_index(tmp_path / "index", Source(str(shapes)))


def test_the_runs_paths_are_not_in_the_index(built: Path, shapes: Path) -> None:
    held = everything(built)
    assert os.fsencode(shapes) not in held
    assert shapes.parent.name.encode() not in held


def test_files_without_a_class_folder_have_no_class(shapes: Path) -> None:
    items, _ = folder_items(shapes, ("bar", "cube"), Reading())
    assert {item.label for item in items} == {"bar", None}
    items, _ = folder_items(shapes / "ring", KINDS, Reading())
    assert {item.label for item in items} == {"ring"}
    items, _ = folder_items(shapes / "disc" / "001.png", KINDS, Reading())
    assert [item.label for item in items] == ["disc"]


def test_a_batch_costs_the_same_however_many_images_are_there(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at an index that grew reads the records of all of its rows."""
    shutil.copytree(built, tmp_path / "index")
    seen: list[object] = []

    class Counted(Snapshot):
        def __init__(self, *given: object) -> None:
            seen.append(given)
            super().__init__(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(index_module, "Snapshot", Counted)
    monkeypatch.setattr(building, "BATCH", 4)
    monkeypatch.setattr(building.add_items, "__defaults__", (None, 4))
    write_shapes(tmp_path / "few", 4, first=70)
    write_shapes(tmp_path / "many", 24, first=80)
    add_to_index(tmp_path / "index", Source(str(tmp_path / "few")))
    first = len(seen)
    add_to_index(tmp_path / "index", Source(str(tmp_path / "many")))
    assert len(Index(tmp_path / "index")) == 36 + 12 + 72
    assert len(seen) - first <= first + 1  # 3 batches, and 18


def test_a_whitening_is_read_once(
    run: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(run, Source(str(shapes)), tmp_path / "index", Choices(whiten=6))
    read: list[object] = []

    def counted(note: Any) -> Any:
        read.append(note)
        return from_note(note)

    monkeypatch.setattr(index_module, "from_note", counted)
    index = Index(tmp_path / "index")
    for seed in range(3):
        assert index.query(shape("bar", seed), 2).hits
    assert len(read) == 1


@pytest.mark.parametrize("count", [60, pytest.param(1500, marks=pytest.mark.slow)])
def test_damaged_files_are_listed_each_with_a_reason(run: Path, tmp_path: Path, count: int) -> None:
    """Pictures and DICOM files with bytes changed, cut or put in: all are taken or listed."""
    random = np.random.RandomState(count)
    good = []
    for ending, options in ((".png", {}), (".jpg", {}), (".tif", {}), (".bmp", {}), (".gif", {})):
        path = tmp_path / f"good{ending}"
        Image.fromarray(shape("ring", 1)).save(path, **options)
        good.append((ending, path.read_bytes()))
    write_dicom(tmp_path / "good.dcm", shape("ring", 1).astype(np.uint16), PatientID="P")
    good.append((".dcm", (tmp_path / "good.dcm").read_bytes()))
    folder = _made(tmp_path / "in")
    for number in range(count):
        ending, data = good[number % len(good)]
        held = bytearray(data)
        for _ in range(random.randint(1, 6)):
            held[random.randint(len(held))] = random.randint(256)
        cut = random.randint(1, len(held)) if random.rand() < 0.3 else len(held)
        (folder / f"{number:05}{ending}").write_bytes(bytes(held[:cut]))
    report = build_index(run, Source(str(folder)), tmp_path / "index")
    skipped = {Path(each.name).name for each in report.skipped}
    assert report.added + report.known + len(skipped) + sum(report.left.values()) >= count
    assert len(skipped) > count // 20
    assert all(each.reason.strip() for each in report.skipped)
    assert len(Index(tmp_path / "index")) == report.added > 0
    assert verify(tmp_path / "index") == []


def test_an_open_index_follows_a_whitening_that_comes_later(
    run: Path, shapes: Path, tmp_path: Path
) -> None:
    write_shapes(tmp_path / "few", 1)
    build_index(run, Source(str(tmp_path / "few")), tmp_path / "index", Choices(whiten=10))
    index = Index(tmp_path / "index")
    assert index.ask(shape("bar", 5)).vector.shape == (84,)
    add_to_index(tmp_path / "index", Source(str(shapes)))
    assert index.ask(shape("bar", 5)).vector.shape == (10,)
    assert len(index.query(shape("bar", 5), 3).hits) == 3
