"""Squared and absolute error, and what all losses share: their reductions, and one base."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import DEFAULT_FLOAT
from chainrule.engine.sample import Sample, spaced
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.broadcast import broadcast, sum_to, total
from chainrule.ops.cast import cast, promote
from chainrule.ops.formulas import need_float, quiet

Slopes = tuple[Array | None, ...]


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


def gathered(errors: Any, reduction: str) -> Tensor:
    """Reduce a tensor of errors, as `reduced` does arrays."""
    if reduction == "none":
        return errors  # type: ignore[no-any-return]
    return errors.mean() if reduction == "mean" else errors.sum()  # type: ignore[no-any-return]


def as_floats(name: str, *operands: Any) -> tuple[Tensor, ...]:
    """Promote operands to one floating dtype: float32 for integers; TypeError for booleans."""
    tensors = promote(*operands, name=name)
    dtype = tensors[0].dtype
    if dtype.kind == "b":
        raise failure(name, "numbers, not booleans", error=UndefinedKindError, input=tensors[0])
    return tensors if dtype.kind == "f" else tuple([cast(x, DEFAULT_FLOAT) for x in tensors])


class Elementwise(Op, register=False):
    """Base of the losses that have an error for each element of inputs that broadcast.

    A subclass gives `errors`, the errors and what to keep, and `slopes`, each input's gradient
    out of that, in the errors' shape or one that broadcasts to it.
    """

    reduction: str
    inputs: ClassVar[tuple[str, ...]] = ("input", "target")  # their names in errors

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        """Compute the error of each element, and what its slopes need."""
        raise NotImplementedError(f"{type(self).__name__}.errors")

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        """Compute the gradient of each input; g is the errors' gradient."""
        raise NotImplementedError(f"{type(self).__name__}.slopes")

    def infer(self, *specs: Spec) -> tuple[Spec, ...]:
        need_float(self, specs[0])
        return self.outcome(*specs)

    def outcome(self, *specs: Spec) -> tuple[Spec, ...]:
        """Give the output's spec: the shape common to all inputs, or a number."""
        shapes = dict(zip(self.inputs, [s.shape for s in specs], strict=True))
        shape = specs[0].shape
        if any(other != shape for other in shapes.values()):
            shape = broadcast(self, **shapes)
        return (Spec(shape if self.reduction == "none" else (), specs[0].dtype),)

    @quiet
    def forward(self, xp: Any, *arrays: Array) -> tuple[tuple[Array, ...], Any]:
        e, kept = self.errors(xp, *arrays)
        e = xp.asarray(e)
        return (reduced(xp, e, self.reduction),), (kept, e.shape, tuple([a.shape for a in arrays]))

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        kept, shape, shapes = saved
        g = xp.asarray(share(gy, self.reduction, prod(shape)))
        found = self.slopes(xp, kept, g, needs)
        return tuple(
            [
                None if s is None or not need else sum_to(xp, _spread(xp, s, shape), own)
                for s, own, need in zip(found, shapes, needs, strict=True)
            ]
        )


def _spread(xp: Any, s: Array, shape: tuple[int, ...]) -> Array:
    return s if s.shape == shape else xp.broadcast_to(s, shape)


def opposite(gx: Array, needs: tuple[bool, ...]) -> Slopes:
    """Give the gradients of x and t in a loss of x - t."""
    return gx, -gx if needs[1] else None


def differences(make: Any) -> Iterator[Sample]:
    """Samples for a loss of x - t: `make` takes the reduction; no difference is near 0 or 1."""
    whole = np.arange(12.0).reshape(3, 4) % 5 - 2  # at least 0.1 from what `spaced` draws
    for reduction in ("mean", "sum", "none"):
        yield Sample(make(reduction), spaced(3, 4, grid=1.0), whole)
        yield Sample(make(reduction), spaced(3, 1, 4, grid=1.0), whole[:2, :1])
    yield Sample(make("none"), spaced(4, grid=1.0), whole)
    yield Sample(make("mean"), spaced(grid=1.0), np.array(1.0))


class _Difference(Elementwise, register=False):
    """Base of the squared and the absolute error, which integers have too."""

    def infer(self, *specs: Spec) -> tuple[Spec, ...]:
        x, t = specs
        if x.dtype.kind == "b" or (x.dtype.kind != "f" and self.reduction != "none"):
            rule, hint = "a floating-point input or target", "convert one first: x.float()"
            raise failure(self, rule, error=UndefinedKindError, hint=hint, input=x, target=t)
        return self.outcome(x, t)


@dataclass(frozen=True)
class MSELoss(_Difference):
    """e = (x - t)^2; y is e, its sum or its mean.  gx = 2 (x - t) g = -gt."""

    reduction: str = "mean"

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t = arrays
        d = xp.asarray(x - t)
        return d * d, d

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        return opposite(2 * g * kept, needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        return differences(cls)


@dataclass(frozen=True)
class L1Loss(_Difference):
    """e = |x - t|; y is e, its sum or its mean.  gx = sign(x - t) g = -gt, with sign(0) = 0."""

    reduction: str = "mean"

    def errors(self, xp: Any, *arrays: Any) -> tuple[Array, Any]:
        x, t = arrays
        d = xp.asarray(x - t)
        sign = xp.subtract(d > 0, d < 0, dtype=np.int8)  # 0 for NaN, as PyTorch has it
        return xp.abs(d), sign

    def slopes(self, xp: Any, kept: Any, g: Array, needs: tuple[bool, ...]) -> Slopes:
        return opposite(g * kept, needs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        return differences(cls)


def warn_of_sizes(name: str, x: Tensor, t: Tensor) -> None:
    """Warn whoever called the public function that input and target are broadcast."""
    if x.shape != t.shape:
        warnings.warn(
            f"{name}: input {x.shape} and target {t.shape} differ and are broadcast, which is "
            "rarely meant; give them one shape",
            stacklevel=3,
        )


def same_weight(name: str, weight: Any, x: Tensor) -> Tensor:
    """Give the weight of each element; ShapeError unless it has the input's shape."""
    w = as_tensor(weight)
    if w.shape != x.shape:
        raise failure(name, f"a weight of the input's shape {x.shape}", input=x, weight=w)
    return w


def difference(
    name: str, loss: type[MSELoss | L1Loss], input: Any, target: Any, weight: Any, reduction: str
) -> Tensor:
    """Apply the loss; a weighted mean is divided by the sum of the weights."""
    x, t = promote(input, target)
    if weight is None and (reduction != "sum" or x.dtype.kind == "f"):
        return apply(loss(reduction), x, t)
    if weight is None:
        return apply(loss("none"), x, t).sum()  # type: ignore[no-any-return]
    w = same_weight(name, weight, x)
    errors: Any = apply(loss("none"), x, t) * w
    if reduction == "mean":
        return errors.sum() / w.sum()  # type: ignore[no-any-return]
    return gathered(errors, reduction)


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
    warn_of_sizes("mse_loss", x, t)
    return difference("mse_loss", MSELoss, x, t, weight, mode)


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
    x, t = as_tensor(input), as_tensor(target)
    warn_of_sizes("l1_loss", x, t)
    return difference("l1_loss", L1Loss, x, t, weight, mode)
