"""Neighbouring operators that run as one, as our own networks run them."""

from __future__ import annotations

from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.program import FUSIONS
from chainrule.formats.onnx.reading.convolution import convolve
from chainrule.formats.onnx.reading.normalization import normalise
from chainrule.formats.onnx.reading.pooling import max_pool, pool_padding, spatial
from chainrule.formats.onnx.reading.table import Node
from chainrule.nn import functional as F
from chainrule.ops.elementwise import add
from chainrule.ops.fused import ConvReLU


def _norm_relu(n: Node, _: Node, *inputs: Tensor) -> Tensor:
    return normalise(F.batch_norm_relu, n, *inputs)


def _add_relu(_: Node, __: Node, a: Tensor, b: Tensor) -> Tensor:
    if a.shape != b.shape or a.dtype.kind != "f" or a.dtype != b.dtype:
        y = add(a, b)
        return F.relu(y) if y.dtype.kind == "f" else y.clamp(0)
    return F.add_relu(a, b)


def _relu_pool(_: Node, n: Node, x: Tensor) -> Tensor:
    if x.ndim == 4 and x.dtype.kind == "f":
        f = spatial(n, x)
        found = pool_padding(f, x.shape[2:])
        if found is not None:
            padding, ceil = found
            return F.relu_max_pool2d(x, f.kernel, f.stride, padding, f.dilation, ceil)
    y: Tensor = max_pool(n, F.relu(x))
    return y


def _conv_relu(n: Node, _: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    return convolve(ConvReLU, n, x, w, b)


def _always(first: Node, second: Node) -> bool:
    return True


def _one_result(first: Node, second: Node) -> bool:
    return not first.flag("training_mode")


# In the order in which our networks choose: nn/fusing.py
FUSIONS["BatchNormalization", "Relu"] = _norm_relu, _one_result
FUSIONS["Add", "Relu"] = _add_relu, _always
FUSIONS["Relu", "MaxPool"] = _relu_pool, _always
FUSIONS["Conv", "Relu"] = _conv_relu, _always
