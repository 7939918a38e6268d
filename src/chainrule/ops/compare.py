"""Questions with boolean answers: comparisons, logic, NaN and infinity.  None has a gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import BOOL, INT64, is_scalar
from chainrule.engine.sample import Sample, booleans, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axes
from chainrule.ops.broadcast import Shape, broadcast, reduced
from chainrule.ops.cast import promote
from chainrule.ops.reduce import numpy_names

Forward = tuple[tuple[Array, ...], Any]


class Question(Op, register=False):
    """Base: booleans that nothing flows back through."""

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (None,) * len(needs)


@dataclass(frozen=True)
class Compare(Question):
    """y = a R b, for R "equal", "not_equal", "less", "less_equal", "greater", "greater_equal".

    Also "logical_and", "logical_or", "logical_xor" of a != 0 and b != 0.
    """

    relation: str

    @property
    def name(self) -> str:
        """The relation."""
        return self.relation

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        same = x.shape == y.shape
        shape = x.shape if same else broadcast(self, input=x.shape, other=y.shape)
        return (Spec(shape, BOOL, False),)

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        with xp.errstate(invalid="ignore"):
            return (getattr(xp, self.relation)(x, other),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Every relation, with ties."""
        for relation in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
            yield Sample(cls(relation), integers(3, 4, high=3), integers(4, high=3))
        for relation in ("logical_and", "logical_or", "logical_xor"):
            yield Sample(cls(relation), booleans(3, 4), booleans(3, 1))


@dataclass(frozen=True)
class Is(Question):
    """y = f(x) for f "isnan", "isinf", "isfinite", or "logical_not" (x == 0)."""

    test: str

    @property
    def name(self) -> str:
        """The test."""
        return self.test

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, BOOL, False),)

    def forward(self, xp: Any, x: Array) -> Forward:
        return (getattr(xp, self.test)(x),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Every test on values of every kind."""
        odd = np.array([[0.0, np.nan, 1.0], [np.inf, -np.inf, -0.0]])
        for test in ("isnan", "isinf", "isfinite", "logical_not"):
            yield Sample(cls(test), odd)


@dataclass(frozen=True)
class IsClose(Question):
    """y = |a - b| <= atol + rtol * |b|, or a = b, or both are NaN if `equal_nan`."""

    rtol: float = 1e-5
    atol: float = 1e-8
    equal_nan: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return "isclose"

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        if x.dtype != y.dtype:
            raise failure(self, "operands of one dtype", error=KindError, input=x, other=y)
        return (Spec(broadcast(self, input=x.shape, other=y.shape), BOOL, False),)

    def forward(self, xp: Any, x: Array, other: Array) -> Forward:
        """Compare; infinities are close to themselves alone."""
        with xp.errstate(all="ignore"):
            close = x == other
            if x.dtype.kind == "f" and self.equal_nan:
                close = close | ((x != x) & (other != other))
            if self.rtol == 0 and self.atol == 0:
                return (close,), None
            if x.dtype.kind != "f":
                x, other = x.astype(np.float64), other.astype(np.float64)
            apart = xp.absolute(x - other)
            allowed = self.atol + xp.absolute(self.rtol * other)
            return (close | (xp.isfinite(apart) & (apart <= allowed)),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """Distances about the tolerance."""
        yield Sample(cls(rtol=0.1, atol=0.5), normal(3, 4), normal(4))
        yield Sample(cls(equal_nan=True), np.array([1.0, np.nan]), np.array([np.nan, np.nan]))


@dataclass(frozen=True)
class Quantify(Question):
    """y = whether "any" or "all" of the elements along the axes differ from 0.

    Over no elements "any" is false and "all" is true.
    """

    kind: str
    axes: Shape = ()
    keepdim: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return self.kind

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The reduced shape; booleans, but uint8 for uint8."""
        dtype = x.dtype if x.dtype == np.uint8 else BOOL
        return (Spec(reduced(x.shape, self.axes, self.keepdim), dtype, False),)

    def forward(self, xp: Any, x: Array) -> Forward:
        """Ask along the axes; along none each element is asked for itself."""
        y = getattr(xp, self.kind)(x, axis=self.axes, keepdims=self.keepdim)
        return (xp.asarray(y).astype(x.dtype if x.dtype == np.uint8 else BOOL, copy=False),), None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """One axis, several and none."""
        for kind in ("any", "all"):
            yield Sample(cls(kind, (0, 1)), booleans(2, 3))
            yield Sample(cls(kind, (1,), True), booleans(2, 3))
            yield Sample(cls(kind), booleans(2, 3))
            yield Sample(cls(kind, (0,)), np.array([[0, 7], [0, 0]], np.uint8))


def _compare(relation: str, name: str, input: Any, other: Any) -> Tensor:
    input, other = _roomy(input, other), _roomy(other, input)
    return apply(Compare(relation), *promote(input, other, name=name))


def _roomy(value: Any, number: Any) -> Any:
    """Widen an integer tensor that is to be compared with a number its dtype cannot hold."""
    if type(number) is int and isinstance(value, Tensor) and value.dtype.kind in "iu":
        limits = np.iinfo(value.dtype)
        if not limits.min <= number <= limits.max:
            return value.to(INT64)
    return value


@public
def eq(input: Any, other: Any) -> Tensor:
    """Tell where two are equal, elementwise; NaN equals nothing.

    Shapes: two that broadcast -> the common one, booleans.  Operands are promoted first.  Raises
    TypeError for what is no tensor, array or number.

    >>> import chainrule as cr
    >>> cr.eq(cr.tensor([1, 2]), 2)
    tensor([False, True])
    """
    return _compare("equal", "eq", input, other)


@public
def ne(input: Any, other: Any) -> Tensor:
    """Tell where two differ, elementwise; NaN differs from itself.  Otherwise as `eq`.

    >>> import chainrule as cr
    >>> cr.ne(cr.tensor([1, 2]), 2)
    tensor([True, False])
    """
    return _compare("not_equal", "ne", input, other)


@public
def lt(input: Any, other: Any) -> Tensor:
    """Tell where input < other, elementwise; false for NaN.  Otherwise as `eq`.

    >>> import chainrule as cr
    >>> cr.lt(cr.tensor([1, 2]), 2)
    tensor([True, False])
    """
    return _compare("less", "lt", input, other)


@public
def le(input: Any, other: Any) -> Tensor:
    """Tell where input <= other, elementwise; false for NaN.  Otherwise as `eq`.

    >>> import chainrule as cr
    >>> cr.le(cr.tensor([1, 2, 3]), 2)
    tensor([True, True, False])
    """
    return _compare("less_equal", "le", input, other)


@public
def gt(input: Any, other: Any) -> Tensor:
    """Tell where input > other, elementwise; false for NaN.  Otherwise as `eq`.

    >>> import chainrule as cr
    >>> cr.gt(cr.tensor([1, 2, 3]), 2)
    tensor([False, False, True])
    """
    return _compare("greater", "gt", input, other)


@public
def ge(input: Any, other: Any) -> Tensor:
    """Tell where input >= other, elementwise; false for NaN.  Otherwise as `eq`.

    >>> import chainrule as cr
    >>> cr.ge(cr.tensor([1, 2]), 2)
    tensor([False, True])
    """
    return _compare("greater_equal", "ge", input, other)


@public
def logical_and(input: Any, other: Any) -> Tensor:
    """Tell where both differ from 0.

    Shapes: two that broadcast -> the common one, booleans; any dtypes.

    >>> import chainrule as cr
    >>> cr.logical_and(cr.tensor([True, False]), cr.tensor([2.0, 2.0]))
    tensor([True, False])
    """
    return apply(Compare("logical_and"), as_tensor(input), as_tensor(other))


@public
def logical_or(input: Any, other: Any) -> Tensor:
    """Tell where either differs from 0; otherwise as `logical_and`.

    >>> import chainrule as cr
    >>> cr.logical_or(cr.tensor([True, False]), cr.tensor([0, 0]))
    tensor([True, False])
    """
    return apply(Compare("logical_or"), as_tensor(input), as_tensor(other))


@public
def logical_xor(input: Any, other: Any) -> Tensor:
    """Tell where exactly one differs from 0; otherwise as `logical_and`.

    >>> import chainrule as cr
    >>> cr.logical_xor(cr.tensor([True, False]), cr.tensor([True, True]))
    tensor([False, True])
    """
    return apply(Compare("logical_xor"), as_tensor(input), as_tensor(other))


@public
def logical_not(input: Any) -> Tensor:
    """Tell where the input is 0.

    Shapes: any -> the same, booleans.

    >>> import chainrule as cr
    >>> cr.logical_not(cr.tensor([0.0, 3.0]))
    tensor([True, False])
    """
    return apply(Is("logical_not"), as_tensor(input))


@public
def isnan(input: Any) -> Tensor:
    """Tell where the input is NaN; never for integers.

    >>> import chainrule as cr
    >>> cr.isnan(cr.tensor([1.0, float("nan")]))
    tensor([False, True])
    """
    return apply(Is("isnan"), as_tensor(input))


@public
def isinf(input: Any) -> Tensor:
    """Tell where the input is infinity of either sign; never for integers.

    >>> import chainrule as cr
    >>> cr.isinf(cr.tensor([1.0, -float("inf")]))
    tensor([False, True])
    """
    return apply(Is("isinf"), as_tensor(input))


@public
def isfinite(input: Any) -> Tensor:
    """Tell where the input is neither NaN nor infinity.

    >>> import chainrule as cr
    >>> cr.isfinite(cr.tensor([1.0, float("nan")]))
    tensor([True, False])
    """
    return apply(Is("isfinite"), as_tensor(input))


@public
def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Tell where |input - other| <= atol + rtol * |other|, or both are the same infinity.

    Shapes: two that broadcast -> the common one, booleans.  NaN is close to nothing, or to NaN if
    `equal_nan`.  Raises TypeError for tensors of two dtypes, ValueError for a negative tolerance.

    >>> import chainrule as cr
    >>> cr.isclose(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 2.1]), rtol=0.01)
    tensor([True, False])
    """
    if not (rtol >= 0 and atol >= 0):
        raise failure("isclose", "tolerances of at least 0", rtol=rtol, atol=atol)
    scalar = is_scalar(input) or is_scalar(other)
    x, y = promote(input, other) if scalar else (as_tensor(input), as_tensor(other))
    return apply(IsClose(float(rtol), float(atol), bool(equal_nan)), x, y)


@public
def allclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Tell whether `isclose` holds for every element; raises as it does.

    >>> import chainrule as cr
    >>> cr.allclose(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 2.000001]))
    True
    """
    return bool(all(isclose(input, other, rtol, atol, equal_nan)))


@public
def equal(input: Any, other: Any) -> bool:
    """Tell whether two tensors have the same shape and equal values; NaN equals nothing.

    >>> import chainrule as cr
    >>> cr.equal(cr.tensor([1, 2]), cr.tensor([1, 2])), cr.equal(cr.tensor([1]), cr.tensor(1))
    (True, False)
    """
    x, y = promote(input, other)
    return x.shape == y.shape and bool(all(eq(x, y)))


@public
@numpy_names
def any(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Tell whether any element differs from 0, along `dim` (an int or several) or in all.

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`; booleans, but uint8 for
    uint8.  NaN differs from 0; of no elements none does.  An empty tuple of dimensions asks each
    element for itself.  Raises IndexError for a dimension that is not there.

    >>> import chainrule as cr
    >>> cr.any(cr.tensor([[0, 1], [0, 0]]), dim=1)
    tensor([True, False])
    """
    x = as_tensor(input)
    return apply(Quantify("any", axes(dim, x.ndim, "any"), bool(keepdim)), x)


@public
@numpy_names
def all(input: Any, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Tell whether all elements differ from 0; of no elements all do.  Otherwise as `any`.

    >>> import chainrule as cr
    >>> cr.all(cr.tensor([[0, 1], [1, 1]]), dim=1)
    tensor([False, True])
    """
    x = as_tensor(input)
    return apply(Quantify("all", axes(dim, x.ndim, "all"), bool(keepdim)), x)
