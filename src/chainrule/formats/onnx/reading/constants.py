"""Values that a file holds or describes: constants, ranges, dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError
from chainrule.formats.onnx.reading.table import Node, axis_of, integers, number, reads, refuse
from chainrule.formats.onnx.tensors import DTYPES, kind_name
from chainrule.nn import functional as F
from chainrule.ops.cast import cast
from chainrule.ops.compare import eq
from chainrule.ops.diagonal import tril, triu
from chainrule.ops.embedding import one_hot
from chainrule.ops.permute import moveaxis
from chainrule.ops.select import where


def _constant_kind(n: Node) -> str | None:
    for name in ("value_string", "value_strings", "sparse_value"):
        if name in n.attributes:
            return f"{name} of Constant"
    return None


@reads("Constant", since="1 9 11 12 13 19 21 23 24 25", check=_constant_kind)
def _constant(n: Node) -> Tensor:
    """Give the value that stands in the file."""
    given = [name for name in n.attributes if name.startswith("value")]
    if len(given) != 1:
        raise DataError(f"onnx: {n}: {len(given)} values, expected one")
    value = n.attributes[given[0]]
    if isinstance(value, Tensor):
        return value
    return Tensor(np.array(value, np.int64 if "int" in given[0] else np.float32))


@reads("ConstantOfShape", since="9 20 21 23 24 25", settings=(0,))
def _constant_of_shape(n: Node, shape: Tensor) -> Tensor:
    """Give one value everywhere."""
    value = n.get("value")
    one = value.array.reshape(-1) if value is not None else np.zeros(1, np.float32)
    return Tensor(np.full(tuple(integers(shape)), one[0], one.dtype))


@reads("Range", since="11 27", settings=(0, 1, 2))
def _range(n: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Count from start to before limit."""
    first, last, step = (value.array.reshape(()) for value in (start, limit, delta))
    if step == 0:
        raise DataError(f"onnx: {n}: delta is 0")
    count = max(int(np.ceil((float(last) - float(first)) / float(step))), 0)
    if first.dtype.kind in "iu":
        count = max(-((int(first) - int(last)) // int(step)), 0)
    return Tensor((first + np.arange(count).astype(first.dtype) * step).astype(first.dtype))


def _known_kind(n: Node) -> str | None:
    for name in ("to", "dtype", "output_datatype"):
        kind = n.get(name)
        if kind and kind not in DTYPES:
            return f"{name} {kind_name(kind)}"
    return None


@reads("Cast", since="6 9 13 19 21 23 24 25 28", check=_known_kind)
def _cast(n: Node, x: Tensor) -> Tensor:
    """Give the values another dtype."""
    return _converted(x, DTYPES[n.get("to")])


@reads("CastLike", since="15 19 21 23 24 25", settings=(1,))
def _cast_like(n: Node, x: Tensor, target: Tensor) -> Tensor:
    """Give the values another tensor's dtype."""
    return _converted(x, target.dtype)


def _converted(x: Tensor, dtype: Any) -> Tensor:
    with np.errstate(all="ignore"):
        return cast(x, dtype)


@reads("BitCast", since="26", check=_known_kind)
def _bit_cast(n: Node, x: Tensor) -> Tensor:
    """Read the same bytes as another dtype of their size."""
    dtype = DTYPES[n.get("to")]
    if dtype.itemsize != x.dtype.itemsize:
        raise DataError(f"onnx: {n}: {x.dtype} and {dtype} have other sizes")
    return Tensor(np.ascontiguousarray(x.array).reshape(x.shape).view(dtype))


@reads("EyeLike", since="9 22", check=_known_kind)
def _eye(n: Node, x: Tensor) -> Tensor:
    """Give ones on a diagonal."""
    rows, columns = x.shape
    kind = n.get("dtype")
    return Tensor(np.eye(rows, columns, n.get("k"), DTYPES[kind] if kind else x.dtype))


@reads("Trilu", since="14", settings=(1,))
def _trilu(n: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """Keep what lies above or below a diagonal."""
    offset = 0 if k is None else int(number(k))
    if 0 in x.shape:
        return x
    return (triu if n.flag("upper", 1) else tril)(x, offset)


@reads("OneHot", since="9 11 28", settings=(1, 2))
def _one_hot(n: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """Put one value at each index and another elsewhere, along a new axis."""
    count = int(number(depth))
    axis = axis_of(n, n.get("axis"), indices.ndim + 1)
    places = cast(indices, np.int64)
    valid = (places >= -count).logical_and(places < count)
    places = where(places < 0, places + count, places)
    hot = one_hot(where(valid, places, places * 0), count)
    hot = eq(hot * cast(valid, np.int64).unsqueeze(-1), 1)
    off, on = values[0], values[1]
    return moveaxis(where(hot, on, off), -1, axis)


def _window(n: Node, size: Tensor, terms: tuple[float, ...]) -> Tensor:
    count = int(number(size))
    dtype = DTYPES.get(n.get("output_datatype"))
    if dtype is None:
        raise refuse(n, f"values of {kind_name(n.get('output_datatype'))}")
    span = count if n.flag("periodic", 1) else count - 1
    angle = 2 * np.pi * np.arange(count) / max(span, 1)
    y = sum(term * np.cos(k * angle) for k, term in enumerate(terms))
    return Tensor(np.asarray(y).astype(dtype))


@reads("HannWindow", since="17", settings=(0,), check=_known_kind)
def _hann(n: Node, size: Tensor) -> Tensor:
    """Give a window that rises as sin squared."""
    return _window(n, size, (0.5, -0.5))


@reads("HammingWindow", since="17", settings=(0,), check=_known_kind)
def _hamming(n: Node, size: Tensor) -> Tensor:
    """Give Hamming's window."""
    return _window(n, size, (25 / 46, -21 / 46))


@reads("BlackmanWindow", since="17", settings=(0,), check=_known_kind)
def _blackman(n: Node, size: Tensor) -> Tensor:
    """Give Blackman's window."""
    return _window(n, size, (0.42, -0.5, 0.08))


@reads("Dropout", since="7 10 12 13 22", settings=(1, 2))
def _dropout(
    n: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Drop values while the module trains; nothing in evaluation, whatever mode the file is in."""
    given = n.get("ratio") if ratio is None else number(ratio)
    p = 0.5 if given is None else float(given)
    asked = training is not None and not n.constant[2] and bool(number(training))
    if asked and p > 0:
        raise refuse(n, "a random mask that an input asks for; train() drops values")
    kind = np.bool_ if n.version >= 10 else x.dtype
    whole = Tensor(np.ones(x.shape, kind)) if len(n.wanted) > 1 and n.wanted[1] else x
    if not n.training or p == 0:
        return x, whole
    if len(n.wanted) < 2 or not n.wanted[1]:
        return F.dropout(x, p, True), whole
    mask = F.dropout(Tensor(np.ones(x.shape, x.dtype)), p, True)
    return x * mask, cast(mask > 0, kind)
