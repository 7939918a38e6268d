"""NaN, infinities, denormal and huge values keep their meaning in every kernel pair.

Strict: outputs are NaN, +infinity, -infinity or finite exactly where the reference's are, and no
gradient is finite where the reference's is not.  What departs is listed here, and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule.backends.onednn.arrays import finite
from chainrule.engine.dispatch import Backend
from chainrule.engine.op import OPS, Spec
from chainrule.errors import ShapeError
from chainrule.ops import lowering
from tests.backends.onednn.compare import Declined, differentiable, select
from tests.backends.onednn.conftest import BACKEND
from tests.backends.onednn.grid import Case, cases

pytestmark = [pytest.mark.usefixtures("no_limits", "traps")]

PAIRS = sorted(op.__name__ for op in BACKEND.table) if BACKEND else []

VALUES = {
    "NaN": [np.nan],
    "infinity": [np.inf],
    "minus infinity": [-np.inf],
    "all that is not finite": [np.inf, -np.inf, np.nan],
    "denormal": [1e-40, -1e-40, 1e-45],
    "minus zero": [-0.0],
}

# What departs from the reference, and why that may be.

NOT_MULTIPLIED = "padding is not multiplied: an infinite or NaN weight does not reach it"
"""Conv, ConvReLU: the reference gives NaN where such a weight meets padding (0 * inf), and for
the gradient of a weight that meets only padding; the library skips padding.
The tests of special values run without padding; test_padding_is_not_multiplied says the rest."""

GRADIENT_MAY_SPREAD = {"ReLU", "ConvReLU", "AddReLU", "ReLUMaxPool", "BatchNormReLU"}
GRADIENT_MAY_SPREAD |= {"Hardtanh", "Hardsigmoid", "Hardswish"}
"""gy * 0 where z <= 0, or where a piece is flat: the library gives NaN for an infinite or NaN gy,
the reference 0."""

GRADIENT_MAY_STAY = {"PReLU"}
"""A NaN or infinite slope does not reach the gradient of positive x, nor an infinite or NaN gy at
positive x the slope's gradient, as in PyTorch; the reference multiplies by 0."""

INFINITE_PARAMETERS = {("BatchNorm", "weight"), ("BatchNorm", "mean")}
"""With an infinite weight or given mean the reference gives NaN (0 * inf), the library infinity."""


def kinds(a: Any) -> np.ndarray:
    """1 finite, 2 NaN, 3 infinity, 4 minus infinity."""
    return np.select([np.isnan(a), np.isposinf(a), np.isneginf(a)], [2, 3, 4], 1)


def without_padding(case: Case) -> Case | None:
    """Give a convolution's case without padding, None where no image is left."""
    op, arrays = case
    if not type(op).__name__.startswith("Conv"):
        return case
    none = tuple((0, 0) if isinstance(p, tuple) else 0 for p in op.padding)  # type: ignore[attr-defined]
    bare = dataclasses.replace(op, padding=none)  # type: ignore[type-var]
    try:
        bare.infer(*(Spec(a.shape, a.dtype) for a in arrays))
    except ShapeError:
        return None
    return bare, arrays


def inject(a: np.ndarray, values: list[float], rng: np.random.Generator) -> np.ndarray:
    """Put the values at some places."""
    b = np.array(a, order="C")
    places = rng.choice(a.size, max(1, min(a.size // 20, 4)), replace=False)
    b.reshape(-1)[places] = rng.choice(np.array(values, np.float32), len(places))
    return b


def runs(backend: Backend, name: str, count: int) -> Iterator[tuple[Any, ...]]:
    """Draw cases that run fast: (kernel, op, arrays, rng)."""
    for number, drawn in cases(name, count, seed=5):
        case = without_padding(drawn)
        if case is None:
            continue
        try:
            kernel = select(backend, *case)
        except Declined:
            continue
        yield kernel, *case, np.random.default_rng([6, number])


def close(what: str, got: Any, wanted: Any, floor: float = 1e-37) -> None:
    both = np.isfinite(got) & np.isfinite(wanted)
    with np.errstate(all="ignore"):
        error = np.abs(np.where(both, got, 0) - np.where(both, wanted, 0))
    allowed = 1e-4 * np.abs(np.where(both, wanted, 0)).max(initial=0) + floor
    worst = error.max(initial=0)
    assert worst <= allowed, f"{what}: off by {worst}, allowed {allowed}"


def forward_keeps(backend: Backend, name: str, values: list[float]) -> int:
    ran = 0
    for kernel, op, arrays, rng in runs(backend, name, 25):
        for i, a in enumerate(arrays):
            if a.dtype.kind != "f" or _excused(name, op, i):
                continue
            special = [inject(b, values, rng) if b is a else b for b in arrays]
            outputs, _ = kernel.forward(op, special)
            with np.errstate(all="ignore"):
                wanted, _ = op.forward(np, *special)
            ran += 1
            for k, (y, w) in enumerate(zip(outputs, wanted, strict=True)):
                what = f"{op!r} of {[b.shape for b in arrays]}, output {k}, input {i}"
                differ = np.argwhere(kinds(y) != kinds(w))
                assert not len(differ), (
                    f"{what}: at {differ[0]} {y[tuple(differ[0])]} for {w[tuple(differ[0])]}"
                )
                close(what, y, w)
    return ran


def _excused(name: str, op: Any, i: int) -> bool:
    if not name.startswith("BatchNorm"):
        return False
    inputs = ("x", "weight", "bias") if op.training else ("x", "mean", "var", "weight", "bias")
    return ("BatchNorm", inputs[i]) in INFINITE_PARAMETERS


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", PAIRS)
def test_outputs(backend: Backend, name: str, values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "_reversal_pays", lambda *_: False)  # as below, for ConvTranspose
    assert forward_keeps(backend, name, VALUES[values]) >= 5


def gradient_keeps(backend: Backend, name: str, values: list[float]) -> int:
    ran = 0
    for kernel, op, arrays, rng in runs(backend, name, 25):
        for i in range(-1, len(arrays)):
            if i >= 0 and (arrays[i].dtype.kind != "f" or _excused(name, op, i)):
                continue
            special = [inject(b, values, rng) if i == j else b for j, b in enumerate(arrays)]
            with np.errstate(all="ignore"):
                outputs, saved = kernel.forward(op, special)
                wanted, own = op.forward(np, *special)
                gy = np.asarray(rng.standard_normal(outputs[0].shape, np.float32))
                gy = inject(gy, values, rng) if i < 0 else gy
                gy[(wanted[0] != 0) & (np.abs(wanted[0]) < 1e-30)] = 0  # rounding decides a ReLU
                gys = gy if len(outputs) == 1 else (gy, *[None] * (len(outputs) - 1))
                needs = differentiable(arrays)
                got = kernel.backward(op, saved, gys, needs)
                right = op.backward(np, own, gys, needs)
            ran += 1
            for k, (g, w) in enumerate(zip(got, right, strict=True)):
                if w is None or not needs[k]:  # a mask's, or that of labels
                    continue
                source = f"input {i}" if i >= 0 else "gy"
                what = f"{op!r} of {[b.shape for b in arrays]}, gradient {k}, from {source}"
                lost = np.argwhere(np.isfinite(g) & ~np.isfinite(w))
                stays = name in GRADIENT_MAY_STAY or not len(lost)
                assert stays, f"{what}: lost at {lost[0]}, {g[tuple(lost[0])]}"
                more = np.argwhere(~np.isfinite(g) & np.isfinite(w))
                may = (name in GRADIENT_MAY_SPREAD and i < 0) or not len(more)
                assert may, f"{what}: spread to {more[0]}, {w[tuple(more[0])]}"
                close(what, g, w)
    return ran


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", PAIRS)
def test_gradients(
    backend: Backend, name: str, values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reference's other way multiplies zeros around gy by what is not finite in x.
    monkeypatch.setattr(lowering, "_reversal_pays", lambda *_: False)
    assert gradient_keeps(backend, name, VALUES[values]) >= 5


def windows_inside(op: Any, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...]) -> Any:
    """Tell which positions' windows lie wholly in the image."""
    inside = np.ones((), bool)
    for axis, size in enumerate(out):
        start = np.arange(size) * op.stride[axis] - op.padding[axis][0]
        end = start + (w[2 + axis] - 1) * op.dilation[axis]
        inside = inside[..., None] & ((start >= 0) & (end < x[axis - len(out)]))
    return inside


@pytest.mark.parametrize("name", ["Conv", "ConvReLU"])
def test_padding_is_not_multiplied(backend: Backend, name: str) -> None:
    """With NaN in a weight: NaN where a window is inside; nowhere that the reference has none."""
    ran = apart = 0
    for number, (op, arrays) in cases(name, 40, seed=9):
        special = [arrays[0], inject(arrays[1], [np.nan], np.random.default_rng(number))]
        try:
            outputs, _ = select(backend, op, special).forward(op, special)
        except Declined:
            continue
        with np.errstate(all="ignore"):
            (wanted, *_), _ = op.forward(np, *special)
        got, d = outputs[0], len(op.stride)  # type: ignore[attr-defined]
        inside = windows_inside(op, arrays[0].shape, arrays[1].shape, got.shape[-d:])
        assert np.array_equal(np.isnan(got) & inside, np.isnan(wanted) & inside), op
        assert not (np.isnan(got) & ~np.isnan(wanted)).any(), op
        apart += int((np.isnan(got) != np.isnan(wanted)).sum())
        ran += 1
    assert ran > 30
    assert apart, "the departure that NOT_MULTIPLIED documents is gone: delete it"


def test_sum_of_gradients(backend: Backend) -> None:
    a = np.array([np.nan, np.inf, -np.inf, np.inf, 1e-40, 3e38, -0.0, 1.0] * 4, np.float32)
    b = np.array([1.0, 1.0, 2.0, -np.inf, 1e-40, 3e38, -0.0, np.nan] * 4, np.float32)
    with np.errstate(all="ignore"):
        wanted = a + b
    assert np.array_equal(backend.add(a, b), wanted, equal_nan=True)
    assert np.array_equal(np.signbit(backend.add(a, b)[6::8]), np.signbit(wanted[6::8]))
    assert backend.add(a, b, out=a) is a
    assert np.array_equal(a, wanted, equal_nan=True)


FUSED = {
    "ConvReLU": "Conv",
    "BatchNormReLU": "BatchNorm",
    "AddReLU": "Add",
}


def unfused(op: Any, arrays: Any) -> tuple[Any, Any]:
    """Give the two operations that a fused one is made of, the ReLU's place being last or first."""
    name = FUSED[type(op).__name__]
    settings = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}
    return OPS[name](**settings), OPS["ReLU"]()


@pytest.mark.parametrize("values", [*VALUES, "ordinary"])
@pytest.mark.parametrize("name", sorted(FUSED))
def test_fused_is_unfused(backend: Backend, name: str, values: str) -> None:
    """The fused pair gives what the fast pairs of its two members give, one after the other."""
    ran = 0
    for kernel, op, arrays, rng in runs(backend, name, 25):
        for i, a in enumerate(arrays):
            special = [inject(b, VALUES[values], rng) if b is a and values in VALUES else b
                       for b in arrays]  # fmt: skip
            if a.dtype.kind != "f" or _excused(name, op, i):
                continue
            first, relu = unfused(op, special)
            outputs, saved = kernel.forward(op, special)
            (z, *more), kept = select(backend, first, special).forward(first, special)
            dense = np.array(z, order="C")
            (y,), dead = select(backend, relu, [dense]).forward(relu, [dense])
            for k, (u, v) in enumerate(zip(outputs, (y, *more), strict=True)):
                what = f"{op!r} of {[b.shape for b in arrays]}, output {k}, input {i}"
                assert np.array_equal(kinds(u), kinds(v)), what
                close(what, u, v, 1e-6)
            gy = rng.standard_normal(y.shape, np.float32)
            gy[(z != 0) & (np.abs(z) < 1e-5)] = 0
            needs, rest = (True,) * len(arrays), [None] * len(more)
            with np.errstate(all="ignore"):
                got = kernel.backward(op, saved, (gy, *rest) if rest else gy, needs)
                (g,) = select(backend, relu, [dense]).backward(relu, dead, gy, (True,))
                below = select(backend, first, special)
                right = below.backward(first, kept, (g, *rest) if rest else g, needs)
            for k, (u, v) in enumerate(zip(got, right, strict=True)):
                what = f"{op!r} of {[b.shape for b in arrays]}, gradient {k}, input {i}"
                assert np.array_equal(np.isfinite(u), np.isfinite(v)), what
                close(what, u, v, 1e-6)
            ran += 1
    assert ran > 30


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm"])
def test_rows_are_known_to_be_finite_only_where_they_are(
    backend: Backend, name: str, place: int
) -> None:
    """Who comes next does not look again."""
    arrays = [np.ones(8, np.float32) for _ in range(3)]
    arrays[0] = np.random.default_rng(0).standard_normal((4, 8), np.float32)
    op = OPS[name]((8,)) if name == "LayerNorm" else OPS[name](2)
    for value in (1.0, np.nan, np.inf):
        arrays[place].flat[3] = value
        (y, *_), _ = select(backend, op, arrays).forward(op, arrays)
        assert finite(y) == np.isfinite(value)
