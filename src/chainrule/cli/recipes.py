"""`chainrule recipes`: the recipes that come with the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated

import typer

from chainrule.training.recipes import list_recipes, recipe

Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Show this one's file, to copy and change.")
]


def recipes(name: Name = None) -> None:
    """List the recipes of training, or show one's file."""
    if name is not None:
        recipe(name)  # an unknown name is an error with the nearest ones
        text = (files("chainrule.training") / "recipes" / f"{name}.toml").read_text("utf-8")
        typer.echo(text, nl=False)
        return
    for known in list_recipes():
        config = recipe(known)
        typer.echo(
            f"{known:15} {config.model:18} {config.epochs:4} epochs of batches of "
            f"{config.batch_size}, {config.optimizer}, rate {config.lr:g}, {config.schedule}"
        )
