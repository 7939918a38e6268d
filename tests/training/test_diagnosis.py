"""The layer in which a number stopped being finite is named, and nothing is changed by looking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import ArrayDataset, DataLoader
from chainrule.errors import AnomalyError
from chainrule.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Module, ReLU, Sequential
from chainrule.training import TrainConfig, Trainer


def network() -> Sequential:
    cr.manual_seed(0)
    return Sequential(
        *(Conv2d(1, 3, 3, padding=1), BatchNorm2d(3), ReLU(), Dropout(0.4), Flatten()),
        *(Linear(48, 8), ReLU(), Linear(8, 3)),
    )


def trainer(model: Module, images: Any = None, **choices: Any) -> Trainer:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((12, 1, 4, 4)).astype(np.float32) if images is None else images
    data = ArrayDataset(x, np.arange(12) % 3, 3)
    return Trainer(model, DataLoader(data, 6), DataLoader(data, 6), TrainConfig(**choices))


def message(t: Trainer) -> str:
    state = {n: v.numpy().copy() for n, v in t.model.state_dict().items() if "running" not in n}
    with pytest.raises(AnomalyError) as caught:
        t.fit()
    after = {n: v.numpy() for n, v in t.model.state_dict().items()}
    for name, value in state.items():
        if "num_batches" not in name:
            np.testing.assert_array_equal(after[name], value)
    return str(caught.value)


def test_an_overflow_in_a_layer() -> None:
    model = network()
    model[5].weight.detach().numpy()[2] = 3e38
    text = message(trainer(model, epochs=1))
    assert "the loss became" in text
    assert "made in layer '5': forward of Linear" in text


def test_an_overflow_on_the_way_back() -> None:
    class Steep(Module):
        """The identity with a slope beyond all bounds at zero."""

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return x + (x * 0.0).abs().sqrt()

    model = Sequential(Flatten(), Linear(16, 3), Steep())
    with np.errstate(all="ignore"):
        text = message(trainer(model, epochs=1))
    assert "the gradient of 1.weight is not finite" in text
    assert "backward of" in text
    assert "made in layer '2'" in text


def test_parameters_and_images_that_are_not_finite() -> None:
    model = network()
    model[5].bias.detach().numpy()[0] = np.nan
    assert "the parameter 5.bias itself is not finite" in message(trainer(model, epochs=1))
    t = trainer(network(), epochs=1)
    t.train.dataset.images[7, 0, 0, 0] = np.inf
    with pytest.raises(AnomalyError) as caught:
        t.fit()
    assert "epoch 1, step 2 of 2" in str(caught.value)
    assert "the images themselves are not finite" in str(caught.value)


def test_a_running_statistic() -> None:
    model = network()
    model[1].running_var.detach().numpy()[1] = np.inf
    text = message(trainer(model, epochs=1))
    assert "the running statistic 1.running_var is not finite" in text


def test_random_masks_are_those_of_the_step() -> None:
    """Half of the masks would hide the place: the repeated step must draw the same one."""
    for seed in range(6):
        cr.manual_seed(seed)

        class Trap(Module):
            """Makes an infinity wherever the mask let the first value through."""

            def forward(self, x: cr.Tensor) -> cr.Tensor:
                return x + (1.0 / (x[:, :1] - x[:, :1].detach() + 0.0) if hit(x) else 0.0)

        def hit(x: cr.Tensor) -> bool:
            return bool((x.array[:, 0] != 0).any())

        model = Sequential(Flatten(), Dropout(0.5), Trap(), Linear(16, 3))
        t = trainer(model, np.ones((12, 1, 4, 4), np.float32), epochs=1)
        with np.errstate(all="ignore"), pytest.raises(AnomalyError) as caught:
            t.fit()
        assert "made in layer '2'" in str(caught.value)
