"""Products of vectors, matrices and batches of matrices; the outer product.

All go through BLAS, also where a matrix lies in memory as BLAS cannot read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import is_scalar
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.broadcast import broadcast, sum_to
from chainrule.ops.cast import promote
from chainrule.ops.formulas import quiet
from chainrule.ops.products import multiply


def blas(xp: Any, x: Array) -> Array:
    """Give x, or a copy where BLAS could not read its rows or columns as they lie.

    NumPy before 2.3 multiplies such matrices (reversed, repeated or every second row) by a loop
    of its own, which is many times slower.
    """
    if x.flags.c_contiguous or x.ndim == 0:
        return x
    if x.ndim > 1:
        (m, n), (s, t), size = x.shape[-2:], x.strides[-2:], x.itemsize
        if (t == size and s >= n * size) or (s == size and t >= m * size):
            return x
    copy: Array = xp.ascontiguousarray(x)
    return copy


def product(xp: Any, x: Array, y: Array) -> Array:
    """Multiply as np.matmul does, as one matrix where y is one matrix or vector.

    Large products are shared between threads: by BLAS, or by us where BLAS is held to one.
    """
    if x.ndim > 2 and y.ndim <= 2:
        lead = x.shape[:-1]
        rows = blas(xp, x.reshape(prod(lead), x.shape[-1]))
        return multiply(xp, rows, blas(xp, y)).reshape(*lead, *y.shape[1:])
    result: Array = xp.asarray(multiply(xp, blas(xp, x), blas(xp, y)))
    return result


def check_kinds(op: Op, *factors: Spec) -> None:
    """Raise for factors of several dtypes, and for booleans, which have no product here."""
    first = factors[0]
    for f in factors:
        if f.dtype != first.dtype:
            hint = "convert one of them: x.float(), x.double() or x.to(dtype)"
            named = dict(zip(("input", "other", "bias"), factors, strict=False))
            raise failure(op, "tensors of one dtype", error=KindError, hint=hint, **named)
    if first.dtype.kind == "b":
        hint = "convert them first: x.float()"
        raise failure(op, "numbers, not booleans", error=UndefinedKindError, hint=hint)


def refuse_numbers(name: str, *factors: Any) -> None:
    """Raise KindError for a bare number where a matrix belongs."""
    for f in factors:
        if not isinstance(f, Tensor) and is_scalar(f):
            hint = "use * to multiply by a number"
            raise failure(name, "tensors", error=KindError, hint=hint, value=f)


@dataclass(frozen=True)
class Matmul(Op):
    """y[..., i, j] = sum_k x[..., i, k] w[..., k, j]; a vector is one row before, one column after.

    gx = gy w^T and gw = x^T gy, each summed over the axes along which its matrix was broadcast.
    """

    def infer(self, x: Spec, w: Spec) -> tuple[Spec, ...]:
        if x.ndim == 0 or w.ndim == 0:
            raise failure(self, "vectors, matrices or batches, not 0-D", input=x, other=w)
        check_kinds(self, x, w)
        k, inner = x.shape[-1], w.shape[-2:][0]
        if k != inner:
            hint = ""
            if w.ndim > 1 and k == w.shape[-1]:
                hint = "other.mT, with its last two axes exchanged, would fit"
            raise failure(
                self, f"inner sizes that agree: {k} = {inner}", hint=hint, input=x, other=w
            )
        batch = x.shape[:-2]
        if w.shape[:-2] != batch:
            batch = broadcast(self, input_batch=batch, other_batch=w.shape[:-2])
        return (Spec((*batch, *x.shape[:-1][-1:], *(w.shape[-1:] if w.ndim > 1 else ())), x.dtype),)

    @quiet
    def forward(self, xp: Any, x: Array, w: Array) -> tuple[tuple[Array, ...], Any]:
        return (product(xp, x, w),), (x, w)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, w = saved
        rows = x if x.ndim > 1 else x[None]  # (..., m, k)
        columns = w if w.ndim > 1 else w[:, None]  # (..., k, n)
        lead = gy.shape[: gy.ndim - (x.ndim > 1) - (w.ndim > 1)]
        g = gy.reshape(*lead, rows.shape[-2], columns.shape[-1])  # (..., m, n)
        gx = gw = None
        if needs[0]:
            gx = sum_to(xp, product(xp, g, columns.swapaxes(-1, -2)), rows.shape).reshape(x.shape)
        if needs[1]:
            if columns.ndim == 2:  # one product over the whole batch
                count = prod(g.shape[:-1])
                rows, g = rows.reshape(count, rows.shape[-1]), g.reshape(count, g.shape[-1])
            gw = product(xp, rows.swapaxes(-1, -2), g)
            gw = sum_to(xp, gw, columns.shape).reshape(w.shape)
        return gx, gw

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 3), normal(3, 4))
        yield Sample(cls(), normal(3), normal(3))
        yield Sample(cls(), normal(3), normal(3, 2))
        yield Sample(cls(), normal(2, 3), normal(3))
        yield Sample(cls(), normal(3), normal(2, 3, 2))
        yield Sample(cls(), normal(2, 2, 3), normal(3))
        yield Sample(cls(), normal(2, 1, 3), normal(3, 2))
        yield Sample(cls(), normal(2, 3), normal(2, 3, 2))
        yield Sample(cls(), normal(3, 2, 3), normal(3, 3, 1))
        yield Sample(cls(), normal(2, 1, 2, 3), normal(3, 3, 2))
        yield Sample(cls(), normal(1, 2, 3), normal(2, 3, 2))
        yield Sample(cls(), normal(2, 0), normal(0, 3))


@public
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Multiply matrices: y[..., i, j] = sum over k of input[..., i, k] * other[..., k, j].

    Shapes: (m, k), (k, n) -> (m, n); a vector counts as a row on the left, as a column on the
    right, and its axis is dropped: (k,), (k,) -> (); (m, k), (k,) -> (m,); (k,), (k, n) -> (n,).
    Axes before the last two are a batch and are broadcast: (b, 1, m, k), (c, k, n) ->
    (b, c, m, n).  A product over k = 0 is 0.
    Raises ShapeError for inner sizes that differ, KindError for dtypes that differ and for bare
    numbers, NotImplementedError for booleans.

    >>> import chainrule as cr
    >>> cr.matmul(cr.tensor([[1.0, 2.0], [3.0, 4.0]]), cr.tensor([1.0, -1.0]))
    tensor([-1.0, -1.0])
    """
    refuse_numbers("matmul", input, other)
    return apply(Matmul(), input, other)


def _product_of(name: str, form: str, input: Tensor, other: Tensor) -> Tensor:
    """Multiply tensors whose numbers of axes must be those of `form`: "(m, k), (k, n)"."""
    wanted = [f.count(",") + 1 for f in form.strip("()").split("), (")]
    x, y = as_tensor(input), as_tensor(other)
    if [x.ndim, y.ndim] != wanted:
        hint = "matmul takes vectors, matrices and batches of them"
        raise failure(name, f"shapes {form}", hint=hint, input=x, other=y)
    return apply(Matmul(), x, y)


@public
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Multiply two matrices: (m, k), (k, n) -> (m, n); `matmul` without vectors and batches.

    >>> import chainrule as cr
    >>> cr.mm(cr.tensor([[1, 2]]), cr.tensor([[3], [4]]))
    tensor([[11]])
    """
    return _product_of("mm", "(m, k), (k, n)", input, mat2)


@public
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Multiply two batches of matrices pair by pair: (b, m, k), (b, k, n) -> (b, m, n).

    Raises ShapeError where the batches differ in size: nothing is broadcast.

    >>> import chainrule as cr
    >>> cr.bmm(cr.ones(5, 2, 3), cr.ones(5, 3, 4)).shape
    (5, 2, 4)
    """
    x, y = as_tensor(input), as_tensor(mat2)
    if x.ndim == y.ndim == 3 and x.shape[0] != y.shape[0]:
        rule = f"batches of one size: {x.shape[0]} = {y.shape[0]}"
        raise failure("bmm", rule, hint="matmul broadcasts a batch of 1", input=x, mat2=y)
    return _product_of("bmm", "(b, m, k), (b, k, n)", x, y)


@public
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Multiply a matrix by a vector: (m, k), (k,) -> (m,).

    >>> import chainrule as cr
    >>> cr.mv(cr.tensor([[1, 2], [3, 4]]), cr.tensor([1, -1]))
    tensor([-1, -1])
    """
    return _product_of("mv", "(m, k), (k)", input, vec)


@public
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Give the inner product of two vectors: (k,), (k,) -> ().

    >>> import chainrule as cr
    >>> cr.dot(cr.tensor([1, 2, 3]), cr.tensor([4, 5, 6]))
    tensor(32)
    """
    return _product_of("dot", "(k), (k)", input, tensor)


@dataclass(frozen=True)
class Outer(Op):
    """y[i, j] = x[i] v[j].  gx = gy v, gv = x gy."""

    def infer(self, x: Spec, v: Spec) -> tuple[Spec, ...]:
        if x.ndim != 1 or v.ndim != 1:
            raise failure(self, "two vectors", input=x, vec2=v)
        return (Spec((*x.shape, *v.shape), x.dtype),)

    @quiet
    def forward(self, xp: Any, x: Array, v: Array) -> tuple[tuple[Array, ...], Any]:
        return (x[:, None] * v,), (x, v)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, v = saved
        return (
            product(xp, gy, v) if needs[0] else None,
            product(xp, x, gy) if needs[1] else None,
        )

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(3), normal(4))
        yield Sample(cls(), normal(0), normal(2))


@public
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Multiply every element of one vector by every element of another: (m,), (n,) -> (m, n).

    Dtypes are promoted.  Raises ShapeError for what is not a vector.

    >>> import chainrule as cr
    >>> cr.outer(cr.tensor([1, 2]), cr.tensor([3, 4, 5]))
    tensor([[ 3,  4,  5],
            [ 6,  8, 10]])
    """
    return apply(Outer(), *promote(input, vec2, name="outer"))
