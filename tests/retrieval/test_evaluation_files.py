"""An evaluation's files: what stands in them, and what does not."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.errors import DataError, KindError, LabelError, ShapeError
from chainrule.retrieval import evaluation_files, examples
from chainrule.retrieval.evaluation import Evaluation
from chainrule.retrieval.evaluation_files import FILES, write
from chainrule.retrieval.examples import Examples, choose, examples_png
from tests.retrieval.toys import Toy

NAMES = ["cat", "=dog", 'b"ird, $x$', "a very long name\nof a class"]


def shade(number: int) -> Any:
    return np.full((1, 6, 9), number % 256, np.uint8)


def pictures(**options: Any) -> Examples:
    return Examples(shade, shade, **options)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_the_tables_hold_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    toy = Toy(1)
    toy.labels[3] = -1
    found = toy.evaluation()
    written = write(tmp_path / "new" / "folder", found, NAMES, examples=pictures())
    folder = tmp_path / "new" / "folder"
    assert written.files == FILES
    assert sorted(FILES) == sorted(os.listdir(folder))
    assert written.left_out == {}
    modes = rows_of(folder / "evaluation.csv")
    assert [row["mode"] for row in modes] == ["off", "soft", "hard", "random"]
    for row in modes:
        scores = found.scores[row["mode"]]
        assert float(row["map"]) == pytest.approx(scores.means["ap"], abs=1e-6)
        assert float(row["map_low"]) == pytest.approx(scores.interval[0], abs=1e-6)
        assert float(row["mv@5"]) == pytest.approx(scores.means["mv@5"], abs=1e-6)
        assert int(row["queries"]) + int(row["without"]) == 40
    classes = rows_of(folder / "classes.csv")
    assert len(classes) == 16
    assert classes[5]["class"] == "'=dog"
    assert float(classes[5]["map"]) == pytest.approx(found.scores["soft"].classes["ap"][1], 1e-5)
    queries = rows_of(folder / "queries.csv")
    assert [row["query"] for row in queries] == [str(k) for k in range(40)]
    assert queries[3]["label"] == queries[3]["ap_off"] == ""
    assert float(queries[7]["ap_hard"]) == pytest.approx(found.rankings["hard"].ap[7], abs=1e-6)
    confusion = (folder / "confusion.csv").read_text("utf-8")
    assert confusion.startswith("true/predicted,cat,'=dog,")


def test_the_json_is_strict_and_whole(tmp_path: Path) -> None:
    toy = Toy(2, classes=3)
    found = toy.evaluation(classes=4)  # one without any images: its means are not defined
    settings = {"layer": "fc7", "weight": 0.5}
    write(tmp_path, found, NAMES, settings=settings)

    def refuse(value: str) -> None:
        raise AssertionError(value)

    text = (tmp_path / "evaluation.json").read_text("utf-8")
    given = json.loads(text, parse_constant=refuse)
    assert given["settings"] == settings
    assert given["modes"]["soft"]["means"] == found.scores["soft"].means
    assert given["modes"]["off"]["classes"]["ap"][3] is None
    assert given["confusion"] == np.asarray(found.confusion).tolist()
    assert given["gain_over_off"]["hard"]["map"] == found.gain("hard")[0]
    assert given["classes"] == NAMES
    assert (given["queries"], given["rows"], given["grouped"]) == (40, 120, True)


def test_queries_are_called_by_what_was_given(tmp_path: Path) -> None:
    write(tmp_path, Toy().evaluation(), NAMES, ids=[f"=id{k}" for k in range(40)])
    assert rows_of(tmp_path / "queries.csv")[39]["query"] == "'=id39"


def test_files_of_an_older_evaluation_go(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    write(tmp_path, Toy().evaluation(), NAMES, examples=pictures(count=1))
    (tmp_path / "mine.txt").write_text("stays")
    written = write(tmp_path, Toy().evaluation(predicted=None), NAMES)
    assert written.files == ("evaluation.csv", "classes.csv", "queries.csv", "evaluation.json")
    assert sorted(os.listdir(tmp_path)) == sorted([*written.files, "mine.txt"])


def test_without_matplotlib_the_pictures_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = write(tmp_path, Toy().evaluation(), NAMES, examples=pictures())
    assert set(written.left_out) == {"confusion.png", "examples.png"}
    assert "pip install chainrule[demo]" in written.left_out["examples.png"]
    assert not list(tmp_path.glob("*.png"))
    assert json.loads((tmp_path / "evaluation.json").read_text())["left_out"] == written.left_out


def test_a_full_disk_leaves_no_half_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, Toy(1).evaluation(), NAMES)
    whole = evaluation_files.write_atomic

    def full(path: Any, data: Any) -> None:
        if Path(path).name == "queries.csv":
            raise OSError(28, "No space left on device", str(path))
        whole(path, data)

    monkeypatch.setattr(evaluation_files, "write_atomic", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, Toy(2).evaluation(), NAMES)
    assert not (tmp_path / "evaluation.json").exists()  # what says that the others belong together
    assert not list(tmp_path.glob(".*"))


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    found = Toy().evaluation()
    with pytest.raises(ShapeError, match="a name for each of 4"):
        write(tmp_path, found, NAMES[:3])
    with pytest.raises(ShapeError, match="an id for each of 40"):
        write(tmp_path, found, NAMES, ids=[1])
    for wrong in (object(), math.nan):
        with pytest.raises(KindError, match="settings that JSON can hold"):
            write(tmp_path, found, NAMES, settings={"x": wrong})
    assert list(tmp_path.iterdir()) == []


def test_examples_are_chosen_by_chance_each_class_in_turn() -> None:
    found = Toy(3).evaluation()
    chosen = choose(found, 8)
    assert len(set(chosen)) == 8
    assert sorted(found.labels[chosen].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert choose(found, 8) == chosen != choose(found, 8, seed=1)
    assert len(choose(found, 1000)) == found.scores["off"].queries


def drawn(found: Evaluation, given: Examples) -> Any:
    return np.asarray(Image.open(io.BytesIO(examples_png(found, NAMES, given))).convert("RGB"))


def test_right_and_wrong_rows_differ_by_sign_line_and_colour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    figures: list[Any] = []
    monkeypatch.setattr(examples, "figure_png", lambda figure: figures.append(figure) or b"")
    found = Toy(5).evaluation()
    query = int(np.flatnonzero(found.labels != np.asarray(found.predicted))[0])
    examples_png(found, NAMES, pictures(chosen=[query], first=5))
    (figure,) = figures
    first, *others = figure.axes
    assert first.get_title().startswith("query: ")
    assert first.get_xlabel().startswith("\u2717 taken for ")
    assert [axes.get_ylabel() for axes in others if axes.get_ylabel()] == [
        "with class (soft)",
        "without class",
    ]
    rows = [*found.nearest["soft"][query, :5], *found.nearest["off"][query, :5]]
    assert len(others) == len(rows) == 10
    seen = set()
    for axes, row in zip(others, rows, strict=True):
        right = found.row_labels[row] == found.labels[query]
        sign, colour, line = ("\u2713", "#1b7837", "-") if right else ("\u2717", "#c0281c", "--")
        assert axes.get_title().startswith(sign)
        spine = axes.spines["left"]
        assert spine.get_linestyle() == line
        red, green, blue, _ = (round(255 * part) for part in spine.get_edgecolor())
        assert f"#{red:02x}{green:02x}{blue:02x}" == colour
        assert float(axes.images[0].get_array()[0, 0]) == pytest.approx(row % 256 / 255)
        seen.add(bool(right))
    assert seen == {True, False}


def test_pictures_of_any_kind_are_drawn_and_missing_ones_said() -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    found = Toy(6).evaluation()

    def missing(number: int) -> Any:
        raise DataError("gone")

    kinds = (
        lambda k: np.full((3, 4, 4), 0.5, np.float32),
        lambda k: np.full((1, 9, 4), 60000, np.uint16),
        missing,
    )
    for kind in kinds:
        assert drawn(found, Examples(kind, kind, count=1, first=2)).std() > 0
    hard = drawn(found, pictures(count=1, first=10, mode="hard"))
    assert hard.shape[1] > hard.shape[0]
    alone = drawn(found, pictures(count=1, mode="none"))  # one line, without the class
    assert alone.shape[0] < drawn(found, pictures(count=1)).shape[0]


def test_examples_that_are_not_there_are_refused() -> None:
    pytest.importorskip("matplotlib", reason="figures are in the demo extra")
    found = Toy().evaluation()
    with pytest.raises(LabelError, match="from 0 to 39"):
        examples_png(found, NAMES, pictures(chosen=[40]))
    with pytest.raises(ShapeError, match="at least one query"):
        examples_png(found, NAMES, pictures(chosen=[]))
    with pytest.raises(ShapeError, match="at least one row"):
        examples_png(found, NAMES, pictures(first=0))
    with pytest.raises(ShapeError, match="1 or 3 channels"):
        examples_png(found, NAMES, Examples(lambda k: np.zeros((4, 4)), shade))
