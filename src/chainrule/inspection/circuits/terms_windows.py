"""Numbers made by windows and rows: convolution, dense layers, pooling; and which read one."""

from __future__ import annotations

import numpy as np

from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Gate
from chainrule.inspection.circuits.places import (
    Index,
    Pairs,
    conv_pairs,
    conv_readers,
    divisors,
    linear_pairs,
    pool_readers,
    pool_window,
    rows,
    winner,
)
from chainrule.inspection.circuits.terms import Back, Made, Terms, numbers_at
from chainrule.inspection.circuits.wording import known
from chainrule.ops.conv import Conv


def conv_made(gate: Gate, place: Index) -> Made:
    """Weigh the window of a convolution by the filter."""
    op, (x, w) = gate.op, gate.inputs[:2]
    assert isinstance(op, Conv)
    return _products(gate, conv_pairs(op, x.shape, w.shape, place), place[-len(op.stride) - 1])


def conv_back(gate: Gate, number: int, place: Index) -> Back | None:
    """Find the windows of a convolution that hold a number, and the weight by which each does."""
    op, w = gate.op, gate.inputs[1]
    assert isinstance(op, Conv)
    if number != 0:
        return None
    found = conv_readers(op, gate.shapes[0], w.shape, place)
    return Back(found.left, numbers_at(known(w), found.right), w, found.right)


def linear_made(gate: Gate, place: Index) -> Made:
    """Weigh a row by a row of the weight, (out, in)."""
    return _products(gate, linear_pairs(gate.inputs[1].shape, place), place[-1])


def linear_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[..., k] is read by every y[..., o], at w[o, k]."""
    w = gate.inputs[1]
    if number != 0:
        return None
    outs = np.arange(w.shape[0])
    by_places = np.stack([outs, np.full(len(outs), place[-1])], axis=1)
    return Back(rows(place[:-1], outs), numbers_at(known(w), by_places), w, by_places)


def _products(gate: Gate, pairs: Pairs, channel: int) -> Made:
    x, w, *more = gate.inputs
    left, right = numbers_at(known(x), pairs.left), numbers_at(known(w), pairs.right)
    terms = Terms(x, pairs.left, left, right, w, pairs.right)
    bias, total = None, terms.total
    if more:
        where = np.array([[channel]])
        bias = Terms(more[0], where, numbers_at(known(more[0]), where), np.ones(1))
        total += bias.total
    return Made("products", (terms,), bias, pairs.outside, result=total)


def average_made(gate: Gate, place: Index) -> Made:
    """y[k] = the sum of the window's numbers / how many they are, or another divisor."""
    divisor = divisors(gate.op, gate.inputs[0].shape, np.array([place]))[0]
    places, numbers, outside = _window(gate, place)
    terms = Terms(gate.inputs[0], places, numbers, np.full(len(places), 1 / divisor))
    return Made("average", (terms,), outside=outside, result=float(numbers.sum() / divisor))


def average_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] counts 1 / divisor in every window that holds it."""
    x = gate.inputs[0].shape
    places = pool_readers(gate.op, x, place)
    return Back(places, 1 / divisors(gate.op, x, places))


def max_made(gate: Gate, place: Index) -> Made:
    """y[k] = the largest number of the window."""
    places, numbers, outside = _window(gate, place)
    wins, best = np.zeros(len(places)), -np.inf
    if len(places):
        wins[winner(numbers)] = 1
        best = float(numbers[winner(numbers)])
    terms = Terms(gate.inputs[0], places, numbers, wins)
    return Made("largest", (terms,), outside=outside, result=best)


def max_back(gate: Gate, number: int, place: Index) -> Back | None:
    """x[i] gets the whole gradient of every window where it wins, nothing of others."""
    places = pool_readers(gate.op, gate.inputs[0].shape, place)
    slopes = np.zeros(len(places))
    for k, out in enumerate(places.tolist()):
        held, numbers, _ = _window(gate, tuple(out))
        slopes[k] = tuple(held[winner(numbers)]) == place
    return Back(places, slopes)


def _window(gate: Gate, place: Index) -> tuple[Array, Array, int]:
    """Give a window's places and numbers, and how many places lie outside."""
    x = gate.inputs[0]
    window = pool_window(gate.op, x.shape, place)
    numbers = numbers_at(known(x), window.places)
    return window.places, numbers, window.padding + window.beyond
