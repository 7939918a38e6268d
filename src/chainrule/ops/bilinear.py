"""The bilinear layer: every product of an element of one input with one of another, weighed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import KindError, UndefinedKindError, failure
from chainrule.ops.broadcast import total
from chainrule.ops.formulas import quiet
from chainrule.ops.matmul import product, refuse_numbers


@dataclass(frozen=True)
class BilinearForm(Op):
    """y[..., o] = sum_ij x[..., i] w[o, i, j] z[..., j] + b[o].

    With t[..., o, j] = sum_i x[..., i] w[o, i, j] and s = gy[..., o] z[..., j]:
    gz[..., j] = sum_o gy t, gx[..., i] = sum_oj s w, gw[o, i, j] = sum over rows of x s,
    gb = the sum of gy over the rows.
    """

    name = "bilinear"

    def infer(self, x: Spec, z: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
        given: dict[str, Any] = {"input1": x, "input2": z, "weight": w}
        given |= {} if b is None else {"bias": b}
        if len({s.dtype for s in given.values()}) > 1:
            raise failure(self, "tensors of one dtype", error=KindError, **given)
        if x.dtype.kind == "b":
            raise failure(self, "numbers, not booleans", error=UndefinedKindError)
        if not x.ndim or x.ndim != z.ndim or x.shape[:-1] != z.shape[:-1]:
            rule = "inputs (..., in1) and (..., in2) that agree but for their last axes"
            raise failure(self, rule, input1=x, input2=z)
        if w.ndim != 3 or w.shape[1:] != (x.shape[-1], z.shape[-1]):
            rule = f"a weight (out, {x.shape[-1]}, {z.shape[-1]}), for the inputs' last sizes"
            raise failure(self, rule, input1=x, input2=z, weight=w)
        if b is not None and b.shape != w.shape[:1]:
            raise failure(self, f"a bias ({w.shape[0]},)", weight=w, bias=b)
        return (Spec((*x.shape[:-1], w.shape[0]), x.dtype),)

    @quiet
    def forward(
        self, xp: Any, x: Array, z: Array, w: Array, b: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        (o, m, n), lead = w.shape, x.shape[:-1]
        rows = prod(lead)
        x2, z2 = x.reshape(rows, m), z.reshape(rows, n)
        t = product(xp, x2, _flat(w)).reshape(rows, o, n)
        y = product(xp, t, z2[:, :, None]).reshape(*lead, o)
        if b is not None:
            y += b
        return (y,), (x, z, w, t)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, z, w, t = saved
        (o, m, n), rows = w.shape, prod(x.shape[:-1])
        g = gy.reshape(rows, o)
        gx = gz = gw = gb = None
        if needs[0] or needs[2]:
            s = (g[:, :, None] * z.reshape(rows, 1, n)).reshape(rows, o * n)
            if needs[0]:
                gx = product(xp, s, _flat(w).T).reshape(x.shape)
            if needs[2]:
                gw = product(xp, x.reshape(rows, m).T, s).reshape(m, o, n).transpose(1, 0, 2)
        if needs[1]:
            gz = product(xp, g[:, None, :], t).reshape(z.shape)
        if len(needs) == 4 and needs[3]:
            gb = total(xp, g, (0,)).astype(gy.dtype, copy=False)
        return (gx, gz, gw, gb)[: len(needs)]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(5, 3), normal(5, 2), normal(4, 3, 2), normal(4))
        yield Sample(cls(), normal(5, 3), normal(5, 2), normal(4, 3, 2))
        yield Sample(cls(), normal(3), normal(2), normal(4, 3, 2), normal(4))
        yield Sample(cls(), normal(2, 2, 1), normal(2, 2, 3), normal(1, 1, 3), normal(1))
        yield Sample(cls(), normal(0, 3), normal(0, 2), normal(2, 3, 2), normal(2))


def _flat(w: Array) -> Array:
    """Give the weight (o, m, n) as a matrix (m, o n)."""
    o, m, n = w.shape
    return w.transpose(1, 0, 2).reshape(m, o * n)


@public
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Combine two inputs: y[..., o] = input1 weight[o] input2 + bias[o], a bilinear form each.

    Shapes: (..., in1), (..., in2), (out, in1, in2), (out,) -> (..., out).
    Raises ValueError where the shapes do not fit, TypeError for dtypes that differ.

    >>> import chainrule as cr
    >>> x, z = cr.tensor([[1.0, 2.0]]), cr.tensor([[3.0, 5.0]])
    >>> cr.nn.functional.bilinear(x, z, cr.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    tensor([[13.0]])
    """
    refuse_numbers("bilinear", input1, input2, weight)
    return apply(BilinearForm(), input1, input2, weight, *(() if bias is None else (bias,)))
