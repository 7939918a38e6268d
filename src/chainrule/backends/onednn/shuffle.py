"""Channels and places exchanged: the library's copies between orders of axes, in either layout."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import (
    FLOAT32,
    address,
    empty_laid,
    in_layout,
    is_dense,
    is_float32,
)
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.primitives import Primitive, Shape, describe, plain, strided
from chainrule.backends.onednn.runtime import cached, planned_for, runtime, work
from chainrule.engine.op import Array, Spec
from chainrule.ops.shuffle import ChannelShuffle, PixelShuffle, PixelUnshuffle


class Exchange(NamedTuple):
    """Memory seen with these axes, and the order in which they are copied."""

    axes: tuple[int, ...]
    order: tuple[int, ...]


class Plan(NamedTuple):
    """The copies there and back."""

    y: Shape
    forward: Primitive
    backward: Primitive


class Shuffle:
    """A pair that copies; subclasses say how, there and back."""

    def exchange(self, op: Any, shape: Shape, last: bool, back: bool) -> Exchange:
        """Say how x, of this shape, becomes y, or gy gx."""
        raise NotImplementedError

    def _plan(self, op: Any, x: Array) -> Plan | None:
        last = not x.flags.c_contiguous
        return cached((op, x.shape, last), lambda: self._build(op, x.shape, last))

    def _build(self, op: Any, shape: Shape, last: bool) -> Plan | None:
        (y,) = op.infer(Spec(shape, FLOAT32))
        ways = [self.exchange(op, shape, last, back) for back in (False, True)]
        with planned_for(work(2 * prod(shape))):
            there, back = (_copy(way, f"{op} of {shape}") for way in ways)
        return None if there is None or back is None else Plan(y.shape, there, back)

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, large enough, and copies that the library has."""
        x = arrays[0]
        if x.size < Limits.small or not is_float32(x) or not is_dense(x):
            return False
        return self._plan(op, x) is not None

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout; save x's shape and layout."""
        x = arrays[0]
        plan, last = self._plan(op, x), not x.flags.c_contiguous
        assert plan is not None
        y = empty_laid(plan.y, last)
        plan.forward(address(x), address(y))
        return (y,), (x.shape, last)

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout."""
        shape, last = saved
        g, gx = in_layout(gy, last), empty_laid(shape, last)
        plan = self._plan(op, gx)
        assert plan is not None
        plan.backward(address(g), address(gx))
        return (gx,)


def _copy(way: Exchange, what: str) -> Primitive | None:
    axes, order = way
    steps = tuple([prod(axes[i + 1 :]) for i in order])
    shape, engine = tuple([axes[i] for i in order]), runtime().engine
    ends = strided(shape, steps), engine, plain(shape), engine
    description = describe("reorder", *ends, slow=True)
    return None if description is None else Primitive(description, (c.SRC, c.DST), what)


@ONEDNN.kernel(ChannelShuffle)
class ChannelShufflePair(Shuffle):
    """ChannelShuffle: groups and their channels change places."""

    def exchange(self, op: ChannelShuffle, shape: Shape, last: bool, back: bool) -> Exchange:
        """See the channels as (groups, each), or in gy as (each, groups)."""
        n, channels, *rest = shape
        split = [op.groups, channels // op.groups]
        split = split[::-1] if back else split
        places = prod(rest)
        if last:
            return Exchange((n * places, *split), (0, 2, 1))
        return Exchange((n, *split, places), (0, 2, 1, 3))


INTO_CELLS, OUT_OF_CELLS = (0, 1, 4, 2, 5, 3), (0, 1, 3, 5, 2, 4)
"""(N, H, W, C, r, r) to (N, H, r, W, r, C) and back; in C order (N, C, r, r, H, W) likewise."""


class Cells(Shuffle):
    """Groups of r*r channels and cells of r x r pixels."""

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Images in batches."""
        return arrays[0].ndim == 4 and super().supports(op, arrays)

    def cells(self, op: Any, deep: Shape, last: bool, into: bool) -> Exchange:
        """Say how what is deep, (N, C r r, H, W), becomes wide, or the reverse."""
        r, (n, channels, h, w) = op.factor, deep
        few = channels // (r * r)
        if into:
            return Exchange((n, h, w, few, r, r) if last else (n, few, r, r, h, w), INTO_CELLS)
        return Exchange((n, h, r, w, r, few) if last else (n, few, h, r, w, r), OUT_OF_CELLS)


@ONEDNN.kernel(PixelShuffle)
class PixelShufflePair(Cells):
    """PixelShuffle."""

    def exchange(self, op: PixelShuffle, shape: Shape, last: bool, back: bool) -> Exchange:
        """Put channels into cells."""
        return self.cells(op, shape, last, not back)


@ONEDNN.kernel(PixelUnshuffle)
class PixelUnshufflePair(Cells):
    """PixelUnshuffle."""

    def exchange(self, op: PixelUnshuffle, shape: Shape, last: bool, back: bool) -> Exchange:
        """Take channels out of cells."""
        (n, channels, h, w), r = shape, op.factor
        return self.cells(op, (n, channels * r * r, h // r, w // r), last, back)
