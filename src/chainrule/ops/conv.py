"""Convolution in one, two and three dimensions: one operation on windows of any number of axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import integer, ntuple
from chainrule.ops.formulas import quiet
from chainrule.ops.lowering import convolve, gradients, sum_to_channels
from chainrule.ops.slabs import Geometry
from chainrule.ops.window import Pads, Sizes, output_sizes

_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


@dataclass(frozen=True)
class Conv(Op):
    """y[n, o] = b[o] + sum over the channels c of o's group of w[o, c] * x[n, c].

    Here * is correlation: (w * x)[k] = sum_a w[a] x[k*stride + a*dilation - padding].
    gx[i] = sum of w[a] gy[k] over the k, a that meet at i (the full correlation of gy with the
    reversed filter), gw[a] = sum_k gy[k] x[k*stride + a*dilation - padding], gb = sum of gy.
    Settings have one entry for each spatial axis, padding a pair (before, after).
    """

    stride: Sizes = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: Sizes = (1, 1)
    groups: int = 1

    @property
    def name(self) -> str:
        """The public function's name."""
        return f"conv{len(self.stride)}d"

    def _geometry(self, w: Spec | Array) -> Geometry:
        return Geometry(w.shape[2:], self.stride, self.padding, self.dilation, self.groups)

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
        d = len(self.stride)
        if w.ndim != d + 2 or x.ndim not in (d + 1, d + 2):
            axes = _AXES.get(d, "*sizes")
            rule = f"an input (N, C, {axes}) or (C, {axes}) and a weight of {d + 2} axes"
            raise failure(self, rule, input=x, weight=w)
        self._check_kinds(x, w, b)
        self._check_channels(x, w, b)
        sizes = x.shape[-d:]
        if 0 in sizes or 0 in w.shape[2:]:
            raise failure(self, "an image and a kernel of at least 1 each way", input=x, weight=w)
        settings = (w.shape[2:], self.stride, self.padding, self.dilation)
        out = output_sizes(self, sizes, *settings, input=x, weight=w)
        return (Spec((*x.shape[: -d - 1], w.shape[0], *out), x.dtype),)

    def _check_kinds(self, x: Spec, w: Spec, b: Spec | None) -> None:
        if x.dtype != w.dtype or (b is not None and b.dtype != x.dtype):
            hint = "convert one of them: x.float(), x.double() or x.to(dtype)"
            facts = {"input": x, "weight": w} | ({} if b is None else {"bias": b})
            raise failure(self, "tensors of one dtype", error=KindError, hint=hint, **facts)
        if x.dtype.kind == "b":
            raise NotImplementedError(f"{self.name}: expected numbers, not booleans; use x.float()")

    def _check_channels(self, x: Spec, w: Spec, b: Spec | None) -> None:
        o, c = w.shape[:2]
        if o == 0 or o % self.groups:
            rule = f"out_channels in multiples of groups: {o} % {self.groups} = 0"
            rule = "at least 1 out_channel" if o == 0 else f"{rule}, not {o % self.groups}"
            raise failure(self, rule, input=x, weight=w)
        axis = x.ndim - len(self.stride) - 1
        if x.shape[axis] != c * self.groups:
            rule = f"{c * self.groups} input channels (weight {w.shape}, groups {self.groups})"
            hint = ""
            if x.shape[-1] == c * self.groups:
                order = (*range(axis), x.ndim - 1, *range(axis, x.ndim - 1))
                hint = f"the channels come before the sizes: input.permute{order}"
            raise failure(self, f"{rule}, got {x.shape[axis]}", hint=hint, input=x, weight=w)
        if b is not None and b.shape != (o,):
            rule = f"a bias of shape ({o},), one for each filter"
            raise failure(self, rule, weight=w, bias=b)

    @quiet
    def forward(
        self, xp: Any, x: Array, w: Array, b: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        single = x.ndim < w.ndim
        y = convolve(xp, x[None] if single else x, w, b, self._geometry(w))
        return (y[0] if single else y,), (x, w)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, w = saved
        single = x.ndim < w.ndim
        if single:
            x, gy = x[None], gy[None]
        gx, gw = gradients(xp, x, w, gy, self._geometry(w), (needs[0], needs[1]))
        if single and gx is not None:
            gx = gx[0]
        if len(needs) == 2:
            return gx, gw
        return gx, gw, sum_to_channels(xp, gy) if needs[2] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        none = ((0, 0), (0, 0))
        yield Sample(cls(), normal(2, 2, 4, 5), normal(3, 2, 3, 2), normal(3))
        yield Sample(cls((1, 1), ((1, 1), (2, 2))), normal(2, 1, 4, 3), normal(2, 1, 3, 3))
        yield Sample(
            cls((1, 1), ((0, 1), (3, 1))), normal(1, 2, 3, 4), normal(2, 2, 2, 3), normal(2)
        )
        yield Sample(
            cls((2, 3), ((1, 1), (0, 2))), normal(2, 2, 5, 5), normal(2, 2, 3, 2), normal(2)
        )
        yield Sample(cls((1, 2), none, (2, 1)), normal(2, 2, 5, 4), normal(1, 2, 2, 3), normal(1))
        yield Sample(cls((1, 1), ((2, 2), (2, 2)), (2, 2)), normal(1, 1, 4, 4), normal(2, 1, 3, 3))
        yield Sample(cls(groups=2), normal(2, 4, 3, 3), normal(4, 2, 2, 2), normal(4))
        yield Sample(
            cls((2, 1), ((1, 1), (1, 1)), groups=3), normal(1, 3, 4, 4), normal(6, 1, 3, 2)
        )
        yield Sample(cls(), normal(3, 3, 3, 2), normal(4, 3, 1, 1), normal(4))
        yield Sample(cls(), normal(3, 2, 3, 3), normal(2, 2, 3, 3), normal(2))
        yield Sample(cls(), normal(2, 4, 4), normal(2, 2, 2, 3), normal(2))
        yield Sample(cls((2,), ((1, 1),), (2,)), normal(2, 3, 7), normal(2, 3, 3), normal(2))
        yield Sample(
            cls((1, 2, 1), ((1, 1), (0, 0), (0, 1)), (1, 1, 1), 2),
            normal(2, 2, 3, 4, 2),
            normal(2, 1, 2, 2, 2),
            normal(2),
        )
        yield Sample(cls(), normal(0, 2, 3, 3), normal(2, 2, 2, 2), normal(2))


def _at_least(value: Any, d: int, least: int, name: str) -> Sizes:
    sizes = ntuple(value, d, name)
    if min(sizes) < least:
        raise failure(name, f"at least {least}", value=value)
    return sizes


def _padding(value: Any, d: int, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Pads:
    """Give (before, after) for each axis; of an odd total for 'same' the last side has more."""
    name = f"conv{d}d padding"
    if not isinstance(value, str):
        return tuple((p, p) for p in _at_least(value, d, 0, name))
    if value not in ("same", "valid"):
        raise failure(name, "'same', 'valid' or integers", value=value)
    if value == "valid" or len(kernel) != d:  # infer says what is wrong with the kernel
        return ((0, 0),) * d
    if max(stride) > 1:
        hint = "give the padding in numbers"
        raise failure(name, "stride 1 with padding 'same'", hint=hint, stride=stride)
    totals = (t * (k - 1) for t, k in zip(dilation, kernel, strict=True))
    return tuple((t // 2, t - t // 2) for t in totals)


def convolve_with(
    kind: type[Conv],
    d: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
) -> Tensor:
    """Run `kind`, the convolution or an operation made of it, along d axes; see `conv2d`."""
    weight = as_tensor(weight)
    steps = _at_least(stride, d, 1, f"conv{d}d stride")
    spread = _at_least(dilation, d, 1, f"conv{d}d dilation")
    groups = integer(groups, f"conv{d}d groups")
    if groups < 1:
        raise failure(f"conv{d}d groups", "at least 1", value=groups)
    op = kind(steps, _padding(padding, d, weight.shape[2:], steps, spread), spread, groups)
    return apply(op, input, weight) if bias is None else apply(op, input, weight, bias)


@public
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate images with filters: what networks call convolution.

    y[n, o, k, l] = bias[o] + sum over c, a, b of
    weight[o, c, a, b] * input[n, c, k*stride + a*dilation - padding, l*stride + ...], zero on the
    padding.  Stride, padding and dilation are an integer or (height, width); padding may be
    'valid' (none) or 'same' (the output has the input's size; stride 1 only; an odd total pads
    more at the end).  With `groups` the channels fall into that many runs, and filter o sees the
    run of its own alone; groups = C is the depthwise convolution.

    Shapes: (N, C, H, W), (O, C/groups, kh, kw), (O,) -> (N, O, H', W'), or without N, with
    H' = floor((H + 2*padding - dilation*(kh - 1) - 1)/stride) + 1: rows and columns that no
    window reaches are dropped.  N may be 0; with C = 0 the output is the bias.
    The output has the input's memory order.  Decks 000 to 004, "Convolution".
    Raises ShapeError for shapes and settings that do not fit, KindError for dtypes that
    differ, NotImplementedError for booleans.

    >>> import chainrule as cr
    >>> x = cr.arange(12.0).reshape(1, 3, 4)
    >>> cr.nn.functional.conv2d(x, cr.ones(1, 1, 2, 2), cr.tensor([0.5]), stride=(1, 2))
    tensor([[[10.5, 18.5],
             [26.5, 34.5]]])
    """
    return convolve_with(Conv, 2, input, weight, bias, stride, padding, dilation, groups)


@public
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate sequences with filters; as `conv2d` with one spatial axis.

    Shapes: (N, C, L), (O, C/groups, k), (O,) -> (N, O, L'), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.conv1d(cr.tensor([[1.0, 2, 4, 8]]), cr.tensor([[[1.0, -1.0]]]))
    tensor([[-1.0, -2.0, -4.0]])
    """
    return convolve_with(Conv, 1, input, weight, bias, stride, padding, dilation, groups)


@public
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Correlate volumes with filters; as `conv2d` with three spatial axes.

    Shapes: (N, C, D, H, W), (O, C/groups, kd, kh, kw), (O,) -> (N, O, D', H', W'), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.conv3d(cr.ones(1, 2, 3, 3), cr.ones(1, 1, 2, 3, 2))
    tensor([[[[12.0, 12.0]]]])
    """
    return convolve_with(Conv, 3, input, weight, bias, stride, padding, dilation, groups)
