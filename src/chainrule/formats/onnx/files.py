"""The written model: checked, with its weights inside or in a file beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.formats.atomic import replaced, write_atomic

LIMIT = 2_000_000_000
"""Bytes of weights from which on they go into a file of their own; protobuf ends at 2**31."""

ALIGNMENT = 4096  # of each tensor in that file, so that it can be mapped


def finish(
    model: ModelProto, state: Mapping[str, Array], path: str | os.PathLike[str] | None
) -> ModelProto:
    """Check the model, add its parameters and buffers, and write the file if there is a path."""
    _check(model, state)
    size = sum(array.nbytes for array in state.values())
    if size < LIMIT:
        for name, array in state.items():
            tensor = _described(name, array, model)
            tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        if path is not None:
            write_atomic(path, model.SerializeToString())
        return model
    if path is None:
        raise DataError(
            f"onnx.export: {size} bytes of weights, and a model in memory has at most {LIMIT}: "
            "give a path; they are then written into a file beside it"
        )
    target = Path(path)
    beside = target.with_name(target.name + ".data")
    with replaced(beside) as file:
        for part in _laid_out(model, state, beside.name):
            file.write(part)
    write_atomic(target, model.SerializeToString())
    return model


def _check(model: ModelProto, state: Mapping[str, Array]) -> None:
    """Check the graph with the weights as inputs, which spares copies of them."""
    bare = ModelProto()
    bare.CopyFrom(model)
    for name, array in state.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        bare.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    onnx.checker.check_model(bare, full_check=True)


def _described(name: str, array: Array, model: ModelProto) -> TensorProto:
    tensor: TensorProto = model.graph.initializer.add()
    tensor.name, tensor.data_type = name, helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.dims.extend(array.shape)
    return tensor


def _laid_out(
    model: ModelProto, state: Mapping[str, Array], location: str
) -> list[bytes | memoryview]:
    """Describe where each tensor lies in the file beside the model, and give the file's parts."""
    parts: list[bytes | memoryview] = []
    offset = 0
    for name, array in state.items():
        gap = -offset % ALIGNMENT
        values = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        parts += [bytes(gap), values.reshape(-1).view(np.uint8).data]
        tensor = _described(name, array, model)
        tensor.data_location = TensorProto.EXTERNAL
        where = {"location": location, "offset": offset + gap, "length": values.nbytes}
        for key, value in where.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        offset += gap + values.nbytes
    return parts
