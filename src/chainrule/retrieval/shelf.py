"""What a search is given and gives: the arrays of images, of queries, and of what was found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, KindError, expect, failure

Mode = Literal["off", "soft", "hard"]
MODES: tuple[str, ...] = get_args(Mode)


def checked_mode(asked: str, mode: str) -> Mode:
    """Give a mode that exists; KindError for any other word.

    >>> checked_mode("search", "soft")
    'soft'
    """
    if mode not in MODES:
        raise failure(asked, f"a mode out of {', '.join(MODES)}", error=KindError, mode=mode)
    return cast(Mode, mode)


LENGTH = 1e-2
"""How far from 1 the length of a query may be: float16 rows are within a tenth of that."""


class Shelf(NamedTuple):
    """Images as arrays, one row an image; in memory, or mapped from files.

    `matrix` (N, D) float32 or float16, finite, rows of length 1; `probabilities` (N, K) float32,
    where K may be 0; `groups` (N,) uint64, whose rows belong together (a patient), 0: to nobody;
    `predicted` (N,) integers, the class of each row, -1: none; `alive` (N,) bool, the others are
    never found.  `roots` (N, K) float32, the probabilities' square roots, is what the mode "soft"
    reads if it is there; else it takes the roots itself, as it goes.

    >>> shelf = Shelf.of(np.eye(3), probabilities=[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    >>> len(shelf.matrix), shelf.predicted.tolist(), shelf.alive.all()
    (3, [0, 1, 0], np.True_)
    """

    matrix: Array
    probabilities: Array
    groups: Array
    predicted: Array
    alive: Array
    roots: Array | None = None

    @classmethod
    def of(
        cls,
        matrix: Any,
        *,
        probabilities: Any = None,
        groups: Any = None,
        predicted: Any = None,
        alive: Any = None,
    ) -> Shelf:
        """Fill in what is not given: no classes, no groups, all alive; the likeliest class.

        A matrix of float16 stays so, any other becomes float32.  Raises DataError for arrays that
        do not belong together.
        """
        rows = np.asarray(matrix)
        rows = rows if rows.dtype == np.float16 else rows.astype(np.float32, copy=False)
        n = len(rows)
        classes = (
            np.zeros((n, 0), np.float32)
            if probabilities is None
            else np.asarray(probabilities, np.float32)
        )
        if predicted is None:
            likely = classes.ndim == 2 and classes.shape[1] > 0
            predicted = classes.argmax(axis=1) if likely else np.full(n, -1)
        shelf = cls(
            rows,
            classes,
            np.zeros(n, np.uint64) if groups is None else np.asarray(groups, np.uint64),
            np.asarray(predicted, np.int32),
            np.ones(n, np.bool_) if alive is None else np.asarray(alive, np.bool_),
        )
        check_shelf("Shelf.of", shelf)
        return shelf


def only(shelf: Shelf, rows: Any) -> Shelf:
    """Give a shelf of some rows alone, by a slice (views) or by their numbers.

    >>> only(Shelf.of(np.eye(3)), slice(2)).alive.tolist()
    [True, True]
    """
    return Shelf(
        shelf.matrix[rows],
        shelf.probabilities[rows],
        shelf.groups[rows],
        shelf.predicted[rows],
        shelf.alive[rows],
        None if shelf.roots is None else shelf.roots[rows],
    )


def without(shelf: Shelf, groups: Iterable[int]) -> Shelf:
    """Give a shelf on which some groups are not found, as if dead; 0 is no group.

    >>> without(Shelf.of(np.eye(3), groups=[7, 0, 8]), [0, 8]).alive.tolist()
    [True, True, False]
    """
    alive = shelf.alive
    for group in set(groups) - {0}:
        alive = alive & (shelf.groups != np.uint64(group))
    return shelf._replace(alive=alive)


class Query(NamedTuple):
    """Images to be looked for: one row a query.

    `vectors` (Q, D), rows of length 1 (or all zero, where a network saw nothing);
    `probabilities` (Q, K) of the classes, which the modes "soft" and "hard" ask for; `groups` (Q,)
    uint64: rows of the same group are left out, but for group 0.  None leaves no group out.

    >>> Query(np.eye(2, dtype=np.float32)).groups is None
    True
    """

    vectors: Array
    probabilities: Array | None = None
    groups: Array | None = None

    def taken(self, queries: Any) -> Query:
        """Give some of the queries, by a slice or by their numbers.

        >>> Query(np.eye(3)).taken([2]).vectors.tolist()
        [[0.0, 0.0, 1.0]]
        """
        classes, groups = self.probabilities, self.groups
        return Query(
            self.vectors[queries],
            None if classes is None else classes[queries],
            None if groups is None else groups[queries],
        )


class Found(NamedTuple):
    """What was found, best first: one row a query.

    `scores` (Q, k) float32 by the mode; `rows` (Q, k) int64 of the shelf; `cosines` (Q, k) float32.
    Where there are fewer than k, rows are -1 and the others minus infinity, at the end.
    """

    scores: Array
    rows: Array
    cosines: Array


def check_shelf(asked: str, shelf: Shelf) -> None:
    """Raise DataError unless the arrays are of one length and of the dtypes that `Shelf` names."""
    matrix, n = shelf.matrix, len(shelf.matrix)
    kinds = (np.float32, np.float16)
    rule = "a matrix (N, D) of float32 or float16"
    expect(matrix.ndim == 2 and matrix.dtype in kinds, asked, rule, error=DataError, matrix=matrix)
    classes = shelf.probabilities
    ok = classes.ndim == 2 and len(classes) == n and classes.dtype == np.float32
    rule = f"probabilities ({n}, K) of float32"
    expect(ok, asked, rule, error=DataError, probabilities=classes)
    for name, kind in (
        ("groups", "unsigned integers"),
        ("predicted", "integers"),
        ("alive", "bool"),
    ):
        array = getattr(shelf, name)
        rule = f"{name} ({n},) of {kind}"
        ok = array.shape == (n,) and array.dtype.kind == kind[0]
        expect(ok, asked, rule, error=DataError, **{name: array})
    if shelf.roots is not None:
        ok = shelf.roots.shape == classes.shape and shelf.roots.dtype == np.float32
        rule = f"roots {classes.shape} of float32, as the probabilities"
        expect(ok, asked, rule, error=DataError, roots=shelf.roots)


def checked_query(asked: str, query: Query, shelf: Shelf, mode: str, weight: float) -> Query:
    """Give the query as contiguous arrays that fit the shelf and the mode; DataError if not.

    KindError for a mode that does not exist.
    """
    check_shelf(asked, shelf)
    if mode not in MODES:
        raise failure(asked, f"a mode out of {', '.join(MODES)}", error=KindError, mode=mode)
    expect(0 <= weight <= 1, asked, "a weight from 0 to 1", error=DataError, weight=weight)
    vectors = np.ascontiguousarray(query.vectors, np.float32)
    dimension = shelf.matrix.shape[1]
    rule = f"query vectors (Q, {dimension}), as the shelf's"
    ok = vectors.ndim == 2 and vectors.shape[1] == dimension
    expect(ok, asked, rule, error=DataError, vectors=vectors)
    _check_lengths(asked, vectors)
    groups = query.groups
    if groups is not None:
        groups = np.asarray(groups, np.uint64)
        rule = f"a group for each of the {len(vectors)} queries"
        expect(groups.shape == (len(vectors),), asked, rule, error=DataError, groups=groups)
    return Query(vectors, _checked_classes(asked, query, shelf, mode), groups)


def _check_lengths(asked: str, vectors: Array) -> None:
    """Raise DataError for a vector that is not finite, or whose length is neither 1 nor 0."""
    lengths = np.linalg.norm(vectors, axis=1)
    bad = ~((np.abs(lengths - 1) < LENGTH) | (lengths == 0))
    if not bad.any():
        return
    first = int(bad.argmax())
    if not np.isfinite(vectors[first]).all():
        raise failure(asked, "finite vectors", error=DataError, row=first, hint="NaN or infinity")
    hint = "divide each vector by its length"
    length = float(lengths[first])
    rule = "vectors of length 1"
    raise failure(asked, rule, error=DataError, hint=hint, row=first, length=length)


def _checked_classes(asked: str, query: Query, shelf: Shelf, mode: str) -> Array | None:
    """Give the query's probabilities as the mode needs them, None for "off"."""
    if mode == "off":
        return None
    classes = shelf.probabilities.shape[1]
    if not classes or query.probabilities is None:
        who = "the images" if not classes else "the query"
        hint = f"{who} came without; search with mode 'off'"
        raise failure(asked, f"class probabilities for mode {mode!r}", error=DataError, hint=hint)
    given = np.ascontiguousarray(query.probabilities, np.float32)
    shape = (len(query.vectors), classes)
    rule = f"query probabilities {shape}, as the shelf's"
    expect(given.shape == shape, asked, rule, error=DataError, probabilities=given)
    rule = "probabilities from 0 to 1"
    ok = bool(((given >= 0) & (given <= 1 + LENGTH)).all())  # false for NaN
    expect(ok, asked, rule, error=DataError, probabilities=given)
    return given
