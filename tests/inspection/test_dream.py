from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ShapeError
from chainrule.inspection import deep_dream
from chainrule.inspection.canvas import resized, softened
from tests.inspection.common import photo, small


def answer(model: cr.nn.Module, image: np.ndarray, unit: slice = slice(None)) -> float:
    """Half the mean square of what the first convolution gives."""
    y = model.conv1(cr.tensor(image[None])).detach().numpy()[:, unit]
    return float(0.5 * np.square(y).mean())


@pytest.mark.parametrize("unit", [None, 3])
def test_the_layer_answers_more_strongly(unit: int | None) -> None:
    model, image = small().eval(), photo(24, 30)
    dream = deep_dream(model, image, "conv1", unit=unit, octaves=3, steps=5)
    part = slice(None) if unit is None else slice(unit, unit + 1)
    assert answer(model, dream.image, part) > 1.2 * answer(model, image, part)
    assert dream.image.shape == image.shape
    scores = dream.history["score"]
    assert len(scores) == 15
    for first in (0, 5, 10):  # it rises within every octave
        assert scores[first + 4] > scores[first]


def test_one_octave_is_plain_ascent() -> None:
    model, image = small().eval(), photo(20, 20)
    given = {"octaves": 1, "jitter": 0, "blur": 0.0}
    once = deep_dream(model, image, "conv1", steps=1, step_size=0.01, **given)
    assert once.history["score"] == [pytest.approx(answer(model, image), rel=1e-5)]
    x = cr.tensor(image[None], requires_grad=True)
    y = model.conv1(x)
    (g,) = cr.grad(0.5 * (y * y).mean(), x)
    step = 0.01 * g.detach().numpy()[0] / abs(g.detach().numpy()).mean()
    np.testing.assert_allclose(once.image, np.clip(image + step, 0, 1), atol=1e-6)


def test_octaves_begin_small() -> None:
    model, image = small(), photo(40, 30)
    seen: list[tuple[int, ...]] = []
    model.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:]))
    deep_dream(model, image, "conv1", octaves=3, scale=2.0, steps=1)
    assert seen == [(10, 8), (20, 15), (40, 30)]


def test_without_steps_of_any_size_nothing_changes() -> None:
    image = photo(21, 33)
    dream = deep_dream(small(), image, "conv1", octaves=3, steps=2, step_size=0.0)
    np.testing.assert_array_equal(dream.image, image)


def test_what_small_octaves_painted_stays() -> None:
    """A square painted on a small octave is still there in the large image, as large as it was."""
    model, image = small(), np.full((3, 32, 32), 0.5, np.float32)
    all_sizes = deep_dream(model, image, "conv2", octaves=3, steps=4, jitter=0).image
    one_size = deep_dream(model, image, "conv2", octaves=1, steps=4, jitter=0).image
    coarse = [resized(x - image, 8, 8) for x in (all_sizes, one_size)]
    assert abs(coarse[0]).mean() > 1.3 * abs(coarse[1]).mean()


def test_a_layer_that_is_silent_leaves_the_image() -> None:
    model, image = small(), photo()
    with cr.no_grad():
        model.norm.bias.fill_(-100.0)
    dream = deep_dream(model, image, "relu1", octaves=1, steps=2)
    np.testing.assert_array_equal(dream.image, image)
    assert dream.history["score"] == [0.0, 0.0]


@pytest.mark.parametrize(("options", "rule"), [
    ({"octaves": 0}, "octaves of 1 or more"),
    ({"steps": 0}, "steps of 1 or more"),
    ({"scale": 1.0}, "a scale above 1"),
    ({"jitter": -2}, "jitter of 0 or more"),
    ({"step_size": -1.0}, "step_size of 0 or more"),
    ({"mean": [0.5]}, "mean with a finite number for each of 3 channels"),
])  # fmt: skip
def test_settings_out_of_range(options: dict[str, float], rule: str) -> None:
    with pytest.raises(ShapeError, match=f"deep_dream: expected {rule}"):
        deep_dream(small(), photo(), "conv1", **options)


def test_a_shifted_gradient_goes_back_to_its_place() -> None:
    """On black but for one spot, a convolution without bias wants changes around the spot alone."""
    model, image = small(), np.zeros((3, 24, 24), np.float32)
    image[:, 4:6, 17:19] = 0.5
    with cr.no_grad():
        model.conv1.bias.zero_()
    dream = deep_dream(model, image, "conv1", octaves=1, steps=1, jitter=3, blur=0.0)
    changed = np.argwhere((dream.image != image).any(axis=0))
    assert (changed.min(axis=0) >= [2, 15]).all()
    assert (changed.max(axis=0) <= [7, 20]).all()


def test_the_gradient_is_softened() -> None:
    model, image = small(), photo(20, 20) * 0.5 + 0.25
    given = {"octaves": 1, "steps": 1, "jitter": 0, "step_size": 0.01}
    plain = deep_dream(model, image, "conv1", blur=0.0, **given).image - image
    soft = deep_dream(model, image, "conv1", blur=1.0, **given).image - image
    expected = softened(plain, 1.0)
    expected *= 0.01 / abs(expected).mean()
    np.testing.assert_allclose(soft, expected, atol=1e-5)
