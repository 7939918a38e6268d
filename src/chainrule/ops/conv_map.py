"""Convolutions along a table of connections: which input plane reaches which output plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.creation import zeros
from chainrule.engine.op import Array, public
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, LabelError, failure
from chainrule.ops.arguments import integer
from chainrule.ops.conv import conv2d
from chainrule.ops.conv_transpose import conv_transpose2d
from chainrule.ops.index import getitem
from chainrule.ops.join import cat


def connections(table: Any, name: str) -> Array:
    """Give a table as an int64 array (K, 2) of (input plane, output plane), counted from 0.

    Raises KindError for what are no integers, ShapeError for another shape and for a pair that
    comes twice, LabelError for negative planes.

    >>> connections([(0, 0), (1, 0)], "table").tolist()
    [[0, 0], [1, 0]]
    """
    rows = np.asarray(table.array if isinstance(table, Tensor) else table)
    if rows.dtype.kind not in "iu":
        raise failure(name, "a table of integers", error=KindError, table=rows)
    if rows.ndim != 2 or rows.shape[1] != 2 or not len(rows):
        raise failure(name, "a table (K, 2) of pairs (input plane, output plane)", table=rows)
    if rows.min() < 0:
        rule = f"planes counted from 0, not {int(rows.min())}"
        raise failure(name, rule, error=LabelError, table=rows)
    found, counts = np.unique(rows, axis=0, return_counts=True)
    if counts.max() > 1:
        pair = tuple(int(plane) for plane in found[counts.argmax()])
        raise failure(name, f"every connection once, not {pair} {counts.max()} times", table=rows)
    return rows.astype(np.int64)


def planes(rows: Array, wanted: Any, column: int, name: str) -> int:
    """Give a number of planes: the wanted one, which is not to be less than the table names."""
    named = int(rows[:, column].max()) + 1
    if wanted is None:
        return named
    number = integer(wanted, name)
    if number < named:
        raise failure(name, f"at least {named}, which the table names", value=number)
    return number


def _dense(weight: Tensor, first: Array, second: Array, shape: tuple[int, int]) -> Tensor:
    """Give a weight (*shape, *kernel) that has weight[k] at (first[k], second[k]), 0 elsewhere."""
    places = np.full(shape, len(first))  # behind the last weight, where the zeros are
    places[first, second] = np.arange(len(first))
    nothing = zeros(1, *weight.shape[1:], dtype=weight.dtype, device=weight.device)
    return getitem(cat([weight, nothing]), places)


def _checked(
    name: str, input: Any, weight: Any, table: Any, bias: Any, out_channels: Any
) -> tuple[Tensor, Tensor, Array, tuple[int, int]]:
    """Give (input, weight, rows of the table, (input planes, output planes))."""
    x, w, rows = as_tensor(input), as_tensor(weight), connections(table, f"{name} table")
    if w.ndim != 3 or len(w.shape) != 3 or w.shape[0] != len(rows):
        rule = f"a weight ({len(rows)}, kh, kw), one filter for each connection"
        raise failure(name, rule, weight=w)
    if x.ndim not in (3, 4):
        raise failure(name, "an input (N, C, H, W) or (C, H, W)", input=x)
    count = x.shape[x.ndim - 3]
    least = int(rows[:, 0].max()) + 1
    if count < least:
        rule = f"at least {least} input planes, which the table names, got {count}"
        raise failure(name, rule, input=x)
    if out_channels is None and bias is not None and as_tensor(bias).ndim == 1:
        out_channels = as_tensor(bias).shape[0]
    return x, w, rows, (count, planes(rows, out_channels, 1, f"{name} out_channels"))


@public
def conv2d_map(
    input: Tensor,
    weight: Tensor,
    table: Any,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    out_channels: int | None = None,
) -> Tensor:
    """Correlate images along a table of connections: Torch's SpatialConvolutionMap.

    y[n, o] = bias[o] + sum over the connections k that lead to o of weight[k] * x[n, table[k, 0]].
    Row k of the table (K, 2) is (input plane, output plane), counted from 0, each pair once.
    There are as many output planes as biases, or `out_channels`, or as the table names.

    The filters are put into a dense weight, 0 where nothing is connected, which fast kernels
    compute with: an infinity or NaN in one plane therefore reaches every output.

    Shapes: (N, C, H, W), (K, kh, kw), (K, 2), (O,) -> (N, O, H', W'), or without N, as `conv2d`.
    Source: LeCun et al., Gradient-based learning applied to document recognition (1998), layer C3.
    Raises ShapeError for shapes and settings that do not fit, LabelError for negative planes,
    KindError for a table that is not of integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0]], [[10.0]], [[100.0]]])
    >>> cr.nn.functional.conv2d_map(x, cr.ones(3, 1, 1), [(0, 0), (1, 0), (2, 1)]).tolist()
    [[[11.0]], [[100.0]]]
    """
    x, w, rows, (c, o) = _checked("conv2d_map", input, weight, table, bias, out_channels)
    dense = _dense(w, rows[:, 1], rows[:, 0], (o, c))
    return conv2d(x, dense, bias, stride, padding, dilation)


@public
def conv_transpose2d_map(
    input: Tensor,
    weight: Tensor,
    table: Any,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    out_channels: int | None = None,
) -> Tensor:
    """Spread images along a table of connections: Torch's SpatialFullConvolutionMap.

    y[n, o] = bias[o] + sum over the connections k that lead to o of x[n, table[k, 0]], every value
    times weight[k] at its place; table, planes and errors as in `conv2d_map`.

    Shapes: (N, C, H, W), (K, kh, kw), (K, 2), (O,) -> (N, O, H', W'), or without N, as
    `conv_transpose2d`.

    >>> import chainrule as cr
    >>> x, w = cr.tensor([[[1.0]], [[10.0]]]), cr.ones(3, 1, 2)
    >>> cr.nn.functional.conv_transpose2d_map(x, w, [(0, 0), (1, 0), (1, 1)]).tolist()
    [[[11.0, 11.0]], [[10.0, 10.0]]]
    """
    name = "conv_transpose2d_map"
    x, w, rows, ends = _checked(name, input, weight, table, bias, out_channels)
    dense = _dense(w, rows[:, 0], rows[:, 1], ends)
    return conv_transpose2d(x, dense, bias, stride, padding, output_padding, 1, dilation)
