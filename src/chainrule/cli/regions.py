"""`chainrule regions UNITS...`: the linear regions of a small network of two inputs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule.cli.settings import check_picture, numbers, save_figure
from chainrule.engine.creation import tensor
from chainrule.engine.random import manual_seed
from chainrule.errors import failure
from chainrule.inspection.regions import linear_regions
from chainrule.nn.activation import LeakyReLU, ReLU
from chainrule.nn.container import Sequential
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module

Units = Annotated[
    list[int] | None,
    typer.Argument(metavar="UNITS", min=1, help="Units of each hidden layer, as 8 8."),
]
Lines = Annotated[
    list[str] | None,
    typer.Option(
        "--line",
        metavar="A,B,C",
        help="Instead of random units, one whose kink is A x + B y + C = 0; may be repeated.",
    ),
]
Plane = Annotated[str, typer.Option(metavar="X0,X1,Y0,Y1", help="The rectangle of inputs.")]
Slope = Annotated[float, typer.Option(help="The slope below 0: LeakyReLU's if it is not 0.")]
Seed = Annotated[int, typer.Option(help="Of the random weights.")]
Values = Annotated[bool, typer.Option("--values", help="Colours by the network's output.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The picture.")]


def regions(
    units: Units = None,
    line: Lines = None,
    plane: Plane = "-3,3,-3,3",
    slope: Slope = 0.0,
    seed: Seed = 0,
    values: Values = False,
    output: Output = Path("regions.png"),
) -> None:
    """Count and draw the linear regions of a small network of two inputs.

    It has random weights, or one layer whose units are given as lines.
    """
    if bool(units) == bool(line):
        hint = "chainrule regions 8 8, or chainrule regions --line 1,0,0 --line 0,1,0"
        raise failure("regions", "either units of layers or lines", hint=hint)
    check_picture(output)
    network = _lines(line, slope) if line else _random(units or [], slope, seed)
    found = linear_regions(network, numbers("--plane", plane, 4))
    save_figure(found.plot(output=0 if values else None), output)
    typer.echo(str(found))
    typer.echo(f"picture: {output}")


def _bent(slope: float) -> Module:
    return LeakyReLU(slope) if slope else ReLU()


def _random(units: list[int], slope: float, seed: int) -> Sequential:
    manual_seed(seed)
    layers: list[Any] = []
    for before, after in pairwise([2, *units]):
        layers += [Linear(before, after), _bent(slope)]
    return Sequential(*layers, Linear(units[-1], 1))


def _lines(lines: list[str], slope: float) -> Sequential:
    """Make a unit of each line, in float64."""
    rows = [numbers("--line", line, 3) for line in lines]
    layer = Linear(2, len(rows)).double()
    weight, bias = [row[:2] for row in rows], [row[2] for row in rows]
    layer.load_state_dict({"weight": tensor(weight).double(), "bias": tensor(bias).double()})
    return Sequential(layer, _bent(slope))
