"""Networks under watch, small enough to train in a moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import chainrule as cr
from chainrule.engine.op import Array
from chainrule.inspection.health import Monitor
from chainrule.nn import Module
from chainrule.nn import functional as F
from chainrule.nn.fusing import norm_relu


def batch(n: int = 64, inputs: int = 8, classes: int = 3) -> tuple[Array, Array]:
    """Points of a few classes, a cluster each."""
    draw = np.random.default_rng(0)
    y = np.arange(n) % classes
    x = draw.normal(size=(n, inputs)) + 2.0 * draw.normal(size=(classes, inputs))[y]
    return x.astype(np.float32), y


def trained(
    model: Module,
    steps: int = 20,
    lr: float = 0.05,
    data: tuple[Array, Array] | None = None,
    parameters: list[cr.Tensor] | None = None,
    optimizer: type = cr.optim.SGD,
    every: int = 1,
) -> Monitor:
    """Train and watch every step."""
    x, y = batch() if data is None else data
    stepper = optimizer(parameters or list(model.parameters()), lr=lr)
    with cr.monitor(model, every=every) as watch:
        for _ in range(steps):
            stepper.zero_grad()
            loss = F.cross_entropy(model(cr.tensor(x)), cr.tensor(y))
            loss.backward()
            stepper.step()
            watch.step(loss)
    return watch


def kinds(watch: Monitor) -> set[tuple[str, str]]:
    return {(finding.kind, finding.layer) for finding in watch.findings()}


def stack(depth: int, activation: Callable[[], Module], width: int = 24) -> cr.nn.Sequential:
    """Dense layers of one width, an activation after each, and the scores."""
    cr.manual_seed(0)
    layers: list[Module] = [cr.nn.Linear(8, width), activation()]
    for _ in range(depth - 2):
        layers += [cr.nn.Linear(width, width), activation()]
    return cr.nn.Sequential(*layers, cr.nn.Linear(width, 3))


def he(model: Module, gain: float = 1.0) -> Module:
    """Draw He's initial weights, times a factor; biases are 0."""
    for p in model.parameters():
        if p.ndim > 1:
            cr.nn.init.kaiming_normal_(p, nonlinearity="relu")
            with cr.no_grad():
                p.mul_(gain)
        else:
            cr.nn.init.zeros_(p)
    return model


class Residual(Module):
    """Two residual blocks with batch norm, as ResNet-20 has nine."""

    def __init__(self) -> None:
        super().__init__()
        nn = cr.nn
        self.stem, self.bn = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.relu, self.block1, self.block2 = nn.ReLU(), Block(8), Block(8)
        self.fc = nn.Linear(8, 10)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y = self.block2(self.block1(norm_relu(self.bn, self.relu, self.stem(x))))
        return self.fc(y.mean(dim=(2, 3)))


class Block(Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        nn = cr.nn
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        cr.nn.init.zeros_(self.bn2.weight)  # as many do: the block begins as an identity

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        y = norm_relu(self.bn1, self.relu, self.conv1(x))
        return F.add_relu(self.bn2(self.conv2(y)), x)
