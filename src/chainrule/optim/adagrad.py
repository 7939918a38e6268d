"""Adagrad: steps that shrink with the sum of squared gradients."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_positive
from chainrule.optim.rules import Rule, States, pull


class Adagrad(Elementwise):
    """w -= lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps) at step t, where s sums g * g.

    g = g (or -g if `maximize`) + weight_decay * w; s begins as `initial_accumulator_value`.

    Source: Duchi et al. (2011); the definition, arguments and defaults are those of
    `torch.optim.Adagrad`.  `foreach` and `fused` are accepted and change nothing;
    `differentiable` raises NotImplementedError.  The state of a parameter is "step" and "sum",
    there before the first step, as in PyTorch.  A group's own `initial_accumulator_value` holds,
    where PyTorch takes the constructor's for all.

    Raises ValueError for a negative number among the options; otherwise as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -30.0], requires_grad=True)
    >>> optimizer = Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward(); optimizer.step(); w
    tensor([0.5, -29.5], requires_grad=True)
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step"})

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
            **switches("Adagrad", foreach=foreach, differentiable=differentiable, fused=fused),
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for name, tensor in zip(group["param_names"], group["params"], strict=True):
                _sum(self.state.setdefault(name, {"step": 0}), tensor.array, group)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        options = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
        check_positive("Adagrad", group, *options)

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[int, States]:
        """Count the step; give the sum."""
        return counted(state), (_sum(state, value, group),)

    def rule(self, group: Group, key: int) -> AdagradRule:
        """Give the numbers of the step `key`."""
        decay, how = pull(group)
        rate = float(group["lr"]) / (1 + (key - 1) * float(group["lr_decay"]))
        return AdagradRule(decay, rate, float(group["eps"]), how=how)


def _sum(state: dict[str, Any], value: Array, group: Group) -> Array:
    return kept(state, "sum", value, float(group["initial_accumulator_value"]))


class AdagradRule(Rule):
    """w -= rate g / (sqrt(s) + eps)."""

    kernel = "adagrad"

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w and s in place."""
        decay, rate, eps = self.of(w.dtype)
        (s,) = states
        one, two = buffers
        d = self.pulled(w, g, decay, one)
        np.multiply(d, d, two)
        np.add(s, two, s)
        np.sqrt(s, two)
        np.add(two, eps, two)
        np.multiply(d, rate, one)
        np.divide(one, two, one)
        np.subtract(w, one, w)
