"""Scores to probabilities along one axis: softmax, its logarithm, softmin."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal, uniform
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.ops.arguments import axis
from chainrule.ops.cast import cast
from chainrule.ops.formulas import need_float, quiet


def centred(xp: Any, x: Array, axis: int) -> Array:
    """Subtract the maximum along an axis, so that exp cannot overflow; a fresh array."""
    if x.shape[axis] == 0:
        return x.copy()
    return x - xp.max(x, axis=axis, keepdims=True)  # type: ignore[no-any-return]


def log_probabilities(xp: Any, x: Array, axis: int) -> Array:
    """Give x - log(sum(exp(x))) along an axis, for at least one axis; a fresh array."""
    y = centred(xp, x, axis)
    y -= xp.log(xp.sum(xp.exp(y), axis=axis, keepdims=True))
    return y


def through_log_probabilities(xp: Any, y: Array, gy: Array, axis: int) -> Array:
    """Give gx = gy - exp(y) * sum(gy) for y = log_probabilities(x)."""
    gx = xp.exp(y)
    gx *= -xp.sum(gy, axis=axis, keepdims=True)
    gx += gy
    return gx  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Softmax(Op):
    """y = exp(x) / sum(exp(x)) along `axis`.  gx = y (gy - sum(gy y))."""

    axis: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = centred(xp, x if x.ndim else x.reshape(1), self.axis)
        xp.exp(y, out=y)
        y /= xp.sum(y, axis=self.axis, keepdims=True)
        y = y.reshape(x.shape) if x.ndim == 0 else y
        return (y,), y

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if saved.ndim == 0:
            return (saved * (gy - gy * saved),)
        gx = gy * saved
        inner = xp.sum(gx, axis=self.axis, keepdims=True)
        gx -= inner * saved
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), normal(3, 4))
        yield Sample(cls(0), normal(3, 4))
        yield Sample(cls(1), uniform(2, 3, 2, 3, low=-4, high=4))
        yield Sample(cls(2), normal(2, 3, 5))
        yield Sample(cls(0), normal(5))
        yield Sample(cls(0), normal())
        yield Sample(cls(1), normal(3, 1))


@dataclass(frozen=True)
class LogSoftmax(Op):
    """y = x - log(sum(exp(x))) along `axis`.  gx = gy - exp(y) sum(gy)."""

    axis: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        return (x,)

    @quiet
    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        y = log_probabilities(xp, x if x.ndim else x.reshape(1), self.axis)
        y = y.reshape(x.shape) if x.ndim == 0 else y
        return (y,), y

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if saved.ndim == 0:
            return (gy - xp.exp(saved) * gy,)
        return (through_log_probabilities(xp, saved, gy, self.axis),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), normal(3, 4))
        yield Sample(cls(0), normal(3, 4))
        yield Sample(cls(1), uniform(2, 3, 2, 3, low=-4, high=4))
        yield Sample(cls(2), normal(2, 3, 5))
        yield Sample(cls(0), normal(5))
        yield Sample(cls(0), normal())
        yield Sample(cls(1), normal(3, 1))


def _prepared(
    name: str, input: Any, dim: int | None, stacklevel: int, dtype: Any
) -> tuple[Tensor, int]:
    """Give the tensor in its dtype, and the axis: PyTorch's guess, with its warning, for None."""
    x = as_tensor(input)
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
        warnings.warn(
            f"{name}: dim=None takes dim={dim} for {x.ndim} dimensions; say which one you mean, "
            f"as in {name}(x, dim={dim})",
            stacklevel=stacklevel,
        )
    x = x if dtype is None else cast(x, dtype)
    return x, axis(dim, x.ndim, name)


@public
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Turn scores into probabilities along one dimension: exp(x) / sum(exp(x)).

    The maximum is subtracted first, so that no finite score overflows.

    Shapes: any -> the same.  `dim=None` takes dimension 0 of tensors of 0, 1 and 3 dimensions
    and else 1, with a warning.  `dtype` converts first.  Slices that are -inf throughout, or
    hold +inf, give NaN, as 0/0.  Raises TypeError for integers without `dtype`, IndexError for
    a dimension that is not there.

    >>> import chainrule as cr
    >>> cr.softmax(cr.tensor([3.2, 5.1, -1.7]), dim=0)
    tensor([0.130, 0.869, 0.001])
    """
    x, dimension = _prepared("softmax", input, dim, _stacklevel, dtype)
    return apply(Softmax(dimension), x)


@public
def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Logarithms of the probabilities along one dimension: x - log(sum(exp(x))).

    Exact where softmax itself would round to 0.  Arguments and errors: see `softmax`.

    >>> import chainrule as cr
    >>> cr.log_softmax(cr.tensor([0.0, 1000.0]), dim=0)
    tensor([-1000.0, 0.0])
    """
    x, dimension = _prepared("log_softmax", input, dim, _stacklevel, dtype)
    return apply(LogSoftmax(dimension), x)


@public
def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Softmax of -x: the smallest value gets the largest share.

    Arguments and errors: see `softmax`.

    >>> import chainrule as cr
    >>> cr.nn.functional.softmin(cr.tensor([3.2, 5.1, -1.7]), dim=0)
    tensor([0.0074, 0.0011, 0.9915])
    """
    x, dimension = _prepared("softmin", input, dim, _stacklevel, None)
    return softmax(-x, dimension, dtype=dtype)
