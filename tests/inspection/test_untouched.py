"""What all functions that make pictures share: nothing of the model changes, one seed repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import AnomalyError, DataError, KindError, LabelError, ShapeError
from chainrule.inspection import (
    activation_grid,
    activation_maximization,
    class_image,
    deep_dream,
    embeddings,
    filter_grid,
    style_transfer,
    top_patches,
)
from tests.inspection.common import Untouched, photo, small

SIZE = (3, 16, 16)
STYLE = {"content_layers": ["conv2"], "style_layers": ["conv1"], "steps": 3}

CALLS: dict[str, Callable[..., Any]] = {
    "filters": lambda m, **_: filter_grid(m, "conv2"),
    "maps": lambda m, **_: activation_grid(m, photo(), "relu1"),
    "unit": lambda m, **o: activation_maximization(m, "conv2", 1, SIZE, steps=4, jitter=2, **o),
    "class": lambda m, **o: class_image(m, 2, SIZE, steps=4, **o),
    "dream": lambda m, **o: deep_dream(m, photo(20, 24), "conv2", octaves=2, steps=2, **o),
    "style": lambda m, **o: style_transfer(m, photo(), photo(seed=1), start="noise", **STYLE, **o),
    "patches": lambda m, **_: top_patches(m, "conv2", [0, 3], [photo()[None]] * 2),
    "embeddings": lambda m, **_: embeddings(m, [photo()[None]] * 2, "conv2"),
}
DRAWN = ["unit", "class", "dream", "style"]
READERS = [name for name in CALLS if name not in ("class", "filters")]


@pytest.mark.parametrize("name", CALLS)
def test_the_model_is_left_as_it_was(name: str) -> None:
    model = small()
    watch = Untouched(model)
    CALLS[name](model)
    watch.check()


@pytest.mark.parametrize("name", CALLS)
def test_also_where_the_model_fails(name: str) -> None:
    model = small()
    model.norm.register_forward_hook(lambda *_: 1 / 0)
    watch = Untouched(model)
    if name == "filters":
        CALLS[name](model)
    else:
        with pytest.raises(ZeroDivisionError):
            CALLS[name](model)
    watch.check()


@pytest.mark.parametrize("name", CALLS)
def test_dropout_and_norm_are_those_of_use(name: str) -> None:
    """In training mode two calls would differ, and the norm's statistics would move."""
    model = small()
    first, second = CALLS[name](model.train()), CALLS[name](model.eval())
    np.testing.assert_equal(_plain(first), _plain(second))


@pytest.mark.parametrize("name", DRAWN)
def test_randomness_comes_from_the_seed_alone(name: str) -> None:
    model = small()
    first = CALLS[name](model, seed=3).image
    cr.manual_seed(99)
    np.testing.assert_array_equal(first, CALLS[name](model, seed=3).image)
    np.testing.assert_array_equal(first, CALLS[name](model, seed=cr.Generator(3)).image)
    assert (first != CALLS[name](model, seed=4).image).any()
    state = cr.Generator(0)
    CALLS[name](model, seed=state)
    assert (CALLS[name](model, seed=state).image != CALLS[name](model, seed=0).image).any()
    with pytest.raises(KindError, match="a seed that is an integer or a Generator"):
        CALLS[name](model, seed="0")


@pytest.mark.parametrize("name", DRAWN)
def test_gradients_flow_where_the_caller_has_switched_them_off(name: str) -> None:
    expected = CALLS[name](small()).image
    for switched_off in (cr.no_grad, cr.inference_mode):
        with switched_off():
            made = CALLS[name](small().requires_grad_(False))
        np.testing.assert_array_equal(made.image, expected)


@pytest.mark.parametrize("name", DRAWN)
def test_pictures_have_the_networks_kind_and_values_from_0_to_1(name: str) -> None:
    for kind in (np.float32, np.float64):
        made = CALLS[name](small().to(dtype=kind))
        assert made.image.dtype == kind
        assert 0 <= made.image.min() < made.image.max() <= 1


@pytest.mark.parametrize("name", DRAWN)
def test_progress_tells_every_step(name: str) -> None:
    told: list[tuple[int, int, dict[str, float]]] = []
    made = CALLS[name](small(), progress=lambda *step: told.append(step))
    assert [step for step, _, _ in told] == list(range(1, len(told) + 1))
    for key, values in made.history.items():
        assert values == [numbers[key] for _, _, numbers in told]
    if name != "style":  # a line search takes as many evaluations as it needs
        assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("name", DRAWN)
def test_mean_and_std_stand_between_image_and_network(name: str) -> None:
    """A network whose first layer undoes the preparation makes the same picture."""
    model = small()
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.5]

    class Undo(cr.nn.Module):
        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return x * np.float32(std).reshape(3, 1, 1) + np.float32(mean).reshape(3, 1, 1)

    undone = cr.nn.Sequential({"undo": Undo(), **dict(model.named_children())})
    given = {"mean": mean, "std": std}
    first = CALLS[name](undone, **given).image
    if name == "dream":  # no neutral colour is in it
        np.testing.assert_allclose(first, CALLS[name](model).image, atol=0.02)
    assert np.abs(first - CALLS[name](model, **given).image).max() > 0.005
    for wrong in ({"mean": [0.5]}, {"std": [1, 1, 0]}, {"mean": [0.5, np.nan, 0.5]}):
        with pytest.raises(ShapeError, match=r"mean|std"):
            CALLS[name](model, **wrong)


@pytest.mark.parametrize("name", READERS)
def test_a_layer_that_is_not_there(name: str) -> None:
    model = cr.nn.Sequential({"first": cr.nn.Conv2d(3, 2, 3)})
    with pytest.raises(DataError, match=r"has no layer '(conv2|relu1)'; it has first"):
        CALLS[name](model)
    with pytest.raises(KindError, match="expected a Module"):
        CALLS[name]("a network")


def test_a_unit_that_is_not_there() -> None:
    model, image = small(), photo()
    rule = r"expected a unit from 0 to 7: layer 'conv2' has 8; got unit 8"
    with pytest.raises(LabelError, match=f"activation_maximization: {rule}"):
        activation_maximization(model, "conv2", 8, SIZE)
    with pytest.raises(LabelError, match=f"deep_dream: {rule}"):
        deep_dream(model, image, "conv2", unit=8, octaves=1)
    with pytest.raises(LabelError, match=f"top_patches: {rule}"):
        top_patches(model, "conv2", 8, [image[None]])
    with pytest.raises(LabelError, match=f"activation_grid: {rule}"):
        activation_grid(model, image, "conv2", units=[8])
    with pytest.raises(LabelError, match="unit from 0 to 3: layer '' has 4"):
        class_image(model, 4, SIZE)
    with pytest.raises(LabelError, match=r"position within the map \(8, 8\) of layer 'conv2'"):
        activation_maximization(model, "conv2", 0, SIZE, position=(8, 0))


@pytest.mark.parametrize("name", [*DRAWN, "patches"])
def test_numbers_that_are_not_finite(name: str) -> None:
    model = small()
    with cr.no_grad():
        model.conv2.bias.fill_(np.nan)
    with pytest.raises(AnomalyError, match=r"is nan in step|unit 0 of 'conv2' is not finite for"):
        CALLS[name](model)


def test_a_layer_without_channels() -> None:
    class Total(cr.nn.Module):
        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return x.sum()

    model = cr.nn.Sequential({"total": Total()})
    rule = r"a layer with channels, \(N, C\) or \(N, C, H, W\); 'total' gives none"
    with pytest.raises(ShapeError, match=rule):
        activation_maximization(model, "total", 0, SIZE)
    with pytest.raises(ShapeError, match=rule):
        top_patches(model, "total", 0, [photo()[None]])
    with pytest.raises(ShapeError, match="a layer with maps"):
        activation_grid(small(), photo(), "fc")


@pytest.mark.parametrize("name", ["maps", "dream", "style"])
def test_an_image_that_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()

    def call(image: Any) -> Any:
        if name == "maps":
            return activation_grid(model, image, "conv1")
        if name == "dream":
            return deep_dream(model, image, "conv1")
        return style_transfer(model, photo(), image, **STYLE)

    with pytest.raises(ShapeError, match=r"one image \(C, H, W\); .*the first of a batch"):
        call(photo()[None])
    with pytest.raises(KindError, match="255 for bytes"):
        call((photo() * 255).astype(np.uint8))
    with pytest.raises(DataError, match=r"values from 0 to 1, got .*mean= and std="):
        call(photo() * 3 - 1)
    with pytest.raises(DataError, match="values from 0 to 1"):
        call(np.full((3, 16, 16), np.nan))


def test_an_image_smaller_than_the_network_needs() -> None:
    model = cr.nn.Sequential({"a": cr.nn.Conv2d(3, 4, 5), "b": cr.nn.Conv2d(4, 4, 5)})
    with pytest.raises(ShapeError, match=r"deep_dream: .*reach layer 'b', got \(1, 3, 6, 6\)"):
        deep_dream(model, photo(12, 12), "b", octaves=2, scale=2.0, steps=1)
    with pytest.raises(ShapeError, match="reach layer 'b'"):
        activation_maximization(model, "b", 0, (3, 8, 8))
    with pytest.raises(ShapeError, match="reach layer ''"):  # the dense layer's size
        class_image(small(), 0, (3, 20, 20))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: [(patch.value, patch.patch) for patch in row] for key, row in value.items()}
    return getattr(value, "image", value)
