"""Convolution: forward, by data and by weights, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.activation import relu_gradient, relu_in_place
from chainrule.backends.onednn.arrays import (
    FLOAT32,
    LONG,
    Packing,
    address,
    as_plain,
    by_rows,
    empty_last,
    is_float32,
    to_last,
)
from chainrule.backends.onednn.backend import ONEDNN
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
from chainrule.backends.onednn.runtime import buffer, cached, planned_for, runtime, work
from chainrule.engine.op import Array, Spec
from chainrule.ops.conv import Conv
from chainrule.ops.fused import ConvReLU

PACKED = 1  # the slot of the shared buffers in which packed weights lie


class ConvPlan:
    """Three primitives for one convolution's shapes, and the packing of its weights."""

    def __init__(
        self, op: Conv, shapes: tuple[Shape, Shape, bool], found: tuple[Description, ...]
    ) -> None:
        self._forward, self._data, self._weights = found
        self.x, self.w, self.bias = shapes
        self.y = _out(op, self.x, self.w)
        self.long = self.bias and _rows(self.y) > LONG
        self.what = f"{op!r} of {self.x} with {self.w}"
        self._plain = plain(_grouped(op, self.w))

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


def _grouped(op: Conv, w: Shape) -> Shape:
    """Give the weight's shape with the groups as an axis of their own, where there are several."""
    return w if op.groups == 1 else (op.groups, w[0] // op.groups, *w[1:])


def _out(op: Conv, x: Shape, w: Shape) -> Shape:
    return op.infer(Spec(x, FLOAT32), Spec(w, FLOAT32))[0].shape


def plan_conv(op: Conv, x: Shape, w: Shape, bias: bool) -> ConvPlan | None:
    """Give the plan of these shapes, None where the library has no fast one."""
    key = (op.stride, op.padding, op.dilation, op.groups, x, w, bias)
    return cached(key, lambda: _build(op, x, w, bias))


def _build(op: Conv, x: Shape, w: Shape, bias: bool) -> ConvPlan | None:
    y = _out(op, x, w)
    with planned_for(work(prod(x) + prod(y), prod(y) * prod(w[1:]))):
        return _described(op, x, w, bias, y)


def _described(op: Conv, x: Shape, w: Shape, bias: bool, y: Shape) -> ConvPlan | None:
    whole = op.groups == 1 and x[2:] == w[2:] and not any(map(any, op.padding))
    kind = "inner_product" if whole else "convolution"  # one window: three times as fast
    result = y[:2] if whole else y
    layouts = channels_last(x), plain(result) if whole else channels_last(result)
    weights = any_layout(_grouped(op, w))
    vector = plain((w[0],)) if bias else None
    in_one = None if _rows(y) > LONG else vector
    settings = () if whole else _settings(op)
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


def _settings(op: Conv) -> tuple[Shape, ...]:
    """Give strides, further steps within a window, and padding before and after."""
    spread = tuple([d - 1 for d in op.dilation])
    before, after = (tuple([pad[i] for pad in op.padding]) for i in (0, 1))
    return op.stride, spread, before, after


def _rows(y: Shape) -> int:
    """Count the values of each channel."""
    return prod(y) // y[1]


def _strays(op: Conv, x: Shape, by_weights: Description) -> bool:
    """Tell whether the gradient by the weights would write beyond its scratchpad.

    The library's 1x1 kernels copy every `stride`-th position of x there, in whole registers of
    channels: 16 or 8, for which it reserves no room (3.2; seen with AVX2 and AVX-512).
    """
    stepping = max(op.stride) > 1 and x[1] % 16 != 0
    return stepping and by_weights.implementation.startswith("jit_1x1")


def _batched(op: Conv, x: Array) -> Array:
    """Give a single image a batch of its own."""
    return x[None] if x.ndim == len(op.stride) + 1 else x


@ONEDNN.kernel(Conv)
class ConvPair:
    """Conv by oneDNN's direct convolutions on channels-last activations.

    The weights are packed for each primitive into a buffer that the thread's convolutions share.
    """

    def supports(self, op: Conv, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, and no reference implementation."""
        if not is_float32(*arrays):
            return False
        x, w = _batched(op, arrays[0]), arrays[1]
        return plan_conv(op, x.shape, w.shape, len(arrays) == 3) is not None

    def forward(self, op: Conv, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save the channels-last x, and w."""
        y, saved = self.convolve(op, arrays)
        return (y if y.ndim == arrays[0].ndim else y[0],), saved

    def convolve(self, op: Conv, arrays: Sequence[Array]) -> tuple[Array, Any]:
        """Give y with the batch's axis, and what the backward needs."""
        x, w = to_last(_batched(op, arrays[0])), as_plain(arrays[1])
        bias = [as_plain(b) for b in arrays[2:]]
        plan = plan_conv(op, x.shape, w.shape, bool(bias))
        assert plan is not None
        y = empty_last(plan.y)
        packed = _packed(plan.pack_forward, w)
        plan.run_forward(address(x), packed, *[address(b) for b in bias], address(y))
        return y, (x, w, bool(bias))

    def backward(
        self, op: Conv, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last, gw and gb plain."""
        x, w, bias = saved
        single = gy.ndim < x.ndim
        g = to_last(_batched(op, gy))
        plan = plan_conv(op, x.shape, w.shape, bias)
        assert plan is not None
        gx = gw = gb = None
        if needs[0]:
            gx = empty_last(x.shape)
            plan.run_data(address(g), _packed(plan.pack_data, w), address(gx))
            gx = gx[0] if single else gx
        if any(needs[1:]):
            gw, gb = np.empty(w.shape, FLOAT32), np.empty(w.shape[0] if bias else 0, FLOAT32)
            unpack = plan.unpack
            target = address(gw) if unpack.same else buffer(PACKED, unpack.nbytes)
            plan.run_weights(address(x), address(g), target, *([address(gb)] if bias else []))
            if not unpack.same:
                unpack(target, address(gw))
            if plan.long and needs[2]:
                gb = column_sums(by_rows(g))
        gradients = (gx, gw, gb)
        return tuple([v if need else None for v, need in zip(gradients, needs, strict=False)])


def _packed(packing: Packing, w: Array) -> int:
    """Give the address of the weight in the layout that a primitive reads."""
    if packing.same:
        return address(w)
    target = buffer(PACKED, packing.nbytes)
    packing(address(w), target)
    return target


@ONEDNN.kernel(ConvReLU)
class ConvReLUPair(ConvPair):
    """ConvReLU: the convolution, and ReLU in the memory of its result."""

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save it too, since its zeros are where no gradient passes."""
        y, saved = self.convolve(op, arrays)
        finite = relu_in_place(y)
        return (y if y.ndim == arrays[0].ndim else y[0],), (*saved, y, finite)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Stop the gradient where y is 0, then go through the convolution."""
        *rest, y, finite = saved
        g = relu_gradient(y, gy if gy.ndim == y.ndim else gy[None], finite)
        gradients = super().backward(op, tuple(rest), g, needs)
        if gy.ndim < y.ndim and gradients[0] is not None:
            return (gradients[0][0], *gradients[1:])
        return gradients
