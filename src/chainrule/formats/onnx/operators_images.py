"""How operations on images are written in ONNX: windows, normalisation, other sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.formats.onnx.operators import writes
from chainrule.formats.onnx.writer import Call, Writer, refuse
from chainrule.ops.conv import Conv
from chainrule.ops.conv_transpose import ConvTranspose
from chainrule.ops.grid_sample import GridSample
from chainrule.ops.norm import BatchNorm
from chainrule.ops.norm_group import GroupNorm
from chainrule.ops.norm_layer import LayerNorm
from chainrule.ops.norm_local import LocalResponseNorm
from chainrule.ops.pad import Pad, PadBorder
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.resample import Interpolate


@writes(Conv)
def _conv(w: Writer, c: Call) -> str:
    before, after = zip(*c.op.padding, strict=True)
    settings: dict[str, Any] = {"strides": list(c.op.stride), "dilations": list(c.op.dilation)}
    settings |= {"pads": [*before, *after], "group": c.op.groups}
    return w.add("Conv", c.inputs, c, kernel_shape=list(c.shapes[1][2:]), **settings)


@writes(ConvTranspose)
def _conv_transpose(w: Writer, c: Call) -> str:
    settings: dict[str, Any] = {"strides": list(c.op.stride), "dilations": list(c.op.dilation)}
    settings |= {"pads": [*c.op.padding, *c.op.padding], "group": c.op.groups}
    settings["output_padding"] = list(c.op.output_padding)
    return w.add("ConvTranspose", c.inputs, c, kernel_shape=list(c.shapes[1][2:]), **settings)


def _pads(c: Call) -> list[int]:
    """Give padding such that windows end where ours do: ONNX's ceil_mode counts otherwise."""
    op, (x,), (y, *_) = c.op, c.shapes[:1], c.results
    spread = getattr(op, "dilation", (1,) * len(op.kernel))
    after = []
    for k, s, p, d, n, m in zip(
        op.kernel, op.stride, op.padding, spread, x[2:], y[2:], strict=True
    ):
        after.append(max(p, (m - 1) * s + d * (k - 1) + 1 - n - p))
    return [*op.padding, *after]


@writes(MaxPool)
def _max_pool(w: Writer, c: Call) -> str:
    if c.op.indices:
        raise refuse("max pooling that returns indices")
    settings: dict[str, Any] = {"strides": list(c.op.stride), "dilations": list(c.op.dilation)}
    kernel = list(c.op.kernel)
    return w.add("MaxPool", c.inputs, c, kernel_shape=kernel, pads=_pads(c), **settings)


@writes(AvgPool)
def _avg_pool(w: Writer, c: Call) -> str:
    op, pads = c.op, _pads(c)
    longer = tuple(pads[len(op.kernel) :]) != tuple(op.padding)
    if longer and (op.count_include_pad or op.divisor_override):
        raise refuse("average pooling in ceil mode that counts the padding")
    counted = int(op.count_include_pad or bool(op.divisor_override))
    settings: dict[str, Any] = {"strides": list(op.stride), "count_include_pad": counted}
    name = w.add("AveragePool", c.inputs, c, kernel_shape=list(op.kernel), pads=pads, **settings)
    if op.divisor_override:
        return w.add("Mul", [name, w.number(np.prod(op.kernel) / op.divisor_override)], c)
    return name


def _regular(c: Call) -> tuple[list[int], list[int]] | None:
    """Give kernel and stride where the ranges of an adaptive pooling are all alike."""
    pairs = list(zip(c.shapes[0][2:], c.results[0][2:], strict=True))
    if any(n % m for n, m in pairs):
        return None
    sizes = [n // m for n, m in pairs]
    return sizes, sizes


@writes(AdaptiveAvgPool)
def _adaptive_avg_pool(w: Writer, c: Call) -> str:
    x, y = c.shapes[0][2:], c.results[0][2:]
    if x == y:
        return w.add("Identity", c.inputs, c)
    if set(y) == {1}:
        return w.add("GlobalAveragePool", c.inputs, c)
    regular = _regular(c)
    if regular:
        kernel, stride = regular
        return w.add("AveragePool", c.inputs, c, kernel_shape=kernel, strides=stride)
    if len(x) != 2:
        raise refuse("adaptive average pooling of uneven ranges in other than two dimensions")
    rows, columns = (_means(n, m) for n, m in zip(x, y, strict=True))
    across = w.add("MatMul", [*c.inputs, w.constant(columns.T.copy(), "means")], c)
    return w.add("MatMul", [w.constant(rows, "means"), across], c)


def _ranges(n: int, m: int) -> list[tuple[int, int]]:
    """Give the m ranges that an adaptive pooling makes of n, from floor(i n / m) on."""
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def _means(n: int, m: int) -> np.ndarray[Any, Any]:
    """Give the matrix (m, n) whose rows take the mean of each range."""
    matrix = np.zeros((m, n), np.float32)
    for i, (first, last) in enumerate(_ranges(n, m)):
        matrix[i, first:last] = 1 / (last - first)
    return matrix


@writes(AdaptiveMaxPool)
def _adaptive_max_pool(w: Writer, c: Call) -> str:
    if c.op.indices:
        raise refuse("adaptive max pooling that returns indices")
    regular = _regular(c)
    if regular:
        kernel, stride = regular
        return w.add("MaxPool", c.inputs, c, kernel_shape=kernel, strides=stride)
    (value,) = c.inputs
    for axis, (n, m) in enumerate(zip(c.shapes[0][2:], c.results[0][2:], strict=True), 2):
        parts = []
        for first, last in _ranges(n, m):
            ends = [w.integers(first), w.integers(last), w.integers(axis)]
            part = w.add("Slice", [value, *ends], c)
            parts.append(w.add("ReduceMax", [part, w.integers(axis)], c, keepdims=1))
        value = w.add("Concat", parts, c, axis=axis)
    return value


@writes(BatchNorm)
def _batch_norm(w: Writer, c: Call) -> str:
    if c.op.training:
        raise refuse("batch norm while training: export after model.eval()")
    x, mean, variance, *affine = c.inputs
    channels = c.shapes[0][1]
    if not affine:
        affine = [w.constant(np.full(channels, value, np.float32)) for value in (1, 0)]
    given = [x, *affine, mean, variance]
    settings = {"epsilon": c.op.eps}
    momentum = getattr(c.layer, "momentum", None)
    if momentum is not None and momentum != 0.1:  # ONNX's default, counted from the other end
        settings["momentum"] = 1 - momentum
    return w.add("BatchNormalization", given, c, **settings)


@writes(GroupNorm)
def _group_norm(w: Writer, c: Call) -> str:
    x, *affine = c.inputs
    _, channels, *sizes = c.shapes[0]
    groups = c.op.groups
    ones = [w.constant(np.full(groups, value, np.float32)) for value in (1, 0)]
    apart = w.add("Reshape", [x, w.integers(0, groups, -1)], c)
    normal = w.add("InstanceNormalization", [apart, *ones], c, epsilon=c.op.eps)
    name = w.add("Reshape", [normal, w.integers(0, channels, *sizes)], c)
    for kind, value in zip(("Mul", "Add"), affine, strict=False):
        along = w.add("Unsqueeze", [value, w.integers(*range(1, len(sizes) + 1))], c)
        name = w.add(kind, [name, along], c)
    return name


@writes(LayerNorm)
def _layer_norm(w: Writer, c: Call) -> str:
    x, *affine = c.inputs
    if not affine:
        affine = [w.constant(np.full(c.op.shape, value, np.float32)) for value in (1, 0)]
    axis = -len(c.op.shape)
    given = [x, *affine]
    return w.add("LayerNormalization", given, c, axis=axis, epsilon=c.op.eps)


@writes(LocalResponseNorm)
def _local_response_norm(w: Writer, c: Call) -> str:
    op = c.op
    if op.within:
        raise refuse("local response normalisation within a channel")
    if op.size % 2 == 0:  # whose longer half ONNX has after the channel, we before it
        raise refuse("local response normalisation over an even number of channels")
    settings = {"alpha": op.alpha, "beta": op.beta, "bias": op.k, "size": op.size}
    return w.add("LRN", c.inputs, c, **settings)


def _all_pads(c: Call) -> list[int]:
    """Give ONNX's order, all beginnings before all ends, of PyTorch's, last axis first."""
    axes, pairs = len(c.shapes[0]), list(zip(c.op.pad[::2], c.op.pad[1::2], strict=True))[::-1]
    whole = [(0, 0)] * (axes - len(pairs)) + pairs
    return [before for before, _ in whole] + [after for _, after in whole]


@writes(Pad)
def _pad(w: Writer, c: Call) -> str:
    given = [*c.inputs, w.integers(*_all_pads(c)), w.number(c.op.value)]
    return w.add("Pad", given, c, mode="constant")


@writes(PadBorder)
def _pad_border(w: Writer, c: Call) -> str:
    modes = {"reflect": "reflect", "replicate": "edge"}
    if c.op.mode not in modes:
        raise refuse(f"padding by {c.op.mode!r}, which opset 18 lacks")
    given = [*c.inputs, w.integers(*_all_pads(c))]
    return w.add("Pad", given, c, mode=modes[c.op.mode])


@writes(Interpolate)
def _interpolate(w: Writer, c: Call) -> str:
    op, (x, *_), (y, *_) = c.op, c.shapes, c.results
    modes = {"nearest": "nearest", "nearest-exact": "nearest", "linear": "linear", "cubic": "cubic"}
    if op.mode not in modes or op.antialias:
        raise refuse(f"resizing by {op.mode!r}{' with antialias' if op.antialias else ''}")
    how = "align_corners" if op.align_corners else "half_pixel"
    settings: dict[str, Any] = {"mode": modes[op.mode], "coordinate_transformation_mode": how}
    if op.mode == "nearest":
        settings |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if op.mode == "nearest-exact":
        settings["nearest_mode"] = "round_prefer_ceil"
    if op.mode == "cubic":
        settings["cubic_coeff_a"] = -0.75
    settings["axes"] = list(range(2, len(x)))
    given = np.array([s or 0 for s in op.scales or ()], np.float32)
    # Factors where they say how far apart places lie, and give the size that ours have.
    if given.all() and given.size and tuple(np.floor(given * x[2:])) == y[2:]:
        return w.add("Resize", [*c.inputs, "", w.constant(given, "scales")], c, **settings)
    return w.add("Resize", [*c.inputs, "", "", w.integers(*y[2:])], c, **settings)


@writes(GridSample)
def _grid_sample(w: Writer, c: Call) -> str:
    op = c.op
    modes = {"bilinear": "bilinear", "nearest": "nearest", "bicubic": "bicubic"}
    settings = {"mode": modes[op.mode], "padding_mode": op.padding_mode}
    return w.add("GridSample", c.inputs, c, align_corners=int(op.align_corners), **settings)
