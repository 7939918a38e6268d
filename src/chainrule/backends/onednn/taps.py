"""Padding and resampling, by our own kernel; without it oneDNN's pair resamples where it can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.backends.onednn.arrays import empty_laid, in_layout, is_dense, is_float32
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import cached
from chainrule.backends.onednn.tables import Axis, Plan, copies, plan, unchanged
from chainrule.engine.op import Array
from chainrule.ops.pad import Pad, PadBorder, widths
from chainrule.ops.resample import Interpolate
from chainrule.ops.resample_weights import table


class Taps:
    """A pair by the tables of its axes, which subclasses give, and what stands without kernels."""

    def axes(self, op: Any, shape: Shape, turned: bool) -> list[Axis]:
        """Give each axis's table, turned for the gradient."""
        raise NotImplementedError

    def beyond(self, op: Any) -> float:
        """Give the number that stands where no place of x comes in."""
        return 0.0

    def _plans(self, op: Any, x: Shape, last: bool) -> tuple[Shape, Plan, Plan] | None:
        return cached(("taps", op, x, last), lambda: self._build(op, x, last))

    def _build(self, op: Any, x: Shape, last: bool) -> tuple[Shape, Plan, Plan] | None:
        each = [self.axes(op, x, turned) for turned in (False, True)]
        y = tuple([axis.terms.size for axis in each[0]])
        if last:
            each = [[axes[0], *axes[2:], axes[1]] for axes in each]
        there, back = map(plan, each)
        return None if there is None or back is None or 0 in y else (y, there, back)

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, large enough, and short sums."""
        x = arrays[0]
        if x.size < Limits.small or not is_float32(x) or not is_dense(x):
            return False
        return self._plans(op, x.shape, not x.flags.c_contiguous) is not None

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout; save x's shape and layout."""
        x = arrays[0]
        last = not x.flags.c_contiguous
        found = self._plans(op, x.shape, last)
        assert found is not None
        y = empty_laid(found[0], last)
        found[1](x, y, self.beyond(op))
        return (y,), (x.shape, last)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout."""
        shape, last = saved
        found = self._plans(op, shape, last)
        assert found is not None
        gx = empty_laid(shape, last)
        found[2](in_layout(gy, last), gx)
        return (gx,)


class PadTaps(Taps):
    """Padding; subclasses say where what is beyond a border comes from."""

    def sources(self, op: Any, n: int, before: int, after: int) -> Sequence[int]:
        """Give for each place along a padded axis of n elements where its value comes from."""
        found: Sequence[int] = op.sources(n, before, after)
        return found

    def axes(self, op: Any, shape: Shape, turned: bool) -> list[Axis]:
        """Leave the axes without widths as they are."""
        pairs = zip(shape, widths(op.pad, len(shape)), strict=True)
        return [
            copies(n, self.sources(op, n, *pair), turned) if any(pair) else unchanged(n)
            for n, pair in pairs
        ]


@ONEDNN.ours(PadBorder)
class PadBorderTaps(PadTaps):
    """PadBorder in its three modes."""


@ONEDNN.ours(Pad)
class PadConstantTaps(PadTaps):
    """Pad, along any axes."""

    def sources(self, op: Any, n: int, before: int, after: int) -> Sequence[int]:
        """Number the places; those beyond are none of x's."""
        return range(-before, n + after)

    def beyond(self, op: Pad) -> float:
        """Give what surrounds x."""
        return op.value


@ONEDNN.ours(Interpolate)
class InterpolateTaps(Taps):
    """Interpolate in all of its modes."""

    def axes(self, op: Interpolate, shape: Shape, turned: bool) -> list[Axis]:
        """Take the rules' tables."""
        return [unchanged(n) for n in shape[:2]] + [
            unchanged(rule.n)
            if rule.keeps
            else Axis(rule.m if turned else rule.n, table(rule, turned))
            for rule in op.rules(shape[2:], "f")
        ]
