"""Optimiser, rate and averaged weights as a configuration asks for them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from chainrule.errors import ShapeError, failure
from chainrule.nn.module import Module
from chainrule.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer, RMSprop, Rprop
from chainrule.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)
from chainrule.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from chainrule.training.config import TrainConfig

_OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "rprop": Rprop,
}


def make_optimizer(model: Module, config: TrainConfig) -> Optimizer:
    """Build the optimiser over a network's parameters, decay on weights alone unless `decay_all`.

    Raises ValueError for an option that the optimiser does not know.
    """
    build = _OPTIMIZERS[config.optimizer]
    known = inspect.signature(build).parameters
    options: dict[str, Any] = {"lr": config.lr}
    if "momentum" in known:
        options["momentum"] = config.momentum
    if "nesterov" in known:
        options["nesterov"] = config.nesterov
    for name, value in config.optimizer_options.items():
        if name not in known or name in ("params", "weight_decay"):
            free = ", ".join(n for n in known if n not in ("params", "weight_decay"))
            rule = f"an option of {config.optimizer}: {free}"
            raise failure("--optimizer-options", rule, error=ShapeError, option=name)
        options[name] = tuple(value) if isinstance(value, list) else value
    decays = "weight_decay" in known
    return build(_groups(model, config, decays), **options)


def _groups(model: Module, config: TrainConfig, decays: bool) -> list[dict[str, object]]:
    """Put biases and norms (all with one axis) into a group without weight decay."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not decays:
        return [{"params": named}]
    weights = [(name, p) for name, p in named if config.decay_all or p.ndim > 1]
    chosen = {name for name, _ in weights}
    rest = [(name, p) for name, p in named if name not in chosen]
    groups: list[dict[str, object]] = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class Rate:
    """The learning rate of a training: by steps, and where asked by the validation loss.

    `after_step` follows each step of the optimiser, `after_epoch` each epoch.  `peak` is the
    configuration's `lr` and may be changed between two steps: the schedule goes on as before, and
    every rate that it gives is multiplied by the new peak over the configuration's.
    """

    def __init__(self, optimizer: Optimizer, config: TrainConfig, steps: int) -> None:
        self._optimizer, self._lr, self._peak = optimizer, config.lr, config.lr
        self._scheduled: list[float] = []  # the schedule's own rates, while they are multiplied
        self._plateau: ReduceLROnPlateau | None = None
        parts: list[LRScheduler] = []
        if config.schedule == "plateau":
            self._plateau = ReduceLROnPlateau(
                optimizer, factor=config.gamma, patience=config.patience - 1
            )
        else:
            parts.append(_schedule(optimizer, config, steps))
        warm = round(config.warmup * steps)
        if warm > 1 and config.schedule != "onecycle":
            parts.append(LinearLR(optimizer, 1.0 / warm, 1.0, warm - 1))
        self._by_step = ChainedScheduler(parts) if len(parts) > 1 else next(iter(parts), None)

    @property
    def value(self) -> float:
        """The rate of the first group now."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def peak(self) -> float:
        """The rate at the schedule's peak."""
        return self._peak

    @peak.setter
    def peak(self, peak: float) -> None:
        """Change it for the steps to come; raises ShapeError for what is no rate."""
        if not (math.isfinite(peak) and 0 < peak / self._lr < math.inf):
            raise failure("training", "a finite rate above 0", lr=peak)
        scheduled = self._scheduled or self._rates()
        self._peak = float(peak)
        self._scheduled = [] if self._peak == self._lr else scheduled
        self._set(scheduled)

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    def _set(self, scheduled: list[float]) -> None:
        factor = self._peak / self._lr
        for group, rate in zip(self._optimizer.param_groups, scheduled, strict=True):
            group["lr"] = rate * factor

    def _go_on(self, step: Callable[[], None]) -> None:
        """Let a schedule go on from its own rates: it may compute the next ones out of them."""
        if not self._scheduled:
            step()
            return
        for group, rate in zip(self._optimizer.param_groups, self._scheduled, strict=True):
            group["lr"] = rate
        step()
        self._scheduled = self._rates()
        self._set(self._scheduled)

    def after_step(self) -> None:
        """Go on to the rate of the next step."""
        if self._by_step is not None:
            self._go_on(self._by_step.step)

    def after_epoch(self, validation_loss: float | None) -> None:
        """Lower the rate if the loss has not improved for long."""
        if self._plateau is not None and validation_loss is not None:
            self._go_on(partial(self._plateau.step, validation_loss))

    def state_dict(self) -> dict[str, Any]:
        """Give plain values, from which `load_state_dict` goes on."""
        parts = {"steps": self._by_step, "plateau": self._plateau}
        state = {name: part.state_dict() for name, part in parts.items() if part is not None}
        if self._scheduled:
            state["changed"] = {"peak": self._peak, "scheduled": list(self._scheduled)}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        if self._by_step is not None:
            self._by_step.load_state_dict(state["steps"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
        changed = state.get("changed", {"peak": self._lr, "scheduled": []})
        self._peak, self._scheduled = changed["peak"], list(changed["scheduled"])


def _schedule(optimizer: Optimizer, config: TrainConfig, steps: int) -> LRScheduler:
    """Build the schedule that goes by steps; `steps` are those of an epoch."""
    total = config.epochs * steps
    match config.schedule:
        case "cosine":
            return CosineAnnealingLR(optimizer, total)
        case "step":
            return StepLR(optimizer, max(1, round(config.step_size * steps)), config.gamma)
        case "multistep":
            marks = [max(1, math.floor(mark * total)) for mark in config.milestones]
            return MultiStepLR(optimizer, marks, config.gamma)
        case "exponential":
            return ExponentialLR(optimizer, config.gamma ** (1.0 / steps))
        case "poly":
            return PolynomialLR(optimizer, total, config.power)
        case "onecycle":
            return OneCycleLR(optimizer, config.lr, total_steps=total, cycle_momentum=False)
    return LambdaLR(optimizer, _one)


def _one(step: int) -> float:
    return 1.0


def make_average(model: Module, config: TrainConfig) -> AveragedModel | None:
    """Begin the average of the weights, if one is asked for; its buffers are averaged too."""
    if not config.average:
        return None
    if config.average == "ema":
        rule = get_ema_multi_avg_fn(config.average_decay)
        return AveragedModel(model, multi_avg_fn=rule, use_buffers=True)
    return AveragedModel(model, use_buffers=True)
