"""Convolution layers in one, two and three dimensions from one base; unfold and fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.linear import count, reset_affine
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import ntuple

Size = int | Sequence[int]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Convolution(Module):
    """Base of the convolution layers: settings, parameters, and padding that is not zeros."""

    _spatial: int
    _function: Callable[..., Tensor]
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = count(in_channels, f"{name} in_channels")
        self.out_channels = count(out_channels, f"{name} out_channels")
        self.groups = count(groups, f"{name} groups", least=1)
        self.kernel_size = self._sizes("kernel_size", kernel_size, 1)
        self.stride = self._sizes("stride", stride, 1)
        self.dilation = self._sizes("dilation", dilation, 1)
        self.padding: tuple[int, ...] | str
        self.padding = padding if isinstance(padding, str) else self._sizes("padding", padding, 0)
        self.padding_mode = padding_mode
        self.output_padding = (0,) * self._spatial  # of the transposed ones
        self._check()
        self.weight: Parameter
        self.bias: Parameter | None
        self._make_parameters(bias, device, dtype)

    def _make_parameters(self, bias: bool, device: str | None, dtype: Any) -> None:
        self.weight = Parameter(empty(self._weight_shape(), dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(empty(self.out_channels, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _weight_shape(self) -> tuple[int, ...]:
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def _sizes(self, what: str, value: Size, least: int) -> tuple[int, ...]:
        name = f"{type(self).__name__} {what}"
        sizes = ntuple(value, self._spatial, name)
        if min(sizes) < least:
            raise failure(name, f"at least {least}", value=value)
        return sizes

    def _check(self) -> None:
        name = type(self).__name__
        for what, channels in (("in", self.in_channels), ("out", self.out_channels)):
            left = channels % self.groups
            if left:
                rule = f"{what}_channels that divide into groups: {channels} % {self.groups} = 0"
                raise failure(name, f"{rule}, not {left}")
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise failure(name, "padding 'same', 'valid' or integers", padding=self.padding)
            if self.padding == "same" and max(self.stride) > 1:
                raise failure(name, "stride 1 with padding 'same'", stride=self.stride)
        if self.padding_mode not in PADDING_MODES:
            raise failure(name, f"one of {PADDING_MODES}", padding_mode=self.padding_mode)

    def reset_parameters(self) -> None:
        """Draw weights and biases anew: uniform in +-1/sqrt(in_channels/groups * kernel)."""
        reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve: (N, in_channels, *sizes) -> (N, out_channels, *output sizes)."""
        call, padding = type(self)._function, self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._borders(), mode=self.padding_mode)
            padding = (0,) * self._spatial
        return call(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _borders(self) -> tuple[int, ...]:
        """Give (before, after) from the last axis to the first, as `pad` wants them."""
        if not isinstance(self.padding, str):
            totals = [2 * p for p in self.padding]
        elif self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        else:
            totals = [0] * self._spatial
        return tuple(w for t in reversed(totals) for w in (t // 2, t - t // 2))

    def extra_repr(self) -> str:
        """Show the channels, the kernel, the stride, and what differs from the default."""
        parts = [f"{self.in_channels}, {self.out_channels}"]
        parts += [f"kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0,) * self._spatial:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self._spatial:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * self._spatial:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class Conv1d(Convolution):
    """Cross-correlation of sequences with learned filters; see Conv2d.

    Shapes: (N, in_channels, L) or (in_channels, L); `weight` is
    (out_channels, in_channels/groups, k).

    >>> import chainrule as cr
    >>> cr.nn.Conv1d(3, 8, 5, padding="same")(cr.zeros(2, 3, 7)).shape
    (2, 8, 7)
    """

    _spatial = 1
    _function = staticmethod(F.conv1d)


class Conv2d(Convolution):
    """Cross-correlation of images with learned filters; decks 000 to 004, "Convolution".

    y[o] = bias[o] + sum over the channels c of its group of weight[o, c] * x[c].

    Shapes: (N, in_channels, H, W), or one image (in_channels, H, W), -> (N, out_channels, H', W')
    with H' = floor((H + 2 padding - dilation (k - 1) - 1) / stride) + 1: rows and columns that no
    window reaches are dropped.  `weight` is (out_channels, in_channels/groups, kh, kw).
    Sizes are integers or (height, width); padding also "valid" (none) or "same" (stride 1 alone).
    `padding_mode` says what stands beyond the border.  Initial values: uniform in
    +-1/sqrt(in_channels/groups * kh * kw).

    Raises ValueError for groups that do not divide the channels and for other settings that do not
    fit, TypeError for what are no integers; the forward says with the arithmetic why an image is
    too small.

    >>> import chainrule as cr
    >>> conv = cr.nn.Conv2d(3, 10, 5, stride=1, padding=2)
    >>> conv(cr.zeros(1, 3, 32, 32)).shape, sum(p.numel() for p in conv.parameters())
    ((1, 10, 32, 32), 760)
    """

    _spatial = 2
    _function = staticmethod(F.conv2d)


class Conv3d(Convolution):
    """Cross-correlation of volumes with learned filters; see Conv2d.

    Shapes: (N, in_channels, D, H, W) or (in_channels, D, H, W); `weight` is
    (out_channels, in_channels/groups, kd, kh, kw).

    >>> import chainrule as cr
    >>> cr.nn.Conv3d(1, 2, (1, 3, 3))(cr.zeros(1, 1, 4, 5, 5)).shape
    (1, 2, 4, 3, 3)
    """

    _spatial = 3
    _function = staticmethod(F.conv3d)


Unfold = stateless("Unfold", F.unfold)
Unfold1d = stateless("Unfold1d", F.unfold1d)
Unfold3d = stateless("Unfold3d", F.unfold3d)
Fold = stateless("Fold", F.fold)
Fold1d = stateless("Fold1d", F.fold1d)
Fold3d = stateless("Fold3d", F.fold3d)
