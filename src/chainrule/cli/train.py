"""`chainrule train MODEL`: train a network and write a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule.cli.downloads import DownloadDisplay
from chainrule.cli.main import Interrupted, Stopped
from chainrule.cli.options import chosen_fields, with_config_options
from chainrule.cli.progress import ProgressDisplay
from chainrule.errors import KindError, ShapeError
from chainrule.models.pattern import is_pattern
from chainrule.models.registry import find
from chainrule.training.check import check_network
from chainrule.training.config import TrainConfig
from chainrule.training.folder import HEALTH, free_folder, run_name
from chainrule.training.interrupt import Terminated
from chainrule.training.loop import Callback
from chainrule.training.recipes import OF_DATA, recipe
from chainrule.training.task import Prepared, TrainTask
from chainrule.watching import HealthWatch

Model = Annotated[
    str | None,
    typer.Argument(metavar="[MODEL]", help="The network, such as lenet5; or the recipe's."),
]
Recipe = Annotated[
    str | None,
    typer.Option(help="A recipe by name (chainrule recipes lists them), or a TOML file."),
]
Resume = Annotated[
    Path | None, typer.Option(help="Go on with the run in this folder, where it stopped.")
]
Check = Annotated[
    bool, typer.Option("--check", help="Check the network against the data, and do not train.")
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a standard data set that is not there.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Run folder.", show_default="runs/MODEL-DATA, numbered where taken"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")]


@with_config_options
def train(
    model: Model = None,
    recipe: Recipe = None,
    out: Out = None,
    resume: Resume = None,
    check: Check = False,
    download: Download = False,
    overwrite: Overwrite = False,
    **choices: Any,
) -> None:
    """Train a network and write a run folder: weights, configuration, metrics, plots.

    What is not said comes from the recipe, and without one from that of the data set
    (lenet5-digits, lenet5-mnist), else from the defaults shown here.  The result is the last
    epoch's on the fixed test images; nothing is chosen by looking at them.
    """
    if resume is not None:
        others = model or recipe or out or overwrite or check or download
        given = chosen_fields(choices)
        watch = given.pop("health", None)
        task = _resumed(resume, given, others)
        watched = task.config.health or (task.folder.path / HEALTH).exists()
        _train(task, watched if watch is None else watch)
        return
    config = configuration(model, recipe, choices)
    with DownloadDisplay() as display:
        if check:
            _check(Prepared(config, None, download, display))
            return
        target = out or _folder(config, overwrite)
        task = TrainTask(config, target, overwrite, download, display)
    _train(task, config.health)


def configuration(model: str | None, named: str | None, choices: Mapping[str, Any]) -> TrainConfig:
    """Put together what the recipe says and what the user says; wrong values are usage errors."""
    if model is None and named is None:
        raise typer.BadParameter(
            "missing: a network, such as lenet5, or --recipe", param_hint="MODEL"
        )
    try:
        given = chosen_fields(choices)
    except KindError as error:
        raise typer.BadParameter(str(error)) from error
    if given.get("momentum") == 0 and "nesterov" not in given:
        given["nesterov"] = False  # it needs a momentum; who asks for it without one gets an error
    data = given.get("data", TrainConfig().data)
    base = named if named is not None else OF_DATA.get(data)
    try:
        if model is not None:
            if not is_pattern(model):
                find(model, "MODEL")  # an unknown name is found before the data is read
            given["model"] = model
        if base is None:
            return TrainConfig(**given)
        if named is None:
            given["recipe"] = ""
        return recipe(base, **given)
    except (ShapeError, KindError) as error:
        raise typer.BadParameter(str(error)) from error


def _resumed(run: Path, given: dict[str, Any], other: Any) -> TrainTask:
    places = {name: given.pop(name, None) for name in ("data_dir", "workers")}
    if given or other:
        raise typer.BadParameter(
            "--resume goes on with a run as it was begun; beside it only --data-dir and --workers "
            "can be given, and --health"
        )
    task = TrainTask.resume(run, **places)
    for problem in task.damaged:
        typer.echo(f"note: passed over {problem}")
    return task


def _folder(config: TrainConfig, overwrite: bool) -> Path:
    """Give runs/MODEL-DATA, or with a number behind it where that is taken."""
    return Path("runs") / run_name(config) if overwrite else free_folder("runs", config)


def _check(task: Prepared) -> None:
    """Check, and say what was found."""
    objective = task.trainer.objective
    found = check_network(
        task.model,
        task.data.train,
        task.transforms,
        objective,
        overfit=True,
        skip_bad=task.config.skip_bad,
    )
    for finding in found:
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}: {finding.text}")
    if not all(finding.ok for finding in found):
        raise typer.Exit(1)


def _train(task: TrainTask, health: bool) -> None:
    config, data, out = task.config, task.data, task.folder.path
    count = sum(parameter.array.size for parameter in task.model.parameters())
    held = f", {len(data.validation):,} held out" if data.validation is not None else ""
    typer.echo(
        f"{config.model} ({count:,} parameters) on {data.name}: {len(data.train):,} training and "
        f"{len(data.test):,} test images{held}, seed {config.seed}, into {out}"
    )
    for note in data.notes:
        typer.echo(f"note: {note}")
    if task.trainer.rows or task.trainer.step:
        trainer = task.trainer
        typer.echo(f"going on in epoch {trainer.epoch}, after step {trainer.step}")
    else:
        for warning in task.warnings():
            typer.echo(f"note: {warning}")
    try:
        healthy = _run(task, health)
    except KeyboardInterrupt as error:
        kind = Stopped if isinstance(error, Terminated) else Interrupted
        raise kind(_saved_so_far(task)) from error
    refused: OSError | None = None
    try:
        problem = task.draw()
    except OSError as error:  # the weights are saved: the result is told before the error
        refused, problem = error, ""
    if task.trainer.ending:
        typer.echo(f"ended early: {task.trainer.ending}")
    if problem:
        typer.echo(f"note: no plots ({problem})")
    if task.skipped:
        where = out / "skipped.csv"
        noun = "file that" if len(task.skipped) == 1 else "files that"
        typer.echo(f"note: left out {len(task.skipped):,} {noun} could not be read: {where}")
    if healthy:
        typer.echo(healthy)
    typer.echo(f"saved in {out}")
    typer.echo(result_line(task.rows[-1].to_dict()))
    if refused is not None:
        raise refused


def _run(task: TrainTask, health: bool) -> str:
    """Train under the display, and under watch if that is wanted; gives what that found."""
    with ExitStack() as stack:
        display = stack.enter_context(ProgressDisplay(task.config, len(task.data.train)))
        callbacks: list[Callback] = [display]
        if not health:
            task.run(callbacks)
            return ""
        watch = stack.enter_context(HealthWatch(task, display.note))
        task.run([*callbacks, watch])
    return watch.result


def result_line(row: dict[str, float]) -> str:
    """Write the last epoch's result on the test images: accuracy, or what else is measured."""
    if "test_accuracy" in row:
        return f"test accuracy: {100 * row['test_accuracy']:.2f} %"
    found = {key[5:]: value for key, value in row.items() if key.startswith("test_")}
    return ", ".join(f"test {name}: {value:.4f}" for name, value in found.items())


def _saved_so_far(task: TrainTask) -> str:
    """Complete the folder of an interrupted training with plots, and say what is in it."""
    out = task.folder.path
    if not out.exists() or task.folder.holds_another_run:
        return "no epoch was finished, nothing was saved"
    again = f"chainrule train --resume {out} goes on"
    if not task.rows:
        return f"a checkpoint within the first epoch is in {out}; {again}"
    try:
        problem = task.draw()
    except OSError as error:
        problem = str(error)
    said = f"the weights after epoch {len(task.rows)} of {task.config.epochs} are in {out}"
    said = f"{said}, without plots ({problem})" if problem else said
    return f"{said}; {again}"
