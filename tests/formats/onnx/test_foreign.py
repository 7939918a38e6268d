"""Files that other programs wrote, which the package onnx brings along."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, version_converter
from onnx.backend.test.loader import load_model_tests

import chainrule as cr

onnxruntime.set_default_logger_severity(3)

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
LIGHT = sorted((DATA / "light").glob("*.onnx"))


NO_OPSET_6 = ("test_MaxPool1d_stride_padding_dilation", "test_MaxPool2d_stride_padding_dilation")
"""They have dilations, which MaxPool got in opset 10 only: the converter refuses them."""


def cases() -> list[Any]:
    with warnings.catch_warnings(action="ignore"):
        kinds = ("pytorch-converted", "pytorch-operator")
        found = [case for kind in kinds for case in load_model_tests(kind=kind)]
    return [case for case in found if case.name not in NO_OPSET_6]


CASES = cases()


def values(folder: Path, what: str) -> list[np.ndarray]:
    paths = sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [numpy_helper.to_array(onnx.load_tensor(path)) for path in paths]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind} {case.name}")
def test_files_that_pytorch_wrote(case: Any) -> None:
    """They are of opset 6: the package's own converter brings them to 7."""
    folder = Path(case.model_dir)
    made = version_converter.convert_version(onnx.load(folder / "model.onnx"), 7)
    network = cr.onnx.load(made)
    inputs, outputs = (values(folder / "test_data_set_0", what) for what in ("input", "output"))
    with cr.no_grad():
        found = network(*inputs)
    for ours, theirs in zip(found if isinstance(found, tuple) else (found,), outputs, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-5)


def test_there_are_files() -> None:
    assert len(CASES) > 100
    assert len(LIGHT) > 5


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_whole_networks(path: Path) -> None:
    """The graphs of well-known networks, of opset 9, with weights that are all alike."""
    network = cr.onnx.load(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    x = np.random.default_rng(0).random(given.shape).astype(np.float32)
    with cr.no_grad():
        ours = network(x).numpy()
    np.testing.assert_allclose(ours, session.run(None, {given.name: x})[0], rtol=1e-4, atol=1e-6)
