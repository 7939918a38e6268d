"""One kernel pair against its operation's reference in float64, with everything it must not do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.backends.onednn.backend import ByReference
from chainrule.engine.dispatch import Backend, Kernel
from chainrule.engine.op import Op
from chainrule.engine.written import root
from chainrule.ops.broadcast import Pairwise
from tests.backends.onednn.conftest import KERNELS
from tests.checks import leaves

FINE, OWN = 1e-5, 16
"""Errors allowed: of the largest value, and as a multiple of the reference's own in float32."""

COARSER = {"LogSoftmax": 2e-5}
"""Where the library's exponential is the less accurate: its gradient holds exp(y)."""

FLOOR = {"GELU": 1e-15} if KERNELS else {"Softplus": 4e-6, "GELU": 1e-6, "Mish": 1e-6}
"""Absolute errors.  In float64 the reference's 1 + erf(x / sqrt 2) is 0 below about -8, as it is in
float32 below -5; our kernel's is right.  The library's log(1 + exp(x)) is 0 below about -16, where
exp(x) is right; its Mish and GELU lose their digits, too, where they are nearly 0."""

CANCELS = {"Softmax", "LogSoftmax", "Normalize", "Tanh", "GELU", "Mish"}
"""Gradients that are differences: gy - sum(gy y) for equal gy, gy - y y gy for a row of one value,
1 - y * y near 1, P(x) + x P'(x)."""

HAND_ON = {"Add", "Sub", "Sum"}
"""Gradients that are gy itself, or a view of it."""


class Executed:
    """Counts the primitives that ran, once `count_primitives` watches them."""

    count = 0


class Declined(Exception):
    """The backend gives the case to the reference."""


def select(backend: Backend, op: Op, arrays: Sequence[np.ndarray]) -> Kernel:
    """Give the fast pair, and see that it was counted."""
    before = backend.calls[type(op).__name__]
    kernel = backend.select(op, arrays)
    ran = backend.calls[type(op).__name__] - before
    if kernel is backend.reference:
        assert ran == 0
        raise Declined
    assert ran == 1, "a choice of the fast pair is counted once"
    return kernel


def _double(a: Any) -> Any:
    whole = a is None or np.asarray(a).dtype.kind != "f"
    return a if whole else np.asarray(a, np.float64)


def differentiable(arrays: Sequence[np.ndarray]) -> tuple[bool, ...]:
    """Tell which inputs can have gradients."""
    return tuple(a.dtype.kind == "f" for a in arrays)


class Reference:
    """The operation's own passes, in float64 and, for the scale of errors, in float32."""

    def __init__(self, op: Op, arrays: Sequence[np.ndarray]) -> None:
        self.op = op
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            self.outputs, self._saved = op.forward(np, *map(_double, arrays))
            self.own, self._own_saved = op.forward(np, *map(np.ascontiguousarray, arrays))
            self.kink = self._near_the_kink(arrays)

    def _near_the_kink(self, arrays: Sequence[np.ndarray]) -> Any:
        """Tell where an operation that ends in a ReLU is so near 0 that rounding decides."""
        parent = type(self.op).__mro__[1]
        if not type(self.op).__name__.endswith("ReLU") or parent is Op or parent is Pairwise:
            return False
        (z, *_), _ = parent.forward(self.op, np, *map(_double, arrays))
        size = np.abs(z)
        if hasattr(self.op, "training"):  # whose zeros are rounded too
            return np.asarray(size < 1e-5 * max(1.0, size.max(initial=0.0)))
        return np.asarray((size < 1e-5 * size.max(initial=0.0)) & (z != 0))

    def backward(self, gys: Any, needs: tuple[bool, ...]) -> tuple[Any, Any]:
        """Give the gradients in float64, and those in float32."""
        both = []
        for saved, change in ((self._saved, _double), (self._own_saved, np.asarray)):
            g = [None if gy is None else change(gy) for gy in gys]
            with np.errstate(all="ignore"):
                both.append(self.op.backward(np, saved, g[0] if len(g) == 1 else tuple(g), needs))
        return both[0], both[1]


def same(what: str, got: Any, wanted: Any, own: Any, fine: float = FINE, floor: Any = 0.0) -> None:
    """Require float32 values of the wanted shape, as near as the reference's own in float32."""
    if wanted is None:
        assert got is None, f"{what}: expected None"
        return
    assert type(got) is np.ndarray, f"{what}: expected an array, got {type(got)}"
    if "i" in (got.dtype.kind, np.asarray(wanted).dtype.kind):
        assert got.dtype == np.asarray(wanted).dtype, what
        assert np.array_equal(got, wanted), f"{what}: other places"
        return
    assert got.dtype == np.float32, f"{what}: dtype {got.dtype}"
    assert got.shape == np.shape(wanted), f"{what}: shape {got.shape}, not {np.shape(wanted)}"
    if not got.size:
        return
    error = np.abs(got - wanted)
    scale = np.abs(wanted).max()
    allowed = fine * scale + OWN * np.abs(own - wanted).max() + floor
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    assert error[worst] <= allowed, (
        f"{what}: {got[worst]!r} at {tuple(map(int, worst))}, expected {wanted[worst]!r}; off by "
        f"{error[worst]:.3g}, allowed {allowed:.3g}, largest value {scale:.3g}"
    )


def floors(op: Any, arrays: Sequence[np.ndarray], gy: Any = None) -> list[float]:
    """Give errors that rounding alone makes where a result cancels: for outputs, or gradients.

    Batch normalisation's gradient is a difference of terms as large as gain * gy, its parameters'
    gradients are sums of |gy|, and its mean is one of |x|.
    """
    name = type(op).__name__
    if name in ("LayerNorm", "GroupNorm", "RMSNorm"):
        return _floors_of_rows(op, arrays, gy)
    if not hasattr(op, "training"):
        cancels = gy is not None and name in CANCELS
        floor = 1e-6 * float(np.abs(gy).max()) if cancels else FLOOR.get(name, 0.0)
        return [floor if gy is None or cancels else 0.0] * (len(arrays) + 2)
    x = arrays[0].astype(np.float64)
    axes = (0, *range(2, x.ndim))
    variance = x.var(axes) if op.training else arrays[2]
    affine = arrays[1:] if op.training else arrays[3:]
    steep = 1 / np.sqrt(variance + op.eps)
    gain = np.abs(affine[0] if affine else 1.0) * steep
    size = np.abs(x).max() + 1e-3
    if gy is None:
        return [1e-6 * size * gain.max(), 1e-6 * size, 1e-6 * size**2]
    total = np.abs(gy).sum() / x.shape[1] * (1 + size * gain.max())
    flat = 1 + size * steep.max()  # values so near each other that rounding is between them
    return [1e-6 * gain.max() * np.abs(gy).max() * flat, *[1e-6 * total * (1 + gain.max())] * 4]


def _floors_of_rows(op: Any, arrays: Sequence[np.ndarray], gy: Any) -> list[float]:
    """Give the same for what normalises rows: values beside each other, or groups of channels."""
    x = arrays[0].astype(np.float64)
    by_layer = type(op).__name__ != "GroupNorm"
    first = x.ndim - len(op.shape) if by_layer else 2
    rows = x.reshape(*x.shape[:first], -1) if by_layer else x.reshape(x.shape[0], op.groups, -1)
    weight = np.abs(arrays[1]).max() if len(arrays) > 1 else 1.0
    steep = 1 / np.sqrt(rows.var(axis=-1).min() + op.eps)
    size = np.abs(x).max() + 1e-3
    if gy is None:
        return [1e-6 * size * steep * weight, 1e-6 * size, 1e-6 * size**2]
    total = np.abs(gy).sum() * (1 + size * steep)
    return [1e-6 * weight * steep * np.abs(gy).max() * (1 + size * steep), *[1e-6 * total] * 2]


class Guard:
    """Remembers the bytes of arrays and of all memory behind them."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        owners = [root(a) for a in arrays if a is not None]
        self._kept = [(owner, owner.tobytes()) for owner in owners]

    def check(self, what: str) -> None:
        """Require that nobody wrote."""
        for owner, before in self._kept:
            assert owner.tobytes() == before, f"{what} were written"


def flatten(saved: Any) -> list[np.ndarray]:
    """List the arrays in saved state."""
    return list(leaves(saved))


def strangers(what: str, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    """Require that no array of the one list shares memory with one of the other."""
    for a in ours:
        for b in theirs:
            if a is not None and b is not None:
                assert not np.may_share_memory(a, b), f"{what} share memory"


def every_needs(floats: Sequence[bool], choice: int) -> tuple[bool, ...]:
    """Give one of the combinations of inputs that want a gradient; 0 is all."""
    count = sum(floats)
    bits = (2**count - 1) - choice % (2**count - 1)
    wanted = iter([bool(bits >> i & 1) for i in range(count)])
    return tuple(f and next(wanted) for f in floats)


class Run:
    """A pair on one case: forward, and as many backwards as are asked for."""

    def __init__(self, backend: Backend, op: Op, arrays: Sequence[np.ndarray]) -> None:
        self.op, self.arrays = op, tuple(arrays)
        self.kernel = select(backend, op, arrays)
        self._inputs = Guard(arrays)
        self.outputs, self.saved = self._executing(self.kernel.forward, op, self.arrays)
        assert not isinstance(self.saved, ByReference), "the pair called the reference"
        self._inputs.check("inputs of the forward")
        self._kept = Guard([*flatten(self.saved), *self.outputs])
        strangers("an output and an input", self.outputs, self.arrays)

    def _executing(self, method: Any, *arguments: Any) -> Any:
        """Call a pair's method and see that it ran a primitive of the library."""
        before = Executed.count
        result = method(*arguments)
        assert Executed.count > before, f"{method.__name__} ran no primitive of the library"
        return result

    def upstream(self, rng: np.random.Generator, layout: Any, dead: Any = False) -> list[Any]:
        """Draw the gradient of the first output, which is all that flows; 0 where `dead`."""
        g = rng.standard_normal(self.outputs[0].shape, np.float32)
        gy = np.asarray(layout(np.where(dead, np.float32(0), g))).view()
        gy.flags.writeable = False
        return [gy, *[None] * (len(self.outputs) - 1)]

    def backward(self, gys: Sequence[Any], needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Run the backward and see that it wrote nothing that was there before."""
        before = Guard(gys[:1])
        gy = gys[0] if len(gys) == 1 else tuple(gys)
        backward = self.kernel.backward
        if type(self.op).__name__ in HAND_ON or not any(needs):
            gradients = backward(self.op, self.saved, gy, needs)
        else:
            gradients = self._executing(backward, self.op, self.saved, gy, needs)
        before.check("gradients that came in")
        self._inputs.check("inputs of the forward, in the backward,")
        self._kept.check("saved arrays or outputs")
        assert isinstance(gradients, tuple)
        assert len(gradients) == len(self.arrays)
        for others in (self.arrays, self.outputs, flatten(self.saved)):
            strangers("a gradient and what is not its own", gradients, others)
        return gradients


def check_case(
    backend: Backend,
    op: Op,
    arrays: Sequence[np.ndarray],
    gy_layouts: Sequence[Any],
    rng: np.random.Generator,
    needs: Iterator[int],
) -> Run:
    """Compare forward and backward; raises Declined where the reference would run."""
    run = Run(backend, op, arrays)
    wanted = Reference(op, arrays)
    fine = COARSER.get(type(op).__name__, FINE)
    results = zip(run.outputs, wanted.outputs, wanted.own, floors(op, arrays), strict=False)
    for k, (y, w, own, floor) in enumerate(results):
        same(f"output {k}", y, w, own, fine, floor)
    for layout in gy_layouts:
        gys = run.upstream(rng, layout, wanted.kink)
        want = every_needs(differentiable(arrays), next(needs))
        gradients, (right, theirs) = run.backward(gys, want), wanted.backward(gys, want)
        parts = zip(gradients, right, theirs, floors(op, arrays, gys[0]), strict=False)
        for i, (g, w, own, floor) in enumerate(parts):
            if want[i] or len(want) > 1:  # a single gradient is only ever asked for
                same(f"the gradient of input {i}, needs {want}", g, w, own, fine, floor)
    return run
