"""Layers over tables: values that travel together as a tuple.

A layer of several tensors is called with a tuple (or list) of them, or with them one by one; one
that gives several gives a tuple.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import AxisError, KindError, failure
from chainrule.nn import functional as F
from chainrule.nn.module import Module
from chainrule.ops.arguments import axis, flag, integer
from chainrule.ops.elementwise import add, div, mul, sub
from chainrule.ops.index import getitem
from chainrule.ops.join import cat, part, stack, unbind
from chainrule.ops.matmul import matmul
from chainrule.ops.permute import movedim, transpose
from chainrule.ops.reduce import sum
from chainrule.ops.shape import reshape


def table(name: str, inputs: tuple[Any, ...], count: int | None = None) -> tuple[Any, ...]:
    """Give what a layer was called with as one tuple; ShapeError if not `count` values came."""
    together = len(inputs) == 1 and isinstance(inputs[0], tuple | list)
    values = tuple(inputs[0]) if together else inputs
    if count is not None and len(values) != count:
        raise failure(name, f"{count} values, as a tuple or one by one, not {len(values)}")
    return values


class Table(Module):
    """Base of the layers over tables: `combine` gets the values one by one."""

    _count: int | None = None

    def combine(self, *values: Any) -> Any:
        """Compute the output from the table's values; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define combine(...)")

    def forward(self, *inputs: Any) -> Any:
        """Take a tuple of values, or the values one by one."""
        values = table(type(self).__name__, inputs, self._count)
        if not values:
            raise failure(type(self).__name__, "at least one value")
        return self.combine(*values)


class JoinTable(Table):
    """Join the tensors of a table along an axis: `cat`; Caffe's concat.

    >>> import chainrule as cr
    >>> cr.nn.JoinTable(1)((cr.zeros(2, 3), cr.zeros(2, 4))).shape
    (2, 7)
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = integer(dim, "JoinTable dim")

    def combine(self, *values: Any) -> Tensor:
        """Join the tensors."""
        return cat(values, self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class SplitTable(Module):
    """Take a tensor apart along an axis: (N, n, ...) -> n times (N, ...) for dim=1; `unbind`.

    >>> import chainrule as cr
    >>> cr.nn.SplitTable(0)(cr.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = integer(dim, "SplitTable dim")

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:
        """Give the slices along the axis."""
        return unbind(input, self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class SelectTable(Table):
    """Give one value of a table; a negative index counts from the end.

    Raises IndexError for an index that the table has not.

    >>> import chainrule as cr
    >>> cr.nn.SelectTable(-1)((cr.tensor(1.0), cr.tensor(2.0)))
    tensor(2.0)
    """

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = integer(index, "SelectTable index")

    def combine(self, *values: Any) -> Any:
        """Give the value at the index."""
        n = len(values)
        if not -n <= self.index < n:
            rule = f"an index in [{-n}, {n - 1}], the values of the table"
            raise failure("SelectTable", rule, error=AxisError, index=self.index)
        return values[self.index]

    def extra_repr(self) -> str:
        """Show the index."""
        return f"index={self.index}"


class NarrowTable(Table):
    """Give `length` values of a table, from `offset` on, as a table.

    Raises IndexError where the table has not so many.

    >>> import chainrule as cr
    >>> cr.nn.NarrowTable(1, 2)((cr.tensor(1.0), cr.tensor(2.0), cr.tensor(3.0)))
    (tensor(2.0), tensor(3.0))
    """

    def __init__(self, offset: int, length: int = 1) -> None:
        super().__init__()
        self.offset = integer(offset, "NarrowTable offset")
        self.length = integer(length, "NarrowTable length")

    def combine(self, *values: Any) -> tuple[Any, ...]:
        """Give the values from the offset on."""
        start, end = self.offset, self.offset + self.length
        if not 0 <= start <= end <= len(values):
            rule = f"0 <= offset <= offset + length <= {len(values)}: {start}, {end}"
            raise failure("NarrowTable", rule, error=AxisError)
        return values[start:end]

    def extra_repr(self) -> str:
        """Show which values."""
        return f"offset={self.offset}, length={self.length}"


def _leaves(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _leaves(value)
        else:
            yield value


class FlattenTable(Table):
    """Make one table of tables inside tables: (a, (b, (c,))) -> (a, b, c).

    >>> import chainrule as cr
    >>> cr.nn.FlattenTable()((cr.tensor(1.0), (cr.tensor(2.0), (cr.tensor(3.0),))))
    (tensor(1.0), tensor(2.0), tensor(3.0))
    """

    def combine(self, *values: Any) -> tuple[Any, ...]:
        """Give all values in their order."""
        return tuple(_leaves(values))


class MixtureTable(Table):
    """Mix experts by the weights of a gate: (gate, experts) -> sum over i of gate[:, i] experts[i].

    Shapes: gate (N, n); experts a table of n tensors (N, ...), or one tensor with the experts along
    axis `dim` -> (N, ...).  One sample alone: gate (n,), experts (...).
    Raises ValueError where gate and experts do not fit (Jacobs et al., 1991).

    >>> import chainrule as cr
    >>> experts = (cr.tensor([[1.0, 2.0]]), cr.tensor([[5.0, 6.0]]))
    >>> cr.nn.MixtureTable()((cr.tensor([[0.75, 0.25]]), experts))
    tensor([[2.0, 3.0]])
    """

    _count = 2

    def __init__(self, dim: int = 1) -> None:
        super().__init__()
        self.dim = integer(dim, "MixtureTable dim")

    def combine(self, *values: Any) -> Tensor:
        """Weigh and sum the experts."""
        gate = as_tensor(values[0], "MixtureTable gate")
        if gate.ndim not in (1, 2):
            raise failure("MixtureTable", "a gate (N, n) or (n,)", gate=gate)
        along = gate.ndim - 1
        if isinstance(values[1], tuple | list):
            experts = stack(values[1], along)
        else:
            experts = movedim(as_tensor(values[1]), self.dim, along)
        if experts.shape[: gate.ndim] != gate.shape:
            rule = f"experts for a gate {gate.shape}: as many, of one batch"
            raise failure("MixtureTable", rule, gate=gate, experts=experts)
        ones = (1,) * (experts.ndim - gate.ndim)
        return sum(mul(experts, reshape(gate, (*gate.shape, *ones))), along)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class CAddTable(Table):
    """Add the tensors of a table, element by element.

    >>> import chainrule as cr
    >>> cr.nn.CAddTable()((cr.tensor([1.0]), cr.tensor([2.0]), cr.tensor([3.0])))
    tensor([6.0])
    """

    def combine(self, *values: Any) -> Tensor:
        """Add all."""
        return reduce(add, values[1:], as_tensor(values[0]))


class CSubTable(Table):
    """Subtract the second tensor of a table from the first.

    >>> import chainrule as cr
    >>> cr.nn.CSubTable()((cr.tensor([5.0]), cr.tensor([2.0])))
    tensor([3.0])
    """

    _count = 2

    def combine(self, *values: Any) -> Tensor:
        """Subtract."""
        return sub(*values)


class CMulTable(Table):
    """Multiply the tensors of a table, element by element.

    >>> import chainrule as cr
    >>> cr.nn.CMulTable()((cr.tensor([2.0]), cr.tensor([3.0]), cr.tensor([4.0])))
    tensor([24.0])
    """

    def combine(self, *values: Any) -> Tensor:
        """Multiply all."""
        return reduce(mul, values[1:], as_tensor(values[0]))


class CDivTable(Table):
    """Divide the first tensor of a table by the second.

    >>> import chainrule as cr
    >>> cr.nn.CDivTable()((cr.tensor([6.0]), cr.tensor([2.0])))
    tensor([3.0])
    """

    _count = 2

    def combine(self, *values: Any) -> Tensor:
        """Divide."""
        return div(*values)


class DotProduct(Table):
    """Give the inner products of two tables' rows: (x, y) -> sum of x y over the last axis.

    Shapes: two that broadcast to (..., D) -> (...).

    >>> import chainrule as cr
    >>> cr.nn.DotProduct()((cr.tensor([[1.0, 2.0]]), cr.tensor([[3.0, 4.0]])))
    tensor([11.0])
    """

    _count = 2

    def combine(self, *values: Any) -> Tensor:
        """Multiply and sum."""
        return sum(mul(*values), -1)


class CosineDistance(Table):
    """Give the cosine of the angle between two vectors of a table, over the last axis (Torch).

    It is a similarity for all its name: 1 for vectors that point the same way.
    Shapes: two that broadcast to (..., D) -> (...).

    >>> import chainrule as cr
    >>> cr.nn.CosineDistance()((cr.tensor([[1.0, 1.0]]), cr.tensor([[2.0, 2.0]])))
    tensor([1.0])
    """

    _count = 2

    def combine(self, *values: Any) -> Tensor:
        """Compare the vectors."""
        x, y = values
        return F.cosine_similarity(x, y, -1)


class MM(Table):
    """Multiply two matrices, or batches of them, of a table; either may be transposed first.

    Shapes: (..., m, k), (..., k, n) -> (..., m, n).

    >>> import chainrule as cr
    >>> cr.nn.MM(transpose_b=True)((cr.zeros(2, 3), cr.zeros(5, 3))).shape
    (2, 5)
    """

    _count = 2

    def __init__(self, transpose_a: bool = False, transpose_b: bool = False) -> None:
        super().__init__()
        self.transpose_a = flag(transpose_a, "MM transpose_a")
        self.transpose_b = flag(transpose_b, "MM transpose_b")

    def combine(self, *values: Any) -> Tensor:
        """Transpose where asked, and multiply."""
        a, b = (as_tensor(x, "MM") for x in values)
        if a.ndim < 2 or b.ndim < 2:
            raise failure("MM", "matrices or batches of matrices", a=a, b=b)
        a = transpose(a, -2, -1) if self.transpose_a else a
        return matmul(a, transpose(b, -2, -1) if self.transpose_b else b)

    def extra_repr(self) -> str:
        """Show which are transposed."""
        return f"transpose_a={self.transpose_a}, transpose_b={self.transpose_b}"


class Index(Table):
    """Take elements along an axis by an index of integers: (x, i) -> x[:, i] for dim=1.

    Raises IndexError for an index outside the axis, TypeError for one that holds no integers.

    >>> import chainrule as cr
    >>> cr.nn.Index(0)((cr.tensor([10.0, 20.0, 30.0]), cr.tensor([2, 0, 2])))
    tensor([30.0, 10.0, 30.0])
    """

    _count = 2

    def __init__(self, dim: int = 0) -> None:
        super().__init__()
        self.dim = integer(dim, "Index dim")

    def combine(self, *values: Any) -> Tensor:
        """Take the elements."""
        x, i = as_tensor(values[0], "Index"), as_tensor(values[1], "Index")
        if i.dtype.kind not in "iu":
            raise failure("Index", "an index of integers", error=KindError, index=i)
        place: Any = i
        return getitem(x, part(axis(self.dim, x.ndim, "Index"), place))

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"
