from __future__ import annotations

import csv
import errno
import importlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.data import load_mnist
from chainrule.errors import AnomalyError, DataError
from chainrule.formats import read_metadata
from chainrule.training import Callback, Predictor, TrainConfig, Trainer, TrainTask, evaluate_run
from chainrule.training.folder import METRICS, WEIGHTS, RunFolder
from chainrule.training.interrupt import interrupts_deferred


def contents(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}


def test_same_seed_same_result_bit_for_bit(small_config: TrainConfig, tmp_path: Path) -> None:
    for name in ("a", "b"):
        task = TrainTask(small_config, tmp_path / name)
        task.run()
        task.draw()
    a, b = (contents(tmp_path / name) for name in "ab")
    for files in (a, b):  # these hold the date and times
        assert json.loads(files.pop("environment.json"))["date"]
        assert b'"seconds"' in files.pop("metrics.jsonl")
    assert a == b
    TrainTask(replace(small_config, seed=1), tmp_path / "c").run()
    assert (tmp_path / "a" / WEIGHTS).read_bytes() != (tmp_path / "c" / WEIGHTS).read_bytes()


def test_evaluating_a_run_gives_its_last_row(small_run: Path, small_set: str) -> None:
    last = RunFolder(small_run).read_metrics()[-1]
    for data_dir in (None, small_set):
        result = evaluate_run(small_run, data_dir)
        assert result.accuracy == last.test_accuracy
        assert result.loss == pytest.approx(last.test_loss, rel=1e-8)
        assert result.confusion.sum() == 10
    with pytest.raises(DataError, match="nowhere: no such folder"):
        evaluate_run(small_run, "nowhere")


class Stop(Callback):
    """Ends a training in the given epoch, at its second step."""

    def __init__(self, epoch: int, error: BaseException) -> None:
        self.epoch, self.error = epoch, error

    def on_step(self, trainer: Trainer) -> None:
        if (trainer.epoch, trainer.step) == (self.epoch, 2):
            raise self.error


def test_ctrl_c_leaves_the_last_finished_epoch(small_config: TrainConfig, tmp_path: Path) -> None:
    task = TrainTask(small_config, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        task.run([Stop(3, KeyboardInterrupt())])
    assert len(task.rows) == 2
    assert task.draw() == ""
    assert len(RunFolder(tmp_path / "cut").read_metrics()) == 2
    result = evaluate_run(tmp_path / "cut")
    assert result.accuracy == task.rows[-1].test_accuracy
    assert (tmp_path / "cut" / "curves.png").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), AnomalyError("nan"), RuntimeError()])
def test_nothing_remains_of_a_run_without_an_epoch(
    small_config: TrainConfig, tmp_path: Path, error: BaseException
) -> None:
    task = TrainTask(small_config, tmp_path / "cut")
    with pytest.raises(type(error)):
        task.run([Stop(1, error)])
    assert not (tmp_path / "cut").exists()
    assert task.draw() == "no epoch was finished"


def test_an_overwritten_run_survives_a_failure_in_the_first_epoch(
    small_run: Path, small_config: TrainConfig
) -> None:
    before = contents(small_run)
    with pytest.raises(KeyboardInterrupt):
        TrainTask(small_config, small_run, True).run([Stop(1, KeyboardInterrupt())])
    assert contents(small_run) == before


def test_a_full_disk_keeps_the_epoch_before(
    small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, replaced, original = TrainTask(small_config, tmp_path / "full"), [], os.replace

    def refuse(source: object, target: object) -> None:
        replaced.append(Path(str(target)).name)
        if replaced.count(WEIGHTS) == 2:  # the second epoch's
            raise OSError(errno.ENOSPC, "No space left on device")
        original(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left on device") as caught:
        task.run()
    assert caught.value.filename == str(tmp_path / "full" / WEIGHTS)
    monkeypatch.undo()
    assert not [p for p in (tmp_path / "full").iterdir() if p.name.endswith(".tmp")]
    assert len(task.rows) == 1
    assert evaluate_run(tmp_path / "full").accuracy == task.rows[0].test_accuracy


@pytest.mark.parametrize("file", range(1, 9))
def test_a_disk_full_at_once_leaves_no_lie(
    small_run: Path, small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, file: int
) -> None:
    before = contents(small_run)
    task = TrainTask(replace(small_config, seed=1), small_run, overwrite=True)
    replaced, original = [], os.replace

    def refuse(source: object, target: object) -> None:
        replaced.append(target)
        if len(replaced) == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left on device"):
        task.run()
    if file == 1:  # not even the weights: the older run is as it was
        assert contents(small_run) == before
    else:  # never new weights beside an older configuration or older metrics
        folder = RunFolder(small_run)
        carried = json.loads(read_metadata(small_run / WEIGHTS)["run"])["config"]
        assert json.loads(folder.read_config().to_json()) == carried
        assert carried["train"]["seed"] == (1 if file > 2 else 0)
        folder.load_model()
        if (small_run / METRICS).exists():
            assert len(folder.read_metrics()) == 1


def test_bad_data_is_found_before_a_folder_is_made(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        TrainTask(replace(small_config, data_dir="nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_matplotlib_it_says_so_and_goes_on(
    small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = importlib.import_module

    def absent(name: str, *rest: object) -> object:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return original(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(importlib, "import_module", absent)
    task = TrainTask(small_config, tmp_path / "run")
    task.run()
    assert "pip install chainrule[demo]" in task.draw()
    assert (tmp_path / "run" / WEIGHTS).exists()


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs signals")
def test_interrupts_wait_for_the_end_of_a_block() -> None:
    before, done = signal.getsignal(signal.SIGINT), False
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():  # noqa: PT012 - two steps it is
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(ValueError, match="x"), interrupts_deferred():
        raise ValueError("x")
    assert signal.getsignal(signal.SIGINT) is before


def test_metrics_are_readable_after_every_epoch(small_config: TrainConfig, tmp_path: Path) -> None:
    seen = []

    class Look(Callback):
        def on_epoch(self, trainer: Trainer) -> None:
            with open(tmp_path / "run" / METRICS, newline="") as file:
                seen.append([row["epoch"] for row in csv.DictReader(file)])

    TrainTask(small_config, tmp_path / "run").run([Look()])
    assert seen == [["1"], ["1", "2"], ["1", "2", "3"]]


def test_pictures_of_test_images_are_seen_as_in_the_evaluation(
    small_run: Path, small_set: str, tmp_path: Path
) -> None:
    data = load_mnist(small_set).test
    predictor = Predictor(small_run)
    found = np.zeros((10, 10), int)
    for k, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = tmp_path / f"{k}.png"
        Image.fromarray(image[0]).save(path)
        np.testing.assert_array_equal(predictor.pixels(path, "light")[0, 0], image[0])
        probabilities = predictor.probabilities(path, "light")
        assert probabilities.shape == (10,)
        assert probabilities.sum() == pytest.approx(1.0)
        found[label, probabilities.argmax()] += 1
    np.testing.assert_array_equal(found, evaluate_run(small_run).confusion)
