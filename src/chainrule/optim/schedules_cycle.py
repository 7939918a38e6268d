"""Schedules that go up and down again, with momentum going the other way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from chainrule.errors import KindError, failure
from chainrule.optim.optimizer import Group, Optimizer
from chainrule.optim.schedules import LRScheduler, check_whole, for_groups
from chainrule.optim.schedules_functions import check_function_state, function_state


class _Cycle(LRScheduler):
    """Sets momenta (or the first of `betas`) along with the rates."""

    cycle_momentum: bool

    def _begin_momenta(self, low: Any, high: Any, last_epoch: int) -> None:
        """Note each group's extremes as "base_momentum" and "max_momentum", and set the high."""
        optimizer = self.optimizer
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            rule = "an optimiser with momentum or betas"
            hint = "or pass cycle_momentum=False"
            raise failure(self._name, rule, hint=hint, optimizer=type(optimizer).__name__)
        self.use_beta1 = "betas" in optimizer.defaults
        self.base_momentums = for_groups(self._name, "base_momentum", optimizer, low)
        self.max_momentums = for_groups(self._name, "max_momentum", optimizer, high)
        if last_epoch == -1:
            pairs = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (base, most) in zip(optimizer.param_groups, pairs, strict=True):
                self._set_momentum(group, most)
                group["base_momentum"], group["max_momentum"] = base, most

    def _set_momentum(self, group: Group, value: float) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value

    def _go(self, epoch: int | None = None) -> None:
        super()._go(epoch)
        if self.cycle_momentum:
            for group, value in self._each(self.get_momentum()):
                self._set_momentum(group, value)

    def get_momentum(self) -> list[float]:
        """Compute the momenta of the groups at `last_epoch`."""
        raise NotImplementedError(f"{self._name}.get_momentum")


class OneCycleLR(_Cycle):
    """Raise the rate to `max_lr` and lead it down to almost 0, in one cycle of `total_steps`.

    In the first `pct_start` of the steps the rate goes from max_lr / div_factor to max_lr and the
    momentum from max_momentum to base_momentum; in the rest the rate goes down to
    max_lr / (div_factor * final_div_factor) and the momentum up again.  With `three_phase` the
    way down mirrors the way up, and a third phase goes from there to the least rate.  Each phase
    follows half a cosine, or a line ("linear").  `step()` follows each batch; the total may be
    given as epochs * steps_per_epoch.  Lists have a value for each group.  With betas in place of
    momentum the first beta is led.

    The rates are those of step 0 to total_steps - 1; as in PyTorch one step more is taken (which
    a loop that ends with `step()` does), and continues the last phase's curve beyond its end.

    Sources: Smith and Topin, Super-Convergence (2018); `torch.optim.lr_scheduler.OneCycleLR`.
    Raises ValueError for totals under 1, a pct_start outside [0, 1], an unknown strategy, an
    optimiser without momentum, and for a step beyond the total.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.1, momentum=0.9)
    >>> schedule = OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> for _ in range(2): optimizer.step(); schedule.step()
    >>> schedule.get_last_lr(), optimizer.param_groups[0]["momentum"]
    ([1.0], 0.85)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = self._checked(optimizer)
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not 0.0 <= pct_start <= 1.0:
            raise failure(self._name, "pct_start from 0 to 1", pct_start=pct_start)
        if anneal_strategy not in ("cos", "linear"):
            rule = "'cos' or 'linear' as anneal_strategy"
            raise failure(self._name, rule, anneal_strategy=anneal_strategy)
        self.pct_start, self.anneal_strategy = float(pct_start), anneal_strategy
        self.three_phase, self.cycle_momentum = bool(three_phase), bool(cycle_momentum)
        tops = for_groups(self._name, "max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for group, top in zip(optimizer.param_groups, tops, strict=True):
                group["initial_lr"] = top / div_factor
                group["max_lr"], group["min_lr"] = top, top / div_factor / final_div_factor
        if self.cycle_momentum:
            self._begin_momenta(base_momentum, max_momentum, last_epoch)
        super().__init__(optimizer, last_epoch)

    def _place(self) -> tuple[int, float]:
        """Find the phase of `last_epoch` and the share of it that is done."""
        step, total = self.last_epoch, self.total_steps
        if step > total:
            hint = "total_steps counts batches; give the length of the whole training"
            raise failure(self._name, f"at most {total} steps", hint=hint, step=step)
        turn = self.pct_start * total
        ends = [turn - 1.0, float(total - 1)]
        if self.three_phase:
            ends.insert(1, 2.0 * turn - 2.0)
        phase = sum(step > end for end in ends[:-1])
        start, end = ends[phase - 1] if phase else 0.0, ends[phase]
        return phase, (step - start) / (end - start) if end != start else 1.0

    def _lead(self, group: Group, names: tuple[str, ...]) -> float:
        phase, share = self._place()
        start, end = (float(group[name]) for name in names[phase : phase + 2])
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1.0)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch`."""
        back = ("initial_lr",) if self.three_phase else ()
        names = ("initial_lr", "max_lr", *back, "min_lr")
        return [self._lead(group, names) for group in self.optimizer.param_groups]

    def get_momentum(self) -> list[float]:
        """Compute the momenta at `last_epoch`."""
        names = ("max_momentum", "base_momentum", "max_momentum", "max_momentum")
        return [self._lead(group, names) for group in self.optimizer.param_groups]


class CyclicLR(_Cycle):
    """Lead the rate up from `base_lr` to `max_lr` and down again, cycle after cycle, along lines.

    A cycle takes step_size_up steps up and step_size_down (as many, if None) down.  The height
    above base_lr is multiplied by scale_fn(cycle), or with scale_mode "iterations" by scale_fn(t):
    1 in mode "triangular", 1 / 2 ** (cycle - 1) in "triangular2", gamma ** t in "exp_range", where
    cycles count from 1.  The momentum goes the other way, from max_momentum to base_momentum and
    back.  Lists have a value for each group.

    The state does not hold a scale_fn of one's own; of an object with `__call__` it holds the
    attributes.  Sources: Smith, Cyclical Learning Rates (2017);
    `torch.optim.lr_scheduler.CyclicLR`.  Raises ValueError for an unknown mode, a number of steps
    that is not positive, lists of another length, and an optimiser without momentum.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.1)
    >>> schedule = CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2)
    >>> rates = []
    >>> for _ in range(5):
    ...     rates += schedule.get_last_lr()
    ...     optimizer.step(); schedule.step()
    >>> rates
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    unsaved = (*LRScheduler.unsaved, "_scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = self._checked(optimizer)
        bases = for_groups(self._name, "base_lr", optimizer, base_lr)
        self.max_lrs = for_groups(self._name, "max_lr", optimizer, max_lr)
        down = step_size_up if step_size_down is None else step_size_down
        for option, value in (("step_size_up", step_size_up), ("step_size_down", down)):
            if not value > 0:
                raise failure(self._name, f"{option} > 0", steps=value)
        self.total_size = float(step_size_up) + float(down)
        self.step_ratio = float(step_size_up) / self.total_size
        self.mode, self.gamma, self._scale_fn = mode, gamma, scale_fn
        self.scale_mode = _scale_mode(mode, scale_fn, scale_mode)
        self.cycle_momentum = bool(cycle_momentum)
        if self.cycle_momentum:
            self._begin_momenta(base_momentum, max_momentum, last_epoch)
        if last_epoch == -1:
            for group, base in zip(optimizer.param_groups, bases, strict=True):
                group["lr"] = base
        super().__init__(optimizer, last_epoch)
        self.base_lrs = bases
        self._go(self.last_epoch)  # an earlier schedule's "initial_lr" is not the base here

    def scale_fn(self, x: float) -> float:
        """Give the factor of a cycle's height: of a cycle, or of a step; see the class."""
        if self._scale_fn is not None:
            return self._scale_fn(x)
        if self.mode == "exp_range":
            return float(self.gamma**x)
        return 1.0 if self.mode == "triangular" else 1.0 / 2.0 ** (x - 1)

    def _height(self) -> float:
        """Give the share of the way from the base to the extreme at `last_epoch`."""
        done = 1.0 + self.last_epoch / self.total_size
        cycle = math.floor(done)
        x = done - cycle
        up = x <= self.step_ratio
        share = x / self.step_ratio if up else (x - 1.0) / (self.step_ratio - 1.0)
        return share * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch`."""
        height = self._height()
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [base + (most - base) * height for base, most in pairs]

    def get_momentum(self) -> list[float]:
        """Compute the momenta at `last_epoch`."""
        height = self._height()
        pairs = zip(self.base_momentums, self.max_momentums, strict=True)
        return [most - (most - base) * height for base, most in pairs]

    def state_dict(self) -> dict[str, Any]:
        """Give the state; of a scale_fn that is an object its attributes."""
        return {**super().state_dict(), "scale_fn": function_state(self._name, self._scale_fn)}

    def _check_state(self, state: Any) -> None:
        super()._check_state(state)
        check_function_state(self._name, self._scale_fn, state["scale_fn"])

    def _adopt(self, state: Mapping[str, Any]) -> None:
        super()._adopt({k: v for k, v in state.items() if k != "scale_fn"})
        if self._scale_fn is not None and state["scale_fn"] is not None:
            self._scale_fn.__dict__.update(state["scale_fn"])


def _total(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> int:
    """Give the number of steps, as it is or by epochs."""
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise failure("OneCycleLR", "total_steps, or epochs and steps_per_epoch")
    if total_steps is not None:
        check_whole("OneCycleLR", total_steps=total_steps)
        return int(total_steps)
    check_whole("OneCycleLR", epochs=epochs, steps_per_epoch=steps_per_epoch)
    return int(epochs) * int(steps_per_epoch)


def _scale_mode(mode: str, scale_fn: Any, scale_mode: str) -> str:
    """Give what scale_fn is called with: a mode of Smith's has its own."""
    if scale_fn is not None:
        if not callable(scale_fn):
            raise failure("CyclicLR", "a function", error=KindError, scale_fn=scale_fn)
        if scale_mode not in ("cycle", "iterations"):
            raise failure("CyclicLR", "scale_mode 'cycle' or 'iterations'", scale_mode=scale_mode)
        return scale_mode
    if mode not in ("triangular", "triangular2", "exp_range"):
        raise failure("CyclicLR", "mode 'triangular', 'triangular2' or 'exp_range'", mode=mode)
    return "iterations" if mode == "exp_range" else "cycle"
