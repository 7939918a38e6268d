"""Max pooling in one, two and three spatial dimensions, regular and adaptive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, distinct
from chainrule.engine.tensor import Tensor, apply, apply_all
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.pool_windows import (
    Settings,
    Windows,
    adaptive_windows,
    check_axes,
    check_not_empty,
    output_target,
    settings,
    strided_windows,
)
from chainrule.ops.pool_winners import pool_backward, pool_forward
from chainrule.ops.window import Sizes


@dataclass(frozen=True)
class MaxPool(Op):
    """y = the largest entry of each window; gx = the sum of gy over the windows that x won.

    One setting for each spatial axis.  With `indices` there is a second output: the winners' flat
    indices in the plane without padding.
    """

    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    ceil_mode: bool = False
    indices: bool = False

    def _windows(self, sizes: Sizes) -> list[Windows]:
        s = Settings(self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode)
        return strided_windows(self, sizes, s)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        d = len(self.kernel)
        if x.dtype.kind not in "fiu":
            raise failure(self, "a floating-point or integer input", error=UndefinedKindError, x=x)
        check_axes(self, x, d)
        check_not_empty(self, x, d + 1)
        windows = self._windows(x.shape[-d:])
        shape = x.shape[:-d] + tuple([w.out for w in windows])
        index = (Spec(shape, np.dtype(np.int64), False),) if self.indices else ()
        return (Spec(shape, x.dtype), *index)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return pool_forward(xp, x, self._windows(x.shape[-len(self.kernel) :]), self.indices)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        windows = self._windows(saved[1][-len(self.kernel) :])
        return (pool_backward(xp, saved, gy[0] if self.indices else gy, windows),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 2), (2, 2), (0, 0), (1, 1)), distinct(2, 2, 4, 5))
        yield Sample(cls((3, 2), (1, 2), (0, 0), (1, 1)), distinct(2, 3, 5, 3))
        yield Sample(cls((3, 3), (2, 2), (1, 1), (1, 1)), distinct(1, 2, 6, 7))
        yield Sample(cls((3, 2), (2, 1), (1, 0), (1, 1), True), distinct(1, 2, 6, 5))
        yield Sample(cls((2, 2), (2, 3), (1, 1), (2, 3), False, True), distinct(1, 2, 7, 6))
        yield Sample(cls((2, 2), (1, 1), (1, 1), (1, 3)), distinct(2, 3, 4))
        yield Sample(cls((3, 3), (2, 2), (0, 0), (1, 1), True, True), distinct(2, 4, 6))
        yield Sample(cls((3,), (2,), (1,), (1,)), distinct(2, 3, 7))
        yield Sample(cls((2,), (2,), (0,), (2,), True), distinct(3, 8))
        yield Sample(cls((2, 1, 2), (2, 1, 1), (1, 0, 0), (1, 1, 1)), distinct(1, 2, 4, 2, 3))


@dataclass(frozen=True)
class AdaptiveMaxPool(Op):
    """Max pooling to a given size: window i of n to m covers floor(i*n/m) .. ceil((i+1)*n/m) - 1.

    None keeps an axis's size.  Gradient and `indices` as in MaxPool.
    """

    output_size: tuple[int | None, ...]
    indices: bool = False

    def _windows(self, sizes: Sizes) -> list[Windows]:
        return adaptive_windows(sizes, self.output_size)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        d = len(self.output_size)
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        check_axes(self, x, d)
        check_not_empty(self, x, len(x.shape) - 1)
        shape = x.shape[:-d] + tuple([w.out for w in self._windows(x.shape[-d:])])
        index = (Spec(shape, np.dtype(np.int64), False),) if self.indices else ()
        return (Spec(shape, x.dtype), *index)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return pool_forward(xp, x, self._windows(x.shape[-len(self.output_size) :]), self.indices)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        windows = self._windows(saved[1][-len(self.output_size) :])
        return (pool_backward(xp, saved, gy[0] if self.indices else gy, windows),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 3)), distinct(2, 2, 5, 7))
        yield Sample(cls((3, None), True), distinct(2, 6, 4))
        yield Sample(cls((5, 4)), distinct(1, 2, 3, 6))
        yield Sample(cls((1, 1)), distinct(2, 3, 3, 2))
        yield Sample(cls((3,)), distinct(2, 2, 5))
        yield Sample(cls((2, 1, 3)), distinct(2, 3, 2, 5))


def _max_pool(
    d: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    s = settings(f"max_pool{d}d", d, kernel_size, stride, padding, dilation, ceil_mode)
    if return_indices:
        return apply_all(MaxPool(*s, True), input)
    return apply(MaxPool(*s, False), input)


@public
def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Keep the largest entry of each window; its gradient goes to that entry alone.

    y[i, j] = max over r, c of x[i*stride - padding + r*dilation, j*stride - ...].  Settings are an
    integer or (height, width); a missing stride is the kernel's size.  Padding counts as minus
    infinity and is at most half the kernel.  Of equal entries the first in row order wins; NaN
    wins over all, the last of several.  With `ceil_mode` a last window may reach beyond the edge,
    as long as it starts inside.  With `return_indices` the result is (y, indices): the winners'
    int64 flat indices in the H*W plane without padding (-1 for a dilated window that holds
    padding alone, whose value is minus infinity).

    Shapes: (N, C, H, W) -> (N, C, floor((H + 2*padding - dilation*(kernel - 1) - 1)/stride) + 1,
    ...), or without N.  N may be 0.  Decks 002 and 003, "Max pooling".
    Raises ShapeError for shapes and settings that do not fit, KindError for booleans.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[3.0, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]]])
    >>> cr.nn.functional.max_pool2d(x, 2)
    tensor([[[5.0, 4.0],
             [7.0, 7.0]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public
def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Tensor, Tensor]:
    """Give (maxima, indices) of `max_pool2d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> cr.nn.functional.max_pool2d_with_indices(cr.tensor([[[3.0, 2.0], [0.0, 5.0]]]), 2)
    (tensor([[[5.0]]]), tensor([[[3]]]))
    """
    pair: tuple[Tensor, Tensor] = _max_pool(
        2, input, kernel_size, stride, padding, dilation, ceil_mode, True
    )
    return pair


@public
def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Keep the largest entry of each window along the last axis; as `max_pool2d`.

    Shapes: (N, C, L) -> (N, C, floor((L + 2*padding - dilation*(kernel - 1) - 1)/stride) + 1), or
    without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.max_pool1d(cr.tensor([[3.0, 2.0, 0.0, 5.0]]), 2)
    tensor([[3.0, 5.0]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public
def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """Give (maxima, indices) of `max_pool1d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> cr.nn.functional.max_pool1d_with_indices(cr.tensor([[3.0, 2.0, 0.0, 5.0]]), 2)
    (tensor([[3.0, 5.0]]), tensor([[0, 3]]))
    """
    pair: tuple[Tensor, Tensor] = _max_pool(
        1, input, kernel_size, stride, padding, dilation, ceil_mode, True
    )
    return pair


@public
def max_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Keep the largest entry of each window of the last three axes; as `max_pool2d`.

    Shapes: (N, C, D, H, W) -> (N, C, out, out, out), or without N; indices are in the D*H*W volume.

    >>> import chainrule as cr
    >>> cr.nn.functional.max_pool3d(cr.arange(16.0).reshape(1, 2, 2, 4), 2)
    tensor([[[[13.0, 15.0]]]])
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@public
def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """Give (maxima, indices) of `max_pool3d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> cr.nn.functional.max_pool3d_with_indices(cr.arange(8.0).reshape(1, 2, 2, 2), 2)[1].tolist()
    [[[[7]]]]
    """
    pair: tuple[Tensor, Tensor] = _max_pool(
        3, input, kernel_size, stride, padding, dilation, ceil_mode, True
    )
    return pair


def _adaptive_max_pool(d: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    size = output_target(f"adaptive_max_pool{d}d", d, output_size)
    if return_indices:
        return apply_all(AdaptiveMaxPool(size, True), input)
    return apply(AdaptiveMaxPool(size, False), input)


@public
def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Keep the largest entry of each of output_size windows that cover the image.

    Row i of m out of H covers rows floor(i*H/m) to ceil((i+1)*H/m) - 1, so that windows may
    overlap.  `output_size` is an integer or (height, width); None keeps a size.
    With `return_indices` the result is (y, indices), as for `max_pool2d`.

    Shapes: (N, C, H, W) -> (N, C, *output_size), or without N.
    Raises ShapeError for shapes and sizes that do not fit, KindError for integer inputs.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_max_pool2d(cr.arange(12.0).reshape(1, 3, 4), (2, 1))
    tensor([[[ 7.0],
             [11.0]]])
    """
    return _adaptive_max_pool(2, input, output_size, return_indices)


@public
def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Give (maxima, indices) of `adaptive_max_pool2d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> x = cr.arange(6.0).reshape(1, 2, 3)
    >>> cr.nn.functional.adaptive_max_pool2d_with_indices(x, 1)[1].tolist()
    [[[5]]]
    """
    pair: tuple[Tensor, Tensor] = _adaptive_max_pool(2, input, output_size, True)
    return pair


@public
def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Keep the largest entry of each of output_size windows; as `adaptive_max_pool2d`.

    Shapes: (N, C, L) -> (N, C, output_size), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_max_pool1d(cr.tensor([[3.0, 2.0, 0.0, 5.0]]), 3)
    tensor([[3.0, 2.0, 5.0]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


@public
def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Give (maxima, indices) of `adaptive_max_pool1d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> x = cr.tensor([[3.0, 2.0, 0.0, 5.0]])
    >>> cr.nn.functional.adaptive_max_pool1d_with_indices(x, 1)[1].tolist()
    [[3]]
    """
    pair: tuple[Tensor, Tensor] = _adaptive_max_pool(1, input, output_size, True)
    return pair


@public
def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Keep the largest entry of each of output_size windows; as `adaptive_max_pool2d`.

    Shapes: (N, C, D, H, W) -> (N, C, *output_size), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_max_pool3d(cr.arange(8.0).reshape(1, 2, 2, 2), (1, 2, 1))
    tensor([[[[5.0],
              [7.0]]]])
    """
    return _adaptive_max_pool(3, input, output_size, return_indices)


@public
def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """Give (maxima, indices) of `adaptive_max_pool3d`, whatever `return_indices` is.

    >>> import chainrule as cr
    >>> cr.nn.functional.adaptive_max_pool3d_with_indices(cr.ones(1, 2, 2, 2), 1)[1].tolist()
    [[[[0]]]]
    """
    pair: tuple[Tensor, Tensor] = _adaptive_max_pool(3, input, output_size, True)
    return pair
