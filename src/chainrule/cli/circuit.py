"""`chainrule circuit EXPRESSION NAME=VALUE ...`: forward and backward of an expression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from chainrule.cli.settings import check_output
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

ENDINGS = ("svg", "png", "dot", "gv")


def circuit(
    expression: Expression, values: Values = None, out: Out = None, digits: Digits = 4
) -> None:
    """Compute an expression and its gradients, step by step, and draw it.

    Functions: sigmoid, tanh, relu, exp, log, sqrt, abs, square, sin, cos, max, min, sum, mean,
    softmax, matmul, pow; W.T turns a matrix.  The text is parsed and never executed.  Gradients
    are those of one number: sum(...) makes it of a matrix.  An expression may begin with a minus;
    one that is spelled like an option, -h or -o, stands after --.
    """
    if out is not None:
        check_output(out, ENDINGS)
    drawing = drawn(expression, read_values(values or []), digits=digits)
    typer.echo(str(drawing))
    if out is not None:
        typer.echo(f"\nwritten: {drawing.save(out)}")


_PICTURE = re.compile(r"-o.+\.(svg|png|dot|gv)", re.IGNORECASE)
_LONG = re.compile(r"--[A-Za-z][\w-]*(=.*)?", re.DOTALL)


class Command(TyperCommand):
    """Tells an expression that begins with a minus, -x*y, from an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options first, and all else behind `--`, in its order."""
        flags = {name for option in self.params for name in option.opts if name.startswith("-")}
        try:
            return super().parse_args(ctx, _options_first(args, flags - {"-h", "--help"}))
        except Exception as error:
            if hasattr(error, "option_name") and hasattr(error, "possibilities"):
                error.message += "; an expression that begins so stands after --"  # type: ignore[attr-defined]
            raise


def _options_first(arguments: Sequence[str], with_value: set[str]) -> list[str]:
    """Sort arguments: options with their values, then `--`, then what only looks like options.

    Options are those in `with_value`, which the next argument belongs to, -h, -oFILE for a picture,
    and all that begin with -- and a word, so that a misspelled one is still told.

    >>> _options_first(["-x*y", "x=1", "-o", "-c.svg", "y=-2"], {"-o"})
    ['-o', '-c.svg', '--', '-x*y', 'x=1', 'y=-2']
    """
    options, others, left = list[str](), list[str](), list(arguments)
    while left:
        text = left.pop(0)
        if text == "--":
            others += left
            break
        if text in with_value and not left:
            return [text]  # its value is missing, which the parser tells
        if text in with_value:
            options += [text, left.pop(0)]
        elif text == "-h" or _LONG.fullmatch(text) or _PICTURE.fullmatch(text):
            options.append(text)
        else:
            others.append(text)
    return [*options, "--", *others] if others else options
