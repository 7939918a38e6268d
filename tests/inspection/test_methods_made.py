"""What the methods choose where nothing is said."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.inspection.looking import Look
from chainrule.inspection.methods_made import _convolutions, _units


def test_the_style_comes_from_the_convolutions_up_to_a_layer() -> None:
    at = Look(cr.create_model("resnet20"))
    inside = [f"layer1.{block}.conv{k}" for block in range(3) for k in (1, 2)]
    assert _convolutions(at, "layer1") == ["conv1", *inside]
    assert _convolutions(at, "conv1") == ["conv1"]
    assert _convolutions(at, "layer1.0.conv2") == ["conv1", *inside[:2]]
    assert _convolutions(Look(cr.nn.Sequential(cr.nn.ReLU())), "0") == ["0"]


@pytest.mark.parametrize(("layer", "units"), [("conv1", 6), ("conv2", 8), ("fc1", 8)])
def test_the_first_units_of_a_layer(layer: str, units: int) -> None:
    at = Look(cr.create_model("lenet5"), mean=np.full(1, 0.5), std=np.full(1, 0.25))
    images = np.zeros((2, 1, 32, 32), np.float32)
    assert _units(at, layer, images) == list(range(units))
    assert _units(Look(at.model, target=3), layer, images) == [3]
