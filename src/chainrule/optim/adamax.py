"""Adamax: Adam by the largest gradient in place of the mean square."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_betas, check_positive
from chainrule.optim.rules import Rule, States, follow, pull


class Adamax(Elementwise):
    """w -= lr / (1 - beta1^t) * m / u, with a mean m of the gradient g and its largest size u.

    g = g (or -g if `maximize`) + weight_decay * w; m = beta1 * m + (1 - beta1) * g;
    u = max(beta2 * u, |g| + eps).

    Source: Kingma and Ba (2015), section 7.1; the definition, arguments and defaults are those of
    `torch.optim.Adamax`.  `foreach` is accepted and changes nothing; `differentiable` and
    `capturable` raise NotImplementedError.  The state of a parameter is "step", "exp_avg" and
    "exp_inf".

    Raises ValueError for a negative rate, eps or decay and for betas outside [0, 1); otherwise
    as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -30.0], requires_grad=True)
    >>> optimizer = Adamax([w], lr=0.25)
    >>> (w * w).sum().backward(); optimizer.step(); w
    tensor([0.75, -29.75], requires_grad=True)
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step"})

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            **switches(
                "Adamax", foreach=foreach, differentiable=differentiable, capturable=capturable
            ),
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_positive("Adamax", group, "lr", "eps", "weight_decay")
        check_betas("Adamax", group["betas"])

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[int, States]:
        """Count the step; give the mean and the largest size."""
        step = counted(state)
        return step, (kept(state, "exp_avg", value), kept(state, "exp_inf", value))

    def rule(self, group: Group, key: int) -> AdamaxRule:
        """Give the numbers of the step `key`."""
        decay, how = pull(group)
        beta1, beta2 = map(float, group["betas"])
        rate = float(group["lr"]) / (1 - beta1**key)
        return AdamaxRule(decay, 1 - beta1, beta2, rate, float(group["eps"]), how=how)


class AdamaxRule(Rule):
    """w -= rate m / u."""

    kernel = "adamax"

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w, m and u in place."""
        decay, share, keep, rate, eps = self.of(w.dtype)
        m, u = states
        one, two = buffers
        d = self.pulled(w, g, decay, one)
        follow(m, d, share, two)
        np.abs(d, two)
        np.add(two, eps, two)
        np.multiply(u, keep, u)
        np.maximum(u, two, out=u)
        np.multiply(m, rate, one)
        np.divide(one, u, one)
        np.subtract(w, one, w)
