"""Weights in and out of a network, whatever form the file has."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.tensor import Tensor, mark_written
from chainrule.errors import CheckpointError, KindError, failure
from chainrule.formats.safetensors import load_safetensors, read_metadata, save_safetensors
from chainrule.formats.torch_files import is_torch, load_torch
from chainrule.nn.linear import Linear
from chainrule.nn.loading import refuse
from chainrule.nn.module import Module

METADATA = "chainrule"
"""Under this name the header says what the weights are of, as JSON."""

_HOLDERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights", "params")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_LFS = b"version https://git-lfs"


class Loaded(NamedTuple):
    """What `load_weights` could not match: names that the file lacks, names that the model lacks.

    `kept` are those of classifiers for another number of classes, which keep their first values.
    """

    missing: list[str]
    unexpected: list[str]
    kept: list[str]


def read_weights(path: str | os.PathLike[str], mapped: bool = False) -> dict[str, Tensor]:
    """Read a file's tensors by name: safetensors, or what `torch.save` wrote of a state dict.

    A training checkpoint gives the weights in it (under "state_dict", "model", ...); "module." and
    the like in front of every name are left out.  Nothing in the file is run.  `mapped` leaves the
    values of safetensors in the file until they are used.  Raises CheckpointError, with the file's
    name, for files that hold no weights or are damaged.
    """
    start = first_bytes(path)
    if is_torch(start):
        return _bare(_tensors(path, load_torch(path)))
    if start.startswith(_LFS):
        raise CheckpointError(f"{path}: a pointer of git-lfs, not the weights: run git lfs pull")
    if re.match(rb"\s*<(!doctype|html|\?xml)", start, re.IGNORECASE):
        raise CheckpointError(f"{path}: a web page, not weights: the download went wrong")
    return _bare(load_safetensors(path, mapped))


def first_bytes(path: Any) -> bytes:
    """Give a file's first bytes, by which its form is told; CheckpointError for an empty one."""
    if not isinstance(path, str | os.PathLike):
        hint = "model.load_state_dict takes tensors by name" if isinstance(path, Mapping) else ""
        raise failure("weights", "a file's path", error=KindError, hint=hint, path=type(path))
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        raise CheckpointError(f"{path}: the file is empty")
    return start


def _tensors(path: Any, found: Any) -> dict[str, Tensor]:
    """Find the state dict in what a file holds."""
    for name in ("", *_HOLDERS):
        inner = found.get(name) if name and isinstance(found, dict) else found
        if isinstance(inner, dict) and inner:
            tensors = {str(k): v for k, v in inner.items() if isinstance(v, Tensor)}
            if tensors and (name or len(tensors) == len(inner)):
                return tensors
    holds = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
    raise CheckpointError(f"{path}: no state dict in it; it holds {holds}")


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what wrappers put in front of every name."""
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            return _bare({name.removeprefix(prefix): value for name, value in state.items()})
    return state


def load_weights(model: Module, path: str | os.PathLike[str], strict: bool = True) -> Loaded:
    """Read weights into a network, from safetensors or PyTorch's files, whole or not at all.

    torchvision's and timm's names fit the networks that have torchvision's shape.  Everything is
    checked before anything changes: CheckpointError tells all names that are missing, unexpected or
    of another shape at once, with the nearest; with `strict=False` only other shapes are errors.
    A classifier for another number of classes keeps its values, the rest is loaded, and a warning
    says so.  Values of safetensors of the parameters' dtype stay in the file until they are used;
    other dtypes are converted.  A model made under `cr.device("meta")` gets its memory here.

    >>> import tempfile, pathlib
    >>> import chainrule as cr
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "lenet.safetensors"
    >>> save_weights(cr.create_model("lenet5"), path)
    >>> load_weights(cr.create_model("lenet5"), path)
    Loaded(missing=[], unexpected=[], kept=[])
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     load_weights(cr.create_model("lenet5", num_classes=3), path).kept
    ['fc2.weight', 'fc2.bias']
    """
    if not isinstance(model, Module):
        raise failure("load_weights", "a Module", error=KindError, model=type(model))
    state = _renamed(model, read_weights(path, mapped=True))
    own = _targets(model)
    optional = {key for key in own if key.endswith(".num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in optional]
    spare = tuple(f"{name}." for name in getattr(model, "spare", ()))
    extra = [key for key in state if key not in own]
    unexpected = [key for key in extra if not key.startswith(spare or ("\0",))]
    other = [key for key in own if key in state and state[key].shape != own[key].shape]
    kept = _classifiers(model, own, state, other)
    shapes = [
        f"{key} is {state[key].shape}, expected {own[key].shape}"
        for key in other
        if key not in kept
    ]
    what = f"{path}: weights of another network than this {type(model).__name__}"
    refuse(what, shapes, *((missing, unexpected) if strict else ([], [])))
    _check_values(path, own, state, [*missing, *kept])
    for key, target in own.items():
        if key in state and key not in kept:
            _take(target, state[key].array)
    if kept:
        _tell(own, state, kept)
    return Loaded(missing, extra, kept)


def _renamed(model: Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give other projects' names and shapes the network's own, where it knows them."""
    rename = getattr(model, "foreign_state", None)
    renamed: dict[str, Tensor] = state if rename is None else rename(state)
    return renamed


def _targets(model: Module) -> dict[str, Tensor]:
    """Give every tensor of a state dict, the very object and not a view, by its names."""
    wanted = model.state_dict()
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    found = dict(named)
    return {key: found[key] for key in wanted}


def _classifiers(
    model: Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], other: list[str]
) -> list[str]:
    """Name what differs only in the number of classes: rows of dense layers, equally many."""
    counts = set()
    for key in other:
        ours, theirs = own[key].shape, state[key].shape
        layer = model.get_submodule(key.rpartition(".")[0])
        if not isinstance(layer, Linear) or ours[1:] != theirs[1:] or not theirs:
            return []
        counts.add((ours[0], theirs[0]))
    return other if len(counts) == 1 else []


def _check_values(
    path: Any, own: Mapping[str, Tensor], state: Mapping[str, Tensor], left: Iterable[str]
) -> None:
    """Refuse what could not be written, before anything is."""
    for key, target in own.items():
        if key in state and target.dtype.kind == "b" and state[key].dtype.kind != "b":
            raise CheckpointError(f"{path}: {key} is {state[key].dtype}, expected bool")
    without = [key for key in left if own[key].is_meta]
    if without:
        refuse(f"{path}: the model is on device 'meta' and needs every value", [], without, [])


def _take(target: Tensor, array: np.ndarray[Any, Any]) -> None:
    """Give a tensor its values: the file's own memory where the dtypes agree."""
    if array.dtype == target.dtype and array.flags.c_contiguous:
        target.array = array
    else:
        target.array = np.ascontiguousarray(array.astype(target.dtype)).reshape(array.shape)
    target.is_meta = False
    mark_written(target)


def _tell(own: Mapping[str, Tensor], state: Mapping[str, Tensor], kept: list[str]) -> None:
    layers = ", ".join(sorted({key.rpartition(".")[0] for key in kept}))
    theirs, ours = state[kept[0]].shape[0], own[kept[0]].shape[0]
    text = f"load_weights: {layers} keeps its first values: the file has {theirs} classes, not"
    warnings.warn(f"{text} {ours}; all else is loaded", stacklevel=3)


def save_weights(
    model: Module,
    path: str | os.PathLike[str],
    *,
    classes: Iterable[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> None:
    """Write a network's weights into a safetensors file, whole or not at all, and what it is.

    The header keeps the name and arguments of a network from `create_model`, the `classes` in the
    order of the scores and the `preprocessing` its images need: `chainrule info FILE` shows them,
    `cr.models.load_model` builds the network from them.  Raises OSError if the disk refuses, and
    leaves an older file as it was.
    """
    if not isinstance(model, Module):
        raise failure("save_weights", "a Module", error=KindError, model=type(model))
    about: dict[str, Any] = {"model": getattr(model, "created", None)}
    if about["model"] is None:
        about["model"] = {"class": type(model).__name__}
    if classes is not None:
        about["classes"] = [str(name) for name in classes]
    if preprocessing is not None:
        about["preprocessing"] = dict(preprocessing)
    save_safetensors(model.state_dict(), path, {METADATA: json.dumps(about)})


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save_weights` noted: "model", "classes", "preprocessing"; {} in other files.

    >>> import tempfile, pathlib
    >>> import chainrule as cr
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "w.safetensors"
    >>> save_weights(cr.create_model("lenet5", 2), path, classes=["cat", "dog"])
    >>> read_about(path)["model"], read_about(path)["classes"]
    ({'name': 'lenet5', 'options': {'num_classes': 2}}, ['cat', 'dog'])
    """
    if is_torch(first_bytes(path)):
        return {}
    text = read_metadata(Path(path)).get(METADATA)
    try:
        found = json.loads(text) if text else {}
    except ValueError as error:
        raise CheckpointError(f"{path}: unreadable notes in its header") from error
    return found if isinstance(found, dict) else {}
