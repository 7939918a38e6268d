"""Our own kernels of rows beside the float64 reference, for every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn.arrays import _public_address, address, to_last
from chainrule.backends.onednn.backend import ONEDNN, ByReference
from chainrule.engine.op import OPS, Op
from chainrule.errors import LabelError
from tests.backends.onednn.compare import Reference, floors, same
from tests.backends.onednn.edges import at_the_edge
from tests.backends.onednn.test_own import isa  # noqa: F401

pytestmark = pytest.mark.usefixtures("traps", "no_limits")
Rng = np.random.Generator

SETTINGS: dict[str, Any] = {
    "Softmax": lambda length: (1,),
    "LogSoftmax": lambda length: (1,),
    "LayerNorm": lambda length: ((length,), 1e-3),
    "RMSNorm": lambda length: ((length,), 1e-3),
    "Normalize": lambda length: ((1,),),
    "CrossEntropy": lambda length: ("mean", 1, 0.1),
    "NLLLoss": lambda length: ("none", 1),
}


def drawn(rng: Rng, *shape: int) -> np.ndarray:
    a = 3 * rng.standard_normal(shape, np.float32)
    return at_the_edge(to_last(a) if len(shape) == 4 else a)


def inputs(name: str, rng: Rng, *shape: int) -> list[np.ndarray]:
    """Draw x and what goes with it; everything ends where no memory is, but labels."""
    x, count = drawn(rng, *shape), {"LayerNorm": 2, "RMSNorm": 1}.get(name, 0)
    if name in ("CrossEntropy", "NLLLoss"):
        labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        labels.flat[0] = 0  # one that counts
        return [x, labels]
    return [x, *[drawn(rng, shape[1]) for _ in range(count)]]


def hold(op: Op, arrays: list[np.ndarray], rng: Rng) -> None:
    """Compare both passes with the reference in float64."""
    pair: Any = ONEDNN.table[type(op)]
    assert pair.supports(op, arrays)
    (y,), saved = pair.forward(op, arrays)
    assert not isinstance(saved, ByReference)
    wanted = Reference(op, arrays)
    same("y", y, wanted.outputs[0], wanted.own[0], floor=floors(op, arrays)[0])
    gy = at_the_edge(np.asarray(rng.standard_normal(y.shape, np.float32)))
    gy = at_the_edge(to_last(gy)) if gy.ndim == 4 else gy.reshape(y.shape)
    needs = tuple(a.dtype.kind == "f" for a in arrays)
    found, (right, own) = pair.backward(op, saved, gy, needs), wanted.backward([gy], needs)
    parts = zip(found, right, own, floors(op, arrays, gy), strict=False)
    for i, (g, w, o, floor) in enumerate(parts):
        same(f"gradient {i}", g, w, o, floor=max(floor, 1e-6 * float(np.abs(gy).max())))


@pytest.mark.parametrize("length", [*range(1, 21), 31, 32, 33, 100, 515])
@pytest.mark.parametrize("name", SETTINGS)
def test_rows_of_any_length(name: str, length: int) -> None:
    rng = np.random.default_rng(length)
    for rows in (1, 3, 37):
        hold(OPS[name](*SETTINGS[name](length)), inputs(name, rng, rows, length), rng)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax", "Normalize", "CrossEntropy", "NLLLoss"])
@pytest.mark.parametrize("channels", [1, 2, 7, 16, 21])
def test_channels_of_images(name: str, channels: int) -> None:
    rng = np.random.default_rng(channels)
    hold(OPS[name](*SETTINGS[name](channels)), inputs(name, rng, 2, channels, 5, 3), rng)


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_of_several_stretches(name: str) -> None:
    rng = np.random.default_rng(0)
    hold(OPS[name](*SETTINGS[name](40_003)), inputs(name, rng, 3, 40_003), rng)


SPECIAL = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax", "CrossEntropy", "NLLLoss"])
@pytest.mark.parametrize("length", [3, 16, 37])
def test_what_is_not_finite_is_what_the_formulas_make_of_it(name: str, length: int) -> None:
    """Each value alone, at every end of a row, everywhere, and among the gradients."""
    rng = np.random.default_rng(length)
    op, places = OPS[name](*SETTINGS[name](length)), (0, length // 2, length - 1, slice(None))
    x, *labels = inputs(name, rng, len(SPECIAL) * len(places), length)
    for row, (value, place) in enumerate((v, p) for v in SPECIAL for p in places):
        x[row, place] = value
    pair: Any = ONEDNN.table[type(op)]
    with np.errstate(all="ignore"):
        (wanted,), own = op.forward(np, x, *labels)
        (y,), saved = pair.forward(op, [x, *labels])
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)
        gy = np.asarray(rng.standard_normal(y.shape, np.float32))
        gy[(-1, 0)[: gy.ndim] if gy.ndim else ...] = np.inf
        needs = (True, *[False for _ in labels])
        right = op.backward(np, own, gy, needs)[0]
        np.testing.assert_allclose(pair.backward(op, saved, gy, needs)[0], right, 1e-5, 1e-6)


@pytest.mark.parametrize("name", ["LayerNorm", "RMSNorm", "Normalize"])
@pytest.mark.parametrize("value", [*SPECIAL, 1e30])
def test_rows_that_cannot_be_measured_are_the_references(name: str, value: float) -> None:
    rng = np.random.default_rng(0)
    op, arrays = OPS[name](*SETTINGS[name](20)), inputs(name, rng, 5, 20)
    arrays[0][3, 19] = value
    with np.errstate(all="ignore"):
        (y,), saved = ONEDNN.table[type(op)].forward(op, arrays)
        assert isinstance(saved, ByReference)
        assert np.array_equal(y, op.forward(np, *arrays)[0][0], equal_nan=True)


def test_values_far_from_0_are_centred_twice() -> None:
    rng = np.random.default_rng(0)
    x = (1e5 + rng.standard_normal((4, 300))).astype(np.float32)
    (y,), _ = ONEDNN.table[OPS["LayerNorm"]].forward(OPS["LayerNorm"]((300,)), [x])
    wide = x.astype(np.float64)
    wanted = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    assert np.abs(y - wanted).max() < 2e-6


@pytest.mark.parametrize("name", ["CrossEntropy", "NLLLoss"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_weights_of_classes_and_labels_that_do_not_count(name: str, reduction: str) -> None:
    rng = np.random.default_rng(0)
    x, t = inputs(name, rng, 50, 7)
    t[:5] = 3
    hold(OPS[name](reduction, 3), [x, t, at_the_edge(rng.random(7, np.float32))], rng)
    op = OPS[name](reduction, 3)
    (y,), saved = ONEDNN.table[type(op)].forward(op, [x, np.full(50, 3)])
    assert np.isnan(y).all() if reduction == "mean" else not y.any()
    gx, _ = ONEDNN.table[type(op)].backward(op, saved, np.ones_like(y), (True, False))
    assert not gx.any()


@pytest.mark.parametrize("name", ["CrossEntropy", "NLLLoss"])
@pytest.mark.parametrize("label", [-1, 7, -(2**62)])
def test_a_label_of_no_class_is_named(name: str, label: int) -> None:
    rng = np.random.default_rng(0)
    op, (x, t) = OPS[name](), inputs(name, rng, 50, 7)
    t[31] = label
    with pytest.raises(LabelError, match=rf"{label}"):
        ONEDNN.table[type(op)].forward(op, [x, t])


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_numbers_for_any_number_of_threads(name: str) -> None:
    """Also of the parameters' gradients, which are summed over the rows by parts."""
    from chainrule.engine.threads import get_num_threads, set_num_threads

    rng, before = np.random.default_rng(0), get_num_threads()
    op, arrays = OPS[name](*SETTINGS[name](200)), inputs(name, rng, 700, 200)
    pair: Any = ONEDNN.table[type(op)]
    needs, results = tuple(a.dtype.kind == "f" for a in arrays), []
    try:
        for threads in (1, 2, 3, 2):
            set_num_threads(threads)
            (y,), saved = pair.forward(op, arrays)
            results.append([y, *pair.backward(op, saved, np.ones_like(y) * y, needs)])
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a is b is None or np.array_equal(a, b)


def test_an_address_is_the_one_that_numpy_tells() -> None:
    x = np.zeros((4, 6, 2), np.float32)
    frozen = x[1:, ::-1]
    frozen.flags.writeable = False
    for a in (x, x[2:], x.T, frozen, np.zeros(()), np.zeros((0, 3)), np.matrix([[1.0]])):
        assert address(a) == _public_address(a)
