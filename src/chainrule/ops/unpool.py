"""Max unpooling in one, two and three spatial dimensions: maxima back to where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import AxisError, KindError, LabelError, ShapeError, failure
from chainrule.ops.arguments import int_tuple
from chainrule.ops.formulas import need_float
from chainrule.ops.pool_windows import (
    allocate,
    channels_last,
    check_axes,
    check_not_empty,
    memory_order,
    one_or_each,
)
from chainrule.ops.pool_winners import lead_places, memory_steps
from chainrule.ops.window import Sizes


@dataclass(frozen=True)
class MaxUnpool(Op):
    """y = x at each plane's indices and 0 elsewhere; gx = gy at the indices.

    Of values with one index the last in row order stays; the gradient reaches all of them.
    """

    output_size: Sizes

    def infer(self, x: Spec, indices: Spec) -> tuple[Spec, ...]:
        d = len(self.output_size)
        need_float(self, x)
        if indices.dtype != np.int64:
            raise failure(self, "int64 indices", error=KindError, indices=indices)
        check_axes(self, x, d)
        if x.shape != indices.shape:
            raise failure(self, "an index for every value", input=x, indices=indices)
        check_not_empty(self, x, x.ndim - 1)
        return (Spec(x.shape[:-d] + self.output_size, x.dtype),)

    def _places(self, xp: Any, indices: Array, order: tuple[int, ...]) -> Array:
        """Give each value's place in the output's memory, flat and in the order of memory."""
        shape = indices.shape[: -len(self.output_size)] + self.output_size
        steps = memory_steps(shape, order)
        lead = lead_places(xp, shape, len(self.output_size), steps)
        places: Array = indices * steps[-1] + lead  # in either order rows follow each other
        return places.transpose(order).reshape(-1)

    def forward(self, xp: Any, x: Array, indices: Array) -> tuple[tuple[Array, ...], Any]:
        d = len(self.output_size)
        if indices.size:
            low, high = int(indices.min()), int(indices.max())
            if low < 0 or high >= prod(self.output_size):
                wrong = low if low < 0 else high
                rule = f"indices in [0, {prod(self.output_size) - 1}], not {wrong}"
                raise failure(self, rule, error=LabelError, indices=indices)
        order = memory_order(x.ndim, d, channels_last(x, d))
        y = allocate(xp, x.shape[:-d] + self.output_size, x.dtype, order, zero=True)
        memory = y.transpose(order).reshape(-1)  # a view: this is the order of memory
        memory[self._places(xp, indices, order)] = x.transpose(order).reshape(-1)
        return (y,), (indices, order)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        indices, order = saved
        if not needs[0]:
            return None, None
        gx = allocate(xp, indices.shape, gy.dtype, order)
        memory = gy.transpose(order).reshape(-1)
        gx.transpose(order).reshape(-1)[...] = memory[self._places(xp, indices, order)]
        return gx, None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        def places(size: int, *shape: int) -> Array:
            rng = np.random.default_rng(0)
            rows = [rng.permutation(size)[: shape[-1]] for _ in range(prod(shape[:-1]))]
            return np.stack(rows).reshape(shape).astype(np.int64)

        yield Sample(cls((7,)), normal(2, 3, 4), places(7, 2, 3, 4))
        yield Sample(cls((4, 5)), normal(2, 3, 2, 3), places(20, 2, 3, 6).reshape(2, 3, 2, 3))
        yield Sample(cls((3, 4)), normal(3, 2, 2), places(12, 3, 4).reshape(3, 2, 2))
        yield Sample(cls((2, 3, 4)), normal(1, 2, 1, 2, 3), places(24, 2, 6).reshape(1, 2, 1, 2, 3))


def _target(
    name: str, d: int, x: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes, output_size: Any
) -> Sizes:
    """Give the output's size: (n - 1)*stride + kernel - 2*padding, or one less than a step off."""
    if x.ndim < d + 1:
        kind = AxisError if x.ndim < d else ShapeError
        raise failure(name, f"{d + 1} or {d + 2} axes", error=kind, input=x)
    usual = tuple(
        (n - 1) * s + k - 2 * p
        for n, k, s, p in zip(x.shape[-d:], kernel, stride, padding, strict=True)
    )
    if output_size is None:
        target = usual
    else:
        target = int_tuple(output_size, f"{name} output_size", bare=False)
        target = target[2:] if len(target) == d + 2 else target
        if len(target) != d:
            rule = f"{d} or {d + 2} output sizes, not {len(target)}"
            raise failure(name, rule, output_size=output_size)
    for m, u, s in zip(target, usual, stride, strict=True):
        if output_size is not None and not u - s < m < u + s:
            rule = f"output sizes between {u - s} and {u + s}, both left out, not {m}"
            raise failure(name, rule, input=x, output_size=output_size)
        if m < 0:
            raise failure(name, f"output sizes of at least 0, not {m}", input=x, padding=padding)
    return target


def _max_unpool(
    d: int,
    input: Any,
    indices: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    name = f"max_unpool{d}d"
    kernel = one_or_each(kernel_size, d, f"{name} kernel_size")
    steps = kernel if stride is None else one_or_each(stride, d, f"{name} stride", AxisError)
    pads = one_or_each(padding, d, f"{name} padding", AxisError)
    if d == 3 and min(steps) < 1:  # PyTorch takes them in one and two dimensions
        raise failure(name, f"stride of at least 1, not {min(steps)}", given=steps)
    x = as_tensor(input)
    return apply(MaxUnpool(_target(name, d, x, kernel, steps, pads, output_size)), x, indices)


@public
def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put maxima back to where `max_pool2d` found them, zeros elsewhere.

    y[n, c].flatten()[indices[n, c]] = x[n, c].  Settings are those of the pooling: an integer or
    (height, width).  Where windows overlap one place may be named repeatedly: the last value in
    row order stays.  Several sizes pool to the same; `output_size`, (H', W') or a whole shape
    (N, C, H', W'), says which is meant.  The gradient is gy at the indices.

    Shapes: (N, C, H, W), and as many int64 indices, -> (N, C, H', W') with
    H' = (H - 1)*stride - 2*padding + kernel, or less than a stride off it; or without N.
    N may be 0.  Source: Zeiler and Fergus, Visualizing and understanding convolutional networks
    (2014).  Raises ShapeError for shapes and sizes that do not fit, LabelError for indices outside
    the plane, KindError for integer inputs and other indices.

    >>> import chainrule as cr
    >>> F = cr.nn.functional
    >>> y, at = F.max_pool2d(cr.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2, return_indices=True)
    >>> F.max_unpool2d(y, at, 2)
    tensor([[[0.0, 0.0],
             [4.0, 0.0]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


@public
def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put maxima back to where `max_pool1d` found them; as `max_unpool2d`.

    Shapes: (N, C, L), and as many indices, -> (N, C, (L - 1)*stride - 2*padding + kernel), or
    without N.

    >>> import chainrule as cr
    >>> x, at = cr.tensor([[3.0, 5.0]]), cr.tensor([[0, 3]])
    >>> cr.nn.functional.max_unpool1d(x, at, 2)
    tensor([[3.0, 0.0, 0.0, 5.0]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


@public
def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Put maxima back to where `max_pool3d` found them; as `max_unpool2d`.

    Shapes: (N, C, D, H, W), and as many indices, -> (N, C, D', H', W'), or without N.

    >>> import chainrule as cr
    >>> x, at = cr.tensor([[[[5.0]]]]), cr.tensor([[[[3]]]])
    >>> cr.nn.functional.max_unpool3d(x, at, (1, 2, 2))
    tensor([[[[0.0, 0.0],
              [0.0, 5.0]]]])
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)
