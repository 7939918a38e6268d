from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import CheckpointError
from chainrule.formats import save_safetensors
from chainrule.training.checkpoint import Checkpoints, load_checkpoint, save_checkpoint


def state(step: int = 3) -> dict[str, Any]:
    return {
        "model": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(7)},
        "optimizer": {
            "state": {"w": {"step": 4, "exp_avg": np.ones(3)}},
            "param_groups": [{"lr": 0.1}],
        },
        "rows": [{"epoch": 1, "loss": 1 / 3}],
        "step": step,
        "none": None,
        "text": "ü",
        "deep": [[np.zeros(2), 1], {"x": True}],
    }


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    save_checkpoint(state(), tmp_path / "a.safetensors")
    same(load_checkpoint(tmp_path / "a.safetensors"), state())


def test_tensors_and_numpy_numbers_become_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint({"t": cr.tensor([1.0]), "n": np.float64(0.1), "k": (1, 2)}, path)
    same(load_checkpoint(path), {"t": np.ones(1, np.float32), "n": 0.1, "k": [1, 2]})


def test_numbers_that_are_not_finite_come_back(tmp_path: Path) -> None:
    """An overconfident network has an infinite likelihood loss: no reason to lose its training."""
    path = tmp_path / "a.safetensors"
    save_checkpoint({"rows": [{"nll": math.inf, "ece": math.nan}, -math.inf]}, path)
    found = load_checkpoint(path)["rows"]
    assert found[0]["nll"] == math.inf
    assert math.isnan(found[0]["ece"])
    assert found[1] == -math.inf


def test_what_a_killed_save_left_goes(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(state(1), 1)
    (tmp_path / "checkpoints" / ".step-0000000002.safetensors.0a0a0a0a.tmp").write_bytes(b"half")
    kept.tidy()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-0000000001.safetensors"]


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_checkpoint(path)
    save_safetensors({"w": np.ones(2)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(path)
    for text in ("[" * 100_000, "[1]", "{", '{"a": {"@array": "absent"}}'):
        save_safetensors({"w": np.ones(2)}, path, {"state": text})
        with pytest.raises(CheckpointError, match=r"a\.safetensors: not a checkpoint"):
            load_checkpoint(path)


def test_the_last_ones_are_kept_and_the_newest_readable_is_found(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, keep=2)
    with pytest.raises(CheckpointError, match="no checkpoint to go on from"):
        kept.newest()
    for step in (1, 2, 3):
        kept.save(state(step), step)
    assert [path.name for path in kept.paths()] == [
        "step-0000000003.safetensors",
        "step-0000000002.safetensors",
    ]
    found, path, damaged = kept.newest()
    assert (found["step"], path.name, damaged) == (3, "step-0000000003.safetensors", [])
    path.write_bytes(path.read_bytes()[:-3])
    found, path, damaged = kept.newest()
    assert found["step"] == 2
    assert "step-0000000003" in damaged[0]
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint can be read"):
        kept.newest()
    (tmp_path / "checkpoints" / ".step-0000000003.safetensors.0a0a0a0a.tmp").write_bytes(b"half")
    kept.clear()
    assert not (tmp_path / "checkpoints").exists()


def test_a_full_disk_keeps_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoints(tmp_path, keep=1)
    kept.save(state(1), 1)

    def refuse(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        kept.save(state(2), 2)
    assert kept.newest()[0]["step"] == 1
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-0000000001.safetensors"]
