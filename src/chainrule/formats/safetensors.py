"""State dicts in safetensors files: names, shapes, numbers, and nothing that can run.

Format: https://github.com/huggingface/safetensors (8 bytes of header length, JSON, raw data).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import CheckpointError, KindError, failure
from chainrule.formats.atomic import write_atomic

_DTYPES = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
_HEADER_LIMIT = 100_000_000  # the format's own bound


def save_safetensors(
    state: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors (or arrays) by name into one safetensors file, whole or not at all.

    Values are stored in logical (C) order whatever their layout in memory; shared tensors are
    written once for each name.  `metadata` is text kept in the header.  Raises TypeError for a
    value that is no array of numbers, OSError if the disk refuses.

    >>> import tempfile, pathlib
    >>> import chainrule as cr
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "w.safetensors"
    >>> save_safetensors({"weight": cr.tensor([1.0, 2.0])}, path, {"epoch": "3"})
    >>> load_safetensors(path)["weight"], read_metadata(path)
    (tensor([1.0, 2.0]), {'epoch': '3'})
    """
    arrays = {str(name): _logical(name, value) for name, value in state.items()}
    write_atomic(path, save(arrays, metadata=dict(metadata) if metadata else None))


def _logical(name: str, value: Any) -> Array:
    array = value.array if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray | np.generic) or array.dtype.kind not in "biuf":
        rule = f"an array of numbers under {name!r}"
        raise failure("save_safetensors", rule, error=KindError, value=value)
    # the library reads memory from the first byte on, so strides must be C's
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, by name, as `load_state_dict` takes them.

    bfloat16 becomes float32, exactly.  Raises CheckpointError, with the file's name, for a file
    that is damaged, cut short or of another format, FileNotFoundError where there is none.

    >>> load_safetensors("absent.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'absent.safetensors'
    """
    content = Path(path).read_bytes()
    try:
        entries = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing: ")
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({reason}; {len(content):,} bytes)"
        ) from error
    return {name: Tensor(_decode(path, name, entry)) for name, entry in sorted(entries)}


def _decode(path: Any, name: str, entry: Mapping[str, Any]) -> Array:
    kind, shape = entry["dtype"], tuple(entry["shape"])
    if kind == "BF16":  # the upper half of a float32
        bits = np.frombuffer(entry["data"], "<u2").astype(np.uint32)
        return (bits << np.uint32(16)).view(np.float32).reshape(shape)
    if kind not in _DTYPES:
        known = ", ".join([*_DTYPES, "BF16"])
        raise CheckpointError(f"{path}: {name!r} is stored as {kind}; readable are {known}")
    array = np.frombuffer(entry["data"], _DTYPES[kind]).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the text kept in a safetensors file's header; {} if there is none.

    Raises CheckpointError for a file without a readable header.  For an example see
    `save_safetensors`.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(size) if size <= _HEADER_LIMIT else b""
    try:
        header = json.loads(text)
        return {str(k): str(v) for k, v in header.get("__metadata__", {}).items()}
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: no readable safetensors header") from error
