"""`chainrule evaluate RUN...`: measure runs on test images, several as one."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from chainrule.cli.progress import counting
from chainrule.training.folder import RunFolder
from chainrule.training.metrics import Evaluation
from chainrule.training.report import Report
from chainrule.training.using import evaluate_runs


class CropsOption(StrEnum):
    """How many views of each image are averaged."""

    CENTER = "center"
    FIVE = "five"
    TEN = "ten"


Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN...", help="Run folders; several answer by their mean."),
]
Data = Annotated[
    str | None,
    typer.Option(help="Another data set with the same classes.", show_default="the run's"),
]
DataDir = Annotated[
    Path | None, typer.Option(help="Where the data files are now, if they have moved.")
]
Crops = Annotated[
    CropsOption,
    typer.Option(help="Views of each image: its centre, five crops, or those mirrored too."),
]
Best = Annotated[bool, typer.Option("--best", help="Use the weights of the best epoch.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write all numbers as JSON.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for the confusion matrix and the other tables and plots."),
]


def evaluate(
    runs: Runs,
    data: Data = None,
    data_dir: DataDir = None,
    crops: Crops = CropsOption.CENTER,
    best: Best = False,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Measure a run's weights on its test images, or several runs' as one ensemble.

    The probabilities of several networks, and of several views of an image, are averaged.
    """
    with counting("images", quiet=as_json) as step:
        found = evaluate_runs(runs, data, data_dir, crops.value, best, step)
    classes = RunFolder(runs[0]).read_config().classes
    if out is not None:
        task = RunFolder(runs[0]).read_config().task
        out.mkdir(parents=True, exist_ok=True)
        Report(out, classes, task, str(runs[0]) if len(runs) == 1 else f"{len(runs)} runs").write(
            [], found.together
        )
    if as_json:
        alone = [{"run": str(r), **_numbers(e)} for r, e in zip(runs, found.alone, strict=True)]
        typer.echo(json.dumps({**_numbers(found.together), "runs": alone}, indent=2))
        return
    if len(runs) > 1:
        for run, result in zip(runs, found.alone, strict=True):
            typer.echo(f"{run}: {_line(result)}")
        mean = float(np.mean([_main(result) for result in found.alone]))
        typer.echo(f"mean of the {len(runs)}: {_written(mean, found.together)}")
        typer.echo("together:")
    _show(found.together, classes)


def _show(result: Evaluation, classes: tuple[str, ...]) -> None:
    typer.echo(f"test loss: {result.loss:.4f}")
    if not result.confusion.size:
        for name, value in result.metrics.items():
            typer.echo(f"test {name.replace('_', ' ')}: {value:.4f}")
        return
    confused = _confused(result, classes)
    if confused:
        typer.echo(f"most often confused: {', '.join(confused)}")
    if "top5" in result.metrics:
        typer.echo(f"among the first five: {100 * result.metrics['top5']:.2f} %")
    right, count = int(np.trace(result.confusion)), int(result.confusion.sum())
    typer.echo(f"right: {right:,} of {count:,}")
    typer.echo(f"test accuracy: {100 * result.accuracy:.2f} %")


def _main(result: Evaluation) -> float:
    return result.accuracy if result.confusion.size else result.loss


def _written(value: float, like: Evaluation) -> str:
    return f"accuracy {100 * value:.2f} %" if like.confusion.size else f"loss {value:.4f}"


def _line(result: Evaluation) -> str:
    return _written(_main(result), result)


def _numbers(result: Evaluation) -> dict[str, Any]:
    """Give the numbers for JSON, which has no word for what is not finite."""
    numbers = {"loss": result.loss, **result.metrics}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _confused(result: Evaluation, classes: tuple[str, ...], most: int = 3) -> list[str]:
    """Name the commonest errors, such as '4 taken for 9 (7 times)'."""
    if not result.confusion.size:
        return []
    wrong = result.confusion * (1 - np.eye(len(classes), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(classes)) for place in order]
    return [
        f"{classes[i]} taken for {classes[j]} ({wrong[i, j]} time{'s' * int(wrong[i, j] > 1)})"
        for i, j in pairs
        if wrong[i, j]
    ]
