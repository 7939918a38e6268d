"""Arrays as the primitives want them: dense, activations channels-last; every copy is counted."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from ctypes import c_size_t
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np

from chainrule.backends.onednn import constants as c
from chainrule.backends.onednn.primitives import Description, Primitive, Shape, describe, plain
from chainrule.backends.onednn.runtime import cached, planned_for, runtime, work
from chainrule.engine.op import Array
from chainrule.engine.written import CLOCK, version
from chainrule.errors import BackendError

FLOAT32 = np.dtype(np.float32)

SHORT = 1 << 17
"""Elements up to which one thread reads an array sooner than two are woken."""


@dataclass
class Counters:
    """Copies made for a layout's sake; not exact while several threads compute."""

    activations: int = 0
    parameters: int = 0

    def reset(self) -> None:
        """Begin at 0 again."""
        self.activations = self.parameters = 0


REORDERS = Counters()


def is_float32(*arrays: Any) -> bool:
    """Tell whether all are float32 and none is empty."""
    return all(x.dtype == FLOAT32 and x.size for x in arrays)


def _public_address(x: Any) -> int:
    where: int = x.__array_interface__["data"][0]
    return where


_HEAD = object.__basicsize__  # what comes before the data's address in an array's C structure
_at = c_size_t.from_address


def _direct_address(x: Any) -> int:
    # A NumPy scalar, which an operation may give for an array, is another structure.
    return _at(id(x) + _HEAD).value if type(x) is np.ndarray else _public_address(x)


def _choose() -> Callable[[Any], int]:
    """Read the address where NumPy's ABI has it, in a sixth of the time, if that is right here."""
    usual = sys.implementation.name == "cpython"
    tried = [np.zeros(3), np.zeros((4, 5))[1:, 2:], np.zeros((2, 3, 4)).T]
    right = usual and all(_direct_address(a) == _public_address(a) for a in tried)
    return _direct_address if right else _public_address


address = _choose()
"""Give the address of an array's first element."""


# Channels-last

_LAST = {n: (0, *range(2, n), 1) for n in range(2, 7)}
_FIRST = {n: (0, n - 1, *range(1, n - 1)) for n in range(2, 7)}


def empty_last(shape: Shape) -> Array:
    """Allocate float32 (N, C, *sizes), which lies in memory as (N, *sizes, C)."""
    n, channels, *sizes = shape
    return np.empty((n, *sizes, channels), FLOAT32).transpose(_FIRST[len(shape)])


def is_last(x: Array) -> bool:
    """Tell whether (N, C, *sizes) lies in memory as (N, *sizes, C), without gaps."""
    return x.transpose(_LAST[x.ndim]).flags.c_contiguous


def to_last(x: Array) -> Array:
    """Give x itself if it is channels-last, else a copy that is, which is counted."""
    if x.transpose(_LAST[x.ndim]).flags.c_contiguous:
        return x
    REORDERS.activations += 1
    y = empty_last(x.shape)
    y[...] = x
    return y


def by_rows(x: Array) -> Array:
    """See the channels-last (N, C, *sizes) as (N * sizes, C)."""
    return x.transpose(_LAST[x.ndim]).reshape(-1, x.shape[1])


# Any dense layout


def is_dense(x: Array) -> bool:
    """Tell whether x has no gaps, in C order or channels-last."""
    return x.flags.c_contiguous or (2 < x.ndim < 7 and is_last(x))


def to_dense(x: Array) -> Array:
    """Give x itself if it is dense, else a copy that is, which is counted."""
    if is_dense(x):
        return x
    REORDERS.activations += 1
    return np.array(x, order="C")


def empty_as(x: Array) -> Array:
    """Allocate an array like the dense x, laid out as it is."""
    return np.empty(x.shape, FLOAT32) if x.flags.c_contiguous else empty_last(x.shape)


def laid_as(x: Array, g: Array) -> Array:
    """Give g (of x's shape) in the layout of the dense x: itself, or a copy, which is counted."""
    if x.flags.c_contiguous:
        if g.flags.c_contiguous:
            return g
    elif is_last(g):
        return g
    REORDERS.activations += 1
    copy = empty_as(x)
    copy[...] = g
    return copy


def empty_laid(shape: Shape, last: bool) -> Array:
    """Allocate float32 channels-last, or in C order."""
    return empty_last(shape) if last else np.empty(shape, FLOAT32)


def in_layout(x: Array, last: bool) -> Array:
    """Give x channels-last, or in C order: itself, or a copy, which is counted."""
    if is_last(x) if last else x.flags.c_contiguous:
        return x
    return laid_as(empty_laid(x.shape, last), x)


# Parameters


def as_plain(w: Array) -> Array:
    """Give a parameter in C order."""
    return w if w.flags.c_contiguous else np.ascontiguousarray(w)


def reorder(source: Any, target: Any, what: str) -> Primitive:
    """Build the copy of one layout into another."""
    engine = runtime().engine
    description = describe("reorder", source, engine, target, engine, slow=True)
    if description is None:
        raise BackendError(f"oneDNN has no reorder for {what}")
    return Primitive(description, (c.SRC, c.DST), f"reorder of {what}")


class Packing:
    """A parameter on the way between its plain array and the layout that a primitive chose."""

    def __init__(self, plain_layout: Any, description: Description, arg: int, what: str) -> None:
        chosen = description.layout(arg)
        self.nbytes = description.nbytes(arg)
        self.same = bool(runtime().equal(plain_layout.handle, chosen))
        if not self.same:
            away = arg == c.WEIGHTS
            source, target = (plain_layout, chosen) if away else (chosen, plain_layout)
            with planned_for(work(self.nbytes / 2)):
                self._copy = reorder(source, target, what)

    def __call__(self, source: int, target: int) -> None:
        """Copy between two addresses."""
        REORDERS.parameters += 1
        self._copy(source, target)


# Sums

LONG = 1 << 12
"""Values that are added one after the other in float32 at most: up to 1e-4 of them is lost."""


def folded(rows: int) -> int:
    """Give a divisor of a number of rows that leaves at most LONG, 0 where there is none.

    Rows side by side are summed apart: (rows, C) in memory is (rows / f, f * C).
    """
    least = -(-rows // LONG)
    return next((f for f in range(least, min(rows, 8 * least) + 1) if rows % f == 0), 0)


# Finiteness


_known: dict[int, tuple[Any, int]] = {}


def note_finite(x: Array) -> None:
    """Remember that x was made of finite values in a way that gives finite ones.

    As long as the array lives and is not written: the next operation need not look again.
    """
    key = id(x)
    _known[key] = (weakref.ref(x, lambda _: _known.pop(key, None)), CLOCK.now)


def _is_known(x: Array) -> bool:
    found = _known.get(id(x))
    return found is not None and found[0]() is x and version(x) <= found[1]


def finite(x: Array) -> bool:
    """Tell whether the dense x is finite throughout, by its sum; False too where that overflows.

    A sum with a NaN or an infinity in it is a NaN or an infinity.
    """
    if _is_known(x):
        return True
    shape = x.shape if x.flags.c_contiguous else x.transpose(_LAST[x.ndim]).shape
    rows = prod(shape[: max(1, len(shape) - 2)])
    if x.size <= SHORT or rows == x.size:  # the library has no sums of one term
        flat = x.reshape(-1) if x.flags.c_contiguous else x.transpose(_LAST[x.ndim]).reshape(-1)
        with np.errstate(all="ignore"):
            return isfinite(np.add.reduce(flat))
    size = x.size
    sums = np.empty(rows, FLOAT32)
    key = ("finite", rows, size)
    total = cached(key, lambda: _row_sums(rows, size // rows), work(size))
    total(address(x), address(sums))
    with np.errstate(all="ignore"):
        return isfinite(np.add.reduce(sums))


def _row_sums(rows: int, length: int) -> Primitive:
    layouts = plain((rows, length)), plain((rows, 1))
    engine = runtime().engine
    description = describe("reduction", engine, c.REDUCTION_SUM, *layouts, 0.0, 0.0, slow=True)
    if description is None:
        raise BackendError(f"oneDNN has no sum of {rows} rows of {length}")
    return Primitive(description, (c.SRC, c.DST), f"sum of {rows} rows of {length}")
