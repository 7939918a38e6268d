"""Schedules by simple formulas: steps, powers, straight lines."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from chainrule.errors import failure
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import LRScheduler, check_total


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` after every `step_size` epochs.

    rate(t) = base * gamma ** floor(t / step_size).  Source: `torch.optim.lr_scheduler.StepLR`.
    Raises ValueError for a step_size under 1.

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
        check_total("StepLR", "step_size", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        falls = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [rate * self.gamma if falls else rate for rate in self._rates()]

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates."""
        factor = self.gamma ** (self.last_epoch // self.step_size)
        return [base * factor for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each of the `milestones`; one given twice counts twice.

    rate(t) = base * gamma ** (number of milestones <= t).  He et al. (2016) divide so by 10
    twice.  Source: `torch.optim.lr_scheduler.MultiStepLR`, which keeps `milestones` as a Counter;
    here they are a sorted list.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
    >>> schedule = MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step(); schedule.step()
    >>> rates
    [0.5, 0.25, 0.25, 0.125]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        times = self.milestones.count(self.last_epoch)
        return [rate * self.gamma**times if times else rate for rate in self._rates()]

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates."""
        factor = self.gamma ** bisect_right(self.milestones, self.last_epoch)
        return [base * factor for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` in every step.

    rate(t) = base * gamma ** t.  Source: `torch.optim.lr_scheduler.ExponentialLR`.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.8)
    >>> schedule = ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step(); schedule.step(); schedule.get_last_lr()
    [0.4]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        factor = 1.0 if self._initial else self.gamma
        return [rate * factor for rate in self._rates()]

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates."""
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """Multiply the rate by `factor` for the first `total_iters` steps, then no more.

    rate(t) = base * factor for t < total_iters, else base.  Source:
    `torch.optim.lr_scheduler.ConstantLR`.  Raises ValueError for a factor outside [0, 1] and
    for total_iters under 1 (PyTorch takes 0, and then keeps the factor for ever).

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.8)
    >>> schedule = ConstantLR(optimizer, factor=0.5, total_iters=1)
    >>> before = schedule.get_last_lr(); optimizer.step(); schedule.step()
    >>> before, schedule.get_last_lr()
    ([0.4], [0.8])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _check_factor("ConstantLR", factor=factor)
        check_total("ConstantLR", "total_iters", total_iters)
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        rates = self._rates()
        if self.last_epoch == 0:
            return [rate * self.factor for rate in rates]
        if self.last_epoch != self.total_iters:
            return rates
        if self.factor == 0:  # proportions are lost
            return list(self.base_lrs)
        return [rate * (1.0 / self.factor) for rate in rates]

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates."""
        factor = 1.0 if self.last_epoch >= self.total_iters else self.factor
        return [base * factor for base in self.base_lrs]


class LinearLR(LRScheduler):
    """Lead the rate's factor from `start_factor` to `end_factor` along a line; a warm-up.

    rate(t) = base * (start + (end - start) * min(t, total_iters) / total_iters).  With another
    schedule after it, by `SequentialLR`, it is the usual warm-up (Goyal et al., 2017).  Source:
    `torch.optim.lr_scheduler.LinearLR`.  Raises ValueError for a start_factor outside (0, 1], an
    end_factor outside [0, 1], and total_iters under 1 (PyTorch takes 0, and then keeps the
    start_factor for ever).

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step(); schedule.step()
    >>> rates
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _check_factor("LinearLR", start_factor=start_factor)
        _check_factor("LinearLR", end_factor=end_factor)
        check_total("LinearLR", "total_iters", total_iters)
        if start_factor == 0:
            hint = "rates are computed by proportion, which 0 has not"
            raise failure("LinearLR", "start_factor > 0", hint=hint, start_factor=start_factor)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        t, total, rates = self.last_epoch, self.total_iters, self._rates()
        if t == 0:
            return [rate * self.start_factor for rate in rates]
        if self._initial or t > total:
            return rates
        rise = self.end_factor - self.start_factor
        factor = 1.0 + rise / (total * self.start_factor + (t - 1) * rise)
        return [rate * factor for rate in rates]

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates."""
        share = min(self.last_epoch, self.total_iters) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * share
        return [base * factor for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """Lead the rate to 0 in `total_iters` steps along a power of what is left.

    rate(t) = base * (1 - min(t, total_iters) / total_iters) ** power, Caffe's "poly" policy.
    Source: `torch.optim.lr_scheduler.PolynomialLR`.  Raises ValueError for total_iters under 1.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> schedule = PolynomialLR(optimizer, total_iters=4, power=2.0)
    >>> optimizer.step(); schedule.step(); schedule.get_last_lr()
    [0.5625]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        check_total("PolynomialLR", "total_iters", total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        t, total, rates = self.last_epoch, self.total_iters, self._rates()
        if self._initial or t > total:
            return rates
        factor = ((1.0 - t / total) / (1.0 - (t - 1) / total)) ** self.power
        return [rate * factor for rate in rates]

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates."""
        left = 1.0 - min(self.last_epoch, self.total_iters) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]


def _check_factor(name: str, **given: Any) -> None:
    for option, value in given.items():
        if not 0.0 <= value <= 1.0:
            raise failure(name, f"{option} from 0 to 1", **given)
