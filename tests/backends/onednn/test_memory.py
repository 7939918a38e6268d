"""Plans are kept in a bounded number, the least recently used leaving first, and are destroyed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS
from chainrule.errors import BackendError
from tests.backends.onednn.conftest import BACKEND

if BACKEND:
    from chainrule.backends.onednn import runtime
    from chainrule.backends.onednn.runtime import CACHE, set_cache_size

pytestmark = pytest.mark.usefixtures("no_limits")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_cache() -> Iterator[None]:
    """Keep four plans, none of them from before."""
    before = CACHE.size
    runtime.Current.thread.plans.clear()
    set_cache_size(4)
    yield
    set_cache_size(before)


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the C objects that were made here and are not destroyed yet, by what destroys them."""
    counts: Counter[str] = Counter()
    made, lost = runtime.Owner.__init__, runtime.Owner.__del__
    mine: set[int] = set()

    def init(self: Any, handle: Any, destroy: Any) -> None:
        made(self, handle, destroy)
        mine.add(id(self))
        counts[destroy.__name__] += 1

    def delete(self: Any) -> None:
        if id(self) in mine:
            mine.discard(id(self))
            counts[self._destroy.__name__] -= 1
        lost(self)

    monkeypatch.setattr(runtime.Owner, "__init__", init)
    monkeypatch.setattr(runtime.Owner, "__del__", delete)
    return counts


def convolve(backend: Backend, size: int) -> np.ndarray:
    """Run one convolution both ways: a plan of its own for every size."""
    rng = np.random.default_rng(size)
    # So many filters that the library computes all of it.
    shapes = (1, 3, size, 5), (40, 3, 2, 2)
    arrays = [rng.standard_normal(shape, np.float32) for shape in shapes]
    op = OPS["Conv"]()
    kernel = backend.select(op, arrays)
    assert kernel is not backend.reference
    (y,), saved = kernel.forward(op, arrays)
    gx, gw = kernel.backward(op, saved, y, (True, True))
    return np.concatenate([y.ravel(), gx.ravel(), gw.ravel()])


def test_plans_are_bounded_and_destroyed(
    backend: Backend, small_cache: None, alive: Counter[str]
) -> None:
    first = convolve(backend, 3)
    assert alive["dnnl_primitive_destroy"] >= 3
    for size in range(3, 60):
        convolve(backend, size)
        assert len(runtime.Current.thread.plans) <= 4
    gc.collect()
    each = 8  # primitives of a plan: three, and the packings
    assert 0 < alive["dnnl_primitive_destroy"] <= 4 * each
    assert alive["dnnl_primitive_desc_destroy"] <= 4 * each
    assert alive["dnnl_memory_destroy"] <= 4 * each * 5
    assert np.array_equal(convolve(backend, 3), first)
    runtime.Current.thread.plans.clear()
    gc.collect()
    assert not +alive


def test_the_least_recently_used_leaves_first(backend: Backend, small_cache: None) -> None:
    def keys() -> list[Any]:
        return list(runtime.Current.thread.plans)

    convolve(backend, 3)
    (kept,) = keys()
    for size in range(4, 20):
        convolve(backend, size)
        convolve(backend, 3)
        assert kept in keys()
    for size in range(4, 8):
        convolve(backend, size)
    assert kept not in keys()


def test_a_cache_of_one(backend: Backend, small_cache: None) -> None:
    """Every pair looks its plan up again, so that it need not still be there."""
    from tests.backends.onednn.compare import Declined, Run
    from tests.backends.onednn.grid import GRID, LAYOUTS, cases

    set_cache_size(1)
    ran = 0
    for name in GRID:
        for number, (op, arrays) in cases(name, 4, seed=21):
            try:
                run = Run.__new__(Run)
                run._executing = lambda method, *a: method(*a)  # type: ignore[method-assign]
                run.__init__(backend, op, arrays)  # type: ignore[misc]
            except Declined:
                continue
            gys = run.upstream(np.random.default_rng(number), LAYOUTS["C order"])
            run.backward(gys, (True,) * len(arrays))
            assert len(runtime.Current.thread.plans) == 1
            ran += 1
    assert ran > 40


@pytest.mark.parametrize("size", [0, -1])
def test_a_cache_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(BackendError, match="set_cache_size"):
        set_cache_size(size)


FLAT = """
import sys
import numpy as np
import chainrule as cr
from chainrule.backends.onednn.backend import Limits
from chainrule.backends.onednn.runtime import set_cache_size
from tests.backends.onednn import network

for name, value in list(vars(Limits).items()):
    if isinstance(value, int):
        setattr(Limits, name, 0)
set_cache_size(int(sys.argv[1]))

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

rng = np.random.default_rng(0)
with cr.use_backend("onednn"):
    p = network.parameters(0)
    for step in range(1, 301):
        count, size = int(rng.integers(1, 17)), int(rng.integers(8, 49))
        network.loss_of(p, *network.batch(step, count, size)).backward()
        for value in p.values():
            value.grad = None
        if step in (100, 200, 300):
            print(resident())
"""


def growth(cache: int) -> tuple[float, float]:
    """Give the resident memory after 100 steps of changing shapes, and its growth up to 300."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    found = subprocess.run(
        [sys.executable, "-c", FLAT, str(cache)],
        env=environment, capture_output=True, text=True, timeout=300, cwd=ROOT, check=True,
    )  # fmt: skip
    first, *_, final = map(float, found.stdout.split())
    return first, final - first


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_under_changing_shapes() -> None:
    first, more = growth(32)
    assert more <= max(0.03 * first, 5), f"{more:.1f} MB on {first:.1f} MB"
    without_bound = growth(100_000)[1]
    assert without_bound > 3 * max(more, 5), "the check would not see a cache without a bound"
