"""Sampling at the places that a grid names (Jaderberg et al., 2015), and affine grids.

Images are read as rows, one a pixel with its channels side by side, and one of zeros at the end
for what lies outside: so an index is worked out once for all channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal, uniform
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.engine.workers import run_all
from chainrule.errors import KindError, ShapeError, UndefinedKindError, failure
from chainrule.ops.arguments import flag, int_tuple
from chainrule.ops.formulas import quiet
from chainrule.ops.index import scatter_add
from chainrule.ops.matmul import matmul
from chainrule.ops.permute import transpose
from chainrule.ops.pool_windows import channels_last
from chainrule.ops.resample_weights import cubic_slopes, cubic_weights, multiply_add
from chainrule.ops.shape import reshape

MODES = ("bilinear", "nearest", "bicubic")
PADDING = ("zeros", "border", "reflection")

PART = 1 << 16
"""Elements of the result that are worked out at once: their factors stay in the cache."""


class Taps(NamedTuple):
    """What each place sees along one axis, (taps, places): elements, weights, their slopes.

    An element outside the image lies `BEYOND`, however the other axes add to it.
    """

    offset: Array
    weight: Array
    slope: Array


@dataclass(frozen=True)
class GridSample(Op):
    """y[n, :, q] = x[n] at the place that grid[n, q] = (x, y[, z]) names, -1..1 along each axis.

    gx = gy times the weights, added where they took; the grid's gradient is the weights' slope.
    """

    mode: str = "bilinear"
    padding_mode: str = "zeros"
    align_corners: bool = False

    def infer(self, x: Spec, grid: Spec) -> tuple[Spec, ...]:
        d = x.ndim - 2
        if d not in (2, 3) or grid.ndim != x.ndim:
            rule = "(N, C, H, W) and a grid (N, *sizes, 2), or (N, C, D, H, W) and (N, *sizes, 3)"
            raise failure(self, rule, input=x, grid=grid)
        if x.shape[0] != grid.shape[0]:
            rule = f"one batch size: {x.shape[0]} = {grid.shape[0]}"
            raise failure(self, rule, input=x, grid=grid)
        if grid.shape[-1] != d:
            rule = f"{d} coordinates along the grid's last axis, not {grid.shape[-1]}"
            raise failure(self, rule, input=x, grid=grid)
        if 0 in x.shape[2:]:
            raise failure(self, "no empty axis after (N, C)", input=x)
        if self.mode == "bicubic" and d == 3:
            raise failure(self, "(N, C, H, W) in mode 'bicubic'", input=x)
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, input=x)
        if x.dtype != grid.dtype:
            rule = "an input and a grid of one dtype"
            raise failure(self, rule, error=KindError, input=x, grid=grid)
        return (Spec((*x.shape[:2], *grid.shape[1:-1]), x.dtype),)

    @quiet
    def forward(self, xp: Any, x: Array, grid: Array) -> tuple[tuple[Array, ...], Any]:
        rows, taps, base = self._read(xp, x, grid)
        y = xp.empty((len(base), x.shape[1]), x.dtype)
        step = max(1, PART // max(1, x.shape[1]))
        parts = [slice(i, i + step) for i in range(0, len(base), step)]
        run_all([partial(_sample, xp, rows, taps, base, part, y) for part in parts])
        return (_unrolled(xp, y, x, grid.shape[1:-1]),), (x, grid)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, grid = saved
        rows, taps, base = self._read(xp, x, grid)
        g = xp.ascontiguousarray(xp.moveaxis(gy, 1, -1)).reshape(len(base), x.shape[1])
        gx = ggrid = None
        if needs[0]:
            total = _spread(xp, rows.shape, taps, base, g)
            gx = _unrolled(xp, total, x, x.shape[2:])
        if needs[1]:
            by_place = xp.zeros((len(taps), len(base)), grid.dtype)
            step = max(1, PART // max(1, x.shape[1]))
            parts = [slice(i, i + step) for i in range(0, len(base), step)]
            if self.mode != "nearest":
                run_all([partial(_steepness, xp, rows, taps, base, p, g, by_place) for p in parts])
            ggrid = xp.ascontiguousarray(by_place[::-1].T).reshape(grid.shape)
        return gx, ggrid

    def _read(self, xp: Any, x: Array, grid: Array) -> tuple[Array, list[Taps], Array]:
        """Give the image's rows, the taps of each axis, and where each place's image begins."""
        n, c, *sizes = x.shape
        pixels, count = prod(sizes), prod(grid.shape[1:-1])
        rows = xp.empty((n * pixels + 1, c), x.dtype)
        rows[:-1].reshape(n, *sizes, c)[...] = xp.moveaxis(x, 1, -1)
        rows[-1] = 0
        coordinates = grid.reshape(n * count, len(sizes))
        taps = []
        for axis, size in enumerate(sizes):
            along = coordinates[:, len(sizes) - 1 - axis]
            stride = prod(sizes[axis + 1 :])
            taps.append(self._taps(xp, along, size, stride, n * pixels, len(sizes) == 2))
        return rows, taps, xp.repeat(xp.arange(n) * pixels, count)

    def _taps(
        self, xp: Any, coordinate: Array, size: int, stride: int, beyond: int, fused: bool
    ) -> Taps:
        half = (size - 1) / 2 if self.align_corners else size / 2
        shift = 0.0 if self.align_corners else -0.5
        at = _scaled(xp, coordinate, half, shift, fused)
        steep = xp.full_like(at, half)
        if self.mode != "bicubic":
            at, turn = self._inside(xp, at, size)
            steep = steep * turn
        if self.mode == "nearest":
            places, weights, slopes = [xp.rint(at)], [xp.ones_like(at)], [xp.zeros_like(at)]
        else:
            low = xp.floor(at)
            t = at - low
            if self.mode == "bilinear":
                places, weights, slopes = [low, low + 1], [1 - t, t], [-steep, steep]
            else:
                places = [self._inside(xp, low + k, size)[0] for k in range(-1, 3)]
                weights = list(cubic_weights(t))
                slopes = [s * steep for s in cubic_slopes(t)]
        place = xp.stack(places)
        there = (place >= 0) & (place <= size - 1)  # false for NaN
        offset = xp.where(there, place, 0).astype(np.intp) * stride
        offset = xp.where(there, offset, beyond)
        return Taps(offset, xp.stack(weights), xp.stack(slopes))

    def _inside(self, xp: Any, at: Array, size: int) -> tuple[Array, Any]:
        """Move places beyond the border into the image; tell which way they go there, 0 if fixed.

        At the border itself they count as fixed, as in PyTorch.  NaN becomes 0.
        """
        turn: Any = 1
        if self.padding_mode == "zeros":
            return at, turn
        if self.padding_mode == "reflection":
            low, span = (0.0, size - 1) if self.align_corners else (-0.5, size)
            if span == 0:
                return xp.zeros_like(at), 0
            away = at - low
            there = xp.fmod(xp.abs(away), 2 * span)
            back = 2 * span - there
            turn = 1 - 2 * ((there > back) ^ (away < 0)).astype(at.dtype)
            at = xp.minimum(there, back) + low
        turn = ((at > 0) & (at < size - 1)).astype(at.dtype) * turn
        return xp.fmin(xp.fmax(at, 0), size - 1), turn

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for mode in MODES:
            for padding_mode in PADDING:
                op = cls(mode, padding_mode, padding_mode == "border")
                yield Sample(op, normal(2, 2, 3, 4), _between(op, (2, 3, 2, 2), (3, 4)))
        op = cls("bilinear", "reflection", True)
        yield Sample(op, normal(1, 2, 2, 3, 4), _between(op, (1, 2, 1, 3, 3), (2, 3, 4)))
        op = cls()
        yield Sample(op, normal(1, 1, 3, 2, 3), _between(op, (1, 2, 2, 1, 3), (3, 2, 3)))
        yield Sample(cls(), normal(1, 2, 1, 1), uniform(1, 2, 2, 2, low=-0.9, high=-0.1))
        yield Sample(cls(), normal(0, 2, 3, 3), normal(0, 2, 2, 2))


def _between(op: GridSample, shape: tuple[int, ...], sizes: tuple[int, ...]) -> Array:
    """Make a grid of places inside and outside the image that keep away from kinks."""
    rng = np.random.default_rng(prod(shape))
    lead = shape[:-1]
    places = [rng.integers(-n, 2 * n, lead) + rng.uniform(0.1, 0.4, lead) for n in sizes]
    scaled = [
        2 * p / (n - 1) - 1 if op.align_corners else (2 * p + 1) / n - 1
        for p, n in zip(places, sizes, strict=True)
    ]
    return np.stack(scaled[::-1], -1)


def _scaled(xp: Any, coordinate: Array, half: float, shift: float, fused: bool) -> Array:
    """Give (coordinate + 1) half + shift, from -1..1 to places; rounded once if `fused`.

    PyTorch's kernel for images fuses the two, and that for volumes does not.
    """
    one = coordinate + 1
    if fused and shift and isinstance(one, np.ndarray):
        return multiply_add(one, half, shift)
    places: Array = one * half + shift
    return places


def _seen(
    xp: Any, rows: Array, taps: Sequence[Taps], base: Array, part: Any
) -> Iterator[tuple[Array, list[Array], list[Array]]]:
    """Walk over what each place sees: rows' indices, and for each axis the weights and slopes."""
    for choice in product(*[range(len(t.offset)) for t in taps]):
        chosen = list(zip(taps, choice, strict=True))
        index = base[part]
        for t, k in chosen:
            index = index + t.offset[k, part]
        weights, slopes = ([t[i][k, part] for t, k in chosen] for i in (1, 2))
        yield xp.minimum(index, len(rows) - 1), weights, slopes


def _times(factors: Sequence[Array]) -> Array:
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result


def _sample(xp: Any, rows: Array, taps: Sequence[Taps], base: Array, part: slice, y: Array) -> None:
    """Write the part of y: the sum of what each place sees, weighed."""
    total = None
    for index, weights, _ in _seen(xp, rows, taps, base, part):
        values = rows[index]
        values *= _times(weights)[:, None]
        if total is None:
            total = values
        else:
            total += values
    y[part] = total


def _spread(xp: Any, shape: tuple[int, ...], taps: Sequence[Taps], base: Array, g: Array) -> Array:
    """Add g times its weights to the rows that each place sees; what lies outside is dropped."""
    total: Array = xp.zeros(shape, g.dtype)
    for index, weights, _ in _seen(xp, total, taps, base, slice(None)):
        total += scatter_add(xp, shape, (index,), g * _times(weights)[:, None])
    return total[:-1]


def _steepness(
    xp: Any, rows: Array, taps: Sequence[Taps], base: Array, part: slice, g: Array, out: Array
) -> None:
    """Add to out (axes, places): gy times what y changes by along each axis."""
    for index, weights, slopes in _seen(xp, rows, taps, base, part):
        met = xp.einsum("lc,lc->l", rows[index], g[part])
        for axis, slope in enumerate(slopes):
            out[axis, part] += _times([slope, *weights[:axis], *weights[axis + 1 :], met])


def _unrolled(xp: Any, rows: Array, x: Array, sizes: tuple[int, ...]) -> Array:
    """View rows as (N, C, *sizes); a copy in C order unless x is channels-last."""
    n, c = x.shape[:2]
    y: Array = xp.moveaxis(rows.reshape(n, *sizes, c), -1, 1)
    return y if channels_last(x, x.ndim - 2) else xp.ascontiguousarray(y)


@public
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Sample images at the places of a grid (Jaderberg et al., 2015).

    grid[n, i, j] = (x, y), or (x, y, z) in three dimensions: -1 and 1 are the outer edges of the
    first and the last pixel, or with `align_corners` their centres.  Pixel 0's centre is place 0:
    the place of x in W pixels is ((x + 1) W - 1)/2, or (x + 1)(W - 1)/2.

    "bilinear" weighs the neighbours (also of three dimensions), "nearest" copies the nearest, of
    two equally near the even one, "bicubic" (images alone) weighs 4 x 4 by Keys's kernel with
    a = -3/4.  Places outside see "zeros", the "border" repeated, or its "reflection".
    The grid's gradient is 0 in mode "nearest", and where such padding holds a place to the border.

    Shapes: (N, C, H, W), (N, H', W', 2) -> (N, C, H', W'), or (N, C, D, H, W),
    (N, D', H', W', 3) -> (N, C, D', H', W').  N may be 0.
    Raises ShapeError for shapes and settings that do not fit, KindError for dtypes.

    >>> import chainrule as cr
    >>> image, grid = cr.tensor([[[[1.0, 3.0]]]]), cr.tensor([[[[0.0, 0.0], [2.0, 0.0]]]])
    >>> cr.nn.functional.grid_sample(image, grid)
    tensor([[[[2.0, 0.0]]]])
    >>> cr.nn.functional.grid_sample(image, grid, padding_mode="border")
    tensor([[[[2.0, 3.0]]]])
    """
    if mode not in MODES:
        raise failure("grid_sample", f"a mode among {MODES}", mode=mode)
    if padding_mode not in PADDING:
        raise failure("grid_sample", f"a padding_mode among {PADDING}", padding_mode=padding_mode)
    aligned = align_corners is not None and flag(align_corners, "grid_sample align_corners")
    return apply(GridSample(mode, padding_mode, aligned), input, grid)


def _centres(n: int, align_corners: bool, dtype: Any) -> Array:
    """Give the coordinates of n pixels' centres in -1..1."""
    if n == 1:
        return np.zeros(1, dtype)
    edge = 1.0 if align_corners else (n - 1) / n
    return np.linspace(-edge, edge, n).astype(dtype)


@public
def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Make the grid on which `grid_sample` shows images moved by affine maps.

    grid[n, i, j] = theta[n] (x_j, y_i, 1): the centre of pixel (i, j) of the result in -1..1
    goes to the place in the image that it shows.  -1 and 1 are the outer edges, or with
    `align_corners` the outer pixels' centres; an axis of one pixel lies at 0.

    Shapes: (N, 2, 3) -> (N, H, W, 2) for `size` (N, C, H, W); (N, 3, 4) -> (N, D, H, W, 3) for
    (N, C, D, H, W).
    Raises ShapeError for shapes and sizes that do not fit, KindError for sizes that are no
    integers, NotImplementedError for other numbers of axes.

    >>> import chainrule as cr
    >>> turn = cr.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])  # by a quarter
    >>> image = cr.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> cr.nn.functional.grid_sample(image, cr.nn.functional.affine_grid(turn, (1, 1, 2, 2)))
    tensor([[[[2.0, 4.0],
              [1.0, 3.0]]]])
    """
    name, x = "affine_grid", as_tensor(theta)
    sizes = int_tuple(size, f"{name} size", bare=False)
    aligned = align_corners is not None and flag(align_corners, f"{name} align_corners")
    if x.dtype.kind != "f":
        raise failure(name, "a floating-point theta", error=ShapeError, theta=x)
    d = len(sizes) - 2
    if d not in (2, 3):
        rule = "a size (N, C, H, W) or (N, C, D, H, W)"
        raise NotImplementedError(str(failure(name, rule, size=sizes)))
    if x.ndim != 3 or x.shape[1:] != (d, d + 1):
        raise failure(name, f"theta (N, {d}, {d + 1}) for {d} axes", theta=x, size=sizes)
    if min(sizes) < 1:
        raise failure(name, f"sizes of at least 1, not {min(sizes)}", size=sizes)
    if x.shape[0] != sizes[0]:
        raise failure(name, f"a batch of {sizes[0]} maps, as the size says", theta=x, size=sizes)
    axes = [_centres(n, aligned, x.dtype) for n in sizes[2:]]
    places = np.meshgrid(*axes, indexing="ij")[::-1]
    base = np.stack([*places, np.ones(sizes[2:], x.dtype)], -1).reshape(-1, d + 1)
    grid = matmul(Tensor(base), transpose(x, 1, 2))
    return reshape(grid, (sizes[0], *sizes[2:], d))
