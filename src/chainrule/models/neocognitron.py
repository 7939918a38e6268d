"""A stack of simple and complex cells in the manner of Fukushima's Neocognitron."""

from __future__ import annotations

import numpy as np

from chainrule.engine.creation import tensor
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import at_least, he, images, initialise
from chainrule.models.registry import register
from chainrule.nn import AdaptiveAvgPool2d, Conv2d, Linear, Module, Parameter, Sequential, init
from chainrule.nn import functional as F

SMALLEST = 16


def bell(kernel: int) -> Tensor:
    """Give a bell of weights that sum to 1, largest in the middle: (1, 1, kernel, kernel).

    >>> bell(3)[0, 0, 1].tolist()
    [0.125, 0.25, 0.125]
    """
    row = np.array([1.0])
    for _ in range(kernel - 1):
        row = np.convolve(row, [0.5, 0.5])
    return tensor(np.outer(row, row).astype(np.float32)[None, None])


class SimpleCells(Module):
    """Cells that answer to a pattern, divided by how much there is to see at all (S).

    y = relu((1 + e) / (1 + b v) - 1) with e the convolution of x by trained weights, b >= 0 a
    trained inhibition for each plane, and v = sqrt(the bell-weighted mean of x^2 over the same
    window and all planes): a shape is told from its surroundings however bright both are.

    Shapes: (N, inputs, H, W) -> (N, outputs, H, W); the kernel is odd.
    """

    bell: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise failure("SimpleCells", "an odd kernel", kernel=kernel)
        self.excite = Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.inhibit = Parameter(tensor(np.zeros((outputs, 1, 1), np.float32)))
        self.register_buffer("bell", bell(kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Excite, inhibit, and keep what is left above 0."""
        square = (x * x).mean(1, keepdim=True)
        padding = self.bell.shape[-1] // 2
        seen = (F.conv2d(square, self.bell, padding=padding) + 1e-8).sqrt()
        # The softplus keeps the inhibition positive; it begins at ln 2.
        ratio = (1 + self.excite(x)) / (1 + F.softplus(self.inhibit) * seen)
        return F.relu(ratio - 1)


class ComplexCells(Module):
    """Cells that answer wherever in their window a simple cell does (C): a blurred, thinned plane.

    y = a / (1 + a) with a the bell-weighted mean over a window, at every second position.  Nothing
    is trained.  Shapes: (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2)).
    """

    bell: Tensor

    def __init__(self, planes: int, kernel: int) -> None:
        super().__init__()
        self.planes = planes
        self.register_buffer("bell", bell(kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Blur, thin and squash."""
        kernel = self.bell.shape[-1]
        weight = self.bell.expand(self.planes, 1, kernel, kernel)
        a = F.conv2d(x, weight, stride=2, padding=kernel // 2, groups=self.planes)
        return F.softsign(F.relu(a))

    def extra_repr(self) -> str:
        """Show the planes and the window."""
        return f"{self.planes}, kernel={self.bell.shape[-1]}"


@register("neocognitron", size=32, smallest=SMALLEST, parameters=145_738)
class Neocognitron(Module):
    """Layers of simple and complex cells in turn, S-C-S-C-S-C, under a linear layer.

    Source: Fukushima, Neocognitron: a self-organizing neural network model for a mechanism of
    pattern recognition unaffected by shift in position (1980): cells with modifiable weights and
    shunting inhibition, then cells that pool; deck 002, "sandwich architecture".  What differs:
    the weights are trained by gradients and not by themselves, and the last C layer is averaged
    over all positions and classified by a linear layer.

    Input (N, in_channels, H, W), made for 32x32 and of any size from 16x16 on; output (N,
    num_classes) scores, without softmax; `features` gives (N, planes[-1]).  With ten classes, one
    channel and planes of 24, 48 and 96: 145,738 parameters, and 15,360,960 multiply-adds an
    image of 32x32 without those of bells and quotients.  Published: no figure that compares.

    Initial weights follow He's rule, the inhibition begins at ln 2.

    >>> import chainrule as cr
    >>> model = Neocognitron()
    >>> model(cr.zeros(2, 1, 32, 32)).shape, model.features(cr.zeros(2, 1, 20, 24)).shape
    ((2, 10), (2, 96))
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        planes: tuple[int, ...] = (24, 48, 96),
        kernel: int = 5,
    ) -> None:
        super().__init__()
        layers: list[Module] = []
        inputs = in_channels
        for count in planes:
            layers += [SimpleCells(inputs, count, kernel), ComplexCells(count, kernel)]
            inputs = count
        self.layers = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(inputs, num_classes)
        initialise(self, he)
        init.uniform_(self.fc.weight, -(inputs**-0.5), inputs**-0.5)

    def features(self, x: Tensor) -> Tensor:
        """Give the numbers that the last layer classifies: (N, C, H, W) -> (N, planes[-1])."""
        x = images("Neocognitron", x)
        with at_least("Neocognitron", SMALLEST, x):
            y: Tensor = self.avgpool(self.layers(x)).flatten(1)
        return y

    embed = features

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, C, H, W) -> (N, num_classes)."""
        scores: Tensor = self.fc(self.features(x))
        return scores
