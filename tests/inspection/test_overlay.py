from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError, ShapeError
from chainrule.inspection import figure_png, show_attribution

agg = pytest.importorskip("matplotlib.backends.backend_agg", reason="it is in the demo extra")


def drawn_on(axes: Any) -> list[Any]:
    return [image.get_array() for image in axes.images]


def test_what_is_drawn() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 4) * 20
    values = np.linspace(-1, 2, 12).reshape(3, 4)
    figure = show_attribution(cr.tensor(image), values, "a $ title")
    left, middle, right = figure.axes[:3]
    np.testing.assert_allclose(drawn_on(left)[0], image[0] / 255)
    np.testing.assert_allclose(drawn_on(middle)[0], values)
    grey, over = drawn_on(right)
    np.testing.assert_allclose(grey, 0.35 + 0.65 * image[0] / 255)
    np.testing.assert_allclose(over, values)
    assert figure.get_suptitle() == "a $ title"
    shown = middle.images[0]
    assert shown.norm.vmin == -shown.norm.vmax  # what is 0 has the colour between
    alpha = right.images[1].get_alpha()
    assert alpha[-1, -1] == alpha.max() == 0.85
    assert alpha[1, 0] == pytest.approx(0.85 * values[1, 0] / -shown.norm.vmin, abs=0.2)
    assert figure_png(figure)[1:4] == b"PNG"


def test_maps_that_are_not_negative_begin_at_black() -> None:
    figure = show_attribution(np.eye(4), np.eye(4))
    shown = figure.axes[1].images[0]
    assert (shown.norm.vmin, shown.norm.vmax) == (0.0, 1.0)
    empty = show_attribution(np.zeros((4, 4)), np.zeros((4, 4)))
    assert not drawn_on(empty.axes[1])[0].any()
    assert figure_png(empty)[1:4] == b"PNG"


def test_maps_of_colours_are_pictures_whose_grey_is_0() -> None:
    image = np.random.default_rng(0).normal(size=(3, 5, 6))
    values = np.zeros((3, 5, 6))
    values[0, 0, 0], values[1, 2, 3] = 4.0, -4.0
    figure = show_attribution(image, values)
    picture = drawn_on(figure.axes[1])[0]
    assert picture.shape == (5, 6, 3)
    assert picture[0, 0].tolist() == [1.0, 0.5, 0.5]
    assert picture[2, 3].tolist() == [0.5, 0.0, 0.5]
    assert drawn_on(figure.axes[2])[1][2, 3] == -4.0
    assert drawn_on(figure.axes[0])[0].min() == 0.0


def test_one_pixel_does_not_rule_the_colours() -> None:
    values = np.ones((30, 30))
    values[0, 0] = 1000
    assert show_attribution(np.ones((30, 30)), values).axes[1].images[0].norm.vmax == 1.0


@pytest.mark.parametrize("image", [np.ones(4), np.ones((2, 4, 4)), np.ones((0, 4))])
def test_refuses_what_is_no_image(image: Any) -> None:
    with pytest.raises(ShapeError, match="an image"):
        show_attribution(image, np.ones((4, 4)))


def test_refuses_maps_of_another_size() -> None:
    with pytest.raises(ShapeError, match=r"of the image's \(4, 5\)"):
        show_attribution(np.ones((1, 4, 5)), np.ones((5, 4)))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DataError, match=r"pip install chainrule\[demo\]"):
        show_attribution(np.eye(4), np.eye(4))
