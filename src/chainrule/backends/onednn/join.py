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
from chainrule.backends.onednn.own import INT, POINTER, have_kernels, kernel, sizes
from chainrule.backends.onednn.primitives import (
    Primitive,
    Shape,
    channels_last,
    describe,
    plain,
    strided,
)
from chainrule.backends.onednn.runtime import Current, cached, planned_for, runtime, work
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


class Rows:
    """Short rows by our own kernel: all parts in one pass, there and back."""

    def __init__(self, rows: int, lengths: Sequence[int]) -> None:
        self._sizes = sizes(rows, len(lengths), *lengths)
        self._pointers = c_void_p * len(lengths)
        self._threads = Current.thread.threads
        self._run = kernel("join", *[POINTER] * 3, INT, INT)

    def __call__(self, parts: Sequence[Array | None], whole: Array, apart: bool) -> None:
        """Write the whole, or the parts that are not None."""
        where = self._pointers(*[None if part is None else address(part) for part in parts])
        self._run(self._sizes, where, address(whole), apart, self._threads)


MANY, SHORT = 64, 1 << 13
"""Rows from which, and numbers in each up to which, our kernel is the faster."""


def _rows(shapes: tuple[Shape, ...], dim: int, last: bool) -> Rows | None:
    return cached(("rows", shapes, dim, last), lambda: _build_rows(shapes, dim, last))


def _build_rows(shapes: tuple[Shape, ...], dim: int, last: bool) -> Rows | None:
    if last:
        shapes = tuple([(n, *rest, channels) for n, channels, *rest in shapes])
        dim = (0, len(shapes[0]) - 1, *range(1, len(shapes[0]) - 1))[dim]
    rows, lengths = prod(shapes[0][:dim]), [prod(shape[dim:]) for shape in shapes]
    if not have_kernels() or rows < MANY or sum(lengths) > SHORT:
        return None
    with planned_for(work(2 * rows * sum(lengths))):
        return Rows(rows, lengths)


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
        last = _prefers_last(arrays)
        found = _rows(shapes, op.dim, last) or _plan(shapes, op.dim, last)
        return found is not None

    def forward(self, op: Cat, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in the first layout that is clear; save the shapes."""
        last = _prefers_last(arrays)
        shapes = tuple([a.shape for a in arrays])
        y = empty_laid(_joined(shapes, op.dim), last)
        parts = [in_layout(a, last) for a in arrays]
        rows = _rows(shapes, op.dim, last)
        if rows is not None:
            rows(parts, y, False)
            return (y,), (shapes, last)
        plan = _plan(shapes, op.dim, last)
        assert plan is not None
        plan(*[address(a) for a in parts], address(y))
        return (y,), (shapes, last)

    def backward(
        self, op: Cat, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Copy each part of gy into an array of its own."""
        shapes, last = saved
        g = in_layout(gy, last)
        rows = _rows(shapes, op.dim, last)
        if rows is not None:
            ends = zip(shapes, needs, strict=True)
            parts = tuple([empty_laid(shape, last) if need else None for shape, need in ends])
            rows(parts, g, True)
            return parts
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
