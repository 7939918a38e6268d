"""What one convolution's shapes need: three primitives, and the packing of its weights."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.activation import relu_in_place
from chainrule.backends.onednn.arrays import (
    FLOAT32,
    LONG,
    Packing,
    address,
    by_rows,
    empty_last,
)
from chainrule.backends.onednn.dense import column_sums
from chainrule.backends.onednn.primitives import (
    Description,
    Primitive,
    Shape,
    any_layout,
    built,
    channels_last,
    describe,
    plain,
)
from chainrule.backends.onednn.runtime import buffer, runtime
from chainrule.engine.op import Array, Spec
from chainrule.ops.conv import Conv

PACKED = 1  # the slot of the shared buffers in which packed weights lie


class ConvPlan:
    """Forward, gradient by the input and by the weight, by oneDNN's direct convolutions.

    Arrays are channels-last, parameters plain; weights are packed for each primitive into a buffer
    that the thread's convolutions share.
    """

    def __init__(
        self, op: Conv, shapes: tuple[Shape, Shape, bool], found: tuple[Description, ...]
    ) -> None:
        self._forward, self._data, self._weights = found
        self.x, self.w, self.bias = shapes
        self.y = out_shape(op, self.x, self.w)
        self.long = self.bias and _rows(self.y) > LONG
        self.what = f"{op!r} of {self.x} with {self.w}"
        self._plain = plain(grouped(op, self.w))

    # What pairs call

    def forward(self, x: Array, w: Array, bias: Array | None, relu: bool) -> tuple[Array, bool]:
        """Give y, its negative values 0 with `relu`, and then whether it was finite."""
        y = empty_last(self.y)
        packed = _packed(self.pack_forward, w)
        vector = [] if bias is None else [address(bias)]
        self.run_forward(address(x), packed, *vector, address(y))
        return y, relu_in_place(y) if relu else False

    def input_gradient(self, g: Array, w: Array) -> Array:
        """Give gx."""
        gx = empty_last(self.x)
        self.run_data(address(g), _packed(self.pack_data, w), address(gx))
        return gx

    def weight_gradient(self, x: Array, g: Array, need_bias: bool) -> tuple[Array, Array | None]:
        """Give gw, and gb where there is a bias that needs it."""
        gw, gb = np.empty(self.w, FLOAT32), np.empty(self.w[0] if self.bias else 0, FLOAT32)
        unpack = self.unpack
        target = address(gw) if unpack.same else buffer(PACKED, unpack.nbytes)
        vector = [address(gb)] if self.bias else []
        self.run_weights(address(x), address(g), target, *vector)
        if not unpack.same:
            unpack(target, address(gw))
        if not need_bias:
            return gw, None
        return gw, column_sums(by_rows(g)) if self.long else gb

    # The primitives

    @built
    def run_forward(self) -> Primitive:
        """(x, w [, b], y)."""
        bias = (c.BIAS,) if self.bias else ()
        return Primitive(self._forward, (c.SRC, c.WEIGHTS, *bias, c.DST), self.what)

    @built
    def run_data(self) -> Primitive:
        """(gy, w, gx)."""
        what = f"gradient by the input of {self.what}"
        return Primitive(self._data, (c.DIFF_DST, c.WEIGHTS, c.DIFF_SRC), what)

    @built
    def run_weights(self) -> Primitive:
        """(x, gy, gw [, gb])."""
        bias = (c.DIFF_BIAS,) if self.bias and not self.long else ()
        what = f"gradient by the weight of {self.what}"
        return Primitive(self._weights, (c.SRC, c.DIFF_DST, c.DIFF_WEIGHTS, *bias), what)

    @built
    def pack_forward(self) -> Packing:
        """From w to what `run_forward` reads."""
        return Packing(self._plain, self._forward, c.WEIGHTS, "weights")

    @built
    def pack_data(self) -> Packing:
        """From w to what `run_data` reads."""
        return Packing(self._plain, self._data, c.WEIGHTS, "weights")

    @built
    def unpack(self) -> Packing:
        """From what `run_weights` writes to gw."""
        return Packing(self._plain, self._weights, c.DIFF_WEIGHTS, "gradients of weights")


def _packed(packing: Packing, w: Array) -> int:
    """Give the address of the weight in the layout that a primitive reads."""
    if packing.same:
        return address(w)
    target = buffer(PACKED, packing.nbytes)
    packing(address(w), target)
    return target


def grouped(op: Conv, w: Shape) -> Shape:
    """Give the weight's shape with the groups as an axis of their own, where there are several."""
    return w if op.groups == 1 else (op.groups, w[0] // op.groups, *w[1:])


def out_shape(op: Conv, x: Shape, w: Shape) -> Shape:
    """Give the output's shape."""
    return op.infer(Spec(x, FLOAT32), Spec(w, FLOAT32))[0].shape


def spans(op: Conv, x: Shape, w: Shape) -> bool:
    """Tell whether there is one window, as large as the image: a dense layer in other words."""
    return op.groups == 1 and x[2:] == w[2:] and not any(map(any, op.padding))


def _rows(y: Shape) -> int:
    """Count the values of each channel."""
    return prod(y) // y[1]


def describe_conv(op: Conv, x: Shape, w: Shape, bias: bool) -> ConvPlan | None:
    """Give the plan of these shapes, None where the library has no fast one."""
    y = out_shape(op, x, w)
    whole = spans(op, x, w)
    kind = "inner_product" if whole else "convolution"  # one window: three times as fast
    result = y[:2] if whole else y
    layouts = channels_last(x), plain(result) if whole else channels_last(result)
    weights = any_layout(grouped(op, w))
    vector = plain((w[0],)) if bias else None
    in_one = None if _rows(y) > LONG else vector
    settings = () if whole else settings_of(op)
    engine, alg = runtime().engine, () if whole else (c.CONVOLUTION_DIRECT,)
    kinds = (c.FORWARD_TRAINING, *alg)
    ends: tuple[Any, ...] = layouts[0], weights, vector, layouts[1], *settings
    forward = describe(f"{kind}_forward", engine, *kinds, *ends)
    if forward is None:
        return None
    ends = layouts[0], weights, layouts[1], *settings, forward
    data = describe(f"{kind}_backward_data", engine, *alg, *ends)
    ends = layouts[0], weights, in_one, layouts[1], *settings, forward
    by_weights = describe(f"{kind}_backward_weights", engine, *alg, *ends)
    if data is None or by_weights is None:
        return None
    while _strays(op, x, by_weights):
        if not by_weights.pass_on():
            return None
    return ConvPlan(op, (x, w, bias), (forward, data, by_weights))


def settings_of(op: Conv) -> tuple[Shape, ...]:
    """Give strides, further steps within a window, and padding before and after."""
    spread = tuple([d - 1 for d in op.dilation])
    before, after = (tuple([pad[i] for pad in op.padding]) for i in (0, 1))
    return op.stride, spread, before, after


def _strays(op: Conv, x: Shape, by_weights: Description) -> bool:
    """Tell whether the gradient by the weights would write beyond its scratchpad.

    The library's 1x1 kernels copy every `stride`-th position of x there, in whole registers of
    channels: 16 or 8, for which it reserves no room (3.2; seen with AVX2 and AVX-512).
    """
    stepping = max(op.stride) > 1 and x[1] % 16 != 0
    return stepping and by_weights.implementation.startswith("jit_1x1")
