"""The main job on real images, with the options that a user gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from chainrule.training import TrainTask, evaluate_run, recipe
from tests.data.places import shared_data


@pytest.mark.slow
def test_lenet5_on_digits_with_default_options(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits are in the demo extra")
    rows = TrainTask(recipe("digits"), tmp_path / "run").run()
    assert rows[-1].test_accuracy >= 0.98
    assert evaluate_run(tmp_path / "run").accuracy == rows[-1].test_accuracy


@pytest.mark.slow
def test_lenet5_on_mnist_after_one_epoch(tmp_path: Path) -> None:
    """Eight epochs reach over 99 %; one, with the whole schedule in it, must come near."""
    config = recipe("mnist", data_dir=str(shared_data("mnist")), epochs=1, warmup=0.2)
    assert TrainTask(config, tmp_path / "run").run()[-1].test_accuracy >= 0.97
