"""Rows of a table by index, one by one or in bags, by our own kernels: one pass each way.

An index that is wrong is for the operation's own forward, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.onednn.arrays import FLOAT32, address, as_plain
from chainrule.backends.onednn.backend import ONEDNN, run_reference
from chainrule.backends.onednn.order import INT64, Forward, as_places, in_order
from chainrule.backends.onednn.own import INT, LONG, POINTER, Kernel, kernel
from chainrule.backends.onednn.primitives import Shape
from chainrule.backends.onednn.runtime import cached, threads_for, work
from chainrule.engine.op import Array
from chainrule.ops.embedding import NONE, Embedding
from chainrule.ops.embedding_bag import EmbeddingBag
from chainrule.ops.gather import IndexSelect


class Rows(NamedTuple):
    """Which rows of an array, seen as (outer, length, inner), are taken, and how."""

    shape: Shape
    sizes: tuple[int, int, int]
    entries: Array
    ends: Array | None = None  # of bags, from 0 on; without them each row is one
    padding: int = NONE
    mean: bool = False

    @property
    def bags(self) -> int:
        """How many rows come out."""
        return self.entries.size if self.ends is None else self.ends.size - 1

    def _where(self) -> tuple[int, int | None]:
        return address(self.entries), None if self.ends is None else address(self.ends)

    def _threads(self) -> int:
        return threads_for(work(2 * self.entries.size * self.sizes[0] * self.sizes[2]))

    def pick(self, x: Array, shape: Shape) -> Array | None:
        """Give the rows, or sums of rows, in a shape; None where an index is wrong."""
        y = np.empty(shape, FLOAT32)
        run = cached(("rows",), _build)[0]
        how = self.bags, self.entries.size, self.padding, self.mean, self._threads()
        wrong = run(address(x), *self._where(), address(y), *self.sizes, *how)
        return None if wrong else y

    def put(self, gy: Array) -> Array:
        """Add gy at the rows of zeros."""
        g, gx = as_plain(gy), np.empty(self.shape, FLOAT32)
        run = cached(("rows",), _build)[1]
        how = self.bags, self.padding, self.mean, self._threads()
        run(address(g), *self._where(), address(gx), *self.sizes, *how)
        return gx


def _build() -> tuple[Kernel, Kernel]:
    ends = *[POINTER] * 4, *[LONG] * 3
    forward = kernel("rows", *ends, LONG, LONG, LONG, INT, INT)
    return forward, kernel("rows_back", *ends, LONG, LONG, INT, INT)


@ONEDNN.ours(IndexSelect)
class IndexSelectPair:
    """Slices along an axis."""

    def supports(self, op: IndexSelect, arrays: Sequence[Array]) -> bool:
        """Float32 in C order, with axes, and large enough."""
        x, index = arrays
        return x.size > 0 and x.ndim > 0 and in_order(x, index.size * x.size // x.shape[op.dim])

    def forward(self, op: IndexSelect, arrays: Sequence[Array]) -> Forward:
        """Give the slices; save which."""
        x, d = arrays[0], op.dim
        shape = x.shape
        sizes = prod(shape[:d]), shape[d], prod(shape[d + 1 :])
        rows = Rows(shape, sizes, as_places(arrays[1]))
        y = rows.pick(x, (*shape[:d], rows.bags, *shape[d + 1 :]))
        return run_reference(op, arrays) if y is None else ((y,), rows)

    def backward(self, op: Any, saved: Rows, gy: Any, needs: Any) -> tuple[Any, ...]:
        """Add gy where the slices stood."""
        return (saved.put(gy) if needs[0] else None), None


@ONEDNN.ours(Embedding)
class EmbeddingPair:
    """Rows of a table."""

    def supports(self, op: Embedding, arrays: Sequence[Array]) -> bool:
        """Float32 in C order, large enough, and not divided by frequencies."""
        i, w = arrays
        return not op.by_frequency and in_order(w, i.size * w.shape[1])

    def forward(self, op: Embedding, arrays: Sequence[Array]) -> Forward:
        """Give the rows; save which."""
        i, w = arrays
        rows = Rows(w.shape, (1, *w.shape), as_places(i))
        y = rows.pick(w, (*i.shape, w.shape[1]))
        return run_reference(op, arrays) if y is None else ((y,), rows)

    def backward(self, op: Embedding, saved: Rows, gy: Any, needs: Any) -> tuple[Any, ...]:
        """Add gy at the rows, but for the one that pads."""
        return None, (saved._replace(padding=op.padding).put(gy) if needs[1] else None)


@ONEDNN.ours(EmbeddingBag)
class EmbeddingBagPair:
    """Sums and means of rows."""

    def supports(self, op: EmbeddingBag, arrays: Sequence[Array]) -> bool:
        """Float32 in C order, large enough; neither maxima nor weights nor frequencies."""
        i, offsets, w = arrays[:3]
        plain = len(arrays) == 3 and op.mode != "max" and not op.by_frequency
        return plain and offsets.size > op.last and in_order(w, i.size * w.shape[1])

    def forward(self, op: EmbeddingBag, arrays: Sequence[Array]) -> Forward:
        """Give the bags; save what is in them."""
        i, offsets, w = arrays
        ends = as_places(offsets)
        if not op.last:
            ends = np.append(ends, INT64.type(i.size))
        rows = Rows(w.shape, (1, *w.shape), as_places(i), ends, op.padding, op.mode == "mean")
        y = rows.pick(w, (rows.bags, w.shape[1]))
        return run_reference(op, arrays) if y is None else ((y,), rows)

    def backward(self, op: Any, saved: Rows, gy: Any, needs: Any) -> tuple[Any, ...]:
        """Add gy at the rows."""
        return None, None, saved.put(gy) if needs[2] else None
