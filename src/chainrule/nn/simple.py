"""Torch's small layers of one tensor: learned scales and biases, parts, shapes, reductions."""

from __future__ import annotations

import math
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.linear import count
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.stateless import stateless
from chainrule.ops.arguments import axis, int_tuple, integer
from chainrule.ops.caffe import scaled_exp, scaled_log, scaled_power
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import add, mul
from chainrule.ops.extrema import max as largest
from chainrule.ops.extrema import min as smallest
from chainrule.ops.formulas import number
from chainrule.ops.normalize import normalize
from chainrule.ops.passthrough import gradient_reversal, l1_penalty
from chainrule.ops.permute import transpose
from chainrule.ops.reduce import mean, sum
from chainrule.ops.rounding import abs
from chainrule.ops.select import clamp
from chainrule.ops.shape import clone, expand, reshape, squeeze, unsqueeze
from chainrule.ops.slicing import narrow, select
from chainrule.ops.unary import sqrt, square


def _plus(input: Tensor, constant: float, inplace: bool = False) -> Tensor:
    """Add a number; `inplace` is accepted and changes nothing.

    >>> import chainrule as cr
    >>> cr.nn.AddConstant(2.0)(cr.tensor([1.0, 3.0]))
    tensor([3.0, 5.0])
    """
    return add(input, number(constant, "AddConstant constant"))


def _times(input: Tensor, constant: float, inplace: bool = False) -> Tensor:
    """Multiply by a number; `inplace` is accepted and changes nothing.

    So the gradient is right for 0, too, where dividing the result by it would not be.

    >>> import chainrule as cr
    >>> cr.nn.MulConstant(2.0)(cr.tensor([1.0, 3.0]))
    tensor([2.0, 6.0])
    """
    return mul(input, number(constant, "MulConstant constant"))


def _max(input: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """Give the largest values along an axis; at ties the first gets the gradient.

    >>> import chainrule as cr
    >>> cr.nn.Max(1)(cr.tensor([[1.0, 5.0], [7.0, 2.0]]))
    tensor([5.0, 7.0])
    """
    values: Tensor = largest(input, dim, keepdim).values
    return values


def _min(input: Tensor, dim: int = -1, keepdim: bool = False) -> Tensor:
    """Give the smallest values along an axis; at ties the first gets the gradient.

    >>> import chainrule as cr
    >>> cr.nn.Min(1)(cr.tensor([[1.0, 5.0], [7.0, 2.0]]))
    tensor([1.0, 2.0])
    """
    values: Tensor = smallest(input, dim, keepdim).values
    return values


def _copy(input: Tensor, dtype: Any = None) -> Tensor:
    """Copy a tensor, to another dtype if one is given.

    >>> import chainrule as cr
    >>> cr.nn.Copy(cr.float64)(cr.tensor([1.0, 3.0]))
    tensor([1.0, 3.0], dtype=float64)
    """
    x = as_tensor(input)
    return clone(x) if dtype is None else cast(clone(x), dtype)


def _replicate(input: Tensor, copies: int, dim: int = 0) -> Tensor:
    """Put in an axis at `dim` along which the tensor is repeated, without copying it.

    Shapes: (A, B) -> (n, A, B) for dim=0.

    >>> import chainrule as cr
    >>> cr.nn.Replicate(3)(cr.tensor([1.0, 2.0])).shape
    (3, 2)
    """
    x = as_tensor(input)
    at = axis(dim, x.ndim + 1, "Replicate")
    return expand(unsqueeze(x, at), (*x.shape[:at], count(copies, "Replicate"), *x.shape[at:]))


def _pad_axis(input: Tensor, dim: int, pad: int, value: float = 0.0) -> Tensor:
    """Put `pad` times `value` after the elements of one axis, or before them if `pad` < 0.

    >>> import chainrule as cr
    >>> cr.nn.Padding(0, -2)(cr.tensor([1.0, 3.0]))
    tensor([0.0, 0.0, 1.0, 3.0])
    """
    x, width = as_tensor(input), integer(pad, "Padding pad")
    after = x.ndim - 1 - axis(dim, x.ndim, "Padding")
    around = (-width, 0) if width < 0 else (0, width)
    return F.pad(x, (*(0, 0) * after, *around), value=value)


Abs = stateless("Abs", abs)
AddConstant = stateless("AddConstant", _plus)
Clamp = stateless("Clamp", clamp)
Copy = stateless("Copy", _copy)
Exp = stateless("Exp", scaled_exp)
GradientReversal = stateless("GradientReversal", gradient_reversal)
L1Penalty = stateless("L1Penalty", l1_penalty)
Log = stateless("Log", scaled_log)
Max = stateless("Max", _max)
Mean = stateless("Mean", mean, ("dim", "keepdim"))
Min = stateless("Min", _min)
MulConstant = stateless("MulConstant", _times)
Narrow = stateless("Narrow", narrow)
Normalize = stateless("Normalize", normalize, ("p", "dim", "eps"))
Padding = stateless("Padding", _pad_axis)
Power = stateless("Power", scaled_power)
Replicate = stateless("Replicate", _replicate)
Select = stateless("Select", select)
Sqrt = stateless("Sqrt", sqrt)
Square = stateless("Square", square)
Squeeze = stateless("Squeeze", squeeze)
Sum = stateless("Sum", sum, ("dim", "keepdim"))
Unsqueeze = stateless("Unsqueeze", unsqueeze)


class Reshape(Module):
    """Give all but the batch's axis another shape: (N, ...) -> (N, *size); one size may be -1.

    >>> import chainrule as cr
    >>> cr.nn.Reshape(4, -1)(cr.zeros(2, 3, 8)).shape
    (2, 4, 6)
    """

    def __init__(self, *size: Any) -> None:
        super().__init__()
        self.size = _sizes("Reshape", size)

    def forward(self, input: Tensor) -> Tensor:
        """Reshape behind the first axis."""
        x = as_tensor(input)
        if not x.ndim:
            raise failure("Reshape", "a batch (N, ...)", input=x)
        return reshape(x, (x.shape[0], *self.size))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return ", ".join(map(str, self.size))


class View(Module):
    """Give the whole tensor another shape, the batch's axis with it; one size may be -1.

    >>> import chainrule as cr
    >>> cr.nn.View(-1, 6)(cr.zeros(2, 3, 8)).shape
    (8, 6)
    """

    def __init__(self, *size: Any) -> None:
        super().__init__()
        self.size = _sizes("View", size)

    def forward(self, input: Tensor) -> Tensor:
        """Reshape."""
        return reshape(as_tensor(input), self.size)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return ", ".join(map(str, self.size))


def _sizes(name: str, size: tuple[Any, ...]) -> tuple[int, ...]:
    """Normalise sizes given one by one or as one tuple."""
    together = len(size) == 1 and isinstance(size[0], tuple | list)
    return int_tuple(size[0] if together else size, name)


class Transpose(Module):
    """Exchange axes, pair after pair: Transpose((1, 2), (0, 1)); a single pair as Transpose(1, 2).

    >>> import chainrule as cr
    >>> cr.nn.Transpose((0, 1), (1, 2))(cr.zeros(2, 3, 4)).shape
    (3, 4, 2)
    """

    def __init__(self, *pairs: Any) -> None:
        super().__init__()
        alone = len(pairs) == 2 and not any(isinstance(p, tuple | list) for p in pairs)
        given = (pairs,) if alone else pairs
        self.pairs = tuple([int_tuple(p, "Transpose", "pairs of axes", bare=False) for p in given])
        if any(len(p) != 2 for p in self.pairs):
            raise failure("Transpose", "pairs of axes", pairs=self.pairs)

    def forward(self, input: Tensor) -> Tensor:
        """Exchange the axes of each pair in turn."""
        y = as_tensor(input)
        for a, b in self.pairs:
            y = transpose(y, a, b)
        return y

    def extra_repr(self) -> str:
        """Show the pairs."""
        return ", ".join(map(str, self.pairs))


class _Learned(Module):
    """Base of the layers of one learned tensor, of any shape that broadcasts."""

    def __init__(self, name: str, shape: tuple[int, ...], device: str | None, dtype: Any) -> None:
        super().__init__()
        if shape and min(shape) < 0:
            raise failure(type(self).__name__, "sizes of 0 or more", size=shape)
        self.register_parameter(name, Parameter(empty(shape, dtype=dtype, device=device)))
        self.size = shape
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the values anew: uniform in +-1/sqrt(the number of them)."""
        for parameter in self.parameters():
            bound = 1 / math.sqrt(max(parameter.array.size, 1))
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return ", ".join(map(str, self.size))


class Add(_Learned):
    """Add a learned bias (num_features,) to the last axis, or one number where num_features is 1.

    Shapes: (..., num_features) -> the same.  `bias` begins uniform in +-1/sqrt(num_features).

    >>> import chainrule as cr
    >>> layer = cr.nn.Add(3)
    >>> layer(cr.zeros(2, 3)).shape, layer.bias.shape
    ((2, 3), (3,))
    """

    def __init__(self, num_features: int, device: str | None = None, dtype: Any = None) -> None:
        features = count(num_features, "Add num_features", least=1)
        super().__init__("bias", (features,), device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Add the bias."""
        return _keeping("Add", input, add, self.bias)


class Mul(_Learned):
    """Multiply by one learned number; `weight` (1,) begins uniform in (-1, 1).

    >>> import chainrule as cr
    >>> cr.nn.Mul()(cr.zeros(2, 3)).shape
    (2, 3)
    """

    def __init__(self, device: str | None = None, dtype: Any = None) -> None:
        super().__init__("weight", (1,), device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weight."""
        return _keeping("Mul", input, mul, self.weight)


class CMul(_Learned):
    """Multiply by learned numbers, element by element.

    `weight` has the shape `size`, which broadcasts to the input's: CMul(1, 3, 1, 1) scales three
    channels.  It begins uniform in +-1/sqrt(the number of weights).

    >>> import chainrule as cr
    >>> cr.nn.CMul(1, 3, 1, 1)(cr.zeros(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    def __init__(self, *size: Any, device: str | None = None, dtype: Any = None) -> None:
        super().__init__("weight", _sizes("CMul", size), device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weights."""
        return _keeping("CMul", input, mul, self.weight)


def _keeping(name: str, input: Any, operation: Any, parameter: Any) -> Tensor:
    """Combine with a parameter that broadcasts to the input's shape, which must stay."""
    x = as_tensor(input)
    y: Tensor = operation(x, parameter)
    if y.shape != x.shape:
        rule = f"an input to whose shape {parameter.shape} broadcasts"
        raise failure(name, rule, input=x)
    return y
