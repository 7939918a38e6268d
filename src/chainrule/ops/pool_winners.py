"""Max pooling on plain arrays: the maxima, a compact code for every winner, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from chainrule.engine.op import Array, DType
from chainrule.ops.pool_windows import (
    Windows,
    allocate,
    channels_last,
    group_taps,
    memory_order,
    sizes_after,
    stages,
)
from chainrule.ops.window import Sizes


def _lowest(dtype: DType) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _stage(
    xp: Any,
    x: Array,
    inner: Array | None,
    windows: Sequence[Windows],
    group: tuple[int, ...],
    weight: int,
    code_dtype: DType,
    order: tuple[int, ...],
    nans: bool,
) -> tuple[Array, Array]:
    """Take the maximum along the group's axes, and with it the code of the winner.

    The winner's code is weight * (its number among these axes' taps) + `inner`, its code within the
    axes that are done.  A later tap has the greater code, so a plain maximum keeps codes in step.
    """
    shape = sizes_after(x.shape, windows, group)
    best = allocate(xp, shape, x.dtype, order)
    code = allocate(xp, shape, code_dtype, order, zero=True)
    if not all(windows[axis].inside for axis in group):
        best.fill(_lowest(x.dtype))  # stays where a dilated window holds padding alone
    for number, first, into, source in group_taps(windows, group):
        seen, own = x[source], code_dtype.type(number * weight)
        mark: Any = own if inner is None else inner[source] + own
        if first:
            best[into], code[into] = seen, mark
        else:
            held, known = best[into], code[into]  # views where `into` is made of slices
            better = seen > held
            if nans:
                better |= xp.isnan(seen)
            xp.maximum(held, seen, out=held)
            xp.maximum(known, xp.multiply(better.view(xp.uint8), mark), out=known)
            best[into], code[into] = held, known
    return best, code


def largest(
    xp: Any, x: Array, windows: Sequence[Windows], order: tuple[int, ...], nans: bool = False
) -> tuple[Array, Any]:
    """Give the maxima and the winners' codes: their place in the window in row order."""
    y, code, weight = x, None, 1
    code_dtype = np.min_scalar_type(max(1, prod(w.length for w in windows)) - 1)
    for group in stages(windows):
        y, code = _stage(xp, y, code, windows, group, weight, code_dtype, order, nans)
        weight *= prod(windows[axis].length for axis in group)
    if not nans and x.dtype.kind == "f" and xp.isnan(y).any():
        return largest(xp, x, windows, order, nans=True)  # NaN beats all, the last of them wins
    return y, code


def entry_offsets(windows: Sequence[Windows], steps: Sequence[int]) -> Array:
    """Give by code how far an entry is from its window's first; a step along axis a is steps[a]."""
    table: Array = np.zeros(1, np.intp)
    for w, step in zip(windows, steps, strict=True):
        table = (table[:, None] + np.arange(w.length) * (w.dilation * step)).reshape(-1)
    return table


def memory_steps(shape: Sizes, order: Sequence[int]) -> Sizes:
    """Give how far a step along each axis goes in memory that is dense in the order of axes."""
    steps, step = [0] * len(shape), 1
    for axis in reversed(order):
        steps[axis] = step
        step *= shape[axis]
    return tuple(steps)


def lead_places(xp: Any, shape: Sizes, d: int, steps: Sequence[int]) -> Array:
    """Give where each plane of (*lead, *spatial) begins in memory: (*lead, 1, ..., 1)."""
    places: Array = xp.zeros((), np.intp)
    for n, step in zip(shape[: len(shape) - d], steps, strict=False):
        places = places[..., None] + xp.arange(n) * step
    return places.reshape(shape[: len(shape) - d] + (1,) * d)


def _positions(
    xp: Any,
    code: Array,
    windows: Sequence[Windows],
    steps: Sequence[int],
    order: tuple[int, ...],
) -> Array:
    """Give each winner's position, where a step along axis a is worth steps[a]; axes in `order`."""
    lead = code.ndim - len(windows)
    starts = [np.arange(n) * s for n, s in zip(code.shape[:lead], steps, strict=False)]
    starts += [w.starts() * step for w, step in zip(windows, steps[lead:], strict=True)]
    table = entry_offsets(windows, steps[lead:])
    index: Array = xp.take(xp.asarray(table), code.transpose(order))
    rows = np.zeros((), np.intp)
    for axis in order[:-1]:
        rows = rows[..., None] + starts[axis]
    index += xp.asarray(rows[..., None])
    index += xp.asarray(starts[order[-1]])
    return index


def _filled(windows: Sequence[Windows]) -> Any:
    """Tell which windows (*spatial) hold more than padding; None if all do."""
    empty = [w.empty() for w in windows]
    if not any(e.any() for e in empty):
        return None
    filled = np.ones((), np.bool_)
    for e in empty:
        filled = filled[..., None] & ~e
    return filled


def _indices(xp: Any, code: Array, windows: Sequence[Windows], order: tuple[int, ...]) -> Array:
    """Give the winners' flat indices in their (*spatial) plane without padding, -1 for none."""
    sizes = [w.size for w in windows]
    steps = [prod(sizes[i + 1 :]) for i in range(len(sizes))]
    index = _positions(xp, code, windows, [0] * (code.ndim - len(sizes)) + steps, order)
    found: Array = index.transpose([order.index(axis) for axis in range(code.ndim)])
    filled = _filled(windows)
    return found if filled is None else xp.where(xp.asarray(filled), found, -1)


def pool_forward(
    xp: Any, x: Array, windows: Sequence[Windows], indices: bool
) -> tuple[tuple[Array, ...], Any]:
    """Pool; save the winners' codes, the input's shape and its order in memory."""
    order = memory_order(x.ndim, len(windows), channels_last(x, len(windows)))
    if not all(w.out for w in windows):
        shape = x.shape[: x.ndim - len(windows)] + tuple(w.out for w in windows)
        y, code = xp.empty(shape, x.dtype), xp.empty(shape, xp.uint8)
    else:
        y, code = largest(xp, x, windows, order)
    outputs = (y, _indices(xp, code, windows, order)) if indices else (y,)
    return outputs, (code, x.shape, order)


def pool_backward(xp: Any, saved: Any, gy: Array, windows: Sequence[Windows]) -> Array:
    """Add every output's gradient to its winner."""
    code, shape, order = saved
    gx = allocate(xp, shape, gy.dtype, order, zero=True)
    steps = [stride // gx.itemsize for stride in gx.strides]
    index, g = _positions(xp, code, windows, steps, order), gy.transpose(order)
    filled = _filled(windows)
    if filled is not None:
        keep = xp.broadcast_to(xp.asarray(filled), code.shape).transpose(order)
        index, g = index[keep], g[keep]
    memory = gx.transpose(order).reshape(-1)  # a view: this is the order of memory
    if all(w.disjoint for w in windows):
        memory[index.reshape(-1)] = g.reshape(-1)
    else:
        with np.errstate(all="ignore"):
            xp.add.at(memory, index.reshape(-1), g.reshape(-1))
    return gx
