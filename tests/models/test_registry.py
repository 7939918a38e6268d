"""Suites that walk the registry: every network, with nothing to be listed by hand."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ShapeError
from chainrule.models import MODELS, create_model, input_size, list_models, register


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize(("classes", "channels"), [(10, 1), (3, 2)])
def test_every_parameter_gets_a_gradient(name: str, classes: int, channels: int) -> None:
    cr.manual_seed(0)
    model = create_model(name, classes, channels)
    side = input_size(name)
    x = cr.randn(4, channels, side, side)
    scores = model(x)
    assert scores.shape == (4, classes)
    cr.nn.functional.cross_entropy(scores, cr.tensor([0, 1, 2, 0])).backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad is not None, path
        assert parameter.grad.array.any(), path


@pytest.mark.parametrize("name", list_models())
def test_images_do_not_influence_each_other(name: str) -> None:
    cr.manual_seed(0)
    model = create_model(name).eval()
    side = input_size(name)
    x = np.random.default_rng(0).standard_normal((3, 1, side, side)).astype(np.float32)
    with cr.no_grad():
        together = model(cr.tensor(x)).numpy()
        alone = [model(cr.tensor(x[k : k + 1])).numpy()[0] for k in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list_models())
def test_the_docstring_says_what_a_reader_wants(name: str) -> None:
    text = inspect.getdoc(MODELS[name].build) or ""
    for word in ("Source:", "Input (", "parameters", "multiply-adds"):
        assert word in text, word


def test_same_seed_same_network() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        cr.manual_seed(seed)
        return [p.detach().numpy().copy() for p in create_model("lenet5").parameters()]

    for a, b in zip(weights(5), weights(5), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights(5)[0], weights(6)[0])


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(ShapeError, match="did you mean 'lenet5'"):
        create_model("LeNet-5")
    with pytest.raises(ValueError, match=r"there are .*'lenet5'"):
        create_model("transformer")
    with pytest.raises(ShapeError, match="input_size: expected a known model"):
        input_size("x")


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ShapeError, match="a name that is free, not 'lenet5'"):
        register("lenet5", size=32)(lambda: None)  # type: ignore[arg-type,return-value]
    assert "lenet5" in MODELS
