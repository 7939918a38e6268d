"""A product added to a tensor, each with a factor: addmm, addmv, addr, baddbmm, addbmm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, LabelError, failure
from chainrule.ops.broadcast import broadcast, sum_to
from chainrule.ops.einsum import tensordot
from chainrule.ops.formulas import quiet
from chainrule.ops.index_write import in_dtype, scale
from chainrule.ops.matmul import bmm, mm, mv, outer


@dataclass(frozen=True)
class Blend(Op):
    """y = beta * x + alpha * z; x is expanded to the shape of z, and left out if beta is 0.

    gx = beta * gy summed over the expanded axes, gz = alpha * gy.
    """

    beta: float = 1
    alpha: float = 1

    def infer(self, x: Spec, z: Spec) -> tuple[Spec, ...]:
        if x.dtype != z.dtype:
            raise failure(self, "tensors of one dtype", error=KindError, input=x, product=z)
        if x.shape != z.shape and broadcast(self, input=x.shape, product=z.shape) != z.shape:
            raise failure(self, f"an input that expands to {z.shape}", input=x)
        return (z,)

    @quiet
    def forward(self, xp: Any, x: Array, z: Array) -> tuple[tuple[Array, ...], Any]:
        y = z * in_dtype(self.alpha, z.dtype)
        if self.beta:
            y += x * in_dtype(self.beta, x.dtype)
        return (y,), x.shape

    @quiet
    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gx = sum_to(xp, gy * in_dtype(self.beta, gy.dtype), shape) if needs[0] else None
        return gx, gy * in_dtype(self.alpha, gy.dtype) if needs[1] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 3), normal(2, 3))
        yield Sample(cls(0.5, -2), normal(3), normal(2, 3))
        yield Sample(cls(0, 2.5), normal(2, 1), normal(2, 3))
        yield Sample(cls(2, 1), normal(), normal(2))


def _blended(name: str, input: Any, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    x = as_tensor(input)
    factors = scale(beta, product, f"{name} beta"), scale(alpha, product, f"{name} alpha")
    return apply(Blend(*factors), x, product)


@public
def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Give beta * input + alpha * (mat1 @ mat2).

    Shapes: (m, k), (k, n) and an input that expands to (m, n) -> (m, n).  With beta = 0 the input
    does not matter, even where it is NaN.  Factors of integers lose their fractions.
    Raises ShapeError where shapes do not fit, KindError for several dtypes and for factors that
    are no numbers.

    >>> import chainrule as cr
    >>> cr.addmm(cr.tensor([1, 2]), cr.tensor([[1, 1]]), cr.tensor([[3, 4], [5, 6]]), alpha=10)
    tensor([[ 81, 102]])
    """
    return _blended("addmm", input, mm(mat1, mat2), beta, alpha)


@public
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Give beta * input + alpha * (mat @ vec): (m, k), (k,) -> (m,).  Otherwise as `addmm`.

    >>> import chainrule as cr
    >>> cr.addmv(cr.tensor([1, 2]), cr.tensor([[1, 2], [3, 4]]), cr.tensor([1, 1]))
    tensor([4, 9])
    """
    return _blended("addmv", input, mv(mat, vec), beta, alpha)


@public
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Give beta * input + alpha * outer(vec1, vec2): (m,), (n,) -> (m, n).  As `addmm`.

    >>> import chainrule as cr
    >>> cr.addr(cr.tensor(1), cr.tensor([1, 2]), cr.tensor([3, 4]))
    tensor([[4, 5],
            [7, 9]])
    """
    return _blended("addr", input, outer(vec1, vec2), beta, alpha)


@public
def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Give beta * input + alpha * bmm(batch1, batch2): (b, m, k), (b, k, n) -> (b, m, n).

    Otherwise as `addmm`.

    >>> import chainrule as cr
    >>> cr.baddbmm(cr.zeros(1), cr.ones(5, 2, 3), cr.ones(5, 3, 4)).shape
    (5, 2, 4)
    """
    return _blended("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@public
def addbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Give beta * input + alpha * the sum of all batch1[i] @ batch2[i].

    Shapes: (b, m, k), (b, k, n) -> (m, n).  Otherwise as `addmm`.

    >>> import chainrule as cr
    >>> cr.addbmm(cr.zeros(2, 2), cr.ones(3, 2, 1), cr.ones(3, 1, 2))
    tensor([[3.0, 3.0],
            [3.0, 3.0]])
    """
    x, y = as_tensor(batch1), as_tensor(batch2)
    fits = x.ndim == y.ndim == 3 and x.shape[0] == y.shape[0] and x.shape[2] == y.shape[1]
    if not fits:
        rule = "shapes (b, m, k), (b, k, n)"
        raise failure("addbmm", rule, error=LabelError, batch1=x, batch2=y)
    return _blended("addbmm", input, tensordot(x, y, ([0, 2], [0, 1])), beta, alpha)
