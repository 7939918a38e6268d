from __future__ import annotations

import math
from pathlib import Path

import pytest

from chainrule.errors import CheckpointError, DataError, KindError, ShapeError
from chainrule.models import MODELS
from chainrule.models.pattern import is_pattern
from chainrule.training import TrainConfig, list_recipes, recipe
from chainrule.training.recipes import OF_DATA


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("shift", -1),
        ("seed", -1),
        ("lr", 0.0),
        ("lr", -1.0),
        ("lr", math.nan),
        ("lr", math.inf),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-9),
        ("warmup", -1.0),
        ("validation", 1.0),
        ("gamma", 0.0),
        ("gamma", 1.5),
        ("accumulate", 0),
        ("optimizer", "sgdd"),
        ("schedule", "cosinus"),
        ("average", "mean"),
        ("milestones", (0.5, 0.2)),
        ("milestones", (0.0, 0.2)),
        ("keep", 0),
        ("average_decay", 1.0),
    ],
)
def test_values_out_of_range(name: str, value: object) -> None:
    with pytest.raises(ShapeError, match=name):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 2.0),
        ("epochs", True),
        ("seed", "1"),
        ("lr", "x"),
        ("lr", True),
        ("transforms", "Pad(2)"),
        ("transforms", [1]),
        ("milestones", ["x"]),
        ("nesterov", "no"),
        ("optimizer_options", ["a"]),
        ("model", ["lenet5"]),
        ("data", 7),
        ("data_dir", 5),
    ],
)
def test_wrong_kinds(name: str, value: object) -> None:
    with pytest.raises(KindError, match=name):
        TrainConfig(**{name: value})


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ShapeError, match="--no-nesterov"):
        TrainConfig(momentum=0.0)
    TrainConfig(momentum=0.0, nesterov=False)


def test_choices_by_results_want_a_validation_part() -> None:
    for choice in ({"schedule": "plateau"}, {"stop_after": 3}):
        with pytest.raises(ShapeError, match=r"--validation 0\.1.*test images are for measuring"):
            TrainConfig(**choice)
        TrainConfig(**choice, validation=0.1)


def test_there_and_back() -> None:
    config = TrainConfig(
        epochs=3, data_dir="x", nesterov=False, transforms=["Pad(2)"], optimizer_options={"eps": 1}
    )
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(CheckpointError, match="unknown fields colour, form; known are accumulate"):
        TrainConfig.from_dict({"form": 1, "colour": 2})
    with pytest.raises(CheckpointError, match="epochs of at least 1"):
        TrainConfig.from_dict({"epochs": 0})


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_says_where_it_is_from(name: str) -> None:
    config = recipe(name)
    assert config.recipe == name
    assert config.model in MODELS or is_pattern(config.model)
    assert config.epochs > 1


def test_recipes_with_changes() -> None:
    for data, name in OF_DATA.items():
        assert recipe(data) == recipe(name)
        assert recipe(name).data == data
    assert recipe("mnist").epochs <= 10
    changed = recipe("mnist", epochs=2, lr=None, nesterov=False)
    assert (changed.epochs, changed.nesterov, changed.lr) == (2, False, recipe("mnist").lr)
    with pytest.raises(
        DataError, match="no recipe is called 'resnet-cifer'; did you mean 'resnet-"
    ):
        recipe("resnet-cifer")


def test_recipes_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('model = "resnet20"\nlr = 1\nmilestones = [0.25]\n[optimizer_options]\na = 1\n')
    config = recipe(str(path))
    assert (config.model, config.lr, config.milestones) == ("resnet20", 1.0, (0.25,))
    assert (config.optimizer_options, config.recipe) == ({"a": 1}, "mine")
    for text, expected in (
        ("lr = ", "not a TOML file"),
        ("colour = 1", "unknown fields colour"),
        ("epochs = 0", "epochs of at least 1"),
        ("lr = 'x'", "a number as lr"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=rf"mine\.toml: .*{expected}"):
            recipe(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match="not a TOML file"):
        recipe(str(path))
    with pytest.raises(DataError, match=r"absent\.toml: no such file"):
        recipe(str(tmp_path / "absent.toml"))


def test_seeds_that_would_wrap_onto_others_are_refused() -> None:
    assert TrainConfig(seed=2**64 - 1).seed == 2**64 - 1
    with pytest.raises(ShapeError, match=r"seed under 2\*\*64"):
        TrainConfig(seed=2**64)
