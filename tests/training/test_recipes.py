"""Every recipe that comes along takes two steps on tiny data, measures, and can be gone on with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chainrule.models import MODELS
from chainrule.training import Predictor, TrainTask, check_network, list_recipes, recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of eight colour pictures of different sizes."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cow"):
        (root / name).mkdir()
        for k in range(8):
            size = (40 + 2 * k, 36 + k, 3)
            Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(root / name / f"{k}.png")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", list_recipes())
def test_two_steps(name: str, folder: Path, tmp_path: Path) -> None:
    config = recipe(name)
    changes: dict[str, object] = {"epochs": 1, "batch_size": 6, "data": str(folder)}
    if config.data in ("digits", "mnist"):
        changes |= {"transforms": ("Resize(32)", "CenterCrop(32)", "Grayscale()", "Normalize()")}
    if name == "resnet-cifar":
        changes["transforms"] = ("Resize(36)", "CenterCrop(32)", *config.transforms)
    if config.validation:
        changes["validation"] = 0.25
    task = TrainTask(replace(config, **changes), tmp_path / "run")  # type: ignore[arg-type]
    assert task.trainer.steps >= 2
    model = MODELS[config.model]
    assert task.shape[1:] == (model.size, model.size)
    findings = check_network(task.model, task.data.train, task.transforms, task.trainer.objective)
    assert findings[0].ok, findings
    rows = task.run()
    assert len(rows) == 1
    assert np.isfinite([rows[0].train_loss, rows[0].test_loss]).all()
    p = Predictor(tmp_path / "run").probabilities(folder / "bee" / "0.png")
    assert p.shape == (3,)
    assert p.sum() == pytest.approx(1.0)
