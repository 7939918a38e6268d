"""Every kernel pair against its reference in float64: samples, a random grid, layouts, needs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn.backend import ONEDNN
from chainrule.backends.onednn.softmax import SoftmaxPair
from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS, Op
from tests.backends.onednn.compare import Declined, Run, check_case, differentiable, select
from tests.backends.onednn.conftest import BACKEND, KERNELS
from tests.backends.onednn.grid import GRID, LAYOUTS, cases, laid_out, pick
from tests.backends.onednn.reasons import REASONS, reasons

pytestmark = pytest.mark.usefixtures("no_limits", "traps", "count_primitives")

PAIRS = sorted(op.__name__ for op in BACKEND.table) if BACKEND else []
CASES = 150
LEAST = 25  # of the cases of each pair that must run fast; where nothing is declined: all

RARE = 0.03  # of the convolutions: the library itself would run them slowly


def in_float32(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]


def test_every_pair_has_a_grid_and_reasons() -> None:
    assert len(PAIRS) > 15
    assert set(PAIRS) <= set(GRID)
    assert set(PAIRS) <= set(REASONS)


def test_the_switch_decides_whose_pairs_serve() -> None:
    """With kernels ours are in the table, and the library's that they displaced are kept."""
    fast = ONEDNN.table[OPS["Softmax"]]
    assert (type(fast).__module__ == SoftmaxPair.__module__) is not KERNELS
    assert (OPS["CumSum"] in ONEDNN.table) is KERNELS
    if KERNELS:
        assert type(ONEDNN.displaced[OPS["Softmax"]]) is SoftmaxPair
        assert ONEDNN.displaced[OPS["CumSum"]] is None


@pytest.mark.parametrize("name", PAIRS)
def test_samples(backend: Backend, name: str) -> None:
    ran, needs = 0, itertools.count()
    for number, sample in enumerate(OPS[name].samples()):
        for x_layout in ("C order", "channels last"):
            rng = np.random.default_rng(number)
            arrays = [LAYOUTS[x_layout](a) for a in in_float32(sample.draw(number))]
            try:
                check_case(backend, sample.op, arrays, list(LAYOUTS.values()), rng, needs)
                ran += 1
            except Declined:
                assert reasons(sample.op, arrays), f"{sample} is declined in {x_layout}"
            except AssertionError as error:
                raise AssertionError(f"{sample} in {x_layout}: {error}") from error
    assert ran >= 2


@pytest.mark.parametrize("name", PAIRS)
def test_grid(backend: Backend, name: str) -> None:
    ran, declined, needs = 0, Counter[str](), itertools.count()
    for number, (op, drawn) in cases(name, CASES):
        rng = np.random.default_rng([7, number])
        arrays = [laid_out(rng, a) for a in drawn]
        layouts = [LAYOUTS[pick(rng, list(LAYOUTS))] for _ in range(2)]
        why = reasons(op, arrays)
        try:
            check_case(backend, op, arrays, layouts, rng, needs)
            ran += 1
        except Declined:
            declined.update(why or [f"no reason: {op} of {[a.shape for a in arrays]}"])
        except AssertionError as error:
            laid = [(a.shape, a.strides) for a in arrays]
            raise AssertionError(f"case {number}, {op} of {laid}: {error}") from error
    unknown = [why for why in declined if why.startswith("no reason")]
    assert len(unknown) <= (RARE * CASES if name.startswith("Conv") else 0), unknown
    known = {why for why in REASONS[name] if "vector" not in why and "bias" not in why}
    assert known <= set(declined), f"never declined for {known - set(declined)}: delete the reason"
    assert ran >= LEAST


def fast_cases(backend: Backend, name: str, count: int, seed: int) -> list[tuple[Op, Any]]:
    """Draw the first cases that run fast in C order."""
    found = []
    for _, (op, arrays) in cases(name, 10 * count, seed):
        if backend.select(op, arrays) is not backend.reference:
            found.append((op, arrays))
        if len(found) == count:
            break
    assert len(found) == count
    return found


@pytest.mark.parametrize("name", PAIRS)
def test_every_layout_of_inputs_and_of_gy(backend: Backend, name: str) -> None:
    needs = itertools.count()
    for number, (op, drawn) in enumerate(fast_cases(backend, name, 4, seed=1)):
        for place, how in itertools.product(range(len(drawn)), LAYOUTS):
            arrays = [LAYOUTS[how](a) if i == place else a for i, a in enumerate(drawn)]
            rng = np.random.default_rng(number)
            try:
                check_case(backend, op, arrays, list(LAYOUTS.values()), rng, needs)
            except Declined:
                assert reasons(op, arrays), f"{op} declines input {place} with {how}"
            except AssertionError as error:
                laid = [(a.shape, a.strides) for a in arrays]
                raise AssertionError(
                    f"input {place} with {how}, {op} of {laid}: {error}"
                ) from error


@pytest.mark.parametrize("name", PAIRS)
def test_every_need(backend: Backend, name: str) -> None:
    """What is not needed is None, and the others are bit for bit the same; so is a second walk."""
    for number, (op, arrays) in enumerate(fast_cases(backend, name, 6, seed=2)):
        run = Run(backend, op, arrays)
        gys = run.upstream(np.random.default_rng(number), LAYOUTS["C order"])
        full = run.backward(gys, differentiable(arrays))
        for want in itertools.product(
            *[(True, False) if w else (False,) for w in differentiable(arrays)]
        ):
            if not any(want):
                continue
            for need, part, whole in zip(want, run.backward(gys, want), full, strict=True):
                if need:
                    assert np.array_equal(part, whole), (op, want)
                else:
                    assert part is None, (op, want)


@pytest.mark.parametrize("name", PAIRS)
def test_results_do_not_change_from_run_to_run(backend: Backend, name: str) -> None:
    for number, (op, arrays) in enumerate(fast_cases(backend, name, 6, seed=3)):
        results = []
        for _ in range(3):
            run = Run(backend, op, arrays)
            gys = run.upstream(np.random.default_rng(number), LAYOUTS["channels last"])
            results.append([*run.outputs, *run.backward(gys, differentiable(arrays))])
        for again in results[1:]:
            assert all(map(np.array_equal, again, results[0])), op


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_empty_is_the_reference_s(backend: Backend, name: str) -> None:
    for op, arrays in fast_cases(backend, name, 3, seed=4):
        x = arrays[0]
        if not x.ndim:
            continue
        nothing = [a[:0] if a.shape[:1] == x.shape[:1] and a.ndim == x.ndim else a for a in arrays]
        with pytest.raises(Declined):
            select(backend, op, nothing)


@pytest.mark.parametrize("name", PAIRS)
def test_other_kinds_of_numbers_are_the_reference_s(backend: Backend, name: str) -> None:
    for op, arrays in fast_cases(backend, name, 2, seed=5):
        for dtype in (np.float64, np.float16, np.dtype(np.float32).newbyteorder()):
            with pytest.raises(Declined):
                select(backend, op, [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays])


@pytest.mark.parametrize("name", PAIRS)
def test_memory_that_is_not_aligned(backend: Backend, name: str) -> None:
    def moved(a: np.ndarray) -> np.ndarray:
        raw = np.zeros(a.nbytes + 1, np.uint8)
        view = raw[1:].view(a.dtype).reshape(a.shape)
        view[...] = a
        return view

    for op, arrays in fast_cases(backend, name, 3, seed=6):
        rng, moves = np.random.default_rng(0), [moved(a) for a in arrays]
        check_case(backend, op, moves, [moved], rng, itertools.count())


@dataclass(frozen=True)
class _Many:
    """Seven axes, in an order that is neither C's nor channels-last."""

    def array(self) -> np.ndarray:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((2, 3, 2, 2, 2, 2, 2), np.float32)
        return np.moveaxis(x.copy(), 1, -1).copy()[..., ::1].swapaxes(1, -1)


@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "Add", "AddReLU", "Softmax", "Cat", "PReLU"])
def test_many_axes(backend: Backend, name: str) -> None:
    """More axes than the layouts here have: the reference then, but no error."""
    settings = {"Softmax": (1,), "Cat": (1,)}.get(name, ())
    op, x = OPS[name](*settings), np.asarray(_Many().array())
    arrays = [x, np.ones(x.shape[1], np.float32)] if name == "PReLU" else [x, x]
    arrays = arrays if name in ("Add", "AddReLU", "Cat", "PReLU") else arrays[:1]
    kernel = backend.select(op, arrays)
    outputs, _ = kernel.forward(op, arrays)
    (wanted, *_), _ = op.forward(np, *arrays)
    assert np.allclose(outputs[0], wanted, 1e-5, 1e-6)


@pytest.mark.parametrize("channels", [1, 5, 15, 16, 17, 24, 33, 48])
def test_local_response_norm_by_size(backend: Backend, channels: int) -> None:
    """The library's gradient is wrong for some sizes and channels: those must be declined."""
    ran = 0
    for size in range(1, 12):
        rng, op = np.random.default_rng(size), OPS["LocalResponseNorm"](size, 0.5, 0.75, 1.0)
        x = rng.standard_normal((2, channels, 6, 5), np.float32)
        try:
            check_case(backend, op, [x], list(LAYOUTS.values()), rng, itertools.count())
            ran += 1
        except Declined:
            assert reasons(op, [x])
    assert ran >= 2


@pytest.mark.parametrize("channels", [1, 3, 5, 13, 16, 17, 33])
@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 1)])
def test_strided_convolutions_of_one_tap(
    backend: Backend, channels: int, stride: tuple[int, int]
) -> None:
    """The library's fastest gradient by these weights writes beyond its scratchpad."""
    rng = np.random.default_rng(channels)
    for out in (1, 17):
        x = LAYOUTS["channels last"](rng.standard_normal((2, channels, 42, 48), np.float32))
        w = rng.standard_normal((out, channels, 1, 1), np.float32)
        op = OPS["Conv"](stride)
        check_case(backend, op, [x, w], [LAYOUTS["channels last"]], rng, itertools.count())


def test_a_long_bias_with_gaps(backend: Backend) -> None:
    """Long enough that its copy's memory, were it freed too soon, is filled by the trap."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 4, 3, 3), np.float32), rng.standard_normal((4096, 4), np.float32)
    bias = rng.standard_normal(8192, np.float32)[::2]
    for name, arrays in (
        ("Conv", [x, w[:, :, None, None], bias]),
        ("ConvReLU", [np.rint(x), np.rint(w[:, :, None, None]), np.floor(bias) + np.float32(0.5)]),
        ("Linear", [x[0, :, :, 0].T, w, bias]),
    ):
        arrays[2] = LAYOUTS["every other element"](arrays[2])
        check_case(backend, OPS[name](), arrays, [np.array], rng, itertools.count())


def test_matrices_that_overlap(backend: Backend) -> None:
    """Batches of windows on one array: the strides are positive, the matrices share elements."""
    rng = np.random.default_rng(0)
    long = rng.standard_normal((100, 64), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(long, 8, axis=0)  # (93, 64, 8)
    w = rng.standard_normal((93, 8, 5), np.float32)
    for arrays in ([windows, w], [w.swapaxes(1, 2), windows.swapaxes(1, 2)]):
        op = OPS["Matmul"]()
        kernel = backend.select(op, arrays)
        (y,), saved = kernel.forward(op, arrays)
        assert np.allclose(y, np.matmul(*arrays), 1e-4, 1e-4)
        g = rng.standard_normal(y.shape, np.float32)
        gx, gw = kernel.backward(op, saved, g, (True, True))
        assert np.allclose(gx, g @ arrays[1].swapaxes(1, 2), 1e-4, 1e-4)
        assert np.allclose(gw, arrays[0].swapaxes(1, 2) @ g, 1e-4, 1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("LeakyReLU", (1,)), ("ELU", (2,)), ("Softplus", (1, 20)), ("BatchNorm", (False, 0))],
)
def test_settings_may_be_whole_numbers(backend: Backend, name: str, settings: Any) -> None:
    """An int where a float is meant: C would take it from another register."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((20, 3), np.float32)]
    if name == "BatchNorm":
        arrays += [np.zeros(3, np.float32), np.ones(3, np.float32)]
    check_case(backend, OPS[name](*settings), arrays, [np.array], rng, itertools.count())


@pytest.mark.parametrize("how", ["C order", "channels last"])
@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm"])
def test_rows_keep_the_layout(backend: Backend, name: str, how: str) -> None:
    x = LAYOUTS[how](np.random.default_rng(0).standard_normal((2, 6, 5, 3), np.float32))
    op = OPS[name]((6, 5, 3)) if name == "LayerNorm" else OPS[name](3)
    run = Run(backend, op, [x])
    (gx,) = run.backward(run.upstream(np.random.default_rng(1), LAYOUTS["C order"]), (True,))
    assert run.outputs[0].strides == gx.strides == x.strides
