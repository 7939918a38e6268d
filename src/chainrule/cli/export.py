"""`chainrule export RUN MODEL.onnx`: a network as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from chainrule.cli.settings import image_shape
from chainrule.errors import CheckpointError, DataError
from chainrule.formats import onnx
from chainrule.formats.weights import read_about
from chainrule.models.registry import create_model, load_model
from chainrule.nn.module import Module
from chainrule.training.folder import RunFolder

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Run folder that `chainrule train` wrote, weights that `save_weights` wrote, or a "
        "name that `chainrule models` lists, which gives its first values.",
    ),
]
Target = Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to write.")]
Input = Annotated[
    str, typer.Option("--input", metavar="CxHxW", help="One image's shape; the network's own.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file.")]


class Source(NamedTuple):
    """A network, the name it was made by, its images' shape, and what the file will say of it."""

    model: Module
    name: str
    shape: tuple[int, int, int]
    about: dict[str, Any]


def export(run: Run, target: Target, input: Input = "", overwrite: Overwrite = False) -> None:
    """Write a network as ONNX, for any size of the batch.

    The classes and the preprocessing of a run stand in the file's notes.
    """
    if target.is_dir():
        raise DataError(f"{target}: this is a folder; give the name of the file to write")
    if target.exists() and not overwrite:
        raise DataError(f"{target}: already there; take another name, or replace it (--overwrite)")
    source = _source(run)
    shape = image_shape(source.name, input) if input else source.shape
    model = onnx.export(source.model, shape, target, about=source.about)
    size = sum(p.stat().st_size for p in (target, _beside(target)) if p.is_file())
    opset = model.opset_import[0].version
    typer.echo(f"{target}: {size:,} bytes, {len(model.graph.node)} nodes, opset {opset}")
    for what, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            sizes = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            typer.echo(f"{what}: {value.name} ({', '.join(map(str, sizes))})")


def _beside(target: Path) -> Path:
    """Name the file that holds the weights of a model too large for one."""
    return target.with_name(target.name + ".data")


def _source(run: str) -> Source:
    """Find the network: in a run's folder, in a file of weights, or in the registry."""
    path = Path(run)
    if path.is_dir():
        folder = RunFolder(path)
        config = folder.read_config()
        name = config.train.model
        use = config.transforms.eval().transforms
        noted = {
            "model": {"name": name, "options": dict(config.options)},
            "classes": list(config.classes),
            "preprocessing": {"transforms": [repr(member) for member in use]},
        }
        return Source(folder.load_model(), name, config.shape, noted)
    if path.is_file():
        about = read_about(path)
        model, made = load_model(path), about["model"]
        options = made.get("options", {})
        channels, height, width = image_shape(made["name"], "")
        height, width = (options.get("image_size", size) for size in (height, width))
        shape = options.get("in_channels", channels), height, width
        return Source(model, made["name"], shape, about)
    if path.suffix or len(path.parts) > 1:
        raise CheckpointError(f"{run}: no such folder or file")
    model = create_model(run)
    return Source(model, run, image_shape(run, ""), {"model": {"name": run}})
