"""The smaller networks in torch.nn: LeNet-5 twice, dense layers, retrieval, Neocognitron."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def lenet5(classes: int = 10, channels: int = 1, padding: int = 0) -> nn.Module:
    """As it is trained today; `padding` 2 for images of 28x28."""
    layers = {
        "conv1": nn.Conv2d(channels, 6, 5, padding=padding), "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2), "conv2": nn.Conv2d(6, 16, 5), "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2), "conv3": nn.Conv2d(16, 120, 5), "relu3": nn.ReLU(),
        "flatten": nn.Flatten(), "fc1": nn.Linear(120, 84), "relu4": nn.ReLU(),
        "fc2": nn.Linear(84, classes),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


# The paper's table I: the planes of S2 that each of C3's planes 0 to 15 sees.
SEEN = ["012", "123", "234", "345", "045", "015", "0123", "1234", "2345", "0345", "0145", "0125",
        "0134", "1245", "0235", "012345"]  # fmt: skip


class Values(nn.Module):
    """What a layer holds under its names: parameters, and buffers."""

    def __init__(self, parameters: dict[str, Any], buffers: dict[str, Any]) -> None:
        super().__init__()
        for name, shape in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        for name, value in buffers.items():
            self.register_buffer(name, value)


class LeNet1998(nn.Module):
    """Sums of 2x2 with a weight and a bias, C3 by its table, distances to codes."""

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        rows = [(int(plane), k) for k, seen in enumerate(SEEN) for plane in seen]
        self.conv1 = nn.Conv2d(channels, 6, 5)
        self.pool2 = Values({"weight": (6,), "bias": (6,)}, {})
        self.conv3 = Values({"weight": (60, 5, 5), "bias": (16,)}, {"table": torch.tensor(rows)})
        self.pool4 = Values({"weight": (16,), "bias": (16,)}, {})
        self.conv5 = nn.Conv2d(16, 120, 5)
        self.fc6 = nn.Linear(120, 84)
        self.output = Values({}, {"codes": torch.zeros(classes, 84)})

    def forward(self, x: Any) -> Any:
        def squash(a: Any) -> Any:
            return 1.7159 * torch.tanh(a * 2 / 3)

        def subsample(pool: Any, x: Any) -> Any:
            sums = 4 * F.avg_pool2d(x, 2)
            return squash(sums * pool.weight[:, None, None] + pool.bias[:, None, None])

        x = subsample(self.pool2, squash(self.conv1(x)))
        filters = x.new_zeros(16, 6, 5, 5)
        inputs, outputs = self.conv3.table.T
        filters = filters.index_put((outputs, inputs), self.conv3.weight)
        x = subsample(self.pool4, squash(F.conv2d(x, filters, self.conv3.bias)))
        x = squash(self.fc6(squash(self.conv5(x)).flatten(1)))
        return -((x[:, None] - self.output.codes) ** 2).sum(2)


class Dense(nn.Module):
    """Dense layers with ReLU between, on the pixels of images of 28x28; () is a linear layer."""

    def __init__(self, hidden: tuple[int, ...], classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels * 28 * 28
        for outputs in hidden:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        self.hidden = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Any) -> Any:
        return self.fc(self.hidden(x.flatten(1)))


class Retrieval(nn.Module):
    """Five convolutions, maps averaged to 4x4, three dense layers."""

    def __init__(self, classes: int = 24, channels: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 96, 3, padding=1), nn.ReLU(), nn.Conv2d(96, 96, 3, padding=1), nn.ReLU(),
            nn.Conv2d(96, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.hidden = nn.Sequential(
            nn.Dropout(), nn.Linear(1024, 512), nn.ReLU(),
            nn.Dropout(), nn.Linear(512, 256), nn.ReLU(),
        )  # fmt: skip
        self.fc = nn.Linear(256, classes)

    def forward(self, x: Any) -> Any:
        maps = F.adaptive_avg_pool2d(self.layers(x), 4)
        return self.fc(self.hidden(maps.flatten(1)))


class Simple(nn.Module):
    """S cells: excitation over inhibition by what the window holds."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.excite = nn.Conv2d(inputs, outputs, 5, padding=2, bias=False)
        self.inhibit = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.register_buffer("bell", bell())

    def forward(self, x: Any) -> Any:
        seen = F.conv2d((x * x).mean(1, keepdim=True), self.bell, padding=2)
        below = 1 + F.softplus(self.inhibit) * torch.sqrt(seen + 1e-8)
        return torch.relu((1 + self.excite(x)) / below - 1)


class Complex(nn.Module):
    """C cells: each plane blurred, thinned and squashed."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bell", bell())

    def forward(self, x: Any) -> Any:
        n, c, h, w = x.shape
        a = F.conv2d(x.reshape(n * c, 1, h, w), self.bell, stride=2, padding=2)
        return (a / (1 + a)).reshape(n, c, *a.shape[2:])


def bell() -> Any:
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    return torch.outer(row, row)[None, None]


class Neocognitron(nn.Module):
    """S-C-S-C-S-C, the mean over all positions, a linear layer."""

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        simple = [Simple(a, b) for a, b in ((channels, 24), (24, 48), (48, 96))]
        self.layers = nn.Sequential(*(layer for s in simple for layer in (s, Complex())))
        self.fc = nn.Linear(96, classes)

    def forward(self, x: Any) -> Any:
        return self.fc(self.layers(x).mean(dim=(2, 3)))
