"""Depthwise convolutions: filters that each see one channel alone."""

from __future__ import annotations

from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.nn.conv import Conv1d, Conv2d, Conv3d, Convolution, Size
from chainrule.nn.linear import count


class DepthwiseConvolution(Convolution):
    """Base of the depthwise layers: as many groups as channels."""

    def __init__(
        self,
        channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        multiplier: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        groups = count(channels, f"{name} channels", least=1)
        filters = groups * count(multiplier, f"{name} multiplier", least=1)
        settings = kernel_size, stride, padding, dilation, groups, bias, padding_mode
        super().__init__(groups, filters, *settings, device=device, dtype=dtype)


class DepthwiseConv1d(DepthwiseConvolution, Conv1d):
    """Depthwise convolution of sequences; see DepthwiseConv2d.

    >>> import chainrule as cr
    >>> cr.nn.DepthwiseConv1d(3, 5)(cr.zeros(2, 3, 7)).shape
    (2, 3, 3)
    """


class DepthwiseConv2d(DepthwiseConvolution, Conv2d):
    """Convolve every channel by itself, with `multiplier` filters each.

    It is Conv2d(channels, multiplier * channels, ..., groups=channels), whose settings, errors and
    initial values it has.  With a Conv2d of 1x1 after it: a depthwise separable convolution
    (Sifre, 2014; Chollet, Xception, 2017).

    Shapes: (N, channels, H, W) -> (N, multiplier * channels, H', W'), the filters of a channel
    side by side; `weight` is (multiplier * channels, 1, kh, kw).

    >>> import chainrule as cr
    >>> cr.nn.DepthwiseConv2d(3, 3, padding=1, multiplier=2)
    DepthwiseConv2d(3, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=3)
    """


class DepthwiseConv3d(DepthwiseConvolution, Conv3d):
    """Depthwise convolution of volumes; see DepthwiseConv2d.

    >>> import chainrule as cr
    >>> cr.nn.DepthwiseConv3d(2, (1, 3, 3))(cr.zeros(1, 2, 4, 5, 5)).shape
    (1, 2, 4, 3, 3)
    """


class RowConv1d(DepthwiseConv1d):
    """One filter for each feature of a sequence, over time: Torch's TemporalRowConvolution.

    y[n, k, c] = bias[c] + sum_a weight[c, 0, a] * x[n, k*stride + a, c].
    Shapes: (N, frames, features) -> (N, frames', features), or without N, with
    frames' = floor((frames - kernel_size) / stride) + 1; with `feat_first`
    (N, features, frames), which is DepthwiseConv1d.
    Source: Amodei et al., Deep Speech 2 (2016), "row convolution".

    >>> import chainrule as cr
    >>> cr.nn.RowConv1d(4, 3)(cr.zeros(2, 10, 4)).shape
    (2, 8, 4)
    """

    def __init__(
        self,
        features: int,
        kernel_size: Size,
        stride: Size = 1,
        feat_first: bool = False,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(features, kernel_size, stride, bias=bias, device=device, dtype=dtype)
        self.feat_first = bool(feat_first)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve along the frames: (N, frames, features) -> (N, frames', features)."""
        if self.feat_first or input.ndim not in (2, 3):  # the convolution says what is wrong
            return super().forward(input)
        y: Tensor = super().forward(input.transpose(-1, -2)).transpose(-1, -2)
        return y

    def extra_repr(self) -> str:
        """Show what a convolution shows, and the order of the axes."""
        return super().extra_repr() + (", feat_first=True" if self.feat_first else "")
