"""Layers that learn their number of input channels from the first input."""

from __future__ import annotations

from typing import Any

from chainrule.engine.random import drawing_from, initialization_generator
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn.conv import Conv1d, Conv2d, Conv3d, Convolution
from chainrule.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from chainrule.nn.module import Module
from chainrule.nn.parameter import UninitializedParameter


class Lazy(Module):
    """Base of layers some of whose parameters have no shape when they are built.

    Initial values come from the layer's own stream, as if it had drawn them at once: they do not
    depend on when the first input comes.
    """

    def _wait(self, name: str, device: str | None, dtype: Any) -> None:
        """Put a parameter without a shape under a name."""
        self.__dict__["_stream"] = initialization_generator()
        setattr(self, name, UninitializedParameter(device=device, dtype=dtype))

    def has_uninitialized_params(self) -> bool:
        """Tell whether a parameter of this very layer still waits for its shape."""
        return any(isinstance(p, UninitializedParameter) for p in self._parameters.values())

    def _settle(self, **shapes: tuple[int, ...]) -> None:
        """Give shapes to the parameters that wait for them, then their initial values."""
        for name, shape in shapes.items():
            parameter = self._parameters[name]
            if isinstance(parameter, UninitializedParameter):
                parameter.materialize(shape)
        with drawing_from(self._stream):
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        raise NotImplementedError(f"{type(self).__name__} does not define reset_parameters()")


class LazyConvolution(Lazy, Convolution):
    """Base of the convolution layers that learn `in_channels` from the first input.

    Until then the parameters have no shape; after it, or after loading a state, the layer is of
    the class `cls_to_become`.
    """

    cls_to_become: type[Convolution]

    def __init__(self, out_channels: int, *settings: Any, **named: Any) -> None:
        super().__init__(0, out_channels, *settings, **named)

    def _make_parameters(self, bias: bool, device: str | None, dtype: Any) -> None:
        self._wait("weight", device, dtype)
        if bias:
            self._wait("bias", device, dtype)
        else:
            self.register_parameter("bias", None)

    def reset_parameters(self) -> None:
        """Draw weights and biases anew, once they have a shape."""
        if not self.has_uninitialized_params():
            super(Lazy, self).reset_parameters()

    def initialize_parameters(self, input: Tensor, *rest: Any, **named: Any) -> None:
        """Give the parameters the shapes that an input asks for, and their initial values."""
        d = self._spatial
        if not self.has_uninitialized_params():
            return
        if input.ndim not in (d + 1, d + 2):
            rule = f"an input of {d + 2} axes, or {d + 1} without a batch"
            raise failure(type(self).__name__, rule, input=input)
        before, self.in_channels = self.in_channels, input.shape[input.ndim - d - 1]
        try:
            self._check()
        except ValueError:
            self.in_channels = before
            raise
        self._settle(weight=self._weight_shape(), bias=(self.out_channels,))

    def forward(self, input: Tensor, *rest: Any, **named: Any) -> Tensor:
        """Learn the number of channels, become the layer, and convolve."""
        self.initialize_parameters(input)
        channels = self.weight.shape[0 if self.transposed else 1]
        self.in_channels = channels if self.transposed else channels * self.groups
        del self.__dict__["_stream"]
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        return self.forward(input, *rest, **named)


class LazyConv1d(LazyConvolution, Conv1d):
    """Conv1d whose in_channels the first input tells; see LazyConv2d.

    >>> import chainrule as cr
    >>> cr.nn.LazyConv1d(8, 3)(cr.zeros(2, 5, 7)).shape
    (2, 8, 5)
    """

    cls_to_become = Conv1d


class LazyConv2d(LazyConvolution, Conv2d):
    """Conv2d whose in_channels the first input tells; then it is a Conv2d.

    Arguments: those of Conv2d without the first.  Before the first input (one on device "meta"
    will do), or a `load_state_dict`, the parameters are of size 0: an optimiser may be given them,
    but nothing can be computed with them.  Initial values are those that the layer would
    have drawn at its construction.  Raises ValueError for an input of another number of axes,
    or of channels that the groups do not divide.

    >>> import chainrule as cr
    >>> conv = cr.nn.LazyConv2d(10, 5, padding=2)
    >>> conv
    LazyConv2d(0, 10, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
    >>> conv(cr.zeros(1, 3, 32, 32)).shape, conv
    ((1, 10, 32, 32), Conv2d(3, 10, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2)))
    """

    cls_to_become = Conv2d


class LazyConv3d(LazyConvolution, Conv3d):
    """Conv3d whose in_channels the first input tells; see LazyConv2d.

    >>> import chainrule as cr
    >>> cr.nn.LazyConv3d(2, (1, 3, 3))(cr.zeros(1, 1, 4, 5, 5)).shape
    (1, 2, 4, 3, 3)
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(LazyConvolution, ConvTranspose1d):
    """ConvTranspose1d whose in_channels the first input tells; see LazyConv2d.

    >>> import chainrule as cr
    >>> cr.nn.LazyConvTranspose1d(2, 4, stride=2, padding=1)(cr.zeros(2, 3, 7)).shape
    (2, 2, 14)
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(LazyConvolution, ConvTranspose2d):
    """ConvTranspose2d whose in_channels the first input tells; see LazyConv2d.

    >>> import chainrule as cr
    >>> cr.nn.LazyConvTranspose2d(4, 2, stride=2)(cr.zeros(1, 3, 5, 5)).shape
    (1, 4, 10, 10)
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(LazyConvolution, ConvTranspose3d):
    """ConvTranspose3d whose in_channels the first input tells; see LazyConv2d.

    >>> import chainrule as cr
    >>> cr.nn.LazyConvTranspose3d(2, 2, stride=2)(cr.zeros(1, 1, 2, 3, 3)).shape
    (1, 2, 4, 6, 6)
    """

    cls_to_become = ConvTranspose3d
