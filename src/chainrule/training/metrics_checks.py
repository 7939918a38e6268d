"""What the metrics ask of their arrays, in one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.data.dataset import check_finite, check_labels
from chainrule.engine.op import Array
from chainrule.engine.tensor import Tensor
from chainrule.errors import DataError, KindError, ShapeError, expect, failure

_SUM = 1e-3  # how far a row of float16 or float32 probabilities may be from 1


def as_array(values: Any) -> Array:
    """Give the array of a tensor (outside its graph), a list or an array."""
    return values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)


def check_pair(name: str, predicted: Array, labels: Array) -> None:
    """Raise ShapeError unless both are (N,) with the same N > 0."""
    if predicted.ndim != 1 or predicted.shape != labels.shape or not predicted.size:
        rule = "as many predictions as labels, (N,) each with N > 0"
        raise failure(name, rule, error=ShapeError, predictions=predicted, labels=labels)


def class_labels(name: str, labels: Any, classes: int) -> Array:
    """Give labels 0..classes-1 as int64, so that no small type overflows.

    Raises KindError unless they are whole numbers, LabelError outside the classes.
    """
    array = as_array(labels)
    expect(array.dtype.kind in "biu", name, "whole numbers", error=KindError, values=array)
    check_labels(array, classes, name)
    return array.astype(np.int64)


def check_scores(name: str, scores: Array, labels: Array) -> None:
    """Raise ShapeError unless scores are (N, C) and labels (N,) with N, C > 0."""
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not scores.size:
        rule = "scores (N, C) and labels (N,) with N > 0 and C > 0"
        raise failure(name, rule, error=ShapeError, scores=scores, labels=labels)


def check_numbers(name: str, values: Array) -> None:
    """Raise KindError unless the values are real numbers, DataError at the first NaN."""
    expect(values.dtype.kind in "biuf", name, "real numbers", error=KindError, values=values)
    if values.dtype.kind == "f" and np.isnan(values).any():
        check_finite(np.where(np.isnan(values), np.nan, 0.0), name)


def check_probabilities(name: str, probabilities: Array) -> None:
    """Raise DataError unless every row is of numbers from 0 to 1 whose sum is 1.

    The sum may be off by 0.001, since rows of float32 round.
    """
    check_numbers(name, probabilities)
    # written so that infinity is outside too
    wrong = ~((probabilities >= 0) & (probabilities <= 1 + _SUM)).all(axis=1)
    sums = np.where(wrong, np.inf, probabilities.sum(axis=1, dtype=np.float64))
    wrong |= np.abs(sums - 1) > _SUM
    if wrong.any():
        first = int(np.argmax(wrong))
        row = ", ".join(f"{value:.4g}" for value in probabilities[first][:4])
        more = ", ..." if probabilities.shape[1] > 4 else ""
        raise failure(
            name,
            "probabilities from 0 to 1 that sum to 1 in each row",
            error=DataError,
            hint=f"row {first} is [{row}{more}]; scores become probabilities by softmax",
        )


def label_tables(name: str, first: Any, targets: Any) -> tuple[Array, Array]:
    """Give predictions or scores (N, L) as they are, and targets (N, L) of 0 and 1 as bools.

    Raises ShapeError unless both are (N, L) with N, L > 0, DataError for other targets or NaN.
    """
    array, wanted = as_array(first), as_array(targets)
    if array.ndim != 2 or array.shape != wanted.shape or not array.size:
        rule = "two tables (N, L), an image a row and a label a column, N > 0 and L > 0"
        raise failure(name, rule, error=ShapeError, predictions=array, targets=wanted)
    check_numbers(name, array)
    return array, zero_or_one(f"{name} targets", wanted)


def zero_or_one(name: str, values: Array) -> Array:
    """Give values that are all 0 or 1 as bools; raises DataError for any other."""
    if values.dtype == np.bool_:
        return values
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        raise failure(name, "0 or 1", error=DataError, value=values[place].item(), index=place)
    return np.asarray(values != 0)


def columns(name: str, predicted: Any, targets: Any) -> tuple[Array, Array]:
    """Give both as float64 (N, K), an output a column; (N,) is one output.

    Raises ShapeError for sizes that differ or N = 0, DataError for NaN or infinity.
    """
    p, t = as_array(predicted), as_array(targets)
    fits = p.ndim > 0 and t.ndim > 0 and p.size == t.size > 0
    if not fits or p.shape[0] != t.shape[0] or (p.ndim > 1 and t.ndim > 1 and p.shape != t.shape):
        rule = "predictions and targets of one shape, (N,) or (N, K), with N > 0"
        raise failure(name, rule, error=ShapeError, predictions=p, targets=t)
    for part, values in (("predictions", p), ("targets", t)):
        check_numbers(f"{name} {part}", values)
        check_finite(values, f"{name} {part}")
    n = len(p)
    return p.reshape(n, -1).astype(np.float64), t.reshape(n, -1).astype(np.float64)


def shares(part: Array, whole: Array) -> Array:
    """Divide, NaN where the whole is 0.

    >>> shares(np.array([1, 0]), np.array([4, 0]))
    array([0.25,  nan])
    """
    some = np.broadcast_to(whole > 0, np.broadcast_shapes(part.shape, whole.shape))
    nothing = np.full(some.shape, np.nan)
    return np.asarray(np.divide(part, whole, out=nothing, where=some))


def mean_of_defined(values: Array) -> float:
    """Mean of the values that are not NaN; NaN if there are none.

    >>> mean_of_defined(np.array([0.5, np.nan, 1.0]))
    0.75
    """
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float("nan")
