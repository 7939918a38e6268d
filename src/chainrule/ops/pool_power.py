"""Power-average (LP) pooling in one, two and three spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import DEFAULT_FLOAT
from chainrule.engine.sample import Sample, away_from_zero, positive
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.ops import rounding
from chainrule.ops.arguments import integer
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import neg
from chainrule.ops.formulas import drop, need_float, number, quiet
from chainrule.ops.pool_average import AvgPool
from chainrule.ops.pool_max import MaxPool
from chainrule.ops.pool_windows import one_or_each, settings
from chainrule.ops.power import pow, raised


@dataclass(frozen=True)
class Root(Op):
    """y = (factor x)^exponent.  gx = gy factor exponent (factor x)^(exponent - 1), but 0 at x = 0.

    The outer half of LP pooling: its slope at 0 would be infinite.
    """

    exponent: float
    factor: int = 1

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (raised(xp, x * self.factor, self.exponent),), x

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = raised(xp, saved * self.factor, self.exponent - 1)
        gx *= self.exponent * self.factor
        gx *= gy
        if self.exponent == 1:
            gx *= saved == saved  # nothing comes back through NaN, as in PyTorch
        return (drop(xp, saved == 0, gx),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0.5, 4), positive(2, 3))
        yield Sample(cls(1 / 3, 2), positive(3, 2, 2))
        yield Sample(cls(1 / 1.5), positive(5))
        yield Sample(cls(-1.0, 3), away_from_zero(2, 3, margin=0.5))
        yield Sample(cls(1.0, 6), away_from_zero(2, 3))


def _lp_pool(
    d: int, input: Any, norm_type: Any, kernel_size: Any, stride: Any, ceil_mode: Any
) -> Tensor:
    name = f"lp_pool{d}d"
    p = norm_type if type(norm_type) is int else number(norm_type, f"{name} norm_type")
    if p == 0:
        raise failure(name, "a norm_type other than 0, whose root there is not")
    if d == 1 and math.isfinite(p):
        kernel_size = integer(kernel_size, f"{name} kernel_size")
    kernel_size = one_or_each(kernel_size, d, f"{name} kernel_size")
    x = as_tensor(input)
    s = settings(name, d, kernel_size, stride, 0, 1, ceil_mode)
    if math.isinf(p):
        size = rounding.abs(x)
        return apply(MaxPool(*s), size) if p > 0 else neg(apply(MaxPool(*s), neg(size)))
    mean = apply(AvgPool(s.kernel, s.stride, s.padding, s.ceil_mode), pow(x, p))
    if mean.dtype.kind != "f":
        mean = cast(mean, DEFAULT_FLOAT)
    return apply(Root(1 / p, prod(s.kernel)), mean)


@public
def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Give the p-norm of each window: y = (sum of x^p)^(1/p) with p = `norm_type`.

    p = 1 is the sum, p = 2 the Euclidean norm, p = inf the largest absolute value and -inf the
    smallest.  Powers keep signs, so that an odd p may sum to a negative number, whose root is NaN
    but for p = 1.  Where the powers sum to 0 the gradient is 0.  A window that `ceil_mode` lets
    reach beyond the edge counts its mean power as often as a whole one.  Settings are an integer
    or (height, width); a missing stride is the kernel's size.

    Shapes: (N, C, H, W) -> (N, C, floor((H - kernel)/stride) + 1, ...), or without N; N may be 0.
    Source: Sermanet, Chintala and LeCun, Convolutional neural networks applied to house numbers
    (2012).  Raises ShapeError for shapes and settings that do not fit and for p = 0, KindError for
    settings of other kinds.

    >>> import chainrule as cr
    >>> cr.nn.functional.lp_pool2d(cr.tensor([[[3.0, 0.0], [0.0, 4.0]]]), 2, 2)
    tensor([[[5.0]]])
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


@public
def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Give the p-norm of each window along the last axis; as `lp_pool2d`.

    Shapes: (N, C, L) -> (N, C, floor((L - kernel)/stride) + 1), or without N.  The kernel's size is
    an integer.

    >>> import chainrule as cr
    >>> cr.nn.functional.lp_pool1d(cr.tensor([[3.0, 4.0, -5.0, 0.0]]), 2, 2)
    tensor([[5.0, 5.0]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


@public
def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Give the p-norm of each window of the last three axes; as `lp_pool2d`.

    Shapes: (N, C, D, H, W) -> (N, C, out, out, out), or without N.

    >>> import chainrule as cr
    >>> cr.nn.functional.lp_pool3d(cr.ones(1, 2, 2, 4), 1, 2)
    tensor([[[[8.0, 8.0]]]])
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)
