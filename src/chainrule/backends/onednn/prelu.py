"""PReLU with one slope, or one for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import (
    address,
    as_plain,
    empty_as,
    finite,
    is_dense,
    is_float32,
    laid_as,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.primitives import (
    Description,
    Primitive,
    Shape,
    built,
    channels_last,
    describe,
    plain,
)
from chainrule.backends.onednn.runtime import cached, runtime, work
from chainrule.engine.op import Array
from chainrule.ops.activation_channel import PReLU

LONGEST = 1 << 16
"""Values of a channel whose gradients the library adds within 1e-4."""


class PReLUPlan:
    """PReLU of one shape, forward and backward."""

    def __init__(self, found: tuple[Description, Description], what: str) -> None:
        self._found, self.what = found, what

    @built
    def run_forward(self) -> Primitive:
        """(x, w, y)."""
        return Primitive(self._found[0], (c.SRC, c.WEIGHTS, c.DST), self.what)

    @built
    def run_backward(self) -> Primitive:
        """(x, w, gy, gx, gw)."""
        args = (c.SRC, c.WEIGHTS, c.DIFF_DST, c.DIFF_SRC, c.DIFF_WEIGHTS)
        return Primitive(self._found[1], args, f"gradient of {self.what}")


def _plan(x: Shape, slopes: int, last: bool) -> PReLUPlan | None:
    key = ("prelu", x, slopes, last)
    return cached(key, lambda: _build(x, slopes, last), work(3 * prod(x)))


def _build(x: Shape, slopes: int, last: bool) -> PReLUPlan | None:
    engine, layout = runtime().engine, channels_last(x) if last else plain(x)
    ones = [1] * len(x)
    if slopes > 1:
        ones[1] = slopes
    weights = plain(tuple(ones))
    forward = describe("prelu_forward", engine, c.FORWARD_TRAINING, layout, weights, layout)
    if forward is None:
        return None
    ends = layout, weights, layout, weights, layout
    backward = describe("prelu_backward", engine, *ends, forward)
    if backward is None:
        return None
    return PReLUPlan((forward, backward), f"prelu of {x} with {slopes} slopes")


@ONEDNN.kernel(PReLU)
class PReLUPair:
    """PReLU of finite values."""

    def _find(self, x: Array, w: Array) -> PReLUPlan | None:
        return _plan(x.shape, w.size, not x.flags.c_contiguous)

    def supports(self, op: PReLU, arrays: Sequence[Array]) -> bool:
        """Float32, dense, and large enough."""
        x, w = arrays
        if x.size < Limits.small or not 2 <= x.ndim <= 5 or x.size > LONGEST * x.shape[1]:
            return False
        return is_float32(x, w) and is_dense(x) and self._find(x, w) is not None

    def forward(self, op: PReLU, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout; save x and the slopes."""
        x, w = arrays[0], as_plain(arrays[1])
        if not finite(x):
            return run_reference(op, arrays)
        plan = self._find(x, w)
        assert plan is not None
        y = empty_as(x)
        plan.run_forward(address(x), address(w), address(y))
        return (y,), (x, w)

    def backward(
        self, op: PReLU, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout, and gw."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        x, w = saved
        plan = self._find(x, w)
        assert plan is not None
        g, gx, gw = laid_as(x, gy), empty_as(x), np.empty_like(w)
        plan.run_backward(address(x), address(w), address(g), address(gx), address(gw))
        return gx if needs[0] else None, gw if needs[1] else None
