"""`chainrule info`, `models` and `summary`: what they tell, and of wrong files and names."""

from __future__ import annotations

from pathlib import Path

import pytest

import chainrule as cr
from tests.cli.running import Run, fails


def test_info_of_both_forms(run: Run, tmp_path: Path) -> None:
    model = cr.create_model("lenet5", 3)
    cr.save_weights(model, tmp_path / "w.safetensors", classes=["a", "b", "c"])
    cr.save_torch(model.state_dict(), tmp_path / "w.pth")
    told = run("info", tmp_path / "w.safetensors", "--tensors")
    assert told.code == 0
    assert "safetensors, 10 tensors, 61,111 values" in told.out
    assert "network: lenet5(num_classes=3)" in told.out
    assert 'classes: ["a", "b", "c"]' in told.out
    assert "  fc2.weight  F32  3x84\n" in told.out
    told = run("info", tmp_path / "w.pth")
    assert "PyTorch, 10 tensors, 61,111 values" in told.out


def test_info_of_what_holds_no_weights(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("not weights")
    fails(run("info", tmp_path), 1, str(tmp_path), "Is a directory")
    fails(run("info", tmp_path / "absent"), 1, "absent", "No such file")
    fails(run("info", tmp_path / "empty.pth"), 1, "empty.pth: the file is empty")
    fails(run("info", tmp_path / "text.pth"), 1, "text.pth: not a whole safetensors file")


def test_models_by_a_part_of_their_names(run: Run) -> None:
    told = run("models", "ResNet1")
    assert [line.split()[0] for line in told.out.splitlines() if line[0] != " "] == [
        "resnet101",
        "resnet110",
        "resnet152",
        "resnet18",
    ]
    missed = run("models", "xyz")
    assert (missed.code, missed.err) == (1, "no name contains 'xyz'\n")


def test_summary_of_a_network_and_of_a_pattern(run: Run) -> None:
    assert "61,706 (246.82 kB)" in run("summary", "lenet5").out
    assert "3x8x8" in run("summary", "CONV-POOL-SOFTMAX", "--input", "3x8x8").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "create_model: expected a known model; got name 'nonsense'"),
        (("Resnet51",), "did you mean 'resnet56', 'resnet50'"),
        (("[(CONV-RELU)*2-POOL",), "no ']' for the last '['"),
        (("vgg16", "--input", "abc"), "--input: expected channels, height and width, as 3x224x224"),
        (("vgg16", "--input", "3x-5x10"), "--input: expected channels, height and width"),
        (("vgg16", "--input", "3x10x10"), "VGG: expected images of at least 32x32"),
        (("lenet5", "--set", "a=1"), "--set: expected an option of lenet5: "),
    ],
)
def test_summaries_that_cannot_be(run: Run, arguments: tuple[str, ...], said: str) -> None:
    fails(run("summary", *arguments), 1, said)


def test_training_an_unknown_network(run: Run) -> None:
    fails(run("train", "nonsense"), 2, "MODEL: expected a known model; got name 'nonsense'")


def test_a_circuit_of_an_expression(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.svg"
    answer = run("circuit", "(x+y)*z", "x=-2", "y=5", "z=-4", "--out", path)
    assert answer.code == 0, answer
    assert "df/dx = df/dq1 * dq1/dx = -4 * 1 = -4" in answer.out
    assert path.read_text("utf-8").startswith("<svg")
    assert "0.7310586" in run("circuit", "sigmoid(x)", "x=1", "--digits", 7).out
    fails(run("circuit", "__import__('os')"), 1, "no function of that name")
    fails(run("circuit", "x*y", "x=1"), 1, "y: has no value")
    fails(run("circuit", "x*y", "x"), 1, "expected NAME=VALUE")
    fails(run("circuit", "x*x", "x=1", "x=2"), 1, "expected one value, got two")
    fails(run("circuit", "x*x", "x=1", "--out", tmp_path / "c.jpg"), 1, "ends in")


def test_an_expression_may_begin_with_a_minus(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "-c.svg"
    for arguments in (
        ("-x*y", "x=1", "y=-2"),
        ("-x*y", "x=1", "y=-2", "--output", path),
        ("--digits", 3, "-x*y", "-o", path, "x=1", "y=-2"),
        ("-x*y", f"-o{path}", "x=1", "--digits=3", "y=-2"),
        ("--", "-x*y", "x=1", "y=-2"),
        ("-o", path, "--", "-x*y", "x=1", "y=-2"),
        ("-x*y", "--", "x=1", "y=-2"),
    ):
        path.unlink(missing_ok=True)
        answer = run("circuit", *arguments)
        assert answer.code == 0, answer
        assert "df/dx = df/dq1 * dq1/dx = -2 * -1 = 2" in answer.out
        assert path.exists() == any(str(path) in str(a) for a in arguments)
    assert "f = o * h = -6" in run("circuit", "o*h", "o=2", "h=-3").out
    assert "f = q1 * h = -6" in run("circuit", "-o*h", "o=-2", "h=-3").out
    assert "f = -q1 = -0.7616" in run("circuit", "-tanh(h)", "h=1").out
    assert "f = -h = 2" in run("circuit", "--", "-h", "h=-2").out
    assert "Usage" in run("circuit", "-h").out


def test_a_misspelled_option_of_a_circuit_is_told(run: Run) -> None:
    said = "No such option: --digit;", "(Possible options: --digits)"
    fails(run("circuit", "-x", "x=1", "--digit", 3), 2, *said)
    fails(run("circuit", "--x", "x=1"), 2, "an expression that begins so stands after --")
    fails(run("circuit", "-x", "x=1", "-o"), 2, "requires an argument")
    fails(run("circuit", "x", "x=1", "-y"), 1, "-y: expected NAME=VALUE")
