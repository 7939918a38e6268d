"""The entry of the command line: commands, `--version`, and every error in one line."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from chainrule import __version__
from chainrule.cli.evaluate import evaluate
from chainrule.cli.gradcheck import gradcheck
from chainrule.cli.predict import predict
from chainrule.cli.train import train
from chainrule.errors import ChainruleError

INTERRUPTED = 130  # what shells give for Ctrl-C

app = typer.Typer(
    name="chainrule",
    help="Deep learning for computer vision that shows every gradient.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("predict")(predict)
app.command("gradcheck")(gradcheck)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chainrule {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (at any place).")
    ] = False,
) -> None:
    """Deep learning for computer vision that shows every gradient."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0: done.  1: it failed (bad data, a full disk, a failed check).  2: wrong usage.  130: Ctrl-C.
    Errors are one line on standard error; `--debug`, anywhere, adds the traceback.

    >>> main(["--version"])
    Traceback (most recent call last):
    SystemExit: 0
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    sys.exit(_run([argument for argument in given if argument != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    try:
        code = app(args=arguments, prog_name="chainrule", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        text, code = _explain(error)
        print(f"error: {' '.join(text.split())}", file=sys.stderr)
        return code


def _explain(error: Exception) -> tuple[str, int]:
    """Give the one line and the exit code for an error."""
    usage = getattr(error, "format_message", None)
    if usage is not None:  # the parser's own
        return str(usage()), int(getattr(error, "exit_code", 2))
    if isinstance(error, ChainruleError):
        return str(error), 1
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", 1
    if isinstance(error, MemoryError):
        return "not enough memory; a smaller --batch-size needs less", 1
    return f"{type(error).__name__}: {error} (not foreseen; --debug shows where)", 1
