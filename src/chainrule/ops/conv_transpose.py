"""Transposed convolution in one, two and three dimensions: the convolution's own transpose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.ops.conv import (
    Conv,
    at_least,
    check_bias,
    check_channels,
    check_kinds,
    check_ranks,
    check_sizes,
    group_count,
)
from chainrule.ops.formulas import quiet
from chainrule.ops.lowering import spread, spread_gradients, sum_to_channels
from chainrule.ops.slabs import Geometry
from chainrule.ops.window import Sizes, transposed_size, transposed_sizes


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Every x[n, c, k] adds x[n, c, k] * w[c, o, a] to y[n, o] at k*stride + a*dilation - padding.

    b[o] is added everywhere, and what falls outside y is dropped.  As a map of x this is the
    transpose of the convolution with w and the same settings:
    gx = conv(gy, w), gw[a] = sum_k x[k] gy[k*stride + a*dilation - padding], gb = sum of gy.
    Settings have one entry for each spatial axis.
    """

    stride: Sizes = (1, 1)
    padding: Sizes = (0, 0)
    output_padding: Sizes = (0, 0)
    dilation: Sizes = (1, 1)
    groups: int = 1

    @property
    def name(self) -> str:
        """The public function's name."""
        return f"conv_transpose{len(self.stride)}d"

    @property
    def convolution(self) -> Conv:
        """The convolution that this is the transpose of: from y's sizes to x's.

        With an output_padding of stride or more it gives more windows than x has.
        """
        pads = tuple((p, p) for p in self.padding)
        return Conv(self.stride, pads, self.dilation, self.groups)

    def _geometry(self, w: Array) -> Geometry:
        """Give the windows over y, exactly as many as x has: the padding behind may be negative."""
        axes = zip(self.padding, self.output_padding, strict=True)
        pads = tuple((p, p - more) for p, more in axes)
        return Geometry(w.shape[2:], self.stride, pads, self.dilation, self.groups)

    def sizes(self, x: Sizes, w: Sizes) -> Sizes:
        """Give y's spatial sizes, for the shapes of x and w."""
        settings = self.stride, self.padding, self.output_padding, self.dilation
        axes = zip(x[-len(self.stride) :], w[2:], *settings, strict=True)
        return tuple(transposed_size(*axis) for axis in axes)

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
        d = len(self.stride)
        check_ranks(self, d, x, w)
        check_kinds(self, x, w, b)
        c, o = w.shape[0], w.shape[1] * self.groups
        if 0 in (c, o) or c % self.groups:
            rule = f"in_channels in multiples of groups: {c} % {self.groups} = 0"
            empty = "a weight (in_channels, out_channels/groups, ...) of at least 1 channel each"
            rule = empty if 0 in (c, o) else f"{rule}, not {c % self.groups}"
            raise failure(self, rule, input=x, weight=w)
        check_channels(self, d, x, w, c)
        check_bias(self, w, b, o)
        check_sizes(self, d, x, w)
        for more, s, t in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(s, t):
                rule = f"output_padding below the stride or the dilation: {more} < max({s}, {t})"
                raise failure(self, rule, input=x, weight=w)
        settings = self.stride, self.padding, self.output_padding, self.dilation
        out = transposed_sizes(self, x.shape[-d:], w.shape[2:], *settings, input=x, weight=w)
        return (Spec((*x.shape[: -d - 1], o, *out), x.dtype),)

    @quiet
    def forward(
        self, xp: Any, x: Array, w: Array, b: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        single = x.ndim < w.ndim
        batch = x[None] if single else x
        y = spread(xp, batch, w, b, self._geometry(w), self.sizes(x.shape, w.shape))
        return (y[0] if single else y,), (x, w)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, w = saved
        single = x.ndim < w.ndim
        if single:
            x, gy = x[None], gy[None]
        gx, gw = spread_gradients(xp, x, w, gy, self._geometry(w), (needs[0], needs[1]))
        if single and gx is not None:
            gx = gx[0]
        if len(needs) == 2:
            return gx, gw
        return gx, gw, sum_to_channels(xp, gy) if needs[2] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 2, 3, 4), normal(2, 3, 3, 2), normal(3))
        yield Sample(cls((2, 2), (1, 1), (1, 1)), normal(2, 2, 3, 4), normal(2, 3, 3, 3), normal(3))
        yield Sample(cls((2, 3), (0, 2), (1, 2)), normal(2, 2, 3, 2), normal(2, 2, 2, 3), normal(2))
        yield Sample(cls((1, 1), (2, 1)), normal(2, 1, 3, 3), normal(1, 2, 3, 2))
        yield Sample(
            cls((3, 1), (1, 0), (0, 0), (2, 3)), normal(1, 2, 2, 3), normal(2, 1, 3, 2), normal(1)
        )
        # Rows behind that no value reaches: more of them than padding, and than steps
        yield Sample(
            cls((1, 2), (0, 1), (2, 2), (3, 3)), normal(2, 2, 3, 2), normal(2, 2, 2, 3), normal(2)
        )
        yield Sample(cls((3, 2), (0, 0), (2, 1)), normal(2, 2, 2, 2), normal(2, 2, 1, 1))
        yield Sample(cls((2, 2), groups=2), normal(2, 4, 3, 2), normal(4, 3, 2, 2), normal(6))
        yield Sample(cls((1, 2), (1, 0), groups=3), normal(1, 3, 3, 2), normal(3, 1, 2, 3))
        yield Sample(cls(), normal(3, 4, 1, 1), normal(4, 2, 3, 3), normal(2))
        yield Sample(cls((2, 2), (1, 1)), normal(2, 3, 3), normal(2, 2, 3, 3), normal(2))
        yield Sample(cls((2,), (1,), (1,), (2,)), normal(2, 3, 4), normal(3, 2, 3), normal(2))
        yield Sample(
            cls((1, 2, 1), (1, 0, 0), (0, 1, 0), (1, 1, 2), 2),
            normal(2, 2, 2, 2, 3),
            normal(2, 1, 3, 2, 2),
            normal(2),
        )
        yield Sample(cls(), normal(0, 2, 3, 3), normal(2, 2, 2, 2), normal(2))


def _transposed(
    d: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
) -> Tensor:
    """Run the transposed convolution along d axes; see `conv_transpose2d`."""
    name = f"conv_transpose{d}d"
    op = ConvTranspose(
        at_least(stride, d, 1, f"{name} stride"),
        at_least(padding, d, 0, f"{name} padding"),
        at_least(output_padding, d, 0, f"{name} output_padding"),
        at_least(dilation, d, 1, f"{name} dilation"),
        group_count(groups, name),
    )
    weight = as_tensor(weight)
    return apply(op, input, weight) if bias is None else apply(op, input, weight, bias)


@public
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Spread every value over a window: the transpose of `conv2d`, which makes images larger.

    y[n, o] = bias[o] + sum over c, k, a of weight[c, o, a] * input[n, c, k], written at
    k*stride + a*dilation - padding; what falls outside is dropped.  Its gradient by the input is
    conv2d(gy, weight) with the same settings, and the gradient of conv2d by its input is this.
    Other names: deconvolution, fractionally strided or full convolution (Torch's
    SpatialFullConvolution, with dilation SpatialFullDilatedConvolution).  Settings are an integer
    or (height, width).  `output_padding` adds rows and columns behind, which tells apart the sizes
    that a strided convolution makes equal; it is below the stride or the dilation.

    Shapes: (N, C, H, W), (C, O/groups, kh, kw), (O,) -> (N, O, H', W'), or without N, with
    H' = (H - 1)*stride - 2*padding + dilation*(kh - 1) + 1 + output_padding.  N may be 0.
    The output has the input's memory order.
    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016).
    Raises ShapeError for shapes and settings that do not fit, KindError for dtypes that
    differ, NotImplementedError for booleans.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    >>> cr.nn.functional.conv_transpose2d(x, cr.ones(1, 1, 2, 2))
    tensor([[[ 1.0,  3.0,  2.0],
             [ 4.0, 10.0,  6.0],
             [ 3.0,  7.0,  4.0]]])
    >>> cr.nn.functional.conv_transpose2d(x, cr.ones(1, 1, 1, 1), stride=2)
    tensor([[[1.0, 0.0, 2.0],
             [0.0, 0.0, 0.0],
             [3.0, 0.0, 4.0]]])
    """
    settings = stride, padding, output_padding, groups, dilation
    return _transposed(2, input, weight, bias, *settings)


@public
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Spread every value of a sequence over a window; as `conv_transpose2d` with one axis.

    Shapes: (N, C, L), (C, O/groups, k), (O,) -> (N, O, L'), or without N.

    >>> import chainrule as cr
    >>> w = cr.tensor([[[1.0, 2.0, 3.0]]])
    >>> cr.nn.functional.conv_transpose1d(cr.tensor([[1.0, 10.0]]), w, stride=2)
    tensor([[ 1.0,  2.0, 13.0, 20.0, 30.0]])
    """
    settings = stride, padding, output_padding, groups, dilation
    return _transposed(1, input, weight, bias, *settings)


@public
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Spread every value of a volume over a window; as `conv_transpose2d` with three axes.

    Shapes: (N, C, D, H, W), (C, O/groups, kd, kh, kw), (O,) -> (N, O, D', H', W'), or without N.

    >>> import chainrule as cr
    >>> F = cr.nn.functional
    >>> F.conv_transpose3d(cr.ones(1, 1, 1, 2), cr.ones(1, 1, 1, 2, 2)).tolist()
    [[[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]]
    """
    settings = stride, padding, output_padding, groups, dilation
    return _transposed(3, input, weight, bias, *settings)
