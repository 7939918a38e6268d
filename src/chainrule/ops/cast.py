"""Conversion between dtypes, and promotion of operands to a common one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, DType, Op, Spec, public
from chainrule.engine.promotion import as_dtype, combine, is_scalar, promote_types, scalar_dtype
from chainrule.engine.sample import Sample, booleans, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import KindError, failure


@dataclass(frozen=True)
class Cast(Op):
    """y = x in another dtype.  gx = gy in the dtype of x."""

    dtype: str

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        """The input's shape in the new dtype."""
        return (Spec(x.shape, np.dtype(self.dtype)),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        """Convert, keeping the layout."""
        with np.errstate(invalid="ignore", over="ignore"):
            return (x.astype(self.dtype, order="K", copy=False),), x.dtype.str

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        """Convert back."""
        return (gy.astype(saved, order="K", copy=False),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """To float64, where central differences are sharp enough; from integers and booleans."""
        yield Sample(cls("float64"), normal(3, 4))
        yield Sample(cls("float32"), integers(3, high=9))
        yield Sample(cls("int64"), booleans(2, 3))


@public
def cast(input: Tensor, dtype: Any) -> Tensor:
    """Convert to a dtype; the tensor itself if it has it already.

    Shapes: any -> the same.  The gradient is converted back; integers have none.

    >>> import chainrule as cr
    >>> cr.cast(cr.tensor([1.7, -1.7]), cr.int64)
    tensor([1, -1])
    """
    wanted = as_dtype(dtype)
    return input if input.dtype == wanted else apply(Cast(wanted.name), input)


def result_type(*operands: Any) -> DType:
    """Give the dtype of an operation on tensors, arrays and numbers.

    Tensors with axes decide; 0-d tensors, then bare numbers, matter only if their kind
    (bool < integer < float) is higher.

    >>> import chainrule as cr
    >>> cr.result_type(cr.tensor([1, 2]), 0.5)
    dtype('float32')
    """
    if len(operands) == 2 and is_scalar(operands[1]) and not is_scalar(operands[0]):
        dtype: DType = operands[0].dtype  # the usual case, a float tensor and a number
        if dtype.kind == "f":
            return dtype
    ranks: list[DType | None] = [None, None, None]
    for x in operands:
        rank = 2 if is_scalar(x) else int(x.ndim == 0)
        own = scalar_dtype(x) if rank == 2 else x.dtype
        known = ranks[rank]
        ranks[rank] = own if known is None else promote_types(known, own)
    return combine(*ranks)


def promote(*operands: Any, name: str = "operand") -> tuple[Tensor, ...]:
    """Make tensors of one dtype of the operands, by `result_type`; differentiable.

    Raises TypeError for operands that are no tensors, arrays or numbers, and for a number that
    the common dtype cannot hold.
    """
    first = operands[0]
    if isinstance(first, Tensor):
        dtype = first.array.dtype
        for x in operands:
            if not isinstance(x, Tensor) or x.array.dtype is not dtype:
                break
        else:
            return operands
    given = [x if is_scalar(x) else as_tensor(x, name) for x in operands]
    common = result_type(*given)
    return tuple(
        [cast(x, common) if isinstance(x, Tensor) else _number(x, common, name) for x in given]
    )


def _number(value: Any, dtype: DType, name: str) -> Tensor:
    try:
        return Tensor(np.array(value, dtype=dtype))
    except OverflowError as error:
        rule = f"a number that {dtype} can hold"
        raise failure(name, rule, error=KindError, number=value) from error
