"""Several schedules of one optimiser: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from chainrule.errors import CheckpointError, KindError, failure
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import LRScheduler
from chainrule.optim.schedules_plateau import ReduceLROnPlateau


class _Joined(LRScheduler):
    """Holds schedules; its state holds theirs."""

    unsaved = (*LRScheduler.unsaved, "_schedulers")
    _schedulers: list[LRScheduler]

    def _own(self, schedulers: Sequence[Any], optimizer: Optimizer | None) -> None:
        """Check the schedules, and keep them."""
        if not schedulers:
            raise failure(self._name, "at least one schedule", schedulers=schedulers)
        for number, schedule in enumerate(schedulers):
            if not isinstance(schedule, LRScheduler):
                raise failure(self._name, "schedules", error=KindError, number=number, it=schedule)
            if isinstance(schedule, ReduceLROnPlateau):
                rule = "schedules that need no measure in step(), not ReduceLROnPlateau"
                raise failure(self._name, rule, hint="step it apart")
        owner = schedulers[0].optimizer if optimizer is None else optimizer
        for number, schedule in enumerate(schedulers):
            if schedule.optimizer is not owner:
                rule = f"schedules of one optimiser; number {number} has another"
                raise failure(self._name, rule)
        self._schedulers = list(schedulers)
        self.optimizer = owner
        self._initial = False

    def _only_forward(self, epoch: int | None) -> None:
        if epoch is not None:
            raise failure(self._name, "step() without an epoch", error=KindError, epoch=epoch)

    def _rewind(self) -> None:
        for schedule in self._schedulers:
            schedule._rewind()

    def _restart(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._begin()

    def state_dict(self) -> dict[str, Any]:
        """Give the state, with those of the schedules."""
        inner = [schedule.state_dict() for schedule in self._schedulers]
        return {**super().state_dict(), "_schedulers": inner}

    def _check_state(self, state: Any) -> None:
        super()._check_state(state)
        inner = state["_schedulers"]
        if len(inner) != len(self._schedulers):
            raise CheckpointError(
                f"{self._name}: the state is of {len(inner)} schedules, here are "
                f"{len(self._schedulers)}"
            )
        for schedule, saved in zip(self._schedulers, inner, strict=True):
            schedule._check_state(saved)

    def _adopt(self, state: Mapping[str, Any]) -> None:
        super()._adopt({k: v for k, v in state.items() if k != "_schedulers"})
        for schedule, saved in zip(self._schedulers, state["_schedulers"], strict=True):
            schedule._adopt(saved)


class SequentialLR(_Joined):
    """Follow one schedule after the other: the next one begins, at its step 0, at each milestone.

    This is how a warm-up is written, as in the example: `LinearLR` up to the first milestone,
    then any other schedule.  All are made for the same optimiser beforehand.  At a milestone
    rates are those of the next schedule's closed form at 0, if it has one (its base rates), or
    else what it makes of the present ones.

    Source: `torch.optim.lr_scheduler.SequentialLR`.  A `SequentialLR` or `ChainedScheduler`
    among the schedules begins as it would alone (PyTorch 2.13 takes a step of it at once, and
    refuses it after a milestone).  Raises ValueError for another number of milestones
    than one less than that of schedules, for milestones that do not rise, for schedules of
    another optimiser, and for `ReduceLROnPlateau`; TypeError for what is no schedule.

    >>> import chainrule as cr
    >>> from chainrule.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> warm_up = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> after = CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule = SequentialLR(optimizer, [warm_up, after], milestones=[3])
    >>> rates = []
    >>> for _ in range(6):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step(); schedule.step()
    >>> [round(rate, 6) for rate in rates]
    [0.25, 0.5, 0.75, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        self._own(schedulers, self._checked(optimizer))
        if len(milestones) != len(schedulers) - 1:
            rule = f"{len(schedulers) - 1} milestones between {len(schedulers)} schedules"
            raise failure(self._name, rule, milestones=milestones)
        if sorted(milestones) != list(milestones):
            raise failure(self._name, "milestones in rising order", milestones=milestones)
        self._milestones = list(milestones)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._rewind()
        self._begin()
        self.last_epoch = last_epoch + 1

    def _begin(self) -> None:
        self.last_epoch = 0
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._begin()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Take the step of the schedule whose turn it is; raises TypeError for an epoch."""
        self._only_forward(epoch)
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        schedule = self._schedulers[turn]
        if turn > 0 and self._milestones[turn - 1] == self.last_epoch:
            schedule._restart()
        else:
            schedule.step()
        self._last_lr = schedule.get_last_lr()


class ChainedScheduler(_Joined):
    """Take the steps of several schedules each time, so that their factors multiply.

    Schedules that compute rates from base rates alone (`LambdaLR`, `OneCycleLR`, `CyclicLR`,
    `CosineAnnealingWarmRestarts`) undo what those before them did.  Source:
    `torch.optim.lr_scheduler.ChainedScheduler`.  Raises ValueError for none, for schedules of
    different optimisers and for `ReduceLROnPlateau`, TypeError for what is no schedule.

    >>> import chainrule as cr
    >>> from chainrule.optim.lr_scheduler import ChainedScheduler, ExponentialLR, StepLR
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=1.0)
    >>> parts = [ExponentialLR(optimizer, gamma=0.5), StepLR(optimizer, 2, gamma=0.125)]
    >>> schedule = ChainedScheduler(parts)
    >>> for _ in range(2): optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.03125]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self._own(schedulers, optimizer)
        self._last_lr = self._rates()

    def _begin(self) -> None:
        for schedule in self._schedulers:
            schedule._begin()
        self._last_lr = self._rates()

    def step(self, epoch: int | None = None) -> None:
        """Take a step of each schedule, in order; raises TypeError for an epoch."""
        self._only_forward(epoch)
        for schedule in self._schedulers:
            schedule.step()
        self._last_lr = self._rates()
