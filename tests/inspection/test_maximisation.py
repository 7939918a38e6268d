from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ShapeError
from chainrule.inspection import activation_maximization, class_image
from chainrule.inspection.canvas import Preparation, rolled, softened
from chainrule.inspection.maximisation import uphill
from tests.inspection.common import photo, small

SIZE = (3, 16, 16)


@pytest.mark.parametrize("layer", ["conv1", "relu2", "fc"])
@pytest.mark.parametrize("options", [{}, {"jitter": 1, "blur": 0.3, "decay": 0.01, "l2": 1e-6}])
def test_the_objective_rises(layer: str, options: dict[str, float]) -> None:
    model = small().eval()
    made = activation_maximization(model, layer, 2, SIZE, steps=30, **options)
    scores = made.history["score"]
    assert len(scores) == 31
    assert scores[-1] > scores[0] + 0.1
    assert scores[-1] > 0.8 * max(scores)
    if not options:
        y = cr.tensor(made.image[None])
        for name, child in model.named_children():
            y = child(y)
            if name == layer:
                break
        assert scores[-1] == pytest.approx(float(y[0, 2].mean().item()), rel=1e-4)


def test_a_filter_finds_its_own_template() -> None:
    """Of all images of one norm, a convolution answers most to its filter."""
    w = np.random.default_rng(0).normal(size=(1, 1, 5, 5)).astype(np.float32)
    conv = cr.nn.Conv2d(1, 1, 5, bias=False)
    with cr.no_grad():
        conv.weight.copy_(cr.tensor(w))
    made = activation_maximization(
        conv, "", 0, (1, 5, 5), position=(0, 0), steps=200, l2=1.0, mean=[0.5], std=[1.0]
    )
    # w*x - |x|^2 is highest at x = w/2, within what an image can be
    expected = np.clip(0.5 + w[0] / 2, 0, 1)
    np.testing.assert_allclose(made.image, expected, atol=0.02)


def test_a_position_alone() -> None:
    model = small()
    image = activation_maximization(model, "conv1", 0, SIZE, position=(8, 8), steps=10).image
    start = activation_maximization(model, "conv1", 0, SIZE, steps=1, step_size=0.0).image
    moved = np.argwhere(abs(image - start).max(axis=0) > 1e-6)
    assert moved.min(axis=0).tolist() == [7, 7]
    assert moved.max(axis=0).tolist() == [9, 9]


def test_a_start_of_ones_own() -> None:
    model, image = small(), photo()
    made = activation_maximization(model, "fc", 0, SIZE, start=image, steps=1, step_size=0.0)
    np.testing.assert_array_equal(made.image, image)
    assert made.image is not image
    with pytest.raises(ShapeError, match=r"a start of the size \(3, 16, 16\)"):
        activation_maximization(model, "fc", 0, SIZE, start=photo(8, 8))


def test_a_class_image_is_its_score_less_the_images_square() -> None:
    model = small().eval()
    mean, std = [0.4, 0.5, 0.6], [0.5, 0.25, 1.0]
    made = class_image(model, 1, SIZE, steps=20, l2=0.01, mean=mean, std=std)
    x = (made.image - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    score = model(cr.tensor(x[None].astype(np.float32)))[0, 1].item() - 0.01 * (x**2).sum()
    assert made.history["score"][-1] == pytest.approx(score, rel=1e-4)
    assert made.history["score"][-1] > made.history["score"][0]
    weaker = class_image(model, 1, SIZE, steps=20, l2=1.0, mean=mean, std=std).image
    assert np.square(weaker - np.reshape(mean, (3, 1, 1))).sum() < np.square(x).sum()


def test_decay_goes_back_to_the_neutral_colour() -> None:
    model, image = small(), photo()
    given = {"start": image, "steps": 1, "step_size": 0.0, "decay": 0.25}
    made = activation_maximization(model, "conv1", 0, SIZE, **given)
    np.testing.assert_allclose(made.image, image + 0.25 * (0.5 - image), atol=1e-6)
    made = activation_maximization(model, "conv1", 0, SIZE, mean=[0.1, 0.2, 0.3], **given)
    neutral = np.reshape([0.1, 0.2, 0.3], (3, 1, 1))
    np.testing.assert_allclose(made.image, image + 0.25 * (neutral - image), atol=1e-6)


def test_blur_comes_every_so_many_steps() -> None:
    model, image = small(), photo()
    given = {"start": image, "steps": 2, "step_size": 0.0, "blur": 1.0}
    made = activation_maximization(model, "conv1", 0, SIZE, blur_every=1, **given)
    np.testing.assert_allclose(made.image, softened(image, 1.0), atol=1e-6)
    made = activation_maximization(model, "conv1", 0, SIZE, blur_every=2, **given)
    np.testing.assert_array_equal(made.image, image)


def test_softened_keeps_means_and_constants() -> None:
    np.testing.assert_allclose(softened(np.full((2, 5, 7), 0.3), 2.0), 0.3)
    x = np.zeros((1, 21, 21))
    x[0, 10, 10] = 1
    y = softened(x, 1.5)
    i = np.arange(21) - 10
    assert y.sum() == pytest.approx(1)
    spread = (y[0].sum(axis=0) * i**2).sum() ** 0.5
    assert spread == pytest.approx(1.5, rel=0.02)
    np.testing.assert_allclose(y, y.transpose(0, 2, 1))


def test_a_shift_goes_back() -> None:
    x = photo(5, 7)
    assert rolled(x, (1, -2))[0, 1, 0] == x[0, 0, 2]
    np.testing.assert_array_equal(rolled(rolled(x, (3, -2)), (-3, 2)), x)


def test_uphill_is_the_gradient_by_the_images_own_values() -> None:
    prepare = Preparation("test", 2, [0.1, 0.2], [0.5, 0.25], np.dtype(np.float64))
    x = photo(3, 3, 2).astype(np.float64)
    value, gradient = uphill(lambda y: (y * y).sum(), prepare, x)
    scaled = (x - np.reshape([0.1, 0.2], (2, 1, 1))) / np.reshape([0.5, 0.25], (2, 1, 1))
    assert value == pytest.approx((scaled**2).sum())
    np.testing.assert_allclose(gradient, 2 * scaled / np.reshape([0.5, 0.25], (2, 1, 1)))
    value, gradient = uphill(lambda y: cr.tensor(3.0), prepare, x)
    assert (value, abs(gradient).max()) == (3.0, 0.0)


@pytest.mark.parametrize(("options", "rule"), [
    ({"steps": 0}, "steps of 1 or more"),
    ({"jitter": -1}, "jitter of 0 or more"),
    ({"decay": 1.5}, "decay from 0 to 1"),
    ({"blur": float("nan")}, "blur of 0 or more"),
    ({"blur_every": 0}, "blur_every of 1 or more"),
])  # fmt: skip
def test_settings_out_of_range(options: dict[str, float], rule: str) -> None:
    with pytest.raises(ShapeError, match=f"activation_maximization: expected {rule}"):
        activation_maximization(small(), "fc", 0, SIZE, **options)
    for size in [(16, 16), (3, 0, 16)]:
        with pytest.raises(ShapeError, match=r"a size \(C, H, W\) of positive numbers"):
            activation_maximization(small(), "fc", 0, size)


def test_without_a_mean_the_neutral_colour_is_mid_grey() -> None:
    given = {"start": photo(), "steps": 60, "step_size": 0.05}
    made = activation_maximization(small(), "fc", 0, SIZE, l2=1e6, **given)
    np.testing.assert_allclose(made.image, 0.5, atol=0.03)
