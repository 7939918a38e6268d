"""Convolution lowered to matrix products: im2col and BLAS on plain arrays, any number of axes.

With K = prod(kernel) and L = prod(out), the columns have one of two forms:

- by images, (n, groups, C/groups*K, L): a product for each image, made by one call of matmul; the
  result is (n, O, *out) as it lies.  Small products stay on one BLAS thread, which is what
  makes a small network fast.
- by rows, (n*L, C*K) or (n*L, K*C): one product for several images, whose result is channels-last.

Nothing loops over images or positions except to keep the columns of one part in the cache: all
of them would take K times the memory of x, and are written and read several times slower from
there.  The backward makes them again rather than keep them.  At stride 1 the gradient by x is the
correlation of the padded gy with the reversed filter, and the columns of gy serve the gradient by w
too.  Otherwise, or where it costs less, that takes the columns of x, and W^T gy is added back to
where the columns came from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from math import inf, prod
from typing import Any, TypeVar, cast

import numpy as np

from chainrule.engine.memory import keep_freed_memory
from chainrule.engine.op import Array
from chainrule.ops.matmul import blas
from chainrule.ops.products import SINGLE, matrix_product
from chainrule.ops.slabs import (
    Geometry,
    Part,
    allocate,
    channels_final,
    channels_last,
    dense,
    share,
    surround,
)
from chainrule.ops.window import Sizes, add_windows, crop, windows

WIDE = 256
"""Output positions an image above which a product for each is as fast as one for several."""

MANY, SHORT = 8, 32
"""From how many images on, and below what run of memory, columns are added back batch-last."""

SCATTER = 2.5
"""Adding an entry of a column back, as a multiple of copying it out: measured."""

FLOPS = 24.0
"""Multiply-adds of a product that take as long as copying one entry: measured."""

_multiply = partial(matrix_product, most=inf)

F = TypeVar("F", bound=Callable[..., Any])
Pair = tuple[Array | None, Array | None]


class _ByImages:
    """Columns (n, groups, C/groups*K, L) and the products with them."""

    def __init__(self, xp: Any, w: Array, groups: int) -> None:
        self.xp, self.groups, self.kernel = xp, groups, w.shape[2:]
        self.weight = blas(xp, w.reshape(groups, w.shape[0] // groups, prod(w.shape[1:])))

    def _grouped(self, y: Array) -> Array:
        """View y (n, O, *out) as (n, groups, O/groups, L); a copy if it lies otherwise."""
        n, o = y.shape[:2]
        return y.reshape(n, self.groups, o // self.groups, prod(y.shape[2:]))

    def columns(self, x: Array, g: Geometry) -> Array:
        """Make the columns of x, a view of it where its strides allow."""
        d = len(g.kernel)
        x = surround(self.xp, x, g.padding, False)
        view = windows(self.xp, x, g.kernel, g.stride, g.dilation)
        view = view.transpose(0, 1, *range(2 + d, 2 + 2 * d), *range(2, 2 + d))
        rows = x.shape[1] // self.groups * prod(g.kernel)
        return view.reshape(x.shape[0], self.groups, rows, prod(view.shape[2 + d :]))

    def product(self, columns: Array, y: Array) -> None:
        """Write weight times columns to y."""
        if channels_last(y):
            y[...] = _multiply(self.xp, self.weight, columns).reshape(y.shape)
        else:
            _multiply(self.xp, self.weight, columns, self._grouped(y))

    def by_weight(self, columns: Array, gy: Array) -> Array:
        """Give the gradient by the weight, (groups, O/groups, C/groups*K)."""
        each = _multiply(self.xp, self._grouped(gy), columns.transpose(0, 1, 3, 2))
        gw: Array = each[0] if len(each) == 1 else each.sum(axis=0)
        return gw

    def by_windows(self, gy: Array) -> Array:
        """Give the gradient by the windows, (n, C, *out, *kernel)."""
        d = len(self.kernel)
        gv = _multiply(self.xp, self.weight.transpose(0, 2, 1), self._grouped(gy))
        c = self.groups * gv.shape[2] // prod(self.kernel)
        gv = gv.reshape(gy.shape[0], c, *self.kernel, *gy.shape[2:])
        view: Array = gv.transpose(0, 1, *range(2 + d, 2 + 2 * d), *range(2, 2 + d))
        return view

    def shaped(self, gw: Array, shape: Sizes) -> Array:
        """Give the sum of `by_weight` the weight's shape."""
        return gw.reshape(shape)


class _ByRows:
    """Columns (n*L, K*C) if `last`, else (n*L, C*K), and the products with them; one group."""

    def __init__(self, xp: Any, w: Array, last: bool) -> None:
        self.xp, self.last, self.kernel = xp, last, w.shape[2:]
        flat = channels_final(w) if last else w
        self.weight = blas(xp, flat.reshape(w.shape[0], prod(w.shape[1:])))

    def _rows(self, y: Array) -> Array:
        """View y (n, O, *out) as (n*L, O); a copy if it lies otherwise."""
        return channels_final(y).reshape(y.shape[0] * prod(y.shape[2:]), y.shape[1])

    def columns(self, x: Array, g: Geometry) -> Array:
        """Make the columns of x, a view of it where its strides allow."""
        d = len(g.kernel)
        x = surround(self.xp, x, g.padding, self.last)
        view = windows(self.xp, x, g.kernel, g.stride, g.dilation)
        kernel = range(2 + d, 2 + 2 * d)
        view = view.transpose(0, *range(2, 2 + d), *((*kernel, 1) if self.last else (1, *kernel)))
        return view.reshape(prod(view.shape[: 1 + d]), prod(view.shape[1 + d :]))

    def product(self, columns: Array, y: Array) -> None:
        """Write weight times columns to y."""
        if channels_last(y):
            _multiply(self.xp, columns, self.weight.T, self._rows(y))
        else:
            target = channels_final(y)
            target[...] = _multiply(self.xp, columns, self.weight.T).reshape(target.shape)

    def by_weight(self, columns: Array, gy: Array) -> Array:
        """Give the gradient by the weight, (O, K*C) or (O, C*K)."""
        return _multiply(self.xp, self._rows(gy).T, columns)

    def by_windows(self, gy: Array) -> Array:
        """Give the gradient by the windows, (n, C, *out, *kernel)."""
        d, n, out = len(self.kernel), gy.shape[0], gy.shape[2:]
        gv = _multiply(self.xp, self._rows(gy), self.weight)
        if self.last:
            gv = gv.reshape(n, *out, *self.kernel, -1)
            view: Array = gv.transpose(0, 1 + 2 * d, *range(1, 1 + 2 * d))
        else:
            gv = gv.reshape(n, *out, -1, *self.kernel)
            view = gv.transpose(0, 1 + d, *range(1, 1 + d), *range(2 + d, 2 + 2 * d))
        return view

    def shaped(self, gw: Array, shape: Sizes) -> Array:
        """Give the sum of `by_weight` the weight's shape."""
        if not self.last:
            return gw.reshape(shape)
        o, c, *kernel = shape
        gw = gw.reshape(o, *kernel, c)
        fresh: Array = self.xp.ascontiguousarray(
            gw.transpose(0, gw.ndim - 1, *range(1, gw.ndim - 1))
        )
        return fresh


def _scatter_batch_last(xp: Any, w: Array, gy: Array, place: Array, g: Geometry) -> None:
    """Add W^T gy to place with the images innermost: long runs where all other axes are short."""
    c, sizes = place.shape[1], place.shape[2:]
    n, out = gy.shape[0], gy.shape[2:]
    d = len(out)
    weight = blas(xp, w.reshape(g.groups, w.shape[0] // g.groups, prod(w.shape[1:])))
    moved = gy.transpose(*range(1, d + 2), 0).reshape(*weight.shape[:2], prod(out) * n)
    gv = _multiply(xp, weight.transpose(0, 2, 1), moved).reshape(c, *g.kernel, *out, n)
    image = xp.zeros((c, *sizes, n), dtype=place.dtype).transpose(d + 1, *range(d + 1))
    values = gv.transpose(2 * d + 1, 0, *range(d + 1, 2 * d + 1), *range(1, d + 1))
    add_windows(xp, image, values, g.stride, g.padding, g.dilation)
    place += image


def _form(xp: Any, x: Array, w: Array, length: int, groups: int) -> _ByImages | _ByRows:
    """Choose the form of the columns of x, of which an image has `length`."""
    last, o = channels_last(x), w.shape[0]
    pointwise = prod(w.shape[2:]) == 1
    small = length >= WIDE and length * w.size <= SINGLE
    if groups > 1 or (not last and (pointwise or small)):
        return _ByImages(xp, w, groups)
    # rows (K, C) are copied faster, but want a reordered weight
    return _ByRows(xp, w, x.shape[0] * length > o and (last or length > 1))


def _sweep(
    xp: Any,
    x: Array,
    w: Array,
    g: Geometry,
    *,
    y: Array | None = None,
    b: Array | None = None,
    gy: Array | None = None,
) -> Array | None:
    """Make the columns of x once: write the correlation plus b to y, give w's gradient of gy.

    Both have the shape (N, O, *out); without gy the answer is None.
    """
    out = g.out(x.shape[2:])
    form = _form(xp, x, w, prod(out), g.groups)

    def work(run: list[Part]) -> Array | None:
        total = None
        for images, source, target, local in run:
            columns = form.columns(x[images, :, source], local)
            if y is not None:
                place = y[images, :, target]
                form.product(columns, place)
                if b is not None:
                    place += b.reshape(-1, *(1,) * len(out))
            if gy is not None:
                gw = form.by_weight(columns, gy[images, :, target])
                total = gw if total is None else xp.add(total, gw, out=total)
        return total

    totals = [gw for gw in share(x, w, out, g, work) if gw is not None]
    if gy is None:
        return None
    return form.shaped(sum(totals[1:], totals[0]), w.shape) if totals else xp.zeros_like(w)


def _in_single(run: F) -> F:
    """Compute half precision in single, since its sums would lose too much."""

    @wraps(run)
    def widened(xp: Any, x: Array, *rest: Any) -> Any:
        if x.dtype != np.float16:
            return run(xp, x, *rest)
        wide = [a.astype(np.float32) if hasattr(a, "astype") else a for a in (x, *rest)]
        result = run(xp, *wide)
        if not isinstance(result, tuple):
            return result.astype(x.dtype)
        return tuple([None if a is None else a.astype(x.dtype) for a in result])

    return cast(F, widened)


@_in_single
def convolve(xp: Any, x: Array, w: Array, b: Array | None, g: Geometry) -> Array:
    """Correlate x (N, C, *sizes) with w (O, C/groups, *kernel), add b (O,): (N, O, *out).

    The result has the memory order of x.
    """
    keep_freed_memory()
    x, out = dense(xp, x), g.out(x.shape[2:])
    y = allocate(xp.empty, (x.shape[0], w.shape[0], *out), x.dtype, channels_last(x))
    _sweep(xp, x, w, g, y=y, b=b)
    return y


@_in_single
def gradients(
    xp: Any, x: Array, w: Array, gy: Array, g: Geometry, needs: tuple[bool, bool]
) -> Pair:
    """Give the gradients of `convolve` by x, in its memory order, and by w; None if not needed."""
    x, gy = dense(xp, x), dense(xp, gy)
    if _reversal_pays(x, w, gy, g, needs):
        return _reversed_gradients(xp, x, w, gy, g, needs)
    gw = _sweep(xp, x, w, g, gy=gy) if needs[1] else None
    if not needs[0]:
        return None, gw
    out = gy.shape[2:]
    gx = allocate(xp.zeros, x.shape, x.dtype, channels_last(x))
    form = _form(xp, x, w, prod(out), g.groups)
    overlap = prod(out) > 1 and all(s == 1 for s in g.stride)
    run = out[-1] if isinstance(form, _ByImages) or not form.last else x.shape[1]

    def work(parts: list[Part]) -> None:
        for images, source, target, local in parts:
            place, part = gx[images, :, source], gy[images, :, target]
            if overlap and run < SHORT and part.shape[0] >= MANY:
                _scatter_batch_last(xp, w, part, place, local)
            else:
                values = form.by_windows(part)
                add_windows(xp, place, values, g.stride, local.padding, g.dilation)

    share(x, w, out, g, work, by_image=True)
    return gx, gw


def _reversal_pays(x: Array, w: Array, gy: Array, g: Geometry, needs: tuple[bool, bool]) -> bool:
    """Say whether the columns of gy cost less than those of x (in entries copied, over K)."""
    if any(s != 1 for s in g.stride):
        return False
    n, o, c = x.shape[0], w.shape[0], x.shape[1]
    here, there = prod(gy.shape[2:]), prod(x.shape[2:])
    wanted = sum(needs)
    multiply = o * c / g.groups * wanted / FLOPS
    reorder = 2 * o * w.shape[1] * wanted
    by_gy = n * there * (o + multiply) + reorder
    by_x = n * here * (c * (needs[1] + SCATTER * needs[0]) + multiply)
    return bool(by_gy < by_x)


def _reverse(w: Array, groups: int) -> Array:
    """Turn the filter round and swap its channels: (O, C/groups, *k) -> (C, O/groups, *k)."""
    o, c, *kernel = w.shape
    grouped = w.reshape(groups, o // groups, c, *kernel).swapaxes(1, 2)
    back: Any = (slice(None, None, -1),) * len(kernel)
    turned = grouped[(..., *back)]
    return turned.reshape(groups * c, o // groups, *kernel)


def _within(x: Array, g: Geometry) -> tuple[Array, Geometry]:
    """Cut off what a negative padding leaves out, so that none is negative."""
    cut = crop(x, tuple((max(0, -p), max(0, -q)) for p, q in g.padding))
    return cut, g._replace(padding=tuple((max(0, p), max(0, q)) for p, q in g.padding))


def _reversed_gradients(
    xp: Any, x: Array, w: Array, gy: Array, g: Geometry, needs: tuple[bool, bool]
) -> Pair:
    gy, back = _within(gy, g.reversed())  # what lies on the padding of x alone reaches nothing
    gx = allocate(xp.empty, x.shape, x.dtype, channels_last(x)) if needs[0] else None
    turned = _sweep(xp, gy, _reverse(w, g.groups), back, y=gx, gy=x if needs[1] else None)
    return gx, None if turned is None else xp.ascontiguousarray(_reverse(turned, g.groups))


@_in_single
def spread(xp: Any, x: Array, w: Array, b: Array | None, g: Geometry, sizes: Sizes) -> Array:
    """Transpose `convolve`: x (N, O, *out) with w (O, C/groups, *kernel), plus b (C,).

    The result is (N, C, *sizes), in the memory order of x.  `g` says how windows lie over it, of
    which there are as many as x has places: its padding may be negative behind.
    """
    keep_freed_memory()
    x = dense(xp, x)
    shape = (x.shape[0], w.shape[1] * g.groups, *sizes)
    like = allocate(xp.empty, shape, x.dtype, channels_last(x))  # is looked at, but not read
    y, _ = gradients(xp, like, w, x, g, (True, False))
    assert y is not None
    if b is not None:
        y += b.reshape(-1, *(1,) * len(sizes))
    return y


@_in_single
def spread_gradients(
    xp: Any, x: Array, w: Array, gy: Array, g: Geometry, needs: tuple[bool, bool]
) -> Pair:
    """Give the gradients of `spread` by x, in its memory order, and by w; None if not needed.

    Both take the columns of gy, which are made once.
    """
    x, (seen, g) = dense(xp, x), _within(dense(xp, gy), g)
    gx = allocate(xp.empty, x.shape, x.dtype, channels_last(x)) if needs[0] else None
    gw = _sweep(xp, seen, w, g, y=gx, gy=x if needs[1] else None) if any(needs) else None
    return gx, gw


def sum_to_channels(xp: Any, gy: Array) -> Array:
    """Sum (N, C, *spatial) over all but the channels, in two steps: many short sums err less."""
    n, c = gy.shape[:2]
    length = prod(gy.shape[2:])
    if not channels_last(gy):
        partial: Array = gy.reshape(n, c, length).sum(axis=2)
        return partial.sum(axis=0)  # type: ignore[no-any-return]
    partial = channels_final(gy).reshape(n, length * c).sum(axis=0)
    return partial.reshape(length, c).sum(axis=0)  # type: ignore[no-any-return]
