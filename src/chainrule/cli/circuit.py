"""`chainrule circuit EXPRESSION NAME=VALUE ...`: forward and backward of an expression."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.inspection.circuits import circuit as drawn
from chainrule.inspection.circuits import read_values

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


def circuit(
    expression: Expression, values: Values = None, out: Out = None, digits: Digits = 4
) -> None:
    """Compute an expression and its gradients, step by step, and draw it.

    Functions: sigmoid, tanh, relu, exp, log, sqrt, abs, square, sin, cos, max, min, sum, mean,
    softmax, matmul, pow; W.T turns a matrix.  The text is parsed and never executed.  Gradients
    are those of one number: sum(...) makes it of a matrix.  An expression that begins with - comes
    after --.
    """
    drawing = drawn(expression, read_values(values or []), digits=digits)
    typer.echo(str(drawing))
    if out is not None:
        typer.echo(f"\nwritten: {drawing.save(out)}")
