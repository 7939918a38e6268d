"""Two statistics at once, and those that leave out NaN; quantiles."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from chainrule.engine.op import public
from chainrule.engine.promotion import as_dtype, is_scalar
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axis, flag, numpy_names
from chainrule.ops.cast import cast
from chainrule.ops.compare import isnan, logical_not
from chainrule.ops.elementwise import add, div, mul, sub
from chainrule.ops.extrema import amax, amin
from chainrule.ops.gather import gather
from chainrule.ops.permute import movedim
from chainrule.ops.reduce import mean, std, sum, summable, var
from chainrule.ops.select import where
from chainrule.ops.shape import expand, reshape
from chainrule.ops.sort import sort


class Range(NamedTuple):
    """The smallest and the largest elements."""

    min: Tensor
    max: Tensor


@public
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Range:
    """Give the smallest and the largest elements, along one `dim` or of all.

    Shapes: (..., n, ...) -> (..., ...) twice, or (..., 1, ...) with `keepdim`; a named tuple
    (min, max).  NaN if there is a NaN.  Each gradient is shared evenly among ties.  Raises as
    `amax`.

    >>> import chainrule as cr
    >>> cr.aminmax(cr.tensor([3, 1, 2]))
    Range(min=tensor(1), max=tensor(3))
    """
    along: Any = () if dim is None else axis(dim, as_tensor(input).ndim, "aminmax")
    return Range(amin(input, along, keepdim), amax(input, along, keepdim))


@public
@numpy_names
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Give the variance and the mean, with the arguments of `var`.

    >>> import chainrule as cr
    >>> cr.var_mean(cr.tensor([1.0, 2.0, 3.0]))
    (tensor(1.0), tensor(2.0))
    """
    spread = var(input, dim, unbiased, keepdim, correction=correction)
    return spread, mean(input, None if isinstance(dim, bool) else dim, keepdim)


@public
@numpy_names
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Give the standard deviation and the mean, with the arguments of `std`.

    >>> import chainrule as cr
    >>> cr.std_mean(cr.tensor([1.0, 2.0, 3.0]))
    (tensor(1.0), tensor(2.0))
    """
    spread = std(input, dim, unbiased, keepdim, correction=correction)
    return spread, mean(input, None if isinstance(dim, bool) else dim, keepdim)


@public
@numpy_names
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Add the elements along `dim` (an int, several, or None for all), NaN counting as 0.

    Otherwise as `sum`.  The gradient at a NaN is 0.

    >>> import chainrule as cr
    >>> cr.nansum(cr.tensor([1.0, float("nan"), 2.0]))
    tensor(3.0)
    """
    x = summable(input, dtype)
    return sum(where(isnan(x), 0, x) if x.dtype.kind == "f" else x, dim, keepdim)


@public
@numpy_names
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Average the elements along `dim` that are not NaN; of none it is NaN.

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  `dtype` converts first.
    The gradient at a NaN is 0.  Raises TypeError for integers.

    >>> import chainrule as cr
    >>> cr.nanmean(cr.tensor([1.0, float("nan"), 2.0]))
    tensor(1.5)
    """
    x = as_tensor(input)
    if x.dtype.kind != "f":
        hint = "convert it first: x.float()"
        raise failure("nanmean", "a floating-point input", error=KindError, hint=hint, input=x)
    x = x if dtype is None else cast(x, as_dtype(dtype))
    count = cast(sum(logical_not(isnan(x)), dim, keepdim), x.dtype)
    return div(nansum(x, dim, keepdim), count)


_BETWEEN = ("linear", "lower", "higher", "midpoint", "nearest")
_ROUND: dict[str, Any] = {"lower": np.floor, "higher": np.ceil, "nearest": np.round}


@public
@numpy_names
def quantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Give the q-th quantiles along one `dim`, or of all elements: element q * (n - 1) in order.

    `q` is a number in [0, 1] or a vector of them, of the input's dtype.  Between two elements
    `interpolation` decides: "linear", "lower", "higher", "midpoint", "nearest" (to the even one).
    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`; a vector of m gives an
    axis of m in front.  NaN if there is a NaN.
    Raises KindError for a `q` of another dtype, ShapeError for integers, for a q outside [0, 1],
    of two axes, for no elements and for an unknown interpolation, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.quantile(cr.tensor([1.0, 2.0, 3.0, 4.0]), cr.tensor([0.25, 0.5]))
    tensor([1.75, 2.50])
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@public
@numpy_names
def nanquantile(
    input: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Give the quantiles of what is not NaN; otherwise as `quantile`.

    >>> import chainrule as cr
    >>> cr.nanquantile(cr.tensor([1.0, float("nan"), 3.0]), 0.5)
    tensor(2.0)
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _quantile(name: str, input: Any, q: Any, dim: Any, keepdim: Any, between: str) -> Tensor:
    x, wanted = _checked(name, input, q, between)
    keep, ndim = flag(keepdim, f"{name} keepdim"), x.ndim
    along = 0 if dim is None else axis(dim, ndim, name)
    if dim is None or not ndim:
        rows, shape = reshape(x, (-1,)), (1,) * ndim
    else:
        rows = movedim(x, along, -1)
        shape = (*x.shape[:along], 1, *x.shape[along + 1 :])
    if not keep:
        shape = tuple([n for d, n in enumerate(shape) if d != along]) if dim is not None else ()
    values = _at_ranks(sort(rows).values, wanted, name == "nanquantile", between)
    y = movedim(values, -1, 0)
    return reshape(y, (*wanted.shape, *shape))


def _checked(name: str, input: Any, q: Any, between: str) -> tuple[Tensor, Tensor]:
    x = as_tensor(input)
    if x.dtype.kind != "f" or x.dtype.itemsize < 4:
        raise failure(name, "an input of float32 or float64", input=x)
    if 0 in x.shape:
        raise failure(name, "at least one element", input=x)
    wanted = as_tensor(q, f"{name} q")
    if is_scalar(q):
        wanted = Tensor(np.asarray(q, x.dtype))
    if wanted.ndim > 1:
        raise failure(name, "q of one axis at most", q=wanted)
    if wanted.dtype != x.dtype:
        raise failure(name, f"q of the input's dtype, {x.dtype}", error=KindError, q=wanted)
    values = wanted.array.reshape(-1)
    if not ((values >= 0) & (values <= 1)).all():
        raise failure(name, "q in [0, 1]", q=values.tolist())
    if between not in _BETWEEN:
        raise failure(name, f"interpolation among {', '.join(_BETWEEN)}", interpolation=between)
    return x, wanted


def _at_ranks(values: Tensor, q: Tensor, skip_nan: bool, between: str) -> Tensor:
    """Take the elements of ranks q * (n - 1), which may lie between two, of sorted rows."""
    array, q_at = values.array, reshape(q, (-1,))
    last = np.array(array.shape[-1] - 1, q.dtype)
    nans = np.isnan(array).sum(-1, keepdims=True)
    if skip_nan:
        last = np.maximum(last - nans, 0).astype(q.dtype)
    exact = mul(q_at, Tensor(last))
    if not skip_nan:
        exact = where(Tensor(nans > 0), Tensor(last), exact)
    exact = expand(exact, (*array.shape[:-1], q_at.shape[0]))
    ranks = _ROUND.get(between, np.asarray)(exact.array)
    below = np.floor(ranks).astype(np.int64)
    low = gather(values, -1, Tensor(below))
    if between not in ("linear", "midpoint"):
        return low
    high = gather(values, -1, Tensor(np.ceil(ranks).astype(np.int64)))
    if between == "midpoint":
        return _between(low, high, Tensor(np.full_like(ranks, 0.5)))
    return _between(low, high, sub(exact, Tensor(below.astype(q.dtype))))


def _between(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    """Give low + weight * (high - low), from the nearer end."""
    step, far = sub(high, low), sub(1, weight)
    near_low = Tensor(weight.array < 0.5)
    return where(near_low, add(low, mul(step, weight)), sub(high, mul(step, far)))
