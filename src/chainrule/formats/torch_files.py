"""PyTorch's files of tensors, read and written without PyTorch; nothing in them runs.

Three forms: the zip archive of version 1.6 and later (`data.pkl`, and one file a storage), the row
of pickles before it, both read; the tar file before 0.1.10, which is refused by name.
"""

from __future__ import annotations

import errno
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import CheckpointError
from chainrule.formats.pickles import Name, read_pickle
from chainrule.formats.safetensors import from_bfloat16

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

_KINDS = {
    "float32": "<f4", "float": "<f4", "float64": "<f8", "double": "<f8", "float16": "<f2",
    "half": "<f2", "bfloat16": "<u2", "int64": "<i8", "long": "<i8", "int32": "<i4", "int": "<i4",
    "int16": "<i2", "short": "<i2", "int8": "<i1", "uint8": "<u1", "bool": "?", "uint16": "<u2",
    "uint32": "<u4", "uint64": "<u8",
}  # fmt: skip
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "UntypedStorage": "uint8",
}  # fmt: skip


class _Storage(NamedTuple):
    """A piece of memory that tensors share: its key, what its values are, and how many."""

    key: str
    kind: str
    length: int


class _Piece(NamedTuple):
    """A tensor before its storage is read: where it lies in it."""

    storage: _Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load_torch(path: str | os.PathLike[str]) -> Any:
    """Read what `torch.save` wrote: tensors in dicts, lists and tuples, numbers and text.

    Nothing is imported and nothing is run: a file that would call anything but the few functions
    that rebuild tensors is refused, with the name of what it would call.  bfloat16 becomes float32,
    exactly.  Raises CheckpointError, with the file's name, for that, for whole pickled networks
    (save their `state_dict()`), and for a file that is damaged or of another form.
    """
    with open(path, "rb") as file:
        start = file.read(512)
        file.seek(0)
        if start[:4] == b"PK\x03\x04":
            return _Archive(path, file).load()
        if start[257:262] == b"ustar":
            old = "PyTorch's tar file, from before 2017: load it with PyTorch and save it anew"
            raise CheckpointError(f"{path}: {old}")
        return _Row(path, file).load()


def is_torch(start: bytes) -> bool:
    """Tell by its first bytes whether a file is one of PyTorch's."""
    # A safetensors file begins with the length of its header, whose first byte may be any.
    pickled = start[:1] == b"\x80" and start[1:2] <= b"\x05" and start[8:9] != b"{"
    return start[:4] == b"PK\x03\x04" or pickled or start[257:262] == b"ustar"


class _Filler:
    """Puts tensors in the place of pieces, in whatever holds them, each holder once."""

    deepest = 200

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.done: dict[int, Any] = {}
        self.kept: list[Any] = []  # so that ids stay theirs

    def __call__(self, value: Any, depth: int = 0) -> Any:
        """Give the value with tensors in it."""
        if isinstance(value, _Piece):
            return self.reader.tensor(value)
        if not isinstance(value, dict | list | tuple):
            return value
        if id(value) in self.done:
            return self.done[id(value)]
        if depth > self.deepest:
            raise self.reader.error(f"nested more than {self.deepest} deep")
        self.kept.append(value)
        self.done[id(value)] = value
        if isinstance(value, dict):
            for key in list(value):
                value[key] = self(value[key], depth + 1)
        elif isinstance(value, list):
            value[:] = [self(part, depth + 1) for part in value]
        else:
            self.done[id(value)] = tuple([self(part, depth + 1) for part in value])
        return self.done[id(value)]


class _Reader:
    """What both forms share: names, tensors out of storages."""

    def __init__(self, path: Any, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.swapped = False
        self.arrays: dict[str, Array] = {}

    def known(self) -> Mapping[str, Callable[..., Any]]:
        """Give the functions that rebuild tensors, by PyTorch's names for them."""
        return {
            "torch._utils._rebuild_tensor": lambda *a: self._piece(*a[:4]),
            "torch._utils._rebuild_tensor_v2": lambda *a: self._piece(*a[:4]),
            "torch._utils._rebuild_tensor_v3": self._typed,
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
            "torch._tensor._rebuild_from_type_v2": self._of_type,
            "torch.Size": lambda sizes=(): tuple(sizes),
            "torch.device": lambda *parts: ":".join(map(str, parts)),
        }

    def _of_type(self, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
        """Rebuild what is a subclass only in name, or carries attributes."""
        if str(kind) not in (
            "torch.Tensor",
            "torch._tensor.Tensor",
            "torch.nn.parameter.Parameter",
        ):
            raise self.error(f"it holds a {kind}, which is refused")
        return self.known()[str(function)](*arguments)

    def _typed(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
        """Rebuild a tensor whose dtype is told beside its storage."""
        kind = str(rest[2]).removeprefix("torch.") if len(rest) > 2 else "?"
        if not isinstance(storage, _Storage) or kind not in _KINDS:
            raise self.error(f"a tensor of {kind}; readable are {', '.join(_KINDS)}")
        size = np.dtype(_KINDS[kind]).itemsize
        whole = _Storage(storage.key, kind, storage.length * _itemsize(storage.kind) // size)
        return self._piece(whole, offset, shape, strides)

    def _piece(self, storage: Any, offset: Any, shape: Any, strides: Any) -> _Piece:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, _Storage) or len(shape) != len(strides):
            raise self.error("a tensor without storage or with other strides than sizes")
        if not all(type(n) is int and n >= 0 for n in numbers):
            raise self.error("a tensor whose sizes are no whole numbers from 0")
        count = prod(shape)
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if count and (last >= storage.length or count > storage.length):
            raise self.error(f"a tensor {tuple(shape)} that reaches beyond its storage")
        return _Piece(storage, storage.kind, offset, tuple(shape), tuple(strides))

    def storage(self, key: Any) -> _Storage:
        """Read a persistent id: ("storage", class, key, device, count, ...)."""
        if isinstance(key, tuple) and key[:1] == ("module",) and len(key) > 1:
            rule = "which is refused: only tensors, containers, numbers and text are read"
            raise self.error(f"it would call {key[1]}, {rule}")
        if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
            raise self.error("a persistent id that is no storage")
        name = str(key[1]).rsplit(".", 1)[-1]
        kind = _STORAGES.get(name)
        if kind is None or not isinstance(key[1], Name):
            raise self.error(f"{key[1]} is stored; readable are {', '.join(_STORAGES)}")
        if type(key[4]) is not int or key[4] < 0:
            raise self.error("a storage whose size is no whole number from 0")
        return _Storage(str(key[2]), kind, key[4])

    def tensor(self, piece: _Piece) -> Tensor:
        """Cut a tensor out of its storage; its memory is its own."""
        dtype = np.dtype(_KINDS[piece.kind])
        raw = self.raw(piece.storage.key)
        raw = raw[: raw.size // dtype.itemsize * dtype.itemsize].view(dtype)
        if prod(piece.shape) == 0:
            array = np.zeros(piece.shape, dtype)
        else:
            strides = [s * dtype.itemsize for s in piece.strides]
            window = raw[piece.offset :]
            array = np.lib.stride_tricks.as_strided(window, piece.shape, strides)
        array = np.array(array)
        if self.swapped:
            array = array.byteswap()
        if piece.kind == "bfloat16":
            return Tensor(from_bfloat16(array))
        return Tensor(array.astype(dtype.newbyteorder("="), copy=False))

    def raw(self, key: str) -> Array:
        """Give a storage's bytes."""
        raise NotImplementedError

    def error(self, reason: str) -> CheckpointError:
        """Word a refusal."""
        return CheckpointError(f"{self.path}: {reason}")


def _itemsize(kind: str) -> int:
    return np.dtype(_KINDS[kind]).itemsize


# What zipfile raises for bytes that are no whole archive, places before its beginning among them.
_BROKEN = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, KeyError),
    *(OSError, zlib.error, struct.error),
)


class _Archive(_Reader):
    """The zip form."""

    def load(self) -> Any:
        """Read everything."""
        try:
            with zipfile.ZipFile(self.file) as archive:
                return self._load(archive)
        except CheckpointError:
            raise
        except _BROKEN as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise  # the disk's, not the file's
            raise self.error(f"not a whole file of PyTorch's ({error})") from error

    def _load(self, archive: zipfile.ZipFile) -> Any:
        names = archive.namelist()
        pickled = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise self.error("a zip archive, and none of PyTorch's: it has no data.pkl")
        self.root, self.archive = pickled[0].removesuffix("data.pkl"), archive
        if f"{self.root}constants.pkl" in names:
            raise self.error("a TorchScript program, which is refused: save its state_dict()")
        if f"{self.root}byteorder" in names:
            self.swapped = archive.read(f"{self.root}byteorder") == b"big"
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        self.sizes = sizes
        with archive.open(pickled[0]) as file:
            found = read_pickle(file, self.known(), self.storage, str(self.path))
        return _Filler(self)(found)

    def storage(self, key: Any) -> _Storage:
        """Check that the archive has as much as the pickle says."""
        found = super().storage(key)
        size = self.sizes.get(f"{self.root}data/{found.key}")
        if size is None or size < found.length * _itemsize(found.kind):
            raise self.error(f"storage {found.key} is missing or cut short")
        return found

    def raw(self, key: str) -> Array:
        """Read a storage, once."""
        if key not in self.arrays:
            content = self.archive.read(f"{self.root}data/{key}")
            self.arrays[key] = np.frombuffer(content, np.uint8)
        return self.arrays[key]


class _Row(_Reader):
    """The pickles one after the other: a number, a version, the machine, the data, the storages."""

    def load(self) -> Any:
        """Read everything."""
        try:
            magic = self._next()
        except CheckpointError as error:
            raise self.error("no file of PyTorch's") from error
        if magic != MAGIC:
            raise self.error("a pickle that torch.save did not write")
        if self._next() != PROTOCOL:
            raise self.error("written by another version of the format than 1001")
        about = self._next()
        self.swapped = isinstance(about, dict) and about.get("little_endian") is False
        self.storages: dict[str, _Storage] = {}
        found = read_pickle(self.file, self.known(), self.storage, str(self.path))
        keys = self._next()
        if not isinstance(keys, list):
            raise self.error("no list of storages")
        for key in keys:
            self._read(str(key))
        return _Filler(self)(found)

    def _next(self) -> Any:
        return read_pickle(self.file, {}, None, str(self.path))

    def storage(self, key: Any) -> _Storage:
        """Remember the storage; views of old versions are refused."""
        found = super().storage(key)
        if len(key) > 5 and key[5] is not None:
            raise self.error(
                "a storage that is part of another: load it with PyTorch, save it anew"
            )
        self.storages[found.key] = found
        return found

    def _read(self, key: str) -> None:
        told = self.storages.get(key)
        head = self.file.read(8)
        if told is None or len(head) < 8:
            raise self.error(f"storage {key} is missing or cut short")
        (count,) = struct.unpack(">q" if self.swapped else "<q", head)
        size = told.length * _itemsize(told.kind)
        content = self.file.read(size)
        if count != told.length or len(content) < size:
            raise self.error(f"storage {key} is cut short")
        self.arrays[key] = np.frombuffer(content, np.uint8)

    def raw(self, key: str) -> Array:
        """Give what was read."""
        return self.arrays[key]
