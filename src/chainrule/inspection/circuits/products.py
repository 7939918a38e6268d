"""One number of a convolution, its transpose, a linear layer or a product: a sum of products."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from chainrule.engine.op import Array
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
from chainrule.ops.conv import Conv
from chainrule.ops.conv_transpose import ConvTranspose


@dataclass(frozen=True)
class _Sum:
    """Products by the places of their factors, the bias's place, and what is said beside."""

    pairs: list[tuple[Index, Index]]
    bias: Index = ()
    note: str = ""
    relu: bool = False


def conv_text(end: Wire, place: Index, digits: int) -> str:
    """y[n, o, k] = b[o] + sum over c, a of w[o, c, a] x[n, c', k*stride + a*dilation - padding]."""
    return _text(end, place, _conv(end, place), digits)


def conv_relu_text(end: Wire, place: Index, digits: int) -> str:
    """Explain a convolution and the ReLU that runs with it."""
    found = _conv(end, place)
    return _text(end, place, _Sum(found.pairs, found.bias, found.note, relu=True), digits)


def _conv(end: Wire, place: Index) -> _Sum:
    op, (x, w) = end.gate.op, end.gate.inputs[:2]
    assert isinstance(op, Conv)
    d = len(op.stride)
    head, o = place[: -d - 1], place[-d - 1]
    begin = o // (w.shape[0] // op.groups) * w.shape[1]
    pairs: list[tuple[Index, Index]] = []
    for c, *offset in np.ndindex(*w.shape[1:]):
        steps = zip(place[-d:], offset, op.stride, op.dilation, op.padding, strict=True)
        spot = tuple([k * s + a * t - before for k, a, s, t, (before, _) in steps])
        if all(0 <= i < size for i, size in zip(spot, x.shape[-d:], strict=True)):
            pairs.append(((*head, begin + c, *spot), (o, c, *offset)))
    outside = prod(w.shape[1:]) - len(pairs)
    note = f"; {outside:,} of the window lie in the padding and count 0" if outside else ""
    return _Sum(pairs, (o,), note)


def conv_transpose_text(end: Wire, place: Index, digits: int) -> str:
    """y[n, o, p] = b[o] + sum of x[n, c, k] w[c, o, a], k*stride + a*dilation - padding = p."""
    op, (x, w) = end.gate.op, end.gate.inputs[:2]
    assert isinstance(op, ConvTranspose)
    d = len(op.stride)
    head, o = place[: -d - 1], place[-d - 1]
    group, own = divmod(o, w.shape[1])
    size = w.shape[0] // op.groups
    pairs: list[tuple[Index, Index]] = []
    for c, *offset in np.ndindex(size, *w.shape[2:]):
        steps = zip(place[-d:], offset, op.stride, op.dilation, op.padding, strict=True)
        parts = [divmod(p + before - a * t, s) for p, a, s, t, before in steps]
        spot = tuple([k for k, _ in parts])
        fits = all(0 <= k < n for k, n in zip(spot, x.shape[-d:], strict=True))
        if fits and not any(rest for _, rest in parts):
            c += group * size
            pairs.append(((*head, c, *spot), (c, own, *offset)))
    total = size * prod(w.shape[2:])
    rest = total - len(pairs)
    note = f"; {rest:,} of the filter's {counted(total, 'number')} meet none of {x.name}"
    return _text(end, place, _Sum(pairs, (o,), note if rest else ""), digits)


def linear_text(end: Wire, place: Index, digits: int) -> str:
    """y[..., o] = b[o] + sum over k of x[..., k] w[o, k]."""
    w = end.gate.inputs[1]
    rows = len(w.shape) - 1  # a weight of one axis gives no axis
    head, row = place[: len(place) - rows], place[len(place) - rows :]
    pairs = [((*head, k), (*row, k)) for k in range(w.shape[-1])]
    return _text(end, place, _Sum(pairs, row), digits)


def matmul_text(end: Wire, place: Index, digits: int) -> str:
    """y[..., i, j] = sum over k of x[..., i, k] w[..., k, j]; vectors have no i, or no j."""
    x, w = end.gate.inputs
    rows, columns = len(x.shape) > 1, len(w.shape) > 1
    lead = place[: len(place) - rows - columns]
    row = place[len(lead) : len(lead) + rows]
    column = place[len(lead) + rows :]
    left, right = _fitted(lead, x.shape[:-2]), _fitted(lead, w.shape[:-2])
    pairs = [((*left, *row, k), (*right, k, *column)) for k in range(x.shape[-1])]
    return _text(end, place, _Sum(pairs), digits)


def _fitted(lead: Index, shape: tuple[int, ...]) -> Index:
    """Give the place in a batch that was broadcast: 0 along axes of size 1."""
    own = lead[len(lead) - len(shape) :]
    return tuple([0 if size == 1 else i for i, size in zip(own, shape, strict=True)])


def _text(end: Wire, place: Index, found: _Sum, digits: int) -> str:
    """Write a sum of products, and that each factor's gradient is the other factor."""
    x, w, *more = end.gate.inputs
    xs, ws = known(x), known(w)
    products = [xs[i].item() * ws[j].item() for i, j in found.pairs]
    bias = f"{' and a bias' if more else ''}{found.note}{', then ReLU' if found.relu else ''}"
    made = f"is the sum of {counted(len(products), 'product')}{bias}"
    lines = [f"{headline(end, place, digits)} {made}"]
    for (i, j), product in list(zip(found.pairs, products, strict=True))[:MOST_LINES]:
        left, right = number(xs[i].item(), digits), number(ws[j].item(), digits)
        lines.append(
            f"  {at(x.name, i)} * {at(w.name, j)} = {left} * {right} = {number(product, digits)}"
        )
    total = sum(products)
    lines += [*_rest(len(products)), f"  sum of the products = {number(total, digits)}"]
    if more:
        b = known(more[0])[found.bias].item()
        total += b
        lines.append(f"  + {at(more[0].name, found.bias)} = {number(b, digits)}")
        lines.append(f"  = {number(total, digits)}")
    if found.relu:
        total = total if end.value is None else end.value[place].item()
        lines.append(f"  ReLU keeps what is positive: {number(max(total, 0.0), digits)}")
    if no_gradient(end):
        return "\n".join([*lines, no_gradient(end)])
    if found.relu and total <= 0:
        lines.append("backward: what is not positive passes nothing, every factor gets 0")
        return "\n".join(lines)
    return "\n".join([*lines, *_backward(end, place, found, xs, ws, digits)])


def _backward(end: Wire, place: Index, found: _Sum, xs: Array, ws: Array, digits: int) -> list[str]:
    x, w, *more = end.gate.inputs
    lines = [f"backward: of a gradient of 1 at {at(end.name, place)} each factor gets the other"]
    for i, j in found.pairs[:MOST_LINES]:
        lines.append(
            f"  {at(x.name, i)} gets {at(w.name, j)} = {number(ws[j].item(), digits)}, "
            f"{at(w.name, j)} gets {number(xs[i].item(), digits)}"
        )
    lines += _rest(len(found.pairs))
    if x == w:
        lines.append(f"  {x.name} is both factors: what a number of it gets adds up")
    if more:
        lines.append(f"  {at(more[0].name, found.bias)} gets 1")
    return lines


def _rest(count: int) -> list[str]:
    return [f"  ... and {count - MOST_LINES:,} more"] if count > MOST_LINES else []
