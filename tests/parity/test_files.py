"""Files of weights between PyTorch and us, both ways."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import chainrule as cr
from chainrule.errors import CheckpointError
from chainrule.formats import load_torch, read_weights, save_torch

torch.manual_seed(0)
STATE: dict[str, torch.Tensor] = {
    "plain": torch.randn(3, 4),
    "transposed": torch.randn(4, 3).t(),
    "strided": torch.randn(10)[2:7:2],
    "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "bfloat16": torch.randn(5).bfloat16(),
    "half": torch.randn(5).half(),
    "double": torch.randn(2, dtype=torch.float64),
    "long": torch.arange(5),
    "int8": torch.arange(-2, 3, dtype=torch.int8),
    "bytes": torch.arange(4, dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "empty": torch.empty(0, 3),
    "number": torch.tensor(3.5),
    "parameter": torch.nn.Parameter(torch.randn(2)),
}
SHARED = torch.randn(6)
STATE |= {"first half": SHARED[:3], "second half": SHARED[3:]}


def values(tensor: torch.Tensor) -> np.ndarray:
    t = tensor.detach()
    return (t.float() if t.dtype == torch.bfloat16 else t).numpy()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_torch_saves_is_read(zipped: bool, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    checkpoint = {
        "state_dict": collections.OrderedDict(STATE),
        "epoch": 3,
        "rate": 1e-3,
        "list": [torch.ones(2), (torch.zeros(1), "x", None)],
        "size": torch.Size([1, 2]),
        "large": 2**80,
    }
    torch.save(checkpoint, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = load_torch(path)
    assert (found["epoch"], found["rate"], found["size"], found["large"]) == (
        3,
        1e-3,
        (1, 2),
        2**80,
    )
    assert found["list"][0].tolist() == [1.0, 1.0]
    assert found["list"][1][1:] == ("x", None)
    for state in (found["state_dict"], read_weights(path)):
        assert list(state) == list(STATE)
        for name, tensor in STATE.items():
            wanted = values(tensor)
            assert state[name].dtype == wanted.dtype, name
            np.testing.assert_array_equal(state[name].numpy(), wanted, err_msg=name)


@pytest.mark.parametrize("zipped", [True, False])
def test_whole_networks_are_refused_by_name(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"would call torch\.nn\.modules\.linear\.Linear"):
        load_torch(path)


@pytest.mark.parametrize(
    "options", [{"weights_only": True}, {"weights_only": False}, {"mmap": True}]
)
def test_what_we_save_torch_loads(options: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    cr.manual_seed(0)
    state = {
        "plain": cr.randn(3, 4),
        "transposed": cr.randn(3, 4).T,
        "half": cr.randn(2).to(cr.float16),
        "long": cr.arange(5),
        "bool": cr.tensor([True, False]),
        "empty": cr.zeros(0, 3),
        "number": cr.tensor(2.0),
        "größe": cr.ones(1),
        "large": cr.randn(300, 70),
    }
    save_torch(state, path)
    found = torch.load(path, **options)
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert tuple(found[name].shape) == tensor.shape
        np.testing.assert_array_equal(found[name].numpy(), tensor.numpy())


def test_a_network_there_and_back(tmp_path: Path) -> None:
    ours = cr.create_model("resnet20", 4)
    save_torch(ours.state_dict(), tmp_path / "a.pth")
    state = torch.load(tmp_path / "a.pth")
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "b.pth")
    with cr.device("meta"):
        other = cr.create_model("resnet20", 4)
    assert cr.load_weights(other, tmp_path / "b.pth") == ([], [], [])
    for (name, a), (_, b) in zip(
        ours.state_dict().items(), other.state_dict().items(), strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=name)
