"""`chainrule info FILE`: what a file of weights holds."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule.formats.safetensors import read_metadata, read_shapes
from chainrule.formats.torch_files import is_torch
from chainrule.formats.weights import METADATA, first_bytes, read_about, read_weights

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Weights: safetensors, or PyTorch's .pt or .pth.")
]
As = Annotated[bool, typer.Option("--json", help="Write JSON.")]
All = Annotated[bool, typer.Option("--tensors", help="List every tensor.")]


def info(file: File, as_json: As = False, tensors: All = False) -> None:
    """Tell of which network a file of weights is, its classes, and its tensors.

    Nothing in the file is run.  Of safetensors only the header is read.
    """
    found = _read(file)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    values = sum(prod(shape) for _, shape in found["tensors"].values())
    typer.echo(f"{file}: {found['form']}, {len(found['tensors'])} tensors, {values:,} values")
    model = found["about"].get("model") or {}
    if "name" in model:
        options = ", ".join(f"{k}={v!r}" for k, v in model.get("options", {}).items())
        typer.echo(f"network: {model['name']}({options})")
    elif "class" in model:
        typer.echo(f"network: {model['class']}, not from create_model")
    for name in ("classes", "preprocessing"):
        if name in found["about"]:
            typer.echo(f"{name}: {json.dumps(found['about'][name], ensure_ascii=False)}")
    for name, value in found["metadata"].items():
        typer.echo(f"{name}: {value if len(value) < 200 else value[:200] + ' ...'}")
    if tensors:
        for name, (kind, shape) in found["tensors"].items():
            typer.echo(f"  {name}  {kind}  {'x'.join(map(str, shape)) or 'one value'}")


def _read(file: Path) -> dict[str, Any]:
    if is_torch(first_bytes(file)):
        state = read_weights(file)
        shapes: dict[str, Any] = {k: (str(v.dtype), v.shape) for k, v in state.items()}
        return {"form": "PyTorch", "about": {}, "metadata": {}, "tensors": shapes}
    metadata = {k: v for k, v in read_metadata(file).items() if k != METADATA}
    about, shapes = read_about(file), dict(read_shapes(file))
    return {"form": "safetensors", "about": about, "metadata": metadata, "tensors": shapes}
