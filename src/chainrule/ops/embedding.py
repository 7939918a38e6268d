"""Whole numbers as vectors: rows of a table that is learned, and vectors of a single 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine import state
from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.promotion import INT64
from chainrule.engine.sample import Sample, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor, mark_written
from chainrule.errors import (
    AxisError,
    KindError,
    LabelError,
    ShapeError,
    UndefinedKindError,
    failure,
)
from chainrule.ops.arguments import integer
from chainrule.ops.formulas import number, quiet
from chainrule.ops.index import scatter_add
from chainrule.ops.vector_norm import VectorNorm

NONE = -1
"""The row that pads, where none does."""


def check_table(op: Any, w: Spec, *indices: Spec) -> None:
    """Raise unless the table is a matrix and the indices are of a dtype that PyTorch takes."""
    if w.ndim != 2:
        error = ShapeError if w.ndim else AxisError  # as PyTorch
        raise failure(op, "a weight (num_embeddings, embedding_dim)", error=error, weight=w)
    for i in indices:
        if i.dtype not in (np.int64, np.int32):
            rule, hint = "indices that are int64 or int32", "convert them first: input.long()"
            raise failure(op, rule, error=UndefinedKindError, hint=hint, input=i)


def check_rows(op: Any, i: Array, rows: int) -> None:
    """Raise LabelError for the first index that names no row."""
    if i.size and (i.min() < 0 or i.max() >= rows):
        wrong = i[(i < 0) | (i >= rows)]
        rule = f"indices in [0, {rows - 1}]" if rows else "a weight with rows"
        raise failure(op, f"{rule}, not {int(wrong.flat[0])}", error=LabelError)


def pick_rows(xp: Any, w: Array, i: Array) -> Array:
    """Copy the rows w[i] for a vector i of indices that were checked."""
    # `take` is the faster one, but it would first copy a table that is not contiguous.
    picked: Array = xp.take(w, i, axis=0) if w.flags.c_contiguous else w[i]
    return picked


def table_gradient(
    xp: Any, shape: tuple[int, int], i: Array, g: Array, counted: Array | None
) -> Array:
    """Add the rows of g (n, d) at the rows i (n,) of zeros.

    Each is first divided by how often its row stands among `counted`, if that is given.
    """
    if counted is not None:
        times = xp.bincount(counted, minlength=shape[0])
        g = g / times[i].astype(g.dtype)[:, None]
    return scatter_add(xp, shape, (i,), g)


@dataclass(frozen=True)
class Embedding(Op):
    """y[..., :] = w[i[...], :].  gw[r] = the sum of gy where i = r, 0 for the row that pads.

    If `by_frequency`, gw[r] is divided by the number of places where i = r.
    """

    padding: int = NONE
    by_frequency: bool = False

    def infer(self, i: Spec, w: Spec) -> tuple[Spec, ...]:
        check_table(self, w, i)
        return (Spec((*i.shape, w.shape[1]), w.dtype),)

    def forward(self, xp: Any, i: Array, w: Array) -> tuple[tuple[Array, ...], Any]:
        check_rows(self, i, w.shape[0])
        return (pick_rows(xp, w, i.reshape(-1)).reshape(*i.shape, w.shape[1]),), (i, w.shape)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if not needs[1]:
            return None, None
        i, shape = saved
        rows = i.reshape(-1)
        g = gy.reshape(prod(i.shape), shape[1])
        if self.padding != NONE:
            kept = rows != self.padding
            rows, g = rows[kept], g[kept]
        return None, table_gradient(xp, shape, rows, g, rows if self.by_frequency else None)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), integers(3, 2, high=5), normal(5, 4))
        yield Sample(cls(), integers(high=3), normal(3, 2))
        yield Sample(cls(), integers(0, 2, high=3), normal(3, 2))
        # What the other settings give is the derivative only where no index is the padding's...
        yield Sample(cls(0), integers(7, low=1, high=4), normal(4, 3))
        # ...or comes twice.
        yield Sample(cls(NONE, True), np.array([[3, 0], [1, 4]]), normal(5, 3))


def table_row(name: str, padding_idx: Any, rows: int) -> int:
    """Give the row that pads as 0..rows-1, counting negative ones from the end; NONE for None."""
    if padding_idx is None:
        return NONE
    row = integer(padding_idx, f"{name} padding_idx")
    if not -rows <= row < rows:
        rule = f"a padding_idx in [{-rows}, {rows - 1}], a row of the weight"
        raise failure(name, f"{rule}, not {row}")
    return row + rows if row < 0 else row


def need_tensor(name: str, **values: Any) -> tuple[Tensor, ...]:
    """Give the values as tensors; KindError for what is neither a tensor nor an array."""
    for key, value in values.items():
        if not isinstance(value, Tensor | np.ndarray):
            hint = "wrap lists with cr.tensor(...)"
            raise failure(name, f"a tensor for {key}", error=KindError, hint=hint, value=value)
    return tuple([as_tensor(value, name) for value in values.values()])


def shrink_rows(name: str, weight: Tensor, indices: Tensor, max_norm: Any, norm_type: Any) -> None:
    """Scale, in place, the rows that are named and whose norm is above `max_norm` down to it."""
    longest, p = number(max_norm, f"{name} max_norm"), number(norm_type, f"{name} norm_type")
    if weight.is_meta or indices.is_meta:
        return
    tracer = state.TRACER.get()
    if tracer is not None:
        tracer.leak(weight, f"{name} with max_norm")
    table = weight.array
    check_table(name, Spec(table.shape, table.dtype), Spec(indices.shape, indices.dtype))
    check_rows(name, indices.array, table.shape[0])
    if not table.flags.writeable:
        rule = "with max_norm a weight that can be written, since its rows are scaled in place"
        raise failure(name, rule, weight=weight)
    rows = np.unique(indices.array)
    (norms,), _ = VectorNorm((1,), p).forward(np, table[rows])
    above = norms > longest
    if above.any():
        scale = longest / (norms[above].astype(np.float64) + 1e-7)
        table[rows[above]] *= scale.astype(table.dtype)[:, None]
        mark_written(weight)


@public
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Look rows up in a table: y[..., :] = weight[input[...], :].

    Shapes: indices (...), of int64 or int32, and a weight (V, D) -> (..., D).
    The row `padding_idx` (negative: from the end) gets no gradient.  With `max_norm` the rows that
    are looked up are first scaled down, in place, to a norm of at most that: the p-norm for
    p = `norm_type`.  `scale_grad_by_freq` divides a row's gradient by how often it is looked up
    here.  `sparse` is accepted; the gradient is dense.

    Raises IndexError for an index outside 0..V-1, ValueError for a padding_idx outside and for a
    weight that is no matrix, TypeError for indices of other dtypes.

    >>> import chainrule as cr
    >>> table = cr.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]])
    >>> cr.nn.functional.embedding(cr.tensor([2, 1, 2]), table)
    tensor([[3.0, 4.0],
            [1.0, 2.0],
            [3.0, 4.0]])
    """
    i, w = need_tensor("embedding", input=input, weight=weight)
    row = table_row("embedding", padding_idx, w.shape[0]) if w.ndim else NONE
    if max_norm is not None:
        shrink_rows("embedding", w, i, max_norm, norm_type)
    return apply(Embedding(row, bool(scale_grad_by_freq)), i, w)


@dataclass(frozen=True)
class OneHot(Op):
    """y[..., c] = 1 where i[...] = c, else 0; nothing flows back.

    The number of classes is `classes`, or the largest label + 1 where that is -1.
    """

    classes: int = -1

    def infer(self, i: Spec) -> tuple[Spec, ...]:
        if i.dtype != INT64:
            rule, hint = "labels that are int64", "convert them first: x.long()"
            raise failure(self, rule, error=KindError, hint=hint, tensor=i)
        if self.classes < -1 or (prod(i.shape) == 0 and self.classes < 1):
            rule = "num_classes of at least 1, or -1 where there are labels to tell"
            raise failure(self, rule, tensor=i, num_classes=self.classes)
        size: Any = None if self.classes == -1 else self.classes
        return (Spec((*i.shape, size), INT64, False),)

    def forward(self, xp: Any, i: Array) -> tuple[tuple[Array, ...], Any]:
        count = self.classes
        if i.size:
            low, high = int(i.min()), int(i.max())
            count = high + 1 if count == -1 else count
            if low < 0 or high >= count:
                label = low if low < 0 else high
                rule = f"labels of 0..num_classes-1, num_classes = {count}"
                raise failure(self, f"{rule}, not {label}", error=LabelError, tensor=i)
        y = xp.zeros((i.size, count), INT64)
        y[xp.arange(i.size), i.reshape(-1)] = 1
        return (y.reshape(*i.shape, count),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (None,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), integers(3, 2, high=4))
        yield Sample(cls(5), integers(4, high=3))
        yield Sample(cls(3), integers(0, high=3))
        yield Sample(cls(2), integers(high=2))


@public
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Write labels as vectors with a 1 at the label and 0 elsewhere.

    Shapes: labels (...), int64 -> (..., num_classes), int64; -1 takes the largest label + 1.
    Nothing flows back.  Raises IndexError for labels outside 0..num_classes-1, ValueError where
    there is no label to tell how many classes there are, TypeError for other dtypes.

    >>> import chainrule as cr
    >>> cr.nn.functional.one_hot(cr.tensor([0, 2, 1]))
    tensor([[1, 0, 0],
            [0, 0, 1],
            [0, 1, 0]])
    """
    (labels,) = need_tensor("one_hot", tensor=tensor)
    return apply(OneHot(integer(num_classes, "one_hot num_classes")), labels)
