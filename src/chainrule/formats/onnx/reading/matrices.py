"""Products of matrices."""

from __future__ import annotations

import numpy as np

from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.reading.table import Node, need_floating, reads
from chainrule.ops.einsum import einsum
from chainrule.ops.elementwise import add, mul, sub
from chainrule.ops.gather import gather
from chainrule.ops.linear import linear
from chainrule.ops.matmul import matmul
from chainrule.ops.permute import transpose
from chainrule.ops.select import where
from chainrule.ops.shape import reshape


@reads("MatMul", since="1 9 13")
def _matmul(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices, the axes before the last two broadcast."""
    return matmul(a, b)


@reads("Gemm", since="7 9 11 13")
def _gemm(n: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """Give alpha * a @ b + beta * c, either matrix transposed on demand."""
    alpha, beta = n.get("alpha"), n.get("beta")
    plain = alpha == 1 and (c is None or beta == 1) and a.dtype.kind == "f"
    if plain and n.flag("transB") and (c is None or c.ndim == 1):
        rows = transpose(a, 0, 1) if n.flag("transA") else a
        if c is None or c.shape == b.shape[:1]:
            return linear(rows, b, c)
    rows = transpose(a, 0, 1) if n.flag("transA") else a
    columns = transpose(b, 0, 1) if n.flag("transB") else b
    y = matmul(rows, columns)
    y = y if alpha == 1 else mul(y, alpha if a.dtype.kind == "f" else int(alpha))
    if c is None or beta == 0:
        return y
    return add(y, c if beta == 1 else mul(c, beta if a.dtype.kind == "f" else int(beta)))


@reads("Einsum", since="12 28")
def _einsum(n: Node, *inputs: Tensor) -> Tensor:
    """Sum products over named axes."""
    return einsum(n.get("equation"), *inputs)


@reads("Det", since="11 22")
def _det(n: Node, x: Tensor) -> Tensor:
    """Give the determinants of square matrices, by elimination with the largest pivot."""
    need_floating(n, x)
    size = x.shape[-1]
    rows = reshape(x, (-1, size, size))
    result = Tensor(np.ones(rows.shape[0], x.dtype))
    for _ in range(size):
        left = rows.shape[1]
        pivot = np.abs(rows.array[:, :, 0]).argmax(1)
        order = np.tile(np.arange(left), (len(pivot), 1))
        order[np.arange(len(pivot)), pivot] = 0
        order[:, 0] = pivot
        index = np.repeat(order[:, :, None], left, 2)
        rows = gather(rows, 1, Tensor(index))
        top = rows[:, 0, 0]
        result = mul(result, mul(top, Tensor(np.where(pivot == 0, 1, -1).astype(x.dtype))))
        safe = where(top == 0, Tensor(np.ones((), x.dtype)), top)
        factors = rows[:, 1:, :1] / reshape(safe, (-1, 1, 1))
        rows = sub(rows[:, 1:, 1:], mul(factors, rows[:, :1, 1:]))
    return reshape(result, x.shape[:-2])
