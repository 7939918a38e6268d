"""`chainrule look METHOD RUN IMAGE`: what a run's network looks at, as a picture."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from chainrule.cli.evaluate import Best
from chainrule.cli.predict import Ink, InkOption
from chainrule.cli.settings import check_picture, save_figure
from chainrule.data.pictures import WHITE, read_picture
from chainrule.data.sources import FRAMES
from chainrule.data.transforms import Resize
from chainrule.engine.op import Array
from chainrule.engine.random import Generator
from chainrule.errors import DataError
from chainrule.inspection.looking import Look
from chainrule.inspection.methods import METHODS, find_method
from chainrule.inspection.methods import look as draw
from chainrule.training.using import Member, Predictor

_LONGEST = 192  # side of a picture that is painted on, in pixels
_LIST = "; ".join(f"{name}: {method.what}" for name, method in METHODS.items())

Name = Annotated[str, typer.Argument(metavar="METHOD", help=f"How to look. {_LIST}.")]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder that `chainrule train` wrote.")
]
Image = Annotated[
    Path | None, typer.Argument(metavar="IMAGE", help="A picture, where the method needs one.")
]
Layer = Annotated[
    str | None, typer.Option(metavar="NAME", help="A layer, as `chainrule summary` names it.")
]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS",
        help="A class by its name or number, the likeliest if left out; with --layer, except for "
        "Grad-CAM, a number among the layer's channels, the strongest if left out.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        *("--output", "-o", "--out"),
        metavar="FILE",
        help="The picture to write, as .png, .svg, .pdf or .jpg; IMAGE-METHOD.png.",
    ),
]
Style = Annotated[
    Path | None, typer.Option(metavar="IMAGE", help="The picture whose style is taken.")
]
Size = Annotated[
    int | None,
    typer.Option(
        min=16,
        help="Longest side of a picture that is painted on, in pixels (deep-dream, "
        "style-transfer; not of digits).",
        show_default=f"{_LONGEST}",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file.")]


def look(
    method: Name,
    run: Run,
    image: Image = None,
    layer: Layer = None,
    target: Target = None,
    style: Style = None,
    size: Size = None,
    out: Out = None,
    overwrite: Overwrite = False,
    ink: Ink = InkOption.AUTO,
    best: Best = False,
) -> None:
    """Draw what a run's network looks at in a picture, or what its units know.

    The picture goes the way of the run's own test images, as for `chainrule predict`, and is drawn
    as the network gets it; dreams and styles are painted on the picture itself.
    """
    entry = find_method(method)
    file = out or Path(f"{image.stem if image else run.name}-{method}.png")
    check_picture(file)
    if file.exists() and not overwrite:
        raise DataError(f"{file}: already there; take another name (--out), or --overwrite")
    predictor = Predictor(run, best=best)
    member = predictor.members[0]
    if size is not None:
        _check_size(method, entry.painted, member)
    x = None if image is None else _seen(predictor, member, image, ink)
    units = entry.units and layer is not None
    at = Look(
        member.model,
        predictor.classes,
        x,
        layer,
        None if target is None else _number(target, () if units else predictor.classes),
        member.samples,
        *member.scale(),
        size=member.config.shape,
    )
    if entry.painted and x is not None:
        at = _painted(at, predictor, (image, style), size or _LONGEST, ink)
    save_figure(draw(method, at), file)
    if x is not None:
        typer.echo(f"{image}: {_answer(member, x)}")
    typer.echo(f"saved in {file}")


def _check_size(method: str, painted: bool, member: Member) -> None:
    """Refuse a size that would change nothing."""
    if not painted:
        raise DataError(f"--size: {method} paints on no picture; leave it out")
    if member.config.train.data in FRAMES:
        _, h, w = member.config.shape
        raise DataError(
            f"--size: this run reads digits, which are painted on as the network sees them, "
            f"{h}x{w}; leave it out"
        )


def _seen(predictor: Predictor, member: Member, image: Path, ink: InkOption) -> Array:
    """Give the picture as the network sees it, (1, C, H, W)."""
    pixels = predictor.pixels(image, ink.value, member)
    return np.asarray(member.transforms(pixels, Generator(0)))


def _painted(
    at: Look,
    predictor: Predictor,
    files: tuple[Path | None, Path | None],
    size: int,
    ink: InkOption,
) -> Look:
    """Read the pictures that are painted on: in their own size, digits as the network sees them."""
    member, style = predictor.members[0], files[1]
    if member.config.train.data not in FRAMES:
        photo, second = [None if file is None else _photo(file, member, size) for file in files]
        return replace(at, photo=photo, style=second)
    if style is None:
        return at
    return replace(at, style=at.plain(_seen(predictor, member, style, ink))[0])


def _photo(path: Path, member: Member, size: int) -> Array:
    """Read a picture in its own form, (C, H, W) from 0 to 1, at most so large."""
    grey = member.config.in_channels == 1
    pixels = read_picture(path, "L" if grey else "RGB")
    scaled = np.divide(pixels, WHITE[pixels.dtype], dtype=np.float32)
    longest = max(scaled.shape[1:])
    if longest <= size:
        return scaled
    high, wide = (max(1, round(side * size / longest)) for side in scaled.shape[1:])
    return np.asarray(Resize((high, wide))(scaled))


def _answer(member: Member, x: Array) -> str:
    p = member.probabilities(member.scores(x))[0]
    best = int(p.argmax())
    if member.config.task == "regression":
        return ", ".join(f"{n} {v:.6g}" for n, v in zip(member.config.classes, p, strict=True))
    return f"{member.config.classes[best]} ({100 * p[best]:.2f} %)"


def _number(target: str, classes: Sequence[str]) -> int:
    """Give the number of a class, or of a layer's channel where there are no classes."""
    if target in classes:
        return classes.index(target)
    if target.isdecimal() and (not classes or int(target) < len(classes)):
        return int(target)
    if not classes:
        raise DataError(f"--target: with --layer, expected a channel's number; got {target!r}")
    near = [] if target.isdecimal() else difflib.get_close_matches(target, classes, n=3)
    near = near or list(classes[:10])
    more = f", ... ({len(classes)})" if len(classes) > len(near) else ""
    raise DataError(f"--target: no class {target!r}; there are {', '.join(near)}{more}")
