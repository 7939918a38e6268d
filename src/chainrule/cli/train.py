"""`chainrule train MODEL`: train a network and write a run folder."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.main import Interrupted
from chainrule.cli.progress import ProgressDisplay
from chainrule.errors import KindError, ShapeError
from chainrule.models.registry import find
from chainrule.training.config import TrainConfig, recipe
from chainrule.training.task import TrainTask

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The network, such as lenet5.")]
Data = Annotated[str, typer.Option(help="Data set: digits or mnist.")]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with the four MNIST files.", show_default="data/mnist"),
]
Epochs = Annotated[
    int | None, typer.Option(help="Passes over the training images.", show_default="30; mnist 8")
]
BatchSize = Annotated[int | None, typer.Option(help="Images a step.", show_default="32; mnist 64")]
Rate = Annotated[float | None, typer.Option(help="Learning rate at its peak.", show_default="0.02")]
Momentum = Annotated[float | None, typer.Option(help="Momentum.", show_default="0.9")]
Nesterov = Annotated[bool | None, typer.Option(help="Nesterov's look ahead.", show_default="on")]
Decay = Annotated[
    float | None, typer.Option(help="Weight decay, biases left out.", show_default="0.0005")
]
Warmup = Annotated[
    float | None,
    typer.Option(help="Epochs in which the rate grows to its peak.", show_default="1"),
]
Shift = Annotated[
    int | None,
    typer.Option(
        help="Training images move by up to so many of 32 pixels.", show_default="3; mnist 1"
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of all randomness: same seed, same result.")]
Out = Annotated[
    Path | None,
    typer.Option(help="Run folder.", show_default="runs/MODEL-DATA, numbered where taken"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")]


def train(
    model: Model,
    data: Data = "digits",
    data_dir: DataDir = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    momentum: Momentum = None,
    nesterov: Nesterov = None,
    weight_decay: Decay = None,
    warmup: Warmup = None,
    shift: Shift = None,
    seed: Seed = 0,
    out: Out = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a network and write a run folder: weights, configuration, metrics, plots.

    The rate grows over the warm-up and follows half a cosine to 0.  The result is the last epoch's
    on the fixed test images; nothing is chosen by looking at them.
    """
    if nesterov is None and momentum == 0:
        nesterov = False  # it needs a momentum; who asks for it without one gets an error
    try:
        find(model, "MODEL")  # an unknown name is found before the data is read
        config = recipe(
            data,
            model=model,
            data_dir=None if data_dir is None else str(data_dir),
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            warmup=warmup,
            shift=shift,
            seed=seed,
        )
    except (ShapeError, KindError) as error:
        raise typer.BadParameter(str(error)) from error
    _train(TrainTask(config, out or _free_name(config, overwrite), overwrite))


def _free_name(config: TrainConfig, overwrite: bool) -> Path:
    """Give runs/MODEL-DATA, or with a number behind it where that is taken."""
    base = Path("runs") / f"{config.model}-{config.data}"
    if overwrite or not base.exists():
        return base
    names = (base.with_name(f"{base.name}-{number}") for number in itertools.count(2))
    return next(name for name in names if not name.exists())


def _train(task: TrainTask) -> None:
    config, data, out = task.config, task.data, task.folder.path
    count = sum(parameter.array.size for parameter in task.model.parameters())
    typer.echo(
        f"{config.model} ({count:,} parameters) on {data.name}: {len(data.train):,} training and "
        f"{len(data.test):,} test images, seed {config.seed}, into {out}"
    )
    for note in data.notes:
        typer.echo(f"note: {note}")
    try:
        with ProgressDisplay(config, len(data.train)) as display:
            task.run([display])
    except KeyboardInterrupt as error:
        raise Interrupted(_saved_so_far(task)) from error
    refused: OSError | None = None
    try:
        problem = task.draw()
    except OSError as error:  # the weights are saved: the result is told before the error
        refused, problem = error, ""
    if problem:
        typer.echo(f"note: no plots ({problem})")
    typer.echo(f"saved in {out}")
    typer.echo(f"test accuracy: {100 * task.rows[-1].test_accuracy:.2f} %")
    if refused is not None:
        raise refused


def _saved_so_far(task: TrainTask) -> str:
    """Complete the folder of an interrupted training with plots, and say what is in it."""
    if not task.rows:
        return "no epoch was finished, nothing was saved"
    try:
        problem = task.draw()
    except OSError as error:
        problem = str(error)
    done, wanted = len(task.rows), task.config.epochs
    said = f"the weights after epoch {done} of {wanted} are in {task.folder.path}"
    return f"{said}, without plots ({problem})" if problem else said
