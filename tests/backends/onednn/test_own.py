"""Our own compiled kernels: each beside the float64 reference, for every instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.onednn import conv, narrow, winners, winograd
from chainrule.backends.onednn.arrays import address, empty_last, finite, to_last
from chainrule.backends.onednn.backend import ONEDNN
from chainrule.backends.onednn.conv_plan import ConvPlan, describe_conv
from chainrule.backends.onednn.own import have_kernels
from chainrule.backends.onednn.runtime import Current, runtime
from chainrule.engine.op import OPS, Op
from chainrule.native.library import Kernels
from chainrule.ops.conv import Conv
from chainrule.ops.fused import ReLUMaxPool
from chainrule.ops.pool_max import MaxPool
from tests.backends.onednn.compare import Executed, Reference, same
from tests.backends.onednn.edges import at_the_edge

pytestmark = pytest.mark.usefixtures("count_primitives", "traps")
Rng = np.random.Generator


@pytest.fixture(autouse=True, params=["avx512", "avx2"])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Compute by the kernels of each instruction set that the processor has."""
    best = runtime().kernels
    assert best is not None, runtime().kernels_reason
    if request.param == "avx512" and best.isa != "avx512":
        pytest.skip("the processor has no AVX-512")
    kernels = Kernels(best.path, request.param, best._functions)
    monkeypatch.setattr(runtime(), "kernels", kernels)
    Current.thread.plans.clear()
    Current.thread.obey()  # plans that a test makes by itself know the number of threads
    yield request.param
    Current.thread.plans.clear()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take Winograd for convolutions of any size."""
    for name in ("LEAST_WORK", "LEAST_TILES", "GAIN"):
        monkeypatch.setattr(winograd, name, 0)


@pytest.fixture(params=["large images", "many channels"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take one of the two orders of Winograd's work."""
    deep = request.param == "many channels"
    monkeypatch.setattr(winograd, "_few_tiles", lambda *_: deep)
    return str(request.param)


def normal(rng: Rng, *shape: int) -> np.ndarray:
    a = rng.standard_normal(shape, np.float32)
    return at_the_edge(to_last(a) if len(shape) == 4 else a)


def parameter(rng: Rng, *shape: int) -> np.ndarray:
    return at_the_edge(rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:])))


def compare(op: Op, plan: ConvPlan, arrays: list[np.ndarray], gy: np.ndarray, relu: bool) -> None:
    """Hold a plan's three results, and the bias's, beside the reference's."""
    x, w, *bias = arrays
    before = Executed.count
    y, _ = plan.forward(x, w, bias[0] if bias else None, relu)
    gx = plan.input_gradient(gy, w)
    gw, gb = plan.weight_gradient(x, gy, bool(bias))
    assert Executed.count >= before + 3
    wanted = Reference(op, arrays)
    right, own = wanted.outputs[0], wanted.own[0]
    if relu:
        right, own = np.maximum(right, 0), np.maximum(own, 0)
    same("y", y, right, own)
    needs = (True,) * len(arrays)
    (rx, rw, *rb), (ox, ow, *ob) = wanted.backward([gy], needs)
    same("gx", gx, rx, ox)
    same("gw", gw, rw, ow)
    if bias:
        same("gb", gb, rb[0], ob[0])


def winograd_case(rng: Rng, lanes: int) -> tuple[Op, list[np.ndarray]]:
    """Draw a 3x3 convolution: whole vectors of channels, any size, any padding up to 2."""
    channels, filters = (lanes * int(rng.integers(1, 7)) for _ in range(2))
    pads = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (2, 2)))
    h, w = (int(rng.integers(max(1, 3 - sum(p)), 20)) for p in pads)
    arrays = [normal(rng, int(rng.integers(1, 4)), channels, h, w)]
    arrays.append(parameter(rng, filters, channels, 3, 3))
    if rng.random() < 0.5:
        arrays.append(parameter(rng, filters))
    return Conv((1, 1), pads, (1, 1), 1), arrays


@pytest.mark.parametrize("number", range(25))
def test_winograd(always: None, order: str, isa: str, number: int) -> None:
    rng = np.random.default_rng(number)
    op, arrays = winograd_case(rng, runtime().kernels.lanes)  # type: ignore[union-attr]
    plan = conv.plan_conv(op, arrays[0].shape, arrays[1].shape, len(arrays) == 3)
    assert type(plan) is winograd.WinogradPlan
    compare(op, plan, arrays, normal(rng, *plan.y), relu=bool(number % 2))


def test_winograd_of_many_tiles_and_channels(order: str) -> None:
    """Several blocks, panels, groups of inputs, and parts for each thread."""
    rng = np.random.default_rng(0)
    op, shapes = Conv((1, 1), ((1, 1), (1, 1)), (1, 1), 1), ((3, 144, 37, 26), (80, 144, 3, 3))
    arrays = [normal(rng, *shapes[0]), parameter(rng, *shapes[1])]
    plan = conv.plan_conv(op, *shapes, False)
    assert type(plan) is winograd.WinogradPlan
    compare(op, plan, arrays, normal(rng, *plan.y), relu=False)


def direct_and_winograd(x: np.ndarray, w: np.ndarray) -> tuple[ConvPlan, ConvPlan]:
    op = Conv((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    direct = describe_conv(op, x.shape, w.shape, False)
    assert direct is not None
    return direct, winograd.WinogradPlan(op, direct)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "w", "gy"])
def test_winograd_of_what_is_not_finite(order: str, bad: float, where: str) -> None:
    """NaN and infinity are where the direct convolution has them, and nowhere else."""
    rng = np.random.default_rng(1)
    values = {"x": normal(rng, 2, 32, 9, 6), "w": parameter(rng, 16, 32, 3, 3)}
    values["gy"] = normal(rng, 2, 16, 9, 6)
    values[where][(1, 3, 2, 1) if where != "w" else (5, 7, 1, 2)] = bad
    x, w, gy = values.values()
    direct, ours = direct_and_winograd(x, w)
    with np.errstate(all="ignore"):
        for a, b in zip(results(direct, x, w, gy), results(ours, x, w, gy), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


def results(plan: ConvPlan, x: np.ndarray, w: np.ndarray, gy: np.ndarray) -> list[np.ndarray]:
    y, _ = plan.forward(x, w, None, False)
    return [y, plan.input_gradient(gy, w), plan.weight_gradient(x, gy, False)[0]]


def test_winograd_that_would_overflow_is_computed_directly(order: str) -> None:
    x = to_last(np.full((1, 16, 8, 8), 2e38, np.float32))
    x[:, :, ::2, ::2] *= -1
    w = np.zeros((16, 16, 3, 3), np.float32)
    w[:, 0, 1, 1] = 1
    direct, ours = direct_and_winograd(x, w)
    y, _ = ours.forward(x, w, None, False)
    assert np.isfinite(y).all()
    assert np.array_equal(y, direct.forward(x, w, None, False)[0])


def test_winograd_gives_the_same_numbers_each_time(order: str) -> None:
    rng = np.random.default_rng(2)
    x, w = normal(rng, 3, 48, 21, 17), parameter(rng, 32, 48, 3, 3)
    _, ours = direct_and_winograd(x, w)
    gy = normal(rng, 3, 32, 21, 17)
    first = results(ours, x, w, gy)
    for _ in range(5):
        assert all(map(np.array_equal, results(ours, x, w, gy), first))


def test_winograd_is_left_out_where_the_environment_says_so(
    always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, shapes = Conv((1, 1), ((1, 1), (1, 1)), (1, 1), 1), ((1, 16, 8, 8), (16, 16, 3, 3))
    assert type(conv.plan_conv(op, *shapes, False)) is winograd.WinogradPlan
    Current.thread.plans.clear()
    monkeypatch.setenv(winograd.VARIABLE, "0")
    assert type(conv.plan_conv(op, *shapes, False)) is ConvPlan
    Current.thread.plans.clear()
    monkeypatch.setenv(winograd.VARIABLE, "perhaps")
    with pytest.raises(Exception, match=r"CHAINRULE_WINOGRAD: expected 0 or off .*'perhaps'"):
        conv.plan_conv(op, *shapes, False)


def narrow_case(rng: Rng) -> tuple[Op, list[np.ndarray]]:
    """Draw a convolution of few channels: any window, padding below it, any number of filters."""
    kh, kw = (int(n) for n in rng.integers(1, 8, 2))
    channels = int(rng.integers(1, 1 + min(8, narrow.WIDEST // kw)))
    filters = int(rng.choice([1, 3, 6, 8, 9, 16, 17, 40]))
    pads = tuple(tuple(int(n) for n in rng.integers(0, k, 2)) for k in (kh, kw))
    h, w = (int(rng.integers(max(1, k - sum(p)), 24)) for k, p in zip((kh, kw), pads, strict=True))
    arrays = [normal(rng, int(rng.integers(1, 6)), channels, h, w)]
    arrays.append(parameter(rng, filters, channels, kh, kw))
    if rng.random() < 0.5:
        arrays.append(parameter(rng, filters))
    return Conv((1, 1), pads, (1, 1), 1), arrays


@pytest.mark.parametrize("number", range(60))
def test_few_channels(number: int) -> None:
    rng = np.random.default_rng(number)
    op, arrays = narrow_case(rng)
    direct = describe_conv(op, arrays[0].shape, arrays[1].shape, len(arrays) == 3)
    assert direct is not None
    plan = narrow.NarrowPlan(op, direct)
    compare(op, plan, arrays, normal(rng, *plan.y), relu=False)


def test_an_infinite_gradient_stays_in_its_window() -> None:
    """The lanes beyond a window's row hold zeros, and infinity times zero is NaN."""
    rng = np.random.default_rng(3)
    op, x, w = Conv(), normal(rng, 1, 3, 12, 12), parameter(rng, 6, 3, 3, 3)
    direct = describe_conv(op, x.shape, w.shape, False)
    assert direct is not None
    gy = normal(rng, 1, 6, 10, 10)
    gy[0, 2, 4, 5] = np.inf
    gx = narrow.NarrowPlan(op, direct).input_gradient(gy, w)
    finite = np.isfinite(gx).all(axis=(0, 1))
    wanted = np.ones((12, 12), bool)
    wanted[4:7, 5:8] = False
    assert np.array_equal(finite, wanted)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (1, 4), (3, 3)])
@pytest.mark.parametrize("channels", [1, 6, 8, 9, 16, 35])
def test_max_pooling_side_by_side(relu: bool, kernel: tuple[int, int], channels: int) -> None:
    """Ties go to the first; columns and rows that no window holds get no gradient."""
    rng = np.random.default_rng(channels)
    op = (ReLUMaxPool if relu else MaxPool)(kernel, kernel, (0, 0), (1, 1))
    x = at_the_edge(to_last(rng.integers(-3, 4, (2, channels, 11, 14)).astype(np.float32)))
    plan = winners.plan_winners(op, x.shape)
    assert plan is not None
    found = plan.forward(x, relu)
    assert found is not None
    y, kept = found
    gy = normal(rng, *plan.y)
    gx = plan.winners_gradient(kept.entries, gy)
    (right, *_), saved = op.forward(np, x)
    assert np.array_equal(y, right)
    assert np.array_equal(gx, op.backward(np, saved, gy, (True,))[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_max_pooling_tells_what_is_not_finite(bad: float) -> None:
    x = empty_last((1, 5, 8, 8))
    x[...] = 1
    op = MaxPool((2, 2), (2, 2), (0, 0), (1, 1))
    plan = winners.plan_winners(op, x.shape)
    assert plan is not None
    assert plan.forward(x, False) is not None
    x[0, 4, 7, 7] = bad
    assert plan.forward(x, False) is None


PIECES = {
    "ReLU": (),
    "LeakyReLU": (0.1,),
    "Hardtanh": (-0.5, 1.5),
    "Hardsigmoid": (),
    "Hardswish": (),
    "Threshold": (0.5, 2.0),
    "Hardshrink": (0.5,),
    "Softshrink": (0.5,),
}


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("size", [1, 7, 16, 4099])
def test_pieces_are_the_formulas_also_where_nothing_is_finite(name: str, size: int) -> None:
    op, rng = OPS[name](*PIECES[name]), np.random.default_rng(size)
    x, gy = (at_the_edge(3 * rng.standard_normal(size).astype(np.float32)) for _ in range(2))
    kinks = [0.5, -0.5, 1.5, 3.0, -3.0, 0.0, np.nan, np.inf, -np.inf]
    x[: min(size, 9)] = kinks[:size]
    gy[-1] = np.nan
    pair: Any = ONEDNN.table[type(op)]
    with np.errstate(all="ignore"):
        (wanted,), kept = op.forward(np, x)
        back = op.backward(np, kept, gy, (True,))[0]
    (y,), saved = pair.forward(op, (x,))
    np.testing.assert_allclose(y, wanted, rtol=2e-7)
    np.testing.assert_allclose(pair.backward(op, saved, gy, (True,))[0], back, rtol=3e-7)


CURVES = [
    ("Sigmoid", ()),
    ("Tanh", ()),
    ("ELU", (0.7,)),
    ("CELU", (2.0,)),
    ("SELU", ()),
    ("SiLU", ()),
    ("Mish", ()),
    ("Softplus", (2.0, 4.0)),
    ("Softplus", (1.0, np.inf)),
    ("LogSigmoid", ()),
    ("GELU", ("none",)),
    ("GELU", ("tanh",)),
]


def numbers(rng: Rng, size: int) -> np.ndarray:
    """Draw numbers of every magnitude and sign, 0 and what is not finite among them."""
    powers = rng.choice([-45.0, -30.0, -6.0, -2.0, 0.0, 1.0, 1.9, 8.0, 30.0, 38.0], size)
    x = rng.standard_normal(size) * 10.0**powers
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 20.0, -20.0, 88.5, -88.5, -103.0]
    chosen = rng.random(size) < 0.2
    x[chosen] = rng.choice(special, chosen.sum())
    return at_the_edge(np.clip(x, -3e38, 3e38).astype(np.float32))


@pytest.mark.parametrize(("name", "settings"), CURVES)
def test_curves_are_the_formulas_at_every_number(name: str, settings: tuple[Any, ...]) -> None:
    """Values relative to themselves, which GELU's float64 formula has only down to 1e-16."""
    op, rng = OPS[name](*settings), np.random.default_rng(0)
    pair: Any = ONEDNN.table[type(op)]
    fine, floor = (2e-5, 1e-14) if name == "GELU" else (4e-7, 1e-36)
    for size in (*range(1, 21), 4099, 20000):
        x, gy = numbers(rng, size), at_the_edge(rng.standard_normal(size).astype(np.float32))
        with np.errstate(all="ignore"):
            (wanted,), kept = op.forward(np, x.astype(np.float64))
            wanted = wanted.astype(np.float32)
            back = op.backward(np, kept, gy.astype(np.float64), (True,))[0]
        (y,), saved = pair.forward(op, (x,))
        np.testing.assert_allclose(y, wanted, rtol=fine, atol=floor)
        gx = pair.backward(op, saved, gy, (True,))[0]
        assert np.array_equal(np.isfinite(gx), np.isfinite(back))
        rest = np.isfinite(back)
        error, size_of = np.abs(gx - back)[rest], (np.abs(gy) + np.abs(back))[rest]
        assert (error <= 4e-7 * size_of).all(), x[rest][np.argmax(error - 4e-7 * size_of)]


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "SiLU", "Mish", "LogSigmoid", "GELU"])
def test_curves_know_whether_they_are_finite(name: str) -> None:
    op, x = OPS[name](), np.full(4099, 3e30, np.float32)
    pair: Any = ONEDNN.table[type(op)]
    assert finite(pair.forward(op, (x,))[0][0])
    x[4098] = np.nan
    assert not finite(pair.forward(op, (x,))[0][0])


def test_addresses_are_those_of_the_first_elements() -> None:
    a = np.zeros((4, 5, 6), np.float32)
    for view in (a, a[1:, 2:, 3:], a.T, a[::-1], a[0, 0, :1], np.float32(1)[...], a[:0]):
        assert address(view) == view.__array_interface__["data"][0] == view.ctypes.data


STRANGE = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, 1e-45, -1e-40, 3e38, 88.8, -103.5, 1.0]
FUNCTIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("Exp", ()), ("Log", ()), ("Sqrt", ()), ("Rsqrt", ()), ("Abs", ()), ("Neg", ()), ("Square", ()),
    ("Reciprocal", ()), ("PowScalar", (3,)), ("PowScalar", (7.0,)), ("Clamp", (-0.5, 1.5)),
    ("Clamp", (None, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), FUNCTIONS)
@pytest.mark.parametrize("size", [*range(1, 21), 4099])
def test_functions_are_the_formulas_everywhere(name: str, settings: Any, size: int) -> None:
    op, rng = OPS[name](*settings), np.random.default_rng(size)
    x, gy = (at_the_edge(3 * rng.standard_normal(size).astype(np.float32)) for _ in range(2))
    x[: len(STRANGE)] = STRANGE[:size]
    pair: Any = ONEDNN.table[type(op)]
    (y,), saved = pair.forward(op, (x,))
    gx = pair.backward(op, saved, gy, (True,))[0]
    with np.errstate(all="ignore"):
        (right,), kept = op.forward(np, x)
        back = op.backward(np, kept, gy, (True,))[0]
        np.testing.assert_allclose(y, right, rtol=5e-7, atol=2e-45)
        np.testing.assert_allclose(gx, back, rtol=1e-6, atol=2e-45)
        exact = op.forward(np, x.astype(np.float64))[0][0].astype(np.float32)
    np.testing.assert_allclose(y, exact, rtol=5e-7, atol=2e-45)


BROADCAST = [
    ((3, 5, 4, 7), (1, 5, 1, 1)), ((3, 5, 4, 7), (3, 5, 1, 1)), ((3, 5, 4, 7), (3, 1, 4, 7)),
    ((3, 5, 4, 7), (3, 5, 4, 7)), ((3, 5, 4, 7), ()), ((2, 64, 9, 9), (64, 1, 1)),
    ((19, 1), (1, 23)), ((40, 33), (40, 1)), ((40, 33), (33,)), ((1, 33), (40, 33)),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), BROADCAST)
@pytest.mark.parametrize("name", ["Add", "Sub", "Mul", "Div", "Extremum"])
def test_arithmetic_that_broadcasts(name: str, first: Any, second: Any) -> None:
    """Both layouts of either operand, at the edge of memory, with NaN and infinity."""
    op, rng = OPS[name](), np.random.default_rng(0)
    pair: Any = ONEDNN.table[type(op)]
    for lay in (np.ascontiguousarray, lambda a: to_last(a) if a.ndim == 4 else a):
        a, b = (at_the_edge(lay(rng.standard_normal(s, np.float32))) for s in (first, second))
        a.flat[0], a.flat[a.size // 2], b.flat[-1] = np.inf, np.nan, 0
        with np.errstate(all="ignore"):
            (right,), kept = op.forward(np, a, b)
            gy = at_the_edge(lay(rng.standard_normal(right.shape, np.float32)))
            back = op.backward(np, kept, gy, (True, True))
            (y,), saved = pair.forward(op, (a, b))
            gradients = pair.backward(op, saved, gy, (True, True))
        np.testing.assert_array_equal(y, right)
        for g, w in zip(gradients, back, strict=True):
            np.testing.assert_allclose(g, w, rtol=2e-5, atol=2e-5)


REDUCED = [
    ((3, 5, 4, 7), (2, 3)), ((3, 5, 4, 7), (0, 2, 3)), ((3, 5, 4, 7), (1,)), ((3, 5, 4, 7), (0,)),
    ((3, 5, 4, 7), (0, 1, 2, 3)), ((3, 5, 4, 7), (0, 2)), ((2, 64, 30, 31), (0, 2, 3)),
    ((2, 64, 30, 31), (2, 3)), ((9001, 3), (0,)), ((3, 9001), (1,)), ((2, 3000), (0,)),
    *[((n, 17), (0,)) for n in range(2, 20)], *[((17, n), (1,)) for n in range(2, 20)],
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axes"), REDUCED)
def test_reductions(shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(0)
    ops = [OPS[name](axes) for name in ("Sum", "Mean", "Var", "VectorNorm")]
    for lay in (np.ascontiguousarray, lambda a: to_last(a) if a.ndim == 4 else a):
        x = at_the_edge(lay(rng.standard_normal(shape, np.float32)))
        whole_numbers = at_the_edge(lay(np.rint(x)))
        for op in (*ops, *[OPS["Extreme"](kind, axes) for kind in ("amax", "min")]):
            chosen = whole_numbers if type(op).__name__ == "Extreme" else x
            pair: Any = ONEDNN.table[type(op)]
            (y,), saved = pair.forward(op, (chosen,))
            (right,), kept = op.forward(np, chosen.astype(np.float64))
            assert y.shape == right.shape
            np.testing.assert_allclose(y, right, rtol=1e-5, atol=1e-4)
            gy = rng.standard_normal(right.shape, np.float32)
            (gx,) = pair.backward(op, saved, gy, (True,))
            back = op.backward(np, kept, gy.astype(np.float64), (True,))[0]
            np.testing.assert_allclose(gx, back, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_reductions_are_the_same_on_any_number_of_threads(threads: int) -> None:
    rng = np.random.default_rng(0)
    x = to_last(rng.standard_normal((4, 48, 30, 31), np.float32))
    for axes in ((0, 1, 2, 3), (2, 3), (0, 2, 3), (1,)):
        op = OPS["Sum"](axes)
        pair: Any = ONEDNN.table[type(op)]
        results = []
        for budget in (1, threads):
            Current.thread.budget, before = budget, Current.thread.budget
            results.append(pair.forward(op, (x,))[0][0])
            Current.thread.budget = before
        assert np.array_equal(*results)


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_leaves_are_copies(threads: int) -> None:
    """Laid out as their leaf where few numbers are repeated, and nobody else's memory."""
    x = cr.tensor(to_last(np.ones((4, 48, 30, 31), np.float32)), requires_grad=True)
    gy = cr.tensor(to_last(np.random.default_rng(0).standard_normal(x.shape, np.float32)))
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        with cr.use_backend("onednn"):
            cr.sum(x, (2, 3)).backward(cr.ones(4, 48))
            assert x.grad is not None
            assert x.grad.array.strides == x.array.strides
            assert (x.grad.array == 1).all()
            x.grad = None
            cr.add(x, 1.0).backward(gy)
            assert np.array_equal(x.grad.array, gy.array)  # type: ignore[attr-defined]
            assert not np.may_share_memory(x.grad.array, gy.array)  # type: ignore[attr-defined]
    finally:
        cr.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads(order: str, threads: int) -> None:
    rng = np.random.default_rng(4)
    x, w = normal(rng, 2, 32, 19, 18), parameter(rng, 48, 32, 3, 3)
    gy = normal(rng, 2, 48, 19, 18)
    with Current.thread.using(threads):
        direct, ours = direct_and_winograd(x, w)
        for a, b in zip(results(direct, x, w, gy), results(ours, x, w, gy), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


def test_plans_of_small_windows_and_large_images(always: None) -> None:
    """What the kernels cannot compute stays with the library."""

    def kind(op: Any, x: tuple[int, ...], w: tuple[int, ...]) -> Any:
        return type(conv.plan_conv(op, x, w, False))

    pads = ((1, 1), (1, 1))
    ours = Conv((1, 1), pads, (1, 1), 1)
    assert kind(ours, (1, 16, 9, 9), (16, 16, 3, 3)) is winograd.WinogradPlan
    assert kind(ours, (1, 3, 9, 9), (16, 3, 3, 3)) is narrow.NarrowPlan
    for op, x, w in (
        (Conv((2, 1), pads, (1, 1), 1), (1, 16, 9, 9), (16, 16, 3, 3)),
        (Conv((1, 1), pads, (2, 2), 1), (1, 16, 9, 9), (16, 16, 3, 3)),
        (Conv((1, 1), pads, (1, 1), 2), (1, 32, 9, 9), (32, 16, 3, 3)),
        (Conv((1, 1), ((3, 3), (1, 1)), (1, 1), 1), (1, 16, 9, 9), (16, 16, 3, 3)),
        (Conv((1, 1), pads, (1, 1), 1), (1, 20, 9, 9), (16, 20, 3, 3)),
        (Conv((1, 1), pads, (1, 1), 1), (1, 16, 9, 9), (17, 16, 3, 3)),
        (Conv((1, 1), pads, (1, 1), 1), (1, 3, 99, 99), (8, 3, 3, 3)),
        (Conv((1,), ((1, 1),), (1,), 1), (1, 16, 9), (16, 16, 3)),
        (Conv((1, 1, 1), (*pads, (1, 1)), (1, 1, 1), 1), (1, 16, 9, 9, 9), (16, 16, 3, 3, 3)),
    ):
        assert kind(op, x, w) is ConvPlan


def test_the_quick_look_for_finite_values_is_a_kernels() -> None:
    arrays = [np.ones((4, 6, 6, 3), np.float32).transpose(0, 3, 1, 2), np.ones(1 << 18, np.float32)]
    with cr.use_backend("onednn") as backend:
        assert backend.finite(arrays) == have_kernels()
        assert not backend.finite([*arrays, np.ones(2)])  # float64 is NumPy's to look at
