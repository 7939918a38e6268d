"""One number of a pooling: the numbers of its window, and what each gets of the gradient."""

from __future__ import annotations

import numpy as np

from chainrule.engine.op import Op
from chainrule.inspection.circuits.gates import Wire
from chainrule.inspection.circuits.places import Index, Window, divisors, pool_window, winner
from chainrule.inspection.circuits.signs import number
from chainrule.inspection.circuits.wording import (
    MOST_LINES,
    at,
    counted,
    headline,
    known,
    no_gradient,
)
from chainrule.ops.fused import ReLUMaxPool
from chainrule.ops.pool_average import AvgPool


def average_text(end: Wire, place: Index, digits: int) -> str:
    """y[k] = the sum of the window's numbers / how many they are, or another divisor."""
    op, x = end.gate.op, end.gate.inputs[0]
    window, values = pool_window(op, x.shape, place), known(x)
    spots = _spots(window)
    total = sum(values[spot].item() for spot in spots)
    divisor = int(divisors(op, x.shape, np.array([place]))[0])
    count = counted(len(spots), "number")
    given = isinstance(op, AvgPool) and op.divisor_override is not None
    made = f"the sum of {count}, divided" if given else f"the average of {count}"
    lines = [f"{headline(end, place, digits)} is {made}{_outside(op, window)}"]
    lines += _listed(x, spots, digits)
    lines.append(f"  sum = {number(total, digits)}")
    whole = values.dtype.kind != "f"
    result, towards = total / divisor, ""
    if whole:
        part = abs(total) // abs(divisor)
        result, towards = (part if total * divisor >= 0 else -part), ", rounded towards 0"
    lines.append(
        f"  divided by {divisor:,}, {_divided_by(op, window)} = {number(result, digits)}{towards}"
    )
    share = f"each of the {len(spots):,} gets" if len(spots) > 1 else "it gets"
    lines.append(
        no_gradient(end)
        or f"backward: of a gradient of 1 at {at(end.name, place)} {share} 1 / {divisor:,} = "
        f"{number(1 / divisor, digits)}"
    )
    return "\n".join(lines)


def _spots(window: Window) -> list[Index]:
    return [tuple(place) for place in window.places.tolist()]


def _divided_by(op: Op | None, window: Window) -> str:
    """Say what the divisor is."""
    if isinstance(op, AvgPool):
        if op.divisor_override is not None:
            return "the divisor_override"
        if op.count_include_pad and window.padding:
            return "the window with its padding"
    return "how many they are"


def _outside(op: Op | None, window: Window) -> str:
    """Say what of a window is not in the input."""
    counts = isinstance(op, AvgPool) and (op.count_include_pad or op.divisor_override is not None)
    parts = []
    if window.padding:
        said = "and count 0" if counts else "and are not counted"
        parts.append(f"{window.padding:,} of the window lie in the padding {said}")
    if window.beyond:
        parts.append(f"{window.beyond:,} beyond the padding are not counted")
    return "".join(f"; {part}" for part in parts)


def max_text(end: Wire, place: Index, digits: int) -> str:
    """y[k] = the largest number of the window; of equal ones the first wins, of NaN the last."""
    op, x = end.gate.op, end.gate.inputs[0]
    window, values = pool_window(op, x.shape, place), known(x)
    spots, outside = _spots(window), window.padding + window.beyond
    numbers = [values[spot].item() for spot in spots]
    relu = isinstance(op, ReLUMaxPool)
    if not numbers:
        return (
            f"{headline(end, place, digits)}: the window holds padding alone\n"
            "backward: no number gets a gradient"
        )
    nans = sum(value != value for value in numbers)
    best = winner(values[tuple(window.places.T)])
    top = max(numbers[best], 0.0) if relu and not nans else numbers[best]
    never = f"; {outside:,} of the window lie outside and never win"
    lines = [
        f"{headline(end, place, digits, top)} is the largest of "
        f"{counted(len(numbers), 'number')}{never if outside else ''}"
        + (", then ReLU" if relu else "")
    ]
    lines += _listed(x, spots, digits, best)
    if relu:
        lines.append(f"  ReLU keeps what is positive: {number(top, digits)}")
    if no_gradient(end):
        return "\n".join([*lines, no_gradient(end)])
    if relu and top <= 0:
        return "\n".join([*lines, "backward: what is not positive passes nothing, all get 0"])
    rest = ", 0 to the rest" if len(numbers) > 1 else ""
    lines.append(
        f"backward: the whole gradient goes to {at(x.name, spots[best])}{rest}"
        f"{_ties(numbers, best, nans)}"
    )
    return "\n".join(lines)


def _ties(numbers: list[float], best: int, nans: int) -> str:
    if nans:
        return "; NaN wins over all numbers" + (", the last of several" if nans > 1 else "")
    ties = numbers.count(numbers[best]) - 1
    return f"; {ties:,} more as large, of which the first wins" if ties > 0 else ""


def _listed(x: Wire, spots: list[Index], digits: int, best: int = -1) -> list[str]:
    """Write the numbers of a window; of very many the first, and the winner."""
    values, lines = known(x), []
    for k, spot in enumerate(spots):
        if k < MOST_LINES or k == best:
            mark = "   <- wins" if k == best else ""
            lines.append(f"  {at(x.name, spot)} = {number(values[spot].item(), digits)}{mark}")
    if len(spots) > len(lines):
        lines.append(f"  ... and {len(spots) - len(lines):,} more")
    return lines
