"""What commands read, shapes of images, options as NAME=VALUE, numbers; and how they save."""

from __future__ import annotations

import ast
import inspect
import io
import re
from pathlib import Path
from typing import Any

from chainrule.errors import KindError, ShapeError, failure
from chainrule.formats.atomic import write_atomic
from chainrule.models.pattern import PatternNet, is_pattern
from chainrule.models.registry import find


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


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure in the form that the file's name asks for, whole or not at all.

    Raises KindError for an ending that matplotlib does not write.
    """
    known = figure.canvas.get_supported_filetypes()
    ending = path.suffix.lower().lstrip(".")
    if ending not in known:
        rule = f"a file that ends in one of {', '.join(sorted(known))}"
        raise failure("--output", rule, error=KindError, output=str(path))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending)
    write_atomic(path, buffer.getvalue())
