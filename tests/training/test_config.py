from __future__ import annotations

import math

import pytest

from chainrule.errors import CheckpointError, KindError, ShapeError
from chainrule.training import RECIPES, TrainConfig, recipe


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
    ],
)
def test_numbers_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ShapeError, match=name):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 2.0), ("epochs", True), ("seed", "1"), ("lr", "x"), ("lr", True)]
)
def test_wrong_kinds(name: str, value: object) -> None:
    with pytest.raises(KindError, match=name):
        TrainConfig(**{name: value})


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ShapeError, match="--no-nesterov"):
        TrainConfig(momentum=0.0)
    TrainConfig(momentum=0.0, nesterov=False)


def test_there_and_back() -> None:
    config = TrainConfig(epochs=3, data_dir="x", nesterov=False)
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(CheckpointError, match="unknown fields colour, size"):
        TrainConfig.from_dict({"size": 1, "colour": 2})
    with pytest.raises(CheckpointError, match="epochs of at least 1"):
        TrainConfig.from_dict({"epochs": 0})


def test_recipes_belong_to_their_sets() -> None:
    for name, config in RECIPES.items():
        assert config.data == name
    assert recipe("mnist").epochs <= 8
    assert recipe("mnist", epochs=2, lr=None, nesterov=False) == TrainConfig(
        **{**RECIPES["mnist"].to_dict(), "epochs": 2, "nesterov": False}
    )
    assert recipe("other").data == "other"


def test_the_rate_rises_and_falls() -> None:
    config = TrainConfig(epochs=5, warmup=2.0)
    factors = [config.rate_factor(step, 10) for step in range(50)]
    assert factors[0] == pytest.approx(0.05)
    top = factors.index(max(factors))
    assert 10 <= top <= 20
    assert factors[:top] == sorted(factors[:top])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert 0 < factors[-1] < 0.002
    plain = TrainConfig(epochs=5, warmup=0.0)
    assert plain.rate_factor(0, 10) == 1.0
    assert plain.rate_factor(25, 10) == pytest.approx(0.5)


def test_seeds_that_would_wrap_onto_others_are_refused() -> None:
    assert TrainConfig(seed=2**64 - 1).seed == 2**64 - 1
    with pytest.raises(ShapeError, match=r"seed under 2\*\*64"):
        TrainConfig(seed=2**64)
