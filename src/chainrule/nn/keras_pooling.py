"""Pooling layers in Keras's form, and the words that all layers of that form take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, failure
from chainrule.nn import functional as F
from chainrule.nn.module import Module
from chainrule.ops.conv import at_least
from chainrule.ops.permute import permute
from chainrule.ops.window import AXES, same_pooling

Size = int | Sequence[int]

FORMATS = ("channels_last", "channels_first")
PADDINGS = ("valid", "same")


def word(what: str, value: Any, known: tuple[str, ...]) -> str:
    """Give one of Keras's words, in small letters."""
    if not isinstance(value, str):
        raise failure(what, f"one of {known}", error=KindError, value=value)
    if value.lower() not in known:
        raise failure(what, f"one of {known}", value=value)
    return value.lower()


def channels_first(name: str, input: Any, d: int, last: bool) -> Tensor:
    """Give a batch as (N, C, *sizes), where the channels are last seen from another side."""
    x = as_tensor(input, name)
    if x.ndim != d + 2:
        axes = f"{AXES[d]}, C" if last else f"C, {AXES[d]}"
        raise failure(name, f"a batch (N, {axes})", input=x)
    order = (0, d + 1, *range(1, d + 1))
    return permute(x, order) if last else x


def channels_last(y: Tensor) -> Tensor:
    """Give (N, C, *sizes) as (N, *sizes, C)."""
    return permute(y, (0, *range(2, y.ndim), 1))


class _Layer(Module):
    """Base of the pooling layers: where the channels are, and how many spatial axes there are."""

    _spatial: ClassVar[int]

    def __init__(self, data_format: str | None) -> None:
        super().__init__()
        name = f"{type(self).__name__} data_format"
        self.data_format = word(name, data_format or FORMATS[0], FORMATS)

    def _last(self) -> bool:
        return self.data_format == FORMATS[0]

    def _entered(self, input: Any) -> Tensor:
        return channels_first(type(self).__name__, input, self._spatial, self._last())


class _Pooling(_Layer):
    """Base of the layers that pool windows."""

    def __init__(
        self,
        pool_size: Size = 2,
        strides: Size | None = None,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> None:
        super().__init__(data_format)
        name, d = type(self).__name__, self._spatial
        self.pool_size = at_least(pool_size, d, 1, f"{name} pool_size")
        steps = self.pool_size if strides is None else strides
        self.strides = at_least(steps, d, 1, f"{name} strides")
        self.padding = word(f"{name} padding", padding, PADDINGS)

    def _pool(self, x: Tensor, padding: tuple[int, ...], ceil_mode: bool) -> Tensor:
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        """Pool: (N, *sizes, C) -> (N, *output sizes, C), or in the other format."""
        x = self._entered(input)
        if self.padding == "valid":
            y = self._pool(x, (0,) * self._spatial, False)
        else:
            axes = zip(x.shape[2:], self.pool_size, self.strides, strict=True)
            padding, extra = zip(*[same_pooling(*axis) for axis in axes], strict=True)
            y = self._pool(x, padding, True)
            if any(extra):
                y = y[(..., *[slice(first, None) for first in extra])]
        return channels_last(y) if self._last() else y

    def extra_repr(self) -> str:
        """Show the windows, and the format where it is not the default."""
        shown = f"pool_size={self.pool_size}, strides={self.strides}, padding={self.padding!r}"
        return shown if self._last() else f"{shown}, data_format={self.data_format!r}"


class _MaxPooling(_Pooling):
    def _pool(self, x: Tensor, padding: tuple[int, ...], ceil_mode: bool) -> Tensor:
        pool: Callable[..., Tensor] = getattr(F, f"max_pool{self._spatial}d")
        return pool(x, self.pool_size, self.strides, padding, ceil_mode=ceil_mode)


class _AveragePooling(_Pooling):
    def _pool(self, x: Tensor, padding: tuple[int, ...], ceil_mode: bool) -> Tensor:
        pool: Callable[..., Tensor] = getattr(F, f"avg_pool{self._spatial}d")
        return pool(x, self.pool_size, self.strides, padding, ceil_mode, False)


class _GlobalPooling(_Layer):
    """Base of the layers that leave one value of each channel."""

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, data_format: str | None = None, keepdims: bool = False) -> None:
        super().__init__(data_format)
        self.keepdims = bool(keepdims)

    def forward(self, input: Tensor) -> Tensor:
        """Pool: (N, *sizes, C) or (N, C, *sizes) -> (N, C), or with sizes of 1 for `keepdims`."""
        y = type(self)._function(self._entered(input), self.keepdims)
        return channels_last(y) if self.keepdims and self._last() else y

    def extra_repr(self) -> str:
        """Show what differs from the default."""
        parts = [] if self._last() else [f"data_format={self.data_format!r}"]
        return ", ".join(parts + ["keepdims=True"] * self.keepdims)


class MaxPooling1D(_MaxPooling):
    """The largest value of each window of a sequence (N, steps, C); see MaxPooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.MaxPooling1D(2, padding="same")(cr.arange(3.0).reshape(1, 3, 1)).flatten()
    tensor([1.0, 2.0])
    """

    _spatial = 1


class MaxPooling2D(_MaxPooling):
    """The largest value of each window of each channel, as Keras writes it.

    Arguments and defaults are Keras's: `pool_size` and `strides` (integers or (height, width); the
    strides are the windows' size if None), `padding` "valid" or "same", `data_format`
    "channels_last" (also for None) or "channels_first".

    Shapes: (N, H, W, C) -> (N, H', W', C), or for "channels_first" (N, C, H, W) -> (N, C, H', W').
    "valid": H' = floor((H - pool) / stride) + 1.  "same": H' = ceil(H / stride); the windows reach
    beyond both ends, by one more at the last where that is odd, and what is there never wins.
    Raises ValueError for other words and inputs that do not fit, TypeError for what are no
    integers.

    >>> import chainrule as cr
    >>> pool = cr.nn.keras.MaxPooling2D(3, strides=2, padding="same")
    >>> pool(cr.zeros(1, 31, 32, 3)).shape
    (1, 16, 16, 3)
    """

    _spatial = 2


class MaxPooling3D(_MaxPooling):
    """The largest value of each window of a volume (N, D, H, W, C); see MaxPooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.MaxPooling3D((1, 2, 2))(cr.zeros(1, 3, 4, 4, 2)).shape
    (1, 3, 2, 2, 2)
    """

    _spatial = 3


class AveragePooling1D(_AveragePooling):
    """The mean of each window of a sequence (N, steps, C); see AveragePooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.AveragePooling1D(2, padding="same")(cr.arange(3.0).reshape(1, 3, 1)).flatten()
    tensor([0.5, 2.0])
    """

    _spatial = 1


class AveragePooling2D(_AveragePooling):
    """The mean of each window of each channel; arguments and shapes are those of MaxPooling2D.

    Windows that reach beyond the image ("same") take the mean of what they have of it.

    >>> import chainrule as cr
    >>> pool = cr.nn.keras.AveragePooling2D(2, strides=1, padding="same")
    >>> pool(cr.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]]))[0, :, :, 0]
    tensor([[2.5, 3.0],
            [3.5, 4.0]])
    """

    _spatial = 2


class AveragePooling3D(_AveragePooling):
    """The mean of each window of a volume (N, D, H, W, C); see AveragePooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.AveragePooling3D()(cr.zeros(1, 4, 4, 4, 2)).shape
    (1, 2, 2, 2, 2)
    """

    _spatial = 3


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest value of each channel of a sequence (N, steps, C); see GlobalMaxPooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.GlobalMaxPooling1D()(cr.zeros(1, 5, 2)).shape
    (1, 2)
    """

    _spatial = 1
    _function = staticmethod(F.global_max_pool)


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest value of each channel of an image.

    Shapes: (N, H, W, C) or for "channels_first" (N, C, H, W) -> (N, C); with `keepdims` sizes of 1
    stay where H and W were.  `data_format` is that of MaxPooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.GlobalMaxPooling2D()(cr.zeros(1, 5, 4, 2)).shape
    (1, 2)
    """

    _spatial = 2
    _function = staticmethod(F.global_max_pool)


class GlobalMaxPooling3D(_GlobalPooling):
    """The largest value of each channel of a volume (N, D, H, W, C); see GlobalMaxPooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.GlobalMaxPooling3D()(cr.zeros(1, 3, 5, 4, 2)).shape
    (1, 2)
    """

    _spatial = 3
    _function = staticmethod(F.global_max_pool)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel of a sequence (N, steps, C); see GlobalAveragePooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.GlobalAveragePooling1D()(cr.zeros(1, 5, 2)).shape
    (1, 2)
    """

    _spatial = 1
    _function = staticmethod(F.global_avg_pool)


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel of an image.

    Shapes: (N, H, W, C) or for "channels_first" (N, C, H, W) -> (N, C); with `keepdims` sizes of 1
    stay where H and W were.  `data_format` is that of MaxPooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.GlobalAveragePooling2D()(cr.zeros(1, 5, 4, 2)).shape
    (1, 2)
    """

    _spatial = 2
    _function = staticmethod(F.global_avg_pool)


class GlobalAveragePooling3D(_GlobalPooling):
    """The mean of each channel of a volume (N, D, H, W, C); see GlobalAveragePooling2D.

    >>> import chainrule as cr
    >>> cr.nn.keras.GlobalAveragePooling3D()(cr.zeros(1, 3, 5, 4, 2)).shape
    (1, 2)
    """

    _spatial = 3
    _function = staticmethod(F.global_avg_pool)
