"""Learning rates that change from step to step, as PyTorch's schedulers define them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chainrule.errors import KindError, failure
from chainrule.optim.optimizer import Optimizer


class LRScheduler:
    """Sets the rate of every group of an optimiser; `step()` goes on to the next one.

    The rates at construction are the `base_lrs` (kept as "initial_lr" in the groups).  Call
    `optimizer.step()` first and `step()` after it, once an epoch or once a batch, whichever the
    schedule counts.  Subclasses implement `get_lr`.  Raises TypeError for what is no optimiser,
    ValueError when going on from `last_epoch` without the groups' "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            raise failure(name, "an optimiser", error=KindError, optimizer=optimizer)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group["initial_lr"] = group["lr"]
            elif "initial_lr" not in group:
                rule = f'"initial_lr" in param_groups[{number}] when going on from an epoch'
                raise failure(name, rule, last_epoch=last_epoch)
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._first = True
        self.step()
        self._first = False

    def get_lr(self) -> list[float]:
        """Compute the rates of the groups at `last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__}.get_lr")

    def get_last_lr(self) -> list[float]:
        """Give the rates that are set now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Set the rates of the next epoch (or batch)."""
        self.last_epoch += 1
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """Give all but the optimiser and functions, as plain values."""
        hidden = ("optimizer", "lr_lambdas")
        return {key: value for key, value in self.__dict__.items() if key not in hidden}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; the optimiser's own state is loaded apart."""
        self.__dict__.update(state_dict)


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` after every `step_size` epochs.

    rate(t) = base * gamma ** floor(t / step_size).  Raises ValueError for a step_size under 1.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.8)
    >>> schedule = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(3): optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.4]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size < 1:
            raise failure("StepLR", "step_size >= 1", step_size=step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        falls = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [rate * self.gamma if falls else rate for rate in self.get_last_lr()]


class CosineAnnealingLR(LRScheduler):
    """Lead the rate from its base to `eta_min` in `T_max` steps along half a cosine.

    rate(t) = eta_min + (base - eta_min) * (1 + cos(pi * t / T_max)) / 2; it rises again after
    T_max.  Source: Loshchilov and Hutter, SGDR (2017), without the restarts.  Each rate is
    computed from the one before, so that a rate changed by hand stays changed in proportion.
    Raises ValueError for T_max under 1.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step(); schedule.step(); [round(rate, 6) for rate in schedule.get_last_lr()]
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if T_max < 1:
            raise failure("CosineAnnealingLR", "T_max >= 1", T_max=T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        t, period = self.last_epoch, self.T_max
        rates = self.get_last_lr()
        if self._first:  # the optimiser's own rates, also when going on from an earlier run
            return rates
        if (t - 1 - period) % (2 * period) == 0:  # the rate is at its floor: proportions are lost
            rise = (1 - math.cos(math.pi / period)) / 2
            pairs = zip(rates, self.base_lrs, strict=True)
            return [rate + (base - self.eta_min) * rise for rate, base in pairs]
        ratio = (1 + math.cos(math.pi * t / period)) / (1 + math.cos(math.pi * (t - 1) / period))
        return [(rate - self.eta_min) * ratio + self.eta_min for rate in rates]


class LambdaLR(LRScheduler):
    """Set the rate to base * lr_lambda(t), with one function or one a group.

    Raises ValueError if the number of functions is not that of the groups.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
    >>> LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / 10)).get_last_lr()
    [0.05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        lambdas = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * groups
        if len(lambdas) != groups:
            rule = f"one function a group: {groups}"
            raise failure("LambdaLR", rule, functions=len(lambdas))
        self.lr_lambdas: list[Any] = lambdas
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch`."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * fn(self.last_epoch) for base, fn in pairs]
