"""Contrast: values less the mean around them, over the spread around them; mean and variance.

Composed of other operations.  Sources: Torch 7's Spatial*Normalization, Jarrett et al., "What is
the best multi-stage architecture for object recognition?" (2009), and Caffe's MVN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import Array, public
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import failure
from chainrule.ops.arguments import flag
from chainrule.ops.conv import conv1d, conv2d, conv3d
from chainrule.ops.formulas import need_float
from chainrule.ops.norm_common import number
from chainrule.ops.reduce import mean, std
from chainrule.ops.reduce import sum as total
from chainrule.ops.select import where
from chainrule.ops.unary import sqrt

CONVOLUTIONS: dict[int, Any] = {1: conv1d, 2: conv2d, 3: conv3d}
WIDTH = 9  # of the kernel of ones that serves where none is given


class Neighbourhood:
    """Weights around each position of (N, C, *sizes), or of an image without a batch."""

    def __init__(self, name: str, input: Any, kernel: Any) -> None:
        x = as_tensor(input)
        need_float(name, x)
        weights = check_kernel(name, np.ones(WIDTH) if kernel is None else kernel)
        self._alone = x.ndim == weights.ndim + 1 > 2
        self.x = x.unsqueeze(0) if self._alone else x
        d = self.x.ndim - 2
        if d not in CONVOLUTIONS or weights.ndim not in (1, d):
            rule = "an input (N, C, *sizes) and a kernel of 1 axis or of as many as sizes"
            raise failure(name, rule, input=x, kernel=weights.shape)
        self._convolve = CONVOLUTIONS[d]
        shapes = [weights.shape]
        if weights.ndim < d:  # one kernel along each axis
            shapes = [(1,) * i + weights.shape + (1,) * (d - 1 - i) for i in range(d)]
        scaled = (weights / weights.sum()).astype(x.dtype)
        self._kernels = [Tensor(scaled.reshape(1, 1, *shape)) for shape in shapes]

    def weigh(self, values: Tensor) -> Tensor:
        """Average the channels, then add up the weighted values around each position."""
        values = total(values, 1, keepdim=True) / values.shape[1]
        for kernel in self._kernels:
            around = tuple([k // 2 for k in kernel.shape[2:]])
            values = self._convolve(values, kernel, padding=around)
        return values

    def inside(self) -> Tensor:
        """Give what part of the weights lies on the image: 1 away from its border."""
        return self.weigh(Tensor(np.ones((1, 1, *self.x.shape[2:]), self.x.dtype)))

    def result(self, y: Tensor) -> Tensor:
        """Give y with a batch axis if the input had one."""
        return y.squeeze(0) if self._alone else y


def check_kernel(name: str, kernel: Any) -> Array:
    """Give a kernel as a float64 array; ShapeError for even sizes and for one that sums to 0."""
    array = as_tensor(kernel, f"{name} kernel").array.astype(np.float64)
    if array.ndim < 1 or any(size % 2 == 0 for size in array.shape):
        raise failure(name, "a kernel of odd sizes, so that it has a middle", kernel=array.shape)
    if array.sum() == 0:
        raise failure(name, "a kernel whose sum is not 0", kernel=array.shape)
    return array


@public
def subtractive_norm(input: Tensor, kernel: Any = None) -> Tensor:
    """Take from each value the weighted mean of all channels around its position.

    y[c, i] = x[c, i] - (the sum over channels and kernel entries k of w[k] x[c', i + k]) / (C times
    the sum of the w[k] that lie on the image).  Torch 7's SpatialSubtractiveNormalization.

    Shapes: (N, C, *sizes) with 1 to 3 sizes -> the same.  The kernel has as many axes as there are
    sizes, or one, which is then laid along each of them; the default is 9 ones.  An image without
    N is taken where the kernel's axes tell.  No gradient goes to the kernel.
    Raises ShapeError for a kernel of even sizes, of other axes or with the sum 0; KindError for
    integer inputs.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 2.0, 6.0]]])
    >>> cr.nn.functional.subtractive_norm(x, cr.ones(3))
    tensor([[[-0.5, -1.0,  2.0]]])
    """
    around = Neighbourhood("subtractive_norm", input, kernel)
    return around.result(around.x - around.weigh(around.x) / around.inside())


@public
def divisive_norm(
    input: Tensor, kernel: Any = None, threshold: float = 1e-4, thresval: float | None = None
) -> Tensor:
    """Divide each value by the weighted root mean square of all channels around its position.

    y = x / s with s = sqrt(mean over channels of the sum of w[k] x[c', i + k]**2) / (the sum of the
    w[k] that lie on the image), the kernel's sum being made 1; where s is not above `threshold` it
    is `thresval` (the threshold if left out), without a gradient.  Torch 7's
    SpatialDivisiveNormalization, which divides by the same part at the border.

    Shapes, kernel and errors are those of `subtractive_norm`.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[0.0, 0.0, 3.0, 3.0, 3.0, 0.0]]])
    >>> cr.nn.functional.divisive_norm(x, cr.ones(1))
    tensor([[[0.0, 0.0, 1.0, 1.0, 1.0, 0.0]]])
    """
    low = number(threshold, "divisive_norm threshold")
    value = low if thresval is None else number(thresval, "divisive_norm thresval")
    around = Neighbourhood("divisive_norm", input, kernel)
    x, inside = around.x, around.inside()
    square = around.weigh(x * x)
    above = sqrt(square.detach()) / inside > low
    spread = sqrt(where(above, square, 1.0)) / inside  # no root, and no slope of one, near 0
    return around.result(x / where(above, spread, value))


@public
def contrastive_norm(
    input: Tensor, kernel: Any = None, threshold: float = 1e-4, thresval: float | None = None
) -> Tensor:
    """Take away the mean around each position, then divide by the spread around it.

    `subtractive_norm`, then `divisive_norm`, with one kernel: local contrast normalisation (Jarrett
    et al., 2009), Torch 7's SpatialContrastiveNormalization.  Shapes and errors are theirs.

    >>> import chainrule as cr
    >>> x = cr.tensor([[[1.0, 2.0, 6.0]]])
    >>> cr.nn.functional.contrastive_norm(x, cr.ones(1), thresval=2.0)
    tensor([[[0.0, 0.0, 0.0]]])
    """
    centred = subtractive_norm(input, kernel)
    return divisive_norm(centred, kernel, threshold, thresval)


@public
def mean_variance_norm(
    input: Tensor,
    normalize_variance: bool = True,
    across_channels: bool = False,
    eps: float = 1e-9,
) -> Tensor:
    """Take away the mean of each image's channel, then divide by its standard deviation.

    y = (x - mean) / (std + eps), the (biased) deviation and the mean being those of one channel of
    one image, or of the whole image `across_channels`; without `normalize_variance` y = x - mean.
    The gradient where all values are equal is that of a constant deviation.  Caffe's MVN.

    Shapes: (N, C, ...) with at least 3 axes (2 across channels) -> the same.
    Raises ShapeError for fewer axes, KindError for integers and for switches that are no booleans.

    >>> import chainrule as cr
    >>> cr.nn.functional.mean_variance_norm(cr.tensor([[[1.0, 3.0], [4.0, 4.0]]]))
    tensor([[[-1.0,  1.0],
             [ 0.0,  0.0]]])
    """
    name, x = "mean_variance_norm", as_tensor(input)
    need_float(name, x)
    first = 1 if flag(across_channels, f"{name} across_channels") else 2
    if x.ndim <= first:
        raise failure(name, f"at least {first + 1} axes: (N, C, ...)", input=x)
    axes, small = tuple(range(first, x.ndim)), number(eps, f"{name} eps")
    y = x - mean(x, axes, keepdim=True)
    if not flag(normalize_variance, f"{name} normalize_variance"):
        return y
    return y / (std(x, axes, correction=0, keepdim=True) + small)
