"""What a training is: every choice in one place, checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any

from chainrule.errors import CheckpointError, DataError, KindError, ShapeError, failure

SCHEDULES = (
    "cosine",
    "constant",
    "step",
    "multistep",
    "exponential",
    "poly",
    "onecycle",
    "plateau",
)
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "rprop")
AVERAGES = ("", "ema", "swa")
_NETWORK, _DATA, _STEPS, _KEEPING = "Network and data", "Images", "Steps", "Keeping and ending"


def _option(default: Any, help: str, panel: str, **rule: Any) -> Any:
    """Describe a choice: what it means, where help shows it, what it may be.

    `low`, `above`, `high`, `below` bound a number, `choices` a text.
    """
    about = {"help": help, "panel": panel, **rule}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class TrainConfig:
    """The choices of one training, from a recipe, a TOML file, the command line or Python.

    Lengths of time count epochs and may be fractions.  The rate grows linearly from 0 to `lr` over
    the first `warmup` epochs and then follows `schedule`: half a cosine to 0; constant; times
    `gamma` every `step_size` epochs (step), at the `milestones`, which are parts of the whole
    training between 0 and 1 (multistep), or every epoch (exponential); a polynomial to 0; one
    cycle up and down; times `gamma` after `patience` epochs in which the validation loss did not
    improve (plateau).  Weight decay acts on weights, not on biases and norms, unless `decay_all`.

    Choices that look at results (plateau, early stopping) look at the part held out by
    `validation`, never at the test.  Raises ValueError for numbers out of range, TypeError for
    wrong kinds.

    >>> TrainConfig(epochs=0)
    Traceback (most recent call last):
    chainrule.errors.ShapeError: training: expected epochs of at least 1; got epochs 0
    """

    model: str = _option("lenet5", "The network.", _NETWORK)
    data: str = _option("digits", "Data set: a name, or the path of a folder or file.", _NETWORK)
    data_dir: str | None = _option(None, "Folder with the files of a named data set.", _NETWORK)
    epochs: int = _option(30, "Passes over the training images.", _STEPS, low=1)
    batch_size: int = _option(32, "Images a step.", _STEPS, low=1)
    lr: float = _option(0.02, "Learning rate at its peak.", _STEPS, above=0)
    momentum: float = _option(0.9, "Momentum (sgd, rmsprop).", _STEPS, low=0, below=1)
    nesterov: bool = _option(True, "Nesterov's look ahead (sgd).", _STEPS)
    weight_decay: float = _option(
        5e-4, "Weight decay; biases and norms are left out.", _STEPS, low=0
    )
    warmup: float = _option(1.0, "Epochs in which the rate grows to its peak.", _STEPS, low=0)
    shift: int = _option(
        3, "Small images move by up to so many pixels (without --transforms).", _DATA, low=0
    )
    seed: int = _option(0, "Seed of all randomness: same seed, same result.", _STEPS, low=0)
    model_options: Mapping[str, Any] = _option(
        {}, "An option of the network, NAME=VALUE; may be repeated.", _NETWORK
    )
    size: int = _option(0, "Side of the network's images; 0: the network's own.", _DATA, low=0)
    validation: float = _option(
        0.0, "Part of the training images held out for choices.", _DATA, low=0, below=1
    )
    transforms: tuple[str, ...] = _option(
        (), 'A change of the images, as "RandomCrop(32, padding=4)"; may be repeated.', _DATA
    )
    mix: str = _option("", 'Mixing of images, as "MixUp(alpha=0.2)".', _DATA)
    workers: int = _option(-1, "Threads that read images; -1: by the data.", _DATA, low=-1)
    skip_bad: bool = _option(False, "Leave out files that cannot be read, and list them.", _DATA)
    optimizer: str = _option("sgd", "The optimiser.", _STEPS, choices=OPTIMIZERS)
    optimizer_options: Mapping[str, Any] = _option(
        {}, "An option of the optimiser, NAME=VALUE; may be repeated.", _STEPS
    )
    decay_all: bool = _option(False, "Weight decay on biases and norms too.", _STEPS)
    schedule: str = _option("cosine", "How the rate changes.", _STEPS, choices=SCHEDULES)
    gamma: float = _option(0.1, "Factor of the rate where it falls.", _STEPS, above=0, high=1)
    step_size: float = _option(10.0, "Epochs between falls (step).", _STEPS, above=0)
    milestones: tuple[float, ...] = _option(
        (0.5, 0.75), "Where the rate falls, as parts of the training (multistep).", _STEPS
    )
    power: float = _option(1.0, "Power of the polynomial (poly).", _STEPS, above=0)
    patience: int = _option(
        5, "Epochs without improvement before the rate falls (plateau).", _STEPS, low=1
    )
    accumulate: int = _option(1, "Batches whose gradients make one step.", _STEPS, low=1)
    clip_norm: float = _option(0.0, "Longest gradient of all; 0: any.", _STEPS, low=0)
    clip_value: float = _option(0.0, "Largest number in a gradient; 0: any.", _STEPS, low=0)
    label_smoothing: float = _option(
        0.0, "Part of the target spread over all classes.", _STEPS, low=0, below=1
    )
    auxiliary: float = _option(0.3, "Weight of auxiliary classifiers' losses.", _STEPS, low=0)
    average: str = _option("", "Average of the weights that is kept.", _STEPS, choices=AVERAGES)
    average_decay: float = _option(0.999, "Decay of the average (ema).", _STEPS, low=0, below=1)
    average_start: float = _option(
        0.75, "Where averaging begins, as a part of the training (swa).", _STEPS, low=0, below=1
    )
    stop_after: int = _option(
        0, "End after so many epochs without improvement; 0: never.", _KEEPING, low=0
    )
    keep: int = _option(2, "Checkpoints that are kept.", _KEEPING, low=1)
    checkpoint_minutes: float = _option(
        10.0, "Minutes between checkpoints within an epoch.", _KEEPING, above=0
    )
    tensorboard: bool = _option(False, "Write TensorBoard events too.", _KEEPING)
    health: bool = _option(
        False,
        "`chainrule train` watches for dead ReLUs, saturation, vanishing gradients and the like: "
        "health.csv, health.txt.",
        _KEEPING,
    )
    recipe: str = _option("", "The recipe that it began with.", _KEEPING)

    def __post_init__(self) -> None:
        for choice in fields(self):
            self._check(choice, getattr(self, choice.name))
        if self.seed >= 2**64:  # the generators would wrap it onto another seed
            raise failure("training", "seed under 2**64", seed=self.seed)
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            hint = "switch it off (--no-nesterov) or give a momentum"
            raise failure("training", "momentum > 0 with nesterov", hint=hint, momentum=0.0)
        marks = self.milestones
        if list(marks) != sorted(set(marks)) or not all(0 < mark < 1 for mark in marks):
            rule = "milestones that rise between 0 and 1, parts of the training"
            raise failure("training", rule, milestones=list(marks))
        if not self.validation and (self.schedule == "plateau" or self.stop_after):
            what = "schedule plateau" if self.schedule == "plateau" else "stop_after"
            hint = "the test images are for measuring alone"
            rule = f"a validation part (--validation 0.1) with {what}"
            raise failure("training", rule, hint=hint, validation=self.validation)

    def _check(self, choice: Field[Any], value: Any) -> None:
        name, rule = choice.name, choice.metadata
        kind, what = _KINDS[str(choice.type)]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            object.__setattr__(self, name, value := float(value))
        if kind is tuple and isinstance(value, list):
            object.__setattr__(self, name, value := tuple(value))
        wrong = not isinstance(value, kind) or (kind in (int, float) and isinstance(value, bool))
        if wrong or (kind is tuple and not all(isinstance(v, _inner(choice)) for v in value)):
            raise failure("training", f"{what} as {name}", error=KindError, value=value)
        if "choices" in rule and value not in rule["choices"]:
            known = ", ".join(text or "none" for text in rule["choices"])
            raise failure("training", f"{name} out of {known}", **{name: value})
        if kind in (int, float):
            if not math.isfinite(value):
                raise failure("training", f"a finite {name}", **{name: value})
            for key, words, wanted in _BOUNDS:
                if key in rule and not wanted(value, rule[key]):
                    raise failure("training", f"{name} {words} {rule[key]}", **{name: value})

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values, as config.json has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Take the fields from plain values; raises CheckpointError for unknown or wrong ones.

        >>> TrainConfig.from_dict({"epochs": 3}).epochs
        3
        """
        try:
            return cls(**known_fields(values))
        except (DataError, ShapeError, KindError) as error:
            raise CheckpointError(f"training configuration: {error}") from error


_KINDS: dict[str, tuple[Any, str]] = {
    "str": (str, "a text"),
    "str | None": (str | None, "a text or None"),
    "int": (int, "an integer"),
    "float": (float, "a number"),
    "bool": (bool, "a bool"),
    "tuple[str, ...]": (tuple, "a list of texts"),
    "tuple[float, ...]": (tuple, "a list of numbers"),
    "Mapping[str, Any]": (Mapping, "a table"),
}

_BOUNDS: tuple[tuple[str, str, Any], ...] = (
    ("low", "of at least", lambda value, bound: value >= bound),
    ("above", "above", lambda value, bound: value > bound),
    ("high", "of at most", lambda value, bound: value <= bound),
    ("below", "below", lambda value, bound: value < bound),
)


def _inner(choice: Field[Any]) -> Any:
    return str if "str" in str(choice.type) else (int, float)


def known_fields(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Give the values; raises DataError if one is no choice of a training, with near names."""
    names = [choice.name for choice in fields(TrainConfig)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        place = f"{where}: " if where else ""
        raise DataError(f"{place}unknown fields {', '.join(unknown)}; known are {_list(names)}")
    return dict(values)


def _list(names: Sequence[str]) -> str:
    return ", ".join(sorted(names))
