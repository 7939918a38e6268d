"""How good rankings are: average precision, precision and recall of the first, votes, means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, ShapeError, expect, failure
from chainrule.training.metrics_checks import mean_of_defined, shares

PLACES = (1, 3, 5, 10)
"""After how many rows precision, recall and the others are read, where nothing else is said."""

_CELLS = 1 << 21  # rows of a block of queries: what it takes stays below 100 MB
_DRAWS = 1000  # of the bootstrap


def ranked(scores: Any) -> tuple[Array, Array]:
    """Put rows in the order of their scores, the best first: (Q, N) -> rows (Q, N), counts (Q,).

    Of equal scores (as float32) the lower row comes first; so the order is the same everywhere.
    Rows of -inf are excluded: they stand behind the first `counts` of their query, and mean
    nothing there.  Raises ShapeError for other axes, DataError for NaN.

    >>> rows, counts = ranked([[0.5, 0.9, -np.inf, 0.5]])
    >>> rows[0, : counts[0]].tolist()
    [1, 0, 3]
    """
    array = np.asarray(scores, np.float32)
    if array.ndim != 2 or array.shape[1] >= 2**32:
        raise failure("ranked", "scores (Q, N)", scores=array)
    if np.isnan(array).any():
        raise DataError("ranked: expected scores that are numbers, got NaN; is an image all 0?")
    bits = (array + np.float32(0)).view(np.uint32)  # -0.0 is 0.0
    rising = np.where(bits >> 31, bits, ~bits & 0x7FFFFFFF)  # descending scores as ascending words
    keys = rising.astype(np.uint64) << 32 | np.arange(array.shape[1], dtype=np.uint64)
    keys.sort(axis=1)
    rows = (keys & 0xFFFFFFFF).astype(np.int64)
    return rows, np.count_nonzero(array > -np.inf, axis=1)


@dataclass(frozen=True, eq=False)
class Ranking:
    """What was measured of each of Q queries; (Q,) or, with K places, (Q, K), as float64.

    A query without any relevant row has NaN everywhere but in `relevant`.

    - places: the K places.
    - relevant: how many rows are relevant, found or not; (Q,) int64.
    - ap: average precision over the whole ranking.
    - ap_at: the same of the first k rows, divided by the smaller of k and `relevant`.
    - precision: share of the first k that is relevant; places without a row count as wrong.
    - recall: share of the relevant rows that is among the first k.
    - right: 1 where one of the first k is relevant, else 0.
    - vote: 1 where the class that most of the first k have is the query's, else 0; of equally
      frequent ones that counts whose nearest row comes first.
    - first: place of the first relevant row, from 1; NaN where none was found.
    """

    places: tuple[int, ...]
    relevant: Array
    ap: Array
    ap_at: Array
    precision: Array
    recall: Array
    right: Array
    vote: Array
    first: Array

    def columns(self) -> dict[str, Array]:
        """Give all that has a mean, by the name that tables show: (Q,) each.

        >>> list(measure([[True]], [0], [[0]], places=(1,)).columns())
        ['ap', 'ap@1', 'p@1', 'recall@1', 'acc@1', 'mv@1', 'first', 'found']
        """
        found: dict[str, Array] = {"ap": self.ap}
        names = ("ap_at", "ap"), ("precision", "p"), ("recall", "recall"), ("right", "acc")
        for field, name in (*names, ("vote", "mv")):
            for column, place in enumerate(self.places):
                found[f"{name}@{place}"] = getattr(self, field)[:, column]
        there = np.where(np.isnan(self.first), 0.0, 1.0)
        return {**found, "first": self.first, "found": np.where(np.isnan(self.ap), np.nan, there)}

    def taken(self, queries: Any) -> Ranking:
        """Give the measurements of some queries, by their numbers.

        >>> measure([[True], [False]], [0, 0], [[0], [1]], [1, 1], places=(1,)).taken([1, 0]).ap
        array([0., 1.])
        """
        numbers = np.asarray(queries)
        arrays = {f.name: getattr(self, f.name)[numbers] for f in fields(self)[1:]}
        return Ranking(self.places, **arrays)


def joined(parts: Sequence[Ranking]) -> Ranking:
    """Put the rankings of several blocks of queries, one or more, behind each other.

    >>> part = measure([[True, False]], [0], [[0, 1]], places=(1,))
    >>> joined([part, part]).ap
    array([1., 1.])
    """
    expect(len(parts) > 0, "joined", "at least one ranking")
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Ranking)[1:]  # the first is `places`
    }
    return Ranking(parts[0].places, **arrays)


def measure(
    relevance: Any,
    labels: Any,
    nearest: Any,
    relevant: Any = None,
    places: Sequence[int] = PLACES,
) -> Ranking:
    """Measure rankings: which rows are relevant, in the order of their ranks, the best first.

    `relevance` (Q, N) is true where the row on that place is relevant; where a query has fewer
    rows than N, the places behind them are false.  Equal scores are the caller's to break, by the
    lower row (`ranked` does).  For the vote, `labels` (Q,) are the queries' classes and `nearest`
    (Q, M) those of the first rows: M is the largest place or more, or N; -1 is no row.
    `relevant` (Q,) counts all that is relevant, where a ranking may lack some of it: what is not
    in the ranking counts as missed.  By default it is what `relevance` holds.

    Raises ShapeError for shapes or places that do not fit, DataError for a `relevant` below what
    was found.

    >>> found = measure([[True, False, True]], [7], [[7, 1, 7]], places=(1, 2))
    >>> found.ap.round(3), found.precision, found.recall
    (array([0.833]), array([[1. , 0.5]]), array([[0.5, 0.5]]))
    """
    hits = np.asarray(relevance)
    own, near = np.asarray(labels), np.asarray(nearest)
    ks = _places(places)
    rule = "relevance (Q, N) of bool, labels (Q,), nearest (Q, M)"
    fits = hits.ndim == near.ndim == 2 and hits.dtype == bool
    fits = fits and own.shape == hits.shape[:1] == near.shape[:1]
    expect(fits, "measure", rule, relevance=hits, labels=own, nearest=near)
    least = min(ks[-1], hits.shape[1])
    rule = f"the classes of the nearest {least} rows at least"
    expect(near.shape[1] >= least, "measure", rule, nearest=near)
    held = np.count_nonzero(hits, axis=1)
    total = held if relevant is None else np.asarray(relevant, np.int64)
    expect(total.shape == own.shape, "measure", "relevant (Q,)", relevant=total)
    if (total < held).any():
        raise DataError("measure: expected `relevant` to count at least what the ranking holds")
    step = max(1, _CELLS // max(1, hits.shape[1]))
    blocks = [slice(k, k + step) for k in range(0, max(len(own), 1), step)]
    return joined([_measured(hits[b], own[b], near[b], total[b], ks) for b in blocks])


def _places(places: Sequence[int]) -> tuple[int, ...]:
    ks = tuple(int(place) for place in places)
    rule = "ascending places from 1"
    expect(bool(ks) and ks[0] > 0 and list(ks) == sorted(set(ks)), "measure", rule, places=places)
    return ks


def _measured(
    hits: Array, labels: Array, near: Array, total: Array, ks: tuple[int, ...]
) -> Ranking:
    """Measure one block; the sums run over relevant places alone, which are few."""
    count = len(hits)
    query, place = np.nonzero(hits)
    starts = np.searchsorted(query, np.arange(count + 1))
    number = np.arange(1, len(query) + 1) - starts[query]  # 1 for a query's first hit, and so on
    precise = number / (place + 1)
    some = total > 0
    first = np.full(count, np.nan)
    there = starts[:-1] < starts[1:]
    first[there] = place[starts[:-1][there]] + 1

    def per_query(weights: Array | None, most: int) -> Array:
        inside = place < most
        chosen = None if weights is None else weights[inside]
        return np.bincount(query[inside], chosen, count).astype(np.float64)

    def of_places(columns: list[Array]) -> Array:
        return np.where(some[:, np.newaxis], np.stack(columns, axis=1), np.nan)

    held = [per_query(None, k) for k in ks]
    return Ranking(
        ks,
        total,
        shares(per_query(precise, hits.shape[1]), total),
        of_places([shares(per_query(precise, k), np.minimum(total, k)) for k in ks]),
        of_places([h / k for h, k in zip(held, ks, strict=True)]),
        of_places([shares(h, total) for h in held]),
        of_places([(h > 0).astype(np.float64) for h in held]),
        of_places([(vote(near[:, :k]) == labels).astype(np.float64) for k in ks]),
        first,
    )


def vote(nearest: Any) -> Array:
    """Give the class that most of each query's nearest rows have: (Q, M) -> (Q,).

    Of equally frequent classes that counts whose nearest row comes first.  -1 is no row; -1 comes
    of a query without any.

    >>> vote([[2, 5, 5, 2], [3, 4, 4, -1], [-1, -1, -1, -1]])
    array([ 2,  4, -1])
    """
    near = np.asarray(nearest)
    if near.ndim != 2:
        raise failure("vote", "classes (Q, M)", nearest=near)
    if not near.shape[1]:
        return np.full(len(near), -1)
    votes = np.stack([np.count_nonzero(near == c[:, None], axis=1) for c in near.T], axis=1)
    best = np.where(near >= 0, votes, 0).argmax(axis=1)  # the first of the highest
    return np.asarray(near[np.arange(len(near)), best])


@dataclass(frozen=True, eq=False)
class Scores:
    """Means over queries, those of each class, and how sure the mean average precision is.

    Queries without any relevant row, or without a class, are left out of all means; `without`
    counts them.  What is not defined is NaN.

    - queries: how many are in the means.
    - without: how many are not.
    - means: by the names of `Ranking.columns`; "ap" is the mean average precision (mAP).
      "first" is the mean over queries of which something was found at all.
    - macro: means of the classes' means, a class as much as any other.
    - classes: the means of each class, (C,) each.
    - support: how many queries each class has in them, (C,).
    - interval: where the mAP lies in 95 of 100 cases, by the bootstrap.
    """

    queries: int
    without: int
    means: dict[str, float]
    macro: dict[str, float]
    classes: dict[str, Array]
    support: Array
    interval: tuple[float, float]


def summarise(
    ranking: Ranking, labels: Any, classes: int, groups: Any = None, seed: int = 0
) -> Scores:
    """Give means over queries and over classes; `labels` (Q,), -1 is a query without a class.

    The interval is drawn over queries, or with `groups` (Q,) over whole groups, such as patients
    (0 is none): see `interval`.  Raises ShapeError for lengths that differ, and for a label of
    `classes` or more.

    >>> part = measure([[True, False], [False, True]], [0, 1], [[0, 1], [0, 1]], places=(1,))
    >>> scores = summarise(part, [0, 1], 2)
    >>> scores.means["ap"], scores.classes["ap"]
    (0.75, array([1. , 0.5]))
    """
    own = np.asarray(labels, np.int64)
    rule = f"a class below {classes} for each of {len(ranking.ap)} queries"
    fits = own.shape == ranking.ap.shape and int(own.max(initial=-1)) < classes
    expect(fits, "summarise", rule, error=ShapeError, labels=own)
    counted = (own >= 0) & ~np.isnan(ranking.ap)
    means, of_classes = {}, {}
    for name, values in ranking.columns().items():
        used = counted & ~np.isnan(values)
        means[name] = mean_of_defined(values[used])
        sums = np.bincount(own[used], values[used], classes)
        of_classes[name] = shares(sums, np.bincount(own[used], None, classes))
    names = None if groups is None else np.asarray(groups)[counted]
    return Scores(
        int(counted.sum()),
        int((~counted).sum()),
        means,
        {name: mean_of_defined(values) for name, values in of_classes.items()},
        of_classes,
        np.bincount(own[counted], None, classes),
        interval(ranking.ap[counted], names, seed),
    )


def interval(values: Any, groups: Any = None, seed: int = 0) -> tuple[float, float]:
    """Bound the mean of values (N,) by the bootstrap: its 2.5th and 97.5th percentile.

    N values are drawn out of them with repetition, 1,000 times; with `groups` (N,) whole groups
    are drawn instead, as many as there are, since images of one patient say less than as many of
    several; group 0 is none, such a value stands for itself.  The same call gives the same bounds
    for good.  NaN for fewer than two values or groups; NaN among the values are left out.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    >>> low, high = interval([0.0, 1.0] * 50)
    >>> 0.35 < low < 0.5 < high < 0.65
    True
    """
    given = np.asarray(values, np.float64)
    names = np.zeros(len(given), np.uint64) if groups is None else np.asarray(groups)
    expect(names.shape == given.shape, "interval", "groups (N,)", values=given, groups=names)
    there = ~np.isnan(given)
    unit = units(names[there])
    sums, counts = np.bincount(unit, given[there]), np.bincount(unit)
    if len(counts) < 2:
        return float("nan"), float("nan")
    random = np.random.RandomState(seed)  # Generator streams may change between versions
    means = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        drawn = random.randint(0, len(counts), len(counts))
        means[draw] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def units(groups: Any) -> Array:
    """Number what belongs together from 0: (N,) -> (N,) int64; group 0 is none, each its own.

    >>> units([7, 0, 7, 0, 2]).tolist()
    [1, 2, 1, 3, 0]
    """
    names = np.asarray(groups)
    found = np.empty(len(names), np.int64)
    grouped = names != 0
    different, inverse = np.unique(names[grouped], return_inverse=True)
    found[grouped] = inverse.reshape(-1)
    found[~grouped] = len(different) + np.arange(np.count_nonzero(~grouped))
    return found
