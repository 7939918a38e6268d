"""Sums of weighed places by our own kernels: beside the reference, for every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn.arrays import empty_last, to_last
from chainrule.backends.onednn.backend import ONEDNN
from chainrule.engine.op import OPS, Op
from chainrule.engine.threads import get_num_threads, set_num_threads
from tests.backends.onednn.edges import at_the_edge
from tests.backends.onednn.test_own import isa  # noqa: F401

pytestmark = pytest.mark.usefixtures("no_limits", "isa")

OPERATIONS = [
    OPS["Pad"]((1, 2, 0, -1, 2, 1), 0.5),
    *[OPS["PadBorder"]((2, 1, -1, 2), mode) for mode in ("reflect", "replicate", "circular")],
    *[
        OPS["Interpolate"]((9, 13), mode)
        for mode in ("nearest", "nearest-exact", "linear", "cubic")
    ],
    OPS["Interpolate"]((4, 3), "linear", True),
    OPS["Interpolate"]((2, 3), "cubic", False, True),
    OPS["Interpolate"]((3, 20), "linear", scales=(0.7, 3.5)),
]


def both(op: Op, x: np.ndarray, gy: np.ndarray) -> list[tuple[Any, Any]]:
    """Give y and gx by the kernel, each with the reference's."""
    pair, reference = ONEDNN.select(op, (x,)), ONEDNN.reference
    assert pair is not reference
    found = []
    for kernel in (pair, reference):
        (y,), saved = kernel.forward(op, (x,))
        found.append((y, kernel.backward(op, saved, gy, (True,))[0]))
    return list(zip(*found, strict=True))


def arrays(op: Op, channels: int, last: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((2, channels, 6, 5), np.float32)
    (y,), _ = op.forward(np, x)
    drawn = x, rng.standard_normal(y.shape, np.float32)
    first, second = (at_the_edge(to_last(a) if last else a) for a in drawn)
    return first, second


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("channels", range(1, 21))
def test_any_number_of_channels(channels: int, last: bool) -> None:
    for op in OPERATIONS:
        for mine, right in both(op, *arrays(op, channels, last)):
            np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-5, err_msg=str(op))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_goes_where_the_terms_say(bad: float) -> None:
    for op in OPERATIONS:
        for spot in ((0, 0, 0, 0), (1, 2, 3, 2), (0, 1, 5, 4)):
            x, gy = arrays(op, 3)
            x[spot] = bad
            gy[tuple(min(i, n - 1) for i, n in zip(spot, gy.shape, strict=True))] = bad
            with np.errstate(all="ignore"):
                for mine, right in both(op, x, gy):
                    np.testing.assert_allclose(mine, right, rtol=1e-5, atol=1e-5, err_msg=str(op))


def test_long_sums_are_the_reference_s() -> None:
    x = empty_last((1, 2, 1, 2))
    for size, fast in (((1, 8000), True), ((1, 9000), False), ((5000, 2), False)):
        pair = ONEDNN.select(OPS["Interpolate"](size), (x,))
        assert (pair is not ONEDNN.reference) == fast


def test_threads_do_not_change_the_numbers() -> None:
    op = OPS["Interpolate"]((60, 90), "cubic")
    x, gy = arrays(op, 32)
    found, before = [], get_num_threads()
    try:
        for count in (1, 2):
            set_num_threads(count)
            found.append([mine for mine, _ in both(op, x, gy)])
    finally:
        set_num_threads(before)
    assert all(map(np.array_equal, *found))
