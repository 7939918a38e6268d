from __future__ import annotations

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import CheckpointError, KindError, ShapeError
from chainrule.training.records import CSV, JSONL, RecordWriter, read_records

ROWS: list[dict[str, float]] = [
    {"epoch": 1, "lr": 0.1, "train_loss": 1 / 3},
    {"epoch": 2, "lr": 1e-17, "train_loss": 0.1 + 0.2, "test_loss": math.pi},
    {"epoch": 3, "lr": 0.01, "train_loss": float(np.float32(0.1)), "test_loss": 2.5},
]


def written(folder: Path, rows: list[dict[str, float]] = ROWS) -> RecordWriter:
    folder.mkdir(exist_ok=True)
    writer = RecordWriter(folder)
    for row in rows:
        writer.write(row, timing={"seconds": 2.0 * row["epoch"]})
    return writer


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    writer = written(tmp_path)
    assert read_records(tmp_path) == writer.rows == ROWS
    timed = read_records(tmp_path, timing=True)
    assert [row["seconds"] for row in timed] == [2.0, 4.0, 6.0]
    assert b"seconds" not in (tmp_path / CSV).read_bytes()  # nothing that differs between runs
    (tmp_path / JSONL).unlink()
    assert read_records(tmp_path) == ROWS
    assert [type(row["epoch"]) for row in read_records(tmp_path)] == [int] * 3


def test_a_later_column_is_added_and_empty_before(tmp_path: Path) -> None:
    written(tmp_path)
    lines = (tmp_path / CSV).read_text().splitlines()
    assert lines[0] == "epoch,lr,train_loss,test_loss"
    assert lines[1] == "1,0.1,0.3333333333333333,"


def test_what_is_not_finite_stays_strict_json(tmp_path: Path) -> None:
    row = {"epoch": 1, "a": math.nan, "b": math.inf, "c": -math.inf}
    RecordWriter(tmp_path).write(row)

    def refuse(text: str) -> Any:
        raise AssertionError(f"{text} is no JSON")

    json.loads((tmp_path / JSONL).read_text(), parse_constant=refuse)
    for _ in range(2):
        (found,) = read_records(tmp_path)
        assert math.isnan(found["a"])
        assert (found["b"], found["c"]) == (math.inf, -math.inf)
        (tmp_path / JSONL).unlink(missing_ok=True)  # and so from metrics.csv


def test_numpys_numbers_are_numbers_and_others_are_not(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path)
    writer.write({"epoch": np.int64(1), "a": np.float32(0.5), "b": np.float64(0.1)})
    assert (tmp_path / CSV).read_text() == "epoch,a,b\n1,0.5,0.1\n"
    for wrong in ("0.5", None, True, [1.0], np.ones(2), 1j):
        with pytest.raises(KindError, match="records: expected a number as 'a'"):
            writer.write({"epoch": 2, "a": wrong})
    with pytest.raises(KindError, match="a number as 'seconds'"):
        writer.write({"epoch": 2}, timing={"seconds": "long"})
    assert len(read_records(tmp_path)) == 1


def test_epochs_grow(tmp_path: Path) -> None:
    writer = written(tmp_path)
    before = (tmp_path / JSONL).read_bytes()
    with pytest.raises(ShapeError, match=r"an epoch after 3; got epoch 3; .*resume\(rows\)"):
        writer.write({"epoch": 3})
    for wrong in ({"loss": 1.0}, {"epoch": 4.0}):
        with pytest.raises(ShapeError, match="a whole number as 'epoch'"):
            writer.write(wrong)
    for row, timing in (({"epoch": 4, "timing": 1.0}, {}), ({"epoch": 4, "a": 1}, {"a": 2})):
        with pytest.raises(ShapeError, match="neither 'timing' nor among the times"):
            writer.write(row, timing)
    assert (tmp_path / JSONL).read_bytes() == before


def test_the_first_row_replaces_an_older_run(tmp_path: Path) -> None:
    written(tmp_path)
    new = RecordWriter(tmp_path)
    assert read_records(tmp_path) == ROWS  # not before there is something new
    new.write({"epoch": 1, "loss": 0.5})
    assert read_records(tmp_path) == [{"epoch": 1, "loss": 0.5}]
    assert (tmp_path / CSV).read_text() == "epoch,loss\n1,0.5\n"


@pytest.mark.parametrize("done", range(4))
@pytest.mark.parametrize("kept", range(4))
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path: Path, done: int, kept: int) -> None:
    """Whether the files are ahead of the checkpoint, behind it, or level with it."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    written(whole)
    written(parts, ROWS[:done])
    resumed = RecordWriter(parts)
    resumed.resume([json.loads(json.dumps(row)) for row in ROWS[:kept]])
    for row in ROWS[kept:]:
        resumed.write(row, timing={"seconds": 2.0 * row["epoch"]})
    assert (parts / CSV).read_bytes() == (whole / CSV).read_bytes()
    assert read_records(parts) == resumed.rows == ROWS
    if kept <= done:
        assert (parts / JSONL).read_bytes() == (whole / JSONL).read_bytes()  # times stayed


def test_resuming_forgets_the_times_of_other_rows(tmp_path: Path) -> None:
    written(tmp_path)
    RecordWriter(tmp_path).resume([{**ROWS[0], "lr": 0.2}, ROWS[1]])
    assert ["seconds" in row for row in read_records(tmp_path, timing=True)] == [False, True]
    RecordWriter(tmp_path).resume([])
    assert not list(tmp_path.iterdir())


def test_a_torn_last_line_is_left_out_wherever_it_is_torn(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / JSONL
    whole = path.read_bytes()
    ends = [k for k, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        assert read_records(tmp_path) == ROWS[: sum(end <= size for end in ends)], size
    path.write_bytes(whole + b"\0\0\0\xff")  # as a file system without power leaves it
    assert read_records(tmp_path) == ROWS


def test_damage_elsewhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no records; there is neither metrics\.jsonl"):
        read_records(tmp_path)
    written(tmp_path)
    path = tmp_path / JSONL
    lines = path.read_text().splitlines(keepends=True)
    for wrong in ('{"epoch": \n', "[]\n", '{"epoch": true}\n', '{"epoch": "x"}\n', "\n", "3\n"):
        path.write_text("".join([lines[0], wrong, lines[2]]))
        with pytest.raises(CheckpointError, match=r"metrics\.jsonl: line 2 is damaged"):
            read_records(tmp_path)
    path.unlink()
    for wrong in ("epoch,lr\n1,x\n", "epoch,lr\n1,2,3\n", 'epoch,lr\n1,"2\n'):
        (tmp_path / CSV).write_text(wrong)
        with pytest.raises(CheckpointError, match=r"metrics\.csv: damaged metrics"):
            read_records(tmp_path)


@pytest.mark.parametrize("at", [1, 2])
def test_a_full_disk_keeps_the_rows_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The disk is full as the line is written, or as metrics.csv is; then there is room again."""
    writer = written(tmp_path, ROWS[:2])
    original, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(ROWS[2])
    monkeypatch.undo()
    assert writer.rows == ROWS[:2]
    assert read_records(tmp_path)[:2] == ROWS[:2]
    assert len((tmp_path / CSV).read_text().splitlines()) == 3
    writer.write({"epoch": 3})  # shorter than what may be left of the line that failed
    assert read_records(tmp_path) == [*ROWS[:2], {"epoch": 3}]
    assert (tmp_path / JSONL).read_text().endswith('}\n{"epoch": 3}\n')


ENDLESS = """
import sys
from chainrule.training.records import RecordWriter
writer = RecordWriter(sys.argv[1])
print("ready", flush=True)
for epoch in range(1, 1_000_000):
    writer.write({"epoch": epoch, "loss": 1 / epoch}, timing={"seconds": 0.5})
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_whole_rows(tmp_path: Path) -> None:
    moments, most = random.Random(0), 0
    environment = {**os.environ, "PYTHONPATH": str(Path(cr.__file__).parent.parent)}
    for _ in range(20):
        command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.05 + 0.25 * moments.random())
            process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        rows = read_records(tmp_path)
        assert rows == [{"epoch": k, "loss": 1 / k} for k in range(1, len(rows) + 1)]
        lines = (tmp_path / CSV).read_text().splitlines()
        assert lines[0] == "epoch,loss"
        assert len(rows) - 1 <= len(lines) - 1 <= len(rows)
        most = max(most, len(rows))
        resumed = RecordWriter(tmp_path)
        resumed.resume(rows)
        resumed.write({"epoch": len(rows) + 1, "loss": 0.0})
        assert len(read_records(tmp_path)) == len(rows) + 1
    assert most > 1
