"""Subsampling layers: the mean of each window with a trained weight and bias for each channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.linear import count
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.arguments import ntuple

Size = int | Sequence[int]


class SubSampling(Module):
    """Base of the subsampling layers."""

    _spatial: int
    _function: Callable[..., Tensor]

    def __init__(
        self,
        num_channels: int,
        kernel_size: Size,
        stride: Size | None = None,
        bias: bool = True,
        divisor_override: int | None = None,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_channels = count(num_channels, f"{name} num_channels")
        self.kernel_size = ntuple(kernel_size, self._spatial, f"{name} kernel_size")
        steps = kernel_size if stride is None else stride
        self.stride = ntuple(steps, self._spatial, f"{name} stride")
        self.divisor_override = divisor_override
        self.weight = Parameter(empty(self.num_channels, dtype=dtype, device=device))
        self.bias: Parameter | None
        if bias:
            self.bias = Parameter(empty(self.num_channels, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weights to 1 and biases to 0: plain average pooling."""
        init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Average, scale and shift: (N, num_channels, *sizes) -> (N, num_channels, *outputs)."""
        settings = (self.kernel_size, self.stride, self.divisor_override)
        return type(self)._function(input, self.weight, self.bias, *settings)

    def extra_repr(self) -> str:
        """Show the channels and windows, and what differs from the default."""
        text = f"{self.num_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        text += "" if self.bias is not None else ", bias=False"
        override = self.divisor_override
        return text if override is None else f"{text}, divisor_override={override}"


class SubSampling1d(SubSampling):
    """The mean of each window of a sequence, times a weight, plus a bias; see SubSampling2d.

    Shapes: (N, num_channels, L) or (num_channels, L).

    >>> import chainrule as cr
    >>> cr.nn.SubSampling1d(1, 2)(cr.tensor([[1.0, 3.0, 2.0, 6.0]])).tolist()
    [[2.0, 4.0]]
    """

    _spatial = 1
    _function = staticmethod(F.subsampling1d)


class SubSampling2d(SubSampling):
    """The mean of each window times its channel's weight plus its channel's bias: LeNet-5's S2, S4.

    Shapes: (N, num_channels, H, W) or (num_channels, H, W) -> (..., H', W') with
    H' = floor((H - kernel) / stride) + 1; the stride is the kernel's size if None.  `weight` and
    `bias` (num_channels,) begin at 1 and 0.  `divisor_override=1` adds up instead, as LeNet-5's
    paper and Torch 7's SpatialSubSampling do.  Raises ValueError for negative sizes; the forward
    raises it for another number of channels.

    >>> import chainrule as cr
    >>> s2 = cr.nn.SubSampling2d(6, 2)
    >>> s2(cr.zeros(1, 6, 28, 28)).shape, sum(p.numel() for p in s2.parameters())
    ((1, 6, 14, 14), 12)
    """

    _spatial = 2
    _function = staticmethod(F.subsampling2d)


class SubSampling3d(SubSampling):
    """The mean of each window of a volume, times a weight, plus a bias; see SubSampling2d.

    Shapes: (N, num_channels, D, H, W) or (num_channels, D, H, W).

    >>> import chainrule as cr
    >>> cr.nn.SubSampling3d(2, 2)(cr.zeros(1, 2, 4, 4, 6)).shape
    (1, 2, 2, 2, 3)
    """

    _spatial = 3
    _function = staticmethod(F.subsampling3d)
