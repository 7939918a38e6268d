"""What a convolutional network has to beat: a linear layer, and dense layers alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.models.common import he, hundredth, images, initialise
from chainrule.models.registry import register
from chainrule.nn import Linear, Module, ReLU, Sequential
from chainrule.nn import functional as F
from chainrule.nn.fusing import chain

SIDE = 28


def _pixels(name: str, x: Tensor, side: int) -> Tensor:
    """Give images as rows of pixels: (N, C, side, side) -> (N, C*side*side)."""
    x = images(name, x)
    if tuple(x.shape[2:]) != (side, side):
        hint = "image_size makes it for others"
        raise failure(name, f"images (N, C, {side}, {side})", hint=hint, input=x)
    rows: Tensor = x.flatten(1)
    return rows


class LinearClassifier(Module):
    """Scores that are weighted sums of the pixels, w x + b; the loss makes the difference.

    `loss` is "softmax" (cross-entropy) or "svm" (the hinge of deck 003 with margin 1); see the
    registered functions.

    >>> import chainrule as cr
    >>> model = LinearClassifier(3, 1, 2, "svm")
    >>> model(cr.zeros(5, 1, 2, 2)).shape
    (5, 3)
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = SIDE,
        loss: str = "softmax",
    ) -> None:
        super().__init__()
        if loss not in ("softmax", "svm"):
            raise failure("LinearClassifier", "a loss 'softmax' or 'svm'", loss=loss)
        self.image_size, self.kind = image_size, loss
        self.fc = Linear(in_channels * image_size**2, num_classes)
        initialise(self, hundredth)

    def features(self, x: Tensor) -> Tensor:
        """Give the pixels: (N, C, side, side) -> (N, C*side*side)."""
        return _pixels("LinearClassifier", x, self.image_size)

    embed = features

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, C, side, side) -> (N, num_classes)."""
        scores: Tensor = self.fc(self.features(x))
        return scores

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Give the loss for which it is named, the mean over the images.

        "svm" is deck 003's: the sum over the wrong classes of max(0, s_j - s_y + 1), which is
        `multi_margin_loss` times the number of classes.

        >>> import chainrule as cr
        >>> scores = cr.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
        >>> round(LinearClassifier(loss="svm").loss(scores, cr.tensor([0, 1, 2])).item(), 4)
        5.2667
        """
        if self.kind == "softmax":
            return F.cross_entropy(scores, labels)
        return F.multi_margin_loss(scores, labels) * scores.shape[1]


@register("softmax", size=SIDE, parameters=7_850)
def softmax(
    num_classes: int = 10, in_channels: int = 1, image_size: int = SIDE
) -> LinearClassifier:
    """Softmax regression: one linear layer on the pixels, trained by cross-entropy.

    Source: deck 003, "Softmax classifier".  Input (N, in_channels, image_size, image_size),
    output (N, num_classes) scores, without softmax; `features` gives the pixels.  With ten classes
    and one channel of 28x28: 7,850 parameters, and 7,840 multiply-adds an image.  Published:
    12.0 % error on MNIST (LeCun et al., 1998, linear classifier).

    Initial weights are normal with standard deviation 0.01, biases are 0.

    >>> softmax().fc
    Linear(in_features=784, out_features=10, bias=True)
    """
    return LinearClassifier(num_classes, in_channels, image_size, "softmax")


@register("svm", size=SIDE, parameters=7_850)
def svm(num_classes: int = 10, in_channels: int = 1, image_size: int = SIDE) -> LinearClassifier:
    """Multiclass support vector machine: one linear layer on the pixels, trained by the hinge loss.

    Source: deck 003, "Multiclass SVM loss"; Weston and Watkins (1999).  Input (N, in_channels,
    image_size, image_size), output (N, num_classes) scores; `features` gives the pixels, `loss` the
    hinge; L2 decay of the weights makes the margin wide.  With ten classes and one channel of
    28x28: 7,850 parameters, and 7,840 multiply-adds an image.  Published: 12.0 % error on MNIST
    (LeCun et al., 1998, linear classifier).

    Initial weights are normal with standard deviation 0.01, biases are 0.

    >>> svm().kind
    'svm'
    """
    return LinearClassifier(num_classes, in_channels, image_size, "svm")


@register("mlp", size=SIDE, parameters=266_610)
class MLP(Module):
    """A multilayer perceptron: dense layers with ReLU between, on the pixels.

    Source: Rumelhart, Hinton and Williams (1986); decks 000 and 004, with ReLU; the sizes are those
    of LeCun et al. (1998), section III.  Input (N, in_channels, image_size, image_size), output
    (N, num_classes) scores, without softmax; `features` gives the last hidden layer.  With ten
    classes, one channel of 28x28 and hidden layers of 300 and 100: 266,610 parameters, and 266,200
    multiply-adds an image.  Published: 3.05 % error on MNIST (LeCun et al., 1998, 300 and 100).

    Initial weights follow He's rule, biases are 0.  Raises ValueError for images of another size.

    >>> import chainrule as cr
    >>> MLP(hidden=(32,)).features(cr.zeros(2, 1, 28, 28)).shape
    (2, 32)
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = SIDE,
        hidden: Sequence[int] = (300, 100),
    ) -> None:
        super().__init__()
        self.image_size = image_size
        sizes = [in_channels * image_size**2, *hidden]
        layers: list[Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [Linear(inputs, outputs), ReLU()]
        self.hidden = Sequential(*layers)
        self.fc = Linear(sizes[-1], num_classes)
        initialise(self, he)

    def features(self, x: Tensor) -> Tensor:
        """Give what the last layer classifies: (N, C, side, side) -> (N, hidden[-1])."""
        y: Tensor = chain(self.hidden, _pixels("MLP", x, self.image_size))
        return y

    embed = features

    def forward(self, x: Tensor) -> Tensor:
        """Give the scores of the classes: (N, C, side, side) -> (N, num_classes)."""
        scores: Tensor = self.fc(self.features(x))
        return scores
