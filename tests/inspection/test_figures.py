"""Figures: what users name stands in them letter by letter, and grids have numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.inspection import (
    Look,
    embedding_figure,
    figure_png,
    figures,
    grid_numbers,
    image_figure,
    image_grid,
    look,
    show_attribution,
)

pytest.importorskip("matplotlib", reason="figures are in the demo extra")

NAMES = ["_hidden", "$x$", r"$\frac$", "__", "a_b^c", "$$", "{", "%", "\\"]
"""Left out of matplotlib's legends, read as formulas, or raising as such."""


def points() -> Any:
    count = len(NAMES)
    numbers = np.repeat(np.arange(count), 2)
    places = np.random.default_rng(0).normal(size=(2 * count, 2))
    return embedding_figure(places, numbers, NAMES, NAMES[2])


def race() -> cr.inspection.Race:
    racers = {name: lambda w: cr.optim.SGD(w, lr=0.1) for name in NAMES}
    return cr.loss_surface("valley", racers, steps=2)


def planes() -> Any:
    sequence = nn.Sequential(nn.Linear(2, 3))
    for name in NAMES:
        sequence.add_module(name, nn.ReLU())
    return cr.linear_regions(sequence, (-3, 3, -3, 3)).plot(title=NAMES[2])


FIGURES: dict[str, Callable[[], Any]] = {
    "embeddings": points,
    "race": lambda: race().plot(NAMES[2]),
    "regions": planes,
    "image": lambda: image_figure(np.zeros((1, 9, 9)), " ".join(NAMES)),
    "attribution": lambda: show_attribution(np.eye(5), np.eye(5), " ".join(NAMES)),
}


def written(figure: Any) -> list[Any]:
    """All texts of a figure that hold a letter or a sign of a formula."""
    kind = importlib.import_module("matplotlib.text").Text
    return [
        text for text in figure.findobj(kind) if set(text.get_text()) - set("0123456789.\u2212-+e ")
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_names_are_what_they_are(name: str) -> None:
    figure = FIGURES[name]()
    assert figure_png(figure).startswith(b"\x89PNG")
    texts = written(figure)
    for text in texts:
        assert "$" not in text.get_text() or not text.get_parse_math(), text
    whole = "\n".join(text.get_text() for text in texts)
    assert r"$\frac$" in whole
    if figure.legends:
        shown = [text.get_text() for text in figure.legends[0].get_texts()]
        for each in NAMES:
            assert any(repr(each) in text or text.startswith(each) for text in shown), each


def test_the_animation_has_them_too(tmp_path: Path) -> None:
    race().animate(tmp_path / "race.gif", frames=2)
    assert (tmp_path / "race.gif").stat().st_size > 1000


def test_the_legend_alone_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above can fail: with matplotlib's own legend names are lost."""

    def plain(figure: Any, named: Any, **options: Any) -> Any:
        for artist, name in named:
            artist.set_label(name)
        return figure.legend(**options)

    monkeypatch.setattr(figures, "plain_legend", plain)
    with pytest.raises((AssertionError, ValueError)):
        test_names_are_what_they_are("embeddings")


def ticks(figure: Any, axis: str) -> dict[str, float]:
    """Each number beside a grid and where it stands."""
    axes = figure.axes[0]
    places, labels = getattr(axes, f"get_{axis}ticks")(), getattr(axes, f"get_{axis}ticklabels")()
    return {label.get_text(): at for label, at in zip(labels, places, strict=True)}


@pytest.mark.parametrize(
    ("count", "size", "gap"), [(6, 5, 1), (16, 10, 2), (512, 7, 1), (9, 30, 0)]
)
def test_numbers_stand_at_their_rows_and_columns_and_beside_each_other(
    count: int, size: int, gap: int
) -> None:
    tiles = [np.full((1, size, size), k / count) for k in range(count)]
    rows, columns = grid_numbers(count)
    grid = image_grid(tiles, gap=gap)
    figure = image_figure(grid, rows=rows, columns=columns, gap=gap)
    down, across = ticks(figure, "y"), ticks(figure, "x")
    assert next(iter(down)) == "0"
    assert next(iter(across)) == "+0"
    for row, y in down.items():
        for column, x in across.items():
            number = int(row) + int(column)
            if number < count:  # the place is the middle of that tile
                for shift in (-size / 2 + 0.6, 0, size / 2 - 0.6):
                    at = grid[0, round(y + shift), round(x + shift)]
                    assert at == pytest.approx(number / count)
    figure.canvas.draw()
    for axis in ("x", "y"):
        boxes = [
            label.get_window_extent()
            for label in getattr(figure.axes[0], f"get_{axis}ticklabels")()
            if label.get_text()
        ]
        ends = sorted((box.x0, box.x1) if axis == "x" else (box.y0, box.y1) for box in boxes)
        assert all(a[1] < b[0] for a, b in pairwise(ends)), f"{axis}: numbers overlap"


def test_the_methods_number_their_units() -> None:
    cr.manual_seed(0)
    model = cr.create_model("lenet5")
    image = np.random.default_rng(0).random((1, 1, 32, 32)).astype("f")
    samples = np.repeat(image, 20, axis=0), np.arange(20)

    def drawn(method: str, layer: str, **more: Any) -> Any:
        at = Look(model, layer=layer, samples=lambda n: samples, size=(1, 32, 32), **more)
        return look(method, at)

    figure = drawn("activations", "conv2", image=image)
    assert list(ticks(figure, "y")) == ["0", "4", "8", "12"]
    assert list(ticks(figure, "x")) == ["+0", "+1", "+2", "+3"]
    assert "number = row + column" in " ".join(figure.axes[0].get_title().split())
    figure = drawn("filters", "conv2")  # sixteen of six channels
    assert list(ticks(figure, "y")) == [str(k) for k in range(16)]
    assert list(ticks(figure, "x")) == [str(k) for k in range(6)]
    assert list(ticks(drawn("filters", "conv1"), "y")) == ["0", "3"]
    assert list(ticks(drawn("top-patches", "conv1"), "y")) == [str(k) for k in range(6)]
    assert not ticks(drawn("top-patches", "conv1"), "x")
    made = drawn("activation-maximization", "conv1")
    assert (list(ticks(made, "y")), list(ticks(made, "x"))) == (["0", "3"], ["+0", "+1", "+2"])
    assert not ticks(drawn("activation-maximization", "conv1", target=4), "y")


def test_wrong_numbers_of_a_grid() -> None:
    for wrong in ((0,), (-1,), (4, 0)):
        with pytest.raises(cr.ShapeError, match="of 1 or more"):
            grid_numbers(*wrong)
    with pytest.raises(cr.KindError, match="whole number"):
        grid_numbers("a")  # type: ignore[arg-type]
