"""Pictures of a training as PNG bytes; matplotlib is asked for only here."""

from __future__ import annotations

import importlib
import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import DataError
from chainrule.training.finder import RateCurve
from chainrule.training.metrics import Row

_NUMBERED = 30  # up to how many classes the cells of a confusion matrix carry their counts


def curves_png(rows: Sequence[Row], title: str = "") -> bytes:
    """Draw loss and accuracy of training and test over the epochs.

    Raises DataError where matplotlib is missing.

    >>> curves_png([Row(1, 0.1, 0.5, 0.8, 0.4, 0.9)])[1:4]
    b'PNG'
    """
    figure = _figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    epochs = [row.epoch for row in rows]
    style: dict[str, Any] = {"marker": "o", "markersize": 3}
    left.plot(epochs, [row.train_loss for row in rows], label="training", **style)
    left.plot(epochs, [row.test_loss for row in rows], label="test", **style)
    left.set_ylabel("cross-entropy")
    left.set_ylim(bottom=0.0)
    right.plot(epochs, [100 * row.train_accuracy for row in rows], label="training", **style)
    right.plot(epochs, [100 * row.test_accuracy for row in rows], label="test", **style)
    right.set_ylabel("accuracy in %")
    right.set_ylim(top=101.0)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right" if axes is left else "lower right")
    if title:
        figure.suptitle(title)
    return _png(figure)


def confusion_png(confusion: Array, classes: Sequence[str], title: str = "") -> bytes:
    """Draw a confusion matrix: rows true, columns predicted, coloured by the row's share.

    Raises DataError where matplotlib is missing.

    >>> confusion_png(np.array([[5, 1], [0, 6]]), ["no", "yes"])[1:4]
    b'PNG'
    """
    n = len(classes)
    side = min(5.0 + 0.25 * n, 14.0)
    figure = _figure(side, side)
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the true class")
    axes.set_xticks(range(n), classes, rotation=0 if max(map(len, classes)) < 4 else 90)
    axes.set_yticks(range(n), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if n <= _NUMBERED:
        for i, j in np.argwhere(confusion):
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, str(confusion[i, j]), ha="center", va="center", color=colour)
    if title:
        axes.set_title(title)
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
    if title:
        figure.suptitle(title)
    return _png(figure)


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
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
