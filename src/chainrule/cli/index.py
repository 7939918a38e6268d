"""`chainrule index ...`: an index of images made, filled, emptied, described, checked, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.index_reports import evaluate, info, verify
from chainrule.cli.progress import counting
from chainrule.errors import DataError
from chainrule.retrieval.building import Report
from chainrule.retrieval.making import (
    Choices,
    Source,
    add_to_index,
    build_index,
    remove_from_index,
)
from chainrule.retrieval.thumbnails import SIDE

app = typer.Typer(
    name="index",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make an index of images by a network's features: build, add, evaluate, ...",
)

Index = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of an index.")]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder that `chainrule train` wrote.")
]
Images = Annotated[
    str,
    typer.Argument(
        metavar="IMAGES",
        help="A folder or file of pictures and DICOM; or a data set, by its name or table.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder of the index, a new one.")]
Part = Annotated[
    str, typer.Option(help="Of a data set: train, validation, test or all.", show_default="all")
]
DataDir = Annotated[str | None, typer.Option(help="Folder with the files of a named data set.")]
Secondary = Annotated[
    bool,
    typer.Option(
        "--secondary",
        help="Take DICOM's secondary captures too (screenshots, scans), which may show names.",
    ),
]
Window = Annotated[
    str,
    typer.Option(
        metavar="CENTRE,WIDTH",
        help="The grey values of DICOM images that are shown, as 40,400.",
        show_default="each file's own",
    ),
]
ShowPaths = Annotated[
    bool,
    typer.Option("--show-paths", help="Name files that are left out by their paths, here alone."),
]
Layer = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The layer that gives the features, as `chainrule summary` names it.",
        show_default="the one before the last",
    ),
]
Best = Annotated[bool, typer.Option("--best", help="Use the weights of the best epoch.")]
Dtype = Annotated[str, typer.Option(help="float32, or float16 for half the space.")]
Whiten = Annotated[
    int,
    typer.Option(
        min=0, help="Keep so many principal components, each of the same spread; 0: all, as is."
    ),
]
Thumbnail = Annotated[
    int, typer.Option(min=0, help="Longest side of the small pictures kept; 0 keeps none.")
]
KeepPaths = Annotated[
    bool, typer.Option("--keep-paths", help="Keep the files' paths, which often hold names.")
]
KeepTags = Annotated[
    str,
    typer.Option(metavar="A,B", help="DICOM tags to keep, as Modality,BodyPartExamined."),
]
Group = Annotated[
    str,
    typer.Option(
        metavar="PATTERN",
        help="Finds the patient in a picture's path, as 'patient_(\\d+)'; DICOM says it itself.",
    ),
]
Ann = Annotated[
    bool | None,
    typer.Option(
        "--ann/--no-ann",
        help="A graph for approximate search.",
        show_default="from 200,000 images on",
    ),
]


@app.command("build")
def build(
    run: Run,
    images: Images,
    out: Out,
    layer: Layer = "",
    best: Best = False,
    dtype: Dtype = "float32",
    whiten: Whiten = 0,
    window: Window = "",
    thumbnail: Thumbnail = SIDE,
    keep_paths: KeepPaths = False,
    keep_tags: KeepTags = "",
    group: Group = "",
    ann: Ann = None,
    part: Part = "",
    data_dir: DataDir = None,
    secondary: Secondary = False,
    show_paths: ShowPaths = False,
) -> None:
    """Make an index of images by the features of a run's network.

    It can be searched while it is made.  Of a file nothing is kept but the features, the classes, a
    small picture and hashes; what cannot be read is left out and listed.
    """
    tags = tuple(name.strip() for name in keep_tags.split(",") if name.strip())
    choices = Choices(layer, best, dtype, whiten, window, thumbnail, keep_paths, tags, group, ann)
    source = Source(images, part, data_dir, secondary)
    with counting("files") as step:
        report = build_index(run, source, out, choices, step, typer.echo)
    _tell(report, show_paths)
    typer.echo(f"index: {out}")


@app.command("add")
def add(
    index: Index,
    images: Images,
    part: Part = "",
    data_dir: DataDir = None,
    window: Window = "",
    secondary: Secondary = False,
    show_paths: ShowPaths = False,
) -> None:
    """Put more images into an index; what is there already, by its content, stays as it is."""
    source = Source(images, part, data_dir, secondary, window)
    with counting("files") as step:
        report = add_to_index(index, source, step, typer.echo)
    _tell(report, show_paths)


Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID...]", help="Images by their ids, which `chainrule search` tells."),
]
Paths = Annotated[
    list[str] | None,
    typer.Option("--path", help="All of a file or folder; repeatable."),
]
Patients = Annotated[
    list[str] | None,
    typer.Option("--patient", help="All of a patient, by the Patient ID; repeatable."),
]


@app.command("remove")
def remove(index: Index, ids: Ids = None, paths: Paths = None, patients: Patients = None) -> None:
    """Take images out of an index; nothing of them stays in it."""
    if not (ids or paths or patients):
        raise DataError("remove: expected ids of images, --path or --patient; got none")
    with counting("images") as step:
        count = remove_from_index(index, ids or (), paths or (), patients or (), step)
    typer.echo(f"removed: {count:,}")


app.command("info")(info)
app.command("verify")(verify)
app.command("evaluate")(evaluate)


def _tell(report: Report, show_paths: bool) -> None:
    """Say what became of the files; their names only where that was asked for."""
    if report.skipped:
        typer.echo(f"left out: {len(report.skipped):,}")
        for skipped in report.skipped:
            name = skipped.name if show_paths and skipped.name else skipped.source[:12]
            typer.echo(f"  {name or 'an image'}: {skipped.reason}")
        if not show_paths:
            typer.echo("  (files by their keyed hashes; --show-paths names them here)")
    if report.left:
        for reason, count in sorted(report.left.items()):
            typer.echo(f"not looked at: {count:,} {reason}")
    if report.known:
        typer.echo(f"already there: {report.known:,}")
    typer.echo(f"added: {report.added:,}")
