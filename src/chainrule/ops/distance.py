"""How far vectors are from each other: p-norms of differences, and the cosine of the angle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal, spaced
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import failure
from chainrule.ops.arguments import axis, flag
from chainrule.ops.broadcast import broadcast, reduced, sum_to, total
from chainrule.ops.cast import promote
from chainrule.ops.formulas import need_float, number, quiet
from chainrule.ops.index import Index
from chainrule.ops.loss import as_floats
from chainrule.ops.matmul import product
from chainrule.ops.norm_common import floats
from chainrule.ops.vector_norm import VectorNorm

_AT_ONCE = 1 << 20
"""How many differences are held at once by `cdist`: bounds its memory."""

_FEW = 25
"""Up to so many vectors on either side `cdist` subtracts, from there on it multiplies matrices."""


@dataclass(frozen=True)
class PairwiseDistance(Op):
    """z = the p-norm of d = x - y + eps over the last axis.

    gx = gz * the norm's derivative by d, gy = -gx.
    """

    p: float = 2.0
    eps: float = 1e-6
    keepdim: bool = False

    @property
    def name(self) -> str:
        """The function's name."""
        return "pairwise_distance"

    def _norm(self, ndim: int) -> VectorNorm:
        return VectorNorm((ndim - 1,) if ndim else (), self.p, self.keepdim)

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        shape = x.shape if x.shape == y.shape else broadcast(self, x1=x.shape, x2=y.shape)
        return self._norm(len(shape)).infer(Spec(shape, x.dtype))

    @quiet
    def forward(self, xp: Any, x: Array, y: Array) -> tuple[tuple[Array, ...], Any]:
        d = xp.asarray(x - y)
        d += self.eps
        outputs, saved = self._norm(d.ndim).forward(xp, d)
        return outputs, (saved, x.shape, y.shape)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        kept, first, second = saved
        (g,) = self._norm(kept[0].ndim).backward(xp, kept, gy, (True,))
        if g is None:
            return None, None
        gx = sum_to(xp, g, first) if needs[0] else None
        return gx, sum_to(xp, -g, second) if needs[1] else None

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for p in (2.0, 1.0, 3.0, 1.5, inf):
            yield Sample(cls(p), spaced(3, 4, grid=1.0), np.arange(12.0).reshape(3, 4) % 5)
        yield Sample(cls(keepdim=True), normal(2, 3, 4), normal(3, 4))
        yield Sample(cls(eps=0.5), normal(3, 1), normal(1, 4))
        yield Sample(cls(), normal(), normal())


@public
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Give the p-norm of x1 - x2 + eps over the last axis, vector by vector.

    Shapes: two that broadcast to (..., D) -> (...), or (..., 1) with `keepdim`.  Any real p: 0
    counts the elements that are not 0, inf takes the largest.  The gradient where the norm is 0
    is 0.  Raises ValueError for shapes that do not broadcast.

    >>> import chainrule as cr
    >>> x, y = cr.tensor([[3.0, 4.0]]), cr.tensor([[0.0, 0.0]])
    >>> cr.nn.functional.pairwise_distance(x, y, eps=0)
    tensor([5.0])
    """
    name = "pairwise_distance"
    settings = number(p, f"{name} p"), number(eps, f"{name} eps"), flag(keepdim, f"{name} keepdim")
    return apply(PairwiseDistance(*settings), *as_floats(name, x1, x2))


@dataclass(frozen=True)
class Cdist(Op):
    """z[..., i, j] = the p-norm of d = x[..., i, :] - y[..., j, :].

    gx[i] = the sum over j of gz[i, j] * the norm's derivative by d, gy[j] = minus that over i.  By
    `products` (p = 2) z^2 = x.x + y.y - 2 x.y, gx[i] = sum_j gz/z (x[i] - y[j]).
    """

    p: float = 2.0
    products: bool = False

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        if x.ndim < 2 or y.ndim < 2:
            raise failure(self, "rows of vectors (..., P, M) and (..., R, M)", x1=x, x2=y)
        if x.shape[-1] != y.shape[-1]:
            rule = f"vectors of one length: {x.shape[-1]} = {y.shape[-1]}"
            raise failure(self, rule, x1=x, x2=y)
        if not self.p >= 0:
            raise failure(self, f"p of at least 0, not {self.p}")
        batch = broadcast(self, x1_batch=x.shape[:-2], x2_batch=y.shape[:-2])
        return (Spec((*batch, x.shape[-2], y.shape[-2]), x.dtype),)

    @quiet
    def forward(self, xp: Any, x: Array, y: Array) -> tuple[tuple[Array, ...], Any]:
        if self.products:
            z = product(xp, x * -2, y.swapaxes(-1, -2))
            z += total(xp, x * x, (x.ndim - 1,), True)
            z += total(xp, y * y, (y.ndim - 1,))[..., None, :]
            z = xp.sqrt(xp.maximum(z, 0))
            return (z,), (x, y, z)
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        z = xp.zeros((*batch, x.shape[-2], y.shape[-2]), x.dtype)
        for rows in _blocks(z.shape, x.shape[-1]):
            z[..., rows, :] = self._norm_of(xp, _differences(x, y, rows))
        return (z,), (x, y, z)

    def _norm_of(self, xp: Any, d: Array) -> Array:
        (z,), _ = VectorNorm((d.ndim - 1,), self.p).forward(xp, d)
        return z

    def _slope(self, xp: Any, d: Array, z: Array, gz: Array) -> Array:
        """Give the gradient by the differences d (..., M); z and gz are (..., 1)."""
        g: Array
        if self.p == 0:
            g = xp.zeros_like(d)
        elif self.p == inf:
            g = xp.where(xp.abs(d) == z, xp.sign(d) * gz, 0)
        else:
            (g,) = VectorNorm((d.ndim - 1,), self.p, True).backward(xp, (d, z), gz, (True,))
        return g

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, y, z = saved
        both = self._by_products if self.products else self._by_differences
        return tuple([
            sum_to(xp, g, shape) if need else None
            for g, shape, need in zip(both(xp, x, y, z, gy), (x.shape, y.shape), needs, strict=True)
        ])  # fmt: skip

    @staticmethod
    def _by_products(xp: Any, x: Array, y: Array, z: Array, gz: Array) -> tuple[Array, Array]:
        share = xp.where(z == 0, 0, gz / z)
        gx = x * share.sum(axis=-1)[..., None] - product(xp, share, y)
        gy = y * share.sum(axis=-2)[..., None] - product(xp, share.swapaxes(-1, -2), x)
        return gx, gy

    def _by_differences(self, xp: Any, x: Array, y: Array, z: Array, gz: Array) -> Any:
        batch, m = z.shape[:-2], x.shape[-1]
        gx = xp.zeros((*batch, x.shape[-2], m), x.dtype)
        gy = xp.zeros((*batch, y.shape[-2], m), x.dtype)
        for rows in _blocks(z.shape, m):
            places = (..., rows, slice(None), None)
            g = self._slope(xp, _differences(x, y, rows), z[places], gz[places])
            gx[..., rows, :] = g.sum(axis=-2)
            gy -= g.sum(axis=-3)
        return gx, gy

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for p in (2.0, 1.0, 3.0, 1.5, 0.5, inf, 0.0):
            yield Sample(cls(p), spaced(3, 2, grid=1.0), np.arange(8.0).reshape(4, 2) % 5)
        yield Sample(cls(2.0, True), normal(3, 2), normal(4, 2))
        yield Sample(cls(2.0, True), normal(2, 3, 2), normal(4, 2))
        yield Sample(cls(2.0), normal(2, 1, 3, 2), normal(3, 2, 2))
        yield Sample(cls(2.0), normal(0, 2), normal(3, 2))
        yield Sample(cls(2.0), normal(2, 0), normal(3, 0))


def _differences(x: Array, y: Array, rows: slice) -> Array:
    """Give x[..., i, :] - y[..., j, :] for some rows i and all j."""
    d: Array = x[..., rows, None, :] - y[..., None, :, :]
    return d


def _blocks(shape: tuple[int, ...], m: int) -> Iterator[slice]:
    """Cut the rows of a result (..., P, R) into runs of at most about _AT_ONCE differences."""
    *batch, p, r = shape
    if m == 0:
        return
    step = max(1, _AT_ONCE // max(1, prod(batch) * r * m))
    for start in range(0, p, step):
        yield slice(start, start + step)


_COMPUTE_MODES = {
    "use_mm_for_euclid_dist_if_necessary": None,
    "use_mm_for_euclid_dist": True,
    "donot_use_mm_for_euclid_dist": False,
}


@public
def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """Give the distances, as p-norms, between all vectors of one set and all of another.

    Shapes: (..., P, M), (..., R, M) -> (..., P, R); the axes in front are broadcast.  For p = 2 and
    more than 25 vectors on a side the distances are computed by a product of matrices, which is
    faster, and less exact between vectors that nearly agree; "use_mm_for_euclid_dist" and
    "donot_use_mm_for_euclid_dist" say so for any number.  Where a distance is 0 so is its gradient;
    for p = inf each of several largest differences gets the gradient whole.

    Raises ValueError for lengths that differ, p < 0, fewer than two axes and other modes,
    TypeError for integers.

    >>> import chainrule as cr
    >>> cr.cdist(cr.tensor([[0.0, 0.0], [3.0, 0.0]]), cr.tensor([[3.0, 4.0]]))
    tensor([[5.0],
            [4.0]])
    """
    if compute_mode not in _COMPUTE_MODES:
        raise failure("cdist", f"one of {tuple(_COMPUTE_MODES)}", compute_mode=compute_mode)
    x, y = promote(x1, x2, name="cdist")
    order, products = number(p, "cdist p"), _COMPUTE_MODES[compute_mode]
    if products is None:
        products = any(t.ndim > 1 and t.shape[-2] > _FEW for t in (x, y))
    return apply(Cdist(order, products and order == 2), x, y)


@public
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """Give the distances between every two of N vectors: the part of `cdist` above its diagonal.

    Shapes: (N, M) -> (N (N - 1) / 2,), in the order (0, 1), (0, 2), ..., (1, 2), ...
    Raises ValueError for what is no matrix and for p < 0, TypeError for integers.

    >>> import chainrule as cr
    >>> cr.pdist(cr.tensor([[0.0], [1.0], [5.0]]))
    tensor([1.0, 5.0, 4.0])
    """
    (x,) = promote(input, name="pdist")
    if x.ndim != 2:
        raise failure("pdist", "a matrix of vectors (N, M)", input=x)
    need_float("pdist", x)
    z = apply(Cdist(number(p, "pdist p"), False), x, x)
    return apply(Index((0, 1)), z, *np.triu_indices(x.shape[0], 1))


@dataclass(frozen=True)
class CosineSimilarity(Op):
    """y = sum(u * v) with u = x / max(|x|, eps), v likewise, over one axis of the broadcast shape.

    gx = gy / max(|x|, eps) * (v - y x / |x|), which for |x| = 0 is its first part; gv likewise.
    """

    axis: int = 1
    eps: float = 1e-8

    def infer(self, x: Spec, v: Spec) -> tuple[Spec, ...]:
        need_float(self, x)
        shape = broadcast(self, x1=x.shape, x2=v.shape)
        return (Spec(reduced(shape, (self.axis,), False), x.dtype),)

    @quiet
    def forward(self, xp: Any, x: Array, v: Array) -> tuple[tuple[Array, ...], Any]:
        shapes = x.shape, v.shape
        common = np.broadcast_shapes(*shapes)
        along = (self.axis,) if common else ()
        both = [xp.broadcast_to(floats(a), common) for a in (x, v)]
        norms = [xp.sqrt(total(xp, a * a, along, True)) for a in both]
        units = [a / xp.maximum(n, self.eps) for a, n in zip(both, norms, strict=True)]
        y = total(xp, units[0] * units[1], along, True)
        result = y.reshape(reduced(common, along, False)).astype(x.dtype, copy=False)
        return (result,), (*both, *norms, y, *shapes)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, v, nx, nv, y, *shapes = saved
        g = gy.reshape(y.shape)
        sides = ((x, nx, v, nv), (v, nv, x, nx))
        return tuple([
            sum_to(xp, self._slope(xp, g, y, *side), shape).astype(gy.dtype, copy=False)
            if need
            else None
            for side, shape, need in zip(sides, shapes, needs, strict=True)
        ])  # fmt: skip

    def _slope(
        self, xp: Any, g: Array, y: Array, x: Array, nx: Array, v: Array, nv: Array
    ) -> Array:
        along = xp.where(nx == 0, 0, y / nx) * x
        slope = v / xp.maximum(nv, self.eps) - along
        slope *= g / xp.maximum(nx, self.eps)
        return slope  # type: ignore[no-any-return]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1), normal(3, 4), normal(3, 4))
        yield Sample(cls(0), normal(5), normal(5))
        yield Sample(cls(1, 1e-4), normal(2, 3, 2), normal(3, 1))
        yield Sample(cls(2, 1e-4), normal(2, 1, 3), normal(4, 3))
        yield Sample(cls(1), normal(0, 3), normal(0, 3))


@public
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Give the cosine of the angle between vectors: x1 . x2 / (max(|x1|, eps) max(|x2|, eps)).

    Shapes: two that broadcast to (..., D, ...) with D at `dim` -> (..., ...).
    Raises IndexError for a `dim` that the broadcast shape has not, TypeError for integers.

    >>> import chainrule as cr
    >>> x, y = cr.tensor([[1.0, 0.0], [1.0, 1.0]]), cr.tensor([[2.0, 0.0], [-3.0, -3.0]])
    >>> cr.cosine_similarity(x, y)
    tensor([1.0, -1.0])
    """
    name = "cosine_similarity"
    x, y = promote(x1, x2, name=name)
    ndim = len(broadcast(name, x1=x.shape, x2=y.shape))
    need_float(name, x)
    return apply(CosineSimilarity(axis(dim, ndim, name), number(eps, f"{name} eps")), x, y)
