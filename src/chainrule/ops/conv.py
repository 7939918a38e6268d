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
from chainrule.ops.window import AXES, Pads, Sizes, output_sizes


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
        check_ranks(self, d, x, w)
        check_kinds(self, x, w, b)
        self._check_channels(x, w, b)
        check_sizes(self, d, x, w)
        settings = (w.shape[2:], self.stride, self.padding, self.dilation)
        out = output_sizes(self, x.shape[-d:], *settings, input=x, weight=w)
        return (Spec((*x.shape[: -d - 1], w.shape[0], *out), x.dtype),)

    def _check_channels(self, x: Spec, w: Spec, b: Spec | None) -> None:
        o, c = w.shape[:2]
        if o == 0 or o % self.groups:
            rule = f"out_channels in multiples of groups: {o} % {self.groups} = 0"
            rule = "at least 1 out_channel" if o == 0 else f"{rule}, not {o % self.groups}"
            raise failure(self, rule, input=x, weight=w)
        check_channels(self, len(self.stride), x, w, c * self.groups)
        check_bias(self, w, b, o)

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


# What a convolution and its transpose ask of their inputs; `d` is the number of spatial axes


def check_ranks(op: Op, d: int, x: Spec, w: Spec) -> None:
    """Refuse an input or a weight with another number of axes."""
    if w.ndim != d + 2 or x.ndim not in (d + 1, d + 2):
        axes = AXES.get(d, "*sizes")
        rule = f"an input (N, C, {axes}) or (C, {axes}) and a weight of {d + 2} axes"
        raise failure(op, rule, input=x, weight=w)


def check_kinds(op: Op, x: Spec, w: Spec, b: Spec | None) -> None:
    """Refuse dtypes that differ, and booleans."""
    if x.dtype != w.dtype or (b is not None and b.dtype != x.dtype):
        hint = "convert one of them: x.float(), x.double() or x.to(dtype)"
        facts = {"input": x, "weight": w} | ({} if b is None else {"bias": b})
        raise failure(op, "tensors of one dtype", error=KindError, hint=hint, **facts)
    if x.dtype.kind == "b":
        raise NotImplementedError(f"{op.name}: expected numbers, not booleans; use x.float()")


def check_channels(op: Any, d: int, x: Spec, w: Spec, count: int) -> None:
    """Refuse an input with another number of channels than `count`."""
    axis = x.ndim - d - 1
    if x.shape[axis] != count:
        rule = f"{count} input channels (weight {w.shape}, groups {op.groups})"
        hint = ""
        if x.shape[-1] == count:
            order = (*range(axis), x.ndim - 1, *range(axis, x.ndim - 1))
            hint = f"the channels come before the sizes: input.permute{order}"
        raise failure(op, f"{rule}, got {x.shape[axis]}", hint=hint, input=x, weight=w)


def check_bias(op: Op, w: Spec, b: Spec | None, count: int) -> None:
    """Refuse a bias that has not one number for each of `count` filters."""
    if b is not None and b.shape != (count,):
        rule = f"a bias of shape ({count},), one for each filter"
        raise failure(op, rule, weight=w, bias=b)


def check_sizes(op: Op, d: int, x: Spec, w: Spec) -> None:
    """Refuse images and kernels without extent."""
    if 0 in x.shape[-d:] or 0 in w.shape[2:]:
        raise failure(op, "an image and a kernel of at least 1 each way", input=x, weight=w)


# Arguments


def at_least(value: Any, d: int, least: int, name: str) -> Sizes:
    """Give d integers of at least `least`; `name` says in the error what is being set."""
    sizes = ntuple(value, d, name)
    if min(sizes) < least:
        raise failure(name, f"at least {least}", value=value)
    return sizes


def group_count(value: Any, name: str) -> int:
    """Give a number of groups."""
    groups = integer(value, f"{name} groups")
    if groups < 1:
        raise failure(f"{name} groups", "at least 1", value=groups)
    return groups


def _padding(value: Any, d: int, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Pads:
    """Give (before, after) for each axis; of an odd total for 'same' the last side has more."""
    name = f"conv{d}d padding"
    if not isinstance(value, str):
        return tuple((p, p) for p in at_least(value, d, 0, name))
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
    steps = at_least(stride, d, 1, f"conv{d}d stride")
    spread = at_least(dilation, d, 1, f"conv{d}d dilation")
    groups = group_count(groups, f"conv{d}d")
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
