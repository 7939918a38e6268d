"""Our kernel of pooling over any windows beside the reference, for every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn.arrays import finite, to_last
from chainrule.backends.onednn.backend import ONEDNN
from chainrule.backends.onednn.pool import Pool
from chainrule.backends.onednn.runtime import Current
from chainrule.backends.onednn.windows import WindowPlan, plan_windows
from chainrule.engine.op import OPS, Op
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from tests.backends.onednn.edges import at_the_edge
from tests.backends.onednn.test_own import isa  # noqa: F401

pytestmark = pytest.mark.usefixtures("isa", "traps")
Rng = np.random.Generator

SETTINGS: dict[str, tuple[Any, ...]] = {
    "overlapping": ("MaxPool", (3, 3), (2, 2), (1, 1), (1, 1)),
    "dense": ("MaxPool", (3, 2), (1, 1), (1, 0), (1, 1), False, True),
    "dilated": ("MaxPool", (2, 3), (2, 1), (1, 1), (3, 2), True),
    "padding alone": ("MaxPool", (2, 2), (1, 1), (1, 1), (1, 15), False, True),
    "with ReLU": ("ReLUMaxPool", (2, 2), (1, 1), (1, 1), (1, 15)),
    "large": ("MaxPool", (11, 13), (3, 1), (5, 6), (1, 1)),
    "ragged": ("AdaptiveMaxPool", (5, 4)),
    "ragged indices": ("AdaptiveMaxPool", (3, None), True),
    "more than there are": ("AdaptiveMaxPool", (15, 17)),
    "average": ("AvgPool", (3, 3), (2, 2), (1, 1)),
    "average without padding": ("AvgPool", (3, 2), (1, 2), (1, 1), True, False),
    "average beyond the padding": ("AvgPool", (3, 4), (2, 3), (1, 2), True, True),
    "average by a number": ("AvgPool", (2, 3), (1, 1), (1, 1), False, True, -3),
    "average ragged": ("AdaptiveAvgPool", (4, 3)),
    "average to one": ("AdaptiveAvgPool", (1, 1)),
    "average to more": ("AdaptiveAvgPool", (13, 23)),
}


def drawn(rng: Rng, *shape: int, ties: bool = False) -> np.ndarray:
    a = rng.integers(-3, 4, shape) if ties else rng.standard_normal(shape)
    return at_the_edge(to_last(a.astype(np.float32)))


def compare(op: Op, x: np.ndarray, rng: Rng) -> None:
    """Hold outputs and gradient beside the reference's in float64; largest values exactly."""
    pair: Any = ONEDNN.table[type(op)]
    assert isinstance(pair, Pool)
    assert type(pair.plan(op, x.shape)) is WindowPlan
    outputs, saved = pair.forward(op, (x,))
    gy = at_the_edge(to_last(rng.standard_normal(outputs[0].shape).astype(np.float32)))
    gys: Any = gy if len(outputs) == 1 else (gy, None)
    (gx,) = pair.backward(op, saved, gys, (True,))
    with np.errstate(all="ignore"):
        wanted, kept = op.forward(np, x.astype(np.float64))
        back = op.backward(np, kept, gys, (True,))[0]
    tolerance = 3e-6 if "Avg" in type(op).__name__ else 0
    for got, right in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(got, right, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gx, back, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("channels", [1, 3, 8, 9, 16, 31, 35, 80])
def test_any_windows(name: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    kind, *settings = SETTINGS[name]
    compare(OPS[kind](*settings), drawn(rng, 2, channels, 11, 14, ties=bool(channels % 2)), rng)


@pytest.mark.parametrize("channels", range(1, 21))
def test_any_number_of_channels_and_positions(channels: int) -> None:
    rng = np.random.default_rng(channels)
    for op in (
        MaxPool((3, 3), (2, 1), (1, 1), (1, 1), True),
        AvgPool((2, 3), (1, 2), (1, 1), True, False),
        AdaptiveMaxPool((3, 2)),
        AdaptiveAvgPool((2, 3)),
    ):
        compare(op, drawn(rng, 1, channels, channels + 2, 22 - channels), rng)


def test_one_and_three_dimensions() -> None:
    rng = np.random.default_rng(0)
    line, volume = np.float32(rng.standard_normal((2, 17, 31))), drawn(rng, 2, 9, 5, 7, 6)
    compare(MaxPool((3,), (2,), (1,), (2,), True), to_last(line), rng)
    compare(AdaptiveAvgPool((7,)), to_last(line), rng)
    compare(MaxPool((2, 3, 2), (1, 2, 2), (1, 1, 0), (2, 1, 1), False, True), volume, rng)
    compare(AvgPool((2, 3, 3), (2, 1, 2), (1, 1, 1), True), volume, rng)
    compare(AdaptiveMaxPool((2, 3, 5), True), volume, rng)
    compare(AdaptiveAvgPool((3, 2, 4)), volume, rng)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_not_finite_keeps_its_meaning(name: str, bad: float) -> None:
    rng = np.random.default_rng(5)
    kind, *settings = SETTINGS[name]
    op, x = OPS[kind](*settings), drawn(rng, 1, 19, 11, 14)
    x[0, rng.integers(0, 19, 60), rng.integers(0, 11, 60), rng.integers(0, 14, 60)] = bad
    compare(op, x, rng)
    x[...] = bad
    compare(op, x, rng)


def test_the_mean_of_equal_values_is_that_value() -> None:
    """The division rounds once, as a division does."""
    x = np.full((1, 3, 47, 61), 0.7, np.float32)
    for size in (1, (47, 1), (1, 61), 5):
        target = size if isinstance(size, tuple) else (size, size)
        ((y,), _) = ONEDNN.table[AdaptiveAvgPool].forward(AdaptiveAvgPool(target), (x,))
        np.testing.assert_allclose(y, 0.7, rtol=2e-6)
    ones = np.ones_like(x)
    ((y,), _) = ONEDNN.table[AdaptiveAvgPool].forward(AdaptiveAvgPool((1, 1)), (ones,))
    assert (y == 1).all()


def test_long_windows_are_summed_by_pieces() -> None:
    x = np.full((1, 2, 1 << 18), 0.1, np.float32)
    op = AdaptiveAvgPool((1,))
    ((y,), _) = ONEDNN.table[AdaptiveAvgPool].forward(op, (x,))
    np.testing.assert_allclose(y, x[0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_gives_the_same_numbers(threads: int) -> None:
    rng = np.random.default_rng(6)
    op, x = AvgPool((3, 3), (1, 1), (1, 1)), drawn(rng, 2, 37, 19, 18)
    windows = op._windows((19, 18))
    counts = [w.lengths(True) for w in windows]
    results = []
    for count in (1, threads):
        with Current.thread.using(count):
            plan = WindowPlan(windows, x.shape, counts, False)
            results.append((plan.average(x), plan.average_gradient(x)))
    assert all(map(np.array_equal, *results))


@pytest.mark.parametrize("name", ["padding alone", "with ReLU", "average ragged"])
def test_what_is_not_finite_is_not_taken_for_finite(name: str) -> None:
    rng = np.random.default_rng(7)
    kind, *settings = SETTINGS[name]
    op, x = OPS[kind](*settings), drawn(rng, 1, 5, 11, 14)
    if kind == "AdaptiveAvgPool":
        x[0, 4, 10, 13] = np.inf
    (y, *_), _ = ONEDNN.table[type(op)].forward(op, (x,))
    assert not np.isfinite(y).all()
    assert not finite(y)


def test_lists_of_links_have_a_bound() -> None:
    windows = MaxPool((4000,), (1,), (0,), (1,))._windows((8000,))
    assert plan_windows(windows, (1, 1, 8000)) is None
