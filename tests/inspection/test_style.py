from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DataError, ShapeError
from chainrule.inspection import gram_matrix, style_transfer
from tests.inspection.common import photo, small

LAYERS: dict[str, Any] = {"content_layers": ["conv2"], "style_layers": ["conv1", "conv2"]}


def test_gram_matrix_by_hand() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    expected = np.zeros((2, 3, 3))
    for n in range(2):
        for i in range(3):
            for j in range(3):
                for row in range(4):
                    for column in range(5):
                        expected[n, i, j] += maps[n, i, row, column] * maps[n, j, row, column] / 20
    np.testing.assert_allclose(gram_matrix(maps).detach().numpy(), expected, rtol=1e-12)
    assert cr.gradcheck(gram_matrix, [cr.tensor(maps, requires_grad=True)])
    with pytest.raises(ShapeError, match=r"gram_matrix: expected maps \(N, C, H, W\)"):
        gram_matrix(maps[0])


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_both_losses_fall_from_noise(optimizer: str) -> None:
    made = style_transfer(
        small(), photo(), photo(seed=5), start="noise", steps=40, optimizer=optimizer, **LAYERS
    )
    for name in ("content", "style", "loss"):
        assert made.history[name][-1] < 0.7 * made.history[name][0]


def test_from_the_content_the_style_comes_nearer() -> None:
    made = style_transfer(small(), photo(), photo(20, 24, seed=5), steps=20, **LAYERS)
    assert made.image.shape == (3, 16, 16)
    assert made.history["content"][0] == 0
    assert made.history["style"][-1] < 0.2 * made.history["style"][0]


def test_the_losses_are_relative_squares() -> None:
    model, content, style = small().eval(), photo(), photo(12, 20, seed=5)
    made = style_transfer(
        model, content, style, steps=1, content_weight=2.0, style_weight=3.0, smoothness=0.5,
        **LAYERS,
    )  # fmt: skip

    def maps(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = model.conv1(cr.tensor(x[None]))
        second = model.conv2(model.pool(model.relu1(model.norm(first))))
        return first.detach().numpy().astype(np.float64), second.detach().numpy().astype(np.float64)

    here, goal, art = maps(made.image), maps(content), maps(style)
    near = np.square(here[1] - goal[1]).sum() / np.square(goal[1]).sum()
    alike = 0.0
    for y, a in zip(here, art, strict=True):
        g, wanted = gram_matrix(y).detach().numpy(), gram_matrix(a).detach().numpy()
        alike += np.square(g - wanted).sum() / np.square(wanted).sum() / 2
    rough = np.square(np.diff(made.image, axis=1)).mean()
    rough += np.square(np.diff(made.image, axis=2)).mean()
    assert made.history["content"][-1] == pytest.approx(near, rel=1e-3)
    assert made.history["style"][-1] == pytest.approx(alike, rel=1e-3)
    total = 2 * near + 3 * alike + 0.5 * rough
    assert made.history["loss"][-1] == pytest.approx(total, rel=1e-3)


def test_weights_weigh() -> None:
    given = {**LAYERS, "steps": 20, "smoothness": 0.0}
    near = style_transfer(small(), photo(), photo(seed=5), style_weight=0.01, **given).history
    far = style_transfer(small(), photo(), photo(seed=5), style_weight=100.0, **given).history
    assert near["content"][-1] < far["content"][-1]
    assert near["style"][-1] > far["style"][-1]
    rough = style_transfer(small(), photo(), photo(seed=5), **given).image
    given["smoothness"] = 300.0
    smooth = style_transfer(small(), photo(), photo(seed=5), **given).image
    assert np.square(np.diff(smooth)).mean() < 0.7 * np.square(np.diff(rough)).mean()


def test_a_layer_that_is_silent_is_no_division_by_zero() -> None:
    model = small()
    with cr.no_grad():
        model.norm.bias.fill_(-100.0)
    made = style_transfer(
        model, photo(), photo(seed=1), content_layers=["relu1"], style_layers=["relu1"], steps=2
    )
    assert made.history["content"][-1] == made.history["style"][-1] == 0


@pytest.mark.parametrize(("options", "rule"), [
    ({"optimizer": "sgd"}, "optimizer 'lbfgs' or 'adam'"),
    ({"start": "style"}, "start 'content' or 'noise'"),
    ({"style_layers": []}, "content_layers and style_layers"),
    ({"content_layers": "conv1"}, "content_layers and style_layers"),
    ({"style_layers": ["fc"]}, "layers with maps, not 'fc'"),
    ({"style_weight": -1.0}, "style_weight"),
    ({"steps": 0}, "steps of 1 or more"),
])  # fmt: skip
def test_settings_that_do_not_fit(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(ShapeError, match=f"style_transfer: expected .*{rule}"):
        style_transfer(small(), photo(), photo(seed=1), **{**LAYERS, **options})


def test_images_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="images of as many channels"):
        style_transfer(small(), photo(), photo(channels=1), **LAYERS)
    with pytest.raises(DataError, match="has no layer 'conv7'"):
        style_transfer(small(), photo(), photo(), content_layers=["conv7"], style_layers=["conv1"])


def test_values_beyond_what_an_image_can_be_cost_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimiser's image, before it is cut, strays less than without the cost."""
    farthest: list[float] = []

    def run() -> float:
        model = small()
        seen: list[float] = []
        model.conv1.register_forward_pre_hook(
            lambda _, inputs: seen.append(float(abs(inputs[0].detach().numpy() - 0.5).max()) - 0.5)
        )
        style = (photo(seed=5) > 0.5).astype(np.float32)
        style_transfer(model, photo(), style, steps=20, optimizer="adam", lr=0.1, **LAYERS)
        return max(seen)

    farthest.append(run())
    monkeypatch.setattr("chainrule.inspection.style._beyond", lambda x: 0.0)
    farthest.append(run())
    assert farthest[0] < 0.8 * farthest[1]
