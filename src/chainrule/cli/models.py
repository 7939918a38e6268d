"""`chainrule models`: the networks that can be built by name."""

from __future__ import annotations

import inspect
import json
import re
from typing import Annotated, Any

import typer

from chainrule.models.registry import MODELS, Entry

As = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Part = Annotated[str, typer.Argument(metavar="[TEXT]", help="Show names that contain this.")]


def models(text: Part = "", as_json: As = False) -> None:
    """List the networks: name, images, parameters, published error, first line."""
    found = {name: _about(entry) for name, entry in MODELS.items() if text.lower() in name}
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        typer.echo(f"no name contains {text!r}", err=True)
        raise typer.Exit(1)
    width = max(map(len, found))
    for name, about in sorted(found.items()):
        parameters = f"{about['parameters']:,}" if about["parameters"] else ""
        typer.echo(f"{name:{width}}  {about['input']:>10}  {parameters:>12}  {about['is']}")
        if about["published"]:
            typer.echo(f"{'':{width}}  {'':>10}  {'':>12}  published: {about['published']}")


def _about(entry: Entry) -> dict[str, Any]:
    text = inspect.getdoc(entry.build) or ""
    flat = re.sub(r"\s+", " ", text)
    published = re.search(r"Published: (.+?)\.(?: |$)(?!\d)", flat)
    return {
        "is": text.split("\n")[0],
        "input": f"{entry.channels}x{entry.size}x{entry.size}",
        "parameters": entry.parameters,
        "published": published[1] if published else "",
    }
