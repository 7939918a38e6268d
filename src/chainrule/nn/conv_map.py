"""Convolution layers along a table of connections."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor, mark_written
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.conv import Size
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.conv import at_least
from chainrule.ops.conv_map import connections, planes


class MapConvolution(Module):
    """Base of the layers with one filter for each connection; the table is part of their state."""

    table: Tensor

    def __init__(
        self,
        table: Any,
        kernel_size: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
        bias: bool,
        channels: tuple[int | None, int | None],
        device: str | None,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        rows = connections(table, f"{name} table")
        self.in_channels = planes(rows, channels[0], 0, f"{name} in_channels")
        self.out_channels = planes(rows, channels[1], 1, f"{name} out_channels")
        self.kernel_size = at_least(kernel_size, 2, 1, f"{name} kernel_size")
        self.stride = at_least(stride, 2, 1, f"{name} stride")
        self.padding = at_least(padding, 2, 0, f"{name} padding")
        self.dilation = at_least(dilation, 2, 1, f"{name} dilation")
        self.register_buffer("table", Tensor(rows))
        shape = (len(rows), *self.kernel_size)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.bias: Parameter | None
        if bias:
            self.bias = Parameter(empty(self.out_channels, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw anew: uniform in +-1/sqrt(fan_in), of how many values an output plane sees."""
        leads_to = self.table.array[:, 1]
        seen = np.bincount(leads_to, minlength=self.out_channels) * np.prod(self.kernel_size)
        bounds = 1 / np.sqrt(np.maximum(seen, 1))
        self._draw(self.weight, bounds[leads_to, None, None])
        if self.bias is not None:
            self._draw(self.bias, bounds)

    def _draw(self, parameter: Parameter, bounds: Any) -> None:
        init.uniform_(parameter, -1.0, 1.0)
        if not parameter.is_meta:
            parameter.array *= bounds.astype(parameter.dtype)
            mark_written(parameter)

    def extra_repr(self) -> str:
        """Show the planes, the connections, the kernel, and what differs from the default."""
        parts = [f"{self.in_channels}, {self.out_channels}, connections={self.table.shape[0]}"]
        parts += [f"kernel_size={self.kernel_size}, stride={self.stride}"]
        for name, usual in (("padding", 0), ("output_padding", 0), ("dilation", 1)):
            value = getattr(self, name, (usual,) * 2)
            if value != (usual,) * 2:
                parts.append(f"{name}={value}")
        return ", ".join(parts + ([] if self.bias is not None else ["bias=False"]))


class ConvMap2d(MapConvolution):
    """Convolution of images along a table of connections: Torch's SpatialConvolutionMap.

    y[o] = bias[o] + sum over the connections k that lead to plane o of weight[k] * x[table[k, 0]].
    The table has rows (input plane, output plane), counted from 0, each pair once;
    `nn.connections` makes full, one-to-one and random ones and that of LeNet-5's C3.  It is a
    buffer, and so in `state_dict`.  `in_channels` and `out_channels` are what the table
    names, unless they are given.

    Shapes: (N, in_channels, H, W), or without N, -> (N, out_channels, H', W') as Conv2d has them;
    `weight` is (connections, kh, kw).  Initial values are Torch's: uniform in +-1/sqrt(fan_in),
    where fan_in counts the values that the output plane sees.
    Raises ValueError for tables and settings that do not fit, TypeError for what are no integers.
    Source: LeCun et al., Gradient-based learning applied to document recognition (1998).

    >>> import chainrule as cr
    >>> c3 = cr.nn.ConvMap2d(cr.nn.connections.lenet5_c3(), 5)
    >>> c3(cr.zeros(1, 6, 14, 14)).shape, sum(p.numel() for p in c3.parameters())
    ((1, 16, 10, 10), 1516)
    """

    def __init__(
        self,
        table: Any,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
        in_channels: int | None = None,
        out_channels: int | None = None,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        settings = table, kernel_size, stride, padding, dilation, bias
        super().__init__(*settings, (in_channels, out_channels), device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve: (N, in_channels, H, W) -> (N, out_channels, H', W')."""
        settings = self.stride, self.padding, self.dilation, self.out_channels
        return F.conv2d_map(input, self.weight, self.table, self.bias, *settings)


class ConvTransposeMap2d(MapConvolution):
    """Transposed convolution along a table of connections: Torch's SpatialFullConvolutionMap.

    y[o] = bias[o] + sum over the connections k that lead to plane o of x[table[k, 0]], every value
    times weight[k] at its place.  Table, parameters, initial values and errors as in ConvMap2d,
    settings and sizes as in ConvTranspose2d.

    >>> import chainrule as cr
    >>> up = cr.nn.ConvTransposeMap2d(cr.nn.connections.one_to_one(3), 2, stride=2)
    >>> up(cr.zeros(1, 3, 5, 5)).shape
    (1, 3, 10, 10)
    """

    def __init__(
        self,
        table: Any,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
        in_channels: int | None = None,
        out_channels: int | None = None,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        settings = table, kernel_size, stride, padding, dilation, bias
        super().__init__(*settings, (in_channels, out_channels), device, dtype)
        self.output_padding = at_least(output_padding, 2, 0, "ConvTransposeMap2d output_padding")

    def forward(self, input: Tensor) -> Tensor:
        """Spread: (N, in_channels, H, W) -> (N, out_channels, H', W')."""
        settings = self.stride, self.padding, self.output_padding, self.dilation, self.out_channels
        return F.conv_transpose2d_map(input, self.weight, self.table, self.bias, *settings)
