"""How good an index's answers are: held-out pictures asked, or a part of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from chainrule.data.perceptual import ALIKE, hamming
from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.retrieval.building import Keeping, Progress, Skipped, embedded_items
from chainrule.retrieval.evaluation import Evaluation, evaluate, holdout
from chainrule.retrieval.index import Index, shelf_of
from chainrule.retrieval.making import Source, listed_items, reading_for
from chainrule.retrieval.outliers import Calibration
from chainrule.retrieval.ranking import scores_of
from chainrule.retrieval.shelf import Query, Shelf, checked_mode, only
from chainrule.retrieval.store import Snapshot

_EXAMPLES = 128  # pixels of the pictures that are shown of the queries


@dataclass
class Queries:
    """What is asked: Q pictures as vectors, with what is known of them.

    `labels` are numbers of classes, -1 unknown; `rows` (Q,) are the rows of the index that are the
    same image, -1 where there is none.
    """

    vectors: Array
    probabilities: Array
    labels: Array
    groups: Array
    phashes: Array
    rows: Array
    thumbnails: list[bytes]
    ids: list[str]
    skipped: list[Skipped] = field(default_factory=list)


@dataclass
class Measured:
    """An evaluation with what its tables and pictures are made of.

    `own_rows` says of each row of the ranking which row of the index it is; `near` how many
    queries have a near-duplicate among the rows that count; `distances` (Q,) are those to the
    nearest row.
    """

    evaluation: Evaluation
    queries: Queries
    classes: tuple[str, ...]
    own_rows: Array
    snapshot: Snapshot
    near: int
    distances: Array


def measure(
    index: Index,
    source: Source | None = None,
    *,
    share: float = 0.2,
    apart: int = 0,
    modes: tuple[str, ...] = ("off", "soft", "hard"),
    seed: int = 0,
    progress: Progress | None = None,
) -> Measured:
    """Ask an index about pictures whose classes are known, and measure what comes.

    `source` holds pictures in folders of their classes, or is a data set.  Without it a `share` of
    the index's own images is asked about the others, patients on one side whole.  Rows of the
    query's own patient, and the query itself, are left out; with `apart` also rows whose looks
    differ in at most so many bits of their perceptual hashes.

    Raises DataError where the index or the queries have no known classes.
    """
    snapshot = index.snapshot
    if not (snapshot.labels >= 0).any():
        raise DataError(
            f"{index.path}: no image of the index has a known class; build it from folders that "
            "are named after the network's classes, or from a data set"
        )
    names = list(dict.fromkeys([*index.classes, *snapshot.label_names]))
    row_labels = _renumbered(snapshot, names)
    if source is None:
        chosen, rows = holdout(snapshot.groups, row_labels, share, seed)
        queries = _own_queries(snapshot, chosen, row_labels)
    else:
        rows = np.flatnonzero(snapshot.alive)
        queries = _asked(index, source, names, progress)
        row_labels = np.where(snapshot.alive, row_labels, -1)
    whole = shelf_of(snapshot)
    shelf = only(whole, rows) if source is None else whole
    kept = rows if source is None else np.arange(snapshot.count)
    scorer = _Scorer(queries, shelf, kept, snapshot.phashes[kept], apart)
    counted = modes if queries.probabilities.shape[1] else ("off",)
    found = evaluate(
        scorer,
        queries.labels,
        row_labels[kept],
        classes=len(names),
        predicted=_predicted(queries),
        groups=queries.groups,
        modes=counted,
        seed=seed,
    )
    distances = scorer.distances()
    return Measured(found, queries, tuple(names), kept, snapshot, scorer.near(), distances)


def calibrated(measured: Measured) -> Calibration:
    """Calibrate the flag of queries unlike the index by pictures that were held out."""
    return Calibration.of(measured.distances, "held-out")


def _renumbered(snapshot: Snapshot, names: list[str]) -> Array:
    table = np.array([names.index(name) for name in snapshot.label_names] + [-1])
    return np.asarray(table[snapshot.labels])


def _predicted(queries: Queries) -> Array | None:
    if not queries.probabilities.shape[1]:
        return None
    return np.asarray(queries.probabilities.argmax(axis=1))


def _own_queries(snapshot: Snapshot, rows: Array, labels: Array) -> Queries:
    entries = snapshot.entries(rows)
    return Queries(
        np.asarray(snapshot.matrix[rows], np.float32),
        np.asarray(snapshot.probabilities[rows]),
        labels[rows],
        snapshot.groups[rows],
        snapshot.phashes[rows],
        rows,
        [b"" if entry is None else entry.thumbnail for entry in entries],
        ["" if entry is None else entry.id for entry in entries],
    )


def _asked(index: Index, source: Source, names: list[str], progress: Progress | None) -> Queries:
    """Read the queries' pictures and put them through the network."""
    reading = reading_for(index.settings, index.network, source)
    listed = listed_items(index.network, source, reading)
    hasher = index.hasher
    if hasher is None:
        raise DataError(
            f"{index.path}: the key of the index is not here; without it no query's own patient "
            "could be left out"
        )
    skipped: list[Skipped] = []
    entries, vectors, probabilities = [], [], []
    keeping = Keeping(hasher, _EXAMPLES)
    for ready, found in embedded_items(index.network, listed.items, keeping, skipped, progress):
        entries += ready
        vectors.append(index.whitened(found.vectors))
        probabilities.append(found.probabilities)
    if not entries:
        raise DataError("evaluate: none of the queries could be read")
    known = [names.index(e.label) if e.label in names else -1 for e in entries]
    if max(known) < 0:
        raise DataError(
            "evaluate: no query has a known class; expected folders that are named after the "
            f"classes, as {', '.join(names[:3])}"
        )
    snapshot = index.snapshot
    rows = snapshot.rows_of([entry.id for entry in entries])
    groups = np.array([entry.group for entry in entries], np.uint64)
    there = (rows >= 0) & (groups == 0)  # the index may know the patient, as of a table
    groups[there] = snapshot.groups[rows[there]]
    return Queries(
        np.concatenate(vectors),
        np.concatenate(probabilities),
        np.array(known),
        groups,
        np.array([entry.phash for entry in entries], np.uint64),
        rows,
        [entry.thumbnail for entry in entries],
        [entry.id for entry in entries],
        skipped,
    )


class _Scorer:
    """Gives the scores of the queries, without rows that are the query itself or look like it."""

    def __init__(
        self, queries: Queries, shelf: Shelf, rows: Array, phashes: Array, apart: int
    ) -> None:
        self.queries, self.shelf, self.rows = queries, shelf, rows
        self.phashes, self.apart = phashes, apart
        self._near = 0
        self._nearest = np.full(len(queries.vectors), np.inf)

    def __call__(self, mode: str) -> Iterator[tuple[slice, Array]]:
        asked = self.queries
        query = Query(asked.vectors, asked.probabilities, asked.groups)
        for part, scores in scores_of(query, self.shelf, checked_mode("evaluate", mode)):
            same = self.rows == asked.rows[part, np.newaxis]
            scores[same & (asked.rows[part, np.newaxis] >= 0)] = -np.inf
            if self.apart or mode == "off":
                alike = self._alike(part) & np.isfinite(scores)
                if mode == "off":
                    self._near += int(alike.any(axis=1).sum())
                if self.apart:
                    scores[alike] = -np.inf
            if mode == "off" and scores.shape[1]:
                self._nearest[part] = 1.0 - scores.max(axis=1)
            yield part, scores

    def _alike(self, part: slice) -> Array:
        looks = self.queries.phashes[part, np.newaxis]
        known = (looks != 0) & (self.phashes != 0)
        near: Array = known & (hamming(looks, self.phashes) <= (self.apart or ALIKE))
        return near

    def near(self) -> int:
        """Say how many queries have a near-duplicate among the rows that were allowed."""
        return self._near

    def distances(self) -> Array:
        """Give the distances of the queries to their nearest rows; infinite without one."""
        return self._nearest
