"""Weights in and out: every form of file, all of it or nothing."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import chainrule as cr
from chainrule.errors import CheckpointError
from chainrule.formats import load_torch, read_weights, save_torch
from chainrule.formats.safetensors import load_safetensors, read_shapes, save_safetensors
from chainrule.formats.weights import METADATA, read_about
from chainrule.models import create_model, load_model


def values(model: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return list(a) == list(b) and all(np.array_equal(a[k], b[k]) for k in a)


SAVERS: dict[str, Callable[[Any, Path], None]] = {
    "safetensors": lambda model, path: cr.save_weights(model, path),
    "torch": lambda model, path: save_torch(model.state_dict(), path),
}


@pytest.mark.parametrize("form", SAVERS)
@pytest.mark.parametrize("meta", [False, True])
def test_there_and_back(form: str, meta: bool, tmp_path: Path) -> None:
    path = tmp_path / "w"
    one = create_model("resnet20", 5)
    one(cr.randn(2, 3, 8, 8))  # moves the running statistics
    SAVERS[form](one, path)
    if meta:
        with cr.device("meta"):
            other = create_model("resnet20", 5)
    else:
        other = create_model("resnet20", 5)
    parameters = dict(other.named_parameters())
    assert cr.load_weights(other, path) == ([], [], [])
    assert same(values(one), values(other))
    x = cr.randn(2, 3, 8, 8)
    with cr.no_grad():
        np.testing.assert_array_equal(one.eval()(x).numpy(), other.eval()(x).numpy())
    assert all(parameters[name] is p for name, p in other.named_parameters())
    assert all(p.requires_grad and not p.is_meta for p in other.parameters())
    other.train()
    other(x).sum().backward()  # and it trains
    before = path.read_bytes()
    with cr.no_grad():
        for p in other.parameters():
            p -= 1.0
    assert path.read_bytes() == before  # what is mapped is copied when it is written


def test_values_stay_in_the_file_until_they_are_used(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_safetensors({"weight": np.ones((8, 4), np.float32), "bias": np.ones(8, np.float32)}, path)
    layer = cr.nn.Linear(4, 8)
    cr.load_weights(layer, path)
    owners = [p.array.base for p in layer.parameters()]
    assert all(owner is not None for owner in owners)
    assert all(p.array.flags.writeable for p in layer.parameters())
    # A write to one is none to the other: the graph of the other stays good.
    y = layer(cr.ones(1, 4))
    with cr.no_grad():
        layer.bias += 1  # type: ignore[operator]
    y.sum().backward()


def test_a_write_to_another_tensor_of_the_file_is_no_write(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_safetensors({"a": np.ones(3, np.float32), "b": np.ones(3, np.float32)}, path)
    found = load_safetensors(path, mapped=True)
    a = found["a"].requires_grad_()
    y = (a * a).sum()
    found["b"] += 1
    y.backward()
    assert a.grad is not None
    assert a.grad.tolist() == [2.0, 2.0, 2.0]


def test_all_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "w"
    model = create_model("lenet5")
    state = values(model)
    state["conv1.weigth"] = state.pop("conv1.weight")
    state["conv2.weight"] = state["conv2.weight"][:, :3]
    state["more"] = np.zeros(3)
    save_file(state, path)
    before = values(model)
    with pytest.raises(CheckpointError) as caught:
        cr.load_weights(model, path)
    text = str(caught.value)
    assert text.startswith(f"{path}: weights of another network than this LeNet5: of another shape")
    assert "conv2.weight is (16, 3, 5, 5), expected (16, 6, 5, 5)" in text
    assert "missing: conv1.weight (perhaps conv1.weigth)" in text
    assert "unexpected: conv1.weigth, more" in text
    assert same(before, values(model))
    state["conv2.weight"] = before["conv2.weight"]
    save_file(state, path)
    loaded = cr.load_weights(model, path, strict=False)
    assert loaded == (["conv1.weight"], ["conv1.weigth", "more"], [])


def test_other_classes_keep_the_backbone_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "w"
    one, other = create_model("resnet20", 10), create_model("resnet20", 3)
    cr.save_weights(one, path)
    before = values(other)
    with pytest.warns(UserWarning, match="fc keeps its first values: the file has 10 classes, not"):
        loaded = cr.load_weights(other, path)
    assert loaded.kept == ["fc.weight", "fc.bias"]
    after = values(other)
    for key, value in values(one).items():
        wanted = before[key] if key.startswith("fc.") else value
        np.testing.assert_array_equal(after[key], wanted)
    # All classifiers of a network with several; and a file without the auxiliary ones.
    path2 = tmp_path / "g"
    cr.save_weights(create_model("googlenet", 4), path2)
    with pytest.warns(UserWarning, match=r"aux1\.fc2, aux2\.fc2, fc keeps"):
        cr.load_weights(create_model("googlenet", 2), path2)
    found = cr.load_weights(create_model("googlenet", 4, aux_logits=False), path2)
    assert found.missing == []
    assert {name.split(".")[0] for name in found.unexpected} == {"aux1", "aux2"}


def test_a_model_on_meta_needs_everything(tmp_path: Path) -> None:
    path = tmp_path / "w"
    cr.save_weights(create_model("resnet20", 10), path)
    with cr.device("meta"):
        other = create_model("resnet20", 3)
    with pytest.raises(CheckpointError, match=r"on device 'meta'.*missing: fc\.weight, fc\.bias"):
        cr.load_weights(other, path)
    assert all(p.is_meta for p in other.parameters())


def test_dtypes_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "w"
    weight = np.array([[1.5, -2.0], [0.25, 3.0]])
    for kind in ("f2", "f4", "f8", "i4"):
        save_file({"weight": weight.astype(kind), "bias": np.ones(2, kind)}, path)
        layer = cr.nn.Linear(2, 2)
        cr.load_weights(layer, path)
        assert layer.weight.dtype == np.float32
        np.testing.assert_array_equal(layer.weight.detach().numpy(), weight.astype(kind))
    bits = (weight.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    entry = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}
    header = json.dumps({"weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bits)
    layer = cr.nn.Linear(2, 2, bias=False)
    cr.load_weights(layer, path)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), weight)


@pytest.mark.parametrize("form", SAVERS)
def test_a_file_cut_anywhere_changes_nothing(form: str, tmp_path: Path) -> None:
    path = tmp_path / "w"
    SAVERS[form](create_model("lenet5"), path)
    whole = path.read_bytes()
    model = create_model("lenet5")
    before = values(model)
    for cut in [0, 1, 7, 8, 9, 100, *range(1000, len(whole), 20_011), len(whole) - 1]:
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=str(path)):
            cr.load_weights(model, path)
    assert same(before, values(model))


def test_what_is_in_front_of_every_name_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    model = create_model("lenet5")
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    save_torch(state, path)
    assert list(read_weights(path)) == list(model.state_dict())


def test_timms_names_fit_vgg(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with cr.device("meta"):
        names = {k: v.shape for k, v in create_model("vgg11", 2).state_dict().items()}
    theirs = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2"}
    theirs["classifier.6"] = "head.fc"
    shapes = {
        "pre_logits.fc1.weight": (4096, 512, 7, 7),
        "pre_logits.fc2.weight": (4096, 4096, 1, 1),
    }
    state = {}
    for name, shape in names.items():
        layer, _, kind = name.rpartition(".")
        new = f"{theirs.get(layer, layer)}.{kind}"
        state[new] = np.zeros(shapes.get(new, shape), np.float16)
    save_file(state, path)
    with cr.device("meta"):
        model = create_model("vgg11", 2)
    assert cr.load_weights(model, path) == ([], [], [])


def test_a_file_says_what_it_is_of(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    model = create_model("resnet20", 3, shortcut="B")
    cr.save_weights(model, path, classes=["a", "b", "c"], preprocessing={"mean": [0.5]})
    assert read_about(path) == {
        "model": {"name": "resnet20", "options": {"num_classes": 3, "shortcut": "B"}},
        "classes": ["a", "b", "c"],
        "preprocessing": {"mean": [0.5]},
    }
    found = load_model(path)
    assert not found.training
    assert same(values(model), values(found))
    assert read_shapes(path)["fc.weight"] == ("F32", (3, 64))
    pattern = "[(CONV-RELU)*1-POOL]*1-SOFTMAX"
    cr.save_weights(create_model(pattern, 2, width=4), path)
    assert load_model(path).fc.out_features == 2
    cr.save_weights(cr.nn.Linear(2, 2), path)
    with pytest.raises(CheckpointError, match="does not say which network it is of"):
        load_model(path)
    assert read_about(path) == {"model": {"class": "Linear"}}
    save_safetensors({"a": np.ones(1)}, path, {METADATA: "{"})
    with pytest.raises(CheckpointError, match="unreadable notes"):
        read_about(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git-lfs"),
        (b"", "the file is empty"),
        (b"\x00" * 100, "not a whole safetensors file"),
        (b"\x80\x02K\x01.", "a pickle that torch.save did not write"),
        (b"\x80\x02garbage", "no file of PyTorch's"),
        (b"x" * 257 + b"ustar" + b"x" * 300, "tar file"),
    ],
)
def test_other_files_are_named_for_what_they_are(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        cr.load_weights(cr.nn.Linear(1, 1), path)
    with pytest.raises(TypeError, match="load_weights: expected a Module"):
        cr.load_weights({}, path)  # type: ignore[arg-type]


def test_what_is_no_path_is_refused() -> None:
    model: Any = cr.nn.Linear(1, 1)
    for wrong in (None, 5, b"w"):
        with pytest.raises(TypeError, match="weights: expected a file's path"):
            cr.load_weights(model, wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="weights: expected a file's path"):
            load_model(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model\.load_state_dict takes tensors by name"):
        cr.load_weights(model, model.state_dict())
    with pytest.raises(TypeError, match=r"save_torch: expected tensors by name, .*Linear"):
        cr.save_torch(model, "never.pth")


def test_zip_archives_that_are_not_pytorchs(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(CheckpointError, match="none of PyTorch's"):
        load_torch(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr("m/constants.pkl", b"\x80\x02).")
    with pytest.raises(CheckpointError, match="TorchScript"):
        load_torch(path)


def piece(storage: str, offset: int, shape: str, strides: str, count: int = 4) -> bytes:
    """A pickled tensor by hand, so that its numbers can lie."""
    return (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage"
        b"ctorch\n" + storage.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK"
        + bytes([count]) + b"tQK" + bytes([offset]) + shape.encode("latin1")
        + strides.encode("latin1") + b"\x89}tRs."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (piece("FloatStorage", 0, "K\x05\x85", "K\x01\x85"), "beyond its storage"),
        (piece("FloatStorage", 2, "K\x03\x85", "K\x01\x85"), "beyond its storage"),
        (piece("FloatStorage", 0, "K\x02\x85", "K\x04\x85"), "beyond its storage"),
        (piece("FloatStorage", 0, "K\xff\x85", "K\x00\x85"), "beyond its storage"),
        (piece("FloatStorage", 0, "K\x02K\x02\x86", "K\x01\x85"), "other strides than sizes"),
        (piece("FloatStorage", 0, "J\xff\xff\xff\xff\x85", "K\x01\x85"), "no whole numbers"),
        (piece("ComplexFloatStorage", 0, "K\x02\x85", "K\x01\x85"), "ComplexFloatStorage"),
        (piece("FloatStorage", 0, "K\x02\x85", "K\x01\x85", 200), "missing or cut short"),
    ],
)
def test_tensors_whose_numbers_lie_are_refused(text: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "w"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", text)
        archive.writestr("m/data/0", np.arange(4, dtype=np.float32).tobytes())
    with pytest.raises(CheckpointError, match=reason):
        load_torch(path)
    good = piece("FloatStorage", 1, "K\x02\x85", "K\x02\x85")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", good)
        archive.writestr("m/data/0", np.arange(4, dtype=np.float32).tobytes())
    assert load_torch(path)["w"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "header",
    [
        '{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        '{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        '{"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        '{"w": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}',
        '{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "w": {}}',
        '{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, '
        '"v": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        '{"w": {"dtype": "F32", "data_offsets": [0, 4]}}',
        '{"w": 3}', "[]", "3", '{"w"', '{"__metadata__": {"a": 3}}', "[" * 50_000,
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(header: str, tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
    for mapped in (False, True):
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            load_safetensors(path, mapped)


def test_saving_for_torch_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"old")

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        save_torch({"a": np.ones(3)}, path)
    assert path.read_bytes() == b"old"
    with pytest.raises(TypeError, match="under 'a'"):
        save_torch({"a": np.ones(3, np.complex64)}, path)
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
