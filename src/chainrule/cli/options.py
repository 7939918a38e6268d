"""Options of the command line made from the fields of a training's configuration."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any

import typer

from chainrule.errors import KindError, failure
from chainrule.training.config import TrainConfig

_LEFT_OUT = ("model", "recipe")  # an argument, and an option of another meaning
_TYPES: dict[str, Any] = {
    "str": str | None,
    "str | None": str | None,
    "int": int | None,
    "float": float | None,
    "bool": bool | None,
    "tuple[str, ...]": list[str] | None,
    "tuple[float, ...]": list[float] | None,
    "Mapping[str, Any]": list[str] | None,
}


def with_config_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every field of `TrainConfig`, as a decorator.

    The command takes them as keyword arguments, None where the user did not say.  Help and panels
    come from the fields themselves, so that there is one place for each choice.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    named = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
    added = [_parameter(choice) for choice in fields(TrainConfig) if choice.name not in _LEFT_OUT]
    function.__signature__ = inspect.Signature([*named, *added])  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in [*named, *added]}
    return function


def _parameter(choice: Field[Any]) -> inspect.Parameter:
    about = choice.metadata
    option = typer.Option(
        help=about["help"], show_default=_shown(choice), rich_help_panel=about["panel"]
    )
    return inspect.Parameter(
        choice.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_TYPES[str(choice.type)], option],
    )


def _shown(choice: Field[Any]) -> str | bool:
    if choice.default in (MISSING, None, "", ()):
        return False
    if isinstance(choice.default, tuple):
        return " ".join(map(str, choice.default))
    return str(choice.default)


def chosen_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the user said, in the fields' kinds; NAME=VALUE pairs become tables.

    >>> chosen_fields({"lr": 0.1, "epochs": None, "optimizer_options": ["betas=(0.9, 0.99)"]})
    {'lr': 0.1, 'optimizer_options': {'betas': [0.9, 0.99]}}
    """
    kinds = {choice.name: str(choice.type) for choice in fields(TrainConfig)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if value is None or value == []:
            continue
        if kinds[name].startswith("Mapping"):
            given[name] = dict(_pair(name, text) for text in value)
        else:
            given[name] = tuple(value) if isinstance(value, list) else value
    return given


def _pair(option: str, text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        rule = "NAME=VALUE"
        raise failure(f"--{option.replace('_', '-')}", rule, error=KindError, option=text)
    try:
        read = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        read = value
    return name.strip(), list(read) if isinstance(read, tuple) else read
