"""Joining and splitting by rows, columns and depth; turning; axes put in as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.engine.op import public
from chainrule.engine.tensor import Tensor, apply_all, as_tensor
from chainrule.errors import KindError, failure
from chainrule.ops.arguments import axes, axis, int_tuple, integer, numpy_names
from chainrule.ops.broadcast import broadcast
from chainrule.ops.join import Split, cat, chunk, split
from chainrule.ops.permute import flip, transpose
from chainrule.ops.shape import expand, reshape


def _each(name: str, tensors: Any, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Check that a sequence of tensors came, and change each."""
    if isinstance(tensors, Tensor | np.ndarray) or not isinstance(tensors, Sequence):
        rule = "a tuple or list of tensors"
        raise failure(name, rule, error=KindError, hint=f"write {name}((a, b))", tensors=tensors)
    if not tensors:
        raise failure(name, "at least one tensor", tensors=tensors)
    return [change(as_tensor(x, name)) for x in tensors]


def _at_least(x: Any, ndim: int) -> Tensor:
    """Put in axes of size 1: before for one and two, before and after for three."""
    t = as_tensor(x)
    if t.ndim >= ndim:
        return t
    if ndim < 3:
        return reshape(t, (*(1,) * (ndim - t.ndim), *t.shape))
    return reshape(t, {0: (1, 1, 1), 1: (1, *t.shape, 1), 2: (*t.shape, 1)}[t.ndim])


def _at_least_each(name: str, tensors: tuple[Any, ...], ndim: int) -> Any:
    many = len(tensors) == 1 and isinstance(tensors[0], list | tuple)
    given = tuple(tensors[0]) if many else tensors
    if not given:
        raise failure(name, "at least one tensor", tensors=tensors)
    found = tuple([_at_least(x, ndim) for x in given])
    return found if many or len(found) > 1 else found[0]


@public
def atleast_1d(*tensors: Any) -> Any:
    """Give tensors of at least one axis: () -> (1,); several, or a sequence, give a tuple.

    >>> import chainrule as cr
    >>> cr.atleast_1d(cr.tensor(5))
    tensor([5])
    """
    return _at_least_each("atleast_1d", tensors, 1)


@public
def atleast_2d(*tensors: Any) -> Any:
    """Give tensors of at least two axes: (n,) -> (1, n); several, or a sequence, give a tuple.

    >>> import chainrule as cr
    >>> cr.atleast_2d(cr.tensor([1, 2]))
    tensor([[1, 2]])
    """
    return _at_least_each("atleast_2d", tensors, 2)


@public
def atleast_3d(*tensors: Any) -> Any:
    """Give tensors of at least three axes: (n,) -> (1, n, 1), (m, n) -> (m, n, 1).

    >>> import chainrule as cr
    >>> cr.atleast_3d(cr.zeros(2, 3)).shape
    (2, 3, 1)
    """
    return _at_least_each("atleast_3d", tensors, 3)


@public
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join side by side: along the second axis, vectors along their only one.

    Raises ShapeError for sizes that do not fit and for no tensors.

    >>> import chainrule as cr
    >>> cr.hstack((cr.tensor([1]), cr.tensor([2, 3])))
    tensor([1, 2, 3])
    """
    parts = _each("hstack", tensors, lambda x: _at_least(x, 1))
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


@public
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join one below the other: along the first axis, vectors as rows.

    Raises ShapeError for sizes that do not fit and for no tensors.

    >>> import chainrule as cr
    >>> cr.vstack((cr.tensor([1, 2]), cr.tensor([3, 4])))
    tensor([[1, 2],
            [3, 4]])
    """
    return cat(_each("vstack", tensors, lambda x: _at_least(x, 2)), 0)


@public
def row_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join one below the other: another name of `vstack`.

    >>> import chainrule as cr
    >>> cr.row_stack((cr.tensor([1, 2]), cr.tensor([3, 4]))).shape
    (2, 2)
    """
    return vstack(tensors)


@public
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join one behind the other: along the third axis, which is put in where it is missing.

    Raises ShapeError for sizes that do not fit and for no tensors.

    >>> import chainrule as cr
    >>> cr.dstack((cr.tensor([1, 2]), cr.tensor([3, 4])))
    tensor([[[1, 3],
             [2, 4]]])
    """
    return cat(_each("dstack", tensors, lambda x: _at_least(x, 3)), 2)


@public
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Join as columns: vectors become columns, matrices are joined side by side.

    Raises ShapeError for sizes that do not fit and for no tensors.

    >>> import chainrule as cr
    >>> cr.column_stack((cr.tensor([1, 2]), cr.tensor([3, 4])))
    tensor([[1, 3],
            [2, 4]])
    """

    def column(x: Tensor) -> Tensor:
        return x if x.ndim > 1 else reshape(x, (-1 if x.ndim else 1, 1))

    return hstack(_each("column_stack", tensors, column))


@public
@numpy_names
def tensor_split(
    input: Tensor,
    indices_or_sections: Any = None,
    dim: int = 0,
    *,
    sections: int | None = None,
    indices: Sequence[int] | None = None,
    tensor_indices_or_sections: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Divide along an axis into so many parts, the first larger by one if need be, or at indices.

    Indices are taken as slices take them: (2, 5) gives [:2], [2:5], [5:].  The last three
    arguments are PyTorch's keywords for the second.
    Raises ShapeError for fewer than 1 part, KindError for more than one way to say it, AxisError
    for a wrong `dim`.

    >>> import chainrule as cr
    >>> cr.tensor_split(cr.tensor([1, 2, 3, 4, 5]), 2), cr.tensor_split(cr.tensor([1, 2]), (1,))
    ((tensor([1, 2, 3]), tensor([4, 5])), (tensor([1]), tensor([2])))
    """
    x = as_tensor(input)
    ways = (indices_or_sections, sections, indices, tensor_indices_or_sections)
    told = [way for way in ways if way is not None]
    if len(told) != 1:
        raise failure("tensor_split", "sections or indices", error=KindError, given=len(told))
    if x.ndim == 0:
        raise failure("tensor_split", "a tensor with axes", input=x)
    given: Any = told[0]
    along = axis(dim, x.ndim, "tensor_split")
    n = x.shape[along]
    if isinstance(given, Tensor):
        if given.dtype != np.int64 or given.ndim > 1:
            raise failure("tensor_split", "a number or a vector of int64", indices=given)
        given = given.tolist()
    if isinstance(given, Sequence):
        cuts = [slice(i).indices(n)[1] for i in int_tuple(given, "tensor_split")]
        parts = [x[(*(slice(None),) * along, slice(a, b))] for a, b in
                 zip([0, *cuts], [*cuts, n], strict=True)]  # fmt: skip
        return tuple(parts)
    count = integer(given, "tensor_split")
    if count < 1:
        raise failure("tensor_split", f"1 part or more, not {count}", input=x)
    size, larger = divmod(n, count)
    return apply_all(Split((size + 1,) * larger + (size,) * (count - larger), along), x)


def _split(name: str, x: Tensor, given: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    if x.ndim < least:
        raise failure(name, f"a tensor of at least {least} axes, not {x.ndim}", input=x)
    if not isinstance(given, Sequence):
        count = integer(given, name, "an integer or a sequence of integers")
        if count < 1 or x.shape[dim] % count:
            rule = f"a number of parts that divides {x.shape[dim]}, not {count}"
            raise failure(name, rule, input=x)
    return tensor_split(x, given, dim)


@public
def hsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Divide along the second axis, a vector along its only one; as `tensor_split`.

    Raises ShapeError for a number of parts that does not divide the size.

    >>> import chainrule as cr
    >>> cr.hsplit(cr.tensor([1, 2, 3, 4]), 2)
    (tensor([1, 2]), tensor([3, 4]))
    """
    x = as_tensor(input)
    return _split("hsplit", x, indices_or_sections, 0 if x.ndim == 1 else 1, 1)


@public
def vsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Divide along the first axis of at least two; otherwise as `hsplit`.

    >>> import chainrule as cr
    >>> cr.vsplit(cr.tensor([[1, 2], [3, 4]]), 2)
    (tensor([[1, 2]]), tensor([[3, 4]]))
    """
    return _split("vsplit", as_tensor(input), indices_or_sections, 0, 2)


@public
def dsplit(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """Divide along the third axis; otherwise as `hsplit`.

    >>> import chainrule as cr
    >>> [x.shape for x in cr.dsplit(cr.zeros(2, 3, 4), (1,))]
    [(2, 3, 1), (2, 3, 3)]
    """
    return _split("dsplit", as_tensor(input), indices_or_sections, 2, 3)


@public
@numpy_names
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Divide into at most `chunks` parts: `chunk`.

    >>> import chainrule as cr
    >>> cr.unsafe_chunk(cr.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    """
    return chunk(input, chunks, dim)


@public
@numpy_names
def unsafe_split(input: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Divide into parts of one size: `split`.

    >>> import chainrule as cr
    >>> cr.unsafe_split(cr.tensor([1, 2, 3]), 2)
    (tensor([1, 2]), tensor([3]))
    """
    return split(input, split_size, dim)


@public
@numpy_names
def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Divide into parts of the sizes given: `split` with several.

    >>> import chainrule as cr
    >>> cr.split_with_sizes(cr.tensor([1, 2, 3]), (1, 2))
    (tensor([1]), tensor([2, 3]))
    """
    return split(input, int_tuple(split_sizes, "split_with_sizes", bare=False), dim)


@public
def fliplr(input: Tensor) -> Tensor:
    """Reverse the second axis of at least two; raises ShapeError for fewer.

    >>> import chainrule as cr
    >>> cr.fliplr(cr.tensor([[1, 2]]))
    tensor([[2, 1]])
    """
    x = as_tensor(input)
    if x.ndim < 2:
        raise failure("fliplr", f"at least two axes, not {x.ndim}", input=x)
    return flip(x, (1,))


@public
def flipud(input: Tensor) -> Tensor:
    """Reverse the first axis; raises ShapeError for a tensor without axes.

    >>> import chainrule as cr
    >>> cr.flipud(cr.tensor([1, 2]))
    tensor([2, 1])
    """
    x = as_tensor(input)
    if x.ndim < 1:
        raise failure("flipud", "a tensor with axes", input=x)
    return flip(x, (0,))


@public
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turn by 90 degrees k times in the plane of two axes, from the first towards the second.

    Shapes: (..., m, ..., n, ...) -> (..., n, ..., m, ...) for odd k.  Raises ShapeError for other
    than two different axes, AxisError for those that are not there.

    >>> import chainrule as cr
    >>> cr.rot90(cr.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    x = as_tensor(input)
    plane = int_tuple(dims, "rot90 dims", bare=False)
    if len(plane) != 2 or x.ndim < 2:
        raise failure("rot90", "two axes of at least two", input=x, dims=dims)
    a, b = axes(plane, x.ndim, "rot90")
    turns = integer(k, "rot90 k") % 4
    if turns == 2:
        return flip(x, (a, b))
    if turns == 1:
        return transpose(flip(x, (b,)), a, b)
    return transpose(flip(x, (a,)), a, b) if turns else x.clone()


@public
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Expand tensors to their common shape, without copying.

    Raises ShapeError where the shapes do not broadcast.

    >>> import chainrule as cr
    >>> [x.shape for x in cr.broadcast_tensors(cr.zeros(3, 1), cr.zeros(2))]
    [(3, 2), (3, 2)]
    """
    given = [as_tensor(x) for x in tensors]
    if not given:
        return ()
    shape = broadcast_shapes(*[x.shape for x in given])
    return tuple([expand(x, shape) for x in given])


@public
def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """Give the common shape: sizes are matched from the last, and a 1 is stretched.

    Raises ShapeError where they do not broadcast.

    >>> import chainrule as cr
    >>> cr.broadcast_shapes((3, 1), (2,))
    (3, 2)
    """
    given = [int_tuple(shape, "broadcast_shapes") for shape in shapes]
    if any(n < 0 for shape in given for n in shape):
        raise failure("broadcast_shapes", "sizes of 0 or more", shapes=shapes)
    named = {f"shape{i}": shape for i, shape in enumerate(given)}
    return broadcast("broadcast_shapes", **named) if named else ()
