from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from chainrule.errors import ShapeError
from chainrule.training.metrics import Evaluation, confusion_percent, per_class
from chainrule.training.metrics_meter import Meter
from chainrule.training.tables import (
    TABLES,
    calibration_csv,
    confusion_csv,
    confusion_percent_csv,
    per_class_csv,
    write_tables,
)

AWKWARD = ["a,b", 'say "x"', "two\nlines", "return\rhere", "", " space ", "ü漢", "semi;colon"]
FORMULAS = ["=1+1", "+x", "-x", "@sum", "\tx", "'=1+1"]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_names_of_any_kind_come_back() -> None:
    counts = np.arange(64).reshape(8, 8)
    header, *rows = read(confusion_csv(counts, AWKWARD))
    assert header == ["true/predicted", *AWKWARD]
    assert [row[0] for row in rows] == AWKWARD
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], int), counts)
    assert [row[0] for row in read(per_class_csv(per_class(counts), AWKWARD))[1:]] == AWKWARD


def test_no_name_is_a_formula_and_no_two_become_one() -> None:
    names = [*FORMULAS, "-1", "+2.5", "=1+1 "]
    header, *_ = read(confusion_csv(np.eye(9, dtype=int), names))
    assert header[1:] == [*("'" + name for name in FORMULAS), "-1", "+2.5", "'=1+1 "]
    assert len(set(header)) == len(header)


def test_per_cent_of_a_row() -> None:
    counts = np.array([[88, 1, 0], [0, 0, 0], [1, 1, 1]])
    _, *rows = read(confusion_percent_csv(counts, ["liver", "none", "third"]))
    assert rows[0] == ["liver", "98.8764", "1.1236", "0.0000"]
    assert rows[1] == ["none", "", "", ""]
    assert np.array(rows[2][1:], float) == pytest.approx(confusion_percent(counts)[2], abs=1e-4)


def test_all_tables_of_an_evaluation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    meter = Meter()
    meter.add(rng.standard_normal((40, 3)), rng.integers(0, 3, 40), 1.0)
    found = meter.result()
    assert write_tables(tmp_path, found, ["a", "b", "c"]) == list(TABLES)
    assert {path.name for path in tmp_path.iterdir()} == set(TABLES)
    for name in TABLES:
        assert (tmp_path / name).read_bytes().endswith(b"\n")
    assert found.calibration is not None
    header, *rows = read((tmp_path / "calibration.csv").read_text())
    assert header == ["above", "up_to", "images", "confidence", "accuracy"]
    assert len(rows) == 15
    assert sum(int(row[2]) for row in rows) == 40
    assert (tmp_path / "calibration.csv").read_text() == calibration_csv(found.calibration)
    _, *rows = read((tmp_path / "per_class.csv").read_text())
    assert [int(row[4]) for row in rows] == found.confusion.sum(axis=1).tolist()


def test_other_tasks_write_what_they_have(tmp_path: Path) -> None:
    labels, numbers = Meter("multilabel"), Meter("regression")
    labels.add(np.eye(2) - 0.5, np.eye(2), 0.5)
    numbers.add(np.eye(2), np.eye(2), 0.5)
    assert write_tables(tmp_path, labels.result(), ["a", "b"]) == ["per_class.csv"]
    assert write_tables(tmp_path, numbers.result(), []) == []


def test_a_name_for_each_class(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="a name for each of 2 classes; got names 3"):
        write_tables(tmp_path, Evaluation(0.0, 1.0, np.eye(2, dtype=int)), ["a", "b", "c"])
    assert not list(tmp_path.iterdir())
