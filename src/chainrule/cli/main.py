"""The entry of the command line: commands, `--version`, and every error in one line."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from chainrule import __version__
from chainrule.errors import ChainruleError

COMMANDS = {
    "train": "Train a network and write a run folder: weights, configuration, metrics, plots.",
    "recipes": "List the recipes of training, or show one's file.",
    "lr": "Find a learning rate: a short training in which the rate grows from step to step.",
    "evaluate": "Measure a run's weights on its test images, or several runs' as one ensemble.",
    "predict": "Name the likeliest classes of pictures, with their probabilities.",
    "look": "Draw what a run's network looks at in a picture, or what its units know.",
    "models": "List the networks: name, images, parameters, published error, first line.",
    "summary": "Show a network's layers: shapes, memory, parameters, multiply-adds.",
    "info": "Tell of which network a file of weights is, its classes, and its tensors.",
    "export": "Write a network as ONNX, for any size of the batch.",
    "circuit": "Compute an expression and its gradients, step by step, and draw it.",
    "regions": "Count and draw the linear regions of a small network of two inputs.",
    "index": "Make an index of images by a network's features: build, add, evaluate, ...",
    "search": "Find the images of an index that are most like a picture, by a network's features.",
    "lab": "Show networks in the browser: circuits, layers, pixels, training, looks, retrieval.",
    "race": "Race SGD, momentum, Nesterov, Adagrad, Adadelta, RMSprop and Adam over a surface.",
    "gradcheck": "Compare backward with centred differences, in float64.",
    "doctor": "Show what computes here, and what each missing piece would bring.",
}
"""The commands, each in the module of its name, with the first line of its help."""

INTERRUPTED, TERMINATED = 130, 143  # what shells give for Ctrl-C and for SIGTERM


class Interrupted(Exception):
    """Ctrl-C during a training; the text says what was saved."""

    code = INTERRUPTED


class Stopped(Interrupted):
    """SIGTERM during a training."""

    code = TERMINATED


class _Commands(TyperGroup):
    """Loads the module of the command that runs, so that help and usage errors come at once."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands in the order of their table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give what help needs of a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None

        def stub() -> None:
            pass

        stub.__doc__ = COMMANDS[cmd_name]
        return _command(cmd_name, stub)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Give the command itself to whoever runs it."""
        name, stub, rest = super().resolve_command(ctx, args)
        if stub is None or name is None:
            return name, stub, rest
        module = importlib.import_module(f"chainrule.cli.{name}")
        if hasattr(module, "app"):  # a command with commands of its own
            return name, typer.main.get_command(module.app), rest
        own = getattr(module, "Command", None)  # where a command reads its arguments its own way
        return name, _command(name, getattr(module, name), own), rest


def _command(name: str, function: Callable[..., None], kind: Any = None) -> Any:
    single = typer.Typer(add_completion=False, context_settings=_HELP)
    single.command(name, cls=kind)(function)
    return typer.main.get_command(single)


_HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="chainrule",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without a letter shows "?", no error
            stream.reconfigure(errors="replace")
    sys.exit(_run([argument for argument in given if argument != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    try:
        code = app(args=arguments, prog_name="chainrule", standalone_mode=False)
        if sys.stdout is not None:  # None: it was closed before we began
            sys.stdout.flush()
        if code == INTERRUPTED:  # how the parser reports Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Interrupted as interruption:
        print(f"interrupted: {interruption}", file=sys.stderr)
        return interruption.code
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        text, code = _explain(error)
        if not text:  # help was asked for by giving no command; it has been shown
            return code
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
        return "not enough memory; in a training a smaller --batch-size needs less", 1
    return f"{type(error).__name__}: {error} (not foreseen; --debug shows where)", 1
