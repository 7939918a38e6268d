"""VGG in torch.nn, from the paper's table 1 column by column; torchvision's names."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.parity.twins.alexnet import Normed

# A number is a 3x3 convolution of so many filters, one with a minus a 1x1, M a pooling, N LRN.
COLUMNS = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg11_lrn": "64 N M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16_1x1": "64 64 M 128 128 M 256 256 -256 M 512 512 -512 M 512 512 -512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


class VGG(nn.Module):
    """The column of a name; with "_bn" a batch norm after each convolution."""

    def __init__(self, name: str, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for word in COLUMNS[name.removesuffix("_bn")].split():
            if word == "M":
                layers.append(nn.MaxPool2d(2, 2))
            elif word == "N":
                layers[-1] = Normed(nn.ReLU())
            else:
                width, kernel = abs(int(word)), 1 if word.startswith("-") else 3
                layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
                layers += [nn.BatchNorm2d(width)] if name.endswith("_bn") else []
                layers.append(nn.ReLU())
                channels = width
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
