"""`chainrule train --health`: what it writes and tells, and that a training is what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import watching
from chainrule.errors import ChainruleError
from chainrule.formats.safetensors import load_safetensors
from chainrule.inspection.health import Monitor
from chainrule.models import MODELS, register
from chainrule.nn import Module
from chainrule.training import Callback, TrainConfig, Trainer, TrainTask
from chainrule.training.measurements import MeasurementWriter, read_measurements
from chainrule.watching import HealthWatch
from tests.cli.running import Run


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure every third step: the trainings here have few."""
    monkeypatch.setattr(watching, "monitor", lambda model: cr.monitor(model, every=3, window=2))
    monkeypatch.setattr(TrainTask, "draw", lambda self: "")  # pictures take longer


@pytest.fixture
def dead_model() -> Iterator[str]:
    """Register a network most of whose ReLUs are dead from the start."""

    @register("dead_for_tests", size=32)
    def build(num_classes: int = 10, in_channels: int = 1) -> Module:
        nn = cr.nn
        first = nn.Linear(in_channels * 1024, 16)
        with cr.no_grad():
            first.bias[:12] = -1e4
        return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(16, num_classes))

    yield "dead_for_tests"
    del MODELS["dead_for_tests"]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure every step."""
    monkeypatch.setattr(watching, "monitor", lambda model: cr.monitor(model, every=1, window=2))
    monkeypatch.setattr(TrainTask, "draw", lambda self: "")  # pictures take longer


def watched(
    config: TrainConfig, out: Path, *others: Callback, resume: bool = False
) -> tuple[TrainTask, HealthWatch, list[str]]:
    """Train under watch, with callbacks of one's own."""
    task = TrainTask.resume(out) if resume else TrainTask(config, out)
    told: list[str] = []
    with HealthWatch(task, told.append) as watch:
        task.run([watch, *others])
    return task, watch, told


def steps_in(run: Path) -> list[int]:
    return sorted({row[0] for row in read_measurements(run / "health.csv")})


def bits(run: Path) -> dict[str, bytes]:
    return {n: v.array.tobytes() for n, v in load_safetensors(run / "weights.safetensors").items()}


class Kill(BaseException):
    """Ends the training where nothing is foreseen."""


class KillAt(Callback):
    """Ends the training after so many updates, and saves a checkpoint at another."""

    def __init__(self, updates: int, saved: int = 0) -> None:
        self.updates, self.saved = updates, saved

    def on_step(self, trainer: Trainer) -> None:
        if trainer.updates == self.saved:
            trainer.callbacks[0].checkpoint(trainer)  # type: ignore[attr-defined]
        if trainer.updates == self.updates:
            raise Kill


def test_the_command_writes_and_tells(
    run: Run, small_set: str, dead_model: str, tmp_path: Path, always: None
) -> None:
    out = tmp_path / "run"
    said = [dead_model, "--data", "mnist", "--data-dir", small_set, "--epochs", 9]
    said += ["--batch-size", 30, "--lr", 0.001, "--out", out]
    answer = run("train", *said, "--health")
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    told = [line for line in lines if line.startswith("health: dead-relu: 75 % of the ReLUs after")]
    assert len(told) == 1
    assert lines[lines.index(told[0]) - 1].startswith("epoch 7/9"), "7 samples of 30 images"
    assert any(line.startswith("health: ") and "in " + str(out) in line for line in lines)
    assert "epoch 7, step 7, dead-relu [1]: 75 % of the ReLUs" in (out / "health.txt").read_text()
    rows = read_measurements(out / "health.csv")
    assert steps_in(out) == list(range(1, 10))
    assert (7, "1", "dead", 0.75) in rows


def test_a_healthy_training_says_so(
    run: Run, small_set: str, small_model: str, tmp_path: Path, often: None
) -> None:
    said = [small_model, "--data", "mnist", "--data-dir", small_set, "--epochs", 3]
    answer = run("train", *said, "--lr", 0.01, "--out", tmp_path / "run", "--health")
    assert answer.code == 0, answer.err
    assert "health: nothing found\n" in answer.out
    assert not (tmp_path / "run" / "health.txt").exists()
    config = TrainConfig(small_model, "mnist", small_set, epochs=1)
    TrainTask(config, tmp_path / "run", overwrite=True).run()
    assert not (tmp_path / "run" / "health.csv").exists(), "an older run's goes"


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_steps_are_those_of_the_optimiser(
    small_config: TrainConfig, tmp_path: Path, often: None, accumulate: int
) -> None:
    config = TrainConfig(**{**small_config.to_dict(), "accumulate": accumulate, "epochs": 4})
    first: list[float] = []

    class Note(Callback):
        def on_step(self, trainer: Trainer) -> None:
            if trainer.updates == 1 and not first:
                first.append(trainer.tally.loss)

    task, watch, _ = watched(config, tmp_path / "run", Note())
    assert watch.problem == ""
    updates = task.trainer.updates
    assert updates == {1: 16, 3: 8}[accumulate]
    assert steps_in(tmp_path / "run") == list(range(1, updates + 1, 3))
    TrainTask(config, tmp_path / "plain").run()
    assert bits(tmp_path / "plain") == bits(tmp_path / "run")
    rows = read_measurements(tmp_path / "run" / "health.csv")
    losses = [value for _, _, measure, value in rows if measure == "loss"]
    assert losses[0] == first[0]
    assert len(losses) == len(steps_in(tmp_path / "run"))


def test_a_killed_run_goes_on_and_ends_with_the_same_file(
    small_config: TrainConfig, tmp_path: Path, often: None
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    watched(small_config, whole)
    with pytest.raises(Kill):
        watched(small_config, out, KillAt(8, saved=6))
    assert steps_in(out) == [1, 4, 7]
    with open(out / "health.csv", "a") as file:
        file.write("10,1.weight,upda")  # torn
    assert steps_in(out) == [1, 4, 7]
    watched(small_config, out, resume=True)
    ours, theirs = (
        [row for row in read_measurements(path / "health.csv") if row[2] != "loss"]
        for path in (out, whole)
    )
    assert ours == theirs
    assert bits(out) == bits(whole)


def test_findings_are_told_once_even_if_the_run_goes_on(
    small_set: str, dead_model: str, tmp_path: Path, always: None
) -> None:
    config = TrainConfig(dead_model, "mnist", small_set, epochs=14, batch_size=30, lr=0.001)
    with pytest.raises(Kill):
        watched(config, tmp_path / "run", KillAt(9, saved=8))
    text = (tmp_path / "run" / "health.txt").read_text()
    assert "dead-relu" in text
    _, _, told = watched(config, tmp_path / "run", resume=True)
    assert not [line for line in told if "dead-relu" in line]
    assert (tmp_path / "run" / "health.txt").read_text().startswith(text)


def test_resuming_by_the_command_goes_on_watching(
    run: Run, small_config: TrainConfig, tmp_path: Path, often: None
) -> None:
    with pytest.raises(Kill):
        watched(small_config, tmp_path / "run", KillAt(8, saved=6))
    answer = run("train", "--resume", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "health: nothing found" in answer.out
    assert steps_in(tmp_path / "run") == [1, 4, 7, 10]


def test_a_recipe_can_ask_for_it_and_the_command_line_has_the_last_word(
    run: Run, small_set: str, small_model: str, tmp_path: Path, often: None
) -> None:
    recipe = tmp_path / "watched.toml"
    recipe.write_text(
        f'model = "{small_model}"\ndata = "mnist"\ndata_dir = "{small_set}"\n'
        "epochs = 3\nbatch_size = 8\nlr = 0.01\nhealth = true\n"
    )
    answer = run("train", "--recipe", recipe, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "health: nothing found\n" in answer.out
    assert steps_in(tmp_path / "run") == [1, 4, 7, 10]
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["health"] is True
    answer = run("train", "--recipe", recipe, "--no-health", "--out", tmp_path / "plain")
    assert answer.code == 0, answer.err
    assert "health" not in answer.out
    assert not (tmp_path / "plain" / "health.csv").exists()
    assert bits(tmp_path / "plain") == bits(tmp_path / "run")
    recipe.write_text(recipe.read_text().replace("true", '"yes"'))
    answer = run("train", "--recipe", recipe, "--out", tmp_path / "wrong")
    assert answer.code == 1
    assert "watched.toml: training: expected a bool as health" in answer.err


@pytest.mark.parametrize(("asked", "watched_on"), [([], True), (["--no-health"], False)])
def test_a_run_whose_recipe_asks_for_it_goes_on_so(
    run: Run,
    small_config: TrainConfig,
    tmp_path: Path,
    often: None,
    asked: list[str],
    watched_on: bool,
) -> None:
    config = TrainConfig(**{**small_config.to_dict(), "health": True})
    task = TrainTask(config, tmp_path / "run")
    with pytest.raises(Kill):
        task.run([KillAt(8, saved=6)])
    assert not (tmp_path / "run" / "health.csv").exists()
    answer = run("train", "--resume", tmp_path / "run", *asked)
    assert answer.code == 0, answer.err
    assert ("health: nothing found" in answer.out) == watched_on
    assert (tmp_path / "run" / "health.csv").exists() == watched_on
    if watched_on:
        assert steps_in(tmp_path / "run") == [7, 10]


def test_a_run_of_before_has_no_such_setting_and_can_be_watched_from_now_on(
    run: Run, small_config: TrainConfig, tmp_path: Path, often: None
) -> None:
    with pytest.raises(Kill):
        TrainTask(small_config, tmp_path / "run").run([KillAt(8, saved=6)])
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    del config["train"]["health"]
    path.write_text(json.dumps(config))
    answer = run("train", "--resume", tmp_path / "run", "--health")
    assert answer.code == 0, answer.err
    assert steps_in(tmp_path / "run") == [7, 10]


@pytest.mark.parametrize("where", ["step", "findings", "close"])
def test_an_error_of_the_watch_is_told_and_loses_nothing(
    small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def broken(self: Any, *given: Any) -> Any:
        raise RuntimeError("a fault of the monitor")

    monkeypatch.setattr(Monitor, where, broken)
    task, watch, told = watched(small_config, tmp_path / "run")
    assert len(task.rows) == 3
    assert "a fault of the monitor" in watch.problem
    assert [line for line in told if "the training goes on" in line] == told[:1] == told
    assert watch.result == ""


def test_a_full_disk_is_told(
    small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: MeasurementWriter, rows: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MeasurementWriter, "write", full)
    task, watch, told = watched(small_config, tmp_path / "run")
    assert len(task.rows) == 3
    assert "No space left" in watch.problem
    assert len(told) == 1


def test_what_is_found_before_a_training_fails_is_told(tmp_path: Path, often: None) -> None:
    @register("explodes_for_tests", size=32)
    def build(num_classes: int = 10, in_channels: int = 1) -> Module:
        nn = cr.nn
        layers: list[Module] = [nn.Flatten(), nn.Linear(in_channels * 1024, 32), nn.ReLU()]
        for _ in range(6):
            layers += [nn.Linear(32, 32), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(32, num_classes))
        for p in model.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, 0.0, 3.0)
        return model

    try:
        config = TrainConfig("explodes_for_tests", "digits", epochs=1, lr=1.0, warmup=0.0)
        told: list[str] = []
        task = TrainTask(config, tmp_path / "run")
        with pytest.raises(ChainruleError), HealthWatch(task, told.append) as watch:
            task.run([watch])
    finally:
        del MODELS["explodes_for_tests"]
    assert told
    assert told[0].startswith("health: exploding-signal: The values explode")


def test_curves_for_tensorboard(small_config: TrainConfig, tmp_path: Path, often: None) -> None:
    accumulator = pytest.importorskip("tensorboardX.proto.event_pb2")
    config = TrainConfig(**{**small_config.to_dict(), "tensorboard": True})
    watched(config, tmp_path / "run")
    (path,) = (tmp_path / "run" / "events" / "health").iterdir()
    assert accumulator.Event
    content = path.read_bytes()
    for tag in (b"update_ratio/1.weight", b"gradient_rms/1.bias", b"loss/network"):
        assert content.count(tag) == 4, tag
    assert np.isfinite([row[3] for row in read_measurements(tmp_path / "run" / "health.csv")]).all()
