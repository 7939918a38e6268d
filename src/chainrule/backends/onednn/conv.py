"""Convolution and its transpose, forward and backward, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.activation import relu_gradient
from chainrule.backends.onednn.arrays import address, as_plain, by_rows, is_float32, to_last
from chainrule.backends.onednn.backend import ONEDNN, needed
from chainrule.backends.onednn.conv_plan import ConvPlan, describe_conv, out_shape
from chainrule.backends.onednn.dense import column_sums
from chainrule.backends.onednn.narrow import narrow_plan
from chainrule.backends.onednn.own import have_kernels
from chainrule.backends.onednn.primitives import Primitive, Shape, describe, plain
from chainrule.backends.onednn.runtime import cached, planned_for, runtime, work
from chainrule.backends.onednn.winograd import winograd_plan
from chainrule.engine.op import Array
from chainrule.ops.conv import Conv
from chainrule.ops.conv_transpose import ConvTranspose
from chainrule.ops.fused import ConvReLU


def plan_conv(op: Conv, x: Shape, w: Shape, bias: bool) -> ConvPlan | None:
    """Give the plan of these shapes, None where the library has no fast one."""
    key = (op.stride, op.padding, op.dilation, op.groups, x, w, bias)
    return cached(key, lambda: _build(op, x, w, bias))


def _build(op: Conv, x: Shape, w: Shape, bias: bool) -> ConvPlan | None:
    y = out_shape(op, x, w)
    with planned_for(work(prod(x) + prod(y), prod(y) * prod(w[1:]))):
        plan = describe_conv(op, x, w, bias)
        return None if plan is None else _quickest(op, plan)


def _quickest(op: Conv, plan: ConvPlan) -> ConvPlan:
    """Put our own kernels, where there are any and they are faster, before the primitives."""
    if not have_kernels():
        return plan
    return winograd_plan(op, plan) or narrow_plan(op, plan) or plan


def _batched(op: Conv | ConvTranspose, x: Array) -> Array:
    """Give a single image a batch of its own."""
    return x[None] if x.ndim == len(op.stride) + 1 else x


@ONEDNN.kernel(Conv)
class ConvPair:
    """Conv on channels-last activations, as its shapes' plan computes it."""

    relu = False

    def supports(self, op: Conv, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, and no reference implementation."""
        if not is_float32(*arrays):
            return False
        x, w = _batched(op, arrays[0]), arrays[1]
        return plan_conv(op, x.shape, w.shape, len(arrays) == 3) is not None

    def forward(self, op: Conv, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save the channels-last x, and w."""
        y, saved, _ = self.convolve(op, arrays)
        return (y if y.ndim == arrays[0].ndim else y[0],), saved

    def convolve(self, op: Conv, arrays: Sequence[Array]) -> tuple[Array, Any, bool]:
        """Give y with the batch's axis, what the backward needs, and whether ReLU's y is finite."""
        x, w = to_last(_batched(op, arrays[0])), as_plain(arrays[1])
        bias = as_plain(arrays[2]) if len(arrays) == 3 else None
        plan = plan_conv(op, x.shape, w.shape, bias is not None)
        assert plan is not None
        y, finite = plan.forward(x, w, bias, self.relu)
        return y, (x, w, bias is not None), finite

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
            gx = plan.input_gradient(g, w)
            gx = gx[0] if single else gx
        if any(needs[1:]):
            gw, gb = plan.weight_gradient(x, g, bias and needs[2])
        return needed((gx, gw, gb)[: len(needs)], needs)


@ONEDNN.kernel(ConvReLU)
class ConvReLUPair(ConvPair):
    """ConvReLU: the convolution, and ReLU in the memory of its result."""

    relu = True

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save it too, since its zeros are where no gradient passes."""
        y, saved, finite = self.convolve(op, arrays)
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


def plan_transposed(op: ConvTranspose, x: Shape, w: Shape) -> ConvPlan | None:
    """Give the plan of the convolution that this is the transpose of, None where none is fast."""
    y = (x[0], w[1] * op.groups, *op.sizes(x, w))
    return plan_conv(op.convolution, y, w, False)


@ONEDNN.kernel(ConvTranspose)
class ConvTransposePair:
    """ConvTranspose by its convolution's plan, in which images and gradients change places.

    The library's deconvolution is the same primitives, and does not know our own kernels.
    """

    def supports(self, op: ConvTranspose, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, no reference implementation, as many windows as x has places."""
        if not is_float32(*arrays):
            return False
        if any(more >= s for more, s in zip(op.output_padding, op.stride, strict=True)):
            return False
        x, w = _batched(op, arrays[0]), arrays[1]
        return plan_transposed(op, x.shape, w.shape) is not None

    def forward(self, op: ConvTranspose, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y channels-last; save the channels-last x, and w."""
        x, w = to_last(_batched(op, arrays[0])), as_plain(arrays[1])
        plan = plan_transposed(op, x.shape, w.shape)
        assert plan is not None
        y, bias = plan.input_gradient(x, w), len(arrays) == 3
        if bias:
            _add_to_rows(by_rows(y), as_plain(arrays[2]))
        return (y if y.ndim == arrays[0].ndim else y[0],), (x, w, bias)

    def backward(
        self, op: ConvTranspose, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx channels-last, gw and gb plain."""
        x, w, bias = saved
        g = to_last(_batched(op, gy))
        plan = plan_transposed(op, x.shape, w.shape)
        assert plan is not None
        gx = gw = gb = None
        if needs[0]:
            gx, _ = plan.forward(g, w, None, False)
            gx = gx[0] if gy.ndim < x.ndim else gx
        if needs[1]:
            gw, _ = plan.weight_gradient(g, x, False)
        if bias and needs[2]:
            gb = column_sums(by_rows(g))
        return (gx, gw, gb) if bias else (gx, gw)


def _add_to_rows(y: Array, b: Array) -> None:
    """Add b (C,) to every row of y (rows, C), in place."""
    key = ("bias", y.shape)
    add = cached(key, lambda: _build_bias(y.shape), work(2 * y.size))
    if add is None:
        y += b
    else:
        add(address(y), address(b), address(y))


def _build_bias(shape: Shape) -> Primitive | None:
    rows, row = plain(shape), plain((1, shape[1]))
    description = describe("binary", runtime().engine, c.BINARY_ADD, rows, row, rows)
    if description is None:
        return None
    return Primitive(description, (c.SRC, c.SRC_1, c.DST), f"bias added to {shape}")
