"""Residual networks in torch.nn, from the paper's table 1 and section 4.2; torchvision's names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# The layers of each network: how many blocks a stage, and whether they are bottlenecks.
DEPTHS = {
    "resnet18": ((2, 2, 2, 2), False), "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True), "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}  # fmt: skip


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Padded(nn.Module):
    """Option A: every second pixel, and channels of zeros behind."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Any) -> Any:
        x = x[:, :, :: self.stride, :: self.stride]
        zeros = x.new_zeros(x.shape[0], self.extra, *x.shape[2:])
        return torch.cat([x, zeros], dim=1)


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1; the stride is on the first 3x3.

    `shortcut` is "A", "B" (a projection where the shape changes) or "none".
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, stride: int, shortcut: str, deep: bool
    ) -> None:
        super().__init__()
        self.deep, self.plain = deep, shortcut == "none"
        if deep:
            self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        else:
            self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample: nn.Module | None = None
        if not self.plain and (stride != 1 or inputs != outputs):
            if shortcut == "A":
                self.downsample = Padded(outputs - inputs, stride)
            else:
                projection = conv(inputs, outputs, 1, stride)
                self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.deep:
            y = self.bn3(self.conv3(torch.relu(y)))
        if self.plain:
            return torch.relu(y)
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class Residual(nn.Module):
    """A first convolution, stages of blocks, the mean over all positions, a dense layer."""

    def __init__(
        self,
        depths: tuple[int, ...],
        deep: bool,
        classes: int,
        channels: int,
        shortcut: str = "B",
        small: bool = False,
    ) -> None:
        super().__init__()
        width = 16 if small else 64
        self.small, self.stages = small, len(depths)
        self.conv1 = conv(channels, width, 3) if small else conv(channels, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for i, depth in enumerate(depths):
            blocks = []
            outputs = (width << i) * (4 if deep else 1)
            for k in range(depth):
                stride = 2 if i and k == 0 else 1
                blocks.append(Block(inputs, width << i, outputs, stride, shortcut, deep))
                inputs = outputs
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = nn.functional.max_pool2d(x, 3, 2, 1)
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.fc(x.mean(dim=(2, 3)))


def resnet(name: str, classes: int = 1000, channels: int = 3) -> nn.Module:
    depths, deep = DEPTHS[name]
    return Residual(depths, deep, classes, channels)


def cifar(layers: int, shortcut: str, classes: int = 10, channels: int = 3) -> nn.Module:
    """The network of 6n + 2 layers."""
    n = (layers - 2) // 6
    return Residual((n, n, n), False, classes, channels, shortcut, small=True)
