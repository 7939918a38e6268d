"""Copying a state dict into a module: everything is checked before anything is written."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.tensor import Tensor, mark_written
from chainrule.errors import CheckpointError, KindError, failure
from chainrule.nn.parameter import UninitializedParameter


class Keys(NamedTuple):
    """What `load_state_dict(strict=False)` could not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_state(module: Any, state: Mapping[str, Any], strict: bool) -> Keys:
    """Copy values in by name; see `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise failure(
            "load_state_dict", "a mapping of names to tensors", error=KindError, state=type(state)
        )
    own: dict[str, Tensor] = module.state_dict()
    optional = _optional(module)
    missing = [key for key in own if key not in state and key not in optional]
    unexpected = [key for key in state if key not in own]
    arrays = {key: _array(key, state[key]) for key in own if key in state}
    waiting = _without_shape(module)
    shapes = [
        f"{key} is {array.shape}, expected {own[key].shape}"
        for key, array in arrays.items()
        if array.shape != own[key].shape and key not in waiting
    ]
    lost = (missing, unexpected) if strict else ([], [])
    refuse(f"load_state_dict: this state belongs to another {type(module).__name__}", shapes, *lost)
    for key, array in arrays.items():
        target = own[key]
        if key in waiting and array.shape != target.shape:
            target = waiting[key]
            waiting[key].materialize(array.shape)
        target.array[...] = array
        mark_written(target)
    return Keys(missing, unexpected)


MOST = 12
"""So many names of a kind are told one by one."""


def refuse(what: str, shapes: list[str], missing: list[str], unexpected: list[str]) -> None:
    """Raise CheckpointError if anything is wrong, all of it at once, with the nearest names."""
    wrong = [f"of another shape: {_some(shapes, '; ')}"] if shapes else []
    if missing:
        wrong.append(f"missing: {_some([_hinted(key, unexpected) for key in missing], ', ')}")
    if unexpected:
        wrong.append(f"unexpected: {_some(unexpected, ', ')}")
    if wrong:
        raise CheckpointError(f"{what}: {'; '.join(wrong)}")


def _some(names: list[str], between: str) -> str:
    more = f"{between}and {len(names) - MOST} more" if len(names) > MOST else ""
    return between.join(names[:MOST]) + more


def _hinted(key: str, unexpected: list[str]) -> str:
    """Add the name that comes nearest, of those that nothing here has."""
    near = difflib.get_close_matches(key, unexpected[:1000], n=1, cutoff=0.8)
    return f"{key} (perhaps {near[0]})" if near else key


def _array(key: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        value._need_data(f"load_state_dict: {key}")
    array = value.array if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise failure("load_state_dict", f"numbers for {key!r}", error=KindError, value=array)
    return array


def _without_shape(module: Any) -> dict[str, UninitializedParameter]:
    """Name the parameters that take the shape of what is loaded, since they have none yet."""
    named = module.named_parameters(remove_duplicate=False)
    return {name: p for name, p in named if isinstance(p, UninitializedParameter)}


def _optional(module: Any) -> set[str]:
    """Name the state that older files lack and that keeps its value then."""
    return {
        f"{path}.{name}" if path else name
        for path, owner in module.named_modules()
        for name in owner.optional_state
    }
