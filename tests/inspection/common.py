from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule.engine.op import Array


def small(seed: int = 0, channels: int = 3) -> cr.nn.Module:
    """Two convolutions, batch norm and a dense layer that wants images of 16x16."""
    cr.manual_seed(seed)
    nn = cr.nn
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(channels, 6, 3, padding=1),
            "norm": nn.BatchNorm2d(6),
            "relu1": nn.ReLU(),
            "pool": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(6, 8, 3, padding=1),
            "relu2": nn.ReLU(),
            "flatten": nn.Flatten(),
            "drop": nn.Dropout(0.5),
            "fc": nn.Linear(8 * 8 * 8, 4),
        }
    )


def photo(height: int = 16, width: int = 16, channels: int = 3, seed: int = 0) -> Array:
    """An image of soft spots, from 0 to 1, float32."""
    rng = np.random.default_rng(seed)
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    phases = rng.uniform(0, 6, (2, channels, 1, 1))
    waves = np.sin(rows / 2 + phases[0]) * np.cos(columns / 3 + phases[1])
    return (0.5 + 0.4 * waves).astype(np.float32)


class Untouched:
    """Holds what a function must leave as it was: modes, values, gradients, hooks."""

    def __init__(self, model: cr.nn.Module) -> None:
        self.model = model
        model.train()
        for module in list(model.modules())[::2]:
            module.training = False
        first = next(iter(model.parameters()))
        first.grad = cr.ones(*first.shape)
        self.before = self._state()

    def _state(self) -> list[object]:
        model = self.model
        found: list[object] = [module.training for module in model.modules()]
        found += [value.tolist() for value in model.state_dict().values()]
        for p in model.parameters():
            found += [p.requires_grad, None if p.grad is None else p.grad.tolist()]
        found += [
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
            for m in model.modules()
        ]
        return found

    def check(self) -> None:
        assert self._state() == self.before
