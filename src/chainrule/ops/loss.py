"""Squared and absolute error, and what all losses share: their reductions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, spaced
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.broadcast import broadcast, sum_to, total
from chainrule.ops.cast import promote
from chainrule.ops.formulas import quiet


def reduction_mode(name: str, reduction: str, size_average: Any, reduce: Any) -> str:
    """Give 'none', 'mean' or 'sum', also from the two flags of old; ShapeError for another."""
    if size_average is not None or reduce is not None:
        average, together = (flag is None or bool(flag) for flag in (size_average, reduce))
        reduction = "none" if not together else "mean" if average else "sum"
        advice = f"{name}: instead of size_average and reduce write reduction={reduction!r}"
        warnings.warn(advice, stacklevel=3)
    if reduction == "elementwise_mean":
        warnings.warn(f"{name}: reduction='elementwise_mean' is now called 'mean'", stacklevel=3)
        return "mean"
    if reduction not in ("none", "mean", "sum"):
        raise failure(name, "reduction 'none', 'mean' or 'sum'", reduction=reduction)
    return reduction


def reduced(xp: Any, errors: Array, reduction: str) -> Array:
    """Give the errors themselves, their sum, or their mean (NaN of none; needs `quiet`)."""
    if reduction == "none":
        return errors
    y = total(xp, errors, tuple(range(errors.ndim)))
    if reduction == "mean":
        y = xp.asarray(y / errors.size)
    return y.astype(errors.dtype, copy=False)


def share(gy: Array, reduction: str, size: int) -> Array:
    """Give what of the gradient reaches each of `size` errors."""
    return gy * (1 / size) if reduction == "mean" and size else gy


class _Difference(Op, register=False):
    """Base of the losses of x - t, whose shapes broadcast."""

    reduction: str

    def infer(self, x: Spec, t: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind == "b" or (x.dtype.kind != "f" and self.reduction != "none"):
            rule, hint = "a floating-point input or target", "convert one first: x.float()"
            raise failure(self, rule, error=UndefinedKindError, hint=hint, input=x, target=t)
        shape = x.shape if x.shape == t.shape else broadcast(self, input=x.shape, target=t.shape)
        return (Spec(shape if self.reduction == "none" else (), x.dtype),)

    @staticmethod
    def both(xp: Any, g: Array, shapes: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Give gx = g and gt = -g, each summed to its own shape."""
        gx = sum_to(xp, g, shapes[0]) if needs[0] else None
        return gx, sum_to(xp, -g, shapes[1]) if needs[1] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        make: Any = cls
        whole = np.arange(12.0).reshape(3, 4) % 5 - 2  # at least 0.1 from what `spaced` draws
        for reduction in ("mean", "sum", "none"):
            yield Sample(make(reduction), spaced(3, 4, grid=1.0), whole)
            yield Sample(make(reduction), spaced(3, 1, 4, grid=1.0), whole[:2, :1])
        yield Sample(make("none"), spaced(4, grid=1.0), whole)
        yield Sample(make("mean"), spaced(grid=1.0), np.array(1.0))


@dataclass(frozen=True)
class MSELoss(_Difference):
    """e = (x - t)^2; y is e, its sum or its mean.  gx = 2 (x - t) g = -gt."""

    reduction: str = "mean"

    @quiet
    def forward(self, xp: Any, x: Array, t: Array) -> tuple[tuple[Array, ...], Any]:
        d = xp.asarray(x - t)
        return (reduced(xp, xp.asarray(d * d), self.reduction),), (d, (x.shape, t.shape))

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        d, shapes = saved
        g = 2 * share(gy, self.reduction, d.size) * d
        return self.both(xp, g, shapes, needs)


@dataclass(frozen=True)
class L1Loss(_Difference):
    """e = |x - t|; y is e, its sum or its mean.  gx = sign(x - t) g = -gt, with sign(0) = 0."""

    reduction: str = "mean"

    @quiet
    def forward(self, xp: Any, x: Array, t: Array) -> tuple[tuple[Array, ...], Any]:
        d = xp.asarray(x - t)
        sign = xp.subtract(d > 0, d < 0, dtype=np.int8)  # 0 for NaN, as PyTorch has it
        return (reduced(xp, xp.asarray(xp.abs(d)), self.reduction),), (sign, (x.shape, t.shape))

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        sign, shapes = saved
        g = share(gy, self.reduction, sign.size) * sign
        return self.both(xp, g, shapes, needs)


def _difference(
    name: str, loss: type[MSELoss | L1Loss], x: Tensor, t: Tensor, weight: Any, reduction: str
) -> Tensor:
    """Apply the loss; a weighted mean is divided by the sum of the weights."""
    if x.shape != t.shape:
        warnings.warn(
            f"{name}: input {x.shape} and target {t.shape} differ and are broadcast, which is "
            "rarely meant; give them one shape",
            stacklevel=3,
        )
    x, t = promote(x, t)
    if weight is None and (reduction != "sum" or x.dtype.kind == "f"):
        return apply(loss(reduction), x, t)
    if weight is None:
        return apply(loss("none"), x, t).sum()  # type: ignore[no-any-return]
    w = as_tensor(weight)
    if w.shape != x.shape:
        raise failure(name, f"a weight of the input's shape {x.shape}", input=x, weight=w)
    errors: Any = apply(loss("none"), x, t) * w
    if reduction == "none":
        return errors  # type: ignore[no-any-return]
    return errors.sum() / w.sum() if reduction == "mean" else errors.sum()  # type: ignore[no-any-return]


@public
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error (x - t)^2: of each element, their sum, or their mean.

    Half the sum is deck 002's 1/2 ||o - y||^2, of gradient o - y; the plain sum, as in deck
    004, has 2 (o - y).

    Shapes: input and target the same (others broadcast, with a warning) -> () or, for
    reduction 'none', that shape.  `weight`, of the input's shape, multiplies the errors; the
    mean is then divided by its sum.  The mean of nothing is NaN.  Gradients go to all three.
    Raises TypeError where neither is floating-point, ShapeError for shapes that do not fit.

    >>> import chainrule as cr
    >>> cr.nn.functional.mse_loss(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0]))
    tensor(2.0)
    """
    mode = reduction_mode("mse_loss", reduction, size_average, reduce)
    x, t = as_tensor(input), as_tensor(target)
    if weight is None and x.dtype.kind != "f" and t.dtype.kind != "f":
        rule, hint = "a floating-point input or target", "convert one first: x.float()"
        raise failure("mse_loss", rule, error=UndefinedKindError, hint=hint, input=x, target=t)
    return _difference("mse_loss", MSELoss, x, t, weight, mode)


@public
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute error |x - t|: of each element, their sum, or their mean.

    The gradient is 0 where the two are equal.  Shapes, weight and errors: see `mse_loss`;
    integers are taken here, but for the mean.

    >>> import chainrule as cr
    >>> cr.nn.functional.l1_loss(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 5.0]), reduction="sum")
    tensor(3.0)
    """
    mode = reduction_mode("l1_loss", reduction, size_average, reduce)
    return _difference("l1_loss", L1Loss, as_tensor(input), as_tensor(target), weight, mode)
