"""Activations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.reading.arithmetic import Function, unary
from chainrule.formats.onnx.reading.table import Node, axis_of, like, need_floating, reads
from chainrule.nn import functional as F
from chainrule.ops.activation_smooth import SELU_ALPHA, SELU_SCALE
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import add, mul, sub
from chainrule.ops.embedding import one_hot
from chainrule.ops.extrema import argmax
from chainrule.ops.permute import moveaxis
from chainrule.ops.select import clamp, where
from chainrule.ops.shape import reshape

_name: str
_function: Function
_since: str

for _name, _function, _since in (
    ("Sigmoid", F.sigmoid, "6 13"),
    ("Tanh", F.tanh, "6 13"),
    ("Softplus", F.softplus, "1 22"),
    ("Softsign", F.softsign, "1 22"),
    ("Mish", F.mish, "18 22"),
    ("HardSwish", F.hardswish, "14 22"),
):
    reads(_name, since=_since)(partial(unary, _function))


@reads("Relu", since="6 13 14")
def _relu(n: Node, x: Tensor) -> Tensor:
    """Keep what is positive."""
    return F.relu(x) if x.dtype.kind == "f" else where(x > 0, x, like(0, x))


@reads("LeakyRelu", since="6 16")
def _leaky(n: Node, x: Tensor) -> Tensor:
    """Scale what is negative."""
    return F.leaky_relu(x, n.get("alpha"))


@reads("PRelu", since="7 9 16")
def _prelu(n: Node, x: Tensor, slope: Tensor) -> Tensor:
    """Scale what is negative by learned slopes, which broadcast to x."""
    if x.dtype.kind == "f" and x.ndim > 1:
        one, count = slope.array.size == 1, x.shape[1]
        channels = slope.ndim == x.ndim - 1 and slope.shape == (count, *(1,) * (x.ndim - 2))
        whole = slope.ndim == x.ndim and slope.shape == (1, count, *(1,) * (x.ndim - 2))
        # files from before broadcasting was NumPy's, converted, have one slope a channel like this
        old = slope.shape == (count,) and x.shape[-1] != count
        if one or channels or whole or old:
            return F.prelu(x, reshape(slope, (-1,)))
    return where(x < 0, mul(slope, x), x)


@reads("Elu", since="6 22")
def _elu(n: Node, x: Tensor) -> Tensor:
    """Bend what is negative towards -alpha."""
    return F.elu(x, n.get("alpha"))


@reads("Celu", since="12 28")
def _celu(n: Node, x: Tensor) -> Tensor:
    """Bend what is negative towards -alpha, with slope 1 at 0."""
    return F.celu(x, n.get("alpha"))


@reads("Selu", since="6 22")
def _selu(n: Node, x: Tensor) -> Tensor:
    """Give gamma * elu(x); with the usual numbers it is SELU."""
    alpha, gamma = n.get("alpha"), n.get("gamma")
    usual = np.float32(alpha) == np.float32(SELU_ALPHA)
    if usual and np.float32(gamma) == np.float32(SELU_SCALE):
        return F.selu(x)
    return mul(F.elu(x, alpha), gamma)


@reads("HardSigmoid", since="6 22")
def _hard_sigmoid(n: Node, x: Tensor) -> Tensor:
    """Give alpha * x + beta within 0 and 1."""
    alpha, beta = n.get("alpha"), n.get("beta")
    if np.float32(alpha) == np.float32(1 / 6) and beta == 0.5:
        return F.hardsigmoid(x)
    return clamp(add(mul(x, alpha), beta), 0.0, 1.0)


@reads("ThresholdedRelu", since="10 22")
def _thresholded(n: Node, x: Tensor) -> Tensor:
    """Keep what is above alpha."""
    return F.threshold(x, n.get("alpha"), 0.0)


@reads("Shrink", since="9")
def _shrink(n: Node, x: Tensor) -> Tensor:
    """Put to 0 what is within lambd, and move the rest by bias towards it."""
    lambd, bias = n.get("lambd"), n.get("bias")
    if x.dtype.kind == "f" and bias == 0 and lambd >= 0:
        return F.hardshrink(x, lambd)
    if x.dtype.kind == "f" and bias == lambd and lambd >= 0:
        return F.softshrink(x, lambd)
    moved = where(x < -lambd, add(x, like(bias, x)), sub(x, like(bias, x)))
    inside = (x >= -lambd).logical_and(x <= lambd)
    return where(inside, like(0, x), moved)


@reads("Gelu", since="20")
def _gelu(n: Node, x: Tensor) -> Tensor:
    """Give x times the normal distribution's share below x."""
    return F.gelu(x, approximate=n.get("approximate"))


@reads("Swish", since="24")
def _swish(n: Node, x: Tensor) -> Tensor:
    """Give x * sigmoid(alpha * x)."""
    alpha = n.get("alpha")
    return F.silu(x) if alpha == 1 else mul(x, F.sigmoid(mul(x, alpha)))


# Over classes; before opset 13 over all axes from the given one on, as one


def over_axes(function: Callable[[Tensor, int], Tensor], n: Node, x: Tensor) -> Tensor:
    """Run a function along the axis, or along those from it on taken as one."""
    need_floating(n, x)
    axis = axis_of(n, n.get("axis"), x.ndim)
    if n.version >= 13 or axis == x.ndim - 1 or not x.ndim:
        return function(x, axis)
    rows = reshape(x, (*x.shape[:axis], int(np.prod(x.shape[axis:]))))
    return reshape(function(rows, axis), x.shape)


def _hardmax(x: Tensor, axis: int) -> Tensor:
    found = one_hot(argmax(x, axis), x.shape[axis])
    return cast(moveaxis(found, -1, axis), x.dtype)


for _name, _function in (
    ("Softmax", F.softmax),
    ("LogSoftmax", F.log_softmax),
    ("Hardmax", _hardmax),
):
    reads(_name, since="1 11 13")(partial(over_axes, _function))


@reads("SwiGLU", since="28")
def _swiglu(n: Node, gate: Tensor, x: Tensor) -> Tensor:
    """Give swish(gate) * x."""
    return mul(_swish(n, gate), x)
