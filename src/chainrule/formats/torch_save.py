"""Writing tensors so that PyTorch reads them, without PyTorch."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure
from chainrule.formats.atomic import replaced

_STORAGES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage",
    "uint8": "ByteStorage", "bool": "BoolStorage",
}  # fmt: skip
ALIGNMENT = 64  # of each storage in the file, as PyTorch maps it


def save_torch(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write tensors (or arrays) by name so that `torch.load` reads them, whole or not at all.

    PyTorch gets an OrderedDict, what `state_dict()` gives there; `weights_only=True` reads it.
    Values are stored in logical (C) order.  Raises TypeError for what is no array of numbers or of
    a dtype that PyTorch lacks, OSError if the disk refuses.

    >>> import tempfile, pathlib
    >>> import chainrule as cr
    >>> from chainrule.formats import load_torch
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "w.pth"
    >>> save_torch(cr.nn.Linear(2, 1).state_dict(), path)
    >>> list(load_torch(path))
    ['weight', 'bias']
    """
    if not isinstance(state, Mapping):
        raise failure(
            "save_torch",
            "tensors by name, such as model.state_dict()",
            error=KindError,
            state=type(state),
        )
    arrays = {str(name): _logical(str(name), value) for name, value in state.items()}
    with replaced(path) as file, zipfile.ZipFile(file, "w") as archive:
        _store(archive, "archive/data.pkl", _pickled(arrays))
        _store(archive, "archive/byteorder", b"little")
        for key, array in enumerate(arrays.values()):
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            _store(archive, f"archive/data/{key}", little.reshape(-1).view(np.uint8).data)
        _store(archive, "archive/version", b"3\n")


def _logical(name: str, value: Any) -> Array:
    array = value.array if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray | np.generic) or array.dtype.name not in _STORAGES:
        rule = f"an array of {', '.join(_STORAGES)} under {name!r}"
        raise failure("save_torch", rule, error=KindError, value=value)
    return np.ascontiguousarray(array).reshape(array.shape)


def _store(archive: zipfile.ZipFile, name: str, content: Any) -> None:
    """Add a file, uncompressed, whose content begins at a multiple of the alignment."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    size = len(content)
    wide = 20 if size >= zipfile.ZIP64_LIMIT else 0
    at = archive.start_dir + 30 + len(name) + wide + 4
    padding = -at % ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    archive.writestr(info, content, zipfile.ZIP_STORED)


def _pickled(arrays: Mapping[str, Array]) -> bytes:
    """Write the pickle, of protocol 2: an OrderedDict of tensors whose storages lie beside it."""
    out = io.BytesIO()
    out.write(b"\x80\x02ccollections\nOrderedDict\n)R(")
    for key, (name, array) in enumerate(arrays.items()):
        _text(out, name)
        out.write(b"ctorch._utils\n_rebuild_tensor_v2\n((")
        _text(out, "storage")
        out.write(f"ctorch\n{_STORAGES[array.dtype.name]}\n".encode())
        _text(out, str(key))
        _text(out, "cpu")
        _number(out, array.size)
        out.write(b"tQ")
        _number(out, 0)
        for sizes in (array.shape, _strides(array.shape)):
            out.write(b"(")
            for size in sizes:
                _number(out, size)
            out.write(b"t")
        out.write(b"\x89ccollections\nOrderedDict\n)RtR")
    out.write(b"u.")
    return out.getvalue()


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    found, step = [], 1
    for size in reversed(shape):
        found.append(step)
        step *= max(1, size)
    return tuple(reversed(found))


def _text(out: io.BytesIO, text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    out.write(b"X" + struct.pack("<I", len(raw)) + raw)


def _number(out: io.BytesIO, value: int) -> None:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    out.write(b"\x8a" + bytes([len(raw)]) + raw)
