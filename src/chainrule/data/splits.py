"""Numbers of images shared out between training and measuring: stratified, by groups, for good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from chainrule.data.dataset import Task
from chainrule.engine.op import Array
from chainrule.errors import DataError, failure

_BINS = 10  # strata of a regression's values


def split(
    targets: Any,
    fractions: Sequence[float],
    seed: int = 0,
    groups: Any = None,
    task: Task | None = None,
) -> list[Array]:
    """Share out the numbers 0..N-1 of N targets: one ascending array for each fraction.

    The fractions are above 0 and sum to 1.  Each class is shared by them to the nearest image; a
    class of at least as many images as there are parts is in every part.  Labels of several to an
    image (N, K) are spread as evenly, the rarest first (after Sechidis et al., 2011); a
    regression's values are shared by tenths of their order, several outputs by chance alone.

    `groups` (N,) names what must not be torn apart, such as patients: a group is in one part
    alone, and classes are spread as evenly as whole groups let them, the large ones first.

    The same call gives the same parts for good: `numpy.random.RandomState(seed)`, whose stream is
    frozen, shuffles.  `task` says how targets are read; by default integers are classes, a table
    of 0 and 1 labels, all else values.  Raises DataError for fewer images or groups than parts,
    ShapeError for fractions or groups that do not fit.

    >>> train, test = split([0, 0, 0, 0, 1, 1, 1, 1], [0.75, 0.25])
    >>> train, test
    (array([1, 2, 3, 4, 5, 6]), array([0, 7]))
    >>> [part.tolist() for part in split([0, 1, 0, 1], [0.5, 0.5], groups=["b", "b", "a", "a"])]
    [[0, 1], [2, 3]]
    """
    array, shares = np.asarray(targets), _shares(fractions)
    if array.ndim not in (1, 2):
        raise failure("split", "targets (N,) or (N, K)", targets=array)
    strata = _strata(array, task or _task(array), len(shares))
    random = np.random.RandomState(seed)  # Generator streams may change between versions
    units = np.arange(len(array)) if groups is None else _units(groups, len(array))
    count = int(units.max(initial=-1)) + 1
    if count < len(shares):
        noun = "images" if groups is None else "groups"
        raise DataError(
            f"split: expected at least {len(shares)} {noun}, one for each part, got {count}; "
            "give more, or ask for fewer parts"
        )
    if groups is None and strata.ndim == 1:
        part = _by_class(strata, shares, random)
    else:
        part = _balanced(units, strata, shares, random)[units]
    return [np.flatnonzero(part == number) for number in range(len(shares))]


def _shares(fractions: Sequence[float]) -> Array:
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or not shares.size or not (shares > 0).all():
        raise failure("split", "fractions above 0, one for each part", fractions=fractions)
    if abs(shares.sum() - 1.0) > 1e-6:
        rule = f"fractions that sum to 1, not {shares.sum():g}"
        raise failure("split", rule, fractions=fractions)
    return np.asarray(shares / shares.sum())


def _task(targets: Array) -> Task:
    if targets.ndim == 1 and targets.dtype.kind in "biuUSO":
        return "classification"
    if targets.ndim == 2 and targets.dtype.kind in "biuf" and np.isin(targets, (0, 1)).all():
        return "multilabel"
    return "regression"


def _strata(targets: Array, task: Task, parts: int) -> Array:
    """Give what is to be spread evenly: classes (N,), or labels (N, K) of 0 and 1."""
    if task not in get_args(Task):
        raise failure("split", "classification, multilabel or regression as task", task=task)
    if task == "multilabel":
        return np.asarray(targets.reshape(len(targets), -1) != 0)
    if task == "classification":
        if targets.ndim != 1:
            raise failure("split", "labels (N,)", labels=targets)
        return np.asarray(np.unique(targets, return_inverse=True)[1].reshape(-1))
    n = len(targets)
    strata = np.zeros(n, np.int64)
    if targets.size == n:
        bins = max(1, min(_BINS, n // (2 * parts)))
        strata[np.argsort(targets.reshape(-1), kind="stable")] = np.arange(n) * bins // max(n, 1)
    return strata


def _units(groups: Any, count: int) -> Array:
    """Number the groups in the order of their names: (N,)."""
    names = np.asarray(groups)
    if names.shape != (count,):
        raise failure("split", f"one group for each of {count} images", groups=names)
    return np.asarray(np.unique(names, return_inverse=True)[1].reshape(-1))


def _by_class(classes: Array, shares: Array, random: np.random.RandomState) -> Array:
    """Give the part of each image; classes are shuffled and cut one by one."""
    part = np.zeros(len(classes), np.int64)
    numbers = np.arange(len(shares))
    order = np.argsort(classes, kind="stable")
    behind = np.zeros(len(shares))
    for places in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        shuffled = random.permutation(places)
        counts = _counts(len(places), shares, behind)
        behind += shares * len(places) - counts
        part[shuffled] = np.repeat(numbers, counts)
    for empty in numbers:  # classes of one image each may all have gone to the largest part
        if not (part == empty).any():
            largest = np.argmax(np.bincount(part, minlength=len(shares)))
            part[np.flatnonzero(part == largest)[-1]] = empty
    return part


def _counts(n: int, shares: Array, behind: Array) -> Array:
    """Share out n by the largest remainders, and one to every part if n is enough.

    Of equal remainders that part goes first which is further behind its share of what came before.
    """
    exact = shares * n
    counts = np.floor(exact + 1e-9).astype(np.int64)
    remainders = np.round(exact - counts, 9)  # so that equal ones are equal on any machine
    order = np.lexsort((-np.round(behind, 9), -remainders))
    counts[order[: n - counts.sum()]] += 1
    while n >= len(shares) and not counts.all():
        counts[np.argmax(counts)] -= 1
        counts[np.argmin(counts)] += 1
    return counts


def _balanced(units: Array, strata: Array, shares: Array, random: np.random.RandomState) -> Array:
    """Give the part of each unit, as even in every class or label as whole units let it be.

    Units come in the order of the largest share that they hold of anything.  Each goes where the
    parts are filled least of what it brings (Sainte-Lague's rule of seats, over all columns).
    """
    rows, columns, values, totals, bearers = _contents(units, strata)
    count = len(rows) - 1
    wanted = np.maximum(np.outer(shares, totals), bearers >= len(shares))  # (parts, columns)
    weights = values / totals[columns]
    largest = np.maximum.reduceat(weights, rows[:-1])
    order = random.permutation(count)
    order = order[np.argsort(-largest[order], kind="stable")]
    have, part = np.zeros_like(wanted), np.zeros(count, np.int64)
    sizes = np.zeros(len(shares), np.int64)
    for left, unit in zip(range(count, 0, -1), order, strict=True):
        inside = slice(rows[unit], rows[unit + 1])
        at, brings = columns[inside], values[inside]
        filled = (have[:, at] + brings / 2) / wanted[:, at]
        cost = np.round((filled * weights[inside]).sum(axis=1) / weights[inside].sum(), 9)
        empty = sizes == 0
        if left <= np.count_nonzero(empty):
            cost[~empty] = np.inf
        chosen = int(np.argmin(cost))
        have[chosen, at] += brings
        sizes[chosen] += 1
        part[unit] = chosen
    return part


def _contents(units: Array, strata: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Count what each unit holds of each class or label, and its images, as a sparse table.

    Gives where each unit's entries begin, their columns and counts, the columns' totals, and in
    how many units each column is found.
    """
    if strata.ndim == 1:
        images, columns = np.arange(len(strata)), strata
        width = int(strata.max()) + 1
    else:
        images, columns = np.nonzero(strata)
        width = strata.shape[1]
    pairs = np.concatenate(
        [units[images] * (width + 1) + columns, units * (width + 1) + width]  # the last: all
    )
    keys, values = np.unique(pairs, return_counts=True)
    owner, column = np.divmod(keys, width + 1)
    rows = np.searchsorted(owner, np.arange(int(units.max()) + 2))
    totals = np.bincount(column, values, width + 1)
    return rows, column, values.astype(np.float64), totals, np.bincount(column, None, width + 1)
