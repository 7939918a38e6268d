from __future__ import annotations

import pytest

import chainrule as cr
from chainrule.errors import DataError, KindError
from chainrule.inspection.layers import find_layer, watching


def test_a_layer_by_its_name() -> None:
    model = cr.create_model("resnet20")
    assert find_layer(model, "") is model
    assert find_layer(model, "conv1") is model.conv1
    with pytest.raises(DataError, match=r"ResNet has no layer 'layr1'; it has layer1"):
        find_layer(model, "layr1")
    with pytest.raises(DataError, match="it has none"):
        find_layer(cr.nn.ReLU(), "x")
    with pytest.raises(KindError, match="a Module"):
        find_layer("lenet5", "conv1")  # type: ignore[arg-type]


def test_watching_keeps_what_layers_give_and_leaves_no_hook() -> None:
    model = cr.nn.Sequential(cr.nn.Linear(3, 4), cr.nn.ReLU())
    x = cr.ones(2, 3)
    with watching(model, ["0", ""]) as seen:
        y = model(x)
    assert seen[""] is y
    assert seen["0"].requires_grad
    assert cr.relu(seen["0"]).tolist() == y.tolist()
    with pytest.raises(ZeroDivisionError), watching(model, ["0"]):
        _ = 1 / 0
    assert not any(module._forward_hooks for module in model.modules())
