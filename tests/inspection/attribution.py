"""What the tests of attribution share: backends, networks with values that tell, ReLU by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.engine.op import Array

BACKENDS = ["numpy", "onednn"]


def on(backend: str) -> Any:
    """Choose a backend, or skip where it cannot be had."""
    try:
        return cr.use_backend(backend)
    except (cr.BackendError, ValueError) as error:
        pytest.skip(str(error))


def images(*shape: int) -> Array:
    return np.random.default_rng(5).standard_normal(shape).astype("f")


def drawn(model: nn.Module) -> nn.Module:
    """Give the norms statistics and weights as if it were trained; it is in training mode."""
    rng = np.random.default_rng(7)
    with cr.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                n = layer.num_features
                layer.running_mean = cr.tensor(rng.normal(0, 0.5, n).astype("f"))
                layer.running_var = cr.tensor(rng.uniform(0.5, 2, n).astype("f"))
                layer.weight.copy_(cr.tensor(rng.uniform(0.5, 1.5, n).astype("f")))
                layer.bias.copy_(cr.tensor(rng.normal(0, 0.5, n).astype("f")))
    return model


class Guided(cr.Function):
    """ReLU that passes back what is positive where its input was."""

    @staticmethod
    def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
        ctx.save_for_backward(x)
        return cr.tensor(np.maximum(x.numpy(), 0))

    @staticmethod
    def backward(ctx: Any, gy: cr.Tensor) -> cr.Tensor:
        (x,) = ctx.saved_tensors
        return cr.tensor(np.where(x.numpy() > 0, np.maximum(gy.numpy(), 0), 0).astype("f"))


class Deconv(cr.Function):
    """ReLU that passes back what is positive."""

    @staticmethod
    def forward(ctx: Any, x: cr.Tensor) -> cr.Tensor:
        return cr.tensor(np.maximum(x.numpy(), 0))

    @staticmethod
    def backward(ctx: Any, gy: cr.Tensor) -> cr.Tensor:
        return cr.tensor(np.maximum(gy.numpy(), 0))


class Rectifier(nn.Module):
    """A layer of one of these functions; no network fuses it with its neighbours."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y: cr.Tensor = self.function.apply(x)
        return y


def by_hand(model: nn.Module, function: Any) -> int:
    """Put such a layer into the place of each ReLU layer; give how many there were."""
    count = 0
    for module in list(model.modules()):
        for name, child in list(module._modules.items()):
            if isinstance(child, nn.ReLU):
                module._modules[name] = Rectifier(function)
                count += 1
    return count
