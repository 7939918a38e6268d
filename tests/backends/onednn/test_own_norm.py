"""Our own normalisation and dropout: beside the float64 reference, for every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn import norm_images
from chainrule.backends.onednn.arrays import to_last
from chainrule.backends.onednn.backend import ONEDNN, ByReference
from chainrule.backends.onednn.runtime import Current
from chainrule.engine.op import OPS, Op
from tests.backends.onednn.compare import Reference, same
from tests.backends.onednn.edges import at_the_edge
from tests.backends.onednn.test_own import isa, normal, parameter

__all__ = ["isa"]  # a fixture for every test here
pytestmark = pytest.mark.usefixtures("count_primitives", "traps")
Rng = np.random.Generator


def edged(rng: Rng, *shape: int, last: bool = True) -> np.ndarray:
    a = rng.standard_normal(shape, np.float32)
    return at_the_edge(to_last(a) if last and len(shape) > 2 else a)


def norm_case(rng: Rng) -> tuple[Op, list[np.ndarray], bool]:
    """Draw a normalisation of any sizes, in either layout; a few values of each group at least."""
    channels = int(rng.choice([*range(1, 21), 35, 64, 65, 130, 1500]))
    groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    sizes = tuple(int(n) for n in rng.integers(1, 20 if channels < 1000 else 4, 2))
    shape = (int(rng.integers(2, 5)), channels, *sizes)
    last = bool(rng.random() < 0.7)
    x = edged(rng, *shape, last=last)
    affine = [parameter(rng, channels) for _ in range(2)] if rng.random() < 0.7 else []
    if rng.random() < 0.5 and channels // groups * sizes[0] * sizes[1] > 1:
        return OPS["GroupNorm"](groups, 0.1), [x, *affine], last
    training = bool(rng.random() < 0.7)
    given = [parameter(rng, channels), at_the_edge(rng.random(channels, np.float32) + 0.5)]
    return OPS["BatchNorm"](training, 0.1), [x, *([] if training else given), *affine], last


def dropout_case(rng: Rng) -> tuple[Op, list[np.ndarray], bool]:
    """Draw a mask of values or channels, with numbers added or without."""
    shape = tuple(int(n) for n in rng.integers(1, 21, 4))
    last = bool(rng.random() < 0.7)
    mask = rng.random(shape if rng.random() < 0.5 else (*shape[:2], 1, 1)) < 0.5
    more = (0.3, -0.7) if rng.random() < 0.5 else ()
    return OPS["Dropout"](2.0, *more), [edged(rng, *shape, last=last), mask], last


@pytest.mark.parametrize("number", range(60))
@pytest.mark.parametrize("draw", [norm_case, dropout_case])
def test_normalisation_and_dropout(draw: Any, number: int) -> None:
    """Odd sizes at the edge of memory, beside the reference in float64."""
    rng = np.random.default_rng(number)
    op, arrays, last = draw(rng)
    pair: Any = ONEDNN.table[type(op)]
    outputs, saved = pair.forward(op, arrays)
    assert not isinstance(saved, ByReference)
    wanted = Reference(op, arrays)
    for k, y in enumerate(outputs):
        same(f"output {k}", y, wanted.outputs[k], wanted.own[k], floor=1e-6)
    gy = edged(rng, *arrays[0].shape, last=last)
    gys = [gy, *[None] * (len(outputs) - 1)]
    needs = tuple(a.dtype == np.float32 for a in arrays)
    got = pair.backward(op, saved, gys[0] if len(gys) == 1 else tuple(gys), needs)
    right, own = wanted.backward(gys, needs)
    for k, g in enumerate(got):
        same(f"gradient {k}", g, right[k], own[k], floor=2e-6 * float(np.abs(gy).sum()))


def statistics(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Give y, mean and variance of a batch by our own kernel, beside x in float64."""
    (y, mean, variance), saved = ONEDNN.table[OPS["BatchNorm"]].forward(
        OPS["BatchNorm"](True, 1e-5), (x,)
    )
    assert not isinstance(saved, ByReference)
    return y, mean, variance


@pytest.mark.parametrize("channels", [1, 3, 16, 70])
def test_a_large_mean_costs_no_digits(channels: int) -> None:
    """Nor does a value far from all others, wherever it is."""
    rng = np.random.default_rng(channels)
    far = edged(rng, 4, channels, 40, 30)
    far[...] += 1e4 * (1 + np.arange(channels, dtype=np.float32))[:, None, None]
    outlier = edged(rng, 4, channels, 40, 30)
    outlier[0, :, 0, 0] = 1e4
    for x in (far, outlier):
        y, mean, variance = statistics(x)
        exact = x.astype(np.float64)
        m, v = exact.mean((0, 2, 3)), exact.var((0, 2, 3))
        np.testing.assert_allclose(mean, m, rtol=2e-6)
        np.testing.assert_allclose(variance, v, rtol=2e-5)
        right = (exact - m[:, None, None]) / np.sqrt(v + 1e-5)[:, None, None]
        np.testing.assert_allclose(y, right, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["BatchNorm", "BatchNormReLU", "GroupNorm"])
def test_normalisation_hands_on_what_is_not_finite(name: str, bad: float) -> None:
    op = OPS[name](2) if name == "GroupNorm" else OPS[name]()
    arrays = [normal(np.random.default_rng(0), 2, 6, 8, 8), *np.ones((2, 6), np.float32)]
    for k, where in ((0, (1, 4, 7, 7)), (0, (0, 0, 0, 0)), (1, (3,)), (2, (5,))):
        special = [a.copy(order="K") for a in arrays]
        special[k][where] = bad
        _, saved = ONEDNN.table[type(op)].forward(op, special)
        assert isinstance(saved, ByReference)


@pytest.mark.parametrize("shape", [(4, 3, 60, 50), (4, 96, 30, 20), (2, 1100, 20, 9)])
def test_normalisation_does_not_depend_on_the_threads(shape: tuple[int, ...]) -> None:
    rng, op = np.random.default_rng(5), OPS["BatchNormReLU"]()
    arrays = [normal(rng, *shape), *(parameter(rng, shape[1]) for _ in range(2))]
    gy, pair, first = normal(rng, *shape), ONEDNN.table[OPS["BatchNormReLU"]], None
    for threads in (1, 2, 3, 7):
        Current.thread.plans.clear()
        with Current.thread.using(threads):
            norm_images.plan_batch(shape)._threads = threads
            outputs, saved = pair.forward(op, arrays)
            found = [*outputs, *pair.backward(op, saved, (gy, None, None), (True,) * 3)]
        first = first or found
        assert all(map(np.array_equal, found, first))
