"""The best k of many scores without sorting them: what may still be among the best is kept."""

from __future__ import annotations

import numpy as np

from chainrule.engine.op import Array
from chainrule.retrieval.scoring import Scoring

LOWEST = float(np.finfo(np.float32).min)
"""Below every score, but not below minus infinity, which stands for rows that are left out."""

FEWEST, MANY = 1 << 14, 1 << 20
"""Pairs that one thread keeps before it sorts out those that fell behind."""


class Survivors:
    """Pairs of a query and a row that may be among the query's best `k`.

    A row is dropped only if k others are better by more than twice the error of a float32 score:
    then their exact scores are better too.  Where very many are that close (all vectors are
    equal), the pairs are scored exactly on the way, and the best k of each query kept.

    >>> from chainrule.retrieval.shelf import Query, Shelf
    >>> rows = np.eye(3, dtype=np.float32)
    >>> kept = Survivors(Scoring(Query(rows[1:2]), Shelf.of(rows), "off", 0.5), 1)
    >>> kept.add(np.float32([[0.0, 1.0, 0.0]]), 0)
    >>> kept.rows
    array([1])
    """

    def __init__(self, scoring: Scoring, k: int) -> None:
        self.scoring, self.k = scoring, k
        self.slack = np.float32(2 * scoring.margin)
        self.bars = np.full(scoring.count, LOWEST, np.float32)
        """What a score must reach, (Q,)."""
        self.begun = False
        self.parts: list[tuple[Array, Array, Array]] = []
        self.size = 0
        wanted = scoring.count * k
        self.limit = max(FEWEST, min(8 * wanted, MANY), 2 * wanted)

    @property
    def rows(self) -> Array:
        """The rows of all pairs that are kept, (P,)."""
        return np.concatenate([rows for _, rows, _ in self.parts])

    def add(self, scores: Array, start: int) -> None:
        """Look at the scores (Q, B) of the rows from `start` on."""
        width = scores.shape[1]
        if not self.begun and width > self.k:
            self._begin(scores)
        places = np.flatnonzero(scores >= self.bars[:, None])
        if len(places):
            queries, columns = np.divmod(places, width)
            self._keep(queries, columns + start, scores.reshape(-1)[places])

    def take(self, other: Survivors) -> None:
        """Add what another thread kept."""
        for part in other.parts:
            self._keep(*part)

    def _keep(self, queries: Array, rows: Array, scores: Array) -> None:
        self.parts.append((queries, rows, scores))
        self.size += len(rows)
        if self.size > self.limit:
            self.sort_out()

    def _begin(self, scores: Array) -> None:
        """Set the bars by the first block, which would otherwise be kept whole."""
        self.begun = True
        place = scores.shape[1] - self.k
        best = np.partition(scores, place, axis=1)[:, place:]
        if np.isnan(best).any():  # they count as the largest; rows with NaN are never found
            best = np.partition(np.nan_to_num(scores, nan=-np.inf), place, axis=1)[:, place:]
        np.maximum(best[:, 0] - self.slack, LOWEST, out=self.bars)

    def sort_out(self) -> None:
        """Raise the bars to the k-th best so far, and drop what fell below."""
        queries, rows, scores = self._joined()
        order = np.argsort(_keys(queries, scores))
        queries, rows, scores = queries[order], rows[order], scores[order]
        numbers = np.arange(self.scoring.count)
        last = np.searchsorted(queries, numbers) + self.k - 1
        full = last < np.searchsorted(queries, numbers, side="right")
        bars = scores[last[full]] - self.slack
        self.bars[full] = np.maximum(self.bars[full], bars)
        stay = scores >= self.bars[queries]
        queries, rows, scores = queries[stay], rows[stay], scores[stay]
        if len(rows) > self.limit // 2:
            best = best_of(queries, rows, self.scoring.exact(queries, rows)[0], self.k)
            queries, rows, scores = queries[best], rows[best], scores[best]
        self.parts, self.size = [(queries, rows, scores)], len(rows)

    def _joined(self) -> tuple[Array, Array, Array]:
        none = np.zeros(0, np.int64)
        parts = [*self.parts, (none, none, np.zeros(0, np.float32))]
        queries, rows, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return queries, rows, scores

    def pairs(self) -> tuple[Array, Array]:
        """Give the queries and the rows of all that is left, (P,) each, in the queries' order."""
        self.sort_out()
        queries, rows, _ = self.parts[0]
        return queries, rows


def _keys(queries: Array, scores: Array) -> Array:
    """Give whole numbers that sort by query, then by falling score: one sort instead of two."""
    bits = scores.view(np.int32)
    rising = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))  # negative floats run backwards
    return (queries << 32) | (~rising).astype(np.int64) & 0xFFFFFFFF ^ 0x80000000


def best_of(queries: Array, rows: Array, scores: Array, k: int) -> Array:
    """Give the places of each query's best k, by query, falling score and rising row.

    >>> q, rows = np.array([0, 0, 0, 1]), np.array([7, 3, 5, 1])
    >>> best_of(q, rows, np.float32([0.5, 0.5, 0.9, 0.1]), 2)
    array([2, 1, 3])
    """
    order = np.lexsort((rows, -scores, queries))
    ordered = queries[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return order[rank < k]
