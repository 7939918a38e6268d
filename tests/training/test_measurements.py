from __future__ import annotations

import math
from pathlib import Path

import pytest

from chainrule.errors import CheckpointError
from chainrule.training.measurements import Measured, MeasurementWriter, read_measurements

ROWS: list[Measured] = [(1, "", "loss", 0.1), (1, 'a,"b', "dead", math.inf), (21, "", "loss", 1e-9)]


def test_what_is_written_is_read_and_a_torn_line_left_out(tmp_path: Path) -> None:
    path = tmp_path / "health.csv"
    writer = MeasurementWriter(path)
    writer.write(ROWS[:2])
    writer.write(ROWS[2:])
    assert read_measurements(path) == ROWS
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert read_measurements(path) == ROWS[: len(read_measurements(path))]
    path.write_bytes(whole[:-3])
    assert MeasurementWriter(path).resume(100) == ROWS[:2]
    assert read_measurements(path) == ROWS[:2]


def test_a_new_run_replaces_the_file_and_one_that_goes_on_does_not(tmp_path: Path) -> None:
    path = tmp_path / "health.csv"
    MeasurementWriter(path).write(ROWS)
    again = MeasurementWriter(path)
    assert again.resume(20) == ROWS[:2]
    again.write(ROWS[2:])
    assert read_measurements(path) == ROWS
    MeasurementWriter(path).write(ROWS[:1])
    assert read_measurements(path) == ROWS[:1]
    assert MeasurementWriter(tmp_path / "none.csv").resume(3) == []


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "health.csv"
    path.write_text("step,layer,measure,value\n1,,loss,x\n2,,loss,1.0\n")
    with pytest.raises(CheckpointError, match="line 2 is damaged"):
        read_measurements(path)
