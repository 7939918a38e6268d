"""The nearest images, exactly: every row of a shelf is scored, and the best are kept.

Scores and order do not depend on the number of threads, on the sizes of blocks, on the other
queries of a batch, nor on whether a shelf is mapped or in memory; see scoring.py for why.
Equal scores are in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from operator import index

import numpy as np

from chainrule.engine.dispatch import current_backend
from chainrule.engine.op import Array
from chainrule.engine.threads import blas_held
from chainrule.engine.workers import run_all, thread_count
from chainrule.errors import DataError, KindError, expect, failure
from chainrule.retrieval.scoring import PAIRS, Buffers, Scoring
from chainrule.retrieval.shelf import Found, Mode, Query, Shelf, checked_query
from chainrule.retrieval.survivors import Survivors, best_of

QUERIES = 1024
"""Queries that are looked for at once; more are looked for one part after the other."""

FULL = 1 << 24
"""Scores of one part that `scores_of` gives: 64 MB."""


def nearest(query: Query, shelf: Shelf, k: int, mode: Mode = "soft", weight: float = 0.5) -> Found:
    """Find the k rows of a shelf that are most like each query.

    With c the cosine q.v and p, q the probabilities of the classes, a row's score is

    - "off": c;
    - "soft": (1 - weight) c + weight sum_k sqrt(p_k q_k), whose second part is Bhattacharyya's
      coefficient (1943): another class costs a part of the score, never all of it;
    - "hard": c, and rows of another predicted class are left out.

    Rows that are not alive are left out, and those of the query's own group where the query has
    one.  Gives `Found`, best first; see there for what stands where there are fewer than k.

    Raises KindError for a mode that does not exist and a k that is no whole number, DataError for
    k below 1, arrays that do not fit together, vectors that are not finite or not of length 1, and
    "soft" or "hard" without probabilities.

    >>> shelf = Shelf.of(np.eye(3), probabilities=[[1, 0], [0, 1], [0, 1]])
    >>> query = Query(np.float32([[0.8, 0.6, 0.0]]), np.float32([[0.0, 1.0]]))
    >>> nearest(query, shelf, 2).rows, nearest(query, shelf, 2, "off").rows
    (array([[1, 2]]), array([[0, 1]]))
    """
    wanted = checked_k("nearest", k)
    given = checked_query("nearest", query, shelf, mode, weight)
    parts = []
    for part in parts_of(given):
        scoring = Scoring(part, shelf, mode, weight)
        queries, rows = search(scoring, min(wanted, scoring.rows))
        parts.append(laid_out(scoring, queries, rows, wanted))
    return joined(parts, wanted)


def scores_of(
    query: Query, shelf: Shelf, mode: Mode = "soft", weight: float = 0.5
) -> Iterator[tuple[slice, Array]]:
    """Give all scores, a part of the queries at a time: (which queries, scores (q, N) float32).

    Minus infinity stands where a row is left out; see `nearest`, whose errors these are too.  The
    products are BLAS's: their last digits depend on the sizes and the number of BLAS's threads.
    Each part is an array of its own.

    >>> eye = np.eye(3, dtype=np.float32)
    >>> [(part, scores.shape) for part, scores in scores_of(Query(eye), Shelf.of(eye), "off")]
    [(slice(0, 3, None), (3, 3))]
    """
    given = checked_query("scores_of", query, shelf, mode, weight)
    return _all_scores(given, shelf, mode, weight)


def _all_scores(
    query: Query, shelf: Shelf, mode: Mode, weight: float
) -> Iterator[tuple[slice, Array]]:
    done = 0
    most = max(1, FULL // max(1, len(shelf.matrix)))
    for part in parts_of(query, min(QUERIES, most)):
        scoring = Scoring(part, shelf, mode, weight)
        scores = np.empty((scoring.count, scoring.rows), np.float32)
        turns = count()
        helpers = _helpers(scoring, 0)
        run_all([partial(_write, scoring, scores, turns)] * helpers, most=helpers)
        yield slice(done, done + scoring.count), scores
        done += scoring.count


def _write(scoring: Scoring, scores: Array, turns: count[int]) -> None:
    """Fill the columns of the blocks whose turn it is."""
    buffers = Buffers()
    for start, stop in _blocks(scoring, 0, turns):
        scores[:, start:stop] = scoring.block(start, stop, buffers)


def search(scoring: Scoring, k: int, first: int = 0) -> tuple[Array, Array]:
    """Give pairs of a query and a row, (P,) each, among which each query's best k are.

    Looks at the rows from `first` on.
    """
    if not k or not scoring.count:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    pools = [Survivors(scoring, k) for _ in range(_helpers(scoring, first))]
    turns = count()
    run_all([partial(_look, scoring, pool, first, turns) for pool in pools], most=len(pools))
    everything = Survivors(scoring, k)
    for pool in pools:
        everything.take(pool)
    return everything.pairs()


def _helpers(scoring: Scoring, first: int) -> int:
    """Say how many threads share the rows: one where BLAS has threads of its own."""
    current_backend()  # which holds BLAS to one thread, if it has threads itself
    blocks = -(-(scoring.rows - first) // scoring.step)
    return max(1, min(thread_count() if blas_held() else 1, blocks))


def _blocks(scoring: Scoring, first: int, turns: count[int]) -> Iterator[tuple[int, int]]:
    """Claim blocks of rows until none is left; `turns` is shared by all threads."""
    step = scoring.step
    while (start := first + step * next(turns)) < scoring.rows:
        yield start, min(start + step, scoring.rows)


def _look(scoring: Scoring, pool: Survivors, first: int, turns: count[int]) -> None:
    """Look at the blocks whose turn it is."""
    buffers = Buffers()
    for start, stop in _blocks(scoring, first, turns):
        pool.add(scoring.block(start, stop, buffers), start)


def laid_out(scoring: Scoring, queries: Array, rows: Array, k: int) -> Found:
    """Score pairs exactly and lay the best k of each query out, best first."""
    cuts = range(PAIRS, len(rows), PAIRS)
    tasks = [
        partial(scoring.exact, q, r)
        for q, r in zip(np.split(queries, cuts), np.split(rows, cuts), strict=True)
    ]
    scored = run_all(tasks)
    scores, cosines = (np.concatenate(arrays) for arrays in zip(*scored, strict=True))
    best = best_of(queries, rows, scores, k)
    ordered = queries[best]
    places = ordered, np.arange(len(best)) - np.searchsorted(ordered, ordered)
    shape = (scoring.count, k)
    found = Found(
        np.full(shape, -np.inf, np.float32),
        np.full(shape, -1, np.int64),
        np.full(shape, -np.inf, np.float32),
    )
    for array, values in zip(found, (scores, rows, cosines), strict=True):
        array[places] = values[best]
    return found


def parts_of(query: Query, most: int = QUERIES) -> Iterator[Query]:
    """Cut queries into parts of at most `most`."""
    for start in range(0, len(query.vectors), most):
        yield query.taken(slice(start, start + most))


def joined(parts: list[Found], k: int) -> Found:
    """Put the parts' results one under the other."""
    if not parts:
        none = np.zeros((0, k), np.float32)
        return Found(none, np.zeros((0, k), np.int64), none.copy())
    return Found(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def checked_k(asked: str, k: int) -> int:
    """Give k as int: KindError for what is no whole number, DataError below 1."""
    try:
        wanted = index(k)
    except TypeError as error:
        raise failure(asked, "a whole number k", error=KindError, k=k) from error
    expect(wanted >= 1, asked, "k of at least 1", error=DataError, k=wanted)
    return wanted
