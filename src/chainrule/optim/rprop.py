"""Rprop: steps by the gradient's sign, each number with a size of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import failure
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_pair, check_positive
from chainrule.optim.rules import UPHILL, Rule, States


class Rprop(Elementwise):
    """w -= sign(g) * size, where a size grows while g keeps its sign and shrinks when it turns.

    With the gradient g (or -g if `maximize`) and the one before it: size *= etas[1] where their
    product is above 0 and etas[0] where it is below, within `step_sizes`; where it is below,
    w stays, and g counts as 0 in the next step.  Sizes begin as `lr`.  For whole batches: the
    sign of a small batch's gradient turns by chance.

    Source: Riedmiller and Braun (1993); the definition, arguments and defaults are those of
    `torch.optim.Rprop`, whose sign of NaN is 0: it moves nothing.  `foreach` is accepted and
    changes nothing; `differentiable` and `capturable` raise NotImplementedError.  The state of a
    parameter is "step", "prev" and "step_size".

    Raises ValueError for a negative rate and unless etas[0] is in (0, 1) and etas[1] above 1;
    otherwise as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -30.0], requires_grad=True)
    >>> optimizer = Rprop([w], lr=0.5)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w  # by 0.5, then by 0.6
    tensor([-0.1, -28.9], requires_grad=True)
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step"})

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "maximize": maximize,
            **switches(
                "Rprop", foreach=foreach, differentiable=differentiable, capturable=capturable
            ),
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_positive("Rprop", group, "lr")
        check_pair("Rprop", "step_sizes", group["step_sizes"])
        shrinking, growth = check_pair("Rprop", "etas", group["etas"])
        if not 0.0 < shrinking < 1.0 < growth:
            raise failure("Rprop", "etas with 0 < etas[0] < 1 < etas[1]", etas=group["etas"])

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[None, States]:
        """Count the step; give the gradient before and the sizes."""
        counted(state)
        before = kept(state, "prev", value)
        return None, (before, kept(state, "step_size", value, float(group["lr"])))

    def rule(self, group: Group, key: None) -> RpropRule:
        """Give one group's numbers, alike in all steps."""
        numbers = map(float, (*group["etas"], *group["step_sizes"]))
        return RpropRule(0.0, *numbers, how=UPHILL if group["maximize"] else 0)


class RpropRule(Rule):
    """w -= sign(g) size."""

    kernel = "rprop"

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w, the gradient before and the sizes in place."""
        _, shrinking, growth, least, most = self.of(w.dtype)
        before, size = states
        one, two = buffers
        d = self.pulled(w, g, least, one)
        np.multiply(d, before, two)
        turned, one_times = two < 0, growth.dtype.type(1)
        np.multiply(size, np.where(turned, shrinking, np.where(two > 0, growth, one_times)), size)
        np.maximum(size, least, out=size)
        np.minimum(size, most, out=size)
        np.copyto(before, d)
        np.copyto(before, 0, where=turned)
        np.subtract(before > 0, before < 0, out=two, dtype=two.dtype)  # 0 for NaN
        np.subtract(w, np.multiply(two, size, two), w)
