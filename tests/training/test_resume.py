"""A training that was stopped and gone on with ends as one that never stopped, bit for bit."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader
from chainrule.errors import CheckpointError
from chainrule.formats import load_safetensors
from chainrule.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Module, ReLU, Sequential
from chainrule.training import Callback, TrainConfig, Trainer, TrainTask
from chainrule.training.checkpoint import load_checkpoint, save_checkpoint
from chainrule.training.folder import METRICS, WEIGHTS
from chainrule.training.interrupt import Terminated


def network() -> Module:
    cr.manual_seed(3)
    return Sequential(
        Conv2d(1, 4, 3, padding=1), BatchNorm2d(4), ReLU(), Dropout(0.3), Flatten(), Linear(64, 3)
    )


def trainer(config: TrainConfig, callbacks: tuple[Callback, ...] = ()) -> Trainer:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((26, 1, 4, 4)).astype(np.float32)
    y = rng.integers(0, 3, 26)
    model = network()
    data = ArrayDataset(x, y, 3)
    train = DataLoader(data, 8, shuffle=True, generator=cr.Generator(5))
    held = DataLoader(data, 13) if config.validation else None
    return Trainer(model, train, DataLoader(data, 13), config, callbacks, held)


class StopAt(Callback):
    """Saves the state and leaves at one step."""

    def __init__(self, update: int, path: Path) -> None:
        self.left, self.path = update, path

    def on_step(self, trainer: Trainer) -> None:
        self.left -= 1
        if not self.left:
            save_checkpoint(trainer.state_dict(), self.path)
            raise KeyboardInterrupt


CONFIGS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "adamw": {"optimizer": "adamw", "lr": 0.01, "schedule": "onecycle"},
    "rmsprop": {"optimizer": "rmsprop", "lr": 0.001, "schedule": "multistep"},
    "plateau": {"schedule": "plateau", "patience": 1, "validation": 0.1, "stop_after": 3},
    "ema": {"average": "ema", "average_decay": 0.9, "schedule": "step", "step_size": 1.0},
    "swa": {"average": "swa", "average_start": 0.4, "schedule": "exponential"},
    "accumulate": {"accumulate": 3, "clip_norm": 0.5, "schedule": "poly"},
    "smooth": {"label_smoothing": 0.1, "clip_value": 0.1, "warmup": 0.0},
}


def ending(t: Trainer) -> dict[str, Any]:
    rows = [row.to_dict() for row in t.rows]
    weights = {name: value.numpy().copy() for name, value in t.result.state_dict().items()}
    return {"rows": rows, **weights}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_moment_is_a_good_one_to_stop(name: str, tmp_path: Path) -> None:
    config = TrainConfig(**{"epochs": 4, "lr": 0.05, **CONFIGS[name]})
    whole = trainer(config)
    whole.fit()
    expected = ending(whole)
    for stop in range(1, 4 * len(whole.rows) + 1):
        path = tmp_path / "state.safetensors"
        with pytest.raises(KeyboardInterrupt):
            trainer(config, (StopAt(stop, path),)).fit()
        cr.manual_seed(99)
        again = trainer(config)
        again.load_state_dict(load_checkpoint(path))
        again.fit()
        found = ending(again)
        assert found["rows"] == expected["rows"], stop
        for key, value in expected.items():
            if key != "rows":
                np.testing.assert_array_equal(found[key], value, err_msg=f"{key} after {stop}")


def test_a_state_of_another_network_changes_nothing(tmp_path: Path) -> None:
    one = trainer(TrainConfig(epochs=1))
    state = one.state_dict()
    state["model"] = {"w": np.ones(3)}
    before = one.model.state_dict()["0.weight"].numpy().copy()
    with pytest.raises(CheckpointError, match=r"missing: 0\.weight"):
        one.load_state_dict(state)
    np.testing.assert_array_equal(one.model.state_dict()["0.weight"].numpy(), before)


class Signal(Callback):
    """Sends this process a signal at one step, or in the test of one epoch."""

    def __init__(self, number: int, epoch: int, step: int) -> None:
        self.number, self.epoch, self.step = number, epoch, step

    def on_step(self, trainer: Trainer) -> None:
        if (trainer.epoch, trainer.step) == (self.epoch, self.step):
            signal.raise_signal(self.number)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (1, 4), (2, 2), (3, 4)])
def test_signals_save_first(
    small_config: TrainConfig,
    tmp_path: Path,
    number: int,
    error: type[BaseException],
    epoch: int,
    step: int,
) -> None:
    TrainTask(small_config, tmp_path / "whole").run()
    cut = tmp_path / "cut"
    before = signal.getsignal(number)
    with pytest.raises(error):
        TrainTask(small_config, cut).run([Signal(number, epoch, step)])
    assert signal.getsignal(number) is before
    task = TrainTask.resume(cut)
    assert (task.trainer.epoch, task.trainer.step) == (epoch, step)
    task.run()
    for name in (WEIGHTS, METRICS):
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(CheckpointError, match="this run is finished"):
        TrainTask.resume(cut)


def test_a_run_without_a_checkpoint_begins_anew(small_config: TrainConfig, tmp_path: Path) -> None:
    TrainTask(small_config, tmp_path / "a").run()
    TrainTask(small_config, tmp_path / "b").run()
    for path in (tmp_path / "b" / "checkpoints").iterdir():
        path.unlink()
    TrainTask.resume(tmp_path / "b").run()
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_other_data_is_noticed(small_config: TrainConfig, tmp_path: Path) -> None:
    TrainTask(small_config, tmp_path / "a").run()
    labels = next(Path(str(small_config.data_dir)).glob("train-labels*"))
    changed = bytearray(labels.read_bytes())
    changed[-1] = (changed[-1] + 1) % 10
    labels.write_bytes(bytes(changed))
    with pytest.raises(CheckpointError, match="it has changed"):
        TrainTask.resume(tmp_path / "a")


def test_the_best_epoch_is_kept_apart(small_config: TrainConfig, tmp_path: Path) -> None:
    config = replace(small_config, validation=0.2, lr=0.5, epochs=4)
    task = TrainTask(config, tmp_path / "run")
    task.run()
    losses = [row.to_dict()["validation_loss"] for row in task.rows]
    best = int(np.argmin(losses)) + 1
    state = load_safetensors(tmp_path / "run" / "best.safetensors")
    if best == len(losses):
        weights = load_safetensors(tmp_path / "run" / WEIGHTS)
        np.testing.assert_array_equal(state["1.bias"].array, weights["1.bias"].array)
    assert np.isfinite(state["1.bias"].array).all()
