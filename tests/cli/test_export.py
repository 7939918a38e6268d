"""`chainrule export`: from a run, from weights, by name; what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import chainrule as cr
from chainrule.cli import export as command
from chainrule.training import RunFolder
from tests.cli.running import Run, fails

onnxruntime.set_default_logger_severity(3)


def same_values(model: cr.nn.Module, path: Path, shape: tuple[int, ...]) -> None:
    """Another program reads the file as our own network computes."""
    x = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with cr.no_grad():
        ours = model.eval()(cr.tensor(x)).numpy()
    np.testing.assert_allclose(ours, session.run(None, {"input": x})[0], rtol=1e-4, atol=1e-4)


def test_a_run(run: Run, small_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    answer = run("export", small_run, target)
    assert answer.code == 0, answer
    size = target.stat().st_size
    assert answer.out.splitlines() == [
        f"{target}: {size:,} bytes, 3 nodes, opset 18",
        "input: input (batch, 1, 32, 32)",
        "output: output (batch, 10)",
    ]
    same_values(RunFolder(small_run).load_model(), target, (1, 32, 32))
    notes = {entry.key: entry.value for entry in onnx.load(target).metadata_props}
    about = json.loads(notes["chainrule"])
    assert about["classes"] == [str(digit) for digit in range(10)]
    assert about["preprocessing"]["transforms"][-1].startswith("Normalize(mean=")


def test_a_file_of_weights(run: Run, tmp_path: Path) -> None:
    model = cr.create_model("resnet20", 4, in_channels=1)
    weights, target = tmp_path / "w.safetensors", tmp_path / "m.onnx"
    cr.save_weights(model, weights, classes="abcd")
    answer = run("export", weights, target)
    assert "input: input (batch, 1, 32, 32)" in answer.out, answer
    same_values(model, target, (1, 32, 32))
    assert (
        "input (batch, 1, 24, 40)"
        in run("export", weights, target, "--input", "1x24x40", "--overwrite").out
    )
    same_values(model, target, (1, 24, 40))


def test_a_name(run: Run, tmp_path: Path) -> None:
    answer = run("export", "lenet5", tmp_path / "m.onnx")
    assert answer.code == 0
    assert len(cr.onnx.load(tmp_path / "m.onnx").state_dict()) == 10


def test_what_is_there_stays(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_text("mine")
    fails(run("export", "lenet5", target), 1, "already there", "--overwrite")
    assert target.read_text() == "mine"
    assert run("export", "lenet5", target, "--overwrite").code == 0
    assert onnx.load(target).graph.node
    fails(run("export", "lenet5", tmp_path), 1, "this is a folder")


def test_wrong_input_in_words(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    fails(run("export", "lenet6", target), 1, "did you mean 'lenet5'")
    fails(run("export", tmp_path / "nowhere", target), 1, "no such folder or file")
    fails(run("export", "lenet5", target, "--input", "32"), 1, "as 3x224x224")
    fails(run("export", "lenet5", target, "--input", "1x9x9"), 1)
    fails(run("export", "lenet5", tmp_path / "none" / "m.onnx"), 1, "none")
    folder = tmp_path / "empty"
    folder.mkdir()
    fails(run("export", folder, target), 1, "not a run")
    bare = tmp_path / "bare.pth"
    cr.save_torch(cr.create_model("lenet5").state_dict(), bare)
    fails(run("export", bare, target), 1, "does not say which network")
    assert not target.exists()


def test_without_the_package(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [key for key in sys.modules if key.split(".")[0] == "onnx"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in [key for key in sys.modules if key.startswith("chainrule.formats.onnx.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(command.onnx), "export", raising=False)
    fails(run("export", "lenet5", tmp_path / "m.onnx"), 1, "pip install 'chainrule[onnx]'")
