"""Subsampling with a trained weight and bias for each channel, in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

from chainrule.engine.op import public
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.ops.arguments import integer
from chainrule.ops.elementwise import add, mul
from chainrule.ops.formulas import need_float
from chainrule.ops.pool_average import AvgPool
from chainrule.ops.pool_windows import settings
from chainrule.ops.shape import reshape


def _subsampling(
    d: int,
    input: Any,
    weight: Any,
    bias: Any,
    kernel_size: Any,
    stride: Any,
    divisor_override: Any,
) -> Tensor:
    name = f"subsampling{d}d"
    s = settings(name, d, kernel_size, stride, 0, 1, False)
    if divisor_override is not None:
        divisor_override = integer(divisor_override, f"{name} divisor_override")
        if divisor_override == 0:
            raise failure(name, "a divisor_override other than 0")
    x = as_tensor(input)
    need_float(name, x)
    y = apply(AvgPool(s.kernel, s.stride, s.padding, divisor_override=divisor_override), x)

    def each(what: str, value: Any) -> Tensor:
        v = as_tensor(value, f"{name} {what}")
        channels = x.shape[-d - 1]
        if v.shape != (channels,):
            raise failure(name, f"a {what} for each of {channels} channels", input=x, given=v)
        return reshape(v, (channels,) + (1,) * d)

    y = mul(y, each("weight", weight))
    return y if bias is None else add(y, each("bias", bias))


@public
def subsampling2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Any,
    stride: Any = None,
    divisor_override: int | None = None,
) -> Tensor:
    """Average each window, times its channel's weight, plus its channel's bias.

    y[c] = weight[c] * avg_pool2d(x)[c] + bias[c]: the layers S2 and S4 of LeNet-5.  With
    `divisor_override=1` the window's sum stands for the mean: the paper and Torch 7's
    SpatialSubSampling add up, so that their weights are kh*kw times smaller than those for means.
    Settings are an integer or (height, width); a missing stride is the kernel's size.

    Shapes: (N, C, H, W), weight and bias (C,), bias may be None,
    -> (N, C, floor((H - kernel)/stride) + 1, ...), or without N; N may be 0.
    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
    recognition (1998), section II.B.  Raises ShapeError for shapes and settings that do not fit,
    KindError for integer inputs and settings of other kinds.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    >>> cr.nn.functional.subsampling2d(x, cr.tensor([2.0]), cr.tensor([0.5]), 2)
    tensor([[[6.5]]])
    """
    return _subsampling(2, input, weight, bias, kernel_size, stride, divisor_override)


@public
def subsampling1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Any,
    stride: Any = None,
    divisor_override: int | None = None,
) -> Tensor:
    """Average each window of a sequence, times a weight, plus a bias; as `subsampling2d`.

    Shapes: (N, C, L) -> (N, C, floor((L - kernel)/stride) + 1), or without N.  Torch 7's
    TemporalSubSampling adds up, has its channels last, and steps by 1 if not told otherwise.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 2.0, 3.0, 6.0]])
    >>> cr.nn.functional.subsampling1d(x, cr.tensor([1.0]), None, 2, divisor_override=1)
    tensor([[3.0, 9.0]])
    """
    return _subsampling(1, input, weight, bias, kernel_size, stride, divisor_override)


@public
def subsampling3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: Any,
    stride: Any = None,
    divisor_override: int | None = None,
) -> Tensor:
    """Average each window of a volume, times a weight, plus a bias; as `subsampling2d`.

    Shapes: (N, C, D, H, W) -> (N, C, out, out, out), or without N.

    >>> import chainrule as cr
    >>> x = cr.ones(1, 2, 2, 2)
    >>> cr.nn.functional.subsampling3d(x, cr.tensor([2.0]), cr.tensor([1.0]), 2)
    tensor([[[[3.0]]]])
    """
    return _subsampling(3, input, weight, bias, kernel_size, stride, divisor_override)
