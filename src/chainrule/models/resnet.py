"""Residual networks: those for ImageNet, and the small ones for CIFAR."""

from __future__ import annotations

from chainrule.engine.creation import zeros
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import images
from chainrule.models.registry import register
from chainrule.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from chainrule.nn import functional as F
from chainrule.nn.fusing import add_relu, norm_relu
from chainrule.ops.join import cat


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Conv2d:
    """A convolution that keeps the size at stride 1; no bias, since a batch norm follows."""
    return Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class PaddedShortcut(Module):
    """Shortcut without parameters, "option A": every stride-th pixel, zeros for new channels.

    Shapes: (N, inputs, H, W) -> (N, outputs, ceil(H/stride), ceil(W/stride)); the input's channels
    come first.

    >>> import chainrule as cr
    >>> PaddedShortcut(1, 3, 2)(cr.ones(1, 1, 3, 3)).tolist()[0][:2]
    [[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride = inputs, outputs, stride

    def forward(self, input: Tensor) -> Tensor:
        """Leave pixels out, then put channels of zeros behind."""
        kept = F.avg_pool2d(input, 1, self.stride)  # as input[:, :, ::stride, ::stride], faster
        if self.outputs == self.inputs:
            return kept
        n, _, h, w = kept.shape
        more = zeros(n, h, w, self.outputs - self.inputs, dtype=kept.dtype, device=kept.device)
        return cat((kept, more.permute(0, 3, 1, 2)), 1)  # channels-last, as the rest will be

    def extra_repr(self) -> str:
        """Show the channels and the stride."""
        return f"{self.inputs}, {self.outputs}, stride={self.stride}"


def _shortcut(option: str, inputs: int, outputs: int, stride: int) -> Module | None:
    """Give what the shortcut does to the input; None where it is handed on as it is."""
    if stride == 1 and inputs == outputs:
        return None
    if option == "A":
        return PaddedShortcut(inputs, outputs, stride)
    return Sequential(_conv(inputs, outputs, 1, stride), BatchNorm2d(outputs))


class BasicBlock(Module):
    """y = relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), both convolutions 3x3.

    Shapes: (N, inputs, H, W) -> (N, width, ceil(H/stride), ceil(W/stride)).

    >>> import chainrule as cr
    >>> BasicBlock(8, 16, stride=2)(cr.zeros(2, 8, 7, 7)).shape
    (2, 16, 4, 4)
    """

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, shortcut: str = "B") -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = BatchNorm2d(width)
        self.relu1 = ReLU()
        self.conv2 = _conv(width, width, 3)
        self.bn2 = BatchNorm2d(width)
        self.downsample = _shortcut(shortcut, inputs, width, stride)
        self.relu2 = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions change to what came in."""
        y = norm_relu(self.bn1, self.relu1, self.conv1(x))
        y = self.bn2(self.conv2(y))
        return add_relu(self.relu2, y, x if self.downsample is None else self.downsample(x))


class Bottleneck(Module):
    """A block of 1x1, 3x3 (which has the stride) and 1x1 convolutions, four times wider outside.

    Shapes: (N, inputs, H, W) -> (N, 4 * width, ceil(H/stride), ceil(W/stride)).

    >>> import chainrule as cr
    >>> Bottleneck(16, 4, stride=2)(cr.zeros(2, 16, 7, 7)).shape
    (2, 16, 4, 4)
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, shortcut: str = "B") -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = BatchNorm2d(width)
        self.relu1 = ReLU()
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = BatchNorm2d(width)
        self.relu2 = ReLU()
        self.conv3 = _conv(width, outputs, 1)
        self.bn3 = BatchNorm2d(outputs)
        self.downsample = _shortcut(shortcut, inputs, outputs, stride)
        self.relu3 = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Add what three convolutions change to what came in."""
        y = norm_relu(self.bn1, self.relu1, self.conv1(x))
        y = norm_relu(self.bn2, self.relu2, self.conv2(y))
        y = self.bn3(self.conv3(y))
        return add_relu(self.relu3, y, x if self.downsample is None else self.downsample(x))


Block = type[BasicBlock] | type[Bottleneck]

VARIANTS: dict[str, tuple[Block, tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
"""The networks for ImageNet: which block, and how many of them at each width."""


class Residual(Module):
    """What the residual networks share: stages, the mean over all positions, a dense layer.

    A subclass makes the stem, calls `_stages`, and defines `_stem`.
    """

    conv1: Conv2d
    bn1: BatchNorm2d
    relu: Module

    def _stages(
        self, block: Block, depths: tuple[int, ...], width: int, classes: int, shortcut: str = "B"
    ) -> None:
        """Build layer1, layer2, ..., each after the first of twice the width and half the size."""
        inputs = width
        for i, depth in enumerate(depths):
            wide = width << i
            blocks = [block(inputs, wide, 2 if i else 1, shortcut)]
            inputs = wide * block.expansion
            blocks += [block(inputs, wide, 1, shortcut) for _ in range(depth - 1)]
            self.add_module(f"layer{i + 1}", Sequential(*blocks))
        self.depth = len(depths)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(inputs, classes)
        for layer in self.modules():
            if isinstance(layer, Conv2d):
                init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def _stem(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}._stem")

    def features(self, x: Tensor) -> Tensor:
        """Give the numbers that the last layer classifies: (N, C, H, W) -> (N, D)."""
        y = self._stem(images(type(self).__name__, x))
        for i in range(self.depth):
            y = self._modules[f"layer{i + 1}"](y)
        flat: Tensor = self.avgpool(y).flatten(1)
        return flat

    embed = features

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, C, H, W) -> (N, num_classes)."""
        scores: Tensor = self.fc(self.features(x))
        return scores


class ResNet(Residual):
    """A residual network for ImageNet: a 7x7 convolution and pooling, then four stages of blocks.

    `name` is one of `VARIANTS`; the registered functions say the rest.

    >>> import chainrule as cr
    >>> model = ResNet("resnet18", num_classes=10)
    >>> model(cr.zeros(2, 3, 64, 64)).shape, model.features(cr.zeros(2, 3, 64, 64)).shape
    ((2, 10), (2, 512))
    """

    def __init__(self, name: str, num_classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        if name not in VARIANTS:
            raise failure("ResNet", f"one of {list(VARIANTS)}", name=name)
        self.conv1 = _conv(in_channels, 64, 7, 2)
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, 2, 1)
        self._stages(*VARIANTS[name], 64, num_classes)

    def _stem(self, x: Tensor) -> Tensor:
        y: Tensor = self.maxpool(norm_relu(self.bn1, self.relu, self.conv1(x)))
        return y


class CifarResNet(Residual):
    """A residual network for small images: a 3x3 convolution, then 3 stages of `depth` blocks.

    With `depth` n it has 6n + 2 layers with weights.  Where the shape changes, the shortcut is
    option "A" (every second pixel, zeros for the new channels: no parameters) or "B" (a 1x1
    convolution with batch norm).  Raises ValueError for another option.

    >>> import chainrule as cr
    >>> CifarResNet(1, num_classes=4)(cr.zeros(2, 3, 16, 16)).shape
    (2, 4)
    """

    def __init__(
        self, depth: int, num_classes: int = 10, in_channels: int = 3, shortcut: str = "A"
    ) -> None:
        super().__init__()
        if shortcut not in ("A", "B"):
            raise failure("CifarResNet", "shortcut 'A' or 'B'", shortcut=shortcut)
        self.conv1 = _conv(in_channels, 16, 3)
        self.bn1 = BatchNorm2d(16)
        self.relu = ReLU()
        self._stages(BasicBlock, (depth,) * 3, 16, num_classes, shortcut)

    def _stem(self, x: Tensor) -> Tensor:
        return norm_relu(self.bn1, self.relu, self.conv1(x))


@register("resnet18", size=224, smallest=32, parameters=11_689_512)
def resnet18(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18: 17 convolutions in eight residual blocks of two, and a dense layer.

    Source: He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), table 1,
    18 layers; shortcuts of option B, a 1x1 convolution where the shape changes.

    Input (N, in_channels, H, W), made for 224x224 and of any size, since the last maps are
    averaged; output (N, num_classes) scores, without softmax; `features` gives (N, 512).  With
    1000 classes and three channels: 11,689,512 parameters, and 1,814,073,344 multiply-adds an
    image of 224x224.

    Initial weights of convolutions are normal with variance 2 / fan_out (He et al., 2015), batch
    norms begin at weight 1 and bias 0, the dense layer at Linear's own.

    >>> model = resnet18()
    >>> sum(p.numel() for p in model.parameters())
    11689512
    """
    return ResNet("resnet18", num_classes, in_channels)


@register("resnet50", size=224, smallest=32, parameters=25_557_032)
def resnet50(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-50: 49 convolutions in sixteen bottleneck blocks of three, and a dense layer.

    Source: He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), table 1,
    50 layers; as is usual now, the 3x3 convolution of a block has its stride and not the first
    1x1.

    Input (N, in_channels, H, W), made for 224x224 and of any size; output (N, num_classes)
    scores, without softmax; `features` gives (N, 2048).  With 1000 classes and three channels:
    25,557,032 parameters, and 4,089,184,256 multiply-adds an image of 224x224.
    Initial values as in `resnet18`.

    >>> model = resnet50()
    >>> sum(p.numel() for p in model.parameters())
    25557032
    """
    return ResNet("resnet50", num_classes, in_channels)


@register("resnet20", size=32, smallest=8, parameters=269_722)
def resnet20(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
    """ResNet-20 for CIFAR: 19 convolutions of 3x3, in nine residual blocks but for the first.

    Source: He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), section
    4.2 with n = 3.

    Input (N, in_channels, H, W), made for 32x32 and of any size; output (N, num_classes) scores,
    without softmax; `features` gives (N, 64).  With ten classes and three channels: 269,722
    parameters, and 40,551,040 multiply-adds an image of 32x32.  `shortcut` is "A", the paper's,
    without parameters, or "B", a 1x1 convolution with batch norm where the shape changes: 272,474.
    Initial values as in `resnet18`.

    >>> model = resnet20()
    >>> sum(p.numel() for p in model.parameters())
    269722
    """
    return CifarResNet(3, num_classes, in_channels, shortcut)
