"""The command line as a user meets it: output, exit codes, one line an error."""

from __future__ import annotations

import errno
import importlib
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import chainrule as cr
from chainrule.cli.main import COMMANDS
from chainrule.data import load_mnist
from chainrule.errors import ChainruleError
from chainrule.training import RunFolder, TrainConfig, TrainTask, list_recipes
from tests.cli.running import Answer, Run, fails


@pytest.fixture
def train(run: Run, small_model: str, small_set: str, tmp_path: Path) -> Run:
    def call(*extra: object, out: object = None) -> Answer:
        where = tmp_path / "run" if out is None else out
        return run(
            "train", small_model, "--data", "mnist", "--data-dir", small_set, "--epochs", 2,
            "--batch-size", 8, "--out", where, *extra,
        )  # fmt: skip

    return call


def test_version_and_help(run: Run) -> None:
    assert run("--version").out == f"chainrule {cr.__version__}\n"
    for help_ in (run("--help"), run("-h")):
        assert help_.code == 0
        for command in ("train", "evaluate", "predict", "gradcheck", "--version", "--debug"):
            assert command in help_.out
    text = run("train", "--help").out
    for option in (
        "--data", "--data-dir", "--epochs", "--batch-size", "--lr", "--momentum", "--nesterov",
        "--weight-decay", "--seed", "--out", "--overwrite",
    ):  # fmt: skip
        assert option in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_says_what_they_say(run: Run, name: str) -> None:
    module = importlib.import_module(f"chainrule.cli.{name}")
    group = getattr(module, "app", None)  # of a command that has commands
    said = group.info.help if group else inspect.getdoc(getattr(module, name)).splitlines()[0]
    assert said == COMMANDS[name]
    assert COMMANDS[name].split(",")[0] in run("--help").out
    assert f"Usage: chainrule {name} " in run(name, "--help").out


def test_every_choice_of_a_training_is_an_option_with_its_default(run: Run) -> None:
    text = " ".join(re.sub(r"[│]", " ", run("train", "--help").out).split())
    for choice in fields(TrainConfig):
        if choice.name in ("model", "recipe"):
            continue
        option = f"--{choice.name.replace('_', '-')}"
        lines = re.findall(rf" {option} (?:--no-\S+ )?(<\S+> .*?)(?= --[a-z\-]+ | ╰)", text)
        assert len(lines) == 1, (option, lines)
        value = getattr(TrainConfig(), choice.name)
        if value not in ("", (), {}, None):
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            assert lines[0].endswith(f"[default: ({shown})]"), (option, lines)


def test_training_prints_a_line_an_epoch_and_the_accuracy(train: Run, tmp_path: Path) -> None:
    answer = train()
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert "30 training and 10 test images" in lines[0]
    assert "10,250 parameters" in lines[0]
    notes = [line for line in lines if line.startswith("note: ")]
    assert len(notes) == 4  # checksums of another set
    epochs = [line for line in lines if line.startswith("epoch")]
    pattern = (
        r"epoch [12]/2  loss \d+\.\d{4}  accuracy \d+\.\d\d %  test loss \d+\.\d{4}  "
        r"test accuracy \d+\.\d\d %  [\d,]+ images/s"
    )
    assert len(epochs) == 2
    for line in epochs:
        assert re.fullmatch(pattern, line), line
    assert re.fullmatch(r"test accuracy: \d+\.\d\d %", lines[-1])
    last = RunFolder(tmp_path / "run").read_metrics()[-1]
    assert lines[-1] == f"test accuracy: {100 * last.test_accuracy:.2f} %"
    assert "\x1b" not in answer.out


def test_a_disk_full_at_the_plots_still_tells_the_accuracy(
    train: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: TrainTask) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "curves.png")

    monkeypatch.setattr(TrainTask, "draw", full)
    answer = train()
    fails(answer, 1, "No space left on device", "curves.png")
    assert re.fullmatch(r"test accuracy: \d+\.\d\d %", answer.out.splitlines()[-1])
    RunFolder(tmp_path / "run").load_model()


def test_options_reach_the_configuration(train: Run, tmp_path: Path) -> None:
    answer = train(
        "--lr", 0.004, "--momentum", 0.5, "--no-nesterov", "--weight-decay", 0.01, "--seed", 7,
        "--warmup", 0, "--shift", 0,
    )  # fmt: skip
    assert answer.code == 0, answer
    config = RunFolder(tmp_path / "run").read_config().train
    assert (config.lr, config.momentum, config.nesterov) == (0.004, 0.5, False)
    assert (config.weight_decay, config.seed, config.warmup, config.shift) == (0.01, 7, 0, 0)
    assert (config.epochs, config.batch_size) == (2, 8)
    assert train("--momentum", 0, out=tmp_path / "plain").code == 0  # Nesterov goes with it
    fails(train("--momentum", 0, "--nesterov", out=tmp_path / "x"), 2, "momentum > 0")


def test_recipes_and_files(train: Run, run: Run, small_set: str, tmp_path: Path) -> None:
    listed = run("recipes").out
    for name in list_recipes():
        assert name in listed
        assert 'model = "' in run("recipes", name).out
    fails(run("recipes", "lenet"), 1, "no recipe is called 'lenet'")
    path = tmp_path / "mine.toml"
    path.write_text('model = "lenet5"\ndata = "mnist"\nepochs = 7\nlr = 0.03\n')
    out = tmp_path / "mine"
    data = ("--data-dir", small_set, "--out", out)
    answer = run("train", "--recipe", path, *data, "--epochs", 1)
    assert answer.code == 0, answer
    config = RunFolder(out).read_config().train
    assert (config.recipe, config.model, config.epochs, config.lr) == ("mine", "lenet5", 1, 0.03)


def test_going_on_with_a_run(train: Run, run: Run, tmp_path: Path) -> None:
    assert train().code == 0
    fails(run("train", "--resume", tmp_path / "run"), 1, "this run is finished (2 epochs)")
    fails(run("train", "--resume", tmp_path / "absent"), 1, "absent: no such folder")
    fails(run("train", "--resume", tmp_path / "run", "--lr", 1), 2, "only --data-dir and --workers")


def test_checks_before_the_training(train: Run, tmp_path: Path, monkeypatch: Any) -> None:
    answer = train("--check")
    assert answer.code == 0, answer
    assert [line.split("  ")[0] for line in answer.out.splitlines()] == ["ok"] * 3
    assert not (tmp_path / "run").exists()


def test_a_rate_is_found(run: Run, small_set: str, tmp_path: Path) -> None:
    plot = tmp_path / "lr.png"
    answer = run(
        "lr", "lenet5", "--data", "mnist", "--data-dir", small_set, "--plot", plot, "--steps", 40
    )
    assert answer.code == 0, answer
    assert "rate" in answer.out
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_an_ensemble(train: Run, run: Run, tmp_path: Path) -> None:
    runs = [tmp_path / name for name in "abc"]
    for seed, out in enumerate(runs):
        assert train("--seed", seed, out=out).code == 0
    text = run("evaluate", *runs).out
    for out in runs:
        assert re.search(rf"{re.escape(str(out))}: accuracy \d+\.\d\d %", text)
    assert "mean of the 3: accuracy" in text
    assert re.fullmatch(r"test accuracy: \d+\.\d\d %", text.splitlines()[-1])
    numbers = json.loads(run("evaluate", *runs, "--json").out)
    assert len(numbers["runs"]) == 3
    assert f"{100 * numbers['accuracy']:.2f} %" in text
    tables = tmp_path / "tables"
    assert run("evaluate", *runs, "--out", tables).code == 0
    assert (tables / "confusion.csv").exists()
    assert run("evaluate", runs[0], "--crops", "ten").code == 0


def test_an_existing_run_wants_overwrite(train: Run) -> None:
    assert train().code == 0
    fails(train(), 1, "already holds a run", "--overwrite")
    assert train("--overwrite").code == 0


def test_names_are_found_where_none_is_given(
    run: Run, small_model: str, small_set: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (f"{small_model}-mnist", f"{small_model}-mnist-2", f"{small_model}-mnist-3"):
        answer = run(
            "train", small_model, "--data", "mnist", "--data-dir", small_set, "--epochs", 1
        )
        assert answer.code == 0, answer
        assert (tmp_path / "runs" / name / "weights.safetensors").exists()


def test_wrong_options_are_usage_errors(train: Run, run: Run) -> None:
    fails(train("--lr", -1), 2, "lr above 0", "-1.0")
    fails(train("--optimizer", "sgdd"), 2, "optimizer out of sgd, adam")
    fails(train("--stop-after", 3), 2, "--validation 0.1")
    fails(train("--optimizer-options", "betas"), 2, "NAME=VALUE")
    fails(train("--optimizer-options", "beta=1"), 1, "an option of sgd", "dampening")
    fails(train("--transforms", "Pad(2"), 1, "is not a call")
    fails(train("--transforms", "Pud(2)"), 1, "no transform is called 'Pud'", "'Pad'")
    fails(train("--batch-size", 0), 2, "batch_size of at least 1")
    fails(train("--epochs", "many"), 2, "--epochs")
    fails(train("--colour", "red"), 2, "--colour")
    fails(run("train"), 2, "MODEL")
    fails(run("trian", "lenet5"), 2, "trian")


def test_wrong_names_and_files(train: Run, run: Run, tmp_path: Path) -> None:
    fails(run("train", "lenet", "--out", tmp_path / "x"), 2, "did you mean 'lenet5'")
    fails(run("train", "lenet5", "--data", "mnits"), 1, "did you mean 'mnist'")
    fails(
        run("train", "lenet5", "--data", "mnist", "--data-dir", tmp_path / "no"), 1,
        "no such folder", "train-images-idx3-ubyte",
    )  # fmt: skip
    assert not (tmp_path / "x").exists()
    (tmp_path / "file").write_text("")
    fails(train(out=tmp_path / "file"), 1, "this is a file")
    fails(train(out=tmp_path / "file" / "below"), 1, "Not a directory")


def test_evaluate(train: Run, run: Run, small_set: str, tmp_path: Path) -> None:
    trained = train()
    answer = run("evaluate", tmp_path / "run")
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == trained.out.splitlines()[-1]
    assert "of 10" in answer.out
    moved = tmp_path / "moved"
    Path(small_set).rename(moved)
    fails(run("evaluate", tmp_path / "run"), 1, "no such folder")
    assert run("evaluate", tmp_path / "run", "--data-dir", moved).out == answer.out
    fails(run("evaluate", tmp_path / "absent"), 1, "absent: no such folder")


def test_predict(train: Run, run: Run, small_set: str, tmp_path: Path) -> None:
    assert train().code == 0
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(load_mnist(small_set).test.images[0, 0]).save(good)
    bad.write_bytes(b"no picture")
    answer = run("predict", tmp_path / "run", good, "--ink", "light")
    assert answer.code == 0
    pattern = rf"{re.escape(str(good))}: (\d) \(\d+\.\d\d %\), \d \(.* %\), \d \(.* %\)\n"
    assert re.fullmatch(pattern, answer.out)
    shares = [float(share) for share in re.findall(r"\((\S+) %\)", answer.out)]
    assert shares == sorted(shares, reverse=True)
    every = run("predict", tmp_path / "run", good, "--top", 99, "--ink", "light").out
    assert sum(float(s) for s in re.findall(r"\((\S+) %\)", every)) == pytest.approx(100, abs=0.1)
    both = run("predict", tmp_path / "run", bad, good, "--ink", "light")
    fails(both, 1, "bad.png: not a picture")
    assert both.out == answer.out  # one bad file does not keep the others from being read
    fails(run("predict", tmp_path / "run", tmp_path / "absent.png"), 1, "no such file")
    fails(run("predict", tmp_path / "absent", good), 1, "no such folder")
    fails(run("predict", tmp_path / "run", good, "--top", 0), 2, "--top")
    both = run("predict", tmp_path / "run", good, bad, "--format", "json", "--ink", "light")
    entries = json.loads(both.out)
    assert [Path(entry["file"]).name for entry in entries] == ["good.png", "bad.png"]
    assert len(entries[0]["predictions"]) == 3
    assert "not a picture" in entries[1]["error"]
    for form in ("table", "csv"):
        text = run("predict", tmp_path / "run", good, "--format", form, "--top", 2).out
        assert str(good) in text.replace("\n", "")


@pytest.mark.parametrize("name", ["relu", "nn.ReLU", "conv2d", "max_pool2d", "std"])
def test_gradcheck_of_an_operation(run: Run, name: str) -> None:
    answer = run("gradcheck", name)
    assert answer.code == 0, answer
    assert re.search(r"[\d,]+ derivatives on \d+ input\(s\) agree", answer.out)
    assert re.search(r"gradcheck: (\d+) of \1 passed\n$", answer.out)


def test_gradcheck_of_a_network(run: Run, small_model: str) -> None:
    answer = run("gradcheck", small_model)
    assert answer.code == 0, answer
    assert small_model in answer.out


def test_gradcheck_finds_a_planted_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.engine.op import OPS

    operation = OPS["Exp"]
    original = operation.backward

    def wrong(self: object, *arguments: object) -> tuple[np.ndarray, ...]:
        return tuple(-g for g in original(self, *arguments))  # type: ignore[arg-type]

    monkeypatch.setattr(operation, "backward", wrong)
    answer = run("gradcheck", "exp")
    assert answer.code == 1
    assert "the sign is reversed" in answer.out
    assert answer.out.endswith("gradcheck: 1 of 1 failed\n")


def test_gradcheck_of_an_operation_without_gradient(run: Run) -> None:
    answer = run("gradcheck", "argmax")
    assert answer.code == 0
    assert "ArgExtreme: no gradient passes, nothing to check" in answer.out


def test_gradcheck_of_unknown_names(run: Run) -> None:
    fails(run("gradcheck", "conv2"), 2, "conv2", "did you mean", "'all'")


def test_debug_shows_the_traceback_at_any_place(run: Run, tmp_path: Path) -> None:
    for arguments in (
        ("--debug", "evaluate", tmp_path / "absent"),
        ("evaluate", tmp_path / "absent", "--debug"),
    ):
        answer = run(*arguments)
        assert answer.code == 1
        assert "Traceback" in answer.err
        assert answer.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ChainruleError("two\nlines"), 1, "error: two lines"),
        (OSError(28, "No space left on device", "runs/x"), 1, "runs/x: No space left on device"),
        (MemoryError(), 1, "not enough memory"),
        (ZeroDivisionError("oh"), 1, "ZeroDivisionError: oh (not foreseen"),
    ],
)
def test_every_error_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, text: str
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("chainrule.cli.evaluate.evaluate_runs", fail)
    fails(run("evaluate", "x"), code, text)


def test_ctrl_c_outside_a_training(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chainrule.cli.evaluate.evaluate_runs", interrupt)
    answer = run("evaluate", "x")
    assert (answer.code, answer.err) == (130, "interrupted\n")
