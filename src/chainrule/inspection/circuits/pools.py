"""One number of a pooling: the numbers of its window, and what each gets of the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

from chainrule.engine.op import Op
from chainrule.inspection.circuits.gates import Wire
from chainrule.inspection.circuits.signs import number
from chainrule.inspection.circuits.wording import (
    MOST_LINES,
    Index,
    at,
    counted,
    headline,
    known,
    no_gradient,
)
from chainrule.ops.fused import ReLUMaxPool
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool
from chainrule.ops.pool_windows import (
    Ragged,
    Settings,
    Windows,
    adaptive_windows,
    strided_windows,
)


@dataclass(frozen=True)
class _Window:
    """The places of a window that are in the input; how many lie in the padding, and beyond it."""

    spots: list[Index]
    padding: int
    beyond: int

    @property
    def outside(self) -> int:
        return self.padding + self.beyond


def average_text(end: Wire, place: Index, digits: int) -> str:
    """y[k] = the sum of the window's numbers / how many they are, or another divisor."""
    op, x = end.gate.op, end.gate.inputs[0]
    window, values = _window(op, x.shape, place), known(x)
    total = sum(values[spot].item() for spot in window.spots)
    divisor, why = _divisor(op, window)
    count = counted(len(window.spots), "number")
    given = isinstance(op, AvgPool) and op.divisor_override is not None
    made = f"the sum of {count}, divided" if given else f"the average of {count}"
    lines = [f"{headline(end, place, digits)} is {made}{_outside(op, window)}"]
    lines += _listed(x, window.spots, digits)
    lines.append(f"  sum = {number(total, digits)}")
    whole = values.dtype.kind != "f"
    result, towards = total / divisor, ""
    if whole:
        part = abs(total) // abs(divisor)
        result, towards = (part if total * divisor >= 0 else -part), ", rounded towards 0"
    lines.append(f"  divided by {divisor:,}, {why} = {number(result, digits)}{towards}")
    share = f"each of the {len(window.spots):,} gets" if len(window.spots) > 1 else "it gets"
    lines.append(
        no_gradient(end)
        or f"backward: of a gradient of 1 at {at(end.name, place)} {share} 1 / {divisor:,} = "
        f"{number(1 / divisor, digits)}"
    )
    return "\n".join(lines)


def _divisor(op: Op | None, window: _Window) -> tuple[int, str]:
    if isinstance(op, AvgPool):
        if op.divisor_override is not None:
            return op.divisor_override, "the divisor_override"
        if op.count_include_pad and window.padding:
            return len(window.spots) + window.padding, "the window with its padding"
    return len(window.spots), "how many they are"


def _outside(op: Op | None, window: _Window) -> str:
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
    window, values = _window(op, x.shape, place), known(x)
    numbers = [values[spot].item() for spot in window.spots]
    relu = isinstance(op, ReLUMaxPool)
    if not numbers:
        return (
            f"{headline(end, place, digits)}: the window holds padding alone\n"
            "backward: no number gets a gradient"
        )
    nans = [k for k, value in enumerate(numbers) if value != value]
    best = nans[-1] if nans else numbers.index(max(numbers))
    top = max(numbers[best], 0.0) if relu and not nans else numbers[best]
    outside = f"; {window.outside:,} of the window lie outside and never win"
    lines = [
        f"{headline(end, place, digits, top)} is the largest of "
        f"{counted(len(numbers), 'number')}{outside if window.outside else ''}"
        + (", then ReLU" if relu else "")
    ]
    lines += _listed(x, window.spots, digits, best)
    if relu:
        lines.append(f"  ReLU keeps what is positive: {number(top, digits)}")
    if no_gradient(end):
        return "\n".join([*lines, no_gradient(end)])
    if relu and top <= 0:
        return "\n".join([*lines, "backward: what is not positive passes nothing, all get 0"])
    rest = ", 0 to the rest" if len(numbers) > 1 else ""
    lines.append(
        f"backward: the whole gradient goes to {at(x.name, window.spots[best])}{rest}"
        f"{_ties(numbers, best, len(nans))}"
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


def _window(op: Op | None, shape: tuple[int, ...], place: Index) -> _Window:
    """Lay the window of one number out over the input."""
    axes = _laid(op, shape)
    d = len(axes)
    entries = [_entries(windows, k) for windows, k in zip(axes, place[-d:], strict=True)]
    spots: list[Index] = [
        (*place[:-d], *spot)
        for spot in product(*entries)
        if all(0 <= i < windows.size for i, windows in zip(spot, axes, strict=True))
    ]
    total = prod(len(each) for each in entries)
    if isinstance(op, AvgPool):  # ceil_mode lets windows stand out beyond the padding
        padded = [
            int(windows.lengths(True)[k]) for windows, k in zip(axes, place[-d:], strict=True)
        ]
        return _Window(spots, prod(padded) - len(spots), total - prod(padded))
    return _Window(spots, total - len(spots), 0)


def _laid(op: Op | None, shape: tuple[int, ...]) -> list[Windows]:
    if isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool):
        return adaptive_windows(shape[-len(op.output_size) :], op.output_size)
    assert isinstance(op, AvgPool | MaxPool)
    dilation = op.dilation if isinstance(op, MaxPool) else (1,) * len(op.kernel)
    settings = Settings(op.kernel, op.stride, op.padding, dilation, op.ceil_mode)
    return strided_windows(op, shape[-len(op.kernel) :], settings)


def _entries(windows: Windows, k: int) -> list[int]:
    """Give the positions of window k along an axis, those outside too."""
    start = int(windows.starts()[k])
    if isinstance(windows, Ragged):
        return list(range(start, int(windows.end[k])))
    return [start + r * windows.dilation for r in range(windows.length)]
