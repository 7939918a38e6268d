"""The fully connected layer of a sparse matrix, whose zeros are not stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.engine.op import public
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.cast import cast
from chainrule.ops.elementwise import add
from chainrule.ops.embedding_bag import EmbeddingBag
from chainrule.ops.permute import t

_KINDS = "a SciPy sparse matrix (N, in_features), or a triple (values, columns, starts)"


def compressed_rows(name: str, matrix: Any, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Give a sparse matrix of `width` columns as (values, columns, starts), row after row.

    The entries of row i are those from starts[i] to starts[i + 1].  Known are what has `tocsr`, as
    all of SciPy's sparse matrices; CSR's `data`, `indices`, `indptr`; COO's `data`, `row`, `col`,
    in any order; and the triple itself.
    """
    if hasattr(matrix, "tocsr"):
        matrix = matrix.tocsr()
    if isinstance(matrix, tuple | list) and len(matrix) == 3:
        parts = matrix
    elif isinstance(matrix, Tensor | np.ndarray) or not hasattr(matrix, "data"):
        dense = isinstance(matrix, Tensor | np.ndarray)
        hint = "linear takes dense matrices" if dense else ""
        raise failure(name, _KINDS, error=KindError, hint=hint, input=matrix)
    else:
        shape = tuple(matrix.shape)
        if len(shape) != 2 or shape[1] != width:
            rule = f"a matrix (N, in_features) with in_features = {width}"
            raise failure(name, rule, input=shape)
        if hasattr(matrix, "indptr"):
            parts = (matrix.data, matrix.indices, matrix.indptr)
        elif hasattr(matrix, "row"):
            row, column, data = (np.asarray(v) for v in (matrix.row, matrix.col, matrix.data))
            order = np.argsort(row, kind="stable")
            ends = np.cumsum(np.bincount(row, minlength=shape[0]))
            parts = (data[order], column[order], np.concatenate(([0], ends)))
        else:
            raise failure(name, _KINDS, error=KindError, input=type(matrix))
    values, columns, starts = (as_tensor(part, name) for part in parts)
    return values, columns, starts


@public
def sparse_linear(input: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply a sparse matrix by a weight: y = input weight^T + bias; `linear` without the zeros.

    The input is a sparse matrix of SciPy's (N, in_features), in any of its formats, or a triple
    (values, columns, starts) of tensors or arrays: the entries row after row, the column of each,
    and N + 1 places where rows start and the last one ends.  Values that are a tensor get a
    gradient; they are converted to the weight's dtype.
    Shapes: (N, in), (out, in), (out,) -> (N, out).  Entries that share a place add up.

    Raises ValueError for sizes that do not fit, IndexError for a column that is not there,
    TypeError for other kinds of input.

    >>> import chainrule as cr
    >>> rows = (cr.tensor([2.0, 5.0, 1.0]), cr.tensor([0, 2, 1]), cr.tensor([0, 2, 3]))
    >>> cr.sparse_linear(rows, cr.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]))
    tensor([[7.0, 5.0],
            [1.0, 0.0]])
    """
    name = "sparse_linear"
    w = as_tensor(weight, name)
    if w.ndim != 2 or w.dtype.kind != "f":
        kind = {} if w.dtype.kind == "f" else {"error": KindError}
        raise failure(name, "a floating-point weight (out, in)", weight=w, **kind)  # type: ignore[arg-type]
    values, columns, starts = compressed_rows(name, input, w.shape[1])
    y = apply(EmbeddingBag("sum", last=True), columns, starts, t(w), cast(values, w.dtype))
    if bias is None:
        return y
    b = as_tensor(bias, name)
    if b.shape != w.shape[:1] or b.dtype != w.dtype:
        raise failure(name, f"a bias ({w.shape[0]},) of the weight's dtype", weight=w, bias=b)
    return add(y, b)
