"""How well an index finds images of the query's class: each mode beside chance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.splits import split
from chainrule.engine.op import Array
from chainrule.errors import DataError, LabelError, expect, failure
from chainrule.retrieval.metrics import (
    PLACES,
    Ranking,
    Scores,
    interval,
    joined,
    measure,
    ranked,
    summarise,
    units,
)
from chainrule.training.metrics import confusion_matrix

_CELLS = 1 << 21  # scores that are ranked at once: what that takes stays near 100 MB

MODES = ("off", "soft", "hard")
"""The ways to rank: by the features alone, with the predicted class as a part, by it first."""

RANDOM = "random"
"""The control: the rows that "off" allows, in an order by chance."""

Scorer = Callable[[str], Iterable[tuple[slice, Array]]]
"""Gives for a mode the scores (q, N) of one slice of the queries after the other.

Rows of -inf are excluded; a query that is itself a row has to exclude itself.
"""

Progress = Callable[[int, int], None]
"""Told after each block how many queries of how many are done, over all modes."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came of Q queries to N rows of C classes, in each mode.

    - labels: the queries' true classes, (Q,); -1 is unknown, and such a query counts nowhere.
    - row_labels: those of the rows, (N,); rows of -1 are in no ranking.
    - classes: how many classes there are.
    - predicted: what the network takes the queries for, (Q,), -1 for nothing; or None.
    - groups: the queries' groups, (Q,), 0 is none; or None.
    - rankings: by mode, what was measured of each query.
    - scores: by mode, the means.
    - nearest: by mode, the first rows of each query (Q, M), -1 where there are fewer.
    - seed: of the control and of the intervals.
    """

    labels: Array
    row_labels: Array
    classes: int
    predicted: Array | None
    groups: Array | None
    rankings: dict[str, Ranking]
    scores: dict[str, Scores]
    nearest: dict[str, Array]
    seed: int

    @property
    def confusion(self) -> Array | None:
        """Count the queries' (true, predicted) classes, (C, C), as far as both are known."""
        if self.predicted is None:
            return None
        known = (self.labels >= 0) & (self.predicted >= 0)
        if not known.any():
            return None
        return confusion_matrix(self.predicted[known], self.labels[known], self.classes)

    @property
    def accuracy(self) -> float:
        """Give the share of the queries with both classes known that is predicted rightly, or NaN.

        Hard ranking finds nothing relevant for the others.
        """
        counts = self.confusion
        return float("nan") if counts is None else float(np.trace(counts) / counts.sum())

    def gain(self, mode: str, over: str = "off") -> tuple[float, float, float]:
        """Give how much higher the mAP of one mode is than another's, and its 95 % interval.

        Both modes answer the same queries, so that the interval of their difference is narrower
        than their own intervals tell.  Raises DataError for a mode that was not measured.
        """
        for name in (mode, over):
            if name not in self.rankings:
                raise DataError(
                    f"gain: expected a mode that was measured ({', '.join(self.rankings)}), got "
                    f"{name!r}"
                )
        counted = self.labels >= 0
        difference = (self.rankings[mode].ap - self.rankings[over].ap)[counted]
        there = ~np.isnan(difference)
        names = None if self.groups is None else self.groups[counted][there]
        mean = float(difference[there].mean()) if there.any() else float("nan")
        return mean, *interval(difference[there], names, self.seed)


def evaluate(
    scores: Scorer,
    labels: Any,
    row_labels: Any,
    *,
    classes: int | None = None,
    predicted: Any = None,
    groups: Any = None,
    modes: Sequence[str] = MODES,
    places: Sequence[int] = PLACES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure how far up rows of the query's class are, in each mode and by chance.

    `scores` gives each mode's scores in slices of the queries, which together cover each query
    once; see `Scorer`.  `labels` (Q,) and `row_labels` (N,) are true classes from 0, -1 unknown.
    Relevant are the rows of the query's class that mode "off" does not exclude, in every mode.

    "off" is measured even if `modes` lack it.  A row that another mode excludes and "off" does not
    is never found: "hard" misses all rows that the network puts into another class than the query,
    and they count in its average precision and recall as rows that never come.  The control ranks
    what "off" allows by numbers drawn for each query alone, so that slices make no difference.

    `predicted` (Q,) are the queries' predicted classes, -1 for none; `groups` (Q,) says which
    queries are of one patient, for the intervals.  Raises ShapeError or LabelError for what does
    not fit, DataError for slices that leave queries out or give them twice, and for NaN.

    >>> def scores(mode):
    ...     yield slice(0, 2), np.array([[0.9, 0.2, 0.5], [0.1, 0.8, 0.3]])
    >>> found = evaluate(scores, [0, 1], [0, 1, 0], modes=["off"], places=[1])
    >>> {mode: of.means["ap"] for mode, of in found.scores.items() if mode == "off"}
    {'off': 1.0}
    """
    given = _checked(labels, row_labels, classes, predicted, groups)
    own, rows, count, guessed, names = given
    asked = list(dict.fromkeys(["off", *modes]))
    walk = _Walk(scores, own, rows, tuple(places), seed, progress, len(asked))
    rankings, nearest = walk.control()
    for mode in asked[1:]:
        rankings[mode], nearest[mode] = walk.mode(mode)
    order = [*asked, RANDOM]
    means = {mode: summarise(rankings[mode], own, count, names, seed) for mode in order}
    return Evaluation(
        own,
        rows,
        count,
        guessed,
        names,
        {mode: rankings[mode] for mode in order},
        means,
        {mode: nearest[mode] for mode in order},
        seed,
    )


def _checked(
    labels: Any, row_labels: Any, classes: int | None, predicted: Any, groups: Any
) -> tuple[Array, Array, int, Array | None, Array | None]:
    """Give labels, row labels, the number of classes, predictions and groups that fit together."""
    own, rows = _labels("labels", labels), _labels("row_labels", row_labels)
    highest = max(int(own.max(initial=-1)), int(rows.max(initial=-1)))
    count = highest + 1 if classes is None else int(classes)
    if highest >= count:
        raise failure("evaluate", f"labels below {count}", error=LabelError, highest=highest)
    guessed = None if predicted is None else _labels("predicted", predicted)
    names = None if groups is None else np.asarray(groups)
    for name, given in (("predicted", guessed), ("groups", names)):
        fits = given is None or given.shape == own.shape
        expect(fits, "evaluate", f"{name} for each of {len(own)} queries", given=given)
    if guessed is not None and int(guessed.max(initial=-1)) >= count:
        raise failure("evaluate", f"predicted classes below {count}", error=LabelError)
    return own, rows, count, guessed, names


def _labels(name: str, given: Any) -> Array:
    array = np.asarray(given)
    whole = array.ndim == 1 and (array.dtype.kind in "iu" or not array.size)
    expect(whole, "evaluate", f"whole numbers (N,) as {name}", given=array)
    numbers = array.astype(np.int64)
    if numbers.min(initial=0) < -1:
        raise failure("evaluate", f"{name} from 0, or -1", error=LabelError, least=numbers.min())
    return numbers


class _Walk:
    """Goes through the queries once for each mode, and remembers what "off" allowed."""

    def __init__(
        self,
        scores: Scorer,
        labels: Array,
        rows: Array,
        places: tuple[int, ...],
        seed: int,
        progress: Progress | None,
        modes: int,
    ) -> None:
        self.scores, self.labels, self.rows, self.places = scores, labels, rows, places
        self.seed, self.progress, self.modes = seed, progress, modes
        self.unknown = np.flatnonzero(rows < 0)
        self.relevant = np.zeros(len(labels), np.int64)  # as "off" has them
        self.done = 0

    def control(self) -> tuple[dict[str, Ranking], dict[str, Array]]:
        """Measure "off", and beside it the same rows in an order by chance."""
        gathered = {"off": _Gathered(len(self.labels)), RANDOM: _Gathered(len(self.labels))}
        for queries, block in self._blocks("off"):
            self.relevant[queries] = self._relevant(queries, block)
            gathered["off"].add(queries, *self._measured(queries, block))
            drawn = np.where(block > -np.inf, self._chance(queries), np.float32(-np.inf))
            gathered[RANDOM].add(queries, *self._measured(queries, drawn))
        return (
            {mode: g.ranking() for mode, g in gathered.items()},
            {mode: g.nearest() for mode, g in gathered.items()},
        )

    def mode(self, mode: str) -> tuple[Ranking, Array]:
        """Measure one other mode."""
        gathered = _Gathered(len(self.labels))
        for queries, block in self._blocks(mode):
            if (self._relevant(queries, block) > self.relevant[queries]).any():
                raise DataError(
                    f"evaluate: mode {mode!r} ranks rows that 'off' excludes; expected every mode "
                    "to exclude at least those"
                )
            gathered.add(queries, *self._measured(queries, block))
        return gathered.ranking(), gathered.nearest()

    def _blocks(self, mode: str) -> Iterable[tuple[Array, Array]]:
        """Give the numbers of some queries and their scores, rows without a class excluded."""
        seen = np.zeros(len(self.labels), bool)
        for part, given in self.scores(mode):
            queries = np.arange(len(self.labels))[part]
            scores, shape = np.asarray(given), (len(queries), len(self.rows))
            expect(scores.shape == shape, "evaluate", f"scores {shape} of a slice", scores=scores)
            if seen[queries].any():
                raise DataError(f"evaluate: {mode!r} gave the scores of {part} twice")
            seen[queries] = True
            step = max(1, _CELLS // max(1, len(self.rows)))  # a slice may be as large as it likes
            for begin in range(0, len(queries), step):
                block = np.array(scores[begin : begin + step], np.float32)
                block[:, self.unknown] = -np.inf
                yield queries[begin : begin + step], block
            self.done += len(queries)
            if self.progress is not None:
                self.progress(self.done, self.modes * len(self.labels))
        if not seen.all():
            raise DataError(
                f"evaluate: {mode!r} gave no scores for query {int(np.argmin(seen))}; expected "
                f"slices that cover all {len(seen)}"
            )

    def _relevant(self, queries: Array, block: Array) -> Array:
        alike = self.rows == self.labels[queries, np.newaxis]
        alike &= block > -np.inf
        return np.asarray(np.count_nonzero(alike, axis=1))

    def _measured(self, queries: Array, block: Array) -> tuple[Ranking, Array]:
        rows, counts = ranked(block)
        absent = np.arange(rows.shape[1]) >= counts[:, np.newaxis]
        classes = self.rows[rows]
        classes[absent] = -1
        own = self.labels[queries]
        hits = (classes == own[:, np.newaxis]) & (classes >= 0)
        most = self.places[-1]
        found = measure(hits, own, classes[:, :most], self.relevant[queries], self.places)
        return found, np.where(absent[:, :most], -1, rows[:, :most])

    def _chance(self, queries: Array) -> Array:
        """Draw a score for each row, from a stream that each query has for itself.

        The raw stream of a Philox counter is fixed for good, which Generator's methods are not.
        """
        words = [
            np.random.Philox(key=self.seed, counter=[0, 0, 0, int(query)]).random_raw(
                len(self.rows)
            )
            for query in queries
        ]
        drawn = np.array(words, np.uint64).reshape(len(queries), len(self.rows))
        return np.asarray((drawn >> np.uint64(40)).astype(np.float32))


class _Gathered:
    """What comes of slices in any order, put in the order of the queries."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.queries: list[Array] = []
        self.rankings: list[Ranking] = []
        self.rows: list[Array] = []

    def add(self, queries: Array, ranking: Ranking, rows: Array) -> None:
        """Keep one slice."""
        self.queries.append(queries)
        self.rankings.append(ranking)
        self.rows.append(rows)

    def _order(self) -> Array:
        return np.argsort(np.concatenate(self.queries), kind="stable")

    def ranking(self) -> Ranking:
        """Give the measurements of all queries."""
        if not self.queries:
            raise DataError("evaluate: expected at least one query, got none")
        return joined(self.rankings).taken(self._order())

    def nearest(self) -> Array:
        """Give the first rows of all queries."""
        return np.asarray(np.concatenate(self.rows)[self._order()])


def holdout(groups: Any, labels: Any, share: float = 0.2, seed: int = 0) -> tuple[Array, Array]:
    """Choose which rows of an index are queries to the others: (N,), (N,) -> queries, rows.

    Groups (0 is none) are on one side whole, and classes are spread as evenly as they let; rows
    whose label is -1 are on neither.  Both come ascending, and the same call chooses the same for
    good; see `chainrule.data.split`, which raises what does not fit.

    >>> queries, rows = holdout([5, 5, 6, 6, 7, 7, 8, 8], [0, 0, 0, 0, 1, 1, 1, 1], share=0.5)
    >>> queries.tolist(), rows.tolist()
    ([0, 1, 6, 7], [2, 3, 4, 5])
    """
    names, own = np.asarray(groups), _labels("labels", labels)
    expect(names.shape == own.shape, "holdout", "a group for each label", groups=names, labels=own)
    if not 0.0 < share < 1.0:
        raise failure("holdout", "a share between 0 and 1", share=share)
    known = np.flatnonzero(own >= 0)
    together = units(names[known]) if names[known].any() else None
    rows, queries = split(own[known], [1.0 - share, share], seed, together, "classification")
    return known[queries], known[rows]
