"""AlexNet and what was made of it: the paper's two towers, the slides', torchvision's, ZFNet."""

from __future__ import annotations

from typing import Literal, NamedTuple

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import at_least, dense, hundredth, images, initialise
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

Norm = Literal["", "before", "after"]


class Variant(NamedTuple):
    """What differs between the networks; each begins as the slides have it."""

    filters: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    first: tuple[int, int, int] = (11, 4, 0)  # kernel, stride, padding of the first convolution
    second: tuple[int, int] = (1, 2)  # stride, padding of the second
    groups: int = 1  # of the second, fourth and fifth convolution
    pool_padding: int = 0  # of the first two poolings
    norm: Norm = ""  # local response normalisation before or after the first two poolings
    smallest: int = 67  # the height and width of which the last pooling still sees a window
    title: str = "AlexNet"


VARIANTS = {
    "2014": Variant((64, 192, 384, 256, 256), first=(11, 4, 2), smallest=63),
    "2012": Variant(),
    "two_towers": Variant(groups=2, norm="before"),
    "slides": Variant(norm="after"),
    "zfnet": Variant(
        (96, 256, 512, 1024, 512), (7, 2, 1), (2, 0), 1, 1, "after", smallest=53, title="ZFNet"
    ),
}
"""By name; "2014" and "2012" by the year of the paper, of 2012 the two towers being joined."""


@register("alexnet", size=227, smallest=63, parameters=61_100_840)
class AlexNet(Module):
    """AlexNet: five convolutions, three poolings, three dense layers with dropout.

    Source: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional
    neural networks (2012); in one tower and with fewer filters, Krizhevsky, One weird trick for
    parallelizing convolutional neural networks (2014), which is `variant` "2014" and
    torchvision's.  "2012" has the filters of the first paper, whose two towers are joined;
    `alexnet_two_towers`, `alexnet_slides` and `zfnet` tell of the others.

    Input (N, in_channels, H, W), made for 227x227 or 224x224 and of any size from 63x63 on: the
    last maps are averaged to 6x6, which they have at both; output (N, num_classes) scores, without
    softmax.  The first maps are 56x56 at 227 and 55x55 at 224, in the variant "2012" 55x55 and
    54x54.  The submodule `features` gives maps, `embed` the 4096 numbers that the last layer
    classifies.  With 1000 classes and three channels: 61,100,840 parameters, and 716,767,232
    multiply-adds an image of 227x227 (714,188,480 at 224x224); in the variant "2012" 62,378,344
    and 1,135,256,096.  Published: 43.5 % top-1 and 20.9 % top-5 error (torchvision's weights).

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
        self.variant = VARIANTS[variant]
        norm: Norm = self.variant.norm or ("before" if lrn else "")
        self.features = Chain(_layers(self.variant, in_channels, norm))
        self.avgpool = AdaptiveAvgPool2d((6, 6))
        self.classifier = Sequential(
            *(Dropout(dropout), dense(self.variant.filters[-1] * 6 * 6, 4096), ReLU()),
            *(Dropout(dropout), dense(4096, 4096), ReLU()),
            dense(4096, num_classes),
        )
        self._initialise()

    def _initialise(self) -> None:
        initialise(self, hundredth)
        for path in ("features.3", "features.8", "features.10", "classifier.1", "classifier.4"):
            init.ones_(self.get_submodule(path).bias)

    def _maps(self, x: Tensor) -> Tensor:
        """Give what the dense layers read: (N, C, H, W) -> (N, filters*6*6)."""
        title = self.variant.title
        x = images(title, x)
        with at_least(title, self.variant.smallest, x):
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


def _layers(v: Variant, channels: int, norm: Norm) -> dict[str, Module]:
    """Make the convolutional part by name: torchvision's numbers, and norm1, norm2 between."""
    a, b, c, d, e = v.filters
    kernel, stride, padding = v.first
    layers: list[Module] = [
        *(Conv2d(channels, a, kernel, stride, padding), ReLU(), MaxPool2d(3, 2, v.pool_padding)),
        *(Conv2d(a, b, 5, *v.second, groups=v.groups), ReLU(), MaxPool2d(3, 2, v.pool_padding)),
        *(Conv2d(b, c, 3, padding=1), ReLU()),
        *(Conv2d(c, d, 3, padding=1, groups=v.groups), ReLU()),
        *(Conv2d(d, e, 3, padding=1, groups=v.groups), ReLU(), MaxPool2d(3, 2)),
    ]
    after = {"": (), "before": (1, 4), "after": (2, 5)}[norm]
    named: dict[str, Module] = {}
    for i, layer in enumerate(layers):
        named[str(i)] = layer
        if i in after:
            number = after.index(i) + 1
            named[f"norm{number}"] = LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    return named


@register("alexnet_two_towers", size=227, smallest=67, parameters=60_965_224)
def alexnet_two_towers(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5
) -> AlexNet:
    """AlexNet as its paper has it: filters in two groups, normalisation before pooling.

    Source: Krizhevsky, Sutskever and Hinton (2012), sections 3.3 to 3.5.  The second, fourth and
    fifth convolution each see half of the maps before them, as on two GPUs.

    Input (N, in_channels, H, W), made for 227x227 (the paper's figure says 224, which does not
    fit its windows) and of any size from 67x67 on; output (N, num_classes) scores.  With 1000
    classes and three channels: 60,965,224 parameters, and 724,406,816 multiply-adds an image of
    227x227.  Published: 40.7 % top-1 and 18.2 % top-5 error.  All else as in `AlexNet`.

    >>> alexnet_two_towers(10).features[4].groups
    2
    """
    return AlexNet(num_classes, in_channels, dropout=dropout, variant="two_towers")


@register("alexnet_slides", size=227, smallest=67, parameters=62_378_344)
def alexnet_slides(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> AlexNet:
    """AlexNet as deck 003 has it: one tower, pooling before normalisation.

    Source: deck 003, "Full (simplified) AlexNet architecture", after Krizhevsky et al. (2012).

    Input (N, in_channels, H, W), made for 227x227 and of any size from 67x67 on; maps of 55x55x96,
    27x27x256 (the slide prints 27x27x26), 13x13x384, 13x13x384, 13x13x256, 6x6x256; output (N,
    num_classes) scores.  With 1000 classes and three channels: 62,378,344 parameters, and
    1,135,256,096 multiply-adds an image of 227x227.  Published: none of its own; the
    paper's network has 18.2 % top-5 error.  All else as in `AlexNet`.

    >>> list(alexnet_slides(10).features._modules)[:4]
    ['0', '1', '2', 'norm1']
    """
    return AlexNet(num_classes, in_channels, dropout=dropout, variant="slides")


@register("zfnet", size=224, smallest=53, parameters=107_627_624)
def zfnet(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> AlexNet:
    """ZFNet: AlexNet with a finer first convolution and more filters in the last three.

    Source: Zeiler and Fergus, Visualizing and understanding convolutional networks (2013), figure
    3, with the 512, 1024 and 512 filters of its table 2 that deck 003 gives; the second
    convolution has the paper's stride 2, so that 6x6 maps reach the dense layers.

    Input (N, in_channels, H, W), made for 224x224 and of any size from 53x53 on; maps of
    110x110x96, 55x55x96, 26x26x256, 13x13 and 6x6x512; output (N, num_classes) scores.  With 1000
    classes and three channels: 107,627,624 parameters, and 2,476,704,896 multiply-adds an image of
    224x224.  Published: 37.5 % top-1 and 16.0 % top-5 error; six networks together 14.8 %.  All
    else as in `AlexNet`.

    >>> zfnet(10).features[0]
    Conv2d(3, 96, kernel_size=(7, 7), stride=(2, 2), padding=(1, 1))
    """
    return AlexNet(num_classes, in_channels, dropout=dropout, variant="zfnet")
