"""What a captured graph holds where a value left its gradient behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainrule.engine.op import Array, Op, Spec


@dataclass(frozen=True)
class Detach(Op, register=False):
    """y = x, and no gradient: what `Tensor.detach` did to a traced value."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The same, without a gradient."""
        return (x._replace(differentiable=False),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        """Hand the array on."""
        return (x,), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Stop."""
        return (None,)
