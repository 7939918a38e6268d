"""One number of a convolution, a pooling or a product: the numbers behind it, there and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chainrule.engine.op import Array
from chainrule.errors import GraphError
from chainrule.inspection.circuits.gates import Gate, Wire
from chainrule.inspection.circuits.signs import number

Index = tuple[int, ...]
_MOST = 60  # products that are written one by one


def window_text(end: Wire, place: Index, digits: int) -> str | None:
    """Explain one number of a value; None for operations that have no window."""
    explain = _KINDS.get(type(end.gate.op).__name__)
    return explain(end.gate, place, digits) if explain is not None and end.number == 0 else None


def _conv(gate: Gate, place: Index, digits: int) -> str:
    """y[n, o, k...] = b[o] + sum over c, a... of w[o, c, a...] x[n, c', k*stride + a - padding]."""
    op, x, w = gate.op, _known(gate.inputs[0]), _known(gate.inputs[1])
    d = w.ndim - 2
    n, o = place[:-d][0] if x.ndim == d + 2 else None, place[-d - 1]
    groups = getattr(op, "groups", 1)
    begin = o // (w.shape[0] // groups) * w.shape[1]
    pairs: list[tuple[Index, Index]] = []
    for offset in np.ndindex(*w.shape[1:]):
        spot = _spot(op, place[-d:], offset[1:])
        if all(0 <= s < size for s, size in zip(spot, x.shape[-d:], strict=True)):
            head = (begin + offset[0],) if n is None else (n, begin + offset[0])
            pairs.append(((*head, *spot), (o, *offset)))
    outside = int(np.prod(w.shape[1:])) - len(pairs)
    bias = gate.inputs[2] if len(gate.inputs) > 2 else None
    note = f"; {outside} of the window lie in the padding and count 0" if outside else ""
    return _products(gate, place, pairs, (bias, (o,)), note, digits)


def _spot(op: object, place: Index, offset: Index) -> Index:
    stride, dilation = getattr(op, "stride", ()), getattr(op, "dilation", ())
    padding = [p[0] if isinstance(p, tuple) else p for p in getattr(op, "padding", ())]
    rows = zip(place, offset, stride, dilation, padding, strict=True)
    return tuple([k * s + a * step - p for k, a, s, step, p in rows])


def _linear(gate: Gate, place: Index, digits: int) -> str:
    w = _known(gate.inputs[1])
    row = place[-1:] if w.ndim == 2 else ()
    head = place[:-1] if w.ndim == 2 else place
    pairs = [((*head, k), (*row, k)) for k in range(w.shape[-1])]
    bias = gate.inputs[2] if len(gate.inputs) > 2 else None
    return _products(gate, place, pairs, (bias, row), "", digits)


def _matmul(gate: Gate, place: Index, digits: int) -> str | None:
    x, w = gate.inputs
    if len(x.shape) != 2 or len(w.shape) != 2:
        return None
    i, j = place
    pairs: list[tuple[Index, Index]] = [((i, k), (k, j)) for k in range(x.shape[1])]
    return _products(gate, place, pairs, (None, ()), "", digits)


def _products(
    gate: Gate,
    place: Index,
    pairs: list[tuple[Index, Index]],
    bias: tuple[Wire | None, Index],
    note: str,
    digits: int,
) -> str:
    """Write a sum of products, and that each factor's gradient is the other factor."""
    x, w = gate.inputs[:2]
    xs, ws = _known(x), _known(w)
    where, total = _at(gate.name, place), gate.values[0]
    said = "" if total is None else f" = {number(total[place].item(), digits)}"
    more = " and a bias" if bias[0] is not None else ""
    lines = [f"{where}{said} is the sum of {len(pairs):,} products{more}{note}"]
    products = [float(xs[i]) * float(ws[j]) for i, j in pairs]
    for (i, j), product in list(zip(pairs, products, strict=True))[:_MOST]:
        left, right = number(xs[i].item(), digits), number(ws[j].item(), digits)
        lines.append(
            f"  {_at(x.name, i)} * {_at(w.name, j)} = {left} * {right} = {number(product, digits)}"
        )
    if len(pairs) > _MOST:
        lines.append(f"  ... and {len(pairs) - _MOST:,} more")
    lines.append(f"  sum of the products = {number(sum(products), digits)}")
    if bias[0] is not None:
        b = _known(bias[0])[bias[1]].item()
        lines.append(f"  + {_at(bias[0].name, bias[1])} = {number(b, digits)}")
        lines.append(f"  = {number(sum(products) + b, digits)}")
    lines.append(f"backward: of a gradient of 1 at {where} each factor gets the other")
    for i, j in pairs[:_MOST]:
        lines.append(
            f"  {_at(x.name, i)} gets {_at(w.name, j)} = {number(ws[j].item(), digits)}, "
            f"{_at(w.name, j)} gets {number(xs[i].item(), digits)}"
        )
    if bias[0] is not None:
        lines.append(f"  {_at(bias[0].name, bias[1])} gets 1")
    return "\n".join(lines)


def _max_pool(gate: Gate, place: Index, digits: int) -> str:
    """y[..., k] is the largest x[..., k*stride + a*dilation - padding]; the first one wins ties."""
    op, x = gate.op, _known(gate.inputs[0])
    spots = _pooled(op, x, place)
    numbers = [x[spot].item() for spot in spots]
    best = next((k for k, v in enumerate(numbers) if v != v), int(np.argmax(numbers)))
    name = gate.inputs[0].name
    lines = [
        f"{_at(gate.name, place)} = {number(numbers[best], digits)} is the largest of "
        f"{len(spots)} numbers"
    ]
    for k, spot in enumerate(spots):
        lines.append(
            f"  {_at(name, spot)} = {number(numbers[k], digits)}" + ("   <- wins" * (k == best))
        )
    ties = numbers.count(numbers[best]) - 1
    tie = f"; {ties} more as large, of which the first wins" if ties > 0 else ""
    lines.append(
        f"backward: the whole gradient goes to {_at(name, spots[best])}, 0 to the rest{tie}"
    )
    return "\n".join(lines)


def _pooled(op: object, x: Array, place: Index) -> list[Index]:
    kernel: Index = getattr(op, "kernel", ())
    d = len(kernel)
    spots = [_spot(op, place[-d:], offset) for offset in np.ndindex(*kernel)]
    sizes = x.shape[-d:]
    return [
        (*place[:-d], *spot)
        for spot in spots
        if all(0 <= s < size for s, size in zip(spot, sizes, strict=True))
    ]


def _known(wire: Wire) -> Array:
    if wire.value is None:
        raise GraphError(
            f"explain: the values of {wire.name} {wire.shape} are not known: only small ones are "
            "kept, and none that was written since; "
            "explain a graph instead: cr.capture(function, x) or nn.tracing.trace(model, x)"
        )
    return wire.value


def _at(name: str, index: Index) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


_KINDS: dict[str, Callable[[Gate, Index, int], str | None]] = {
    "Conv": _conv,
    "MaxPool": _max_pool,
    "Linear": _linear,
    "Matmul": _matmul,
}
