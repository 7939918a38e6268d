"""Sampling by our own kernels beside the reference in float32: the same neighbours, NaN and all."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from chainrule.backends.onednn.arrays import to_last
from chainrule.backends.onednn.backend import ONEDNN
from chainrule.engine.op import OPS, Op
from chainrule.engine.threads import get_num_threads, set_num_threads
from chainrule.ops.grid_sample import MODES, PADDING
from tests.backends.onednn.edges import at_the_edge
from tests.backends.onednn.test_own import isa  # noqa: F401

pytestmark = pytest.mark.usefixtures("no_limits", "isa")

OPERATIONS = [OPS["GridSample"](*how) for how in product(MODES, PADDING, (False, True))]


def compare(op: Op, arrays: list[np.ndarray], gy: np.ndarray) -> None:
    pair = ONEDNN.select(op, arrays)
    assert pair is not ONEDNN.reference
    both = []
    for kernel in (pair, ONEDNN.reference):
        (y,), saved = kernel.forward(op, arrays)
        both.append([y, *kernel.backward(op, saved, gy, (True, True))])
    for name, mine, right in zip(("y", "gx", "ggrid"), *both, strict=True):
        top = np.abs(right[np.isfinite(right)]).max(initial=1)
        what = f"{name} of {op}"
        np.testing.assert_allclose(mine, right, rtol=1e-5, atol=2e-6 * top, err_msg=what)


def draw(channels: int, axes: int = 2, n: int = 2) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(channels)
    size, places = (5, 6, 4)[:axes], (3, 7, 2)[:axes]
    x = rng.standard_normal((n, channels, *size), np.float32)
    grid = rng.uniform(-2.5, 2.5, (n, *places, axes)).astype(np.float32)
    # Corners, borders and pixels' centres, where what is seen changes
    grid[:, 0] = rng.choice([-1, 0, 1, 1 / 3, -0.8, 0.6], grid[:, 0].shape)
    gy = rng.standard_normal((n, channels, *places), np.float32)
    return [at_the_edge(to_last(x)), at_the_edge(grid.reshape(-1)).reshape(grid.shape)], gy


@pytest.mark.parametrize("channels", range(1, 21))
def test_any_number_of_channels(channels: int) -> None:
    for op in OPERATIONS:
        arrays, gy = draw(channels)
        compare(op, arrays, at_the_edge(to_last(gy)))


@pytest.mark.parametrize("channels", [1, 5, 33])
def test_volumes(channels: int) -> None:
    for op in OPERATIONS[:12]:
        arrays, gy = draw(channels, 3)
        compare(op, arrays, gy)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("where", ["x", "grid", "gy"])
def test_what_is_not_finite(bad: float, where: str) -> None:
    for op in OPERATIONS:
        (x, grid), gy = draw(3)
        {"x": x, "grid": grid, "gy": gy}[where][:, 1, ::2] = bad
        with np.errstate(all="ignore"):
            compare(op, [x, grid], gy)


@pytest.mark.parametrize("n", [1, 3])
def test_threads_do_not_change_the_numbers(n: int) -> None:
    before = get_num_threads()
    try:
        for op in OPERATIONS[::5]:
            arrays, gy = draw(70, 3 if op.mode != "bicubic" else 2, n)  # type: ignore[attr-defined]
            found = []
            for count in (1, 2):
                set_num_threads(count)
                pair = ONEDNN.select(op, arrays)
                (y,), saved = pair.forward(op, arrays)
                found.append([y, *pair.backward(op, saved, gy, (True, True))])
            assert all(map(np.array_equal, *found))
    finally:
        set_num_threads(before)
