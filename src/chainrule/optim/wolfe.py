"""Line search: a step along a direction that meets the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from chainrule.engine.op import Array

_DECREASE, _CURVATURE = 1e-4, 0.9
"""c1, c2: the share of the promised decrease that is wanted, and of the slope that may stay."""

_NARROW = 1e-9
"""The largest change of a number below which a bracket is not divided further."""


class Point(NamedTuple):
    """A place on the line: how far along, the loss, its gradient, and its slope along the line."""

    t: float
    loss: float
    gradient: Array
    slope: float


def search(
    evaluate: Callable[[float], Point], start: Point, t: float, length: float, most: int
) -> tuple[Point, int]:
    """Find a point from t on whose loss and slope are small enough; how often it evaluated.

    With f the loss at t and f' its slope: f <= f(0) + c1 t f'(0) and |f'| <= c2 |f'(0)|.  First
    steps are lengthened until such a point is met or lies between two; then that bracket is
    divided, by cubic interpolation.  `length` is the largest size of the direction's numbers,
    `most` the number of steps.  Where they run out, the best end of the bracket is given.

    Source: Nocedal and Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6; the
    interpolation and its safeguards are minFunc's (Schmidt, 2005), as in `torch.optim.LBFGS`.
    """
    before, new = start, evaluate(t)
    for taken in range(most):
        if _too_high(new, start) or (taken > 1 and new.loss >= before.loss):
            return _zoom(evaluate, start, [before, new], length, taken, most)
        if _flat(new, start):
            return new, taken + 1
        if new.slope >= 0:
            return _zoom(evaluate, start, [before, new], length, taken, most)
        low, high = new.t + 0.01 * (new.t - before.t), 10 * new.t
        t = _lowest(before, new, low, high)
        before, new = new, evaluate(t)
    return (start if start.loss <= new.loss else new), most + 1


def _zoom(
    evaluate: Callable[[float], Point],
    start: Point,
    bracket: list[Point],
    length: float,
    taken: int,
    most: int,
) -> tuple[Point, int]:
    """Divide a bracket until a point meets both conditions; give it and all evaluations."""
    low = _lower(bracket)
    near_end = False
    while taken < most:
        a, b = bracket
        if abs(b.t - a.t) * length < _NARROW:
            break
        t = _lowest(a, b, min(a.t, b.t), max(a.t, b.t))
        t, near_end = _inside(t, min(a.t, b.t), max(a.t, b.t), near_end)
        new = evaluate(t)
        taken += 1
        if _too_high(new, start) or new.loss >= bracket[low].loss:
            bracket[1 - low] = new
            low = _lower(bracket)
            continue
        done = _flat(new, start)
        if not done and new.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = new
        if done:
            break
    return bracket[low], taken + 1


def _too_high(point: Point, start: Point) -> bool:
    return point.loss > start.loss + _DECREASE * point.t * start.slope


def _flat(point: Point, start: Point) -> bool:
    return abs(point.slope) <= -_CURVATURE * start.slope


def _lower(bracket: list[Point]) -> int:
    return 0 if bracket[0].loss <= bracket[1].loss else 1


def _inside(t: float, low: float, high: float, again: bool) -> tuple[float, bool]:
    """Keep a tenth of the bracket away from its ends, the second time or when beyond them."""
    margin = 0.1 * (high - low)
    if not min(high - t, t - low) < margin:
        return t, False
    if not (again or t >= high or t <= low):
        return t, True
    return (high - margin if abs(t - high) < abs(t - low) else low + margin), False


def _lowest(a: Point, b: Point, low: float, high: float) -> float:
    """Give where the cubic through two points with their slopes is lowest, within the bounds."""
    if a.t > b.t:
        a, b = b, a
    inner = a.slope + b.slope - 3 * ratio(a.loss - b.loss, a.t - b.t)
    square = inner * inner - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    way = ratio(b.slope + root - inner, b.slope - a.slope + 2 * root)
    return min(max(b.t - (b.t - a.t) * way, low), high)


def ratio(a: float, b: float) -> float:
    """Give a / b, infinite or NaN where b is 0.

    >>> from chainrule.optim.wolfe import ratio
    >>> ratio(1.0, 4.0), ratio(1.0, 0.0)
    (0.25, inf)
    """
    with np.errstate(all="ignore"):
        return float(np.divide(a, b))
