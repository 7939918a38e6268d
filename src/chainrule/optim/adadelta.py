"""Adadelta: steps as long as the steps before them, in proportion to the gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_positive, check_range
from chainrule.optim.rules import Rule, States, follow_square, pull


class Adadelta(Elementwise):
    """w -= lr * d with d = sqrt(u + eps) / sqrt(v + eps) * g, by mean squares u of d and v of g.

    g = g (or -g if `maximize`) + weight_decay * w; v = rho * v + (1 - rho) * g * g before the
    step, u = rho * u + (1 - rho) * d * d after it.

    Source: Zeiler (2012); the definition, arguments and defaults are those of
    `torch.optim.Adadelta`.  `foreach` is accepted and changes nothing; `differentiable` and
    `capturable` raise NotImplementedError.  The state of a parameter is "step", "square_avg" and
    "acc_delta".

    Raises ValueError for a negative rate, eps or decay and for rho outside [0, 1]; otherwise as
    `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -30.0], requires_grad=True)
    >>> optimizer = Adadelta([w], lr=100.0)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> [round(value, 2) for value in w.tolist()]
    [0.68, -29.68]
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step"})

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            **switches(
                "Adadelta", capturable=capturable, foreach=foreach, differentiable=differentiable
            ),
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_positive("Adadelta", group, "lr", "eps", "weight_decay")
        check_range("Adadelta", rho=(group["rho"], 0.0, 1.0))

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[None, States]:
        """Count the step; give the mean squares."""
        counted(state)
        return None, (kept(state, "square_avg", value), kept(state, "acc_delta", value))

    def rule(self, group: Group, key: None) -> AdadeltaRule:
        """Give one group's numbers, alike in all steps."""
        decay, how = pull(group)
        rho, eps, rate = (float(group[option]) for option in ("rho", "eps", "lr"))
        return AdadeltaRule(decay, rho, 1 - rho, eps, rate, how=how)


class AdadeltaRule(Rule):
    """w -= rate sqrt(u + eps) / sqrt(v + eps) g."""

    kernel = "adadelta"
    buffers = 3

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w, v and u in place."""
        decay, rho, rest, eps, rate = self.of(w.dtype)
        v, u = states
        one, move, two = buffers
        d = self.pulled(w, g, decay, one)
        follow_square(v, d, rho, rest, two)
        for square, root in ((u, move), (v, two)):
            np.add(square, eps, root)
            np.sqrt(root, root)
        np.divide(move, two, move)
        np.multiply(move, d, move)
        follow_square(u, move, rho, rest, two)
        np.subtract(w, np.multiply(move, rate, two), w)
