"""Numbers made by windows and rows: convolution, dense layers, pooling; and which read one."""

from __future__ import annotations

from math import prod

import numpy as np

from chainrule.engine.op import Array, Op
from chainrule.inspection.circuits.gates import Gate
from chainrule.inspection.circuits.terms import Back, Index, Made, Terms, at, grid, known, rows
from chainrule.ops.conv import Conv
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.pool_windows import (
    Ragged,
    Settings,
    Windows,
    adaptive_windows,
    strided_windows,
)


def conv_made(gate: Gate, place: Index) -> Made:
    """y[n, o, k] = b[o] + sum over c, a of w[o, c, a] x[n, c', k*stride + a*dilation - padding]."""
    op, (x, w) = gate.op, gate.inputs[:2]
    assert isinstance(op, Conv)
    d = len(op.stride)
    head, o = place[: -d - 1], place[-d - 1]
    begin = o // (w.shape[0] // op.groups) * w.shape[1]
    offsets = grid(*map(np.arange, w.shape[1:]))
    spots = np.array(place[-d:]) * op.stride + offsets[:, 1:] * op.dilation - _before(op)
    inside = ((spots >= 0) & (spots < x.shape[-d:])).all(axis=1)
    offsets, spots = offsets[inside], spots[inside]
    places, by_places = rows(head, begin + offsets[:, 0], spots), rows((o,), offsets)
    numbers, factors = at(known(x), places), at(known(w), by_places)
    terms = Terms(x, places, numbers, factors, w, by_places)
    return _with_bias(gate, terms, (o,), outside=int((~inside).sum()))


def conv_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[n, c, i] is read by y[n, o, k] at w[o, c', a] where k*stride + a*dilation - padding = i."""
    op, w = gate.op, gate.inputs[1]
    assert isinstance(op, Conv)
    if number != 0:
        return None
    d = len(op.stride)
    group, own = divmod(place[-d - 1], w.shape[1])
    size = w.shape[0] // op.groups
    offsets = grid(*map(np.arange, w.shape[2:]))
    shifted = np.array(place[-d:]) + _before(op) - offsets * op.dilation
    spots, rest = np.divmod(shifted, op.stride)
    fits = ((rest == 0) & (spots >= 0) & (spots < gate.shapes[0][-d:])).all(axis=1)
    offsets, spots = offsets[fits], spots[fits]
    outs = group * size + np.repeat(np.arange(size), len(spots))
    places = rows(place[: -d - 1], outs, np.tile(spots, (size, 1)))
    inner = np.full(len(outs), own)
    by_places = rows((), outs, inner, np.tile(offsets, (size, 1)))
    return Back(places, at(known(w), by_places), w, by_places)


def _before(op: Conv) -> Array:
    return np.array([before for before, _ in op.padding])


def linear_made(gate: Gate, place: Index) -> Made:
    """y[..., o] = b[o] + sum over k of x[..., k] w[o, k]."""
    x, w = gate.inputs[:2]
    columns = np.arange(w.shape[1])
    places, by_places = rows(place[:-1], columns), rows(place[-1:], columns)
    numbers, factors = at(known(x), places), at(known(w), by_places)
    return _with_bias(gate, Terms(x, places, numbers, factors, w, by_places), place[-1:])


def linear_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[..., k] is read by every y[..., o], at w[o, k]."""
    w = gate.inputs[1]
    if number != 0:
        return None
    outs = np.arange(w.shape[0])
    by_places = np.stack([outs, np.full(len(outs), place[-1])], axis=1)
    return Back(rows(place[:-1], outs), at(known(w), by_places), w, by_places)


def _with_bias(gate: Gate, terms: Terms, place: Index, outside: int = 0) -> Made:
    bias, total = None, terms.total
    if len(gate.inputs) > 2:
        wire, where = gate.inputs[2], np.array([place])
        bias = Terms(wire, where, at(known(wire), where), np.ones(1))
        total += bias.total
    return Made("products", (terms,), bias, outside, result=total)


def average_made(gate: Gate, place: Index) -> Made:
    """y[k] = the sum of the window's numbers / how many they are, or another divisor."""
    terms, outside = _window(gate, place)
    divisor = int(_divisors(gate, np.array([place]))[0])
    shares = np.full(len(terms.places), 1 / divisor)
    terms = Terms(terms.wire, terms.places, terms.numbers, shares)
    return Made("average", (terms,), outside=outside, result=terms.numbers.sum() / divisor)


def average_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] counts 1 / divisor in every window that holds it."""
    places = _holding(gate, place)
    return Back(places, 1 / _divisors(gate, places))


def max_made(gate: Gate, place: Index) -> Made:
    """y[k] = the largest number of the window; of equal ones the first wins, of NaN the last."""
    terms, outside = _window(gate, place)
    wins = np.zeros(len(terms.places))
    if not len(wins):
        return Made("largest", (terms,), outside=outside, result=-np.inf)
    best = _winner(terms.numbers)
    wins[best] = 1
    terms = Terms(terms.wire, terms.places, terms.numbers, wins)
    return Made("largest", (terms,), outside=outside, result=float(terms.numbers[best]))


def max_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] gets the whole gradient of every window where it wins, nothing of others."""
    places = _holding(gate, place)
    slopes = np.zeros(len(places))
    for k, out in enumerate(places.tolist()):
        terms, _ = _window(gate, tuple(out))
        slopes[k] = tuple(terms.places[_winner(terms.numbers)]) == place
    return Back(places, slopes)


def _winner(numbers: Array) -> int:
    nans = np.flatnonzero(np.isnan(numbers))
    return int(nans[-1] if len(nans) else np.argmax(numbers))


def _window(gate: Gate, place: Index) -> tuple[Terms, int]:
    """Give the numbers of one window, not yet weighed, and how many places lie outside."""
    x, axes = gate.inputs[0], _axes(gate)
    d = len(axes)
    entries = [_entries(windows, k) for windows, k in zip(axes, place[-d:], strict=True)]
    inside = [e[(e >= 0) & (e < w.size)] for e, w in zip(entries, axes, strict=True)]
    places = rows(place[:-d], grid(*inside))
    outside = prod(map(len, entries)) - len(places)
    return Terms(x, places, at(known(x), places), np.ones(len(places))), outside


def _holding(gate: Gate, place: Index) -> Array:
    """List the windows that hold a place of the input."""
    axes = _axes(gate)
    d = len(axes)
    return rows(place[:-d], grid(*[_holders(w, i) for w, i in zip(axes, place[-d:], strict=True)]))


def _holders(windows: Windows, position: int) -> Array:
    starts = windows.starts()
    if isinstance(windows, Ragged):
        return np.flatnonzero((starts <= position) & (position < windows.end))
    entry, rest = np.divmod(position - starts, windows.dilation)
    return np.flatnonzero((rest == 0) & (entry >= 0) & (entry < windows.length))


def _entries(windows: Windows, k: int) -> Array:
    start = int(windows.starts()[k])
    if isinstance(windows, Ragged):
        return np.arange(start, int(windows.end[k]))
    return start + np.arange(windows.length) * windows.dilation


def _divisors(gate: Gate, places: Array) -> Array:
    """Give what the sum of each window is divided by."""
    op, axes = gate.op, _axes(gate)
    if isinstance(op, AvgPool) and op.divisor_override is not None:
        return np.full(len(places), float(op.divisor_override))
    padded = isinstance(op, AvgPool) and op.count_include_pad
    found = np.ones(len(places))
    for windows, column in zip(axes, places.T[-len(axes) :], strict=True):
        found = found * windows.lengths(padded)[column]
    return found


def _axes(gate: Gate) -> list[Windows]:
    op: Op | None = gate.op
    shape = gate.inputs[0].shape
    if isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool):
        return adaptive_windows(shape[-len(op.output_size) :], op.output_size)
    assert isinstance(op, AvgPool | MaxPool)
    dilation = op.dilation if isinstance(op, MaxPool) else (1,) * len(op.kernel)
    settings = Settings(op.kernel, op.stride, op.padding, dilation, op.ceil_mode)
    return strided_windows(op, shape[-len(op.kernel) :], settings)
