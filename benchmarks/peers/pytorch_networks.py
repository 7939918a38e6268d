"""The networks in plain torch.nn: torchvision's structure, names and in-place ReLUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


def relu() -> nn.ReLU:
    """ReLU as torchvision's networks have it."""
    return nn.ReLU(inplace=True)


class LeNet5(nn.Module):
    """LeNet-5 with ReLU and max pooling; images of 28x28 get two pixels of padding."""

    def __init__(self, classes: int = 10, channels: int = 1, image_size: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=(32 - image_size) // 2)
        self.relu1 = relu()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu2 = relu()
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(16, 120, 5)
        self.relu3 = relu()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(120, 84)
        self.relu4 = relu()
        self.fc2 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.flatten(self.relu3(self.conv3(x)))
        y: Tensor = self.fc2(self.relu4(self.fc1(x)))
        return y


FILTERS = {"2014": (64, 192, 384, 256, 256), "2012": (96, 256, 384, 384, 256)}


class AlexNet(nn.Module):
    """AlexNet in one tower; `lrn` normalises after the first two convolutions."""

    def __init__(
        self, classes: int = 1000, channels: int = 3, lrn: bool = False, variant: str = "2014"
    ) -> None:
        super().__init__()
        a, b, c, d, e = FILTERS[variant]
        layers = [
            *(nn.Conv2d(channels, a, 11, 4, 2 if variant == "2014" else 0), relu()),
            *(nn.MaxPool2d(3, 2), nn.Conv2d(a, b, 5, padding=2), relu(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(b, c, 3, padding=1), relu(), nn.Conv2d(c, d, 3, padding=1), relu()),
            *(nn.Conv2d(d, e, 3, padding=1), relu(), nn.MaxPool2d(3, 2)),
        ]
        self.features = nn.Sequential()
        for i, layer in enumerate(layers):
            self.features.add_module(str(i), layer)
            if lrn and i in (1, 4):
                norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
                self.features.add_module(f"norm{i // 3 + 1}", norm)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            *(nn.Dropout(), nn.Linear(e * 6 * 6, 4096), relu()),
            *(nn.Dropout(), nn.Linear(4096, 4096), relu()),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return y


class VGG16(nn.Module):
    """VGG with 13 convolutions of 3x3 and three dense layers (configuration D)."""

    def __init__(self, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for count, width in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), relu()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            *(nn.Linear(512 * 7 * 7, 4096), relu(), nn.Dropout()),
            *(nn.Linear(4096, 4096), relu(), nn.Dropout()),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return y


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias, since a batch norm follows, padded to keep the size."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class Padded(nn.Module):
    """The shortcut without parameters: every second pixel, zeros for the new channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.new = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new))


def shortcut(inputs: int, outputs: int, stride: int, padded: bool = False) -> nn.Module | None:
    """What a shortcut does where the shape changes."""
    if stride == 1 and inputs == outputs:
        return None
    if padded:
        return Padded(inputs, outputs)
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1, padded: bool = False) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = relu()
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width, stride, padded)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(y)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 (which has the stride) and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, padded: bool = False) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = relu()
        self.downsample = shortcut(inputs, 4 * width, stride, padded)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(y)
        return out


Block = type[Basic] | type[Bottleneck]


def stage(
    block: Block, inputs: int, width: int, count: int, stride: int, padded: bool
) -> nn.Sequential:
    """Blocks of one width; the first has the stride."""
    rest = [block(width * block.expansion, width) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, width, stride, padded), *rest)


class ResNet(nn.Module):
    """A residual network for 224x224, or with `small` the one for 32x32 of the same paper.

    The latter's shortcuts have no parameters.
    """

    def __init__(
        self,
        block: Block,
        counts: Sequence[int],
        classes: int,
        channels: int,
        small: bool = False,
    ) -> None:
        super().__init__()
        width = 16 if small else 64
        self.conv1 = conv(channels, width, 3) if small else conv(channels, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = relu()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.stages = len(counts)
        inputs = width
        for i, count in enumerate(counts):
            layer = stage(block, inputs, width << i, count, 2 if i else 1, small)
            self.add_module(f"layer{i + 1}", layer)
            inputs = (width << i) * block.expansion
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        y: Tensor = self.fc(self.avgpool(x).flatten(1))
        return y


def resnet18(classes: int, channels: int) -> nn.Module:
    """ResNet-18."""
    return ResNet(Basic, (2, 2, 2, 2), classes, channels)


def resnet50(classes: int, channels: int) -> nn.Module:
    """ResNet-50."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes, channels)


def resnet20(classes: int, channels: int) -> nn.Module:
    """ResNet-20 for CIFAR."""
    return ResNet(Basic, (3, 3, 3), classes, channels, small=True)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "lenet5": LeNet5,
    "alexnet": AlexNet,
    "vgg16": VGG16,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "resnet20": resnet20,
}


def create(name: str, classes: int, channels: int, **options: Any) -> nn.Module:
    """Build a network by the name that it has on our side too."""
    return NETWORKS[name](classes, channels, **options)
