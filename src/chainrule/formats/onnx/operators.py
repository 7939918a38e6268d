"""How each operation is written in ONNX: a table by the operation's class."""

from __future__ import annotations

from collections.abc import Callable
from math import log, prod, sqrt
from typing import Any

import numpy as np
from onnx import helper

from chainrule.engine.op import Op
from chainrule.formats.onnx.writer import Call, Writer, refuse
from chainrule.ops import (
    activation,
    activation_channel,
    activation_hard,
    activation_smooth,
    cast,
    elementwise,
    join,
    linear,
    matmul,
    passthrough,
    permute,
    power,
    reduce,
    rounding,
    select,
    shape,
    shuffle,
    softmax,
    special,
    trigonometric,
    unary,
)

Emit = Callable[[Writer, Call], str | list[str]]
WRITERS: dict[type[Op], Emit] = {}
"""By class: what writes the nodes of one operation and names its results."""


def writes(*kinds: type[Op]) -> Callable[[Emit], Emit]:
    """Register a function for operations of these classes."""

    def add(emit: Emit) -> Emit:
        for kind in kinds:
            WRITERS[kind] = emit
        return emit

    return add


# One to one


def _same(kind: str, **attributes: Any) -> Emit:
    return lambda w, c: w.add(kind, c.inputs, c, **attributes)


for _kind, _name in {
    activation.Sigmoid: "Sigmoid",
    activation.Tanh: "Tanh",
    activation.ReLU: "Relu",
    activation_smooth.Mish: "Mish",
    activation_smooth.Softsign: "Softsign",
    activation_hard.Hardswish: "HardSwish",
    elementwise.Mul: "Mul",
    elementwise.Neg: "Neg",
    rounding.Abs: "Abs",
    matmul.Matmul: "MatMul",
    unary.Exp: "Exp",
    unary.Sqrt: "Sqrt",
    unary.Reciprocal: "Reciprocal",
    unary.Sin: "Sin",
    unary.Cos: "Cos",
    trigonometric.Tan: "Tan",
    trigonometric.Asin: "Asin",
    trigonometric.Acos: "Acos",
    trigonometric.Atan: "Atan",
    trigonometric.Sinh: "Sinh",
    trigonometric.Cosh: "Cosh",
    trigonometric.Asinh: "Asinh",
    trigonometric.Acosh: "Acosh",
    trigonometric.Atanh: "Atanh",
    special.Erf: "Erf",
    shape.Clone: "Identity",
    shape.Contiguous: "Identity",
    passthrough.GradientReversal: "Identity",
    passthrough.L1Penalty: "Identity",
}.items():
    WRITERS[_kind] = _same(_name)


# Activations


@writes(activation.LeakyReLU)
def _leaky(w: Writer, c: Call) -> str:
    return w.add("LeakyRelu", c.inputs, c, alpha=c.op.slope)


@writes(activation.ELU)
def _elu(w: Writer, c: Call) -> str:
    return w.add("Elu", c.inputs, c, alpha=c.op.alpha)


@writes(activation_smooth.CELU)
def _celu(w: Writer, c: Call) -> str:
    return w.add("Celu", c.inputs, c, alpha=c.op.alpha)


@writes(activation_smooth.SELU)
def _selu(w: Writer, c: Call) -> str:
    alpha, gamma = activation_smooth.SELU_ALPHA, activation_smooth.SELU_SCALE
    return w.add("Selu", c.inputs, c, alpha=alpha, gamma=gamma)


@writes(activation.Softplus)
def _softplus(w: Writer, c: Call) -> str:
    if c.op.threshold < 20:
        raise refuse("softplus with a threshold below 20")
    if c.op.beta == 1:
        return w.add("Softplus", c.inputs, c)
    beta = w.number(c.op.beta)
    soft = w.add("Softplus", [w.add("Mul", [*c.inputs, beta], c)], c)
    return w.add("Div", [soft, beta], c)


@writes(activation.LogSigmoid)
def _log_sigmoid(w: Writer, c: Call) -> str:
    soft = w.add("Softplus", [w.add("Neg", c.inputs, c)], c)
    return w.add("Neg", [soft], c)


@writes(activation_hard.Hardsigmoid)
def _hardsigmoid(w: Writer, c: Call) -> str:
    return w.add("HardSigmoid", c.inputs, c, alpha=1 / 6, beta=0.5)


@writes(activation_hard.Hardtanh)
def _hardtanh(w: Writer, c: Call) -> str:
    return w.add("Clip", [*c.inputs, w.number(c.op.low), w.number(c.op.high)], c)


@writes(activation_hard.Threshold)
def _threshold(w: Writer, c: Call) -> str:
    above = w.add("Greater", [*c.inputs, w.number(c.op.threshold)], c)
    return w.add("Where", [above, *c.inputs, w.number(c.op.value)], c)


@writes(activation_hard.Hardshrink)
def _hardshrink(w: Writer, c: Call) -> str:
    return w.add("Shrink", c.inputs, c, lambd=c.op.lambd, bias=0.0)


@writes(activation_hard.Softshrink)
def _softshrink(w: Writer, c: Call) -> str:
    return w.add("Shrink", c.inputs, c, lambd=c.op.lambd, bias=c.op.lambd)


@writes(activation_smooth.Tanhshrink)
def _tanhshrink(w: Writer, c: Call) -> str:
    return w.add("Sub", [*c.inputs, w.add("Tanh", c.inputs, c)], c)


@writes(activation_smooth.SiLU)
def _silu(w: Writer, c: Call) -> str:
    return w.add("Mul", [*c.inputs, w.add("Sigmoid", c.inputs, c)], c)


@writes(activation_smooth.GELU)
def _gelu(w: Writer, c: Call) -> str:
    (x,) = c.inputs
    if c.op.approximate == "none":
        inner = w.add("Erf", [w.add("Mul", [x, w.number(sqrt(0.5))], c)], c)
    else:
        cube = w.add("Mul", [w.add("Mul", [x, x], c), x], c)
        curved = w.add("Add", [x, w.add("Mul", [cube, w.number(0.044715)], c)], c)
        inner = w.add("Tanh", [w.add("Mul", [curved, w.number(sqrt(2 / np.pi))], c)], c)
    share = w.add("Mul", [w.add("Add", [inner, w.number(1.0)], c), w.number(0.5)], c)
    return w.add("Mul", [x, share], c)


@writes(activation_channel.PReLU)
def _prelu(w: Writer, c: Call) -> str:
    x, slope = c.inputs
    axes = len(c.shapes[0]) - 2
    if axes > 0:
        slope = w.add("Unsqueeze", [slope, w.integers(*range(1, axes + 1))], c)
    return w.add("PRelu", [x, slope], c)


@writes(activation_channel.GLU)
def _glu(w: Writer, c: Call) -> str:
    half = c.results[0][c.op.axis]
    a, b = w.split([*c.inputs, w.integers(half, half)], c, 2, c.op.axis)
    return w.add("Mul", [a, w.add("Sigmoid", [b], c)], c)


@writes(softmax.Softmax)
def _softmax(w: Writer, c: Call) -> str:
    return w.add("Softmax", c.inputs, c, axis=c.op.axis)


@writes(softmax.LogSoftmax)
def _log_softmax(w: Writer, c: Call) -> str:
    return w.add("LogSoftmax", c.inputs, c, axis=c.op.axis)


# Arithmetic


@writes(elementwise.Add, elementwise.Sub)
def _sum(w: Writer, c: Call) -> str:
    a, b = c.inputs
    if c.op.alpha != 1:
        b = w.add("Mul", [b, w.number(c.op.alpha)], c)
    return w.add(type(c.op).__name__, [a, b], c)


@writes(elementwise.Div)
def _div(w: Writer, c: Call) -> str:
    if c.op.rounding_mode is not None:
        raise refuse(f"division rounded by {c.op.rounding_mode!r}")
    return w.add("Div", c.inputs, c)


@writes(power.PowScalar)
def _power(w: Writer, c: Call) -> str:
    return w.add("Pow", [*c.inputs, w.number(c.op.exponent)], c)


@writes(unary.Square)
def _square(w: Writer, c: Call) -> str:
    return w.add("Mul", [*c.inputs, *c.inputs], c)


@writes(unary.Log)
def _log(w: Writer, c: Call) -> str:
    natural = w.add("Log", c.inputs, c)
    return natural if c.op.base is None else w.add("Div", [natural, w.number(log(c.op.base))], c)


@writes(unary.Rsqrt)
def _rsqrt(w: Writer, c: Call) -> str:
    return w.add("Reciprocal", [w.add("Sqrt", c.inputs, c)], c)


@writes(select.Clamp)
def _clamp(w: Writer, c: Call) -> str:
    limits = [w.number(limit) if limit is not None else "" for limit in (c.op.low, c.op.high)]
    return w.add("Clip", [*c.inputs, *limits], c)


@writes(select.Where)
def _where(w: Writer, c: Call) -> str:
    return w.add("Where", c.inputs, c)


@writes(cast.Cast)
def _cast(w: Writer, c: Call) -> str:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(c.op.dtype))
    return w.add("Cast", c.inputs, c, to=kind)


@writes(reduce.Sum, reduce.Mean)
def _reduce(w: Writer, c: Call) -> str:
    axes = c.op.axes if c.op.axes is not None else tuple(range(len(c.shapes[0])))
    kind = f"Reduce{type(c.op).__name__}"
    return w.add(kind, [*c.inputs, w.integers(*axes)], c, keepdims=int(c.op.keepdim))


@writes(linear.Linear)
def _linear(w: Writer, c: Call) -> str:
    x, weight, *bias = c.inputs
    if len(c.shapes[0]) == 2 and len(c.shapes[1]) == 2:
        return w.add("Gemm", c.inputs, c, transB=1)
    turned = w.add("Transpose", [weight], c, perm=[1, 0])
    product = w.add("MatMul", [x, turned], c)
    return w.add("Add", [product, *bias], c) if bias else product


# Shapes; the first axis is the batch, whose size is free


def _target(w: Writer, sizes: tuple[int, ...], source: tuple[int, ...]) -> str:
    """Give the constant that ONNX's Reshape takes: 0 keeps the batch's axis."""
    if sizes and source and sizes[0] == source[0] == w.batch:
        return w.integers(0, *sizes[1:])
    if source and source[0] == w.batch and sizes and sizes[0] % w.batch == 0:
        return w.integers(-1, *sizes[1:])
    if source and source[0] == w.batch:
        raise refuse(f"a reshaping of the batch's axis, {source} to {sizes}")
    return w.integers(*sizes)


@writes(shape.Reshape, shape.Unflatten, shape.Squeeze)
def _reshape(w: Writer, c: Call) -> str:
    return w.add("Reshape", [*c.inputs, _target(w, c.results[0], c.shapes[0])], c)


@writes(shape.Flatten)
def _flatten(w: Writer, c: Call) -> str:
    if c.op.start == 1 and len(c.results[0]) == 2:
        return w.add("Flatten", c.inputs, c, axis=1)
    return w.add("Reshape", [*c.inputs, _target(w, c.results[0], c.shapes[0])], c)


@writes(shape.Unsqueeze)
def _unsqueeze(w: Writer, c: Call) -> str:
    return w.add("Unsqueeze", [*c.inputs, w.integers(c.op.dim)], c)


@writes(shape.Expand)
def _expand(w: Writer, c: Call) -> str:
    sizes, source = c.results[0], c.shapes[0]
    if len(sizes) == len(source) and source[0] == sizes[0] == w.batch:
        sizes = (1, *sizes[1:])  # broadcast: 1 keeps what is there
    elif sizes and sizes[0] == w.batch:
        raise refuse("an expansion to the size of the batch")
    return w.add("Expand", [*c.inputs, w.integers(*sizes)], c)


@writes(permute.Permute)
def _permute(w: Writer, c: Call) -> str:
    return w.add("Transpose", c.inputs, c, perm=list(c.op.dims))


@writes(join.Cat)
def _cat(w: Writer, c: Call) -> str:
    return w.add("Concat", c.inputs, c, axis=c.op.dim)


@writes(join.Split)
def _split(w: Writer, c: Call) -> list[str] | str:
    dim = c.op.dim
    sizes = [result[dim] for result in c.results]
    if dim == 0:
        raise refuse("a split of the batch")
    return w.split([*c.inputs, w.integers(*sizes)], c, len(sizes), dim)


@writes(shuffle.PixelShuffle)
def _pixel_shuffle(w: Writer, c: Call) -> str:
    return w.add("DepthToSpace", c.inputs, c, blocksize=c.op.factor, mode="CRD")


@writes(shuffle.ChannelShuffle)
def _channel_shuffle(w: Writer, c: Call) -> str:
    _, channels, *sizes = c.shapes[0]
    groups = c.op.groups
    apart = w.integers(0, groups, channels // groups, prod(sizes))
    x = w.add("Transpose", [w.add("Reshape", [*c.inputs, apart], c)], c, perm=[0, 2, 1, 3])
    return w.add("Reshape", [x, w.integers(0, channels, *sizes)], c)
