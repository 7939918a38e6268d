"""Checkpoints: the whole state of a training in one file, arrays and JSON, never a pickle.

A file is written under a temporary name, forced to the disk and renamed, so that it is whole or
absent; older ones go only after that.  A state is a tree of dictionaries and lists; its arrays lie
in the file as tensors under their path, the rest as JSON in the file's header.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import CheckpointError
from chainrule.formats.atomic import leftovers
from chainrule.formats.safetensors import load_safetensors, read_metadata, save_safetensors

FOLDER, ENDING = "checkpoints", ".safetensors"
_STATE = "state"
_ARRAY, _NUMBER = "@array", "@number"  # keys that stand for an array, for NaN or infinity
_NAME = re.compile(r"step-(\d{10})\.safetensors")


def save_checkpoint(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state; raises OSError if the disk refuses, with the file that was there kept.

    >>> import tempfile, pathlib, numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> save_checkpoint({"step": 3, "model": {"w": np.ones(2)}}, path)
    >>> load_checkpoint(path)
    {'step': 3, 'model': {'w': array([1., 1.])}}
    """
    arrays: dict[str, Array] = {}
    text = json.dumps(_split(state, "", arrays), allow_nan=False)
    save_safetensors(arrays, path, {_STATE: text})


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; raises CheckpointError, naming it, for anything else.

    >>> load_checkpoint("absent.safetensors")
    Traceback (most recent call last):
    chainrule.errors.CheckpointError: absent.safetensors: no such file
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"{path}: no such file")
    arrays = {name: value.array for name, value in load_safetensors(path).items()}
    try:
        tree = json.loads(read_metadata(path)[_STATE])
        joined = _join(tree, arrays)
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of a training ({error})") from error
    if not isinstance(joined, dict):
        raise CheckpointError(f"{path}: not a checkpoint of a training")
    return joined


def _split(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """Give the tree with the paths of its arrays in their places."""
    if isinstance(value, Tensor):
        value = value.array
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {_ARRAY: path}
    if isinstance(value, Mapping):
        return {
            str(k): _split(v, f"{path}/{k}" if path else str(k), arrays) for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}/{i}", arrays) for i, item in enumerate(value)]
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float) and not math.isfinite(plain):  # JSON has no word for these
        return {_NUMBER: repr(plain)}
    return plain


def _join(value: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        if value.keys() == {_NUMBER}:
            return float(value[_NUMBER])
        return {key: _join(item, arrays) for key, item in value.items()}
    return [_join(item, arrays) for item in value] if isinstance(value, list) else value


class Checkpoints:
    """The checkpoints of a run: the last `keep` of them, named by their number of steps."""

    def __init__(self, run: str | os.PathLike[str], keep: int = 2) -> None:
        self.folder = Path(run) / FOLDER
        self.keep = keep

    def paths(self) -> list[Path]:
        """List the files, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, reverse=True)

    def save(self, state: Mapping[str, Any], steps: int) -> Path:
        """Write the state after so many steps, then remove what is older than the last `keep`."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"step-{steps:010}{ENDING}"
        save_checkpoint(state, path)
        older = [other for other in self.paths() if other != path and other.name < path.name]
        for other in older[self.keep - 1 :]:
            other.unlink(missing_ok=True)
        return path

    def tidy(self) -> None:
        """Remove what a killed save left."""
        if self.folder.is_dir():
            for path in leftovers(self.folder, ("step-*",)):
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all of them, and what a killed save left."""
        if not self.folder.is_dir():
            return
        self.tidy()
        for path in self.paths():
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def newest(self) -> tuple[dict[str, Any], Path, list[str]]:
        """Give the newest state that can be read, its file, and what was wrong with newer ones.

        Raises CheckpointError where there is none.
        """
        damaged: list[str] = []
        for path in self.paths():
            try:
                return load_checkpoint(path), path, damaged
            except CheckpointError as error:
                damaged.append(str(error))
        if damaged:
            raise CheckpointError(f"{self.folder}: no checkpoint can be read: {damaged[0]}")
        raise CheckpointError(f"{self.folder.parent}: no checkpoint to go on from")
