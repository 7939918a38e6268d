"""What a step makes of each number of a parameter: rules that run over any arrays, in place."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array

UPHILL, DECAY, SHRINK = 1, 2, 4
"""Bits of `Rule.how`: against the gradient's sign, decay added to it, decay of w itself."""

FREE = 8
"""The first bit that a rule gives a meaning of its own."""

States = tuple[Any, ...]
"""A parameter's arrays of state, in the order of its rule; None for those that are not wanted."""


class Rule:
    """One step's numbers, for all parameters of a group that stand at the same step.

    `numbers` begins with the decay: what w is multiplied by under `SHRINK`, else what times w
    is added to the gradient under `DECAY`.  `how` holds the bits.  `kernel` is the name under
    which a backend may have the rule, with eight numbers at most in the same order.  Subclasses
    say in `descend` what becomes of the arrays.

    >>> from chainrule.optim.rules import Rule
    >>> Rule(0.01, 0.5, how=0).numbers
    (0.01, 0.5)
    """

    kernel: ClassVar[str] = ""
    buffers: ClassVar[int] = 2
    """How many arrays `descend` needs to write on."""

    def __init__(self, *numbers: float, how: int) -> None:
        self.numbers, self.how = numbers, how
        self._by_dtype: dict[Any, list[Array]] = {}

    @property
    def uphill(self) -> bool:
        """Whether the loss is to rise."""
        return bool(self.how & UPHILL)

    def of(self, dtype: Any) -> list[Array]:
        """Give the numbers as 0-d arrays, which NumPy takes twice as fast as floats."""
        found = self._by_dtype.get(dtype)
        if found is None:
            found = self._by_dtype[dtype] = [np.array(number, dtype) for number in self.numbers]
        return found

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w and its state in place; `buffers`, shaped as w, are written over."""
        raise NotImplementedError(f"{type(self).__name__}.descend")

    def pulled(self, w: Array, g: Array, decay: Array, out: Array) -> Array:
        """Give the gradient of what is to fall, with its decay: g itself, or `out` filled."""
        if self.how & SHRINK:
            np.multiply(w, decay, w)
        if self.how & DECAY:
            np.multiply(w, decay, out)
            return (np.subtract if self.how & UPHILL else np.add)(out, g, out)
        return np.negative(g, out) if self.how & UPHILL else g


def follow(mean: Array, d: Array, weight: Array, buffer: Array) -> None:
    """Move a running mean towards d by a share, in the form that is exact at both ends."""
    np.subtract(d, mean, buffer)
    if abs(weight) < 0.5:
        np.multiply(buffer, weight, buffer)
        np.add(mean, buffer, mean)
    else:
        np.multiply(buffer, 1 - weight, buffer)
        np.subtract(d, buffer, mean)


def follow_square(mean: Array, d: Array, keep: Array, rest: Array, buffer: Array) -> None:
    """Make a running mean of squares keep * mean + rest * d * d."""
    np.multiply(mean, keep, mean)
    np.multiply(d, rest, buffer)
    np.multiply(buffer, d, buffer)
    np.add(mean, buffer, mean)


def pull(options: dict[str, Any], *, decoupled: bool = False) -> tuple[float, int]:
    """Read a group's decay and direction: the first of a rule's numbers, and its bits.

    >>> from chainrule.optim.rules import pull
    >>> pull({"lr": 0.5, "weight_decay": 0.5, "maximize": True}, decoupled=True)
    (0.75, 5)
    """
    how = UPHILL if options["maximize"] else 0
    decay = float(options["weight_decay"])
    if not decay:
        return 0.0, how
    if decoupled:
        return 1.0 - float(options["lr"]) * decay, how | SHRINK
    return decay, how | DECAY
