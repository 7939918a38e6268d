"""What is measured of numbers: how far they are from their targets, output by output."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.training.metrics_checks import columns


def mean_absolute_error(predicted: Any, targets: Any) -> Array:
    """Give the mean of |prediction - target| of each output: (N, K) twice -> (K,).

    (N,) is one output: (1,).  Raises ShapeError for sizes that differ and N = 0, DataError for
    NaN and infinity.

    >>> mean_absolute_error([1.0, 4.0], [2.0, 4.0])
    array([0.5])
    """
    p, t = columns("mean_absolute_error", predicted, targets)
    return np.asarray(np.abs(p - t).mean(axis=0))


def root_mean_squared_error(predicted: Any, targets: Any) -> Array:
    """Give the root of the mean of (prediction - target)^2 of each output: (N, K) twice -> (K,).

    Raises as `mean_absolute_error` does.

    >>> root_mean_squared_error([[1.0, 0.0], [4.0, 0.0]], [[4.0, 0.0], [0.0, 0.0]]).round(4)
    array([3.5355, 0.    ])
    """
    p, t = columns("root_mean_squared_error", predicted, targets)
    return np.asarray(np.sqrt(np.square(p - t).mean(axis=0)))


def r2_score(predicted: Any, targets: Any) -> Array:
    """Give 1 - (squared errors) / (squared distances of targets from their mean): (K,).

    1 is perfect, 0 is what the mean of the targets would do.  Where all targets are equal, as
    with N = 1, there is nothing to explain: NaN.  Raises as `mean_absolute_error` does.

    >>> r2_score([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).round(4)
    array([0.7857])
    """
    p, t = columns("r2_score", predicted, targets)
    errors = np.square(p - t).sum(axis=0)
    spread = np.square(t - t.mean(axis=0)).sum(axis=0)
    return explained(errors, spread, t.min(axis=0) == t.max(axis=0))


def explained(errors: Array, spread: Array, constant: Array) -> Array:
    """Give 1 - errors / spread, NaN where the targets are constant (whatever rounding left)."""
    nothing = np.full(errors.shape, np.nan)
    some = ~constant & (spread > 0)
    return np.asarray(1.0 - np.divide(errors, spread, out=nothing, where=some))
