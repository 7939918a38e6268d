"""Numbers made one by one, by a norm, moved or added up; and which numbers read one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.circuits import signs
from chainrule.inspection.circuits.gates import Gate
from chainrule.inspection.circuits.places import Index, fitted, grid
from chainrule.inspection.circuits.terms import (
    Back,
    Made,
    MadeKind,
    Step,
    Terms,
    numbers_at,
    one_hot,
)
from chainrule.inspection.circuits.wording import known
from chainrule.ops.norm import BatchNorm
from chainrule.ops.norm_local import LocalResponseNorm
from chainrule.ops.reduce import Mean, Sum

DIGITS = 6


def element_made(gate: Gate, place: Index) -> Made:
    """y[i] = f of the numbers at i, those of smaller inputs where they are stretched to."""
    assert gate.op is not None
    spots = [fitted(np.array([place]), wire.shape) for wire in gate.inputs]
    numbers = [numbers_at(known(w), spot) for w, spot in zip(gate.inputs, spots, strict=True)]
    result, slopes = _applied(gate, numbers)
    said = [_written(float(n[0])) for n in numbers]
    steps = (Step(signs.formula(gate.op, said), float(result[0])),)
    reads = tuple(map(Terms, gate.inputs, spots, numbers, slopes))
    return Made("function", reads, steps=steps, result=float(result[0]))


def element_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] is read by y at i alone, or along all axes along which x is stretched."""
    shape, own = gate.shapes[0], gate.inputs[number].shape
    padded = (1,) * (len(shape) - len(own)) + own
    index = (0,) * (len(shape) - len(own)) + place
    places = grid(*[
        np.arange(n) if m == 1 else np.array([i])
        for n, m, i in zip(shape, padded, index, strict=True)
    ]) if shape else np.zeros((1, 0), np.int64)  # fmt: skip
    spots = [fitted(places, wire.shape) for wire in gate.inputs]
    numbers = [numbers_at(known(w), spot) for w, spot in zip(gate.inputs, spots, strict=True)]
    return Back(places, _applied(gate, numbers)[1][number])


def _applied(gate: Gate, numbers: Sequence[Array]) -> tuple[Array, Sequence[Array]]:
    """Run the operation itself on single numbers: its results, and its derivatives by each."""
    op = gate.op
    assert op is not None
    with np.errstate(all="ignore"):
        (result, *_), saved = op.forward(np, *numbers)
        found = op.backward(np, saved, np.ones_like(result), (True,) * len(numbers))
    return result, [np.zeros_like(result) if slope is None else slope for slope in found]


def _written(value: float) -> str:
    return signs.number(value, DIGITS)


def norm_made(gate: Gate, place: Index) -> Made:
    """Y = (x - mean) / sqrt(variance + eps) * weight + bias, by the channel's numbers."""
    op, x = gate.op, gate.inputs[0]
    assert isinstance(op, BatchNorm)
    spot = np.array([place])
    value = float(numbers_at(known(x), spot)[0])
    mean, variance, *affine = [float(known(w)[place[1]]) for w in gate.inputs[1:]]
    deviation = float(np.sqrt(variance + op.eps))
    with np.errstate(all="ignore"):
        centred = value - mean
        scaled = float(np.divide(centred, deviation))
    w = _written
    steps = [
        Step(f"x - mean = {w(value)} - {w(mean)}", centred),
        Step(f"standard deviation = sqrt({w(variance)} + {op.eps:g})", deviation),
        Step(f"{w(centred)} / {w(deviation)}", scaled),
    ]
    slope, result = float(np.divide(1.0, deviation)), scaled
    if affine:
        result = scaled * affine[0] + affine[1]
        slope *= affine[0]
        text = f"times the weight, plus the bias: {w(scaled)} * {w(affine[0])} + {w(affine[1])}"
        steps.append(Step(text, result))
    terms = Terms(x, spot, np.array([value]), np.array([slope]))
    return Made("function", (terms,), steps=tuple(steps), result=result)


def norm_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] is read by y[i] alone: the channel's mean and variance are fixed."""
    if number != 0:
        return None
    return Back(np.array([place]), norm_made(gate, place).reads[0].factors)


def local_made(gate: Gate, place: Index) -> Made:
    """Y = x / d**beta with d = k + alpha/n * (sum of x**2 over a window of n places)."""
    op, x = gate.op, gate.inputs[0]
    assert isinstance(op, LocalResponseNorm)
    places = _around(gate, place)
    numbers = numbers_at(known(x), places)
    own = float(known(x)[place])
    d, power = _divisor(gate, numbers)
    slopes = -2 * op.alpha * op.beta / _size(gate) * own * numbers / (power * d)
    slopes[(places == place).all(axis=1)] += 1 / power
    total = float((numbers**2).sum())
    steps = (
        Step(f"sum of the squares of {len(numbers)} numbers", total),
        Step(f"d = k + alpha / n * sum = {op.k:g} + {op.alpha:g} / {_size(gate)} * "
             f"{_written(total)}", d),
        Step(f"d ** {op.beta:g}", power),
        Step(f"{_written(own)} / {_written(power)}", own / power),
    )  # fmt: skip
    return Made("function", (Terms(x, places, numbers, slopes),), steps=steps, result=own / power)


def local_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] is read by all whose window holds i."""
    places = _around(gate, place, turned=True)
    slopes = []
    for out in places.tolist():
        terms = local_made(gate, tuple(out)).reads[0]
        slopes.append(terms.factors[(terms.places == place).all(axis=1)][0])
    return Back(places, np.array(slopes))


def _around(gate: Gate, place: Index, turned: bool = False) -> Array:
    op, shape = gate.op, gate.inputs[0].shape
    assert isinstance(op, LocalResponseNorm)
    axes = range(2, len(shape)) if op.within else (1,)
    before, after = op.size // 2, (op.size - 1) // 2
    if turned:
        before, after = after, before
    return grid(*[
        np.arange(max(0, i - before), min(n, i + after + 1)) if axis in axes else np.array([i])
        for axis, (i, n) in enumerate(zip(place, shape, strict=True))
    ])  # fmt: skip


def _size(gate: Gate) -> int:
    op = gate.op
    assert isinstance(op, LocalResponseNorm)
    return int(op.size ** (len(gate.inputs[0].shape) - 2)) if op.within else op.size


def _divisor(gate: Gate, numbers: Array) -> tuple[float, float]:
    op = gate.op
    assert isinstance(op, LocalResponseNorm)
    d = op.k + op.alpha / _size(gate) * float((numbers**2).sum())
    return d, float(d**op.beta)


def copy_made(gate: Gate, place: Index) -> Made:
    """Y is a number of an input that stands elsewhere there."""
    sources, starts = _sources(gate)
    number, flat = _owner(starts, int(sources[place]))
    wire = gate.inputs[number]
    where = np.array([np.unravel_index(flat, wire.shape)], np.int64).reshape(1, -1)
    terms = Terms(wire, where, numbers_at(known(wire), where), np.ones(1))
    return Made("copy", (terms,), result=float(terms.numbers[0]))


def copy_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] is read wherever it is put."""
    wire = gate.inputs[number]
    if known(wire).dtype.kind != "f":
        return None
    sources, starts = _sources(gate)
    flat = int(np.ravel_multi_index(place, wire.shape)) if wire.shape else 0
    places = np.argwhere(sources == starts[number] + flat)
    return Back(places, np.ones(len(places)))


def _sources(gate: Gate) -> tuple[Array, list[int]]:
    """Run the operation on the numbers of places, to see where each goes."""
    assert gate.op is not None
    arrays, starts, total = [], [], 0
    for wire in gate.inputs:
        starts.append(total)
        value = known(wire)
        if value.dtype.kind == "f":
            arrays.append(np.arange(total, total + value.size).reshape(value.shape))
            total += value.size
        else:
            arrays.append(value)
    (moved, *_), _ = gate.op.forward(np, *arrays)
    return np.asarray(moved), starts


def _owner(starts: list[int], flat: int) -> tuple[int, int]:
    number = int(np.searchsorted(starts, flat, side="right")) - 1
    return number, flat - starts[number]


def sum_made(gate: Gate, place: Index) -> Made:
    """Y = the sum over axes, or the mean."""
    op, x = gate.op, gate.inputs[0]
    assert isinstance(op, Sum | Mean)
    axes = [axis % len(x.shape) for axis in op.axes]
    rest = iter(place)
    ranges = []
    for axis, n in enumerate(x.shape):
        if axis in axes:
            ranges.append(np.arange(n))
            if op.keepdim:
                next(rest)
        else:
            ranges.append(np.array([next(rest)]))
    places = grid(*ranges)
    factor = 1 / len(places) if isinstance(op, Mean) else 1.0
    terms = Terms(x, places, numbers_at(known(x), places), np.full(len(places), factor))
    kind: MadeKind = "average" if isinstance(op, Mean) else "sum"
    return Made(kind, (terms,), result=float(terms.numbers.sum() * factor))


def sum_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] is in one sum."""
    op, x = gate.op, gate.inputs[0]
    assert isinstance(op, Sum | Mean)
    axes = [axis % len(x.shape) for axis in op.axes]
    if op.keepdim:
        out = [0 if axis in axes else i for axis, i in enumerate(place)]
    else:
        out = [i for axis, i in enumerate(place) if axis not in axes]
    count = np.prod([x.shape[axis] for axis in axes]) if isinstance(op, Mean) else 1
    return Back(np.array([out], np.int64).reshape(1, -1), np.array([1 / count]))


def pulled_made(gate: Gate, place: Index) -> Made:
    """Know any other operation by what a gradient of 1 at one of its numbers gives its inputs."""
    if gate.pull is None:
        return Made("other", ())
    reads = []
    for wire, found in zip(gate.inputs, gate.pull(one_hot(gate, place)), strict=True):
        if found is None or wire.value is None or wire.gate.kind == "constant":
            continue
        places = np.argwhere(np.asarray(found))
        reads.append(Terms(wire, places, numbers_at(wire.value, places), numbers_at(found, places)))
    return Made("other", tuple(reads))
