"""Padding layers in one, two and three dimensions: a constant, or what stands at the border."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn.module import Module
from chainrule.ops.arguments import int_tuple, integer

Size = int | Sequence[int]


class Padding(Module):
    """Base of the padding layers: the widths on every side, the last axis first.

    One integer is the width everywhere; a negative one crops.
    """

    _spatial: int
    _mode: str

    def __init__(self, padding: Size) -> None:
        super().__init__()
        name = f"{type(self).__name__} padding"
        self.padding: tuple[int, ...]
        if hasattr(padding, "__len__"):
            self.padding = int_tuple(padding, name)
        else:
            what = f"an integer or a tuple of {2 * self._spatial} integers"
            self.padding = (integer(padding, name, what),) * (2 * self._spatial)

    def forward(self, input: Tensor) -> Tensor:
        """Pad: (N, C, *sizes), or without N, -> the same with larger sizes."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """Show the widths."""
        return f"{self.padding}"


class ConstantPadding(Padding):
    """Base of the layers that put one value around the input."""

    _mode = "constant"

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Pad by the value."""
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        """Show the widths and the value."""
        return f"padding={self.padding}, value={self.value}"


class ZeroPadding(ConstantPadding):
    """Base of the layers that put zeros around the input."""

    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Show the widths."""
        return f"{self.padding}"


class CircularPadding(Padding):
    """Base of the layers that continue the input by its other side."""

    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        """Pad by the other side; ShapeError unless the input has one or two axes more."""
        d = self._spatial
        if input.ndim not in (d + 1, d + 2):
            rule = f"{d + 1} or {d + 2} axes, the last {d} to be padded"
            raise failure(type(self).__name__, rule, input=input)
        return super().forward(input)


class ConstantPad1d(ConstantPadding):
    """One value at both ends: `padding` is (left, right); see ConstantPad2d.

    >>> import chainrule as cr
    >>> cr.nn.ConstantPad1d((1, 2), 3.5)(cr.tensor([[0.0, 1.0]]))
    tensor([[3.5, 0.0, 1.0, 3.5, 3.5]])
    """

    _spatial = 1


class ConstantPad2d(ConstantPadding):
    """One value around images; `padding` is an integer or (left, right, top, bottom).

    Shapes: (..., H, W) -> (..., H + top + bottom, W + left + right); negative widths crop.
    Raises KindError for widths that are no integers; the forward ShapeError for those that
    do not fit.  See `functional.pad`.

    >>> import chainrule as cr
    >>> cr.nn.ConstantPad2d((1, 0, 0, 1), 9)(cr.tensor([[[1, 2]]]))
    tensor([[[9, 1, 2],
             [9, 9, 9]]])
    """

    _spatial = 2


class ConstantPad3d(ConstantPadding):
    """One value around volumes; `padding` (left, right, top, bottom, front, back).

    >>> import chainrule as cr
    >>> cr.nn.ConstantPad3d(1, 0.5)(cr.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    _spatial = 3


class ZeroPad1d(ZeroPadding):
    """Zeros at both ends: `padding` is (left, right); see ConstantPad2d.

    >>> import chainrule as cr
    >>> cr.nn.ZeroPad1d(1)(cr.tensor([[1, 2]]))
    tensor([[0, 1, 2, 0]])
    """

    _spatial = 1


class ZeroPad2d(ZeroPadding):
    """Zeros around images; `padding` (left, right, top, bottom); see ConstantPad2d.

    >>> import chainrule as cr
    >>> cr.nn.ZeroPad2d((1, -1, 0, 1))(cr.tensor([[[1, 2]]]))
    tensor([[[0, 1],
             [0, 0]]])
    """

    _spatial = 2


class ZeroPad3d(ZeroPadding):
    """Zeros around volumes; `padding` (left, right, top, bottom, front, back).

    >>> import chainrule as cr
    >>> cr.nn.ZeroPad3d((0, 0, 1, 1, 2, 2))(cr.zeros(1, 2, 3, 4)).shape
    (1, 6, 5, 4)
    """

    _spatial = 3


class ReflectionPad1d(Padding):
    """The sequence reflected at its ends, which are not repeated; see ReflectionPad2d.

    >>> import chainrule as cr
    >>> cr.nn.ReflectionPad1d(2)(cr.tensor([[1, 2, 3, 4]]))
    tensor([[3, 2, 1, 2, 3, 4, 3, 2]])
    """

    _spatial, _mode = 1, "reflect"


class ReflectionPad2d(Padding):
    """Images reflected at their borders; `padding` (left, right, top, bottom).

    The border itself is not repeated, so that each width is below the size.
    Shapes: (N, C, H, W) or (C, H, W) -> (..., H + top + bottom, W + left + right); negative
    widths crop.  Raises KindError for widths that are no integers; the forward ShapeError for
    those that do not fit.

    >>> import chainrule as cr
    >>> cr.nn.ReflectionPad2d((1, 0, 0, 1))(cr.tensor([[[1, 2], [3, 4]]]))
    tensor([[[2, 1, 2],
             [4, 3, 4],
             [2, 1, 2]]])
    """

    _spatial, _mode = 2, "reflect"


class ReflectionPad3d(Padding):
    """Volumes reflected at their borders; `padding` (left, right, top, bottom, front, back).

    >>> import chainrule as cr
    >>> cr.nn.ReflectionPad3d(1)(cr.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    _spatial, _mode = 3, "reflect"


class ReplicationPad1d(Padding):
    """The ends of sequences repeated; see ReplicationPad2d.

    >>> import chainrule as cr
    >>> cr.nn.ReplicationPad1d((2, 1))(cr.tensor([[1, 2]]))
    tensor([[1, 1, 1, 2, 2]])
    """

    _spatial, _mode = 1, "replicate"


class ReplicationPad2d(Padding):
    """The borders of images repeated; `padding` (left, right, top, bottom).

    Shapes: (N, C, H, W) or (C, H, W) -> (..., H + top + bottom, W + left + right); negative
    widths crop.  Raises KindError for widths that are no integers; the forward ShapeError for
    those that do not fit.

    >>> import chainrule as cr
    >>> cr.nn.ReplicationPad2d((1, 0, 1, 0))(cr.tensor([[[1, 2], [3, 4]]]))
    tensor([[[1, 1, 2],
             [1, 1, 2],
             [3, 3, 4]]])
    """

    _spatial, _mode = 2, "replicate"


class ReplicationPad3d(Padding):
    """The borders of volumes repeated; `padding` (left, right, top, bottom, front, back).

    >>> import chainrule as cr
    >>> cr.nn.ReplicationPad3d(1)(cr.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    _spatial, _mode = 3, "replicate"


class CircularPad1d(CircularPadding):
    """Each end of sequences continued by the other; see CircularPad2d.

    >>> import chainrule as cr
    >>> cr.nn.CircularPad1d((1, 2))(cr.tensor([[1, 2, 3]]))
    tensor([[3, 1, 2, 3, 1, 2]])
    """

    _spatial = 1


class CircularPad2d(CircularPadding):
    """Images continued by their other side; `padding` (left, right, top, bottom).

    Once around at most, so that each width is at most the size.
    Shapes: (N, C, H, W) or (C, H, W) -> (..., H + top + bottom, W + left + right); negative
    widths crop.  Raises KindError for widths that are no integers; the forward ShapeError for
    those that do not fit.

    >>> import chainrule as cr
    >>> cr.nn.CircularPad2d((1, 0, 1, 0))(cr.tensor([[[1, 2], [3, 4]]]))
    tensor([[[4, 3, 4],
             [2, 1, 2],
             [4, 3, 4]]])
    """

    _spatial = 2


class CircularPad3d(CircularPadding):
    """Volumes continued by their other side; `padding` (left, right, top, bottom, front, back).

    >>> import chainrule as cr
    >>> cr.nn.CircularPad3d(1)(cr.zeros(1, 2, 3, 4)).shape
    (1, 4, 5, 6)
    """

    _spatial = 3
