"""AlexNet in one tower, with and without local response normalisation."""

from __future__ import annotations

from typing import NamedTuple

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import at_least, dense, images, initialise
from chainrule.models.registry import register
from chainrule.nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from chainrule.nn.fusing import Chain, chain

SMALLEST = 63
"""Height and width of the smallest images of which the last pooling still sees a window."""


class Filters(NamedTuple):
    """How many filters the five convolutions have, and the padding of the first."""

    counts: tuple[int, int, int, int, int]
    padding: int


VARIANTS = {
    "2014": Filters((64, 192, 384, 256, 256), 2),
    "2012": Filters((96, 256, 384, 384, 256), 0),
}
"""By the year of the paper; that of 2012 had its filters in two towers, which are joined here."""


@register("alexnet", size=227, smallest=SMALLEST, parameters=61_100_840)
class AlexNet(Module):
    """AlexNet: five convolutions, three poolings, three dense layers with dropout.

    Source: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional
    neural networks (2012); in one tower and with fewer filters, Krizhevsky, One weird trick for
    parallelizing convolutional neural networks (2014), which is `variant` "2014" and
    torchvision's.  "2012" has the filters of the first paper, whose two towers are joined.

    Input (N, in_channels, H, W), made for 227x227 or 224x224 and of any size from 63x63 on: the
    last maps are averaged to 6x6, which they have at both; output (N, num_classes) scores, without
    softmax.  The first maps are 56x56 at 227 and 55x55 at 224, in the variant "2012" 55x55 and
    54x54.  The submodule `features` gives maps, `embed` the 4096 numbers that the last layer
    classifies.  With 1000 classes and three channels: 61,100,840 parameters, and 716,767,232
    multiply-adds an image of 227x227 (714,188,480 at 224x224); in the variant "2012" 62,378,344
    and 1,135,256,096.

    `lrn` puts local response normalisation after the first two ReLUs, under the names
    `features.norm1` and `features.norm2`, so that all others keep theirs: the paper's k = 2, n = 5,
    alpha = 1e-4 and beta = 0.75, where alpha counts 5e-4 since here it is divided by n.

    Initial values are the paper's: weights normal with standard deviation 0.01, biases 1 in the
    second, fourth and fifth convolution and the first two dense layers, which gives their ReLUs
    something positive from the first step, and 0 elsewhere.  `dropout` is the part that is dropped
    before each of the first two dense layers while training.  Raises ValueError for another
    variant and for images that are too small.

    >>> import chainrule as cr
    >>> model = AlexNet(num_classes=10, lrn=True).eval()
    >>> model(cr.zeros(1, 3, 63, 63)).shape, list(model.features._modules)[:4]
    ((1, 10), ['0', '1', 'norm1', '2'])
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        lrn: bool = False,
        dropout: float = 0.5,
        variant: str = "2014",
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise failure("AlexNet", f"a variant of {list(VARIANTS)}", variant=variant)
        (a, b, c, d, e), padding = VARIANTS[variant]
        layers = [
            *(Conv2d(in_channels, a, 11, 4, padding), ReLU(), MaxPool2d(3, 2)),
            *(Conv2d(a, b, 5, padding=2), ReLU(), MaxPool2d(3, 2)),
            *(Conv2d(b, c, 3, padding=1), ReLU()),
            *(Conv2d(c, d, 3, padding=1), ReLU()),
            *(Conv2d(d, e, 3, padding=1), ReLU(), MaxPool2d(3, 2)),
        ]
        named: dict[str, Module] = {}
        for i, layer in enumerate(layers):
            named[str(i)] = layer
            if lrn and i in (1, 4):
                number = 1 if i == 1 else 2
                named[f"norm{number}"] = LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        self.features = Chain(named)
        self.avgpool = AdaptiveAvgPool2d((6, 6))
        self.classifier = Sequential(
            *(Dropout(dropout), dense(e * 6 * 6, 4096), ReLU()),
            *(Dropout(dropout), dense(4096, 4096), ReLU()),
            dense(4096, num_classes),
        )
        self._initialise()

    def _initialise(self) -> None:
        initialise(self, lambda weight: init.normal_(weight, 0.0, 0.01))
        for path in ("features.3", "features.8", "features.10", "classifier.1", "classifier.4"):
            init.ones_(self.get_submodule(path).bias)

    def _maps(self, x: Tensor) -> Tensor:
        """Give what the dense layers read: (N, C, H, W) -> (N, 256*6*6)."""
        x = images("AlexNet", x)
        with at_least("AlexNet", SMALLEST, x):
            maps: Tensor = self.avgpool(self.features(x)).flatten(1)
        return maps

    def embed(self, x: Tensor) -> Tensor:
        """Give the numbers that the last layer classifies: (N, C, H, W) -> (N, 4096)."""
        y: Tensor = chain(list(self.classifier)[:-1], self._maps(x))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, C, H, W) -> (N, num_classes)."""
        scores: Tensor = self.classifier(self._maps(x))
        return scores
