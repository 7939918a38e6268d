"""VGG: convolutions of 3x3, one after the other; variants as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import at_least, dense, he_uniform, images, initialise
from chainrule.models.registry import register
from chainrule.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from chainrule.nn.fusing import Chain, chain


class Configuration(NamedTuple):
    """The filters of each convolution, in groups that a pooling ends, and what is particular."""

    groups: tuple[tuple[int, ...], ...]
    pointwise: bool = False  # whether the third convolution of a group is 1x1
    lrn: bool = False  # whether local response normalisation follows the first ReLU


def _groups(*depths: int) -> tuple[tuple[int, ...], ...]:
    widths = (64, 128, 256, 512, 512)
    return tuple((width,) * depth for width, depth in zip(widths, depths, strict=True))


CONFIGURATIONS = {
    "A": Configuration(_groups(1, 1, 2, 2, 2)),
    "A-LRN": Configuration(_groups(1, 1, 2, 2, 2), lrn=True),
    "B": Configuration(_groups(2, 2, 2, 2, 2)),
    "C": Configuration(_groups(2, 2, 3, 3, 3), pointwise=True),
    "D": Configuration(_groups(2, 2, 3, 3, 3)),
    "E": Configuration(_groups(2, 2, 4, 4, 4)),
}
"""By the paper's letter."""

_TIMM = {
    "pre_logits.fc1.": "classifier.0.",
    "pre_logits.fc2.": "classifier.3.",
    "head.fc.": "classifier.6.",
}

SMALLEST = 32
"""Height and width of the smallest images: five poolings halve them to 1."""


class VGG(Module):
    """A VGG network: groups of 3x3 convolutions with pooling between, then three dense layers.

    `configuration` is one of `CONFIGURATIONS`; the registered functions say the rest.  The
    submodule `features` gives maps (N, 512, H/32, W/32), `embed` the numbers that the last layer
    classifies, (N, 4096).  With `batch_norm` one follows each convolution.

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
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if configuration not in CONFIGURATIONS:
            rule = f"one of {list(CONFIGURATIONS)}"
            raise failure("VGG", rule, configuration=configuration)
        self.features = Chain(_layers(CONFIGURATIONS[configuration], in_channels, batch_norm))
        self.avgpool = AdaptiveAvgPool2d((7, 7))
        self.classifier = Sequential(
            *(dense(512 * 7 * 7, 4096), ReLU(), Dropout(dropout)),
            *(dense(4096, 4096), ReLU(), Dropout(dropout)),
            dense(4096, num_classes),
        )
        initialise(self, he_uniform)  # not normal: 138 million such numbers take long

    @staticmethod
    def foreign_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give timm's names, whose dense layers are convolutions, torchvision's."""
        found = {}
        for name, value in state.items():
            for theirs, ours in _TIMM.items():
                if name.startswith(theirs):
                    name = ours + name.removeprefix(theirs)
                    value = value.flatten(1) if value.ndim == 4 else value
            found[name] = value
        return found

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


def _layers(configuration: Configuration, channels: int, batch_norm: bool) -> dict[str, Module]:
    """Make the convolutional part by name: torchvision's numbers, and norm1 between."""
    layers: list[Module] = []
    for group in configuration.groups:
        for i, filters in enumerate(group):
            kernel = 1 if configuration.pointwise and i == 2 else 3
            layers.append(Conv2d(channels, filters, kernel, padding=kernel // 2))
            layers += [BatchNorm2d(filters), ReLU()] if batch_norm else [ReLU()]
            channels = filters
        layers.append(MaxPool2d(2, 2))
    named: dict[str, Module] = {}
    for i, layer in enumerate(layers):
        named[str(i)] = layer
        if configuration.lrn and len(named) == 2:
            named["norm1"] = LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    return named


_ABOUT = """{title}: {convolutions} convolutions of 3x3 in five groups, and three dense layers.

    Source: Simonyan and Zisserman, Very deep convolutional networks for large-scale image
    recognition (2015), table 1, configuration {letter}.{particular}

    Input (N, in_channels, H, W), made for 224x224 and of any size from 32x32 on: the last maps are
    averaged to 7x7; output (N, num_classes) scores, without softmax; `embed` gives (N, 4096).
    With 1000 classes and three channels: {parameters:,} parameters, and {products:,} multiply-adds
    an image of 224x224.  Published: {error}.

    Initial weights follow He's rule, variance 2 / fan_in, uniformly distributed; biases are 0.
    (The paper began with the layers of a trained smaller network, and found later that Glorot's
    rule does as well; He's is Glorot's made for ReLU.)  `dropout` is the part that is dropped after
    each of the first two dense layers while training.

    >>> model = {name}(num_classes=10)
    >>> model.classifier[-1]
    Linear(in_features=4096, out_features=10, bias=True)
    """
_PAPERS = "{} % top-5 error (the paper's, one network, one scale)"
_VISIONS = "{} % top-5 error (torchvision's weights, one view)"


def _variant(
    name: str, letter: str, parameters: int, products: int, error: str, batch_norm: bool = False
) -> Callable[..., VGG]:
    """Register a configuration under a name."""

    def build(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
        return VGG(letter, num_classes, in_channels, dropout, batch_norm)

    configuration = CONFIGURATIONS[letter]
    particular = ""
    if configuration.lrn:
        particular = "  Local response\n    normalisation (n = 5, k = 2) follows the first ReLU."
    if configuration.pointwise:
        particular = "  The third\n    convolution of a group is 1x1."
    if batch_norm:
        particular = "  A batch norm follows\n    each convolution, which the paper did not have."
    build.__name__ = build.__qualname__ = name
    build.__doc__ = _ABOUT.format(
        title=name.upper().replace("VGG", "VGG-").replace("_", " "),
        convolutions=sum(map(len, configuration.groups)),
        particular=particular,
        **{"letter": letter, "name": name, "parameters": parameters},
        **{"products": products, "error": error},
    )
    registered: Callable[..., VGG] = register(name, 224, SMALLEST, parameters)(build)
    return registered


vgg11 = _variant("vgg11", "A", 132_863_336, 7_609_090_048, _PAPERS.format("10.4"))
vgg11_lrn = _variant("vgg11_lrn", "A-LRN", 132_863_336, 7_609_090_048, _PAPERS.format("10.5"))
vgg13 = _variant("vgg13", "B", 133_047_848, 11_308_466_176, _PAPERS.format("9.9"))
vgg16_1x1 = _variant("vgg16_1x1", "C", 133_638_952, 11_770_888_192, _PAPERS.format("9.4"))
vgg16 = _variant("vgg16", "D", 138_357_544, 15_470_264_320, _PAPERS.format("8.8"))
vgg19 = _variant("vgg19", "E", 143_667_240, 19_632_062_464, _PAPERS.format("9.0"))
vgg11_bn = _variant("vgg11_bn", "A", 132_868_840, 7_609_090_048, _VISIONS.format("10.2"), True)
vgg13_bn = _variant("vgg13_bn", "B", 133_053_736, 11_308_466_176, _VISIONS.format("9.6"), True)
vgg16_bn = _variant("vgg16_bn", "D", 138_365_992, 15_470_264_320, _VISIONS.format("8.5"), True)
vgg19_bn = _variant("vgg19_bn", "E", 143_678_248, 19_632_062_464, _VISIONS.format("8.2"), True)
