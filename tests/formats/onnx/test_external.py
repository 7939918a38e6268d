"""Values in files beside the model, and tensors that do not fit their shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import chainrule as cr
from chainrule.errors import DataError
from chainrule.formats.onnx import tensors
from tests.formats.onnx.test_load import F32, X, small, stored


def external(tmp_path: Path) -> Path:
    made = small()
    path = tmp_path / "inner" / "m.onnx"
    path.parent.mkdir()
    onnx.save_model(
        made, path, save_as_external_data=True, location="m.bin", size_threshold=0,
        all_tensors_to_one_file=True,
    )  # fmt: skip
    return path


def entry(path: Path, key: str, value: str) -> Path:
    """Change where the first tensor's values are said to lie."""
    found = onnx.load(path, load_external_data=False)
    kept = [e for e in found.graph.initializer[0].external_data if e.key != key]
    del found.graph.initializer[0].external_data[:]
    found.graph.initializer[0].external_data.extend(kept)
    added = found.graph.initializer[0].external_data.add()
    added.key, added.value = key, value
    path.write_bytes(found.SerializeToString())
    return path


def test_values_beside_the_model(tmp_path: Path) -> None:
    path = external(tmp_path)
    net, inside = cr.onnx.load(path), cr.onnx.load(small())
    np.testing.assert_array_equal(net(X).detach().numpy(), inside(X).detach().numpy())
    before = (path.parent / "m.bin").read_bytes()
    with cr.no_grad():
        net.conv.weight.mul_(2)
    net.train()(X)
    assert (path.parent / "m.bin").read_bytes() == before
    with pytest.raises(DataError, match="load the model by its path"):
        cr.onnx.load(path.read_bytes())


def test_only_files_of_the_models_folder_are_read(tmp_path: Path) -> None:
    path = external(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1000))
    (path.parent / "link").symlink_to(secret)
    for location in ("../secret", str(secret), "link", "a/../../secret", "..\\secret"):
        with pytest.raises(DataError, match="outside of the model's folder"):
            cr.onnx.load(entry(path, "location", location))
    (path.parent / "circle").symlink_to(path.parent / "circle")
    for location in ("a\0b", "x" * 5000, "circle"):
        with pytest.raises(DataError, match="lies in"):
            cr.onnx.load(entry(path, "location", location))
    with pytest.raises(DataError, match="is not beside the model"):
        cr.onnx.load(entry(path, "location", "other.bin"))
    with pytest.raises(DataError, match="not named"):
        cr.onnx.load(entry(path, "location", ""))


def test_sizes_are_checked_against_the_file(tmp_path: Path) -> None:
    path = external(tmp_path)
    with pytest.raises(DataError, match="433 bytes for float32"):
        cr.onnx.load(entry(path, "length", "433"))
    path = entry(path, "length", "432")
    with pytest.raises(DataError, match="bytes 99999 to"):
        cr.onnx.load(entry(path, "offset", "99999"))
    with pytest.raises(DataError, match="bytes -4 to"):
        cr.onnx.load(entry(path, "offset", "-4"))
    with pytest.raises(DataError, match="no number"):
        cr.onnx.load(entry(path, "offset", "four"))
    path = entry(path, "offset", "0")
    data = path.parent / "m.bin"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(DataError, match="which has 100"):
        cr.onnx.load(path)


def test_tensors_that_do_not_fit_their_shape() -> None:
    store = tensors.Store(None)
    short = stored("t", [1.0, 2.0])
    short.dims[0] = 3
    with pytest.raises(DataError, match="8 bytes for float32"):
        store.array(short)
    typed = helper.make_tensor("t", F32, [2], [1.0, 2.0])
    typed.dims[0] = 5
    with pytest.raises(DataError, match="2 values for the shape"):
        store.array(typed)
    typed.dims[0] = -1
    with pytest.raises(DataError, match="has the shape"):
        store.array(typed)
    half = helper.make_tensor("t", TensorProto.FLOAT16, [2], [1.5, -2.0])
    np.testing.assert_array_equal(store.array(half), np.array([1.5, -2], np.float16))
    with pytest.raises(tensors.Unreadable, match="bfloat16"):
        store.array(helper.make_tensor("t", TensorProto.BFLOAT16, [1], [1.0]))
