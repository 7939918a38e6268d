"""`chainrule race`: optimisers raced over a surface of two numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.settings import check_picture, numbers, save_figure
from chainrule.inspection.surface import SURFACES, loss_surface

On = Annotated[str, typer.Option("--surface", help=f"One of {', '.join(SURFACES)}.")]
Steps = Annotated[int, typer.Option(min=0, help="How many steps; 0: the surface's own.")]
Rate = Annotated[float, typer.Option(min=0.0, help="SGD's rate; 0: the surface's own.")]
Start = Annotated[str, typer.Option(metavar="X,Y", help="Where all begin.")]
Plane = Annotated[str, typer.Option(metavar="X0,X1,Y0,Y1", help="What is looked at.")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The picture, or an animation if it ends in .gif.")
]


def race(
    surface: On = "beale",
    steps: Steps = 0,
    rate: Rate = 0.0,
    start: Start = "",
    plane: Plane = "",
    output: Output = Path("race.png"),
) -> None:
    """Race SGD, momentum, Nesterov, Adagrad, Adadelta, RMSprop and Adam over a surface."""
    check_picture(output, "gif")
    found = loss_surface(
        surface,
        steps=steps or None,
        rate=rate or None,
        start=numbers("--start", start, 2) if start else None,
        plane=numbers("--plane", plane, 4) if plane else None,
    )
    if output.suffix.lower() == ".gif":
        found.animate(output)
    else:
        save_figure(found.plot(), output)
    typer.echo(str(found))
    typer.echo(f"picture: {output}")
