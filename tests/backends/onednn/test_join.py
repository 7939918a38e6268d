"""Short rows joined and cut apart by our own kernel, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.backends.onednn import join
from chainrule.backends.onednn.arrays import to_last
from chainrule.backends.onednn.backend import ONEDNN
from chainrule.engine.op import OPS
from tests.backends.onednn.edges import at_the_edge
from tests.backends.onednn.test_own import isa  # noqa: F401

pytestmark = pytest.mark.usefixtures("no_limits", "isa", "traps")


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("width", range(1, 36))
def test_rows_of_any_length(width: int, last: bool) -> None:
    """Every bit comes through, what is not finite too."""
    rng, op = np.random.default_rng(width), OPS["Cat"](1 if last else 3)
    parts = []
    for n in (width, 3, 17):
        a = rng.standard_normal((2, n, 9, 8) if last else (2, 9, 8, n), np.float32)
        a[rng.random(a.shape) < 0.1] = np.nan
        parts.append(at_the_edge(to_last(a) if last else a))
    shapes = tuple(a.shape for a in parts)
    assert type(join._rows(shapes, op.dim, last)) is join.Rows  # type: ignore[attr-defined]
    (y,), saved = ONEDNN.select(op, parts).forward(op, parts)
    assert np.array_equal(y, np.concatenate(parts, 1 if last else 3), equal_nan=True)
    gy = at_the_edge(y)
    first, none, third = ONEDNN.select(op, parts).backward(op, saved, gy, (True, False, True))
    assert none is None
    assert np.array_equal(first, parts[0], equal_nan=True)
    assert np.array_equal(third, parts[2], equal_nan=True)
