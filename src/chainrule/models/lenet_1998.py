"""LeNet-5 as its paper has it: trained subsampling, a table of connections, radial basis output."""

from __future__ import annotations

import numpy as np

from chainrule.engine.creation import tensor
from chainrule.engine.random import Generator
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import failure
from chainrule.models.registry import register
from chainrule.nn import (
    Conv2d,
    ConvMap2d,
    Flatten,
    Linear,
    Module,
    SubSampling2d,
    connections,
    init,
)
from chainrule.nn import functional as F

SIDE = 32
AMPLITUDE, SLOPE = 1.7159, 2 / 3  # the squashing function is A tanh(S a), appendix A

# Ten digits on 7 x 12 pixels, drawn for this purpose in the manner of the paper's figure 3.
_DIGITS = """
.#####. ..###.. .#####. .#####. #....## ####### ..####. ####### .#####. .#####.
##...## ...##.. ##...## ##...## #....## ##..... .##.... .....## ##...## ##...##
##...## ...##.. .....## .....## #....## ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## ##...## ##..... ##..... ....##. .##.##. ##...##
##...## ...##.. ....##. ...###. ##...## ######. ######. ....##. ..###.. .######
##...## ...##.. ...##.. ....##. ####### .....## ##...## ...##.. .##.##. .....##
##...## ...##.. ..##... .....## .....## .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## .....## .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... ##...## .....## ##...## ##...## ..##... ##...## ....##.
.#####. ..####. ####### .#####. .....## .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def prototypes(classes: int) -> Tensor:
    """Give the 84 values of -1 and +1 that the output of each class is to resemble: (classes, 84).

    For up to ten classes they are pictures of the digits, 12 rows of 7; for more, further classes
    have numbers drawn once for all.

    >>> digits = prototypes(10)
    >>> digits.shape, sorted(set(digits.flatten().tolist()))
    ((10, 84), [-1.0, 1.0])
    """
    rows = [line.split() for line in _DIGITS.split("\n") if line]
    drawn = [[[1.0 if c == "#" else -1.0 for c in row[k]] for row in rows] for k in range(10)]
    codes = np.array(drawn, np.float32).reshape(10, 84)[:classes]
    if classes > 10:
        more = Generator(1998).normal((classes - 10, 84), np.dtype(np.float32), 0.0, 1.0)
        codes = np.concatenate([codes, np.where(more < 0, -1, 1).astype(np.float32)])
    return tensor(codes)


class RadialBasis(Module):
    """Squared distances to fixed codes: y[n, i] = sum over j of (x[n, j] - code[i, j])^2.

    Shapes: (N, D) -> (N, classes).  The codes are a buffer, not trained.

    >>> import chainrule as cr
    >>> RadialBasis(cr.tensor([[1.0, -1.0], [1.0, 1.0]]))(cr.tensor([[1.0, 0.5]])).tolist()
    [[2.25, 0.25]]
    """

    codes: Tensor

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:
        """Give the distances."""
        difference = x.unsqueeze(1) - self.codes  # (N, classes, D)
        distances: Tensor = (difference * difference).sum(2)
        return distances

    def extra_repr(self) -> str:
        """Show the sizes."""
        return "{1}, {0}".format(*self.codes.shape)


@register("lenet5_1998", size=SIDE, parameters=60_000)
class LeNet1998(Module):
    """LeNet-5 of 1998: C1, S2, C3, S4, C5, F6 and an output of distances to drawn characters.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
    recognition (1998), section II.B, table I, appendix A.  S2 and S4 add up 2x2 pixels, times a
    trained weight, plus a trained bias; C3 connects its 16 planes by a table; all are squashed by
    1.7159 tanh(2a/3); each class has a picture of 7x12 pixels that the 84 units of F6 are to show.

    Input (N, in_channels, 32, 32), about -0.1 for paper and 1.175 for ink; output (N, num_classes)
    scores, which are minus the squared distances, so that the largest is the answer; `loss` is the
    paper's criterion.  With ten classes and one channel: 60,000 parameters (156 + 12 + 1,516 + 32 +
    48,120 + 10,164), and 325,680 multiply-adds an image without those of the subsampling and of the
    distances (117,600 + 150,000 + 48,000 + 10,080).  Published: 0.95 % error on MNIST, 0.8 % with
    distorted images.

    Initial weights are uniform between -2.4 / fan_in and 2.4 / fan_in, biases too, but for those of
    C3, which are 0; the weights of the subsampling make a mean of the sum.  Raises ValueError for
    images of another size.

    >>> import chainrule as cr
    >>> model = LeNet1998()
    >>> sum(p.numel() for p in model.parameters())
    60000
    >>> model(cr.zeros(2, 1, 32, 32)).shape
    (2, 10)
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, 6, 5)
        self.pool2 = SubSampling2d(6, 2, divisor_override=1)
        self.conv3 = ConvMap2d(connections.lenet5_c3(), 5)
        self.pool4 = SubSampling2d(16, 2, divisor_override=1)
        self.conv5 = Conv2d(16, 120, 5)
        self.flatten = Flatten()
        self.fc6 = Linear(120, 84)
        self.output = RadialBasis(prototypes(num_classes))
        self._initialise()

    def _initialise(self) -> None:
        for layer in (self.conv1, self.conv5, self.fc6):
            bound = 2.4 / (layer.weight.numel() // layer.weight.shape[0])
            for parameter in layer.parameters():
                init.uniform_(parameter, -bound, bound)
        sources = np.bincount(self.conv3.table.numpy()[:, 1], minlength=16)
        for weight, (_, plane) in zip(self.conv3.weight.detach(), self.conv3.table.tolist(),
                                      strict=True):  # fmt: skip
            bound = 2.4 / (25 * int(sources[plane]))
            init.uniform_(weight, -bound, bound)
        if self.conv3.bias is not None:
            init.zeros_(self.conv3.bias)
        for pool in (self.pool2, self.pool4):
            init.constant_(pool.weight, 0.25)

    def features(self, x: Tensor) -> Tensor:
        """Give the 84 numbers that are compared: (N, in_channels, 32, 32) -> (N, 84)."""
        x = as_tensor(x, "LeNet1998")
        if tuple(x.shape[-2:]) != (SIDE, SIDE) or x.ndim != 4:
            hint = "pad 28x28 with 2 pixels on each side, F.pad(x, (2, 2, 2, 2))"
            raise failure("LeNet1998", f"images (N, C, {SIDE}, {SIDE})", hint=hint, input=x)
        x = _squash(self.pool2(_squash(self.conv1(x))))  # (N, 6, 14, 14)
        x = _squash(self.pool4(_squash(self.conv3(x))))  # (N, 16, 5, 5)
        x = self.flatten(_squash(self.conv5(x)))  # (N, 120)
        return _squash(self.fc6(x))

    embed = features

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, in_channels, 32, 32) -> (N, num_classes)."""
        scores: Tensor = -self.output(self.features(x))
        return scores

    @staticmethod
    def loss(scores: Tensor, labels: Tensor, j: float = 0.1) -> Tensor:
        """Give the paper's criterion (9): the mean of y_D + ln(e^-j + sum over i of e^-y_i).

        y = -scores are distances and D is the right class; e^-j keeps what is far from everything
        from being pushed farther.

        >>> import chainrule as cr
        >>> round(LeNet1998.loss(cr.tensor([[0.0, -50.0]]), cr.tensor([0])).item(), 4)
        0.6444
        """
        rubbish = F.pad(scores, (0, 1), value=-j)  # (N, classes + 1)
        right = scores.gather(1, labels.unsqueeze(1)).squeeze(1)
        value: Tensor = (rubbish.logsumexp(1) - right).mean()
        return value


def _squash(a: Tensor) -> Tensor:
    y: Tensor = AMPLITUDE * F.tanh(SLOPE * a)
    return y
