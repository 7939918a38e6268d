"""`chainrule summary MODEL`: the table of a network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.settings import check_output, chosen, image_shape
from chainrule.engine.device import device
from chainrule.formats.atomic import write_atomic
from chainrule.inspection.summary import summary as summarise
from chainrule.models.registry import create_model


class Format(StrEnum):
    """How the table is written."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name that `chainrule models` lists, or a pattern, "
        "[(CONV-RELU)*2-POOL]*2-(FC-RELU)*1,SOFTMAX.",
    ),
]
Input = Annotated[
    str, typer.Option("--input", metavar="CxHxW", help="One image's shape; the network's own.")
]
Batch = Annotated[int, typer.Option(min=1, help="How many images at once.")]
Classes = Annotated[int, typer.Option(min=0, help="How many classes; 0: the network's own.")]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="An option of the network; may be repeated."),
]
As = Annotated[Format, typer.Option("--format", help="How the table is written.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A file instead of the screen.")
]


def summary(
    model: Model,
    input: Input = "",
    batch: Batch = 1,
    classes: Classes = 0,
    set: Settings = [],  # noqa: B006 - typer wants a list and does not change it
    format: As = Format.TEXT,
    output: Output = None,
) -> None:
    """Show a network's layers: shapes, memory, parameters, multiply-adds.

    Nothing is allocated: the largest network takes a fraction of a second.
    """
    if output is not None:
        check_output(output)
    shape = image_shape(model, input)
    with device("meta"):
        network = create_model(model, classes or None, shape[0], **chosen(model, set, shape))
    found = summarise(network, shape, batch)
    text = {Format.JSON: found.json, Format.HTML: found.html}.get(format, found.__str__)()
    if output is None:
        typer.echo(text)
    else:
        write_atomic(output, text + "\n")
        typer.echo(f"written: {output}")
