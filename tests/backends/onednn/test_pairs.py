"""Every kernel pair against its reference in float64: samples, a random grid, layouts, needs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS, Op, Spec
from tests.backends.onednn.compare import Declined, Run, check_case, differentiable, select
from tests.backends.onednn.conftest import BACKEND
from tests.backends.onednn.grid import GRID, LAYOUTS, cases, laid_out, pick

pytestmark = pytest.mark.usefixtures("no_limits", "traps", "count_primitives")

PAIRS = sorted(op.__name__ for op in BACKEND.table) if BACKEND else []
CASES = 150
LEAST = 25  # of the cases of each pair that must run fast; where nothing is declined: all

# What a pair leaves to the reference, by reason.  A case that is declined for no reason of these
# is an error, but for a few convolutions (RARE) that the library itself would run slowly.

RARE = 0.03


def dense(a: np.ndarray) -> bool:
    """C order or channels-last, without gaps; nothing else is read where it lies."""
    last = a.ndim > 2 and np.moveaxis(a, 1, -1).flags.c_contiguous
    return bool(a.flags.c_contiguous or last)


def _gaps(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return not dense(arrays[0])


def _not_plain(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return not arrays[0].flags.c_contiguous or not arrays[0].ndim


def _broadcast(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return arrays[0].shape != arrays[1].shape


def _all_gaps(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """There are operands as large as the result, and each of them has gaps."""
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    whole = [dense(a) for a in arrays if a.shape == shape]
    return bool(whole) and not any(whole)


def _loops(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """The kernel has three loops, one inside the other."""
    ndim = max(a.ndim for a in arrays)
    return ndim > 3 and len({a.shape for a in arrays}) > 1


def _nothing(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return all(arrays[0].shape[i] == 1 for i in op.axes)


def _slow_axis(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    """Only along the axis that is the innermost in memory."""
    x = arrays[0]
    return x.ndim == 0 or op.axis != (x.ndim - 1 if x.flags.c_contiguous else 1)


def _all_stay(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return all(rule.keeps for rule in op.rules(arrays[0].shape[2:], "f"))


def _not_a_row(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    x = arrays[0]
    return op.axes != ((x.ndim - 1 if x.flags.c_contiguous else 1),)


def _classes_apart(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    x = arrays[0]
    return x.ndim == 1 or (x.ndim > 2 and x.flags.c_contiguous)


def _beyond_padding(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    x = arrays[0]
    d = len(op.kernel)
    (y,) = op.infer(Spec(x.shape, x.dtype))
    axes = zip(x.shape[-d:], y.shape[-d:], op.kernel, op.stride, op.padding, strict=True)
    return any((out - 1) * s + k - size - p > p for size, out, k, s, p in axes)


def _no_widths(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    return not any(op.pad)


def _cropped_away(op: Any, arrays: Sequence[np.ndarray]) -> bool:
    (y,) = op.infer(Spec(arrays[0].shape, arrays[0].dtype))
    return 0 in y.shape


REASONS: dict[str, dict[str, Callable[[Any, Sequence[np.ndarray]], bool]]] = {
    "ReLU": {"gaps": _gaps},
    "LeakyReLU": {"gaps": _gaps},
    "ELU": {"gaps": _gaps},
    "Sigmoid": {"gaps": _gaps},
    "Tanh": {"gaps": _gaps},
    "Hardsigmoid": {"gaps": _gaps},
    "Hardswish": {"gaps": _gaps},
    "SiLU": {"gaps": _gaps},
    "Mish": {"gaps": _gaps},
    "GELU": {"gaps": _gaps},
    "Hardtanh": {"gaps": _gaps},
    "Hardshrink": {"gaps": _gaps},
    "Softshrink": {"gaps": _gaps},
    "Threshold": {"gaps": _gaps},
    "Softplus": {"gaps": _gaps},
    "LogSigmoid": {"gaps": _gaps},
    "CELU": {"gaps": _gaps},
    "SELU": {"gaps": _gaps},
    "PReLU": {
        "gaps": _gaps,
        "fewer than two axes": lambda op, a: a[0].ndim < 2,
        "one slope for several channels": lambda op, a: a[1].size == 1 and a[0].shape[1:2] != (1,),
    },
    "Softmax": {"gaps": _gaps, "an axis that is not the innermost": _slow_axis},
    "LogSoftmax": {"gaps": _gaps, "an axis that is not the innermost": _slow_axis},
    "Add": {"gaps": _all_gaps, "scaled": lambda op, _: op.alpha != 1},
    "Sub": {"gaps": _all_gaps, "many loops": _loops, "scaled": lambda op, _: op.alpha != 1},
    "Mul": {"gaps": _all_gaps, "many loops": _loops},
    "Div": {
        "gaps": _all_gaps,
        "many loops": _loops,
        "rounded": lambda op, _: op.rounding_mode is not None,
    },
    "Extremum": {"gaps": _all_gaps, "many loops": _loops},
    "Where": {"gaps": _all_gaps, "many loops": _loops},
    **{name: {"gaps": _gaps} for name in ("Exp", "Abs", "Neg", "Square", "Reciprocal")},
    **{name: {"gaps": _gaps} for name in ("Sqrt", "Rsqrt")},
    "Log": {"gaps": _gaps, "another base": lambda op, _: op.base is not None},
    "PowScalar": {"gaps": _gaps, "other powers": lambda op, _: op.exponent not in (2, 3, 4, 5)},
    "Clamp": {"gaps": _gaps, "NaN for a limit": lambda op, _: op.low != op.low},
    "Sum": {"gaps": _gaps, "nothing to reduce": _nothing},
    "Mean": {"gaps": _gaps, "nothing to reduce": _nothing},
    "Var": {"gaps": _gaps, "nothing to reduce": _nothing},
    "Extreme": {"gaps": _gaps, "nothing to reduce": _nothing},
    "VectorNorm": {
        "gaps": _gaps,
        "nothing to reduce": _nothing,
        "another order": lambda op, _: op.p != 2,
    },
    "AddReLU": {"gaps": _gaps, "broadcast": lambda op, a: a[0].shape != a[1].shape},
    "Cat": {"gaps": lambda op, a: not all(map(dense, a))},
    "MSELoss": {"gaps": _gaps, "broadcast": _broadcast},
    "L1Loss": {"gaps": _gaps, "broadcast": _broadcast},
    "SmoothL1Loss": {"gaps": _gaps, "broadcast": _broadcast},
    "HuberLoss": {"gaps": _gaps, "broadcast": _broadcast},
    "BinaryCrossEntropyWithLogits": {"gaps": _gaps, "weighted": lambda op, a: len(a) > 2},
    "Sort": {"gaps": _not_plain},
    "TopK": {"gaps": _not_plain, "none": lambda op, _: op.k == 0},
    "Gather": {
        "gaps": _not_plain,
        "an index that reaches less": lambda op, a: any(
            n != m
            for d, (n, m) in enumerate(zip(a[0].shape, a[1].shape, strict=False))
            if d != op.dim
        ),
    },
    "IndexSelect": {"gaps": _not_plain},
    "Embedding": {
        "gaps": lambda op, a: not a[1].flags.c_contiguous,
        "by frequency": lambda op, _: op.by_frequency,
    },
    "EmbeddingBag": {
        "gaps": lambda op, a: not a[2].flags.c_contiguous,
        "by frequency": lambda op, _: op.by_frequency,
        "maxima": lambda op, _: op.mode == "max",
        "samples weighed": lambda op, a: len(a) > 3,
    },
    "SoftMarginLoss": {"gaps": _gaps, "broadcast": _broadcast},
    "PairwiseDistance": {
        "gaps": lambda op, a: not all(x.flags.c_contiguous and x.ndim for x in a),
        "broadcast": _broadcast,
        "another norm": lambda op, _: op.p != 2,
    },
    "CumSum": {"gaps": _gaps},
    "CumProd": {"gaps": lambda op, a: _gaps(op, a) or not a[0].ndim},
    "Linear": {
        "a vector as weight": lambda op, a: a[1].ndim == 1,
        "a broadcast bias": lambda op, a: len(a) == 3 and a[2].shape != a[1].shape[:1],
    },
    "Matmul": {
        "vectors": lambda op, a: min(x.ndim for x in a) < 2,
        "broadcast": lambda op, a: a[0].shape[:-2] != a[1].shape[:-2],
        "strides of 0 or less": lambda op, a: min(min(x.strides) for x in a) <= 0,
    },
    "Conv": {},
    "ConvReLU": {},
    "ConvTranspose": {
        "rows behind that the convolution makes windows of": lambda op, _: any(
            more >= s for more, s in zip(op.output_padding, op.stride, strict=True)
        ),
    },
    "MaxPool": {},
    "ReLUMaxPool": {},
    "AdaptiveMaxPool": {},
    "AvgPool": {},
    "AdaptiveAvgPool": {},
    "Interpolate": {"gaps": _gaps, "nothing to do": _all_stay},
    "GridSample": {},
    "ChannelShuffle": {"gaps": _gaps},
    "PixelShuffle": {"gaps": _gaps, "no batch": lambda op, a: a[0].ndim != 4},
    "PixelUnshuffle": {"gaps": _gaps, "no batch": lambda op, a: a[0].ndim != 4},
    "Pad": {"gaps": _gaps, "nothing to do": _no_widths, "nothing left": _cropped_away},
    "PadBorder": {"gaps": _gaps, "nothing to do": _no_widths, "nothing left": _cropped_away},
    "BatchNorm": {},
    "BatchNormReLU": {},
    "LocalResponseNorm": {
        "a size that the library gets wrong": lambda op, _: op.size not in (3, 5),
        "an exponent but 3/4": lambda op, _: op.beta != 0.75,
        "other than images": lambda op, a: a[0].ndim != 4,
        "windows within a channel": lambda op, _: op.within,
    },
    "Dropout": {
        "all dropped": lambda op, _: op.scale == 0,
        "values dropped together": lambda _, a: (
            a[1].shape not in (a[0].shape, a[0].shape[:2] + (1,) * (a[0].ndim - 2))
        ),
    },
    "LayerNorm": {"an eps that is not positive": lambda op, _: op.eps <= 0},
    "RMSNorm": {"an eps that is not positive": lambda op, _: op.eps <= 0},
    "Normalize": {
        "gaps": _gaps,
        "an axis that is not the innermost": _not_a_row,
        "another length than Euclid's": lambda op, _: op.p != 2,
    },
    "CrossEntropy": {
        "gaps": _gaps,
        "classes that are not innermost": _classes_apart,
        "smoothed labels with weights": lambda op, a: bool(op.label_smoothing) and len(a) > 2,
    },
    "NLLLoss": {"gaps": _gaps, "classes that are not innermost": _classes_apart},
    "GroupNorm": {
        "an eps that is not positive": lambda op, _: op.eps <= 0,
        "one value in a group": lambda op, a: a[0].size == len(a[0]) * op.groups,
    },
}


def reasons(op: Op, arrays: Sequence[np.ndarray]) -> list[str]:
    """Say why the case may be declined."""
    if any(a.size == 0 for a in arrays):
        return ["empty"]
    known = REASONS[type(op).__name__]
    return [reason for reason, holds in known.items() if holds(op, arrays)]


def in_float32(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]


def test_every_pair_has_a_grid_and_reasons() -> None:
    assert len(PAIRS) > 15
    assert set(PAIRS) <= set(GRID)
    assert set(PAIRS) <= set(REASONS)


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
