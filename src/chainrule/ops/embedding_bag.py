"""Sums, means and maxima of the rows of a table that each of many bags names."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, distinct, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.embedding import (
    NONE,
    check_rows,
    check_table,
    need_tensor,
    pick_rows,
    shrink_rows,
    table_gradient,
    table_row,
)
from chainrule.ops.formulas import need_float, quiet
from chainrule.ops.shape import reshape

MODES = ("sum", "mean", "max")


@dataclass(frozen=True)
class EmbeddingBag(Op):
    """y[b] = the sum, mean or max over the entries k of bag b of s[k] w[i[k]]; s for sums alone.

    Bag b begins at offsets[b] and ends where the next begins, the last one with the entries; if
    `last`, the last offset is an end alone.  Entries equal to `padding` are left out, and a bag
    without entries gives 0.  gw[r] = the sum of gy[b] s[k] where i[k] = r, over the bag's size
    for means, to the first largest for maxima; gs[k] = gy[b] . w[i[k]].  If `by_frequency`, gw[r]
    is divided by the number of entries equal to r.
    """

    mode: str = "mean"
    by_frequency: bool = False
    last: bool = False
    padding: int = NONE

    def infer(self, i: Spec, offsets: Spec, w: Spec, s: Spec | None = None) -> tuple[Spec, ...]:
        check_table(self, w, i, offsets)
        need_float(self, w)
        if i.ndim != 1 or offsets.ndim != 1:
            raise failure(self, "vectors of indices and of offsets", input=i, offsets=offsets)
        if self.last and not offsets.shape[0]:
            raise failure(self, "at least one offset, the end of the last bag", offsets=offsets)
        if s is not None and s.shape != i.shape:
            rule = "as many per_sample_weights as indices"
            raise failure(self, rule, input=i, per_sample_weights=s)
        if s is not None and s.dtype != w.dtype:
            rule = "per_sample_weights of the weight's dtype"
            raise failure(self, rule, error=KindError, weight=w, per_sample_weights=s)
        return (Spec((offsets.shape[0] - self.last, w.shape[1]), w.dtype),)

    @quiet
    def forward(
        self, xp: Any, i: Array, offsets: Array, w: Array, s: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        check_rows(self, i, w.shape[0])
        kept, bag = self._entries(xp, i, offsets)
        bags = offsets.shape[0] - self.last
        rows = i[kept]
        values = pick_rows(xp, w, rows)
        starts = xp.flatnonzero(xp.diff(bag, prepend=-1))  # where bags with entries begin
        filled = bag[starts]
        y = xp.zeros((bags, w.shape[1]), w.dtype)
        if self.mode == "max":
            winners = xp.zeros((0, w.shape[1]), np.intp)
            if starts.size:
                y[filled], first = _largest(xp, values, starts)
                winners = rows[first].astype(np.intp, copy=False)
            return (y,), (i, w.shape, winners, filled)
        if s is not None:
            values *= s[kept][:, None]
        if starts.size:
            y[filled] = xp.add.reduceat(values, starts, axis=0)
        sizes = None
        if self.mode == "mean":
            sizes = xp.maximum(xp.bincount(bag, minlength=bags), 1).astype(w.dtype)[:, None]
            y /= sizes
        return (y,), (i, w.shape, kept, bag, sizes, s, None if s is None else w)

    def _entries(self, xp: Any, i: Array, offsets: Array) -> tuple[Array, Array]:
        """Give the entries that count, in their order, and the bag of each."""
        ends = offsets if self.last else xp.append(offsets, i.size)
        sizes = xp.diff(ends)
        rule = f"offsets that begin at 0, never fall, and end at most at {i.size}"
        if self.last:
            rule = f"offsets that begin at 0, never fall, and end at {i.size}"
        right = not offsets.size or (offsets[0] == 0 and ends[-1] == i.size)
        if not right or (sizes < 0).any():
            raise failure(self, f"{rule}, the number of indices", offsets=offsets.tolist())
        bag = xp.repeat(xp.arange(sizes.size), sizes)
        kept = xp.flatnonzero(i[: bag.size] != self.padding)
        return kept, bag[kept]

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if self.mode == "max":
            return None, None, _to_winners(xp, saved, gy) if needs[2] else None
        i, shape, kept, bag, sizes, s, w = saved
        g = (gy if sizes is None else gy / sizes)[bag]  # (entries, D)
        rows = i[kept]
        gw = gs = None
        if s is not None and needs[3]:
            gs = xp.zeros_like(s)
            gs[kept] = (g * pick_rows(xp, w, rows)).sum(axis=1)
        if needs[2]:
            g = g if s is None else g * s[kept][:, None]
            gw = table_gradient(xp, shape, rows, g, i if self.by_frequency else None)
        return (None, None, gw, gs)[: len(needs)]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        starts = np.array([0, 2, 2, 5])
        for mode in MODES:
            yield Sample(cls(mode), integers(6, high=4), starts, distinct(4, 3))
            yield Sample(cls(mode, padding=1), integers(6, high=3), starts, distinct(3, 2))
            yield Sample(cls(mode, last=True), integers(5, high=4), starts, distinct(4, 3))
        yield Sample(cls("sum"), integers(6, high=4), starts, normal(4, 3), normal(6))
        yield Sample(cls("sum", padding=0), integers(6, high=3), starts, normal(3, 2), normal(6))
        # Divided by the frequency it is the derivative only where no index comes twice.
        yield Sample(cls("sum", True), np.array([3, 0, 2]), np.array([0, 1]), normal(4, 2))
        yield Sample(cls("max"), integers(0, high=4), np.array([0, 0]), normal(4, 2))


def _largest(xp: Any, values: Array, starts: Array) -> tuple[Array, Array]:
    """Give each bag's largest values, and which of its entries has each: the first.

    A NaN is the answer where it comes first, and else passed over, as in PyTorch.
    """
    odd = xp.isnan(values)
    odd[starts] = False
    if odd.any():
        values = xp.where(odd, -np.inf, values)
    top = xp.maximum.reduceat(values, starts, axis=0)
    everywhere = xp.repeat(top, xp.diff(starts, append=len(values)), axis=0)
    hit = (values == everywhere) | xp.isnan(everywhere)
    place = xp.where(hit, xp.arange(len(values))[:, None], len(values))
    return top, xp.minimum.reduceat(place, starts, axis=0)


def _to_winners(xp: Any, saved: Any, gy: Array) -> Array:
    """Add the gradient of each maximum to the entry of the table that it came from."""
    _, (count, width), winners, filled = saved
    gw: Array = xp.zeros(count * width, gy.dtype)
    xp.add.at(gw, (winners * width + xp.arange(width)).reshape(-1), gy[filled].reshape(-1))
    return gw.reshape(count, width)


def _vectors(
    name: str, i: Tensor, offsets: Tensor | None, s: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Bring the two forms of bags, rows of a matrix and parts of a vector, to the second one."""
    if i.ndim == 2:
        if offsets is not None:
            rule = "no offsets with a matrix of indices, each row of which is a bag"
            raise failure(name, rule, input=i, offsets=offsets)
        bags, size = i.shape
        flat = None if s is None else reshape(s, (bags * size,))
        return reshape(i, (bags * size,)), Tensor(np.arange(bags) * size), flat
    if i.ndim != 1:
        raise failure(name, "indices (N,) with offsets, or (bags, N)", input=i)
    if offsets is None or offsets.ndim != 1:
        facts: dict[str, Any] = {} if offsets is None else {"offsets": offsets}
        raise failure(name, "with indices (N,) a vector of offsets", input=i, **facts)
    return i, offsets, s


@public
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, average or maximise rows of a table over bags, without keeping the rows.

    Shapes: indices (bags, N), each row a bag, or (N,) with `offsets` (bags,), where each bag
    begins; with `include_last_offset` (bags + 1,), the last one the end.  Weight (V, D) ->
    (bags, D).  A bag without entries gives 0.  `per_sample_weights`, of the indices' shape,
    multiply the rows of sums.  Entries equal to `padding_idx` count for nothing.  `max_norm`,
    `norm_type`, `scale_grad_by_freq` and `sparse` are those of `embedding`; the last two are not
    for maxima.  The gradient of a maximum goes to the first that has it.

    Raises IndexError for an index outside 0..V-1, ValueError for shapes, offsets and a mode that
    do not fit, NotImplementedError for weights of samples in other modes than "sum", TypeError
    for dtypes.

    >>> import chainrule as cr
    >>> table = cr.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]])
    >>> words, begins = cr.tensor([0, 2, 1]), cr.tensor([0, 2])
    >>> cr.nn.functional.embedding_bag(words, table, begins, mode="sum")
    tensor([[ 6.0, 11.0],
            [ 3.0,  4.0]])
    """
    name = "embedding_bag"
    i, w = need_tensor(name, input=input, weight=weight)
    if w.dtype == np.int64 and i.dtype.kind == "f":
        text = "embedding_bag: the indices come first, then the weight; exchanged, as in PyTorch"
        warnings.warn(text, stacklevel=2)
        i, w = w, i
    s = None if per_sample_weights is None else as_tensor(per_sample_weights, name)
    if s is not None and s.shape != i.shape:
        rule = "per_sample_weights of the indices' shape"
        raise failure(name, rule, input=i, per_sample_weights=s)
    if w.ndim != 2:
        raise failure(name, "a weight (num_embeddings, embedding_dim)", weight=w)
    begins = None if offsets is None else as_tensor(offsets, name)
    i, begins, s = _vectors(name, i, begins, s)
    _check_mode(name, mode, scale_grad_by_freq, sparse)
    if max_norm is not None:
        shrink_rows(name, w, i, max_norm, norm_type)
    if s is not None and mode != "sum":
        raise NotImplementedError(
            f"{name}: expected mode 'sum' where there are per_sample_weights; got mode {mode!r}"
        )
    row = table_row(name, padding_idx, w.shape[0])
    op = EmbeddingBag(mode, bool(scale_grad_by_freq), bool(include_last_offset), row)
    return apply(op, i, begins, w, *(() if s is None else (s,)))


def _check_mode(name: str, mode: str, scale_grad_by_freq: bool, sparse: bool) -> None:
    if mode not in MODES:
        raise failure(name, f"one of {MODES}", mode=mode)
    if mode == "max" and (scale_grad_by_freq or sparse):
        rule = "neither scale_grad_by_freq nor sparse for maxima"
        facts: dict[str, Any] = {"scale_grad_by_freq": scale_grad_by_freq, "sparse": sparse}
        raise failure(name, rule, **facts)
