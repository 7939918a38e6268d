"""Adam and AdamW: steps by running means of the gradient and of its square."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from chainrule.engine.op import Array
from chainrule.optim.elementwise import Elementwise, counted, kept, switches
from chainrule.optim.optimizer import Group, check_betas, check_positive
from chainrule.optim.rules import Rule, States, follow, follow_square, pull


class Adam(Elementwise):
    """w -= lr * m' / (sqrt(v') + eps), with means m of the gradient g and v of its square.

    g = g (or -g if `maximize`) + weight_decay * w; m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g; m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) at
    step t.  With `amsgrad` the largest v so far stands for v.  With `decoupled_weight_decay` the
    decay is w *= 1 - lr * weight_decay ahead of the step, and leaves the means alone.

    Sources: Kingma and Ba (2015); Reddi et al. (2018) for `amsgrad`; Loshchilov and Hutter
    (2019) for the decoupled decay; the definition, arguments and defaults are those of
    `torch.optim.Adam`.  `foreach` and `fused` are accepted and change nothing;
    `differentiable` and `capturable` raise NotImplementedError.  The state of a parameter is
    "step", "exp_avg", "exp_avg_sq" and, with `amsgrad`, "max_exp_avg_sq".

    Raises ValueError for a negative rate, eps or decay and for betas outside [0, 1); otherwise
    as `Optimizer`.

    >>> import chainrule as cr
    >>> w = cr.tensor([1.0, -30.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.1)
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     (w * w).sum().backward()
    ...     optimizer.step()
    >>> [round(value, 2) for value in w.tolist()]
    [0.51, -29.5]
    """

    counters: ClassVar[frozenset[str]] = frozenset({"step"})

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            **switches(
                type(self).__name__,
                foreach=foreach,
                capturable=capturable,
                differentiable=differentiable,
                fused=fused,
            ),
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def check_options(self, group: Group) -> None:
        """Check one group's numbers; see the class."""
        check_positive(self._name, group, "lr", "eps", "weight_decay")
        check_betas(self._name, group["betas"])

    def begin(self, value: Array, state: dict[str, Any], group: Group) -> tuple[int, States]:
        """Count the step; give the means and, with `amsgrad`, the largest."""
        step = counted(state)
        means = kept(state, "exp_avg", value), kept(state, "exp_avg_sq", value)
        most = kept(state, "max_exp_avg_sq", value) if group["amsgrad"] else None
        return step, (*means, most)

    def rule(self, group: Group, key: int) -> AdamRule:
        """Give the numbers of the step `key`."""
        decay, how = pull(group, decoupled=group["decoupled_weight_decay"])
        beta1, beta2 = map(float, group["betas"])
        rate, root = float(group["lr"]) / (1 - beta1**key), math.sqrt(1 - beta2**key)
        eps = float(group["eps"])
        return AdamRule(decay, 1 - beta1, beta2, 1 - beta2, rate, root, eps, how=how)


class AdamRule(Rule):
    """w -= rate m / (sqrt(v) / root + eps), or by the largest v."""

    kernel = "adam"

    def descend(self, w: Array, g: Array, states: States, buffers: list[Array]) -> None:
        """Change w, m, v and the largest v in place."""
        decay, share, keep, rest, rate, root, eps = self.of(w.dtype)
        m, v, most = states
        one, two = buffers
        d = self.pulled(w, g, decay, one)
        follow(m, d, share, two)
        follow_square(v, d, keep, rest, two)
        if most is not None:
            np.maximum(most, v, out=most)
        np.sqrt(v if most is None else most, two)
        np.divide(two, root, two)
        np.add(two, eps, two)
        np.multiply(m, rate, one)
        np.divide(one, two, one)
        np.subtract(w, one, w)


class AdamW(Adam):
    """Adam with decoupled weight decay: w *= 1 - lr * weight_decay ahead of each step.

    Arguments and defaults (weight_decay 0.01) are those of `torch.optim.AdamW`; all else, the
    errors too, is `Adam`'s.  A state loaded from Adam goes on with decoupled decay.

    Source: Loshchilov and Hutter (2019).

    >>> import chainrule as cr
    >>> w = cr.tensor([2.0], requires_grad=True)
    >>> optimizer = AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (0 * w).sum().backward(); optimizer.step(); w  # only the decay: 2 * (1 - 0.1 * 0.5)
    tensor([1.9], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state, of Adam too; see `Optimizer.load_state_dict`.

        >>> import chainrule as cr
        >>> w = cr.tensor([1.0], requires_grad=True)
        >>> optimizer = AdamW([w])
        >>> optimizer.load_state_dict(cr.optim.Adam([w], lr=0.5).state_dict())
        >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["decoupled_weight_decay"]
        (0.5, True)
        """
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
