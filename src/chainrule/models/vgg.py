"""VGG: convolutions of 3x3 alone, one after the other; variants as data."""

from __future__ import annotations

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import at_least, dense, images, initialise
from chainrule.models.registry import register
from chainrule.nn import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from chainrule.nn.fusing import Chain, chain

CONFIGURATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "D": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
"""The filters of each convolution, by the paper's letter; a pooling follows each group."""

SMALLEST = 32
"""Height and width of the smallest images: five poolings halve them to 1."""


class VGG(Module):
    """A VGG network: groups of 3x3 convolutions with pooling between, then three dense layers.

    `configuration` is one of `CONFIGURATIONS`; the registered functions say the rest.  The
    submodule `features` gives maps (N, 512, H/32, W/32), `embed` the numbers that the last layer
    classifies, (N, 4096).

    >>> import chainrule as cr
    >>> model = VGG("D", num_classes=10)
    >>> model.eval()(cr.zeros(1, 3, 32, 32)).shape
    (1, 10)
    >>> model.features[0]
    Conv2d(3, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    def __init__(
        self,
        configuration: str,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if configuration not in CONFIGURATIONS:
            rule = f"one of {list(CONFIGURATIONS)}"
            raise failure("VGG", rule, configuration=configuration)
        layers: list[Module] = []
        channels = in_channels
        for group in CONFIGURATIONS[configuration]:
            for filters in group:
                layers += [Conv2d(channels, filters, 3, padding=1), ReLU()]
                channels = filters
            layers.append(MaxPool2d(2, 2))
        self.features = Chain(*layers)
        self.avgpool = AdaptiveAvgPool2d((7, 7))
        self.classifier = Sequential(
            *(dense(channels * 7 * 7, 4096), ReLU(), Dropout(dropout)),
            *(dense(4096, 4096), ReLU(), Dropout(dropout)),
            dense(4096, num_classes),
        )
        initialise(self, _he)

    def _maps(self, x: Tensor) -> Tensor:
        """Give what the dense layers read: (N, C, H, W) -> (N, 512*7*7)."""
        x = images("VGG", x)
        with at_least("VGG", SMALLEST, x):
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


def _he(weight: Tensor) -> Tensor:
    # Uniform and not normal: 138 million normal numbers take two seconds.
    return init.kaiming_uniform_(weight, nonlinearity="relu")


@register("vgg16", size=224, smallest=SMALLEST, parameters=138_357_544)
def vgg16(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG-16: thirteen convolutions of 3x3 in five groups, and three dense layers.

    Source: Simonyan and Zisserman, Very deep convolutional networks for large-scale image
    recognition (2015), table 1, configuration D.

    Input (N, in_channels, H, W), made for 224x224 and of any size from 32x32 on: the last maps are
    averaged to 7x7; output (N, num_classes) scores, without softmax; `embed` gives (N, 4096).
    With 1000 classes and three channels: 138,357,544 parameters, and 15,470,264,320 multiply-adds
    an image of 224x224.

    Initial weights follow He's rule, variance 2 / fan_in, uniformly distributed; biases are 0.
    (The paper began with the layers of a trained smaller network, and found later that Glorot's
    rule does as well; He's is Glorot's made for ReLU.)  `dropout` is the part that is dropped after
    each of the first two dense layers while training.

    >>> model = vgg16(num_classes=10)
    >>> model.classifier[-1]
    Linear(in_features=4096, out_features=10, bias=True)
    """
    return VGG("D", num_classes, in_channels, dropout)
