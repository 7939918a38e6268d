"""Tensors combined: grids, all pairs, block diagonals, Kronecker and cross products."""

from __future__ import annotations

from itertools import combinations as choices
from itertools import combinations_with_replacement as choices_again
from typing import Any

import numpy as np

from chainrule.engine.op import public
from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axis, flag, integer, numpy_names
from chainrule.ops.cast import promote
from chainrule.ops.elementwise import mul, sub
from chainrule.ops.gather import index_select
from chainrule.ops.join import cat, stack
from chainrule.ops.pad import pad
from chainrule.ops.permute import roll
from chainrule.ops.shape import expand, reshape
from chainrule.ops.stacking import broadcast_tensors


def _vectors(name: str, tensors: tuple[Any, ...]) -> list[Tensor]:
    """Check that tensors of at most one axis came, one by one or as a sequence."""
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors
    found = [as_tensor(x, name) for x in given]
    if not found:
        raise failure(name, "at least one tensor", tensors=tensors)
    for i, x in enumerate(found):
        if x.ndim > 1:
            raise failure(name, f"a vector as element {i}", value=x)
        if x.dtype != found[0].dtype:
            rule = "tensors of one dtype"
            raise failure(name, rule, error=KindError, first=found[0], this=x)
    return found


@public
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Give the coordinates of a grid: each vector along an axis of its own, expanded to all.

    Shapes: (A,), (B,), ... -> (A, B, ...) each; with `indexing` "xy" the first two axes are
    exchanged.  None means "ij".  A number counts as a vector of one.
    Raises ShapeError for more than one axis and an unknown `indexing`, KindError for two dtypes.

    >>> import chainrule as cr
    >>> cr.meshgrid(cr.tensor([1, 2]), cr.tensor([3, 4, 5]), indexing="ij")[1]
    tensor([[3, 4, 5],
            [3, 4, 5]])
    """
    found = _vectors("meshgrid", tensors)
    if indexing not in (None, "ij", "xy"):
        raise failure("meshgrid", 'indexing "ij" or "xy"', indexing=indexing)
    places = list(range(len(found)))
    if indexing == "xy" and len(found) > 1:
        places[:2] = [1, 0]
    sizes = [x.shape[0] if x.ndim else 1 for x in found]
    shape = [sizes[p] for p in places]
    lines = [[sizes[i] if p == i else 1 for p in places] for i in range(len(found))]
    return tuple([expand(reshape(x, at), shape) for x, at in zip(found, lines, strict=True)])


@public
def cartesian_prod(*tensors: Any) -> Tensor:
    """Give all combinations of one element of each vector, a row each; of one vector itself.

    Shapes: (A,), (B,), ... of n vectors -> (A * B * ..., n).  Raises as `meshgrid`.

    >>> import chainrule as cr
    >>> cr.cartesian_prod(cr.tensor([1, 2]), cr.tensor([3, 4]))
    tensor([[1, 3],
            [1, 4],
            [2, 3],
            [2, 4]])
    """
    found = _vectors("cartesian_prod", tensors)
    if len(found) == 1:
        return reshape(found[0], (-1,))
    return stack([reshape(x, (-1,)) for x in meshgrid(*found)], 1)


@public
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Give all choices of r elements of a vector, a row each; with repeats if asked for.

    Shapes: (n,) -> (number of choices, r).  Raises ShapeError for what is not a vector and for a
    negative r.

    >>> import chainrule as cr
    >>> cr.combinations(cr.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    x, size = as_tensor(input), integer(r, "combinations r")
    if x.ndim != 1 or size < 0:
        raise failure("combinations", "a vector, and r of 0 or more", input=x, r=size)
    if size == 0:
        return x[:0]
    again = flag(with_replacement, "combinations with_replacement")
    rows = list((choices_again if again else choices)(range(x.shape[0]), size))
    index = np.array(rows, np.int64).reshape(-1, size)
    return reshape(index_select(x, 0, Tensor(index.reshape(-1))), index.shape)


@public
def block_diag(*tensors: Any) -> Tensor:
    """Put matrices along the diagonal of one matrix, 0 elsewhere; vectors count as rows.

    Shapes: (a, b), (c, d), ... -> (a + c + ..., b + d + ...).  Dtypes are promoted.
    Raises ShapeError for more than two axes.

    >>> import chainrule as cr
    >>> cr.block_diag(cr.tensor([[1, 2]]), cr.tensor(3))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    if not tensors:
        raise failure("block_diag", "at least one tensor", tensors=tensors)
    blocks = []
    for i, x in enumerate(promote(*tensors, name="block_diag")):
        if x.ndim > 2:
            raise failure("block_diag", f"at most two axes in element {i}", value=x)
        blocks.append(x if x.ndim == 2 else reshape(x, (1, -1 if x.ndim else 1)))
    width, before, rows = sum_of([b.shape[1] for b in blocks]), 0, []
    for b in blocks:
        rows.append(pad(b, (before, width - before - b.shape[1])))
        before += b.shape[1]
    return cat(rows, 0)


def sum_of(sizes: list[int]) -> int:
    """Add sizes."""
    return int(np.sum(sizes, dtype=np.int64))


@public
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Give the Kronecker product: every element of the one times the whole other.

    Shapes: (a, b), (c, d) -> (a * c, b * d); the one with fewer axes gets them in front.  Dtypes
    are promoted.

    >>> import chainrule as cr
    >>> cr.kron(cr.tensor([[1, 10]]), cr.tensor([[1, 2]]))
    tensor([[ 1,  2, 10, 20]])
    """
    x, y = as_tensor(input), as_tensor(other)
    ndim = max(x.ndim, y.ndim)
    mine = (1,) * (ndim - x.ndim) + x.shape
    theirs = (1,) * (ndim - y.ndim) + y.shape
    spread = reshape(x, [n for size in mine for n in (size, 1)])
    copies = reshape(y, [n for size in theirs for n in (1, size)])
    return reshape(mul(spread, copies), [a * b for a, b in zip(mine, theirs, strict=True)])


def crossed(name: str, input: Any, other: Any, dim: int) -> Tensor:
    """Give the cross product along one axis of size 3: a1 b2 - a2 b1, and so on in a circle."""
    a, b = promote(input, other, name=name)
    if a.ndim != b.ndim:
        raise failure(name, "tensors of as many axes", input=a, other=b)
    along = axis(dim, a.ndim, name)
    if not a.ndim or a.shape[along] != 3 or b.shape[along] != 3:
        raise failure(name, f"a size of 3 at dim {along}", input=a, other=b)
    a, b = broadcast_tensors(a, b)
    first = mul(roll(a, -1, along), roll(b, -2, along))
    return sub(first, mul(roll(a, -2, along), roll(b, -1, along)))


@public
@numpy_names
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Give the cross product of vectors of three along an axis; the others are broadcast.

    Without `dim` it is the first axis of size 3, as in PyTorch, which warns: name it.
    Raises ShapeError where the size is not 3 or the numbers of axes differ.

    >>> import chainrule as cr
    >>> cr.cross(cr.tensor([1.0, 0.0, 0.0]), cr.tensor([0.0, 1.0, 0.0]), dim=0)
    tensor([0.0, 0.0, 1.0])
    """
    if dim is None:
        shape = as_tensor(input).shape
        if 3 not in shape:
            raise failure("cross", "an axis of size 3", input=shape)
        dim = shape.index(3)
    return crossed("cross", input, other, dim)
