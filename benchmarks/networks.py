"""What is compared: the networks, their batches and the bars that issue and README name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SEED = 0
RATE, MOMENTUM = 1e-4, 0.9
"""Of SGD on both sides.  The rate is so small that thousands of steps on one batch neither learn
it by heart nor diverge: either would fill the arrays with denormal or infinite numbers."""


@dataclass(frozen=True)
class Pair:
    """One training step that both sides run: forward, cross entropy, backward, SGD.

    `bar` says how many times faster than the peer it has to be; None is only reported.
    """

    key: str
    title: str
    model: str
    batch: int
    channels: int
    side: int
    classes: int
    bar: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def data(self, batch: int | None = None, side: int | None = None) -> tuple[Any, Any]:
        """Draw images (N, C, H, W) float32 and labels (N,) int64, the same on every call."""
        n, side = batch or self.batch, side or self.side
        rng = np.random.default_rng(SEED)
        x = rng.standard_normal((n, self.channels, side, side), dtype=np.float32)
        return x, rng.integers(0, self.classes, n)


_ALL = (
    Pair("lenet5", "LeNet-5", "lenet5", 128, 1, 28, 10, 1.8, {"image_size": 28}),
    Pair("resnet20", "CIFAR ResNet-20", "resnet20", 128, 3, 32, 10, 1.15),
    Pair("alexnet", "AlexNet (one tower, no LRN)", "alexnet", 16, 3, 227, 1000, 1.15),
    Pair("vgg16", "VGG-16", "vgg16", 4, 3, 224, 1000, 1.3),
    Pair("resnet18", "ResNet-18", "resnet18", 16, 3, 224, 1000, 1.25),
    Pair("resnet50", "ResNet-50", "resnet50", 8, 3, 224, 1000, 1.15),
    Pair("alexnet_lrn", "AlexNet with LRN", "alexnet", 16, 3, 227, 1000, None, {"lrn": True}),
)
PAIRS: dict[str, Pair] = {pair.key: pair for pair in _ALL}
