"""RMSprop: steps divided by the root of the gradient's mean square."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_positive
from chainrule.optim.rules import Rule, States, follow, follow_square, pull


class RMSprop(Elementwise):
    """w -= lr * g / (sqrt(v) + eps), with a running mean v of g * g.

    g = g (or -g if `maximize`) + weight_decay * w; v = alpha * v + (1 - alpha) * g * g.  With
    `centered`, the square of g's own mean is taken from v under the root, which leaves the
    variance.  With momentum, b = momentum * b + g / (sqrt(v) + eps) and w -= lr * b.

    Sources: Hinton's lecture 6e of Neural Networks for Machine Learning (2012); Graves (2013)
    for `centered`; the definition, arguments and defaults are those of `torch.optim.RMSprop`.
    `foreach` is accepted and changes nothing; `differentiable` and `capturable` raise
    NotImplementedError.  The state of a parameter is "step", "square_avg" and, where they are
    wanted, "momentum_buffer" and "grad_avg".

    Raises ValueError for a negative number among the options; otherwise as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -30.0], requires_grad=True)
    >>> optimizer = RMSprop([w], lr=0.1, alpha=0.75)
    >>> (w * w).sum().backward(); optimizer.step(); w
    tensor([0.8, -29.8], requires_grad=True)
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step"})

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
            **switches(
                "RMSprop", capturable=capturable, foreach=foreach, differentiable=differentiable
            ),
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_positive("RMSprop", group, "lr", "eps", "momentum", "weight_decay", "alpha")

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[None, States]:
        """Count the step; give the mean square, the momentum and the mean."""
        counted(state)
        square = kept(state, "square_avg", value)
        momentum = kept(state, "momentum_buffer", value) if group["momentum"] > 0 else None
        mean = kept(state, "grad_avg", value) if group["centered"] else None
        return None, (square, momentum, mean)

    def rule(self, group: Group, key: None) -> RMSpropRule:
        """Give one group's numbers, alike in all steps."""
        decay, how = pull(group)
        alpha, eps, momentum, rate = (
            float(group[option]) for option in ("alpha", "eps", "momentum", "lr")
        )
        return RMSpropRule(decay, alpha, 1 - alpha, eps, momentum, rate, how=how)


class RMSpropRule(Rule):
    """w -= rate g / (sqrt(v) + eps), or rate b."""

    kernel = "rmsprop"

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w, v, b and the mean in place."""
        decay, alpha, rest, eps, momentum, rate = self.of(w.dtype)
        v, b, mean = states
        one, two = buffers
        d = self.pulled(w, g, decay, one)
        follow_square(v, d, alpha, rest, two)
        if mean is None:
            np.sqrt(v, two)
        else:
            follow(mean, d, rest, two)
            np.multiply(mean, mean, two)
            np.subtract(v, two, two)
            np.sqrt(two, two)
        np.add(two, eps, two)
        if b is None:
            np.multiply(d, rate, one)
            np.divide(one, two, one)
        else:
            np.divide(d, two, two)
            np.multiply(b, momentum, b)
            np.add(b, two, b)
            np.multiply(b, rate, one)
        np.subtract(w, one, w)
