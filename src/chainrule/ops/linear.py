"""The fully connected layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply
from chainrule.errors import failure
from chainrule.ops.broadcast import broadcast, sum_to
from chainrule.ops.formulas import quiet
from chainrule.ops.matmul import blas, check_kinds, product, refuse_numbers


@dataclass(frozen=True)
class Linear(Op):
    """y = x w^T + b over the last axis of x; w is (out, in).

    gx = gy w, gw = gy^T x over all rows at once, gb = the sum of gy over the rows.
    """

    def infer(self, x: Spec, w: Spec, b: Spec | None = None) -> tuple[Spec, ...]:
        if x.ndim == 0 or w.ndim not in (1, 2):
            rule = "an input with axes and a weight (out_features, in_features) or (in_features,)"
            raise failure(self, rule, input=x, weight=w)
        check_kinds(self, x, w, *(() if b is None else (b,)))
        if x.shape[-1] != w.shape[-1]:
            rule = f"in_features to be the input's last size: {w.shape[-1]} = {x.shape[-1]}"
            raise failure(self, rule, hint=_advice(x.shape, w.shape), input=x, weight=w)
        shape = (*x.shape[:-1], *w.shape[:-1])
        if b is not None and b.shape != w.shape[:-1]:
            fits = b.ndim <= len(shape) and (w.ndim == 2 or b.ndim == 0)
            if not fits or broadcast(self, output=shape, bias=b.shape) != shape:
                rule = f"a bias of shape {w.shape[:-1]}, one for each of the weight's rows"
                raise failure(self, rule, input=x, weight=w, bias=b)
        return (Spec(shape, x.dtype),)

    @quiet
    def forward(
        self, xp: Any, x: Array, w: Array, b: Array | None = None
    ) -> tuple[tuple[Array, ...], Any]:
        y = product(xp, x, w.T)
        if b is not None:
            y += b
        return (y,), (x, w, None if b is None else b.shape)

    @quiet
    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        x, w, b_shape = saved
        count = prod(x.shape[:-1])
        g = blas(xp, gy.reshape(count, *w.shape[:-1]))  # (rows, out), or (rows,)
        gx = gw = gb = None
        if needs[0]:
            gx = product(xp, g, w) if w.ndim == 2 else g[:, None] * w
            gx = gx.reshape(x.shape)
        if needs[1]:
            gw = product(xp, g.T, x.reshape(count, x.shape[-1]))
        if len(needs) == 3 and needs[2]:
            gb = sum_to(xp, gy, b_shape)
        return (gx, gw, gb)[: len(needs)]

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(5, 3), normal(4, 3))
        yield Sample(cls(), normal(5, 3), normal(4, 3), normal(4))
        yield Sample(cls(), normal(3), normal(2, 3), normal(2))
        yield Sample(cls(), normal(2, 3, 2), normal(4, 2), normal(4))
        yield Sample(cls(), normal(2, 2, 3), normal(3))
        yield Sample(cls(), normal(2, 2, 3), normal(3), normal())
        yield Sample(cls(), normal(2, 3), normal(4, 3), normal(1))
        yield Sample(cls(), normal(2, 3), normal(4, 3), normal(2, 1))
        yield Sample(cls(), normal(2, 0), normal(3, 0), normal(3))
        yield Sample(cls(), normal(0, 2), normal(3, 2), normal(3))


def _advice(x: tuple[int, ...], w: tuple[int, ...]) -> str:
    """Tell what would make the input fit the weight."""
    for start in range(len(x) - 1):
        if prod(x[start:]) == w[-1]:
            sizes = "*".join(map(str, x[start:]))
            return f"{sizes} = {w[-1]}: flatten(input, {start}) is missing"
    if len(w) == 2 and w[0] == x[-1]:
        return "the weight seems transposed: it is (out_features, in_features)"
    advice = f"a weight with in_features = {x[-1]} takes this input"
    if len(x) > 2:
        sizes = "*".join(map(str, x[1:]))
        advice += f", and one with {sizes} = {prod(x[1:])} takes flatten(input, 1)"
    return advice


@public
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Connect every input to every output: y[..., o] = sum_i input[..., i] weight[o, i] + bias[o].

    Shapes: (..., in), (out, in), (out,) -> (..., out); a weight (in,) gives (...).
    Raises ShapeError where in_features differ (and says whether a flatten is missing), KindError
    for dtypes that differ.  Deck 004, "Fully connected layer": W n + b.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1.0, 2.0]])
    >>> w = cr.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> cr.nn.functional.linear(x, w, cr.tensor([0.5, 0.5, 0.5]))
    tensor([[1.5, 2.5, 3.5]])
    """
    refuse_numbers("linear", input, weight)
    return apply(Linear(), input, weight, *(() if bias is None else (bias,)))
