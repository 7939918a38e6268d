"""Activations: one element at a time, on dense arrays of any layout.

oneDNN's ReLU turns NaN into 0 and its exponentials treat infinity in ways of their own, so every
pair looks at the sum of its input first, which costs a third of what it computes: what is not
finite goes to the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.arrays import (
    address,
    empty_as,
    finite,
    is_dense,
    is_float32,
    laid_as,
    note_finite,
    to_dense,
)
from chainrule.backends.onednn.backend import (
    ONEDNN,
    ByReference,
    Limits,
    reference_backward,
    run_reference,
)
from chainrule.backends.onednn.primitives import Description, Primitive, built, describe, plain
from chainrule.backends.onednn.runtime import cached, runtime, work
from chainrule.engine.op import Array
from chainrule.ops.activation import ELU, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from chainrule.ops.activation_hard import Hardsigmoid, Hardswish, Hardtanh
from chainrule.ops.activation_smooth import GELU, Mish, SiLU
from chainrule.ops.formulas import drop


class EltwisePlan:
    """A function of each of `size` elements, and its gradient."""

    def __init__(self, found: tuple[Description, Description], what: str) -> None:
        self._found, self.what = found, what

    @built
    def run_forward(self) -> Primitive:
        """(x, y)."""
        return Primitive(self._found[0], (c.SRC, c.DST), self.what)

    @built
    def run_backward(self) -> Primitive:
        """(x or y, gy, gx)."""
        data = c.DST if self.uses_output else c.SRC
        what = f"gradient of {self.what}"
        return Primitive(self._found[1], (data, c.DIFF_DST, c.DIFF_SRC), what)

    uses_output = False


_LIGHT = {c.ELTWISE_RELU, c.ELTWISE_CLIP_V2, c.ELTWISE_HARDSIGMOID, c.ELTWISE_HARDSWISH}


def plan_eltwise(
    size: int, forward: int, backward: int, alpha: float = 0.0, beta: float = 0.0
) -> EltwisePlan | None:
    """Give the plan of an algorithm and its gradient's (the same, or the one that reads y)."""
    key = ("eltwise", forward, backward, alpha, beta, size)
    heavy = 1 if forward in _LIGHT else 5
    settings = (alpha, beta)
    return cached(key, lambda: _build(size, forward, backward, settings), work(2 * heavy * size))


def _build(
    size: int, forward: int, backward: int, settings: tuple[float, float]
) -> EltwisePlan | None:
    engine, flat = runtime().engine, plain((size,))
    first = describe("eltwise_forward", engine, c.FORWARD_TRAINING, forward, flat, flat, *settings)
    if first is None:
        return None
    second = describe("eltwise_backward", engine, backward, flat, flat, flat, *settings, first)
    if second is None:
        return None
    plan = EltwisePlan((first, second), f"eltwise {forward:#x} of {size} elements")
    plan.uses_output = forward != backward
    return plan


class Eltwise:
    """A pair whose op is one algorithm of the library; subclasses say which."""

    forward_alg: ClassVar[int]
    backward_alg: ClassVar[int]
    bounded: ClassVar[bool] = False  # whether no finite value overflows

    def alpha(self, op: Any) -> float | None:
        """Give the algorithm's parameter; None where the setting is not for the library."""
        return 0.0

    def beta(self, op: Any) -> float:
        """Give the algorithm's second parameter."""
        return 0.0

    def _plan(self, op: Any, size: int) -> EltwisePlan | None:
        alpha = self.alpha(op)
        if alpha is None:
            return None
        return plan_eltwise(size, self.forward_alg, self.backward_alg, alpha, self.beta(op))

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """Float32, dense, and large enough."""
        x = arrays[0]
        if x.size < Limits.small or not is_float32(x) or not is_dense(x):
            return False
        return self._plan(op, x.size) is not None

    def forward(self, op: Any, arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Any]:
        """Give y in x's layout; save the one of them that the gradient reads."""
        x = arrays[0]
        if not finite(x):
            return run_reference(op, arrays)
        plan = self._plan(op, x.size)
        assert plan is not None
        y = empty_as(x)
        plan.run_forward(address(x), address(y))
        if self.bounded:
            note_finite(y)
        return (y,), y if plan.uses_output else x

    def backward(
        self, op: Any, saved: Any, gy: Any, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        """Give gx in x's layout."""
        if isinstance(saved, ByReference):
            return reference_backward(op, saved, gy, needs)
        plan = self._plan(op, saved.size)
        assert plan is not None
        g, gx = laid_as(saved, gy), empty_as(saved)
        plan.run_backward(address(saved), address(g), address(gx))
        return (gx,)


@ONEDNN.kernel(ReLU)
class ReLUPair(Eltwise):
    """ReLU; the gradient reads y, which the next operation mostly keeps anyway."""

    forward_alg, backward_alg = c.ELTWISE_RELU, c.ELTWISE_RELU_USE_DST
    bounded = True


@ONEDNN.kernel(LeakyReLU)
class LeakyReLUPair(Eltwise):
    """LeakyReLU with any finite slope."""

    forward_alg = backward_alg = c.ELTWISE_RELU

    def alpha(self, op: LeakyReLU) -> float | None:
        """Give the slope."""
        return float(op.slope) if np.isfinite(op.slope) else None


@ONEDNN.kernel(ELU)
class ELUPair(Eltwise):
    """ELU with any finite alpha."""

    forward_alg = backward_alg = c.ELTWISE_ELU

    def alpha(self, op: ELU) -> float | None:
        """Give alpha."""
        return float(op.alpha) if np.isfinite(op.alpha) else None


@ONEDNN.kernel(Sigmoid)
class SigmoidPair(Eltwise):
    """Sigmoid."""

    forward_alg, backward_alg = c.ELTWISE_LOGISTIC, c.ELTWISE_LOGISTIC_USE_DST


@ONEDNN.kernel(Tanh)
class TanhPair(Eltwise):
    """Tanh."""

    forward_alg, backward_alg = c.ELTWISE_TANH, c.ELTWISE_TANH_USE_DST


@ONEDNN.kernel(Softplus)
class SoftplusPair(Eltwise):
    """Softplus, where the threshold is so high that float32 does not see it."""

    forward_alg = backward_alg = c.ELTWISE_SOFT_RELU

    def alpha(self, op: Softplus) -> float | None:
        """Give beta."""
        return float(op.beta) if 0 < op.beta < np.inf and op.threshold >= 20.0 else None


@ONEDNN.kernel(Hardtanh)
class HardtanhPair(Eltwise):
    """Hard tanh, ReLU6 among them; the library's second clip has no gradient at the limits."""

    forward_alg = backward_alg = c.ELTWISE_CLIP_V2
    bounded = True

    def alpha(self, op: Hardtanh) -> float | None:
        """Give the lower limit, where both are finite."""
        return float(op.low) if np.isfinite(op.low) and np.isfinite(op.high) else None

    def beta(self, op: Hardtanh) -> float:
        """Give the upper limit."""
        return float(op.high)


@ONEDNN.kernel(Hardsigmoid)
class HardsigmoidPair(Eltwise):
    """Hard sigmoid, x / 6 + 1/2 between 0 and 1."""

    forward_alg = backward_alg = c.ELTWISE_HARDSIGMOID
    bounded = True

    def alpha(self, op: Any) -> float:
        """Give the slope."""
        return 1 / 6

    def beta(self, op: Any) -> float:
        """Give the value at 0."""
        return 0.5


@ONEDNN.kernel(Hardswish)
class HardswishPair(HardsigmoidPair):
    """Hard swish, x times the hard sigmoid."""

    forward_alg = backward_alg = c.ELTWISE_HARDSWISH


@ONEDNN.kernel(SiLU)
class SiLUPair(Eltwise):
    """SiLU, which the library calls swish."""

    forward_alg = backward_alg = c.ELTWISE_SWISH

    def alpha(self, op: Any) -> float:
        """Give the sigmoid's factor."""
        return 1.0


@ONEDNN.kernel(Mish)
class MishPair(Eltwise):
    """Mish."""

    forward_alg = backward_alg = c.ELTWISE_MISH


@ONEDNN.kernel(GELU)
class GELUPair(Eltwise):
    """GELU by the error function, or by tanh."""

    def _plan(self, op: GELU, size: int) -> EltwisePlan | None:
        alg = c.ELTWISE_GELU_TANH if op.approximate == "tanh" else c.ELTWISE_GELU_ERF
        return plan_eltwise(size, alg, alg)


# ReLU as a part of fused operations


def _relu_plan(size: int) -> EltwisePlan:
    plan = plan_eltwise(size, c.ELTWISE_RELU, c.ELTWISE_RELU_USE_DST)
    assert plan is not None
    return plan


def relu_in_place(y: Array) -> bool:
    """Make max(y, 0) of the dense y, where it lies; tell whether it was finite, NaN stays."""
    if not finite(y):
        with np.errstate(invalid="ignore"):
            np.maximum(y, 0, out=y)
        return False
    where = address(y)
    _relu_plan(y.size).run_forward(where, where)
    note_finite(y)
    return True


def relu_gradient(y: Array, gy: Array, finite: bool = True) -> Array:
    """Give gy where the dense y > 0 (or is NaN), else 0, laid out as y."""
    y = to_dense(y)
    g = laid_as(y, gy)
    if not finite:
        return drop(np, y <= 0, g)
    gz = empty_as(y)
    _relu_plan(y.size).run_backward(address(y), address(g), address(gz))
    return gz
