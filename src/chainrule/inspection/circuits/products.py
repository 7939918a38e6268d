"""One number of a convolution, its transpose, a linear layer or a product: a sum of products."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from chainrule.engine.op import Array
from chainrule.inspection.circuits.gates import Wire
from chainrule.inspection.circuits.places import (
    Index,
    Pairs,
    conv_pairs,
    linear_pairs,
    matmul_pairs,
    transposed_pairs,
)
from chainrule.inspection.circuits.signs import number
from chainrule.inspection.circuits.wording import (
    MOST_LINES,
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


def conv_text(end: Wire, place: Index, digits: int, relu: bool = False) -> str:
    """Explain a number of a convolution, with the ReLU that runs with it or without."""
    op, (x, w) = end.gate.op, end.gate.inputs[:2]
    assert isinstance(op, Conv)
    found = conv_pairs(op, x.shape, w.shape, place)
    note = f"; {found.outside:,} of the window lie in the padding and count 0"
    bias = place[-len(op.stride) - 1]
    return _text(end, place, _sum(found, (bias,), note, relu), digits)


def conv_relu_text(end: Wire, place: Index, digits: int) -> str:
    """Explain a convolution and the ReLU that runs with it."""
    return conv_text(end, place, digits, relu=True)


def conv_transpose_text(end: Wire, place: Index, digits: int) -> str:
    """Explain a number of a transposed convolution."""
    op, (x, w) = end.gate.op, end.gate.inputs[:2]
    assert isinstance(op, ConvTranspose)
    found = transposed_pairs(op, x.shape, w.shape, place)
    total = counted(w.shape[0] // op.groups * prod(w.shape[2:]), "number")
    note = f"; {found.outside:,} of the filter's {total} meet none of {x.name}"
    return _text(end, place, _sum(found, (place[-len(op.stride) - 1],), note), digits)


def linear_text(end: Wire, place: Index, digits: int) -> str:
    """Explain a number of a linear layer."""
    w = end.gate.inputs[1].shape
    bias = place[len(place) - len(w) + 1 :]
    return _text(end, place, _sum(linear_pairs(w, place), bias), digits)


def matmul_text(end: Wire, place: Index, digits: int) -> str:
    """Explain a number of a product of matrices."""
    x, w = end.gate.inputs
    return _text(end, place, _sum(matmul_pairs(x.shape, w.shape, place)), digits)


def _sum(found: Pairs, bias: Index = (), note: str = "", relu: bool = False) -> _Sum:
    places = (map(tuple, each.tolist()) for each in (found.left, found.right))
    return _Sum(list(zip(*places, strict=True)), bias, note if found.outside else "", relu)


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
