"""A network and data small enough to train in a moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import chainrule as cr
from chainrule.models import MODELS, register
from chainrule.nn import Module
from chainrule.training import TrainConfig, TrainTask
from tests.data.test_mnist import write_set

PIXELS = 32 * 32


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Register a one-layer network for the test."""

    @register("one_layer_for_tests", size=32)
    def build(num_classes: int = 10, in_channels: int = 1) -> Module:
        nn = cr.nn
        return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * PIXELS, num_classes))

    yield "one_layer_for_tests"
    del MODELS["one_layer_for_tests"]


@pytest.fixture
def small_set(tmp_path: Path) -> str:
    """Write thirty training and ten test images in MNIST's format."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_set(folder)
    return str(folder)


@pytest.fixture
def small_config(small_model: str, small_set: str) -> TrainConfig:
    """A training of three epochs of four steps."""
    return TrainConfig(small_model, "mnist", small_set, epochs=3, batch_size=8, lr=0.01)


@pytest.fixture
def small_run(small_config: TrainConfig, tmp_path: Path) -> Path:
    """Train it, without pictures, which take longer."""
    TrainTask(small_config, tmp_path / "run").run()
    return tmp_path / "run"
