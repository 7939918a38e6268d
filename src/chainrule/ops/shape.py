"""Other shapes for the same elements: reshape, flatten, squeeze, expand, clone.

Elements are counted in the logical (row-major) order, whatever lies behind in memory.  Results
share the input's memory where its strides allow, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import failure
from chainrule.ops.arguments import axes, axis, complete, int_tuple, numpy_names
from chainrule.ops.broadcast import sum_to


@dataclass(frozen=True)
class Reshape(Op):
    """y = the elements of x in the logical order under another shape.  gx = gy under x's shape."""

    shape: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(complete(self, self.shape, prod(x.shape), x), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x.reshape(self.shape),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy.reshape(shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((3, 10)), normal(2, 3, 5))
        yield Sample(cls((5, -1)), normal(2, 3, 5))
        yield Sample(cls(()), normal(1, 1))
        yield Sample(cls((1, 1)), normal())
        yield Sample(cls((-1, 4)), normal(0, 3))


@public
def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Give the same elements, in the logical order, under another shape.

    Shapes: any -> `shape`, whose product must be the number of elements; one size may be -1 and
    is worked out.  The memory is shared where the strides allow, else copied.
    Raises ShapeError where the sizes do not fit, KindError for sizes that are not integers.

    >>> import chainrule as cr
    >>> cr.reshape(cr.tensor([1, 2, 3, 4, 5, 6]), (2, -1))
    tensor([[1, 2, 3],
            [4, 5, 6]])
    """
    return apply(Reshape(int_tuple(shape, "reshape", bare=False)), input)


@dataclass(frozen=True)
class Flatten(Op):
    """y = x with the axes start..end made one.  gx = gy under x's shape."""

    start: int
    end: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        before, after = x.shape[: self.start], x.shape[self.end + 1 :]
        return (Spec((*before, prod(x.shape[self.start : self.end + 1]), *after), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x.reshape(self.infer(Spec(x.shape, x.dtype))[0].shape),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy.reshape(shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1, 2), normal(2, 3, 5, 2))
        yield Sample(cls(0, 2), normal(2, 3, 5))
        yield Sample(cls(1, 1), normal(2, 3, 5))
        yield Sample(cls(0, 0), normal())
        yield Sample(cls(1, 2), normal(2, 0, 3))


@public
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Make one axis of the axes from `start_dim` to `end_dim`, both included.

    Shapes: (..., A, B, C, ...) -> (..., A*B*C, ...); a tensor without axes gives (1,).
    Raises AxisError for an axis that is not there, ShapeError where start comes after end.

    >>> import chainrule as cr
    >>> cr.flatten(cr.zeros(2, 3, 4), 1).shape
    (2, 12)
    """
    x = as_tensor(input)
    start = axis(start_dim, x.ndim, "flatten start_dim")
    end = axis(end_dim, x.ndim, "flatten end_dim")
    if start > end:
        raise failure("flatten", f"start_dim at most end_dim, not {start} > {end}", input=x)
    return apply(Flatten(start, end), x)


@public
def ravel(input: Tensor) -> Tensor:
    """Give all elements in the logical order along one axis: `flatten` with its defaults.

    >>> import chainrule as cr
    >>> cr.ravel(cr.tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return flatten(input)


@dataclass(frozen=True)
class Unflatten(Op):
    """y = x with one axis made several.  gx = gy under x's shape."""

    dim: int
    sizes: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        sizes = complete(self, self.sizes, x.shape[self.dim], x)
        return (Spec((*x.shape[: self.dim], *sizes, *x.shape[self.dim + 1 :]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x.reshape(self.infer(Spec(x.shape, x.dtype))[0].shape),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy.reshape(shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(1, (2, 3)), normal(2, 6, 3))
        yield Sample(cls(0, (-1, 1, 2)), normal(6, 3))
        yield Sample(cls(1, (-1, 2)), normal(3, 0))


@public
@numpy_names
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Make several axes of one; the reverse of `flatten`.

    Shapes: (..., A*B, ...) -> (..., A, B, ...) with `sizes` = (A, B); one size may be -1.
    Raises ShapeError where the sizes do not multiply to the axis's, AxisError for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.unflatten(cr.zeros(2, 12), 1, (3, -1)).shape
    (2, 3, 4)
    """
    x = as_tensor(input)
    parts = int_tuple(sizes, "unflatten", bare=False)
    if x.ndim == 0 or not parts:
        raise failure("unflatten", "an axis to divide, and at least one size", input=x, sizes=parts)
    return apply(Unflatten(axis(dim, x.ndim, "unflatten"), parts), x)


@dataclass(frozen=True)
class Squeeze(Op):
    """y = x without axes of size 1: those among `dims`, or all.  gx = gy under x's shape."""

    dims: tuple[int, ...] | None = None

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        dims = range(x.ndim) if self.dims is None else self.dims
        kept = tuple([n for i, n in enumerate(x.shape) if n != 1 or i not in dims])
        return (Spec(kept, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x.reshape(self.infer(Spec(x.shape, x.dtype))[0].shape),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy.reshape(shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(1, 2, 1, 3))
        yield Sample(cls((0, 1)), normal(1, 2, 1, 3))
        yield Sample(cls(()), normal(1, 2))


@public
@numpy_names
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Drop axes of size 1: all of them, or those named; a named one of another size stays.

    Shapes: (1, A, 1, B) -> (A, B), or (A, 1, B) for dim=0.
    Raises AxisError for an axis that is not there, ShapeError for one named twice.

    >>> import chainrule as cr
    >>> cr.squeeze(cr.zeros(1, 3, 1)).shape, cr.squeeze(cr.zeros(1, 3, 1), 0).shape
    ((3,), (3, 1))
    """
    x = as_tensor(input)
    return apply(Squeeze(None if dim is None else axes(dim, x.ndim, "squeeze")), x)


@dataclass(frozen=True)
class Unsqueeze(Op):
    """y = x with an axis of size 1 put in at `dim`.  gx = gy without it."""

    dim: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec((*x.shape[: self.dim], 1, *x.shape[self.dim :]), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (xp.expand_dims(x, self.dim),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy.reshape(shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        for dim in range(3):
            yield Sample(cls(dim), normal(2, 3))
        yield Sample(cls(0), normal())


@public
@numpy_names
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Put in an axis of size 1 at `dim`, counted in the result.

    Shapes: (A, B) -> (A, 1, B) for dim=1, (A, B, 1) for dim=-1.
    Raises AxisError where the result has no such axis.

    >>> import chainrule as cr
    >>> cr.unsqueeze(cr.tensor([1, 2]), -1)
    tensor([[1],
            [2]])
    """
    x = as_tensor(input)
    return apply(Unsqueeze(axis(dim, x.ndim + 1, "unsqueeze")), x)


@dataclass(frozen=True)
class Expand(Op):
    """y[..., i, ...] = x[..., 0, ...] along axes of size 1 and new ones in front; -1 keeps a size.

    gx = gy summed over these axes.
    """

    sizes: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        lead = len(self.sizes) - x.ndim
        if lead < 0:
            raise failure(self, f"{x.ndim} sizes or more, not {len(self.sizes)}", x=x)
        shape = list(self.sizes)
        for i, size in enumerate(shape):
            had = x.shape[i - lead] if i >= lead else 1
            if size == -1 and i >= lead:
                shape[i] = had
            elif size < 0:
                rule = "a size for every new axis" if size == -1 else "sizes of 0 or more, or -1"
                raise failure(self, f"{rule}, not {size} at dim {i}", x=x)
            elif had not in (1, size):
                rule = f"size {had} or -1 at dim {i}, not {size}: only axes of size 1 expand"
                raise failure(self, rule, x=x)
        return (Spec(tuple(shape), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (xp.broadcast_to(x, self.infer(Spec(x.shape, x.dtype))[0].shape),), x.shape

    def backward(self, xp: Any, shape: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (sum_to(xp, gy, shape),)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((3, 4)), normal(3, 1))
        yield Sample(cls((2, -1, 4)), normal(3, 1))
        yield Sample(cls((2, 1, 1)), normal(1, 1))
        yield Sample(cls((2, 3)), normal())
        yield Sample(cls((3, 0)), normal(3, 1))


@public
def expand(input: Tensor, size: Sequence[int]) -> Tensor:
    """Repeat axes of size 1, and put new ones in front, without copying; -1 keeps a size.

    Shapes: (A, 1) -> (C, A, B) for size (C, A, B) or (C, -1, B).  The result's elements share
    memory, so it is read-only.  Raises ShapeError where an axis of another size would change.

    >>> import chainrule as cr
    >>> cr.expand(cr.tensor([[1], [2]]), (-1, 3))
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    return apply(Expand(int_tuple(size, "expand", bare=False)), input)


@public
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Broadcast to a shape; the same as `expand`.

    >>> import chainrule as cr
    >>> cr.broadcast_to(cr.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return apply(Expand(int_tuple(size, "broadcast_to", bare=False)), input)


@public
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Expand to the shape of `other`.

    >>> import chainrule as cr
    >>> cr.expand_as(cr.tensor([1, 2]), cr.zeros(3, 2)).shape
    (3, 2)
    """
    return apply(Expand(as_tensor(other).shape), input)


@dataclass(frozen=True)
class Clone(Op):
    """y = x in memory of its own, in the same layout.  gx = gy."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x.copy(order="K"),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 3))
        yield Sample(cls(), normal())


@public
def clone(input: Tensor) -> Tensor:
    """Copy a tensor, keeping its physical layout; gradients pass through.

    >>> import chainrule as cr
    >>> cr.clone(cr.tensor([1.0, 2.0]))
    tensor([1.0, 2.0])
    """
    return apply(Clone(), input)


@dataclass(frozen=True)
class Contiguous(Op):
    """y = x laid out in the logical order.  gx = gy."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[tuple[Array, ...], Any]:
        return (x.copy(order="C"),), None

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        return (gy,)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls(), normal(2, 3))


@public
def contiguous(input: Tensor) -> Tensor:
    """Give the tensor itself if its memory is in the logical order, else a copy that is.

    >>> import chainrule as cr
    >>> cr.contiguous(cr.zeros(2, 3).t()).is_contiguous()
    True
    """
    x = as_tensor(input)
    return x if x.array.flags.c_contiguous else apply(Contiguous(), x)
