"""Recipes: configurations as TOML files, the papers' own among them."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from chainrule.errors import DataError, KindError, ShapeError
from chainrule.training.config import TrainConfig, known_fields

_FOLDER = "recipes"
OF_DATA = {"digits": "lenet5-digits", "mnist": "lenet5-mnist"}
"""The recipe whose choices stand where a data set is named and no recipe."""


def list_recipes() -> list[str]:
    """List the recipes that come with the package.

    >>> "resnet-cifar" in list_recipes()
    True
    """
    folder = files("chainrule.training") / _FOLDER
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def recipe(name: str, **changes: Any) -> TrainConfig:
    """Give a recipe's configuration, with what is not None among `changes` in its place.

    `name` is one of `list_recipes()`, the path of a TOML file, or the name of a data set, which
    stands for the recipe made for it.  Raises DataError for an unknown name or a file that is
    none, naming the line, ValueError and TypeError for values out of range.

    >>> recipe("lenet5-mnist", lr=0.1, seed=None).lr
    0.1
    """
    base = TrainConfig(**read_recipe(OF_DATA.get(name, name)))
    return replace(base, **{key: value for key, value in changes.items() if value is not None})


def read_recipe(name: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a recipe's choices, without the defaults; see `recipe` for the names.

    >>> read_recipe("resnet-cifar")["batch_size"]
    128
    """
    text, label, where = _text(name)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where}: not a TOML file ({error})") from error
    known = known_fields({"recipe": label, **values}, where)
    try:
        TrainConfig(**known)
    except (ShapeError, KindError) as error:
        raise DataError(f"{where}: {error}") from error
    return known


def _text(name: str | os.PathLike[str]) -> tuple[str, str, str]:
    """Give a recipe's text, its name, and where it is."""
    label = os.fspath(name)
    own = files("chainrule.training") / _FOLDER / f"{label}.toml"
    if os.sep not in label and not label.endswith(".toml") and own.is_file():
        return own.read_text("utf-8"), label, f"recipe {label}"
    path = Path(label)
    if path.is_file():
        try:
            return path.read_text("utf-8"), path.stem, label
        except UnicodeDecodeError as error:
            raise DataError(f"{label}: not a TOML file ({error})") from error
    if label.endswith(".toml") or os.sep in label:
        raise DataError(f"{label}: no such file")
    near = difflib.get_close_matches(label, list_recipes(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(list_recipes())}"
    raise DataError(f"no recipe is called {label!r}; {hint}")
