"""Local response normalisation: by the squares around, across channels or within each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import UndefinedKindError, failure
from chainrule.ops.arguments import integer
from chainrule.ops.join import part
from chainrule.ops.norm_common import floats, number


def _window_sums(xp: Any, a: Array, axis: int, before: int, after: int) -> Array:
    """Sum a over places i - before .. i + after of an axis, those there are.

    By shifted additions: unlike differences of cumulative sums they cancel nothing, and a NaN
    stays where it is.
    """
    size, sums = a.shape[axis], xp.copy(a, order="K")
    for shift in range(1, min(after + 1, size)):
        sums[part(axis, slice(None, -shift))] += a[part(axis, slice(shift, None))]
    for shift in range(1, min(before + 1, size)):
        sums[part(axis, slice(shift, None))] += a[part(axis, slice(None, -shift))]
    return sums  # type: ignore[no-any-return]


def _power(xp: Any, d: Array, beta: float) -> Array:
    """Give d ** beta in a new array; by square roots, which are faster, where beta allows it."""
    if beta not in (0.5, 0.75):
        return d**beta
    root: Array = xp.sqrt(d)
    if beta == 0.75:
        root *= xp.sqrt(root)
    return root


@dataclass(frozen=True)
class LocalResponseNorm(Op):
    """y = x / d**beta with d = k + alpha/n * (sum of x**2 over a window of n places).

    The window of channel c is the n = `size` channels c - size//2 .. c + (size-1)//2; `within` a
    channel it is the n = size * size * ... positions around.
    gx[i] = gy[i] / d[i]**beta - 2 alpha beta / n * x[i] * (sum of gy[c] * y[c] / d[c] over the
    places c whose window holds i).
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    within: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if self.size < 1:
            raise failure(self, f"size of at least 1, not {self.size}")
        if self.within and self.size % 2 == 0:
            raise failure(self, f"an odd size, so that windows have a middle, not {self.size}")
        if x.ndim < 3:
            raise failure(self, "at least 3 axes: (N, C, ...)", x=x)
        if not x.is_floating:
            raise failure(self, "a floating-point input", error=UndefinedKindError, x=x)
        return (x,)

    def _sums(self, xp: Any, a: Array, before: int, after: int) -> Array:
        for axis in range(2, a.ndim) if self.within else (1,):
            a = _window_sums(xp, a, axis, before, after)
        return a

    def _count(self, ndim: int) -> int:
        return int(self.size ** (ndim - 2)) if self.within else self.size

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        data = floats(x)
        with np.errstate(all="ignore"):
            d = self._sums(xp, data * data, self.size // 2, (self.size - 1) // 2)
            d *= self.alpha / self._count(x.ndim)
            d += self.k
            y = _power(xp, d, self.beta)
            xp.divide(data, y, out=y)
        return (y.astype(x.dtype, copy=False),), (x, d)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, d = saved
        data = floats(x)
        with np.errstate(all="ignore"):
            gx = _power(xp, d, self.beta)
            xp.divide(gy, gx, out=gx)
            factor = 2.0 * self.alpha * self.beta / self._count(x.ndim)
            if factor:
                t = gx * data
                t /= d
                t = self._sums(xp, t, (self.size - 1) // 2, self.size // 2)
                t *= data
                t *= factor
                gx -= t
        return (gx.astype(x.dtype, copy=False),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(3, 0.5), normal(2, 5, 2))
        yield Sample(cls(4, 0.3, 0.75, 2.0), normal(2, 7, 3))
        yield Sample(cls(5, 1.0, 0.5, 1.0), normal(2, 6, 2, 3))
        yield Sample(cls(2, 0.4, 1.3, 0.7), normal(1, 4, 2, 2, 3))
        yield Sample(cls(1, 0.5, -0.6, 1.0), normal(2, 3, 4))
        yield Sample(cls(11, 0.8, 0.75, 1.5), normal(2, 3, 3))
        yield Sample(cls(5, 0.0, 0.75, 2.0), normal(2, 3, 3))
        yield Sample(cls(5, 0.6, 0.75, 2.0), normal(2, 7, 2, 3))
        yield Sample(cls(3, 0.9, 0.75, 1.0, True), normal(2, 2, 4, 3))
        yield Sample(cls(5, 0.7, 0.6, 2.0, True), normal(2, 2, 7))
        yield Sample(cls(3, 0.5, 1.2, 1.0, True), normal(1, 2, 3, 2, 2))


@public
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each value by a power of the mean square around it (Krizhevsky et al., 2012).

    y[c] = x[c] / (k + alpha * m[c])**beta, where m[c] is the sum of squares over the channels
    c - size//2 .. c + (size-1)//2 (those there are), divided by size.  AlexNet's formula does not
    divide: its constants alpha=1e-4, n=5 are alpha=5e-4, size=5 here.

    Shapes: (N, C, ...) with at least 3 axes -> the same.
    Raises ShapeError for size < 1 or fewer axes, KindError for integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[3.0], [4.0]]])
    >>> cr.nn.functional.local_response_norm(x, 2, alpha=2.0, beta=0.5, k=0.0)
    tensor([[[1.0],
             [0.8]]])
    """
    return _normalise("local_response_norm", False, input, size, alpha, beta, k)


@public
def local_response_norm_within(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each value by a power of the mean square around it, in its own channel.

    y[i] = x[i] / (k + alpha * m[i])**beta, where m[i] is the sum of squares over the positions at
    most size//2 away along each axis (those there are), divided by the window's whole number of
    positions, size * size for images.  It is Caffe's LRN with `norm_region: WITHIN_CHANNEL`.

    Shapes: (N, C, *sizes) -> the same.
    Raises ShapeError for a size that is even or < 1 and for fewer than 3 axes, KindError for
    integers.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[3.0, 0.0, 4.0]]])
    >>> cr.nn.functional.local_response_norm_within(x, 3, alpha=3.0, beta=0.5, k=0.0)
    tensor([[[1.0, 0.0, 1.0]]])
    """
    return _normalise("local_response_norm_within", True, input, size, alpha, beta, k)


def _normalise(
    name: str, within: bool, input: Tensor, size: int, alpha: float, beta: float, k: float
) -> Tensor:
    a, b, c = (number(v, name) for v in (alpha, beta, k))
    return apply(LocalResponseNorm(integer(size, f"{name} size"), a, b, c, within), input)
