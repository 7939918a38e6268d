"""Scores of queries against rows: whole blocks by BLAS in float32, single rows exactly.

BLAS adds in an order that depends on the place of a row in its block and on the number of threads,
so that its last digits differ.  They serve to find the few rows that may be among the best; those
are scored again in float64 and rounded once, which gives the same digits wherever a row stands.
"""

from __future__ import annotations

import numpy as np

from chainrule.engine.op import Array
from chainrule.retrieval.shelf import Query, Shelf

SCORES = 1 << 20
"""Scores of one block: 4 MB, which stay in the cache while they are looked at."""

LEAST, MOST = 512, 8192
"""Rows of a block: fewer are slow to multiply, more gain nothing."""

FEW, LONG = 4, 128
"""Queries up to which dot products row after row, which read the rows in their order in memory,
are up to twice as fast as a product of matrices; length of a row from which they are."""

SEVERAL = 128
"""Queries below which BLAS is up to twice as fast with the rows as the left factor."""

WIDE = 1 << 19
"""Numbers of float16 that are widened at once: 2 MB, which the product finds in the cache."""

PAIRS = 1024
"""Rows that are scored exactly at once."""

REBIAS = np.float32(2.0**112)
"""From the exponent of float16 bits in their new place to that of float32."""

UNIT = 2.0**-24
"""Half the distance between 1 and the float32 after it."""


class Buffers:
    """One thread's working memory, by name; it grows when it must."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def get(self, name: str, rows: int, columns: int, dtype: type = np.float32) -> Array:
        """Give an array (rows, columns) of undefined values, in C order."""
        kept = self._kept.get(name)
        if kept is None or kept.size < rows * columns:
            kept = self._kept[name] = np.empty(rows * columns, dtype)
        return kept[: rows * columns].reshape(rows, columns)


class Scoring:
    """How queries are scored in a mode: what is the same for every block of rows.

    >>> eye = np.eye(2, dtype=np.float32)
    >>> scoring = Scoring(Query(eye), Shelf.of(eye), "off", 0.5)
    >>> scoring.block(0, 2, Buffers())
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    def __init__(self, query: Query, shelf: Shelf, mode: str, weight: float) -> None:
        self.query, self.shelf, self.mode, self.weight = query, shelf, mode, weight
        self.matrix = np.asarray(shelf.matrix)  # a map's own class is slow to slice
        self.count: int = len(query.vectors)
        self.rows: int = len(self.matrix)
        self.dimension: int = self.matrix.shape[1]
        self.vectors = query.vectors
        self.roots: Array | None = None
        self.wanted: Array | None = None
        classes = query.probabilities
        if mode == "soft" and classes is not None:
            self.vectors = (1 - np.float32(weight)) * query.vectors
            self.roots = np.float32(weight) * np.sqrt(classes)
        elif mode == "hard" and classes is not None:
            self.wanted = classes.argmax(axis=1).astype(np.int32)
        self.all_alive = bool(shelf.alive.all())
        self.own = None if query.groups is None else _Own(query.groups)

    @property
    def margin(self) -> float:
        """How far a float32 score may be from the exact one.

        Rounding errors of a sum of n terms grow like the root of n (Higham and Mary, 2019); four
        times that is more than any sum comes to.
        """
        terms = self.dimension + (0 if self.roots is None else self.roots.shape[1])
        return float((4 * np.sqrt(terms) + 8) * UNIT)

    @property
    def step(self) -> int:
        """Rows of a block, by the sizes alone."""
        rows = min(MOST, max(LEAST, SCORES // max(1, self.count)))
        if self.matrix.dtype == np.float16:
            rows = min(rows, max(64, WIDE // max(1, self.dimension)))
        return rows - rows % 64

    def block(self, start: int, stop: int, buffers: Buffers) -> Array:
        """Give the scores (Q, stop - start) of some rows, minus infinity where one is left out.

        They lie in the buffers until the next call.
        """
        scores = buffers.get("scores", self.count, stop - start)
        _product(self.vectors, self._widened(start, stop, buffers), scores, buffers)
        if self.roots is not None:
            likeness = buffers.get("likeness", self.count, stop - start)
            _product(self.roots, self._roots(start, stop, buffers), likeness, buffers)
            np.add(scores, likeness, out=scores)
        self._leave_out(scores, start, stop)
        return scores

    def _widened(self, start: int, stop: int, buffers: Buffers) -> Array:
        """Give rows as float32: a view, or float16 numbers in the buffer."""
        rows = self.matrix[start:stop]
        if rows.dtype == np.float32:
            return rows
        wide = buffers.get("wide", *rows.shape)
        widen(rows, wide)
        return wide

    def _roots(self, start: int, stop: int, buffers: Buffers) -> Array:
        """Give the square roots of the rows' probabilities."""
        if self.shelf.roots is not None:
            return np.asarray(self.shelf.roots)[start:stop]
        classes = np.asarray(self.shelf.probabilities)[start:stop]
        roots: Array = np.sqrt(classes, out=buffers.get("roots", *classes.shape))
        return roots

    def _leave_out(self, scores: Array, start: int, stop: int) -> None:
        """Write minus infinity where a row is dead, of another class, or of the query's group."""
        if not self.all_alive:
            scores[:, ~self.shelf.alive[start:stop]] = -np.inf
        if self.wanted is not None:
            other = self.wanted[:, None] != self.shelf.predicted[start:stop]
            np.copyto(scores, -np.inf, where=other)
        if self.own is not None:
            scores[self.own.pairs(np.asarray(self.shelf.groups[start:stop]))] = -np.inf

    def allowed(self, queries: Array, rows: Array) -> Array:
        """Tell for pairs of a query and a row whether the row may be found: (P,) bool."""
        ok: Array = np.asarray(self.shelf.alive)[rows].copy()
        if self.wanted is not None:
            ok &= self.wanted[queries] == np.asarray(self.shelf.predicted)[rows]
        if self.query.groups is not None:
            groups = self.query.groups[queries]
            ok &= (groups == 0) | (groups != np.asarray(self.shelf.groups)[rows])
        return ok

    def exact(self, queries: Array, rows: Array) -> tuple[Array, Array]:
        """Give scores and cosines of pairs, (P,) each: summed in float64, rounded to float32.

        A pair's digits depend on its two vectors alone.
        """
        scores, cosines = np.empty((2, len(rows)), np.float32)
        for start in range(0, len(rows), PAIRS):
            part = slice(start, start + PAIRS)
            q, row = queries[part], rows[part]
            found = np.vecdot(
                self.matrix[row].astype(np.float64), self.query.vectors[q].astype(np.float64)
            )
            cosines[part] = found
            if self.mode == "soft" and self.query.probabilities is not None:
                mine = self.query.probabilities[q].astype(np.float64)
                theirs = np.asarray(self.shelf.probabilities)[row]
                likeness = np.sqrt(mine * theirs).sum(axis=1)
                found = (1 - self.weight) * found + self.weight * likeness
            scores[part] = found
        return scores, cosines


class _Own:
    """The queries' groups in order, so that the rows of each are found by bisection."""

    def __init__(self, groups: Array) -> None:
        self.order = np.argsort(groups, kind="stable")
        self.order = self.order[groups[self.order] != 0]
        self.groups, self.starts, self.counts = np.unique(
            groups[self.order], return_index=True, return_counts=True
        )

    def pairs(self, groups: Array) -> tuple[Array, Array]:
        """Give the queries and the places in `groups` (B,) that belong together: (P,) each."""
        if not len(self.groups):
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        places = np.minimum(np.searchsorted(self.groups, groups), len(self.groups) - 1)
        columns = np.flatnonzero(self.groups[places] == groups)
        counts = self.counts[places[columns]]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        firsts = np.repeat(self.starts[places[columns]], counts)
        return self.order[firsts + within], np.repeat(columns, counts)


def _product(queries: Array, rows: Array, out: Array, buffers: Buffers) -> None:
    """Multiply (Q, D) by (B, D) transposed, into `out` (Q, B)."""
    few = len(queries) <= FEW and rows.shape[1] >= LONG
    if len(queries) == 1:
        (np.vecdot if few else np.dot)(rows, queries[0], out=out[0])
    elif len(queries) < SEVERAL:
        turned = buffers.get("turned", len(rows), len(queries))
        if few:
            np.vecdot(rows[:, None], queries, out=turned)
        else:
            np.matmul(rows, queries.T, out=turned)
        np.copyto(out, turned.T)
    else:
        np.matmul(queries, rows.T, out=out)


def widen(rows: Array, out: Array) -> None:
    """Write finite float16 numbers as float32, a few times faster than NumPy converts them.

    Sign, exponent and fraction move to their new places; the product sets the exponent right and
    makes numbers below float16's smallest normal one come out exactly too.

    >>> wide = np.empty(3, np.float32)
    >>> widen(np.array([1.5, -0.1, 6e-8], np.float16), wide)
    >>> wide
    array([ 1.5000000e+00, -9.9975586e-02,  5.9604645e-08], dtype=float32)
    """
    bits = out.view(np.int32)
    np.copyto(bits, rows.view(np.int16))
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.int32(-0x70002000), out=bits)
    np.multiply(out, REBIAS, out=out)
