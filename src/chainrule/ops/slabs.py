"""How a convolution is cut: geometry, memory order, parts that fit the cache, threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil, prod
from typing import Any, NamedTuple, TypeVar

from chainrule.engine.op import Array
from chainrule.engine.workers import run_all
from chainrule.ops.window import Pads, Sizes, crop, output_size

T = TypeVar("T")

SLAB = 2 << 20
"""Bytes of columns made at once: measured; they stay in the cache."""

WORK, ROWS = 1 << 26, 256
"""Multiply-adds made at once, a millisecond or two, but never for less than 256 windows."""

LARGE, LANES, SPARE = 8, 8, 1 << 26
"""SLABs or WORKs from which threads share them, in at most 8 runs, whose sums take 64 MB."""


class Geometry(NamedTuple):
    """How windows lie: each setting has one entry for a spatial axis."""

    kernel: Sizes
    stride: Sizes
    padding: Pads
    dilation: Sizes
    groups: int = 1

    def out(self, sizes: Sizes) -> Sizes:
        """Give the number of windows along each axis."""
        axes = zip(sizes, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple(output_size(*axis) for axis in axes)

    def reversed(self) -> Geometry:
        """Give the geometry in which gy is correlated to give gx, at stride 1."""
        axes = zip(self.kernel, self.padding, self.dilation, strict=True)
        padding = tuple((d * (k - 1) - p, d * (k - 1) - q) for k, (p, q), d in axes)
        return self._replace(padding=padding)


class Part(NamedTuple):
    """Some images, or some rows of one: where they are read and written, and their geometry."""

    images: slice
    source: slice
    target: slice
    geometry: Geometry


def parts(x: Array, w: Array, out: Sizes, g: Geometry) -> list[Part]:
    """Cut x (N, C, *sizes) into parts of about SLAB bytes of columns, or WORK if that is less."""
    count, whole = x.shape[0], slice(None)
    nbytes, work = weigh(x, w, out, g)
    size = max(nbytes, min(work, count * prod(out) / ROWS)) / max(1, count)  # of one image
    if size <= 1:
        step = max(1, ceil(count / max(1, ceil(size * count))))
        return [Part(slice(i, i + step), whole, whole, g) for i in range(0, count, step)]
    step = max(1, ceil(out[0] / ceil(size)))
    rows = [_rows(x.shape[2], row, min(row + step, out[0]), g) for row in range(0, out[0], step)]
    return [Part(slice(i, i + 1), *cut) for i in range(count) for cut in rows]


def _rows(size: int, start: int, end: int, g: Geometry) -> tuple[slice, slice, Geometry]:
    """Say which rows of an image rows start..end-1 of the output see, and their padding."""
    first = start * g.stride[0] - g.padding[0][0]
    span = (end - start - 1) * g.stride[0] + g.dilation[0] * (g.kernel[0] - 1) + 1
    low = min(max(first, 0), size)
    high = max(min(first + span, size), low)
    before = max(0, min(-first, span))
    padding = ((before, span - before - (high - low)), *g.padding[1:])
    return slice(low, high), slice(start, end), g._replace(padding=padding)


def weigh(x: Array, w: Array, out: Sizes, g: Geometry) -> tuple[float, float]:
    """Give the columns' bytes in SLABs and the multiply-adds in WORKs."""
    windows = x.shape[0] * prod(out)
    nbytes = windows * x.shape[1] * prod(g.kernel) * x.itemsize
    return nbytes / SLAB, windows * w.size / WORK


def share(
    x: Array,
    w: Array,
    out: Sizes,
    g: Geometry,
    work: Callable[[list[Part]], T],
    *,
    by_image: bool = False,
) -> list[T]:
    """Do the work on all parts, in several runs of them on several threads where it is large.

    The runs depend on shapes alone, and so do sums over them.  With `by_image` no two
    runs share an image.
    """
    cut = parts(x, w, out, g)
    if max(weigh(x, w, out, g)) < LARGE:
        return [work(cut)]
    lanes = max(1, min(LANES, SPARE // max(1, w.nbytes)))
    keys = [part.images.start for part in cut] if by_image else range(len(cut))
    runs: dict[int, list[Part]] = {}
    for key, part in zip(keys, cut, strict=True):
        runs.setdefault(key * lanes // (keys[-1] + 1), []).append(part)
    return run_all([partial(work, run) for run in runs.values()])


def channels_last(x: Array) -> bool:
    """Say whether the axes of (N, C, *spatial) lie in memory as (N, *spatial, C).

    Axes of size 1 do not decide it; where nothing does, the answer is no.
    """
    if x.shape[1] < 2:
        return False
    spatial = [abs(t) for n, t in zip(x.shape[2:], x.strides[2:], strict=True) if n > 1]
    return bool(spatial) and abs(x.strides[1]) < min(spatial)


def channels_final(x: Array) -> Array:
    """View (N, C, *spatial) as (N, *spatial, C)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def allocate(make: Any, shape: Sizes, dtype: Any, last: bool) -> Array:
    """Allocate (N, C, *spatial) in either order of memory by xp.empty or xp.zeros."""
    if not last:
        fresh: Array = make(shape, dtype=dtype)
        return fresh
    fresh = make((shape[0], *shape[2:], shape[1]), dtype=dtype)
    return fresh.transpose(0, fresh.ndim - 1, *range(1, fresh.ndim - 1))


def dense(xp: Any, x: Array) -> Array:
    """Give x if it is contiguous in either order of memory, else a copy in the nearer of them."""
    if x.flags.c_contiguous or channels_final(x).flags.c_contiguous:
        return x
    fresh = allocate(xp.empty, x.shape, x.dtype, channels_last(x))
    fresh[...] = x
    return fresh


def surround(xp: Any, x: Array, padding: Pads, last: bool) -> Array:
    """Pad x with zeros in the order of memory that is wanted; x itself if nothing is to do."""
    padded = any(before or after for before, after in padding)
    if not padded and channels_last(x) == last:
        return x
    shape = tuple(b + n + a for n, (b, a) in zip(x.shape[2:], padding, strict=True))
    make = xp.zeros if padded else xp.empty
    fresh = allocate(make, (*x.shape[:2], *shape), x.dtype, last)
    crop(fresh, padding)[...] = x
    return fresh
