"""NAdam: Adam with Nesterov's look ahead."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_betas, check_positive
from chainrule.optim.rules import Rule, States, follow, follow_square, pull


class NAdam(Elementwise):
    """w -= lr * m' / (sqrt(v / (1 - beta2^t)) + eps), m' looking one step of momentum ahead.

    g, m and v are Adam's.  With mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2) and the
    product p(t) of mu(1), ..., mu(t): m' = mu(t + 1) * m / (1 - p(t + 1)) +
    (1 - mu(t)) * g / (1 - p(t)).  `decoupled_weight_decay` is as in Adam.

    Source: Dozat (2016); the definition, arguments and defaults are those of `torch.optim.NAdam`.
    `foreach` is accepted and changes nothing; `differentiable` and `capturable` raise
    NotImplementedError.  The state of a parameter is "step", "mu_product" (a Python float, where
    PyTorch rounds it to float32), "exp_avg" and "exp_avg_sq".

    Raises ValueError for a negative rate, eps, decay or momentum decay and for betas outside
    [0, 1); otherwise as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -30.0], requires_grad=True)
    >>> optimizer = NAdam([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> [round(value, 3) for value in w.tolist()]
    [0.894, -29.894]
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step", "mu_product"})

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            **switches(
                "NAdam", foreach=foreach, capturable=capturable, differentiable=differentiable
            ),
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_positive("NAdam", group, "lr", "eps", "weight_decay", "momentum_decay")
        check_betas("NAdam", group["betas"])

    def begin(
        self, value: Array, state: dict[str, Any], group: Group
    ) -> tuple[tuple[int, float], States]:
        """Count the step and multiply its momentum to the others'; give the means."""
        step = counted(state)
        product = float(state.get("mu_product", 1.0)) * _momentum(group, step)
        state["mu_product"] = product
        means = kept(state, "exp_avg", value), kept(state, "exp_avg_sq", value)
        return (step, product), means

    def rule(self, group: Group, key: tuple[int, float]) -> NAdamRule:
        """Give the numbers of a step and a product of momenta."""
        decay, how = pull(group, decoupled=group["decoupled_weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        rate, eps = float(group["lr"]), float(group["eps"])
        step, product = key
        now, ahead = _momentum(group, step), _momentum(group, step + 1)
        of_gradient = rate * (1 - now) / (1 - product)
        of_mean = rate * ahead / (1 - product * ahead)
        bias = 1 - beta2**step
        numbers = (decay, 1 - beta1, beta2, 1 - beta2, bias, of_gradient, of_mean, eps)
        return NAdamRule(*numbers, how=how)


def _momentum(group: Group, step: int) -> float:
    """Give mu(t)."""
    fallen: float = 0.96 ** (step * float(group["momentum_decay"]))
    return float(group["betas"][0]) * (1 - 0.5 * fallen)


class NAdamRule(Rule):
    """w -= (a g + b m) / (sqrt(v / bias) + eps)."""

    kernel = "nadam"

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w, m and v in place."""
        decay, share, keep, rest, bias, of_gradient, of_mean, eps = self.of(w.dtype)
        m, v = states
        one, two = buffers
        d = self.pulled(w, g, decay, one)
        follow(m, d, share, two)
        follow_square(v, d, keep, rest, two)
        np.divide(v, bias, two)
        np.sqrt(two, two)
        np.add(two, eps, two)
        for array, rate in ((d, of_gradient), (m, of_mean)):
            np.multiply(array, rate, one)
            np.divide(one, two, one)
            np.subtract(w, one, w)
