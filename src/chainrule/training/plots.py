"""Pictures of a training as PNG bytes; matplotlib is asked for only here."""

from __future__ import annotations

import importlib
import io
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError, ShapeError, expect
from chainrule.training.finder import RateCurve
from chainrule.training.metrics import ClassTable, confusion_percent
from chainrule.training.metrics_calibration import Calibration
from chainrule.training.rows import Row

PARTS = {"train": "training", "val": "validation", "validation": "validation", "test": "test"}
"""What a column's name begins with, and what the legend calls it."""

SHARES = (
    "accuracy",
    "top5",
    "balanced_accuracy",
    "exact_match",
    "label_accuracy",
    "micro_f1",
    "macro_f1",
    "map",
)
"""Metrics from 0 to 1 that are drawn in per cent."""

_COLOURS = {"training": "#1f77b4", "validation": "#2ca02c", "test": "#ff7f0e"}
_NUMBERED = 40  # up to how many classes the cells of a confusion matrix carry numbers
_NAMED = 60  # how many classes an axis has room to name
_BARS = 40  # how many classes have bars
_LONGEST = 24  # characters of a class's name
_NO_IMAGES = "#e4e4e4"  # the colour of a class without images

Curves = dict[str, dict[str, tuple[list[float], list[float]]]]


def curves_png(
    rows: Sequence[Row | Mapping[str, float]],
    title: str = "",
    metrics: Sequence[str] | None = None,
) -> bytes:
    """Draw every metric over the epochs, a panel each: training, validation and test together.

    Columns are named "train_loss", "val_loss", "test_loss" and so on, or for themselves, as "lr".
    `metrics` chooses the panels and their order, such as ("loss", "accuracy", "lr"); by default
    all are drawn, the loss and the accuracy first and the learning rate last.  What is missing or
    not finite in an epoch is left out.  Raises ShapeError without rows and for a metric that no
    row has, DataError where matplotlib is missing.

    >>> curves_png([Row(1, 0.1, 0.5, 0.8, 0.4, 0.9)])[1:4]
    b'PNG'
    >>> curves_png([{"epoch": 1, "lr": 0.1, "val_mae": 0.5}], metrics=["mae"])[1:4]
    b'PNG'
    """
    expect(len(rows) > 0, "curves_png", "at least one row", rows=0)
    curves = _curves([row.to_dict() if isinstance(row, Row) else row for row in rows])
    chosen = list(curves) if metrics is None else list(metrics)
    unknown = [name for name in chosen if name not in curves]
    rule = f"metrics among {', '.join(curves)}"
    expect(bool(chosen) and not unknown, "curves_png", rule, error=ShapeError, metrics=unknown)
    across = min(len(chosen), 3) if len(chosen) != 4 else 2
    down = -(-len(chosen) // across)
    figure = _figure(4.6 * across + 0.4, 3.5 * down + 0.4)
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for name, axes in zip(chosen, panels, strict=False):
        _draw_curves(axes, name, curves[name])
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    _title(figure, title)
    return _png(figure)


def _curves(rows: Sequence[Mapping[str, float]]) -> Curves:
    """Sort columns into metric, part and the points (epochs, values)."""
    found: Curves = {}
    for count, row in enumerate(rows, start=1):
        for column, value in row.items():
            if column == "epoch":
                continue
            part, _, metric = column.partition("_")
            if part not in PARTS or not metric:
                part, metric = "", column
            points = found.setdefault(metric, {}).setdefault(PARTS.get(part, ""), ([], []))
            if math.isfinite(value):
                points[0].append(row.get("epoch", count))
                points[1].append(value)
    first = {"loss": -3, "accuracy": -2, "top5": -1, "lr": 1}
    return dict(sorted(found.items(), key=lambda item: first.get(item[0], 0)))


def _draw_curves(axes: Any, name: str, parts: dict[str, tuple[list[float], list[float]]]) -> None:
    percent = 100.0 if name in SHARES else 1.0
    values: list[float] = []
    for part in sorted(parts, key=lambda p: list(_COLOURS).index(p) if p in _COLOURS else -1):
        epochs, numbers = parts[part]
        drawn = [percent * value for value in numbers]
        marks = {"marker": "o", "markersize": 3} if len(epochs) <= 40 else {}
        axes.plot(epochs, drawn, label=part or name, color=_COLOURS.get(part), **marks)
        values += drawn
    label = "learning rate" if name == "lr" else name.replace("_", " ")
    axes.set_ylabel(label + (" in %" if name in SHARES else ""), parse_math=False)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if values and min(values) > 0 and name == "lr" and max(values) > 20 * min(values):
        axes.set_yscale("log")
    elif name in SHARES:
        axes.set_ylim(top=101.0)
    elif values and min(values) >= 0:
        axes.set_ylim(bottom=0.0)
    if set(parts) != {""}:
        axes.legend(loc="lower right" if name in SHARES else "upper right")


def confusion_png(
    confusion: Array, classes: Sequence[str], title: str = "", percent: bool = False
) -> bytes:
    """Draw a confusion matrix: rows true, columns predicted, coloured by the row's share.

    Cells carry the counts, or with `percent` the share of the row in per cent: 100 where all are
    right, small values too.  Zeros stay empty, a class without images is grey.  Beyond 40 classes
    colours speak alone, beyond 60 not every class is named.  Raises ShapeError unless there is a
    name for each row, DataError where matplotlib is missing.

    >>> confusion_png(np.array([[5, 1], [0, 6]]), ["no", "yes"], percent=True)[1:4]
    b'PNG'
    """
    n = len(classes)
    counts = np.asarray(confusion)
    rule = f"a name for each of {len(counts)} classes"
    expect(len(counts) == n > 0, "confusion_png", rule, error=ShapeError, names=n)
    shares = confusion_percent(counts)
    side = n * _cell(n)
    figure = _figure(side + 2.6, side + 1.6)
    axes = figure.subplots()
    axes.set_facecolor(_NO_IMAGES)
    # colours by the root of the share: one per cent of errors is seen
    picture = axes.imshow(shares, cmap="Blues", norm=_roots())
    bar = figure.colorbar(picture, ax=axes, shrink=0.75, pad=0.02, ticks=[0, 1, 5, 10, 25, 50, 100])
    bar.set_label("per cent of the true class")
    _name_axis(axes, "x", classes)
    _name_axis(axes, "y", classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if n <= _NUMBERED:
        lines = np.arange(n - 1) + 0.5
        axes.hlines(lines, -0.5, n - 0.5, color="#c8d4e0", linewidth=0.5)
        axes.vlines(lines, -0.5, n - 0.5, color="#c8d4e0", linewidth=0.5)
        _number_cells(axes, counts, shares, percent)
    _title(axes, title)
    return _png(figure)


def _cell(n: int) -> float:
    """Give the side of a cell of a confusion matrix in inches."""
    return min(max(0.45 * n, 2.0), 11.0) / n


def _number_cells(axes: Any, counts: Array, shares: Array, percent: bool) -> None:
    """Write the numbers that are not 0, in a size that their cells hold."""
    places = np.argwhere(counts > 0)
    texts = [
        percent_text(float(shares[i, j])) if percent else str(int(counts[i, j])) for i, j in places
    ]
    longest = max(map(len, texts), default=1)
    size = min(9.0, 1.5 * 72 * _cell(len(counts)) / longest)
    for (i, j), text in zip(places, texts, strict=True):
        colour = "white" if shares[i, j] > 30 else "black"
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=size)


def percent_text(share: float) -> str:
    """Write a share from 0 to 100 in four characters: nothing but all is 100, or 0.

    >>> [percent_text(x) for x in (100.0, 99.97, 98.876, 3.3, 0.04, 0.0)]
    ['100', '99.9', '98.9', '3.3', '<0.1', '0']
    """
    if share in (0.0, 100.0):
        return f"{share:.0f}"
    return "<0.1" if share < 0.05 else f"{min(share, 99.9):.1f}"


def reliability_png(calibration: Calibration, title: str = "") -> bytes:
    """Draw how often the network is right against how sure it is, and how many images say so.

    On the diagonal the two are equal.  Source: Guo et al., 2017.  Raises DataError where
    matplotlib is missing.

    >>> bins = Calibration(np.array([0, 4]), np.array([0.0, 3.6]), np.array([0, 3]))
    >>> reliability_png(bins)[1:4]
    b'PNG'
    """
    figure = _figure(5.4, 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges = 100 * calibration.edges
    some = calibration.counts > 0
    left, width = edges[:-1][some], np.diff(edges)[some]
    right, sure = 100 * calibration.accuracy[some], 100 * calibration.confidence[some]
    style: dict[str, Any] = {"width": width, "align": "edge"}
    upper.bar(left, right, color="#4c8dc4", edgecolor="white", label="right", **style)
    upper.bar(
        left,
        sure - right,
        bottom=right,
        color="none",
        edgecolor="#c44e52",
        hatch="///",
        label="gap to the mean confidence",
        **style,
    )
    upper.plot([0, 100], [0, 100], color="black", linestyle="--", linewidth=1)
    upper.set_ylim(0, 101)
    upper.set_ylabel("right in %")
    upper.legend(loc="upper left")
    upper.grid(alpha=0.3)
    error = f"expected calibration error {100 * calibration.error:.2f} %"
    upper.text(98, 3, error, ha="right", va="bottom", backgroundcolor="#ffffffd0")
    lower.bar(left, calibration.counts[some], color="#8c8c8c", edgecolor="white", **style)
    lower.set_yscale("log")
    lower.set_ylim(bottom=0.7)
    lower.set_ylabel("images")
    lower.set_xlabel("confidence in %")
    lower.set_xlim(0, 100)
    _title(figure, title)
    return _png(figure)


def per_class_png(table: ClassTable, classes: Sequence[str], title: str = "") -> bytes:
    """Draw precision, recall and F1 of each class (or label) as bars, in per cent.

    What is not defined has no bar.  Beyond 40 classes the 40 with the lowest F1 are drawn, the
    lowest first.  Raises ShapeError unless there is a name for each class, DataError where
    matplotlib is missing.

    >>> counts = np.array([3, 0]), np.array([4, 0]), np.array([3, 1])
    >>> per_class_png(ClassTable(*counts), ["cat", "dog"])[1:4]
    b'PNG'
    """
    n = len(classes)
    rule = f"a name for each of {len(table.support)} classes"
    expect(len(table.support) == n > 0, "per_class_png", rule, error=ShapeError, names=n)
    order: list[int] = list(range(n))
    if n > _BARS:
        order = np.argsort(table.f1, kind="stable")[:_BARS].tolist()  # NaN comes last
        title = f"{title}\nthe {_BARS} of {n} classes with the lowest F1".strip()
    figure = _figure(7.0, 0.42 * len(order) + 1.6)
    axes = figure.subplots()
    places = np.arange(len(order))
    bars = (("precision", "#4c8dc4"), ("recall", "#8cc08a"), ("f1", "#5b5b5b"))
    for k, (name, colour) in enumerate(bars):
        values = 100 * getattr(table, name)[order]
        label = "F1" if name == "f1" else name
        axes.barh(places + 0.27 * (k - 1), values, height=0.25, color=colour, label=label)
    names = [f"{_short(classes[int(i)])} ({int(table.support[i])})" for i in order]
    axes.set_yticks(places, names, parse_math=False)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("per cent; in parentheses the images of the class")
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    _title(axes, title)
    return _png(figure)


def rate_curve_png(curve: RateCurve, title: str = "") -> bytes:
    """Draw a range test: the loss over the rate, as measured and smoothed, and the suggestion.

    Raises DataError where matplotlib is missing.

    >>> values = np.array([1.0, 0.5, 0.25])
    >>> rate_curve_png(RateCurve(values, values, values, 1.0, 0.5, "there it falls"))[1:4]
    b'PNG'
    """
    figure = _figure(7.0, 4.5)
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses, color="0.7", linewidth=0.8, label="measured")
    axes.plot(curve.rates, curve.smoothed, label="smoothed")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    if len(curve.losses):  # what blew up at last would press all else flat
        lowest = int(np.argmin(curve.smoothed))
        low, high = curve.smoothed[lowest], max(curve.first, *curve.smoothed[: lowest + 1])
        room = float(high - low) or 1.0
        axes.set_ylim(low - 0.1 * room, high + 0.5 * room)
    if curve.suggestion is not None:
        label = f"suggested: {curve.suggestion:.2g}"
        axes.axvline(curve.suggestion, color="tab:red", linestyle="--", label=label)
    else:
        axes.set_title(textwrap.fill(str(curve), 80), fontsize="small")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    _title(figure, title)
    return _png(figure)


def _name_axis(axes: Any, which: str, classes: Sequence[str]) -> None:
    """Name the classes, or every so many of them where there is no room."""
    every = -(-len(classes) // _NAMED)
    places = range(0, len(classes), every)
    names = [_short(classes[place]) for place in places]
    small = {"fontsize": 7} if len(classes) > 30 else {}
    ticks = getattr(axes, f"set_{which}ticks")
    if which == "x" and 7.0 * max(map(len, names)) > 72 * every * _cell(len(classes)):
        small["rotation"] = 90
    ticks(places, names, parse_math=False, **small)


def _short(name: str) -> str:
    """Keep a name on one line, and not longer than there is room."""
    line = " ".join(name.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "\u2026"


def _title(where: Any, title: str) -> None:
    if title:
        write = getattr(where, "suptitle", None) or where.set_title
        write(title, parse_math=False)


def _roots() -> Any:
    """Give the colours' scale, 0 to 100 by its root."""
    return importlib.import_module("matplotlib.colors").PowerNorm(0.5, vmin=0.0, vmax=100.0)


def _figure(width: float, height: float) -> Any:
    """Make a figure of its own, without pyplot's global state and without a display."""
    try:
        figure = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise DataError(
            "plots are drawn by matplotlib, which is not installed; pip install chainrule[demo]"
        ) from error
    return figure.Figure(figsize=(width, height), dpi=110, layout="constrained")


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a font without the characters of a class's name draws boxes, and that is all
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="png")
    return buffer.getvalue()
