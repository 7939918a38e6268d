"""Races of optimisers: known minima, paths against the rules by hand, what stops, pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import chainrule as cr
from chainrule.inspection.surface import SURFACES, Surface, default_optimizers

LECTURES = ["SGD", "momentum", "Nesterov", "Adagrad", "Adadelta", "RMSprop", "Adam"]


@pytest.mark.parametrize("surface", SURFACES.values(), ids=list(SURFACES))
def test_minima_are_minima(surface: Surface) -> None:
    x0, x1, y0, y1 = surface.plane
    for point in surface.minima:
        assert x0 < point[0] < x1
        assert y0 < point[1] < y1
        w = cr.tensor(list(point), dtype=cr.float64, requires_grad=True)
        loss = surface.height(w[0], w[1])
        loss.backward()
        assert loss.item() == pytest.approx(0.0, abs=1e-20)
        assert w.grad is not None
        np.testing.assert_allclose(w.grad.numpy(), 0.0, atol=1e-8)
        random = np.random.default_rng(0).normal(size=(2, 200))
        around = [cr.tensor(c + 0.1 * r) for c, r in zip(point, random, strict=True)]
        assert surface.height(*around).numpy().min() > 0


def test_only_the_saddle_has_no_minimum() -> None:
    assert [name for name, surface in SURFACES.items() if not surface.minima] == ["saddle"]
    assert len(SURFACES["himmelblau"].minima) == 4


@pytest.mark.parametrize("name", [name for name in SURFACES if name != "saddle"])
def test_each_optimiser_goes_down_on_each_surface(name: str) -> None:
    race = cr.loss_surface(name)
    assert list(race.paths) == LECTURES
    steps = SURFACES[name].steps
    for racer, path in race.paths.items():
        assert path.shape == (steps + 1, 2), racer
        assert race.losses[racer].shape == (steps + 1,)
        assert path[0].tolist() == list(SURFACES[name].start)
        assert race.losses[racer][-1] < 0.6 * race.losses[racer][0], racer
        heights = SURFACES[name].height(*map(cr.tensor, path.T)).numpy()
        np.testing.assert_allclose(race.losses[racer], heights, rtol=1e-12)
    assert not race.notes


def test_paths_are_those_of_the_rules_written_out() -> None:
    """On x^2 / 40 + y^2 the gradient is (x / 20, 2 y)."""
    slopes = np.array([1 / 20, 2.0])
    rate = 0.3
    race = cr.loss_surface("valley", steps=20)
    plain = heavy = ahead = np.array([-9.5, 2.2])
    v = u = np.zeros(2)
    for step in range(21):
        np.testing.assert_allclose(race.paths["SGD"][step], plain, rtol=1e-12)
        np.testing.assert_allclose(race.paths["momentum"][step], heavy, rtol=1e-12)
        np.testing.assert_allclose(race.paths["Nesterov"][step], ahead, rtol=1e-12)
        plain = plain - rate * slopes * plain
        v = 0.9 * v + slopes * heavy
        heavy = heavy - rate * v
        u = 0.9 * u + slopes * ahead
        ahead = ahead - rate * (slopes * ahead + 0.9 * u)


def test_the_saddle_parts_those_that_divide_by_the_gradients_size_from_sgd() -> None:
    race = cr.loss_surface("saddle")
    assert "SGD" not in race.notes
    for name in LECTURES[1:]:
        path = race.paths[name]
        assert race.notes[name] == f"left the plane at step {len(path) - 1}"
        assert abs(path[-1][1]) > 1.5  # the first point outside is the last
        assert np.abs(path[:-1]).max() <= 1.5
        assert len(race.losses[name]) == len(path)
    assert race.notes["Adam"] in str(race)


def test_what_is_not_finite_is_left_out_and_told() -> None:
    def wall(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        return (x - 1).sqrt() + y * y  # not a number below 1

    race = cr.loss_surface(
        wall, {"SGD": lambda w: cr.optim.SGD(w, lr=0.4)}, plane=(0, 3, -1, 1), start=(1.5, 0.1)
    )
    assert race.notes["SGD"].startswith("not finite at step ")
    assert np.isfinite(race.paths["SGD"]).all()
    assert np.isfinite(race.losses["SGD"]).all()
    assert 1 < len(race.paths["SGD"]) < 10
    # the surface is drawn where it has a height
    pytest.importorskip("matplotlib", reason="plots are in the demo extra")
    assert race.plot().axes[0].get_title() == "wall"


def test_functions_factories_and_settings_of_ones_own() -> None:
    shift = cr.tensor([0.5, -0.5]).double()

    def bowl(x: cr.Tensor, y: cr.Tensor) -> cr.Tensor:
        return ((cr.stack([x, y]) - shift) ** 2).sum()  # for one point, not element by element

    race = cr.loss_surface(
        bowl,
        {"lbfgs": lambda w: cr.optim.LBFGS(w, line_search_fn="strong_wolfe")},
        steps=3,
        minima=[(0.5, -0.5)],
    )
    assert race.surface.plane == (-2.0, 2.0, -2.0, 2.0)
    np.testing.assert_allclose(race.paths["lbfgs"][-1], [0.5, -0.5], atol=1e-6)
    x, y, z = race.grid(21)
    np.testing.assert_allclose(z, (x - 0.5) ** 2 + (y + 0.5) ** 2)
    slow = cr.loss_surface("beale", rate=1e-4, steps=5)
    fast = cr.loss_surface("beale", rate=1e-3, steps=5)
    assert slow.losses["SGD"][-1] > fast.losses["SGD"][-1]
    assert slow.losses["Adam"][-1] == fast.losses["Adam"][-1]
    again = cr.loss_surface(SURFACES["beale"], rate=1e-4, steps=5, start=(1, 1))
    assert again.paths["SGD"][0].tolist() == [1.0, 1.0]
    wide = default_optimizers(0.1, (-10, 10, -10, 10))
    rates = [wide[n]([cr.zeros(2, requires_grad=True)]).param_groups[0]["lr"] for n in LECTURES]
    assert rates[:3] == [0.1] * 3
    assert rates[-1] == pytest.approx(0.4)


def test_refusals_in_words() -> None:
    with pytest.raises(cr.DataError, match=r"no surface is called 'bill'; there are beale, rosen"):
        cr.loss_surface("bill")
    with pytest.raises(cr.KindError, match="a function of two tensors"):
        cr.loss_surface(3)  # type: ignore[arg-type]
    with pytest.raises(cr.ShapeError, match=r"a start .* in the plane"):
        cr.loss_surface("beale", start=(9, 9))
    for plane in ((1, 0, 0, 1), (0, 1), (0, float("inf"), 0, 1)):
        with pytest.raises(cr.ShapeError, match="x0 < x1"):
            cr.loss_surface("beale", plane=plane)
    with pytest.raises(cr.ShapeError, match="steps of 1 or more"):
        cr.loss_surface("beale", steps=0)
    with pytest.raises(cr.ShapeError, match="at least one optimiser"):
        cr.loss_surface("beale", {})
    with pytest.raises(cr.ShapeError, match="a rate above 0"):
        cr.loss_surface("beale", rate=0.0)
    with pytest.raises(cr.KindError, match="a tensor of one element"):
        cr.loss_surface(lambda x, y: 1.0)  # type: ignore[arg-type,return-value]
    other = cr.zeros(2, requires_grad=True)
    with pytest.raises(cr.KindError, match="tensors that it was handed"):
        cr.loss_surface("beale", {"x": lambda w: cr.optim.SGD([other], lr=1.0)})
    with pytest.raises(cr.ShapeError, match="a finite loss at the start"):
        cr.loss_surface(lambda x, y: (x - 9).log() + y, start=(0, 0))


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots are in the demo extra")
    race = cr.loss_surface("saddle", steps=30)
    figure = race.plot("a race")
    axes = figure.axes[0]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("a race", "x", "y")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "start"
    assert texts[1].startswith("SGD: 0.")
    assert texts[-1] == "Adam: left the plane at step 25"
    drawn = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_array_equal(drawn[texts[1]].get_xydata(), race.paths["SGD"])
    ends = [line.get_xydata()[0] for line in axes.get_lines() if line.get_marker() == "X"]
    assert len(ends) == len(race.notes) == 3
    assert all(abs(end).max() == 1.5 for end in ends)  # at the border where they left
    assert len({line.get_color() for line in axes.get_lines()[1:]}) == 7
    figure.savefig(tmp_path / "race.png")
    assert "minima" in [
        text.get_text()
        for text in cr.loss_surface("himmelblau", steps=2).plot().legends[0].get_texts()
    ]


def test_animations_grow_and_keep_the_colours(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots are in the demo extra")
    race = cr.loss_surface("valley", steps=40)
    path = tmp_path / "race.gif"
    race.animate(path, frames=5)
    blue = []
    with Image.open(path) as pictures:
        assert pictures.n_frames == 5  # type: ignore[attr-defined]
        assert pictures.info["loop"] == 0
        for frame in range(5):
            pictures.seek(frame)
            pixels = np.asarray(pictures.convert("RGB")).astype(int)
            blue.append(int((np.abs(pixels - [0, 0x72, 0xB2]).sum(axis=2) < 12).sum()))
    assert blue[0] > 0  # the legend's line
    assert blue[-1] > blue[0] + 50  # and the path of SGD
    with pytest.raises(cr.DataError, match=r"written as \.gif"):
        race.animate(tmp_path / "race.mp4")
    with pytest.raises(cr.ShapeError, match="frames of 2 or more"):
        race.animate(path, frames=1)


def test_without_matplotlib_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    race = cr.loss_surface("valley", steps=2)
    draws: list[Any] = [race.plot, lambda: race.animate(tmp_path / "a.gif")]
    for draw in draws:
        with pytest.raises(cr.DataError, match=r"pip install chainrule\[demo\]"):
            draw()
    assert not list(tmp_path.iterdir())
