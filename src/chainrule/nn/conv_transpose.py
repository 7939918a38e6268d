"""Transposed convolution layers in one, two and three dimensions from one base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.errors import KindError, failure
from chainrule.nn import functional as F
from chainrule.nn.conv import Convolution, Size
from chainrule.ops.arguments import int_tuple
from chainrule.ops.window import transposed_size


class TransposedConvolution(Convolution):
    """Base of the transposed convolution layers: what the output's size may be."""

    padding: tuple[int, ...]
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Any = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            rule = "padding_mode 'zeros', since the padding is cut off from the output"
            raise failure(name, rule, padding_mode=padding_mode)
        if isinstance(padding, str):
            raise failure(name, "padding in integers", error=KindError, padding=padding)
        settings = kernel_size, stride, padding, dilation, groups, bias, padding_mode
        super().__init__(in_channels, out_channels, *settings, device=device, dtype=dtype)
        self.output_padding = self._sizes("output_padding", output_padding, 0)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Spread: (N, in_channels, *sizes) -> (N, out_channels, *output sizes).

        `output_size` chooses between the sizes that the stride makes one: spatial sizes alone, or
        the whole shape.  Raises ValueError where there is no such output.
        """
        more = self._output_padding(input, output_size)
        settings = self.stride, self.padding, more, self.groups, self.dilation
        return type(self)._function(input, self.weight, self.bias, *settings)

    def _output_padding(self, input: Tensor, wanted: Sequence[int] | None) -> tuple[int, ...]:
        """Give the output padding that leads to the wanted size."""
        d = self._spatial
        if wanted is None or input.ndim not in (d + 1, d + 2):  # the function says what is wrong
            return self.output_padding
        name, lead = f"{type(self).__name__} output_size", input.ndim - d
        sizes = int_tuple(wanted, name, bare=False)
        sizes = sizes[lead:] if len(sizes) == lead + d else sizes
        if len(sizes) != d:
            rule = f"{d} or {lead + d} sizes, not {len(sizes)}"
            raise failure(name, rule, value=tuple(wanted), input=input)
        axes = zip(
            input.shape[lead:], self.kernel_size, self.stride, self.padding, self.dilation,
            strict=True,
        )  # fmt: skip
        least = [transposed_size(n, k, s, p, 0, t) for n, k, s, p, t in axes]
        more = tuple(size - low for size, low in zip(sizes, least, strict=True))
        if any(not 0 <= m < s for m, s in zip(more, self.stride, strict=True)):
            most = tuple(low + s - 1 for low, s in zip(least, self.stride, strict=True))
            rule = f"sizes from {tuple(least)} to {most}"
            raise failure(name, rule, value=sizes, input=input)
        return more


class ConvTranspose1d(TransposedConvolution):
    """Transposed convolution of sequences; see ConvTranspose2d.

    Shapes: (N, in_channels, L) or (in_channels, L); `weight` is
    (in_channels, out_channels/groups, k).

    >>> import chainrule as cr
    >>> cr.nn.ConvTranspose1d(3, 2, 4, stride=2, padding=1)(cr.zeros(2, 3, 7)).shape
    (2, 2, 14)
    """

    _spatial = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(TransposedConvolution):
    """Spread every value over a window by learned filters: larger images from smaller ones.

    y[o] = bias[o] + sum over the channels c of its group of x[c], each value times
    weight[c, o] at its place: the transpose of Conv2d (out_channels, in_channels, ...), which takes
    the output's size back.  Torch's SpatialFullConvolution; with a dilation its
    SpatialFullDilatedConvolution.

    Shapes: (N, in_channels, H, W), or one image (in_channels, H, W), -> (N, out_channels, H', W')
    with H' = (H - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding.  `weight` is
    (in_channels, out_channels/groups, kh, kw).  A strided convolution gives several sizes the
    same output; which of them comes back, `output_padding` or the call's `output_size` says.
    Initial values: uniform in +-1/sqrt(out_channels/groups * kh * kw), as PyTorch has them.

    Raises ValueError for groups that do not divide the channels, for another `padding_mode` than
    "zeros" and for other settings that do not fit, TypeError for what are no integers.
    Source: Zeiler et al., Deconvolutional networks (2010).

    >>> import chainrule as cr
    >>> down, up = cr.nn.Conv2d(3, 8, 3, stride=2), cr.nn.ConvTranspose2d(8, 3, 3, stride=2)
    >>> x = cr.zeros(1, 3, 10, 11)
    >>> up(down(x)).shape, up(down(x), output_size=x.shape).shape
    ((1, 3, 9, 11), (1, 3, 10, 11))
    """

    _spatial = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(TransposedConvolution):
    """Transposed convolution of volumes; see ConvTranspose2d.

    Shapes: (N, in_channels, D, H, W) or (in_channels, D, H, W); `weight` is
    (in_channels, out_channels/groups, kd, kh, kw).

    >>> import chainrule as cr
    >>> cr.nn.ConvTranspose3d(1, 2, (1, 2, 2), stride=(1, 2, 2))(cr.zeros(1, 1, 4, 5, 5)).shape
    (1, 2, 4, 10, 10)
    """

    _spatial = 3
    _function = staticmethod(F.conv_transpose3d)
