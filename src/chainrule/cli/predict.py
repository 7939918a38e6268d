"""`chainrule predict RUN IMAGE...`: what a run's network sees in pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from chainrule.errors import DataError
from chainrule.training.task import Predictor


class InkOption(StrEnum):
    """How the drawing stands out from its paper."""

    AUTO = "auto"
    DARK = "dark"
    LIGHT = "light"


Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder that `chainrule train` wrote.")
]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", help="Picture files, one digit each.")
]
Top = Annotated[int, typer.Option(min=1, help="How many classes to show.")]
Ink = Annotated[
    InkOption,
    typer.Option(
        help="dark: dark ink on light paper; light: light on dark; auto: told by the border."
    ),
]


def predict(run: Run, images: Images, top: Top = 3, ink: Ink = InkOption.AUTO) -> None:
    """Name the likeliest classes of pictures, with their probabilities.

    Each picture holds one digit.  It is turned to light ink on black, cut to the ink, scaled and
    centred as the training images are; one that already has their exact size is only inverted if
    its border is light.
    """
    predictor = Predictor(run)
    failed = 0
    for path in images:
        try:
            probabilities = predictor.probabilities(path, ink.value)
        except DataError as error:
            failed += 1
            typer.echo(f"error: {error}", err=True)
            continue
        best = np.argsort(-probabilities, kind="stable")[:top]
        names = predictor.config.classes
        shown = ", ".join(f"{names[k]} ({100 * probabilities[k]:.2f} %)" for k in best)
        typer.echo(f"{path}: {shown}")
    if failed:
        raise typer.Exit(1)
