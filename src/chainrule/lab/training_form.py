"""The choices of a training as a form has them: texts, read with the words of `TrainConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from chainrule.data.sources import SETS
from chainrule.errors import ChainruleError, DataError
from chainrule.models.pattern import is_pattern, parse
from chainrule.models.registry import find
from chainrule.training.config import TrainConfig
from chainrule.training.recipes import OF_DATA, list_recipes, recipe

MAIN = (
    *("optimizer", "lr", "momentum", "weight_decay", "schedule"),
    *("epochs", "batch_size", "seed", "validation"),
)
"""The choices that a form shows at once."""

MORE = (
    *("warmup", "gamma", "step_size", "patience", "power", "stop_after", "label_smoothing"),
    *("clip_norm", "accumulate", "average", "shift", "size"),
)
"""Those behind a fold."""

ALWAYS_HERE = "digits"
"""The set that comes with the extra."""

LABELS = {
    "lr": "Learning rate",
    "optimizer": "Optimiser",
    "batch_size": "Batch size",
    "validation": "Validation part",
    "size": "Image size",
}
"""What choices are called where their own name says too little."""

_FIELDS: dict[str, Field[Any]] = {choice.name: choice for choice in fields(TrainConfig)}


@dataclass
class Form:
    """What somebody typed, and what is wrong with it: by field, and as a whole."""

    values: dict[str, str]
    wrong: dict[str, str] = field(default_factory=dict)
    config: TrainConfig | None = None

    @property
    def data(self) -> str:
        """The data: a path of one's own wins over a name."""
        return self.values.get("path") or self.values.get("data", "")

    @property
    def model(self) -> str:
        """The network: a pattern wins over a name."""
        return self.values.get("pattern") or self.values.get("model", "")

    @property
    def problem(self) -> str:
        """What is wrong, in one text."""
        return "; ".join(dict.fromkeys(self.wrong.values()))


def label(name: str) -> str:
    """Give the label of a choice.

    >>> label("weight_decay"), label("lr")
    ('Weight decay', 'Learning rate')
    """
    return LABELS.get(name, name.replace("_", " ").capitalize())


def about(name: str) -> str:
    """Give the help of a choice."""
    return str(_FIELDS[name].metadata["help"])


def options(name: str) -> tuple[str, ...]:
    """Give what a choice can be, where it is one of several words."""
    return tuple(_FIELDS[name].metadata.get("choices", ()))


def sets_here() -> list[str]:
    """Name the data sets that can be trained on without fetching anything."""
    return [name for name in sorted(SETS) if name == ALWAYS_HERE or Path("data", name).is_dir()]


def base_of(named: str, data: str = "") -> TrainConfig:
    """Give a recipe's choices, or without a recipe those of the data's.

    Raises DataError for an unknown recipe.

    >>> base_of("", "mnist").batch_size, base_of("lenet5-digits").epochs
    (64, 30)
    """
    if named:
        if named not in list_recipes():
            raise DataError(f"recipe: expected one of {', '.join(list_recipes())}; got {named!r}")
        return recipe(named)
    own = OF_DATA.get(data or ALWAYS_HERE)
    return replace(recipe(own), recipe="") if own else TrainConfig()


def filled(config: TrainConfig, given: Mapping[str, str]) -> Form:
    """Fill a form with a configuration, and with what an address gives beside it."""
    values = {name: typed(getattr(config, name)) for name in (*MAIN, *MORE)}
    known = config.data in SETS
    values["data"], values["path"] = (config.data, "") if known else (ALWAYS_HERE, config.data)
    pattern = is_pattern(config.model)
    values["model"], values["pattern"] = ("lenet5", config.model) if pattern else (config.model, "")
    values["recipe"], values["name"] = config.recipe, ""
    values |= {name: text.strip() for name, text in given.items() if name in values}
    return Form(values)


def typed(value: Any) -> str:
    """Write a value as somebody would type it.

    >>> typed(0.0005), typed(1.0), typed(32)
    ('0.0005', '1', '32')
    """
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def read(form: Form) -> TrainConfig | None:
    """Make a configuration of what was typed; None where something is wrong, noted in the form."""
    base = base_of(form.values.get("recipe", ""), form.data)
    given: dict[str, Any] = {"model": form.model, "data": form.data}
    for name in (*MAIN, *MORE):
        text = form.values.get(name, "").strip()
        if text or str(_FIELDS[name].type) == "str":
            _note(form, name, lambda n=name, t=text: given.update({n: _value(n, t)}))
    if given.get("momentum") == 0:
        given["nesterov"] = False  # Nesterov's look ahead needs one
    _note(form, "pattern" if form.values.get("pattern") else "model", lambda: _network(form.model))
    _note(form, "path" if form.values.get("path") else "data", lambda: _data(form.data))
    config, faults = _together(base, given)
    form.wrong |= faults
    form.config = None if form.wrong else config
    return form.config


def _together(base: TrainConfig, given: Mapping[str, Any]) -> tuple[TrainConfig, dict[str, str]]:
    """Put choices together; those at whose place an error is told are left out."""
    left, faults = dict(given), dict[str, str]()
    while (said := _refused(base, left)) and left:
        # Without the choice that it is about, the error goes or another one comes.
        culprit = next((n for n in left if _refused(base, _without(left, n)) != said), None)
        if culprit is None:
            faults[""] = said
            break
        faults[culprit] = said
        left = _without(left, culprit)
    return (base if faults else replace(base, **left)), faults


def _refused(base: TrainConfig, given: Mapping[str, Any]) -> str:
    try:
        replace(base, **given)
    except ChainruleError as error:
        return str(error)
    return ""


def _without(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}


def _note(form: Form, name: str, what: Any) -> None:
    try:
        what()
    except ChainruleError as error:
        form.wrong[name] = str(error)


def _value(name: str, text: str) -> Any:
    kind = str(_FIELDS[name].type)
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError as error:
        what = "a whole number" if kind == "int" else "a number"
        raise DataError(f"{label(name)}: expected {what}; got {text[:40]!r}") from error


def _network(model: str) -> None:
    if is_pattern(model):
        parse(model)
    else:
        find(model, "Network")


def _data(data: str) -> None:
    """Refuse what is not there; what is in it is found out when it is read."""
    if data not in SETS:
        if not data or not ("{" in data or Path(data).exists()):
            raise DataError(f"Data: expected a folder or a file that is there; got {data[:200]!r}")
    elif data not in sets_here():
        raise DataError(
            f"Data: {data} is not on this disk, in data/{data}; "
            f"`chainrule train --data {data} --download` fetches it"
        )


def command_of(config: TrainConfig) -> list[str]:
    """Write the command that trains the same.

    >>> command_of(TrainConfig(lr=0.5, momentum=0.0, nesterov=False))
    ['chainrule', 'train', 'lenet5', '--lr=0.5', '--momentum=0.0', '--no-nesterov']
    """
    words = ["chainrule", "train", config.model]
    if config.recipe in list_recipes():
        base = recipe(config.recipe)
        words.append(f"--recipe={config.recipe}")
        written = base.data
    else:
        base = base_of("", config.data)
        written = TrainConfig().data  # which data it is decides about the other choices
    if config.data != written:
        words.append(f"--data={config.data}")
    for name in (name for name in _FIELDS if name not in ("model", "data", "recipe")):
        value = getattr(config, name)
        if value != getattr(base, name):
            words += _option(name, value)
    return words


def _option(name: str, value: Any) -> list[str]:
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, Mapping):
        return [f"--{option}={key}={each}" for key, each in value.items()]
    return [f"--{option}={each}" for each in (value if isinstance(value, tuple) else (value,))]
