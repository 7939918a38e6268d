"""Pooling layers in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.nn import functional as F
from chainrule.nn.module import Module
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import ntuple

Size = int | Sequence[int]


class _Pool(Module):
    """Base of the pooling layers: a kernel, and a stride that is the kernel's if left out."""

    _spatial: int
    _function: Callable[..., Any]

    def __init__(self, kernel_size: Size, stride: Size | None, padding: Size) -> None:
        super().__init__()
        self.kernel_size = self._checked("kernel_size", kernel_size)
        self.stride = self._checked("stride", kernel_size if stride is None else stride)
        self.padding = self._checked("padding", padding)

    def _checked(self, what: str, value: Size) -> Size:
        """Give the setting as it came, since it shows so, but refuse what is no size."""
        ntuple(value, self._spatial, f"{type(self).__name__} {what}")
        return value

    def extra_repr(self) -> str:
        """Show the windows."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPooling(_Pool):
    """Base of the max pooling layers."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation = self._checked("dilation", dilation)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Take each window's largest value; with `return_indices` also where it was."""
        return type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        """Show the windows."""
        return f"{super().extra_repr()}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool1d(MaxPooling):
    """The largest value of each window of a sequence; see MaxPool2d.

    Shapes: (N, C, L) or (C, L).

    >>> import chainrule as cr
    >>> cr.nn.MaxPool1d(2)(cr.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[3.0, 2.0]]])
    """

    _spatial = 1
    _function = staticmethod(F.max_pool1d)


class MaxPool2d(MaxPooling):
    """The largest value of each window of each channel; decks 002 to 004, "Max pooling".

    Shapes: (N, C, H, W) or (C, H, W) -> (..., H', W') with
    H' = floor((H + 2 padding - dilation (k - 1) - 1) / stride) + 1, rounded up in `ceil_mode`.
    The stride is the kernel's if None.  With `return_indices` the result is (values, indices), the
    indices counted in the flattened H*W plane.  The gradient goes to the winners alone; of equal
    values the first wins.  Raises TypeError for sizes that are no integers.

    >>> import chainrule as cr
    >>> image = [[3.0, 2, 3, 1], [0, 5, 3, 4], [1, 2, 2, 2], [7, 3, 1, 7]]
    >>> cr.nn.MaxPool2d(2)(cr.tensor([image]))
    tensor([[[5.0, 4.0],
             [7.0, 7.0]]])
    """

    _spatial = 2
    _function = staticmethod(F.max_pool2d)


class MaxPool3d(MaxPooling):
    """The largest value of each window of a volume; see MaxPool2d.

    Shapes: (N, C, D, H, W) or (C, D, H, W).

    >>> import chainrule as cr
    >>> cr.nn.MaxPool3d((1, 2, 2))(cr.zeros(1, 2, 3, 4, 4)).shape
    (1, 2, 3, 2, 2)
    """

    _spatial = 3
    _function = staticmethod(F.max_pool3d)


class AvgPool1d(_Pool):
    """The mean of each window of a sequence; see AvgPool2d.

    Shapes: (N, C, L) or (C, L).

    >>> import chainrule as cr
    >>> cr.nn.AvgPool1d(2)(cr.tensor([[[1.0, 3.0, 2.0, 0.0]]]))
    tensor([[[2.0, 1.0]]])
    """

    _spatial = 1

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def _checked(self, what: str, value: Size) -> Size:
        """Give the setting as a tuple of one, as PyTorch shows it."""
        return ntuple(value, 1, f"AvgPool1d {what}")

    def forward(self, input: Tensor) -> Tensor:
        """Average the windows: (N, C, L) -> (N, C, L')."""
        settings = (self.kernel_size, self.stride, self.padding)
        return F.avg_pool1d(input, *settings, self.ceil_mode, self.count_include_pad)


class AvgPooling(_Pool):
    """Base of the average pooling layers in two and three dimensions."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Average the windows: (N, C, *sizes) -> (N, C, *output sizes)."""
        result: Tensor = type(self)._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )
        return result


class AvgPool2d(AvgPooling):
    """The mean of each window of each channel.

    Shapes as in MaxPool2d.  Windows over the border divide by the whole kernel, or without
    `count_include_pad` by the values that are there; `divisor_override` divides by another number.

    >>> import chainrule as cr
    >>> cr.nn.AvgPool2d(2)(cr.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    tensor([[[2.5]]])
    """

    _spatial = 2
    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(AvgPooling):
    """The mean of each window of a volume; see AvgPool2d.

    Shapes: (N, C, D, H, W) or (C, D, H, W).

    >>> import chainrule as cr
    >>> cr.nn.AvgPool3d(2)(cr.ones(1, 1, 2, 2, 4)).tolist()
    [[[[[1.0, 1.0]]]]]
    """

    _spatial = 3
    _function = staticmethod(F.avg_pool3d)


AdaptiveAvgPool1d = stateless("AdaptiveAvgPool1d", F.adaptive_avg_pool1d)
AdaptiveAvgPool2d = stateless("AdaptiveAvgPool2d", F.adaptive_avg_pool2d)
AdaptiveAvgPool3d = stateless("AdaptiveAvgPool3d", F.adaptive_avg_pool3d)


class AdaptiveMaxPooling(Module):
    """Base of the adaptive max pooling layers."""

    _function: Callable[..., Any]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Take the largest value of each part; with `return_indices` also where it was."""
        return type(self)._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """Show the output's size."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(AdaptiveMaxPooling):
    """The largest value of each of `output_size` parts of a sequence; see AdaptiveMaxPool2d.

    >>> import chainrule as cr
    >>> cr.nn.AdaptiveMaxPool1d(2)(cr.tensor([[[1.0, 3.0, 2.0]]]))
    tensor([[[3.0, 3.0]]])
    """

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(AdaptiveMaxPooling):
    """The largest value of each part of an image cut into `output_size` parts.

    Shapes: (N, C, H, W) or (C, H, W) -> (..., *output_size); None keeps a size.

    >>> import chainrule as cr
    >>> cr.nn.AdaptiveMaxPool2d((1, None))(cr.zeros(1, 2, 5, 3)).shape
    (1, 2, 1, 3)
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(AdaptiveMaxPooling):
    """The largest value of each part of a volume; see AdaptiveMaxPool2d.

    >>> import chainrule as cr
    >>> cr.nn.AdaptiveMaxPool3d(1)(cr.zeros(1, 2, 5, 3, 3)).shape
    (1, 2, 1, 1, 1)
    """

    _function = staticmethod(F.adaptive_max_pool3d)


LPPool1d = stateless("LPPool1d", F.lp_pool1d)
LPPool2d = stateless("LPPool2d", F.lp_pool2d)
LPPool3d = stateless("LPPool3d", F.lp_pool3d)
GlobalAvgPool = stateless("GlobalAvgPool", F.global_avg_pool)
GlobalMaxPool = stateless("GlobalMaxPool", F.global_max_pool)
SpatialPyramidPool1d = stateless("SpatialPyramidPool1d", F.spatial_pyramid_pool1d)
SpatialPyramidPool2d = stateless("SpatialPyramidPool2d", F.spatial_pyramid_pool2d)
SpatialPyramidPool3d = stateless("SpatialPyramidPool3d", F.spatial_pyramid_pool3d)


class MaxUnpooling(_Pool):
    """Base of the layers that undo max pooling."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__(kernel_size, stride, padding)

    def _checked(self, what: str, value: Size) -> Size:
        """Give the setting as a tuple, as PyTorch shows it."""
        return ntuple(value, self._spatial, f"{type(self).__name__} {what}")

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Put each value at its index; `output_size` decides where several sizes pool alike."""
        settings = (self.kernel_size, self.stride, self.padding)
        result: Tensor = type(self)._function(input, indices, *settings, output_size)
        return result


class MaxUnpool1d(MaxUnpooling):
    """Maxima of a sequence back at their places; see MaxUnpool2d.

    Shapes: (N, C, L) or (C, L), and as many indices.

    >>> import chainrule as cr
    >>> cr.nn.MaxUnpool1d(2)(cr.tensor([[3.0, 5.0]]), cr.tensor([[0, 3]]))
    tensor([[3.0, 0.0, 0.0, 5.0]])
    """

    _spatial = 1
    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(MaxUnpooling):
    """Maxima back at the places where MaxPool2d of the same settings found them, zeros elsewhere.

    Shapes: (N, C, H, W) or (C, H, W), and as many indices, -> (..., H', W') with
    H' = (H - 1)*stride - 2*padding + kernel, or as the call's `output_size` says, where several
    sizes pool to the same.  Raises TypeError for sizes that are no integers.

    >>> import chainrule as cr
    >>> pool, unpool = cr.nn.MaxPool2d(2, return_indices=True), cr.nn.MaxUnpool2d(2)
    >>> x = cr.tensor([[[1.0, 2.0, 0.0], [4.0, 3.0, 0.0]]])
    >>> unpool(*pool(x), output_size=(2, 3))
    tensor([[[0.0, 0.0, 0.0],
             [4.0, 0.0, 0.0]]])
    """

    _spatial = 2
    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(MaxUnpooling):
    """Maxima of a volume back at their places; see MaxUnpool2d.

    Shapes: (N, C, D, H, W) or (C, D, H, W), and as many indices.

    >>> import chainrule as cr
    >>> x, at = cr.ones(1, 1, 1, 2, 2), cr.zeros(1, 1, 1, 2, 2, dtype=cr.int64)
    >>> cr.nn.MaxUnpool3d((1, 2, 2))(x, at).shape
    (1, 1, 1, 4, 4)
    """

    _spatial = 3
    _function = staticmethod(F.max_unpool3d)
