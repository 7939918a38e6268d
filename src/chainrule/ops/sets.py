"""Counting and finding: unique, isin, bincount, histc, searchsorted.  None has a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Spec, public
from chainrule.engine.promotion import BOOL, INT64, is_scalar
from chainrule.engine.sample import Sample, integers, normal, positive
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.arguments import axis, flag, integer, numpy_names
from chainrule.ops.cast import promote
from chainrule.ops.compare import Question
from chainrule.ops.formulas import number

Forward = tuple[tuple[Array, ...], Any]
UNKNOWN: Any = None


@dataclass(frozen=True)
class Unique(Question):
    """y, i, n = the different elements (or slices) in order, which one each is, how often.

    `consecutive` compares neighbours alone and keeps the order.
    """

    dim: int | None = None
    consecutive: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        count = Spec((UNKNOWN,), INT64, False)
        if self.dim is None:
            return Spec((UNKNOWN,), x.dtype, False), Spec(x.shape, INT64, False), count
        shape = (*x.shape[: self.dim], UNKNOWN, *x.shape[self.dim + 1 :])
        which = Spec((x.shape[self.dim],), INT64, False)
        return Spec(shape, x.dtype, False), which, count

    def forward(self, xp: Any, x: Array) -> Forward:
        rows = x.reshape(-1, 1) if self.dim is None else xp.moveaxis(x, self.dim, 0)
        n = rows.shape[0]
        flat = rows.reshape(n, -1) if n else xp.zeros((0, 1), x.dtype)
        order = None
        if not self.consecutive:
            keys = tuple([flat[:, j] for j in range(flat.shape[1] - 1, -1, -1)])
            order = xp.lexsort(keys) if keys else xp.arange(n)
            flat = flat[order]
        new = xp.ones(n, dtype=BOOL)
        new[1:] = (flat[1:] != flat[:-1]).any(axis=1)
        at = xp.flatnonzero(new)
        which = xp.cumsum(new, dtype=INT64) - 1
        if order is not None:
            sorted_which, which = which, xp.empty(n, dtype=INT64)
            which[order] = sorted_which
            chosen = order[at]
        else:
            chosen = at
        counts = xp.diff(xp.concatenate([at, xp.asarray([n])])).astype(INT64, copy=False)
        found = rows[chosen]
        if self.dim is None:
            return (found.reshape(-1), which.reshape(x.shape), counts), None
        return (xp.moveaxis(found, 0, self.dim), which, counts), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for consecutive in (False, True):
            yield Sample(cls(None, consecutive), integers(3, 4, high=4))
            yield Sample(cls(1, consecutive), integers(2, 6, high=2))
        yield Sample(cls(), normal(3))


def _unique(
    name: str, x: Any, consecutive: bool, inverse: Any, counts: Any, dim: Any
) -> Tensor | tuple[Tensor, ...]:
    t = as_tensor(x)
    along = None if dim is None else axis(dim, t.ndim, name)
    if along is not None and not t.ndim:
        t = t.reshape(1)
    if along is not None and 0 in t.shape and t.shape[along]:
        raise failure(name, "slices that have elements", input=t)
    found = apply_all(Unique(along, consecutive), t)
    given = [found[0]]
    if flag(inverse, f"{name} return_inverse"):
        given.append(found[1])
    if flag(counts, f"{name} return_counts"):
        given.append(found[2])
    return tuple(given) if len(given) > 1 else found[0]


@public
@numpy_names
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Give the different elements in ascending order, or the different slices along `dim`.

    Shapes: any -> (count,), or (..., count, ...) with `dim`.  With `return_inverse` also which one
    each element is, with `return_counts` how often each comes, as a tuple.  Sorted also where
    `sorted` does not ask for it.  Each NaN is an element of its own.  No gradient.
    Raises AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.unique(cr.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    flag(sorted, "unique sorted")
    return _unique("unique", input, False, return_inverse, return_counts, dim)


@public
@numpy_names
def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Drop every element, or slice along `dim`, that equals the one before it; as `unique`.

    >>> import chainrule as cr
    >>> cr.unique_consecutive(cr.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    return _unique("unique_consecutive", input, True, return_inverse, return_counts, dim)


@dataclass(frozen=True)
class IsIn(Question):
    """y = whether each element is among the test elements (is not, if `invert`)."""

    invert: bool = False

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, BOOL, False),)

    def forward(self, xp: Any, x: Array, y: Array) -> Forward:
        return (xp.asarray(xp.isin(x, y, invert=self.invert)),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), integers(3, 4, high=9), integers(3, high=9))
        yield Sample(cls(True), integers(4, high=4), integers(2, high=4))


@public
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Tell which elements are among the test elements; those that are not, with `invert`.

    Shapes: any, any -> that of `elements`, booleans.  One of the two may be a number.  NaN is
    among nothing.  `assume_unique` is accepted and changes nothing.  Raises NotImplementedError
    (and TypeError) for booleans.

    >>> import chainrule as cr
    >>> cr.isin(cr.tensor([1, 2, 3]), cr.tensor([3, 1]))
    tensor([True, False, True])
    """
    if is_scalar(elements) and is_scalar(test_elements):
        raise failure("isin", "a tensor among the two", error=KindError, elements=elements)
    for given in (elements, test_elements):
        if isinstance(given, bool) or getattr(given, "dtype", None) == BOOL:
            raise failure("isin", "numbers, not booleans", error=UndefinedKindError, given=given)
    flag(assume_unique, "isin assume_unique")
    x, y = promote(elements, test_elements, name="isin")
    return apply(IsIn(flag(invert, "isin invert")), x, y)


@dataclass(frozen=True)
class BinCount(Question):
    """y[v] = how often v comes, or the sum of its weights; at least `minlength` of them."""

    minlength: int = 0

    @property
    def name(self) -> str:
        """The function's name."""
        return "bincount"

    def infer(self, x: Spec, *weights: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind not in "iu":
            raise failure(self, "integers", error=UndefinedKindError, input=x)
        if x.ndim != 1 or self.minlength < 0:
            raise failure(self, "a vector, and a minlength of 0 or more", input=x)
        if weights and weights[0].shape != x.shape:
            raise failure(self, "a weight for each element", input=x, weights=weights[0])
        kind = INT64
        if weights:
            kind = weights[0].dtype if weights[0].dtype == np.float32 else np.dtype(np.float64)
        return (Spec((UNKNOWN,), kind, False),)

    def forward(self, xp: Any, x: Array, *weights: Array) -> Forward:
        if x.size and int(x.min()) < 0:
            raise failure(self, f"numbers of 0 or more, not {int(x.min())}", input=x)
        y = xp.bincount(x.astype(np.intp), *weights, minlength=self.minlength)
        kind = INT64
        if weights:
            kind = weights[0].dtype if weights[0].dtype == np.float32 else np.dtype(np.float64)
        return (y.astype(kind, copy=False),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), integers(6, high=5))
        yield Sample(cls(8), integers(6, high=5), positive(6))


@public
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Count how often each number from 0 on comes in a vector, or sum the weights of each.

    Shapes: (n,) -> (max(largest number + 1, minlength),); int64, with weights float64, or float32
    for those.  No gradient.  Raises ShapeError for negative numbers, for what is not a vector, for
    weights of another size and a negative `minlength`, NotImplementedError for other dtypes.

    >>> import chainrule as cr
    >>> cr.bincount(cr.tensor([1, 3, 1]))
    tensor([0, 2, 0, 1])
    """
    given = [] if weights is None else [as_tensor(weights)]
    return apply(BinCount(integer(minlength, "bincount minlength")), as_tensor(input), *given)


@dataclass(frozen=True)
class HistC(Question):
    """y[b] = how many elements lie in the b-th of `bins` equal parts of [low, high]."""

    bins: int
    low: float = 0.0
    high: float = 0.0

    @property
    def name(self) -> str:
        """The function's name."""
        return "histc"

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind != "f":
            raise failure(self, "a floating-point input", error=UndefinedKindError, input=x)
        return (Spec((self.bins,), x.dtype, False),)

    def forward(self, xp: Any, x: Array) -> Forward:
        low, high = self.low, self.high
        if low == high and x.size:
            low, high = float(x.min()), float(x.max())
        if low == high:
            low, high = low - 1, high + 1
        if not (isfinite(low) and isfinite(high)):
            raise failure(self, "a finite range", low=low, high=high)
        inside = x[(x >= low) & (x <= high)]
        parts = ((inside - x.dtype.type(low)) * x.dtype.type(self.bins)) / x.dtype.type(high - low)
        at = xp.minimum(parts.astype(np.int64), self.bins - 1)
        return (xp.bincount(at, minlength=self.bins).astype(x.dtype),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(4), normal(3, 4))
        yield Sample(cls(3, -1.0, 1.5), normal(9))


@public
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Count the elements in `bins` equal parts of [min, max]; of their own range if both are 0.

    Shapes: any -> (bins,), in the input's dtype.  What lies outside is not counted.  No gradient.
    Raises ShapeError for fewer than 1 bin, for min > max and for a range that is not finite,
    NotImplementedError for integers.

    >>> import chainrule as cr
    >>> cr.histc(cr.tensor([1.0, 2.0, 1.0]), bins=4, min=0, max=3)
    tensor([0.0, 2.0, 1.0, 0.0])
    """
    count = integer(bins, "histc bins")
    low, high = number(min, "histc min"), number(max, "histc max")
    if count < 1 or low > high:
        raise failure("histc", "1 bin or more and min <= max", bins=count, min=low, max=high)
    return apply(HistC(count, low, high), as_tensor(input))


@dataclass(frozen=True)
class SearchSorted(Question):
    """y = how many elements of each ascending row are below v (at most v, if `right`)."""

    right: bool = False
    out_int32: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return "searchsorted"

    def infer(self, rows: Spec, values: Spec) -> tuple[Spec, ...]:
        if rows.ndim != 1 and rows.shape[:-1] != values.shape[:-1]:
            rule = "one vector, or a row for each row of values"
            raise failure(self, rule, sorted_sequence=rows, values=values)
        kind = np.dtype(np.int32) if self.out_int32 else INT64
        return (Spec(values.shape, kind, False),)

    def forward(self, xp: Any, rows: Array, values: Array) -> Forward:
        kind = np.int32 if self.out_int32 else np.int64
        if rows.ndim == 1:
            side = "right" if self.right else "left"
            return (xp.asarray(xp.searchsorted(rows, values, side=side)).astype(kind),), None
        n = rows.shape[-1]
        low = xp.zeros(values.shape, np.int64)
        high = xp.full(values.shape, n, dtype=np.int64)
        for _ in range(n.bit_length()):  # halves every interval at once
            middle = (low + high) // 2
            there = xp.take_along_axis(rows, xp.minimum(middle, n - 1), axis=-1)
            above = there > values if self.right else there >= values
            above = above | (xp.isnan(there) & ~(xp.isnan(values) & self.right))
            open_ = low < high
            high = xp.where(open_ & above, middle, high)
            low = xp.where(open_ & ~above, middle + 1, low)
        return (low.astype(kind),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        row = np.array([0.0, 1.0, 1.0, 3.0])
        for right in (False, True):
            yield Sample(cls(right), row, np.array([[-1.0, 0.0, 1.0], [2.0, 3.0, 4.0]]))
        yield Sample(cls(True, True), np.stack([row, row + 1]), np.array([[0.0, 1.0], [2.0, 5.0]]))


def _searched(
    name: str, rows: Any, values: Any, out_int32: Any, right: Any, side: Any = None
) -> Tensor:
    number_given = is_scalar(values)
    x = as_tensor(rows, name)
    right = flag(right, f"{name} right")
    if side is not None:
        if side not in ("left", "right"):
            raise failure(name, 'side "left" or "right"', side=side)
        if side == "left" and right:
            raise failure(name, "right and side that agree", side=side, right=right)
        right = side == "right"
    if number_given and x.ndim != 1:
        raise failure(name, "one vector to search for a number", sorted_sequence=x)
    if x.ndim == 0:
        raise failure(name, "a sequence with an axis", sorted_sequence=x)
    x, v = promote(x, values, name=name)
    return apply(SearchSorted(right, flag(out_int32, f"{name} out_int32")), x, v)


@public
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Tell before which element of an ascending row each value belongs: the first that is >= it.

    With `right` (or `side` "right") the first that is > it.  The sequence is one vector, or has a
    row for each row of values; `sorter` holds the indices that sort it.
    Shapes: (n,), any -> the same; (..., n), (..., m) -> (..., m); int64, or int32 with
    `out_int32`.  Dtypes are promoted.  No gradient.  Raises ShapeError where rows do not fit.

    >>> import chainrule as cr
    >>> cr.searchsorted(cr.tensor([1, 3, 5]), cr.tensor([3, 6, 0]))
    tensor([1, 3, 0])
    """
    rows = as_tensor(sorted_sequence)
    if sorter is not None:
        order = as_tensor(sorter)
        if order.shape != rows.shape or order.dtype != INT64:
            rule = "a sorter of int64, of the sequence's shape"
            raise failure("searchsorted", rule, sorted_sequence=rows, sorter=order)
        rows = rows.gather(-1, order)
    return _searched("searchsorted", rows, input, out_int32, right, side)


@public
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """Tell between which boundaries each value lies: `searchsorted` in one ascending vector.

    Shapes: any -> the same; int64, or int32 with `out_int32`.  Raises ShapeError for boundaries
    of other than one axis.

    >>> import chainrule as cr
    >>> cr.bucketize(cr.tensor([0.5, 2.0, 9.0]), cr.tensor([1.0, 2.0, 3.0]))
    tensor([0, 1, 3])
    """
    edges = as_tensor(boundaries)
    if edges.ndim != 1:
        raise failure("bucketize", "boundaries of one axis", boundaries=edges)
    return _searched("bucketize", edges, input, out_int32, right)
