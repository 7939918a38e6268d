"""`chainrule evaluate RUN`: measure a run's weights on its test images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from chainrule.training.folder import RunFolder
from chainrule.training.metrics import Evaluation
from chainrule.training.task import evaluate_run

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder that `chainrule train` wrote.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Where the data files are now, if they have moved.")
]


def evaluate(run: Run, data_dir: DataDir = None) -> None:
    """Measure a run's weights on the test images of its data set."""
    classes = RunFolder(run).read_config().classes
    result = evaluate_run(run, data_dir)
    typer.echo(f"test loss: {result.loss:.4f}")
    confused = _confused(result, classes)
    if confused:
        typer.echo(f"most often confused: {', '.join(confused)}")
    right, count = int(np.trace(result.confusion)), int(result.confusion.sum())
    typer.echo(f"right: {right:,} of {count:,}")
    typer.echo(f"test accuracy: {100 * result.accuracy:.2f} %")


def _confused(result: Evaluation, classes: tuple[str, ...], most: int = 3) -> list[str]:
    """Name the commonest errors, such as '4 taken for 9 (7 times)'."""
    errors = result.confusion.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:most]
    places = [np.unravel_index(int(place), errors.shape) for place in order]
    return [
        f"{classes[int(i)]} taken for {classes[int(j)]} ({errors[i, j]} times)"
        for i, j in places
        if errors[i, j]
    ]
