from __future__ import annotations

import importlib
import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chainrule.errors import DataError, ShapeError
from chainrule.training import Row
from chainrule.training.metrics import ClassTable, per_class
from chainrule.training.metrics_calibration import Calibration, calibration
from chainrule.training.plots import (
    confusion_png,
    curves_png,
    per_class_png,
    percent_text,
    reliability_png,
)

agg = pytest.importorskip("matplotlib.backends.backend_agg")
figures = pytest.importorskip("matplotlib.figure", reason="plots are in the demo extra")


def decoded(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are made from now on."""
    made: list[Any] = []
    original = figures.Figure

    def figure(*args: Any, **options: Any) -> Any:
        made.append(original(*args, **options))
        return made[-1]

    monkeypatch.setattr(figures, "Figure", figure)
    return made


def rows(n: int) -> list[Row]:
    return [Row(k, 0.1, 1 / k, 1 - 0.5 / k, 1.2 / k, 1 - 0.6 / k) for k in range(1, n + 1)]


@pytest.mark.parametrize("n", [1, 2, 30])
def test_curves_are_drawn_the_same_each_time(n: int) -> None:
    png = curves_png(rows(n), "title")
    assert png == curves_png(rows(n), "title")
    picture = decoded(png)
    assert picture.shape[1] > picture.shape[0] > 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def panels(figure: Any) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Give the lines of each panel by their labels."""
    return {
        axes.get_ylabel(): {
            line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
            for line in axes.lines
        }
        for axes in figure.axes
        if axes.lines
    }


def test_curves_hold_what_the_rows_hold(drawn: list[Any]) -> None:
    records: list[dict[str, float]] = [
        {"epoch": 1, "lr": 0.1, "train_loss": 2.0, "test_loss": 3.0, "test_top5": 0.5},
        {"epoch": 2, "lr": 0.01, "train_loss": 1.0, "test_loss": math.nan, "val_mae": 4.0},
        {"epoch": 4, "lr": 0.001, "train_loss": 0.5, "test_loss": math.inf, "val_loss": 1.5},
    ]
    curves_png(records)
    found = panels(drawn[0])
    assert list(found) == ["loss", "top5 in %", "mae", "learning rate"]
    assert found["loss"] == {
        "training": ([1, 2, 4], [2.0, 1.0, 0.5]),
        "validation": ([4], [1.5]),
        "test": ([1], [3.0]),
    }
    assert found["top5 in %"] == {"test": ([1], [50.0])}
    assert found["learning rate"] == {"lr": ([1, 2, 4], [0.1, 0.01, 0.001])}
    scales = {axes.get_ylabel(): axes.get_yscale() for axes in drawn[0].axes if axes.lines}
    assert scales["learning rate"] == "log"
    assert scales["loss"] == "linear"
    curves_png(records, metrics=["lr", "loss"])
    assert list(panels(drawn[1])) == ["learning rate", "loss"]


def test_curves_of_one_row_and_of_old_rows_agree(drawn: list[Any]) -> None:
    curves_png(rows(2))
    curves_png([row.to_dict() for row in rows(2)])
    assert panels(drawn[0]) == panels(drawn[1])
    assert panels(drawn[0])["accuracy in %"]["test"] == ([1, 2], [40.0, 70.0])


def test_curves_that_are_not_there() -> None:
    with pytest.raises(ShapeError, match="at least one row"):
        curves_png([])
    for wrong in (["los"], []):
        with pytest.raises(ShapeError, match="metrics among loss, accuracy, lr"):
            curves_png(rows(1), metrics=wrong)
    assert curves_png([{"epoch": 1, "train_loss": math.nan}])[1:4] == b"PNG"


@pytest.mark.parametrize("classes", [2, 10, 41])
def test_confusion_follows_the_counts(classes: int) -> None:
    names = [f"class {k}" for k in range(classes)]
    right = decoded(confusion_png(np.eye(classes, dtype=int) * 5, names))
    wrong = decoded(confusion_png(np.eye(classes, dtype=int)[::-1] * 5, names))
    empty = decoded(confusion_png(np.zeros((classes, classes), int), names))
    assert not np.array_equal(right, wrong)
    grey = (empty == 0xE4).all(axis=2).mean()
    assert grey > 0.3
    assert (right == 0xE4).all(axis=2).mean() < 0.01


def cells(figure: Any) -> dict[tuple[int, int], str]:
    """Give the texts in the cells by (row, column)."""
    return {
        (int(text.get_position()[1]), int(text.get_position()[0])): text.get_text()
        for text in figure.axes[0].texts
    }


def test_cells_carry_counts_or_per_cent_of_the_row(drawn: list[Any]) -> None:
    counts = np.array([[88, 1, 0], [0, 60, 2], [0, 0, 0]])
    confusion_png(counts, ["Liver", "Cervix", "none"])
    confusion_png(counts, ["Liver", "Cervix", "none"], percent=True)
    places = [(0, 0), (0, 1), (1, 1), (1, 2)]
    assert cells(drawn[0]) == dict(zip(places, ["88", "1", "60", "2"], strict=True))
    assert cells(drawn[1]) == dict(zip(places, ["98.9", "1.1", "96.8", "3.2"], strict=True))


def test_only_all_is_100_per_cent() -> None:
    assert percent_text(100.0) == "100"
    assert percent_text(100 * 9999 / 10000) == "99.9"
    assert percent_text(0.0499) == "<0.1"
    assert percent_text(0.05) == "0.1"


def test_no_cell_is_smaller_than_its_number(drawn: list[Any]) -> None:
    """24 classes are readable: the numbers fit and are not tiny."""
    counts = np.full((24, 24), 1) + np.diag(np.full(24, 12345))
    for percent in (False, True):
        png = confusion_png(counts, [f"organ {k}" for k in range(24)], percent=percent)
        assert png[1:4] == b"PNG"
        figure = drawn[-1]
        renderer = agg.FigureCanvasAgg(figure).get_renderer()
        side = figure.axes[0].get_window_extent(renderer).width / 24
        for text in figure.axes[0].texts:
            assert text.get_window_extent(renderer).width < side
            assert text.get_fontsize() >= 6


def test_a_thousand_classes_get_no_million_texts(drawn: list[Any]) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2, (1000, 1000)) + np.diag(np.full(1000, 50))
    names = [f"class of some long name {k}" for k in range(1000)]
    picture = decoded(confusion_png(counts, names, percent=True))
    bars = decoded(per_class_png(per_class(counts), names))
    assert max(picture.shape) < 2000
    assert max(bars.shape) < 3000
    axes = drawn[0].axes[0]
    assert not axes.texts
    assert len(axes.get_xticks()) == len(axes.get_yticks()) == 59  # every 17th


@pytest.mark.parametrize("name", ["$x_{$", "a\nb", "漢字", "x" * 300, "", "\\frac", "%"])
def test_names_of_any_kind(name: str) -> None:
    counts = np.array([[5, 1], [2, 7]])
    for png in (
        confusion_png(counts, [name, "b"], title=name),
        per_class_png(per_class(counts), [name, "b"], title=name),
        curves_png([{"epoch": 1, f"train_{name}": 1.0, "lr": 1.0}], title=name),
    ):
        height, width, _ = decoded(png).shape
        assert 100 < width < 2000
        assert 100 < height < 2000


def test_reliability_draws_each_bin(drawn: list[Any]) -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])
    reliability_png(calibration(p, [0, 1, 1, 0], bins=10), "title")
    bars, gaps = drawn[0].axes[0].containers
    assert [round(bar.get_x()) for bar in bars] == [50, 60, 70, 80]
    assert [bar.get_height() for bar in bars] == [0, 100, 0, 100]
    assert [round(bar.get_height()) for bar in gaps] == [55, -30, 80, -10]
    assert drawn[0].axes[0].texts[0].get_text() == "expected calibration error 43.75 %"
    alone = Calibration(np.array([3]), np.array([3.0]), np.array([3]))
    assert reliability_png(alone)[1:4] == b"PNG"


def test_bars_of_each_class(drawn: list[Any]) -> None:
    table = ClassTable(np.array([3, 0]), np.array([4, 0]), np.array([3, 1]))
    per_class_png(table, ["cat", "dog"])
    (axes,) = drawn[0].axes
    found = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    np.testing.assert_allclose(found["precision"], [75.0, np.nan])
    np.testing.assert_allclose(found["recall"], [100.0, 0.0])
    np.testing.assert_allclose(found["F1"], [600 / 7, 0.0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat (3)", "dog (1)"]


def test_of_many_classes_the_worst_have_bars(drawn: list[Any]) -> None:
    right = np.arange(1, 101)[::-1]
    whole = np.full(100, 100)
    per_class_png(ClassTable(right, whole, whole), [f"c{k}" for k in range(100)], "title")
    (axes,) = drawn[0].axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"c{k} (100)" for k in range(99, 59, -1)]
    assert axes.get_title() == "title\nthe 40 of 100 classes with the lowest F1"


def test_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    table = per_class(np.eye(2, dtype=int))
    for draw in (
        lambda: confusion_png(np.eye(2, dtype=int), ["a"]),
        lambda: per_class_png(table, ["a"]),
    ):
        with pytest.raises(ShapeError, match="a name for each of 2 classes; got names 1"):
            draw()

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DataError, match=r"pip install chainrule\[demo\]"):
        per_class_png(table, ["a", "b"])
    with pytest.raises(DataError, match=r"pip install chainrule\[demo\]"):
        confusion_png(np.eye(2, dtype=int), ["a", "b"])
