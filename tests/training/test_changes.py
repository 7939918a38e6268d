"""The rate changed while a training runs: what changes, what is recorded, what is repeated."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from chainrule.errors import CheckpointError, ShapeError
from chainrule.formats.safetensors import load_safetensors
from chainrule.training import Callback, TrainConfig, Trainer, TrainTask
from chainrule.training.changes import Change, read_changes
from tests.training.test_resume import CONFIGS, trainer


class Rates(Callback):
    """Notes the rate of each step, and changes the peak after some of them."""

    def __init__(self, changes: dict[int, float]) -> None:
        self.changes, self.seen = changes, list[float]()

    def on_step(self, trainer: Trainer) -> None:
        self.seen.append(trainer.last_rate)
        if len(self.seen) in self.changes:
            trainer.rate.peak = self.changes[len(self.seen)]


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"plateau", "accumulate"}))
def test_the_schedule_goes_on_at_another_height(name: str) -> None:
    config = TrainConfig(**{"epochs": 4, "lr": 0.02, **CONFIGS[name]})
    plain, changed = Rates({}), Rates({5: 3 * config.lr, 9: config.lr})
    trainer(config, (plain,)).fit()
    trainer(config, (changed,)).fit()
    assert len(set(plain.seen)) > 1
    assert changed.seen[:5] == plain.seen[:5]
    assert changed.seen[5:9] == pytest.approx([3 * rate for rate in plain.seen[5:9]])
    assert changed.seen[9:] == plain.seen[9:], "back to the bit"


def test_the_plateau_lowers_the_changed_rate() -> None:
    config = TrainConfig(epochs=6, lr=1e-9, **CONFIGS["plateau"])  # nothing gets better
    seen = Rates({2: 1e-8})
    trainer(config, (seen,)).fit()
    assert seen.seen[1] < seen.seen[4] == pytest.approx(1e-8)
    assert min(seen.seen) < 1e-8 / 5


@pytest.mark.parametrize("peak", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_rate_is_refused(peak: float) -> None:
    training = trainer(TrainConfig(epochs=1))
    before = training.rate.state_dict()
    with pytest.raises(ShapeError, match="expected a finite rate above 0"):
        training.rate.peak = peak
    assert training.rate.state_dict() == before
    assert training.rate.peak == TrainConfig().lr


class Do(Callback):
    """Does something after a step of all, counted from 1."""

    def __init__(self, step: int, what: Callable[[], None]) -> None:
        self.left, self.what = step, what

    def on_step(self, trainer: Trainer) -> None:
        self.left -= 1
        if not self.left:
            self.what()


class Kill(BaseException):
    """Ends it where nothing is foreseen."""


def kill() -> None:
    raise Kill


def weights(run: Path) -> dict[str, bytes]:
    state = load_safetensors(run / "weights.safetensors")
    return {name: value.array.tobytes() for name, value in state.items()}


def changed(config: TrainConfig, out: Path, at: int, *others: Callback) -> None:
    task = TrainTask(config, out)
    task.run([Do(at, lambda: task.change_rate(0.05)), *others])


def test_a_change_is_in_the_record_and_in_the_metrics(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    TrainTask(small_config, tmp_path / "plain").run()
    changed(small_config, tmp_path / "run", 6)
    assert read_changes(tmp_path / "run") == [Change(6, 1.5, 0.05)]
    assert weights(tmp_path / "run") != weights(tmp_path / "plain")
    plain, rows = (
        (tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("plain", "run")
    )
    assert rows[1] == plain[1]
    rates = [float(line.split(",")[1]) for line in (plain[2], rows[2])]
    assert rates[1] == pytest.approx(5 * rates[0])
    assert not (tmp_path / "plain" / "changes.jsonl").exists()


@pytest.mark.parametrize("ends", range(6, 12))
def test_killed_after_a_change_it_ends_with_the_same_bits(
    small_config: TrainConfig, tmp_path: Path, ends: int
) -> None:
    changed(small_config, tmp_path / "whole", 6)
    with pytest.raises(Kill):
        changed(small_config, tmp_path / "run", 6, Do(ends, kill))
    TrainTask.resume(tmp_path / "run").run()
    for name in ("weights.safetensors", "metrics.csv", "changes.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_checkpoint_of_the_step_before_the_change(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    changed(small_config, tmp_path / "whole", 6)
    task = TrainTask(small_config, tmp_path / "run")

    def save_change_and_die() -> None:
        task.keeper.checkpoint(task.trainer)
        task.change_rate(0.05)
        raise Kill

    with pytest.raises(Kill):
        task.run([Do(6, save_change_and_die)])
    TrainTask.resume(tmp_path / "run").run()
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_another_rate_on_resuming_takes_the_place_of_later_ones(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(Kill):
        changed(small_config, tmp_path / "run", 6, Do(7, kill))
    task = TrainTask.resume(tmp_path / "run")
    assert task.trainer.updates == 4, "the end of the first epoch"
    task.run([Do(1, lambda: task.change_rate(0.02))])
    assert [(c.updates, c.peak) for c in read_changes(tmp_path / "run")] == [(5, 0.02)]


def test_a_full_disk_changes_nothing(
    small_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TrainTask(small_config, tmp_path / "run")
    refused = list[str]()

    def full(path: Path, data: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    def attempt() -> None:
        monkeypatch.setattr("chainrule.training.changes.write_atomic", full)
        try:
            task.change_rate(0.05)
        except OSError as error:
            refused.append(str(error))

    task.run([Do(6, attempt)])
    TrainTask(small_config, tmp_path / "plain").run()
    assert "No space left" in refused[0]
    assert weights(tmp_path / "run") == weights(tmp_path / "plain")


def test_a_damaged_record_is_named(small_config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(Kill):
        changed(small_config, tmp_path / "run", 6, Do(7, kill))
    (tmp_path / "run" / "changes.jsonl").write_text('{"updates": 6}\n')
    with pytest.raises(CheckpointError, match=r"changes\.jsonl: line 1 is damaged"):
        TrainTask.resume(tmp_path / "run").run()
    shutil.rmtree(tmp_path / "run")
    assert read_changes(tmp_path / "run") == []
