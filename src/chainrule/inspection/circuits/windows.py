"""One number of a convolution, a pooling or a product: the numbers behind it, there and back."""

from __future__ import annotations

from collections.abc import Callable

from chainrule.engine.op import Op
from chainrule.inspection.circuits.gates import Wire
from chainrule.inspection.circuits.places import Index
from chainrule.inspection.circuits.pools import average_text, max_text
from chainrule.inspection.circuits.products import (
    conv_relu_text,
    conv_text,
    conv_transpose_text,
    linear_text,
    matmul_text,
)
from chainrule.ops.conv import Conv
from chainrule.ops.conv_transpose import ConvTranspose
from chainrule.ops.fused import ConvReLU, ReLUMaxPool
from chainrule.ops.linear import Linear
from chainrule.ops.matmul import Matmul
from chainrule.ops.pool_average import AdaptiveAvgPool, AvgPool
from chainrule.ops.pool_max import AdaptiveMaxPool, MaxPool

_KINDS: dict[type[Op], Callable[[Wire, Index, int], str]] = {
    Conv: conv_text,
    ConvReLU: conv_relu_text,
    ConvTranspose: conv_transpose_text,
    Linear: linear_text,
    Matmul: matmul_text,
    AvgPool: average_text,
    AdaptiveAvgPool: average_text,
    MaxPool: max_text,
    AdaptiveMaxPool: max_text,
    ReLUMaxPool: max_text,
}


def window_text(end: Wire, place: Index, digits: int) -> str | None:
    """Explain one number of a value; None for operations that have no window.

    A pooling's second value, the winners' places, has none either.
    """
    explain = _KINDS.get(type(end.gate.op)) if end.gate.op is not None else None
    return explain(end, place, digits) if explain is not None and end.number == 0 else None
