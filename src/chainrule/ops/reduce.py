"""Sums, means, variances over some or all axes.

`dim` is an int, several, or None for all axes; NumPy's names `axis` and `keepdims` are accepted
for `dim` and `keepdim`, as in PyTorch.  Long sums in float32 keep the accuracy of pairwise ones
whatever the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from math import prod as count
from typing import Any, TypeVar, cast

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import INT64, as_dtype, is_scalar
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axes as dims
from chainrule.ops.broadcast import Shape, empty_in, layout, reduced, spread, total

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]
F = TypeVar("F", bound=Callable[..., Any])


def numpy_names(function: F) -> F:
    """Accept NumPy's `axis` and `keepdims` for `dim` and `keepdim`, as PyTorch does."""

    @wraps(function)
    def renamed(*args: Any, **options: Any) -> Any:
        for theirs, ours in (("axis", "dim"), ("keepdims", "keepdim")):
            if theirs in options:
                if ours in options:
                    rule = f"one of {ours} and {theirs}"
                    raise failure(function.__name__, rule, error=KindError, **options)
                options[ours] = options.pop(theirs)
        return function(*args, **options)

    return cast("F", renamed)


class Reduction(Op, register=False):
    """Base of the operations that reduce floats over axes; subclasses have these fields."""

    axes: Shape
    keepdim: bool

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape, the input's dtype, which must be a floating-point one."""
        if x.dtype.kind != "f":
            raise failure(self, "a floating-point input", error=KindError, input=x)
        return (Spec(reduced(x.shape, self.axes, self.keepdim), x.dtype),)

    def _shape(self, x: Array) -> Shape:
        return reduced(x.shape, self.axes, self.keepdim)

    def _count(self, shape: Shape) -> int:
        """Count the elements that go into one result."""
        return count([shape[a] for a in self.axes])


@dataclass(frozen=True)
class Sum(Reduction):
    """y = the sum over the axes.  gx = gy, repeated along them."""

    axes: Shape
    keepdim: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape, the input's dtype."""
        return (Spec(reduced(x.shape, self.axes, self.keepdim), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Add; the input's shape is all that is kept."""
        y = total(xp, x, self.axes, self.keepdim)
        with xp.errstate(over="ignore"):
            return (y.astype(x.dtype, copy=False),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Repeat the gradient: a view."""
        return (spread(xp, gy, shape, self.axes),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """No axis, one, several, all."""
        yield Sample(cls((0, 1)), normal(3, 4))
        yield Sample(cls((1,), True), normal(2, 3, 4))
        yield Sample(cls((2, 0)), normal(2, 3, 4))
        yield Sample(cls(()), normal())


@dataclass(frozen=True)
class Mean(Reduction):
    """y = the sum over the axes / n, n elements each.  gx = gy / n, repeated along them."""

    axes: Shape
    keepdim: bool = False

    def forward(self, xp: Any, x: Array) -> Forward:
        """Add and divide; of no elements the mean is NaN."""
        with xp.errstate(all="ignore"):
            y = total(xp, x, self.axes, self.keepdim) / self._count(x.shape)
            return (y.astype(x.dtype, copy=False),), layout(x)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Share the gradient out, in the input's memory layout."""
        gx = empty_in(xp, saved, gy.dtype)
        if gx.size:
            xp.divide(spread(xp, gy, gx.shape, self.axes), self._count(gx.shape), out=gx)
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """One axis, several, all."""
        yield Sample(cls((0, 1)), normal(3, 4))
        yield Sample(cls((1,), True), normal(2, 3, 4))
        yield Sample(cls((2, 0)), normal(2, 3, 4))


@dataclass(frozen=True)
class Var(Reduction):
    """y = sum((x - mean)^2) / (n - correction), or its square root, the standard deviation.

    gx = gy * 2 * (x - mean) / (n - correction); of the root gx = gy * (x - mean) /
    ((n - correction) * y), 0 where y = 0.
    """

    axes: Shape
    correction: float = 1
    keepdim: bool = False
    root: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return "std" if self.root else "var"

    def forward(self, xp: Any, x: Array) -> Forward:
        """Take the mean, then the mean square of what is left: two passes, no cancellation."""
        n = self._count(x.shape)
        with xp.errstate(all="ignore"):
            mean = total(xp, x, self.axes, True) / n  # float32 for float16
            rest = x - mean
            y = total(xp, rest * rest, self.axes, True) / max(n - self.correction, 0.0)
            y = (xp.sqrt(y) if self.root else y).astype(x.dtype, copy=False)
        return (y.reshape(self._shape(x)),), (x, mean, y if self.root else None)

    def backward(self, xp: Any, saved: Any, gy: Array, needs: Needs) -> tuple[Any, ...]:
        """Scale what is left after the mean."""
        x, mean, y = saved
        with xp.errstate(all="ignore"):
            gy = xp.reshape(gy, mean.shape)
            if self.root:
                gy = xp.where(y == 0, 0, gy / (2 * y))
            factor = np.float64(2) / (self._count(x.shape) - self.correction)  # may be infinite
            return (((x - mean) * (float(factor) * gy)).astype(x.dtype, copy=False),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Both, with every correction."""
        for root in (False, True):
            yield Sample(cls((0, 1), root=root), normal(3, 4))
            yield Sample(cls((1,), 0, True, root), normal(2, 5, 3))
            yield Sample(cls((2, 0), 0.5, False, root), normal(2, 3, 4))


def summable(input: Any, dtype: Any) -> Tensor:
    """Convert what is to be summed: to `dtype`, else integers and booleans to int64."""
    x = as_tensor(input)
    if dtype is not None:
        return x.to(as_dtype(dtype))
    return x if x.dtype.kind == "f" else x.to(INT64)


def some_or_all(dim: Any, x: Tensor, name: str) -> Shape:
    """Normalise dimensions; none given and an empty tuple both mean all."""
    return dims(dim, x.ndim, name) or dims(None, x.ndim, name)


@public
@numpy_names
def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Add the elements along `dim` (an int, several, or None for all).

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  Integers and booleans
    give int64; `dtype` converts first.  The sum of nothing is 0.  Raises IndexError for a
    dimension that is not there, ValueError for one named twice.

    >>> import chainrule as cr
    >>> cr.sum(cr.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
    tensor([4.0, 6.0])
    """
    x = summable(input, dtype)
    return apply(Sum(some_or_all(dim, x, "sum"), bool(keepdim)), x)


@public
@numpy_names
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Average the elements along `dim` (an int, several, or None for all).

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  `dtype` converts first.
    The mean of nothing is NaN.  Raises TypeError for integers, whose mean has no dtype of theirs.

    >>> import chainrule as cr
    >>> cr.mean(cr.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1, keepdim=True)
    tensor([[1.5],
            [3.5]])
    """
    x = as_tensor(input)
    x = x if dtype is None else x.to(as_dtype(dtype))
    if x.dtype.kind != "f":
        hint = "convert first: dtype=cr.float32"
        raise failure("mean", "a floating-point dtype", error=KindError, hint=hint, input=x)
    return apply(Mean(some_or_all(dim, x, "mean"), bool(keepdim)), x)


@public
@numpy_names
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Give the variance along `dim`: the squared distances from the mean over n - correction.

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  `correction` is 1
    (Bessel's) unless given; `unbiased=False` is the old way to write 0, also as `var(x, False)`.
    NaN where n - correction is 0 and all are equal.  Raises TypeError for integers and for both
    ways at once.

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0, 4.0, 5.0])
    >>> cr.var(x), cr.var(x, correction=0)
    (tensor(3.3333), tensor(2.5))
    """
    return _spread(False, input, dim, unbiased, keepdim, correction)


@public
@numpy_names
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Give the standard deviation along `dim`: the square root of `var`, with its arguments.

    The gradient where all elements are equal is 0.

    >>> import chainrule as cr
    >>> cr.std(cr.tensor([[1.0, 3.0], [5.0, 5.0]]), dim=1, correction=0)
    tensor([1.0, 0.0])
    """
    return _spread(True, input, dim, unbiased, keepdim, correction)


def _spread(
    root: bool, input: Any, dim: Any, unbiased: Any, keepdim: bool, correction: Any
) -> Tensor:
    name = "std" if root else "var"
    if isinstance(dim, bool):
        if unbiased is not None:
            raise failure(name, "an integer or several for dim", error=KindError, dim=dim)
        dim, unbiased = None, dim
    if correction is not None and (unbiased is not None or not is_scalar(correction)):
        rule = "either unbiased, a boolean, or correction, a number"
        raise failure(name, rule, error=KindError, unbiased=unbiased, correction=correction)
    if correction is None:
        correction = 0 if unbiased is False else 1
    x = as_tensor(input)
    degrees = correction.item() if isinstance(correction, np.generic) else correction
    return apply(Var(some_or_all(dim, x, name), degrees, bool(keepdim), root), x)
