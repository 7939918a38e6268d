"""A graph of neighbours, which names likely rows without reading them all (extra `ann`).

The graph (HNSW; Malkov and Yashunin, 2018) is built and walked by usearch.  What it names is
scored exactly, so that scores are those of `nearest`; only a row that it does not name is missed.

A graph's file is trusted: usearch follows the numbers in it without looking, and one wrong byte
may end the process.  Whoever opens a file compares its hash with the one noted when it was
written before, as an index does.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from operator import index
from pathlib import Path
from typing import Any, Self

import numpy as np

from chainrule.engine.op import Array
from chainrule.engine.workers import thread_count
from chainrule.errors import DataError, KindError, expect, failure
from chainrule.formats.atomic import neighbour, sync_folder
from chainrule.retrieval.ranking import (
    checked_k,
    joined,
    laid_out,
    nearest,
    parts_of,
    search,
)
from chainrule.retrieval.scoring import Scoring
from chainrule.retrieval.shelf import Found, Mode, Query, Shelf, checked_query, only

ROWS = 4096
"""Rows that are added between two reports of the progress."""

ALONE = 1024
"""The first rows, added by one thread: those that several threads add at once do not see each
other, and in a small graph some are then never reached (measured: up to a hundredth)."""

FEWEST, TIMES = 64, 4
"""Candidates of a query: so many, or so many times k."""


class Graph:
    """Rows of a matrix, each joined to some near ones; keys are the rows' numbers.

    Made by `build` or `open`.

    >>> graph = Graph.build(np.eye(8, dtype=np.float32))
    >>> len(graph), graph.dimension
    (8, 8)
    >>> graph.candidates(np.eye(8, dtype=np.float32)[3:4], 1)
    array([[3]])
    """

    def __init__(self, held: Any) -> None:
        self._held = held

    @classmethod
    def build(
        cls,
        matrix: Array,
        *,
        neighbours: int = 16,
        effort: int = 128,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Build a graph of all rows (N, D), of length 1.

        `neighbours` is about how many each row is joined to, `effort` how many are looked at for
        it: more of both find more and take longer.  The graph keeps a copy of the vectors, as
        float16.  `progress` is told the rows done and the rows in all.

        `threads` are those of the budget by default.  Several of them make another graph each time,
        in which now and then a row is not reached; 1 makes the same one each time.

        Raises DataError where usearch is missing, for a matrix of another shape, and for settings
        below 2; KindError for settings that are no whole numbers.
        """
        asked = "Graph.build"
        rule = "a matrix (N, D)"
        ok = matrix.ndim == 2 and matrix.shape[1] > 0
        expect(ok, asked, rule, error=DataError, matrix=matrix)
        most = thread_count() if threads is None else threads
        expect(most >= 1, asked, "at least 1 thread", error=DataError, threads=most)
        held = _usearch().Index(
            ndim=matrix.shape[1],
            metric="ip",
            dtype="f16",
            connectivity=_setting(asked, "neighbours", neighbours),
            expansion_add=_setting(asked, "effort", effort),
        )
        _fill(held, np.asarray(matrix), most, progress)
        return cls(held)

    @classmethod
    def open(cls, source: str | os.PathLike[str] | bytes | bytearray) -> Self:
        """Open what `save` wrote, by mapping the file, or what `to_bytes` gave.

        The file must be as it was written: compare its hash first; see above.  Raises DataError
        where usearch is missing, and for a file that does not begin like a graph.
        """
        module = _usearch()
        given = source if isinstance(source, bytes | bytearray) else Path(source)
        what = "bytes" if isinstance(given, bytes | bytearray) else str(given)
        if isinstance(given, Path) and not given.is_file():
            raise DataError(f"Graph.open: expected a file, there is none at {what}")
        try:
            held = module.Index.restore(given, view=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise DataError(f"Graph.open: {what} is no graph of usearch: {error}") from error
        if held is None:
            raise DataError(f"Graph.open: {what} is no graph of usearch")
        return cls(held)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the graph to a file, which appears whole or not at all.

        >>> import tempfile
        >>> graph, path = Graph.build(np.eye(4, dtype=np.float32)), f"{tempfile.mkdtemp()}/graph"
        >>> graph.save(path)
        >>> len(Graph.open(path))
        4
        """
        target = Path(os.path.realpath(path))
        with neighbour(target) as temporary:
            self._held.save(str(temporary))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        sync_folder(target.parent)

    def to_bytes(self) -> bytes:
        """Give what `save` writes."""
        return bytes(self._held.save())

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._held)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._held.ndim)

    def candidates(self, queries: Array, count: int, effort: int | None = None) -> Array:
        """Name likely rows for each query (Q, D), the likeliest first: (Q, count) int64.

        -1 stands where there are fewer.  `effort` is how many rows the walk keeps in view, by
        default twice `count`, at least 128.

        Raises DataError for queries of another width and a count below 1.
        """
        asked, wanted = "Graph.candidates", checked_k("Graph.candidates", count)
        vectors = np.ascontiguousarray(queries, np.float32)
        rule = f"queries (Q, {self.dimension})"
        ok = vectors.ndim == 2 and vectors.shape[1] == self.dimension
        expect(ok, asked, rule, error=DataError, queries=vectors)
        named = np.full((len(vectors), wanted), -1, np.int64)
        if not len(self) or not len(vectors):
            return named
        self._held.expansion_search = max(128, 2 * wanted) if effort is None else effort
        found = self._held.search(vectors, wanted, threads=min(thread_count(), len(vectors)))
        if len(vectors) == 1:  # usearch then leaves the axis of the queries out
            named[0, : len(found.keys)] = found.keys
            return named
        there = np.arange(wanted) < np.asarray(found.counts)[:, None]
        np.copyto(named, found.keys.astype(np.int64), where=there)
        return named


def _fill(
    held: Any, rows: Array, threads: int, progress: Callable[[int, int], None] | None
) -> None:
    """Add all rows to a graph, the first of them by one thread; see ALONE."""
    done, total = 0, len(rows)
    while done < total:
        part = np.ascontiguousarray(rows[done : done + (ROWS if done else ALONE)], np.float32)
        keys = np.arange(done, done + len(part), dtype=np.uint64)
        held.add(keys, part, threads=threads if done else 1)
        done += len(part)
        if progress is not None:
            progress(done, total)


def nearest_approximate(
    query: Query,
    shelf: Shelf,
    graph: Graph,
    covered: int,
    k: int,
    mode: Mode = "soft",
    weight: float = 0.5,
    *,
    count: int | None = None,
) -> Found:
    """Find rows as `nearest` does, among those that a graph names and those it does not hold.

    `covered` is how many rows, from the first on, the graph was built of; the later ones are all
    looked at.  The graph names `count` rows by their cosine, 4 k or 64 by default; they are scored
    by the mode.  A query for which fewer than k are left, since the others are dead, of the
    query's own group or of another class, is looked for exactly.

    Raises what `nearest` raises, and DataError for a graph of another width or of other rows.

    >>> shelf = Shelf.of(np.eye(8))
    >>> query = Query(np.eye(8, dtype=np.float32)[5:6])
    >>> nearest_approximate(query, shelf, Graph.build(shelf.matrix[:6]), 6, 1, "off").rows
    array([[5]])
    """
    asked = "nearest_approximate"
    wanted = checked_k(asked, k)
    given = checked_query(asked, query, shelf, mode, weight)
    _check_graph(asked, graph, covered, shelf)
    named = max(FEWEST, TIMES * wanted) if count is None else max(wanted, checked_k(asked, count))
    parts = [
        _part(Scoring(part, shelf, mode, weight), graph, covered, wanted, named)
        for part in parts_of(given)
    ]
    found = joined(parts, wanted)
    _again(found, given, shelf, wanted, mode, weight)
    return found


def _check_graph(asked: str, graph: Graph, covered: int, shelf: Shelf) -> None:
    """Raise DataError unless the graph is of the shelf's width and holds the rows covered."""
    same = graph.dimension == shelf.matrix.shape[1]
    expect(same, asked, "a graph of the shelf's width", error=DataError, graph=graph.dimension)
    ok = 0 <= covered <= min(len(graph), len(shelf.matrix))
    rule = f"at most {len(shelf.matrix)} rows covered, by a graph of {len(graph)}"
    expect(ok, asked, rule, error=DataError, covered=covered)


def _again(found: Found, query: Query, shelf: Shelf, k: int, mode: Mode, weight: float) -> None:
    """Look exactly for the queries of which fewer than k rows were found; write into `found`."""
    last = min(k, len(shelf.matrix)) - 1
    short = np.flatnonzero(found.rows[:, last] < 0) if last >= 0 else np.zeros(0, np.intp)
    if len(short):
        part = query.taken(short)
        for array, exact in zip(found, nearest(part, shelf, k, mode, weight), strict=True):
            array[short] = exact


def _part(scoring: Scoring, graph: Graph, covered: int, k: int, count: int) -> Found:
    """Find the best of the graph's candidates and of the rows that it does not cover."""
    named = graph.candidates(scoring.query.vectors, count)
    queries = np.repeat(np.arange(scoring.count), count)
    rows = named.reshape(-1)
    there = (rows >= 0) & (rows < covered)
    queries, rows = queries[there], rows[there]
    allowed = scoring.allowed(queries, rows)
    queries, rows = queries[allowed], rows[allowed]
    if covered < scoring.rows:
        more = search(scoring, min(k, scoring.rows - covered), covered)
        queries, rows = (np.concatenate(two) for two in zip((queries, rows), more, strict=True))
    return laid_out(scoring, queries, rows, k)


def recall_at(
    graph: Graph,
    shelf: Shelf,
    covered: int,
    k: int = 10,
    mode: Mode = "off",
    *,
    samples: int = 1000,
    seed: int = 0,
) -> float:
    """Give the part of the k nearest rows that a search by the graph finds, from 0 to 1.

    Out of `samples` living rows among those covered, drawn by the seed, each looks for others than
    itself.  A row as near as the k-th counts as found: equal ones are interchangeable.  Candidates
    are named by the cosine alone, so that "soft" may find fewer than "off".

    Raises DataError where fewer than two rows live, and what `nearest` raises.

    >>> shelf = Shelf.of(np.eye(8))
    >>> recall_at(Graph.build(shelf.matrix), shelf, 8, 3)
    1.0
    """
    wanted = checked_k("recall_at", k)
    living = np.flatnonzero(shelf.alive[:covered])
    rule = "at least two living rows"
    expect(len(living) > 1, "recall_at", rule, error=DataError, rows=len(living))
    drawn = np.random.default_rng(seed).permutation(len(living))[:samples]
    own = np.sort(living[drawn])
    query = Query(_unit(np.asarray(shelf.matrix)[own]), np.asarray(shelf.probabilities)[own])
    inside = only(shelf, slice(covered))
    wanted = min(wanted, len(living) - 1)
    exact = _others(nearest(query, inside, wanted + 1, mode), own)[:, :wanted]
    ours = _others(nearest_approximate(query, inside, graph, covered, wanted + 1, mode), own)
    bars = exact.min(axis=1, keepdims=True)
    there = np.isfinite(exact)  # in "hard" there may be fewer than k
    return float((ours[:, :wanted] >= bars)[there].mean()) if there.any() else 1.0


def _others(found: Found, own: Array) -> Array:
    """Give the scores of all rows but the query's own, falling; minus infinity at the end."""
    scores = np.where(found.rows == own[:, None], -np.inf, found.scores)
    return -np.sort(-scores, axis=1)


def _unit(rows: Array) -> Array:
    """Give rows as float32 of length 1, zeros as they are."""
    wide = rows.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: Array = wide / np.where(lengths > 0, lengths, 1)
    return unit


def _setting(asked: str, name: str, value: int) -> int:
    """Give a setting as int; KindError or DataError."""
    try:
        number = index(value)
    except TypeError as error:
        raise failure(asked, f"a whole number for {name}", error=KindError, value=value) from error
    expect(number >= 2, asked, f"{name} of at least 2", error=DataError, value=number)
    return number


def _usearch() -> Any:
    """Import usearch's index, or say which extra brings it."""
    try:
        return importlib.import_module("usearch.index")
    except ModuleNotFoundError as error:
        raise DataError(
            "approximate search is by usearch, which is not installed; "
            "pip install chainrule[ann]; exact search needs nothing"
        ) from error
