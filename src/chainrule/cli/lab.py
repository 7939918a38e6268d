"""`chainrule lab`: the networks of this machine on a page in the browser."""

from __future__ import annotations

import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from chainrule.errors import DataError

Run = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN]", help="The run that is shown first: a folder of `train`."),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="The port; 0 takes any that is free.", show_default="8765 or next"
    ),
]
Host = Annotated[
    str,
    typer.Option(
        help="The address to listen on; another than this machine's own is guarded by a token."
    ),
]
Runs = Annotated[Path, typer.Option(help="The folder with the runs, where new ones go too.")]
Indexes = Annotated[
    list[Path] | None,
    typer.Option(
        "--index",
        metavar="PATH",
        help="An index for the page Retrieval, beside those in the folder of runs; repeatable.",
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]

_NEEDED = ("flask", "waitress", "pygraphviz", "plotly", "matplotlib", "sklearn")


def lab(
    run: Run = None,
    port: Port = None,
    host: Host = "127.0.0.1",
    runs: Runs = Path("runs"),
    index: Indexes = None,
    show: Open = False,
) -> None:
    """Show networks in the browser: circuits, layers, pixels, training, looks, retrieval.

    The page is served from this machine to this machine, and nothing is fetched from outside.
    It runs until Ctrl-C; a training that was begun in it then saves and stops.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise DataError(f"lab: needs {', '.join(missing)}; pip install chainrule[lab]")
    from chainrule.lab.serving import serve, token_for  # only with the extra
    from chainrule.lab.settings import Settings

    def ready(address: str) -> None:
        typer.echo(f"chainrule lab: {address}\nCtrl-C ends it")
        if show:
            webbrowser.open(address)

    settings = Settings(runs, run, host, token=token_for(host), indexes=tuple(index or ()))
    serve(settings, ready, port)
