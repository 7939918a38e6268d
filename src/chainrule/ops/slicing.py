"""Parts of a tensor that lie at even distances: numbers, slices and new axes; narrow, select."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import AxisError, LabelError, failure
from chainrule.ops.arguments import axis, integer, numpy_names
from chainrule.ops.broadcast import layout

Triple = tuple[int, int | None, int]
Item = int | Triple | None
WHOLE: Triple = (0, None, 1)


def zeros_in(xp: Any, noted: Any, dtype: Any) -> Array:
    """Allocate zeros in the shape and the order of axes that `layout` noted."""
    shape, order = noted
    slowest_first = xp.zeros([shape[i] for i in order], dtype=dtype)
    return slowest_first.transpose(np.argsort(order))  # type: ignore[no-any-return]


def triple(part: slice, name: str) -> Triple:
    """Normalise a slice to (start, stop, step): stop None is the end, negatives are kept.

    Raises ShapeError for steps below 1, KindError for what is not an integer.

    >>> triple(slice(None, -1), "getitem")
    (0, -1, 1)
    """
    what = "a slice of integers"
    step = 1 if part.step is None else integer(part.step, name, what)
    if step < 1:
        hint = "flip(input, (dim,)) reverses an axis" if step < 0 else ""
        raise failure(name, f"a slice's step of 1 or more, not {step}", hint=hint)
    start = 0 if part.start is None else integer(part.start, name, what)
    stop = None if part.stop is None else integer(part.stop, name, what)
    return start, stop, step


@dataclass(frozen=True)
class Slice(Op):
    """y = x[key] for numbers, triples (start, stop, step) and None, which puts in an axis.

    gx = gy at the key, 0 elsewhere.
    """

    key: tuple[Item, ...] = ()

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        shape, dim = [], 0
        for item in self.key:
            if item is None:
                shape.append(1)
                continue
            n = x.shape[dim]
            if isinstance(item, int):
                if not -n <= item < n:
                    rule = (
                        f"an index in [{-n}, {n - 1}] at dim {dim}" if n else "no index of size 0"
                    )
                    raise failure(self, f"{rule}, not {item}", error=LabelError, x=x)
            elif item == WHOLE:
                shape.append(n)
            else:
                shape.append(len(range(*slice(*item).indices(n))))
            dim += 1
        return (Spec((*shape, *x.shape[dim:]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x[self._subscript()],), layout(x)

    def backward(self, xp: Any, noted: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        if gy.size == prod(noted[0]):  # nothing was left out
            return (gy.reshape(noted[0]),)
        gx = zeros_in(xp, noted, gy.dtype)
        gx[self._subscript()] = gy
        return (gx,)

    def _subscript(self) -> tuple[Any, ...]:
        key: list[Any] = [slice(*item) if type(item) is tuple else item for item in self.key]
        # The ellipsis makes NumPy give an array, and a view, where it would give a number.
        return (*key, ...)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 3))
        yield Sample(cls((1,)), normal(3, 2))
        yield Sample(cls((WHOLE, -1)), normal(3, 2))
        yield Sample(cls(((1, None, 1), (0, 4, 2))), normal(3, 5))
        yield Sample(cls(((-2, -1, 1), None, 0)), normal(4, 2, 3))
        yield Sample(cls((None, WHOLE, None)), normal(2, 3))
        yield Sample(cls((1, 2)), normal(2, 3))
        yield Sample(cls(((2, 1, 1),)), normal(3, 2))


@public
@numpy_names
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Give `length` elements along an axis, from `start` on (negative: from the end).

    Shapes: (..., A, ...) -> (..., length, ...), sharing the input's memory.
    Raises LabelError for a start outside the axis, ShapeError where the part does not fit into
    it, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.narrow(cr.tensor([1, 2, 3, 4]), 0, 1, 2)
    tensor([2, 3])
    """
    x = as_tensor(input)
    if x.ndim == 0:
        raise failure("narrow", "a tensor with axes", input=x)
    along = axis(dim, x.ndim, "narrow")
    n, first, size = (
        x.shape[along],
        integer(start, "narrow start"),
        integer(length, "narrow length"),
    )
    if not -n <= first <= n:
        rule = f"a start in [{-n}, {n}] at dim {along}, not {first}"
        raise failure("narrow", rule, error=LabelError, input=x)
    first += n if first < 0 else 0
    if size < 0 or first + size > n:
        rule = f"start + length <= {n} at dim {along}: {first} + {size} = {first + size}"
        raise failure(
            "narrow", rule if size >= 0 else f"a length of 0 or more, not {size}", input=x
        )
    return apply(Slice((*(WHOLE,) * along, (first, first + size, 1))), x)


@public
@numpy_names
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Give one slice along an axis, without the axis; a negative index counts from the end.

    Shapes: (..., A, ...) -> (..., ...), sharing the input's memory.
    Raises LabelError for an index outside the axis, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.select(cr.tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([1, 3])
    """
    x = as_tensor(input)
    if x.ndim == 0:
        raise failure("select", "a tensor with axes", error=AxisError, input=x)
    along = axis(dim, x.ndim, "select")
    return apply(Slice((*(WHOLE,) * along, integer(index, "select index"))), x)
