"""The same elements several times: repeat, tile, repeat_interleave; windows along an axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.arguments import axis, int_tuple, integer, numpy_names
from chainrule.ops.broadcast import total
from chainrule.ops.gather import index_select
from chainrule.ops.join import part
from chainrule.ops.shape import ravel

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


@dataclass(frozen=True)
class Repeat(Op):
    """y = x put side by side `repeats` times along each axis.  gx = the sum of the copies' gy."""

    repeats: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        lead = len(self.repeats) - x.ndim
        if lead < 0:
            rule = f"a number of repeats for each of {x.ndim} axes, not {len(self.repeats)}"
            raise failure(self, rule, input=x)
        if min(self.repeats, default=0) < 0:
            raise failure(self, f"repeats of 0 or more, not {min(self.repeats)}", input=x)
        sizes = zip(self.repeats, (1,) * lead + x.shape, strict=True)
        return (Spec(tuple([r * n for r, n in sizes]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        return (xp.tile(x, self.repeats),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        lead = (1,) * (len(self.repeats) - len(shape)) + shape
        apart = [n for pair in zip(self.repeats, lead, strict=True) for n in pair]
        copies = tuple(range(0, len(apart), 2))
        gx = total(xp, gy.reshape(apart), copies).astype(gy.dtype, copy=False)
        return (gx.reshape(shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 3)), normal(3, 2))
        yield Sample(cls((2, 1, 3)), normal(3, 2))
        yield Sample(cls((4,)), normal())
        yield Sample(cls((0, 2)), normal(3, 2))
        yield Sample(cls(()), normal())


@public
def repeat(input: Tensor, repeats: Sequence[int]) -> Tensor:
    """Put copies side by side: `repeats` tells how many along each axis, new ones in front.

    Shapes: (A, B) -> (r * A, s * B) for repeats (r, s).  The copies' gradients add up.
    Raises ShapeError for fewer numbers than axes and for negative ones.

    >>> import chainrule as cr
    >>> cr.repeat(cr.tensor([1, 2]), (2, 2))
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """
    return apply(Repeat(int_tuple(repeats, "repeat", bare=False)), as_tensor(input))


@public
def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """Put copies side by side: as `repeat`, but fewer numbers than axes mean the last axes.

    >>> import chainrule as cr
    >>> cr.tile(cr.tensor([[1, 2]]), (2,))
    tensor([[1, 2, 1, 2]])
    """
    x = as_tensor(input)
    counts = int_tuple(dims, "tile", bare=False)
    return apply(Repeat((1,) * (x.ndim - len(counts)) + counts), x)


@dataclass(frozen=True)
class RepeatInterleave(Op):
    """y = every slice of x along an axis `repeats` times, one after the other.

    gx = the sum of the copies' gy.
    """

    repeats: int
    dim: int = 0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if self.repeats < 0:
            raise failure(self, f"repeats of 0 or more, not {self.repeats}", input=x)
        n = x.shape[self.dim] * self.repeats
        return (Spec((*x.shape[: self.dim], n, *x.shape[self.dim + 1 :]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        return (xp.repeat(x, self.repeats, axis=self.dim),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        apart = (*shape[: self.dim + 1], self.repeats, *shape[self.dim + 1 :])
        copies = (self.dim + 1,)
        return (total(xp, gy.reshape(apart), copies).astype(gy.dtype, copy=False),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2), normal(3))
        yield Sample(cls(3, 1), normal(2, 3, 2))
        yield Sample(cls(0, 1), normal(2, 3))


@dataclass(frozen=True)
class RepeatedIndices(Op):
    """y = 0 repeats[0] times, 1 repeats[1] times, and so on; no gradient."""

    def infer(self, repeats: Spec) -> tuple[Spec, ...]:
        if repeats.ndim != 1 or repeats.dtype.name not in ("int64", "int32"):
            rule = "a vector of repeats, of int64 or int32"
            raise failure("repeat_interleave", rule, repeats=repeats)
        shape: tuple[Any, ...] = (None,)
        return (Spec(shape, repeats.dtype, False),)

    def forward(self, xp: Any, repeats: Array) -> Forward:
        if repeats.size and int(repeats.min()) < 0:
            rule = f"repeats of 0 or more, not {int(repeats.min())}"
            raise failure("repeat_interleave", rule)
        return (xp.repeat(xp.arange(repeats.size, dtype=repeats.dtype), repeats),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), np.array([2, 0, 3]))


@public
@numpy_names
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Repeat every element, or slice along `dim`, before the next: [1, 2] -> [1, 1, 2, 2].

    `repeats` is one number, or a vector with one for each; without `dim` the input is flattened.
    `repeat_interleave(repeats)` alone gives the indices.
    Shapes: (..., A, ...) -> (..., sum of the repeats, ...), which `output_size` may tell.
    Raises ShapeError for negative repeats, for numbers that do not fit and for an `output_size`
    that is not the sum, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1, 2], [3, 4]])
    >>> cr.repeat_interleave(x, 2), cr.repeat_interleave(x, cr.tensor([1, 2]), dim=0)
    (tensor([1, 1, 2, 2, 3, 3, 4, 4]), tensor([[1, 2],
            [3, 4],
            [3, 4]]))
    """
    name = "repeat_interleave"
    if repeats is None:
        return _told(apply(RepeatedIndices(), as_tensor(input)), 0, output_size)
    x = as_tensor(input)
    if dim is None:
        x, dim = ravel(x), 0
    along = axis(dim, x.ndim, name)
    x = x if x.ndim else ravel(x)
    if not isinstance(repeats, Tensor | np.ndarray):
        count = integer(repeats, f"{name} repeats", "an integer or a tensor")
        return _told(apply(RepeatInterleave(count, along), x), along, output_size)
    times = as_tensor(repeats)
    if times.dtype.kind not in "iu":
        raise failure(name, "whole numbers of repeats", error=UndefinedKindError, repeats=times)
    if times.ndim > 1 or prod(times.shape) not in (1, x.shape[along]):
        rule = f"one number of repeats or {x.shape[along]}"
        raise failure(name, rule, input=x, repeats=times)
    if prod(times.shape) == 1 and x.shape[along] != 1:
        times = times.reshape(1).expand(x.shape[along])
    index = apply(RepeatedIndices(), times.reshape(-1))
    return _told(index_select(x, along, index), along, output_size)


def _told(y: Tensor, dim: int, size: int | None) -> Tensor:
    """Check the size that was told beforehand."""
    if size is not None and y.shape[dim] != integer(size, "repeat_interleave output_size"):
        rule = f"output_size to be the sum of the repeats, {y.shape[dim]}"
        raise failure("repeat_interleave", rule, output_size=size)
    return y


@dataclass(frozen=True)
class Windows(Op):
    """y[..., i, ..., k] = x[..., i * step + k, ...]: windows along an axis, their inside last.

    gx = gy added where the windows lay.
    """

    dim: int
    size: int
    step: int = 1

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        n = x.shape[self.dim] if x.ndim else 1
        if not 0 <= self.size <= n:
            raise failure(self, f"a size in [0, {n}] at dim {self.dim}", size=self.size, input=x)
        if self.step < 1:
            raise failure(self, "a step of 1 or more", step=self.step)
        if not x.ndim:
            return (Spec((self.size,), x.dtype),)
        count = (n - self.size) // self.step + 1
        shape = (*x.shape[: self.dim], count, *x.shape[self.dim + 1 :], self.size)
        return (Spec(shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        if not x.ndim:
            return (x.reshape(1)[: self.size],), x.shape
        if self.size == 0:
            return (xp.empty(self.infer(Spec(x.shape, x.dtype))[0].shape, x.dtype),), x.shape
        windows = xp.lib.stride_tricks.sliding_window_view(x, self.size, axis=self.dim)
        return (windows[part(self.dim, slice(None, None, self.step))],), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        gx = xp.zeros(shape, gy.dtype)
        if not shape:
            gx = gx + gy.sum() if self.size else gx
            return (xp.asarray(gx, dtype=gy.dtype),)
        if self.size == 0:
            return (gx,)
        count, d, step = gy.shape[self.dim], self.dim, self.step
        inside = xp.moveaxis(gy, -1, d + 1)  # (..., count, size, ...)
        apart = -(-self.size // step)  # so many windows later the elements are others
        blocks = xp.zeros((*shape[:d], count + apart, step, *shape[d + 1 :]), gy.dtype)
        for k in range(apart):
            piece = inside[part(d + 1, slice(k * step, (k + 1) * step))]
            there = blocks[part(d, slice(k, k + count))]
            there[part(d + 1, slice(0, piece.shape[d + 1]))] += piece
        flat = blocks.reshape(*shape[:d], (count + apart) * step, *shape[d + 1 :])
        length = min(shape[d], flat.shape[d])
        gx[part(d, slice(0, length))] = flat[part(d, slice(0, length))]
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0, 3), normal(7))
        yield Sample(cls(1, 3, 2), normal(2, 8, 2))
        yield Sample(cls(0, 2, 3), normal(9, 2))
        yield Sample(cls(1, 5, 2), normal(2, 9))
        yield Sample(cls(0, 1), normal())
        yield Sample(cls(0, 0), normal(3))


@public
def windows(input: Tensor, dimension: int, size: int, step: int = 1) -> Tensor:
    """Give all windows of `size` elements along an axis, `step` apart: PyTorch's Tensor.unfold.

    Shapes: (..., A, ...) -> (..., (A - size) // step + 1, ..., size), sharing the input's memory.
    The gradient adds up where windows overlap.  `nn.functional.unfold` is the one for images.
    Raises ShapeError for a size above A and a step below 1, AxisError for a wrong dimension.

    >>> import chainrule as cr
    >>> cr.windows(cr.tensor([1, 2, 3, 4, 5]), 0, 3, 2)
    tensor([[1, 2, 3],
            [3, 4, 5]])
    """
    x = as_tensor(input)
    along = axis(dimension, x.ndim, "windows")
    return apply(Windows(along, integer(size, "windows size"), integer(step, "windows step")), x)
