"""`chainrule lr MODEL`: find a learning rate by a short range test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from chainrule.cli.options import with_config_options
from chainrule.cli.settings import check_output
from chainrule.cli.train import Model, Recipe, configuration
from chainrule.formats.atomic import write_atomic
from chainrule.training.finder import find_lr
from chainrule.training.plots import rate_curve_png
from chainrule.training.task import Prepared

Start = Annotated[float, typer.Option(help="The rate of the first step.")]
End = Annotated[float, typer.Option(help="The rate of the last step, if it gets there.")]
Steps = Annotated[int, typer.Option(min=5, help="How many steps.")]
Plot = Annotated[Path, typer.Option(help="The picture of loss over rate.")]


@with_config_options
def lr(
    model: Model = None,
    recipe: Recipe = None,
    start: Start = 1e-6,
    end: End = 10.0,
    steps: Steps = 100,
    plot: Plot = Path("lr.png"),
    **choices: Any,
) -> None:
    """Find a learning rate: a short training in which the rate grows from step to step.

    Smith's range test (2015): the rate at which the loss falls most steeply is suggested, and the
    curve is drawn, to be looked at.
    """
    check_output(plot, ["png"])
    prepared = Prepared(configuration(model, recipe, choices))
    curve = find_lr(
        prepared.model,
        prepared.trainer.train,
        prepared.trainer.optimizer,
        prepared.trainer.objective,
        start,
        end,
        steps,
    )
    write_atomic(plot, rate_curve_png(curve))
    typer.echo(str(curve))
    if len(curve.smoothed):
        lowest = float(curve.rates[int(np.argmin(curve.smoothed))])
        typer.echo(
            f"the loss is lowest at {lowest:.2g}; many take a tenth of that, {lowest / 10:.2g}"
        )
    typer.echo(f"curve: {plot}")
