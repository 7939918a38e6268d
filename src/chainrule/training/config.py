"""What a training is: every choice in one place, checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from chainrule.errors import CheckpointError, KindError, ShapeError, failure


@dataclass(frozen=True)
class TrainConfig:
    """The choices of one training.

    The rate grows linearly from 0 to `lr` over the first `warmup` epochs and follows half a
    cosine to 0, step by step.  Weight decay acts on weights, not on biases.  `shift` moves
    each training image by up to that many pixels (of the network's 32x32) in each direction.
    Raises ValueError for numbers out of range, TypeError for wrong kinds.

    >>> TrainConfig(epochs=0)
    Traceback (most recent call last):
    chainrule.errors.ShapeError: training: expected epochs of at least 1; got epochs 0
    """

    model: str = "lenet5"
    data: str = "digits"
    data_dir: str | None = None
    epochs: int = 30
    batch_size: int = 32
    lr: float = 0.02
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    warmup: float = 1.0
    shift: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_kinds()
        for name, low in (("epochs", 1), ("batch_size", 1), ("shift", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise failure("training", f"an integer as {name}", error=KindError, value=value)
            if value < low:
                rule = f"{name} of at least {low}"
                raise failure("training", rule, **_got(name, value))
        if self.seed >= 2**64:  # the generators would wrap it onto another seed
            raise failure("training", "seed under 2**64", seed=self.seed)
        for name in ("lr", "momentum", "weight_decay", "warmup"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise failure("training", f"a number as {name}", error=KindError, value=value)
            if not (math.isfinite(value) and value >= 0):
                rule = f"{name} of at least 0, and finite"
                raise failure("training", rule, **_got(name, value))
        if self.lr == 0 or self.momentum >= 1:
            rule = "lr > 0 and momentum < 1"
            raise failure("training", rule, lr=self.lr, momentum=self.momentum)
        if self.nesterov and self.momentum == 0:
            hint = "switch it off (--no-nesterov) or give a momentum"
            raise failure("training", "momentum > 0 with nesterov", hint=hint, momentum=0.0)

    def _check_kinds(self) -> None:
        for name, kind, what in (
            ("model", str, "a text"),
            ("data", str, "a text"),
            ("data_dir", str | None, "a text or None"),
            ("nesterov", bool, "a bool"),
        ):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise failure("training", f"{what} as {name}", error=KindError, value=value)

    def rate_factor(self, step: int, steps_per_epoch: int) -> float:
        """Give the factor on `lr` at a step (from 0) of the whole training.

        >>> config = TrainConfig(epochs=4, warmup=1.0)
        >>> [round(config.rate_factor(t, steps_per_epoch=2), 3) for t in range(8)]
        [0.5, 0.962, 0.854, 0.691, 0.5, 0.309, 0.146, 0.038]
        """
        warm = min(1.0, (step + 1) / max(1.0, self.warmup * steps_per_epoch))
        return warm * (1.0 + math.cos(math.pi * step / (self.epochs * steps_per_epoch))) / 2.0

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values, as config.json has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Take the fields from plain values; raises CheckpointError for unknown or wrong ones.

        >>> TrainConfig.from_dict({"epochs": 3}).epochs
        3
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise CheckpointError(f"training configuration: unknown fields {', '.join(unknown)}")
        try:
            return cls(**values)
        except (ShapeError, KindError) as error:
            raise CheckpointError(f"training configuration: {error}") from error


def _got(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


RECIPES = {
    "digits": TrainConfig(data="digits"),
    "mnist": TrainConfig(data="mnist", epochs=8, batch_size=64, shift=1),
}
"""The defaults of each data set, chosen on parts held out from its training images."""


def recipe(data: str, **changes: Any) -> TrainConfig:
    """Give the defaults of a data set, with what is not None among `changes` in their place.

    >>> recipe("mnist", lr=0.1, seed=None).epochs
    8
    """
    base = RECIPES.get(data, TrainConfig(data=data))
    return replace(base, **{name: value for name, value in changes.items() if value is not None})
