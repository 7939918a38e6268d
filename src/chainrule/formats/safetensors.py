"""State dicts in safetensors files: names, shapes, numbers, and nothing that can run.

Format: https://github.com/huggingface/safetensors (8 bytes of header length, JSON, raw data).
Files are written by its library and read by our own code: the library copies every value, and
cannot give bfloat16 to NumPy.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
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
    "BF16": "<u2",
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


def load_safetensors(path: str | os.PathLike[str], mapped: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, by name, as `load_state_dict` takes them.

    bfloat16 becomes float32, exactly.  With `mapped` the values stay in the file until they are
    used, and what is written to them stays in memory: no second copy is made, and the file must
    not be changed in place while they live.  Raises CheckpointError, with the file's name, for a
    file that is damaged, cut short or of another format, FileNotFoundError where there is none.

    >>> load_safetensors("absent.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'absent.safetensors'
    """
    with open(path, "rb") as file:
        header = _Header.read(path, file)
        data: Any = np.fromfile(file, np.uint8) if not mapped else _mapped(file, header)
    if len(data) < header.total - header.start:
        raise _damaged(path, "it became shorter while it was read", len(data) + header.start)
    return {name: Tensor(_decode(data, entry)) for name, entry in sorted(header.entries.items())}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the text kept in a safetensors file's header; {} if there is none.

    Raises CheckpointError for a file without a readable header.  For an example see
    `save_safetensors`.
    """
    with open(path, "rb") as file:
        return _Header.read(path, file).metadata


def read_shapes(path: str | os.PathLike[str]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Read the kinds and shapes of a safetensors file's tensors, and none of their values.

    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "w.safetensors"
    >>> save_safetensors({"weight": np.zeros((2, 3), np.float32)}, path)
    >>> read_shapes(path)
    {'weight': ('F32', (2, 3))}
    """
    with open(path, "rb") as file:
        entries = _Header.read(path, file).entries
    return {name: (entry.kind, entry.shape) for name, entry in sorted(entries.items())}


def _mapped(file: Any, header: _Header) -> Any:
    """Map the data copy-on-write: pages are read when they are touched."""
    if header.total == header.start:
        return memoryview(b"")
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))[header.start :]


class _Entry(NamedTuple):
    """Where a tensor lies, counted from the end of the header."""

    kind: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _Header(NamedTuple):
    """What a file holds, checked: every byte after the header belongs to one tensor."""

    entries: dict[str, _Entry]
    metadata: dict[str, str]
    start: int
    total: int

    @classmethod
    def read(cls, path: Any, file: Any) -> _Header:
        """Read the header, and leave the file where the data begins."""
        total = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if total < 8 or length > min(_HEADER_LIMIT, total - 8):
            raise _damaged(path, f"no header of {length:,} bytes", total)
        try:
            found = json.loads(file.read(length), object_pairs_hook=_once)
            metadata = found.pop("__metadata__", {})
            entries = {name: _entry(path, name, value) for name, value in found.items()}
            if not all(isinstance(v, str) for v in metadata.values()):
                raise ValueError("metadata that is not text")
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
            raise _damaged(path, f"no readable header: {error}", total) from error
        _check_places(path, entries, total - 8 - length, total)
        return cls(entries, metadata, 8 + length, total)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _entry(path: Any, name: str, value: Any) -> _Entry:
    kind, shape, (begin, end) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"sizes of {name!r} are no whole numbers from 0")
    if kind not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise CheckpointError(f"{path}: {name!r} is stored as {kind}; readable are {known}")
    if end - begin != prod(shape) * np.dtype(_DTYPES[kind]).itemsize:
        raise ValueError(f"{name!r} has {end - begin} bytes for the shape {shape}")
    return _Entry(kind, shape, begin, end)


def _check_places(path: Any, entries: dict[str, _Entry], size: int, total: int) -> None:
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != at:
            raise _damaged(path, f"{name!r} begins at {entry.begin:,}, not at {at:,}", total)
        at = entry.end
    if at != size:
        raise _damaged(path, f"{at:,} bytes of data are announced and {size:,} are there", total)


def _damaged(path: Any, reason: str, size: int) -> CheckpointError:
    return CheckpointError(f"{path}: not a whole safetensors file ({reason}; {size:,} bytes)")


def _decode(data: Any, entry: _Entry) -> Array:
    dtype = np.dtype(_DTYPES[entry.kind])
    if not prod(entry.shape):
        return np.zeros(entry.shape, dtype if entry.kind != "BF16" else np.float32)
    # A buffer of its own for each, so that a write to one tensor is none to the others.
    raw = np.frombuffer(memoryview(data)[entry.begin : entry.end], np.uint8)
    if raw.ctypes.data % dtype.itemsize:
        raw = raw.copy()
    array: Array = raw.view(dtype).reshape(entry.shape)
    if entry.kind == "BF16":
        return from_bfloat16(array)
    return array.astype(dtype.newbyteorder("="), copy=False)


def from_bfloat16(bits: Array) -> Array:
    """Widen bfloat16, given as uint16, to float32: it is the upper half of one.

    >>> import numpy as np
    >>> from_bfloat16(np.array([0x3F80, 0xC000], np.uint16)).tolist()
    [1.0, -2.0]
    """
    wide: Array = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide
