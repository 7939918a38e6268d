"""`chainrule predict RUN IMAGE...`: what a run's network sees in pictures."""

from __future__ import annotations

import csv
import io
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from chainrule.cli.evaluate import Best, Crops, CropsOption
from chainrule.errors import DataError
from chainrule.training.using import Predictor


class InkOption(StrEnum):
    """How the drawing stands out from its paper."""

    AUTO = "auto"
    DARK = "dark"
    LIGHT = "light"


class FormOption(StrEnum):
    """How the answers are written."""

    LINES = "lines"
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder that `chainrule train` wrote.")
]
Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Picture files or folders.")]
Also = Annotated[
    list[Path] | None, typer.Option("--with", help="Another run, to answer together; repeatable.")
]
Top = Annotated[int, typer.Option(min=1, help="How many classes to show.")]
Ink = Annotated[
    InkOption,
    typer.Option(
        help="Of digits: dark ink on light paper; light on dark; auto: told by the border."
    ),
]
Form = Annotated[FormOption, typer.Option("--format", help="How the answers are written.")]

Answer = tuple[Path, list[tuple[str, float]]]


def predict(
    run: Run,
    images: Images,
    top: Top = 3,
    ink: Ink = InkOption.AUTO,
    form: Form = FormOption.LINES,
    crops: Crops = CropsOption.CENTER,
    also: Also = None,
    best: Best = False,
) -> None:
    """Name the likeliest classes of pictures, with their probabilities.

    A picture goes the way of the run's own test images.  For a run on digits it holds one
    digit, which is turned to light ink on black, cut to the ink, scaled and centred as the training
    images are; one that already has their exact size is only inverted if its border is light.
    """
    predictor = Predictor(run, *(also or []), views=crops.value, best=best)
    answers: list[Answer] = []
    errors: list[tuple[Path, str]] = []
    for path in _files(images):
        try:
            p = predictor.probabilities(path, ink.value)
        except DataError as error:
            errors.append((path, str(error)))
            typer.echo(f"error: {error}", err=True)
            continue
        best_first = np.argsort(-p, kind="stable")[:top]
        answers.append((path, [(predictor.classes[k], float(p[k])) for k in best_first]))
        if form is FormOption.LINES:
            shown = ", ".join(_words(name, value, predictor) for name, value in answers[-1][1])
            typer.echo(f"{path}: {shown}")
    if form is not FormOption.LINES:
        _WRITERS[form](answers, errors)
    if errors:
        raise typer.Exit(1)


def _words(name: str, value: float, predictor: Predictor) -> str:
    if predictor.config.task == "regression":
        return f"{name} {value:.6g}"
    return f"{name} ({100 * value:.2f} %)"


def _files(paths: list[Path]) -> list[Path]:
    """Give the files, those of folders in the order of their names."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        found += [p for p in inside if not (path.is_dir() and p.name.startswith("."))]
    return found


def _json(answers: list[Answer], errors: list[tuple[Path, str]]) -> None:
    entries: list[dict[str, Any]] = [
        {"file": str(path), "predictions": [{"class": n, "probability": v} for n, v in found]}
        for path, found in answers
    ]
    entries += [{"file": str(path), "error": text} for path, text in errors]
    typer.echo(json.dumps(entries, indent=2, ensure_ascii=False))


def _csv(answers: list[Answer], errors: list[tuple[Path, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    most = max((len(found) for _, found in answers), default=0)
    head = [f"{what}{k}" for k in range(1, most + 1) for what in ("class", "probability")]
    writer.writerow(["file", *head])
    for path, found in answers:
        writer.writerow([path, *(part for n, v in found for part in (n, f"{v:.9g}"))])
    typer.echo(text.getvalue(), nl=False)


def _table(answers: list[Answer], errors: list[tuple[Path, str]]) -> None:
    table = Table("file", "class", "probability", box=None, pad_edge=False)
    for path, found in answers:
        for place, (name, value) in enumerate(found):
            table.add_row("" if place else str(path), name, f"{value:.4f}")
    Console(highlight=False, soft_wrap=True).print(table)


_WRITERS = {FormOption.JSON: _json, FormOption.CSV: _csv, FormOption.TABLE: _table}
