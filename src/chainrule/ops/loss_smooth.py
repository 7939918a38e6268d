"""Errors of a difference: squared near 0 and absolute beyond, Caffe's Euclidean loss, L1 cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, public
from chainrule.engine.sample import Sample
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.ops.cast import cast, promote
from chainrule.ops.elementwise import div
from chainrule.ops.formulas import need_float, number
from chainrule.ops.loss import (
    Elementwise,
    L1Loss,
    MSELoss,
    Slopes,
    as_floats,
    difference,
    differences,
    gathered,
    opposite,
    reduction_mode,
    same_weight,
    warn_of_sizes,
)


def _bent(xp: Any, d: Array, width: float) -> Array:
    """Give d^2 / 2 where |d| < width, else width (|d| - width / 2), without a branch."""
    size = xp.abs(d)
    inner = xp.minimum(size, width)
    return inner * (size - 0.5 * inner)  # type: ignore[no-any-return]


def _within(xp: Any, d: Array, width: float) -> Array:
    """Give d within [-width, width]; NaN stays."""
    return xp.minimum(xp.maximum(d, -width), width)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class SmoothL1Loss(Elementwise):
    """e = d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = x - t.

    y is e, its sum or its mean.  gx = g d / beta, within [-g, g]; gt = -gx.
    """

    beta: float = 1.0
    reduction: str = "mean"

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t = arrays
        d = x - t
        return _bent(xp, d, self.beta) / self.beta, xp.asarray(d)

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        return opposite(g * (_within(xp, kept, self.beta) / self.beta), needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for beta in (1.0, 0.5, 3.0):
            yield from differences(lambda reduction, beta=beta: cls(beta, reduction))


@dataclass(frozen=True)
class HuberLoss(Elementwise):
    """e = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = x - t.

    y is e, its sum or its mean.  gx = g d, within [-delta g, delta g]; gt = -gx.
    """

    delta: float = 1.0
    reduction: str = "mean"

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t = arrays
        d = x - t
        return _bent(xp, d, self.delta), xp.asarray(d)

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        return opposite(g * _within(xp, kept, self.delta), needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for delta in (1.0, 0.5, 3.0):
            yield from differences(lambda reduction, delta=delta: cls(delta, reduction))


@public
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Squared error near 0, absolute error beyond `beta` (Girshick, Fast R-CNN, 2015).

    e = d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = input - target; then its
    mean, sum, or itself.  `beta` = 0 is `l1_loss`; beta times this is `huber_loss`.

    Shapes: input and target the same (others broadcast, with a warning) -> () or, for
    reduction 'none', that shape.  The mean of nothing is NaN.  Gradients go to both.
    Raises ValueError for a negative beta, TypeError where neither is floating-point.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([0.0, 0.5, 3.0]), cr.tensor([0.0, 0.0, 0.0])
    >>> cr.nn.functional.smooth_l1_loss(x, t, reduction="none")
    tensor([0.000, 0.125, 2.500])
    """
    mode = reduction_mode("smooth_l1_loss", reduction, size_average, reduce)
    x, t = as_tensor(input), as_tensor(target)
    width = number(beta, "smooth_l1_loss beta")
    if not width >= 0:
        raise failure("smooth_l1_loss", "beta of at least 0", beta=beta)
    warn_of_sizes("smooth_l1_loss", x, t)
    if width == 0:
        return difference("smooth_l1_loss", L1Loss, x, t, None, mode)
    return apply(SmoothL1Loss(width, mode), *promote(x, t))


@public
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Half the squared error near 0, `delta` times the absolute one beyond (Huber, 1964).

    e = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = input - target; then
    its mean, sum, or itself.

    Shapes: input and target the same (others broadcast, with a warning) -> () or, for
    reduction 'none', that shape, in the input's dtype.  `weight`, of the input's shape,
    multiplies the errors; the mean is over elements all the same.  The mean of nothing is NaN.
    Gradients go to all three.  Raises ValueError for a delta that is not positive, TypeError
    for integer inputs.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([0.0, 0.5, 3.0]), cr.tensor([0.0, 0.0, 0.0])
    >>> cr.nn.functional.huber_loss(x, t, reduction="none", delta=2.0)
    tensor([0.000, 0.125, 4.000])
    """
    mode = reduction_mode("huber_loss", reduction, None, None)
    x, t = as_tensor(input), as_tensor(target)
    need_float("huber_loss", x)
    width = number(delta, "huber_loss delta")
    if not width > 0:
        raise failure("huber_loss", "a positive delta", delta=delta)
    warn_of_sizes("huber_loss", x, t)
    if weight is None:
        return cast(apply(HuberLoss(width, mode), *promote(x, t)), x.dtype)
    w = same_weight("huber_loss", weight, x)
    errors: Any = cast(apply(HuberLoss(width, "none"), *promote(x, t)), x.dtype)
    return gathered(errors * w, mode)


@public
def euclidean_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Half the squared distance of each image from its target: Caffe's EuclideanLoss.

    e = 1/2 sum (x - t)^2 over all axes but the first; then its mean, 1/(2N) sum (x - t)^2 as in
    Caffe, its sum (deck 002's 1/2 ||o - y||^2), or itself.

    Shapes: (N, ...) and the same -> () or, for reduction 'none', (N,).  A tensor without axes
    is one image.  The mean of nothing is NaN.  Gradients go to both.  Raises ShapeError for
    two shapes, TypeError for booleans.

    >>> import chainrule as cr
    >>> x, t = cr.tensor([[1.0, 2.0], [3.0, 4.0]]), cr.tensor([[1.0, 0.0], [0.0, 4.0]])
    >>> cr.nn.functional.euclidean_loss(x, t)
    tensor(3.25)
    """
    mode = reduction_mode("euclidean_loss", reduction, None, None)
    x, t = as_floats("euclidean_loss", input, target)
    if x.shape != t.shape:
        raise failure("euclidean_loss", f"a target of shape {x.shape}", input=x, target=t)
    if mode == "none":
        squares: Any = apply(MSELoss("none"), x, t)
        return 0.5 * (squares.sum(tuple(range(1, x.ndim))) if x.ndim > 1 else squares)  # type: ignore[no-any-return]
    images = x.shape[0] if mode == "mean" and x.ndim else 1
    return div(apply(MSELoss("sum"), x, t), 2 * images)


@public
def l1_cost(input: Tensor, reduction: str = "sum") -> Tensor:
    """Sum of the absolute values: Torch's L1Cost, a loss without a target.

    Shapes: any -> () or, for reduction 'none', the same.  The gradient at 0 is 0.  Raises
    TypeError for booleans, ValueError for another reduction.

    >>> import chainrule as cr
    >>> cr.nn.functional.l1_cost(cr.tensor([1.0, -2.0]))
    tensor(3.0)
    """
    mode = reduction_mode("l1_cost", reduction, None, None)
    (x,) = as_floats("l1_cost", input)
    return apply(L1Loss(mode), *promote(x, 0.0))
