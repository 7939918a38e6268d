"""What all learning-rate schedules share: counting steps, setting rates, their state."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from chainrule.errors import CheckpointError, KindError, failure
from chainrule.optim.optimizer import Group, Optimizer

T = TypeVar("T")


class LRScheduler:
    """Sets the rate of every group of an optimiser; `step()` goes on to the next one.

    The rates at construction are the `base_lrs`, kept as "initial_lr" in the groups; a group
    that has one already, from an earlier schedule, keeps it.  Call `optimizer.step()` first and
    `step()` after it, once an epoch or once a batch, whichever the schedule counts.

    Subclasses implement `get_lr`, the rates at `last_epoch` out of those that are set, so that
    several schedules of one optimiser multiply; and, where they can, `closed_form`, the same out
    of the base rates alone.  Names and meaning are those of `torch.optim.lr_scheduler`.

    `state_dict` holds plain values, ready for JSON.  A schedule goes on exactly once the
    optimiser's state was loaded too, which holds the rates: build both, then load both.

    Raises TypeError for what is no optimiser, ValueError when going on from `last_epoch` without
    the groups' "initial_lr".

    >>> import chainrule as cr
    >>> class Halving(LRScheduler):
    ...     def get_lr(self):
    ...         return [base / 2**self.last_epoch for base in self.base_lrs]
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
    >>> schedule = Halving(optimizer)
    >>> optimizer.step(); schedule.step(); schedule.get_last_lr()
    [0.25]
    """

    unsaved: tuple[str, ...] = ("optimizer", "_initial")
    """Attributes that `state_dict` leaves out."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = self._checked(optimizer)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                rule = f'"initial_lr" in param_groups[{number}] when going on from an epoch'
                raise failure(self._name, rule, last_epoch=last_epoch)
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begin()

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _checked(self, optimizer: Any) -> Optimizer:
        if not isinstance(optimizer, Optimizer):
            raise failure(self._name, "an optimiser", error=KindError, optimizer=optimizer)
        return optimizer

    # Going on

    def step(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch (or batch), or those of `epoch` by the closed form.

        Raises ValueError if a group was added to the optimiser that the schedule has no rate for.
        """
        self._step_count += 1
        self._go(epoch)

    def _go(self, epoch: int | None = None) -> None:
        before = self.last_epoch
        self.last_epoch = before + 1 if epoch is None else epoch
        try:
            rates = self.get_lr() if epoch is None else self.closed_form()
            pairs = list(self._each(rates))
        except BaseException:
            self.last_epoch = before
            raise
        for group, rate in pairs:
            group["lr"] = rate
        self._last_lr = self._rates()

    def _begin(self) -> None:
        """Take the step from before the first epoch into it."""
        self._step_count = 0
        self._initial = True
        try:
            self.step()
        finally:
            self._initial = False

    def _rewind(self) -> None:
        """Take back the step that `_begin` took, so that it can be taken later."""
        self.last_epoch -= 1

    def _restart(self) -> None:
        """Begin in the middle of a training, after another schedule."""
        self._go(0)

    def get_lr(self) -> list[float]:
        """Compute the rates of the groups at `last_epoch`."""
        raise NotImplementedError(f"{self._name}.get_lr")

    def closed_form(self) -> list[float]:
        """Compute the rates at `last_epoch` from the base rates alone, where there is a formula."""
        return self.get_lr()

    def get_last_lr(self) -> list[float]:
        """Give the rates that the schedule set last."""
        return list(self._last_lr)

    def _rates(self) -> list[float]:
        """Give the rates that are set now."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _each(self, values: Sequence[T]) -> Iterator[tuple[Group, T]]:
        """Pair the groups with a value each."""
        groups = self.optimizer.param_groups
        if len(groups) != len(values):
            rule = f"a value for each of the optimiser's groups: {len(groups)}"
            hint = "make the schedule after the last add_param_group"
            raise failure(self._name, rule, hint=hint, values=len(values))
        return zip(groups, values, strict=True)

    # State

    def state_dict(self) -> dict[str, Any]:
        """Give all but the optimiser and functions, as plain values that JSON can hold.

        Raises TypeError for an attribute that is something else; name it in `unsaved`.

        >>> import chainrule as cr
        >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
        >>> cr.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9).state_dict()["gamma"]
        0.9
        """
        found = {k: v for k, v in self.__dict__.items() if k not in self.unsaved}
        return {key: plain(f"{self._name}.{key}", value) for key, value in found.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; the optimiser's own state is loaded apart.

        Raises CheckpointError (a ValueError) for a state of another schedule or of another
        number of groups; nothing is changed then.

        >>> import chainrule as cr
        >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
        >>> a, b = (cr.optim.lr_scheduler.StepLR(optimizer, 10) for _ in range(2))
        >>> a.step(); b.load_state_dict(a.state_dict()); b.last_epoch
        1
        """
        self._check_state(state_dict)
        self._adopt(state_dict)

    def _check_state(self, state: Any) -> None:
        """Raise CheckpointError unless `_adopt` can take the state."""
        if not isinstance(state, Mapping):
            raise failure(self._name, "a state as a dictionary", error=KindError, state=type(state))
        own = self.state_dict()
        missing = ", ".join(sorted(set(own) - set(state)))
        unexpected = ", ".join(sorted(set(state) - set(own)))
        if missing or unexpected:
            raise CheckpointError(
                f"{self._name}: the state is of another schedule: missing {missing or 'none'}; "
                f"unexpected {unexpected or 'none'}"
            )
        for key, value in own.items():
            if None not in (value, state[key]) and _kind(value) is not _kind(state[key]):
                raise CheckpointError(
                    f"{self._name}: expected {key} as {_kind(value).__name__}; got {state[key]!r}"
                )
        groups = len(self.optimizer.param_groups)
        for key in ("base_lrs", "_last_lr"):
            if key in own and len(state[key]) != groups:
                raise CheckpointError(
                    f"{self._name}: the state is of {len(state[key])} groups of parameters, "
                    f"the optimiser has {groups}"
                )

    def _adopt(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(copy.deepcopy(dict(state)))


def plain(what: str, value: Any) -> Any:
    """Give a value as JSON holds it: numbers, strings, None, lists, dictionaries by strings.

    Raises TypeError for anything else.

    >>> import numpy as np
    >>> plain("gamma", (np.float32(0.5), None))
    [0.5, None]
    """
    if isinstance(value, np.generic):
        return plain(what, value.item())
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, list | tuple):
        return [plain(what, item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(what, item) for key, item in value.items()}
    rule = f"a number, a string, None, a list or a dictionary as {what}, which is saved"
    raise failure("state_dict", rule, error=KindError, value=value)


def for_groups(name: str, option: str, optimizer: Optimizer, value: Any) -> list[float]:
    """Give one number for each group, from one for all or from a list with one each.

    Raises ValueError for a list of another length.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
    >>> for_groups("CyclicLR", "max_lr", optimizer, 0.5)
    [0.5]
    """
    groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [float(value)] * groups
    if len(value) != groups:
        raise failure(name, f"one {option} for all groups or a list of {groups}", given=len(value))
    return [float(item) for item in value]


def check_total(name: str, option: str, value: Any) -> None:
    """Raise ValueError unless a number of steps is at least 1."""
    given: dict[str, Any] = {option: value}
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise failure(name, f"a number as {option}", error=KindError, **given)
    if not value >= 1:
        raise failure(name, f"{option} >= 1", **given)


def check_whole(name: str, **given: Any) -> None:
    """Raise ValueError unless each option is an integer of at least 1."""
    for option, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise failure(name, f"an integer {option} >= 1", **given)


def _kind(value: Any) -> type:
    """Tell kinds of plain values apart, all numbers as one."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float
    return type(value)
