"""GoogLeNet: inception blocks, as the paper has them and as torchvision does."""

from __future__ import annotations

from typing import NamedTuple

from chainrule.engine.tensor import Tensor
from chainrule.models.common import at_least, dense, glorot, images, initialise
from chainrule.models.registry import register
from chainrule.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from chainrule.nn.fusing import chain, conv_relu, norm_relu
from chainrule.ops.join import cat

SMALLEST = 33
"""Height and width of the smallest images of which the last pooling still sees a window."""


class Inception(NamedTuple):
    """The filters of a block's branches; `reduce` are those of the 1x1 before the large one."""

    ones: int
    threes_reduce: int
    threes: int
    fives_reduce: int
    fives: int
    pooled: int

    @property
    def outputs(self) -> int:
        """The maps of the whole block."""
        return self.ones + self.threes + self.fives + self.pooled


BLOCKS = {
    "3a": Inception(64, 96, 128, 16, 32, 32),
    "3b": Inception(128, 128, 192, 32, 96, 64),
    "4a": Inception(192, 96, 208, 16, 48, 64),
    "4b": Inception(160, 112, 224, 24, 64, 64),
    "4c": Inception(128, 128, 256, 24, 64, 64),
    "4d": Inception(112, 144, 288, 32, 64, 64),
    "4e": Inception(256, 160, 320, 32, 128, 128),
    "5a": Inception(256, 160, 320, 32, 128, 128),
    "5b": Inception(384, 192, 384, 48, 128, 128),
}
"""The paper's table 1; a pooling follows 3b and 4e."""


class GoogLeNetOutputs(NamedTuple):
    """What the network gives while training with its auxiliary classifiers: scores of all three.

    The loss is that of `logits` plus 0.3 times those of the other two.
    """

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class BasicConv2d(Module):
    """A convolution and ReLU, with a batch norm between (`conv`, `bn`) or a bias and none."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(inputs, outputs, kernel, stride, padding, bias=not batch_norm)
        self.bn = BatchNorm2d(outputs, eps=0.001) if batch_norm else None
        self.relu = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H', W')."""
        if self.bn is None:
            return conv_relu(self.conv, self.relu, x)
        return norm_relu(self.bn, self.relu, self.conv(x))


class InceptionBlock(Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and a larger one; pooling and 1x1.

    Shapes: (N, inputs, H, W) -> (N, outputs, H, W).  The larger one is 5x5, or 3x3 in the variant
    with batch norm, as torchvision has it.

    >>> import chainrule as cr
    >>> InceptionBlock(192, BLOCKS["3a"], batch_norm=False)(cr.zeros(1, 192, 7, 7)).shape
    (1, 256, 7, 7)
    """

    def __init__(self, inputs: int, filters: Inception, batch_norm: bool) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel: int) -> BasicConv2d:
            return BasicConv2d(inputs, outputs, kernel, 1, kernel // 2, batch_norm)

        ones, reduce3, threes, reduce5, fives, pooled = filters
        large = 3 if batch_norm else 5
        self.branch1 = conv(inputs, ones, 1)
        self.branch2 = Sequential(conv(inputs, reduce3, 1), conv(reduce3, threes, 3))
        self.branch3 = Sequential(conv(inputs, reduce5, 1), conv(reduce5, fives, large))
        pool = MaxPool2d(3, stride=1, padding=1, ceil_mode=True)
        self.branch4 = Sequential(pool, conv(inputs, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Put the four branches' maps one behind the other."""
        branches = self.branch1, self.branch2, self.branch3, self.branch4
        return cat([branch(x) for branch in branches], 1)


class AuxiliaryClassifier(Module):
    """A classifier on maps from the middle, which trains what comes before it.

    Shapes: (N, inputs, H, W) -> (N, classes).  Maps of 14x14 are averaged to 4x4, by windows of
    5x5 at every third position (the paper), or by four ranges a side (torchvision, and other maps).
    """

    def __init__(self, inputs: int, classes: int, batch_norm: bool) -> None:
        super().__init__()
        self.windows = None if batch_norm else AvgPool2d(5, 3)
        self.avgpool = AdaptiveAvgPool2d(4)
        self.conv = BasicConv2d(inputs, 128, 1, batch_norm=batch_norm)
        self.fc1 = dense(128 * 4 * 4, 1024)
        self.relu = ReLU()
        self.dropout = Dropout(0.7)
        self.fc2 = dense(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes."""
        if self.windows is not None and min(x.shape[2:]) >= 14:
            x = self.windows(x)
        y = self.conv(self.avgpool(x)).flatten(1)  # (N, 2048)
        scores: Tensor = self.fc2(self.dropout(self.relu(self.fc1(y))))
        return scores


class GoogLeNet(Module):
    """GoogLeNet; the registered functions `googlenet` and `googlenet_2014` say which is which.

    While training with `aux_logits` the output is `GoogLeNetOutputs`, else the scores alone.

    >>> import chainrule as cr
    >>> model = GoogLeNet(num_classes=10)
    >>> [scores.shape for scores in model(cr.zeros(2, 3, 64, 64))]
    [(2, 10), (2, 10), (2, 10)]
    >>> model.eval()(cr.zeros(2, 3, 64, 64)).shape, model.features(cr.zeros(2, 3, 64, 64)).shape
    ((2, 10), (2, 1024))
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        aux_logits: bool = True,
        dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.aux_logits = aux_logits
        # What files with auxiliary classifiers may have more than this network.
        self.spare = () if aux_logits else ("aux1", "aux2")

        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> BasicConv2d:
            return BasicConv2d(inputs, outputs, kernel, stride, kernel // 2, batch_norm)

        def pool(kernel: int = 3) -> MaxPool2d:
            return MaxPool2d(kernel, stride=2, ceil_mode=True)

        def norm() -> LocalResponseNorm | None:
            return None if batch_norm else LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

        self.conv1 = conv(in_channels, 64, 7, 2)
        self.maxpool1, self.norm1 = pool(), norm()
        self.conv2 = conv(64, 64, 1)
        self.conv3 = conv(64, 192, 3)
        self.norm2, self.maxpool2 = norm(), pool()
        inputs = 192
        for name, filters in BLOCKS.items():
            self.add_module(f"inception{name}", InceptionBlock(inputs, filters, batch_norm))
            inputs = filters.outputs
            if name == "3b":
                self.maxpool3 = pool()
            if name == "4e":
                self.maxpool4 = pool(2 if batch_norm else 3)
        self.aux1 = AuxiliaryClassifier(512, num_classes, batch_norm) if aux_logits else None
        self.aux2 = AuxiliaryClassifier(528, num_classes, batch_norm) if aux_logits else None
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.dropout = Dropout(dropout)
        self.fc = dense(inputs, num_classes)
        initialise(self, _truncated if batch_norm else glorot)
        if not batch_norm:
            for layer in self.modules():
                if isinstance(layer, Conv2d) and layer.bias is not None:
                    init.constant_(layer.bias, 0.2)

    def _stem(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 192, H/8, W/8)."""
        before = [self.maxpool1, self.norm1, self.conv2, self.conv3, self.norm2, self.maxpool2]
        y: Tensor = chain([layer for layer in before if layer is not None], self.conv1(x))
        return y

    def _blocks(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Give the last maps, averaged, and the auxiliary scores where they are wanted."""
        asked, found = self.training and self.aux_logits, {}
        for name in BLOCKS:
            x = self._modules[f"inception{name}"](x)
            if asked and name in ("4a", "4d"):
                found[name] = self._modules[f"aux{1 if name == '4a' else 2}"](x)
            if name in ("3b", "4e"):
                x = (self.maxpool3 if name == "3b" else self.maxpool4)(x)
        return self.avgpool(x).flatten(1), found.get("4a"), found.get("4d")

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x = images("GoogLeNet", x)
        with at_least("GoogLeNet", SMALLEST, x):
            return self._blocks(self._stem(x))

    def features(self, x: Tensor) -> Tensor:
        """Give the numbers that the last layer classifies: (N, C, H, W) -> (N, 1024)."""
        return self._run(x)[0]

    embed = features

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        """Give the scores of the classes, (N, num_classes), or of all three classifiers."""
        maps, first, second = self._run(x)
        scores: Tensor = self.fc(self.dropout(maps))
        if self.training and self.aux_logits:
            return GoogLeNetOutputs(scores, second, first)
        return scores


def _truncated(part: Tensor, fans: tuple[int, int]) -> Tensor:
    return init.trunc_normal_(part, 0.0, 0.01, -2.0, 2.0)


@register("googlenet", size=224, smallest=SMALLEST, parameters=13_004_888)
def googlenet(
    num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = True, dropout: float = 0.2
) -> GoogLeNet:
    """GoogLeNet as torchvision has it: batch norm after every convolution, 3x3 for the paper's 5x5.

    Source: Szegedy et al., Going deeper with convolutions (2015), in the form in which it is
    distributed with trained weights.

    Input (N, in_channels, H, W), made for 224x224 and of any size from 33x33 on; output (N,
    num_classes) scores, while training with `aux_logits` those of three classifiers
    (`GoogLeNetOutputs`); `features` gives (N, 1024).  With 1000 classes and three channels:
    13,004,888 parameters, of which the auxiliary classifiers have 6,379,984, and 1,498,376,192
    multiply-adds an image of 224x224 without these.  Published: 30.2 % top-1 and 10.5 % top-5
    error (torchvision's weights, one view).

    Initial weights are normal with standard deviation 0.01, cut off at 2; biases are 0.
    `dropout` is the part that is dropped before the last layer while training.

    >>> sum(p.numel() for p in googlenet(aux_logits=False).parameters())
    6624904
    """
    return GoogLeNet(num_classes, in_channels, aux_logits, dropout)


@register("googlenet_2014", size=224, smallest=SMALLEST, parameters=13_378_280)
def googlenet_2014(
    num_classes: int = 1000, in_channels: int = 3, aux_logits: bool = True, dropout: float = 0.4
) -> GoogLeNet:
    """GoogLeNet as its paper has it: branches of 5x5, local response normalisation, biases.

    Source: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, Going
    deeper with convolutions (2015), table 1 and section 5; deck 003.

    Input (N, in_channels, H, W), made for 224x224 and of any size from 33x33 on; output (N,
    num_classes) scores, while training with `aux_logits` those of three classifiers
    (`GoogLeNetOutputs`), whose losses count 1, 0.3 and 0.3; `features` gives (N, 1024).  With 1000
    classes and three channels: 13,378,280 parameters, 6,998,552 of them without the auxiliary
    classifiers, and 1,582,671,872 multiply-adds an image of 224x224 without these.  Published:
    10.1 % top-5 error (one network, one view), 6.67 % (seven networks, 144 views).

    Initial weights follow Glorot's rule, biases of convolutions are 0.2 and of dense layers 0, as
    in Caffe's replication, since the paper does not say.  `dropout` is the part that is dropped
    before the last layer while training.

    >>> sum(p.numel() for p in googlenet_2014(aux_logits=False).parameters())
    6998552
    """
    return GoogLeNet(num_classes, in_channels, aux_logits, dropout, batch_norm=False)
