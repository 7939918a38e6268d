"""What one epoch gave, as a row of metrics.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chainrule.training.metrics import Evaluation
from chainrule.training.metrics_meter import RunningMeter

_FIRST = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Row:
    """One epoch; the rate is that of its last step.

    `train_accuracy` is the share of right answers while training, `test_accuracy` that of the
    test; a regression has neither.  `more` holds what else was measured, by column:
    validation_loss, test_top5, ...

    >>> Row(1, 0.1, 0.5, 0.8, 0.4, 0.9).to_dict()["test_accuracy"]
    0.9
    """

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float | None
    test_loss: float
    test_accuracy: float | None
    more: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        epoch: int,
        lr: float,
        train: RunningMeter,
        test: Evaluation,
        validation: Evaluation | None = None,
    ) -> Row:
        """Put an epoch's numbers together; what is not defined (NaN) is left out."""
        held = {} if validation is None else validation.row("validation")
        values = {**train.row("train"), **held, **test.row("test")}
        return cls.from_dict({"epoch": epoch, "lr": lr, **values})

    def to_dict(self) -> dict[str, float]:
        """Give the columns that have a value, in their order."""
        own = {name: getattr(self, name) for name in _FIRST}
        return {name: value for name, value in {**own, **self.more}.items() if value is not None}

    def by_part(self) -> dict[str, float]:
        """Give the numbers with their part in front of a stroke, as TensorBoard groups curves.

        >>> list(Row(1, 0.1, 0.5, 0.8, 0.4, 0.9).by_part())[:2]
        ['lr', 'train/loss']
        """
        numbers = {name: value for name, value in self.to_dict().items() if name != "epoch"}
        return {_stroked(name): value for name, value in numbers.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """Take the columns back; raises KeyError, TypeError, ValueError for what is no row."""
        floats = {name: float(value) for name, value in values.items()}
        numbers = {name: value for name, value in floats.items() if not math.isnan(value)}
        first = [numbers.pop(name, None) for name in _FIRST]
        if first[0] is None or first[1] is None or first[2] is None or first[4] is None:
            raise KeyError("epoch, lr, train_loss or test_loss")
        return cls(int(first[0]), first[1], first[2], first[3], first[4], first[5], numbers)


def _stroked(name: str) -> str:
    part, _, rest = name.partition("_")
    return f"{part}/{rest}" if part in ("train", "validation", "test") else name
