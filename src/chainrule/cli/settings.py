"""What commands read, shapes of images, options as NAME=VALUE, numbers; and how they save."""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chainrule.errors import DataError, KindError, ShapeError, failure
from chainrule.formats.atomic import neighbour, write_atomic
from chainrule.inspection.figures import figure_bytes, new_figure
from chainrule.models.pattern import PatternNet, is_pattern
from chainrule.models.registry import find

PICTURES = ("png", "svg", "pdf", "jpg", "jpeg", "webp", "tif", "tiff", "eps", "ps", "svgz")
"""Endings of files that matplotlib writes by itself, and that programs show."""


def image_shape(model: str, text: str) -> tuple[int, int, int]:
    """Read 3x224x224; without text the shape for which the network was made.

    >>> image_shape("lenet5", ""), image_shape("vgg16", "1x64x96")
    ((1, 32, 32), (1, 64, 96))
    """
    if text:
        found = re.fullmatch(r"(\d+)[xX,](\d+)[xX,](\d+)", text.strip())
        if found is None:
            raise failure("--input", "channels, height and width, as 3x224x224", input=text)
        c, h, w = map(int, found.groups())
        return c, h, w
    if is_pattern(model):
        return 3, 32, 32
    entry = find(model)
    return entry.channels, entry.size, entry.size


def chosen(model: str, pairs: list[str], shape: tuple[int, int, int]) -> dict[str, Any]:
    """Read options of a network; one that has an `image_size` gets that of the images."""
    build = PatternNet if is_pattern(model) else find(model).build
    known = inspect.signature(build).parameters
    options: dict[str, Any] = {"image_size": shape[1]} if "image_size" in known else {}
    free = [name for name in known if name not in ("pattern", "num_classes", "in_channels")]
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            raise failure("--set", "NAME=VALUE", set=pair)
        if name not in free:
            rule = f"an option of {model}: {', '.join(free) or 'it has none'}"
            raise failure("--set", rule, error=ShapeError, set=pair)
        try:
            options[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[name] = text
        default = known[name].default
        wanted = isinstance(default, str) is isinstance(options[name], str)
        if default is not inspect.Parameter.empty and not wanted:
            rule = f"a value like {default!r} for {name}"
            raise failure("--set", rule, error=KindError, set=pair)
    return options


def numbers(option: str, text: str, count: int) -> list[float]:
    """Read so many numbers with commas between them.

    >>> numbers("--start", "1,-2.5", 2)
    [1.0, -2.5]
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count:
        raise failure(option, f"{count} numbers with commas between", error=KindError, given=text)
    return found


def check_picture(path: Path, *more: str) -> None:
    """Check, before the work, that a figure can be written here: `check_output` for `PICTURES`.

    `more` are further endings.  Raises DataError where matplotlib is missing, too.
    """
    known = new_figure(1.0, 1.0).canvas.get_supported_filetypes()
    check_output(path, [*(ending for ending in PICTURES if ending in known), *more])


def check_output(path: Path, endings: Sequence[str] = ()) -> None:
    """Check, before the work, that a file can be written here; an older one stays as it is.

    Raises KindError for a name that ends in none of `endings`, DataError for a folder, for a file
    in a folder that is not there, and where nothing can be written.
    """
    if endings and path.suffix.lower().lstrip(".") not in endings:
        rule = f"a file that ends in one of {', '.join(endings)}"
        raise failure("--output", rule, error=KindError, output=str(path))
    if path.is_dir():
        raise DataError(f"{path}: this is a folder; give the name of the file to write")
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise DataError(f"{path}: there is no folder {str(path.parent)!r}; make it first")
    try:
        with neighbour(target) as trial, open(trial, "xb"):
            pass
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure in the form that the file's name asks for, whole or not at all."""
    write_atomic(path, figure_bytes(figure, path.suffix.lower().lstrip(".")))
