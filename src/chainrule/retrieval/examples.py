"""Queries and what was found for them, as one picture: with the class prediction and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.pictures import WHITE
from chainrule.engine.op import Array
from chainrule.errors import DataError, LabelError, ShapeError, expect, failure
from chainrule.inspection.figures import figure_png, new_figure
from chainrule.retrieval.evaluation import Evaluation

_CELL, _HEAD = 1.25, 0.26  # inches: a picture's side, and the title above it
_LONGEST = 15  # characters of a class's name above a picture
_RIGHT, _WRONG = "#1b7837", "#c0281c"
_WITHOUT = "off"


@dataclass(frozen=True, eq=False)
class Examples:
    """Which queries are drawn, and where their pictures come from.

    - query: gives the picture (C, H, W) of a query, by its number, in one of the kinds of
      `data.pictures.WHITE`.
    - row: the same of a row of the index.
    - chosen: the queries' numbers; by default `count` of them by chance, each class in turn.
    - count: how many queries.
    - first: how many rows are drawn of each.
    - mode: what stands above the ranking without prediction: "soft" or "hard".
    - seed: of the choice.
    """

    query: Callable[[int], Any]
    row: Callable[[int], Any]
    chosen: Sequence[int] | None = None
    count: int = 6
    first: int = 5
    mode: str = "soft"
    seed: int = 0


def choose(evaluation: Evaluation, count: int, seed: int = 0) -> list[int]:
    """Draw queries by chance, a class after the other: nobody picks what looks well.

    Only those are drawn whose class is known and has a relevant row.

    >>> from chainrule.retrieval.evaluation import evaluate
    >>> given = [(slice(0, 3), np.array([[0.9, 0.2], [0.8, 0.7], [0.1, 0.3]]))]
    >>> sorted(choose(evaluate(lambda mode: given, [0, 1, -1], [0, 1]), 5))  # one is not known
    [0, 1]
    """
    counted = (evaluation.labels >= 0) & ~np.isnan(evaluation.rankings[_WITHOUT].ap)
    shuffled = np.random.RandomState(seed).permutation(np.flatnonzero(counted))
    labels = evaluation.labels[shuffled]
    turn = np.zeros(len(shuffled), np.int64)  # how many of its class came before
    for label in np.unique(labels):
        turn[labels == label] = np.arange(np.count_nonzero(labels == label))
    order = np.lexsort((labels, turn))[: max(count, 0)]
    return [int(query) for query in shuffled[order]]


def examples_png(evaluation: Evaluation, classes: Sequence[str], examples: Examples) -> bytes:
    """Draw each query on the left, and beside it the first rows found: two lines, PNG.

    The upper line is ranked with the class prediction, the lower without; where the evaluation has
    no such mode there is the lower one alone.  Rows of the query's class have a green, unbroken
    frame and a tick, others a red, broken one and a cross.  A picture that cannot be read is an
    empty place that says so.

    Raises ShapeError where there is nothing to draw, LabelError for a query that is not there,
    DataError where matplotlib is missing.

    >>> from chainrule.retrieval.evaluation import evaluate
    >>> found = evaluate(lambda mode: [(slice(0, 1), np.array([[0.9, 0.2]]))], [0], [0, 1])
    >>> black = Examples(*[lambda number: np.zeros((1, 8, 8), np.uint8)] * 2)
    >>> examples_png(found, ["cat", "dog"], black)[1:4]
    b'PNG'
    """
    e = evaluation
    given = examples.chosen
    chosen = choose(e, examples.count, examples.seed) if given is None else [int(k) for k in given]
    expect(bool(chosen), "examples_png", "at least one query", error=ShapeError, queries=0)
    if not all(0 <= query < len(e.labels) for query in chosen):
        rule = f"queries from 0 to {len(e.labels) - 1}"
        raise failure("examples_png", rule, error=LabelError, chosen=chosen)
    modes = [mode for mode in (examples.mode, _WITHOUT) if mode in e.nearest]
    modes = list(dict.fromkeys(modes))
    across = min(examples.first, e.nearest[_WITHOUT].shape[1])
    expect(across > 0, "examples_png", "at least one row to draw", first=examples.first)
    sheet = _Sheet(e, classes, examples, modes, across, len(chosen))
    for place, query in enumerate(chosen):
        sheet.draw(place, query)
    return figure_png(sheet.figure)


class _Sheet:
    """The figure, with a block of lines for each query."""

    def __init__(
        self,
        evaluation: Evaluation,
        classes: Sequence[str],
        examples: Examples,
        modes: Sequence[str],
        across: int,
        down: int,
    ) -> None:
        self.e, self.classes, self.examples = evaluation, classes, examples
        self.modes, self.across = modes, across
        self.wide = (across + 1) * (_CELL + 0.12) + 0.5
        self.block = len(modes) * (_CELL + _HEAD + 0.1) + 0.2
        self.high = down * self.block
        self.figure = new_figure(self.wide, self.high)
        self.figure.set_layout_engine("none")

    def draw(self, place: int, query: int) -> None:
        """Draw one query and what was found for it."""
        top = self.high - place * self.block
        label = int(self.e.labels[query])
        axes = self._axes(0.06, top - self.block / 2 - _CELL / 2 + 0.05)
        _show(axes, self.examples.query, query)
        axes.set_title(f"query: {self._name(label)}", fontsize=8, parse_math=False)
        if self.e.predicted is not None:
            guess = int(self.e.predicted[query])
            sign, colour, _ = _sign(guess == label)
            text = f"{sign} taken for {self._name(guess)}"
            axes.set_xlabel(text, fontsize=7, color=colour, parse_math=False)
        for line, mode in enumerate(self.modes):
            bottom = top - (line + 1) * (_CELL + _HEAD + 0.1)
            self._line(mode, query, label, bottom)

    def _line(self, mode: str, query: int, label: int, bottom: float) -> None:
        """Draw the rows that one mode found."""
        for column, row in enumerate(self.e.nearest[mode][query, : self.across]):
            axes = self._axes((column + 1) * (_CELL + 0.12) + 0.46, bottom)
            if column == 0:
                what = "without class" if mode == _WITHOUT else f"with class ({mode})"
                axes.set_ylabel(what, fontsize=7)
            if row < 0:
                _empty(axes, "no more rows")
                continue
            found = int(self.e.row_labels[row])
            sign, colour, style = _sign(found == label)
            _show(axes, self.examples.row, int(row))
            title = f"{sign} {self._name(found)}"
            axes.set_title(title, fontsize=8, color=colour, parse_math=False, pad=4)
            for spine in axes.spines.values():
                spine.set(edgecolor=colour, linewidth=2.5, linestyle=style)

    def _axes(self, left: float, bottom: float) -> Any:
        """Make a place for a picture, in inches from the lower left corner."""
        box = left / self.wide, bottom / self.high, _CELL / self.wide, _CELL / self.high
        axes = self.figure.add_axes(box)
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def _name(self, label: int) -> str:
        if label < 0:
            return "unknown"
        line = " ".join(self.classes[label].split())
        return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "\u2026"


def _sign(right: bool) -> tuple[str, str, str]:
    """Give the sign, the colour and the line of what is right or wrong."""
    return ("\u2713", _RIGHT, "-") if right else ("\u2717", _WRONG, "--")


def _show(axes: Any, picture: Callable[[int], Any], number: int) -> None:
    """Draw a picture, or say that there is none."""
    try:
        pixels = _pixels(picture(number))
    except (DataError, OSError):  # moved or damaged since: the others are drawn all the same
        _empty(axes, "no picture")
        return
    axes.imshow(pixels, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_facecolor("#e4e4e4")
    high, wide = pixels.shape[:2]
    side = max(high, wide) / 2  # a square place, whatever the picture's sides
    axes.set_xlim(wide / 2 - side - 0.5, wide / 2 + side - 0.5)
    axes.set_ylim(high / 2 + side - 0.5, high / 2 - side - 0.5)


def _pixels(picture: Any) -> Array:
    """Give a picture (C, H, W) as (H, W) or (H, W, 3) from 0 to 1."""
    array = np.asarray(picture)
    fits = array.ndim == 3 and array.shape[0] in (1, 3) and array.size > 0
    rule = "pictures (C, H, W) of 1 or 3 channels"
    expect(fits, "examples_png", rule, error=ShapeError, picture=array)
    white = WHITE.get(array.dtype, 1.0)
    scaled = np.clip(np.nan_to_num(array.astype(np.float32) / white), 0, 1).transpose(1, 2, 0)
    return np.asarray(scaled[:, :, 0] if scaled.shape[2] == 1 else scaled)


def _empty(axes: Any, text: str) -> None:
    axes.set_facecolor("#f4f4f4")
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, transform=axes.transAxes)
    for spine in axes.spines.values():
        spine.set_color("#c8c8c8")
