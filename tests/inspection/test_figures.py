"""What users name - classes, optimisers, layers, titles - stands in figures letter by letter."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.inspection import (
    embedding_figure,
    figure_png,
    figures,
    image_figure,
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
