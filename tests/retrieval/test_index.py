"""Questions to an index: pictures, parts of them, images that are there; and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.errors import DataError, KindError, ShapeError
from chainrule.retrieval.answers import Answer, Hit, Outlier
from chainrule.retrieval.asking import Region, mixed
from chainrule.retrieval.index import Index
from chainrule.retrieval.making import Choices, Source, add_to_index, build_index
from chainrule.retrieval.page import heat_over, search_page, unlike
from chainrule.retrieval.thumbnails import opened
from tests.retrieval.shapes import KINDS, shape, write_shapes


@pytest.fixture(scope="module")
def index(built: Path) -> Index:
    return Index(built)


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_are_of_its_class(index: Index, kind: str) -> None:
    answer = index.query(shape(kind, 777), 5)
    assert answer.predicted == kind
    assert [hit.label for hit in answer.hits].count(kind) >= 4
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(hit.distance == pytest.approx(1 - hit.similarity) for hit in answer.hits)


def test_paths_bytes_and_pixels_ask_the_same(index: Index, shapes: Path) -> None:
    path = shapes / "ring" / "002.png"
    pixels = np.asarray(Image.open(path))
    vectors = [
        index.ask(source).vector
        for source in (path, str(path), path.read_bytes(), pixels, pixels[None], pixels / 255.0)
    ]
    for vector in vectors[1:]:
        np.testing.assert_allclose(vector, vectors[0], atol=2e-3)
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_the_modes_are_what_they_say(index: Index) -> None:
    asked = index.ask(shape("bar", 888))
    v, p = np.asarray(index.snapshot.matrix), index.snapshot.probabilities
    cosines = v @ asked.vector
    off = index.search(asked, 36, mode="off").hits
    assert [hit.row for hit in off] == np.argsort(-cosines, kind="stable").tolist()
    soft = index.search(asked, 36, mode="soft").hits
    wanted = 0.5 * cosines + 0.5 * np.sqrt(p) @ np.sqrt(asked.probabilities)
    np.testing.assert_allclose([h.score for h in soft], np.sort(wanted)[::-1], atol=1e-5)
    hard = index.search(asked, 36, mode="hard").hits
    best = asked.probabilities.argmax()
    assert {hit.row for hit in hard} == set(np.flatnonzero(p.argmax(axis=1) == best).tolist())


def test_a_region_is_the_part_alone(index: Index) -> None:
    wide = np.zeros((60, 140), np.uint8)
    wide[6:54, 80:128] = shape("disc", 4)
    part = index.ask(wide, region=Region(80, 6, 48, 48))
    np.testing.assert_allclose(part.vector, index.ask(shape("disc", 4)).vector, atol=1e-6)
    assert Region.parse(" 1, 2,3,4 ") == Region(1, 2, 3, 4)
    for text in ("1,2,3", "a,b,c,d", "1,2,3,4,5", "1.5,2,3,4"):
        with pytest.raises(DataError, match="x,y,w,h"):
            Region.parse(text)
    for outside in (Region(100, 0, 60, 60), Region(-1, 0, 5, 5), Region(0, 0, 0, 5)):
        with pytest.raises(DataError, match="140 wide and 60 high"):
            index.ask(wide, region=outside)


def test_more_like_these(index: Index) -> None:
    rings = [h.id for h in index.query(shape("ring", 5), 3).hits]
    asked = index.ask(like=rings)
    assert index.search(asked, 5).hits[0].label == "ring"
    assert not {hit.id for hit in index.search(asked, 30).hits} & set(rings)
    pulled = index.ask(shape("bar", 6), like=rings)
    alone = index.ask(shape("bar", 6))
    rows = index.snapshot.rows_of(rings)
    toward = np.asarray(index.snapshot.matrix)[rows].mean(axis=0)
    assert pulled.vector @ toward > alone.vector @ toward
    with pytest.raises(DataError, match="no image 'f00'"):
        index.ask(like=["f00"])
    with pytest.raises(DataError, match="expected a picture"):
        index.ask()


def test_the_middle_of_one_is_itself() -> None:
    v, p = mixed(np.array([[0.6, 0.8]]), np.array([[0.1, 0.9]]), [1])
    np.testing.assert_allclose(v, [0.6, 0.8], atol=1e-6)
    np.testing.assert_allclose(p, [0.1, 0.9], atol=1e-6)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (np.zeros((2, 4, 4), np.uint8), ShapeError),
        (np.zeros((4,), np.uint8), ShapeError),
        (np.full((1, 4, 4), 2.0), DataError),
        (np.full((1, 4, 4), np.nan), DataError),
        (np.zeros((1, 4, 4), np.int64), ShapeError),
        (7, KindError),
        (b"", DataError),
        (b"GIF89a", DataError),
        ("absent.png", DataError),
    ],
)
def test_what_is_no_picture_is_refused(index: Index, source: object, error: type) -> None:
    with pytest.raises(error):
        index.ask(source)


@pytest.mark.parametrize("k", [0, -1])
def test_wrong_numbers_are_refused(index: Index, k: int) -> None:
    asked = index.ask(shape("bar", 1))
    with pytest.raises(ShapeError, match="at least 1"):
        index.search(asked, k)
    with pytest.raises(KindError, match="soft"):
        index.search(asked, 3, mode="maybe")
    with pytest.raises(DataError, match="--ann"):
        index.search(asked, 3, approximate=True)
    with pytest.raises(TypeError):
        index.search(asked, 2.5)  # type: ignore[arg-type]


def test_what_is_unlike_all_is_flagged_and_the_like_is_not(run: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "in", 40)
    build_index(run, Source(str(tmp_path / "in")), tmp_path / "index")
    index = Index(tmp_path / "index")
    like = [index.query(shape(kind, s), 1).outlier for kind in KINDS for s in range(500, 540)]
    flagged = [out.flagged for out in like if out is not None]
    assert len(flagged) == 120
    assert sum(flagged) <= 12  # 1 % is asked for; 1 of 121 can be told
    upside = index.query(255 - shape("ring", 3), 1, rate=0.05)
    assert upside.outlier is not None
    assert upside.outlier.p_value < 0.2
    rate = index.query(shape("bar", 1), 1, rate=0.001).outlier
    assert rate is not None
    assert "distances tell rates from" in rate.reason


def test_the_heat_of_a_likeness_is_drawn_over_both(index: Index) -> None:
    asked = index.ask(shape("disc", 21))
    hits = index.search(asked, 3).hits
    maps = index.why(asked, hits)
    assert maps.shape == (3, 32, 32)
    assert (maps >= 0).all()
    other, seen = index.why_hit(asked, hits[0])
    assert other.shape == seen.shape[1:] == (32, 32)
    drawn = heat_over(seen, other)
    assert drawn.shape == (3, 32, 32)
    assert 0 <= drawn.min() <= drawn.max() <= 1
    with pytest.raises(DataError, match="no picture"):
        index.why(index.ask(like=[hits[0].id]), hits)


def test_the_page_holds_all_and_escapes_what_it_is_given(index: Index) -> None:
    asked = index.ask(shape("ring", 22))
    answer = index.search(asked, 2)
    assert asked.picture is not None
    text = search_page([("<b>With</b>", answer)], asked.picture.pixels, 255.0)
    assert "&lt;b&gt;With" in text
    assert text.count("<li>") == 2
    assert answer.hits[0].id in text
    assert "http" not in text
    assert unlike(answer) == ""


def test_small_pictures_are_pictures_and_nothing_else(index: Index) -> None:
    hit = index.query(shape("bar", 2), 1).hits[0]
    assert opened(hit.thumbnail).shape == (1, 48, 48)
    assert hit.size == (48, 48)
    assert b"Exif" not in hit.thumbnail
    with pytest.raises(DataError, match="damaged"):
        opened(hit.thumbnail[:40])


def test_it_sees_what_a_writer_adds(built: Path, tmp_path: Path) -> None:
    shutil.copytree(built, tmp_path / "index")
    index = Index(tmp_path / "index")
    assert len(index) == 36
    write_shapes(tmp_path / "more", 2, first=60)
    add_to_index(tmp_path / "index", Source(str(tmp_path / "more")))
    assert len(index) == 42


def test_several_threads_ask_at_once(index: Index) -> None:
    wanted = [h.id for h in index.query(shape("disc", 9), 5).hits]
    found: list[list[str]] = []

    def ask() -> None:
        for _ in range(5):
            found.append([h.id for h in index.query(shape("disc", 9), 5).hits])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 20


def test_a_graph_answers_as_exact_search_does(run: Path, shapes: Path, tmp_path: Path) -> None:
    said: list[str] = []
    choices = Choices(ann=True)
    build_index(run, Source(str(shapes)), tmp_path / "index", choices, say=said.append)
    assert "finds 100.0 %" in said[-1]
    index = Index(tmp_path / "index")
    asked = index.ask(shape("ring", 31))
    for mode in ("off", "soft", "hard"):
        exact = index.search(asked, 5, mode=mode, approximate=False).hits
        graph = index.search(asked, 5, mode=mode, approximate=True).hits
        assert [h.row for h in graph] == [h.row for h in exact]
    (tmp_path / "index" / "graph.usearch").write_bytes(b"not a graph")
    fresh = Index(tmp_path / "index")
    with pytest.raises(DataError, match="not as it was written"):
        fresh.search(asked, 5)
    assert fresh.search(asked, 5, approximate=False).hits


def test_threads_may_ask_why_at_once(index: Index) -> None:
    asked = [index.ask(shape(kind, 50 + k)) for k in range(4) for kind in KINDS]
    hits = [index.search(question, 2).hits for question in asked]
    wanted = [index.why(*pair) for pair in zip(asked, hits, strict=True)]

    def ask(number: int) -> np.ndarray:
        index.ask(np.stack([shape("bar", number)] * 3))
        return np.asarray(index.why(asked[number], hits[number]))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(len(asked))))
    finally:
        sys.setswitchinterval(interval)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert index.why(asked[0], []).shape == (0, 32, 32)


def test_patients_of_all_that_was_asked_for_are_left_out(
    run: Path, shapes: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"  # its groups are patients whom no path names
    files = sorted(shapes.rglob("*.png"))
    rows = [f"{path},{path.parent.name},{number // 4}" for number, path in enumerate(files)]
    table.write_text("\n".join(["path,label,group", *rows]) + "\n")
    build_index(run, Source(str(table)), tmp_path / "index")
    index = Index(tmp_path / "index")
    groups = index.snapshot.groups
    assert len(np.unique(groups)) == 9
    of_path = index.search(index.ask(files[0]), 36, mode="off").hits
    assert len(of_path) == 32
    mine = index.query(files[0], 36, include_own=True, mode="off").hits
    assert len(mine) == 36
    two = [mine[0], next(hit for hit in mine if groups[hit.row] != groups[mine[0].row])]
    for source in (None, shape("ring", 91)):
        asked = index.ask(source, like=[hit.id for hit in two])
        found = index.search(asked, 36, mode="off").hits
        assert len(found) == 28
        assert not {groups[hit.row] for hit in found} & {groups[hit.row] for hit in two}
        assert len(index.search(asked, 36, mode="off", include_own=True).hits) == 36


def test_an_answer_as_json_says_what_is_not_known() -> None:
    hit = Hit("a1", 0, 0.5, 0.5)
    unknown = Outlier(0.5, 0.25, 0.01, False, "3 distances tell rates from 0.25 on")
    told = Answer([hit], "off", (), np.zeros(0), unknown).to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["hits"][0]["probability"] is None
    assert told["outlier"]["flagged"] is None
    assert told["outlier"]["reason"] == unknown.reason


def test_a_region_that_is_not_whole_to_the_network_is_told(index: Index) -> None:
    wide = np.full((60, 140), 90, np.uint8)
    assert "60 by 30" in index.ask(wide, region=Region(0, 0, 60, 30)).notes[0]
    assert index.ask(wide, region=Region(0, 0, 50, 48)).notes == ()
    assert index.ask(wide).notes == ()


def test_an_index_is_found_again_from_another_folder(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(built.parent)
    index = Index(built.name)
    monkeypatch.chdir(tmp_path)
    assert len(index.query(shape("bar", 3), 2).hits) == 2
