"""Runs read from their files, whatever state those are in; the lines of a training that goes on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.errors import DataError
from chainrule.lab import live as lives
from chainrule.lab.live import LiveWriter, Moment, Pulse, read_live, thinned
from chainrule.lab.runs import Runs, findings, health
from chainrule.lab.settings import Settings
from chainrule.training import Callback, TrainConfig, Trainer, TrainTask
from chainrule.training.measurements import MeasurementWriter
from tests.training.test_resume import trainer


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """A folder with a finished run, `small`, to be spoilt."""
    shutil.copytree(runs / "small", tmp_path / "runs" / "small")
    return tmp_path / "runs"


def test_a_finished_run(folder: Path) -> None:
    (run,) = Runs(Settings(folder)).all()
    assert (run.name, run.state, run.weights) == ("small", "finished", True)
    assert run.rows[-1].test_accuracy == pytest.approx(
        float((folder / "small" / "metrics.csv").read_text().splitlines()[1].split(",")[5])
    )


def test_a_run_that_can_go_on(folder: Path) -> None:
    config = json.loads((folder / "small" / "config.json").read_text())
    config["train"]["epochs"] = 9
    (folder / "small" / "config.json").write_text(json.dumps(config))
    runs = Runs(Settings(folder))
    assert runs.get("small").state == "stopped"
    (folder / "small" / "failure.txt").write_text("the disk was full\nits last words\n")
    run = runs.get("small")
    assert (run.state, run.said, run.output) == ("failed", "the disk was full", "its last words")


def test_one_that_early_stopping_ended(small_early: Path) -> None:
    (run,) = Runs(Settings(small_early)).all()
    assert run.state == "finished"
    assert len(run.rows) < 9


@pytest.fixture
def small_early(tmp_path: Path) -> Path:
    class End(Callback):
        def on_epoch(self, trainer: Trainer) -> None:
            trainer.ending = "enough"

        def on_begin(self, trainer: Trainer) -> None:
            trainer.callbacks.reverse()  # before the folder is written

    config = TrainConfig(epochs=9, batch_size=200, validation=0.1, stop_after=3)
    TrainTask(config, tmp_path / "runs" / "early").run([End()])
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "{"),
        ("config.json", '{"train": {"nonsense": 1}}'),
        ("metrics.jsonl", "garbage\ngarbage\n"),
    ],
)
def test_a_damaged_one_is_told_of(folder: Path, name: str, text: str) -> None:
    (folder / "small" / name).write_text(text)
    (run,) = Runs(Settings(folder)).all()
    assert run.state == "damaged"
    assert name.partition(".")[0] in run.said or "configuration" in run.said


def test_what_is_no_run_is_not_listed(folder: Path) -> None:
    (folder / ".lab").mkdir()
    (folder / "notes").mkdir()
    (folder / "file.txt").write_text("")
    runs = Runs(Settings(folder))
    assert [run.name for run in runs.all()] == ["small"]
    for name in ("notes", "..", "../runs/small", "small/", "", "x" * 5000):
        with pytest.raises(DataError, match="there is no such run"):
            runs.get(name)


@pytest.mark.parametrize("name", ["a run", "LeNet-5_b.2", "läuft", "x" * 80])
def test_names_of_runs(name: str) -> None:
    assert Runs(Settings(Path("runs"))).path(name) == Path("runs", name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".lab", "a/b", "a\\b", "a\0b", "a\nb", " a", "a ", "<b>", "x" * 81]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(DataError, match="name: expected letters"):
        Runs(Settings(Path("runs"))).path(name)


def test_the_last_sample_of_a_long_record(tmp_path: Path) -> None:
    writer = MeasurementWriter(tmp_path / "health.csv")
    layers = [f"layer{number}" for number in range(40)]
    for step in (*range(1, 300), 300):
        rows: list[Any] = [(step, "", "loss", 1.0)]
        rows += [(step, layer, "dead", step / 1000) for layer in layers]
        rows += [(step, f"{layer}.weight", "gradient_rms", step / 10) for layer in layers]
        rows += [(step, f"{layer}.bias", "gradient_rms", -1.0) for layer in layers]
        writer.write(rows)
    assert (tmp_path / "health.csv").stat().st_size > 1 << 20
    with open(tmp_path / "health.csv", "a") as file:
        file.write("301,layer0,dead,0.")  # torn
    found = health(tmp_path)
    assert found is not None
    assert found.step == 300
    assert found.layers == {layer: {"dead": 0.3, "gradient_rms": 30.0} for layer in layers}
    assert health(tmp_path / "elsewhere") is None
    assert findings(tmp_path) == []


# The lines of a training that goes on


class Clock:
    """A clock that goes on by so much each time it is asked."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 100.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(0.06)
    monkeypatch.setattr(lives, "time", clock)
    return clock


def live(folder: Path, epochs: int, *others: Callback) -> tuple[list[Moment], list[str]]:
    told, notes = list[Moment](), list[str]()
    writer = LiveWriter(folder, told.append, notes.append)
    trainer(TrainConfig(epochs=epochs, lr=0.05), (writer, *others)).fit()
    writer.close()
    return told, notes


class Losses(Callback):
    """Notes after each step the sums of losses and right answers, and how many images, of all."""

    def __init__(self) -> None:
        self.after, self.epochs = {0: np.zeros(3)}, np.zeros(3)

    def on_step(self, trainer: Trainer) -> None:
        done = (trainer.epoch - 1) * trainer.steps + trainer.step
        self.after[done] = self.epochs + self.sums(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        self.epochs = self.epochs + self.sums(trainer)

    def sums(self, trainer: Trainer) -> Any:
        tally = trainer.tally
        return tally.images * np.array([tally.loss, tally.metrics["accuracy"], 1.0])


def test_moments_are_means_since_the_one_before(tmp_path: Path, clock: Clock) -> None:
    losses = Losses()
    told, notes = live(tmp_path, 3, losses)
    moments = read_live(tmp_path)
    assert not notes
    assert told
    assert len(moments) >= 3
    before = 0
    for moment in moments:
        step = moment["step"]
        loss, right, images = losses.after[step] - losses.after[before]
        assert moment["images"] == images
        assert moment["loss"] == pytest.approx(loss / images, rel=1e-4)
        assert moment["accuracy"] == pytest.approx(right / images, rel=1e-4)
        assert moment["epoch"] == pytest.approx(step / 4)
        before = step


def test_the_file_is_bounded(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "MOST", 10)
    clock.step = 1.0
    live(tmp_path, 30)
    moments = read_live(tmp_path)
    assert 4 <= len(moments) <= 10
    assert moments[0]["step"] < 40 < 90 < moments[-1]["step"], "from the first to the last"
    assert [m["step"] for m in moments] == sorted(m["step"] for m in moments)


def test_thinned_lines_keep_the_mean() -> None:
    lines = [{"loss": float(n), "accuracy": n / 10, "images": n + 1} for n in range(9)]
    found = thinned(lines)
    assert len(found) == 5
    total = sum(line["loss"] * line["images"] for line in lines)
    assert sum(line["loss"] * line["images"] for line in found) == pytest.approx(total)
    assert found[-1] == lines[-1]


def test_a_full_disk_ends_the_curves_and_not_the_training(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lives.os, "write", full)
    told, notes = live(tmp_path, 2)
    assert notes == ["the curves end here (No space left on device); the training goes on"]
    assert told, "what it does now is told all the same"


def test_torn_and_foreign_lines_are_left_out(tmp_path: Path) -> None:
    good = {"step": 1, "epoch": 0.5, "seconds": 1.0, "images": 3}
    text = f"nonsense\n[]\n{json.dumps(good)}\n{{}}\n\xff\n" + '{"step": 2, "epo'
    (tmp_path / "live.jsonl").write_text(text)
    assert read_live(tmp_path) == [good]
    os.remove(tmp_path / "live.jsonl")
    assert read_live(tmp_path) == []


def test_a_pause_is_no_time_of_training(clock: Clock) -> None:
    pulse = Pulse(0.1)
    training = trainer(TrainConfig(epochs=1))
    pulse.begin(training)
    clock.now += 1000.0
    pulse.skip(1000.0)
    training.tally.add([[1.0, 0.0, 0.0]], [0], 0.5)
    clock.now += 0.2
    moment = pulse.take(training)
    assert moment is not None
    assert moment["seconds"] < 1.0
    assert moment["speed"] > 1.0
