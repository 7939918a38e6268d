"""The page Retrieval, asked without a browser: which index, and what is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from chainrule.errors import DataError
from chainrule.lab import Settings, create_app
from chainrule.lab.indexes import Indexes
from chainrule.retrieval.asking import Region
from chainrule.retrieval.thumbnails import opened as pixels_of
from tests.lab.html import read
from tests.lab.indexes import (
    shape,
)
from tests.lab.searched import Lab, alert, found, numbers, png, state


def test_without_an_index_the_page_says_how_to_make_one(tmp_path: Path) -> None:
    page = read(create_app(Settings(tmp_path / "r")).test_client().get("/retrieval").text)
    first, second = page.one("pre").text.split("chainrule")[1:]
    assert first.startswith(f" index build {tmp_path}/r/RUN IMAGES --out {tmp_path}/r/RUN-index")
    assert second.startswith(f" lab --index {tmp_path}/r/RUN-index")
    assert not page.all("form")


def test_indexes_have_names_and_never_paths(lab: Lab) -> None:
    page = lab.get("/retrieval")
    options = page.one("select", name="index").all("option")
    assert [option["value"] for option in options] == ["scans", "shapes"]
    assert "scans: 18 images, 3 classes." in page.text
    assert "shapes: 120 images, 3 classes." in lab.get("/retrieval?index=shapes").text
    for address in (
        "/retrieval",
        "/retrieval?index=shapes&at=3",
        lab.hand_in(png(shape("bars", 77))),
    ):
        assert str(lab.folder) not in lab.client.get(address).text


def test_names_are_plain_and_each_once(lab: Lab, tmp_path: Path) -> None:
    strange = ("a<b>", "a b", "a_b", ".hidden", "shapes")
    for name in strange:
        shutil.copytree(lab.shapes.path, tmp_path / "runs" / name)
    (tmp_path / "runs" / "empty").mkdir()
    other = shutil.copytree(lab.shapes.path, tmp_path / "shapes")
    settings = Settings(tmp_path / "runs", indexes=(other, other, tmp_path / "runs" / "a b"))
    paths = Indexes(settings).paths()
    assert {name: path.name for name, path in paths.items()} == {
        "shapes": "shapes",
        "shapes-2": "shapes",
        "a_b": "a b",
        "a_b_": "a<b>",
        "a_b-2": "a_b",
    }
    assert paths["shapes"] == other


def test_what_is_named_must_be_an_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no index is there"):
        Settings(indexes=(tmp_path,))


def test_the_first_visit_loads_no_network(lab: Lab) -> None:
    app = create_app(Settings(lab.runs))
    assert app.test_client().get("/retrieval").status_code == 200
    opened = app.extensions["chainrule"].indexes.get("shapes")
    assert opened.index._network is None


@pytest.mark.parametrize("k", [5, 10, 20])
def test_the_answers_are_the_library_s(lab: Lab, k: int) -> None:
    data = png(shape("disc", 77))
    address = lab.hand_in(data, state=f"index=shapes&k={k}")
    page = lab.get(address)
    for row in ("soft", "off"):
        wanted = lab.shapes.query(data, k, mode=row)
        assert found(page, row) == [hit.id for hit in wanted.hits]
        values = numbers(page, row)
        assert [v[0] for v in values] == [round(hit.similarity, 4) for hit in wanted.hits]
        if row == "soft":
            assert [v[1] for v in values] == [round(hit.score, 4) for hit in wanted.hits]
    hard = lab.get(f"{address}&class=hard")
    assert found(hard, "hard") == [h.id for h in lab.shapes.query(data, k, mode="hard").hits]
    assert "disc alone" in hard.text


def test_classes_stand_as_bars_with_numbers(lab: Lab) -> None:
    data = png(shape("rows", 77))
    page = lab.get(lab.hand_in(data))
    wanted = lab.shapes.query(data, 1).likeliest()
    table = page.one("table", class_="bars")
    assert table.rows()[1:] == [
        [name, f"{100 * p:.1f} %", f"{100 * p:.1f} %"] for name, p in wanted
    ]
    meters = [float(meter["value"]) for meter in table.all("meter")]
    assert meters == [round(p, 4) for _, p in wanted]
    assert meters == sorted(meters, reverse=True)
    for meter in table.all("meter"):
        assert table.one("th", id=meter["aria-labelledby"]).text
    assert f"The network sees {wanted[0][0]}" in page.text


def test_each_hit_says_whether_the_class_is_the_query_s(lab: Lab) -> None:
    data = png(np.vstack([shape("bars", 80)[:16], shape("rows", 80)[:16]]))
    page = lab.get(lab.hand_in(data, state="index=shapes&k=20"))
    answer = lab.shapes.query(data, 20, mode="off")
    (section,) = page.all("section", **{"aria-labelledby": "row-off"})
    for item, hit in zip(section.one("ol").all("li"), answer.hits, strict=True):
        agrees = hit.predicted == answer.predicted
        assert len(item.all("p", class_="agrees")) == agrees
        assert len(item.all("p", class_="differs")) == (not agrees)
        assert hit.label in item.text


def test_a_picture_unlike_the_index_is_flagged(lab: Lab) -> None:
    noise = np.full((32, 32), 255, np.uint8)
    noise[12:14, 5:27] = 0
    out = lab.shapes.query(noise, 1).outlier
    assert out is not None
    assert out.flagged, out
    page = lab.get(lab.hand_in(png(noise)))
    said = page.one("p", id="unlike").text
    assert said.startswith("Unlike what is in the index. Its nearest image is")
    assert f"{out.distance:.3f} away" in said
    ordinary = lab.get(lab.hand_in(png(shape("disc", 77))))
    assert not ordinary.all("p", id="unlike")
    assert ordinary.one("p", id="alike")


def test_a_part_of_the_picture(lab: Lab) -> None:
    data = png(np.hstack([shape("disc", 78), shape("rows", 78)]))
    address = lab.hand_in(data)
    answer = lab.client.get(f"{address}&x=30&y=+1&width=32&height=30")
    assert answer.status_code == 302
    page = lab.get(answer.headers["Location"])
    wanted = lab.shapes.query(data, 10, mode="off", region=Region(30, 1, 32, 30))
    assert found(page, "off") == [hit.id for hit in wanted.hits]
    assert found(page, "off") != found(lab.get(address), "off")
    sides = [page.one("input", id=f"region-{s}")["value"] for s in ("x", "y", "width", "height")]
    assert sides == ["30", "1", "32", "30"]
    assert (
        page.one("div", id="part")["style"] == "left:46.875%;top:3.125%;width:50.0%;height:93.75%"
    )
    assert "region" not in state(page.one("a", id="region-clear")["href"])
    cleared = lab.client.get(f"{address}&region=1,1,2,2&x=&y=&width=&height=")
    assert "region" not in state(cleared.headers["Location"])


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("40,0,30,5", "64 wide and 32 high; got x 40, y 0, width 30, height 5"),
        ("0,0,0,5", "got x 0, y 0, width 0, height 5"),
        ("1,2,3", "expected x, y, width and height"),
        ("-1,0,5,5", "expected x, y, width and height"),
        ("1,,3,", "expected x, y, width and height"),
        ("9999999,0,5,5", "expected x, y, width and height"),
        ("\u0661,0,5,5", "expected x, y, width and height"),
        ("<b>", "expected x, y, width and height"),
    ],
)
def test_a_part_that_is_none_is_told(lab: Lab, region: str, words: str) -> None:
    address = lab.hand_in(png(np.hstack([shape("disc", 78), shape("rows", 78)])))
    page = lab.get(f"{address}&region={region}", 400)
    assert words in alert(page)
    assert page.one("input", id="region-x")["value"] == region.split(",")[0]
    assert not page.all("section", **{"aria-labelledby": "row-off"})
    assert "hidden" in page.one("div", id="part").attributes


def test_more_like_an_image_of_the_index(lab: Lab) -> None:
    page = lab.get(lab.hand_in(png(shape("disc", 77))))
    more = page.one("a", id="more-off-2")["href"]
    second = found(page, "off")[1]
    assert state(more) == {"index": ["shapes"], "picture": [second]}
    page = lab.get(more)
    wanted = lab.shapes.search(lab.shapes.ask(like=[second]), 10, mode="off")
    assert found(page, "off") == [hit.id for hit in wanted.hits]
    assert second not in found(page, "off")
    assert page.one("img", id="query-image")["src"] == f"/retrieval/thumb/shapes/{second}.jpg"
    # a part of it is asked by its small picture
    part = lab.get(f"{more}&region=2,2,20,20")
    entry = lab.shapes.snapshot.entries(lab.shapes.snapshot.rows_of([second]))[0]
    asked = lab.shapes.ask(pixels_of(entry.thumbnail), region=Region(2, 2, 20, 20))
    hits = [h.id for h in lab.shapes.search(asked, 11, mode="off").hits if h.id != second]
    assert found(part, "off") == hits[:10]


def test_more_like_several_with_the_picture_and_alone(lab: Lab) -> None:
    data = png(shape("disc", 77))
    address = lab.hand_in(data)
    ids = found(lab.get(address), "soft")
    both = f"{address}&like={ids[0]}&like={ids[3]}&like={ids[0]}"
    page = lab.get(both)
    wanted = lab.shapes.query(data, 10, mode="soft", like=[ids[0], ids[3]])
    shown = [
        box["value"]
        for box in page.one("form", id="likes-form").all("input", type="hidden", name="like")
    ]
    assert shown == [ids[0], ids[3]]
    hits = found(page, "soft")
    assert hits == [hit.id for hit in wanted.hits]
    assert not {ids[0], ids[3]} & set(hits)
    answer = lab.client.get(f"{both}&alone=1")
    assert "picture" not in state(answer.headers["Location"])
    alone = lab.get(answer.headers["Location"])
    wanted = lab.shapes.query(None, 10, mode="soft", like=[ids[0], ids[3]])
    assert found(alone, "soft") == [hit.id for hit in wanted.hits]
    assert not alone.all("div", id="frame")
    leave = alone.one("a", id=f"like-{ids[0]}")["href"]
    assert state(leave)["like"] == [ids[3]]


def test_the_state_stands_in_every_link(lab: Lab) -> None:
    rest = "&k=5&class=hard&own=1&heat=1&at=3"
    page = lab.get(
        lab.hand_in(png(shape("disc", 77)), state="index=shapes" + rest) + "&region=1,2,9,9"
    )
    kept = {"k": ["5"], "class": ["hard"], "own": ["1"], "heat": ["1"], "at": ["3"]}
    for link in ("more-hard-1", "shelf-4", "later", "region-clear"):
        found_state = state(page.one("a", id=link)["href"])
        assert {**found_state, "at": ["3"]}.items() >= kept.items(), link
    form = page.one("form", id="upload")
    assert state(form["action"]).items() >= {**kept, "region": ["1,2,9,9"]}.items()
    hidden = {
        box["name"]: box["value"]
        for box in page.one("form", id="region").all("input", type="hidden")
    }
    assert hidden.items() >= {name: value[0] for name, value in kept.items()}.items()
