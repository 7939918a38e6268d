"""Several tensors made one, and one made several: cat, stack, split, chunk, unbind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, apply_all, as_tensor
from chainrule.errors import AxisError, KindError, failure
from chainrule.ops.arguments import axis, int_tuple, integer, numpy_names
from chainrule.ops.broadcast import empty_in, layout
from chainrule.ops.cast import promote


def part(dim: int, what: int | slice | list[int] | Array) -> tuple[Any, ...]:
    """Give the index of a part along one axis: x[part(1, slice(2, 4))] is x[:, 2:4].

    >>> part(1, slice(2, 4))
    (slice(None, None, None), slice(2, 4, None))
    """
    return (*(slice(None),) * dim, what)


def _list_of_tensors(tensors: Any, name: str) -> tuple[Tensor, ...]:
    """Check that a sequence of tensors came, and bring them to one dtype."""
    if isinstance(tensors, Tensor | np.ndarray) or not isinstance(tensors, Sequence):
        rule = "a tuple or list of tensors"
        raise failure(name, rule, error=KindError, hint=f"write {name}((a, b))", tensors=tensors)
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor | np.ndarray):
            raise failure(name, f"a tensor as element {i}", error=KindError, value=x)
    if not tensors:
        raise failure(name, "at least one tensor", tensors=tensors)
    return promote(*tensors, name=name)


def _is_nothing(x: Any) -> bool:
    """Tell whether `cat` leaves it out: a 1-D tensor of no elements, whatever the others are."""
    return bool(x.shape == (0,))


@dataclass(frozen=True)
class Cat(Op):
    """y = the inputs one after the other along an axis.  gx_i = the part of gy that x_i became."""

    dim: int = 0

    def infer(self, *xs: Spec) -> tuple[Spec, ...]:
        first = next((x for x in xs if not _is_nothing(x)), xs[0])
        total = 0
        for i, x in enumerate(xs):
            if _is_nothing(x):
                continue
            if x.ndim == 0:
                hint = "use stack to join numbers"
                raise failure(self, f"tensors with axes, not 0-D element {i}", hint=hint)
            same = x.ndim == first.ndim and all(
                a == b
                for d, (a, b) in enumerate(zip(x.shape, first.shape, strict=True))
                if d != self.dim
            )
            if not same:
                rule = f"equal sizes except along dim {self.dim}"
                raise failure(self, f"{rule}, not in element {i}", first=first, this=x)
            total += x.shape[self.dim]
        if _is_nothing(first):
            return (Spec((0,), first.dtype),)
        shape = (*first.shape[: self.dim], total, *first.shape[self.dim + 1 :])
        return (Spec(shape, first.dtype),)

    def forward(self, xp: Any, *xs: Array) -> tuple[tuple[Array, ...], Any]:
        parts = [x for x in xs if not _is_nothing(x)]
        sizes = tuple([None if _is_nothing(x) else x.shape[self.dim] for x in xs])
        return (xp.concatenate(parts or xs[:1], axis=self.dim if parts else 0),), sizes

    def backward(self, xp: Any, sizes: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gxs: list[Any] = []
        start = 0
        for size, needed in zip(sizes, needs, strict=True):
            if size is None:
                gxs.append(xp.zeros((0,), gy.dtype) if needed else None)
                continue
            gxs.append(gy[part(self.dim, slice(start, start + size))] if needed else None)
            start += size
        return tuple(gxs)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(0), normal(2, 3), normal(1, 3), normal(3, 3))
        yield Sample(cls(1), normal(2, 3, 2), normal(2, 1, 2))
        yield Sample(cls(2), normal(2, 3, 2), normal(2, 3, 0), normal(2, 3, 1))
        yield Sample(cls(1), normal(0), normal(2, 3), normal(2, 2))
        yield Sample(cls(0), normal(4))


@public
@numpy_names
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an axis that they have.

    Shapes: (A, B), (A, C) -> (A, B + C) for dim=1; all other sizes must agree, but a 1-D tensor
    of no elements is left out whatever the others are, as in PyTorch.  Dtypes are promoted.
    Raises ShapeError for sizes that differ and for no tensors, AxisError for a wrong `dim`,
    KindError for what is not a tuple or list of tensors.

    >>> import chainrule as cr
    >>> cr.cat((cr.tensor([[1, 2]]), cr.tensor([[3, 4]])))
    tensor([[1, 2],
            [3, 4]])
    """
    parts = _list_of_tensors(tensors, "cat")
    along = integer(dim, "cat", "a dimension that is an integer")
    sized = [x for x in parts if not _is_nothing(x)]
    return apply(Cat(axis(along, sized[0].ndim, "cat") if sized else 0), *parts)


@public
@numpy_names
def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an axis that they have: another name of `cat`.

    >>> import chainrule as cr
    >>> cr.concat((cr.tensor([1]), cr.tensor([2, 3])))
    tensor([1, 2, 3])
    """
    return cat(tensors, dim)


@public
@numpy_names
def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an axis that they have: `cat` under NumPy's name.

    >>> import chainrule as cr
    >>> cr.concatenate((cr.tensor([1]), cr.tensor([2, 3])))
    tensor([1, 2, 3])
    """
    return cat(tensors, dim)


@dataclass(frozen=True)
class Stack(Op):
    """y[..., i, ...] = x_i along a new axis.  gx_i = gy[..., i, ...]."""

    dim: int = 0

    def infer(self, *xs: Spec) -> tuple[Spec, ...]:
        first = xs[0]
        for i, x in enumerate(xs):
            if x.shape != first.shape:
                raise failure(self, f"equal shapes, not in element {i}", first=first, this=x)
        shape = (*first.shape[: self.dim], len(xs), *first.shape[self.dim :])
        return (Spec(shape, first.dtype),)

    def forward(self, xp: Any, *xs: Array) -> tuple[tuple[Array, ...], Any]:
        return (xp.stack(xs, axis=self.dim),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return tuple(
            [gy[(*part(self.dim, i), ...)] if needed else None for i, needed in enumerate(needs)]
        )

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for dim in range(3):
            yield Sample(cls(dim), normal(2, 3), normal(2, 3))
        yield Sample(cls(0), normal(), normal(), normal())


@public
@numpy_names
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Shapes: n times (A, B) -> (n, A, B) for dim=0, (A, B, n) for dim=-1.  Dtypes are promoted.
    Raises ShapeError for shapes that differ and for no tensors, AxisError for a wrong `dim`,
    KindError for what is not a tuple or list of tensors.

    >>> import chainrule as cr
    >>> cr.stack((cr.tensor([1, 2]), cr.tensor([3, 4])), dim=1)
    tensor([[1, 3],
            [2, 4]])
    """
    parts = _list_of_tensors(tensors, "stack")
    return apply(Stack(axis(dim, parts[0].ndim + 1, "stack")), *parts)


@dataclass(frozen=True)
class Split(Op):
    """y_i = successive parts of x along an axis.  gx = the gy_i joined, 0 where none came.

    `sizes` are the parts' sizes, or one size for all but the last, which may be smaller.
    """

    sizes: int | tuple[int, ...]
    dim: int = 0

    def sections(self, x: Spec) -> tuple[int, ...]:
        """Give the size of each part."""
        n = x.shape[self.dim]
        if isinstance(self.sizes, tuple):
            if min(self.sizes, default=0) < 0:
                raise failure(self, f"sizes of 0 or more, not {min(self.sizes)}", x=x)
            if sum(self.sizes) != n:
                total = f"{' + '.join(map(str, self.sizes))} = {sum(self.sizes)}"
                raise failure(self, f"sizes that sum to {n} at dim {self.dim}, not {total}", x=x)
            return self.sizes
        if self.sizes < 0 or (self.sizes == 0 and n):
            raise failure(self, f"a size of 1 or more, not {self.sizes}", x=x)
        full, rest = divmod(n, self.sizes) if n else (0, 0)
        return (self.sizes,) * full + ((rest,) if rest or not full else ())

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        before, after = x.shape[: self.dim], x.shape[self.dim + 1 :]
        return tuple([Spec((*before, n, *after), x.dtype) for n in self.sections(x)])

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        outputs, start = [], 0
        for size in self.sections(Spec(x.shape, x.dtype)):
            outputs.append(x[part(self.dim, slice(start, start + size))])
            start += size
        return tuple(outputs), layout(x)

    def backward(self, xp: Any, noted: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gys = gy if isinstance(gy, tuple) else (gy,)
        dtype = next(g for g in gys if g is not None).dtype
        gx = empty_in(xp, noted, dtype)
        start = 0
        for g, size in zip(gys, self.sections(Spec(noted[0], dtype)), strict=True):
            gx[part(self.dim, slice(start, start + size))] = 0 if g is None else g
            start += size
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(2, 1), normal(2, 5, 3))
        yield Sample(cls((1, 0, 3), 0), normal(4, 3))
        yield Sample(cls(4, 0), normal(4))


@public
@numpy_names
def split(
    input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Divide a tensor into parts of one size (the last may be smaller), or of the sizes given.

    Shapes: (A, ...) -> (n, ...), (n, ...), ..., all sharing the input's memory.
    Raises ShapeError where the sizes do not sum to the axis's, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.split(cr.tensor([1, 2, 3, 4, 5]), 2)
    (tensor([1, 2]), tensor([3, 4]), tensor([5]))
    >>> cr.split(cr.tensor([1, 2, 3]), (1, 2))
    (tensor([1]), tensor([2, 3]))
    """
    x = as_tensor(input)
    if x.ndim == 0:
        raise failure("split", "a tensor with axes", input=x)
    along = axis(dim, x.ndim, "split")
    if isinstance(split_size_or_sections, Sequence):
        sizes = int_tuple(split_size_or_sections, "split")
        if not sizes and x.shape[along] == 0:
            return ()
        return apply_all(Split(sizes, along), x)
    return apply_all(Split(integer(split_size_or_sections, "split"), along), x)


@public
@numpy_names
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Divide a tensor into at most `chunks` parts of one size; the last may be smaller.

    Shapes: (A, ...) -> parts (ceil(A / chunks), ...), so that there may be fewer than asked for.
    Raises ShapeError for `chunks` below 1, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> [x.shape for x in cr.chunk(cr.zeros(7), 3)]
    [(3,), (3,), (1,)]
    """
    x = as_tensor(input)
    n = integer(chunks, "chunk")
    if x.ndim == 0 or n < 1:
        raise failure("chunk", f"a tensor with axes and 1 chunk or more, not {n}", input=x)
    along = axis(dim, x.ndim, "chunk")
    size = x.shape[along]
    return apply_all(Split(-(-size // n) if size else (0,) * n, along), x)


@dataclass(frozen=True)
class Unbind(Op):
    """y_i = x[..., i, ...] for every i along an axis.  gx = the gy_i stacked, 0 where none came."""

    dim: int = 0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        shape = (*x.shape[: self.dim], *x.shape[self.dim + 1 :])
        return (Spec(shape, x.dtype),) * x.shape[self.dim]

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        count = range(x.shape[self.dim])
        return tuple([x[(*part(self.dim, i), ...)] for i in count]), layout(x)

    def backward(self, xp: Any, noted: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        gys = gy if isinstance(gy, tuple) else (gy,)
        gx = empty_in(xp, noted, next(g for g in gys if g is not None).dtype)
        for i, g in enumerate(gys):
            gx[part(self.dim, i)] = 0 if g is None else g
        return (gx,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for dim in range(3):
            yield Sample(cls(dim), normal(2, 3, 1))
        yield Sample(cls(0), normal(3))


@public
@numpy_names
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Give the slices along an axis, without it.

    Shapes: (n, A, B) -> n times (A, B), all sharing the input's memory.
    Raises AxisError for a wrong `dim` and for a tensor without axes.

    >>> import chainrule as cr
    >>> cr.unbind(cr.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """
    x = as_tensor(input)
    if x.ndim == 0:
        raise failure("unbind", "a tensor with axes", error=AxisError, input=x)
    along = axis(dim, x.ndim, "unbind")
    return apply_all(Unbind(along), x) if x.shape[along] else ()
