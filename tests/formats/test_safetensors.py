from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import chainrule as cr
from chainrule.engine.tensor import Tensor
from chainrule.errors import CheckpointError, KindError
from chainrule.formats import load_safetensors, read_metadata, save_safetensors

KINDS = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4)])
def test_there_and_back_and_by_the_format_s_own_library(
    tmp_path: Path, kind: str, shape: tuple[int, ...]
) -> None:
    x = np.asarray(np.arange(int(np.prod(shape))).reshape(shape) % 3, kind)
    path = tmp_path / "w.safetensors"
    save_safetensors({"a.b": Tensor(x), "c": x}, path)
    found = load_safetensors(path)
    other = load_file(path)
    for name in ("a.b", "c"):
        assert found[name].dtype == x.dtype
        np.testing.assert_array_equal(found[name].array, x)
        np.testing.assert_array_equal(other[name], x)
        assert found[name].shape == shape
        assert found[name].array.flags.writeable


def test_layouts_and_byte_orders_are_stored_by_value(tmp_path: Path) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    state = {
        "transposed": x.transpose(2, 0, 1),
        "reversed": x[::-1, :, ::-1],
        "gaps": x[:, ::2, ::3],
        "broadcast": np.broadcast_to(x[0, 0], (5, 4)),
        "big": x.astype(">f4"),
        "scalar": np.float32(3.0),
    }
    path = tmp_path / "w"
    save_safetensors(state, path)
    for name, tensor in load_safetensors(path).items():
        np.testing.assert_array_equal(tensor.array, state[name])
        assert tensor.array.dtype.isnative


def test_files_of_the_library_are_read(tmp_path: Path) -> None:
    x = {"w": np.arange(6.0).reshape(2, 3), "n": np.array(7)}
    save_file(x, tmp_path / "w", {"format": "np"})
    found = load_safetensors(tmp_path / "w")
    assert found["n"].item() == 7
    np.testing.assert_array_equal(found["w"].array, x["w"])
    assert read_metadata(tmp_path / "w") == {"format": "np"}


def raw(path: Path, kind: str, shape: list[int], data: bytes) -> Path:
    header = json.dumps({"w": {"dtype": kind, "shape": shape, "data_offsets": [0, len(data)]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data)
    return path


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 3.140625, np.inf, 1e-40], np.float32)
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    found = load_safetensors(raw(tmp_path / "w", "BF16", [5], bits.tobytes()))["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.array[:4], values[:4])


def test_kinds_that_numpy_has_not_are_refused(tmp_path: Path) -> None:
    path = raw(tmp_path / "w", "F8_E4M3", [3], bytes(3))
    with pytest.raises(CheckpointError, match="'w' is stored as F8_E4M3"):
        load_safetensors(path)


@pytest.mark.parametrize("cut", [0, 5, 60, -1])
def test_damaged_files_are_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors({"a": np.ones(50)}, path)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_safetensors(path)
    assert str(path) in str(caught.value)
    assert f"{len(content)} bytes" in str(caught.value)


HEADERS = {
    "a hole between two": ('"a": F32[2]@0-8, "b": F32[2]@12-20', "'b' begins at 12, not at 8"),
    "a hole before all": ('"a": F32[4]@4-20', "'a' begins at 4, not at 0"),
    "two in one place": ('"a": F32[4]@0-16, "b": F32[4]@4-20', "'b' begins at 4, not at 16"),
    "bytes of nobody": ('"a": F32[4]@0-16', "16 bytes of data are announced and 20 are there"),
    "more than there is": ('"a": F32[6]@0-24', "24 bytes of data are announced and 20 are there"),
    "too few for the shape": ('"a": F32[6]@0-20', r"'a' has 20 bytes for the shape \(6,\)"),
    "a name twice": ('"a": F32[5]@0-20, "a": F32[5]@0-20', "a name is there twice"),
    "a negative size": ('"a": F32[-5]@0--20', "sizes of 'a' are no whole numbers"),
    "an end before the beginning": ('"a": F32[0]@20-0', "'a' has -20 bytes"),
    "half a size": ('"a": F32[2.5]@0-20', "sizes of 'a' are no whole numbers"),
    "text for a size": ('"a": F32["5"]@0-20', "sizes of 'a' are no whole numbers"),
    "metadata of numbers": ('"__metadata__": {"n": 1}, "a": F32[5]@0-20', "that is not text"),
}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("case", HEADERS)
def test_every_number_of_the_header_is_checked(case: str, mapped: bool, tmp_path: Path) -> None:
    """Twenty bytes of data, and a header that tells something else."""
    short, why = HEADERS[case]
    tensor = r'{"dtype": "\1", "shape": \2, "data_offsets": [\3, \4]}'
    entries = re.sub(r"(F32)(\[.*?\])@(\d+)-(-?\d+)", tensor, short)
    header = f"{{{entries}}}".encode()
    assert json.loads(header)
    path = tmp_path / "w"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(20))
    with pytest.raises(CheckpointError, match=why):
        load_safetensors(path, mapped)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w"
    for content in (b"\x80\x04pickle" * 20, b"\xff" * 100, bytes(16), b'{"a": 1}' * 9):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_safetensors(path)
        with pytest.raises(CheckpointError):
            read_metadata(path)
    with pytest.raises(FileNotFoundError):
        load_safetensors(tmp_path / "absent")


def test_only_arrays_of_numbers_are_saved(tmp_path: Path) -> None:
    for value in ("text", [1.0], None, np.array(["a"]), np.array([1j])):
        with pytest.raises(KindError, match="under 'w'"):
            save_safetensors({"w": value}, tmp_path / "w")
    assert not list(tmp_path.iterdir())


def test_metadata_and_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "1", tmp_path / "2"]
    for path in paths:
        state = {f"layer{k}": np.full(3, k, np.float32) for k in range(20)}
        save_safetensors(state, path, {"epoch": "4"})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert read_metadata(paths[0]) == {"epoch": "4"}
    save_safetensors({"w": cr.tensor([1.0])}, paths[0])
    assert read_metadata(paths[0]) == {}
