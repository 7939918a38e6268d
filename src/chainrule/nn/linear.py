"""Dense layers and the reshaping between them and convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.arguments import int_tuple, integer
from chainrule.ops.shape import flatten, unflatten


def count(value: Any, name: str, least: int = 0) -> int:
    """Give a number of features or channels; raise ShapeError below `least`."""
    number = integer(value, name)
    if number < least:
        raise failure(name, f"at least {least}", value=number)
    return number


def reset_affine(weight: Parameter, bias: Parameter | None) -> None:
    """Draw the weights and biases of a dense or convolutional layer as PyTorch does.

    Both are uniform in [-1/sqrt(fan_in), 1/sqrt(fan_in)): for the weights that is
    kaiming_uniform_ with a = sqrt(5), gain sqrt(2/(1 + 5)) and bound sqrt(3) gain / sqrt(fan_in).
    """
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in, _ = init.fans(weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)


class Linear(Module):
    """y = x W^T + b: a fully connected layer; decks 000 and 004, "Fully connected layer".

    Shapes: (..., in_features) -> (..., out_features); `weight` is (out_features, in_features),
    `bias` (out_features,) or None.  Both begin uniform in +-1/sqrt(in_features).
    Raises ValueError for negative sizes; the forward raises it for another number of features.

    >>> import chainrule as cr
    >>> layer = cr.nn.Linear(5, 4)
    >>> layer, layer(cr.zeros(2, 5)).shape
    (Linear(in_features=5, out_features=4, bias=True), (2, 4))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = count(in_features, "Linear in_features")
        self.out_features = count(out_features, "Linear out_features")
        shape = (self.out_features, self.in_features)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.bias: Parameter | None
        if bias:
            self.bias = Parameter(empty(self.out_features, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases anew."""
        reset_affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply and add: (..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Show the sizes."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class Bilinear(Module):
    """y[o] = x1^T W[o] x2 + b[o]: a layer of two inputs; see `functional.bilinear`.

    Shapes: (..., in1_features), (..., in2_features) -> (..., out_features); `weight` is
    (out_features, in1_features, in2_features).  Both begin uniform in +-1/sqrt(in1_features).
    Raises ValueError for sizes below 1 and for inputs that do not fit.

    >>> import chainrule as cr
    >>> cr.nn.Bilinear(5, 3, 4)(cr.zeros(2, 5), cr.zeros(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in1_features = count(in1_features, "Bilinear in1_features", least=1)
        self.in2_features = count(in2_features, "Bilinear in2_features")
        self.out_features = count(out_features, "Bilinear out_features")
        shape = (self.out_features, self.in1_features, self.in2_features)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.bias: Parameter | None
        if bias:
            self.bias = Parameter(empty(self.out_features, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases anew."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Combine the inputs: (..., in1), (..., in2) -> (..., out_features)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Show the sizes."""
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{sizes}, out_features={self.out_features}, bias={self.bias is not None}"


class SparseLinear(Linear):
    """y = x W^T + b for a sparse x, whose zeros are not stored; see `functional.sparse_linear`.

    Shapes: a sparse matrix of SciPy's (N, in_features), or a triple (values, columns, starts) ->
    (N, out_features); parameters are those of Linear.  Raises as the function does.

    >>> import chainrule as cr
    >>> rows = (cr.tensor([2.0, 5.0, 1.0]), cr.tensor([0, 2, 1]), cr.tensor([0, 2, 3]))
    >>> cr.nn.SparseLinear(3, 4)(rows).shape
    (2, 4)
    """

    def forward(self, input: Any) -> Tensor:
        """Multiply and add: sparse (N, in_features) -> (N, out_features)."""
        return F.sparse_linear(input, self.weight, self.bias)


class InnerProduct(Linear):
    """Caffe's fully connected layer: Linear over all that stands from axis `dim` on.

    Shapes: (N, ...) -> (N, out_features) for dim=1, with in_features the product of the rest.

    >>> import chainrule as cr
    >>> cr.nn.InnerProduct(12, 5)(cr.zeros(2, 3, 2, 2)).shape
    (2, 5)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dim: int = 1,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        self.dim = integer(dim, "InnerProduct dim")

    def forward(self, input: Tensor) -> Tensor:
        """Flatten from axis `dim` on, multiply and add."""
        return F.inner_product(input, self.weight, self.bias, self.dim)

    def extra_repr(self) -> str:
        """Show the sizes and the axis."""
        return f"{super().extra_repr()}, dim={self.dim}"


class Flatten(Module):
    """Make one axis of the axes start_dim..end_dim, by default all but the batch's.

    Shapes: (N, C, H, W) -> (N, C*H*W).  The forward raises IndexError for axes that are not there.

    >>> import chainrule as cr
    >>> cr.nn.Flatten()(cr.zeros(2, 3, 4, 5)).shape
    (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = integer(start_dim, "Flatten start_dim")
        self.end_dim = integer(end_dim, "Flatten end_dim")

    def forward(self, input: Tensor) -> Tensor:
        """Flatten: (N, ...) -> (N, product of the rest)."""
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Show the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several axes of axis `dim`: the reverse of Flatten.

    Shapes: (..., A*B, ...) -> (..., A, B, ...) with unflattened_size (A, B); one may be -1.
    Raises TypeError for sizes that are no tuple of integers; the forward raises ValueError where
    they do not multiply to the axis's size.

    >>> import chainrule as cr
    >>> cr.nn.Unflatten(1, (3, 4))(cr.zeros(2, 12)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = integer(dim, "Unflatten dim")
        self.unflattened_size = int_tuple(unflattened_size, "Unflatten sizes", bare=False)

    def forward(self, input: Tensor) -> Tensor:
        """Divide the axis: (..., A*B, ...) -> (..., A, B, ...)."""
        return unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """Show the axis and its sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
