"""`chainrule circuit EXPRESSION NAME=VALUE ...`: forward and backward of an expression."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule.cli.settings import check_output
from chainrule.errors import DataError
from chainrule.inspection.circuits import circuit as drawn
from chainrule.inspection.circuits import read_value

Expression = Annotated[
    str, typer.Argument(metavar="EXPRESSION", help='Such as "(x+y)*z" or "f = sigmoid(W @ x)".')
]
Values = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME=VALUE", help="A number, or a matrix: W=[[1,2],[3,4]]."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        *("--output", "-o", "--out"),
        metavar="FILE",
        help="Draw it too: a file that ends in .svg, .png or .dot.",
    ),
]
Digits = Annotated[int, typer.Option(min=1, max=17, help="Digits of a number that count.")]

ENDINGS = ("svg", "png", "dot", "gv")


def circuit(
    expression: Expression, values: Values = None, out: Out = None, digits: Digits = 4
) -> None:
    """Compute an expression and its gradients, step by step, and draw it.

    Functions: sigmoid, tanh, relu, exp, log, sqrt, abs, square, sin, cos, max, min, sum, mean,
    softmax, matmul, pow; W.T turns a matrix.  The text is parsed and never executed.  Gradients
    are those of one number: sum(...) makes it of a matrix.  An expression that begins with - comes
    after --.
    """
    if out is not None:
        check_output(out, ENDINGS)
    drawing = drawn(expression, _read(values or []), digits=digits)
    typer.echo(str(drawing))
    if out is not None:
        typer.echo(f"\nwritten: {drawing.save(out)}")


def _read(values: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            raise DataError(f"{text}: expected NAME=VALUE, such as x=-2")
        if name in found:
            raise DataError(f"{name}: expected one value, got two")
        found[name] = read_value(value)
    return found
