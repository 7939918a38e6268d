"""LeNet-5, in the form in which it is trained today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import ShapeError, failure
from chainrule.models.registry import register
from chainrule.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, init
from chainrule.nn.fusing import conv_relu, relu_pool

Init = Literal["he", "xavier", "default"]

SIDE = 32
"""Height and width of the images that the network reads."""

MNIST_SIDE = 28
"""Height and width of those that the first layer can be built to pad."""


@register("lenet5", size=SIDE, parameters=61_706)
class LeNet5(Module):
    """LeNet-5: two rounds of convolution and pooling, a third convolution, two dense layers.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
    recognition (1998), section II.B, with what is usual now: ReLU for the scaled tanh, max
    pooling for the trained averages, C3 connected densely, a linear last layer for the radial
    basis functions.

    Input (N, in_channels, 32, 32), output (N, num_classes) scores, without softmax.  With ten
    classes and one channel: 61,706 parameters (156 + 2,416 + 48,120 + 10,164 + 850), and 416,520
    multiply-adds an image (117,600 + 240,000 + 48,000 + 10,080 + 840).  Published: none of its own;
    the paper's network has 0.95 % error on MNIST.

    With `image_size` 28 the first layer pads images of 28x28 by 2 pixels on each side, which is the
    same computation on the same parameters.

    `initialisation` is "he" (normal, variance 2 / fan_in, made for ReLU), "xavier" (uniform,
    variance 2 / (fan_in + fan_out)), both with biases of 0, or "default", which leaves the layers'
    own.  Raises ValueError for another word or size, and for images of another size.

    >>> import chainrule as cr
    >>> model = LeNet5()
    >>> sum(p.numel() for p in model.parameters())
    61706
    >>> model(cr.zeros(2, 1, 32, 32)).shape
    (2, 10)
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        initialisation: Init = "he",
        image_size: int = SIDE,
    ) -> None:
        super().__init__()
        if image_size not in (SIDE, MNIST_SIDE):
            raise failure("LeNet5", f"image_size {SIDE} or {MNIST_SIDE}", image_size=image_size)
        self.image_size = image_size
        self.conv1 = Conv2d(in_channels, 6, 5, padding=(SIDE - image_size) // 2)
        self.relu1 = ReLU()
        self.pool1 = MaxPool2d(2)
        self.conv2 = Conv2d(6, 16, 5)
        self.relu2 = ReLU()
        self.pool2 = MaxPool2d(2)
        self.conv3 = Conv2d(16, 120, 5)
        self.relu3 = ReLU()
        self.flatten = Flatten()
        self.fc1 = Linear(120, 84)
        self.relu4 = ReLU()
        self.fc2 = Linear(84, num_classes)
        self._initialise(initialisation)

    def _initialise(self, how: str) -> None:
        if how == "default":
            return
        if how not in _WEIGHTS:
            rule = "'he', 'xavier' or 'default' as initialisation"
            raise failure("LeNet5", rule, error=ShapeError, initialisation=how)
        for layer in self.modules():
            if isinstance(layer, Conv2d | Linear):
                _WEIGHTS[how](layer.weight)
                if layer.bias is not None:
                    init.zeros_(layer.bias)

    def features(self, x: Tensor) -> Tensor:
        """Give the 84 numbers that the last layer classifies: (N, in_channels, H, W) -> (N, 84).

        >>> import chainrule as cr
        >>> LeNet5().features(cr.zeros(2, 1, 32, 32)).shape
        (2, 84)
        """
        x = as_tensor(x, "LeNet5")
        side = self.image_size
        if tuple(x.shape[-2:]) != (side, side) or x.ndim != 4:
            raise failure("LeNet5", f"images (N, C, {side}, {side})", hint=self._hint(x), input=x)
        x = relu_pool(self.relu1, self.pool1, self.conv1(x))  # (N, 6, 14, 14)
        x = relu_pool(self.relu2, self.pool2, self.conv2(x))  # (N, 16, 5, 5)
        x = self.flatten(conv_relu(self.conv3, self.relu3, x))  # (N, 120)
        y: Tensor = self.relu4(self.fc1(x))  # (N, 84)
        return y

    embed = features

    def _hint(self, x: Tensor) -> str:
        if self.image_size == SIDE:
            with_28 = f"build it with image_size={MNIST_SIDE}, or "
            pad = "pad 28x28 with 2 pixels on each side, F.pad(x, (2, 2, 2, 2))"
            return with_28 + pad if x.shape[-2:] == (MNIST_SIDE, MNIST_SIDE) else pad
        return f"image_size={SIDE} reads {SIDE}x{SIDE}"

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, in_channels, H, W) -> (N, num_classes)."""
        scores: Tensor = self.fc2(self.features(x))
        return scores


def _he(weight: Tensor) -> Tensor:
    return init.kaiming_normal_(weight, nonlinearity="relu")


_WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {"he": _he, "xavier": init.xavier_uniform_}
