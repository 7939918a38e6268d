"""unfold and fold (im2col and col2im): an image as the columns of its windows, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import failure
from chainrule.ops.arguments import pair
from chainrule.ops.window import Sizes, arithmetic, col2im, im2col, output_sizes


@dataclass(frozen=True)
class Unfold(Op):
    """Column l of y (N, C*kh*kw, L) is window l of x (N, C, H, W).  gx = fold(gy)."""

    kernel: Sizes
    dilation: Sizes = (1, 1)
    padding: Sizes = (0, 0)
    stride: Sizes = (1, 1)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.ndim not in (3, 4) or 0 in x.shape[-3:]:
            rule = "an input (N, C, H, W) or (C, H, W) in which N alone may be 0"
            raise failure(self, rule, input=x)
        pads = tuple((p, p) for p in self.padding)
        settings = (self.kernel, self.stride, pads, self.dilation)
        out = output_sizes(self, x.shape[-2:], *settings, input=x)
        shape = (*x.shape[:-3], x.shape[-3] * prod(self.kernel), prod(out))
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


@dataclass(frozen=True)
class Fold(Op):
    """y (N, C, *output_size) is the sum of the columns of x (N, C*kh*kw, L) where they lie.

    gx = unfold(gy).
    """

    output_size: Sizes
    kernel: Sizes
    dilation: Sizes = (1, 1)
    padding: Sizes = (0, 0)
    stride: Sizes = (1, 1)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        entries = prod(self.kernel)
        if x.ndim not in (2, 3) or 0 in x.shape[-2:]:
            rule = "an input (N, C*kh*kw, L) or (C*kh*kw, L) in which N alone may be 0"
            raise failure(self, rule, input=x)
        if x.shape[-2] % entries:
            k = self.kernel
            rule = f"rows in multiples of {k[0]}*{k[1]} = {entries}, not {x.shape[-2]}"
            raise failure(self, rule, input=x)
        pads = tuple((p, p) for p in self.padding)
        settings = (self.kernel, self.stride, pads, self.dilation)
        out = output_sizes(self, self.output_size, *settings, input=x)
        if x.shape[-1] != prod(out):
            axes = zip(self.output_size, *settings, strict=True)
            reason = ", ".join(arithmetic(*axis) for axis in axes)
            rule = f"{out[0]}*{out[1]} = {prod(out)} columns, not {x.shape[-1]}: {reason}"
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


def _two(value: Any, name: str, least: int) -> Sizes:
    """Give two integers of at least `least`; a sequence of one is refused, as by PyTorch."""
    sizes = pair(value, name)
    if getattr(value, "__len__", None) is not None and len(value) == 1:
        raise failure(name, "one integer or two, not a sequence of one", value=value)
    if min(sizes) < least:
        raise failure(name, f"at least {least}", value=value)
    return sizes


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
    op = Unfold(
        _two(kernel_size, "unfold kernel_size", 1),
        _two(dilation, "unfold dilation", 1),
        _two(padding, "unfold padding", 0),
        _two(stride, "unfold stride", 1),
    )
    return apply(op, input)


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
    op = Fold(
        _two(output_size, "fold output_size", 1),
        _two(kernel_size, "fold kernel_size", 1),
        _two(dilation, "fold dilation", 1),
        _two(padding, "fold padding", 0),
        _two(stride, "fold stride", 1),
    )
    return apply(op, input)
