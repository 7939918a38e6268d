"""`chainrule index` and `chainrule search` as they are typed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.running import Run, fails
from tests.cli.running import run as command  # noqa: F401 - a fixture, under another name
from tests.retrieval.shapes import KINDS, shape, write_dicom, write_shapes


def test_from_a_folder_to_an_answer(
    command: Run,  # noqa: F811
    run: Path,
    shapes: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "index"
    made = command("index", "build", run, shapes, "--out", out)
    assert (made.code, made.out.splitlines()[-2:]) == (0, ["added: 36", f"index: {out}"])
    told = command("index", "info", out)
    assert "bar 12, disc 12, ring 12" in told.out
    assert json.loads(command("index", "info", out, "--json").out)["images"] == 36
    assert "whole" in command("index", "verify", out).out
    picture = tmp_path / "new.png"
    Image.fromarray(shape("ring", 404)).save(picture)
    found = command("search", out, picture, "-k", 3)
    lines = found.out.splitlines()
    assert lines[0].startswith("the query: ring (")
    assert len(lines) == 4
    answer = json.loads(command("search", out, picture, "-k", 3, "--json").out)
    assert [hit["id"] for hit in answer["hits"]] == [line.split()[1] for line in lines[1:]]
    ids = [hit["id"] for hit in answer["hits"]]
    again = command("search", out, "--like", ids[0], "-k", 2)
    assert len([line for line in again.out.splitlines() if "similarity" in line]) == 2
    several = command("search", out, picture, "--like", *ids, "-k", 33).out
    assert several == command("search", out, picture, "--like", ",".join(ids), "-k", 33).out
    assert not any(one in several for one in ids)
    gone = command("index", "remove", out, answer["hits"][0]["id"])
    assert gone.out == "removed: 1\n"
    assert json.loads(command("index", "info", out, "--json").out)["images"] == 35
    more = command("index", "add", out, shapes)
    assert "already there: 35" in more.out
    assert "added: 1" in more.out


def test_the_page_is_written_whole_and_not_over_another(
    command: Run,  # noqa: F811
    built: Path,
    shapes: Path,
    tmp_path: Path,
) -> None:
    page, picture = tmp_path / "out.html", shapes / "bar" / "003.png"
    done = command("search", built, picture, "--html", page, "-k", 4)
    assert done.out.endswith(f"page: {page}\n")
    text = page.read_text()
    assert text.count("<li>") == 8  # with class prediction, and without
    assert text.count("<img") == 1 + 8 * 3
    assert "003" not in text.split("<body>")[0]
    assert str(shapes) not in text
    fails(command("search", built, picture, "--html", page), 1, "already there", "--overwrite")
    fails(command("search", built, picture, "--html", tmp_path / "a.txt"), 1, "html")


def test_files_that_are_left_out_have_no_names_unless_asked(
    command: Run,  # noqa: F811
    run: Path,
    tmp_path: Path,
) -> None:
    write_shapes(tmp_path / "in", 1)
    (tmp_path / "in" / "Lovelace.png").write_bytes(b"")
    first = command("index", "build", run, tmp_path / "in", "--out", tmp_path / "a")
    assert "left out: 1" in first.out
    assert "Lovelace" not in first.out + first.err
    shown = command("index", "build", run, tmp_path / "in", "--out", tmp_path / "b", "--show-paths")
    assert "Lovelace.png: not a picture but an empty file" in shown.out


def test_tags_are_kept_if_they_are_named(
    command: Run,  # noqa: F811
    run: Path,
    tmp_path: Path,
) -> None:
    write_dicom(tmp_path / "in" / "a.dcm", np.full((40, 40), 500), BodyPartExamined="HEAD")
    out = tmp_path / "index"
    words = ("index", "build", run, tmp_path / "in", "--out", out)
    fails(command(*words, "--keep-tags", "PatientName"), 1, "never kept")
    command(*words, "--keep-tags", "Modality, BodyPartExamined")
    found = command("search", out, tmp_path / "in" / "a.dcm", "--include-own")
    assert "BodyPartExamined=HEAD" in found.out
    assert "Modality=CT" in found.out


def test_an_evaluation_is_shown_and_written(
    command: Run,  # noqa: F811
    built: Path,
    tmp_path: Path,
) -> None:
    write_shapes(tmp_path / "asked", 4, first=300)
    out = tmp_path / "tables"
    words = ("index", "evaluate", built, "--queries", tmp_path / "asked")
    done = command(*words, "--out", out)
    assert done.code == 0, done
    assert "queries: 12 of known class; images: 36" in done.out
    for mode in ("off", "soft", "hard", "random"):
        assert any(line.startswith(mode) for line in done.out.splitlines())
    rows = list(csv.DictReader((out / "evaluation.csv").read_text().splitlines()))
    assert [row["mode"] for row in rows] == ["off", "soft", "hard", "random"]
    numbers = json.loads(command(*words, "--json").out)
    assert numbers["modes"]["soft"]["ap"] > numbers["modes"]["random"]["ap"]
    assert numbers["modes"]["off"]["ap"] == pytest.approx(float(rows[0]["map"]), abs=1e-6)
    written = json.loads((out / "evaluation.json").read_text())
    for name in ("classes", "confusion", "gain_over_off"):
        assert numbers[name] == written[name]
    assert numbers["intervals"]["off"] == written["modes"]["off"]["interval"]
    for name in ("examples.png", "confusion.png", "queries.csv", "classes.csv", "evaluation.json"):
        assert (out / name).stat().st_size > 0
    assert str(tmp_path / "asked") not in "".join(p.read_text() for p in out.glob("*.csv"))


def test_an_index_is_asked_about_its_own_part(command: Run, built: Path) -> None:  # noqa: F811
    done = command("index", "evaluate", built, "--share", 0.25)
    assert "queries: 9 of known class; images: 27" in done.out
    near = command("index", "evaluate", built, "--share", 0.25, "--apart", 20)
    assert near.code == 0


def test_held_out_pictures_calibrate(
    command: Run,  # noqa: F811
    built: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(built, tmp_path / "index")
    write_shapes(tmp_path / "asked", 5, first=300)
    words = ("index", "evaluate", tmp_path / "index")
    fails(command(*words, "--calibrate"), 1, "--queries")
    command(*words, "--queries", tmp_path / "asked", "--calibrate")
    assert "15 distances, held-out" in command("index", "info", tmp_path / "index").out
    assert "whole" in command("index", "verify", tmp_path / "index").out


def test_damage_is_found(command: Run, built: Path, tmp_path: Path) -> None:  # noqa: F811
    shutil.copytree(built, tmp_path / "index")
    path = tmp_path / "index" / "vectors-0.bin"
    held = bytearray(path.read_bytes())
    held[777] ^= 4
    path.write_bytes(held)
    done = command("index", "verify", tmp_path / "index")
    assert done.code == 1
    assert "vectors-0.bin" in done.out
    assert "damaged" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("search", "INDEX"), 1, "expected a picture"),
        (("search", "INDEX", "absent.png"), 1, "absent.png: no such file"),
        (("search", "INDEX", "PICTURE", "PICTURE"), 1, "one picture"),
        (("search", "INDEX", "PICTURE", "--region", "1,2,3"), 1, "x,y,w,h"),
        (("search", "INDEX", "PICTURE", "--region", "0,0,99,99"), 1, "48 wide and 48 high"),
        (("search", "INDEX", "--region", "0,0,9,9", "--like", "a"), 1, "expected a picture"),
        (("search", "INDEX", "PICTURE", "--class", "some"), 2, "--class"),
        (("search", "INDEX", "PICTURE", "-k", "0"), 2, "-k"),
        (("search", "INDEX", "PICTURE", "--window", "4"), 1, "CENTRE,WIDTH"),
        (("search", "INDEX", "PICTURE", "--frame", "3"), 1, "a frame from 0 to 0"),
        (("search", "INDEX", "PICTURE", "--approximate"), 1, "--ann"),
        (("search", "nowhere", "PICTURE"), 1, "no index is there"),
        (("index", "info", "nowhere"), 1, "no index is there"),
        (("index", "verify", "nowhere"), 1, "no index is there"),
        (("index", "remove", "INDEX"), 1, "--patient"),
        (("index", "remove", "INDEX", "beef"), 1, "no image 'beef'"),
        (("index", "add", "INDEX", "absent"), 1, "absent"),
        (("index", "evaluate", "INDEX", "--queries", "absent"), 1, "absent"),
        (("index", "frobnicate"), 2, "frobnicate"),
    ],
)
def test_mistakes_are_answered_in_a_line(
    command: Run,  # noqa: F811
    built: Path,
    shapes: Path,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    places = {"INDEX": built, "PICTURE": shapes / KINDS[0] / "001.png"}
    fails(command(*[places.get(word, word) for word in words]), code, said)


def test_help_names_all_commands(command: Run) -> None:  # noqa: F811
    shown = command("index", "--help").out
    for name in ("build", "add", "remove", "info", "verify", "evaluate"):
        assert name in shown
    assert "index" in command("--help").out
