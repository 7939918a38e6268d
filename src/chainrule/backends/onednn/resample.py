"""Resampling by oneDNN, where there are no kernels: linear between neighbours, and by copies."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import (
    address,
    empty_last,
    finite,
    is_dense,
    is_float32,
    to_last,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.pool import PoolPlan
from chainrule.backends.onednn.primitives import Shape, channels_last, describe, plain
from chainrule.backends.onednn.runtime import cached, planned_for, runtime, work
from chainrule.engine.op import Array
from chainrule.ops.resample import Interpolate
from chainrule.ops.resample_weights import Rule, nearest

FACTORS = None  # the sizes say all

NEAR = 2e-6
"""How far apart the library's places and the rule's may lie: their weights differ by as much."""


def _alike(rule: Rule) -> bool:
    """Tell whether the library, which knows n and m alone, puts the places where the rule does.

    It rounds otherwise, and by more the larger the image; factors of 2 are exact.
    """
    twice = 2 * np.arange(rule.m) + 1
    if rule.mode != "linear":  # a half between two goes up
        return np.array_equal(nearest(rule), twice * rule.n // (2 * rule.m))
    if rule.keeps:
        return True
    half, n, m = np.float32(0.5), np.float32(rule.n), np.float32(rule.m)
    places = twice.astype(np.float32) * half * n / m - half
    return bool(np.abs(places - rule.places()).max() <= NEAR)


def _algorithm(op: Interpolate, x: Shape) -> int | None:
    """Give the library's algorithm, None where it has none."""
    if op.antialias or op.mode in ("cubic", "lanczos"):
        return None
    if not all(map(_alike, op.rules(x[2:], "f"))):
        return None
    return c.RESAMPLING_LINEAR if op.mode == "linear" else c.RESAMPLING_NEAREST


def _build(op: Interpolate, x: Shape, last: bool) -> PoolPlan | None:
    alg, engine = _algorithm(op, x), runtime().engine
    if alg is None:
        return None
    y = (*x[:2], *op.size)
    layouts = [channels_last(s) if last else plain(s) for s in (x, y)]
    with planned_for(work(prod(x) + 2 * prod(y))):
        ends = (alg, FACTORS, *layouts)
        forward = describe("resampling_forward", engine, c.FORWARD_TRAINING, *ends)
        if forward is None:
            return None
        backward = describe("resampling_backward", engine, *ends, forward)
    return None if backward is None else PoolPlan((forward, backward), x, y, f"{op} of {x}")


@ONEDNN.kernel(Interpolate)
class InterpolatePair:
    """Interpolate, linear or nearest, where the sizes alone say where the places lie.

    A weight of 0 times infinity is NaN in the reference, and the library leaves some such terms
    out: what is not finite goes to the reference.
    """

    def _plan(self, op: Interpolate, x: Shape, last: bool) -> PoolPlan | None:
        return cached((op, x, last), lambda: _build(op, x, last))

    def supports(self, op: Interpolate, arrays: Sequence[Array]) -> bool:
        """Float32, nothing empty, and places that the library puts where the reference does."""
        x = arrays[0]
        last = not x.flags.c_contiguous
        return is_float32(x) and self._plan(op, x.shape, last) is not None

    def forward(self, op: Interpolate, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout, channels-last where x has gaps; save x's shape and layout."""
        x = arrays[0] if is_dense(arrays[0]) else to_last(arrays[0])
        last = not x.flags.c_contiguous
        if op.mode == "linear" and not finite(x):
            return run_reference(op, arrays)
        plan = self._plan(op, x.shape, last)
        assert plan is not None
        y = empty_last(plan.y) if last else np.empty(plan.y, np.float32)
        plan.run_forward(address(x), address(y))
        return (y,), (x.shape, last)

    def backward(
        self, op: Interpolate, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        shape, last = saved
        g = to_last(gy) if last else np.ascontiguousarray(gy)
        if not finite(g):
            gradients: tuple[Array | None, ...] = op.backward(np, saved, gy, needs)
            return gradients
        plan = self._plan(op, shape, last)
        assert plan is not None
        gx = empty_last(shape) if last else np.empty(shape, np.float32)
        plan.run_backward(address(g), address(gx))
        return (gx,)
