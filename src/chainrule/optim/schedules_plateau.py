"""The rate is reduced when a measure stops getting better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

from chainrule.errors import CheckpointError, failure
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import LRScheduler, for_groups


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rate by `factor` when a measure has not become better for `patience` epochs.

    `step(metrics)` is told a number after each epoch: a loss in mode "min", an accuracy in "max".
    Better means below best * (1 - threshold), or with threshold_mode "abs" below
    best - threshold; in mode "max" above best * (1 + threshold) or best + threshold.  After more
    than `patience` epochs in a row that were not better, the rate becomes
    max(rate * factor, min_lr), unless it would change by no more than `eps`; then `cooldown`
    epochs are not counted.  `min_lr` may be a list with a value for each group.  NaN is never
    better.

    With patience 0 and factor 0.1 it is "divide by 10 when validation stops improving" (Krizhevsky
    et al., 2012).  Source: `torch.optim.lr_scheduler.ReduceLROnPlateau`.  Raises ValueError for a
    factor outside [0, 1), unknown modes, a list of another length, TypeError for what is no
    optimiser or no number.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> rates = []
    >>> for loss in [0.9, 0.8, 0.8, 0.8, 0.7]:
    ...     schedule.step(loss)
    ...     rates += schedule.get_last_lr()
    >>> rates
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    unsaved = (*LRScheduler.unsaved, "mode_worse")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        self.optimizer = self._checked(optimizer)
        if not 0.0 <= factor < 1.0:
            raise failure(self._name, "a factor of at least 0 and below 1", factor=factor)
        if mode not in ("min", "max"):
            raise failure(self._name, "mode 'min' or 'max'", mode=mode)
        if threshold_mode not in ("rel", "abs"):
            rule = "threshold_mode 'rel' or 'abs'"
            raise failure(self._name, rule, threshold_mode=threshold_mode)
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.default_min_lr = None if isinstance(min_lr, list | tuple) else float(min_lr)
        self.min_lrs = for_groups(self._name, "min_lr", optimizer, min_lr)
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.best = self.mode_worse
        self.cooldown_counter = self.num_bad_epochs = 0
        self.last_epoch = 0
        self._last_lr = self._rates()

    @property
    def in_cooldown(self) -> bool:
        """Whether epochs are not counted now, after a reduction."""
        return self.cooldown_counter > 0

    def step(  # type: ignore[override]  # as in PyTorch, it is told the measure
        self, metrics: SupportsFloat, epoch: int | None = None
    ) -> None:
        """Take note of an epoch's measure, and reduce the rates if it is time.

        Raises TypeError for what is not one number.
        """
        current = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = self._rates()

    def _is_better(self, current: float) -> bool:
        step = self.threshold if self.mode == "max" else -self.threshold
        bound = self.best + step if self.threshold_mode == "abs" else self.best * (1.0 + step)
        return current > bound if self.mode == "max" else current < bound

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if self.default_min_lr is not None:  # groups may have been added since
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in self._each(self.min_lrs):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                group["lr"] = new

    def state_dict(self) -> dict[str, Any]:
        """Give the state; `best` is a string where it is not finite, since JSON has no infinity."""
        best = self.best if math.isfinite(self.best) else str(self.best)
        return {**super().state_dict(), "best": best}

    def _check_state(self, state: Any) -> None:
        if isinstance(state, Mapping) and "best" in state:
            best = state["best"]
            if best not in ("inf", "-inf") and not isinstance(best, int | float):
                raise CheckpointError(f"{self._name}: expected best as a number; got {best!r}")
            state = {**state, "best": self.state_dict()["best"]}  # a number or a string: as here
        super()._check_state(state)

    def _adopt(self, state: Mapping[str, Any]) -> None:
        super()._adopt({**state, "best": float(state["best"])})
        self.mode_worse = math.inf if self.mode == "min" else -math.inf
