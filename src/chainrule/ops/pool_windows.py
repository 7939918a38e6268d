"""The windows of pooling along one axis, and the settings that all pooling shares.

Pooling works on the last D axes of an array, one after the other where windows overlap (so that a
k x k window costs 2k steps, not k*k) and all together where they tile.  A *tap* is one entry of
every window at once: `y[into]` sees `x[source]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from chainrule.engine.op import Array, DType, Spec
from chainrule.engine.tensor import Tensor
from chainrule.errors import ChainruleError, ShapeError, failure
from chainrule.ops.arguments import flag, integer, ntuple
from chainrule.ops.window import Sizes, output_sizes

MOST_TAPS = 64  # above, tiling windows too are taken one axis after the other


class Tap(NamedTuple):
    """Entry `number` of some windows; `first` where it is the first of them that exists."""

    number: int
    first: bool
    into: Any
    source: Any


@dataclass(frozen=True)
class Strided:
    """Windows at regular steps: window i holds i*stride - before + r*dilation for r < length.

    Positions outside 0..size-1 are padding, and no tap reaches them.
    """

    size: int
    out: int
    length: int
    stride: int
    before: int
    dilation: int

    @property
    def inside(self) -> bool:
        """Whether no window reaches into padding."""
        return self.before == 0 and (self.out - 1) * self.stride + self.extent <= self.size

    @property
    def extent(self) -> int:
        """How far a window reaches."""
        return (self.length - 1) * self.dilation + 1

    @property
    def disjoint(self) -> bool:
        """Whether no position is in two windows."""
        return self.stride >= self.extent or self.out == 1

    def starts(self) -> Array:
        """Give the position of each window's entry 0."""
        starts: Array = np.arange(self.out) * self.stride - self.before
        return starts

    def lengths(self, padded: bool = False) -> Array:
        """Count the positions of each window (dilation 1), those in symmetric padding if asked."""
        start = self.starts()
        end = np.minimum(start + self.length, self.size + self.before)
        lengths: Array = end - start
        if not padded:
            lengths = np.minimum(end, self.size) - np.maximum(start, 0)
        return lengths

    def taps(self) -> Iterator[Tap]:
        """Walk over the windows' entries in order."""
        seen = self.out  # windows from here on have had an entry
        for r in range(self.length):
            shift = r * self.dilation - self.before
            low = max(0, -(shift // self.stride))
            high = min(self.out, (self.size - 1 - shift) // self.stride + 1)
            for first, a, b in ((True, low, min(high, seen)), (False, max(low, seen), high)):
                if a < b:
                    last = (b - 1) * self.stride + shift
                    source = slice(a * self.stride + shift, last + 1, self.stride)
                    yield Tap(r, first, slice(a, b), source)
            if low < high:
                seen = min(seen, low)

    def empty(self) -> Array:
        """Tell which windows hold padding alone, as only dilated ones can."""
        found = np.ones(self.out, np.bool_)
        for tap in self.taps():
            found[tap.into] = False
        return found


@dataclass(frozen=True, eq=False)
class Ragged:
    """Windows of differing lengths, never empty: window i holds start[i] .. end[i]-1."""

    start: Array
    end: Array
    size: int

    inside: ClassVar[bool] = True
    disjoint: ClassVar[bool] = False
    dilation: ClassVar[int] = 1

    @property
    def out(self) -> int:
        """Number of windows."""
        return len(self.start)

    @property
    def length(self) -> int:
        """Size of the longest window."""
        return int(self.lengths().max(initial=0))

    def starts(self) -> Array:
        """Give the first position of each window."""
        return self.start

    def lengths(self, padded: bool = False) -> Array:
        """Count the positions of each window."""
        return self.end - self.start

    def taps(self) -> Iterator[Tap]:
        """Walk over the windows' entries in order."""
        lengths = self.lengths()
        for r in range(self.length):
            longer = lengths > r
            if longer.all():
                yield Tap(r, r == 0, slice(None), self.start + r)
            else:
                into = np.flatnonzero(longer)
                yield Tap(r, False, into, self.start[into] + r)

    def empty(self) -> Array:
        """No window is empty."""
        return np.zeros(self.out, np.bool_)

    def turned(self) -> Ragged:
        """Give for each position the windows that hold it: the windows of the gradient."""
        positions = np.arange(self.size)
        first = np.searchsorted(self.end, positions, side="right")
        last = np.searchsorted(self.start, positions, side="right")
        return Ragged(first, last, self.out)


Windows = Strided | Ragged


def adaptive_windows(sizes: Sizes, outs: Sequence[int | None]) -> list[Windows]:
    """Cut each axis into `out` windows: window i holds floor(i*n/out) .. ceil((i+1)*n/out) - 1.

    None means as many windows as positions.
    """
    return [_adaptive(n, n if out is None else out) for n, out in zip(sizes, outs, strict=True)]


def _adaptive(n: int, out: int) -> Windows:
    if out and n % out == 0:
        return Strided(n, out, n // out, n // out, 0, 1)
    i = np.arange(out)
    return Ragged(i * n // max(out, 1), -(-(i + 1) * n // max(out, 1)), n)


def stages(windows: Sequence[Windows]) -> list[tuple[int, ...]]:
    """Group the axes that are worked on together: all where windows tile, else one by one.

    The last axis comes first, so that the first of equal entries stays first in row order.
    """
    tiling = all(w.inside and w.disjoint for w in windows)
    if tiling and prod(w.length for w in windows) <= MOST_TAPS:
        return [tuple(range(len(windows)))]
    return [(axis,) for axis in reversed(range(len(windows)))]


def group_taps(windows: Sequence[Windows], group: tuple[int, ...]) -> Iterator[Tap]:
    """Walk over the taps of a group of axes, as indices of whole arrays."""
    for taps in product(*(windows[axis].taps() for axis in group)):
        into, source = ([slice(None)] * len(windows) for _ in range(2))
        number = 0
        for axis, tap in zip(group, taps, strict=True):
            number = number * windows[axis].length + tap.number
            into[axis], source[axis] = tap.into, tap.source
        first = all(tap.first for tap in taps)
        yield Tap(number, first, (..., *into), (..., *source))


def sizes_after(shape: Sizes, windows: Sequence[Windows], group: tuple[int, ...]) -> Sizes:
    """Give the shape in which the axes of the group have their number of windows."""
    sizes = list(shape)
    for axis in group:
        sizes[axis - len(windows)] = windows[axis].out
    return tuple(sizes)


# Memory order


def channels_last(x: Array, d: int) -> bool:
    """Tell whether in memory the channels of (..., C, *spatial) are the fastest axis."""
    spatial = [abs(t) for n, t in zip(x.shape[-d:], x.strides[-d:], strict=True) if n > 1]
    channels = x.ndim - d - 1
    if channels < 0 or not spatial or x.shape[channels] == 1:
        return False
    return abs(x.strides[channels]) < min(spatial)


def memory_order(ndim: int, d: int, last: bool) -> tuple[int, ...]:
    """Give the axes from the slowest to the fastest."""
    axes = list(range(ndim))
    if last:
        axes.append(axes.pop(ndim - d - 1))
    return tuple(axes)


def allocate(
    xp: Any, shape: Sizes, dtype: DType, order: tuple[int, ...], zero: bool = False
) -> Array:
    """Make an array whose memory is in the given order of axes."""
    make = xp.zeros if zero else xp.empty
    memory: Array = make([shape[axis] for axis in order], dtype=dtype)
    return memory.transpose([order.index(axis) for axis in range(len(order))])


# Settings


class Settings(NamedTuple):
    """The settings of a pooling operation, one entry for each spatial axis."""

    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    ceil_mode: bool


def settings(
    name: str, d: int, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> Settings:
    """Normalise the arguments of a pooling function; a missing stride is the kernel's size.

    Raises KindError for other kinds, ShapeError for values that mean nothing.
    """
    kernels = ntuple(kernel, d, f"{name} kernel_size")
    missing = stride is None or (isinstance(stride, tuple | list) and not stride)
    strides = kernels if missing else ntuple(stride, d, f"{name} stride")
    paddings = ntuple(padding, d, f"{name} padding")
    dilations = ntuple(dilation, d, f"{name} dilation")
    for what, values in (("kernel_size", kernels), ("stride", strides), ("dilation", dilations)):
        if min(values) < 1:
            raise failure(name, f"{what} of at least 1, not {min(values)}", given=values)
    for k, p in zip(kernels, paddings, strict=True):
        if not 0 <= 2 * p <= k:
            rule = f"padding from 0 to half the kernel, {k}//2 = {k // 2}, not {p}"
            raise failure(name, rule, kernel_size=kernels, padding=paddings)
    return Settings(kernels, strides, paddings, dilations, flag(ceil_mode, f"{name} ceil_mode"))


def one_or_each(value: Any, d: int, name: str, error: type[ChainruleError] = ShapeError) -> Sizes:
    """Give d integers: one for all axes, or d of them, where `ntuple` takes a tuple of one too."""
    if isinstance(value, tuple | list) and len(value) != d:
        rule = f"an integer or a tuple of {d}, not of {len(value)}"
        raise failure(name, rule, error=error, value=value)
    return ntuple(value, d, name)


def output_target(name: str, d: int, output_size: Any) -> tuple[int | None, ...]:
    """Normalise the output size of adaptive pooling: an integer, or d of integers and None."""
    if isinstance(output_size, tuple | list):
        entries = tuple(output_size)
        if len(entries) != d:
            raise failure(name, f"{d} output sizes, not {len(entries)}", output_size=output_size)
    else:
        entries = (integer(output_size, f"{name} output_size"),) * d
    target = tuple(None if e is None else integer(e, f"{name} output_size") for e in entries)
    if any(e is not None and e < 0 for e in target):
        raise failure(name, "output sizes of at least 0", output_size=output_size)
    return target


def check_axes(op: Any, x: Spec | Tensor, d: int, error: type[ChainruleError] = ShapeError) -> None:
    """Want d spatial axes after the channels, with or without a batch axis."""
    if len(x.shape) not in (d + 1, d + 2):
        spatial = "L" if d == 1 else ", ".join("DHW"[3 - d :])
        rule = f"{d + 1} or {d + 2} axes: (C, {spatial}) or (N, C, {spatial})"
        raise failure(op, rule, error=error, x=x)


def check_not_empty(op: Any, x: Spec, axes: int) -> None:
    """Want the last `axes` axes not to be empty."""
    if not all(x.shape[-axes:]):
        empty = len(x.shape) - axes + x.shape[-axes:].index(0)
        raise failure(op, f"no empty axis but the batch's: axis {empty} has size 0", x=x)


def strided_windows(op: Any, sizes: Sizes, s: Settings) -> list[Windows]:
    """Lay the windows out along every axis; ShapeError with the arithmetic where none fits."""
    pads = tuple((p, p) for p in s.padding)
    outs = output_sizes(op, sizes, s.kernel, s.stride, pads, s.dilation, s.ceil_mode)
    return [
        Strided(*w)
        for w in zip(sizes, outs, s.kernel, s.stride, s.padding, s.dilation, strict=True)
    ]
