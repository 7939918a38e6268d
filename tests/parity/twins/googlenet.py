"""GoogLeNet in torch.nn: as torchvision distributes it, and as the paper's table 1 has it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.parity.twins.alexnet import PaperNorm

# 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; after the pooling
TABLE = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


class Unit(nn.Module):
    """Convolution, ReLU; between them torchvision's batch norm, for which the paper has a bias."""

    def __init__(self, paper: bool, inputs: int, outputs: int, kernel: int, **how: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, bias=paper, **how)  # type: ignore[arg-type]
        self.bn = nn.Identity() if paper else nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches; the third is 5x5 in the paper and, by a slip that stayed, 3x3 elsewhere."""

    def __init__(self, paper: bool, inputs: int, row: tuple[int, ...]) -> None:
        super().__init__()
        one, less, three, least, five, pooled = row
        kernel = 5 if paper else 3
        self.branch1 = Unit(paper, inputs, one, 1)
        self.branch2 = nn.Sequential(
            Unit(paper, inputs, less, 1), Unit(paper, less, three, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            Unit(paper, inputs, least, 1), Unit(paper, least, five, kernel, padding=kernel // 2)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), Unit(paper, inputs, pooled, 1))

    def forward(self, x: Any) -> Any:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    """A classifier in the middle: averages, a 1x1 convolution, two dense layers."""

    def __init__(self, paper: bool, inputs: int, classes: int) -> None:
        super().__init__()
        self.paper = paper
        self.conv = Unit(paper, inputs, 128, 1)
        self.fc1, self.fc2 = nn.Linear(2048, 1024), nn.Linear(1024, classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, x: Any) -> Any:
        if self.paper and x.shape[-1] == 14:
            x = nn.functional.avg_pool2d(x, 5, 3)
        else:
            x = nn.functional.adaptive_avg_pool2d(x, 4)
        return self.fc2(self.dropout(torch.relu(self.fc1(self.conv(x).flatten(1)))))


class GoogLeNet(nn.Module):
    """Gives (scores, those of aux2, those of aux1) while training, else the scores."""

    def __init__(self, classes: int = 1000, channels: int = 3, paper: bool = False) -> None:
        super().__init__()
        self.paper = paper
        self.conv1 = Unit(paper, channels, 64, 7, stride=2, padding=3)
        self.conv2 = Unit(paper, 64, 64, 1)
        self.conv3 = Unit(paper, 64, 192, 3, padding=1)
        inputs = 192
        for name, row in TABLE.items():
            self.add_module(f"inception{name}", Inception(paper, inputs, row))
            inputs = row[0] + row[2] + row[4] + row[5]
        self.aux1 = Auxiliary(paper, 512, classes)
        self.aux2 = Auxiliary(paper, 528, classes)
        self.dropout = nn.Dropout(0.4 if paper else 0.2)
        self.fc = nn.Linear(1024, classes)
        self.norm = PaperNorm() if paper else nn.Identity()

    def forward(self, x: Any) -> Any:
        def pool(x: Any, kernel: int = 3) -> Any:
            return nn.functional.max_pool2d(x, kernel, 2, ceil_mode=True)

        x = self.norm(pool(self.conv1(x)))
        x = pool(self.norm(self.conv3(self.conv2(x))))
        x = pool(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        first = self.aux1(x) if self.training else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        second = self.aux2(x) if self.training else None
        x = pool(self.inception4e(x), 3 if self.paper else 2)
        x = self.inception5b(self.inception5a(x)).mean(dim=(2, 3))
        scores = self.fc(self.dropout(x))
        return (scores, second, first) if self.training else scores
