"""Schedules along half a cosine, once or with restarts."""

from __future__ import annotations

import math

from chainrule.errors import failure
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import LRScheduler, check_total, check_whole


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
        check_total("CosineAnnealingLR", "T_max", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        t, period = self.last_epoch, self.T_max
        rates = self._rates()
        if self._initial:  # the optimiser's own rates, also when going on from an earlier run
            return rates
        if (t - 1 - period) % (2 * period) == 0:  # the rate is at its floor: proportions are lost
            rise = (1 - math.cos(math.pi / period)) / 2
            pairs = self._each(self.base_lrs)
            return [float(group["lr"]) + (base - self.eta_min) * rise for group, base in pairs]
        ratio = (1 + math.cos(math.pi * t / period)) / (1 + math.cos(math.pi * (t - 1) / period))
        return [(rate - self.eta_min) * ratio + self.eta_min for rate in rates]

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates."""
        return _along(self.base_lrs, self.eta_min, self.last_epoch / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Lead the rate from its base to `eta_min` along half a cosine, again and again.

    rate(t) = eta_min + (base - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2, with T_cur steps since
    the last restart; the first round takes T_i = T_0 steps, each next one T_mult times as many.
    Source: Loshchilov and Hutter, SGDR (2017), equation 5.

    `step(epoch)` takes fractions, for rates that change within an epoch:
    `schedule.step(epoch + batch / batches)`.

    Raises ValueError unless T_0 and T_mult are integers of at least 1, and for an epoch under 0.
    When going on from a `last_epoch` beyond the second round PyTorch 2.13 takes a wrong round;
    here it is the right one.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    >>> rates = []
    >>> for _ in range(7):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step(); schedule.step()
    >>> [round(rate, 3) for rate in rates]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        check_whole("CosineAnnealingWarmRestarts", T_0=T_0, T_mult=T_mult)
        self.T_0, self.T_mult, self.eta_min = int(T_0), int(T_mult), eta_min
        self.T_cur: float = last_epoch
        self.T_i: float = self.T_0
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Set the rates of the next step, or those at `epoch`, from which it then goes on."""
        if epoch is not None and not epoch >= 0:
            raise failure(self._name, "an epoch of at least 0", epoch=epoch)
        self._step_count += 1
        if epoch is None and self.last_epoch >= 0 and not self._initial:
            self.T_cur += 1  # not out of last_epoch, since an epoch may have had a fraction
            if self.T_cur >= self.T_i:
                self.T_cur, self.T_i = self.T_cur - self.T_i, self.T_i * self.T_mult
        else:
            self._locate(self.last_epoch + 1 if epoch is None else epoch)
        self._go(self.last_epoch + 1 if epoch is None else math.floor(epoch))

    def _locate(self, epoch: float) -> None:
        """Find the round of an epoch, and the place in it."""
        if self.T_mult == 1:
            self.T_cur, self.T_i = epoch % self.T_0, self.T_0
            return
        self.T_cur, self.T_i = epoch, self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur, self.T_i = self.T_cur - self.T_i, self.T_i * self.T_mult

    def get_lr(self) -> list[float]:
        """Compute the rates `T_cur` steps after the last restart."""
        return _along(self.base_lrs, self.eta_min, self.T_cur / self.T_i)


def _along(bases: list[float], low: float, share: float) -> list[float]:
    """Give the rates at a share of the way down half a cosine."""
    height = (1 + math.cos(math.pi * share)) / 2
    return [low + (base - low) * height for base in bases]
