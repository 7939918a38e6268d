"""Layers in Keras's form: its names, defaults and rules over the same operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from chainrule.engine.op import FUNCTIONS
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.nn import init
from chainrule.nn.keras_pooling import (
    FORMATS,
    PADDINGS,
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
    Size,
    channels_first,
    channels_last,
    word,
)
from chainrule.nn.lazy import Lazy
from chainrule.nn.linear import count
from chainrule.ops.arguments import int_tuple
from chainrule.ops.conv import Conv, at_least
from chainrule.ops.softmax import log_softmax, softmax
from chainrule.ops.window import Pads, same_padding

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "Conv2D",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
]

_SPECIAL: dict[str, Callable[[Tensor], Tensor] | None] = {
    "linear": None,
    "softmax": partial(softmax, dim=-1),
    "log_softmax": partial(log_softmax, dim=-1),
}
_SAME = "elu gelu mish relu relu6 selu sigmoid silu softplus softsign tanh"
_NAMED = {name: name for name in _SAME.split()} | {"exponential": "exp", "swish": "silu"}
"""Keras's names of activations, and the functions that mean the same by their defaults."""


class Conv2D(Lazy):
    """Convolution of images as Keras writes it; deck 002, "CONV layer in Keras".

    Arguments and defaults are Keras's: `filters`, `kernel_size` and `strides` (integers or (height,
    width)), `padding` "valid" or "same", `data_format` "channels_last" (also for None) or
    "channels_first", `dilation_rate`, `activation` (None, a function, or a name: linear, relu,
    sigmoid, tanh, softmax over the last axis, elu, softplus, exponential, ...) and `use_bias`.
    The number of input channels is learned from the first input, or told by `input_shape`, the
    shape of one image in that format.

    Shapes: (N, H, W, C) -> (N, H', W', filters), or for "channels_first" (N, C, H, W) ->
    (N, filters, H', W').  "valid": H' = floor((H - dilation (kh - 1) - 1) / stride) + 1.  "same":
    H' = ceil(H / stride), with max(0, (H' - 1) stride + dilation (kh - 1) + 1 - H) zeros around, of
    which an odd one goes last: other than nn.Conv2d, which refuses "same" with a stride.
    `weight` is (filters, C, kh, kw), not Keras's (kh, kw, C, filters).  Initial values are Keras's:
    uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010), biases 0.

    Raises ValueError for other words, for a stride and a dilation that both are not 1, and for
    inputs that do not fit, TypeError for what are no integers.

    >>> import chainrule as cr
    >>> conv = cr.nn.keras.Conv2D(10, 5, strides=2, padding="same", activation="relu")
    >>> conv(cr.zeros(1, 31, 32, 3)).shape, conv.weight.shape
    ((1, 16, 16, 10), (10, 3, 5, 5))
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Size,
        strides: Size = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Size = (1, 1),
        activation: str | Callable[[Tensor], Tensor] | None = None,
        use_bias: bool = True,
        *,
        input_shape: Sequence[int] | None = None,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.filters = count(filters, "Conv2D filters", least=1)
        self.kernel_size = at_least(kernel_size, 2, 1, "Conv2D kernel_size")
        self.strides = at_least(strides, 2, 1, "Conv2D strides")
        self.dilation_rate = at_least(dilation_rate, 2, 1, "Conv2D dilation_rate")
        self.padding = word("Conv2D padding", padding, PADDINGS)
        self.data_format = word("Conv2D data_format", data_format or FORMATS[0], FORMATS)
        self.activation = _checked(activation)
        self.use_bias = bool(use_bias)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise failure(
                "Conv2D", "strides or a dilation_rate of 1",
                strides=self.strides, dilation_rate=self.dilation_rate,
            )  # fmt: skip
        self._wait("weight", device, dtype)
        if self.use_bias:
            self._wait("bias", device, dtype)
        else:
            self.register_parameter("bias", None)
        if input_shape is not None:
            self._learn(self._channels(input_shape))

    def _channels(self, input_shape: Sequence[int]) -> int:
        """Give the number of channels that the shape of an image tells."""
        shape = int_tuple(input_shape, "Conv2D input_shape", bare=False)
        if len(shape) != 3:
            rule = "an input_shape of 3 sizes, without the batch"
            raise failure("Conv2D", rule, input_shape=shape)
        return shape[2 if self.data_format == "channels_last" else 0]

    def _learn(self, channels: int) -> None:
        """Give the parameters the shapes that so many input channels ask for."""
        count(channels, "Conv2D input channels", least=1)
        self._settle(weight=(self.filters, channels, *self.kernel_size), bias=(self.filters,))

    def reset_parameters(self) -> None:
        """Draw the weights anew, uniform in +-sqrt(6 / (fan_in + fan_out)); biases become 0."""
        init.xavier_uniform_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve: (N, H, W, C) -> (N, H', W', filters), or in the other format."""
        last = self.data_format == "channels_last"
        x = channels_first("Conv2D", input, 2, last)
        if self.has_uninitialized_params():
            self._learn(x.shape[1])
        elif x.shape[1] != self.weight.shape[1]:
            rule = (
                f"{self.weight.shape[1]} channels at axis {3 if last else 1} ({self.data_format})"
            )
            raise failure("Conv2D", rule, input=as_tensor(input))
        op = Conv(self.strides, self._pads(x.shape[2:]), self.dilation_rate)
        y = apply(op, x, *[p for p in (self.weight, self.bias) if p is not None])
        return self._activated(channels_last(y) if last else y)

    def _pads(self, sizes: tuple[int, ...]) -> Pads:
        if self.padding == "valid":
            return ((0, 0), (0, 0))
        axes = zip(sizes, self.kernel_size, self.strides, self.dilation_rate, strict=True)
        return tuple(same_padding(*axis) for axis in axes)

    def _activated(self, y: Tensor) -> Tensor:
        how: Any = self.activation
        if isinstance(how, str):
            how = _SPECIAL[how] if how in _SPECIAL else FUNCTIONS[_NAMED[how]]
        result: Tensor = y if how is None else how(y)
        return result

    def extra_repr(self) -> str:
        """Show the filters, the kernel, and what differs from the default."""
        parts = [f"{self.filters}, kernel_size={self.kernel_size}"]
        defaults: dict[str, Any] = {"strides": (1, 1), "padding": "valid"}
        defaults |= {"data_format": FORMATS[0], "dilation_rate": (1, 1), "use_bias": True}
        parts += [
            f"{name}={getattr(self, name)!r}"
            for name, usual in defaults.items()
            if getattr(self, name) != usual
        ]
        if self.activation is not None:
            shown = getattr(self.activation, "__name__", self.activation)
            parts.append(f"activation={shown!r}")
        return ", ".join(parts)


def _checked(activation: Any) -> Any:
    """Give the activation as it came; raise for what is none."""
    if activation is None or callable(activation):
        return activation
    known = tuple(sorted({*_SPECIAL, *(n for n, ours in _NAMED.items() if ours in FUNCTIONS)}))
    return word("Conv2D activation", activation, known)
