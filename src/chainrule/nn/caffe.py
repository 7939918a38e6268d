"""Caffe's small layers that PyTorch has not, as layers of one tensor or of a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.engine.creation import empty
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import failure
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.nn.linear import count
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.nn.simple import _sizes
from chainrule.nn.stateless import stateless
from chainrule.nn.table import Table
from chainrule.ops.arguments import axis, int_tuple, integer
from chainrule.ops.caffe import (
    argmax_top_k,
    binary_threshold,
    eltwise,
    filter_batch,
    reduction,
)
from chainrule.ops.elementwise import add, mul
from chainrule.ops.join import cat, split
from chainrule.ops.shape import reshape

ArgMax = stateless("ArgMax", argmax_top_k)
BinaryThreshold = stateless("BinaryThreshold", binary_threshold)
Reduction = stateless("Reduction", reduction)


class Accuracy(Module):
    """The share of right answers; see `functional.accuracy`.

    >>> import chainrule as cr
    >>> cr.nn.Accuracy()(cr.tensor([[1.0, 2.0], [5.0, 3.0]]), cr.tensor([1, 1]))
    tensor(0.5)
    """

    def __init__(
        self, top_k: int = 1, ignore_index: int | None = None, per_class: bool = False
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.ignore_index = ignore_index
        self.per_class = per_class

    def forward(self, input: Tensor, target: Tensor) -> Any:
        """Compare scores with labels."""
        return F.accuracy(input, target, self.top_k, self.ignore_index, self.per_class)

    def extra_repr(self) -> str:
        """Show the settings."""
        settings = f"top_k={self.top_k}, ignore_index={self.ignore_index}"
        return f"{settings}, per_class={self.per_class}"


class Eltwise(Table):
    """The sum (with coefficients), product or largest of a table; see `functional.eltwise`.

    >>> import chainrule as cr
    >>> cr.nn.Eltwise("max")((cr.tensor([1.0, 5.0]), cr.tensor([3.0, 2.0])))
    tensor([3.0, 5.0])
    """

    def __init__(self, operation: str = "sum", coefficients: Sequence[float] | None = None) -> None:
        super().__init__()
        self.operation = operation
        self.coefficients = coefficients

    def combine(self, *values: Any) -> Tensor:
        """Combine the tensors."""
        return eltwise(values, self.operation, self.coefficients)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"operation={self.operation!r}, coefficients={self.coefficients}"


class BatchReindex(Table):
    """Choose the images of a batch anew: (x, index) -> x[index]; see `functional.batch_reindex`.

    >>> import chainrule as cr
    >>> cr.nn.BatchReindex()((cr.tensor([1.0, 2.0]), cr.tensor([1, 1, 0])))
    tensor([2.0, 2.0, 1.0])
    """

    _count = 2

    def combine(self, *values: Any) -> Tensor:
        """Choose by the index."""
        return F.batch_reindex(*values)


class Crop(Table):
    """Cut the first tensor of a table to the sizes of the second; see `functional.crop`.

    >>> import chainrule as cr
    >>> cr.nn.Crop(offset=1)((cr.zeros(1, 2, 8, 9), cr.zeros(1, 5, 6, 6))).shape
    (1, 2, 6, 6)
    """

    _count = 2

    def __init__(self, dim: int = 2, offset: Any = 0) -> None:
        super().__init__()
        self.dim = dim
        self.offset = offset

    def combine(self, *values: Any) -> Tensor:
        """Cut."""
        x, reference = values
        return F.crop(x, reference, self.dim, self.offset)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"dim={self.dim}, offset={self.offset}"


class Filter(Table):
    """Keep the images that the last tensor of a table selects; see `functional.filter_batch`.

    >>> import chainrule as cr
    >>> cr.nn.Filter()((cr.tensor([1.0, 2.0, 3.0]), cr.tensor([0, 1, 1])))
    (tensor([2.0, 3.0]),)
    """

    def combine(self, *values: Any) -> tuple[Tensor, ...]:
        """Filter all but the last, by the last."""
        return filter_batch(values[:-1], values[-1])


class Silence(Module):
    """Take any values and give none, so that a branch whose output nobody wants ends.

    >>> import chainrule as cr
    >>> cr.nn.Silence()(cr.tensor([1.0]), cr.tensor([2.0]))
    ()
    """

    def forward(self, *inputs: Any) -> tuple[()]:
        """Give an empty table."""
        return ()


class Split(Module):
    """Give the same tensor several times; the gradients of all add up.

    >>> import chainrule as cr
    >>> cr.nn.Split(2)(cr.tensor([1.0]))
    (tensor([1.0]), tensor([1.0]))
    """

    def __init__(self, copies: int = 2) -> None:
        super().__init__()
        self.copies = count(copies, "Split copies")

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """Give a table of the input, several times."""
        return (input,) * self.copies

    def extra_repr(self) -> str:
        """Show how many."""
        return f"copies={self.copies}"


class Slice(Module):
    """Take a tensor apart along an axis, at given points or into equal parts.

    Slice(points=(2, 3)) gives the parts [0, 2), [2, 3) and [3, n); Slice(parts=3) needs a size that
    3 divides.  Raises ValueError for points that do not rise within the axis, for sizes that do not
    divide, and unless one of both is given.

    >>> import chainrule as cr
    >>> [y.shape for y in cr.nn.Slice(points=(2, 3))(cr.zeros(1, 7))]
    [(1, 2), (1, 1), (1, 4)]
    """

    def __init__(
        self, points: Sequence[int] | None = None, parts: int | None = None, dim: int = 1
    ) -> None:
        super().__init__()
        if (points is None) == (parts is None):
            raise failure("Slice", "either points or parts", points=points, parts=parts)
        self.points = None if points is None else int_tuple(points, "Slice points")
        self.parts = None if parts is None else count(parts, "Slice parts", least=1)
        self.dim = integer(dim, "Slice dim")

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """Give the parts."""
        x = as_tensor(input)
        along = axis(self.dim, x.ndim, "Slice")
        n = x.shape[along]
        if self.points is None:
            parts = self.parts or 1
            if n % parts:
                rule = f"a size at dim {along} that {parts} divides: {n} % {parts} = 0"
                raise failure("Slice", f"{rule}, not {n % parts}", input=x)
            return split(x, (n // parts,) * parts, along)
        ends = (*self.points, n)
        sizes = tuple([b - a for a, b in zip((0, *self.points), ends, strict=True)])
        if min(sizes) < 1:
            rule = f"points that rise from above 0 to below {n}, the size at dim {along}"
            raise failure("Slice", rule, points=self.points, input=x)
        return split(x, sizes, along)

    def extra_repr(self) -> str:
        """Show where."""
        how = f"parts={self.parts}" if self.points is None else f"points={self.points}"
        return f"{how}, dim={self.dim}"


def _tile(input: Tensor, tiles: int, dim: int = 1) -> Tensor:
    """Repeat a tensor along an axis that it has: (N, C) -> (N, n C) for dim=1.

    >>> import chainrule as cr
    >>> cr.nn.Tile(2)(cr.tensor([[1.0, 2.0]]))
    tensor([[1.0, 2.0, 1.0, 2.0]])
    """
    return cat((as_tensor(input),) * count(tiles, "Tile tiles", least=1), dim)


Tile = stateless("Tile", _tile)


class Bias(Module):
    """Add a learned bias along axes of the input: Caffe's bias.

    `bias` has the shape `size` and stands along the axes from `dim` on: Bias(3) is one number a
    channel.  It begins as 0.  Shapes: (N, 3, ...) -> the same.
    Raises ValueError for an input whose axes are others.

    >>> import chainrule as cr
    >>> cr.nn.Bias(3)(cr.zeros(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    def __init__(
        self, *size: Any, dim: int = 1, device: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.size = _sizes(type(self).__name__, size)
        self.dim = integer(dim, f"{type(self).__name__} dim")
        self.bias: Parameter | None
        self.bias = Parameter(empty(self.size, dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the bias to 0."""
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Add the bias along its axes."""
        x = as_tensor(input)
        return add(x, self._along(x, self.bias))

    def _along(self, x: Tensor, parameter: Any) -> Tensor:
        """See a parameter as one that broadcasts along the axes from `dim` on."""
        first = axis(self.dim, x.ndim, type(self).__name__)
        last = first + len(self.size)
        if x.shape[first:last] != self.size:
            rule = f"sizes {self.size} of the axes from {first} on"
            raise failure(type(self).__name__, rule, input=x)
        return reshape(parameter, (*self.size, *(1,) * (x.ndim - last)))

    def extra_repr(self) -> str:
        """Show the sizes and the axis."""
        return f"{', '.join(map(str, self.size))}, dim={self.dim}"


class Scale(Bias):
    """Multiply by learned weights along axes of the input, and add a bias if asked: Caffe's scale.

    `weight`, and `bias` or None, have the shape `size` and stand along the axes from `dim` on.
    They begin as 1 and 0.  Shapes: (N, 3, ...) -> the same for Scale(3).
    Raises ValueError for an input whose axes are others.

    >>> import chainrule as cr
    >>> cr.nn.Scale(3, bias=True)(cr.ones(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    def __init__(
        self,
        *size: Any,
        dim: int = 1,
        bias: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(*size, dim=dim, device=device, dtype=dtype)
        if not bias:
            self.bias = None
        self.weight = Parameter(empty(self.size, dtype=dtype, device=device))
        init.ones_(self.weight)

    def reset_parameters(self) -> None:
        """Set the weights to 1 and the bias to 0."""
        super().reset_parameters()
        if "weight" in self._parameters:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weights, and add the bias."""
        x = as_tensor(input)
        y = mul(x, self._along(x, self.weight))
        return y if self.bias is None else add(y, self._along(x, self.bias))

    def extra_repr(self) -> str:
        """Show the sizes, the axis, and whether there is a bias."""
        return f"{super().extra_repr()}, bias={self.bias is not None}"
