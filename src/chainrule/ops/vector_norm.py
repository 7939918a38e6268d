"""Lengths of vectors and matrices: norm, dist; vector_norm, matrix_norm and norm of `linalg`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isinf
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import as_dtype
from chainrule.engine.sample import Sample, away_from_zero, distinct, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axes, flag, int_tuple, numpy_names
from chainrule.ops.broadcast import Shape, total
from chainrule.ops.elementwise import sub
from chainrule.ops.extrema import amax, amin
from chainrule.ops.formulas import number, quiet
from chainrule.ops.permute import movedim
from chainrule.ops.reduce import Reduction, sum
from chainrule.ops.shape import squeeze, unsqueeze

Forward = tuple[tuple[Array, ...], Any]
Needs = tuple[bool, ...]


@dataclass(frozen=True)
class VectorNorm(Reduction):
    """y = (sum |x|^p)^(1/p) over the axes; the number of x != 0 for p = 0, the largest |x| for inf.

    gx = gy * sign(x) * |x|^(p-1) / y^(p-1), 0 where y = 0; of an extreme (p = inf, -inf) gy,
    shared evenly among those equal to it; of p = 0 there is none.
    """

    axes: Shape
    p: float = 2.0
    keepdim: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        (y,) = super().infer(x)
        if (self.p < 0 or isinf(self.p)) and self._count(x.shape) == 0:
            raise failure(self, f"at least one element for a norm of order {self.p:g}", input=x)
        return (y,)

    @quiet
    def forward(self, xp: Any, x: Array) -> Forward:
        a = xp.abs(x)
        if isinf(self.p):
            y = (xp.amax if self.p > 0 else xp.amin)(a, axis=self.axes, keepdims=True)
        elif self.p == 0:
            y = xp.sum(x != 0, axis=self.axes, keepdims=True)
        elif self.p == 1:
            y = total(xp, a, self.axes, True)
        elif self.p == 2:
            y = xp.sqrt(total(xp, x * x, self.axes, True))
        else:
            y = total(xp, a**self.p, self.axes, True) ** (1 / self.p)
        y = xp.asarray(y).astype(x.dtype, copy=False)
        return (y.reshape(self._shape(x)),), (x, y)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        x, y = saved
        gy, p = xp.reshape(gy, y.shape), self.p
        if p == 0:
            return (None,)
        if p == 1:
            return (xp.sign(x) * gy,)
        if isinf(p):
            chosen = (xp.abs(x) == y) | (xp.isnan(x) & xp.isnan(y))
            ties = xp.sum(chosen, axis=self.axes, keepdims=True).astype(gy.dtype)
            return (xp.sign(x) * (chosen * (gy / ties)),)
        if p == 2:
            return (xp.where(y == 0, gy.dtype.type(0), x / y) * gy,)
        if p < 1:
            steep = xp.where(x == 0, gy.dtype.type(0), xp.abs(x) ** (p - 1))
            return (xp.sign(x) * steep * gy * y ** (1 - p),)
        scaled = xp.sign(x) * xp.abs(x) ** (p - 1) if p < 2 else x * xp.abs(x) ** (p - 2)
        return (scaled * xp.where(y == 0, gy.dtype.type(0), gy / y ** (p - 1)),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for p in (2.0, 1.0, 3.0, 1.5, 0.5, -1.0, -2.5, 0.0):
            yield Sample(cls((1,), p), away_from_zero(2, 3, 2))
        for p in (inf, -inf):
            yield Sample(cls((0, 2), p, True), distinct(2, 3, 2))
        yield Sample(cls((0, 1)), normal(3, 4))
        yield Sample(cls((), 3.0), away_from_zero())


def _converted(input: Any, dtype: Any, name: str) -> Tensor:
    """Give the input, converted to `dtype`, as floats of at least its precision."""
    x = as_tensor(input)
    if x.dtype.kind != "f":
        hint = "convert it first: x.float()"
        raise failure(name, "a floating-point input", error=KindError, hint=hint, input=x)
    if dtype is None:
        return x
    wanted = as_dtype(dtype)
    if wanted.kind != "f" or wanted.itemsize < x.dtype.itemsize:
        rule = f"a floating-point dtype of at least {8 * x.dtype.itemsize} bits"
        raise failure(name, rule, dtype=wanted)
    return x.to(wanted)


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Give (sum |x|^ord)^(1/ord) along `dim` (an int, several, or None for all elements).

    Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  `ord` may be any
    number: inf is the largest |x|, -inf the smallest, 0 the number of elements that are not 0.
    `dtype` converts first.  The gradient is 0 where the norm is 0.
    Raises KindError for integers, ShapeError for no elements where the order is inf or negative
    and for a dtype of less precision, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.linalg.vector_norm(cr.tensor([[3.0, 4.0], [6.0, 8.0]]), dim=1)
    tensor([5.0, 10.0])
    """
    name = "vector_norm"
    t = _converted(x, dtype, name)
    along = axes(dim, t.ndim, name) or axes(None, t.ndim, name)
    order = number(ord, f"{name} ord")
    return apply(VectorNorm(along, order, flag(keepdim, f"{name} keepdim")), t)


@dataclass(frozen=True)
class SingularValues(Op):
    """s = the singular values of matrices, x = u diag(s) v^T, the largest first.

    gx = u diag(gs) v^T.
    """

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype.kind != "f" or x.ndim < 2:
            raise failure(self, "matrices of floats", input=x)
        return (Spec((*x.shape[:-2], min(x.shape[-2:])), x.dtype),)

    def forward(self, xp: Any, x: Array) -> Forward:
        u, s, vt = [xp.asarray(a) for a in xp.linalg.svd(x, full_matrices=False)]
        return (s,), (u, vt)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: Needs) -> tuple[Any, ...]:
        u, vt = saved
        return (xp.matmul(u * gy[..., None, :], vt),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3, 2))
        yield Sample(cls(), normal(2, 2, 3))


def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """Give a norm of the matrices along two axes.

    `ord`: "fro", the root of the summed squares; "nuc", the sum of the singular values; inf and
    -inf, the largest and smallest sum of |a| in a row; 1 and -1, in a column; 2 and -2, the
    largest and smallest singular value.
    Shapes: (..., m, n) -> (...), or (..., 1, 1) with `keepdim`.  `dtype` converts first.
    Raises KindError for integers, ShapeError for an unknown order and where `dim` is not two
    different axes.

    >>> import chainrule as cr
    >>> a = cr.tensor([[3.0, 0.0], [4.0, 5.0]])
    >>> cr.linalg.matrix_norm(a, "fro") ** 2, cr.linalg.matrix_norm(a, 1)
    (tensor(50.0), tensor(7.0))
    """
    name = "matrix_norm"
    x = _converted(A, dtype, name)
    if x.ndim < 2:
        raise failure(name, "a tensor of at least two axes", input=x)
    both = axes(int_tuple(dim, name, bare=False), x.ndim, name)
    if len(both) != 2:
        raise failure(name, "two axes for dim", dim=dim)
    keep = flag(keepdim, f"{name} keepdim")
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise failure(name, 'ord "fro" or "nuc", or a number', ord=ord)
        if ord == "fro":
            return apply(VectorNorm(both, 2.0, keep), x)
        return _restored(sum(_singular(x, both), -1), both, keep)
    order = number(ord, f"{name} ord")
    if abs(order) not in (1, 2, inf):
        raise failure(name, "an order among 1, 2 and inf, or one of these negated", ord=ord)
    choose = amax if order > 0 else amin
    if abs(order) == 2:
        return _restored(choose(_singular(x, both), -1), both, keep)
    rows, columns = both
    summed, chosen = (columns, rows) if isinf(order) else (rows, columns)
    y = choose(apply(VectorNorm((summed,), 1.0, True), x), chosen, True)
    return y if keep else squeeze(y, both)


def _singular(x: Tensor, both: Shape) -> Tensor:
    return apply(SingularValues(), movedim(x, both, (-2, -1)))


def _restored(y: Tensor, both: Shape, keep: bool) -> Tensor:
    """Put axes of size 1 where the matrices' axes were, if they are to be kept."""
    for d in sorted(both) if keep else ():
        y = unsqueeze(y, d)
    return y


@public
@numpy_names
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Give (sum |x|^p)^(1/p) along `dim` (an int, several, or None for all elements).

    `p` is a number, inf and -inf among them; "fro" means 2; "nuc" sums the singular values of
    matrices.  Shapes: (..., n, ...) -> (..., ...), or (..., 1, ...) with `keepdim`.  `dtype`
    converts first.  Raises as `linalg.vector_norm` and `linalg.matrix_norm`.

    >>> import chainrule as cr
    >>> cr.norm(cr.tensor([3.0, -4.0])), cr.norm(cr.tensor([3.0, -4.0]), 1)
    (tensor(5.0), tensor(7.0))
    """
    if p is None:
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    if not isinstance(p, str):
        return vector_norm(input, p, dim, keepdim, dtype=dtype)
    if p == "fro" and (dim is None or isinstance(dim, int) or len(dim) <= 2):
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    both = tuple(range(as_tensor(input).ndim)) if dim is None else dim
    return matrix_norm(input, p, both, keepdim, dtype=dtype)


@public
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """Give the distance of two tensors: the p-norm of their difference, over all elements.

    Shapes: two that broadcast -> ().  Raises KindError for integers, ShapeError where the shapes
    do not broadcast.

    >>> import chainrule as cr
    >>> cr.dist(cr.tensor([1.0, 2.0]), cr.tensor([4.0, 6.0]))
    tensor(5.0)
    """
    return vector_norm(sub(input, other), p)
