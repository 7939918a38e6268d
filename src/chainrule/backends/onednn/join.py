"""Concatenation, and the cutting of its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_void_p
from math import prod
from typing import Any

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import (
    address,
    empty_laid,
    in_layout,
    is_dense,
    is_float32,
    is_last,
    reorder,
)
from chainrule.backends.onednn.backend import ONEDNN, Limits
from chainrule.backends.onednn.primitives import (
    Primitive,
    Shape,
    channels_last,
    describe,
    plain,
    strided,
)
from chainrule.backends.onednn.runtime import cached, runtime, work
from chainrule.engine.op import Array
from chainrule.ops.join import Cat


def _layout(shape: Shape, last: bool) -> Any:
    return channels_last(shape) if last else plain(shape)


def _prefers_last(arrays: Sequence[Array]) -> bool:
    """Tell whether the first array that lies in one layout alone is channels-last."""
    for a in arrays:
        if a.ndim > 2 and a.flags.c_contiguous != is_last(a):
            return is_last(a)
    return arrays[0].ndim > 2


def _joined(shapes: Sequence[Shape], dim: int) -> Shape:
    total = sum(shape[dim] for shape in shapes)
    return (*shapes[0][:dim], total, *shapes[0][dim + 1 :])


def _plan(shapes: tuple[Shape, ...], dim: int, last: bool) -> Primitive | None:
    """Give (x1, ..., xn, y), None where the library has no fast one."""
    effort = work(2 * sum(map(prod, shapes)))
    return cached(("cat", shapes, dim, last), lambda: _build(shapes, dim, last), effort)


def _build(shapes: tuple[Shape, ...], dim: int, last: bool) -> Primitive | None:
    layouts = [_layout(shape, last) for shape in shapes]
    sources = (c_void_p * len(shapes))(*[layout.handle.value for layout in layouts])
    whole = _layout(_joined(shapes, dim), last)
    description = describe("concat", runtime().engine, whole, len(shapes), dim, sources)
    if description is None:
        return None
    args = [c.MULTIPLE_SRC + i for i in range(len(shapes))]
    return Primitive(description, (*args, c.DST), f"concatenation of {shapes} along axis {dim}")


@ONEDNN.kernel(Cat)
class CatPair:
    """Cat of arrays that are laid out alike; the gradients' parts are dense again."""

    def supports(self, op: Cat, arrays: Sequence[Array]) -> bool:
        """Float32, dense, none empty, large enough together."""
        first = arrays[0]
        if sum(a.size for a in arrays) < Limits.small or not is_float32(*arrays):
            return False
        if not all(is_dense(a) for a in arrays) or first.ndim > 5:
            return False
        shapes = tuple([a.shape for a in arrays])
        return _plan(shapes, op.dim, _prefers_last(arrays)) is not None

    def forward(self, op: Cat, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in the first layout that is clear; save the shapes."""
        last = _prefers_last(arrays)
        shapes = tuple([a.shape for a in arrays])
        plan = _plan(shapes, op.dim, last)
        assert plan is not None
        y = empty_laid(_joined(shapes, op.dim), last)
        parts = [in_layout(a, last) for a in arrays]
        plan(*[address(a) for a in parts], address(y))
        return (y,), (shapes, last)

    def backward(
        self, op: Cat, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Copy each part of gy into an array of its own."""
        shapes, last = saved
        g = in_layout(gy, last)
        start = address(g)
        gradients: list[Array | None] = []
        for shape, need in zip(shapes, needs, strict=True):
            gradients.append(self._part(g, start, shape, last) if need else None)
            start += shape[op.dim] * g.strides[op.dim]
        return tuple(gradients)

    def _part(self, g: Array, start: int, shape: Shape, last: bool) -> Array:
        steps = tuple([step // g.itemsize for step in g.strides])
        key = ("part", shape, steps, last)
        what = f"part {shape} of a gradient"
        copy = cached(
            key,
            lambda: reorder(strided(shape, steps), _layout(shape, last), what),
            work(2 * prod(shape)),
        )
        gx = empty_laid(shape, last)
        copy(start, address(gx))
        return gx
