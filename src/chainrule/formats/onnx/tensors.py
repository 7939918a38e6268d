"""Tensors as ONNX's files hold them, inside the model or in files beside it."""

from __future__ import annotations

import mmap
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from chainrule.engine.op import Array, DType
from chainrule.errors import DataError

DTYPES: dict[int, DType] = {
    TensorProto.FLOAT: np.dtype(np.float32),
    TensorProto.DOUBLE: np.dtype(np.float64),
    TensorProto.FLOAT16: np.dtype(np.float16),
    TensorProto.INT8: np.dtype(np.int8),
    TensorProto.INT16: np.dtype(np.int16),
    TensorProto.INT32: np.dtype(np.int32),
    TensorProto.INT64: np.dtype(np.int64),
    TensorProto.UINT8: np.dtype(np.uint8),
    TensorProto.UINT16: np.dtype(np.uint16),
    TensorProto.UINT32: np.dtype(np.uint32),
    TensorProto.UINT64: np.dtype(np.uint64),
    TensorProto.BOOL: np.dtype(np.bool_),
}
"""The kinds of values that a tensor here can have, by ONNX's number."""


def kind_name(kind: int) -> str:
    """Give ONNX's name of a kind of values."""
    known = TensorProto.DataType.items()
    return next((name for name, value in known if value == kind), f"kind {kind}").lower()


class Unreadable(Exception):
    """A tensor whose values have a kind that we lack; the text names it."""


class Store:
    """Reads the values of a model's tensors; files beside it are mapped, each once."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[str, memoryview] = {}
        self._taken: set[tuple[str, int]] = set()

    def array(self, tensor: TensorProto) -> Array:
        """Give a tensor's values as an array of its own, which may be written.

        Raises DataError for values that do not fit the shape, Unreadable for other kinds.
        """
        dtype = DTYPES.get(tensor.data_type)
        if dtype is None:
            raise Unreadable(kind_name(tensor.data_type))
        shape = tuple(tensor.dims)
        if any(size < 0 for size in shape):
            raise DataError(f"onnx: tensor {tensor.name!r} has the shape {shape}")
        if tensor.data_location == TensorProto.EXTERNAL:
            return self._external(tensor, dtype, shape)
        if tensor.HasField("raw_data"):
            return _shaped(tensor.name, tensor.raw_data, dtype, shape)
        return _typed(tensor, dtype, shape)

    def _external(self, tensor: TensorProto, dtype: DType, shape: tuple[int, ...]) -> Array:
        given = {entry.key: entry.value for entry in tensor.external_data}
        where = f"onnx: tensor {tensor.name!r}"
        if not given.get("location"):
            raise DataError(f"{where} lies in another file, which is not named")
        whole = self._open(given["location"], where)
        wanted = prod(shape) * dtype.itemsize
        try:
            start = int(given.get("offset", 0))
            length = int(given.get("length", wanted))
        except ValueError as error:
            raise DataError(f"{where}: offset or length is no number") from error
        if length != wanted:
            raise DataError(f"{where}: {length} bytes for {dtype} {shape}, which are {wanted}")
        if start < 0 or start + length > len(whole):
            raise DataError(
                f"{where}: bytes {start} to {start + length} of {given['location']}, "
                f"which has {len(whole)}"
            )
        if not length:
            return np.zeros(shape, dtype)
        values = _numbers(whole[start : start + length], dtype).astype(dtype, copy=False)
        place = (given["location"], start)
        if place in self._taken:  # equal values written once: each tensor may still be trained
            values = values.copy()
        self._taken.add(place)
        return np.require(values.reshape(shape), requirements=["A", "W"])

    def _open(self, location: str, where: str) -> memoryview:
        """Map a file of the model's folder; its pages are copied where they are written."""
        if location in self._files:
            return self._files[location]
        if self._folder is None:
            raise DataError(f"{where} lies in the file {location!r}: load the model by its path")
        try:
            path = self._inside(self._folder.resolve(), location)
            there = path is not None and path.is_file()
        except (OSError, ValueError, RuntimeError) as error:  # no name, too long, links in a circle
            raise DataError(f"{where} lies in {location!r}, which cannot be read") from error
        if path is None:
            raise DataError(
                f"{where} lies in {location!r}, outside of the model's folder; not read"
            )
        if not there:
            raise DataError(f"{where}: its values' file {location!r} is not beside the model")
        with open(path, "rb") as file:
            size = path.stat().st_size
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else b""
        self._files[location] = memoryview(mapped)
        return self._files[location]

    def _inside(self, folder: Path, location: str) -> Path | None:
        """Give the file's path, links followed; None if that leaves the folder."""
        wanted = Path(location)
        path = (folder / wanted).resolve()
        direct = not wanted.is_absolute() and ".." not in wanted.parts and "\\" not in location
        return path if direct and path.is_relative_to(folder) else None


def _shaped(name: str, data: bytes, dtype: DType, shape: tuple[int, ...]) -> Array:
    wanted = prod(shape) * dtype.itemsize
    if len(data) != wanted:
        raise DataError(
            f"onnx: tensor {name!r} has {len(data)} bytes for {dtype} {shape}, which are {wanted}"
        )
    return _numbers(data, dtype).astype(dtype).reshape(shape)  # a copy, which may be written


def _numbers(data: bytes | memoryview, dtype: DType) -> Array:
    if dtype.kind == "b":  # any byte but 0 is true, also to who reads the byte
        return np.asarray(np.frombuffer(data, np.uint8) != 0)
    return np.frombuffer(data, dtype.newbyteorder("<"))


def _typed(tensor: TensorProto, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Read the fields of numbers, which old writers use."""
    fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    found = sum(len(getattr(tensor, name)) for name in fields)
    if found != prod(shape):
        raise DataError(f"onnx: tensor {tensor.name!r} has {found} values for the shape {shape}")
    try:
        values: Any = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"onnx: tensor {tensor.name!r} cannot be read: {error}") from error
    if values.dtype != dtype or values.shape != shape:
        raise DataError(f"onnx: tensor {tensor.name!r} has values of another kind than it says")
    return np.array(values, dtype)
