"""Average pooling in one, two and three spatial dimensions, regular and adaptive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import AxisError, ShapeError, UndefinedKindError, failure
from chainrule.ops.arguments import flag, integer
from chainrule.ops.pool_windows import (
    Ragged,
    Settings,
    Windows,
    adaptive_windows,
    allocate,
    channels_last,
    check_axes,
    check_not_empty,
    group_taps,
    memory_order,
    output_target,
    settings,
    sizes_after,
    stages,
    strided_windows,
)
from chainrule.ops.window import Sizes

INT64 = np.dtype(np.int64)
LONG = 1 << 12  # values that float32 may add one after the other: channels-last, NumPy does so


def _widened(x: Array) -> Array:
    """Give float16 as float32, whose sums do not overflow; other dtypes as they are."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def _whole(windows: Sequence[Windows]) -> bool:
    return all(w.inside and w.out == 1 and w.length == w.size for w in windows)


def _sum_stage(
    xp: Any, x: Array, windows: Sequence[Windows], group: tuple[int, ...], order: tuple[int, ...]
) -> Array:
    y = allocate(xp, sizes_after(x.shape, windows, group), x.dtype, order)
    for tap in group_taps(windows, group):
        if tap.first:  # every window has a first entry, since none is all padding
            y[tap.into] = x[tap.source]
        else:
            y[tap.into] += x[tap.source]
    return y


def _sums(xp: Any, x: Array, windows: Sequence[Windows], order: tuple[int, ...]) -> Array:
    """Sum the entries of every window."""
    if _whole(windows):
        axes = tuple(range(-len(windows), 0))
        wide = (
            xp.float64 if x.dtype == np.float32 and prod(w.size for w in windows) > LONG else None
        )
        total: Array = x.sum(axis=axes, keepdims=True, dtype=wide)
        return total.astype(x.dtype, copy=False)
    for group in stages(windows):
        x = _sum_stage(xp, x, windows, group, order)
    return x


def _spread_stage(
    xp: Any, g: Array, windows: Sequence[Windows], group: tuple[int, ...], order: tuple[int, ...]
) -> Array:
    turned, w = list(windows), windows[group[0]]
    if isinstance(w, Ragged):
        turned[group[0]] = w.turned()
        return _sum_stage(xp, g, turned, group, order)
    shape = list(g.shape)
    for axis in group:
        shape[axis - len(windows)] = windows[axis].size
    gx = allocate(xp, tuple(shape), g.dtype, order, zero=True)
    alone = all(windows[axis].disjoint for axis in group)
    for tap in group_taps(windows, group):
        if alone:
            gx[tap.source] = g[tap.into]
        else:
            gx[tap.source] += g[tap.into]
    return gx


def _spread(
    xp: Any, g: Array, windows: Sequence[Windows], shape: Sizes, order: tuple[int, ...]
) -> Array:
    """Give every position the sum of g over the windows that hold it: the transpose of `_sums`."""
    if _whole(windows):
        gx = allocate(xp, shape, g.dtype, order)
        gx[...] = g
        return gx
    for group in reversed(stages(windows)):
        g = _spread_stage(xp, g, windows, group, order)
    return g


def _counts(xp: Any, windows: Sequence[Windows], padded: bool, dtype: Any) -> Any:
    """Count the entries of every window, (*spatial) of the dtype; a number if all are alike."""
    counts = np.ones((), np.int64)
    for w in windows:
        counts = counts[..., None] * w.lengths(padded)
    if counts.size and counts.min() == counts.max():
        return int(counts.flat[0])
    return xp.asarray(counts.astype(dtype))


def _divide(xp: Any, total: Array, divisor: Any) -> Array:
    """Divide in place; integers are rounded towards 0."""
    if total.dtype.kind == "f":
        total /= divisor
        return total
    quotient: Array = xp.floor_divide(total, divisor)
    quotient += (quotient < 0) & (quotient * divisor != total)
    return quotient


def _average(
    xp: Any, x: Array, windows: Sequence[Windows], divisor: Any
) -> tuple[tuple[Array, ...], Any]:
    order = memory_order(x.ndim, len(windows), channels_last(x, len(windows)))
    with np.errstate(all="ignore"):
        total = _divide(xp, _sums(xp, _widened(x), windows, order), divisor)
        return (total.astype(x.dtype, copy=False),), (x.shape, order)


def _average_gradient(
    xp: Any, saved: Any, gy: Array, windows: Sequence[Windows], divisor: Any
) -> Array:
    shape, order = saved
    with np.errstate(all="ignore"):
        gx = _spread(xp, _widened(gy) / divisor, windows, shape, order)
        return gx.astype(gy.dtype, copy=False)


@dataclass(frozen=True)
class AvgPool(Op):
    """y = the sum of each window's entries / divisor; gx = the sum of gy / divisor.

    One setting for each spatial axis.  The divisor is `divisor_override`, else the window's size,
    with the padding in it or (`count_include_pad` false) without; what ceil mode lets stand
    beyond the padding is never counted.
    """

    kernel: Sizes
    stride: Sizes
    padding: Sizes
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None

    def _windows(self, sizes: Sizes) -> list[Windows]:
        once = (1,) * len(self.kernel)
        s = Settings(self.kernel, self.stride, self.padding, once, self.ceil_mode)
        return strided_windows(self, sizes, s)

    def _divisor(self, xp: Any, windows: Sequence[Windows], x: Array) -> Any:
        if self.divisor_override is not None:
            return self.divisor_override
        dtype = np.float32 if x.dtype.itemsize == 2 else x.dtype
        return _counts(xp, windows, self.count_include_pad, dtype)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        d = len(self.kernel)
        check_axes(self, x, d, AxisError if d == 2 and x.ndim < 3 else ShapeError)  # as PyTorch
        if not x.is_floating and x.dtype != INT64:
            raise failure(self, "a floating-point or int64 input", error=UndefinedKindError, x=x)
        check_not_empty(self, x, d + 1)
        return (Spec(x.shape[:-d] + tuple([w.out for w in self._windows(x.shape[-d:])]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        windows = self._windows(x.shape[-len(self.kernel) :])
        return _average(xp, x, windows, self._divisor(xp, windows, x))

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        windows = self._windows(saved[0][-len(self.kernel) :])
        return (_average_gradient(xp, saved, gy, windows, self._divisor(xp, windows, gy)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 2), (2, 2), (0, 0)), normal(2, 2, 4, 5))
        yield Sample(cls((3, 2), (1, 3), (0, 0)), normal(2, 3, 5, 5))
        yield Sample(cls((3, 3), (2, 2), (1, 1)), normal(1, 2, 6, 7))
        yield Sample(cls((3, 3), (2, 2), (1, 1), False, False), normal(2, 5, 6))
        yield Sample(cls((3, 2), (2, 2), (1, 1), True), normal(1, 2, 6, 4))
        yield Sample(cls((3, 2), (3, 2), (1, 0), True, False), normal(1, 2, 6, 5))
        yield Sample(cls((2, 3), (2, 1), (1, 1), False, True, -3), normal(2, 4, 5))
        yield Sample(cls((3, 4), (3, 4), (0, 0)), normal(2, 3, 3, 4))
        yield Sample(cls((3,), (2,), (1,)), normal(2, 3, 7))
        yield Sample(cls((2, 1, 3), (1, 2, 2), (1, 0, 1), True, False), normal(1, 2, 3, 2, 4))


@dataclass(frozen=True)
class AdaptiveAvgPool(Op):
    """Average pooling to a given size: window i of n to m covers floor(i*n/m) .. ceil((i+1)*n/m)-1.

    None keeps an axis's size.  gx = the sum of gy / size over the windows that hold the position.
    """

    output_size: tuple[int | None, ...]

    def _windows(self, x: Sizes) -> list[Windows]:
        return adaptive_windows(x[-len(self.output_size) :], self.output_size)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        d = len(self.output_size)
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        check_axes(self, x, d)
        check_not_empty(self, x, x.ndim - 1 if d == 3 else d)  # as PyTorch
        return (Spec(x.shape[:-d] + tuple([w.out for w in self._windows(x.shape)]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        windows = self._windows(x.shape)
        return _average(xp, x, windows, _counts(xp, windows, False, _widened(x).dtype))

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        windows = self._windows(saved[0])
        divisor = _counts(xp, windows, False, _widened(gy).dtype)
        return (_average_gradient(xp, saved, gy, windows, divisor),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 3)), normal(2, 2, 5, 7))
        yield Sample(cls((3, None)), normal(2, 6, 4))
        yield Sample(cls((5, 4)), normal(1, 2, 3, 6))
        yield Sample(cls((1, 1)), normal(2, 3, 3, 2))
        yield Sample(cls((3,)), normal(2, 2, 5))
        yield Sample(cls((2, 1, 3)), normal(2, 3, 2, 5))


def _avg_pool(
    d: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    name = f"avg_pool{d}d"
    s = settings(name, d, kernel_size, stride, padding, 1, ceil_mode)
    include = flag(count_include_pad, f"{name} count_include_pad")
    if divisor_override is not None:
        divisor_override = integer(divisor_override, f"{name} divisor_override")
        if divisor_override == 0:
            raise failure(name, "a divisor_override other than 0")
    op = AvgPool(s.kernel, s.stride, s.padding, s.ceil_mode, include, divisor_override)
    return apply(op, input)


@public
def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average each window.

    Settings are an integer or (height, width); a missing stride is the kernel's size.  Padding is
    zeros, at most half the kernel, and counts in the divisor unless `count_include_pad` is
    false; rows that `ceil_mode` reaches beyond the padding never count.  `divisor_override`
    replaces the divisor.

    Shapes: (N, C, H, W) -> (N, C, floor((H + 2*padding - kernel)/stride) + 1, ...), or without N.
    N may be 0.  int64 inputs are averaged with rounding towards 0.
    Raises ShapeError for shapes and settings that do not fit, KindError for other integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[3.0, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]]])
    >>> cr.nn.functional.avg_pool2d(x, 2)
    tensor([[[2.50, 2.75],
             [3.25, 3.00]]])
    """
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@public
def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average each window along the last axis; as `avg_pool2d`.

    Shapes: (N, C, L) -> (N, C, floor((L + 2*padding - kernel)/stride) + 1), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.avg_pool1d(cr.tensor([[3.0, 2.0, 0.0, 5.0]]), 2)
    tensor([[2.5, 2.5]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


@public
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average each window of the last three axes; as `avg_pool2d`.

    Shapes: (N, C, D, H, W) -> (N, C, out, out, out), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.avg_pool3d(cr.arange(16.0).reshape(1, 2, 2, 4), 2)
    tensor([[[[6.5, 8.5]]]])
    """
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@public
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Average each of output_size windows that cover the image.

    Row i of m out of H covers rows floor(i*H/m) to ceil((i+1)*H/m) - 1, so that windows may
    overlap.  `output_size` is an integer or (height, width); None keeps a size.  An output
    size of 1 is global average pooling.

    Shapes: (N, C, H, W) -> (N, C, *output_size), or without N.
    Raises ShapeError for shapes and sizes that do not fit, KindError for integer inputs.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_avg_pool2d(cr.arange(12.0).reshape(1, 3, 4), (2, 1))
    tensor([[[3.5],
             [7.5]]])
    """
    return apply(AdaptiveAvgPool(output_target("adaptive_avg_pool2d", 2, output_size)), input)


@public
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Average each of output_size windows; as `adaptive_avg_pool2d`.

    Shapes: (N, C, L) -> (N, C, output_size), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_avg_pool1d(cr.tensor([[3.0, 2.0, 0.0, 5.0]]), 3)
    tensor([[2.5, 1.0, 2.5]])
    """
    return apply(AdaptiveAvgPool(output_target("adaptive_avg_pool1d", 1, output_size)), input)


@public
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Average each of output_size windows; as `adaptive_avg_pool2d`.

    Shapes: (N, C, D, H, W) -> (N, C, *output_size), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_avg_pool3d(cr.arange(8.0).reshape(1, 2, 2, 2), (1, 2, 1))
    tensor([[[[2.5],
              [4.5]]]])
    """
    return apply(AdaptiveAvgPool(output_target("adaptive_avg_pool3d", 3, output_size)), input)
