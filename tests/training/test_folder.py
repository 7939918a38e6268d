from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.errors import CheckpointError, DataError
from chainrule.formats import load_safetensors, read_metadata, save_safetensors
from chainrule.training import RunFolder, TrainConfig, TrainTask
from chainrule.training.folder import CONFIG, FILES, METRICS, WEIGHTS


def test_a_run_folder_holds_all_that_was_promised(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    small_run = tmp_path / "run"
    task = TrainTask(small_config, small_run)
    task.run()
    assert task.draw() == ""
    written = {p.name for p in small_run.iterdir()}
    absent = {"transforms.safetensors", "skipped.csv"}  # nothing to tell there
    absent |= {"health.csv", "health.txt"}  # not asked for
    absent |= {"changes.jsonl", "live.jsonl", "failure.txt"}  # of a training in the lab
    assert written == {*FILES, "checkpoints"} - absent
    folder = RunFolder(small_run)
    config = folder.read_config()
    assert config.train == small_config
    assert config.classes == tuple("0123456789")
    assert config.transforms.transforms[-1].white == 255.0
    assert config.shape == (1, 32, 32)
    rows = folder.read_metrics()
    assert [row.epoch for row in rows] == [1, 2, 3]
    carried = json.loads(read_metadata(small_run / WEIGHTS)["run"])
    assert carried["epoch"] == 3
    assert carried["config"] == json.loads((small_run / CONFIG).read_text())
    for name in ("curves.png", "confusion.png"):
        assert (small_run / name).read_bytes().startswith(b"\x89PNG")
    header = (small_run / METRICS).read_text().splitlines()[0]
    assert header.startswith("epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,")
    lines = (small_run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    environment = json.loads((small_run / "environment.json").read_text())
    assert {"command", "seed", "git", "threads", "chainrule"} <= environment.keys()
    model = folder.load_model()
    assert not model.training
    state = load_safetensors(small_run / WEIGHTS)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name].numpy())


def test_an_existing_run_is_refused_and_stays(small_run: Path, small_config: TrainConfig) -> None:
    before = {p.name: p.read_bytes() for p in small_run.iterdir() if p.is_file()}
    with pytest.raises(DataError, match=r"already holds a run.*--overwrite"):
        TrainTask(small_config, small_run)
    assert {p.name: p.read_bytes() for p in small_run.iterdir() if p.is_file()} == before


def test_folders_of_other_things_are_never_taken(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"other things than a run \(letter\.txt\)"):
            RunFolder.create(tmp_path, overwrite)
    with pytest.raises(DataError, match="this is a file"):
        RunFolder.create(tmp_path / "letter.txt", True)
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty")
    RunFolder.create(tmp_path / "deep" / "er")
    assert not list((tmp_path / "deep" / "er").iterdir())


def test_overwriting_replaces_a_runs_own_files_only(
    small_run: Path, small_config: TrainConfig
) -> None:
    (small_run / "notes.txt").write_text("mine")
    (small_run / ".weights.safetensors.0123abcd.tmp").write_text("of a killed process")
    old = (small_run / WEIGHTS).read_bytes()
    task = TrainTask(TrainConfig(**{**small_config.to_dict(), "seed": 5}), small_run, True)
    assert (small_run / WEIGHTS).read_bytes() == old  # nothing is touched before an epoch is done
    task.run()
    assert (small_run / WEIGHTS).read_bytes() != old
    assert RunFolder(small_run).read_config().train.seed == 5
    names = {p.name for p in small_run.iterdir()}
    saved = {WEIGHTS, "best.safetensors", CONFIG, METRICS, "metrics.jsonl", "environment.json"}
    assert names - {"curves.png"} == {*saved, "checkpoints", "notes.txt"}
    assert "confusion.png" not in names  # of the older run


def broken(run: Path, text: str, load: bool = True) -> None:
    with pytest.raises(CheckpointError, match=text) as caught:
        RunFolder(run).load_model() if load else RunFolder(run).read_metrics()
    assert str(run) in str(caught.value)


def test_checkpoints_of_another_model_are_named_by_key(small_run: Path) -> None:
    state = dict(load_safetensors(small_run / WEIGHTS))
    weight = state.pop("1.weight")
    save_safetensors({**state, "conv1.weight": weight}, small_run / WEIGHTS)
    broken(small_run, r"missing: 1\.weight \(perhaps conv1\.weight\); unexpected: conv1\.weight")
    state["1.weight"] = weight.array[:, :7]
    save_safetensors(state, small_run / WEIGHTS)
    broken(small_run, r"1\.weight is \(10, 7\), expected \(10, 1024\)")


def test_damaged_runs(small_run: Path, tmp_path: Path) -> None:
    broken(tmp_path / "absent", "no such folder")
    weights = (small_run / WEIGHTS).read_bytes()
    (small_run / WEIGHTS).write_bytes(weights[:100])
    broken(small_run, "not a whole safetensors file")
    (small_run / WEIGHTS).unlink()
    broken(small_run, "no weights yet")
    for name, text in (("metrics.jsonl", '{"epoch": 1, "lr"\n{}\n'), (METRICS, "epoch,lr\n1,x\n")):
        (small_run / name).write_text(text)
        broken(small_run, name.replace(".", r"\."), load=False)
        (small_run / name).unlink()
    text = (small_run / CONFIG).read_text()
    values = json.loads(text)
    for change, expected in (
        ("{", "not a run's configuration"),
        ("[]", "not a run's configuration"),
        (json.dumps({**values, "transforms": ["Colour()"]}), "not a run's configuration"),
        (json.dumps({**values, "train": {"epochs": -1}}), "epochs of at least 1"),
        (json.dumps({k: v for k, v in values.items() if k != "classes"}), "'classes' is missing"),
        (text.replace("one_layer_for_tests", "lenet"), "did you mean 'lenet5'"),
    ):
        (small_run / CONFIG).write_text(change)
        (small_run / WEIGHTS).write_bytes(weights)
        broken(small_run, expected)
    (small_run / CONFIG).write_bytes(b"\xff\xfe\x00")
    broken(small_run, "not a run's configuration")
    (small_run / CONFIG).unlink()
    save_safetensors(load_safetensors(small_run / WEIGHTS), small_run / WEIGHTS)
    broken(small_run, "not a run: there is no config.json")


def test_what_a_killed_run_left_is_no_obstacle(small_config: TrainConfig, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    out.mkdir()
    left = out / f".{WEIGHTS}.0a1b2c3d.tmp"
    left.write_bytes(b"half")
    TrainTask(small_config, out).run()
    assert not left.exists()
    RunFolder(out).load_model()


def test_new_weights_are_never_read_with_an_older_configuration(
    small_run: Path, small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (small_run / WEIGHTS).read_bytes()
    task, original = TrainTask(replace(small_config, seed=1), small_run, overwrite=True), os.replace
    seen: list[bool] = []

    def watch(source: str, target: str) -> None:
        original(source, target)
        new = (small_run / WEIGHTS).read_bytes() != before
        if new and (small_run / CONFIG).exists():
            seen.append(RunFolder(small_run).read_config().train.seed == 1)

    monkeypatch.setattr(os, "replace", watch)
    task.run()
    assert seen
    assert all(seen)


def test_whenever_it_is_killed_one_of_the_two_runs_can_be_read(
    small_run: Path, small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {small_config.seed: load_safetensors(small_run / WEIGHTS)["1.bias"].array.copy()}
    task = TrainTask(replace(small_config, seed=1, epochs=1), small_run, overwrite=True)
    seeds: list[int] = []

    def readable() -> None:
        run = RunFolder(small_run)
        seed, bias = run.read_config().train.seed, run.load_model()[1].bias.detach().numpy()
        np.testing.assert_array_equal(bias, weights.setdefault(seed, bias))
        seeds.append(seed)

    for owner, name in ((os, "replace"), (os, "unlink"), (Path, "unlink")):
        original = getattr(owner, name)

        def watch(*args: Any, original: Any = original, **options: Any) -> None:
            original(*args, **options)
            readable()

        monkeypatch.setattr(owner, name, watch)
    task.run()
    assert seeds == sorted(seeds)
    assert set(seeds) == {small_config.seed, 1}


def test_weights_that_are_not_finite(small_run: Path) -> None:
    state = load_safetensors(small_run / WEIGHTS)
    state["1.bias"].array[3] = np.nan
    save_safetensors(state, small_run / WEIGHTS)
    with pytest.raises(
        CheckpointError, match=r"weights\.safetensors: 1\.bias: nan at index \(3,\)"
    ):
        RunFolder(small_run).load_model()


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("train", "model", ["lenet5"]),
        ("train", "data", 7),
        ("train", "data_dir", 5),
        ("train", "nesterov", "no"),
        ("train", "epochs", 0),
        ("", "shape", [1, 32]),
        ("", "shape", [0, 32, 32]),
        ("", "transforms", ["__import__('os').system('true')"]),
        ("", "transforms", ["Normalize(std=0)"]),
        ("", "transforms", 3),
        ("", "classes", None),
        ("", "task", "clustering"),
        ("", "options", [1]),
    ],
)
def test_configurations_edited_by_hand(
    small_run: Path, part: str, name: str, value: object
) -> None:
    values = json.loads((small_run / CONFIG).read_text())
    (values[part] if part else values)[name] = value
    (small_run / CONFIG).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"config\.json: not a run's configuration"):
        RunFolder(small_run).read_config()


def test_a_configuration_nested_without_end(small_run: Path) -> None:
    (small_run / CONFIG).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="not a run's configuration"):
        RunFolder(small_run).read_config()
