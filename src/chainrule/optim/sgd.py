"""Stochastic gradient descent, with momentum, Nesterov's look ahead and weight decay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import KindError, failure
from chainrule.optim.elementwise import Elementwise, kept, switches
from chainrule.optim.optimizer import Group, check_range
from chainrule.optim.rules import FREE, Rule, States, pull

FIRST, AHEAD = FREE, 2 * FREE
"""Bits of the rule: the momentum begins as d; Nesterov's look ahead."""


class SGD(Elementwise):
    """w -= lr * d, where d is the gradient g with decay and momentum.

    d = g (or -g if `maximize`) + weight_decay * w; with momentum, v = momentum * v +
    (1 - dampening) * d (v = d at the first step), and then d = v, or with `nesterov`
    d = d + momentum * v.

    Sources: Polyak (1964); Nesterov (1983) in the form of Sutskever et al. (2013); the
    definition, arguments and defaults are those of `torch.optim.SGD`.  `foreach` and `fused` are
    accepted for programs that set them, and change nothing; `differentiable=True` raises
    NotImplementedError, since gradients are first order.

    Raises ValueError for a negative rate, momentum or decay, and for Nesterov without momentum
    or with dampening; otherwise as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> w
    tensor([0.46], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            **switches("SGD", foreach=foreach, differentiable=differentiable, fused=fused),
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_range(
            "SGD",
            lr=(group["lr"], 0.0, math.inf),
            momentum=(group["momentum"], 0.0, math.inf),
            weight_decay=(group["weight_decay"], 0.0, math.inf),
        )
        if isinstance(group["dampening"], bool) or not math.isfinite(group["dampening"]):
            rule = "a number as dampening"
            raise failure("SGD", rule, error=KindError, dampening=group["dampening"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise failure(
                "SGD",
                "momentum > 0 and dampening = 0 with nesterov",
                momentum=group["momentum"],
                dampening=group["dampening"],
            )

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[bool, States]:
        """Give the momentum, and whether it begins with this step."""
        if not group["momentum"]:
            return False, (None,)
        first = state.get("momentum_buffer") is None
        return first, (kept(state, "momentum_buffer", value),)

    def rule(self, group: Group, key: bool) -> Momentum:
        """Give one group's numbers."""
        decay, how = pull(group)
        how |= (FIRST if key else 0) | (AHEAD if group["nesterov"] else 0)
        momentum, dampening = float(group["momentum"]), float(group["dampening"])
        return Momentum(decay, float(group["lr"]), momentum, 1.0 - dampening, how=how)


class Momentum(Rule):
    """With v = momentum v + kept d (v = d at the first step) and `AHEAD`: d + momentum v."""

    kernel = "sgd"

    @property
    def first(self) -> bool:
        """Whether the momentum begins."""
        return bool(self.how & FIRST)

    @property
    def ahead(self) -> bool:
        """Whether the step is taken from where the momentum leads."""
        return bool(self.how & AHEAD)

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w and v in place."""
        decay, rate, momentum, share = self.of(w.dtype)
        (v,), (one, two) = states, buffers
        d = self.pulled(w, g, decay, one)
        if v is not None:
            if self.how & FIRST:
                np.copyto(v, d)
            else:
                np.multiply(v, momentum, v)
                np.add(v, d if self.numbers[3] == 1 else np.multiply(d, share, two), v)
            d = np.add(d, np.multiply(v, momentum, two), two) if self.how & AHEAD else v
        np.subtract(w, np.multiply(d, rate, two), w)
