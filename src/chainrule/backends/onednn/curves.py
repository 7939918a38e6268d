"""Activations by exponentials, by our own kernel: one pass each way.

It gives what the formulas give for every value, NaN and infinity among them, so that nothing is
looked at first.  Without the kernels oneDNN's pair serves where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from chainrule.backends.onednn.backend import ONEDNN
from chainrule.backends.onednn.pieces import Pieces, Settings
from chainrule.engine.op import Array
from chainrule.ops.activation import ELU, LogSigmoid, Sigmoid, Softplus, Tanh
from chainrule.ops.activation_smooth import CELU, GELU, SELU, Mish, SiLU


class Curves(Pieces):
    """A pair by one kind of the kernel."""

    name, heavy = "curves", 8


@ONEDNN.ours(Sigmoid)
class SigmoidCurve(Curves):
    """Sigmoid."""

    kind, from_result = 0, True


@ONEDNN.ours(Tanh)
class TanhCurve(Curves):
    """Tanh."""

    kind, from_result = 1, True


@ONEDNN.ours(SELU)
@ONEDNN.ours(CELU)
class ExponentialCurve(Curves):
    """What is an exponential below 0 and straight above."""

    kind, bounded = 2, False

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As all, with finite factors."""
        usual = all(map(isfinite, op._factors()))
        return usual and super().supports(op, arrays)

    def settings(self, op: Any) -> Settings:
        """Give the factors of the exponential, of its argument and of what is above 0."""
        factors: Settings = op._factors()
        return factors


@ONEDNN.ours(ELU)
class ELUCurve(ExponentialCurve):
    """ELU."""


@ONEDNN.ours(SiLU)
class SiLUCurve(Curves):
    """SiLU."""

    kind = 3


@ONEDNN.ours(Mish)
class MishCurve(Curves):
    """Mish."""

    kind = 4


@ONEDNN.ours(Softplus)
class SoftplusCurve(Curves):
    """Softplus of any threshold."""

    kind, bounded = 5, False

    def supports(self, op: Any, arrays: Sequence[Array]) -> bool:
        """As all, with a beta whose reciprocal is as exact as itself."""
        usual = 1e-30 < abs(op.beta) < 1e30
        return usual and super().supports(op, arrays)

    def settings(self, op: Any) -> Settings:
        """Give beta, the threshold, and what divides by beta."""
        return op.beta, op.threshold, 1 / op.beta


@ONEDNN.ours(LogSigmoid)
class LogSigmoidCurve(Curves):
    """Logarithm of the sigmoid."""

    kind = 6


@ONEDNN.ours(GELU)
class GELUCurve(Curves):
    """GELU by the error function, or by tanh."""

    def kind_of(self, op: GELU) -> int:
        """Give the number of the one or the other."""
        return 8 if op.approximate == "tanh" else 7
