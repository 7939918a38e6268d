"""The form of a training: what is typed becomes a configuration, and a command that is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chainrule.cli import train as command_line
from chainrule.cli.main import main
from chainrule.errors import DataError
from chainrule.lab.training_form import base_of, command_of, filled, read, sets_here
from chainrule.training.config import TrainConfig
from chainrule.training.recipes import list_recipes, recipe


def typed(**values: str) -> Any:
    return filled(base_of(values.get("recipe", "")), values)


def test_a_form_left_alone_is_the_recipe() -> None:
    assert read(typed()) == recipe("lenet5-digits", recipe="")


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_can_be_filled_in(name: str) -> None:
    form = filled(recipe(name), {})
    form.values["recipe"] = name
    config = read(form)
    if config is None:  # its data are not on this disk
        assert set(form.wrong) <= {"data", "path"}, form.wrong
    else:
        assert config == recipe(name)


def test_what_is_typed_counts() -> None:
    config = read(typed(lr=" 0.1", epochs="3", optimizer="adam", schedule="step", momentum="0"))
    assert config is not None
    assert (config.lr, config.epochs, config.optimizer) == (0.1, 3, "adam")
    assert (config.schedule, config.momentum, config.nesterov) == ("step", 0.0, False)


def test_a_pattern_and_a_path_win(tmp_path: Path) -> None:
    config = read(typed(pattern="[CONV-RELU-POOL]*1-FC,SOFTMAX", path=str(tmp_path)))
    assert config is not None
    assert (config.model, config.data) == ("[CONV-RELU-POOL]*1-FC,SOFTMAX", str(tmp_path))


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("lr", "fast", "Learning rate: expected a number; got 'fast'"),
        ("lr", "-1", "expected lr above 0; got lr -1.0"),
        ("lr", "nan", "expected a finite lr"),
        ("epochs", "1e3", "Epochs: expected a whole number; got '1e3'"),
        ("epochs", "0", "expected epochs of at least 1"),
        ("momentum", "1", "momentum below 1"),
        ("seed", "9" * 30, "seed under 2**64"),
        ("validation", "1", "validation below 1"),
        ("optimizer", "magic", "expected optimizer out of sgd"),
        ("schedule", "<b>", "expected schedule out of cosine"),
        ("model", "lenet6", "lenet5"),
        ("pattern", "[CONV", "pattern"),
        ("path", "/nowhere", "expected a folder or a file that is there"),
    ],
)
def test_nonsense_is_told_at_its_field(field: str, text: str, words: str) -> None:
    form = typed(**{field: text})
    assert read(form) is None
    assert list(form.wrong) == [field]
    assert words in form.wrong[field]
    assert form.values[field] == text, "what was typed stays"


def test_several_faults_are_told_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    form = typed(lr="x", epochs="y", data="mnist")
    assert read(form) is None
    assert set(form.wrong) == {"lr", "epochs", "data"}
    assert "--download` fetches it" in form.wrong["data"]


def test_what_only_fails_together() -> None:
    form = typed(schedule="plateau")
    assert read(form) is None
    assert "expected a validation part" in form.problem
    assert read(typed(schedule="plateau", validation="0.1")) is not None


def test_sets_on_this_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert sets_here() == ["digits"]
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    assert sets_here() == ["cifar10", "digits"]


def test_an_unknown_recipe() -> None:
    with pytest.raises(DataError, match=r"recipe: expected one of alexnet, .*; got '\.\./x'"):
        base_of("../x")


class Caught(Exception):
    pass


CONFIGS = {
    **{name: recipe(name) for name in list_recipes()},
    "defaults": TrainConfig(data="elsewhere"),
    "digits": recipe("digits", lr=0.5, epochs=3),
    "mnist": recipe("mnist", seed=7, workers=0),
    "plain": recipe("digits", recipe="", momentum=0.0, nesterov=False),
    "spaces": TrainConfig(data="my data/a 'b'", model="conv5-fc:100", lr=1e-7),
    "lists": TrainConfig(
        data="x",
        transforms=("Resize(8)", "Normalize()"),
        milestones=(0.25, 0.5),
        optimizer="adam",
        optimizer_options={"betas": [0.9, 0.99]},
        model_options={"dropout": 0.25},
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_command_trains_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    caught = list[TrainConfig]()

    def task(config: TrainConfig, *others: object) -> None:
        caught.append(config)
        raise Caught

    monkeypatch.setattr(command_line, "TrainTask", task)
    config = CONFIGS[name]
    with pytest.raises(SystemExit):
        main(command_of(config)[1:])
    (found,) = caught
    assert {**found.to_dict(), "recipe": ""} == {**config.to_dict(), "recipe": ""}
