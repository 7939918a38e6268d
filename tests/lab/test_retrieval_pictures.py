"""Pictures on the page Retrieval: handed in without whom they show, heat maps, small pictures."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.data.dicom import DicomFile
from chainrule.lab import Settings, create_app, pictures
from chainrule.lab.pictures import Pictures
from chainrule.lab.searching import painted
from chainrule.lab.uploads import Mark, mark_of
from chainrule.retrieval.index import Index
from chainrule.retrieval.likeness import likeness
from chainrule.retrieval.page import heat_over
from chainrule.retrieval.privacy import hasher_of
from chainrule.retrieval.thumbnails import opened as pixels_of
from tests.data.places import shared_data
from tests.lab.html import read
from tests.lab.indexes import (
    build,
    scan,
    shape,
)
from tests.lab.searched import Lab, alert, found, numbers, png, state


def rows_of(index: Index, patient: str) -> set[str]:
    group = hasher_of(index.path).group(patient)
    snapshot = index.snapshot
    return {
        entry.id for entry in snapshot.entries(np.flatnonzero(snapshot.groups == group)) if entry
    }


def test_a_scan_s_own_patient_is_left_out(lab: Lab, tmp_path: Path) -> None:
    data = scan(shape("disc", 50), PatientID="P11")
    address = lab.hand_in(data, "x.dcm", "index=scans")
    theirs = rows_of(lab.scans, "P11")
    assert len(theirs) == 2
    wanted = lab.scans.query(data, 20, mode="off")
    page = lab.get(f"{address}&k=20")
    assert found(page, "off") == [hit.id for hit in wanted.hits]
    assert not theirs & set(found(page, "off"))
    assert "cannot tell" not in page.text
    assert theirs <= set(found(lab.get(f"{address}&k=20&own=1"), "off"))
    # the same pixels of somebody else are another picture
    other = lab.hand_in(scan(shape("disc", 50), PatientID="P10"), "x.dcm", "index=scans")
    assert state(other)["picture"] != state(address)["picture"]
    assert theirs <= set(found(lab.get(f"{other}&k=20"), "off"))


def test_a_scan_that_is_in_the_index_does_not_find_itself(lab: Lab) -> None:
    path = lab.folder / "files" / "rows" / "rows3.dcm"
    itself = hasher_of(lab.scans.path).hash("image", lab.scans.ask(path).picture.key)
    page = lab.get(lab.hand_in(path.read_bytes(), "a", "index=scans") + "&k=20")
    assert itself not in found(page, "off")
    picture = lab.folder / "images" / "bars" / "bars7.png"
    page = lab.get(lab.hand_in(picture.read_bytes()))
    assert found(page, "off") == [hit.id for hit in lab.shapes.query(picture, 10, mode="off").hits]
    assert float(numbers(lab.get(lab.hand_in(picture.read_bytes()) + "&own=1"), "off")[0][0]) == 1.0


def test_an_image_of_the_index_leaves_its_patient_out_too(lab: Lab) -> None:
    one, other = sorted(rows_of(lab.scans, "P11"))
    for rest in ("", "&region=2,2,20,20", f"&like={min(rows_of(lab.scans, 'P01'))}"):
        page = lab.get(f"/retrieval?index=scans&picture={one}&k=20{rest}")
        assert not {one, other} & set(found(page, "off"))
        assert len(found(page, "off")) >= 14  # of 18, without the patients that were named
    assert other in found(lab.get(f"/retrieval?index=scans&picture={one}&k=20&own=1"), "off")


def test_another_index_knows_the_patient_too(lab: Lab) -> None:
    address = lab.hand_in(scan(shape("disc", 50), PatientID="P11"), "x.dcm", "index=shapes")
    switched = address.replace("index=shapes", "index=scans")
    assert not rows_of(lab.scans, "P11") & set(found(lab.get(f"{switched}&k=20"), "off"))


def test_a_pattern_finds_the_patient_in_the_file_s_name(lab: Lab, tmp_path: Path) -> None:
    files = tmp_path / "files" / "disc"
    files.mkdir(parents=True)
    for seed in range(6):
        Image.fromarray(shape("disc", seed)).save(files / f"patient{seed // 2}_{seed}.png")
    index = Index(
        build(lab.runs / "net", files.parent, tmp_path / "r" / "named", group=r"patient(\d+)_")
    )
    client = create_app(Settings(tmp_path / "r")).test_client()
    own = Lab(tmp_path, client, index, index)
    page = own.get(own.hand_in(png(shape("disc", 60)), "patient1_new.png", "index=named"))
    assert len(found(page, "off")) == 4
    assert not rows_of(index, "1") & set(found(page, "off"))
    page = own.get(own.hand_in(png(shape("disc", 60)), "other.png", "index=named"))
    assert len(found(page, "off")) == 6
    assert "Whose picture it is this index cannot tell" in page.text


def test_a_mark_that_is_not_as_it_was_written_says_nothing() -> None:
    for note in (
        "",
        "{",
        "[]",
        "[1]",
        '{"marks": 3}',
        '{"notes": 3}',
        "null",
        '{"marks": {"a": []}}',
    ):
        assert mark_of(note, None, "") == Mark()


def test_what_is_shown_of_a_scan_is_kept_and_nothing_else(lab: Lab) -> None:
    data = scan(shape("rows", 51), BurnedInAnnotation="YES")
    address = lab.hand_in(data, "Secretfile.dcm", "index=scans")
    (name,) = state(address)["picture"]
    kept = Image.open(lab.runs / ".lab" / "pictures" / f"{name}.png")
    assert kept.mode.startswith("I;16")
    wanted = DicomFile.open(data).image()[0]
    assert np.abs(np.asarray(kept) / 65535.0 - wanted).max() <= 0.5 / 65535 + 1e-7
    assert not kept.info
    told = json.loads(Pictures(lab.runs / ".lab" / "pictures").note(name))
    assert set(told) == {"dicom", "marks", "notes"}
    assert len(told["marks"]) == 2
    assert "look whether it shows a name" in lab.get(address).text


def test_of_several_frames_the_middle_one(lab: Lab) -> None:
    frames = np.stack([shape("rows", 1), shape("disc", 2), shape("bars", 3)])
    page = lab.get(lab.hand_in(scan(frames), "x", "index=scans"))
    assert "Of 3 frames the middle one is asked about" in page.text
    wanted = lab.scans.query(scan(frames), 10, mode="off")
    assert found(page, "off") == [hit.id for hit in wanted.hits]


def test_real_scans_are_shown_or_refused_in_words(lab: Lab) -> None:
    files = sorted(shared_data("dicom").glob("*.dcm"))
    shown = 0
    for path in files:
        address = lab.send(path.read_bytes(), path.name, "index=scans").headers["Location"]
        page = lab.get(address)
        shown += "refused" not in address
        if "refused" in address:
            assert "the file" in alert(page).lower()
            continue
        rows, columns = DicomFile.open(path).rows, DicomFile.open(path).columns
        frame = page.one("div", id="frame")
        assert (frame["data-width"], frame["data-height"]) == (str(columns), str(rows))
        wanted = lab.scans.query(path, 10, mode="off")
        assert found(page, "off")[:3] == [hit.id for hit in wanted.hits][:3]
    assert shown >= 8


def test_a_note_goes_with_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Pictures(tmp_path / "p")
    first = kept.add(png(shape("disc", 1)), "x", "one")
    assert kept.note(first) == "one"
    assert first != kept.add(png(shape("disc", 1)), "x", "two")
    assert kept.note("0" * 20) == kept.note("../../x") == ""
    monkeypatch.setattr(pictures, "KEPT", 1)
    last = kept.add(png(shape("rows", 1)), "x", "three")
    assert sorted(path.name for path in kept.folder.iterdir()) == [f"{last}.json", f"{last}.png"]


def test_heat_maps_are_the_library_s(lab: Lab) -> None:
    data = png(shape("disc", 77))
    page = lab.get(lab.hand_in(data) + "&heat=1")
    images = page.all("img", class_="heat")
    assert len(images) == 20
    question = lab.shapes.ask(data)
    hits = lab.shapes.search(question, 10, mode="off").hits
    maps, plain = lab.shapes.why(question, hits), lab.shapes.network.plain(question.x)
    sources = {part["src"].split("/")[-1][:32]: part["src"] for part in images}
    for hit, values in zip(hits, maps, strict=True):
        answer = lab.client.get(sources[hit.id])
        assert answer.headers["Cache-Control"] == "private, no-store"
        shown = np.asarray(Image.open(io.BytesIO(answer.data)), np.float64) / 255
        wanted = heat_over(plain, values)
        assert np.abs(shown - wanted.transpose(1, 2, 0)).max() < 0.51 / 255
    assert len({lab.client.get(src).data for src in sources.values()}) > 1
    assert not lab.get(lab.hand_in(data)).all("img", class_="heat")


def test_heat_maps_of_a_part_and_of_an_image_of_the_index(lab: Lab) -> None:
    data = png(np.hstack([shape("disc", 78), shape("rows", 78)]))
    address = lab.hand_in(data)
    src = lab.get(f"{address}&heat=1").all("img", class_="heat")[0]["src"]
    whole = lab.client.get(src).data
    part = lab.client.get(f"{src}&region=32,0,32,32").data
    assert len({whole, part, lab.client.get(f"{src}&region=0,0,32,32").data}) == 3
    assert lab.client.get(src).data == whole
    entry = lab.shapes.snapshot.entries([3])[0]
    page = lab.get(f"/retrieval?index=shapes&picture={entry.id}&heat=1")
    src = page.all("img", class_="heat")[0]["src"]
    x = lab.shapes.network.prepare(pixels_of(entry.thumbnail))
    row = lab.shapes.snapshot.rows_of([src.split("/")[-1][:32]])
    (values,) = likeness(lab.shapes.network.embedder, x, lab.shapes.snapshot.matrix[row])
    assert lab.client.get(src).data == painted(lab.shapes.network.plain(x), values)


def test_a_map_of_nothing_is_the_picture_itself() -> None:
    plain = np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4)
    for values in (np.zeros((3, 4)), np.full((3, 4), np.nan)):
        shown = np.asarray(Image.open(io.BytesIO(painted(plain, values))))
        assert (shown == np.rint(255 * plain[0])[..., np.newaxis]).all()


def test_no_heat_map_without_a_picture(lab: Lab) -> None:
    first, second = (entry.id for entry in lab.shapes.snapshot.entries([3, 4]))
    page = lab.get(f"/retrieval?index=shapes&like={first}&heat=1")
    assert "No heat maps: heat maps need a picture" in page.text
    assert not page.all("img", class_="heat")
    answer = lab.client.get(f"/retrieval/heat/{second}.png?index=shapes&like={first}")
    assert answer.status_code == 400


def test_small_pictures_are_the_index_s(lab: Lab) -> None:
    page = lab.get("/retrieval?index=shapes")
    assert len(page.all("a", href="")) == 0
    sources = [part["src"] for part in page.one("ul", class_="shelf-tiles").all("img")]
    assert len(sources) == len(set(sources)) == 24
    for src in sources[:5]:
        answer = lab.client.get(src)
        assert answer.mimetype == "image/jpeg"
        assert answer.headers["Cache-Control"] == "private, no-store"
        row = lab.shapes.snapshot.rows_of([src.split("/")[-1][:32]])
        assert answer.data == lab.shapes.snapshot.entries(row)[0].thumbnail


def test_every_image_of_the_index_can_be_reached(lab: Lab) -> None:
    ids: list[str] = []
    address = "/retrieval?index=shapes&at=1"
    while address:
        page = lab.get(address)
        ids += re.findall(r"thumb/shapes/(\w+)\.jpg", str([i["src"] for i in page.all("img")]))
        following = page.all("a", id="later")
        address = following[0]["href"] if following else ""
    assert len(ids) == len(set(ids)) == 120


def test_an_index_without_small_pictures(lab: Lab, tmp_path: Path) -> None:
    build(lab.runs / "net", lab.folder / "images", tmp_path / "r" / "bare", thumbnail=0)
    client = create_app(Settings(tmp_path / "r")).test_client()
    page = read(client.get("/retrieval").text)
    assert not page.all("img")
    more = page.one("a", id="shelf-1")["href"]
    page = read(client.get(more + "&heat=1").text)
    assert "(no small picture is kept)" in page.text
    assert "No heat maps: the index bare keeps no small pictures" in page.text
    name = more.split("picture=")[1]
    assert client.get(f"/retrieval/thumb/bare/{name}.jpg").status_code == 404
    assert client.get(f"{more}&region=1,1,2,2").status_code == 400
