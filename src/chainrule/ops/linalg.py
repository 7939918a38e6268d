"""What PyTorch has under `linalg` and is here: norms of vectors and matrices, products.

`chainrule.linalg` is this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule.engine.tensor import Tensor, as_tensor
from chainrule.errors import failure
from chainrule.ops.diagonal import diagonal as _diagonal
from chainrule.ops.einsum import chained, vecdot
from chainrule.ops.grids import crossed
from chainrule.ops.matmul import matmul
from chainrule.ops.shape import ravel
from chainrule.ops.vector_norm import matrix_norm, vector_norm

__all__ = [
    "cross",
    "diagonal",
    "matmul",
    "matrix_norm",
    "multi_dot",
    "norm",
    "vecdot",
    "vector_norm",
]


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Give the norm of vectors (one axis) or of matrices (two axes) along `dim`.

    Without `ord` it is the 2-norm of all elements along `dim`, or of all there are.  With an
    order and no `dim` the tensor has one axis or two.
    Raises ShapeError for other numbers of axes, and as `vector_norm` and `matrix_norm`.

    >>> import chainrule as cr
    >>> cr.linalg.norm(cr.tensor([[3.0, 4.0], [0.0, 12.0]])), cr.linalg.norm(cr.ones(2, 3), 1)
    (tensor(13.0), tensor(2.0))
    """
    x = as_tensor(A)
    if ord is None:
        if dim is None and not keepdim:
            x = ravel(x)
        return vector_norm(x, 2, dim, keepdim, dtype=dtype)
    if dim is None and x.ndim not in (1, 2):
        raise failure("linalg.norm", "one axis or two, where ord comes without dim", input=x)
    if dim is None:
        dim = tuple(range(x.ndim))
    if not isinstance(dim, int) and len(dim) == 2:
        return matrix_norm(x, ord, dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise failure("linalg.norm", "a number for ord, for vectors", ord=ord)
    return vector_norm(x, ord, dim, keepdim, dtype=dtype)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Give the cross product of vectors of three along an axis; the others are broadcast.

    Raises ShapeError where the size is not 3 or the numbers of axes differ.

    >>> import chainrule as cr
    >>> cr.linalg.cross(cr.tensor([1.0, 0.0, 0.0]), cr.tensor([0.0, 1.0, 0.0]))
    tensor([0.0, 0.0, 1.0])
    """
    return crossed("linalg.cross", input, other, dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Give the diagonals of the last two axes, or of two others: `diagonal`.

    >>> import chainrule as cr
    >>> cr.linalg.diagonal(cr.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return _diagonal(A, offset, dim1, dim2)


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Multiply a chain of matrices in the order that needs the fewest multiplications.

    The first may be a vector, taken as a row, the last one as a column.
    Shapes: (a, b), (b, c), ..., (y, z) -> (a, z).  Raises ShapeError for fewer than two, for other
    numbers of axes and inner sizes that differ.

    >>> import chainrule as cr
    >>> cr.linalg.multi_dot((cr.tensor([1.0, 2.0]), cr.ones(2, 3), cr.ones(3)))
    tensor(9.0)
    """
    return chained("multi_dot", tensors)
