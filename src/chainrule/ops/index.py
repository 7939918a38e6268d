"""Indexing: x[key] with numbers, slices, new axes, index arrays and masks, in any mixture.

A key is taken in two steps, as PyTorch does: first its numbers, slices and new axes, then all
index arrays together.  So a number beside an index array is not itself one (where the two
differ, NumPy moves the arrays' axes to the front for x[0, :, [1, 2]], PyTorch and we do not).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, Op, Spec, public
from chainrule.engine.sample import Sample, booleans, integers, normal
from chainrule.engine.tensor import Tensor, apply, as_tensor
from chainrule.errors import AxisError, KindError, LabelError, failure
from chainrule.ops.cast import cast
from chainrule.ops.shape import reshape
from chainrule.ops.slicing import WHOLE, Item, Slice, triple

_AT_ONCE = 1 << 20
"""How many elements are scattered at once: bounds the memory for their places."""


def scatter_add(xp: Any, shape: tuple[int, ...], key: tuple[Any, ...], gy: Array) -> Array:
    """Add gy at x[key] of zeros, also where places are named repeatedly: the gradient of x[key].

    `key` has slice(None) or an index array for each of the leading axes, without masks.

    >>> import numpy as np
    >>> scatter_add(np, (4,), (np.array([1, 1, 3]),), np.array([1.0, 2.0, 5.0]))
    array([0., 3., 0., 5.])
    """
    leading, row = shape[: len(key)], prod(shape[len(key) :])
    rows = xp.arange(prod(leading)).reshape(leading)[key].reshape(-1)
    gx: Array = xp.zeros(prod(shape), gy.dtype)
    gy = gy.reshape(len(rows), row)
    count = max(1, _AT_ONCE // max(1, row))
    for i in range(0, len(rows), count):
        # NumPy adds at flat places several times faster than at rows.
        places = rows[i : i + count, None] * row + xp.arange(row)
        xp.add.at(gx, places.reshape(-1), gy[i : i + count].reshape(-1))
    return gx.reshape(shape)


@dataclass(frozen=True)
class Index(Op):
    """y = x[..., i, ..., j, ...] with arrays of integers or masks, the first at axis dims[0], ...

    The arrays are broadcast against each other; their axes stand where they stood if they stood
    side by side, else in front.  A mask covers as many axes as it has and counts as the positions
    of its true elements.  gx = gy added at the indices, 0 elsewhere.
    """

    dims: tuple[int, ...]

    def infer(self, x: Spec, *indices: Spec) -> tuple[Spec, ...]:
        count: list[tuple[Any, ...]] = []
        covered: list[int] = []
        for d, index in zip(self.dims, indices, strict=True):
            mask = index.dtype.kind == "b"
            span = range(d, d + (index.ndim if mask else 1))
            if span.stop > x.ndim or covered[-1:] >= [d]:
                raise failure(self, "an axis for every index", error=AxisError, x=x, index=index)
            if mask and index.shape != x.shape[d : span.stop]:
                rule = f"a mask of shape {x.shape[d : span.stop]} at dim {d}, not {index.shape}"
                raise failure(self, rule, error=LabelError, x=x)
            count.append((None,) if mask else index.shape)
            covered.extend(span)
        together = _joined(self, count)
        at = covered[0] if covered == list(range(covered[0], covered[-1] + 1)) else 0
        kept = [n for d, n in enumerate(x.shape) if d not in covered]
        return (Spec((*kept[:at], *together, *kept[at:]), x.dtype),)

    def forward(self, xp: Any, x: Array, *indices: Array) -> tuple[tuple[Array, ...], Any]:
        key = self._subscript(indices)
        try:
            y = x[key] if len(key) == 1 and key[0].dtype.kind == "b" else x[(*key, ...)]
        except IndexError as error:
            raise self._explained(x, indices) from error
        return (y,), (x.shape, indices)

    def backward(self, xp: Any, saved: Any, gy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        shape, indices = saved
        key = self._subscript(indices)
        masks = [i.dtype.kind == "b" for i in indices]
        if masks == [True] or max([i.size for i in indices]) <= 1:  # no place comes twice
            gx = xp.zeros(shape, gy.dtype)
            gx[key] = gy
        else:
            places: list[Any] = []
            for k in key:
                masked = not isinstance(k, slice) and k.dtype.kind == "b"
                places.extend(xp.nonzero(k) if masked else (k,))
            gx = scatter_add(xp, shape, tuple(places), gy)
        return (gx, *(None,) * len(indices))

    def _subscript(self, indices: Sequence[Array]) -> tuple[Any, ...]:
        """Build NumPy's key: slice(None) for the axes between the indices."""
        key: list[Any] = []
        at = 0
        for d, index in zip(self.dims, indices, strict=True):
            key.extend([slice(None)] * (d - at))
            mask = index.dtype.kind == "b"
            key.append(index if mask else index.astype(np.intp, copy=False))
            at = d + (index.ndim if mask else 1)
        return tuple(key)

    def _explained(self, x: Array, indices: Sequence[Array]) -> Exception:
        """Name the index that is outside its axis, or the shapes that do not broadcast."""
        for d, index in zip(self.dims, indices, strict=True):
            n = x.shape[d]
            wrong = index[(index < -n) | (index >= n)] if index.dtype.kind != "b" else index[:0]
            if wrong.size:
                rule = f"indices in [{-n}, {n - 1}] at dim {d}" if n else "no index of size 0"
                return failure(self, f"{rule}, not {int(wrong.flat[0])}", error=LabelError, x=x)
        counts = [int(i.sum()) if i.dtype.kind == "b" else i.shape for i in indices]
        return failure(self, f"indices that broadcast, not {counts}", error=LabelError, x=x)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(cls((0,)), normal(4, 3), integers(5, low=-4, high=4))
        yield Sample(cls((1,)), normal(2, 3, 2), integers(2, 2, high=3))
        yield Sample(cls((0, 1)), normal(4, 3, 2), integers(5, high=4), integers(5, high=3))
        yield Sample(cls((0, 2)), normal(3, 2, 4), integers(2, 1, high=3), integers(3, high=4))
        yield Sample(cls((1,)), normal(2, 3), integers(high=3))
        yield Sample(cls((0,)), normal(3, 4), booleans(3, 4))
        yield Sample(cls((1,)), normal(2, 5, 2), booleans(5))
        yield Sample(
            cls((0, 2)), normal(3, 2, 4), np.array([True, False, True]), integers(2, high=4)
        )
        yield Sample(cls((0, 1)), normal(2, 3), np.array([True, True]), integers(1, high=3))
        yield Sample(cls((0,)), normal(4, 3), integers(0, high=4))


def _joined(op: Op, shapes: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Broadcast the indices' shapes; None is a mask's count, which only the data tell."""
    ndim = max([len(s) for s in shapes])
    result: list[Any] = [1] * ndim
    for shape in shapes:
        for i in range(-len(shape), 0):
            n, known = shape[i], result[i]
            if known == 1 or (known is None and n not in (1, None)):
                result[i] = n
            elif n not in (1, None, known):
                rule = f"index shapes that broadcast, not {known} and {n} at their axis {i}"
                raise failure(op, rule, error=LabelError, shapes=list(shapes))
    return tuple(result)


@public
def getitem(input: Tensor, key: Any) -> Tensor:
    """Give x[key]: what square brackets call.

    The key is one of these or a tuple of them, an axis each from the first on:
    a number takes one slice and drops the axis; a slice with a step of 1 or more takes a part;
    None puts in an axis of size 1; an ellipsis stands for the axes not named; an integer tensor,
    array or list takes the elements it names, in any order and repeatedly; a boolean one of the
    axes' shape takes those where it is true; True and False put in an axis of size 1 or 0.
    Several arrays are broadcast against each other and taken together; their axes stand where
    they stood side by side, else in front.

    Numbers, slices and None share the input's memory, arrays copy.  The gradient goes to the
    elements taken and adds up where one was taken repeatedly.
    Raises LabelError (an IndexError) for an index outside its axis, a mask of another shape, and
    keys of other kinds, AxisError for too many indices, ShapeError for a step below 1.
    As in PyTorch, a list that holds lists, slices or tensors is read as a tuple, with a warning,
    and a uint8 tensor is a mask.

    >>> import chainrule as cr
    >>> x = cr.tensor([[1, 2, 3], [4, 5, 6]])
    >>> x[1, 1:], x[:, [2, 0]]
    (tensor([5, 6]), tensor([[3, 1],
            [6, 4]]))
    >>> x[x > 4]
    tensor([5, 6])
    """
    x = as_tensor(input)
    basic, arrays = _divided(x, key if type(key) is tuple else _as_tuple(key))
    y = apply(Slice(basic), x) if basic or not arrays else x
    dropped, together = 0, []
    for dim, index in arrays:
        if index.ndim:
            together.append((dim - dropped, index))
        else:  # a number that is a tensor: takes its slice before the arrays are taken
            y = apply(Index((dim - dropped,)), y, index)
            dropped += 1
    if together:
        y = apply(Index(tuple([d for d, _ in together])), y, *[i for _, i in together])
    return y


Entry = Item | Tensor | Any


def _divided(x: Tensor, key: tuple[Any, ...]) -> tuple[tuple[Item, ...], list[tuple[int, Tensor]]]:
    """Divide a key into its basic part, without index arrays, and these with their axes in it."""
    entries = [_entry(k) for k in key]
    named = sum([_span(e) for e in entries])
    if named > x.ndim:
        hint = "item() gives the value of a tensor without axes" if x.ndim == 0 else ""
        rule = f"at most {x.ndim} indices, not {named}"
        raise failure("getitem", rule, error=AxisError, hint=hint, input=x)
    basic: list[Item] = []
    arrays: list[tuple[int, Tensor]] = []
    dropped = 0
    for entry in entries:
        if entry is Ellipsis:
            basic.extend([WHOLE] * (x.ndim - named))
            named = x.ndim
        elif isinstance(entry, Tensor):
            truth = entry.ndim == 0 and entry.dtype == np.bool_
            arrays.append((len(basic) - dropped, reshape(entry, (1,)) if truth else entry))
            basic.extend([None] if truth else [WHOLE] * _span(entry))
        else:
            dropped += type(entry) is int
            basic.append(entry)
    while basic and basic[-1] == WHOLE:
        basic.pop()
    return tuple(basic), arrays


def _span(entry: Entry) -> int:
    """Tell how many axes of the input an entry of a key names."""
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if isinstance(entry, Tensor) and entry.dtype == np.bool_ else 1


def _entry(item: Any) -> Entry:
    """Bring one entry of a key to its form: None, Ellipsis, an int, a triple, or a tensor."""
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, bool | np.bool_):
        return Tensor(np.array(item))
    if isinstance(item, int | np.integer):
        return int(item)
    if isinstance(item, slice):
        return triple(item, "getitem")
    if isinstance(item, Sequence) and not isinstance(item, str | bytes):
        item = _listed(item)
    if not isinstance(item, Tensor | np.ndarray):
        kind = KindError if isinstance(item, str | bytes) else LabelError
        raise failure("getitem", _KINDS, error=kind, index=item)
    if isinstance(item, np.ndarray) and item.ndim == 0 and item.dtype.kind in "iu":
        return int(item)
    index = as_tensor(item)
    if index.dtype.kind == "f":
        hint = "convert it first: index.long()"
        raise failure("getitem", _KINDS, error=LabelError, hint=hint, index=index)
    if index.dtype == np.uint8:
        _warn("a uint8 index is read as a mask, as in PyTorch: convert it with bool() or long()")
        return cast(index, np.bool_)
    return index


_KINDS = "indices that are integers, slices, None, ..., or integer or boolean tensors"


def _listed(item: Sequence[Any]) -> Array:
    """Make an index array of a list."""
    try:
        array = np.asarray(item)
    except ValueError as error:
        rule = "index lists whose rows have one length"
        raise failure("getitem", rule, error=LabelError, index=item) from error
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iub":
        kind = KindError if array.dtype.kind in "US" else LabelError
        raise failure("getitem", _KINDS, error=kind, index=item)
    return array


def _as_tuple(key: Any) -> tuple[Any, ...]:
    """Make a tuple of a key that is none; a short list with structure is read as one."""
    if isinstance(key, list) and len(key) < 32 and any(map(_is_structure, key)):
        _warn("a nested list as the key is read as a tuple, as in PyTorch: write x[a, b]")
        return tuple(key)
    return (key,)


def _is_structure(item: Any) -> bool:
    """Tell whether an element of a list makes it more than a list of numbers."""
    if item is None or item is Ellipsis:
        return True
    return isinstance(item, list | tuple | range | slice | Tensor | np.ndarray)


def _warn(text: str) -> None:
    """Warn at the line outside this package that asked."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith("chainrule."):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)
