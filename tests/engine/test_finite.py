"""NaN and infinity found wherever they are, and nothing else called that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule.engine import finite
from chainrule.engine.dispatch import current_backend, use_backend
from chainrule.engine.finite import BLOCK, first_not_finite
from chainrule.errors import BackendError


@pytest.fixture(params=["numpy", "onednn"], autouse=True)
def _both(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "onednn":
        pytest.importorskip("chainrule.backends.onednn", exc_type=BackendError)
    with use_backend(request.param):
        yield


BAD = [np.nan, np.inf, -np.inf]
FLOATS = ["float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", BAD)
def test_each_place(dtype: str, value: float) -> None:
    sizes = [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5]
    for size in sizes:
        x = np.ones(size, dtype)
        assert first_not_finite([x]) is None
        for place in {0, size // 2, size - 1, min(BLOCK, size) - 1, size - size % BLOCK - 1}:
            x[place] = value
            assert first_not_finite([x]) == 0, (size, place)
            x[place] = 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_that_overflow_are_no_anomaly(dtype: str) -> None:
    top = np.finfo(dtype).max
    for size in (2, BLOCK + 3, 2 * BLOCK):
        x = np.full(size, top, dtype)
        assert first_not_finite([x]) is None
        x[::2] *= -1
        assert first_not_finite([x]) is None
        x[-1] = np.inf
        assert first_not_finite([x]) == 0
    x = np.full(3 * BLOCK, top, dtype)
    x[BLOCK] = np.nan  # in another block than the first that overflows
    assert first_not_finite([x]) == 0


def test_infinities_of_both_signs_do_not_cancel() -> None:
    x = np.zeros(2 * BLOCK, np.float32)
    x[:2] = np.inf, -np.inf
    assert first_not_finite([x]) == 0


def test_the_smallest_numbers_are_finite() -> None:
    x = np.full(BLOCK, np.float32(1e-45))
    assert first_not_finite([x, -x]) is None


LAYOUTS: list[Any] = [
    lambda x: x,
    lambda x: np.asfortranarray(x),
    lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    lambda x: x[::2, :, ::-1],
    lambda x: x.T[1:],
    lambda x: np.broadcast_to(x[:1, :1, :, :1], x.shape),
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("share", [1, 50, finite.SHARE])
def test_layouts(layout: Any, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite, "SHARE", share)
    x = np.ones((4, 3, 6, 5), np.float32)
    view = layout(x)
    assert first_not_finite([view]) is None
    for place in np.ndindex(x.shape):
        x[place] = np.nan
        view = layout(x)
        assert first_not_finite([view]) == (0 if np.isnan(view).any() else None)
        x[place] = 1


def test_the_first_of_many_small_and_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite, "SHARE", 100)
    arrays: list[Any] = [np.ones(n) for n in (3, 1000, 5, 0, 250, 99, 100, 7)]
    arrays += [np.ones((), np.float32), np.ones(300, int), np.ones(9, bool)]
    assert first_not_finite(arrays) is None
    assert first_not_finite([]) is None
    for index, x in enumerate(arrays):
        if x.dtype.kind != "f" or not x.size:
            continue
        x[...] = np.inf
        assert first_not_finite(iter(arrays)) == index
        arrays[2][0] = arrays[4][200] = np.nan
        assert first_not_finite(arrays) == min(index, 2)
        for other in arrays:
            other[...] = 1


def test_large_arrays_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[int] = []

    def spy(work: Any) -> Any:
        tasks.append(len(work))
        return [task() for task in work]

    monkeypatch.setattr(finite, "run_all", spy)
    first_not_finite([np.ones(10), np.ones(3 * finite.SHARE, np.float32)])
    assert tasks == [3]


def test_arrays_are_only_read() -> None:
    x = np.array([1.0, np.nan])
    x.flags.writeable = False
    assert first_not_finite([x]) == 0


@pytest.mark.parametrize("value", BAD)
def test_a_quick_look_of_the_backend_never_calls_finite_what_is_not(value: float) -> None:
    look = current_backend().finite
    shapes: list[tuple[int, ...]] = [(), (1,), (0,), (33, 5), (1 << 18,), (2, 3, 5, 7)]
    arrays = [np.ones(shape, np.float32) for shape in shapes]
    arrays.append(np.ones((4, 6, 6, 3), np.float32).transpose(0, 3, 1, 2))
    arrays.append(np.ones((8, 8), np.float32)[:, ::2])  # with gaps
    assert first_not_finite(arrays) is None
    for index, array in enumerate(arrays):
        for place in {0, array.size - 1} if array.size else ():
            array.flat[place] = value
            assert not look(arrays)
            assert not look([array])
            assert first_not_finite(arrays) == index
            array.flat[place] = np.finfo(np.float32).max
            assert first_not_finite(arrays) is None
