"""Pictures and points drawn by matplotlib, and images as PNG; what is heavy is asked for here."""

from __future__ import annotations

import importlib
import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, ShapeError, expect, failure
from chainrule.inspection.given import counts, real, setting, several, text

_LETTERS = 9  # of a title on an inch
_SMALL = 7  # points of the letters beside a grid
_COLOURS = 20  # how many classes have a colour of their own


def extra(module: str, what: str) -> Any:
    """Import a module of the extra `demo`; DataError, with what it was to do, without it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = {"sklearn": "scikit-learn"}.get(module.split(".")[0], module.split(".")[0])
        raise DataError(
            f"{what} by {package}, which is not installed; pip install chainrule[demo]"
        ) from error


def image_figure(
    image: Any,
    title: str = "",
    scale: float | None = None,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    gap: int = 1,
) -> Any:
    """Draw an image (C, H, W) of one or three channels from 0 to 1 as a matplotlib figure.

    A pixel of the image is a square of `scale` pixels, by default so many that it is readable.
    `figure.savefig(path)` writes it.  Of a grid of pictures, `gap` apart, `rows` and `columns` are
    what stands beside each row and above each column, as `grid_numbers` gives it; every second or
    third alone where all would not fit.  Raises ShapeError for other shapes, DataError where
    matplotlib is missing.

    >>> image_figure(np.zeros((3, 8, 8)), title="black").axes[0].get_title()
    'black'
    """
    asked = "image_figure"
    x = _shown(asked, image)
    rows, columns = (
        [text(asked, "a name in rows and columns", name) for name in several(asked, "names", names)]
        for names in (rows, columns)
    )
    (gap,) = counts(asked, least=0, gap=gap)
    if scale is not None:
        setting(asked, 1e-3, 1e4, scale=scale)
    h, w = x.shape[:2]
    dpi = 110
    times = max(1, 480 // max(h, w)) if scale is None else scale
    high, wide = h * times / dpi, w * times / dpi
    lines = textwrap.wrap(text(asked, "title", title), max(20, int(max(wide, 2.0) * _LETTERS)))
    letter, line = 0.65 * _SMALL / 72, 1.4 * _SMALL / 72  # inches that a small one takes
    beside = letter * (max(map(len, rows), default=-1) + 1)
    above = 0.3 * len(lines) + line * bool(columns)
    figure = new_figure(max(wide, 2.0) + beside + 0.2, max(high, 1.0) + above + 0.2, dpi)
    axes = figure.subplots()
    axes.imshow(
        x if x.shape[2] > 1 else x[:, :, 0],
        cmap="gray",
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest",
    )
    _number(axes, (rows, columns), gap, dpi / times)
    plain_title(axes, "\n".join(lines))
    return figure


def _number(axes: Any, names: tuple[Sequence[str], Sequence[str]], gap: int, inch: float) -> None:
    """Write names beside the rows and above the columns of a grid, as many as there is room for.

    `inch` is how many of the image's pixels go on one.
    """
    (rows, columns), (bottom, right) = names, (axes.get_ylim()[0], axes.get_xlim()[1])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2)
    wide = 0.65 * _SMALL / 72 * (max(map(len, columns), default=0) + 1)
    for write, each, end, room in (
        (axes.set_yticks, rows, bottom, 1.3 * _SMALL / 72),
        (axes.set_xticks, columns, right, wide),
    ):
        pitch = (end + 0.5 + gap) / max(len(each), 1)
        every = max(1, math.ceil(room * inch / pitch))
        places = [(k + 0.5) * pitch - 0.5 - gap / 2 for k in range(0, len(each), every)]
        write(places, list(each[::every]), fontsize=_SMALL, parse_math=False)


def image_png(image: Any) -> bytes:
    """Write an image (C, H, W) of one or three channels from 0 to 1 as PNG, pixel by pixel.

    Values beyond are cut.  Raises ShapeError for other shapes.

    >>> image_png(np.zeros((1, 4, 4)))[1:4]
    b'PNG'
    """
    bytes_ = np.round(_shown("image_png", image) * 255).astype(np.uint8)
    pillow = importlib.import_module("PIL.Image")  # slow to import, and only needed here
    buffer = io.BytesIO()
    pillow.fromarray(bytes_.squeeze(2) if bytes_.shape[2] == 1 else bytes_).save(buffer, "PNG")
    return buffer.getvalue()


def embedding_figure(
    points: Any, targets: Any, classes: Sequence[str] | None = None, title: str = ""
) -> Any:
    """Draw points (N, 2) as a matplotlib figure, each class in a colour of its own.

    `targets` are class numbers (N,), which `classes` names; beyond 20 classes colours follow one
    scale instead.  Raises ShapeError for other shapes, DataError where matplotlib is missing.

    >>> figure = embedding_figure(np.zeros((4, 2)), [0, 1, 1, 0], ["cat", "dog"])
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['cat (2)', 'dog (2)']
    """
    asked = "embedding_figure"
    p, t = real(asked, "points", points), real(asked, "targets", targets)
    expect(p.ndim == 2 and p.shape[1] == 2, asked, "points (N, 2)", error=ShapeError, points=p)
    expect(t.shape == p.shape[:1], asked, f"a class for each of {len(p)} points", targets=t)
    present = np.unique(t)
    names = None if classes is None else several(asked, "classes", classes)
    if names is not None and len(present):
        rule = f"a name for class {present[-1]}"
        expect(present[0] >= 0 and present[-1] < len(names), asked, rule, names=len(names))
    figure = new_figure(7.0, 5.4)
    axes = figure.subplots()
    named: list[tuple[Any, str]] = []
    dots = {"s": 14 if len(p) < 1000 else 5, "linewidths": 0}
    if len(present) > _COLOURS:
        figure.colorbar(axes.scatter(p[:, 0], p[:, 1], c=t, cmap="turbo", **dots), label="class")
    else:
        colours = importlib.import_module("matplotlib").colormaps["tab20"].colors
        order = [*range(0, _COLOURS, 2), *range(1, _COLOURS, 2)]  # the strong colours first
        for k, number in enumerate(present):
            rows = t == number
            name = str(number) if names is None else str(names[int(number)])
            drawn = axes.scatter(p[rows, 0], p[rows, 1], color=colours[order[k]], **dots)
            named.append((drawn, f"{name} ({int(rows.sum())})"))
        plain_legend(figure, named, loc="outside right center", frameon=False, markerscale=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    plain_title(axes, title)
    return figure


def plain_title(where: Any, title: str, **options: Any) -> None:
    """Write a title over axes or a figure, letter by letter: $ begins no formula in it."""
    if text("plot", "title", title):
        write = getattr(where, "suptitle", None) or where.set_title
        write(title, parse_math=False, **options)


def plain_legend(figure: Any, named: Sequence[tuple[Any, str]], **options: Any) -> Any:
    """Give a figure a legend of artists and their names, written letter by letter.

    In matplotlib's own a name that begins with _ is left out, and $...$ is a formula, or an error.

    >>> figure = new_figure(2, 1)
    >>> (line,) = figure.subplots().plot([0, 1])
    >>> [text.get_text() for text in plain_legend(figure, [(line, "_$a")]).get_texts()]
    ['_$a']
    """
    legend = figure.legend([artist for artist, _ in named], ["." for _ in named], **options)
    for written, (_, name) in zip(legend.get_texts(), named, strict=True):
        written.set_parse_math(False)
        written.set_text(name)
    return legend


def new_figure(width: float, height: float, dpi: int = 110) -> Any:
    """Make a figure of its own, in inches, without pyplot's global state and without a display.

    Raises DataError where matplotlib is missing.

    >>> float(new_figure(2, 1).get_figwidth())
    2.0
    """
    figure = extra("matplotlib.figure", "figures are drawn")
    return figure.Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def figure_png(figure: Any) -> bytes:
    """Give a figure as PNG.

    >>> figure_png(new_figure(2, 1))[1:4]
    b'PNG'
    """
    return figure_bytes(figure, "png")


def figure_bytes(figure: Any, form: str) -> bytes:
    """Give a figure as a file of this form, such as png, svg, pdf.

    >>> figure_bytes(new_figure(2, 1), "pdf")[:4]
    b'%PDF'
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a font without the characters of a class's name draws boxes, and that is all
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format=form)
    return buffer.getvalue()


def _shown(asked: str, image: Any) -> Array:
    """Give an image as (H, W, C), from 0 to 1."""
    x = real(asked, "an image", image)
    if x.ndim != 3 or x.shape[0] not in (1, 3) or x.size == 0:
        raise failure(asked, "an image (C, H, W) of 1 or 3 channels", image=x)
    if not np.isfinite(x).all():
        raise failure(asked, "an image of finite numbers", error=DataError, image=x)
    shown: Array = np.clip(x.transpose(1, 2, 0).astype(np.float64), 0, 1)
    return shown
