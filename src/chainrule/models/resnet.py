"""Residual networks: those for ImageNet, and the small ones for CIFAR."""

from __future__ import annotations

from collections.abc import Callable

from chainrule.engine.creation import zeros
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import he_fan_out, images, initialise
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
        more = zeros(n, h, w, self.outputs - self.inputs, dtype=kept.dtype)
        return cat((kept, more.permute(0, 3, 1, 2)), 1)  # channels-last, as the rest will be

    def extra_repr(self) -> str:
        """Show the channels and the stride."""
        return f"{self.inputs}, {self.outputs}, stride={self.stride}"


def _shortcut(option: str, inputs: int, outputs: int, stride: int) -> Module | None:
    """Give what the shortcut does to the input; None where it is handed on as it is."""
    if option == "none" or (stride == 1 and inputs == outputs):
        return None
    if option == "A":
        return PaddedShortcut(inputs, outputs, stride)
    return Sequential(_conv(inputs, outputs, 1, stride), BatchNorm2d(outputs))


class BasicBlock(Module):
    """y = relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), both convolutions 3x3.

    Shapes: (N, inputs, H, W) -> (N, width, ceil(H/stride), ceil(W/stride)).

    With shortcut "none" it is two layers of a plain network: y = relu(bn(conv(...))).

    >>> import chainrule as cr
    >>> BasicBlock(8, 16, stride=2)(cr.zeros(2, 8, 7, 7)).shape
    (2, 16, 4, 4)
    """

    expansion = 1

    def __init__(
        self, inputs: int, width: int, stride: int = 1, shortcut: str = "B", stride_on: str = "3x3"
    ) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = BatchNorm2d(width)
        self.relu1 = ReLU()
        self.conv2 = _conv(width, width, 3)
        self.bn2 = BatchNorm2d(width)
        self.plain = shortcut == "none"
        self.downsample = _shortcut(shortcut, inputs, width, stride)
        self.relu2 = ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Add what two convolutions change to what came in."""
        y = norm_relu(self.bn1, self.relu1, self.conv1(x))
        if self.plain:
            return norm_relu(self.bn2, self.relu2, self.conv2(y))
        y = self.bn2(self.conv2(y))
        return add_relu(self.relu2, y, x if self.downsample is None else self.downsample(x))


class Bottleneck(Module):
    """A block of 1x1, 3x3 and 1x1 convolutions, four times wider outside.

    The stride is on the "3x3", or in the paper on the first "1x1".

    Shapes: (N, inputs, H, W) -> (N, 4 * width, ceil(H/stride), ceil(W/stride)).

    >>> import chainrule as cr
    >>> Bottleneck(16, 4, stride=2)(cr.zeros(2, 16, 7, 7)).shape
    (2, 16, 4, 4)
    """

    expansion = 4

    def __init__(
        self, inputs: int, width: int, stride: int = 1, shortcut: str = "B", stride_on: str = "3x3"
    ) -> None:
        super().__init__()
        outputs = self.expansion * width
        first, second = (stride, 1) if stride_on == "1x1" else (1, stride)
        self.conv1 = _conv(inputs, width, 1, first)
        self.bn1 = BatchNorm2d(width)
        self.relu1 = ReLU()
        self.conv2 = _conv(width, width, 3, second)
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
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
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
        self,
        block: Block,
        depths: tuple[int, ...],
        width: int,
        classes: int,
        shortcut: str = "B",
        stride_on: str = "3x3",
    ) -> None:
        """Build layer1, layer2, ..., each after the first of twice the width and half the size."""
        inputs = width
        for i, depth in enumerate(depths):
            wide = width << i
            blocks = [block(inputs, wide, 2 if i else 1, shortcut, stride_on)]
            inputs = wide * block.expansion
            blocks += [block(inputs, wide, 1, shortcut) for _ in range(depth - 1)]
            self.add_module(f"layer{i + 1}", Sequential(*blocks))
        self.depth = len(depths)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(inputs, classes)
        initialise(self, he_fan_out, (Conv2d,))

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

    `name` is one of `VARIANTS`; the registered functions say the rest.  `stride_on` says which
    convolution of a bottleneck has its stride: the "3x3", as torchvision has it, or the first "1x1"
    of the paper, with 6 % fewer multiply-adds and the same parameters.  Raises ValueError for
    another name or place.

    >>> import chainrule as cr
    >>> model = ResNet("resnet18", num_classes=10)
    >>> model(cr.zeros(2, 3, 64, 64)).shape, model.features(cr.zeros(2, 3, 64, 64)).shape
    ((2, 10), (2, 512))
    """

    def __init__(
        self, name: str, num_classes: int = 1000, in_channels: int = 3, stride_on: str = "3x3"
    ) -> None:
        super().__init__()
        if name not in VARIANTS:
            raise failure("ResNet", f"one of {list(VARIANTS)}", name=name)
        if stride_on not in ("3x3", "1x1"):
            raise failure("ResNet", "stride_on '3x3' or '1x1'", stride_on=stride_on)
        self.conv1 = _conv(in_channels, 64, 7, 2)
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, 2, 1)
        self._stages(*VARIANTS[name], 64, num_classes, stride_on=stride_on)

    def _stem(self, x: Tensor) -> Tensor:
        y: Tensor = self.maxpool(norm_relu(self.bn1, self.relu, self.conv1(x)))
        return y


class CifarResNet(Residual):
    """A residual network for small images: a 3x3 convolution, then 3 stages of `depth` blocks.

    With `depth` n it has 6n + 2 layers with weights.  Where the shape changes, the shortcut is
    option "A" (every second pixel, zeros for the new channels: no parameters) or "B" (a 1x1
    convolution with batch norm); "none" leaves all shortcuts out, which makes the plain network
    that residual ones are compared with.  Raises ValueError for another option.

    >>> import chainrule as cr
    >>> CifarResNet(1, num_classes=4)(cr.zeros(2, 3, 16, 16)).shape
    (2, 4)
    """

    def __init__(
        self, depth: int, num_classes: int = 10, in_channels: int = 3, shortcut: str = "A"
    ) -> None:
        super().__init__()
        if shortcut not in ("A", "B", "none"):
            raise failure("CifarResNet", "shortcut 'A', 'B' or 'none'", shortcut=shortcut)
        self.conv1 = _conv(in_channels, 16, 3)
        self.bn1 = BatchNorm2d(16)
        self.relu = ReLU()
        self._stages(BasicBlock, (depth,) * 3, 16, num_classes, shortcut)

    def _stem(self, x: Tensor) -> Tensor:
        return norm_relu(self.bn1, self.relu, self.conv1(x))


_ABOUT = """{title}: {layers} layers with weights, in residual blocks of {members} convolutions.

    Source: He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), table 1,
    {layers} layers; shortcuts of option B, a 1x1 convolution where the shape changes.

    Input (N, in_channels, H, W), made for 224x224 and of any size, since the last maps are
    averaged; output (N, num_classes) scores, without softmax; `features` gives (N, {width}).  With
    1000 classes and three channels: {parameters:,} parameters, and {products:,} multiply-adds an
    image of 224x224{other}.  Published: {error} (ten views).

    Initial weights of convolutions are normal with variance 2 / fan_out (He et al., 2015), batch
    norms begin at weight 1 and bias 0, the dense layer at Linear's own.

    >>> {name}(num_classes=10).fc
    Linear(in_features={width}, out_features=10, bias=True)
    """


def _variant(
    name: str, parameters: int, products: int, error: str, on_1x1: int = 0
) -> Callable[..., ResNet]:
    """Register a network for ImageNet under its name."""

    def build(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
        return ResNet(name, num_classes, in_channels)

    def build_deep(num_classes: int = 1000, in_channels: int = 3, stride_on: str = "3x3") -> ResNet:
        return ResNet(name, num_classes, in_channels, stride_on)

    block, _ = VARIANTS[name]
    deep = block is Bottleneck
    chosen: Callable[..., ResNet] = build_deep if deep else build
    chosen.__name__ = chosen.__qualname__ = name
    chosen.__doc__ = _ABOUT.format(
        title=name.replace("resnet", "ResNet-"),
        layers=name.removeprefix("resnet"),
        members="three" if deep else "two",
        width=512 * block.expansion,
        other=f'\n    ({on_1x1:,} with the paper\'s `stride_on` "1x1")' if deep else "",
        **{"name": name, "parameters": parameters, "products": products, "error": error},
    )
    return register(name, 224, 32, parameters)(chosen)


resnet18 = _variant("resnet18", 11_689_512, 1_814_073_344, "27.9 % top-1 error")
resnet34 = _variant("resnet34", 21_797_672, 3_663_761_408, "24.5 % top-1, 7.5 % top-5 error")
resnet50 = _variant(
    "resnet50", 25_557_032, 4_089_184_256, "22.9 % top-1, 6.7 % top-5 error", 3_857_973_248
)
resnet101 = _variant(
    "resnet101", 44_549_160, 7_801_405_440, "21.8 % top-1, 6.1 % top-5 error", 7_570_194_432
)
resnet152 = _variant(
    "resnet152", 60_192_808, 11_513_626_624, "21.4 % top-1, 5.7 % top-5 error", 11_282_415_616
)

_ABOUT_SMALL = """{title} for CIFAR: {convolutions} convolutions of 3x3, {joined}.

    Source: He, Zhang, Ren and Sun, Deep residual learning for image recognition (2016), section
    4.2 with n = {depth}.{plain}

    Input (N, in_channels, H, W), made for 32x32 and of any size; output (N, num_classes) scores,
    without softmax; `features` gives (N, 64).  With ten classes and three channels: {parameters:,}
    parameters, and {products:,} multiply-adds an image of 32x32.{shortcut}  Published: {error}.
    Initial values as in `resnet18`.

    >>> {name}(num_classes=4).fc
    Linear(in_features=64, out_features=4, bias=True)
    """
_OPTION = """  `shortcut` is "A", the paper's,
    without parameters, or "B", a 1x1 convolution with batch norm where the shape changes: {:,}."""


def _small(
    name: str, parameters: int, products: int, error: str, with_b: int = 0
) -> Callable[..., CifarResNet]:
    """Register a network for CIFAR under its name, residual where `with_b` counts option B's."""
    layers = int("".join(filter(str.isdigit, name)))
    depth = (layers - 2) // 6

    def build(num_classes: int = 10, in_channels: int = 3, shortcut: str = "A") -> CifarResNet:
        return CifarResNet(depth, num_classes, in_channels, shortcut)

    def build_plain(num_classes: int = 10, in_channels: int = 3) -> CifarResNet:
        return CifarResNet(depth, num_classes, in_channels, "none")

    chosen: Callable[..., CifarResNet] = build if with_b else build_plain
    chosen.__name__ = chosen.__qualname__ = name
    chosen.__doc__ = _ABOUT_SMALL.format(
        title=f"ResNet-{layers}" if with_b else f"The plain network of {layers} layers",
        convolutions=layers - 1,
        joined="in residual blocks of two" if with_b else "one after the other",
        plain="" if with_b else "  It is the residual network without its shortcuts.",
        shortcut=_OPTION.format(with_b) if with_b else "",
        **{"name": name, "depth": depth, "parameters": parameters},
        **{"products": products, "error": error},
    )
    return register(name, 32, 8, parameters)(chosen)


_CURVE = "a curve alone, above the residual network's"

resnet20 = _small("resnet20", 269_722, 40_551_040, "8.75 % error", 272_474)
resnet32 = _small("resnet32", 464_154, 68_862_592, "7.51 % error", 466_906)
resnet44 = _small("resnet44", 658_586, 97_174_144, "7.17 % error", 661_338)
resnet56 = _small("resnet56", 853_018, 125_485_696, "6.97 % error", 855_770)
resnet110 = _small("resnet110", 1_727_962, 252_887_680, "6.43 % error", 1_730_714)
plain20 = _small("plain20", 269_722, 40_551_040, _CURVE)
plain32 = _small("plain32", 464_154, 68_862_592, _CURVE)
plain44 = _small("plain44", 658_586, 97_174_144, _CURVE)
plain56 = _small("plain56", 853_018, 125_485_696, _CURVE)
plain110 = _small("plain110", 1_727_962, 252_887_680, "more than 60 % error: it does not train")
