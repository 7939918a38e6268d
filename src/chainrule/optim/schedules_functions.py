"""Schedules by functions of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any

from chainrule.errors import CheckpointError, KindError, failure
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import LRScheduler, plain

Factor = Callable[[int], float]


class _Functions(LRScheduler):
    """Holds one function a group; objects that are called keep their attributes in the state."""

    unsaved = (*LRScheduler.unsaved, "lr_lambdas")

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1
    ) -> None:
        groups = len(self._checked(optimizer).param_groups)
        given = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * groups
        if len(given) != groups:
            rule = f"one function a group: {groups}"
            raise failure(self._name, rule, functions=len(given))
        for function in given:
            if not callable(function):
                raise failure(self._name, "functions", error=KindError, lr_lambda=function)
        self.lr_lambdas: list[Any] = given
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Give the state; of objects that are called their attributes, of functions nothing."""
        functions = [function_state(self._name, fn) for fn in self.lr_lambdas]
        return {**super().state_dict(), "lr_lambdas": functions}

    def _check_state(self, state: Any) -> None:
        super()._check_state(state)
        functions = state["lr_lambdas"]
        if len(functions) != len(self.lr_lambdas):
            raise CheckpointError(
                f"{self._name}: the state has {len(functions)} functions, "
                f"the schedule {len(self.lr_lambdas)}"
            )
        for function, saved in zip(self.lr_lambdas, functions, strict=True):
            check_function_state(self._name, function, saved)

    def _adopt(self, state: Mapping[str, Any]) -> None:
        super()._adopt({k: v for k, v in state.items() if k != "lr_lambdas"})
        for function, saved in zip(self.lr_lambdas, state["lr_lambdas"], strict=True):
            if saved is not None:
                function.__dict__.update(saved)


class LambdaLR(_Functions):
    """Set the rate to base * lr_lambda(t), with one function or one a group.

    The state does not hold functions: build the schedule anew with the same ones.  Of an object
    with `__call__` it holds the attributes, which must be plain values.  Source:
    `torch.optim.lr_scheduler.LambdaLR`.  Raises ValueError if the number of functions is not that
    of the groups, TypeError for what cannot be called.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
    >>> LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / 10)).get_last_lr()
    [0.05]
    """

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch`."""
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        return [base * function(self.last_epoch) for base, function in pairs]


class MultiplicativeLR(_Functions):
    """Multiply the rate by lr_lambda(t) in step t, with one function or one a group.

    rate(t) = base * lr_lambda(1) * ... * lr_lambda(t).  The state and the errors are those of
    `LambdaLR`.  Source: `torch.optim.lr_scheduler.MultiplicativeLR`.

    >>> import chainrule as cr
    >>> optimizer = cr.optim.SGD([cr.tensor([0.0], requires_grad=True)], lr=0.5)
    >>> schedule = MultiplicativeLR(optimizer, lambda t: 0.5)
    >>> optimizer.step(); schedule.step(); schedule.get_last_lr()
    [0.25]
    """

    def get_lr(self) -> list[float]:
        """Compute the rates at `last_epoch` from the ones set before."""
        if self._initial:
            return self._rates()
        pairs = self._each(self.lr_lambdas)
        return [float(group["lr"]) * function(self.last_epoch) for group, function in pairs]


def function_state(name: str, function: Any) -> dict[str, Any] | None:
    """Give the attributes of an object that is called as a function, None for a real one."""
    if function is None or isinstance(function, FunctionType | MethodType):
        return None
    found: dict[str, Any] = plain(f"an attribute of {name}'s function", vars_of(function))
    return found


def check_function_state(name: str, function: Any, saved: Any) -> None:
    """Raise CheckpointError unless a saved state fits a function or an object that is called."""
    own = function_state(name, function)
    if (own is None) != (saved is None) or not isinstance(saved, Mapping | None):
        kind = "a function" if own is None else "an object with attributes"
        raise CheckpointError(f"{name}: the schedule has {kind}, the state {saved!r} for it")


def vars_of(value: Any) -> dict[str, Any]:
    """Give an object's attributes; none for those that have no place for them."""
    return dict(getattr(value, "__dict__", {}))
