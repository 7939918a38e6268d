from __future__ import annotations

import numpy as np
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
    assert seen[""].grad_fn is y.grad_fn
    assert seen[""].array is y.array
    assert seen["0"].requires_grad
    assert cr.relu(seen["0"]).tolist() == y.tolist()
    with pytest.raises(ZeroDivisionError), watching(model, ["0"]):
        _ = 1 / 0
    assert not any(module._forward_hooks for module in model.modules())


class Rewriting(cr.nn.Module):
    """Writes over what its layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.c = cr.nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        h = self.c(x)
        h.relu_()
        return h.mean((2, 3))


def test_what_a_layer_gave_and_not_what_was_made_of_it() -> None:
    cr.manual_seed(0)
    model, x = Rewriting(), cr.rand(1, 1, 6, 6)
    with watching(model, ["c"]) as seen:
        y = model(x)
    np.testing.assert_array_equal(seen["c"].detach().numpy(), model.c(x).detach().numpy())
    (gradient,) = cr.grad(y[0, 0], (seen["c"],))
    np.testing.assert_allclose(gradient[0, 0], (seen["c"].detach()[0, 0] > 0) / 36, rtol=1e-6)
