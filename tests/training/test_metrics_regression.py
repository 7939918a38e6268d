from __future__ import annotations

import numpy as np
import pytest

from chainrule.errors import DataError, ShapeError
from chainrule.training.metrics_regression import (
    mean_absolute_error,
    r2_score,
    root_mean_squared_error,
)

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the demo extra")


@pytest.mark.parametrize("shape", [(2,), (40,), (40, 1), (40, 3)])
def test_errors_are_scikit_learns(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    p, t = rng.standard_normal(shape), rng.standard_normal(shape)
    for mine, theirs in (
        (mean_absolute_error, metrics.mean_absolute_error),
        (root_mean_squared_error, metrics.root_mean_squared_error),
        (r2_score, metrics.r2_score),
    ):
        expected = np.atleast_1d(theirs(t, p, multioutput="raw_values"))
        np.testing.assert_allclose(mine(p, t), expected)
        np.testing.assert_allclose(mine(p.astype(np.float32), t), expected, rtol=1e-5)


def test_a_column_and_a_row_do_not_make_a_table() -> None:
    assert mean_absolute_error([[1.0], [2.0], [4.0]], [1.0, 2.0, 3.0]) == pytest.approx(1 / 3)


def test_constant_targets_explain_nothing() -> None:
    table = r2_score([[1.0, 0.0], [2.0, 1.0]], [[0.1, 0.0], [0.1, 1.0]])
    np.testing.assert_array_equal(table, [np.nan, 1.0])
    tenth = np.full((3, 1), 0.1)
    assert tenth.mean() != 0.1  # in binary
    assert np.isnan(r2_score(tenth + 1, tenth)).all()
    assert np.isnan(r2_score([1.0], [2.0])).all()


def test_misuse() -> None:
    for p, t in (([], []), ([1.0], [1.0, 2.0]), (np.ones((2, 3)), np.ones((3, 2))), (1.0, 1.0)):
        with pytest.raises(ShapeError, match="targets of one shape"):
            mean_absolute_error(p, t)
    with pytest.raises(DataError, match="predictions: nan at index"):
        r2_score([np.nan], [1.0])
    with pytest.raises(DataError, match="targets: inf at index"):
        root_mean_squared_error([1.0], [np.inf])
