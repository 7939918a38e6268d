"""Layers that change an image's size: upsampling, pixel shuffle; and the channel shuffle."""

from __future__ import annotations

from typing import Any

from chainrule.engine.tensor import Tensor
from chainrule.nn import functional as F
from chainrule.nn.module import Module
from chainrule.nn.stateless import stateless
from chainrule.ops.formulas import number

PixelShuffle = stateless("PixelShuffle", F.pixel_shuffle)
PixelUnshuffle = stateless("PixelUnshuffle", F.pixel_unshuffle)
ChannelShuffle = stateless("ChannelShuffle", F.channel_shuffle)


class Upsample(Module):
    """Resample to a `size`, or by a `scale_factor`; see `functional.interpolate`.

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> (N, C, *size), where a factor gives
    floor(scale_factor * size).  Modes: nearest, linear, bilinear, trilinear, bicubic (and
    nearest-exact, area).  Raises KindError for a factor that is no number; the forward what
    `interpolate` raises.

    >>> import chainrule as cr
    >>> cr.nn.Upsample(scale_factor=2, mode="linear")(cr.tensor([[[0.0, 4.0]]]))
    tensor([[[0.0, 1.0, 3.0, 4.0]]])
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        what = f"{type(self).__name__} scale_factor"
        self.name = type(self).__name__
        self.size = size
        self.scale_factor: Any
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple([number(factor, what) for factor in scale_factor])
        else:
            self.scale_factor = number(scale_factor, what) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Resample: (N, C, *sizes) -> (N, C, *size)."""
        more = (self.mode, self.align_corners, self.recompute_scale_factor)
        return F.interpolate(input, self.size, self.scale_factor, *more)

    def extra_repr(self) -> str:
        """Show the factor, or else the size, and the mode."""
        by_factor = self.scale_factor is not None
        to = f"scale_factor={self.scale_factor!r}" if by_factor else f"size={self.size!r}"
        return f"{to}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Resample images by copies; an older name of Upsample.

    >>> import chainrule as cr
    >>> cr.nn.UpsamplingNearest2d(scale_factor=2)(cr.tensor([[[[1.0, 2.0]]]]))
    tensor([[[[1.0, 1.0, 2.0, 2.0],
              [1.0, 1.0, 2.0, 2.0]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Resample images linearly with their corners aligned; an older name of Upsample.

    >>> import chainrule as cr
    >>> cr.nn.UpsamplingBilinear2d((1, 3))(cr.tensor([[[[0.0, 1.0]]]]))
    tensor([[[[0.0, 0.5, 1.0]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
