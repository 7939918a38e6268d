"""RAdam: Adam that waits until the mean square is worth dividing by."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_betas, check_positive
from chainrule.optim.rules import FREE, Rule, States, follow, follow_square, pull

DIVIDED = FREE
"""A bit of the rule: the mean square is worth dividing by."""


class RAdam(Elementwise):
    """w -= lr * r * m' * sqrt(1 - beta2^t) / (sqrt(v) + eps); at first w -= lr * m'.

    g, m, v and m' = m / (1 - beta1^t) are Adam's.  With s = 2 / (1 - beta2) - 1 and
    p = s - 2 * t * beta2^t / (1 - beta2^t), the length of the mean at step t, the first form
    holds where p > 5, and r^2 = (p - 4) (p - 2) s / ((s - 4) (s - 2) p).
    `decoupled_weight_decay` is as in Adam.

    Source: Liu et al. (2020); the definition, arguments and defaults are those of
    `torch.optim.RAdam`.  `foreach` is accepted and changes nothing; `differentiable` and
    `capturable` raise NotImplementedError.  The state of a parameter is "step", "exp_avg" and
    "exp_avg_sq".

    Raises ValueError for a negative rate, eps or decay and for betas outside [0, 1); otherwise
    as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -3.0], requires_grad=True)
    >>> optimizer = RAdam([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step(); w
    tensor([0.8, -2.4], requires_grad=True)
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step"})

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
            **switches(
                "RAdam", foreach=foreach, capturable=capturable, differentiable=differentiable
            ),
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_positive("RAdam", group, "lr", "eps", "weight_decay")
        check_betas("RAdam", group["betas"])

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[int, States]:
        """Count the step; give the means."""
        step = counted(state)
        return step, (kept(state, "exp_avg", value), kept(state, "exp_avg_sq", value))

    def rule(self, group: Group, key: int) -> RAdamRule:
        """Give the numbers of the step `key`."""
        decay, how = pull(group, decoupled=group["decoupled_weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        rate, bias = float(group["lr"]) / (1 - beta1**key), 1 - beta2**key
        most = 2 / (1 - beta2) - 1
        length = most - 2 * key * beta2**key / bias
        if length > 5:
            how |= DIVIDED
            square = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            rate *= math.sqrt(square) * math.sqrt(bias)
        return RAdamRule(decay, 1 - beta1, beta2, 1 - beta2, rate, float(group["eps"]), how=how)


class RAdamRule(Rule):
    """w -= rate m, with `DIVIDED` w -= rate m / (sqrt(v) + eps)."""

    kernel = "radam"

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w, m and v in place."""
        decay, share, keep, rest, rate, eps = self.of(w.dtype)
        m, v = states
        one, two = buffers
        d = self.pulled(w, g, decay, one)
        follow(m, d, share, two)
        follow_square(v, d, keep, rest, two)
        np.multiply(m, rate, one)
        if self.how & DIVIDED:
            np.sqrt(v, two)
            np.add(two, eps, two)
            np.divide(one, two, one)
        np.subtract(w, one, w)
