"""The network of the retrieval slides: small grey images, a classifier whose features are kept."""

from __future__ import annotations

from chainrule.engine.tensor import Tensor
from chainrule.models.common import at_least, dense, he_uniform, images, initialise
from chainrule.models.registry import register
from chainrule.nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from chainrule.nn.fusing import Chain, chain

SMALLEST = 16


@register("retrieval_dcnn", size=64, smallest=SMALLEST, parameters=908_184)
class RetrievalDCNN(Module):
    """A network like AlexNet for small grey images, whose last hidden layer is the feature.

    Source: deck 003, "DCNN architecture used for CBMIR task", which gives five convolutions and
    three dense layers and not their sizes; after Qayyum, Anwar, Awais and Majid, Medical image
    retrieval using deep convolutional neural network (2017).  The sizes are chosen for 64x64: 3x3
    and 5x5 windows at stride 1, poolings after the first, second and fifth convolution.

    Input (N, in_channels, H, W), made for 64x64 and of any size from 16x16 on: the last maps are
    averaged to 4x4; output (N, num_classes) scores, without softmax; `features` gives
    (N, `embedding`), by which images are searched.  With 24 classes, one channel and an embedding
    of 256: 908,184 parameters, and 105,912,320 multiply-adds an image of 64x64.
    Published: 99.8 % accuracy in 24 classes (the slides', on images that are not public).

    Initial weights follow He's rule, biases are 0.  `dropout` is the part that is dropped before
    each of the first two dense layers while training.

    >>> import chainrule as cr
    >>> model = RetrievalDCNN(num_classes=6)
    >>> model(cr.zeros(2, 1, 64, 64)).shape, model.features(cr.zeros(2, 1, 64, 64)).shape
    ((2, 6), (2, 256))
    """

    def __init__(
        self,
        num_classes: int = 24,
        in_channels: int = 1,
        embedding: int = 256,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.layers = Chain(
            *(Conv2d(in_channels, 32, 5, padding=2), ReLU(), MaxPool2d(2)),
            *(Conv2d(32, 64, 5, padding=2), ReLU(), MaxPool2d(2)),
            *(Conv2d(64, 96, 3, padding=1), ReLU()),
            *(Conv2d(96, 96, 3, padding=1), ReLU()),
            *(Conv2d(96, 64, 3, padding=1), ReLU(), MaxPool2d(2)),
        )
        self.avgpool = AdaptiveAvgPool2d((4, 4))
        self.hidden = Sequential(
            *(Dropout(dropout), dense(64 * 4 * 4, 512), ReLU()),
            *(Dropout(dropout), dense(512, embedding), ReLU()),
        )
        self.fc = dense(embedding, num_classes)
        initialise(self, he_uniform)

    def features(self, x: Tensor) -> Tensor:
        """Give the numbers by which images are searched: (N, C, H, W) -> (N, embedding)."""
        x = images("RetrievalDCNN", x)
        with at_least("RetrievalDCNN", SMALLEST, x):
            maps = self.avgpool(self.layers(x)).flatten(1)
        y: Tensor = chain(self.hidden, maps)
        return y

    embed = features

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, C, H, W) -> (N, num_classes)."""
        scores: Tensor = self.fc(self.features(x))
        return scores
