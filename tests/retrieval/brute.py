"""The same searches, one pair after the other in float64: what ours are compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.retrieval.shelf import Query, Shelf


def pair_score(query: Query, i: int, shelf: Shelf, row: int, mode: str, weight: float) -> Any:
    """Give the score of one pair as float32, None where the row is left out."""
    group = 0 if query.groups is None else int(query.groups[i])
    if not shelf.alive[row] or (group and group == int(shelf.groups[row])):
        return None
    terms = zip(query.vectors[i].tolist(), shelf.matrix[row].tolist(), strict=True)
    score = math.fsum(a * b for a, b in terms)
    if mode != "off":
        mine, theirs = query.probabilities[i].tolist(), shelf.probabilities[row].tolist()
        if mode == "hard" and mine.index(max(mine)) != shelf.predicted[row]:
            return None
        if mode == "soft":
            likeness = math.fsum(math.sqrt(p * q) for p, q in zip(mine, theirs, strict=True))
            score = (1 - weight) * score + weight * likeness
    return np.float32(score)


def brute(query: Query, shelf: Shelf, k: int, mode: str, weight: float = 0.5) -> tuple[Any, Any]:
    """Give scores (Q, k) and rows (Q, k): the whole list sorted by falling score, then by row."""
    scores = np.full((len(query.vectors), k), -np.inf, np.float32)
    rows = np.full((len(query.vectors), k), -1, np.int64)
    for i in range(len(query.vectors)):
        given = [pair_score(query, i, shelf, row, mode, weight) for row in range(len(shelf.matrix))]
        best = sorted((-score, row) for row, score in enumerate(given) if score is not None)[:k]
        for place, (negative, row) in enumerate(best):
            scores[i, place], rows[i, place] = -negative, row
    return scores, rows


def unit(x: Any) -> Any:
    """Give rows of length 1 as float32, zeros as they are."""
    x = np.asarray(x, np.float64)
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return (x / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def drawn(rows: int, dimension: int, classes: int = 5, seed: int = 0, coarse: bool = False) -> Any:
    """Draw a shelf; coarse: few different vectors, so that many scores are equal."""
    rng = np.random.default_rng(seed)
    shape = (rows, dimension)
    points = rng.integers(-1, 2, shape) if coarse else rng.normal(size=shape)
    classes_of = rng.dirichlet(np.ones(classes), rows) if classes else np.zeros((rows, 0))
    if coarse and classes:
        classes_of = np.eye(classes)[rng.integers(0, classes, rows)] * 0.75 + 0.25 / classes
    return Shelf.of(
        unit(points),
        probabilities=classes_of,
        groups=rng.integers(0, max(2, rows // 3), rows),
        alive=rng.random(rows) > 0.2,
    )


def asked(shelf: Shelf, count: int, seed: int = 1, groups: bool = True) -> Query:
    """Draw queries out of a shelf's rows, whose groups and probabilities they keep."""
    picked = np.random.default_rng(seed).integers(0, max(1, len(shelf.matrix)), count)
    return Query(
        unit(shelf.matrix[picked]),
        shelf.probabilities[picked] if shelf.probabilities.shape[1] else None,
        shelf.groups[picked] if groups else None,
    )
