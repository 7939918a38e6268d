"""unfold and fold (im2col and col2im): an array as the columns of its windows, and back.

In one, two and three dimensions by one pair of operations; the functions without a number in
their names are PyTorch's, for images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import AxisError, ShapeError, failure
from chainrule.ops.arguments import ntuple
from chainrule.ops.window import AXES, Sizes, arithmetic, col2im, im2col, output_sizes

_ENTRIES = {1: "k", 2: "kh*kw", 3: "kd*kh*kw"}


def _name(function: str, d: int) -> str:
    """Give the public function's name: PyTorch's, which has images alone, without a number."""
    return function if d == 2 else f"{function}{d}d"


def _times(sizes: Sizes) -> str:
    """Write a product with its value.

    >>> _times((2, 3)), _times((4,))
    ('2*3 = 6', '4')
    """
    return "*".join(map(str, sizes)) + (f" = {prod(sizes)}" if len(sizes) > 1 else "")


@dataclass(frozen=True)
class Unfold(Op):
    """Column l of y (N, C*prod(kernel), L) is window l of x (N, C, *sizes).  gx = fold(gy)."""

    kernel: Sizes
    dilation: Sizes = (1, 1)
    padding: Sizes = (0, 0)
    stride: Sizes = (1, 1)

    @property
    def name(self) -> str:
        """The public function's name."""
        return _name("unfold", len(self.kernel))

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        d = len(self.kernel)
        if x.ndim not in (d + 1, d + 2) or 0 in x.shape[-d - 1 :]:
            rule = f"an input (N, C, {AXES[d]}) or (C, {AXES[d]}) in which N alone may be 0"
            error = AxisError if d == 2 and x.ndim < 3 else ShapeError  # as PyTorch
            raise failure(self, rule, error=error, input=x)
        pads = tuple((p, p) for p in self.padding)
        settings = (self.kernel, self.stride, pads, self.dilation)
        out = output_sizes(self, x.shape[-d:], *settings, input=x)
        shape = (*x.shape[: -d - 1], x.shape[-d - 1] * prod(self.kernel), prod(out))
        return (Spec(shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = im2col(x, self.kernel, self.stride, self.padding, self.dilation, xp)
        return (y,), x.shape

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (col2im(gy, saved, self.kernel, self.stride, self.padding, self.dilation, xp),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((2, 2)), normal(2, 2, 3, 4))
        yield Sample(cls((2, 3), (1, 1), (1, 0), (2, 1)), normal(2, 2, 4, 4))
        yield Sample(cls((3, 2), (1, 2), (2, 1), (1, 3)), normal(2, 3, 4))
        yield Sample(cls((2, 1), (3, 1), (1, 2), (3, 2)), normal(1, 1, 5, 3))
        yield Sample(cls((1, 1)), normal(2, 3, 2, 2))
        yield Sample(cls((2, 2)), normal(0, 2, 3, 3))
        yield Sample(cls((3,), (2,), (1,), (2,)), normal(2, 2, 7))
        yield Sample(cls((2, 1, 2), (1, 2, 1), (1, 0, 1), (1, 1, 2)), normal(2, 2, 3, 2))


@dataclass(frozen=True)
class Fold(Op):
    """y (N, C, *output_size) is the sum of the columns of x (N, C*prod(kernel), L) where they lie.

    gx = unfold(gy).
    """

    output_size: Sizes
    kernel: Sizes
    dilation: Sizes = (1, 1)
    padding: Sizes = (0, 0)
    stride: Sizes = (1, 1)

    @property
    def name(self) -> str:
        """The public function's name."""
        return _name("fold", len(self.kernel))

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        d, entries = len(self.kernel), prod(self.kernel)
        if x.ndim not in (2, 3) or 0 in x.shape[-2:]:
            rows = f"C*{_ENTRIES[d]}"
            rule = f"an input (N, {rows}, L) or ({rows}, L) in which N alone may be 0"
            raise failure(self, rule, input=x)
        if x.shape[-2] % entries:
            rule = f"rows in multiples of {_times(self.kernel)}, not {x.shape[-2]}"
            raise failure(self, rule, input=x)
        pads = tuple((p, p) for p in self.padding)
        settings = (self.kernel, self.stride, pads, self.dilation)
        out = output_sizes(self, self.output_size, *settings, input=x)
        if x.shape[-1] != prod(out):
            axes = zip(self.output_size, *settings, strict=True)
            reason = ", ".join(arithmetic(*axis) for axis in axes)
            rule = f"{_times(out)} columns, not {x.shape[-1]}: {reason}"
            raise failure(self, rule, input=x)
        shape = (*x.shape[:-2], x.shape[-2] // entries, *self.output_size)
        return (Spec(shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        shape = (*x.shape[:-2], x.shape[-2] // prod(self.kernel), *self.output_size)
        y = col2im(x, shape, self.kernel, self.stride, self.padding, self.dilation, xp)
        return (y,), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (im2col(gy, self.kernel, self.stride, self.padding, self.dilation, xp),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((3, 4), (2, 2)), normal(2, 8, 6))
        yield Sample(cls((4, 3), (2, 3), (1, 1), (1, 0), (2, 1)), normal(2, 12, 3))
        yield Sample(cls((3, 4), (3, 2), (1, 2), (2, 1), (1, 3)), normal(12, 10))
        yield Sample(cls((5, 3), (2, 1), (3, 1), (1, 2), (3, 2)), normal(1, 4, 8))
        yield Sample(cls((2, 2), (1, 1)), normal(2, 3, 4))
        yield Sample(cls((3, 3), (2, 2)), normal(0, 8, 4))
        yield Sample(cls((7,), (3,), (2,), (1,), (2,)), normal(2, 6, 3))
        yield Sample(cls((2, 3, 2), (2, 1, 2), (1, 2, 1), (1, 0, 1), (1, 1, 2)), normal(8, 18))


def _each_way(value: Any, d: int, name: str, least: int) -> Sizes:
    """Give d integers of at least `least`; for images a sequence of one is PyTorch's error."""
    sizes = ntuple(value, d, name)
    if d == 2 and getattr(value, "__len__", None) is not None and len(value) == 1:
        raise failure(name, "one integer or two, not a sequence of one", value=value)
    if min(sizes) < least:
        raise failure(name, f"at least {least}", value=value)
    return sizes


def _unfolded(
    d: int, input: Tensor, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Tensor:
    """Run Unfold along d axes; see `unfold`."""
    name = _name("unfold", d)
    op = Unfold(
        _each_way(kernel_size, d, f"{name} kernel_size", 1),
        _each_way(dilation, d, f"{name} dilation", 1),
        _each_way(padding, d, f"{name} padding", 0),
        _each_way(stride, d, f"{name} stride", 1),
    )
    return apply(op, input)


def _folded(
    d: int,
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any,
    padding: Any,
    stride: Any,
) -> Tensor:
    """Run Fold along d axes; see `fold`."""
    name = _name("fold", d)
    op = Fold(
        _each_way(output_size, d, f"{name} output_size", 1),
        _each_way(kernel_size, d, f"{name} kernel_size", 1),
        _each_way(dilation, d, f"{name} dilation", 1),
        _each_way(padding, d, f"{name} padding", 0),
        _each_way(stride, d, f"{name} stride", 1),
    )
    return apply(op, input)


@public
def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Write every window of an image as a column (im2col).

    y[n, (c, i, j), (k, l)] = x[n, c, k*stride + i*dilation - padding, ...], 0 on the padding;
    windows and their entries are in row order (Matlab's im2col 'sliding' is the unfold of the
    transposed image).  A convolution is the product of its weight as (O, C*kh*kw) with this.
    Settings are an integer or (height, width).

    Shapes: (N, C, H, W) -> (N, C*kh*kw, L), or without N; L is the number of windows, the
    product of floor((size + 2*padding - dilation*(kernel - 1) - 1)/stride) + 1 over both axes.
    N may be 0.  Any dtype.  Deck 004, "im2col".
    Raises ShapeError for shapes and settings that do not fit, KindError for other settings.

    >>> import chainrule as cr
    >>> cr.nn.functional.unfold(cr.arange(6.0).reshape(1, 2, 3), 2)
    tensor([[0.0, 1.0],
            [1.0, 2.0],
            [3.0, 4.0],
            [4.0, 5.0]])
    """
    return _unfolded(2, input, kernel_size, dilation, padding, stride)


@public
def unfold1d(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Write every window of a sequence as a column; as `unfold` with one axis.

    Shapes: (N, C, L) -> (N, C*k, windows), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.unfold1d(cr.tensor([[1.0, 2.0, 3.0, 4.0]]), 2)
    tensor([[1.0, 2.0, 3.0],
            [2.0, 3.0, 4.0]])
    """
    return _unfolded(1, input, kernel_size, dilation, padding, stride)


@public
def unfold3d(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Write every window of a volume as a column; as `unfold` with three axes.

    Shapes: (N, C, D, H, W) -> (N, C*kd*kh*kw, windows), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.unfold3d(cr.zeros(2, 3, 4, 5, 6), (1, 2, 3), stride=2).shape
    (2, 18, 8)
    """
    return _unfolded(3, input, kernel_size, dilation, padding, stride)


@public
def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Add columns back to the image they were taken from (col2im): the transpose of `unfold`.

    Entries of several windows add up, what lies on the padding is dropped:
    fold(unfold(x)) = x * fold(unfold(ones)).  Settings are an integer or (height, width).

    Shapes: (N, C*kh*kw, L) -> (N, C, *output_size), or without N; L must be the number of windows
    of such an image.  N may be 0.  Deck 004, "col2im".
    Raises ShapeError for shapes and settings that do not fit, KindError for other settings.

    >>> import chainrule as cr
    >>> cr.nn.functional.fold(cr.ones(4, 2), (2, 3), 2)
    tensor([[[1.0, 2.0, 1.0],
             [1.0, 2.0, 1.0]]])
    """
    return _folded(2, input, output_size, kernel_size, dilation, padding, stride)


@public
def fold1d(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Add columns back to the sequence they were taken from; as `fold` with one axis.

    Shapes: (N, C*k, windows) -> (N, C, output_size), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.fold1d(cr.ones(2, 3), 4, 2)
    tensor([[1.0, 2.0, 2.0, 1.0]])
    """
    return _folded(1, input, output_size, kernel_size, dilation, padding, stride)


@public
def fold3d(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Add columns back to the volume they were taken from; as `fold` with three axes.

    Shapes: (N, C*kd*kh*kw, windows) -> (N, C, *output_size), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.fold3d(cr.ones(4, 2), (1, 2, 3), (1, 2, 2))
    tensor([[[[1.0, 2.0, 1.0],
              [1.0, 2.0, 1.0]]]])
    """
    return _folded(3, input, output_size, kernel_size, dilation, padding, stride)
