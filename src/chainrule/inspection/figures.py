"""Figures without a window, and their PNG; matplotlib is asked for only here."""

from __future__ import annotations

import importlib
import io
import warnings
from typing import Any

from chainrule.errors import DataError


def new_figure(width: float, height: float) -> Any:
    """Make a figure of its own, in inches, without pyplot's global state and without a display.

    Raises DataError where matplotlib is missing.

    >>> float(new_figure(2, 1).get_figwidth())
    2.0
    """
    try:
        figure = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise DataError(
            "figures are drawn by matplotlib, which is not installed; pip install chainrule[demo]"
        ) from error
    return figure.Figure(figsize=(width, height), dpi=110, layout="constrained")


def figure_png(figure: Any) -> bytes:
    """Give a figure as PNG.

    >>> figure_png(new_figure(2, 1))[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a font without the characters of a class's name draws boxes, and that is all
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()
