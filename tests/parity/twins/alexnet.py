"""AlexNet's family in torch.nn, from the papers: one tower, two groups, the slides', ZFNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class AlexNet(nn.Module):
    """Maps, averaged to 6x6, and three dense layers; torchvision's names."""

    def __init__(self, features: nn.Sequential, maps: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(maps * 36, 4096), nn.ReLU(),
            nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class PaperNorm(nn.Module):
    """Local response normalisation by its formula: a / (k + alpha * sum of 5 squares)^beta."""

    def forward(self, x: Any) -> Any:
        squares = nn.functional.pad((x * x).unsqueeze(1), (0, 0, 0, 0, 2, 2)).squeeze(1)
        sums = sum(squares[:, i : i + x.shape[1]] for i in range(5))
        return x / (2 + 1e-4 * sums) ** 0.75


class Normed(nn.Sequential):
    """A layer and the normalisation after it, in one place of the numbering, without weights."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(layer, PaperNorm())


def alexnet(classes: int = 1000, channels: int = 3) -> nn.Module:
    """Of 2014, "one weird trick"."""
    features = nn.Sequential(
        nn.Conv2d(channels, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    return AlexNet(features, 256, classes)


def alexnet_lrn(classes: int = 1000, channels: int = 3) -> nn.Module:
    """The same with normalisation after the first two ReLUs."""
    net = alexnet(classes, channels)
    for place in (1, 4):
        net.features[place] = Normed(nn.ReLU())  # type: ignore[operator,index]
    return net


def alexnet_two_towers(classes: int = 1000, channels: int = 3) -> nn.Module:
    """Of 2012: two groups, as on two cards; normalisation, then pooling."""
    features = nn.Sequential(
        nn.Conv2d(channels, 96, 11, 4), Normed(nn.ReLU()), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), Normed(nn.ReLU()), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    return AlexNet(features, 256, classes)


def alexnet_slides(classes: int = 1000, channels: int = 3) -> nn.Module:
    """In one tower; pooling, then normalisation."""
    features = nn.Sequential(
        nn.Conv2d(channels, 96, 11, 4), nn.ReLU(), Normed(nn.MaxPool2d(3, 2)),
        nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), Normed(nn.MaxPool2d(3, 2)),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    return AlexNet(features, 256, classes)


def zfnet(classes: int = 1000, channels: int = 3) -> nn.Module:
    """Of 2013: 7x7 at stride 2, 5x5 at stride 2, then 512, 1024 and 512 filters of 3x3."""
    features = nn.Sequential(
        nn.Conv2d(channels, 96, 7, 2, 1), nn.ReLU(), Normed(nn.MaxPool2d(3, 2, 1)),
        nn.Conv2d(96, 256, 5, 2), nn.ReLU(), Normed(nn.MaxPool2d(3, 2, 1)),
        nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(),
        nn.Conv2d(512, 1024, 3, padding=1), nn.ReLU(),
        nn.Conv2d(1024, 512, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    return AlexNet(features, 512, classes)
