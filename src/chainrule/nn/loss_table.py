"""Torch's criteria over tables: weighted sums of losses, and a loss without a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure
from chainrule.nn import functional as F
from chainrule.nn.container import ModuleList
from chainrule.nn.loss import StatelessLoss
from chainrule.nn.module import Module
from chainrule.nn.stateless import stateless
from chainrule.ops.formulas import number

L1Cost = stateless("L1Cost", F.l1_cost, base=StatelessLoss)


class CriterionTable(Module):
    """A loss that is called with one table, (input, target), instead of two arguments.

    >>> import chainrule as cr
    >>> loss = cr.nn.CriterionTable(cr.nn.MSELoss())
    >>> loss((cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0])))
    tensor(2.0)
    """

    def __init__(self, criterion: Module) -> None:
        super().__init__()
        self.criterion = criterion

    def forward(self, table: Sequence[Any]) -> Any:
        """Call the loss with the table's entries."""
        return self.criterion(*table)


class _Weighted(Module):
    """Base of the weighted sums: losses in `criteria`, their weights in `weights`."""

    def __init__(self) -> None:
        super().__init__()
        self.criteria = ModuleList()
        self.weights: list[float] = []

    def add(self, criterion: Any, weight: float = 1.0) -> Any:
        """Add a loss and its weight; gives the sum itself, so that calls can be chained."""
        if not isinstance(criterion, Module):
            name = type(self).__name__
            raise failure(name, "a loss that is a module", error=KindError, criterion=criterion)
        self.weights.append(number(weight, f"{type(self).__name__} weight"))
        self.criteria.append(criterion)
        return self

    def extra_repr(self) -> str:
        """Show the weights."""
        return f"weights={self.weights}"

    def _sum(self, inputs: Sequence[Any], targets: Sequence[Any]) -> Tensor:
        if not self.weights:
            raise failure(type(self).__name__, "at least one loss", hint="add one with add(...)")
        parts: list[Any] = [
            weight * criterion(x, t)
            for weight, criterion, x, t in zip(
                self.weights, self.criteria, inputs, targets, strict=True
            )
        ]
        return sum(parts[1:], parts[0])  # type: ignore[no-any-return]


class MultiCriterion(_Weighted):
    """The weighted sum of several losses of one input and one target.

    Raises ValueError where no loss was added.

    >>> import chainrule as cr
    >>> loss = cr.nn.MultiCriterion().add(cr.nn.MSELoss()).add(cr.nn.L1Loss(), 0.5)
    >>> loss(cr.tensor([1.0, 2.0]), cr.tensor([1.0, 4.0]))
    tensor(2.5)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """Add the losses up."""
        count = len(self.weights)
        return self._sum([input] * count, [target] * count)


class ParallelCriterion(_Weighted):
    """The weighted sum of losses, each of its own input and target out of two tables.

    With `repeat_target` (Torch's repeatTarget) all have one target.  Raises ValueError for a
    table of another length than there are losses.

    >>> import chainrule as cr
    >>> loss = cr.nn.ParallelCriterion().add(cr.nn.MSELoss()).add(cr.nn.NLLLoss(), 0.5)
    >>> x, scores = cr.tensor([1.0]), cr.tensor([[-1.0, -3.0]])
    >>> loss((x, scores), (cr.tensor([3.0]), cr.tensor([1])))
    tensor(5.5)
    """

    def __init__(self, repeat_target: bool = False) -> None:
        super().__init__()
        self.repeat_target = repeat_target

    def forward(self, input: Sequence[Any], target: Any) -> Tensor:
        """Add the losses up."""
        count = len(self.weights)
        targets = [target] * count if self.repeat_target else target
        if not len(input) == len(targets) == count:
            rule = f"as many inputs and targets as losses, {count}"
            raise failure("ParallelCriterion", rule, inputs=len(input), targets=len(targets))
        return self._sum(input, targets)
