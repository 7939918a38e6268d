"""Dropout of values, or of whole channels, by our own kernels: one pass each way."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn.arrays import (
    FLOAT32,
    address,
    empty_as,
    is_float32,
    is_last,
    laid_as,
    to_dense,
)
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.own import (
    FLOAT,
    INT,
    LONG,
    POINTER,
    Kernel,
    kernel,
    scratch,
    size_of,
    sizes,
)
from chainrule.backends.onednn.runtime import Current, cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.dropout import Dropout


def _by_value() -> Kernel:
    return kernel("dropout", *[POINTER] * 3, LONG, *[FLOAT] * 3, INT, INT)


class ChannelsPlan:
    """Scaling and moving of the channels of each image of a shape, in one layout."""

    def __init__(self, shape: tuple[int, ...], plain: bool) -> None:
        images, channels = shape[:2]
        rows = prod(shape[2:])
        self._threads = Current.thread.threads
        self._sizes = sizes(images, rows, channels, 1, plain and rows > 1)
        self._run = kernel("scale_channels", *[POINTER] * 6, INT)
        self._scratch = size_of("norm", POINTER)(self._sizes)

    def __call__(self, x: Array, gain: Array, shift: Array | None) -> Array:
        """Give x * gain [+ shift]."""
        out = empty_as(x)
        ends = address(x), address(gain), None if shift is None else address(shift), address(out)
        self._run(self._sizes, *ends, scratch(self._scratch), self._threads)
        return out


def _by_channel(x: Array, gain: Array, shift: Array | None) -> Array:
    x = to_dense(x)
    shape, plain = x.shape, x.flags.c_contiguous
    key = ("scale channels", shape, plain)
    plan = cached(key, lambda: ChannelsPlan(shape, plain), work(2 * x.size))
    return plan(x, gain, shift)


def _laid(mask: Array, x: Array) -> Array:
    """Give a mask of x's shape in x's layout."""
    if x.flags.c_contiguous:
        return np.ascontiguousarray(mask)
    if is_last(mask):
        return mask
    n, channels, *rest = x.shape
    copy = np.ascontiguousarray(mask.reshape(n, channels, -1).transpose(0, 2, 1))
    return np.moveaxis(copy.reshape(n, *rest, channels), -1, 1)


@ONEDNN.ours(Dropout)
class DropoutPair:
    """Dropout by a mask of x's shape, or of (N, C, 1, ...); y is laid out as x."""

    def supports(self, op: Dropout, arrays: Sequence[Array]) -> bool:
        """Float32, large enough, and a mask of one of the two shapes that drops not all."""
        x, mask = arrays
        if x.size < max(1, Limits.small) or not is_float32(x):
            return False
        by_channel = x.shape[:2] + (1,) * (x.ndim - 2)
        return op.scale != 0 and mask.shape in (x.shape, by_channel)

    def forward(self, op: Dropout, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y; save the mask in its layout, or the channels' factors."""
        x, mask = to_dense(arrays[0]), arrays[1]
        if mask.shape == x.shape:
            mask = _laid(mask, x)
            return (self._masked(op, x, mask, op.moves),), mask
        shift = None
        mask = np.ascontiguousarray(mask)
        gain = mask * np.float32(op.scale)
        if op.moves:
            shift = np.where(mask, np.float32(op.stays), np.float32(op.dropped))
        return (_by_channel(x, gain, shift),), gain

    def backward(
        self, op: Dropout, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx."""
        if not needs[0]:
            return None, None
        if saved.dtype == FLOAT32:
            return _by_channel(gy, saved, None), None
        return self._masked(op, laid_as(saved, gy), saved, False), None

    def _masked(self, op: Dropout, x: Array, mask: Array, moved: bool) -> Array:
        """Give x * mask * scale, moved or not."""
        out = empty_as(x)
        run = cached(("dropout",), _by_value)
        threads = threads_for(work(2 * x.size))
        factors = op.scale, op.stays, op.dropped
        run(address(x), address(mask), address(out), x.size, *factors, moved, threads)
        return out
