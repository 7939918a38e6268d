"""Products of matrices."""

from __future__ import annotations

from chainrule.engine.tensor import Tensor
from chainrule.formats.onnx.reading.table import Node, reads
from chainrule.ops.einsum import einsum
from chainrule.ops.elementwise import add, mul
from chainrule.ops.linear import linear
from chainrule.ops.matmul import matmul
from chainrule.ops.permute import transpose


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
